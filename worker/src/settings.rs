//! Command-line settings of the worker's own parts; storage and serving are the api's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use proofmill_contract::policy::{Demand, Tolerance};
use proofmill_contract::{OrganisationPolicy, Timestamp};
use proofmill_trust::TrustSource;

use crate::face::{DeviceChoice, PackTerms};
use crate::pipeline::PipelineConfig;

/// Trust store, model pack, device and threads.
#[derive(Args, Clone, Debug)]
pub struct EngineArgs {
    /// Trust: a store that `trust import` made, or files and folders of certificates, revocation lists and master lists;
    /// may be repeated [default: the trust store of --trust-store, or the folder `trust` beside the data]
    #[arg(long = "trust", value_name = "PATH", env = "PROOFMILL_TRUST", value_delimiter = ':')]
    pub trust: Vec<PathBuf>,
    /// Certificates under which master lists in --trust count: files or folders, may be repeated
    #[arg(long, value_name = "PATH", env = "PROOFMILL_TRUST_ANCHOR", value_delimiter = ':')]
    pub trust_anchor: Vec<PathBuf>,
    /// Folder of the trust store, where no --trust is given
    #[arg(long, value_name = "DIR", env = "PROOFMILL_TRUST_STORE")]
    pub trust_store: Option<PathBuf>,
    /// Model pack folder, or a folder of packs [default: where `cargo xtask setup` puts it]
    #[arg(long, value_name = "DIR", env = "PROOFMILL_MODELS")]
    pub pack: Option<PathBuf>,
    /// Licence and operating point
    #[command(flatten)]
    pub terms: PackTerms,
    /// Where the networks run
    #[arg(long, value_enum, default_value = "auto", env = "PROOFMILL_DEVICE")]
    pub device: DeviceChoice,
    /// Processor threads, for documents and pictures and for libtorch alike [default: one per core]
    #[arg(long, value_name = "N", env = "PROOFMILL_THREADS", value_parser = thread_count)]
    pub threads: Option<usize>,
    /// How faces are batched
    #[command(flatten)]
    pub batch: BatchArgs,
}

/// How faces are batched.
#[derive(Args, Clone, Debug, Default)]
pub struct BatchArgs {
    /// Most attempts in one face batch [default: 8 on a processor, 256 on a GPU]
    #[arg(long, value_name = "N", env = "PROOFMILL_MAX_BATCH", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub max_batch: Option<u16>,
    /// Most memory for decoded pictures, in MiB: of attempts that are being decoded, wait for a face batch or are in one. An
    /// attempt that needs more than all of it runs alone [default: 512 on a processor; 4 MiB for each of four batches'
    /// attempts on a GPU]
    #[arg(long, value_name = "MIB", env = "PROOFMILL_FACE_MEMORY", value_parser = clap::value_parser!(u32).range(16..))]
    pub face_memory: Option<u32>,
    /// Record when attempts reach the batcher and how long batches take, in a new CSV file for the batch simulator; neither ids
    /// nor times of day
    #[arg(long, value_name = "FILE", env = "PROOFMILL_RECORD_ARRIVALS")]
    pub record_arrivals: Option<PathBuf>,
}

impl EngineArgs {
    /// The number of threads; also sizes the processor pool, which must happen before its first use.
    pub fn threads(&self) -> usize {
        processor_threads(self.threads)
    }

    /// Where trust comes from: what is named, or else the first of `fallbacks` that exists.
    ///
    /// # Errors
    /// None is named and no fallback exists.
    pub fn trust_source(&self, fallbacks: &[&Path]) -> anyhow::Result<TrustSource> {
        Ok(TrustSource { paths: self.trust_paths(fallbacks)?, anchors: self.trust_anchor.clone() })
    }

    fn trust_paths(&self, fallbacks: &[&Path]) -> anyhow::Result<Vec<PathBuf>> {
        if !self.trust.is_empty() {
            return Ok(self.trust.clone());
        }
        if let Some(store) = &self.trust_store {
            return Ok(vec![store.clone()]);
        }
        fallbacks.iter().find(|path| path.is_dir()).map(|path| vec![path.to_path_buf()]).ok_or_else(|| {
            let tried: String = fallbacks.iter().map(|path| format!("; there is no {}", path.display())).collect();
            anyhow::anyhow!("no trust store: name one with --trust{tried}")
        })
    }
}

/// Most processor threads that may be asked for.
const MOST_THREADS: usize = 1024;

/// Reads a number of threads.
///
/// # Errors
/// It is no number from 1 to 1024.
pub fn thread_count(text: &str) -> Result<usize, String> {
    let threads = text.parse().map_err(|_| "not a number of threads".to_owned())?;
    if (1..=MOST_THREADS).contains(&threads) {
        Ok(threads)
    } else {
        Err(format!("{threads} is not in 1..={MOST_THREADS}"))
    }
}

/// The number of threads, one for each core unless asked otherwise; also sizes the processor pool, which must happen before
/// its first use.
pub fn processor_threads(asked: Option<usize>) -> usize {
    let threads = asked
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1)
        .clamp(1, MOST_THREADS);
    // Fails only if the pool exists: then its size is what the first caller asked for.
    if rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("cpu-{index}"))
        .build_global()
        .is_err()
    {
        tracing::debug!("the processor pool exists already");
    }
    threads
}

/// How a process that keeps running follows changes of its trust store.
#[derive(Args, Clone, Debug)]
pub struct ReloadArgs {
    /// How often to look whether the trust store has changed: a number and s, m, h or d. A hangup signal looks at once
    #[arg(long, value_name = "TIME", env = "PROOFMILL_TRUST_RELOAD", default_value = "30s", value_parser = duration)]
    pub trust_reload: Duration,
}

/// A length of time on the command line, such as `30s`, `10m`, `12h` or `90d`; a second at least.
///
/// # Errors
/// What was expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number and s, m, h or d, such as 10m".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(expected)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(expected()),
    };
    // A century: nothing here is to wait longer, and no sum of times overflows.
    let seconds = number.parse::<u32>().map_err(|_| expected())?;
    match u64::from(seconds) * unit {
        seconds @ 1..=3_155_760_000 => Ok(Duration::from_secs(seconds)),
        _ => Err("expected one second to a hundred years".to_owned()),
    }
}

/// A moment on the command line.
///
/// # Errors
/// What was expected.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "expected an RFC 3339 time such as 2026-11-22T09:30:00Z".to_owned())
}

/// What an organisation decides about borderline documents.
#[derive(Args, Clone, Debug)]
pub struct PolicyArgs {
    /// Accept documents past their date of expiry
    #[arg(long)]
    pub accept_expired: bool,
    /// Accept documents whose signer's revocation status cannot be known
    #[arg(long)]
    pub accept_unknown_revocation: bool,
    /// Reject documents whose chip declares chip authentication and did not answer it
    #[arg(long)]
    pub require_chip_authentication: bool,
}

impl PolicyArgs {
    /// The policy.
    pub fn policy(&self) -> OrganisationPolicy {
        let tolerance = |accept| if accept { Tolerance::Accept } else { Tolerance::Reject };
        OrganisationPolicy {
            expired_documents: tolerance(self.accept_expired),
            unknown_revocation: tolerance(self.accept_unknown_revocation),
            chip_authentication: if self.require_chip_authentication { Demand::Required } else { Demand::Off },
            ..OrganisationPolicy::default()
        }
    }
}

/// How the pipeline works.
#[derive(Args, Clone, Debug)]
pub struct PipelineArgs {
    /// Attempts held at once per lane [default: four face batches, at least 32]
    #[arg(long, value_name = "N", env = "PROOFMILL_PREFETCH", value_parser = clap::value_parser!(u16).range(1..))]
    pub prefetch: Option<u16>,
    /// Seconds after which another worker may take over an attempt whose worker is silent
    #[arg(long, value_name = "SECONDS", env = "PROOFMILL_LEASE", default_value_t = 60, value_parser = clap::value_parser!(u64).range(3..=3600))]
    pub lease_seconds: u64,
    /// Times that an attempt which breaks its worker is tried before it is set aside
    #[arg(long, value_name = "N", env = "PROOFMILL_MAX_TRIES", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_tries: u32,
}

impl PipelineArgs {
    /// The pipeline's configuration, for a face stage with batches of `max_batch`: while a device runs as many batches as
    /// it has under way at once (three on a GPU), the next is being opened and decoded.
    pub fn config(&self, max_batch: usize) -> PipelineConfig {
        let enough = u16::try_from(max_batch.saturating_mul(4)).unwrap_or(u16::MAX).max(32);
        PipelineConfig {
            prefetch: self.prefetch.unwrap_or(enough),
            lease: Duration::from_secs(self.lease_seconds),
            max_tries: self.max_tries,
            ..PipelineConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(trust: Vec<PathBuf>) -> EngineArgs {
        EngineArgs {
            trust,
            trust_anchor: Vec::new(),
            trust_store: None,
            pack: None,
            terms: PackTerms::default(),
            device: DeviceChoice::Cpu,
            threads: Some(1),
            batch: BatchArgs::default(),
        }
    }

    #[test]
    fn numbers_of_threads_out_of_range_are_refused() {
        assert_eq!((thread_count("1"), thread_count("1024")), (Ok(1), Ok(1024)));
        for absurd in ["0", "1025", "-1", "two", ""] {
            assert!(thread_count(absurd).is_err(), "{absurd}");
        }
    }

    #[test]
    fn named_trust_stores_win_over_those_that_lie_about() {
        let folder = tempfile::tempdir().unwrap();
        let named = PathBuf::from("/somewhere");
        assert_eq!(engine(vec![named.clone()]).trust_paths(&[folder.path()]).unwrap(), vec![named]);
        assert_eq!(engine(vec![]).trust_paths(&[folder.path()]).unwrap(), vec![folder.path().to_owned()]);
        let missing = folder.path().join("none");
        let mut stored = engine(vec![]);
        stored.trust_store = Some(PathBuf::from("/store"));
        assert_eq!(stored.trust_paths(&[folder.path()]).unwrap(), vec![PathBuf::from("/store")]);
        let error = engine(vec![]).trust_paths(&[&missing]).unwrap_err().to_string();
        assert!(error.contains("--trust") && error.contains("none"), "{error}");
    }

    #[test]
    fn prefetch_follows_the_batch_unless_it_is_set() {
        let mut args = PipelineArgs { prefetch: None, lease_seconds: 60, max_tries: 3 };
        let prefetch = |args: &PipelineArgs, max_batch| args.config(max_batch).prefetch;
        assert_eq!(
            [1, 8, 256, 4096, 20_000].map(|max_batch| prefetch(&args, max_batch)),
            [32, 32, 1024, 16_384, 65_535]
        );
        args.prefetch = Some(5);
        assert_eq!(prefetch(&args, 256), 5);
    }

    #[test]
    fn lengths_of_time_have_a_unit() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("12h", 43_200), ("90d", 7_776_000)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "30", "0s", "-1s", "1.5h", "4294967295d", "10 m", "5é"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_careful_policy_is_the_default() {
        let args =
            PolicyArgs { accept_expired: false, accept_unknown_revocation: false, require_chip_authentication: false };
        assert_eq!(args.policy(), OrganisationPolicy::default());
    }
}
