//! Sweeps: idempotent, run by any number of processes.

use proofmill_contract::Timestamp;

use super::{Pool, Store, run};
use crate::error::StoreError;
use crate::model::Backlog;

/// Every method fails with `Unavailable` when the database does; other errors are named where they occur.
impl Store {
    /// Expires sessions past their time, except those whose evidence was accepted in time and waits for its verdict.
    pub async fn expire_due(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        run!(self, write, expiry::expire_due(now, limit))
    }

    /// Cancels attempts that were opened and not submitted in time; nobody is charged.
    pub async fn cancel_stale_handoffs(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        run!(self, write, expiry::cancel_stale_handoffs(now, limit))
    }

    /// Finishes withdrawals that waited for a delivery in flight, once it has ended or its time is over; so many of
    /// `limit`.
    pub async fn finish_withdrawals(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        // Asked first: almost always there is none, and the writer's place is not taken.
        if run!(self, read, cancel::ready_withdrawals(now, 1))?.is_empty() {
            return Ok(0);
        }
        run!(self, write, cancel::finish_withdrawals(now, limit))
    }

    /// Removes what was destroyed from the database's own log as well: a row's old bytes stand in SQLite's write-ahead
    /// log until it is emptied. `false` if somebody was reading or writing for too long; the next call tries again.
    /// PostgreSQL manages its log itself.
    pub async fn empty_log(&self) -> Result<bool, StoreError> {
        match self.pool.clone() {
            Pool::Sqlite(pool) => super::blocking(move || pool.empty_log()).await,
            Pool::Postgres(_) => Ok(true),
        }
    }

    /// Destroys payloads whose retention is over.
    pub async fn scrub_payloads(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        run!(self, write, deliveries::scrub_payloads(now, limit))
    }

    /// Removes idempotency keys past their 24 hours.
    pub async fn purge_idempotency(&self, now: Timestamp) -> Result<usize, StoreError> {
        run!(self, write, idempotency::purge(now))
    }

    /// Of these sealed objects, those that an unsettled attempt or a session still refers to; the others are orphans.
    pub async fn referenced_objects(&self, objects: &[String]) -> Result<Vec<String>, StoreError> {
        let objects = objects.to_vec();
        run!(self, read, sweeps::referenced_objects(&objects))
    }

    /// Epochs under whose key something is still wrapped.
    pub async fn epochs_in_use(&self) -> Result<Vec<String>, StoreError> {
        run!(self, read, sweeps::epochs_in_use())
    }

    /// What is waiting.
    pub async fn backlog(&self, now: Timestamp) -> Result<Backlog, StoreError> {
        run!(self, read, sweeps::backlog(now))
    }
}
