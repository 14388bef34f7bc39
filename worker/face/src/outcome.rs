//! What the face path says about an attempt: a verdict and, where it is not a comparison, the
//! reason. Never a score.

use std::fmt;

use crate::image::ImageFault;
use crate::presentation::PresentationAttack;

/// The answer for one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaceOutcome {
    /// The verdict; the distance behind it is not kept.
    pub verdict: FaceVerdict,
    /// Whether the frames were judged to be of a living person, and how.
    pub presentation_attack: PresentationAttack,
}

/// The decision of the face path on one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaceVerdict {
    /// Portrait and selfie show the same person at the pack's operating point.
    Match,
    /// They do not.
    Mismatch,
    /// The chip's portrait cannot be compared (failure to acquire on the document's side).
    PortraitUnusable(FaceReason),
    /// The selfie frames cannot be trusted or compared.
    LivenessFailed(FaceReason),
}

impl FaceVerdict {
    /// The reason that goes with a verdict which is not a comparison.
    pub fn reason(&self) -> Option<FaceReason> {
        match self {
            Self::Match | Self::Mismatch => None,
            Self::PortraitUnusable(reason) | Self::LivenessFailed(reason) => Some(*reason),
        }
    }
}

/// Why an image could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaceReason {
    /// The image could not be decoded.
    ImageUnreadable(ImageFault),
    /// There are no selfie frames, or more than the policy takes.
    FrameCount,
    /// No face above the score floor.
    NoFace,
    /// A second face of comparable size.
    SeveralFaces,
    /// The eyes are too few pixels apart.
    TooSmall,
    /// Too little detail.
    Blurred,
    /// The face is too dark to show detail.
    Underexposed,
    /// The face is burnt out.
    Overexposed,
    /// The face fills more than the picture.
    TooLarge,
    /// The face is not wholly inside the picture.
    Cropped,
    /// The head leans to one side.
    Rolled,
    /// The head is turned to one side.
    Turned,
    /// The head is bent forward or back.
    Tilted,
    /// The face is lit too evenly to show detail.
    LowContrast,
    /// Compression has left more blocks than face.
    Overcompressed,
    /// A selfie frame is a copy of the chip's portrait.
    PortraitReplay,
    /// The frames do not all show the same person.
    FramesDiffer,
    /// Two frames are one picture: that is no second look at a living person.
    FramesIdentical,
    /// Presentation-attack detection found an attack.
    PresentationAttack,
}

impl FaceReason {
    /// The stable machine-readable name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ImageUnreadable(fault) => fault.as_str(),
            Self::FrameCount => "frame_count",
            Self::NoFace => "no_face",
            Self::SeveralFaces => "several_faces",
            Self::TooSmall => "too_small",
            Self::Blurred => "blurred",
            Self::Underexposed => "underexposed",
            Self::Overexposed => "overexposed",
            Self::TooLarge => "too_large",
            Self::Cropped => "cropped",
            Self::Rolled => "rolled",
            Self::Turned => "turned",
            Self::Tilted => "tilted",
            Self::LowContrast => "low_contrast",
            Self::Overcompressed => "overcompressed",
            Self::PortraitReplay => "portrait_replay",
            Self::FramesDiffer => "frames_differ",
            Self::FramesIdentical => "frames_identical",
            Self::PresentationAttack => "presentation_attack",
        }
    }
}

impl fmt::Display for FaceReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The evidence failed before it reached the batch: an image that does not decode, or a wrong
/// number of frames. It is the sender's failure, with a verdict of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FaceFailure {
    /// The chip's portrait.
    #[error("portrait: {0}")]
    Portrait(FaceReason),
    /// A selfie frame.
    #[error("selfie: {0}")]
    Selfie(FaceReason),
}

impl FaceFailure {
    /// The verdict that this failure amounts to.
    pub fn verdict(&self) -> FaceVerdict {
        match self {
            Self::Portrait(reason) => FaceVerdict::PortraitUnusable(*reason),
            Self::Selfie(reason) => FaceVerdict::LivenessFailed(*reason),
        }
    }
}

impl From<FaceVerdict> for FaceOutcome {
    fn from(verdict: FaceVerdict) -> Self {
        Self { verdict, presentation_attack: PresentationAttack::NotPerformed }
    }
}

impl From<FaceFailure> for FaceOutcome {
    fn from(failure: FaceFailure) -> Self {
        failure.verdict().into()
    }
}
