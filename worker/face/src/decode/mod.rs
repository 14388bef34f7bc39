//! From file bytes to [`RgbImage`]: JPEG, JPEG 2000 and (for tools and tests) PNG.
//!
//! Dimensions are checked against the limits before anything is allocated for them, forms that are
//! not taken are named, and files that are cut off are found, which decoders quietly complete with
//! grey: JPEG has a decoder of our own, the others a structural pass of our own before theirs.

mod exif;
mod jp2;
mod jpeg;
mod memory;
mod png;

pub use memory::memory;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::image::{DecodeLimits, ImageError, RgbImage};

/// Decodes a picture whose header keeps within `limits`. The format is told by its first bytes,
/// whatever the sender calls it; the EXIF orientation of a JPEG is applied.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, ImageError> {
    decode_as(bytes, limits, &[Format::Jpeg, Format::Jpeg2000, Format::Png])
}

/// The same, where only some formats have a place.
pub fn decode_as(bytes: &[u8], limits: &DecodeLimits, formats: &[Format]) -> Result<RgbImage, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(ImageError::TooManyBytes { bytes: bytes.len(), limit: limits.max_bytes });
    }
    let format = sniff(bytes).ok_or(ImageError::UnknownFormat)?;
    if !formats.contains(&format) {
        return Err(ImageError::WrongFormat { found: format.name(), expected: names(formats) });
    }
    let decoder = match format {
        Format::Jpeg => jpeg::decode,
        Format::Jpeg2000 => jp2::decode,
        Format::Png => png::decode,
    };
    // A decoder that panics on a hostile file must cost that file alone.
    catch_unwind(AssertUnwindSafe(|| decoder(bytes, limits)))
        .unwrap_or_else(|_| Err(ImageError::Corrupt("the decoder panicked".to_owned())))
}

/// Image formats that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// ISO/IEC 10918.
    Jpeg,
    /// ISO/IEC 15444: a JP2 file or a raw codestream.
    Jpeg2000,
    /// ISO/IEC 15948.
    Png,
}

impl Format {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Jpeg2000 => "JPEG 2000",
            Self::Png => "PNG",
        }
    }
}

fn names(formats: &[Format]) -> String {
    formats.iter().map(Format::name).collect::<Vec<_>>().join(" or ")
}

/// Tells the format by the first bytes.
pub fn sniff(bytes: &[u8]) -> Option<Format> {
    if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        Some(Format::Jpeg)
    } else if bytes.starts_with(jp2::FILE_SIGNATURE) || bytes.starts_with(jp2::CODESTREAM_SIGNATURE) {
        Some(Format::Jpeg2000)
    } else if bytes.starts_with(png::SIGNATURE) {
        Some(Format::Png)
    } else {
        None
    }
}

fn check_size(width: u64, height: u64, limits: &DecodeLimits, share: u64) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::Corrupt(format!("{width}x{height} pixels")));
    }
    let side = u64::from(limits.max_side);
    if width > side || height > side || width * height > limits.max_pixels / share {
        return Err(ImageError::TooManyPixels { width, height });
    }
    Ok(())
}

fn big_endian_16(bytes: &[u8], at: usize) -> Option<u16> {
    let raw = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(raw.try_into().ok()?))
}

fn big_endian_32(bytes: &[u8], at: usize) -> Option<u32> {
    let raw = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(raw.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_too_many_bytes_and_unknown_formats_are_named() {
        let limits = DecodeLimits::portrait();
        assert_eq!(decode(&[], &limits).err(), Some(ImageError::Empty));
        assert_eq!(decode(b"GIF89a not taken", &limits).err(), Some(ImageError::UnknownFormat));
        assert_eq!(
            decode(&vec![0xff; (1 << 20) + 1], &limits).err(),
            Some(ImageError::TooManyBytes { bytes: (1 << 20) + 1, limit: 1 << 20 })
        );
    }

    #[test]
    fn a_format_without_a_place_is_named() {
        let refused = decode_as(b"\x89PNG\r\n\x1a\n", &DecodeLimits::selfie(), &[Format::Jpeg, Format::Jpeg2000]);
        let error = refused.err().unwrap();
        assert_eq!(error.fault().as_str(), "image_format_wrong");
        assert_eq!(error.to_string(), "the image is PNG, expected JPEG or JPEG 2000");
    }

    #[test]
    fn the_format_is_told_by_content() {
        assert_eq!(sniff(&[0xff, 0xd8, 0xff, 0xe0]), Some(Format::Jpeg));
        assert_eq!(sniff(&[0xff, 0x4f, 0xff, 0x51]), Some(Format::Jpeg2000));
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n"), Some(Format::Png));
        assert_eq!(sniff(b"RIFF"), None);
    }
}
