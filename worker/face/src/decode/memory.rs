//! What decoding a picture takes, told from its headers alone: so that whoever decodes many at once can keep within a
//! budget before it allocates anything.

use super::{Format, big_endian_16, big_endian_32, exif, jp2, jpeg, sniff};
use crate::image::DecodeLimits;

/// Bytes that decoding takes at most while it lasts, the decoded picture among them; 0 for what is refused by its headers,
/// which takes none. Cheap: it walks the headers and decodes nothing.
pub fn memory(bytes: &[u8], limits: &DecodeLimits) -> usize {
    if bytes.len() > limits.max_bytes {
        return 0;
    }
    let Some((width, height, per_pixel, besides)) = declared(bytes) else { return 0 };
    let pixels = u64::from(width) * u64::from(height);
    if width.max(height) > limits.max_side || pixels > limits.max_pixels {
        return 0;
    }
    usize::try_from(pixels * per_pixel + besides).unwrap_or(usize::MAX)
}

/// Width, height, bytes for each pixel, and bytes besides.
fn declared(bytes: &[u8]) -> Option<(u32, u32, u64, u64)> {
    match sniff(bytes)? {
        Format::Jpeg => jpeg(bytes),
        Format::Jpeg2000 => {
            let (width, height, components) = jp2::size(bytes)?;
            // Each component in 32-bit floats, coefficients and samples, and in bytes; the picture.
            Some((u32::try_from(width).ok()?, u32::try_from(height).ok()?, components * (2 * 4 + 1) + RGB, 0))
        }
        // The file's rows, unpacked, at up to four channels of 16 bits; the same in 8; the picture.
        Format::Png => Some((big_endian_32(bytes, 16)?, big_endian_32(bytes, 20)?, 8 + 4 + RGB, 0)),
    }
}

const RGB: u64 = 3;

fn jpeg(bytes: &[u8]) -> Option<(u32, u32, u64, u64)> {
    let mut at = 2;
    let mut turned = None;
    let mut frame = None;
    loop {
        // Stray bytes between segments, and bytes that fill.
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        at += bytes.get(at..)?.iter().position(|byte| *byte != 0xff)?;
        let marker = *bytes.get(at)?;
        at += 1;
        if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd8) {
            continue;
        }
        let length = usize::from(big_endian_16(bytes, at)?).max(2);
        let segment = bytes.get(at + 2..at + length)?;
        match marker {
            0xc0..=0xc2 => {
                frame = Some(jpeg::Frame::read(marker == 0xc2, segment).ok()?);
            }
            0xe1 => {
                if let Some(tiff) = segment.strip_prefix(b"Exif\0\0")
                    && turned.is_none()
                {
                    // As it comes, and upright.
                    turned = Some(if exif::orientation(tiff) == exif::Orientation::UPRIGHT { 0 } else { RGB });
                }
            }
            // No picture without a frame header before its first scan; what lies behind that turns nothing.
            0xda | 0xd9 => {
                let frame = frame?;
                // The file once more, without its byte stuffing.
                let besides = bytes.len() as u64 + frame.working_bytes(segment);
                let [width, height] = [frame.width, frame.height].map(u32::try_from);
                return Some((width.ok()?, height.ok()?, RGB + turned.unwrap_or(0), besides));
            }
            _ => {}
        }
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder};

    use super::*;

    const PIXELS: usize = 600 * 400;

    fn encode(progressive: bool, orientation: Option<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out, 80);
        encoder.set_progressive(progressive);
        if let Some(orientation) = orientation {
            let mut exif = b"Exif\0\0MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00".to_vec();
            let at = exif.len() - 7;
            exif[at] = orientation;
            encoder.add_app_segment(1, exif).unwrap();
        }
        encoder.encode(&[9; PIXELS * 3], 600, 400, ColorType::Rgb).unwrap();
        out
    }

    #[test]
    fn the_headers_tell_what_decoding_takes() {
        let limits = DecodeLimits::selfie();
        let besides = |bytes: &[u8], each: usize| memory(bytes, &limits) - bytes.len() - each * PIXELS;
        let plain = encode(false, None);
        // A row of MCUs: coefficients, samples, and a row of pixels of each component.
        assert!((1..PIXELS / 2).contains(&besides(&plain, 3)));
        assert_eq!(besides(&encode(false, Some(1)), 3), besides(&plain, 3));
        assert_eq!(besides(&encode(false, Some(6)), 6), besides(&plain, 3));
        // All coefficients, 16 bits each and a bit besides; a quarter as many of two colours.
        assert!((PIXELS * 3..PIXELS * 4).contains(&besides(&encode(true, None), 3)));
    }

    #[test]
    fn components_that_come_one_after_the_other_are_kept() {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out, 80);
        encoder.set_optimized_huffman_tables(true);
        encoder.encode(&[9; PIXELS * 3], 600, 400, ColorType::Rgb).unwrap();
        let scans = out.windows(2).filter(|pair| *pair == [0xff, 0xda]).count();
        assert_eq!(scans, 3);
        assert!(memory(&out, &DecodeLimits::selfie()) > PIXELS * 6);
    }

    #[test]
    fn an_orientation_behind_the_frame_header_counts_too() {
        let turned = encode(false, Some(6));
        let plain = encode(false, None);
        let exif = turned.windows(2).position(|pair| pair == [0xff, 0xe1]).unwrap();
        let segment = &turned[exif..exif + 2 + usize::from(big_endian_16(&turned, exif + 2).unwrap())];
        let scan = plain.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
        let behind = [&plain[..scan], segment, &plain[scan..]].concat();
        let limits = DecodeLimits::selfie();
        assert_eq!(memory(&behind, &limits), memory(&plain, &limits) + segment.len() + 3 * PIXELS);
        let upright = super::super::decode(&behind, &limits).unwrap();
        assert_eq!((upright.width(), upright.height()), (400, 600));
    }

    #[test]
    fn jpeg_2000_takes_more_the_more_components_it_has() {
        for (components, each) in [(1, 12), (3, 30), (4, 39)] {
            let options = dicom_toolkit_jpeg2000::EncodeOptions { num_decomposition_levels: 0, ..Default::default() };
            let raw = vec![7; 60 * 40 * usize::from(components)];
            let bytes = dicom_toolkit_jpeg2000::encode(&raw, 60, 40, components, 8, false, &options).unwrap();
            assert_eq!(memory(&bytes, &DecodeLimits::portrait()), each * 60 * 40);
        }
    }

    #[test]
    fn what_is_refused_takes_nothing() {
        let picture = encode(false, None);
        let limits = DecodeLimits::selfie();
        assert_eq!(memory(&picture, &DecodeLimits { max_side: 599, ..limits }), 0);
        assert_eq!(memory(&picture, &DecodeLimits { max_pixels: PIXELS as u64 - 1, ..limits }), 0);
        assert_eq!(memory(&picture, &DecodeLimits { max_bytes: picture.len() - 1, ..limits }), 0);
        for cut in 0..120 {
            memory(&picture[..cut], &limits);
        }
        assert_eq!(memory(b"", &limits), 0);
        assert_eq!(memory(b"no picture", &limits), 0);
        assert_eq!(memory(&[0xff, 0xd8, 0xff, 0xda, 0, 2], &limits), 0);
    }
}
