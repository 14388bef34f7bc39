//! The road of an attempt through a worker: intake, open, judge, settle, destroy, acknowledge.
//!
//! What holds whatever happens:
//!
//! * a delivery becomes work only under a lease, and a verdict is written only while that lease is held;
//! * evidence is destroyed after the verdict is committed, and the delivery acknowledged after that, so that a crash
//!   anywhere leads to redelivery and never to a loss;
//! * a fault of ours writes nothing and charges nobody: the attempt comes again, later;
//! * an attempt that may have broken its worker runs while nothing else is in flight, and is set aside after a few tries,
//!   so that it cannot take its neighbours along.

mod chip_evidence;
mod heartbeat;
mod intake;
mod isolation;
mod settler;
mod work;

use std::sync::Arc;
use std::time::Duration;

use proofmill_contract::{Clock, Lane};
use proofmill_queue::Queue;
use proofmill_store::Store;
use proofmill_telemetry::Metrics;
use proofmill_vault::{DeploymentKey, Vault};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

use self::isolation::Isolation;
use self::settler::Settler;

/// How a pipeline works.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// Attempts held at once per lane: a few face batches.
    pub prefetch: u16,
    /// How long an attempt is ours without a sign of life; extended while it is worked on.
    pub lease: Duration,
    /// Times that an attempt which breaks its worker is tried before it is set aside.
    pub max_tries: u32,
    /// Times that an attempt is leased at all before it is set aside: it bounds what a process that is killed each time
    /// cannot count for itself.
    pub max_leases: u32,
    /// Verdicts written in one transaction, at most.
    pub settle_group: usize,
    /// Bytes of webhook payloads written in one transaction, or those of one verdict.
    pub settle_bytes: usize,
    /// Delay before the first retry after a fault of ours; doubled each time.
    pub retry_base: Duration,
    /// The longest such delay.
    pub retry_cap: Duration,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            prefetch: 32,
            lease: Duration::from_secs(60),
            max_tries: 3,
            max_leases: 12,
            settle_group: 64,
            settle_bytes: 8 << 20,
            retry_base: Duration::from_secs(1),
            retry_cap: Duration::from_secs(300),
        }
    }
}

/// What a pipeline works with.
#[derive(Clone)]
pub struct Parts {
    /// Leases and verdicts.
    pub store: Store,
    /// Jobs.
    pub queue: Queue,
    /// Sealed evidence.
    pub vault: Vault,
    /// Opens the organisations' keys for derived ids.
    pub deployment: Arc<DeploymentKey>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Judges.
    pub engine: Arc<Engine>,
    /// Told when a verdict has webhooks to send, so that a sender in this process need not wait for its next look.
    pub webhooks_due: Arc<Notify>,
}

/// A worker's pipeline.
pub struct Pipeline {
    parts: Parts,
    config: PipelineConfig,
}

impl Pipeline {
    /// A pipeline over its parts.
    pub fn new(parts: Parts, config: PipelineConfig) -> Self {
        Self { parts, config }
    }

    /// Works until `shutdown`, then drains: stops consuming, gives back what was not begun, finishes, settles and
    /// acknowledges the rest.
    pub async fn run(self, shutdown: CancellationToken) {
        let Parts { store, clock, metrics, .. } = &self.parts;
        let (settler, writing) = Settler::start(store, clock, metrics, &self.config);
        let shared = Arc::new(Shared { parts: self.parts, config: self.config, settler, isolation: Isolation::new() });
        let lanes = Lane::ALL.iter().map(|&lane| intake::run(shared.clone(), lane, shutdown.clone()));
        futures::future::join_all(lanes).await;
        // The last sender of verdicts goes with the last attempt; the settler then ends by itself.
        drop(shared);
        for task in writing {
            if task.await.is_err() {
                tracing::error!("a settling task panicked");
            }
        }
    }
}

/// What every attempt in flight shares.
struct Shared {
    parts: Parts,
    config: PipelineConfig,
    settler: Settler,
    isolation: Isolation,
}
