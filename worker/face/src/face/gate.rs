//! Is this the one usable face of its picture?

use super::detect::Detection;
use super::quality::Quality;
use crate::geometry::Bounds;
use crate::outcome::FaceReason;
use crate::policy::GatePolicy;

/// The one face that dominates the picture.
pub fn dominant<'a>(detections: &'a [Detection], policy: &GatePolicy) -> Result<&'a Detection, FaceReason> {
    let mut faces: Vec<&Detection> = detections.iter().filter(|face| face.score >= policy.score_floor).collect();
    faces.sort_by(|a, b| b.bounds.width.total_cmp(&a.bounds.width));
    let (first, others) = faces.split_first().ok_or(FaceReason::NoFace)?;
    let rival = others.iter().any(|other| {
        other.bounds.width >= policy.second_face_ratio * first.bounds.width
            && !centre_inside(&other.bounds, &first.bounds)
    });
    if rival {
        return Err(FaceReason::SeveralFaces);
    }
    Ok(first)
}

/// A small box in the middle of a large one is the same face seen twice, not a second person.
fn centre_inside(inner: &Bounds, outer: &Bounds) -> bool {
    let (cx, cy) = (inner.x + inner.width / 2.0, inner.y + inner.height / 2.0);
    (outer.x..outer.x + outer.width).contains(&cx) && (outer.y..outer.y + outer.height).contains(&cy)
}

/// The first limit that the face breaks.
pub fn check(quality: &Quality, policy: &GatePolicy) -> Result<(), FaceReason> {
    let [low, high] = policy.nose_height;
    let posed = quality.roll_degrees.abs() <= policy.max_roll_degrees
        && quality.yaw_ratio.abs() <= policy.max_yaw_ratio
        && (low..=high).contains(&quality.nose_height)
        && quality.cropped <= policy.max_cropped;
    if !at_least(quality.inter_eye_px, policy.min_inter_eye_px) {
        Err(FaceReason::TooSmall)
    } else if !posed {
        Err(FaceReason::Pose)
    } else if !at_least(policy.max_overexposed, quality.overexposed) {
        Err(FaceReason::Overexposed)
    } else if !at_least(quality.luminance, policy.min_luminance)
        || !at_least(quality.dynamic_range, policy.min_dynamic_range)
    {
        Err(FaceReason::Underexposed)
    } else if !at_least(quality.sharpness, policy.min_sharpness) {
        Err(FaceReason::Blurred)
    } else {
        Ok(())
    }
}

/// False for what is no number: that must fail a gate, not slip through it.
fn at_least(value: f32, limit: f32) -> bool {
    value >= limit
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
        roll_degrees: 2.0,
        yaw_ratio: 0.05,
        nose_height: 0.5,
        cropped: 0.0,
        sharpness: 0.05,
        luminance: 120.0,
        overexposed: 0.01,
        dynamic_range: 150.0,
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
        assert_eq!(dominant(&[main.clone(), beside], &policy), Err(FaceReason::SeveralFaces));
        assert_eq!(dominant(&[far_away.clone(), main.clone()], &policy), Ok(&main));
        assert_eq!(dominant(&[main.clone(), inside], &policy), Ok(&main));
        // On a portrait, a smaller one is already too many.
        assert_eq!(dominant(&[main, far_away], &GatePolicy::portrait()), Err(FaceReason::SeveralFaces));
    }

    #[test]
    fn each_limit_has_its_own_reason() {
        let policy = GatePolicy::selfie();
        assert_eq!(check(&GOOD, &policy), Ok(()));
        let cases = [
            (Quality { inter_eye_px: 20.0, ..GOOD }, FaceReason::TooSmall),
            (Quality { roll_degrees: -50.0, ..GOOD }, FaceReason::Pose),
            (Quality { yaw_ratio: 0.6, ..GOOD }, FaceReason::Pose),
            (Quality { nose_height: 0.95, ..GOOD }, FaceReason::Pose),
            (Quality { nose_height: f32::INFINITY, ..GOOD }, FaceReason::Pose),
            (Quality { cropped: 0.4, ..GOOD }, FaceReason::Pose),
            (Quality { overexposed: 0.8, ..GOOD }, FaceReason::Overexposed),
            (Quality { luminance: 5.0, ..GOOD }, FaceReason::Underexposed),
            (Quality { dynamic_range: 10.0, ..GOOD }, FaceReason::Underexposed),
            (Quality { sharpness: 0.0, ..GOOD }, FaceReason::Blurred),
            (Quality { inter_eye_px: f32::NAN, ..GOOD }, FaceReason::TooSmall),
        ];
        for (quality, reason) in cases {
            assert_eq!(check(&quality, &policy), Err(reason), "{quality:?}");
        }
    }
}
