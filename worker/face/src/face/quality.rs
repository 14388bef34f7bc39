//! What can honestly be measured about one face. Names follow ISO/IEC 29794-5 where it has one.

use super::chip::Chip;
use super::detect::Detection;

/// Measurements of one face in one picture.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Quality {
    /// InterEyeDistance: between the centres of the eyes, in pixels of the picture.
    pub inter_eye_px: f32,
    /// HeadPose, roll: the angle of the line through the eyes, in degrees, clockwise.
    pub roll_degrees: f32,
    /// HeadPose, yaw, coarsely: the nose's distance from the middle of the eyes along the line
    /// through them, in inter-eye distances. 0 is frontal.
    pub yaw_ratio: f32,
    /// HeadPose, pitch, coarsely: the nose's height between eyes (0) and mouth (1).
    pub nose_height: f32,
    /// Share of the detected face that lies outside the picture.
    pub cropped: f32,
    /// Sharpness: variance of the Laplacian over variance, on the aligned face.
    pub sharpness: f32,
    /// LuminanceMean of the aligned face, of 255.
    pub luminance: f32,
    /// OverExposure: share of the aligned face at luminance 250 or above.
    pub overexposed: f32,
    /// DynamicRange: between the 5th and 95th percentiles of luminance, of 255.
    pub dynamic_range: f32,
}

impl Quality {
    /// For ranking the frames of one attempt; not a calibrated score.
    pub(crate) fn rank(&self, detection_score: f32) -> f32 {
        let size = (self.inter_eye_px / 90.0).min(1.0);
        let frontal = (1.0 - self.yaw_ratio.abs()).max(0.0);
        let sharp = (self.sharpness / 0.02).clamp(0.05, 1.0).sqrt();
        detection_score * size * frontal * sharp
    }
}

/// Measures a face in a picture of this width and height.
pub fn measure(size: (usize, usize), detection: &Detection, chip: &Chip) -> Quality {
    let pose = Pose::of(detection);
    let light = Light::of(chip);
    Quality {
        inter_eye_px: pose.inter_eye,
        roll_degrees: pose.roll,
        yaw_ratio: pose.yaw,
        nose_height: pose.nose_height,
        cropped: cropped(size, detection),
        sharpness: light.sharpness,
        luminance: light.mean,
        overexposed: light.overexposed,
        dynamic_range: light.range,
    }
}

struct Pose {
    inter_eye: f32,
    roll: f32,
    yaw: f32,
    nose_height: f32,
}

impl Pose {
    fn of(detection: &Detection) -> Self {
        // The person's right eye is on the picture's left.
        let [right, left, nose, mouth, ..] = detection.points;
        let (dx, dy) = (left.x - right.x, left.y - right.y);
        let inter_eye = dx.hypot(dy).max(f32::EPSILON);
        let (ux, uy) = (dx / inter_eye, dy / inter_eye);
        let middle = ((left.x + right.x) / 2.0, (left.y + right.y) / 2.0);
        let along = |x: f32, y: f32| (x - middle.0) * ux + (y - middle.1) * uy;
        let below = |x: f32, y: f32| (y - middle.1) * ux - (x - middle.0) * uy;
        let mouth_depth = below(mouth.x, mouth.y);
        Self {
            inter_eye,
            roll: dy.atan2(dx).to_degrees(),
            yaw: along(nose.x, nose.y) / inter_eye,
            nose_height: if mouth_depth > 0.0 {
                below(nose.x, nose.y) / mouth_depth
            } else {
                // A mouth above the eyes is no pose that any limit allows.
                f32::INFINITY
            },
        }
    }
}

fn cropped((width, height): (usize, usize), detection: &Detection) -> f32 {
    let b = &detection.bounds;
    let inside = |start: f32, length: f32, limit: usize| {
        ((start + length).min(limit as f32) - start.max(0.0)).clamp(0.0, length)
    };
    let visible = inside(b.x, b.width, width) * inside(b.y, b.height, height);
    1.0 - visible / (b.width * b.height).max(f32::EPSILON)
}

struct Light {
    sharpness: f32,
    mean: f32,
    overexposed: f32,
    range: f32,
}

/// The part of the chip that the face itself fills.
const FACE: std::ops::Range<usize> = 30..120;

impl Light {
    fn of(chip: &Chip) -> Self {
        let luminance = luminance(chip);
        let at = |x: usize, y: usize| f32::from(luminance[y * Chip::SIDE + x]);
        let mut histogram = [0u32; 256];
        let (mut sum, mut squares) = (0f64, 0f64);
        let (mut edges, mut edge_squares) = (0f64, 0f64);
        for y in FACE {
            for x in FACE {
                let value = at(x, y);
                histogram[value as usize] += 1;
                sum += f64::from(value);
                squares += f64::from(value * value);
                let laplacian = at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * value;
                edges += f64::from(laplacian);
                edge_squares += f64::from(laplacian * laplacian);
            }
        }
        let count = (FACE.len() * FACE.len()) as f64;
        let variance = |sum: f64, squares: f64| (squares / count - (sum / count).powi(2)).max(0.0);
        let contrast = variance(sum, squares);
        let percentile = |share: f64| {
            let wanted = (count * share) as u32;
            let mut seen = 0;
            histogram
                .iter()
                .position(|n| {
                    seen += n;
                    seen > wanted
                })
                .unwrap_or(255) as f32
        };
        Self {
            // One grey level of noise on a flat surface must not look sharp.
            sharpness: (variance(edges, edge_squares) / (contrast + 25.0)) as f32,
            mean: (sum / count) as f32,
            overexposed: (f64::from(histogram[250..].iter().sum::<u32>()) / count) as f32,
            range: percentile(0.95) - percentile(0.05),
        }
    }
}

/// Luminance by ITU-R BT.601, of each pixel of the chip.
pub(crate) fn luminance(chip: &Chip) -> zeroize::Zeroizing<Vec<u8>> {
    let values = chip.pixels().chunks_exact(3).map(|p| {
        let weighted = 77 * u32::from(p[0]) + 150 * u32::from(p[1]) + 29 * u32::from(p[2]);
        (weighted >> 8) as u8
    });
    zeroize::Zeroizing::new(values.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Bounds, Point};

    fn detection(points: [[f32; 2]; 6]) -> Detection {
        Detection {
            score: 0.9,
            bounds: Bounds { x: 50.0, y: 50.0, width: 100.0, height: 100.0 },
            points: points.map(|[x, y]| Point { x, y }),
        }
    }

    fn chip(value: impl Fn(usize, usize) -> u8) -> Chip {
        let pixels = (0..Chip::SIDE)
            .flat_map(|y| (0..Chip::SIDE).map(move |x| (x, y)))
            .flat_map(|(x, y)| [value(x, y); 3])
            .collect();
        Chip::new(pixels).unwrap()
    }

    #[test]
    fn a_frontal_face_has_no_roll_and_no_yaw() {
        let d = detection([[80., 80.], [120., 80.], [100., 100.], [100., 120.], [60., 85.], [140., 85.]]);
        let pose = Pose::of(&d);
        assert_eq!((pose.inter_eye, pose.roll, pose.yaw), (40.0, 0.0, 0.0));
        assert_eq!(pose.nose_height, 0.5);
    }

    #[test]
    fn roll_does_not_disturb_yaw_and_pitch() {
        // The same face turned by 90 degrees clockwise.
        let d = detection([[120., 80.], [120., 120.], [90., 110.], [80., 100.], [0., 0.], [0., 0.]]);
        let pose = Pose::of(&d);
        assert!((pose.roll - 90.0).abs() < 1e-4);
        assert!((pose.yaw - 0.25).abs() < 1e-6);
        assert!((pose.nose_height - 0.75).abs() < 1e-6);
    }

    #[test]
    fn a_face_half_outside_is_half_cropped() {
        assert!((cropped((100, 200), &detection([[0.0; 2]; 6])) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn light_and_sharpness_tell_flat_bright_and_busy_apart() {
        let flat = Light::of(&chip(|_, _| 10));
        assert_eq!((flat.sharpness, flat.range, flat.mean), (0.0, 0.0, 10.0));
        let burnt = Light::of(&chip(|_, _| 255));
        assert!(burnt.overexposed > 0.99);
        let busy = Light::of(&chip(|x, y| if (x + y) % 2 == 0 { 0 } else { 255 }));
        let smooth = Light::of(&chip(|x, _| x as u8));
        assert!(busy.sharpness > 10.0 && smooth.sharpness < 1e-3);
        assert!(smooth.range > 70.0);
    }
}
