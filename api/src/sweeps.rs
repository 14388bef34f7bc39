//! Sweeps: what must happen although nobody asks. Each is idempotent and may run in any number of processes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use proofmill_contract::{Clock, Timestamp};
use proofmill_store::{Store, StoreError};
use proofmill_telemetry::Metrics;
use proofmill_vault::{Vault, VaultError};
use tokio_util::sync::CancellationToken;

/// A session past its time is found by a sweep at least every minute; this leaves room for a slow round.
const INTERVAL: Duration = Duration::from_secs(20);
/// What somebody waits for, or what is to be gone soon. Finding nothing to do costs one look at a partial index and one at a
/// file's length.
const PROMPT: Duration = Duration::from_secs(1);
/// Rows of one transaction: few enough not to hold locks for long. A sweep repeats until less than this is left.
const BATCH: usize = 500;
/// A published job that no worker has leased for this long is taken for lost. Being wrong costs a duplicate delivery.
const LOST_AFTER: Duration = Duration::from_secs(15 * 60);
/// A sealed object without a row may still be on its way into one; after this long it is not.
const ORPHAN_AGE: Duration = Duration::from_secs(60 * 60);
/// Objects looked at in one round, and how often: listing a bucket is not free.
const ORPHAN_BATCH: usize = 2_000;
const ORPHAN_EVERY: u64 = 30;

/// What sweeps work on.
#[derive(Clone)]
pub struct Sweeps {
    /// Sessions, attempts, deliveries.
    pub store: Store,
    /// Sealed objects and epoch keys.
    pub vault: Vault,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// Why a sweep stopped; the next round goes on.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Runs every sweep at intervals until `shutdown`.
pub async fn run_sweeps(sweeps: Sweeps, shutdown: CancellationToken) {
    tokio::join!(sweeps.regularly(&shutdown), sweeps.promptly(&shutdown));
}

impl Sweeps {
    async fn regularly(&self, shutdown: &CancellationToken) {
        let mut round = 0;
        loop {
            self.round(round, shutdown).await;
            round += 1;
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn promptly(&self, shutdown: &CancellationToken) {
        loop {
            let withdrawn = self.count("withdrawals", self.withdrawals(shutdown).await);
            let emptied = self.count("log", self.log().await);
            // A database that is away is not asked, nor its absence logged, every second.
            let pause = if withdrawn && emptied { PROMPT } else { INTERVAL };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Finishes withdrawals that waited for a delivery in flight, whether or not their holder still waits.
    ///
    /// # Errors
    /// The store's.
    pub async fn withdrawals(&self, shutdown: &CancellationToken) -> Result<usize, SweepError> {
        Ok(drain(shutdown, || self.store.finish_withdrawals(self.clock.now(), BATCH)).await?)
    }

    /// Removes what was destroyed (payloads, wrapped keys) from the database's log too.
    ///
    /// # Errors
    /// The store's.
    pub async fn log(&self) -> Result<usize, SweepError> {
        if !self.store.empty_log().await? {
            tracing::debug!("the database's log is in use; it is emptied a moment later");
        }
        Ok(0)
    }

    async fn round(&self, round: u64, shutdown: &CancellationToken) {
        self.count("sessions", self.sessions(shutdown).await);
        self.count("leases", self.lost_jobs(shutdown).await);
        self.count("payloads", self.payloads(shutdown).await);
        self.count("outbox", self.measure().await);
        if round.is_multiple_of(ORPHAN_EVERY) {
            self.count("evidence", self.orphans().await);
            self.count("epochs", self.epoch_keys().await);
        }
    }

    /// Expires sessions and cancels attempts that were opened and not submitted in time.
    ///
    /// # Errors
    /// The store's.
    pub async fn sessions(&self, shutdown: &CancellationToken) -> Result<usize, SweepError> {
        let expired = drain(shutdown, || self.store.expire_due(self.clock.now(), BATCH)).await?;
        let stale = drain(shutdown, || self.store.cancel_stale_handoffs(self.clock.now(), BATCH)).await?;
        Ok(expired + stale)
    }

    /// Puts attempts whose worker or message was lost back into the outbox.
    ///
    /// # Errors
    /// The store's.
    pub async fn lost_jobs(&self, shutdown: &CancellationToken) -> Result<usize, SweepError> {
        let requeued = drain(shutdown, || self.store.requeue_lost(LOST_AFTER, BATCH, self.clock.now())).await?;
        if requeued > 0 {
            tracing::warn!(requeued, "attempts were put back into the outbox: their lease or message was lost");
            self.metrics.leases_expired.inc_by(requeued as u64);
        }
        Ok(requeued)
    }

    /// Ends deliveries whose endpoint has been away for too long, destroys webhook payloads and idempotent answers past their time.
    ///
    /// # Errors
    /// The store's.
    pub async fn payloads(&self, shutdown: &CancellationToken) -> Result<usize, SweepError> {
        let ended = drain(shutdown, || self.store.give_up_deliveries(self.clock.now(), BATCH)).await?;
        self.metrics.webhook_exhausted.inc_by(ended as u64);
        let scrubbed = drain(shutdown, || self.store.scrub_payloads(self.clock.now(), BATCH)).await?;
        Ok(ended + scrubbed + self.store.purge_idempotency(self.clock.now()).await?)
    }

    /// Destroys sealed objects that no row refers to.
    ///
    /// # Errors
    /// The store's and the vault's.
    pub async fn orphans(&self) -> Result<usize, SweepError> {
        self.orphans_before(self.clock.now().minus(ORPHAN_AGE)).await
    }

    /// The same at the start of a process that is the store's only user: nothing can be on its way into a row yet, so
    /// what a process killed between verdict and destruction left behind goes at once.
    ///
    /// # Errors
    /// The store's and the vault's.
    pub async fn left_behind(&self) -> Result<usize, SweepError> {
        self.orphans_before(self.clock.now()).await
    }

    async fn orphans_before(&self, before: Timestamp) -> Result<usize, SweepError> {
        // The listing comes first: an object that is referred to later than that was not in it.
        let objects: Vec<String> =
            self.vault.list_older_than(before, ORPHAN_BATCH).await?.into_iter().map(|found| found.object).collect();
        if objects.is_empty() {
            return Ok(0);
        }
        let referenced: HashSet<String> = self.store.referenced_objects(&objects).await?.into_iter().collect();
        let mut destroyed = 0;
        for object in objects.iter().filter(|object| !referenced.contains(*object)) {
            self.vault.destroy(object).await?;
            destroyed += 1;
        }
        self.metrics.evidence_orphans.inc_by(destroyed);
        self.metrics.evidence_destroyed.inc_by(destroyed);
        Ok(usize::try_from(destroyed).unwrap_or(usize::MAX))
    }

    /// Destroys epoch keys under which nothing is wrapped any more: from then on old dumps and buckets decrypt nothing.
    ///
    /// # Errors
    /// The store's and the vault's.
    pub async fn epoch_keys(&self) -> Result<usize, SweepError> {
        let now = self.clock.now();
        // Keys first, uses second: a use that appears in between is of a key that is kept.
        let existing = self.vault.epochs().list()?;
        let in_use: HashSet<String> = self.store.epochs_in_use().await?.into_iter().collect();
        let mut destroyed = 0;
        for epoch in existing.iter().filter(|epoch| !in_use.contains(*epoch)) {
            match self.vault.epochs().destroy(epoch, now) {
                Ok(()) => destroyed += 1,
                Err(VaultError::EpochInUse(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let left = existing.len().saturating_sub(destroyed);
        self.metrics.epoch_keys.set(i64::try_from(left).unwrap_or(i64::MAX));
        Ok(destroyed)
    }

    /// Tells the metrics what waits and for how long.
    async fn measure(&self) -> Result<usize, SweepError> {
        let now: Timestamp = self.clock.now();
        let backlog = self.store.backlog(now).await?;
        for lane in &backlog.lanes {
            let oldest = lane.oldest.unwrap_or_default().as_secs_f64();
            self.metrics.queue_oldest_seconds.with_label_values(&[lane.lane.as_str()]).set(oldest);
        }
        let outbox = self.store.outbox_oldest(now).await?.unwrap_or_default();
        self.metrics.outbox_oldest_seconds.set(outbox.as_secs_f64());
        self.metrics.outbox_pending.set(i64::try_from(backlog.outbox).unwrap_or(i64::MAX));
        let overdue = backlog.oldest_due_delivery.unwrap_or_default();
        self.metrics.webhook_oldest_due_seconds.set(overdue.as_secs_f64());
        self.metrics.webhook_due.set(i64::try_from(backlog.deliveries_due).unwrap_or(i64::MAX));
        self.metrics.webhook_breakers_open.set(i64::try_from(backlog.breakers_open).unwrap_or(i64::MAX));
        Ok(0)
    }

    /// Counts how a sweep went; whether it went well.
    fn count(&self, sweep: &'static str, result: Result<usize, SweepError>) -> bool {
        let well = result.is_ok();
        let label = match result {
            Ok(items) => {
                self.metrics.swept.with_label_values(&[sweep]).inc_by(items as u64);
                "ok"
            }
            Err(error) => {
                tracing::warn!(sweep, %error, "a sweep failed; the next round tries again");
                "failed"
            }
        };
        self.metrics.sweeps.with_label_values(&[sweep, label]).inc();
        well
    }
}

/// Repeats a bounded step until it finds less than its bound.
async fn drain<F, Fut>(shutdown: &CancellationToken, mut step: F) -> Result<usize, StoreError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<usize, StoreError>>,
{
    let mut total = 0;
    while !shutdown.is_cancelled() {
        let done = step().await?;
        total += done;
        if done < BATCH {
            break;
        }
    }
    Ok(total)
}
