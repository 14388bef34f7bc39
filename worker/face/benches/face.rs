//! The stages of the face path, each beside the bare primitive that it cannot beat, measured in
//! the same run. The ratios are printed at the end of each group.
//!
//! `cargo bench -p proofmill-face` (release profile). Skips, with a reason, what set-up has not
//! fetched.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::pictures::{jpeg, jpeg2000, photo, scaled};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use proofmill_face::bench::BareForward;
use proofmill_face::{Chip, DecodeLimits, Matcher, RgbImage, chip, decode};

struct Inputs {
    matcher: &'static Matcher,
    picture: RgbImage,
    portrait_jpeg: Vec<u8>,
    portrait_jp2: Vec<u8>,
    selfie: Vec<u8>,
}

fn inputs() -> Option<Inputs> {
    let matcher = common::matcher()?;
    let obama = photo("obama.jpg")?;
    let portrait = scaled(&obama, 413);
    Some(Inputs {
        matcher,
        portrait_jpeg: jpeg(&portrait, 75),
        portrait_jp2: jpeg2000(&portrait),
        selfie: jpeg(&scaled(&photo("obama2.jpg")?, 626), 85),
        picture: portrait,
    })
}

fn decoding(criterion: &mut Criterion) {
    let Some(inputs) = inputs() else { return };
    let limits = DecodeLimits::selfie();
    let mut group = criterion.benchmark_group("decode");
    let cases = [
        ("jpeg portrait", &inputs.portrait_jpeg),
        ("jpeg selfie", &inputs.selfie),
        ("jpeg 2000 portrait", &inputs.portrait_jp2),
    ];
    for (name, bytes) in cases {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| b.iter(|| decode(black_box(bytes), &limits).unwrap()));
    }
    group.finish();
    for (name, bytes) in cases {
        let ours = median(15, || drop(black_box(decode(bytes, &limits).unwrap())));
        let bare = median(15, || bare_decode(bytes));
        report(&format!("decode {name}"), ours, "bare decoder", bare);
    }
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

fn stages(criterion: &mut Criterion) {
    let Some(Inputs { matcher, picture, .. }) = inputs() else { return };
    let found = matcher.detect(&[&picture]).unwrap().remove(0).remove(0);
    let mut group = criterion.benchmark_group("stage");
    for size in [1usize, 16] {
        let batch = vec![&picture; size];
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("detect", size), |b| {
            b.iter(|| matcher.detect(black_box(&batch)).unwrap());
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("landmarks and chip", |b| {
        b.iter(|| chip(&picture, &matcher.landmarks(black_box(&picture), &found)));
    });
    group.finish();
}

fn embedding(criterion: &mut Criterion) {
    let Some(Inputs { matcher, picture, .. }) = inputs() else { return };
    let found = matcher.detect(&[&picture]).unwrap().remove(0).remove(0);
    let face = chip(&picture, &matcher.landmarks(&picture, &found));
    let bare = BareForward::new(&common::pack_folder().unwrap()).unwrap();
    let mut group = criterion.benchmark_group("embed");
    group.sample_size(10);
    for size in [1usize, 8, 32] {
        let batch: Vec<&Chip> = vec![&face; size];
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| matcher.embed(black_box(&batch)).unwrap());
        });
    }
    group.finish();
    for size in [1usize, 8, 32] {
        let batch: Vec<&Chip> = vec![&face; size];
        let input = bare.input(size);
        let ours = median(7, || drop(black_box(matcher.embed(&batch).unwrap())));
        let forward = median(7, || bare.forward(&input));
        report(&format!("embed {size}"), ours, "bare forward", forward);
    }
}

fn whole_pair(criterion: &mut Criterion) {
    let Some(inputs) = inputs() else { return };
    let matcher = inputs.matcher;
    let pair = |count: usize| {
        let attempts: Vec<_> =
            (0..count).map(|_| matcher.prepare(&inputs.portrait_jpeg, &[&inputs.selfie]).unwrap()).collect();
        black_box(matcher.match_batch(&attempts).unwrap());
    };
    let mut group = criterion.benchmark_group("pair");
    group.sample_size(10);
    for size in [1usize, 8] {
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| b.iter(|| pair(size)));
    }
    group.finish();
    let bare = BareForward::new(&common::pack_folder().unwrap()).unwrap();
    for size in [1usize, 8] {
        let input = bare.input(2 * size);
        let ours = median(5, || pair(size));
        let floor = median(5, || {
            for _ in 0..size {
                bare_decode(&inputs.portrait_jpeg);
                bare_decode(&inputs.selfie);
            }
            bare.forward(&input);
        });
        report(&format!("pair {size}"), ours, "bare decodes and forward", floor);
    }
}

fn median(rounds: usize, mut run: impl FnMut()) -> Duration {
    run();
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[rounds / 2]
}

fn report(what: &str, ours: Duration, against: &str, bare: Duration) {
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    println!("ratio {what}: {ours:.2?} = {ratio:.2} x {against} ({bare:.2?})");
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = decoding, stages, embedding, whole_pair
}
criterion_main!(benches);
