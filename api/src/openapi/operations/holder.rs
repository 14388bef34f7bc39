//! What a holder's phone or browser may do.

use proofmill_contract::ErrorCode;
use serde_json::json;

use super::super::operation::{BodyKind, Content, Operation};
use super::super::schemas::reference;
use super::attempts;

const TAG: &str = "Holder";

pub fn cancel() -> Operation {
    use ErrorCode::*;
    Operation::new("cancelWithToken", TAG, "Cancel or withdraw, with the cancel token")
        .describe(
            "Cancels an active session. On one that has ended in success or failure it withdraws: what no endpoint has received yet is destroyed.",
        )
        .names("SessionId")
        .takes(BodyKind::Json, reference("CancelWithToken"))
        .example(
            "token",
            "The token of the session's creation",
            204,
            json!({ "cancel_token": "exampleexampleexampleexampleexampleexampleexampl" }),
        )
        .answers(204, "Done.", Content::Nothing)
        .errors(&[InvalidSessionId, SessionNotFound, CancelTokenInvalid, CancelTokenUsed])
}

pub fn progress() -> Operation {
    Operation::new("getSessionProgress", TAG, "Follow a session")
        .names("SessionId")
        .answers(200, "How it stands.", Content::Data(reference("SessionProgress")))
        .errors(&[ErrorCode::InvalidSessionId, ErrorCode::SessionNotFound])
}

pub fn handoff() -> Operation {
    attempts::handing_off(
        Operation::new("handoff", TAG, "Open an attempt on a phone")
            .describe("An attempt that is open is returned again until it is submitted or five minutes have passed."),
    )
    .idempotent()
}

pub fn submit() -> Operation {
    attempts::submitting(Operation::new("submitEvidenceWithToken", TAG, "Submit an attempt's evidence from a phone"))
        .errors(&[ErrorCode::HandoffTokenExpired])
}

pub fn start_chip_authentication() -> Operation {
    attempts::starting_chip_authentication(Operation::new(
        "startChipAuthenticationWithToken",
        TAG,
        "Let the server's terminal authenticate the chip, from a phone",
    ))
    .errors(&[ErrorCode::HandoffTokenConsumed, ErrorCode::HandoffTokenExpired])
}

pub fn page() -> Operation {
    Operation::new("verificationPage", TAG, "The page at `verification_url`")
        .describe(
            "What is asked, why, how it stands, and a button that cancels. Other query parameters are passed over.",
        )
        .names("SessionId")
        .query("cancel_token", "Shows the button; read in the browser only.", json!({ "type": "string" }))
        .any_query()
        .answers(200, "The page.", Content::Html)
        .answers(404, "A page that says that there is no such session.", Content::Html)
}
