//! Five landmarks inside a box, by cascaded regression trees.

use std::hint::black_box;

use pulp::{Arch, Simd, WithSimd};

use crate::geometry::{Bounds, PixelRect, Similarity};
use crate::image::RgbImage;
use crate::pack::dlib::shape::{
    COORDINATES, Cascade, DEPTH, LANES, LEAVES, POINTS, SAMPLES, SPLITS, ShapePredictor, Tree,
};

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

/// Places the landmarks of one face.
pub(crate) fn predict(model: &ShapePredictor, image: &RgbImage, area: &PixelRect) -> Landmarks {
    let mut face = Progress::new(model, image, area);
    advance(model, std::slice::from_mut(&mut face));
    face.landmarks()
}

/// Faces that go through the cascade side by side. Each of its steps is fetched from memory once for all of them; of more
/// faces, what they see of their pictures would not stay in the processor's cache from one step to the next.
pub(crate) const ABREAST: usize = 4;

/// Places the landmarks of some faces side by side.
pub(crate) fn predict_all(model: &ShapePredictor, faces: &[(&RgbImage, PixelRect)]) -> Vec<Landmarks> {
    let mut faces: Vec<Progress> = faces.iter().map(|(image, area)| Progress::new(model, image, area)).collect();
    advance(model, &mut faces);
    faces.iter().map(Progress::landmarks).collect()
}

/// A face on its way through the cascade.
struct Progress<'a> {
    image: &'a RgbImage,
    frame: Frame,
    shape: [f32; COORDINATES],
}

impl<'a> Progress<'a> {
    fn new(model: &ShapePredictor, image: &'a RgbImage, area: &PixelRect) -> Self {
        let frame = Frame {
            corner: [area.left as f64, area.top as f64],
            size: [(area.right - area.left) as f64, (area.bottom - area.top) as f64],
        };
        Self { image, frame, shape: model.initial }
    }

    fn landmarks(&self) -> Landmarks {
        let place = |axis: usize, at: f32| self.frame.place(axis, at).floor() as i64;
        Landmarks(std::array::from_fn(|point| [place(0, self.shape[2 * point]), place(1, self.shape[2 * point + 1])]))
    }
}

/// Runs the cascade. The arithmetic (32-bit shapes, 64-bit transforms, rounding) is the
/// reference implementation's, so that the points are the same to the pixel.
fn advance(model: &ShapePredictor, faces: &mut [Progress]) {
    let mean = points(&model.initial);
    let mut places = [0u64; SAMPLES];
    let mut samples = Samples([0; SAMPLES]);
    let mut reached = Vec::new();
    for step in &model.cascades {
        for Progress { image, frame, shape } in &mut *faces {
            let towards = Similarity::fit(&mean, &points(shape));
            let turn = [towards.a as f32, towards.b as f32];
            let places = &mut places[..step.samples()];
            Arch::new().dispatch(Places { step, image, frame, shape, turn, out: places });
            for (sample, place) in samples.0.iter_mut().zip(&*places) {
                *sample = grey(image, *place);
            }
            // All trees first, then all sums: what a tree answers does not depend on those before it.
            walk(step, &samples.0, &mut reached);
            Arch::new().dispatch(Sum { step, reached: &reached, shape });
        }
    }
}

/// What a step sees of a picture. Wiped when dropped.
struct Samples([i16; SAMPLES]);

impl Drop for Samples {
    fn drop(&mut self) {
        self.0 = [0; SAMPLES];
        zeroize::optimization_barrier(&self.0);
    }
}

/// The box that shapes lie in.
struct Frame {
    corner: [f64; 2],
    size: [f64; 2],
}

impl Frame {
    /// Rounded down, this is the nearest whole pixel.
    #[inline(always)]
    fn place(&self, axis: usize, at: f32) -> f64 {
        self.corner[axis] + f64::from(at) * self.size[axis] + 0.5
    }
}

/// Where in the picture's data the samples lie: as many at a time as the processor has lanes.
struct Places<'a> {
    step: &'a Cascade,
    image: &'a RgbImage,
    frame: &'a Frame,
    shape: &'a [f32; COORDINATES],
    turn: [f32; 2],
    out: &'a mut [u64],
}

/// Of a sample outside the picture.
const NOWHERE: u64 = u64::MAX;

impl WithSimd for Places<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // Added to a whole number below it, it leaves that number in the lowest bits.
        const WHOLE: f64 = (1u64 << 52) as f64;
        let Self { step, image, frame, shape, turn: [a, b], out } = self;
        let (columns, rows) = (image.width() as f64, image.height() as f64);
        let mut start = 0;
        for (point, end) in step.ends.iter().enumerate() {
            let (x, y) = (shape[2 * point], shape[2 * point + 1]);
            let (dx, dy, out) = (&step.deltas[0][start..*end], &step.deltas[1][start..*end], &mut out[start..*end]);
            for i in 0..out.len() {
                let across = frame.place(0, (a * dx[i] - b * dy[i]) + x);
                let down = frame.place(1, (b * dx[i] + a * dy[i]) + y);
                // Not so outside the picture, and where there is no number.
                let inside = (across >= 0.0) & (down >= 0.0) & (across < columns) & (down < rows);
                let at = (down.floor() * columns + across.floor()) * 3.0;
                let at = (at + WHOLE).to_bits() & ((1 << 52) - 1);
                out[i] = if inside { at } else { NOWHERE };
            }
            start = *end;
        }
    }
}

/// Trees that are walked side by side, so that one waits for memory while others go on.
const TREES: usize = 8;

/// The leaf that each tree ends in.
fn walk(step: &Cascade, samples: &[i16; SAMPLES], reached: &mut Vec<u8>) {
    reached.clear();
    reached.reserve(step.trees.len());
    let (groups, rest) = step.trees.as_chunks::<TREES>();
    for trees in groups {
        reached.extend(ends(trees, samples));
    }
    for tree in rest {
        reached.extend(ends(std::array::from_ref(tree), samples));
    }
}

/// The leaves of trees that are walked side by side.
#[inline(always)]
fn ends<const N: usize>(trees: &[Tree; N], samples: &[i16; SAMPLES]) -> [u8; N] {
    let mut nodes = [0usize; N];
    for _ in 0..DEPTH {
        for (tree, node) in trees.iter().zip(&mut nodes) {
            *node = 2 * *node + 2 - usize::from(tree.0[*node % LEAVES].exceeds(samples));
        }
    }
    nodes.map(|node| node.wrapping_sub(SPLITS) as u8)
}

/// Adds what the leaves say, in the order of their trees.
struct Sum<'a> {
    step: &'a Cascade,
    reached: &'a [u8],
    shape: &'a mut [f32; COORDINATES],
}

impl WithSimd for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { step, reached, shape } = self;
        // They lie all over megabytes. Touched first, memory brings many at a time; the sums alone would wait for one
        // after another.
        let mut touched = 0;
        for (leaves, leaf) in step.leaves.as_chunks::<LEAVES>().0.iter().zip(reached) {
            touched ^= leaves[usize::from(*leaf) % LEAVES].0[0].to_bits();
        }
        black_box(touched);
        let mut sums = [0f32; LANES];
        sums[..COORDINATES].copy_from_slice(shape);
        for (leaves, leaf) in step.leaves.as_chunks::<LEAVES>().0.iter().zip(reached) {
            let changes = &leaves[usize::from(*leaf) % LEAVES].0;
            for lane in 0..LANES {
                sums[lane] += changes[lane];
            }
        }
        shape.copy_from_slice(&sums[..COORDINATES]);
    }
}

fn points(shape: &[f32; COORDINATES]) -> [[f64; 2]; POINTS] {
    std::array::from_fn(|p| [f64::from(shape[2 * p]), f64::from(shape[2 * p + 1])])
}

/// The mean of the three channels of a pixel, rounded down; black outside the picture.
fn grey(image: &RgbImage, at: u64) -> i16 {
    let pixel = usize::try_from(at).ok().and_then(|at| image.data().get(at..)).and_then(<[u8]>::first_chunk::<3>);
    let [r, g, b] = pixel.unwrap_or(&[0; 3]).map(u16::from);
    ((r + g + b) / 3) as i16
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
        let deltas = [[0.0, 0.0], [1e9, -1e9], [-3.0, 4.0], [f32::NAN, 0.0], [f32::INFINITY, 0.0]];
        let (splits, leaves) = ([split; SPLITS], [[0.0; COORDINATES]; LEAVES]);
        let step = Cascade::new(&[0, 1, 2, 3, 4], &deltas, &splits, &leaves);
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
        assert_eq!([grey(&image, 45), grey(&image, 46), grey(&image, NOWHERE)], [9, 0, 0]);
    }
}
