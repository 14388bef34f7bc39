//! Pictures made from pictures: what cameras, encoders and cheats do to them.

use proofmill_face::{DecodeLimits, RgbImage, decode};

/// As JPEG.
pub fn jpeg(image: &RgbImage, quality: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let (w, h) = (image.width() as u16, image.height() as u16);
    jpeg_encoder::Encoder::new(&mut out, quality).encode(image.data(), w, h, jpeg_encoder::ColorType::Rgb).unwrap();
    out
}

/// As a JPEG 2000 codestream.
pub fn jpeg2000(image: &RgbImage) -> Vec<u8> {
    let options = dicom_toolkit_jpeg2000::EncodeOptions {
        // The encoder's wavelets do not come back whole; without them it is lossless.
        num_decomposition_levels: 0,
        reversible: true,
        guard_bits: 2,
        ..Default::default()
    };
    let (w, h) = (image.width() as u32, image.height() as u32);
    let mut out = dicom_toolkit_jpeg2000::encode(image.data(), w, h, 3, 8, false, &options).unwrap();
    mend(&mut out);
    out
}

/// The encoder counts one byte too many into its coding style segment (ISO/IEC 15444-1 A.6.1).
pub fn mend(codestream: &mut [u8]) {
    let at = codestream.windows(4).position(|w| w == [0xff, 0x52, 0, 13]);
    codestream[at.unwrap() + 3] = 12;
}

/// A codestream inside a JP2 file (ISO/IEC 15444-1 annex I) whose header tells this size.
pub fn jp2(codestream: &[u8], width: u32, height: u32, components: u16) -> Vec<u8> {
    let boxed = |kind: &[u8; 4], body: &[u8]| {
        let mut out = ((body.len() + 8) as u32).to_be_bytes().to_vec();
        out.extend_from_slice(kind);
        out.extend_from_slice(body);
        out
    };
    let mut ihdr = height.to_be_bytes().to_vec();
    ihdr.extend(width.to_be_bytes());
    ihdr.extend(components.to_be_bytes());
    ihdr.extend([7, 7, 0, 0]);
    let space: u32 = if components == 1 { 17 } else { 16 };
    let mut colr = vec![1, 0, 0];
    colr.extend(space.to_be_bytes());
    let header = [boxed(b"ihdr", &ihdr), boxed(b"colr", &colr)].concat();
    [
        boxed(b"jP  ", b"\r\n\x87\n"),
        boxed(b"ftyp", b"jp2 \0\0\0\0jp2 "),
        boxed(b"jp2h", &header),
        boxed(b"jp2c", codestream),
    ]
    .concat()
}

/// A decoded photo.
pub fn photo(name: &str) -> Option<RgbImage> {
    Some(decode(&super::photo(name)?, &DecodeLimits::selfie()).unwrap())
}

/// Each pixel of the new picture from a place in the old one (in pixels, between them too).
pub fn remap(image: &RgbImage, width: usize, height: usize, from: impl Fn(f64, f64) -> (f64, f64)) -> RgbImage {
    averaged(image, width, height, 1, from)
}

/// The same, as the mean of `grid` x `grid` samples spread over each new pixel.
fn averaged(
    image: &RgbImage,
    width: usize,
    height: usize,
    grid: usize,
    from: impl Fn(f64, f64) -> (f64, f64),
) -> RgbImage {
    let mut out = Vec::with_capacity(width * height * 3);
    let offset = |index: usize| (index as f64 + 0.5) / grid as f64 - 0.5;
    for y in 0..height {
        for x in 0..width {
            let mut sums = [0f64; 3];
            for sample in 0..grid * grid {
                let (fx, fy) = from(x as f64 + offset(sample % grid), y as f64 + offset(sample / grid));
                for (sum, value) in sums.iter_mut().zip(between(image, fx, fy)) {
                    *sum += value;
                }
            }
            out.extend(sums.map(|sum| (sum / (grid * grid) as f64).round() as u8));
        }
    }
    RgbImage::new(width, height, out).unwrap()
}

fn between(image: &RgbImage, x: f64, y: f64) -> [f64; 3] {
    let x = x.clamp(0.0, image.width() as f64 - 1.001);
    let y = y.clamp(0.0, image.height() as f64 - 1.001);
    let (left, top) = (x as usize, y as usize);
    let (fx, fy) = (x - left as f64, y - top as f64);
    let at = |x: usize, y: usize, c: usize| {
        let (x, y) = (x.min(image.width() - 1), y.min(image.height() - 1));
        f64::from(image.data()[(y * image.width() + x) * 3 + c])
    };
    std::array::from_fn(|c| {
        let upper = at(left, top, c) * (1.0 - fx) + at(left + 1, top, c) * fx;
        let lower = at(left, top + 1, c) * (1.0 - fx) + at(left + 1, top + 1, c) * fx;
        upper * (1.0 - fy) + lower * fy
    })
}

/// Scaled to a width, keeping the aspect.
pub fn scaled(image: &RgbImage, width: usize) -> RgbImage {
    let factor = image.width() as f64 / width as f64;
    let height = (image.height() as f64 / factor).round() as usize;
    let grid = (factor.ceil() as usize).clamp(1, 8);
    averaged(image, width, height, grid, |x, y| ((x + 0.5) * factor - 0.5, (y + 0.5) * factor - 0.5))
}

/// At other proportions.
pub fn stretched(image: &RgbImage, across: f64, down: f64) -> RgbImage {
    let side = |pixels: usize, share: f64| ((pixels as f64 * share).round() as usize).max(1);
    averaged(image, side(image.width(), across), side(image.height(), down), 2, |x, y| {
        ((x + 0.5) / across - 0.5, (y + 0.5) / down - 0.5)
    })
}

/// Turned clockwise about the middle.
pub fn turned(image: &RgbImage, degrees: f64) -> RgbImage {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (cx, cy) = (image.width() as f64 / 2.0, image.height() as f64 / 2.0);
    remap(image, image.width(), image.height(), |x, y| {
        let (x, y) = (x - cx, y - cy);
        (cos * x + sin * y + cx, cos * y - sin * x + cy)
    })
}

/// As in a mirror.
pub fn mirrored(image: &RgbImage) -> RgbImage {
    let data = image
        .data()
        .chunks_exact(image.width() * 3)
        .flat_map(|row| row.chunks_exact(3).rev().flatten().copied())
        .collect();
    RgbImage::new(image.width(), image.height(), data).unwrap()
}

/// The middle share of the picture.
pub fn cropped(image: &RgbImage, share: f64) -> RgbImage {
    let (w, h) = (image.width() as f64, image.height() as f64);
    let (dx, dy) = (w * (1.0 - share) / 2.0, h * (1.0 - share) / 2.0);
    remap(image, (w * share) as usize, (h * share) as usize, |x, y| (x + dx, y + dy))
}

/// Each sample changed by itself.
pub fn toned(image: &RgbImage, tone: impl Fn(f32) -> f32) -> RgbImage {
    let data = image.data().iter().map(|v| tone(f32::from(*v)).clamp(0.0, 255.0) as u8).collect();
    RgbImage::new(image.width(), image.height(), data).unwrap()
}

/// Out of focus: reduced so that a pixel covers `pixels`, and enlarged again.
pub fn blurred(image: &RgbImage, pixels: usize) -> RgbImage {
    let small = scaled(image, (image.width() / pixels).max(2));
    let fx = small.width() as f64 / image.width() as f64;
    let fy = small.height() as f64 / image.height() as f64;
    remap(&small, image.width(), image.height(), |x, y| ((x + 0.5) * fx - 0.5, (y + 0.5) * fy - 0.5))
}

/// Two pictures next to one another, at one height.
pub fn side_by_side(left: &RgbImage, right: &RgbImage, height: usize) -> RgbImage {
    let fit = |image: &RgbImage| scaled(image, image.width() * height / image.height());
    let (left, right) = (fit(left), fit(right));
    let height = left.height().min(right.height());
    let rows = |image: &RgbImage, y: usize| image.data()[y * image.width() * 3..(y + 1) * image.width() * 3].to_vec();
    let data = (0..height).flat_map(|y| [rows(&left, y), rows(&right, y)].concat()).collect();
    RgbImage::new(left.width() + right.width(), height, data).unwrap()
}

/// The part of a picture that begins at a corner, which may lie outside: there, the edge goes on.
pub fn shifted(image: &RgbImage, corner: (f64, f64), size: (f64, f64)) -> RgbImage {
    remap(image, size.0 as usize, size.1 as usize, |x, y| (x + corner.0, y + corner.1))
}

/// In the middle of a grey square of this side.
pub fn on_canvas(image: &RgbImage, side: usize) -> RgbImage {
    let (left, top) = (side.saturating_sub(image.width()) / 2, side.saturating_sub(image.height()) / 2);
    let mut data = vec![128; side * side * 3];
    for (y, row) in image.data().chunks_exact(image.width() * 3).enumerate() {
        let start = ((y + top) * side + left) * 3;
        data[start..start + row.len()].copy_from_slice(row);
    }
    RgbImage::new(side, side, data).unwrap()
}

/// With a sensor's noise of this many grey levels.
pub fn noisy(image: &RgbImage, level: f32) -> RgbImage {
    let mut state = 12_345u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let mut normal = || (0..4).map(|_| uniform()).sum::<f32>() * 3f32.sqrt();
    let data = image.data().iter().map(|v| (f32::from(*v) + level * normal()).clamp(0.0, 255.0) as u8).collect();
    RgbImage::new(image.width(), image.height(), data).unwrap()
}

/// Seen from one side: by this share the far side is smaller.
pub fn tilted(image: &RgbImage, share: f64) -> RgbImage {
    let (w, h) = (image.width() as f64, image.height() as f64);
    remap(image, image.width(), image.height(), |x, y| {
        let depth = 1.0 + share * (x / w - 0.5) + share * 0.5 * (y / h - 0.5);
        ((x - w / 2.0) * depth + w / 2.0, (y - h / 2.0) * depth + h / 2.0)
    })
}

/// Each channel by a factor of its own.
pub fn tinted(image: &RgbImage, factors: [f32; 3]) -> RgbImage {
    let tint = |(i, v): (usize, &u8)| (f32::from(*v) * factors[i % 3]).clamp(0.0, 255.0) as u8;
    RgbImage::new(image.width(), image.height(), image.data().iter().enumerate().map(tint).collect()).unwrap()
}

/// Photographed off a screen: from one side, unevenly bright, with its lines, noise and compression.
pub fn off_a_screen(image: &RgbImage) -> RgbImage {
    let seen = tilted(image, 0.08);
    let width = seen.width();
    let light = |(i, v): (usize, &u8)| {
        let (x, y) = ((i / 3 % width) as f32, (i / 3 / width) as f32);
        let gain = 0.75 + 0.35 * x / width as f32;
        let lines = 1.0 + 0.06 * (y * 2.1).sin() * (x * 1.9).sin();
        (f32::from(*v) * gain * lines + 12.0).clamp(0.0, 255.0) as u8
    };
    let lit = RgbImage::new(width, seen.height(), seen.data().iter().enumerate().map(light).collect()).unwrap();
    noisy(&decode(&jpeg(&lit, 80), &DecodeLimits::selfie()).unwrap(), 4.0)
}

/// As a wavelet encoder with few bytes leaves it: what is fine and faint is gone, edges are not.
pub fn wavelet_smoothed(image: &RgbImage) -> RgbImage {
    let soft = blurred(image, 3);
    let pairs = image.data().iter().zip(soft.data());
    let kept = pairs.map(|(v, s)| if v.abs_diff(*s) > 12 { *v } else { *s });
    RgbImage::new(image.width(), image.height(), kept.collect()).unwrap()
}
