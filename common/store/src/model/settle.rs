use proofmill_contract::events::EventType;
use proofmill_contract::{AttemptId, Checks, Outcome, SessionStatus};
use proofmill_vault::SealedRef;

use super::IdKeyVersions;

/// A decision to be written. No `Debug`: the claims are personal data.
pub struct Verdict {
    /// Which attempt.
    pub attempt_id: AttemptId,
    /// The lease under which it was decided.
    pub lease_token: String,
    /// What was decided.
    pub outcome: Outcome,
    /// The gates.
    pub checks: Checks,
    /// The selected claims of an accepted attempt; they leave only inside the webhook's JWE.
    pub claims: Option<serde_json::Value>,
    /// Under which keys the claims' derived ids were made.
    pub id_key_versions: Option<IdKeyVersions>,
    /// Chip evidence that passed, re-sealed, in case the session goes on with selfies only.
    pub kept_chip_evidence: Option<SealedRef>,
}

/// What writing a verdict did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleResult {
    /// Written.
    Settled {
        /// The session's status now.
        session_status: SessionStatus,
        /// The event that went out, if one did.
        event: Option<EventType>,
        /// Deliveries created for it.
        deliveries: usize,
        /// Sealed objects that nothing refers to any more; destroy them.
        discarded: Vec<String>,
    },
    /// This attempt has its verdict already; nothing was written. Acknowledge the job.
    AlreadySettled,
    /// Another worker took the lease over; nothing was written.
    LostLease,
    /// The session was cancelled or expired meanwhile; nothing was written. Acknowledge the job.
    SessionEnded,
    /// The database refused this verdict, or it is not one that may be written; its neighbours are not affected.
    Conflict(String),
}
