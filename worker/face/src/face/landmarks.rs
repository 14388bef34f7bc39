//! Five landmarks inside a box, by cascaded regression trees.

use zeroize::Zeroize;

use crate::geometry::{Bounds, PixelRect, Similarity};
use crate::image::RgbImage;
use crate::pack::dlib::shape::{COORDINATES, DEPTH, LEAVES, POINTS, SPLITS, ShapePredictor};

/// Outer and inner corner of the eye on the picture's right, outer and inner corner of the eye
/// on its left, bottom of the nose: whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landmarks(pub [[i64; 2]; POINTS]);

impl Drop for Samples {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

struct Samples(Vec<f32>);

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
    let place = |x: f32, y: f32| -> [i64; 2] {
        [(left + f64::from(x) * width + 0.5).floor() as i64, (top + f64::from(y) * height + 0.5).floor() as i64]
    };

    let mean = points(&model.initial);
    let mut shape = model.initial;
    let mut samples = Samples(Vec::new());
    for step in &model.cascades {
        let towards = Similarity::fit(&mean, &points(&shape));
        let (a, b) = (towards.a as f32, towards.b as f32);
        samples.0.clear();
        for (anchor, delta) in step.anchors.iter().zip(&step.deltas) {
            let anchor = usize::from(*anchor) * 2;
            let x = (a * delta[0] - b * delta[1]) + shape[anchor];
            let y = (b * delta[0] + a * delta[1]) + shape[anchor + 1];
            let [x, y] = place(x, y);
            samples.0.push(grey(image, x, y));
        }
        let trees = step.splits.chunks_exact(SPLITS).zip(step.leaves.chunks_exact(LEAVES));
        for (splits, leaves) in trees {
            let mut node = 0;
            for _ in 0..DEPTH {
                let split = &splits[node];
                let difference = samples.0[usize::from(split.first)] - samples.0[usize::from(split.second)];
                node = 2 * node + if difference > split.threshold { 1 } else { 2 };
            }
            for (value, change) in shape.iter_mut().zip(&leaves[node - SPLITS]) {
                *value += change;
            }
        }
    }
    Landmarks(std::array::from_fn(|point| place(shape[2 * point], shape[2 * point + 1])))
}

fn points(shape: &[f32; COORDINATES]) -> [[f64; 2]; POINTS] {
    std::array::from_fn(|p| [f64::from(shape[2 * p]), f64::from(shape[2 * p + 1])])
}

/// The mean of the three channels, rounded down; 0 outside the picture.
fn grey(image: &RgbImage, x: i64, y: i64) -> f32 {
    let inside = |v: i64, length: usize| usize::try_from(v).ok().filter(|v| *v < length);
    match (inside(x, image.width()), inside(y, image.height())) {
        (Some(x), Some(y)) => {
            let [r, g, b] = image.at(x, y).map(u16::from);
            f32::from((r + g + b) / 3)
        }
        _ => 0.0,
    }
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

    #[test]
    fn a_box_far_outside_the_picture_does_no_harm() {
        let image = RgbImage::new(4, 4, vec![9; 48]).unwrap();
        assert_eq!(grey(&image, -1, 0), 0.0);
        assert_eq!(grey(&image, 4, 0), 0.0);
        assert_eq!(grey(&image, i64::MAX, i64::MIN), 0.0);
        assert_eq!(grey(&image, 3, 3), 9.0);
    }
}
