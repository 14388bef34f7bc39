//! What an operator may set: the gates before a comparison and the rules after it. The defaults
//! are documented here and measured in the README.

use serde::{Deserialize, Serialize};

use crate::image::DecodeLimits;

/// Everything about a decision that is configuration rather than model.
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

/// Limits on one face, in the order in which they are checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatePolicy {
    /// Lowest detector score of a face. Above the detector's own 0.5, where false positives live.
    pub score_floor: f32,
    /// A second face counts when it is at least this share of the largest one's width.
    pub second_face_ratio: f32,
    /// Least distance between the centres of the eyes, in pixels (InterEyeDistance of
    /// ISO/IEC 29794-5).
    pub min_inter_eye_px: f32,
    /// Largest roll of the head, in degrees: the angle of the line through the eyes.
    pub max_roll_degrees: f32,
    /// Largest turn of the head, as the nose's distance from the middle of the eyes along the
    /// line through them, in inter-eye distances. 0 is frontal, 0.5 puts the nose under an eye.
    pub max_yaw_ratio: f32,
    /// Least and largest height of the nose between eyes and mouth, as a share of that height.
    pub nose_height: [f32; 2],
    /// Largest share of the detected face that lies outside the picture.
    pub max_cropped: f32,
    /// Least sharpness: the variance of the Laplacian over the variance of the aligned face.
    pub min_sharpness: f32,
    /// Least mean luminance of the face, of 255.
    pub min_luminance: f32,
    /// Largest share of face pixels at luminance 250 or above.
    pub max_overexposed: f32,
    /// Least distance between the 5th and 95th percentiles of luminance (DynamicRange), of 255.
    pub min_dynamic_range: f32,
}

impl GatePolicy {
    /// Defaults for the chip's portrait: a small, recompressed picture that an authority took,
    /// so size and sharpness are lenient, and any second face is one too many.
    pub fn portrait() -> Self {
        Self {
            score_floor: 0.7,
            second_face_ratio: 0.25,
            min_inter_eye_px: 28.0,
            max_roll_degrees: 20.0,
            max_yaw_ratio: 0.35,
            nose_height: [0.2, 0.85],
            max_cropped: 0.1,
            min_sharpness: 0.006,
            min_luminance: 18.0,
            max_overexposed: 0.5,
            min_dynamic_range: 25.0,
        }
    }

    /// Defaults for a selfie frame.
    pub fn selfie() -> Self {
        Self {
            score_floor: 0.7,
            second_face_ratio: 0.5,
            min_inter_eye_px: 36.0,
            max_roll_degrees: 25.0,
            max_yaw_ratio: 0.35,
            nose_height: [0.2, 0.85],
            max_cropped: 0.15,
            min_sharpness: 0.008,
            min_luminance: 18.0,
            max_overexposed: 0.5,
            min_dynamic_range: 25.0,
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
