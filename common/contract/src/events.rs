//! Events and the plaintext of their webhooks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ids::{AttemptId, EventId, SessionId};
use crate::session::{ContractVersion, Counters, FailureCode, UnknownValue};

macro_rules! event_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The six event types.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum EventType { $($(#[$doc])* #[serde(rename = $text)] $name,)* }

        impl EventType {
            /// Every type.
            pub const ALL: &'static [EventType] = &[$(EventType::$name,)*];

            /// The type as published.
            pub const fn as_str(self) -> &'static str {
                match self { $(EventType::$name => $text,)* }
            }
        }
    };
}

event_types! {
    /// Contract 1: accepted.
    AttemptSucceeded = "verification.attempt.succeeded",
    /// Contract 1: rejected; not final until the third.
    AttemptFailed = "verification.attempt.failed",
    /// Contract 2: accepted.
    SessionSucceeded = "verification.session.succeeded",
    /// Contract 2: ended without an accepted attempt.
    SessionFailed = "verification.session.failed",
    /// The hour passed.
    SessionExpired = "verification.session.expired",
    /// Withdrawn.
    SessionCancelled = "verification.session.cancelled",
}

impl EventType {
    /// Whether `metadata` names the attempt.
    pub const fn names_attempt(self) -> bool {
        matches!(self, EventType::AttemptSucceeded | EventType::AttemptFailed)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = UnknownValue;
    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        EventType::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(UnknownValue { kind: "EventType" })
    }
}

/// Why a session was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CancelReason {
    /// Before any check failed.
    Cancelled,
    /// After at least one check failed.
    CancelledAfterFailedCheck,
    /// Withdrawal after success that no endpoint had received.
    PrivacyAfterTerminalSuccess,
    /// Withdrawal after failure that no endpoint had received.
    PrivacyAfterTerminalFailure,
}

impl CancelReason {
    /// The reason of cancelling an active session with these counters.
    pub const fn of_active(counters: Counters) -> Self {
        if counters.nfc_tries_used == 0 && counters.liveness_tries_used == 0 {
            CancelReason::Cancelled
        } else {
            CancelReason::CancelledAfterFailedCheck
        }
    }

    /// The reason as published.
    pub const fn as_str(self) -> &'static str {
        match self {
            CancelReason::Cancelled => "cancelled",
            CancelReason::CancelledAfterFailedCheck => "cancelled_after_failed_check",
            CancelReason::PrivacyAfterTerminalSuccess => "privacy_cancelled_after_terminal_success",
            CancelReason::PrivacyAfterTerminalFailure => "privacy_cancelled_after_terminal_failure",
        }
    }
}

/// `data` of a success event. Holds personal data: it exists only between decide and encrypt.
pub fn success_data(claims: &Value, selected_field_keys: &[String]) -> Value {
    json!({ "claims": claims, "selected_field_keys": selected_field_keys })
}

/// `data` of `verification.attempt.failed`.
pub fn attempt_failed_data(code: FailureCode) -> Value {
    json!({ "failure_code": code.in_contract(ContractVersion::V1) })
}

/// `data` of `verification.session.failed`.
pub fn session_failed_data(code: FailureCode, counters: Counters) -> Value {
    json!({
        "failure_code": code.as_str(),
        "nfc_tries_used": counters.nfc_tries_used,
        "liveness_tries_used": counters.liveness_tries_used,
    })
}

/// `data` of `verification.session.expired`.
pub fn expired_data() -> Value {
    json!({})
}

/// `data` of `verification.session.cancelled`.
pub fn cancelled_data(reason: CancelReason, counters: Counters) -> Value {
    json!({
        "outcome": "not_verified",
        "reason": reason.as_str(),
        "nfc_tries_used": counters.nfc_tries_used,
        "liveness_tries_used": counters.liveness_tries_used,
    })
}

/// The plaintext of a webhook: `{"type","metadata","data"}`.
pub fn plaintext(
    event_type: EventType,
    version: ContractVersion,
    event: &EventId,
    session: &SessionId,
    attempt: Option<&AttemptId>,
    data: &Value,
) -> Value {
    let mut metadata = json!({
        "contract_version": u8::from(version),
        "event_id": event.as_str(),
        "verification_session_id": session.as_str(),
    });
    if let (true, Some(attempt)) = (event_type.names_attempt(), attempt) {
        metadata["verification_attempt_id"] = json!(attempt.as_str());
    }
    json!({ "type": event_type.as_str(), "metadata": metadata, "data": data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use rand::SeedableRng;

    #[test]
    fn only_attempt_events_name_the_attempt() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
        let now = Timestamp::from_secs(1);
        let (event, session, attempt) =
            (EventId::generate(now, &mut rng), SessionId::generate(now, &mut rng), AttemptId::generate(now, &mut rng));
        for &kind in EventType::ALL {
            let text = plaintext(kind, ContractVersion::V1, &event, &session, Some(&attempt), &expired_data());
            assert_eq!(text["metadata"].get("verification_attempt_id").is_some(), kind.as_str().contains(".attempt."));
            assert_eq!(text["metadata"]["contract_version"], 1);
            assert_eq!(kind.as_str().parse::<EventType>().unwrap(), kind);
        }
        assert!("verification.session.begun".parse::<EventType>().is_err());
    }
}
