//! Five landmarks inside a box, by cascaded regression trees.

use std::hint::black_box;

use crate::geometry::{Bounds, PixelRect, Similarity};
use crate::image::RgbImage;
use crate::pack::dlib::shape::{COORDINATES, Cascade, DEPTH, LEAVES, POINTS, SPLITS, ShapePredictor};
use crate::wipe::Wiped;

/// Trees that are walked side by side, so that one waits for memory while others go on.
const ABREAST: usize = 8;

/// Outer and inner corner of the eye on the picture's right, outer and inner corner of the eye
/// on its left, bottom of the nose: whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landmarks(pub [[i64; 2]; POINTS]);

/// The box that the landmarks are looked for in: the detector's, enlarged about its centre.
pub fn search_box(bounds: &Bounds, scale: f32) -> PixelRect {
    let (cx, cy) = (bounds.x + bounds.width / 2.0, bounds.y + bounds.height / 2.0);
    let (w, h) = (bounds.width * scale, bounds.height * scale);
    let whole = |v: f32| f64::from(v + 0.5).floor() as i64;
    let (left, top) = (whole(cx - w / 2.0), whole(cy - h / 2.0));
    PixelRect { left, top, right: (left + whole(w) - 1).max(left), bottom: (top + whole(h) - 1).max(top) }
}

/// Runs the cascade. The arithmetic (32-bit shapes, 64-bit transforms, rounding) is the
/// reference implementation's, so that the points are the same to the pixel.
pub(crate) fn predict(model: &ShapePredictor, image: &RgbImage, area: &PixelRect) -> Landmarks {
    let (left, top) = (area.left as f64, area.top as f64);
    let (width, height) = ((area.right - area.left) as f64, (area.bottom - area.top) as f64);
    // Rounded down, these are the nearest whole pixels.
    let place = |x: f32, y: f32| [left + f64::from(x) * width + 0.5, top + f64::from(y) * height + 0.5];
    let (columns, rows) = (image.width() as f64, image.height() as f64);

    let mean = points(&model.initial);
    let mut shape = model.initial;
    let mut samples = Wiped::with_capacity(model.cascades.iter().map(|step| step.anchors.len()).max().unwrap_or(0));
    let mut reached = Vec::new();
    for step in &model.cascades {
        let towards = Similarity::fit(&mean, &points(&shape));
        let (a, b) = (towards.a as f32, towards.b as f32);
        samples.clear();
        samples.extend(step.anchors.iter().zip(&step.deltas).map(|(anchor, delta)| {
            let anchor = usize::from(*anchor) * 2;
            let x = (a * delta[0] - b * delta[1]) + shape[anchor];
            let y = (b * delta[0] + a * delta[1]) + shape[anchor + 1];
            let [x, y] = place(x, y);
            // Outside the picture, and where there is no number, it is black.
            if x >= 0.0 && y >= 0.0 && x < columns && y < rows { grey(image, x as u32, y as u32) } else { 0.0 }
        }));
        // All trees first, then all sums: what a tree answers does not depend on those before it.
        walk(step, &samples, &mut reached);
        let leaves =
            || step.leaves.chunks_exact(LEAVES).zip(&reached).map(|(leaves, leaf)| &leaves[usize::from(*leaf)]);
        // They lie all over megabytes. Touched first, memory brings many at a time; the sums alone would wait for one
        // after another.
        black_box(leaves().fold(0, |sum, leaf| sum ^ leaf[0].to_bits() ^ leaf[COORDINATES - 1].to_bits()));
        for leaf in leaves() {
            for (value, change) in shape.iter_mut().zip(leaf) {
                *value += change;
            }
        }
    }
    Landmarks(std::array::from_fn(|point| place(shape[2 * point], shape[2 * point + 1]).map(|v| v.floor() as i64)))
}

/// The leaf that each tree ends in.
fn walk(step: &Cascade, samples: &[f32], reached: &mut Vec<u8>) {
    reached.clear();
    for trees in step.splits.chunks(ABREAST * SPLITS) {
        let mut nodes = [0usize; ABREAST];
        for _ in 0..DEPTH {
            for (splits, node) in trees.chunks_exact(SPLITS).zip(&mut nodes) {
                let split = &splits[*node];
                let difference = samples[usize::from(split.first)] - samples[usize::from(split.second)];
                *node = 2 * *node + 2 - usize::from(difference > split.threshold);
            }
        }
        reached.extend(nodes.iter().take(trees.len() / SPLITS).map(|node| (node - SPLITS) as u8));
    }
}

fn points(shape: &[f32; COORDINATES]) -> [[f64; 2]; POINTS] {
    std::array::from_fn(|p| [f64::from(shape[2 * p]), f64::from(shape[2 * p + 1])])
}

/// The mean of the three channels, rounded down.
fn grey(image: &RgbImage, x: u32, y: u32) -> f32 {
    let [r, g, b] = image.at(x as usize, y as usize).map(u16::from);
    f32::from((r + g + b) / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_box_grows_about_the_centre() {
        let bounds = Bounds { x: 10.0, y: 20.0, width: 100.0, height: 50.0 };
        let area = search_box(&bounds, 1.2);
        assert_eq!((area.left, area.top), (0, 15));
        assert_eq!((area.right, area.bottom), (119, 74));
    }

    /// A predictor of one tree whose every leaf moves nothing, with samples all over and far outside.
    fn still() -> ShapePredictor {
        let split = crate::pack::dlib::shape::Split { first: 0, second: 1, threshold: 0.0 };
        let step = Cascade {
            anchors: vec![0, 1, 2, 3, 4],
            deltas: vec![[0.0, 0.0], [1e9, -1e9], [-3.0, 4.0], [f32::NAN, 0.0], [f32::INFINITY, 0.0]],
            splits: vec![split; SPLITS],
            leaves: vec![[0.0; COORDINATES]; LEAVES],
        };
        ShapePredictor { initial: [0.0, 0.0, 1.0, 0.0, 0.5, 0.5, 0.0, 1.0, 1.0, 1.0], cascades: vec![step] }
    }

    #[test]
    fn boxes_inside_and_far_outside_the_picture_do_no_harm() {
        let image = RgbImage::new(4, 4, vec![9; 48]).unwrap();
        let place = |left, top| {
            let area = PixelRect { left, top, right: left + 3, bottom: top + 3 };
            predict(&still(), &image, &area).0
        };
        assert_eq!(place(0, 0), [[0, 0], [3, 0], [2, 2], [0, 3], [3, 3]]);
        assert_eq!(place(-100, 1_000_000_000)[4], [-97, 1_000_000_003]);
        assert_eq!(grey(&image, 3, 3), 9.0);
    }
}
