use std::time::Duration;

use proofmill_contract::{
    AttemptId, AttemptStatus, Checks, FailureCode, Lane, OrganisationId, Phase, SessionId, SessionStatus, Timestamp,
};
use proofmill_vault::SealedRef;

use super::{Answer, Organisation, Session};

/// An attempt to open.
#[derive(Clone)]
pub struct NewAttempt {
    /// Its id, used if none is open.
    pub id: AttemptId,
    /// Of which session.
    pub session_id: SessionId,
    /// Only if the session is this organisation's; `None` for the public route, where the id is the capability.
    pub organisation_id: Option<OrganisationId>,
    /// The active-authentication challenge (ICAO 9303-11 §6.1, RND.IFD).
    pub challenge: [u8; 8],
    /// Until when evidence may be submitted.
    pub handoff_expires_at: Timestamp,
    /// Which queue it will wait in.
    pub lane: Lane,
}

/// A stored attempt: results only.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its id.
    pub id: AttemptId,
    /// Of which session.
    pub session_id: SessionId,
    /// Where it stands.
    pub status: AttemptStatus,
    /// How far it has come.
    pub phase: Phase,
    /// Which queue it waits in.
    pub lane: Lane,
    /// The active-authentication challenge.
    pub challenge: [u8; 8],
    /// Until when evidence may be submitted.
    pub handoff_expires_at: Timestamp,
    /// When evidence was accepted.
    pub submitted_at: Option<Timestamp>,
    /// Why it was rejected, in contract 2's words; `in_contract` gives the session's.
    pub failure_code: Option<FailureCode>,
    /// The sealed key of the server's terminal, if it has begun chip authentication with this attempt's chip.
    pub terminal: Option<SealedRef>,
    /// Its gates, once settled.
    pub checks: Option<Checks>,
    /// Whether it is set aside after repeated system faults.
    pub quarantined: bool,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was settled or cancelled.
    pub completed_at: Option<Timestamp>,
}

impl Attempt {
    /// Whether its handoff is over without evidence, so that it is to be cancelled.
    pub(crate) fn is_stale(&self, now: Timestamp) -> bool {
        self.status == AttemptStatus::InProgress && self.submitted_at.is_none() && self.handoff_expires_at <= now
    }
}

/// An attempt and its session.
#[derive(Clone, Debug)]
pub struct AttemptWithSession {
    /// The attempt.
    pub attempt: Attempt,
    /// Its session.
    pub session: Session,
}

/// What opening an attempt found.
#[derive(Clone, Debug)]
pub enum OpenAttempt {
    /// A new one.
    Opened(Attempt),
    /// One was open and neither submitted nor expired.
    Existing(Attempt),
    /// One was submitted and is not settled.
    InProgress,
    /// The session has ended (an expired session says so here, and its event went out).
    Terminal(SessionStatus),
    /// No such session.
    NotFound,
}

/// What opening one of many attempts found.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Of which session.
    pub session_id: SessionId,
    /// The session, unless there is none in this organisation.
    pub session: Option<Session>,
    /// What was found.
    pub outcome: OpenAttempt,
}

/// Evidence as the store knows it: sealed elsewhere, fingerprinted by a keyed hash.
pub struct Submission {
    /// HMAC over the evidence, to tell a repeat from other bytes.
    pub evidence_fingerprint: [u8; 32],
    /// Where the sealed evidence is, and its wrapped key.
    pub sealed: SealedRef,
    /// What the holder lets go, sorted.
    pub selected_field_keys: Vec<String>,
    /// Which queue it waits in.
    pub lane: Lane,
    /// Whether the evidence is selfies only and relies on the chip evidence kept with the session.
    pub chip_evidence_kept_used: bool,
    /// How long it is left to the caller to publish the job; after that it is due like any other. Zero: due at once.
    pub left_to_caller: Duration,
}

/// A submission on its way into the store.
pub(crate) struct Offer {
    /// To which attempt.
    pub attempt: AttemptId,
    /// What is submitted.
    pub submission: Submission,
    /// The request's answer, to be stored with it.
    pub answer: Option<Answer<SubmitResult>>,
    /// When it was submitted.
    pub now: Timestamp,
}

/// What submitting evidence did.
#[derive(Clone, Debug)]
pub enum SubmitResult {
    /// Stored and in the outbox.
    Accepted(Attempt),
    /// The same bytes were submitted before; the attempt as it is now. Destroy the new sealed object.
    Repeat(Attempt),
    /// Other bytes were submitted before.
    AlreadySubmitted,
    /// The handoff is over.
    HandoffExpired,
    /// Selfies only, but no chip evidence is kept.
    ChipEvidenceRequired,
    /// The session has ended otherwise than by expiry.
    SessionTerminal(SessionStatus),
    /// The session expired.
    SessionExpired,
    /// No such attempt.
    NotFound,
}

/// What binding a terminal's key to an attempt did.
#[derive(Clone, Debug)]
pub enum BindTerminal {
    /// This key is the attempt's.
    Bound,
    /// Another was bound before; the attempt keeps that one. Destroy the new sealed object.
    Existing(SealedRef),
    /// Evidence was submitted: nothing can be bound any more.
    AlreadySubmitted,
    /// The handoff is over.
    HandoffExpired,
    /// The session has ended otherwise than by expiry.
    SessionTerminal(SessionStatus),
    /// The session expired.
    SessionExpired,
    /// No such attempt.
    NotFound,
}

/// An attempt to be published to the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxItem {
    /// Which attempt.
    pub attempt_id: AttemptId,
    /// To which lane.
    pub lane: Lane,
}

/// What asking for a lease gave.
// Boxing the large variant would buy nothing: a lease lives for one verification.
#[allow(clippy::large_enum_variant)]
pub enum Lease {
    /// The attempt is the caller's until the lease ends.
    Acquired(LeasedAttempt),
    /// Another worker holds it.
    HeldByOther {
        /// Until when, unless extended.
        until: Timestamp,
    },
    /// It is decided or cancelled: acknowledge the job.
    Settled,
    /// Set aside after repeated system faults: acknowledge the job.
    Quarantined,
    /// No such attempt, or one without evidence: acknowledge the job.
    Gone,
}

/// Everything a worker needs of an attempt. No `Debug`: it holds wrapped keys.
pub struct LeasedAttempt {
    /// The attempt.
    pub attempt: Attempt,
    /// Its session.
    pub session: Session,
    /// The session's organisation.
    pub organisation: Organisation,
    /// Proof of holding the lease.
    pub token: String,
    /// How often it was leased, this time included.
    pub tries: u32,
    /// How long it waited since evidence was accepted.
    pub waited: Duration,
    /// Its sealed evidence.
    pub sealed: SealedRef,
    /// Whether its evidence is selfies alone, which rely on the chip evidence kept with the session.
    pub selfies_only: bool,
    /// The session's kept chip evidence, if this attempt relies on it.
    pub kept_chip_evidence: Option<SealedRef>,
    /// What the holder lets go, sorted.
    pub selected_field_keys: Vec<String>,
}

/// What is gone of what an attempt needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LostEvidence {
    /// What was sealed for the attempt itself.
    OfAttempt,
    /// The chip evidence kept with its session.
    KeptOfSession,
}

/// An attempt set aside after repeated system faults, or ended because its evidence is gone; its holder is not charged.
#[derive(Clone, Debug)]
pub struct QuarantinedAttempt {
    /// Which attempt.
    pub attempt_id: AttemptId,
    /// Of which session.
    pub session_id: SessionId,
    /// Why.
    pub reason: String,
    /// Since when.
    pub quarantined_at: Timestamp,
    /// How often it was leased.
    pub tries: u32,
}
