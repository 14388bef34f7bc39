//! Alignment by the detector's own points, into the frame of ArcFace networks (Deng et al.,
//! CVPR 2019): eyes, nose and mouth at fixed places of 112 x 112 pixels.
//!
//! The detector gives the middle of the mouth, not its corners: the template's mouth point is
//! the mean of its two. A landmarker of the pack's own gives both corners, and the template's five
//! points are used as they are.

use super::chip::{Chip, EYES};
use super::detect::Detection;
use super::landmarks::Landmarks;
use crate::geometry::Similarity;

/// The eye on the picture's left, the one on its right, tip of the nose, left and right corner of
/// the mouth.
const FIVE: [[f64; 2]; 5] =
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];
/// The same with the middle of the mouth.
const TEMPLATE: [[f64; 2]; 4] =
    [FIVE[0], FIVE[1], FIVE[2], [(FIVE[3][0] + FIVE[4][0]) / 2.0, (FIVE[3][1] + FIVE[4][1]) / 2.0]];
/// The side that the template is for; other sides are scaled.
const SIDE: f64 = 112.0;

/// From the template's frame to the picture.
pub(crate) struct Alignment(Similarity);

impl Alignment {
    /// The least-squares fit, picture to template as in the original, turned round. `None` where
    /// the points make no face.
    pub(crate) fn of(detection: &Detection) -> Option<Self> {
        let [right, left, nose, mouth, ..] = detection.points;
        let points = [right, left, nose, mouth].map(|p| [f64::from(p.x), f64::from(p.y)]);
        Similarity::fit(&points, &TEMPLATE).inverse().map(Self)
    }

    /// The same from a landmarker's five points, in the order of the template.
    pub(crate) fn of_five(points: &[[f64; 2]; 5]) -> Option<Self> {
        Similarity::fit(points, &FIVE).inverse().map(Self)
    }

    /// From the pixels of a crop of this side to the picture.
    pub(crate) fn crop(&self, side: usize) -> Similarity {
        self.0.after(SIDE / side as f64, [0.0, 0.0])
    }

    /// From the pixels of a [`Chip`] to the picture: the eyes lie where a chip has them, so
    /// that gates and replay guard see the same part of the face whatever the aligner.
    pub(crate) fn chip(&self) -> Similarity {
        let scale = (TEMPLATE[1][0] - TEMPLATE[0][0]) / (EYES[1][0] - EYES[0][0]);
        let middle = |points: [[f64; 2]; 2], axis: usize| (points[0][axis] + points[1][axis]) / 2.0;
        let offset = [0, 1].map(|axis| middle([TEMPLATE[0], TEMPLATE[1]], axis) - scale * middle(EYES, axis));
        self.0.after(scale, offset)
    }

    /// Where a mean face in this place has the five landmarks of the other aligner.
    pub(crate) fn landmarks(&self) -> Landmarks {
        let chip = self.chip();
        Landmarks(Chip::mean_landmarks().map(|place| chip.apply(place).map(|v| v.round() as i64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::chip::ChipPlan;
    use crate::geometry::{Bounds, Point};
    use crate::image::RgbImage;

    fn detection(points: [[f64; 2]; 4]) -> Detection {
        let point = |p: [f64; 2]| Point { x: p[0] as f32, y: p[1] as f32 };
        let [a, b, c, d] = points.map(point);
        Detection {
            score: 0.9,
            bounds: Bounds { x: 0.0, y: 0.0, width: 10.0, height: 10.0 },
            points: [a, b, c, d, Point::default(), Point::default()],
        }
    }

    #[test]
    fn each_point_of_the_template_comes_from_its_point_of_the_picture() {
        let known = Similarity { a: 2.1, b: -0.6, tx: 140.0, ty: 220.0 };
        let points = TEMPLATE.map(|p| known.apply(p));
        let alignment = Alignment::of(&detection(points)).unwrap();
        for side in [112, 128, 224] {
            let crop = alignment.crop(side);
            for (template, point) in TEMPLATE.iter().zip(points) {
                let found = crop.apply(template.map(|v| v * side as f64 / 112.0));
                assert!((found[0] - point[0]).abs() < 1e-3 && (found[1] - point[1]).abs() < 1e-3, "{found:?}");
            }
        }
    }

    #[test]
    fn the_template_is_the_published_one_and_four_points_and_five_agree_on_it() {
        // Deng et al., "ArcFace", CVPR 2019: the frame of 112 x 112 pixels.
        let published = [38.2946, 51.6963, 73.5318, 51.5014, 56.0252, 71.7366, 41.5493, 92.3655, 70.7299, 92.2041];
        assert_eq!(FIVE.as_flattened(), published);
        assert_eq!(TEMPLATE[..3], FIVE[..3]);
        assert!((TEMPLATE[3][0] - 56.1396).abs() < 1e-9 && (TEMPLATE[3][1] - 92.2848).abs() < 1e-9);
        // A face that is the template, moved: both ways find the movement.
        let known = Similarity { a: 1.3, b: 0.4, tx: 91.0, ty: -12.0 };
        let four = Alignment::of(&detection(TEMPLATE.map(|p| known.apply(p)))).unwrap();
        let five = Alignment::of_five(&FIVE.map(|p| known.apply(p))).unwrap();
        for found in [four.crop(112), five.crop(112)] {
            let difference = [found.a - known.a, found.b - known.b, found.tx - known.tx, found.ty - known.ty];
            assert!(difference.iter().all(|d| d.abs() < 1e-3), "{found:?}");
        }
    }

    #[test]
    fn the_chip_has_its_eyes_where_the_other_aligner_puts_them() {
        let alignment = Alignment::of(&detection(TEMPLATE)).unwrap();
        for (eye, template) in EYES.iter().zip(&TEMPLATE) {
            let [x, y] = alignment.chip().apply(*eye);
            assert!((x - template[0]).abs() < 0.1 && (y - template[1]).abs() < 0.2, "{x} {y}");
        }
    }

    #[test]
    fn a_crop_at_the_pictures_own_scale_is_the_picture_at_any_pyramid_level() {
        // A plane: whatever resamples it without moving it gives the plane again.
        let plane = |x: f64, y: f64| [(20.0 + x / 4.0) as u8, (10.0 + y / 4.0) as u8, 99];
        let data = (0..600).flat_map(|y| (0..600).flat_map(move |x| plane(f64::from(x), f64::from(y)))).collect();
        let image = RgbImage::new(600, 600, data).unwrap();
        for scale in [1.0, 1.7, 3.0, 4.5] {
            let known = Similarity { a: scale, b: 0.0, tx: 40.0, ty: 30.0 };
            let alignment = Alignment::of(&detection(TEMPLATE.map(|p| known.apply(p)))).unwrap();
            let chip = ChipPlan::arcface(&image, Some(&alignment), 112).render();
            let crop = chip.input();
            assert_eq!(crop.len(), 112 * 112 * 3);
            for at in [0usize, 30, 56, 100] {
                let [x, y] = known.apply([at as f64, 56.0]);
                let pixel = &crop[(56 * 112 + at) * 3..][..3];
                for (found, expected) in pixel.iter().zip(plane(x, y)) {
                    assert!(found.abs_diff(expected) <= 2, "scale {scale} at {at}: {found} for {expected}");
                }
            }
        }
    }

    #[test]
    fn points_that_make_no_face_give_a_black_chip_and_do_no_harm() {
        let image = RgbImage::new(64, 64, vec![200; 64 * 64 * 3]).unwrap();
        let (nan, far) = (f64::NAN, f64::from(f32::MAX));
        let mirrored = TEMPLATE.map(|[x, y]| [-x, y]);
        for points in [[[nan; 2]; 4], [[far; 2]; 4], [[0.0, 0.0], [far, far], [-far, 3.0], [1.0, far]], mirrored] {
            let alignment = Alignment::of(&detection(points));
            let chip = ChipPlan::arcface(&image, alignment.as_ref(), 112).render();
            assert_eq!((chip.pixels().len(), chip.input().len()), (150 * 150 * 3, 112 * 112 * 3));
            if let Some(alignment) = alignment {
                let _ = alignment.landmarks();
            }
        }
        let nothing = ChipPlan::arcface(&image, None, 112).render();
        assert!(nothing.pixels().iter().chain(nothing.input()).all(|v| *v == 0));
    }
}
