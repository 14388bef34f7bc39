//! What can be checked of the kernels without a device: their arithmetic, built for the host,
//! against the processor's; and that the checked-in PTX is what the sources make.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::face::chip::{Chip, ChipPlan};
use crate::face::landmarks::Landmarks;
use crate::face::letterbox::LetterboxPlan;
use crate::image::RgbImage;
use crate::net::graph::normalise;
use crate::pack::DETECTOR_INPUT;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cuda");
const MEAN: [f32; 3] = [122.782, 117.001, 104.298];

/// The kernels' threads as a host program, under the compiler's sanitizers where it has them: a
/// read outside a sub-image ends it.
struct HostBuild {
    program: PathBuf,
    _folder: tempfile::TempDir,
}

impl HostBuild {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("host");
        let build = |extra: &[&str]| {
            Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
                .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"])
                .args(extra)
                .arg("-o")
                .arg(&program)
                .arg(Path::new(SOURCES).join("host.c"))
                .arg("-lm")
                .output()
                .expect("a C compiler, which libtorch's binding needs too")
        };
        let sanitized = build(&["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
        if !sanitized.status.success() {
            println!("without sanitizers: {}", String::from_utf8_lossy(&sanitized.stderr));
            let plain = build(&[]);
            assert!(plain.status.success(), "{}", String::from_utf8_lossy(&plain.stderr));
        }
        Self { program, _folder: folder }
    }

    /// Batch and pixels, of chips (side 150) or letterboxes (side 128).
    fn run(&self, letterbox: bool, plans: &[Vec<u8>], packed: &[u8], layout: Layout) -> (Vec<u8>, Vec<u8>) {
        let side = if letterbox { DETECTOR_INPUT } else { Chip::SIDE };
        let (image, channel, pixel) = match layout.planar {
            true => (side * side * 3, side * side, 1),
            false => (side * side * 3, 1, 3),
        };
        let mut input = Vec::new();
        let head = [usize::from(letterbox), plans.len(), packed.len(), image, channel, pixel, usize::from(layout.half)];
        input.extend(head.iter().flat_map(|value| (*value as u64).to_le_bytes()));
        input.extend(MEAN.iter().chain(&[0.0]).flat_map(|value| value.to_le_bytes()));
        input.extend(plans.iter().flatten());
        input.extend(packed);
        let mut child =
            Command::new(&self.program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the host build");
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let mut output = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
        writer.join().unwrap().unwrap();
        assert!(child.wait().unwrap().success(), "the host build found fault with the arithmetic");
        let pixels = output.split_off(plans.len() * image * if layout.half { 2 } else { 4 });
        (output, pixels)
    }

    /// What the kernel makes of these plans, packed as for the device: batch and chips.
    fn chips(&self, plans: &[ChipPlan], layout: Layout) -> (Vec<u8>, Vec<u8>) {
        let (mut packed, mut descriptors) = (Vec::new(), Vec::new());
        for plan in plans {
            descriptors.push(plan.descriptor(packed.len()).to_vec());
            packed.extend_from_slice(plan.samples());
        }
        self.run(false, &descriptors, &packed, layout)
    }

    fn letterboxes(&self, plans: &[LetterboxPlan], layout: Layout) -> Vec<u8> {
        let (mut packed, mut descriptors) = (Vec::new(), Vec::new());
        for plan in plans {
            let mut descriptor = vec![0; LetterboxPlan::DESCRIPTOR];
            plan.describe(packed.len(), &mut descriptor);
            descriptors.push(descriptor);
            packed.extend_from_slice(plan.samples());
        }
        self.run(true, &descriptors, &packed, layout).0
    }
}

#[derive(Clone, Copy)]
struct Layout {
    planar: bool,
    half: bool,
}

const FOR_EMBEDDER: Layout = Layout { planar: false, half: true };
const FOR_DETECTOR: Layout = Layout { planar: false, half: false };

/// The network's own normalisation of these pixels, rounded to half precision if asked.
fn chip_values(pixels: &[u8], layout: Layout) -> Vec<f32> {
    let count = (pixels.len() / Chip::SIDE / Chip::SIDE / 3) as i64;
    let side = Chip::SIDE as i64;
    let mut x = tch::Tensor::from_slice(pixels).reshape([count, side, side, 3]).to_kind(tch::Kind::Float);
    x = (x - tch::Tensor::from_slice(&MEAN)) / 256.0;
    floats(&x, layout)
}

fn floats(x: &tch::Tensor, layout: Layout) -> Vec<f32> {
    let x = if layout.half { x.to_kind(tch::Kind::Half).to_kind(tch::Kind::Float) } else { x.shallow_clone() };
    let x = if layout.planar { x.permute([0, 3, 1, 2]) } else { x };
    crate::net::values(&x).unwrap()
}

/// What the host build wrote.
fn written(batch: &[u8], layout: Layout) -> Vec<f32> {
    let kind = if layout.half { tch::Kind::Half } else { tch::Kind::Float };
    let count = batch.len() / if layout.half { 2 } else { 4 };
    crate::net::values(&tch::Tensor::from_data_size(batch, &[count as i64], kind)).unwrap()
}

fn assert_same_chips(host: &HostBuild, plans: &[ChipPlan], layout: Layout) {
    let (batch, pixels) = host.chips(plans, layout);
    for (index, (plan, theirs)) in plans.iter().zip(pixels.chunks_exact(Chip::SIDE * Chip::SIDE * 3)).enumerate() {
        assert!(plan.render().pixels() == theirs, "chip {index} of {} differs", plans.len());
    }
    assert!(written(&batch, layout) == chip_values(&pixels, layout), "normalisation or layout differs");
}

/// A picture by its seed: pictures themselves cannot be printed, and a failing case must be.
#[derive(Debug, Clone)]
struct Seeded {
    width: usize,
    height: usize,
    seed: u32,
    /// Side of the squares of one colour.
    grain: u32,
}

impl Seeded {
    fn image(&self) -> RgbImage {
        let sample = |i: usize| {
            let (pixel, channel) = ((i / 3) as u32, (i % 3) as u32);
            let (x, y) = (pixel % self.width as u32 / self.grain, pixel / self.width as u32 / self.grain);
            ((x ^ (y << 9) ^ (channel << 18) ^ self.seed).wrapping_mul(0x9e37_79b1) >> 24) as u8
        };
        RgbImage::new(self.width, self.height, (0..self.width * self.height * 3).map(sample).collect()).unwrap()
    }
}

fn picture() -> impl Strategy<Value = Seeded> {
    (1usize..400, 1usize..400, any::<u32>(), 1u32..9).prop_map(|(width, height, seed, grain)| Seeded {
        width,
        height,
        seed,
        grain,
    })
}

/// A face somewhere about the picture: any size and turn, partly or wholly outside.
fn face() -> impl Strategy<Value = Landmarks> {
    (prop::array::uniform5(prop::array::uniform2(-60i64..60)), 0.1f64..9.0, prop::array::uniform2(-50i64..400))
        .prop_map(|(points, scale, [dx, dy])| {
            Landmarks(points.map(|[x, y]| [(x as f64 * scale) as i64 + dx, (y as f64 * scale) as i64 + dy]))
        })
}

#[test]
fn the_kernels_chips_are_the_processors_whatever_the_transform() {
    let host = HostBuild::new();
    let mut runner = TestRunner::new(ProptestConfig { cases: 12, failure_persistence: None, ..Default::default() });
    let cases = prop::collection::vec((picture(), face(), prop::option::of(wild())), 1..20);
    runner
        .run(&(cases, any::<bool>(), any::<bool>()), |(cases, planar, half)| {
            let plans: Vec<ChipPlan> = cases
                .iter()
                .map(|(image, landmarks, wild)| match wild {
                    Some(steps) => ChipPlan::arbitrary(&image.image(), *steps),
                    None => ChipPlan::new(&image.image(), landmarks),
                })
                .collect();
            assert_same_chips(&host, &plans, Layout { planar, half });
            Ok(())
        })
        .unwrap();
}

/// Origins and steps that no face gives, edges hit exactly and numbers that are none among them.
fn wild() -> impl Strategy<Value = [f64; 6]> {
    let number = prop_oneof![
        4 => -3.0f64..3.0,
        2 => (-8i32..8).prop_map(|v| f64::from(v) / 4.0),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, -1e300, 1e-310, -0.0]),
    ];
    prop::array::uniform6(number)
}

#[test]
fn the_kernels_letterbox_is_the_processors() {
    let host = HostBuild::new();
    let mut runner = TestRunner::new(ProptestConfig { cases: 8, failure_persistence: None, ..Default::default() });
    runner
        .run(&(prop::collection::vec(picture(), 1..12), any::<bool>(), any::<bool>()), |(images, planar, half)| {
            let layout = Layout { planar, half };
            let plans: Vec<LetterboxPlan> = images.iter().map(|seeded| LetterboxPlan::new(&seeded.image())).collect();
            let size = DETECTOR_INPUT * DETECTOR_INPUT * 3;
            let mut pixels = vec![0u8; plans.len() * size];
            for (plan, out) in plans.iter().zip(pixels.chunks_exact_mut(size)) {
                plan.render(out);
            }
            let side = DETECTOR_INPUT as i64;
            let tensor = tch::Tensor::from_slice(&pixels).reshape([plans.len() as i64, side, side, 3]);
            let expected = floats(&normalise(&tensor).unwrap(), layout);
            prop_assert!(written(&host.letterboxes(&plans, layout), layout) == expected);
            Ok(())
        })
        .unwrap();
}

#[test]
fn photos_give_the_same_chips_and_letterboxes() {
    let photos = cached("PROOFMILL_PHOTOS", "photos");
    // Eyes' corners and nose of one face in each; near enough, for a chip is a chip.
    let faces: [(&str, [[i64; 2]; 5]); 3] = [
        ("obama.jpg", [[550, 215], [515, 220], [425, 222], [463, 222], [490, 292]]),
        ("biden.jpg", [[640, 240], [600, 250], [510, 262], [550, 262], [575, 330]]),
        ("astronaut.png", [[264, 113], [245, 117], [196, 121], [215, 121], [228, 152]]),
    ];
    let mut read = Vec::new();
    for (name, landmarks) in faces {
        match std::fs::read(photos.join(name)) {
            Ok(bytes) => read.push((crate::decode(&bytes, &crate::DecodeLimits::selfie()).unwrap(), landmarks)),
            Err(error) => {
                println!("skipped: {}: {error} (cargo xtask setup fetches it)", photos.join(name).display());
                return;
            }
        }
    }
    let host = HostBuild::new();
    let chips: Vec<ChipPlan> = read.iter().map(|(image, points)| ChipPlan::new(image, &Landmarks(*points))).collect();
    assert!(chips.iter().all(|plan| plan.samples().len() > 1_000));
    assert_same_chips(&host, &chips, FOR_EMBEDDER);
    let plans: Vec<LetterboxPlan> = read.iter().map(|(image, _)| LetterboxPlan::new(image)).collect();
    let values = written(&host.letterboxes(&plans, FOR_DETECTOR), FOR_DETECTOR);
    let size = DETECTOR_INPUT * DETECTOR_INPUT * 3;
    for (plan, values) in plans.iter().zip(values.chunks_exact(size)) {
        let mut pixels = vec![0; size];
        plan.render(&mut pixels);
        assert!(pixels.iter().zip(values).all(|(pixel, value)| f32::from(*pixel) / 127.5 - 1.0 == *value));
    }
}

/// Makes the PTX anew from the sources and compares. `PROOFMILL_WRITE_PTX=1` writes it instead.
#[test]
fn the_checked_in_ptx_is_what_the_sources_make() {
    let folder = cached("PROOFMILL_NVRTC", "nvrtc-13.0.88/lib");
    // By full path, and the part that NVRTC opens by name first: both are then found as loaded.
    for name in ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13"] {
        use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
        // SAFETY: NVIDIA's compiler, pinned by hash at set-up; its initialisers only set it up.
        match unsafe { Library::open(Some(folder.join(name)), RTLD_NOW | RTLD_GLOBAL) } {
            Ok(library) => std::mem::forget(library),
            Err(error) => {
                println!("skipped: {error} (cargo xtask setup --tests fetches NVRTC)");
                return;
            }
        }
    }
    let read = |name: &str| std::fs::read_to_string(Path::new(SOURCES).join(name)).unwrap();
    let source = read("chips.cu").replace("#include \"pixel.h\"", &read("pixel.h"));
    let options = cudarc::nvrtc::CompileOptions {
        name: Some("chips.cu".to_owned()),
        arch: Some("compute_75"),
        fmad: Some(false),
        ..Default::default()
    };
    let made = cudarc::nvrtc::compile_ptx_with_opts(source, options).expect("chips.cu compiles").to_src();
    if std::env::var_os("PROOFMILL_WRITE_PTX").is_some() {
        std::fs::write(Path::new(SOURCES).join("chips.ptx"), &made).unwrap();
        println!("wrote chips.ptx");
        return;
    }
    let version = |ptx: &str| ptx.lines().find(|line| line.contains("Cuda compilation tools")).map(str::to_owned);
    let checked_in = read("chips.ptx");
    assert_eq!(version(&checked_in), version(&made), "another version of NVRTC than chips.ptx was made with");
    assert!(
        checked_in == made,
        "chips.ptx is stale: PROOFMILL_WRITE_PTX=1 cargo nextest run -p proofmill-face checked_in_ptx makes it anew"
    );
    // A fused multiply-add rounds once where the processor rounds twice.
    assert!(!made.contains("fma.") && made.contains(".entry proofmill_chips"));
}

/// Started by the next test, in a process that finds a driver which is none.
#[test]
#[ignore = "part of the next test"]
fn prints_what_is_found() {
    println!("found: {}", crate::discovery());
}

#[test]
fn a_driver_alone_makes_no_device_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("driver.c");
    std::fs::write(&source, "int proofmill_no_driver;\n").unwrap();
    let library = folder.path().join("libcuda.so.1");
    let built = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(built.expect("a C compiler").success());
    std::os::unix::fs::symlink(&library, folder.path().join("libcuda.so")).unwrap();
    let mut path = folder.path().as_os_str().to_owned();
    if let Some(rest) = std::env::var_os("LD_LIBRARY_PATH") {
        path.push(":");
        path.push(rest);
    }
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cuda::checks::prints_what_is_found", "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{text}{}", String::from_utf8_lossy(&run.stderr));
    // Which of the two it is depends on whether the machine's libtorch has its CUDA half.
    assert!(text.contains("cpu (CUDA driver found, but") || text.contains("cpu (libtorch_cuda opened, but"), "{text}");
}

fn cached(variable: &str, folder: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache/proofmill").join(folder),
    }
}
