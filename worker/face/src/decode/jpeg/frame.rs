//! The frame header (ISO/IEC 10918-1 B.2.2): the picture's components, and what they measure.

use super::super::big_endian_16;
use crate::image::ImageError;

pub(in super::super) struct Frame {
    pub(super) progressive: bool,
    /// In pixels.
    pub(in super::super) width: usize,
    pub(in super::super) height: usize,
    /// In MCUs.
    pub(super) across: usize,
    pub(super) down: usize,
    /// The largest sampling factors.
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    pub(super) components: Vec<Component>,
}

pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors.
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    /// The place of its quantization table.
    pub(super) table: usize,
    /// In samples.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks of a row, filled up to whole MCUs.
    pub(super) stride: usize,
}

impl Component {
    /// Blocks that the picture has of it, across and down.
    pub(super) fn blocks(&self) -> (usize, usize) {
        (self.width.div_ceil(8), self.height.div_ceil(8))
    }
}

impl Frame {
    /// From the frame header's segment.
    pub(in super::super) fn read(progressive: bool, segment: &[u8]) -> Result<Self, ImageError> {
        const CUT: ImageError = ImageError::Truncated("JPEG frame header");
        let size = |at| big_endian_16(segment, at).map(usize::from).ok_or(CUT);
        let (height, width) = (size(1)?, size(3)?);
        let count = usize::from(*segment.get(5).ok_or(CUT)?);
        let specified = segment.get(6..6 + 3 * count).ok_or(CUT)?.as_chunks::<3>().0;
        let factors = |factors: u8| (usize::from(factors >> 4), usize::from(factors & 15));
        if specified.iter().map(|c| factors(c[1])).any(|(x, y)| !(1..=4).contains(&x) || !(1..=4).contains(&y)) {
            return Err(ImageError::Corrupt("a sampling factor that is not 1 to 4".to_owned()));
        }
        // Alone, a component is not interleaved whatever its factors say.
        let factors = |c: &[u8; 3]| if count == 1 { (1, 1) } else { factors(c[1]) };
        let largest = specified.iter().map(factors).fold((1, 1), |(a, b), (x, y)| (a.max(x), b.max(y)));
        if specified.iter().map(factors).any(|(x, y)| !largest.0.is_multiple_of(x) || !largest.1.is_multiple_of(y)) {
            return Err(ImageError::Unsupported("JPEG with sampling factors of no whole ratio".to_owned()));
        }
        let (across, down) = (width.div_ceil(8 * largest.0), height.div_ceil(8 * largest.1));
        let component = |c: &[u8; 3]| {
            let (horizontal, vertical) = factors(c);
            Component {
                id: c[0],
                horizontal,
                vertical,
                table: c[2].into(),
                width: (width * horizontal).div_ceil(largest.0),
                height: (height * vertical).div_ceil(largest.1),
                stride: across * horizontal,
            }
        };
        let components = specified.iter().map(component).collect();
        let (horizontal, vertical) = largest;
        Ok(Self { progressive, width, height, across, down, horizontal, vertical, components })
    }

    /// Bytes that decoding takes besides the picture and the file, when its first scan has this header.
    pub(in super::super) fn working_bytes(&self, scan: &[u8]) -> u64 {
        let at_once =
            !self.progressive && scan.first().is_some_and(|count| usize::from(*count) == self.components.len());
        let rows = if at_once { 1 } else { self.down };
        let component = |component: &Component| {
            let blocks = component.stride * component.vertical * rows;
            // Coefficients, and which of them are not zero; samples and those of the row before; a row of pixels.
            let (row, wide) = (8 * component.stride, 8 * self.across * self.horizontal);
            (blocks * (2 * 64 + 8) + row * (8 * component.vertical + 1) + 2 * row + wide) as u64
        };
        self.components.iter().map(component).sum()
    }
}
