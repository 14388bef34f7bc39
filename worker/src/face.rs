//! The face stage as the pipeline sees it: prepare on a processor thread, then one answer from a batch.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use futures::future::BoxFuture;
use proofmill_face::{
    BatchConfig, BatchReport, BatchService, Device, EngineError, FaceFailure, FaceVerdict, LoadOptions, MatchPolicy,
    Matcher, Pack, PackIdentity, Prepared,
};
use proofmill_telemetry::Metrics;

pub use proofmill_face::Lane as FaceLane;

use crate::engine::Fault;

/// The answer of a batch, to come.
pub type FaceAnswer = BoxFuture<'static, Result<FaceVerdict, Fault>>;

/// The face stage. A trait, so that tests can put faults around the real one.
pub trait FaceStage: Send + Sync + 'static {
    /// Decodes portrait and selfies; processor work.
    fn prepare(&self, portrait: &[u8], selfies: &[&[u8]]) -> Result<Prepared, FaceFailure>;

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
}

impl PackTerms {
    /// How strict to be when a pack is read.
    pub fn options(&self) -> LoadOptions {
        LoadOptions { allow_non_commercial: self.allow_non_commercial }
    }

    /// The policy under which `pack` decides.
    ///
    /// # Errors
    /// The pack has no operating point for the rate that was asked for.
    pub fn policy(&self, pack: &Pack) -> anyhow::Result<MatchPolicy> {
        let operating_point = match self.false_match_rate {
            Some(rate) => Some(pack.operating_point_for(rate)?.name.clone()),
            None => self.operating_point.clone(),
        };
        Ok(MatchPolicy { operating_point, ..MatchPolicy::default() })
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
    devices: Vec<Device>,
}

impl FaceService {
    /// Loads the pack and starts the executor threads.
    ///
    /// # Errors
    /// The pack is absent, not the one it claims to be, refused by `terms`, or does not fit the device.
    pub fn start(
        pack: &Path,
        terms: &PackTerms,
        choice: DeviceChoice,
        threads: usize,
        max_batch: Option<usize>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let devices = devices(choice)?;
        let mut matchers = Vec::with_capacity(devices.len());
        for device in &devices {
            let loaded = load(pack, terms.options())?;
            let policy = terms.policy(&loaded)?;
            let matcher = Matcher::with_policy(loaded, *device, threads, policy)
                .with_context(|| format!("cannot build the model pack {} on {device}", pack.display()))?;
            matchers.push(Arc::new(matcher));
        }
        let matcher = matchers.first().context("no device to run on")?.clone();
        let on_gpu = devices.iter().any(|device| matches!(device, Device::Cuda(_)));
        let identity = matcher.identity();
        let model = record(identity);
        let batches =
            BatchService::spawn_observed(matchers, batches(max_batch, on_gpu), move |report| observe(&metrics, report));
        Ok(Self { matcher, batches, model, devices })
    }

    /// Where it runs.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Why it runs on the processor, when no CUDA device was to be had; for readiness texts.
    pub fn fallback(&self) -> Option<&'static proofmill_face::Fallback> {
        let discovery = proofmill_face::discovery();
        discovery.fallback.as_ref().filter(|_| self.devices.contains(&Device::Cpu))
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

impl FaceStage for FaceService {
    fn prepare(&self, portrait: &[u8], selfies: &[&[u8]]) -> Result<Prepared, FaceFailure> {
        self.matcher.prepare(portrait, selfies)
    }

    fn submit(&self, pictures: Prepared, lane: FaceLane) -> BoxFuture<'_, Result<FaceAnswer, Fault>> {
        Box::pin(async move {
            let ticket = self.batches.submit(pictures, lane).await.map_err(|error| Fault::system("model", &error))?;
            let answer: FaceAnswer =
                Box::pin(async move { ticket.await.map(|outcome| outcome.verdict).map_err(Fault::from) });
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
            EngineError::OutOfMemory(_) | EngineError::NoDevice(_) => Fault::system("gpu", &error),
            _ => Fault::system("model", &error),
        }
    }
}

/// How batches are formed: small ones keep a processor's caches warm and its answers quick, a GPU wants many.
fn batches(max_batch: Option<usize>, on_gpu: bool) -> BatchConfig {
    let max_batch = max_batch.unwrap_or(if on_gpu { 64 } else { 8 });
    let config = BatchConfig::default();
    BatchConfig { max_batch, max_waiting: config.max_waiting.max(4 * max_batch), ..config }
}

fn observe(metrics: &Metrics, report: &BatchReport) {
    let device = report.device.to_string();
    metrics.batches.with_label_values(&[report.reason.as_str()]).inc();
    metrics.batch_items.observe(report.size as f64);
    metrics.batch_fill_ratio.observe(report.size as f64 / report.capacity.max(1) as f64);
    metrics.batch_wait_seconds.observe(report.waited.as_secs_f64());
    metrics.device_busy_seconds.with_label_values(&[&*device]).inc_by(report.busy.as_secs_f64());
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
