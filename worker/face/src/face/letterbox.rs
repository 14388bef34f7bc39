//! A picture of any size as the detector's square input.

use zeroize::Zeroizing;

use crate::image::RgbImage;
use crate::pack::DETECTOR_INPUT;

/// The detector's input, and the way back to the picture's pixels. Wiped when dropped.
pub(crate) struct Letterboxed {
    /// DETECTOR_INPUT squared RGB pixels.
    pub(crate) pixels: Zeroizing<Vec<u8>>,
    pub(crate) frame: Frame,
}

/// How the square lies over the picture: its side and corner, in the picture's pixels.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) side: f32,
    pub(crate) left: f32,
    pub(crate) top: f32,
}

/// Scales the picture to fit, keeping its aspect, black around it.
///
/// The detector was trained behind exactly this sampling (bilinear between the four nearest
/// pixels, in 32nds of a pixel, without averaging; a neighbour outside counts as black), and its
/// points move when the sampling does.
pub(crate) fn letterbox(image: &RgbImage) -> Letterboxed {
    let (width, height) = (image.width(), image.height());
    let side = width.max(height) as f64;
    let left = (width as f64 - side) / 2.0;
    let top = (height as f64 - side) / 2.0;
    let step = side / DETECTOR_INPUT as f64;

    let columns = taps(left, step, width);
    let rows = taps(top, step, height);
    let mut pixels = Zeroizing::new(vec![0u8; DETECTOR_INPUT * DETECTOR_INPUT * 3]);
    let data = image.data();
    for (row, out) in rows.iter().zip(pixels.chunks_exact_mut(DETECTOR_INPUT * 3)) {
        for (column, out) in columns.iter().zip(out.chunks_exact_mut(3)) {
            for (channel, out) in out.iter_mut().enumerate() {
                let mut sum = 0u32;
                for (y, wy) in row.iter() {
                    for (x, wx) in column.iter() {
                        let value = data[(y * width + x) * 3 + channel];
                        sum += u32::from(value) * wy * wx;
                    }
                }
                // Weights are 32nds in both directions.
                *out = ((sum + 512) >> 10) as u8;
            }
        }
    }
    Letterboxed { pixels, frame: Frame { side: side as f32, left: left as f32, top: top as f32 } }
}

/// The two source pixels of each output pixel along one axis, with weights in 32nds; those
/// outside the picture have weight zero.
fn taps(start: f64, step: f64, length: usize) -> Vec<[(usize, u32); 2]> {
    (0..DETECTOR_INPUT)
        .map(|index| {
            // Halves go down: the reference inverts its matrix in floating point, and that
            // leaves most of them a hair below.
            let position = ((start + index as f64 * step) * 32.0 - 0.5).ceil() as i64;
            let first = position.div_euclid(32);
            let fraction = position.rem_euclid(32) as u32;
            let tap = |at: i64, weight: u32| match usize::try_from(at) {
                Ok(at) if at < length => (at, weight),
                _ => (0, 0),
            };
            [tap(first, 32 - fraction), tap(first + 1, fraction)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_picture_gets_black_above_and_below() {
        let image = RgbImage::new(256, 128, vec![200; 256 * 128 * 3]).unwrap();
        let boxed = letterbox(&image);
        assert_eq!((boxed.frame.side, boxed.frame.left, boxed.frame.top), (256.0, 0.0, -64.0));
        let row = |y: usize| boxed.pixels[(y * DETECTOR_INPUT + 64) * 3];
        assert_eq!([row(0), row(31), row(32), row(95), row(96)], [0, 0, 200, 200, 0]);
    }

    #[test]
    fn a_tiny_picture_is_enlarged_between_its_pixels() {
        let image = RgbImage::new(2, 1, vec![0, 0, 0, 100, 100, 100]).unwrap();
        let boxed = letterbox(&image);
        // The square's side is 2: its row 32 is the picture's row, whose columns blend.
        let at = |x: usize| boxed.pixels[(32 * DETECTOR_INPUT + x) * 3];
        assert_eq!([at(0), at(32), at(64)], [0, 50, 100]);
    }
}
