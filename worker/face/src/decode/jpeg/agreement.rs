//! Pixel for pixel what libjpeg gives, whatever the layout. (mozjpeg decodes as libjpeg-turbo does, with the same defaults:
//! the accurate integer transform and triangles.)

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use mozjpeg::{ColorSpace, Compress, Decompress, ScanMode};
use proptest::prelude::*;

use super::super::decode;
use crate::image::{DecodeLimits, RgbImage};

/// Smooth shades with edges and noise upon them.
fn samples(width: usize, height: usize, channels: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut out = Vec::with_capacity(width * height * channels);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..channels {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let shade = (x * (3 + channel) + y * (5 - channel)) / 2 % 256;
                let edge = if (x / 7 + y / 5 + channel).is_multiple_of(3) { 90 } else { 0 };
                let noise = if seed.is_multiple_of(3) { (state >> 26) as usize } else { 0 };
                out.push((shade + edge + noise).min(255) as u8);
            }
        }
    }
    out
}

/// Where the first pixel lies in which two pictures differ, and both of them there.
fn difference(image: &RgbImage, other: &[[u8; 3]]) -> Option<(usize, [u8; 3], [u8; 3])> {
    assert_eq!(image.data().len(), other.len() * 3);
    let pixels = image.data().as_chunks::<3>().0.iter().zip(other);
    pixels.enumerate().find(|(_, (ours, theirs))| ours != theirs).map(|(at, (ours, theirs))| (at, *ours, *theirs))
}

fn assert_agreement(bytes: &[u8]) {
    let ours = decode(bytes, &DecodeLimits::selfie()).unwrap();
    let mut theirs = Decompress::new_mem(bytes).unwrap().rgb().unwrap();
    let theirs: Vec<[u8; 3]> = theirs.read_scanlines().unwrap();
    assert_eq!(difference(&ours, &theirs), None);
}

/// The same of four components, which libjpeg leaves as they are.
fn assert_agreement_of_four(bytes: &[u8]) {
    let ours = decode(bytes, &DecodeLimits::selfie()).unwrap();
    let mut theirs = Decompress::new_mem(bytes).unwrap().to_colorspace(ColorSpace::JCS_CMYK).unwrap();
    let theirs: Vec<[u8; 4]> = theirs.read_scanlines().unwrap();
    let share = |value: u8, of: u8| (f64::from(value) * f64::from(of) / 255.0).round() as u8;
    let theirs: Vec<[u8; 3]> = theirs.into_iter().map(|[c, m, y, k]| [share(c, k), share(m, k), share(y, k)]).collect();
    assert_eq!(difference(&ours, &theirs), None);
}

const FACTORS: [SamplingFactor; 8] = [
    SamplingFactor::F_1_1,
    SamplingFactor::F_2_1,
    SamplingFactor::F_1_2,
    SamplingFactor::F_2_2,
    SamplingFactor::F_4_1,
    SamplingFactor::F_4_2,
    SamplingFactor::F_1_4,
    SamplingFactor::F_2_4,
];

/// One of everything that the encoder knows.
#[derive(Debug, Clone)]
struct Layout {
    size: (u16, u16),
    quality: u8,
    factor: usize,
    restart: u16,
    /// At once, each component alone, or progressive in as many scans.
    scans: Option<u8>,
    alone: bool,
    seed: u32,
}

impl Layout {
    fn encode(&self, kind: ColorType, channels: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, self.quality);
        encoder.set_sampling_factor(FACTORS[self.factor]);
        if let Some(scans) = self.scans {
            encoder.set_progressive_scans(scans);
        } else if self.alone {
            encoder.set_optimized_huffman_tables(true);
        } else {
            encoder.set_restart_interval(self.restart);
        }
        let (width, height) = self.size;
        let samples = samples(width.into(), height.into(), channels, self.seed);
        encoder.encode(&samples, width, height, kind).unwrap();
        bytes
    }
}

fn layout() -> impl Strategy<Value = Layout> {
    let scans = prop_oneof![Just(None), (2u8..=20).prop_map(Some)];
    let size = (1u16..90, 1u16..90);
    (size, 1u8..=100, 0usize..FACTORS.len(), 0u16..12, scans, any::<bool>(), any::<u32>()).prop_map(
        |(size, quality, factor, restart, scans, alone, seed)| Layout {
            size,
            quality,
            factor,
            restart,
            scans,
            alone,
            seed,
        },
    )
}

/// Of three components: at most ten blocks in an MCU, and no more than the encoder takes.
fn factors() -> impl Strategy<Value = [(i32, i32); 3]> {
    let factor = || prop::sample::select(&[1i32, 2, 4][..]);
    prop::array::uniform3((factor(), factor())).prop_filter("an MCU of the encoder's", |factors| {
        let blocks: i32 = factors.iter().map(|(across, down)| across * down).sum();
        blocks <= 10 && factors.iter().any(|(across, _)| *across == 1) && factors.iter().any(|(_, down)| *down == 1)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pictures_of_any_layout_have_the_pixels_of_libjpeg(layout in layout(), grey in any::<bool>()) {
        if grey {
            assert_agreement(&layout.encode(ColorType::Luma, 1));
        } else {
            assert_agreement(&layout.encode(ColorType::Rgb, 3));
        }
    }

    /// Another encoder: factors of each component, its own choice of scans, later bits of progressive ones among them.
    #[test]
    fn components_of_any_factors_have_the_pixels_of_libjpeg(
        width in 1usize..70,
        height in 1usize..70,
        factors in factors(),
        scans in 0usize..5,
        quality in 5f32..98.0,
        seed in any::<u32>(),
    ) {
        let mut encoder = Compress::new(ColorSpace::JCS_RGB);
        encoder.set_size(width, height);
        encoder.set_quality(quality);
        match scans {
            0 => encoder.set_fastest_defaults(),
            // The script of libjpeg, then what this encoder finds best.
            1 => {
                encoder.set_fastest_defaults();
                encoder.set_progressive_mode();
            }
            2 => encoder.set_progressive_mode(),
            3 => {
                encoder.set_progressive_mode();
                encoder.set_scan_optimization_mode(ScanMode::AllComponentsTogether);
            }
            _ => {
                encoder.set_progressive_mode();
                encoder.set_scan_optimization_mode(ScanMode::ScanPerComponent);
            }
        }
        for (component, (h, v)) in encoder.components_mut().iter_mut().zip(&factors) {
            (component.h_samp_factor, component.v_samp_factor) = (*h, *v);
        }
        let mut encoder = encoder.start_compress(Vec::new()).unwrap();
        encoder.write_scanlines(&samples(width, height, 3, seed)).unwrap();
        assert_agreement(&encoder.finish().unwrap());
    }
}

#[test]
fn the_smallest_pictures_have_the_pixels_of_libjpeg() {
    for factor in 0..FACTORS.len() {
        for size in (1..=18).flat_map(|width| [(width, 1), (1, width), (width, 17), (width, width)]) {
            for scans in [None, Some(4)] {
                let layout = Layout { size, quality: 90, factor, restart: 2, scans, alone: false, seed: 3 };
                assert_agreement(&layout.encode(ColorType::Rgb, 3));
            }
        }
    }
}

#[test]
fn later_bits_have_the_pixels_of_libjpeg_and_their_lack_is_told() {
    for seed in 0..6 {
        let mut encoder = Compress::new(ColorSpace::JCS_RGB);
        encoder.set_size(75, 61);
        encoder.set_quality(92.0);
        encoder.set_fastest_defaults();
        encoder.set_progressive_mode();
        let mut encoder = encoder.start_compress(Vec::new()).unwrap();
        encoder.write_scanlines(&samples(75, 61, 3, seed)).unwrap();
        let whole = encoder.finish().unwrap();
        // A scan of one component whose coefficients from the first on had their bit 1 before.
        let later = whole.windows(10).position(|scan| scan[..5] == [0xff, 0xda, 0, 8, 1] && scan[7..] == [1, 63, 0x10]);
        assert_agreement(&whole);
        for cut in (later.unwrap() + 10..whole.len() - 4).step_by(7) {
            let closed = [&whole[..cut], &[0xff, 0xd9]].concat();
            assert!(decode(&closed, &DecodeLimits::selfie()).is_err(), "{cut}");
        }
    }
}

#[test]
fn colours_that_are_coded_as_they_are_have_the_pixels_of_libjpeg() {
    let mut encoder = Compress::new(ColorSpace::JCS_RGB);
    encoder.set_color_space(ColorSpace::JCS_RGB);
    encoder.set_size(61, 35);
    let mut encoder = encoder.start_compress(Vec::new()).unwrap();
    encoder.write_scanlines(&samples(61, 35, 3, 3)).unwrap();
    let marked = encoder.finish().unwrap();
    assert_agreement(&marked);
    // By the names of the components alone.
    let adobe = marked.windows(2).position(|pair| pair == [0xff, 0xee]).unwrap();
    let unmarked = [&marked[..adobe], &marked[adobe + 16..]].concat();
    assert_agreement(&unmarked);
    assert_eq!(
        decode(&unmarked, &DecodeLimits::selfie()).unwrap().data(),
        decode(&marked, &DecodeLimits::selfie()).unwrap().data()
    );
}

#[test]
fn four_components_have_the_samples_of_libjpeg() {
    for space in [ColorSpace::JCS_CMYK, ColorSpace::JCS_YCCK] {
        let mut encoder = Compress::new(ColorSpace::JCS_CMYK);
        encoder.set_color_space(space);
        encoder.set_size(61, 35);
        let mut encoder = encoder.start_compress(Vec::new()).unwrap();
        encoder.write_scanlines(&samples(61, 35, 4, 3)).unwrap();
        assert_agreement_of_four(&encoder.finish().unwrap());
    }
    let layout = Layout { size: (61, 35), quality: 80, factor: 0, restart: 3, scans: None, alone: false, seed: 6 };
    assert_agreement_of_four(&layout.encode(ColorType::Cmyk, 4));
    assert_agreement_of_four(&layout.encode(ColorType::CmykAsYcck, 4));
}
