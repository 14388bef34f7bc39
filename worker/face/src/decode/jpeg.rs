//! JPEG (ISO/IEC 10918-1): baseline, extended and progressive, grey, YCbCr, RGB, CMYK and YCCK.

mod ahead;
mod bits;
mod entropy;

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use self::entropy::Census;
use super::exif::{self, Orientation};
use super::{big_endian_16, check_size};
use crate::image::{DecodeLimits, ImageError, RgbImage};

/// A progressive picture is decoded once per scan: without a bound, a small file costs minutes.
const MAX_SCANS: usize = 64;

pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, ImageError> {
    let outline = Outline::read(bytes, limits)?;
    let options = DecoderOptions::default()
        .set_max_width(limits.max_side as usize)
        .set_max_height(limits.max_side as usize)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_strict_mode(false);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let corrupt = |error: zune_jpeg::errors::DecodeErrors| ImageError::Corrupt(error.to_string());
    decoder.decode_headers().map_err(corrupt)?;
    // The decoder forgives more than our own pass; it must not have found another picture.
    let (width, height) = decoder.dimensions().ok_or_else(|| ImageError::Corrupt("no frame header".to_owned()))?;
    if (width as u64, height as u64) != (outline.width, outline.height) {
        return Err(ImageError::Corrupt("two frame headers".to_owned()));
    }
    let data = decoder.decode().map_err(corrupt)?;
    let image = RgbImage::new(width, height, data)
        .ok_or_else(|| ImageError::Corrupt("the decoder returned another size".to_owned()))?;
    Ok(outline.orientation.apply(image))
}

struct Outline {
    width: u64,
    height: u64,
    orientation: Orientation,
}

impl Outline {
    /// Walks the markers from SOI to EOI, and counts the blocks of every scan: the picture must be
    /// there before anything is decoded, for a decoder fills with grey what is not.
    fn read(bytes: &[u8], limits: &DecodeLimits) -> Result<Self, ImageError> {
        const CUT: ImageError = ImageError::Truncated("JPEG ends before its end marker");
        let mut at = 2;
        let mut frame: Option<(u64, u64)> = None;
        let mut census = Census::new();
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
                return Err(ImageError::Corrupt("a JPEG segment shorter than its length".to_owned()));
            }
            let segment = bytes.get(at + 2..at + length).ok_or(CUT)?;
            at += length;
            match marker {
                0xc0..=0xc2 => {
                    if frame.is_some() {
                        return Err(ImageError::Corrupt("two frame headers".to_owned()));
                    }
                    let (width, height) = frame_header(segment)?;
                    check_size(width, height, limits, 1)?;
                    census.frame(marker == 0xc2, segment)?;
                    frame = Some((width, height));
                }
                0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    return Err(ImageError::Unsupported("lossless, hierarchical or arithmetic-coded JPEG".to_owned()));
                }
                0xc4 => census.tables(segment)?,
                0xcc => return Err(ImageError::Unsupported("arithmetic-coded JPEG".to_owned())),
                0xdc => return Err(ImageError::Unsupported("JPEG that names its height after the scan".to_owned())),
                0xdd => census.interval(segment)?,
                0xe1 => {
                    // Of several the first: what editors and viewers go by.
                    if let Some(tiff) = segment.strip_prefix(b"Exif\0\0")
                        && scans == 0
                        && orientation.is_none()
                    {
                        orientation = Some(exif::orientation(tiff));
                    }
                }
                0xda => {
                    scans += 1;
                    if scans > MAX_SCANS {
                        return Err(ImageError::Unsupported(format!("more than {MAX_SCANS} scans in one JPEG")));
                    }
                    at = census.scan(segment, bytes, at)?;
                    pass_surplus(bytes, &mut at)?;
                }
                _ => {}
            }
        }
        if scans == 0 {
            return Err(ImageError::Corrupt("a JPEG without a scan".to_owned()));
        }
        let (width, height) = frame.ok_or_else(|| ImageError::Corrupt("a JPEG without a frame header".to_owned()))?;
        census.finish()?;
        Ok(Self { width, height, orientation: orientation.unwrap_or(Orientation::UPRIGHT) })
    }
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

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

    use super::super::decode;
    use super::*;
    use crate::image::ImageFault;

    fn gradient(w: usize, h: usize, channels: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for y in 0..h {
            for x in 0..w {
                for c in 0..channels {
                    out.push(match c {
                        0 => (x * 255 / w) as u8,
                        1 => (y * 255 / h) as u8,
                        2 => 128,
                        _ => 0,
                    });
                }
            }
        }
        out
    }

    fn encode(w: u16, h: u16, kind: ColorType, channels: usize, progressive: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out, 95);
        encoder.set_progressive(progressive);
        encoder.encode(&gradient(w.into(), h.into(), channels), w, h, kind).unwrap();
        out
    }

    fn mean(image: &RgbImage, channel: usize) -> f64 {
        let sum: u64 = image.data().chunks(3).map(|p| u64::from(p[channel])).sum();
        sum as f64 / (image.width() * image.height()) as f64
    }

    fn fault(bytes: &[u8]) -> Option<ImageFault> {
        decode(bytes, &DecodeLimits::selfie()).err().map(|e| e.fault())
    }

    #[test]
    fn baseline_and_progressive_colour_pictures_decode_alike() {
        let limits = DecodeLimits::selfie();
        let baseline = decode(&encode(70, 50, ColorType::Rgb, 3, false), &limits).unwrap();
        let progressive = decode(&encode(70, 50, ColorType::Rgb, 3, true), &limits).unwrap();
        assert_eq!((baseline.width(), baseline.height()), (70, 50));
        let worst = baseline.data().iter().zip(progressive.data()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(3), "{worst:?}");
        assert!((mean(&baseline, 2) - 128.0).abs() < 3.0);
    }

    #[test]
    fn grey_becomes_rgb_and_cmyk_is_converted() {
        let limits = DecodeLimits::selfie();
        let grey = decode(&encode(64, 48, ColorType::Luma, 1, false), &limits).unwrap();
        assert!(grey.data().chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]));
        // No black, constant yellow: blue is what yellow leaves.
        let cmyk = decode(&encode(64, 48, ColorType::Cmyk, 4, false), &limits).unwrap();
        assert_eq!((cmyk.width(), cmyk.height()), (64, 48));
        assert!((mean(&cmyk, 2) - 127.0).abs() < 4.0, "{}", mean(&cmyk, 2));
        let left = cmyk.at(2, 24)[0];
        let right = cmyk.at(61, 24)[0];
        assert!(left > 230 && right < 30, "cyan takes red away: {left} {right}");
    }

    #[test]
    fn the_exif_orientation_is_applied() {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out, 95);
        let exif = b"Exif\0\0MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00";
        encoder.add_app_segment(1, exif.to_vec()).unwrap();
        encoder.encode(&gradient(70, 50, 3), 70, 50, ColorType::Rgb).unwrap();
        let upright = decode(&out, &DecodeLimits::selfie()).unwrap();
        assert_eq!((upright.width(), upright.height()), (50, 70));
        // Red grew to the right; a quarter turn clockwise later it grows downwards.
        assert!(upright.at(25, 68)[0] > 230 && upright.at(25, 1)[0] < 20);
    }

    #[test]
    fn of_two_exif_segments_the_first_counts() {
        let exif = |tag: u8| {
            let mut block = b"Exif\0\0MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00".to_vec();
            block.extend([tag, 0, 0, 0, 0, 0, 0]);
            block
        };
        for (first, second, size) in [(6, 1, (50, 70)), (1, 6, (70, 50))] {
            let mut out = Vec::new();
            let mut encoder = Encoder::new(&mut out, 95);
            encoder.add_app_segment(1, exif(first)).unwrap();
            encoder.add_app_segment(1, exif(second)).unwrap();
            encoder.encode(&gradient(70, 50, 3), 70, 50, ColorType::Rgb).unwrap();
            let upright = decode(&out, &DecodeLimits::selfie()).unwrap();
            assert_eq!((upright.width(), upright.height()), size);
        }
    }

    #[test]
    fn every_cut_of_a_picture_is_named() {
        for progressive in [false, true] {
            let whole = encode(64, 64, ColorType::Rgb, 3, progressive);
            for n in 3..whole.len() {
                assert_eq!(fault(&whole[..n]), Some(ImageFault::Truncated), "length {n}");
            }
        }
    }

    /// Every way to lay out a picture that the encoder knows.
    fn layouts() -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for (kind, channels) in [(ColorType::Rgb, 3), (ColorType::Luma, 1), (ColorType::Cmyk, 4)] {
            // The encoder subsamples colours only.
            let factors = [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2];
            for factor in factors.into_iter().take(if channels == 3 { 3 } else { 1 }) {
                for restart in [0, 3] {
                    for (progressive, optimised) in [(false, false), (false, true), (true, true)] {
                        if restart > 0 && optimised {
                            // The encoder makes tables for a picture without restarts.
                            continue;
                        }
                        let mut bytes = Vec::new();
                        let mut encoder = Encoder::new(&mut bytes, 80);
                        encoder.set_sampling_factor(factor);
                        encoder.set_restart_interval(restart);
                        encoder.set_progressive(progressive);
                        encoder.set_optimized_huffman_tables(optimised);
                        encoder.encode(&noisy(75, 61, channels), 75, 61, kind).unwrap();
                        out.push(bytes);
                    }
                }
            }
        }
        out
    }

    fn noisy(w: usize, h: usize, channels: usize) -> Vec<u8> {
        let mut state = 7u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 27) as u8
        };
        gradient(w, h, channels).into_iter().map(|v| v.saturating_add(noise())).collect()
    }

    /// Where the data of the first scan begins.
    fn data_start(bytes: &[u8]) -> usize {
        let scan = bytes.windows(2).position(|w| w == [0xff, 0xda]).unwrap();
        scan + 2 + usize::from(u16::from_be_bytes([bytes[scan + 2], bytes[scan + 3]]))
    }

    #[test]
    fn whole_pictures_of_every_layout_are_whole() {
        for bytes in layouts() {
            assert_eq!(fault(&bytes), None);
        }
    }

    #[test]
    fn a_cut_is_named_even_when_an_end_marker_is_put_behind_it() {
        for whole in layouts() {
            let start = data_start(&whole);
            let single = whole.windows(2).filter(|pair| *pair == [0xff, 0xda]).count() == 1;
            // The last byte may hold nothing but padding.
            for n in (start..whole.len() - 4).step_by(3) {
                let closed = [&whole[..n], &[0xff, 0xd9]].concat();
                let found = fault(&closed);
                // A cut behind 0xff leaves half of a stuffed pair, which is a marker of its own; one through a
                // later scan's header makes a header of what follows.
                let told = single && whole[n - 1] != 0xff;
                assert!(found == Some(ImageFault::Truncated) || (!told && found.is_some()), "{n}: {found:?}");
            }
        }
    }

    #[test]
    fn a_header_that_lies_about_the_height_is_named() {
        for whole in layouts() {
            let frame = whole.windows(2).position(|w| w[0] == 0xff && (0xc0..=0xc2).contains(&w[1])).unwrap();
            let tall = |height: u16| {
                let mut other = whole.clone();
                other[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
                fault(&other)
            };
            assert_eq!(tall(61), None);
            assert!(matches!(tall(200), Some(ImageFault::Truncated | ImageFault::Corrupt)));
            assert!(tall(16).is_some());
        }
    }

    #[test]
    fn a_progressive_picture_without_its_last_scans_is_cut_off() {
        let whole = encode(64, 64, ColorType::Rgb, 3, true);
        let scans: Vec<usize> = (0..whole.len() - 1).filter(|at| whole[*at..].starts_with(&[0xff, 0xda])).collect();
        assert!(scans.len() > 3);
        for scan in &scans[1..] {
            let closed = [&whole[..*scan], &[0xff, 0xd9]].concat();
            assert_eq!(fault(&closed), Some(ImageFault::Truncated));
        }
    }

    #[test]
    fn what_follows_the_end_is_nobodys_business() {
        let one = encode(64, 64, ColorType::Rgb, 3, false);
        let two = [&one[..], &encode(32, 32, ColorType::Rgb, 3, false), b"and a text"].concat();
        let image = decode(&two, &DecodeLimits::selfie()).unwrap();
        assert_eq!((image.width(), image.height()), (64, 64));
    }

    #[test]
    fn components_and_tables_that_are_not_there_are_named() {
        let whole = encode(64, 64, ColorType::Rgb, 3, false);
        let at = |marker: u8| whole.windows(2).position(|w| w == [0xff, marker]).unwrap();
        let changed = |place: usize, value: u8| {
            let mut other = whole.clone();
            other[place] = value;
            fault(&other)
        };
        let (frame, scan, table) = (at(0xc0), at(0xda), at(0xc4));
        assert_eq!(changed(frame + 9, 0), Some(ImageFault::Unsupported), "no component");
        assert_eq!(changed(frame + 11, 0x00), Some(ImageFault::Corrupt), "no sampling factor");
        assert_eq!(changed(scan + 4, 0), Some(ImageFault::Corrupt), "a scan of nothing");
        assert_eq!(changed(scan + 5, 99), Some(ImageFault::Corrupt), "a scan of another component");
        assert_eq!(changed(scan + 6, 0x33), Some(ImageFault::Corrupt), "a scan without tables");
        assert_eq!(changed(table + 5, 255), Some(ImageFault::Corrupt), "a table of too many codes");
        let arithmetic = [&whole[..table], &[0xff, 0xcc, 0, 4, 0, 0], &whole[table..]].concat();
        assert_eq!(fault(&arithmetic), Some(ImageFault::Unsupported));
        let later_height = [&whole[..scan], &[0xff, 0xdc, 0, 4, 0, 64], &whole[scan..]].concat();
        assert_eq!(fault(&later_height), Some(ImageFault::Unsupported));
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        let mut bomb = encode(64, 64, ColorType::Rgb, 3, false);
        let frame = bomb.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        bomb[frame + 5..frame + 9].copy_from_slice(&[0x4e, 0x20, 0x4e, 0x20]);
        assert_eq!(
            decode(&bomb, &DecodeLimits::selfie()).err(),
            Some(ImageError::TooManyPixels { width: 20_000, height: 20_000 })
        );
    }

    #[test]
    fn one_pixel_is_a_picture() {
        let one = decode(&encode(1, 1, ColorType::Rgb, 3, false), &DecodeLimits::selfie()).unwrap();
        assert_eq!((one.width(), one.height()), (1, 1));
    }

    #[test]
    fn forms_that_are_not_taken_are_named() {
        let whole = encode(64, 64, ColorType::Rgb, 3, false);
        let frame = whole.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        for (offset, value) in [(1, 0xc3), (1, 0xc9), (4, 12), (9, 2)] {
            let mut other = whole.clone();
            other[frame + offset] = value;
            assert_eq!(fault(&other), Some(ImageFault::Unsupported), "{offset}={value}");
        }
    }

    #[test]
    fn flipped_bytes_never_panic() {
        let whole = encode(64, 64, ColorType::Rgb, 3, true);
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 0x5a;
            let _ = decode(&other, &DecodeLimits::selfie());
        }
    }
}
