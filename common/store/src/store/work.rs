//! The worker's side: outbox, leases, settle.

use std::sync::Arc;
use std::time::Duration;

use proofmill_contract::{AttemptId, Timestamp};

use super::{Store, run};
use crate::error::StoreError;
use crate::model::{Lease, LostEvidence, OutboxItem, QuarantinedAttempt, SettleResult, Verdict};

/// Verdicts written in one transaction: enough to share a commit, few enough not to hold locks for long.
const SETTLE_GROUP: usize = 128;

/// Payloads written with them.
const SETTLE_BYTES: usize = 8 << 20;

/// Every method fails with `Unavailable` when the database does; other errors are named where they occur.
impl Store {
    /// Attempts to publish, interactive ones first, then the oldest, claimed for `claim_for`: two relays mostly do not publish one twice, and
    /// what a dead relay claimed comes back.
    pub async fn outbox_due(
        &self,
        limit: usize,
        claim_for: Duration,
        now: Timestamp,
    ) -> Result<Vec<OutboxItem>, StoreError> {
        run!(self, write, outbox::due(limit, claim_for, now))
    }

    /// The broker has confirmed these.
    pub async fn mark_published(&self, ids: &[AttemptId], now: Timestamp) -> Result<usize, StoreError> {
        let ids = ids.to_vec();
        run!(self, write_at_once, outbox::mark_published(&ids, now))
    }

    /// The broker has not taken these: due again now.
    pub async fn release_outbox(&self, ids: &[AttemptId], now: Timestamp) -> Result<usize, StoreError> {
        let ids = ids.to_vec();
        run!(self, write, outbox::release(&ids, now))
    }

    /// How long the oldest attempt has waited for the relay.
    pub async fn outbox_oldest(&self, now: Timestamp) -> Result<Option<Duration>, StoreError> {
        run!(self, read_by_key, outbox::oldest(now))
    }

    /// Back to the outbox: attempts whose lease ended without a verdict, and those published `lost_after` ago that
    /// no worker ever leased. A job that was not lost after all is then delivered twice, which is harmless.
    pub async fn requeue_lost(&self, lost_after: Duration, limit: usize, now: Timestamp) -> Result<usize, StoreError> {
        run!(self, write, outbox::requeue_lost(lost_after, limit, now))
    }

    /// Back to the outbox: every accepted attempt without a verdict, leases ended. Only for the start of a process
    /// that is alone with its store and whose queue died with its predecessor.
    pub async fn requeue_unsettled(&self, now: Timestamp) -> Result<usize, StoreError> {
        run!(self, write, outbox::requeue_unsettled(now))
    }

    /// Takes the lease of an attempt.
    pub async fn acquire_lease(
        &self,
        id: &AttemptId,
        lease_for: Duration,
        now: Timestamp,
    ) -> Result<Lease, StoreError> {
        let id = id.clone();
        run!(self, write, leases::acquire(&id, lease_for, now))
    }

    /// Extends a lease; `false` if it was lost.
    pub async fn extend_lease(&self, id: &AttemptId, token: &str, until: Timestamp) -> Result<bool, StoreError> {
        let (id, token) = (id.clone(), token.to_owned());
        run!(self, write, leases::extend(&id, &token, until))
    }

    /// Gives a lease back without a verdict; the job stays in the queue. `false` if it was lost.
    pub async fn release_lease(&self, id: &AttemptId, token: &str, now: Timestamp) -> Result<bool, StoreError> {
        let (id, token) = (id.clone(), token.to_owned());
        run!(self, write, leases::release(&id, &token, now))
    }

    /// Sets an attempt aside after repeated system faults. Its holder is not charged. `false` if the lease was lost.
    pub async fn quarantine(
        &self,
        id: &AttemptId,
        token: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (id, token, reason) = (id.clone(), token.to_owned(), reason.to_owned());
        run!(self, write, leases::quarantine(&id, &token, &reason, now))
    }

    /// Attempts set aside, oldest first.
    pub async fn list_quarantined(&self, limit: usize) -> Result<Vec<QuarantinedAttempt>, StoreError> {
        run!(self, read, leases::list_quarantined(limit))
    }

    /// Sends an attempt that was set aside back to the outbox with its tries forgotten.
    pub async fn requeue_quarantined(&self, id: &AttemptId, now: Timestamp) -> Result<bool, StoreError> {
        let id = id.clone();
        run!(self, write, leases::requeue_quarantined(&id, now))
    }

    /// Ends an attempt whose evidence is gone for good as `cancelled`, which charges nobody: its holder may begin another.
    /// What an operator should know is kept with it. Without the session's kept chip evidence too, if it is that which is gone. Gives back
    /// sealed objects that nothing refers to now; `None` if the lease was lost.
    pub async fn give_up(
        &self,
        id: &AttemptId,
        token: &str,
        lost: LostEvidence,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let (id, token, reason) = (id.clone(), token.to_owned(), reason.to_owned());
        run!(self, write, leases::give_up(&id, &token, lost, &reason, now))
    }

    /// Attempts that ended because their evidence was gone, newest first.
    pub async fn list_given_up(&self, limit: usize) -> Result<Vec<QuarantinedAttempt>, StoreError> {
        run!(self, read, leases::list_given_up(limit))
    }

    /// Writes verdicts. Results are in the order of the verdicts; a refused verdict does not touch its neighbours.
    ///
    /// # Errors
    /// `Unavailable`: nothing of the failing group was written as far as is known; calling again is safe.
    pub async fn settle(&self, verdicts: Vec<Verdict>, now: Timestamp) -> Result<Vec<SettleResult>, StoreError> {
        let verdicts: Vec<Arc<Verdict>> = verdicts.into_iter().map(Arc::new).collect();
        let mut results = Vec::with_capacity(verdicts.len());
        while let Some(rest) = verdicts.get(results.len()..).filter(|rest| !rest.is_empty()) {
            let group = rest.chunks(SETTLE_GROUP).next().unwrap_or_default();
            let settled = self.settle_first(group, SETTLE_BYTES, now).await?;
            results.extend(settled);
        }
        Ok(results)
    }

    /// Writes the first ones of these verdicts in one transaction, the only place where an attempt gets one: one at least, and
    /// as many as fit into `most_bytes` of payloads, so that no other transaction waits for long. Results are those of the first
    /// ones, in order; the others are as before.
    ///
    /// # Errors
    /// `Unavailable`: nothing was written as far as is known; calling again is safe.
    pub async fn settle_first(
        &self,
        verdicts: &[Arc<Verdict>],
        most_bytes: usize,
        now: Timestamp,
    ) -> Result<Vec<SettleResult>, StoreError> {
        let group = verdicts.to_vec();
        run!(self, write, settle::settle(&group, most_bytes, now))
    }
}
