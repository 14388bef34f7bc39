//! What an operator may set: the gates before a comparison and the rules after it. The defaults
//! are documented here and measured in the README.

mod settings;

use serde::{Deserialize, Serialize};

pub use settings::{PolicyError, Setting, settings};

use crate::image::DecodeLimits;

/// Everything about a decision that is configuration rather than model.
///
/// The defaults come first, then what the pack says (`Pack::policy`), then what the operator says
/// ([`MatchPolicy::set`]); each wins over the one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MatchPolicy {
    /// Name of the pack's operating point; `None` takes the pack's default.
    pub operating_point: Option<String>,
    /// Limits on the chip's portrait before decoding.
    pub portrait_limits: DecodeLimits,
    /// Limits on each selfie frame before decoding.
    pub selfie_limits: DecodeLimits,
    /// Gates on the chip's portrait.
    pub portrait: GatePolicy,
    /// Gates on each selfie frame.
    pub selfie: GatePolicy,
    /// Most selfie frames in one attempt.
    pub max_frames: usize,
    /// How many frames, best first by quality, are compared; the median of their distances
    /// decides. The other usable frames must still show the same person.
    pub compared_frames: usize,
    /// Largest distance between two frames of one attempt; `None` takes the operating point's
    /// threshold.
    pub frames_threshold: Option<f32>,
    /// The guard against the chip's own portrait held up as a selfie.
    pub replay: ReplayPolicy,
}

impl Default for MatchPolicy {
    fn default() -> Self {
        Self {
            operating_point: None,
            portrait_limits: DecodeLimits::portrait(),
            selfie_limits: DecodeLimits::selfie(),
            portrait: GatePolicy::portrait(),
            selfie: GatePolicy::selfie(),
            max_frames: 5,
            compared_frames: 3,
            frames_threshold: None,
            replay: ReplayPolicy::default(),
        }
    }
}

impl MatchPolicy {
    /// By how much the fusion of frames can raise the false-match rate of one comparison, at most,
    /// however the frames depend on one another.
    ///
    /// The median of an odd number k of distances is within the threshold only when (k + 1) / 2 of
    /// them are: by Markov's inequality no likelier than 2k / (k + 1) times one of them. Of an even
    /// number it is the mean of the middle two, and k / 2 suffice: 2 times. Which frames are compared
    /// is settled by quality before any distance is known, so choosing them adds nothing.
    pub fn fusion_factor(&self) -> f64 {
        match self.compared_frames.min(self.max_frames) {
            0 | 1 => 1.0,
            // Fewer frames may be usable than are asked for, so that two may be what is left.
            _ => 2.0,
        }
    }
}

/// Limits on one face. Which measurement each one bounds, and the reason that it gives, is in
/// [`crate::face::gate::GATES`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatePolicy {
    /// Lowest detector score of a face. Above the detector's own 0.5, where false positives live.
    pub score_floor: f32,
    /// A second face counts when it is at least this share of the largest one's width.
    pub second_face_ratio: f32,
    /// Least distance between the centres of the eyes, in pixels.
    pub min_inter_eye_px: f32,
    /// Least height of the face, as a share of the picture's.
    pub min_head_size: f32,
    /// Largest height of the face, as a share of the picture's.
    pub max_head_size: f32,
    /// Largest share of the face's width beyond the picture's left edge.
    pub max_crop_left: f32,
    /// Largest share of the face's width beyond the picture's right edge.
    pub max_crop_right: f32,
    /// Largest share of the face's height above the picture.
    pub max_crop_above: f32,
    /// Largest share of the face's height below the picture.
    pub max_crop_below: f32,
    /// Largest roll of the head either way, in degrees: the angle of the line through the eyes.
    pub max_roll_degrees: f32,
    /// Largest turn of the head either way, as the nose's distance from the middle of the eyes along
    /// the line through them, in inter-eye distances. 0 is frontal, 0.5 puts the nose under an eye.
    pub max_yaw_ratio: f32,
    /// Least height of the nose between eyes (0) and mouth (1): less is a head tilted back.
    pub min_nose_height: f32,
    /// Largest height of the nose between eyes (0) and mouth (1): more is a head bent forward.
    pub max_nose_height: f32,
    /// Largest share of face pixels at luminance 247 or above.
    pub max_overexposed: f32,
    /// Largest share of face pixels at luminance 25 or below.
    pub max_underexposed: f32,
    /// Least mean luminance of the face, of 255.
    pub min_luminance: f32,
    /// Largest mean luminance of the face, of 255.
    pub max_luminance: f32,
    /// Least distance between the 5th and 95th percentiles of luminance, of 255.
    pub min_dynamic_range: f32,
    /// Least variance of luminance, in squared grey levels.
    pub min_luminance_variance: f32,
    /// Least sharpness: the variance of the Laplacian over the variance of the aligned face.
    pub min_sharpness: f32,
    /// Largest blockiness: steps at the edges of 8 x 8 blocks over steps elsewhere; 1 is none.
    pub max_blockiness: f32,
}

impl GatePolicy {
    /// Defaults for the chip's portrait: a small, recompressed picture that an authority took,
    /// so size and sharpness are lenient, and any second face is one too many.
    pub fn portrait() -> Self {
        Self {
            second_face_ratio: 0.25,
            min_inter_eye_px: 28.0,
            max_crop_left: 0.1,
            max_crop_right: 0.1,
            max_crop_above: 0.1,
            max_crop_below: 0.1,
            max_roll_degrees: 20.0,
            min_sharpness: 0.006,
            ..Self::selfie()
        }
    }

    /// Defaults for a selfie frame.
    pub fn selfie() -> Self {
        Self {
            score_floor: 0.7,
            second_face_ratio: 0.5,
            min_inter_eye_px: 36.0,
            min_head_size: 0.13,
            max_head_size: 0.95,
            max_crop_left: 0.15,
            max_crop_right: 0.15,
            max_crop_above: 0.15,
            max_crop_below: 0.15,
            max_roll_degrees: 25.0,
            max_yaw_ratio: 0.35,
            min_nose_height: 0.2,
            max_nose_height: 0.85,
            max_overexposed: 0.5,
            max_underexposed: 0.8,
            min_luminance: 18.0,
            max_luminance: 235.0,
            min_dynamic_range: 25.0,
            min_luminance_variance: 60.0,
            min_sharpness: 0.008,
            max_blockiness: 2.5,
        }
    }
}

/// The replay guard: is a selfie frame a copy of the portrait?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayPolicy {
    /// Correlation of the aligned, band-passed faces from which a frame counts as a copy.
    pub correlation: f32,
}

impl Default for ReplayPolicy {
    fn default() -> Self {
        Self { correlation: 0.85 }
    }
}
