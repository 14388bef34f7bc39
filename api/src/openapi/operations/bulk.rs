//! Many attempts at once.

use proofmill_contract::limits::{MAX_BULK_LINE_BYTES, MAX_BULK_LINES};
use serde_json::json;

use super::super::operation::{BodyKind, Content, Operation};
use super::super::schemas::{example_id, reference};

const TAG: &str = "Attempts";

pub fn open() -> Operation {
    Operation::new("openAttempts", TAG, "Open an attempt in each of many sessions")
        .describe(format!(
            "One item for each of up to {MAX_BULK_LINES} sessions, in order. A session in which none can be opened gets an item with its error; the others are opened all the same.",
        ))
        .takes(BodyKind::Json, reference("OpenAttempts"))
        .example(
            "two",
            "Two sessions",
            200,
            json!({ "session_ids": [example_id("vs_", 64), example_id("vs_", 64)] }),
        )
        .answers(
            200,
            "An item for each session.",
            Content::Data(json!({
                "type": "array",
                "items": { "anyOf": [reference("OpenedAttempt"), reference("UnopenedAttempt")] },
            })),
        )
        .idempotent()
}

pub fn submit() -> Operation {
    Operation::new("submitEvidenceInBulk", TAG, "Submit many attempts' evidence")
        .describe(format!(
            "One JSON object a line, up to {MAX_BULK_LINES} lines of up to {MAX_BULK_LINE_BYTES} bytes, answered with one line each, in order, while the upload goes on. Partial success is normal. \
             A line names the attempt that was opened for it (`attempt_id`) or, for documents without active authentication, the session to create (`session`). \
             A line's `idempotency_key` makes its repetition safe; with an `Idempotency-Key` header, a line without one takes it from the header and its number. \
             Each line counts as a request of the quota; an empty quota slows the upload down. Empty lines are passed over.",
        ))
        .takes(BodyKind::Lines, reference("EvidenceLine"))
        .example(
            "line",
            "A line (the octets stand for files)",
            200,
            json!(format!(
                "{}\n",
                json!({
                    "attempt_id": example_id("va_", 64),
                    "idempotency_key": "holder-1",
                    "selected_field_keys": ["kayle_document_id"],
                    "sod": "AQ==",
                    "dg1": "AQ==",
                    "dg2": "AQ==",
                    "selfie": ["/9j/"],
                })
            )),
        )
        .answers(200, "A line for each line.", Content::Lines(reference("EvidenceLineAnswer")))
        .keyed()
}
