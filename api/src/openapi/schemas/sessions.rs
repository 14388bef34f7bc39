//! Sessions, share fields, and what a holder's phone is told.

use proofmill_contract::limits::{MAX_REASON_CHARS, MAX_SESSION_ENDPOINTS, MAX_SHARE_FIELDS, MAX_TRIES, MAX_URL_BYTES};
use proofmill_contract::share::STATIC_CLAIMS;
use proofmill_contract::{ContractVersion, FailureCode, SessionStatus};
use serde_json::{Value, json};

use super::{Named, closed, members_of, nullable, one_of, open, reference, said, text, time};

pub fn schemas() -> Named {
    let session = session();
    let mut created = members_of(&session);
    created["verification_url"] = said(
        created["verification_url"].clone(),
        "Where the holder goes; with the cancel token in its query, in this answer only.",
    );
    created["cancel_token"] = json!({
        "type": "string",
        "pattern": "^[a-z0-9]{48}$",
        "description": "Lets the holder cancel. Shown in this answer only.",
        "examples": ["exampleexampleexampleexampleexampleexampleexampl"],
    });
    let mut listed = members_of(&session);
    listed["attempts"] = json!({
        "type": "array",
        "items": reference("Attempt"),
        "description": "Oldest first; only with `include_attempts=true`.",
    });
    let required: Vec<&str> = session["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    vec![
        (
            "ContractVersion",
            json!({
                "type": "integer",
                "enum": [2, 1],
                "description": "1 retries whole attempts, three per session; 2 counts the tries of each check. A session keeps its version for life.",
            }),
        ),
        ("SessionStatus", session_status()),
        ("FailureCode", failure_code()),
        ("ClaimKey", claim_key()),
        ("RequestedField", requested_field()),
        (
            "RequestedFields",
            json!({
                "type": "object",
                "description": "Which claims are asked for, and why; at most one age gate. `kayle_document_id` is always added and required. Left out: `kayle_document_id`, and the type and issuer of the document as optional fields.",
                "propertyNames": reference("ClaimKey"),
                "additionalProperties": reference("RequestedField"),
                "maxProperties": MAX_SHARE_FIELDS,
                "examples": [{
                    "age_over_18": { "required": true, "reason": "The law sells it to adults only" },
                    "family_name": { "required": false, "reason": "To greet you by name" },
                }],
            }),
        ),
        (
            "ShareField",
            closed(
                json!({
                    "required": { "type": "boolean", "description": "Whether the holder must let it go.", "examples": [true] },
                    "reason": text("Why, as the holder reads it.", "To recognise the same document without learning who holds it"),
                    "source": one_of(&["default", "rc"], "`rc`: the request asked for it; `default`: it is asked for unless the request says otherwise."),
                }),
                "A claim that a session asks for.",
            ),
        ),
        (
            "ShareFields",
            json!({
                "type": "object",
                "description": "The claims that a session asks for, by key.",
                "propertyNames": reference("ClaimKey"),
                "properties": { "kayle_document_id": reference("ShareField") },
                "required": ["kayle_document_id"],
                "additionalProperties": reference("ShareField"),
            }),
        ),
        ("CreateSession", create_session()),
        ("CreatedSession", closed(created, "A session, and the token that cancels it.")),
        ("Session", open(listed, &required, "A session. It never holds document data, images or scores.")),
        ("SessionProgress", progress()),
        (
            "CancelWithToken",
            closed(
                json!({ "cancel_token": text("From the session's creation, or from the query of `verification_url`.", "exampleexampleexampleexampleexampleexampleexampl") }),
                "A holder's cancellation.",
            ),
        ),
    ]
}

/// The key of an event's claims and of share fields.
fn claim_key() -> Value {
    json!({
        "type": "string",
        "pattern": format!("^({}|age_over_(1[2-9]|[2-9][0-9]|1[0-2][0-9]|130))$", STATIC_CLAIMS.join("|")),
        "description": "A claim; `age_over_N` for an age of 12 to 130.",
        "examples": ["kayle_document_id"],
    })
}

fn requested_field() -> Value {
    closed(
        json!({
            "required": { "type": "boolean", "description": "Whether the holder must let it go." },
            "reason": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_REASON_CHARS,
                "pattern": r"\S",
                "description": "Why, for the holder to read.",
                "examples": ["To greet you by name"],
            },
        }),
        "A claim that is asked for.",
    )
}

fn create_session() -> Value {
    let endpoint_ids = json!({
        "anyOf": [
            reference("EndpointId"),
            {
                "type": "array",
                "items": reference("EndpointId"),
                "minItems": 1,
                "maxItems": MAX_SESSION_ENDPOINTS,
                "uniqueItems": true,
            },
            { "type": "null" },
        ],
        "description": "Which endpoints hear of it, each enabled; left out: every enabled endpoint subscribed to the event's type.",
    });
    open(
        json!({
            "share_fields": { "anyOf": [reference("RequestedFields"), { "type": "null" }] },
            "redirect_url": {
                "type": ["string", "null"],
                "format": "uri",
                "pattern": "^https://[^/?#@\\\\]+([/?#]|$)",
                "maxLength": MAX_URL_BYTES,
                "description": "Where the holder goes afterwards.",
                "examples": ["https://shop.example.com/done"],
            },
            "webhook_endpoint_id": endpoint_ids,
            "contract_version": { "anyOf": [reference("ContractVersion"), { "type": "null" }] },
        }),
        &[],
        "What is to be verified. Everything may be left out.",
    )
}

fn session() -> Value {
    closed(
        json!({
            "id": reference("SessionId"),
            "status": reference("SessionStatus"),
            "contract_version": reference("ContractVersion"),
            "share_fields": reference("ShareFields"),
            "redirect_url": redirect_url(),
            "webhook_endpoint_id": {
                "anyOf": [
                    { "type": "null" },
                    reference("EndpointId"),
                    { "type": "array", "items": reference("EndpointId"), "minItems": 1, "maxItems": MAX_SESSION_ENDPOINTS },
                ],
                "description": "Null: every enabled endpoint subscribed to the event's type.",
            },
            "verification_url": {
                "type": "string",
                "description": "Where the holder goes.",
                "examples": ["https://verify.example.com/verify/vs_00mwrmynk0q7v2kx4c8d1f6hj3l5n0pr9tzwbyeu2oa4sg7m1xk8q3v6c0d5fhjr"],
            },
            "failure_code": { "anyOf": [{ "type": "null" }, reference("FailureCode")] },
            "nfc_tries_used": tries("Failed tries of the chip's checks."),
            "liveness_tries_used": tries("Failed tries of the selfie's checks."),
            "expires_at": { "$ref": time()["$ref"], "examples": ["2026-11-22T10:30:00.000Z"] },
            "completed_at": { "anyOf": [{ "type": "null" }, time()] },
            "created_at": time(),
            "updated_at": time(),
        }),
        "A session.",
    )
}

fn progress() -> Value {
    closed(
        json!({
            "session_id": reference("SessionId"),
            "status": reference("SessionStatus"),
            "is_terminal": { "type": "boolean", "description": "Whether nothing follows.", "examples": [false] },
            "completed_at": { "anyOf": [{ "type": "null" }, time()] },
            "redirect_url": redirect_url(),
            "nfc_tries_remaining": { "type": "integer", "minimum": 0, "maximum": MAX_TRIES, "examples": [3] },
            "liveness_tries_remaining": { "type": "integer", "minimum": 0, "maximum": MAX_TRIES, "examples": [3] },
        }),
        "How a session stands, for whoever knows its id.",
    )
}

fn redirect_url() -> Value {
    nullable(text("Where the holder goes afterwards.", "https://shop.example.com/done"))
}

fn tries(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": MAX_TRIES, "description": description, "examples": [0] })
}

fn session_status() -> Value {
    let values: Vec<&str> = SessionStatus::ALL.iter().map(|status| status.as_str()).collect();
    one_of(
        &values,
        "`created` and `in_progress` go on. Contract 1 ends `completed`, contract 2 `succeeded` or `failed`; both may end `expired` or `cancelled`.",
    )
}

/// In the words of both contracts.
fn failure_code() -> Value {
    let mut values: Vec<&str> = Vec::new();
    for version in [ContractVersion::V2, ContractVersion::V1] {
        for code in FailureCode::ALL {
            let text = code.in_contract(version);
            if !values.contains(&text) {
                values.push(text);
            }
        }
    }
    one_of(&values, "Which check failed, in the words of the session's contract version.")
}
