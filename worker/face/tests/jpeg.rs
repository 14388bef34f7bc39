//! The JPEG decoder on photographs, held to two others.
#![allow(clippy::unwrap_used)]

mod common;

use proofmill_face::{DecodeLimits, RgbImage, decode};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};

/// Cameras' and programs' pictures, upright ones, which is how the other decoders give them.
fn photographs() -> Vec<(String, Vec<u8>, RgbImage)> {
    let folders = [Some(common::photos()), common::reference_data().map(|data| data.join("face/images"))];
    let mut photographs = Vec::new();
    for entry in folders.iter().flatten().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if bytes.starts_with(&[0xff, 0xd8]) {
            let image = decode(&bytes, &DecodeLimits::selfie()).unwrap();
            photographs.push((path.display().to_string(), bytes, image));
        }
    }
    if photographs.is_empty() {
        println!("skipped: no photographs (cargo xtask setup fetches them)");
    }
    photographs
}

#[test]
fn photographs_have_the_pixels_of_libjpeg() {
    let photographs = photographs();
    for (name, bytes, image) in &photographs {
        let mut other = mozjpeg::Decompress::new_mem(bytes).unwrap().rgb().unwrap();
        let pixels: Vec<[u8; 3]> = other.read_scanlines().unwrap();
        assert_eq!((image.width(), image.height()), (other.width(), other.height()), "{name}");
        assert!(image.data() == pixels.as_flattened(), "{name}");
    }
    println!("{} photographs, pixel for pixel", photographs.len());
}

#[test]
fn photographs_are_near_what_another_decoder_gives() {
    let mut worst = 0.0f64;
    for (name, bytes, image) in photographs() {
        let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
        let other = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(&bytes), options).decode().unwrap();
        assert_eq!(image.data().len(), other.len(), "{name}");
        let sum: u64 = image.data().iter().zip(&other).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let mean = sum as f64 / other.len() as f64;
        assert!(mean < 2.0, "{name}: {mean} grey levels");
        worst = worst.max(mean);
    }
    println!("at most {worst:.2} grey levels in the mean of a picture");
}
