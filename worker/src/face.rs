//! The face stage as the pipeline sees it: prepare on a processor thread, then one answer from a batch.

mod gates;
mod operations;
mod recorder;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use futures::future::BoxFuture;
use proofmill_face::decode::memory;
use proofmill_face::{
    BatchConfig, BatchEngine, BatchService, DecodeLimits, Device, EngineError, FaceFailure, FaceOutcome, FaceVerdict,
    LoadOptions, MatchPolicy, Matcher, Pack, PackIdentity, Prepared, Setup, Standby,
};
use proofmill_telemetry::Metrics;

pub use self::gates::GateArgs;
pub use proofmill_face::Lane as FaceLane;

use crate::engine::Fault;
use crate::settings::BatchArgs;

use operations::Observer;

/// The answer of a batch, to come.
pub type FaceAnswer = BoxFuture<'static, Result<FaceOutcome, Fault>>;

/// The face stage. A trait, so that tests can put faults around the real one.
pub trait FaceStage: Send + Sync + 'static {
    /// Decodes portrait and selfies; processor work. Without selfies the portrait is judged alone.
    fn prepare(&self, portrait: &[u8], selfies: &[&[u8]]) -> Result<Prepared, FaceFailure>;

    /// Bytes that decoding takes at most, by what the pictures' headers declare.
    fn memory_for(&self, portrait: &[u8], selfies: &[&[u8]]) -> usize {
        let frames = selfies.iter().map(|selfie| memory(selfie, &DecodeLimits::selfie()));
        memory(portrait, &DecodeLimits::portrait()) + frames.sum::<usize>()
    }

    /// Bytes of decoded pictures that may be in memory at once.
    fn memory(&self) -> usize {
        PROCESSOR_MEMORY
    }

    /// Hands pictures to the batcher, waiting for room; the inner future is the verdict.
    fn submit(&self, pictures: Prepared, lane: FaceLane) -> BoxFuture<'_, Result<FaceAnswer, Fault>>;

    /// Names the model pack and operating point, for the record.
    fn model(&self) -> &str;
}

/// The default pack.
pub const DEFAULT_PACK: &str = "proofmill-open-1";

/// Where the networks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DeviceChoice {
    /// Every CUDA device, or else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// CUDA devices only; an error without one.
    Cuda,
}

/// Which packs are taken, and which of a pack's operating points decides.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct PackTerms {
    /// Take a model pack that is not marked for commercial use
    #[arg(long, env = "PROOFMILL_ALLOW_NON_COMMERCIAL")]
    pub allow_non_commercial: bool,
    /// Operating point of the pack that decides, by its name [default: the pack's own]
    #[arg(long, value_name = "NAME", env = "PROOFMILL_OPERATING_POINT", conflicts_with = "false_match_rate")]
    pub operating_point: Option<String>,
    /// Decide at the operating point that was measured to keep this false-match rate, such as 1e-4; refused when the
    /// pack has none
    #[arg(long, value_name = "RATE", env = "PROOFMILL_FALSE_MATCH_RATE", value_parser = rate)]
    pub false_match_rate: Option<f64>,
    /// Limits of the face gates
    #[command(flatten)]
    pub gates: GateArgs,
}

impl PackTerms {
    /// How strict to be when a pack is read.
    pub fn options(&self) -> LoadOptions {
        LoadOptions { allow_non_commercial: self.allow_non_commercial }
    }

    /// The policy under which `pack` decides.
    ///
    /// # Errors
    /// The pack has no operating point for the rate that was asked for, or the gates contradict one another.
    pub fn policy(&self, pack: &Pack) -> anyhow::Result<MatchPolicy> {
        let operating_point = match self.false_match_rate {
            Some(rate) => Some(pack.operating_point_for(rate)?.name.clone()),
            None => self.operating_point.clone(),
        };
        let mut policy = MatchPolicy { operating_point, ..pack.policy() };
        self.gates.apply(&mut policy)?;
        Ok(policy)
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate < 1.0 => Ok(rate),
        _ => Err("expected a rate between 0 and 1, such as 1e-4".to_owned()),
    }
}

/// The real face stage: a model pack on every device, behind one batcher.
pub struct FaceService {
    matcher: Arc<Matcher>,
    batches: BatchService,
    model: String,
    max_batch: usize,
    memory: usize,
    devices: Vec<Device>,
    /// Why there is no device but the processor: the name in metrics and the text.
    processor: Option<(&'static str, String)>,
    metrics: Arc<Metrics>,
}

/// Most attempts in a batch on the processor: larger ones are no faster there, and slower to answer.
const PROCESSOR_BATCH: usize = 8;
/// Bytes of decoded pictures in memory at once, where no GPU wants many: a hundred ordinary attempts, or one of five pictures
/// of 25 megapixels.
const PROCESSOR_MEMORY: usize = 512 << 20;
/// The same on a GPU. An attempt has two faces at least, so that this many fill its largest pass of 512.
const GPU_BATCH: usize = 256;
/// What the pictures of an attempt take decoded, about: a portrait and a selfie of a megapixel.
const ATTEMPT_BYTES: usize = 4 << 20;

impl FaceService {
    /// Loads the pack on every device that `choice` amounts to and starts the executor threads. When all CUDA devices fail
    /// later, the processor takes over, unless `choice` was CUDA alone.
    ///
    /// # Errors
    /// The pack is absent, not the one it claims to be, refused by `terms`, or does not fit the device.
    pub fn start(
        pack: &Path,
        terms: &PackTerms,
        choice: DeviceChoice,
        threads: usize,
        batch: &BatchArgs,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let devices = devices(choice)?;
        let mut matchers = Vec::with_capacity(devices.len());
        for device in &devices {
            matchers.push(Arc::new(build(pack, terms, *device, threads)?));
        }
        let matcher = matchers.first().context("no device to run on")?.clone();
        let standby = (choice == DeviceChoice::Auto && !devices.contains(&Device::Cpu)).then(|| {
            let (pack, terms) = (pack.to_owned(), terms.clone());
            let build = move || match build(&pack, &terms, Device::Cpu, threads) {
                Ok(matcher) => Ok(Arc::new(matcher) as Arc<dyn BatchEngine<Prepared>>),
                Err(error) => Err(EngineError::Config(format!("{error:#}"))),
            };
            Standby { device: Device::Cpu, max_batch: PROCESSOR_BATCH, build: Box::new(build) }
        });
        let engines = matchers.into_iter().map(|matcher| matcher as Arc<dyn BatchEngine<Prepared>>).collect();
        let mut service = Self::over(matcher, engines, standby, batch, metrics)?;
        if devices.contains(&Device::Cpu) {
            let why = match proofmill_face::discovery().fallback.as_ref() {
                Some(fallback) if choice == DeviceChoice::Auto => (fallback.as_str(), fallback.to_string()),
                _ => ("asked_for", "asked for".to_owned()),
            };
            service.metrics.face_fallback.with_label_values(&[why.0]).set(1);
            service.processor = Some(why);
        }
        Ok(service)
    }

    /// The same over engines that are built already; `matcher` decodes.
    ///
    /// # Errors
    /// The recording of arrivals cannot be written.
    pub fn over(
        matcher: Arc<Matcher>,
        engines: Vec<Arc<dyn BatchEngine<Prepared>>>,
        standby: Option<Standby<Prepared>>,
        batch: &BatchArgs,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let devices: Vec<Device> = engines.iter().map(|engine| engine.device()).collect();
        let on_gpu = devices.iter().any(|device| matches!(device, Device::Cuda(_)));
        let config = batches(batch, on_gpu);
        let (max_batch, memory) = (config.max_batch, config.max_bytes);
        let all = devices.iter().copied().chain(standby.as_ref().map(|standby| standby.device));
        let observer = Observer::new(metrics.clone(), all, batch.record_arrivals.as_deref())?;
        let setup = Setup { engines, standby, config, observer: Box::new(move |event| observer.hear(event)) };
        Ok(Self {
            model: record(matcher.identity()),
            matcher,
            batches: BatchService::start(setup),
            max_batch,
            memory,
            devices,
            processor: None,
            metrics,
        })
    }

    /// Where it was started; [`Self::describe`] says what works.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Most attempts in one batch.
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// The matcher, for tools.
    pub fn matcher(&self) -> &Arc<Matcher> {
        &self.matcher
    }

    /// Finishes what was taken and stops the threads.
    pub async fn drain(&self) {
        self.batches.drain().await;
    }
}

/// Loads the pack and builds its networks on a device.
fn build(pack: &Path, terms: &PackTerms, device: Device, threads: usize) -> anyhow::Result<Matcher> {
    let loaded = load(pack, terms.options())?;
    let policy = terms.policy(&loaded)?;
    Matcher::with_policy(loaded, device, threads, policy)
        .with_context(|| format!("cannot build the model pack {} on {device}", pack.display()))
}

impl FaceStage for FaceService {
    fn memory_for(&self, portrait: &[u8], selfies: &[&[u8]]) -> usize {
        self.matcher.memory(portrait, selfies)
    }

    fn memory(&self) -> usize {
        self.memory
    }

    fn prepare(&self, portrait: &[u8], selfies: &[&[u8]]) -> Result<Prepared, FaceFailure> {
        let prepared = self.matcher.prepare(portrait, selfies);
        if let Err(failure) = &prepared {
            operations::count(&self.metrics, &failure.verdict());
        }
        prepared
    }

    fn submit(&self, pictures: Prepared, lane: FaceLane) -> BoxFuture<'_, Result<FaceAnswer, Fault>> {
        // Whoever asks about the portrait alone has a verdict for the rest.
        let alone = pictures.frames() == 0;
        Box::pin(async move {
            let ticket = self.batches.submit(pictures, lane).await.map_err(|error| Fault::system("model", &error))?;
            let metrics = self.metrics.clone();
            let answer: FaceAnswer = Box::pin(async move {
                let outcome = ticket.await?;
                if !alone || matches!(outcome.verdict, FaceVerdict::PortraitUnusable(_)) {
                    operations::count(&metrics, &outcome.verdict);
                }
                Ok(outcome)
            });
            Ok(answer)
        })
    }

    fn model(&self) -> &str {
        &self.model
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Panicked => Fault::Poison(error.to_string()),
            EngineError::OutOfMemory(_) | EngineError::NoDevice(_) | EngineError::OutOfService(_) => {
                Fault::system("gpu", &error)
            }
            _ => Fault::system("model", &error),
        }
    }
}

/// How batches are formed: small ones keep a processor's caches warm and its answers quick, a GPU wants many. On a GPU three
/// batches are under way at once and the next one waits.
fn batches(args: &BatchArgs, on_gpu: bool) -> BatchConfig {
    let default = BatchConfig::default();
    let max_batch = args.max_batch.map_or(if on_gpu { GPU_BATCH } else { PROCESSOR_BATCH }, usize::from);
    let max_waiting = default.max_waiting.max(4 * max_batch);
    let enough = if on_gpu { default.max_bytes.max(max_waiting * ATTEMPT_BYTES) } else { PROCESSOR_MEMORY };
    let max_bytes = args.face_memory.map_or(enough, |mib| (mib as usize) << 20);
    BatchConfig { max_batch, max_waiting, max_bytes, ..default }
}

/// What goes on record with each verdict: name and version, the first twelve digits of the SHA-256 of `pack.toml`, which
/// pins every file and threshold, and the operating point.
fn record(identity: &PackIdentity) -> String {
    let digest = identity.sha256.get(..12).unwrap_or(&identity.sha256);
    format!("{}@{}+{digest}/{}", identity.name, identity.version, identity.operating_point)
}

/// Reads and checks a pack.
///
/// # Errors
/// It is absent or not the one it claims to be; the message names the file and what to do.
pub fn load(pack: &Path, options: LoadOptions) -> anyhow::Result<Pack> {
    Pack::load(pack, options).with_context(|| {
        let hint = if pack.join("pack.toml").is_file() { "" } else { " (`models fetch` gets the default one)" };
        format!("cannot load the model pack {}{hint}", pack.display())
    })
}

/// How packs are read by tools that verify nobody: a licence does not keep them from looking.
pub const FOR_TOOLS: LoadOptions = LoadOptions { allow_non_commercial: true };

/// The pack to use: the one asked for, or the default one where set-up puts it. `PROOFMILL_MODELS` may name a pack or a
/// folder of packs.
pub fn pack_folder(asked: Option<&Path>) -> PathBuf {
    let named = |path: &Path| {
        if path.join("pack.toml").is_file() { path.to_owned() } else { path.join(DEFAULT_PACK) }
    };
    if let Some(path) = asked {
        return named(path);
    }
    let cache = cache();
    let candidates = [PathBuf::from(".models"), cache.clone()];
    candidates
        .iter()
        .map(|path| named(path))
        .find(|path| path.join("pack.toml").is_file())
        .unwrap_or_else(|| cache.join(DEFAULT_PACK))
}

/// Where packs are kept for one user.
pub fn cache() -> PathBuf {
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_default()
        .join("proofmill/models")
}

/// The devices that a choice amounts to, at least one.
///
/// # Errors
/// CUDA was asked for and there is none.
pub fn devices(choice: DeviceChoice) -> anyhow::Result<Vec<Device>> {
    // Before any other use of libtorch: it looks for its CUDA half once and remembers the answer.
    let found = proofmill_face::discover();
    Ok(match choice {
        DeviceChoice::Auto => found,
        DeviceChoice::Cpu => vec![Device::Cpu],
        DeviceChoice::Cuda => {
            let cuda: Vec<_> = found.into_iter().filter(|device| matches!(device, Device::Cuda(_))).collect();
            anyhow::ensure!(!cuda.is_empty(), "no CUDA device was found; `--device cpu` runs on the processor");
            cuda
        }
    })
}
