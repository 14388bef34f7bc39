//! JPEG 2000 pictures: whole, cut off, lying, and in every sample depth.
#![allow(clippy::unwrap_used)]

mod common;

use common::pictures::{jp2, mend};
use proofmill_face::{DecodeLimits, ImageError, ImageFault, RgbImage, decode};

const WIDTH: u32 = 61;
const HEIGHT: u32 = 47;

fn samples(components: usize) -> Vec<u16> {
    (0..WIDTH as usize * HEIGHT as usize * components)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u16 ^ (i as u16).wrapping_mul(37))
        .collect()
}

fn encode(components: u8, depth: u8, signed: bool) -> (Vec<u16>, Vec<u8>) {
    let raw: Vec<u16> = samples(components.into()).iter().map(|v| v >> (16 - depth)).collect();
    let bytes: Vec<u8> = if depth > 8 {
        raw.iter().flat_map(|v| v.to_le_bytes()).collect()
    } else {
        raw.iter().map(|v| *v as u8).collect()
    };
    let options = dicom_toolkit_jpeg2000::EncodeOptions {
        // The encoder's wavelets do not come back whole; without them it is lossless.
        num_decomposition_levels: 0,
        guard_bits: 2,
        ..Default::default()
    };
    let out = dicom_toolkit_jpeg2000::encode(&bytes, WIDTH, HEIGHT, components, depth, signed, &options);
    let mut out = out.unwrap();
    mend(&mut out);
    (raw, out)
}

fn fault(bytes: &[u8]) -> Option<ImageFault> {
    decode(bytes, &DecodeLimits::portrait()).err().map(|e| e.fault())
}

fn size(image: &RgbImage) -> (u32, u32) {
    (image.width() as u32, image.height() as u32)
}

#[test]
fn a_codestream_and_a_jp2_file_decode_to_the_pixels_that_went_in() {
    let (raw, codestream) = encode(3, 8, false);
    for bytes in [codestream.clone(), jp2(&codestream, WIDTH, HEIGHT, 3)] {
        let image = decode(&bytes, &DecodeLimits::portrait()).unwrap();
        assert_eq!(size(&image), (WIDTH, HEIGHT));
        assert!(image.data().iter().map(|v| u16::from(*v)).eq(raw.iter().copied()));
    }
}

#[test]
fn grey_becomes_rgb() {
    let (raw, codestream) = encode(1, 8, false);
    let image = decode(&codestream, &DecodeLimits::portrait()).unwrap();
    assert!(image.data().chunks(3).zip(&raw).all(|(p, v)| p.iter().all(|c| u16::from(*c) == *v)));
}

#[test]
fn twelve_and_sixteen_bits_are_scaled_to_eight() {
    for depth in [12, 16] {
        let (raw, codestream) = encode(3, depth, false);
        let image = decode(&codestream, &DecodeLimits::portrait()).unwrap();
        let top = f64::from((1u32 << depth) - 1);
        for (got, raw) in image.data().iter().zip(&raw) {
            let expected = f64::from(*raw) / top * 255.0;
            assert!((f64::from(*got) - expected).abs() <= 1.0, "{depth} bits: {got} {expected}");
        }
    }
}

#[test]
fn signed_samples_too_many_components_and_cmyk_are_named() {
    let (_, signed) = encode(3, 8, true);
    assert_eq!(fault(&signed), Some(ImageFault::Unsupported));
    let (_, four) = encode(4, 8, false);
    let four = jp2(&four, WIDTH, HEIGHT, 4);
    let mut cmyk = four.clone();
    let space = cmyk.windows(4).position(|w| w == b"colr").unwrap() + 7;
    cmyk[space..space + 4].copy_from_slice(&12u32.to_be_bytes());
    assert_eq!(fault(&cmyk), Some(ImageFault::Unsupported));
    // Four components of RGB are three and transparency.
    assert_eq!(fault(&four), None);
    let (_, mut many) = encode(3, 8, false);
    many[40..42].copy_from_slice(&500u16.to_be_bytes());
    assert_eq!(fault(&many), Some(ImageFault::Unsupported));
}

#[test]
fn a_miscounted_header_segment_does_no_harm() {
    let (_, mut codestream) = encode(3, 8, false);
    let at = codestream.windows(4).position(|w| w == [0xff, 0x52, 0, 12]).unwrap();
    codestream[at + 3] = 13;
    assert_eq!(fault(&codestream), None);
}

#[test]
fn every_cut_is_named() {
    let (_, codestream) = encode(3, 8, false);
    let whole = jp2(&codestream, WIDTH, HEIGHT, 3);
    // The last two bytes are the end marker, which some encoders leave out.
    for n in 12..whole.len() - 2 {
        assert_eq!(fault(&whole[..n]), Some(ImageFault::Truncated), "length {n}");
    }
    for n in 4..codestream.len() - 2 {
        assert_eq!(fault(&codestream[..n]), Some(ImageFault::Truncated), "length {n}");
    }
}

/// Cuts whose marks were put right again: the tile-part's length, or none, and an end marker.
#[test]
fn a_cut_inside_a_packet_is_named_whatever_was_written_over_it() {
    let (_, codestream) = encode(3, 8, false);
    let tile = codestream.windows(4).position(|w| w == [0xff, 0x90, 0, 10]).unwrap();
    let with_length = |end: usize, length: usize| {
        let mut out = codestream[..end].to_vec();
        out[tile + 6..tile + 10].copy_from_slice(&(length as u32).to_be_bytes());
        out.extend([0xff, 0xd9]);
        out
    };
    let whole = codestream.len() - 2;
    assert_eq!(fault(&with_length(whole, 0)), None);
    for share in [0.05, 0.3, 0.6, 0.9, 0.99] {
        let end = tile + 14 + ((whole - tile - 14) as f64 * share) as usize;
        for length in [0, end - tile] {
            for bytes in [with_length(end, length), jp2(&with_length(end, length), WIDTH, HEIGHT, 3)] {
                assert_eq!(fault(&bytes), Some(ImageFault::Truncated), "{share} {length}");
            }
        }
    }
}

#[test]
fn a_size_that_both_headers_make_up_is_named() {
    let (_, codestream) = encode(3, 8, false);
    for (width, height) in [(WIDTH * 2, HEIGHT * 2), (WIDTH + 40, HEIGHT + 40)] {
        let mut lying = codestream.clone();
        // The picture's size, and that of its one tile.
        for at in [8, 24] {
            lying[at..at + 4].copy_from_slice(&width.to_be_bytes());
            lying[at + 4..at + 8].copy_from_slice(&height.to_be_bytes());
        }
        assert!(fault(&jp2(&lying, width, height, 3)).is_some(), "{width}x{height}");
    }
}

#[test]
fn bombs_and_lies_about_the_size_are_named() {
    let (_, codestream) = encode(3, 8, false);
    let lying = jp2(&codestream, WIDTH * 2, HEIGHT, 3);
    assert_eq!(fault(&lying), Some(ImageFault::Corrupt));

    let mut bomb = codestream.clone();
    bomb[8..16].copy_from_slice(&[0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20]);
    assert_eq!(
        decode(&bomb, &DecodeLimits::portrait()).err(),
        Some(ImageError::TooManyPixels { width: 20_000, height: 20_000 })
    );

    let mut tiles = codestream.clone();
    tiles[24..32].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(fault(&tiles), Some(ImageFault::Unsupported));

    // Tiles of half the width: the second one is not there, or another one is.
    let mut halves = codestream.clone();
    halves[24..28].copy_from_slice(&(WIDTH / 2 + 1).to_be_bytes());
    assert_eq!(fault(&halves), Some(ImageFault::Truncated));
    let mut outside = codestream.clone();
    let tile = outside.windows(4).position(|w| w == [0xff, 0x90, 0, 10]).unwrap();
    outside[tile + 5] = 9;
    assert_eq!(fault(&outside), Some(ImageFault::Corrupt));

    let mut empty = codestream;
    empty[16..24].copy_from_slice(&[0, 0, 1, 0, 0, 0, 1, 0]);
    assert_eq!(fault(&empty), Some(ImageFault::Corrupt));
}

#[test]
fn flipped_bytes_never_panic() {
    let (_, codestream) = encode(3, 8, false);
    let whole = jp2(&codestream, WIDTH, HEIGHT, 3);
    for at in (0..whole.len()).filter(|at| *at < 300 || at % 7 == 0) {
        let mut other = whole.clone();
        other[at] ^= 0x81;
        let _ = decode(&other, &DecodeLimits::portrait());
    }
}

#[test]
fn the_reference_portrait_decodes() {
    let Some(data) = common::reference_data() else { return };
    let bytes = std::fs::read(data.join("emrtd/dg2/silver.jp2")).unwrap();
    let image = decode(&bytes, &DecodeLimits::portrait()).unwrap();
    assert!(image.width() > 100 && image.height() > image.width());
}
