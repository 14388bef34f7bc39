//! The decoder as a whole: what it takes, what it refuses and by which name.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::super::decode;
use crate::image::{DecodeLimits, ImageError, ImageFault, RgbImage};

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
    let exif =
        b"Exif\0\0MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00";
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

/// What is refused for a fault of ours.
fn panicked(bytes: &[u8]) -> bool {
    matches!(decode(bytes, &DecodeLimits::selfie()), Err(ImageError::Corrupt(what)) if what.contains("panicked"))
}

#[test]
fn flipped_bytes_never_panic() {
    let whole = encode(64, 64, ColorType::Rgb, 3, true);
    for at in 0..whole.len() {
        let mut other = whole.clone();
        other[at] ^= 0x5a;
        assert!(!panicked(&other), "{at}");
    }
}

/// Random numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// Changed in a few places: bytes and bits, pieces left out, doubled and moved.
    fn mutant(&mut self, whole: &[u8]) -> Vec<u8> {
        let mut other = whole.to_vec();
        for _ in 0..=self.below(4) {
            let (at, length) = (self.below(other.len()), self.below(40));
            let end = (at + length).min(other.len());
            match self.below(6) {
                0 => other[at] = self.below(256) as u8,
                1 => other[at] ^= 1 << self.below(8),
                2 => other[at] = [0, 1, 0x7f, 0xff][self.below(4)],
                3 if other.len() > 200 => drop(other.drain(at..end)),
                4 => {
                    let piece = other[at..end].to_vec();
                    let to = self.below(other.len());
                    other.splice(to..to, piece);
                }
                _ => {
                    let from = self.below(whole.len());
                    let piece = whole[from..(from + length).min(whole.len())].iter();
                    other[at..end].iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
                }
            }
        }
        other
    }
}

#[test]
fn mutants_of_every_layout_never_panic() {
    let mut dice = Dice(77);
    let (mut taken, mut refused) = (0, 0);
    for whole in layouts() {
        for _ in 0..250 {
            let mutant = dice.mutant(&whole);
            assert!(!panicked(&mutant), "{mutant:?}");
            if fault(&mutant).is_some() { refused += 1 } else { taken += 1 }
        }
    }
    // Neither everything nor nothing got past the headers.
    assert!(taken > 100 && refused > 1_000, "{taken} taken, {refused} refused");
}

#[cfg(target_os = "linux")]
#[test]
fn mutants_take_no_more_memory_than_their_headers_say() {
    /// What the process held at most so far, in bytes.
    fn peak() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }
    let limits = DecodeLimits { max_pixels: 1_000_000, ..DecodeLimits::selfie() };
    let mut dice = Dice(78);
    for (progressive, factor) in [(false, SamplingFactor::F_2_2), (true, SamplingFactor::F_1_1)] {
        let mut whole = Vec::new();
        let mut encoder = Encoder::new(&mut whole, 30);
        encoder.set_progressive(progressive);
        encoder.set_sampling_factor(factor);
        encoder.encode(&gradient(800, 800, 3), 800, 800, ColorType::Rgb).unwrap();
        let before = peak();
        for _ in 0..40 {
            // The headers above all, and the size in it.
            let mut mutant = dice.mutant(&whole[..700.min(whole.len())]);
            mutant.extend_from_slice(&whole[700.min(whole.len())..]);
            let frame = whole.windows(2).position(|w| w[0] == 0xff && (0xc0..=0xc2).contains(&w[1])).unwrap();
            if let Some(size) = mutant.get_mut(frame + 5..frame + 9) {
                size[0] = dice.below(256) as u8;
                size[2] = dice.below(256) as u8;
            }
            let _ = decode(&mutant, &limits);
        }
        // Four components, all of whose coefficients are kept, the picture and the file, and what other tests hold.
        let most = 1_000_000 * (4 * 17 / 8 + 3 + 1) + (48 << 20);
        assert!(peak() - before < most, "{} of {most}", peak() - before);
    }
}

#[test]
fn one_component_in_two_sequential_scans_is_a_contradiction() {
    let whole = encode(64, 64, ColorType::Rgb, 3, false);
    let scan = whole.windows(2).position(|w| w == [0xff, 0xda]).unwrap();
    let twice = [&whole[..whole.len() - 2], &whole[scan..]].concat();
    assert_eq!(fault(&twice), Some(ImageFault::Corrupt));
}

#[test]
fn sampling_factors_of_no_whole_ratio_are_not_taken() {
    let whole = encode(64, 64, ColorType::Rgb, 3, false);
    let frame = whole.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    let mut other = whole;
    (other[frame + 11], other[frame + 14]) = (0x31, 0x21);
    assert_eq!(fault(&other), Some(ImageFault::Unsupported));
}

#[test]
fn quantization_tables_and_adobe_segments_that_are_none_are_named() {
    let whole = encode(64, 64, ColorType::Rgb, 3, false);
    let at = whole.windows(2).position(|w| w == [0xff, 0xdb]).unwrap();
    let changed = |offset: usize, value: u8| {
        let mut other = whole.clone();
        other[at + offset] = value;
        fault(&other)
    };
    assert_eq!(changed(4, 0x20), Some(ImageFault::Corrupt), "another precision");
    assert_eq!(changed(4, 0x04), Some(ImageFault::Corrupt), "without a place");
    assert_eq!(changed(4, 0x10), Some(ImageFault::Corrupt), "longer than its segment");
    assert_eq!(changed(4, 0x03), Some(ImageFault::Corrupt), "none for a component");
    let with = |segment: &[u8]| {
        let length = (segment.len() as u16 + 2).to_be_bytes();
        fault(&[&whole[..2], &[0xff, 0xee], &length, segment, &whole[2..]].concat())
    };
    assert_eq!(with(b"Adobe\0\x64\0\0\0\0\x01"), None);
    assert_eq!(with(b"Adobe\0\x64\0\0\0\0\x09"), Some(ImageFault::Corrupt));
    assert_eq!(with(b"Adobe\0"), Some(ImageFault::Corrupt));
    assert_eq!(with(b"others"), None);
}

#[test]
fn what_stands_behind_the_last_block_is_padding_or_a_contradiction() {
    for progressive in [false, true] {
        let whole = encode(64, 64, ColorType::Rgb, 3, progressive);
        let padded = |padding: &[u8]| fault(&[&whole[..whole.len() - 2], padding, &[0xff, 0xd9]].concat());
        let mixed: Vec<u8> = (0..40).collect();
        assert_eq!(padded(&mixed[..30]), None);
        assert_eq!(padded(&[0; 3_000]), None);
        assert_eq!(padded(&mixed), Some(ImageFault::Corrupt));
        assert_eq!(padded(&[0xff, 0xd3].repeat(20)), Some(ImageFault::Corrupt));
    }
}
