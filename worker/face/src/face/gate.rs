//! Is this the one usable face of its picture? Each gate measures one thing, has one name and
//! gives one reason; the first that fails decides.

use super::detect::Detection;
use super::quality::Quality;
use crate::geometry::Bounds;
use crate::outcome::FaceReason;
use crate::policy::GatePolicy;

/// A measurement that must lie between limits.
pub struct Gate {
    /// Its name; after the component of ISO/IEC 29794-5 that it measures, where there is one.
    pub name: &'static str,
    /// The component of ISO/IEC 29794-5.
    pub component: &'static str,
    /// What the numbers count.
    pub unit: &'static str,
    value: fn(&Quality) -> f32,
    /// The least that passes.
    pub least: Option<Limit>,
    /// The most that passes.
    pub most: Option<Limit>,
}

/// One side of a gate.
pub struct Limit {
    /// The setting that holds it.
    pub setting: &'static str,
    /// What is said of a face beyond it.
    pub reason: FaceReason,
    of: fn(&GatePolicy) -> f32,
}

/// What a gate found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateResult {
    /// Its name.
    pub gate: &'static str,
    /// Why the face does not pass; `None` when it does.
    pub reason: Option<FaceReason>,
    /// What was measured.
    pub value: f32,
    /// The least that passes.
    pub least: Option<f32>,
    /// The most that passes.
    pub most: Option<f32>,
}

macro_rules! limit {
    ($setting:ident, $reason:ident) => {
        Some(Limit { setting: stringify!($setting), reason: FaceReason::$reason, of: |policy| policy.$setting })
    };
}

/// The gates on the one face of a picture, in the order in which they decide.
pub const GATES: [Gate; 16] = [
    Gate {
        name: "inter_eye_distance",
        component: "InterEyeDistance",
        unit: "pixels",
        value: |quality| quality.inter_eye_px,
        least: limit!(min_inter_eye_px, TooSmall),
        most: None,
    },
    Gate {
        name: "head_size",
        component: "HeadSize",
        unit: "share of the picture's height",
        value: |quality| quality.head_size,
        least: limit!(min_head_size, TooSmall),
        most: limit!(max_head_size, TooLarge),
    },
    Gate {
        name: "leftward_crop",
        component: "LeftwardCropOfTheFaceImage",
        unit: "share of the face's width",
        value: |quality| quality.crop_left,
        least: None,
        most: limit!(max_crop_left, Cropped),
    },
    Gate {
        name: "rightward_crop",
        component: "RightwardCropOfTheFaceImage",
        unit: "share of the face's width",
        value: |quality| quality.crop_right,
        least: None,
        most: limit!(max_crop_right, Cropped),
    },
    Gate {
        name: "margin_above",
        component: "MarginAboveOfTheFaceImage",
        unit: "share of the face's height",
        value: |quality| quality.crop_above,
        least: None,
        most: limit!(max_crop_above, Cropped),
    },
    Gate {
        name: "margin_below",
        component: "MarginBelowOfTheFaceImage",
        unit: "share of the face's height",
        value: |quality| quality.crop_below,
        least: None,
        most: limit!(max_crop_below, Cropped),
    },
    Gate {
        name: "head_pose_roll",
        component: "HeadPoseRoll",
        unit: "degrees",
        value: |quality| quality.roll_degrees.abs(),
        least: None,
        most: limit!(max_roll_degrees, Rolled),
    },
    Gate {
        name: "head_pose_yaw",
        component: "HeadPoseYaw",
        unit: "inter-eye distances",
        value: |quality| quality.yaw_ratio.abs(),
        least: None,
        most: limit!(max_yaw_ratio, Turned),
    },
    Gate {
        name: "head_pose_pitch",
        component: "HeadPosePitch",
        unit: "share of eyes to mouth",
        value: |quality| quality.nose_height,
        least: limit!(min_nose_height, Tilted),
        most: limit!(max_nose_height, Tilted),
    },
    Gate {
        name: "over_exposure",
        component: "OverExposurePrevention",
        unit: "share of the face",
        value: |quality| quality.overexposed,
        least: None,
        most: limit!(max_overexposed, Overexposed),
    },
    Gate {
        name: "under_exposure",
        component: "UnderExposurePrevention",
        unit: "share of the face",
        value: |quality| quality.underexposed,
        least: None,
        most: limit!(max_underexposed, Underexposed),
    },
    Gate {
        name: "luminance_mean",
        component: "LuminanceMean",
        unit: "grey levels",
        value: |quality| quality.luminance,
        least: limit!(min_luminance, Underexposed),
        most: limit!(max_luminance, Overexposed),
    },
    // Flat light shows in the range and in the variance; a face may be flat but for some spots.
    Gate {
        name: "dynamic_range",
        component: "DynamicRange",
        unit: "grey levels",
        value: |quality| quality.dynamic_range,
        least: limit!(min_dynamic_range, LowContrast),
        most: None,
    },
    Gate {
        name: "luminance_variance",
        component: "LuminanceVariance",
        unit: "squared grey levels",
        value: |quality| quality.luminance_variance,
        least: limit!(min_luminance_variance, LowContrast),
        most: None,
    },
    Gate {
        name: "sharpness",
        component: "Sharpness",
        unit: "ratio of variances",
        value: |quality| quality.sharpness,
        least: limit!(min_sharpness, Blurred),
        most: None,
    },
    Gate {
        name: "compression_artifacts",
        component: "CompressionArtifacts",
        unit: "ratio of steps",
        value: |quality| quality.blockiness,
        least: None,
        most: limit!(max_blockiness, Overcompressed),
    },
];

impl Gate {
    /// What the gate says of a face.
    pub fn result(&self, quality: &Quality, policy: &GatePolicy) -> GateResult {
        let value = (self.value)(quality);
        let [least, most] = [&self.least, &self.most].map(|limit| limit.as_ref().map(|limit| (limit.of)(policy)));
        // Asked this way round, what is no number fails instead of slipping through.
        let low = !least.is_none_or(|least| value >= least);
        let high = !most.is_none_or(|most| value <= most);
        let beyond = if low { &self.least } else { &self.most };
        let reason = if low || high { beyond.as_ref().map(|limit| limit.reason) } else { None };
        GateResult { gate: self.name, reason, value, least, most }
    }
}

/// What every gate says of a face, in the order in which they decide.
pub fn results<'a>(quality: &'a Quality, policy: &'a GatePolicy) -> impl Iterator<Item = GateResult> + 'a {
    GATES.iter().map(move |gate| gate.result(quality, policy))
}

/// The first limit that the face breaks.
pub fn check(quality: &Quality, policy: &GatePolicy) -> Result<(), FaceReason> {
    results(quality, policy).find_map(|result| result.reason).map_or(Ok(()), Err)
}

/// The name of the gate before [`GATES`]: exactly one face.
pub const SINGLE_FACE: &str = "single_face_present";

/// The faces that count in a picture, the widest first: those at or above the score floor of
/// which none is a small face inside, or far smaller than, the widest.
pub fn counted<'a>(detections: &'a [Detection], policy: &GatePolicy) -> Vec<&'a Detection> {
    let mut faces: Vec<&Detection> = detections.iter().filter(|face| face.score >= policy.score_floor).collect();
    faces.sort_by(|a, b| b.bounds.width.total_cmp(&a.bounds.width));
    let Some(first) = faces.first().copied() else { return faces };
    faces.retain(|other| {
        std::ptr::eq(*other, first)
            || (other.bounds.width >= policy.second_face_ratio * first.bounds.width
                && !centre_inside(&other.bounds, &first.bounds))
    });
    faces
}

/// The one face that dominates the picture.
pub fn dominant<'a>(detections: &'a [Detection], policy: &GatePolicy) -> Result<&'a Detection, FaceReason> {
    match counted(detections, policy).as_slice() {
        [] => Err(FaceReason::NoFace),
        [one] => Ok(one),
        _ => Err(FaceReason::SeveralFaces),
    }
}

/// A small box in the middle of a large one is the same face seen twice, not a second person.
fn centre_inside(inner: &Bounds, outer: &Bounds) -> bool {
    let (cx, cy) = (inner.x + inner.width / 2.0, inner.y + inner.height / 2.0);
    (outer.x..outer.x + outer.width).contains(&cx) && (outer.y..outer.y + outer.height).contains(&cy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Point;

    fn face(score: f32, x: f32, width: f32) -> Detection {
        Detection { score, bounds: Bounds { x, y: 0.0, width, height: width }, points: [Point::default(); 6] }
    }

    const GOOD: Quality = Quality {
        inter_eye_px: 90.0,
        head_size: 0.4,
        crop_left: 0.0,
        crop_right: 0.0,
        crop_above: 0.0,
        crop_below: 0.0,
        roll_degrees: 2.0,
        yaw_ratio: 0.05,
        nose_height: 0.5,
        overexposed: 0.01,
        underexposed: 0.1,
        luminance: 120.0,
        dynamic_range: 150.0,
        luminance_variance: 2000.0,
        sharpness: 0.05,
        blockiness: 1.05,
    };

    #[test]
    fn faces_below_the_floor_do_not_count() {
        let policy = GatePolicy::selfie();
        let ghost = face(0.55, 0.0, 100.0);
        assert_eq!(dominant(std::slice::from_ref(&ghost), &policy), Err(FaceReason::NoFace));
        let real = face(0.9, 300.0, 80.0);
        assert_eq!(dominant(&[ghost, real.clone()], &policy), Ok(&real));
        assert_eq!(dominant(&[], &policy), Err(FaceReason::NoFace));
    }

    #[test]
    fn a_second_face_counts_by_its_size_and_place() {
        let policy = GatePolicy::selfie();
        let main = face(0.9, 0.0, 100.0);
        let beside = face(0.9, 200.0, 60.0);
        let far_away = face(0.95, 200.0, 40.0);
        let inside = face(0.8, 20.0, 60.0);
        assert_eq!(dominant(&[main.clone(), beside.clone()], &policy), Err(FaceReason::SeveralFaces));
        assert_eq!(counted(&[main.clone(), beside], &policy).len(), 2);
        assert_eq!(dominant(&[far_away.clone(), main.clone()], &policy), Ok(&main));
        assert_eq!(dominant(&[main.clone(), inside], &policy), Ok(&main));
        // On a portrait, a smaller one is already too many.
        assert_eq!(dominant(&[main, far_away], &GatePolicy::portrait()), Err(FaceReason::SeveralFaces));
    }

    #[test]
    fn each_limit_has_its_own_reason() {
        use FaceReason as Reason;
        let policy = GatePolicy::selfie();
        assert_eq!(check(&GOOD, &policy), Ok(()));
        let cases = [
            (Quality { inter_eye_px: 20.0, ..GOOD }, "inter_eye_distance", Reason::TooSmall),
            (Quality { inter_eye_px: f32::NAN, ..GOOD }, "inter_eye_distance", Reason::TooSmall),
            (Quality { head_size: 0.05, ..GOOD }, "head_size", Reason::TooSmall),
            (Quality { head_size: 1.3, ..GOOD }, "head_size", Reason::TooLarge),
            (Quality { crop_left: 0.2, ..GOOD }, "leftward_crop", Reason::Cropped),
            (Quality { crop_right: 0.2, ..GOOD }, "rightward_crop", Reason::Cropped),
            (Quality { crop_above: 0.2, ..GOOD }, "margin_above", Reason::Cropped),
            (Quality { crop_below: 0.2, ..GOOD }, "margin_below", Reason::Cropped),
            (Quality { roll_degrees: -50.0, ..GOOD }, "head_pose_roll", Reason::Rolled),
            (Quality { yaw_ratio: -0.6, ..GOOD }, "head_pose_yaw", Reason::Turned),
            (Quality { nose_height: 0.95, ..GOOD }, "head_pose_pitch", Reason::Tilted),
            (Quality { nose_height: 0.05, ..GOOD }, "head_pose_pitch", Reason::Tilted),
            (Quality { nose_height: f32::INFINITY, ..GOOD }, "head_pose_pitch", Reason::Tilted),
            (Quality { overexposed: 0.8, ..GOOD }, "over_exposure", Reason::Overexposed),
            (Quality { underexposed: 0.9, ..GOOD }, "under_exposure", Reason::Underexposed),
            (Quality { luminance: 5.0, ..GOOD }, "luminance_mean", Reason::Underexposed),
            (Quality { luminance: 250.0, ..GOOD }, "luminance_mean", Reason::Overexposed),
            (Quality { dynamic_range: 10.0, ..GOOD }, "dynamic_range", Reason::LowContrast),
            (Quality { luminance_variance: 5.0, ..GOOD }, "luminance_variance", Reason::LowContrast),
            (Quality { sharpness: 0.0, ..GOOD }, "sharpness", Reason::Blurred),
            (Quality { blockiness: 6.0, ..GOOD }, "compression_artifacts", Reason::Overcompressed),
            (Quality { blockiness: f32::NAN, ..GOOD }, "compression_artifacts", Reason::Overcompressed),
        ];
        for (quality, gate, reason) in &cases {
            assert_eq!(check(quality, &policy), Err(*reason), "{gate}");
            let failed: Vec<GateResult> = results(quality, &policy).filter(|result| result.reason.is_some()).collect();
            assert_eq!(failed.iter().map(|result| result.gate).collect::<Vec<_>>(), [*gate]);
        }
        for gate in &GATES {
            assert!(cases.iter().any(|(_, name, _)| *name == gate.name), "{} is not tried", gate.name);
        }
    }

    #[test]
    fn a_limit_itself_passes() {
        let policy = GatePolicy::selfie();
        for gate in &GATES {
            let GateResult { least, most, .. } = gate.result(&GOOD, &policy);
            assert!(least.is_some() || most.is_some(), "{} has no limit", gate.name);
        }
        let edge = Quality { inter_eye_px: policy.min_inter_eye_px, roll_degrees: policy.max_roll_degrees, ..GOOD };
        assert_eq!(check(&edge, &policy), Ok(()));
    }
}
