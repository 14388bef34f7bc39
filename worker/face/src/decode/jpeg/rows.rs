//! From coefficients to pixels, one row of MCUs after the other.

use super::coefficients::Coefficients;
use super::colour::{self, Colour};
use super::frame::Frame;
use super::idct;
use super::lanes::{Lanes, Work, vectorised};
use super::upsample::{self, Method, Sums};
use crate::image::{ImageError, RgbImage};
use crate::wipe::Wiped;

/// The picture, as far as its rows have come.
pub(super) struct Rows {
    colour: Colour,
    width: usize,
    height: usize,
    /// Rows of pixels in one of MCUs.
    tall: usize,
    planes: Vec<Plane>,
    pixels: Pixels,
}

/// Wiped when dropped, as far as it was written.
struct Pixels {
    data: Vec<u8>,
    written: usize,
}

impl Drop for Pixels {
    fn drop(&mut self) {
        let written = self.written.min(self.data.len());
        self.data[..written].fill(0);
        zeroize::optimization_barrier(self.data.as_slice());
    }
}

/// A component.
struct Plane {
    /// Its samples in a row of MCUs, and the last ones of the row before.
    strip: Wiped<u8>,
    stride: usize,
    /// Rows of samples in one of MCUs.
    tall: usize,
    /// In samples, of the whole picture.
    width: usize,
    height: usize,
    /// Rows of pixels for one of samples.
    down: usize,
    method: Method,
    /// One row of the picture's width, and room to make it.
    wide: Wiped<u8>,
    sums: Sums,
    quantization: [i16; 64],
}

impl Rows {
    /// `quantization` has a table for each component.
    pub(super) fn new(frame: &Frame, colour: Colour, quantization: &[[i16; 64]]) -> Self {
        let plane = |(component, quantization): (&super::frame::Component, &[i16; 64])| {
            let (across, down) = (frame.horizontal / component.horizontal, frame.vertical / component.vertical);
            let (stride, tall) = (8 * component.stride, 8 * component.vertical);
            Plane {
                strip: Wiped::zeros(stride * (tall + 1)),
                stride,
                tall,
                width: component.width,
                height: component.height,
                down,
                method: Method::of(across, down, component.width),
                wide: Wiped::zeros(across * component.width),
                sums: Wiped::zeros(component.width + 2),
                quantization: *quantization,
            }
        };
        let planes = frame.components.iter().zip(quantization).map(plane).collect();
        let (width, height) = (frame.width, frame.height);
        let pixels = Pixels { data: vec![0; 3 * width * height], written: 0 };
        Self { colour, width, height, tall: 8 * frame.vertical, planes, pixels }
    }

    /// The next row of MCUs, which stands in the rows of each component that begin with that of the `at`th MCU.
    pub(super) fn push(&mut self, row: usize, coefficients: &[Coefficients], at: usize) {
        vectorised(Pushing { rows: self, row, coefficients, at });
    }

    /// The whole picture.
    pub(super) fn finish(mut self) -> Result<RgbImage, ImageError> {
        let data = std::mem::take(&mut self.pixels.data);
        RgbImage::new(self.width, self.height, data)
            .ok_or_else(|| ImageError::Corrupt("the picture has another size".to_owned()))
    }
}

struct Pushing<'w> {
    rows: &'w mut Rows,
    row: usize,
    coefficients: &'w [Coefficients],
    at: usize,
}

impl Work for Pushing<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Rows { colour, width, height, tall, planes, pixels } = self.rows;
        for (plane, coefficients) in planes.iter_mut().zip(self.coefficients) {
            plane.fill(lanes, self.row, coefficients, self.at);
        }
        // The last row of pixels may want samples of the next row of MCUs: it comes with them.
        let begin = (self.row * *tall).saturating_sub(1);
        let behind = (self.row + 1) * *tall;
        let end = if behind >= *height { *height } else { behind - 1 };
        let Some(out) = pixels.data.get_mut(3 * *width * begin..3 * *width * end) else { return };
        for (y, out) in (begin..end).zip(out.chunks_exact_mut(3 * *width)) {
            for plane in planes.iter_mut() {
                plane.widen(self.row, y);
            }
            let mut parts: [&[u8]; 4] = [&[]; 4];
            for (part, plane) in parts.iter_mut().zip(planes.iter()) {
                *part = plane.wide(self.row, y);
            }
            colour::row(lanes, *colour, parts, out);
        }
        pixels.written = 3 * *width * end;
        for plane in planes {
            let last = plane.tall * plane.stride;
            plane.strip.copy_within(last..last + plane.stride, 0);
        }
    }
}

impl Plane {
    /// Makes the samples of a row of MCUs.
    #[inline(always)]
    fn fill<L: Lanes>(&mut self, lanes: L, row: usize, coefficients: &Coefficients, at: usize) {
        let down = self.tall / 8;
        let strips = self.strip[self.stride..].chunks_exact_mut(8 * self.stride);
        for (below, strip) in strips.enumerate() {
            if (row * down + below) * 8 >= self.height {
                break;
            }
            let (values, nonzero) = coefficients.row(at * down + below);
            let mut lines = strip.chunks_exact_mut(self.stride).map(|line| line.as_chunks_mut::<8>().0);
            let mut lines: [&mut [[u8; 8]]; 8] = std::array::from_fn(|_| lines.next().unwrap_or_default());
            for (column, (values, nonzero)) in values.iter().zip(nonzero).enumerate().take(self.width.div_ceil(8)) {
                let samples = idct::block(lanes, values, *nonzero, &self.quantization);
                for (line, samples) in lines.iter_mut().zip(samples) {
                    if let Some(line) = line.get_mut(column) {
                        *line = samples;
                    }
                }
            }
        }
    }

    /// A row of samples while the strip is that of a row of MCUs, or the last one before.
    #[inline(always)]
    fn line(&self, row: usize, line: usize) -> &[u8] {
        let at = (line + 1).saturating_sub(row * self.tall) * self.stride;
        self.strip.get(at..at + self.width).unwrap_or_default()
    }

    /// Makes the samples for a row of pixels, unless they are there.
    #[inline(always)]
    fn widen(&mut self, row: usize, y: usize) {
        if self.method == Method::Whole {
            return;
        }
        let near = y / self.down;
        let below = y % 2 == 1;
        let beside = match self.method.takes_neighbour() {
            true if below => (near + 1).min(self.height - 1),
            true => near.saturating_sub(1),
            false => near,
        };
        let mut wide = std::mem::take(&mut self.wide);
        let mut sums = std::mem::take(&mut self.sums);
        upsample::row(self.method, self.line(row, near), self.line(row, beside), below, &mut sums, &mut wide);
        (self.wide, self.sums) = (wide, sums);
    }

    #[inline(always)]
    fn wide(&self, row: usize, y: usize) -> &[u8] {
        if self.method == Method::Whole { self.line(row, y / self.down) } else { &self.wide }
    }
}
