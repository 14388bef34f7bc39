//! Sessions, for integrators.

use proofmill_contract::{ErrorCode, SessionStatus};
use serde_json::{Value, json};

use super::super::operation::{Content, Operation};
use super::super::schemas::reference;

const TAG: &str = "Sessions";

pub fn create() -> Operation {
    use ErrorCode::*;
    Operation::new("createSession", TAG, "Create a session")
        .describe("A session lives for an hour. Send the holder to `verification_url`, or open an attempt yourself.")
        .may_take(reference("CreateSession"))
        .example("nothing", "Which document it is, without knowing whose", 201, json!({}))
        .example(
            "full",
            "An age gate and a name, for an adults' shop",
            201,
            json!({
                "share_fields": {
                    "age_over_18": { "required": true, "reason": "The law sells it to adults only" },
                    "family_name": { "required": false, "reason": "To greet you by name" },
                },
                "redirect_url": "https://shop.example.com/done",
                "webhook_endpoint_id": example_endpoint(),
                "contract_version": 2,
            }),
        )
        .idempotent()
        .answers(201, "The session, and the token that cancels it.", Content::Data(reference("CreatedSession")))
        .errors(&[
            InvalidRedirectUrl,
            WebhookEndpointUnavailable,
            InvalidShareFields,
            UnknownClaimKey,
            InvalidAgeGateKey,
            MultipleAgeGatesNotAllowed,
            ReasonRequired,
            ReasonTooLong,
            TooManyShareFields,
        ])
        .link("get", link("getSession"))
        .link("cancel", link("cancelSession"))
        .link("openAttempt", link("openAttempt"))
        .link("listAttempts", link("listSessionAttempts"))
        .link("handoff", link("handoff"))
        .link("progress", link("getSessionProgress"))
}

pub fn get() -> Operation {
    Operation::new("getSession", TAG, "Read a session")
        .names("SessionId")
        .query("include_attempts", "Adds its attempts, oldest first.", flag())
        .answers(200, "The session.", Content::Data(reference("Session")))
        .errors(&[ErrorCode::InvalidSessionId, ErrorCode::SessionNotFound])
}

pub fn list() -> Operation {
    let statuses: Vec<&str> = SessionStatus::ALL.iter().map(|status| status.as_str()).collect();
    Operation::new("listSessions", TAG, "List sessions")
        .query("status", "Only those that stand so.", json!({ "type": "string", "enum": statuses }))
        .query("created_from", "Only those created then or later.", super::moment())
        .query("created_to", "Only those created before or then.", super::moment())
        .query("include_attempts", "Adds each session's attempts, oldest first.", flag())
        .pages("The sessions, newest first.", reference("Session"), "SessionId")
}

pub fn cancel() -> Operation {
    Operation::new("cancelSession", TAG, "Cancel a session")
        .describe("Ends an active session; does nothing to one that has ended. Repeats by itself.")
        .names("SessionId")
        .may_take(reference("Empty"))
        .example("nothing", "No member", 204, json!({}))
        .answers(204, "The session has ended.", Content::Nothing)
        .errors(&[ErrorCode::InvalidSessionId, ErrorCode::SessionNotFound])
}

fn flag() -> Value {
    json!({ "type": "boolean", "default": false })
}

fn link(operation: &str) -> Value {
    json!({ "operationId": operation, "parameters": { "id": "$response.body#/data/id" } })
}

fn example_endpoint() -> String {
    use proofmill_contract::EndpointId;
    super::super::schemas::example_id(EndpointId::PREFIX, EndpointId::LENGTH)
}
