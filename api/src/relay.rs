//! Outbox to queue: publishes what the store says is due, and marks it published only when the queue has confirmed it.
//!
//! A crash between the two publishes a job twice, which a worker's lease makes harmless; the other order could lose one.

use std::sync::Arc;
use std::time::Duration;

use proofmill_contract::{AttemptId, Clock};
use proofmill_queue::{JobRef, Queue};
use proofmill_store::{Store, StoreError};
use proofmill_telemetry::Metrics;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::outbox::Outbox;

/// Jobs published with their confirmations pipelined.
const BATCH: usize = 512;
/// How long another relay leaves a claimed row alone: longer than any publish takes to be confirmed or to fail.
const CLAIM: Duration = Duration::from_secs(60);
/// How often the store is looked at for rows that nobody told of: those of a process that died, and those put back.
const TICK: Duration = Duration::from_secs(1);
/// How long jobs gather before a round: they share the broker's sync of its disk, and the transaction that marks them.
const GATHER: Duration = Duration::from_millis(4);
/// Pauses after a failure, doubling.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Runs until `shutdown`. Any number of relays may run beside each other.
pub async fn run_relay(
    store: Store,
    queue: Queue,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    outbox: Arc<Outbox>,
    shutdown: CancellationToken,
) {
    let relay = Relay { store: &store, queue: &queue, clock: clock.as_ref(), metrics: &metrics, outbox: &outbox };
    let mut backoff = FIRST_BACKOFF;
    let mut look_at = Instant::now();
    while !shutdown.is_cancelled() {
        let stats = queue.stats();
        metrics.queue_connected.set(i64::from(stats.connected));
        metrics.queue_reconnects.set(i64::try_from(stats.reconnects).unwrap_or(i64::MAX));
        let look = look_at <= Instant::now();
        let pause = match relay.round(look).await {
            Ok((Relayed { failed: 0, .. }, found)) => {
                backoff = FIRST_BACKOFF;
                if look && found == 0 {
                    look_at = Instant::now() + TICK;
                }
                None
            }
            Ok((Relayed { failed, .. }, _)) => {
                tracing::warn!(failed, "the queue did not take every job; they stay in the outbox");
                look_at = Instant::now();
                Some(backoff)
            }
            Err(error) => {
                tracing::warn!(%error, "the outbox cannot be read");
                Some(backoff)
            }
        };
        let wait = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    // Until the next look at the latest; at once when the last one found something.
                    let _ = tokio::time::timeout_at(look_at, outbox.filled()).await;
                    tokio::time::sleep(GATHER).await;
                }
            }
        };
        if pause.is_some() {
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
        tokio::select! {
            () = wait => {}
            () = shutdown.cancelled() => {}
        }
    }
    // For another relay, at once. Those that are not told of become due by themselves.
    let left: Vec<AttemptId> = outbox.take(usize::MAX).into_iter().map(|job| job.attempt_id).collect();
    if !left.is_empty()
        && let Err(error) = store.release_outbox(&left, clock.now()).await
    {
        tracing::warn!(%error, jobs = left.len(), "jobs were not given to another relay; they are due in some seconds");
    }
}

/// What one round did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// Jobs that the queue confirmed.
    pub published: usize,
    /// Jobs that it did not.
    pub failed: usize,
}

/// One round: takes what was accepted here, claims what is due in the store, publishes it, records what was confirmed.
///
/// # Errors
/// The store's; what was taken or claimed comes back when its time has passed.
pub async fn relay_once(
    store: &Store,
    queue: &Queue,
    clock: &dyn Clock,
    metrics: &Metrics,
    outbox: &Outbox,
) -> Result<Relayed, StoreError> {
    Ok(Relay { store, queue, clock, metrics, outbox }.round(true).await?.0)
}

struct Relay<'a> {
    store: &'a Store,
    queue: &'a Queue,
    clock: &'a dyn Clock,
    metrics: &'a Metrics,
    outbox: &'a Outbox,
}

impl Relay<'_> {
    /// What it did, and how many jobs the store had, if it is to be looked at.
    async fn round(&self, look: bool) -> Result<(Relayed, usize), StoreError> {
        let mut jobs: Vec<JobRef> = Vec::new();
        if look {
            let due = self.store.outbox_due(BATCH, CLAIM, self.clock.now()).await?;
            jobs.extend(due.into_iter().map(|item| JobRef::new(item.attempt_id, item.lane)));
        }
        let found = jobs.len();
        jobs.extend(self.outbox.take(BATCH));
        Ok((self.publish(jobs).await?, found))
    }

    async fn publish(&self, jobs: Vec<JobRef>) -> Result<Relayed, StoreError> {
        if jobs.is_empty() {
            return Ok(Relayed { published: 0, failed: 0 });
        }
        let results = self.queue.publish(&jobs).await;
        let mut published: Vec<AttemptId> = Vec::with_capacity(jobs.len());
        let mut failed: Vec<AttemptId> = Vec::new();
        for (index, job) in jobs.into_iter().enumerate() {
            match results.get(index) {
                Some(Ok(())) => published.push(job.attempt_id),
                Some(Err(error)) => {
                    tracing::debug!(attempt_id = %job.attempt_id, %error, "not published");
                    failed.push(job.attempt_id);
                }
                None => failed.push(job.attempt_id),
            }
        }
        self.metrics.publishes.with_label_values(&["ok"]).inc_by(published.len() as u64);
        self.metrics.publishes.with_label_values(&["failed"]).inc_by(failed.len() as u64);
        if !published.is_empty() {
            self.store.mark_published(&published, self.clock.now()).await?;
        }
        if !failed.is_empty() {
            self.store.release_outbox(&failed, self.clock.now()).await?;
        }
        Ok(Relayed { published: published.len(), failed: failed.len() })
    }
}
