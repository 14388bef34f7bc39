//! Spans and bounds that are the store's own.

use std::time::Duration;

/// How long accepted evidence can defer its session's expiry. Epoch keys are destroyed 48 h after they began, and
/// evidence whose key is gone can never be verified: waiting longer would keep its session open for ever.
pub(crate) const EVIDENCE_LIFE: Duration = Duration::from_secs(47 * 60 * 60);

/// Tries of a delivery schedule.
pub(crate) const DELIVERY_TRIES: i32 = proofmill_contract::limits::DELIVERY_DELAYS.len() as i32;

/// The longest that a schedule can take, jitter included.
pub(crate) fn longest_schedule() -> Duration {
    proofmill_contract::limits::DELIVERY_DELAYS.iter().sum::<Duration>().mul_f64(1.2)
}

/// Secrets of an endpoint that sign at once, the current one included: each rotated one does for its 24 h, and every one makes
/// the signature headers longer.
pub const MAX_SIGNING_SECRETS: usize = 8;

/// Endpoints of an organisation that are not deleted. A verdict is encrypted to each within the transaction that writes it, so
/// that many would make the settling of everybody's verdicts slow.
pub const MAX_ENDPOINTS: usize = 50;

/// Characters of an error text that is stored.
pub(crate) const ERROR_CHARS: usize = 200;

/// Rows that one statement names at most: SQLite takes 32,766 parameters, PostgreSQL 65,535.
pub(crate) const MAX_BATCH: usize = 1_000;

/// Bytes of payloads that one statement inserts, or those of one delivery: they are in memory several times while it is sent, and
/// PostgreSQL takes no more than 1 GiB.
pub(crate) const STATEMENT_BYTES: usize = 4 << 20;

/// What a delivery costs beside its payload, in bytes of payload: wrapping a key and writing a row.
pub(crate) const DELIVERY_COST: usize = 16 << 10;

/// Submissions that share a transaction: enough to share its statements and its commit, few enough not to hold locks for long.
pub(crate) const GROUP_SUBMISSIONS: usize = 64;

/// Reads of one row that share a statement.
pub(crate) const GROUP_READS: usize = 64;

/// Groups of one kind under way at once. One: while it waits for the server the next one grows, and a larger group costs
/// everybody less.
pub(crate) const GROUPS_AT_ONCE: usize = 1;

/// A caller's batch size as SQL takes it.
pub(crate) fn sql_limit(limit: usize) -> i64 {
    limit.min(MAX_BATCH) as i64
}

/// A text short enough to store.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(ERROR_CHARS).collect()
}

/// A fresh lease token: 165 random bits.
pub(crate) fn lease_token() -> String {
    proofmill_contract::ids::random_text(32, &mut rand::rng())
}
