//! Presentation-attack detection (ISO/IEC 30107-3): is a living person in front of the camera, and not
//! a print, a screen or a mask? Nothing here can tell. A detector of somebody else's can be put in.

use crate::error::EngineError;
use crate::image::RgbImage;

/// What is known about a presentation attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum PresentationAttack {
    /// Nobody looked.
    #[default]
    NotPerformed,
    /// A detector looked and found a bona fide presentation.
    BonaFide,
    /// A detector looked and found an attack.
    Attack,
}

impl PresentationAttack {
    /// The stable machine-readable name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotPerformed => "not_performed",
            Self::BonaFide => "passed",
            Self::Attack => "failed",
        }
    }
}

/// A detector of presentation attacks. It is asked once for each attempt that every other rule lets
/// through, from several threads at once.
pub trait PresentationAttackDetector: Send + Sync {
    /// Judges the frames of one attempt together; there is at least one.
    ///
    /// # Errors
    /// The detector failed. That is a system fault: the attempt is tried again, and costs the user
    /// nothing.
    fn judge(&self, frames: &[&RgbImage]) -> Result<PresentationAttack, EngineError>;
}
