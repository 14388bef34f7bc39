//! Outbox to queue: publishes what the store says is due, and marks it published only when the queue has confirmed it.
//!
//! A crash between the two publishes a job twice, which a worker's lease makes harmless; the other order could lose one.

use std::sync::Arc;
use std::time::Duration;

use proofmill_contract::{AttemptId, Clock};
use proofmill_queue::{JobRef, Queue};
use proofmill_store::{Store, StoreError};
use proofmill_telemetry::Metrics;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Jobs published with their confirmations pipelined.
const BATCH: usize = 512;
/// How long another relay leaves a claimed row alone: longer than any publish takes to be confirmed or to fail.
const CLAIM: Duration = Duration::from_secs(60);
/// How often the outbox is looked at when nobody calls: rows of a process that died are found this way.
const TICK: Duration = Duration::from_secs(1);
/// Pauses after a failure, doubling.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Runs until `shutdown`. Any number of relays may run beside each other.
pub async fn run_relay(
    store: Store,
    queue: Queue,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    wakeup: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let mut backoff = FIRST_BACKOFF;
    while !shutdown.is_cancelled() {
        let stats = queue.stats();
        metrics.queue_connected.set(i64::from(stats.connected));
        metrics.queue_reconnects.set(i64::try_from(stats.reconnects).unwrap_or(i64::MAX));
        let pause = match relay_once(&store, &queue, clock.as_ref(), &metrics).await {
            Ok(Relayed { failed: 0, published }) => {
                backoff = FIRST_BACKOFF;
                if published > 0 {
                    continue;
                }
                None
            }
            Ok(Relayed { failed, .. }) => {
                tracing::warn!(failed, "the queue did not take every job; they stay in the outbox");
                Some(backoff)
            }
            Err(error) => {
                tracing::warn!(%error, "the outbox cannot be read");
                Some(backoff)
            }
        };
        match pause {
            None => tokio::select! {
                () = wakeup.notified() => {}
                () = tokio::time::sleep(TICK) => {}
                () = shutdown.cancelled() => {}
            },
            Some(pause) => {
                backoff = (backoff * 2).min(LONGEST_BACKOFF);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = shutdown.cancelled() => {}
                }
            }
        }
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

/// One round: claims what is due, publishes it, records what was confirmed.
///
/// # Errors
/// The store's; what was claimed comes back when the claim ends.
pub async fn relay_once(
    store: &Store,
    queue: &Queue,
    clock: &dyn Clock,
    metrics: &Metrics,
) -> Result<Relayed, StoreError> {
    let due = store.outbox_due(BATCH, CLAIM, clock.now()).await?;
    if due.is_empty() {
        return Ok(Relayed { published: 0, failed: 0 });
    }
    let jobs: Vec<JobRef> = due.into_iter().map(|item| JobRef::new(item.attempt_id, item.lane)).collect();
    let results = queue.publish(&jobs).await;
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
    metrics.publishes.with_label_values(&["ok"]).inc_by(published.len() as u64);
    metrics.publishes.with_label_values(&["failed"]).inc_by(failed.len() as u64);
    if !published.is_empty() {
        store.mark_published(&published, clock.now()).await?;
    }
    if !failed.is_empty() {
        store.release_outbox(&failed, clock.now()).await?;
    }
    Ok(Relayed { published: published.len(), failed: failed.len() })
}
