//! Nothing of a picture is left in memory that this process gives back: every block that is freed while pictures go
//! through is searched for them.
//!
//! It sees what Rust code allocates; libtorch has an allocator of its own.
#![allow(unsafe_code, clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::pictures::{photo, scaled};
use jpeg_encoder::{ColorType, Encoder};
use proofmill_face::{ChipPlan, DecodeLimits, RgbImage, decode};

/// Looks into blocks before they go.
struct Watchful;

static WATCHING: AtomicBool = AtomicBool::new(false);
static SEARCHED: AtomicUsize = AtomicUsize::new(0);
static FOUND: AtomicUsize = AtomicUsize::new(0);
/// Whether anything at all in a block counts, not the mark alone.
static ANYTHING: AtomicBool = AtomicBool::new(false);

/// The smallest block that could hold a picture, or a part of one that shows anything.
const LARGE: usize = 4_096;
/// More than a decoder's tables take.
const BUFFER: usize = 8_192;
/// A pixel of the marked picture and how often it stands in a row: no other data look so.
const MARK: [u8; 3] = [0xa7, 0x3c, 0x91];
const ROW: usize = 8;

// SAFETY: everything is left to the system's allocator. A block is read before it goes, within the size that it was asked
// for; what nobody has written yet may be anything, and is only compared.
unsafe impl GlobalAlloc for Watchful {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that what was there before is never taken for what its new owner left behind.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() >= LARGE && WATCHING.load(Ordering::Relaxed) {
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            SEARCHED.fetch_add(1, Ordering::Relaxed);
            let found = match ANYTHING.load(Ordering::Relaxed) {
                true => layout.size() >= BUFFER && bytes.iter().any(|byte| *byte != 0),
                false => shows(bytes),
            };
            FOUND.fetch_add(usize::from(found), Ordering::Relaxed);
        }
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watchful = Watchful;

fn shows(bytes: &[u8]) -> bool {
    bytes.windows(ROW * 3).any(|window| window.chunks_exact(3).all(|pixel| pixel == MARK))
}

/// What was left behind in blocks freed during `work`, out of how many.
fn left_behind(work: impl FnOnce()) -> (usize, usize) {
    SEARCHED.store(0, Ordering::Relaxed);
    FOUND.store(0, Ordering::Relaxed);
    WATCHING.store(true, Ordering::Relaxed);
    work();
    WATCHING.store(false, Ordering::Relaxed);
    (FOUND.load(Ordering::Relaxed), SEARCHED.load(Ordering::Relaxed))
}

/// The same picture with every tenth row painted over.
fn marked(image: &RgbImage) -> RgbImage {
    let row = image.width() * 3;
    let mut data = image.data().to_vec();
    for row in data.chunks_exact_mut(row).step_by(10) {
        for pixel in row.chunks_exact_mut(3) {
            pixel.copy_from_slice(&MARK);
        }
    }
    RgbImage::new(image.width(), image.height(), data).unwrap()
}

/// One test, because the allocator watches the whole process.
#[test]
fn pictures_letterboxes_sub_images_and_chips_are_gone_when_they_are_freed() {
    // The watch itself works.
    let careless = left_behind(|| drop(std::hint::black_box(MARK.repeat(LARGE))));
    assert_eq!(careless, (1, 1));

    let Some(photo) = photo("obama.jpg") else { return };
    let original = scaled(&photo, 500);
    decoding_leaves_nothing(&original);
    let Some(matcher) = common::matcher() else { return };
    let found = matcher.detect(&[&original]).unwrap().remove(0).remove(0);
    let (found_in, searched) = left_behind(|| {
        // Detector, landmarks, sub-image, chip, crop and embedder, on a picture whose colours tell it from all else.
        let image = marked(&original);
        drop(matcher.detect(&[&image]).unwrap());
        let points = matcher.landmarks(&image, &found);
        let plan = ChipPlan::new(&image, &points);
        let chip = plan.render();
        assert!(shows(image.data()), "the mark is in what is searched for");
        drop(matcher.embed(&[&chip]).unwrap());
        drop((plan, chip, image));
    });
    assert!(searched >= 5, "{searched}");
    // The copy that `marked` makes its picture of is the picture.
    assert_eq!(found_in, 0, "of {searched} blocks");
}

/// Samples, coefficients and what is left of the file's data are as telling as pixels.
fn decoding_leaves_nothing(image: &RgbImage) {
    let encoded = |set: fn(&mut Encoder<&mut Vec<u8>>)| {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out, 85);
        set(&mut encoder);
        encoder.encode(image.data(), image.width() as u16, image.height() as u16, ColorType::Rgb).unwrap();
        out
    };
    let kinds = [
        encoded(|_| {}),
        encoded(|encoder| encoder.set_restart_interval(7)),
        encoded(|encoder| encoder.set_optimized_huffman_tables(true)),
        encoded(|encoder| encoder.set_progressive(true)),
    ];
    for whole in &kinds {
        for part in [whole.len(), whole.len() * 2 / 3] {
            ANYTHING.store(true, Ordering::Relaxed);
            let (found, searched) = left_behind(|| drop(decode(&whole[..part], &DecodeLimits::selfie())));
            ANYTHING.store(false, Ordering::Relaxed);
            assert!(searched >= 5, "{searched}");
            assert_eq!(found, 0, "of {searched} blocks");
        }
    }
}
