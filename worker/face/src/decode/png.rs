//! PNG (ISO/IEC 15948), for tools and tests. Transparency is dropped and 16 bits become 8.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_png::PngDecoder;

use super::{big_endian_32, check_size};
use crate::image::{DecodeLimits, ImageError, RgbImage};

pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, ImageError> {
    const CUT: ImageError = ImageError::Truncated("PNG ends before its end chunk");
    if bytes.get(12..16).ok_or(CUT)? != b"IHDR" {
        return Err(ImageError::Corrupt("a PNG without a header".to_owned()));
    }
    let width = big_endian_32(bytes, 16).ok_or(CUT)?;
    let height = big_endian_32(bytes, 20).ok_or(CUT)?;
    check_size(width.into(), height.into(), limits, 1)?;
    walk_chunks(bytes)?;

    let raw_limit = usize::try_from(limits.max_pixels).unwrap_or(usize::MAX);
    let options = DecoderOptions::default()
        .set_max_width(limits.max_side as usize)
        .set_max_height(limits.max_side as usize)
        .png_set_strip_to_8bit(true)
        .png_set_decode_animated(false)
        .inflate_set_limit(raw_limit.saturating_mul(8).saturating_add(1 << 20))
        .set_strict_mode(true);
    let mut decoder = PngDecoder::new_with_options(ZCursor::new(bytes), options);
    let corrupt = |error: zune_png::error::PngDecodeErrors| ImageError::Corrupt(format!("{error:?}"));
    decoder.decode_headers().map_err(corrupt)?;
    if decoder.dimensions() != Some((width as usize, height as usize)) {
        return Err(ImageError::Corrupt("two picture headers".to_owned()));
    }
    let raw = decoder
        .decode()
        .map_err(corrupt)?
        .u8()
        .ok_or_else(|| ImageError::Unsupported("PNG that stays at 16 bits".to_owned()))?;
    let raw = zeroize::Zeroizing::new(raw);
    let data: Vec<u8> = match decoder.colorspace() {
        Some(ColorSpace::RGB) => raw.to_vec(),
        Some(ColorSpace::RGBA) => raw.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        Some(ColorSpace::Luma) => raw.iter().flat_map(|v| [*v; 3]).collect(),
        Some(ColorSpace::LumaA) => raw.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect(),
        other => return Err(ImageError::Unsupported(format!("PNG in {other:?}"))),
    };
    RgbImage::new(width as usize, height as usize, data)
        .ok_or_else(|| ImageError::Corrupt("the decoder returned another size".to_owned()))
}

/// Finds the end chunk: the decoder would fill what is missing.
fn walk_chunks(bytes: &[u8]) -> Result<(), ImageError> {
    const CUT: ImageError = ImageError::Truncated("PNG ends before its end chunk");
    let mut at = SIGNATURE.len();
    loop {
        let length = big_endian_32(bytes, at).ok_or(CUT)? as usize;
        let kind = bytes.get(at + 4..at + 8).ok_or(CUT)?;
        let end =
            at.checked_add(length).and_then(|v| v.checked_add(12)).filter(|end| *end <= bytes.len()).ok_or(CUT)?;
        match kind {
            b"IEND" => return Ok(()),
            // Several pictures: which of them would count?
            b"acTL" => return Err(ImageError::Unsupported("animated PNG".to_owned())),
            _ => {}
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use zune_core::bit_depth::BitDepth;
    use zune_core::options::EncoderOptions;
    use zune_png::PngEncoder;

    use super::super::decode;
    use super::*;
    use crate::image::ImageFault;

    fn encode(data: &[u8], w: usize, h: usize, space: ColorSpace) -> Vec<u8> {
        let options = EncoderOptions::new(w, h, space, BitDepth::Eight);
        let mut out = Vec::new();
        PngEncoder::new(data, options).encode(&mut out).unwrap();
        out
    }

    #[test]
    fn colour_alpha_and_grey_pictures_decode_exactly() {
        let limits = DecodeLimits::selfie();
        let rgb: Vec<u8> = (0..5 * 4 * 3).map(|v| v as u8 * 4).collect();
        let got = decode(&encode(&rgb, 5, 4, ColorSpace::RGB), &limits).unwrap();
        assert_eq!(got.data(), &rgb[..]);
        let rgba: Vec<u8> = rgb.chunks(3).flat_map(|p| [p[0], p[1], p[2], 7]).collect();
        let got = decode(&encode(&rgba, 5, 4, ColorSpace::RGBA), &limits).unwrap();
        assert_eq!(got.data(), &rgb[..]);
        let grey: Vec<u8> = (0..20).collect();
        let got = decode(&encode(&grey, 5, 4, ColorSpace::Luma), &limits).unwrap();
        assert_eq!(got.at(3, 2), [13, 13, 13]);
    }

    #[test]
    fn an_animation_is_not_a_picture() {
        let still = encode(&[9; 60], 5, 4, ColorSpace::RGB);
        // Behind the header chunk, as an animation has it: chunk of 8 bytes, one frame, endless.
        let control = [&[0, 0, 0, 8][..], b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0], &[0xb4, 0x2d, 0xe9, 0xa0]].concat();
        let animated = [&still[..33], &control, &still[33..]].concat();
        let fault = decode(&animated, &DecodeLimits::selfie()).err().map(|e| e.fault());
        assert_eq!(fault, Some(ImageFault::Unsupported));
    }

    #[test]
    fn bombs_and_cuts_are_named() {
        let limits = DecodeLimits::selfie();
        let whole = encode(&[9; 60], 5, 4, ColorSpace::RGB);
        for n in 8..whole.len() - 4 {
            let fault = decode(&whole[..n], &limits).err().map(|e| e.fault());
            assert_eq!(fault, Some(ImageFault::Truncated), "length {n}");
        }
        let mut bomb = whole;
        bomb[16..24].copy_from_slice(&[0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20]);
        let fault = decode(&bomb, &limits).err().map(|e| e.fault());
        assert_eq!(fault, Some(ImageFault::TooManyPixels));
    }
}
