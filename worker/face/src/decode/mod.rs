//! From file bytes to [`RgbImage`]: JPEG, JPEG 2000 and (for tools and tests) PNG.
//!
//! Each format has a structural pass of our own before its decoder: it finds the dimensions and
//! checks them against the limits, names the forms that are not taken, and finds files that are
//! cut off, which the decoders would quietly complete with grey.

mod exif;
mod jp2;
mod jpeg;
mod png;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::image::{DecodeLimits, ImageError, RgbImage};

/// Decodes a picture whose header keeps within `limits`. The format is told by its first bytes,
/// whatever the sender calls it; the EXIF orientation of a JPEG is applied.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(ImageError::TooManyBytes { bytes: bytes.len(), limit: limits.max_bytes });
    }
    let decoder = match sniff(bytes) {
        Some(Format::Jpeg) => jpeg::decode,
        Some(Format::Jpeg2000) => jp2::decode,
        Some(Format::Png) => png::decode,
        None => return Err(ImageError::UnknownFormat),
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
    fn the_format_is_told_by_content() {
        assert_eq!(sniff(&[0xff, 0xd8, 0xff, 0xe0]), Some(Format::Jpeg));
        assert_eq!(sniff(&[0xff, 0x4f, 0xff, 0x51]), Some(Format::Jpeg2000));
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n"), Some(Format::Png));
        assert_eq!(sniff(b"RIFF"), None);
    }
}
