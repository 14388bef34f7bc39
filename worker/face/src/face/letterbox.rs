//! A picture of any size as the detector's square input.

use pulp::{Arch, Simd, WithSimd};

use crate::image::RgbImage;
use crate::pack::DETECTOR_INPUT as SIDE;
use crate::wipe::Wiped;

/// The samples of a picture that the detector's input needs, how they are blended, and the way
/// back to the picture's pixels. Small enough to send to a device, which then does what
/// [`LetterboxPlan::render`] does. Wiped when dropped.
pub(crate) struct LetterboxPlan {
    /// Columns and rows that the input needs, and no others: at most twice SIDE each way.
    width: usize,
    height: usize,
    samples: Wiped<u8>,
    columns: Box<[Taps; SIDE]>,
    rows: Box<[Taps; SIDE]>,
    pub(crate) frame: Frame,
}

/// How the square lies over the picture: its side and corner, in the picture's pixels.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) side: f32,
    pub(crate) left: f32,
    pub(crate) top: f32,
}

/// The two samples that one input pixel lies between along an axis, with weights in 32nds; one
/// outside the picture has weight zero.
#[derive(Clone, Copy, Default)]
struct Taps {
    at: [u16; 2],
    weight: [u16; 2],
}

impl LetterboxPlan {
    /// Bytes of [`LetterboxPlan::describe`].
    pub(crate) const DESCRIPTOR: usize = 16 + 2 * SIDE * 8;
    /// Most memory that a plan holds, in bytes.
    pub(crate) const MOST: usize = 4 * SIDE * SIDE * 3 + 2 * SIDE * size_of::<Taps>();

    /// Scales the picture to fit, keeping its aspect, black around it.
    ///
    /// The detector was trained behind exactly this sampling (bilinear between the four nearest
    /// pixels, in 32nds of a pixel, without averaging; a neighbour outside counts as black), and
    /// its points move when the sampling does.
    pub(crate) fn new(image: &RgbImage) -> Self {
        let (width, height) = (image.width(), image.height());
        let side = width.max(height) as f64;
        let left = (width as f64 - side) / 2.0;
        let top = (height as f64 - side) / 2.0;
        let step = side / SIDE as f64;
        let (columns, wanted_columns) = taps(left, step, width);
        let (rows, wanted_rows) = taps(top, step, height);

        let runs = runs(&wanted_columns);
        let mut samples = Wiped::zeros(wanted_columns.len() * wanted_rows.len() * 3);
        for (row, out) in wanted_rows.iter().zip(samples.chunks_exact_mut(wanted_columns.len() * 3)) {
            let row = &image.data()[row * width * 3..][..width * 3];
            let mut rest = out;
            for (first, count) in &runs {
                let (out, behind) = rest.split_at_mut(3 * count);
                let from = &row[3 * first..][..3 * count];
                // Nearly always two, of a length that the compiler knows.
                match (out.first_chunk_mut::<6>(), from.first_chunk::<6>()) {
                    (Some(out), Some(from)) if *count == 2 => *out = *from,
                    _ => out.copy_from_slice(from),
                }
                rest = behind;
            }
        }
        let frame = Frame { side: side as f32, left: left as f32, top: top as f32 };
        Self { width: wanted_columns.len(), height: wanted_rows.len(), samples, columns, rows, frame }
    }

    /// Memory that it holds, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.samples.len() + 2 * size_of_val(&*self.columns)
    }

    /// The samples that the descriptor's offset refers to.
    pub(crate) fn samples(&self) -> &[u8] {
        &self.samples
    }

    /// The plan as the kernel reads it (`LetterboxPlan` in `cuda/pixel.h`), its samples lying at
    /// `offset`. `out` has [`Self::DESCRIPTOR`] bytes.
    pub(crate) fn describe(&self, offset: usize, out: &mut [u8]) {
        let (head, taps) = out.split_at_mut(16);
        head[..8].copy_from_slice(&(offset as u64).to_le_bytes());
        // Both are at most twice SIDE.
        head[8..12].copy_from_slice(&(self.width as i32).to_le_bytes());
        head[12..].copy_from_slice(&(self.height as i32).to_le_bytes());
        for (from, out) in self.columns.iter().chain(self.rows.iter()).zip(taps.chunks_exact_mut(8)) {
            let values = [from.at[0], from.at[1], from.weight[0], from.weight[1]];
            for (value, out) in values.iter().zip(out.chunks_exact_mut(2)) {
                out.copy_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// Makes the input: SIDE x SIDE RGB pixels.
    pub(crate) fn render(&self, out: &mut [u8]) {
        Arch::new().dispatch(Render { plan: self, out });
    }
}

/// First between rows, then between columns: the sums are whole numbers, so the order does not matter. Both go through
/// whole rows at once, the second one once the pixels on the left and those on the right lie in rows of their own.
struct Render<'a> {
    plan: &'a LetterboxPlan,
    out: &'a mut [u8],
}

impl WithSimd for Render<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        const ROW: usize = SIDE * 3;
        let Self { plan, out } = self;
        let stride = plan.width * 3;
        let row = |at: u16| &plan.samples[usize::from(at) * stride..][..stride];
        let mut weights = [[0u16; ROW]; 2];
        for (i, taps) in plan.columns.iter().enumerate() {
            for (weights, weight) in weights.iter_mut().zip(taps.weight) {
                weights[3 * i..3 * i + 3].fill(weight);
            }
        }
        // 255 * 32 fits 16 bits. Room for one more behind the last: four numbers are moved at once.
        let mut blended = Wiped::<u16>::zeros(stride + 1);
        let mut sides = Wiped::<u16>::zeros(2 * (ROW + 1));
        let (left, right) = sides.split_at_mut(ROW + 1);
        for (taps, out) in plan.rows.iter().zip(out.chunks_exact_mut(ROW)) {
            let [upper, lower] = taps.weight;
            let (above, below, between) = (row(taps.at[0]), row(taps.at[1]), &mut blended[..stride]);
            for i in 0..stride {
                between[i] = u16::from(above[i]) * upper + u16::from(below[i]) * lower;
            }
            for (i, taps) in plan.columns.iter().enumerate() {
                let [a, b] = taps.at.map(|at| &blended[usize::from(at) * 3..][..4]);
                left[3 * i..3 * i + 4].copy_from_slice(a);
                right[3 * i..3 * i + 4].copy_from_slice(b);
            }
            let (left, right, out) = (&left[..ROW], &right[..ROW], &mut out[..ROW]);
            for i in 0..ROW {
                let sum =
                    u32::from(left[i]) * u32::from(weights[0][i]) + u32::from(right[i]) * u32::from(weights[1][i]);
                // Weights are 32nds in both directions.
                out[i] = ((sum + 512) >> 10) as u8;
            }
        }
    }
}

/// Positions that follow one another: the first of them, and how many.
fn runs(positions: &[usize]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::with_capacity(positions.len());
    for at in positions {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == *at => *count += 1,
            _ => runs.push((*at, 1)),
        }
    }
    runs
}

/// The taps of each input pixel along one axis, and the positions in the picture that they refer
/// to, in order.
fn taps(start: f64, step: f64, length: usize) -> (Box<[Taps; SIDE]>, Vec<usize>) {
    let mut wanted: Vec<usize> = Vec::with_capacity(2 * SIDE);
    let mut place = |at: i64, weight: u16| match usize::try_from(at) {
        Ok(at) if at < length && weight != 0 => {
            // Positions never go back, but the second of one pixel may be the first of the next.
            let known = wanted.iter().rev().take(2).position(|have| *have == at);
            let index = match known {
                Some(back) => wanted.len() - 1 - back,
                None => {
                    wanted.push(at);
                    wanted.len() - 1
                }
            };
            // At most two for each of SIDE pixels.
            (index as u16, weight)
        }
        _ => (0, 0),
    };
    let taps = std::array::from_fn(|index| {
        // Halves go down: the reference inverts its matrix in floating point, and that leaves
        // most of them a hair below.
        let position = ((start + index as f64 * step) * 32.0 - 0.5).ceil() as i64;
        let first = position.div_euclid(32);
        let fraction = position.rem_euclid(32) as u16;
        let (a, b) = (place(first, 32 - fraction), place(first + 1, fraction));
        Taps { at: [a.0, b.0], weight: [a.1, b.1] }
    });
    // A picture so narrow that the square's pixels all miss it.
    if wanted.is_empty() {
        wanted.push(0);
    }
    (Box::new(taps), wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn render(image: &RgbImage) -> (Vec<u8>, Frame) {
        let plan = LetterboxPlan::new(image);
        let mut out = vec![0; SIDE * SIDE * 3];
        plan.render(&mut out);
        (out, plan.frame)
    }

    #[test]
    fn a_wide_picture_gets_black_above_and_below() {
        let image = RgbImage::new(256, 128, vec![200; 256 * 128 * 3]).unwrap();
        let (pixels, frame) = render(&image);
        assert_eq!((frame.side, frame.left, frame.top), (256.0, 0.0, -64.0));
        let row = |y: usize| pixels[(y * SIDE + 64) * 3];
        assert_eq!([row(0), row(31), row(32), row(95), row(96)], [0, 0, 200, 200, 0]);
    }

    #[test]
    fn a_tiny_picture_is_enlarged_between_its_pixels() {
        let image = RgbImage::new(2, 1, vec![0, 0, 0, 100, 100, 100]).unwrap();
        let (pixels, _) = render(&image);
        // The square's side is 2: its row 32 is the picture's row, whose columns blend.
        let at = |x: usize| pixels[(32 * SIDE + x) * 3];
        assert_eq!([at(0), at(32), at(64)], [0, 50, 100]);
    }

    #[test]
    fn only_the_samples_that_count_are_kept() {
        let image = RgbImage::new(1_200, 900, vec![7; 1_200 * 900 * 3]).unwrap();
        let plan = LetterboxPlan::new(&image);
        assert!(plan.width <= 2 * SIDE && plan.height <= 2 * SIDE);
        assert!(plan.bytes() < image.data().len() / 10 && plan.bytes() <= LetterboxPlan::MOST);
        // A sliver that falls between the square's pixels still has a sample to point at.
        let sliver = RgbImage::new(1, 8_000, vec![9; 24_000]).unwrap();
        assert!(LetterboxPlan::new(&sliver).width >= 1);
        render(&sliver);
    }

    proptest! {
        /// The definition, sample by sample, straight from the picture.
        #[test]
        fn the_plan_gives_what_its_definition_says(width in 1usize..400, height in 1usize..400, seed in any::<u32>()) {
            let data: Vec<u8> = (0..width * height * 3).map(|i| ((i as u32 ^ seed).wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
            let image = RgbImage::new(width, height, data).unwrap();
            let (pixels, _) = render(&image);
            let side = width.max(height) as f64;
            let step = side / SIDE as f64;
            let place = |length: usize, index: usize| {
                let start = (length as f64 - side) / 2.0;
                ((start + index as f64 * step) * 32.0 - 0.5).ceil() as i64
            };
            let sample = |x: i64, y: i64, c: usize| {
                let inside = (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
                if inside { i64::from(image.data()[(y as usize * width + x as usize) * 3 + c]) } else { 0 }
            };
            for y in (0..SIDE).step_by(7) {
                for x in (0..SIDE).step_by(5) {
                    let (px, py) = (place(width, x), place(height, y));
                    let (x0, fx, y0, fy) = (px.div_euclid(32), px.rem_euclid(32), py.div_euclid(32), py.rem_euclid(32));
                    for c in 0..3 {
                        let upper = sample(x0, y0, c) * (32 - fx) + sample(x0 + 1, y0, c) * fx;
                        let lower = sample(x0, y0 + 1, c) * (32 - fx) + sample(x0 + 1, y0 + 1, c) * fx;
                        let expected = (upper * (32 - fy) + lower * fy + 512) >> 10;
                        prop_assert_eq!(i64::from(pixels[(y * SIDE + x) * 3 + c]), expected);
                    }
                }
            }
        }
    }
}
