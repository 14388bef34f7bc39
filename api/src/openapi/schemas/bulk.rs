//! Many attempts at once.

use proofmill_contract::limits::{MAX_BULK_LINES, MAX_IDEMPOTENCY_KEY_CHARS, MAX_SELFIES, MAX_SHARE_FIELDS};
use proofmill_contract::{Part, SessionId};
use serde_json::{Value, json};

use super::attempts::{handoff, part_description};
use super::{Named, closed, example_id, nullable, open, reference, text};

pub fn schemas() -> Named {
    let mut opened = handoff();
    opened["properties"]["error"] = json!({ "type": "null" });
    if let Some(required) = opened["required"].as_array_mut() {
        required.push("error".into());
    }
    opened["description"] = "An attempt that is open.".into();
    vec![
        (
            "OpenAttempts",
            closed(
                json!({ "session_ids": {
                    "type": "array",
                    // Any text: what is no id is told so in its own item.
                    "items": text("A session's id.", &example_id(SessionId::PREFIX, SessionId::LENGTH)),
                    "minItems": 1,
                    "maxItems": MAX_BULK_LINES,
                } }),
                "Which sessions.",
            ),
        ),
        ("OpenedAttempt", opened),
        (
            "UnopenedAttempt",
            closed(
                json!({
                    "session_id": text("What the request named.", "vs_unknown"),
                    "error": reference("Error"),
                }),
                "A session in which no attempt could be opened.",
            ),
        ),
        ("EvidenceLine", line()),
        ("EvidenceLineAnswer", answer()),
    ]
}

fn line() -> Value {
    let name = |description: &str| json!({ "type": "string", "maxLength": MAX_IDEMPOTENCY_KEY_CHARS, "description": description });
    let octets =
        |description: &str| json!({ "type": "string", "contentEncoding": "base64", "description": description });
    let mut members = json!({
        "id": name("The caller's name for the line, given back with its answer."),
        "attempt_id": reference("AttemptId"),
        "session": reference("CreateSession"),
        "idempotency_key": name("The same line again under the same key gets the same answer."),
        "selected_field_keys": {
            "type": "array",
            "items": reference("ClaimKey"),
            "minItems": 1,
            "maxItems": MAX_SHARE_FIELDS,
            "description": "The claims that the holder agreed to share, each required one among them.",
        },
        "selfie": {
            "type": "array",
            "items": octets("A JPEG frame of the holder."),
            "minItems": 1,
            "maxItems": MAX_SELFIES,
        },
        "reader_attestation": {
            "type": "string",
            "maxLength": proofmill_contract::limits::MAX_READER_ATTESTATION_BYTES,
            "description": "Compact JWS of a registered reader key over the attempt and the SHA-256 of every part, as in a manifest; only with `attempt_id`.",
        },
        "challenge": {
            "type": "string",
            "pattern": "^[0-9a-fA-F]{16}$",
            "description": "The attempt's active-authentication challenge, which need not be given: another one is refused.",
        },
    });
    for part in Part::ALL {
        members[part.name()] = match part {
            Part::ChipAuthentication => reference("ChipAuthenticationTranscript"),
            part => octets(part_description(part)),
        };
    }
    let mut line = open(
        members,
        &["selected_field_keys", "selfie"],
        "The evidence of one attempt, parts in standard base64: for `attempt_id`, which was opened before, or in a new `session`.",
    );
    line["oneOf"] = json!([{ "required": ["attempt_id"] }, { "required": ["session"] }]);
    line
}

fn answer() -> Value {
    let submitted = closed(
        json!({
            "attempt_id": reference("AttemptId"),
            "session_id": reference("SessionId"),
            "status": reference("AttemptStatus"),
            "phase": reference("AttemptPhase"),
        }),
        "Evidence that was accepted for verification.",
    );
    let mut with_session = submitted.clone();
    with_session["properties"]["session"] = reference("CreatedSession");
    let data = json!({ "anyOf": [{ "type": "null" }, submitted, with_session] });
    let names = ["attempt_id", "session_id", "idempotency_key"].map(|name| (name, text_of(name)));
    let mut members = json!({
        "line": { "type": "integer", "minimum": 1, "description": "Which line, empty ones counted." },
        "id": { "type": "string", "description": "The line's own, if it has one." },
        "idempotency_replayed": { "type": "boolean", "description": "Whether the line had been answered before." },
        "status": { "type": "integer", "description": "The HTTP status that the line would have had alone." },
        "data": data,
        "error": { "anyOf": [{ "type": "null" }, reference("Error")] },
    });
    for (name, schema) in names {
        members[name] = schema;
    }
    open(
        members,
        &["line", "attempt_id", "session_id", "idempotency_key", "idempotency_replayed", "status", "data", "error"],
        "What came of a line. A line that is not JSON to its end is named as far as its names could be read.",
    )
}

fn text_of(name: &str) -> Value {
    let description = match name {
        "attempt_id" => "The attempt, if the line names or made one.",
        "session_id" => "The attempt's session, once the evidence is accepted.",
        _ => "The line's own, if it has one.",
    };
    nullable(json!({ "type": "string", "description": description }))
}
