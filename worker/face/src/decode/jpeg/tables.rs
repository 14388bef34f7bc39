//! Tables and what else stands between the scans (ISO/IEC 10918-1 B.2.4).

use super::super::big_endian_16;
use super::colour::Colour;
use super::frame::Frame;
use super::huffman::Huffman;
use super::idct::PLACES;
use crate::image::ImageError;

/// What has been defined so far.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) dc: [Option<Box<Huffman>>; 4],
    pub(super) ac: [Option<Box<Huffman>>; 4],
    /// In the order of [`PLACES`], as bits of 16.
    pub(super) quantization: [Option<[i16; 64]>; 4],
    /// MCUs of a restart interval; 0 for none.
    pub(super) restart: usize,
    jfif: bool,
    adobe: Option<u8>,
}

impl Tables {
    /// A segment of Huffman tables.
    pub(super) fn huffman(&mut self, mut segment: &[u8]) -> Result<(), ImageError> {
        while let Some((kind, rest)) = segment.split_first() {
            let cut = || corrupt("a Huffman table longer than its segment");
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(cut)?;
            let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or_else(cut)?;
            let dc = match kind >> 4 {
                0 => true,
                1 => false,
                _ => return Err(corrupt("a Huffman table of no class")),
            };
            let table = Huffman::new(dc, counts, symbols).ok_or_else(|| corrupt("a Huffman table that is none"))?;
            let class = if dc { &mut self.dc } else { &mut self.ac };
            let place =
                class.get_mut(usize::from(kind & 15)).ok_or_else(|| corrupt("a Huffman table without a place"))?;
            *place = Some(Box::new(table));
            segment = rest;
        }
        Ok(())
    }

    /// A segment of quantization tables.
    pub(super) fn quantization(&mut self, mut segment: &[u8]) -> Result<(), ImageError> {
        while let Some((kind, rest)) = segment.split_first() {
            let width = match kind >> 4 {
                0 => 1,
                1 => 2,
                _ => return Err(corrupt("a quantization table of another precision")),
            };
            let (steps, rest) = rest
                .split_at_checked(64 * width)
                .ok_or_else(|| corrupt("a quantization table longer than its segment"))?;
            let place = self.quantization.get_mut(usize::from(kind & 15));
            let table = place.ok_or_else(|| corrupt("a quantization table without a place"))?.insert([0; 64]);
            for (step, place) in steps.chunks_exact(width).zip(PLACES) {
                table[usize::from(place)] = step.iter().fold(0, |step, byte| step << 8 | i16::from(*byte));
            }
            segment = rest;
        }
        Ok(())
    }

    /// A segment that sets the restart interval.
    pub(super) fn interval(&mut self, segment: &[u8]) -> Result<(), ImageError> {
        self.restart = usize::from(big_endian_16(segment, 0).ok_or_else(|| corrupt("a restart interval cut short"))?);
        Ok(())
    }

    /// The application's segment 0.
    pub(super) fn jfif(&mut self, segment: &[u8]) {
        self.jfif |= segment.starts_with(b"JFIF\0");
    }

    /// The application's segment 14: Adobe's says how the colours are coded.
    pub(super) fn adobe(&mut self, segment: &[u8]) -> Result<(), ImageError> {
        if segment.starts_with(b"Adobe") {
            match segment.get(11) {
                Some(transform @ 0..=2) => self.adobe = Some(*transform),
                Some(_) => return Err(corrupt("an Adobe segment of an unknown colour transform")),
                None => return Err(corrupt("an Adobe segment cut short")),
            }
        }
        Ok(())
    }

    /// What the components of a picture are, by the rules of libjpeg.
    pub(super) fn colour(&self, frame: &Frame) -> Colour {
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        match (ids.as_slice(), self.adobe) {
            ([_], _) => Colour::Grey,
            ([_, _, _], _) if self.jfif => Colour::YCbCr,
            ([_, _, _], Some(0)) | ([b'R', b'G', b'B'], None) => Colour::Rgb,
            ([_, _, _], _) => Colour::YCbCr,
            (_, None | Some(0)) => Colour::Cmyk,
            _ => Colour::Ycck,
        }
    }
}

pub(super) fn corrupt(what: &str) -> ImageError {
    ImageError::Corrupt(what.to_owned())
}
