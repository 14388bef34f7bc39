//! `models bench`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use proofmill_face::{Bounds, Detection, Device, Matcher, Point, RgbImage};

use crate::face::{self, DeviceChoice};
use crate::settings;

/// `models bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Pack folder, or a folder of packs [default: where `models fetch` puts it]
    #[arg(long, value_name = "DIR", env = "PROOFMILL_MODELS")]
    pack: Option<PathBuf>,
    /// Where the networks run; of several CUDA devices, each on its own
    #[arg(long, value_enum, default_value = "auto", env = "PROOFMILL_DEVICE")]
    device: DeviceChoice,
    /// Processor threads [default: one per core]
    #[arg(long, value_name = "N", env = "PROOFMILL_THREADS", value_parser = settings::thread_count)]
    threads: Option<usize>,
    /// Batch sizes [default: 1 to 32, on a CUDA device to 512]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Vec<u16>,
}

/// How long each size is measured, at least.
const TIME: Duration = Duration::from_millis(500);

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<u8> {
    let folder = face::pack_folder(args.pack.as_deref());
    let threads = settings::processor_threads(args.threads);
    for device in face::devices(args.device)? {
        let pack = face::load(&folder, face::FOR_TOOLS)?;
        let matcher = Matcher::new(pack, device, threads)
            .with_context(|| format!("cannot build the model pack {} on {device}", folder.display()))?;
        let identity = matcher.identity();
        println!("{} {} on {device}, {threads} threads", identity.name, identity.version);
        let mut sizes: Vec<usize> = args.batch.iter().copied().map(usize::from).collect();
        if sizes.is_empty() {
            sizes = vec![1, 2, 4, 8, 16, 32];
            if device != Device::Cpu {
                sizes.extend([64, 128, 256, 512]);
            }
        }
        print(&matcher, &sizes)?;
    }
    Ok(0)
}

/// Faces a second through the detector and through the embedder in single precision, by batch size.
pub(super) fn print(matcher: &Matcher, sizes: &[usize]) -> anyhow::Result<()> {
    let (image, detection) = face_like().context("cannot make a test picture")?;
    let chip = matcher.plan_chip(&image, &detection).context("the landmarker failed")?.render();
    println!("  {:>5}  {:>18}  {:>18}", "batch", "detector, images/s", "embedder, faces/s");
    for &size in sizes {
        let (images, chips) = (vec![&image; size], vec![&chip; size]);
        let detected = rate(size, || matcher.detect(&images).map(drop)).context("the detector failed")?;
        let embedded = rate(size, || matcher.embed(&chips).map(drop)).context("the embedder failed")?;
        println!("  {size:>5}  {detected:>18.1}  {embedded:>18.1}");
    }
    Ok(())
}

fn rate<E>(size: usize, mut pass: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    pass()?;
    let (started, mut passes) = (Instant::now(), 0usize);
    while started.elapsed() < TIME {
        pass()?;
        passes += 1;
    }
    Ok((size * passes) as f64 / started.elapsed().as_secs_f64())
}

/// A picture with detail in it and the place of a face: the networks' work does not depend on what they see.
fn face_like() -> Option<(RgbImage, Detection)> {
    let value = |x: usize, y: usize, c: usize| (x * 7 + y * 13 + c * 29 + x * y / 16) as u8;
    let pixels = (0..480).flat_map(|y| (0..360).flat_map(move |x| (0..3).map(move |c| value(x, y, c)))).collect();
    let image = RgbImage::new(360, 480, pixels)?;
    let points = [(145.0, 200.0), (215.0, 200.0), (180.0, 240.0), (180.0, 280.0), (110.0, 220.0), (250.0, 220.0)];
    let detection = Detection {
        score: 1.0,
        bounds: Bounds { x: 105.0, y: 150.0, width: 150.0, height: 150.0 },
        points: points.map(|(x, y)| Point { x, y }),
    };
    Some((image, detection))
}
