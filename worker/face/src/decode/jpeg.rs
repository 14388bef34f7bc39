//! JPEG (ISO/IEC 10918-1): baseline, extended and progressive, grey, YCbCr, RGB, CMYK and YCCK.
//!
//! A decoder of our own: others complete with grey what is cut off, and cannot be asked whether anything was. This one tells
//! while it decodes, for every block must be there and stand for something. Its pixels are those of libjpeg-turbo with its
//! defaults, bit for bit.

#[cfg(test)]
mod agreement;
mod bits;
mod coefficients;
mod colour;
mod frame;
mod huffman;
mod idct;
mod lanes;
mod picture;
mod progressive;
mod rows;
mod scan;
mod sequential;
mod tables;
#[cfg(test)]
mod tests;
mod upsample;

pub(super) use self::frame::Frame;

use self::picture::Picture;
use self::tables::{Tables, corrupt};
use super::exif::{self, Orientation};
use super::{big_endian_16, check_size};
use crate::image::{DecodeLimits, ImageError, RgbImage};

/// Every scan of a progressive picture goes through all of it: without a bound, a small file costs minutes.
const MAX_SCANS: usize = 64;

/// Walks the markers from SOI to EOI.
pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, ImageError> {
    const CUT: ImageError = ImageError::Truncated("JPEG ends before its end marker");
    let mut at = 2;
    let mut tables = Tables::default();
    let mut picture: Option<Picture> = None;
    let mut orientation = None;
    let mut scans = 0;
    loop {
        let marker = next_marker(bytes, &mut at).ok_or(CUT)?;
        match marker {
            0xd9 => break,
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let length = usize::from(big_endian_16(bytes, at).ok_or(CUT)?);
        if length < 2 {
            return Err(corrupt("a JPEG segment shorter than its length"));
        }
        let segment = bytes.get(at + 2..at + length).ok_or(CUT)?;
        at += length;
        match marker {
            0xc0..=0xc2 => {
                if picture.is_some() {
                    return Err(corrupt("two frame headers"));
                }
                let (width, height) = frame_header(segment)?;
                check_size(width, height, limits, 1)?;
                picture = Some(Picture::new(Frame::read(marker == 0xc2, segment)?));
            }
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Err(ImageError::Unsupported("lossless, hierarchical or arithmetic-coded JPEG".to_owned()));
            }
            0xc4 => tables.huffman(segment)?,
            0xcc => return Err(ImageError::Unsupported("arithmetic-coded JPEG".to_owned())),
            0xdb => tables.quantization(segment)?,
            0xdc => return Err(ImageError::Unsupported("JPEG that names its height after the scan".to_owned())),
            0xdd => tables.interval(segment)?,
            0xe0 => tables.jfif(segment),
            0xe1 => {
                // Of several the first: what editors and viewers go by.
                if let Some(tiff) = segment.strip_prefix(b"Exif\0\0")
                    && scans == 0
                    && orientation.is_none()
                {
                    orientation = Some(exif::orientation(tiff));
                }
            }
            0xee => tables.adobe(segment)?,
            0xda => {
                scans += 1;
                if scans > MAX_SCANS {
                    return Err(ImageError::Unsupported(format!("more than {MAX_SCANS} scans in one JPEG")));
                }
                let picture = picture.as_mut().ok_or_else(|| corrupt("a scan before the frame header"))?;
                at = picture.scan(&tables, segment, bytes, at)?;
                pass_surplus(bytes, &mut at)?;
            }
            _ => {}
        }
    }
    if scans == 0 {
        return Err(corrupt("a JPEG without a scan"));
    }
    let picture = picture.ok_or_else(|| corrupt("a JPEG without a frame header"))?;
    Ok(orientation.unwrap_or(Orientation::UPRIGHT).apply(picture.finish(&tables)?))
}

fn frame_header(segment: &[u8]) -> Result<(u64, u64), ImageError> {
    let &[precision, h0, h1, w0, w1, components, ..] = segment else {
        return Err(ImageError::Truncated("JPEG frame header"));
    };
    if precision != 8 {
        return Err(ImageError::Unsupported(format!("{precision}-bit JPEG")));
    }
    if !matches!(components, 1 | 3 | 4) {
        return Err(ImageError::Unsupported(format!("JPEG of {components} components")));
    }
    let height = u16::from_be_bytes([h0, h1]);
    let width = u16::from_be_bytes([w0, w1]);
    if height == 0 {
        // Allowed by the standard (the height follows in a DNL marker), used by nobody.
        return Err(ImageError::Unsupported("JPEG that names its height after the scan".to_owned()));
    }
    Ok((u64::from(width), u64::from(height)))
}

/// The next marker's code; `at` moves behind it. Stray bytes between segments are skipped, as
/// every decoder does.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let found = bytes.get(*at..)?.iter().position(|b| *b == 0xff)?;
        *at += found + 1;
        while *bytes.get(*at)? == 0xff {
            *at += 1;
        }
        let code = *bytes.get(*at)?;
        *at += 1;
        if code != 0 {
            return Some(code);
        }
    }
}

/// Moves `at` to the marker that ends the entropy-coded data. Encoders pad with a few bytes, or with
/// one byte over and over; anything else is picture that the header kept quiet about.
fn pass_surplus(bytes: &[u8], at: &mut usize) -> Result<(), ImageError> {
    const PADDING: usize = 32;
    let start = *at;
    while let Some(found) = bytes.get(*at..).and_then(|rest| rest.iter().position(|b| *b == 0xff)) {
        *at += found;
        match bytes.get(*at + 1) {
            Some(0x00 | 0xd0..=0xd7) => *at += 2,
            Some(0xff) => *at += 1,
            _ => break,
        }
    }
    let surplus = bytes.get(start..*at).unwrap_or_default();
    if surplus.len() > PADDING && surplus.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(ImageError::Corrupt("JPEG with more picture than its size".to_owned()));
    }
    Ok(())
}
