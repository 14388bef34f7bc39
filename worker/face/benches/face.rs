//! The stages of the face path, each beside the bare primitive that it cannot beat, and the pair as a whole: measured
//! in turns within one run, so that what the machine does meanwhile falls on both alike.
//!
//! `cargo bench -p proofmill-face` (release profile); words after `--` choose tables by name: limits, decode, stages,
//! pair, threads, peer. Says what set-up has not fetched, and skips it.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

#[path = "face/peer.rs"]
mod peer;
#[path = "face/timing.rs"]
mod timing;

use std::hint::black_box;

use common::pictures::{jpeg, jpeg2000, photo, scaled};
use proofmill_face::bench::{BareNetworks, Cost, Letterbox, set_threads};
use proofmill_face::face::quality::Source;
use proofmill_face::face::replay::correlation;
use proofmill_face::{
    Chip, ChipPlan, DecodeLimits, Device, LoadOptions, Matcher, Pack, RgbImage, decode, distance, measure,
};
use rayon::prelude::*;

use timing::{Clock, Run, in_turns, micros};

/// Pictures and faces that one core takes through a network at once, as the engine does.
const PICTURES_AT_ONCE: usize = 8;
const FACES_AT_ONCE: usize = 16;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |table: &str| words.is_empty() || words.iter().any(|word| word == table);
    let Some(inputs) = Inputs::load() else { return };
    for (name, table) in [
        ("limits", limits as fn(&Inputs)),
        ("decode", decoding),
        ("stages", stages),
        ("pair", pairs),
        ("threads", threads),
        ("peer", against_dlib),
    ] {
        if wanted(name) {
            println!("\n## {name}\n");
            table(&inputs);
        }
    }
}

struct Inputs {
    pack: std::path::PathBuf,
    portrait: RgbImage,
    selfie: RgbImage,
    portrait_jpeg: Vec<u8>,
    selfie_jpeg: Vec<u8>,
}

impl Inputs {
    /// A pair of usual sizes: a portrait of 413x516 pixels, a selfie of 864x1152.
    fn load() -> Option<Self> {
        let pack = common::pack_folder()?;
        let (portrait, tall) = (scaled(&photo("obama.jpg")?, 413), scaled(&photo("obama2.jpg")?, 864));
        // The shape of a camera's pictures.
        let selfie = RgbImage::new(864, 1_152, tall.data()[..864 * 1_152 * 3].to_vec())?;
        let (portrait_jpeg, selfie_jpeg) = (jpeg(&portrait, 75), jpeg(&selfie, 85));
        Some(Self { pack, portrait, selfie, portrait_jpeg, selfie_jpeg })
    }

    fn matcher(&self, threads: usize) -> Matcher {
        Matcher::new(Pack::load(&self.pack, LoadOptions::default()).unwrap(), Device::Cpu, threads).unwrap()
    }
}

/// What a pair must cost.
fn limits(inputs: &Inputs) {
    let cost = Cost::of(&inputs.pack).unwrap();
    let giga = |flops: u64| flops as f64 / 1e9;
    println!("a picture through the detector: {:.3} GFLOP", giga(cost.detector_flops));
    println!("a face through the embedder:    {:.3} GFLOP", giga(cost.embedder_flops));
    println!("the embedder's weights:         {:.1} MB, read at least once a pass", cost.embedder_bytes as f64 / 1e6);
    let pair = 2 * (cost.detector_flops + cost.embedder_flops);
    println!("a pair: {:.3} GFLOP, its two pictures decoded", giga(pair));
    let bytes = |image: &RgbImage| image.data().len() as f64 / 1e6;
    println!("  ({:.2} and {:.2} MB of pixels)", bytes(&inputs.portrait), bytes(&inputs.selfie));
    let bare = BareNetworks::new(&inputs.pack, 1).unwrap();
    on_one_core(|| {
        let [embed, detect] = in_turns(
            15,
            Clock::Processor,
            [&mut || bare.embed(16, FACES_AT_ONCE), &mut || bare.detect(16, PICTURES_AT_ONCE)],
        );
        let rate = |run: &Run, flops: u64| 16.0 * giga(flops) / run.best.as_secs_f64();
        println!("this machine, one core: embedder {:.0} GFLOP/s,", rate(&embed, cost.embedder_flops));
        println!("  detector {:.0} GFLOP/s (small layers, most of them depthwise)", rate(&detect, cost.detector_flops));
    });
}

fn decoding(inputs: &Inputs) {
    let limits = DecodeLimits::selfie();
    let large = scaled(&inputs.selfie, 3_000);
    let cases = [
        ("JPEG", &inputs.portrait, inputs.portrait_jpeg.clone()),
        ("JPEG, restart markers", &inputs.portrait, restarting(&inputs.portrait, 75)),
        ("JPEG, progressive", &inputs.portrait, progressive(&inputs.portrait, 75)),
        ("JPEG", &inputs.selfie, inputs.selfie_jpeg.clone()),
        ("JPEG, restart markers", &inputs.selfie, restarting(&inputs.selfie, 85)),
        ("JPEG, progressive", &inputs.selfie, progressive(&inputs.selfie, 85)),
        ("JPEG", &large, jpeg(&large, 85)),
        ("JPEG, restart markers", &large, restarting(&large, 85)),
        ("JPEG, progressive", &large, progressive(&large, 85)),
        ("JPEG 2000, lossless, no wavelets", &inputs.portrait, jpeg2000(&inputs.portrait)),
    ];
    println!("| picture | size | file | bare decoder, ms | ours, ms | ratio |\n|---|---|---|---|---|---|");
    for (kind, image, bytes) in &cases {
        let rounds = if bytes.len() > 1 << 20 { 7 } else { 25 };
        let [ours, bare] = in_turns(
            rounds,
            Clock::Processor,
            [&mut || drop(black_box(decode(bytes, &limits).unwrap())), &mut || bare_decode(bytes)],
        );
        let size = format!("{}x{}", image.width(), image.height());
        println!("| {kind} | {size} | {} kB | {} | {} | {:.2} |", bytes.len() / 1_000, bare, ours, ours.over(&bare));
    }
}

fn progressive(image: &RgbImage, quality: u8) -> Vec<u8> {
    encoded(image, quality, |encoder| encoder.set_progressive(true))
}

/// A marker behind every row of MCUs of 16x16 pixels, as phones have it.
fn restarting(image: &RgbImage, quality: u8) -> Vec<u8> {
    encoded(image, quality, |encoder| encoder.set_restart_interval(image.width().div_ceil(16) as u16))
}

fn encoded(image: &RgbImage, quality: u8, set: impl Fn(&mut jpeg_encoder::Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut out = Vec::new();
    let (width, height) = (image.width() as u16, image.height() as u16);
    let mut encoder = jpeg_encoder::Encoder::new(&mut out, quality);
    set(&mut encoder);
    encoder.encode(image.data(), width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    out
}

fn bare_decode(bytes: &[u8]) {
    use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
    if bytes.starts_with(&[0xff, 0xd8]) {
        let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        black_box(decoder.decode().unwrap());
    } else {
        let image = hayro_jpeg2000::Image::new(bytes, &Default::default()).unwrap();
        let mut context = hayro_jpeg2000::DecoderContext::default();
        black_box(image.decode(&mut context).unwrap().data_u8());
    }
}

/// Each stage of one genuine pair alone, on one core.
fn stages(inputs: &Inputs) {
    let matcher = inputs.matcher(1);
    let images = [&inputs.portrait, &inputs.selfie];
    let found = matcher.detect(&images).unwrap();
    let faces = [&found[0][0], &found[1][0]];
    let points = [0, 1].map(|i| matcher.landmarks(images[i], faces[i]));
    let boxes = images.map(Letterbox::new);
    let plans = [0, 1].map(|i| ChipPlan::new(images[i], &points[i]));
    let chips = [plans[0].render(), plans[1].render()];
    let embedded = matcher.embed(&[&chips[0], &chips[1]]).unwrap();
    let each = |work: &dyn Fn(usize)| [0, 1].into_iter().for_each(work);
    on_one_core(|| {
        println!("| stage, both pictures of a pair | µs |\n|---|---|");
        let runs = in_turns(
            25,
            Clock::Processor,
            [
                &mut || each(&|i| drop(black_box(Letterbox::new(images[i])))),
                &mut || each(&|i| drop(black_box(boxes[i].render()))),
                &mut || each(&|i| pass(matcher.landmarks(images[i], faces[i]))),
                &mut || each(&|i| drop(black_box(ChipPlan::new(images[i], &points[i])))),
                &mut || each(&|i| drop(black_box(plans[i].render()))),
                &mut || each(&|i| pass(measure(&Source::of(images[i], faces[i]), faces[i], &chips[i]))),
                &mut || pass(correlation(&chips[0], &chips[1])),
                &mut || pass(distance(&embedded[0], &embedded[1])),
            ],
        );
        let names = [
            "letterbox: take samples",
            "letterbox: make pixels",
            "landmarks",
            "chip: sub-image at its pyramid level",
            "chip: make pixels",
            "measure quality",
            "replay guard",
            "distance",
        ];
        for (name, run) in names.iter().zip(&runs) {
            println!("| {name} | {} |", micros(run.median));
        }

        println!("\n| network | batch | bare forward, ms each | ours, ms each | ratio |\n|---|---|---|---|---|");
        let bare = BareNetworks::new(&inputs.pack, 1).unwrap();
        for size in [1usize, 8, 32] {
            let batch: Vec<&RgbImage> = vec![&inputs.portrait; size];
            let [ours, alone] = in_turns(
                (64 / size).max(9),
                Clock::Processor,
                [&mut || drop(black_box(matcher.detect(&batch).unwrap())), &mut || bare.detect(size, PICTURES_AT_ONCE)],
            );
            println!("| detector | {size} | {} | {} | {:.2} |", alone.each(size), ours.each(size), ours.over(&alone));
        }
        for size in [1usize, 8, 32] {
            let batch: Vec<&Chip> = vec![&chips[0]; size];
            let [ours, alone] = in_turns(
                (64 / size).max(7),
                Clock::Processor,
                [&mut || drop(black_box(matcher.embed(&batch).unwrap())), &mut || bare.embed(size, FACES_AT_ONCE)],
            );
            println!("| embedder | {size} | {} | {} | {:.2} |", alone.each(size), ours.each(size), ours.over(&alone));
        }
    });
}

/// The pair as a whole on one core, and what of it is decoding and the networks.
fn pairs(inputs: &Inputs) {
    let matcher = inputs.matcher(1);
    let bare = BareNetworks::new(&inputs.pack, 1).unwrap();
    println!(
        "| pairs at once | ms a pair | bare decode | bare detector | bare embedder | everything else | pair / bare |"
    );
    println!("|---|---|---|---|---|---|---|");
    on_one_core(|| {
        for size in [1usize, 8, 32] {
            let [whole, decoded, detected, embedded] = in_turns(
                (48 / size).max(7),
                Clock::Processor,
                [
                    &mut || pair(&matcher, inputs, size),
                    &mut || (0..size).for_each(|_| bare_decode_pair(inputs)),
                    &mut || bare.detect(2 * size, PICTURES_AT_ONCE),
                    &mut || bare.embed(2 * size, FACES_AT_ONCE),
                ],
            );
            let total = whole.median.as_secs_f64();
            let share = |run: &Run| 100.0 * run.median.as_secs_f64() / total;
            let shares = [&decoded, &detected, &embedded].map(share);
            println!(
                "| {size} | {} | {:.1} % | {:.1} % | {:.1} % | {:.1} % | {:.2} |",
                whole.each(size),
                shares[0],
                shares[1],
                shares[2],
                100.0 - shares.iter().sum::<f64>(),
                100.0 / shares.iter().sum::<f64>(),
            );
        }
    });
}

fn pair(matcher: &Matcher, inputs: &Inputs, count: usize) {
    let attempts: Vec<_> = (0..count)
        .into_par_iter()
        .map(|_| matcher.prepare(&inputs.portrait_jpeg, &[&inputs.selfie_jpeg]).unwrap())
        .collect();
    black_box(matcher.match_batch(&attempts).unwrap());
}

fn bare_decode_pair(inputs: &Inputs) {
    bare_decode(&inputs.portrait_jpeg);
    bare_decode(&inputs.selfie_jpeg);
}

/// Pairs a second by threads: our pool and libtorch's own.
fn threads(inputs: &Inputs) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("cores: {cores}. Wall clock: other work on them counts.\n");
    println!("| pairs at once | cores side by side | libtorch's threads in each pass | pairs/s | pair / bare |");
    println!("|---|---|---|---|---|");
    let lanes: Vec<usize> = [1, 2, 4, 8, 16, 32].into_iter().filter(|lanes| *lanes <= cores).collect();
    for lanes in &lanes {
        let matcher = inputs.matcher(*lanes);
        let bare = BareNetworks::new(&inputs.pack, *lanes).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(*lanes).build().unwrap();
        for size in [1usize, 8, 32] {
            let [whole, alone] = pool.install(|| {
                in_turns(
                    (48 / size).max(7),
                    Clock::Wall,
                    [&mut || pair(&matcher, inputs, size), &mut || {
                        (0..size).into_par_iter().for_each(|_| bare_decode_pair(inputs));
                        bare.detect(2 * size, PICTURES_AT_ONCE);
                        bare.embed(2 * size, FACES_AT_ONCE);
                    }],
                )
            });
            let rate = size as f64 / whole.median.as_secs_f64();
            println!("| {size} | {lanes} | 1 | {rate:.1} | {:.2} |", whole.over(&alone));
        }
    }
    println!("\n| faces at once | cores side by side | libtorch's threads in each pass | bare embedder, faces/s |");
    println!("|---|---|---|---|");
    for size in [2usize, 16, 64] {
        for lanes in &lanes {
            let bare = BareNetworks::new(&inputs.pack, *lanes).unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(*lanes).build().unwrap();
            let [run] = pool.install(|| in_turns(7, Clock::Wall, [&mut || bare.embed(size, FACES_AT_ONCE)]));
            println!("| {size} | {lanes} | 1 | {:.0} |", size as f64 / run.median.as_secs_f64());
        }
        let bare = BareNetworks::new(&inputs.pack, 1).unwrap();
        for threads in lanes.iter().filter(|threads| **threads > 1) {
            // A thread of its own, so that the number of threads stays with this measurement.
            let run = std::thread::scope(|scope| {
                let measure = || {
                    set_threads(*threads);
                    let [run] = in_turns(7, Clock::Wall, [&mut || bare.embed(size, size)]);
                    run
                };
                scope.spawn(measure).join().unwrap()
            });
            set_threads(1);
            println!("| {size} | 1 | {threads} | {:.0} |", size as f64 / run.median.as_secs_f64());
        }
    }
}

/// Done with, and not optimised away.
fn pass<T: Copy>(value: T) {
    black_box(value);
}

/// dlib's own pipeline in Python, where it is installed.
fn against_dlib(inputs: &Inputs) {
    let matcher = inputs.matcher(1);
    peer::run(&matcher, |work| on_one_core(work));
}

/// One thread for our pool and for libtorch.
fn on_one_core<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    set_threads(1);
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work)
}
