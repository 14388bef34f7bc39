//! The two state machines: what an attempt's outcome does to its session.
//!
//! | | contract 1 | contract 2 |
//! |---|---|---|
//! | accepted | `completed`, `attempt.succeeded` | `succeeded`, `session.succeeded` |
//! | rejected, hard kill | counts as a rejected attempt | `failed` at once, counters untouched |
//! | rejected, 1st and 2nd | `in_progress`, `attempt.failed` | counter +1, `in_progress`, no event |
//! | rejected, 3rd | `completed`, `attempt.failed` | counter 3, `failed`, `session.failed` |
//!
//! A system fault is not an outcome: it is retried and never reaches this module.
//!
//! `STATES.md` beside this crate shows every state with everything that can happen to it; [`Life`] is that as a value.

mod endings;
mod life;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::events::EventType;
use crate::limits::MAX_TRIES;

pub use endings::{
    CancelToken, Ending, HolderCancel, Receipt, Withdrawal, begin, cancel, expire, holder_cancel, withdraw,
};
pub use life::{Effect, Happening, Life, OpenAttempt};

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The value as it is published and stored.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownValue;
            fn from_str(text: &str) -> Result<Self, UnknownValue> {
                $name::ALL.iter().copied().find(|v| v.as_str() == text)
                    .ok_or(UnknownValue { kind: stringify!($name) })
            }
        }
    };
}

/// A text that is none of an enumeration's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a value of {kind}")]
pub struct UnknownValue {
    pub(crate) kind: &'static str,
}

/// Which generation of the contract a session lives under, for life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum ContractVersion {
    /// The unit of retry is the whole attempt, three per session.
    V1,
    /// Retries are counted per check.
    #[default]
    V2,
}

impl TryFrom<u8> for ContractVersion {
    type Error = UnknownValue;
    fn try_from(number: u8) -> Result<Self, UnknownValue> {
        match number {
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            _ => Err(UnknownValue { kind: "ContractVersion" }),
        }
    }
}

impl From<ContractVersion> for u8 {
    fn from(version: ContractVersion) -> u8 {
        match version {
            ContractVersion::V1 => 1,
            ContractVersion::V2 => 2,
        }
    }
}

text_enum! {
    /// Where a session stands.
    SessionStatus {
        /// No evidence yet.
        Created = "created",
        /// Evidence was accepted or the write token first used.
        InProgress = "in_progress",
        /// Contract 1: ended with an accepted attempt or the third rejection.
        Completed = "completed",
        /// Contract 2: ended with an accepted attempt.
        Succeeded = "succeeded",
        /// Contract 2: ended without one.
        Failed = "failed",
        /// Its hour passed.
        Expired = "expired",
        /// Withdrawn.
        Cancelled = "cancelled",
    }
}

impl SessionStatus {
    /// Whether nothing can follow, a privacy withdrawal aside.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, SessionStatus::Created | SessionStatus::InProgress)
    }
}

text_enum! {
    /// Where an attempt stands.
    AttemptStatus {
        /// Open or being verified.
        InProgress = "in_progress",
        /// Accepted.
        Succeeded = "succeeded",
        /// Rejected.
        Failed = "failed",
        /// Never decided: handoff or session ended first. Not charged.
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// How far an attempt has come.
    Phase {
        /// Opened; no evidence yet.
        AwaitingEvidence = "awaiting_evidence",
        /// Evidence accepted.
        Queued = "queued",
        /// Held by a worker.
        Verifying = "verifying",
        /// Decided, or cancelled.
        Settled = "settled",
    }
}

text_enum! {
    /// Which queue an attempt waits in.
    Lane {
        /// Somebody stands before a phone.
        Interactive = "interactive",
        /// Batch submissions.
        Bulk = "bulk",
    }
}

text_enum! {
    /// Why an attempt was rejected, in contract 2's words.
    FailureCode {
        /// Passive authentication, or evidence that is no document.
        DocumentAuthenticityFailed = "document_authenticity_failed",
        /// Active authentication.
        DocumentActiveAuthenticationFailed = "document_active_authentication_failed",
        /// Chip authentication.
        DocumentChipAuthenticationFailed = "document_chip_authentication_failed",
        /// The reader's statement: a hard kill.
        DocumentAntiCloningAttestationFailed = "document_anti_cloning_attestation_failed",
        /// Content, dates, expiry, unusable portrait.
        DocumentDataInvalid = "document_data_invalid",
        /// Selfie quality, number of faces, replayed portrait.
        LivenessFailed = "liveness_failed",
        /// Another person.
        SelfieFaceMismatch = "selfie_face_mismatch",
    }
}

impl FailureCode {
    /// The code in the words of a contract version; contract 1 has fewer of them.
    pub const fn in_contract(self, version: ContractVersion) -> &'static str {
        match version {
            ContractVersion::V2 => self.as_str(),
            ContractVersion::V1 => match self {
                FailureCode::DocumentAuthenticityFailed
                | FailureCode::DocumentAntiCloningAttestationFailed
                | FailureCode::DocumentDataInvalid => "passport_authenticity_failed",
                FailureCode::DocumentActiveAuthenticationFailed => "passport_active_authentication_failed",
                FailureCode::DocumentChipAuthenticationFailed => "passport_chip_authentication_failed",
                FailureCode::LivenessFailed | FailureCode::SelfieFaceMismatch => "selfie_face_mismatch",
            },
        }
    }

    /// Whether it says nothing against the chip: chip evidence that passed stands, and under contract 2 the next attempt
    /// may bring selfies alone.
    pub const fn leaves_chip_evidence(self) -> bool {
        matches!(self.counter(), Some(Check::Liveness))
    }

    /// Which counter a rejection with this code raises; none for a hard kill.
    const fn counter(self) -> Option<Check> {
        match self {
            FailureCode::DocumentAuthenticityFailed
            | FailureCode::DocumentActiveAuthenticationFailed
            | FailureCode::DocumentChipAuthenticationFailed
            | FailureCode::DocumentDataInvalid => Some(Check::Nfc),
            FailureCode::LivenessFailed | FailureCode::SelfieFaceMismatch => Some(Check::Liveness),
            FailureCode::DocumentAntiCloningAttestationFailed => None,
        }
    }
}

enum Check {
    Nfc,
    Liveness,
}

/// What was decided of one attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Every gate held.
    Accepted,
    /// The first failing gate.
    Rejected(FailureCode),
}

/// How often a session's user has tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Failed chip reads, 0 to 3.
    pub nfc_tries_used: u32,
    /// Failed selfies, 0 to 3.
    pub liveness_tries_used: u32,
    /// Rejected attempts, 0 to 3 (contract 1 counts these).
    pub rejected_attempts: u32,
}

/// What settling an attempt does to its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// The session's next status.
    pub session: SessionStatus,
    /// The session's next counters.
    pub counters: Counters,
    /// The session's failure code, once it ended without an accepted attempt.
    pub session_failure: Option<FailureCode>,
    /// The attempt's status.
    pub attempt: AttemptStatus,
    /// The event that goes out, if one does.
    pub event: Option<EventType>,
}

/// Applies an outcome to a session that is `in_progress`. `None` when it is in any other state: the
/// settle lost a race with cancel or expiry, and writes nothing.
pub fn settle(
    version: ContractVersion,
    status: SessionStatus,
    counters: Counters,
    outcome: Outcome,
) -> Option<Settled> {
    if status != SessionStatus::InProgress {
        return None;
    }
    let code = match outcome {
        Outcome::Accepted => {
            let (session, event) = match version {
                ContractVersion::V1 => (SessionStatus::Completed, EventType::AttemptSucceeded),
                ContractVersion::V2 => (SessionStatus::Succeeded, EventType::SessionSucceeded),
            };
            return Some(Settled {
                session,
                counters,
                session_failure: None,
                attempt: AttemptStatus::Succeeded,
                event: Some(event),
            });
        }
        Outcome::Rejected(code) => code,
    };

    let mut next = counters;
    next.rejected_attempts = raise(next.rejected_attempts);
    let check_exhausted = match code.counter() {
        Some(Check::Nfc) => {
            next.nfc_tries_used = raise(next.nfc_tries_used);
            next.nfc_tries_used == MAX_TRIES
        }
        Some(Check::Liveness) => {
            next.liveness_tries_used = raise(next.liveness_tries_used);
            next.liveness_tries_used == MAX_TRIES
        }
        None => true,
    };
    let ends = match version {
        ContractVersion::V1 => next.rejected_attempts == MAX_TRIES,
        ContractVersion::V2 => check_exhausted,
    };
    let (session, event) = match (version, ends) {
        (ContractVersion::V1, true) => (SessionStatus::Completed, Some(EventType::AttemptFailed)),
        (ContractVersion::V1, false) => (SessionStatus::InProgress, Some(EventType::AttemptFailed)),
        (ContractVersion::V2, true) => (SessionStatus::Failed, Some(EventType::SessionFailed)),
        (ContractVersion::V2, false) => (SessionStatus::InProgress, None),
    };
    Some(Settled {
        session,
        counters: next,
        session_failure: ends.then_some(code),
        attempt: AttemptStatus::Failed,
        event,
    })
}

/// One more, never above the limit: a counter above three must not exist even if a bug calls twice.
fn raise(count: u32) -> u32 {
    (count + 1).min(MAX_TRIES)
}

#[cfg(test)]
mod tests;
