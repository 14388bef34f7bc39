//! Command-line settings of the worker's own parts; storage and serving are the api's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use proofmill_contract::OrganisationPolicy;
use proofmill_contract::policy::Tolerance;

use crate::face::DeviceChoice;
use crate::pipeline::PipelineConfig;

/// Trust store, model pack, device and threads.
#[derive(Args, Clone, Debug)]
pub struct EngineArgs {
    /// Trust store: files or folders of certificates (DER or PEM) and revocation lists; may be repeated
    #[arg(long = "trust", value_name = "PATH", env = "PROOFMILL_TRUST", value_delimiter = ':')]
    pub trust: Vec<PathBuf>,
    /// Model pack folder, or a folder of packs [default: where `cargo xtask setup` puts it]
    #[arg(long, value_name = "DIR", env = "PROOFMILL_MODELS")]
    pub pack: Option<PathBuf>,
    /// Where the networks run
    #[arg(long, value_enum, default_value = "auto", env = "PROOFMILL_DEVICE")]
    pub device: DeviceChoice,
    /// Processor threads, for documents and pictures and for libtorch alike [default: one per core]
    #[arg(long, value_name = "N", env = "PROOFMILL_THREADS")]
    pub threads: Option<usize>,
    /// Most attempts in one face batch [default: 8 on a processor, more on a GPU]
    #[arg(long, value_name = "N", env = "PROOFMILL_MAX_BATCH", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub max_batch: Option<u16>,
}

impl EngineArgs {
    /// The number of threads; also sizes the processor pool, which must happen before its first use.
    pub fn threads(&self) -> usize {
        let threads = self
            .threads
            .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1)
            .clamp(1, 1024);
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

    /// The most attempts of one face batch, if asked for.
    pub fn max_batch(&self) -> Option<usize> {
        self.max_batch.map(usize::from)
    }

    /// The trust store's paths: those named, or else the first of `fallbacks` that exists.
    ///
    /// # Errors
    /// None is named and no fallback exists.
    pub fn trust_paths(&self, fallbacks: &[&Path]) -> anyhow::Result<Vec<PathBuf>> {
        if !self.trust.is_empty() {
            return Ok(self.trust.clone());
        }
        fallbacks.iter().find(|path| path.is_dir()).map(|path| vec![path.to_path_buf()]).ok_or_else(|| {
            let tried: String = fallbacks.iter().map(|path| format!("; there is no {}", path.display())).collect();
            anyhow::anyhow!("no trust store: name one with --trust{tried}")
        })
    }
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
}

impl PolicyArgs {
    /// The policy.
    pub fn policy(&self) -> OrganisationPolicy {
        let tolerance = |accept| if accept { Tolerance::Accept } else { Tolerance::Reject };
        OrganisationPolicy {
            expired_documents: tolerance(self.accept_expired),
            unknown_revocation: tolerance(self.accept_unknown_revocation),
            ..OrganisationPolicy::default()
        }
    }
}

/// How the pipeline works.
#[derive(Args, Clone, Debug)]
pub struct PipelineArgs {
    /// Attempts held at once per lane: a few face batches
    #[arg(long, value_name = "N", env = "PROOFMILL_PREFETCH", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub prefetch: u16,
    /// Seconds after which another worker may take over an attempt whose worker is silent
    #[arg(long, value_name = "SECONDS", env = "PROOFMILL_LEASE", default_value_t = 60, value_parser = clap::value_parser!(u64).range(3..=3600))]
    pub lease_seconds: u64,
    /// Times that an attempt which breaks its worker is tried before it is set aside
    #[arg(long, value_name = "N", env = "PROOFMILL_MAX_TRIES", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_tries: u32,
}

impl PipelineArgs {
    /// The pipeline's configuration.
    pub fn config(&self) -> PipelineConfig {
        PipelineConfig {
            prefetch: self.prefetch,
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
        EngineArgs { trust, pack: None, device: DeviceChoice::Cpu, threads: Some(1), max_batch: None }
    }

    #[test]
    fn named_trust_stores_win_over_those_that_lie_about() {
        let folder = tempfile::tempdir().unwrap();
        let named = PathBuf::from("/somewhere");
        assert_eq!(engine(vec![named.clone()]).trust_paths(&[folder.path()]).unwrap(), vec![named]);
        assert_eq!(engine(vec![]).trust_paths(&[folder.path()]).unwrap(), vec![folder.path().to_owned()]);
        let missing = folder.path().join("none");
        let error = engine(vec![]).trust_paths(&[&missing]).unwrap_err().to_string();
        assert!(error.contains("--trust") && error.contains("none"), "{error}");
    }

    #[test]
    fn the_careful_policy_is_the_default() {
        let args = PolicyArgs { accept_expired: false, accept_unknown_revocation: false };
        assert_eq!(args.policy(), OrganisationPolicy::default());
    }
}
