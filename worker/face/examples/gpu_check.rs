//! Everything that wants a GPU to be checked, in one program that needs no Rust on the machine:
//! one JSON line for each finding, exit status 1 if a check fails.
//!
//! `gpu_check --device cuda|cpu --pack FOLDER --photos FOLDER [--seconds 3] [--discover | --stages]`
//!
//! `benches/gpu-check.sh` runs it beside the same network in PyTorch. On the processor it checks
//! the same and skips what only a device has.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::pictures::{jpeg, mirrored, scaled, turned};
use proofmill_face::bench::BareForward;
use proofmill_face::face::replay::correlation;
use proofmill_face::{
    BatchConfig, BatchEngine, BatchService, ChipPlan, DecodeLimits, Device, DeviceState, Embedding, FaceVerdict, Lane,
    LoadOptions, Matcher, Pack, Prepared, RgbImage, Setup, Source, Standby, decode, discovery, distance, measure,
};
use serde_json::{Value, json};

fn main() {
    let options = Options::read();
    let found = discovery();
    let descriptions: Vec<Value> = found
        .devices
        .iter()
        .map(|device| {
            let about = device.describe();
            json!({"device": device.to_string(), "name": about.as_ref().map(|a| a.name.clone()),
                   "memory": about.as_ref().map(|a| a.memory),
                   "compute_capability": about.map(|a| format!("{}.{}", a.compute_capability.0, a.compute_capability.1))})
        })
        .collect();
    let mut report = Report { failed: false };
    let fits = found.devices.contains(&options.device);
    report.check("discovery", fits, json!({"found": found.to_string(), "devices": descriptions}));
    if options.discover_only || !fits {
        std::process::exit(i32::from(report.failed));
    }
    let start = Instant::now();
    let matcher = Arc::new(options.matcher(options.device));
    // Built on a device it has passed its own checks: kernel against processor, half against
    // single precision, fused against plain.
    report.check(
        "start",
        true,
        json!({"device": options.device.to_string(), "seconds": start.elapsed().as_secs_f64()}),
    );
    let reference = options.matcher(Device::Cpu);
    let faces = Faces::load(&options.photos);

    stages(&mut report, &reference, &faces);
    if options.stages_only {
        std::process::exit(i32::from(report.failed));
    }
    chips(&mut report, &matcher, &faces);
    embeddings(&mut report, &matcher, &reference, &faces);
    verdicts(&mut report, &matcher, &reference, &faces);
    forward(&mut report, &options);
    aligned(&mut report, &options, &matcher, &faces);
    pairs(&mut report, &options, &matcher, &faces);
    whole(&mut report, &options, &matcher, &faces);
    if let Device::Cuda(index) = options.device {
        out_of_memory(&mut report, &matcher, &faces, index);
        several(&mut report, &options, &faces);
        // The last: no device of this process works afterwards.
        death(&mut report, &matcher, reference, &faces, index);
    }
    std::process::exit(i32::from(report.failed));
}

struct Options {
    device: Device,
    pack: PathBuf,
    photos: PathBuf,
    time: Duration,
    discover_only: bool,
    stages_only: bool,
}

impl Options {
    fn read() -> Self {
        let mut options = Self {
            device: Device::Cuda(0),
            pack: common::models().join("proofmill-open-1"),
            photos: PathBuf::from(std::env::var_os("PROOFMILL_PHOTOS").unwrap_or_default()),
            time: Duration::from_secs(3),
            discover_only: false,
            stages_only: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            if name == "--discover" {
                options.discover_only = true;
                continue;
            }
            if name == "--stages" {
                options.stages_only = true;
                continue;
            }
            let value = arguments.next().unwrap_or_else(|| usage(&name));
            match (name.as_str(), value.as_str()) {
                ("--device", "cuda") => options.device = Device::Cuda(0),
                ("--device", "cpu") => options.device = Device::Cpu,
                ("--pack", path) => options.pack = path.into(),
                ("--photos", path) => options.photos = path.into(),
                ("--seconds", text) => {
                    options.time = Duration::from_secs_f64(text.parse().unwrap_or_else(|_| usage(&name)));
                }
                _ => usage(&name),
            }
        }
        options
    }

    fn matcher(&self, device: Device) -> Matcher {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Matcher::new(Pack::load(&self.pack, LoadOptions::default()).unwrap(), device, threads).unwrap()
    }
}

fn usage(about: &str) -> ! {
    eprintln!(
        "{about}: gpu_check --device cuda|cpu --pack FOLDER --photos FOLDER [--seconds 3] [--discover | --stages]"
    );
    std::process::exit(2)
}

struct Report {
    failed: bool,
}

impl Report {
    fn check(&mut self, name: &str, passed: bool, mut detail: Value) {
        self.failed |= !passed;
        detail["check"] = name.into();
        detail["passed"] = passed.into();
        println!("{detail}");
    }
}

/// Photos of three people, each also turned and mirrored.
struct Faces {
    pictures: Vec<(&'static str, RgbImage)>,
}

impl Faces {
    fn load(folder: &Path) -> Self {
        let mut pictures = Vec::new();
        for name in ["obama.jpg", "obama2.jpg", "obama3.jpg", "biden.jpg", "astronaut.png"] {
            let path = folder.join(name);
            let Ok(bytes) = std::fs::read(&path) else {
                eprintln!("{}: no such photo (cargo xtask setup fetches it)", path.display());
                std::process::exit(2);
            };
            let image = decode(&bytes, &DecodeLimits::selfie()).unwrap();
            let image = if image.width() > 900 { scaled(&image, 900) } else { image };
            pictures.extend([(name, turned(&image, 3.0)), (name, mirrored(&image)), (name, image)]);
        }
        Self { pictures }
    }

    fn plans(&self, matcher: &Matcher) -> Vec<ChipPlan> {
        let images: Vec<&RgbImage> = self.pictures.iter().map(|(_, image)| image).collect();
        let found = matcher.detect(&images).unwrap();
        let faces = images.iter().zip(&found).filter(|(_, faces)| !faces.is_empty());
        faces.map(|(image, faces)| ChipPlan::new(image, &matcher.landmarks(image, &faces[0]))).collect()
    }

    /// Portrait and selfie as files: every photo as it is against every picture, itself too.
    fn attempts(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let originals = self.pictures.iter().skip(2).step_by(3);
        let portraits: Vec<Vec<u8>> = originals.map(|(_, image)| jpeg(&scaled(image, 413), 80)).collect();
        let selfies: Vec<Vec<u8>> = self.pictures.iter().map(|(_, image)| jpeg(image, 85)).collect();
        portraits.iter().flat_map(|p| selfies.iter().map(|s| (p.clone(), s.clone()))).collect()
    }

    /// A genuine pair at the sizes that the specification of the product counts with.
    fn usual(&self) -> (Vec<u8>, Vec<u8>) {
        let original = |name: &str| &self.pictures.iter().rfind(|(other, _)| *other == name).unwrap().1;
        (jpeg(&scaled(original("obama.jpg"), 413), 75), jpeg(&scaled(original("obama2.jpg"), 864), 85))
    }
}

/// What each stage of one genuine pair costs on the processor, in milliseconds: the part of a node
/// that the device does not take over.
fn stages(report: &mut Report, reference: &Matcher, faces: &Faces) {
    let (portrait, selfie) = faces.usual();
    let limits = DecodeLimits::selfie();
    let (a, b) = (decode(&portrait, &limits).unwrap(), decode(&selfie, &limits).unwrap());
    let found = reference.detect(&[&a, &b]).unwrap();
    let (first, second) = (&found[0][0], &found[1][0]);
    let points = [reference.landmarks(&a, first), reference.landmarks(&b, second)];
    let plans = [ChipPlan::new(&a, &points[0]), ChipPlan::new(&b, &points[1])];
    let (left, right) = (plans[0].render(), plans[1].render());
    let detail = json!({
        "decode": millis(|| drop((decode(&portrait, &limits), decode(&selfie, &limits)))),
        "prepare": millis(|| drop(reference.prepare(&portrait, &[&selfie]))),
        "detect": millis(|| drop(reference.detect(&[&a, &b]))),
        "detect_in_16": millis(|| drop(reference.detect(&[&a, &b].repeat(8)))) / 8.0,
        "landmarks": millis(|| {
            std::hint::black_box((reference.landmarks(&a, first), reference.landmarks(&b, second)));
        }),
        "plan": millis(|| drop((ChipPlan::new(&a, &points[0]), ChipPlan::new(&b, &points[1])))),
        "render": millis(|| drop((plans[0].render(), plans[1].render()))),
        "measure": millis(|| {
            let sources = [Source::of(&a, first), Source::of(&b, second)];
            std::hint::black_box((measure(&sources[0], first, &left), measure(&sources[1], second, &right)));
        }),
        "embed": millis(|| drop(reference.embed(&[&left, &right]))),
        "embed_in_16": millis(|| drop(reference.embed(&[&left, &right].repeat(8)))) / 8.0,
        "replay": millis(|| { std::hint::black_box(correlation(&left, &right)); }),
    });
    report.check("stages of a pair on the processor, ms", true, detail);
}

/// The median of some runs.
fn millis(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn chips(report: &mut Report, matcher: &Matcher, faces: &Faces) {
    let plans = faces.plans(matcher);
    let (mut worst, mut differing, mut samples) = (0u8, 0usize, 0usize);
    for ((chip, _), plan) in matcher.align(&plans.iter().collect::<Vec<_>>()).unwrap().iter().zip(&plans) {
        for (a, b) in chip.pixels().iter().zip(plan.render().pixels()) {
            worst = worst.max(a.abs_diff(*b));
            differing += usize::from(a != b);
            samples += 1;
        }
    }
    let detail = json!({"chips": plans.len(), "largest_difference": worst, "differing": differing, "samples": samples});
    report.check("chips", plans.len() >= 12 && worst <= 1, detail);
}

fn embeddings(report: &mut Report, matcher: &Matcher, reference: &Matcher, faces: &Faces) {
    let plans = faces.plans(reference);
    let plans: Vec<&ChipPlan> = plans.iter().collect();
    let (chips, fast): (Vec<_>, Vec<Embedding>) = matcher.align(&plans).unwrap().into_iter().unzip();
    let chips: Vec<_> = chips.iter().collect();
    let (exact, expected) = (matcher.embed(&chips).unwrap(), reference.embed(&chips).unwrap());
    let moved = |ours: &[Embedding]| {
        let mut worst = 0f32;
        for a in 0..ours.len() {
            for b in 0..a {
                worst = worst.max((distance(&ours[a], &ours[b]) - distance(&expected[a], &expected[b])).abs());
            }
        }
        worst
    };
    let (half, single) = (moved(&fast), moved(&exact));
    let detail = json!({"faces": chips.len(), "distances_moved_half": half, "distances_moved_single": single});
    report.check("embeddings", half <= 0.005 && single <= 1e-4, detail);
}

fn verdicts(report: &mut Report, matcher: &Matcher, reference: &Matcher, faces: &Faces) {
    let attempts: Vec<Prepared> =
        faces.attempts().iter().map(|(portrait, selfie)| reference.prepare(portrait, &[selfie]).unwrap()).collect();
    let expected = reference.match_batch(&attempts).unwrap();
    let found = matcher.match_batch(&attempts).unwrap();
    let one_by_one: Vec<_> =
        attempts.iter().map(|attempt| matcher.match_batch(std::slice::from_ref(attempt)).unwrap()[0]).collect();
    let count = |wanted: fn(&FaceVerdict) -> bool| expected.iter().filter(|outcome| wanted(&outcome.verdict)).count();
    let different = expected.iter().zip(&found).filter(|(a, b)| a != b).count();
    let unlike_alone = found.iter().zip(&one_by_one).filter(|(a, b)| a != b).count();
    let detail = json!({
        "attempts": attempts.len(), "different": different, "different_alone": unlike_alone,
        "matches": count(|v| *v == FaceVerdict::Match), "mismatches": count(|v| *v == FaceVerdict::Mismatch),
        "others": count(|v| v.reason().is_some()), "recomputed": matcher.status().recomputed,
    });
    report.check("verdicts", different == 0 && unlike_alone == 0, detail);
}

/// The embedder alone, its input on the device: what PyTorch is compared with.
fn forward(report: &mut Report, options: &Options) {
    let cuda = options.device != Device::Cpu;
    let variants: &[(bool, bool)] =
        if cuda { &[(true, true), (true, false), (false, false)] } else { &[(false, false)] };
    let sizes: &[usize] = if cuda { &[1, 8, 32, 64, 128, 256, 512, 1024] } else { &[1, 8, 32] };
    let mut best = 0f64;
    for (half, fused) in variants {
        let network = match BareForward::on(&options.pack, options.device, *half, *fused) {
            Ok(network) => network,
            Err(error) => {
                report.check("forward", false, json!({"half": half, "fused": fused, "error": error.to_string()}));
                continue;
            }
        };
        for size in sizes {
            match network.run(*size, *half, options.time.min(Duration::from_secs(1))) {
                Ok((passes, took)) => {
                    let rate = (passes * size) as f64 / took.as_secs_f64();
                    best = best.max(rate);
                    let detail = json!({"half": half, "fused": fused, "batch": size, "faces_per_second": rate});
                    report.check("forward", true, detail);
                }
                // Fusing is optional: the engine falls back by itself.
                Err(error) => {
                    let detail = json!({"half": half, "fused": fused, "batch": size, "error": error.to_string()});
                    report.check("forward", *fused, detail);
                    break;
                }
            }
        }
    }
    report.check("forward best", best > 0.0, json!({"faces_per_second": best}));
}

/// From planned faces to chips and embeddings: packing, copies, kernel, forward.
fn aligned(report: &mut Report, options: &Options, matcher: &Matcher, faces: &Faces) {
    let plans = faces.plans(matcher);
    let sizes: &[usize] = if options.device == Device::Cpu { &[1, 8] } else { &[1, 8, 32, 128, 256, 512] };
    for size in sizes {
        let batch: Vec<&ChipPlan> = plans.iter().cycle().take(*size).collect();
        let meter = Meter::start(matcher);
        let rounds = run_lanes(matcher, options.time, || drop(matcher.align(&batch).unwrap()));
        let mut detail = meter.read(matcher, rounds * size, "faces");
        detail["batch"] = (*size).into();
        report.check("align", true, detail);
    }
}

/// From decoded pictures to verdicts.
fn pairs(report: &mut Report, options: &Options, matcher: &Matcher, faces: &Faces) {
    let (portrait, selfie) = faces.usual();
    let sizes: &[usize] = if options.device == Device::Cpu { &[1, 8] } else { &[1, 8, 32, 64, 128, 256] };
    for size in sizes {
        let batch: Vec<Prepared> = (0..*size).map(|_| matcher.prepare(&portrait, &[&selfie]).unwrap()).collect();
        let meter = Meter::start(matcher);
        let rounds = run_lanes(matcher, options.time, || {
            let outcomes = matcher.match_batch(&batch).unwrap();
            assert!(outcomes.iter().all(|outcome| outcome.verdict == FaceVerdict::Match));
        });
        let mut detail = meter.read(matcher, rounds * size, "pairs");
        detail["batch"] = (*size).into();
        report.check("pairs from decoded pictures", true, detail);
    }
}

/// From files to verdicts, through the service: decoding on all cores.
fn whole(report: &mut Report, options: &Options, matcher: &Arc<Matcher>, faces: &Faces) {
    let (portrait, selfie) = faces.usual();
    let start = Instant::now();
    for _ in 0..20 {
        std::hint::black_box(matcher.prepare(&portrait, &[&selfie]).unwrap());
    }
    let prepare = start.elapsed().as_secs_f64() / 20.0;
    let (done, detail) = serve(options, std::slice::from_ref(matcher), &portrait, &selfie);
    let mut detail = detail;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    detail["prepare_seconds_one_core"] = prepare.into();
    detail["cores"] = cores.into();
    let seconds = detail["seconds"].as_f64().unwrap();
    detail["share_of_processor_in_decode"] = (done as f64 * prepare / (seconds * cores as f64)).into();
    report.check("whole", done > 0, detail);
}

/// Several devices behind one intake, where there are several.
fn several(report: &mut Report, options: &Options, faces: &Faces) {
    let devices = &discovery().devices;
    if devices.len() < 2 {
        report.check("several devices", true, json!({"skipped": "one device only"}));
        return;
    }
    let matchers: Vec<Arc<Matcher>> = devices.iter().map(|device| Arc::new(options.matcher(*device))).collect();
    let (portrait, selfie) = faces.usual();
    let (_, mut detail) = serve(options, &matchers, &portrait, &selfie);
    let busy: Vec<f64> = matchers.iter().filter_map(|matcher| matcher.status().busy_seconds).collect();
    let all = busy.iter().all(|seconds| *seconds > 0.0);
    detail["busy_seconds"] = busy.into();
    report.check("several devices", all, detail);
}

fn serve(options: &Options, matchers: &[Arc<Matcher>], portrait: &[u8], selfie: &[u8]) -> (usize, Value) {
    let on_gpu = options.device != Device::Cpu;
    let config = BatchConfig {
        // The worker's own sizes.
        max_batch: if on_gpu { 256 } else { 8 },
        max_waiting: if on_gpu { 1024 } else { 256 },
        max_bytes: 8 << 30,
        ..BatchConfig::default()
    };
    let service = BatchService::spawn(matchers.to_vec(), config);
    let meter = Meter::start(&matchers[0]);
    let (start, done) = (Instant::now(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let mut tickets = std::collections::VecDeque::new();
                while start.elapsed() < options.time * 2 {
                    let attempt = matchers[0].prepare(portrait, &[selfie]).unwrap();
                    tickets.push_back(service.submit_blocking(attempt, Lane::Bulk).unwrap());
                    if tickets.len() > if on_gpu { 96 } else { 24 } {
                        tickets.pop_front().unwrap().wait().unwrap();
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
                for ticket in tickets {
                    ticket.wait().unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let done = done.into_inner();
    let detail = meter.read(&matchers[0], done, "pairs");
    service.drain_blocking();
    (done, detail)
}

/// The device without memory to spare: batches are halved, and every face still comes out.
fn out_of_memory(report: &mut Report, matcher: &Matcher, faces: &Faces, index: usize) {
    let plans = faces.plans(matcher);
    let batch: Vec<&ChipPlan> = plans.iter().cycle().take(512).collect();
    let expected = matcher.align(&batch).unwrap();
    let before = matcher.status().out_of_memory;
    // Plain allocations of ever smaller pieces, until a gigabyte does not fit, then less.
    let mut held = Vec::new();
    let mut piece = 8i64 << 30;
    while piece >= 64 << 20 {
        match tch::Tensor::f_empty([piece], (tch::Kind::Uint8, tch::Device::Cuda(index))) {
            Ok(tensor) => held.push(tensor),
            Err(_) => piece /= 2,
        }
    }
    // Some room: enough for a small batch, not for the largest.
    let got = matcher.align(&batch);
    let halvings = matcher.status().out_of_memory - before;
    drop(held);
    let detail = |ok: bool, worst: f32| json!({"halvings": halvings, "faces": batch.len(), "answered": ok, "largest_move": worst});
    match got {
        Ok(got) => {
            let worst = got.iter().zip(&expected).map(|(a, b)| distance(&a.1, &b.1)).fold(0.0, f32::max);
            report.check(
                "out of memory",
                halvings > 0 && got.len() == batch.len() && worst < 0.005,
                detail(true, worst),
            );
        }
        // With nothing left even for one face the error says so; the engine must work again now.
        Err(error) => {
            let again = matcher.align(&batch).is_ok();
            let mut detail = detail(false, f32::NAN);
            detail["error"] = error.to_string().into();
            detail["works_again"] = again.into();
            report.check("out of memory", halvings > 0 && again, detail);
        }
    }
}

/// The device dies for good (an assertion in a kernel, after which its context answers nothing but errors) while work
/// waits: it is taken out of service, the processor takes over, and every attempt is answered.
fn death(report: &mut Report, matcher: &Arc<Matcher>, processor: Matcher, faces: &Faces, index: usize) {
    let (portrait, selfie) = faces.usual();
    let attempts: Vec<Prepared> = (0..40).map(|_| processor.prepare(&portrait, &[&selfie]).unwrap()).collect();
    let processor: Arc<dyn BatchEngine<Prepared>> = Arc::new(processor);
    let service = BatchService::start(Setup {
        engines: vec![Arc::clone(matcher) as Arc<dyn BatchEngine<Prepared>>],
        standby: Some(Standby {
            device: Device::Cpu,
            max_batch: 8,
            build: Box::new(move || Ok(Arc::clone(&processor))),
        }),
        config: BatchConfig { max_batch: 64, ..BatchConfig::default() },
        observer: Box::new(|_| {}),
    });
    let device = tch::Device::Cuda(index);
    let nowhere = tch::Tensor::from_slice(&[1i64 << 40]).to_device(device);
    // The fault may show here already, or with whatever comes next.
    let _ = tch::Tensor::zeros([4], (tch::Kind::Float, device)).f_index_select(0, &nowhere);
    let start = Instant::now();
    let tickets: Vec<_> =
        attempts.into_iter().map(|attempt| service.submit_blocking(attempt, Lane::Bulk).unwrap()).collect();
    let right = tickets.into_iter().map(proofmill_face::Ticket::wait);
    let right =
        right.filter(|answer| answer.as_ref().is_ok_and(|outcome| outcome.verdict == FaceVerdict::Match)).count();
    let devices = service.devices();
    let out = devices.first().is_some_and(|status| matches!(status.state, DeviceState::OutOfService(_)));
    let states: Vec<String> = devices.iter().map(|status| format!("{}: {:?}", status.device, status.state)).collect();
    let seconds = start.elapsed().as_secs_f64();
    report.check("device death", out && right == 40, json!({"answered": right, "devices": states, "seconds": seconds}));
}

/// Runs `work` from as many threads as batches may be under way; gives the number of runs.
fn run_lanes(matcher: &Matcher, time: Duration, work: impl Fn() + Sync) -> usize {
    let lanes = if matcher.device() == Device::Cpu { 1 } else { 3 };
    work();
    let (start, runs) = (Instant::now(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while start.elapsed() < time {
                    work();
                    runs.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    runs.into_inner()
}

struct Meter {
    start: Instant,
    busy: f64,
    copy: f64,
}

impl Meter {
    fn start(matcher: &Matcher) -> Self {
        let status = matcher.status();
        Self { start: Instant::now(), busy: status.busy_seconds.unwrap_or(0.0), copy: status.copy_seconds }
    }

    fn read(&self, matcher: &Matcher, done: usize, what: &str) -> Value {
        let (seconds, status) = (self.start.elapsed().as_secs_f64(), matcher.status());
        let mut detail = json!({ "seconds": seconds, "done": done });
        detail[format!("{what}_per_second")] = (done as f64 / seconds).into();
        if let Some(busy) = status.busy_seconds {
            detail["share_computing"] = ((busy - self.busy) / seconds).into();
            detail["share_idle"] = (1.0 - (busy - self.busy) / seconds).into();
            detail["share_copying"] = ((status.copy_seconds - self.copy) / seconds).into();
        }
        detail
    }
}
