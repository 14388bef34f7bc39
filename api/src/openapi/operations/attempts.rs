//! Attempts, for integrators.

use proofmill_contract::ErrorCode;
use proofmill_contract::limits::MAX_LONG_POLL;
use serde_json::json;

use super::super::operation::{BodyKind, Content, Operation};
use super::super::schemas::reference;

const TAG: &str = "Attempts";

pub fn open() -> Operation {
    handing_off(
        Operation::new("openAttempt", TAG, "Open an attempt")
            .describe(
                "For a back end that reads documents itself. An attempt that is open is returned again until it is submitted or five minutes have passed.",
            )
            .idempotent(),
    )
}

/// What both ways of opening an attempt share.
pub fn handing_off(operation: Operation) -> Operation {
    operation
        .names("SessionId")
        .may_take(reference("Empty"))
        .example("nothing", "No member", 201, json!({}))
        .answers(201, "A fresh attempt.", Content::Data(reference("Handoff")))
        .answers(200, "The attempt that was open already.", Content::Data(reference("Handoff")))
        .errors(&[
            ErrorCode::InvalidSessionId,
            ErrorCode::SessionNotFound,
            ErrorCode::SessionInProgress,
            ErrorCode::SessionTerminal,
            ErrorCode::SessionExpired,
        ])
        .link("read", json!({ "operationId": "getAttempt", "parameters": { "id": "$response.body#/data/attempt_id" } }))
}

pub fn of_session() -> Operation {
    Operation::new("listSessionAttempts", TAG, "List a session's attempts")
        .names("SessionId")
        .pages("The attempts, newest first.", reference("Attempt"), "AttemptId")
        .errors(&[ErrorCode::InvalidSessionId, ErrorCode::SessionNotFound])
}

pub fn get() -> Operation {
    Operation::new("getAttempt", TAG, "Read an attempt, at once or when it has settled")
        .names("AttemptId")
        .query(
            "wait",
            "Seconds to wait for the attempt to settle; the answer comes as soon as it has.",
            json!({ "type": "integer", "minimum": 0, "maximum": MAX_LONG_POLL.as_secs(), "default": 0 }),
        )
        .answers(200, "The attempt.", Content::Data(reference("Attempt")))
        .errors(&[ErrorCode::NotFound])
}

pub fn submit() -> Operation {
    submitting(Operation::new("submitEvidence", TAG, "Submit an attempt's evidence"))
        .errors(&[ErrorCode::NotFound, ErrorCode::Conflict])
}

/// What both ways of submitting share.
pub fn submitting(operation: Operation) -> Operation {
    use ErrorCode::*;
    operation
        .describe(
            "The same evidence again is answered with the attempt's state; other evidence is refused. Whether it is a genuine document is a verdict, not an error: it comes by webhook and with the attempt.",
        )
        .names("AttemptId")
        .takes(BodyKind::Form, reference("EvidenceForm"))
        .example(
            "document",
            "What every document has (each character stands for an octet)",
            202,
            json!({
                "manifest": { "selected_field_keys": ["kayle_document_id"] },
                "sod": "octets of EF.SOD",
                "dg1": "octets of EF.DG1",
                "dg2": "octets of EF.DG2",
                "selfie": ["\u{ff}\u{d8}\u{ff} and the rest of a JPEG frame"],
            }),
        )
        .answers(202, "Accepted for verification.", Content::Data(reference("SubmittedAttempt")))
        .errors(&[
            ShareSelectionRequired,
            ShareSelectionMissingRequired,
            ShareSelectionInvalidField,
            EvidencePartMissing,
            EvidencePartInvalid,
            ChipEvidenceRequired,
            SessionTerminal,
            SessionExpired,
            EvidenceAlreadySubmitted,
        ])
}

pub fn start_chip_authentication() -> Operation {
    starting_chip_authentication(Operation::new(
        "startChipAuthentication",
        TAG,
        "Let the server's terminal authenticate the chip",
    ))
    .errors(&[ErrorCode::NotFound, ErrorCode::EvidenceAlreadySubmitted, ErrorCode::Conflict])
}

/// What both ways of starting chip authentication share.
pub fn starting_chip_authentication(operation: Operation) -> Operation {
    use ErrorCode::*;
    operation
        .describe(
            "Optional, once per attempt and before its submission. Repeats by itself: the same DG14 gets the same answer, another is refused.",
        )
        .names("AttemptId")
        .takes(BodyKind::Json, reference("StartChipAuthentication"))
        .example("p256", "A chip with a key on P-256", 200, json!({ "dg14": EXAMPLE_DG14 }))
        .answers(200, "What the reader sends to the chip.", Content::Data(reference("ChipAuthentication")))
        .errors(&[
            EvidencePartInvalid,
            SessionTerminal,
            SessionExpired,
            ChipAuthenticationStarted,
        ])
}

/// EF.DG14 of a minted chip.
const EXAMPLE_DG14: &str = include_str!("example_dg14.txt").trim_ascii();
