//! What the tests of the face tools have in common: photos, pictures made of them, and the program.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use proofmill_face::{DecodeLimits, RgbImage, decode};
use serde_json::Value;

/// The folder of photos that set-up fetched, or `None` after saying what is missing. Without the model pack nothing runs.
pub fn photos() -> Option<PathBuf> {
    let photos = cached("PROOFMILL_PHOTOS", "photos");
    let asked = std::env::var_os("PROOFMILL_MODELS").map(PathBuf::from);
    let pack = proofmill_worker::face::pack_folder(asked.as_deref()).join("pack.toml");
    for needed in [photos.join("obama.jpg"), pack] {
        if !needed.is_file() {
            println!("skipped: there is no {}; `cargo xtask setup` fetches it", needed.display());
            return None;
        }
    }
    Some(photos)
}

fn cached(variable: &str, folder: &str) -> PathBuf {
    std::env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| {
        Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache/proofmill").join(folder)
    })
}

/// What a run of the program did.
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

/// Runs the worker on the processor, with one thread: the tests share the cores among themselves.
pub fn worker(arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_proofmill-worker"))
        .args(arguments)
        .env("PROOFMILL_DEVICE", "cpu")
        .env("PROOFMILL_THREADS", "1")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A decoded photo.
pub fn picture(path: &Path) -> RgbImage {
    decode(&std::fs::read(path).unwrap(), &DecodeLimits::selfie()).unwrap()
}

/// The picture at another height, by the mean of the pixels that each new one covers.
pub fn scaled(image: &RgbImage, height: usize) -> RgbImage {
    let width = image.width() * height / image.height();
    let span = |at: usize, from: usize, to: usize| at * from / to..((at + 1) * from / to).max(at * from / to + 1);
    let mut data = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let (rows, columns) = (span(y, image.height(), height), span(x, image.width(), width));
            let count = (rows.len() * columns.len()) as u32;
            for channel in 0..3 {
                let pixels = rows.clone().flat_map(|row| columns.clone().map(move |column| (row, column)));
                let sum: u32 =
                    pixels.map(|(r, c)| u32::from(image.data()[(r * image.width() + c) * 3 + channel])).sum();
                data.push((sum / count) as u8);
            }
        }
    }
    RgbImage::new(width, height, data).unwrap()
}

/// Two pictures of one height side by side.
pub fn beside(left: &RgbImage, right: &RgbImage) -> RgbImage {
    assert_eq!(left.height(), right.height());
    let rows = left.data().chunks(left.width() * 3).zip(right.data().chunks(right.width() * 3));
    let data = rows.flat_map(|(left, right)| left.iter().chain(right).copied()).collect();
    RgbImage::new(left.width() + right.width(), left.height(), data).unwrap()
}

/// As JPEG.
pub fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut out = Vec::new();
    let (w, h) = (image.width() as u16, image.height() as u16);
    jpeg_encoder::Encoder::new(&mut out, 90).encode(image.data(), w, h, jpeg_encoder::ColorType::Rgb).unwrap();
    out
}

/// As JPEG in cyan, magenta, yellow and black.
pub fn cmyk_jpeg(image: &RgbImage) -> Vec<u8> {
    let inks: Vec<u8> = image.data().chunks(3).flat_map(|p| [255 - p[0], 255 - p[1], 255 - p[2], 0]).collect();
    let mut out = Vec::new();
    let (w, h) = (image.width() as u16, image.height() as u16);
    jpeg_encoder::Encoder::new(&mut out, 90).encode(&inks, w, h, jpeg_encoder::ColorType::Cmyk).unwrap();
    out
}

/// As PNG with 16 bits a sample.
pub fn png_16(image: &RgbImage) -> Vec<u8> {
    use zune_core::{bit_depth::BitDepth, colorspace::ColorSpace, options::EncoderOptions};
    let samples: Vec<u8> = image.data().iter().flat_map(|v| (u16::from(*v) * 257).to_ne_bytes()).collect();
    let options = EncoderOptions::new(image.width(), image.height(), ColorSpace::RGB, BitDepth::Sixteen);
    let mut out = Vec::new();
    zune_png::PngEncoder::new(&samples, options).encode(&mut out).unwrap();
    out
}

/// A JPEG whose header claims 20,000 x 20,000 pixels.
pub fn jpeg_bomb() -> Vec<u8> {
    let mut bytes = jpeg(&RgbImage::new(16, 16, vec![90; 768]).unwrap());
    let frame = bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0x4e, 0x20, 0x4e, 0x20]);
    bytes
}

/// A PNG whose header claims the same.
pub fn png_bomb() -> Vec<u8> {
    let mut bytes = png_16(&RgbImage::new(4, 4, vec![90; 48]).unwrap());
    bytes[16..24].copy_from_slice(&[0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20]);
    bytes
}
