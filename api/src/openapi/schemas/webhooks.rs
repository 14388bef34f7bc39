//! Webhook endpoints, keys, deliveries, events, and the plaintext of each event.

use proofmill_contract::events::{CancelReason, EventType};
use proofmill_contract::limits::{MAX_SHARE_FIELDS, MAX_TRIES, MAX_URL_BYTES};
use proofmill_store::DeliveryStatus;
use serde_json::{Value, json};

use super::{Named, closed, members_of, nullable, one_of, open, reference, text, time};

pub fn schemas() -> Named {
    let endpoint = endpoint();
    let mut created = members_of(&endpoint);
    created["signing_secret"] = secret();
    let types: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    let statuses: Vec<&str> = DeliveryStatus::ALL.iter().map(|status| status.as_str()).collect();
    let mut named = vec![
        ("EventType", one_of(&types, "What happened.")),
        ("DeliveryStatus", one_of(&statuses, "`failed`: given up; `reason` says why.")),
        ("Endpoint", endpoint),
        ("CreatedEndpoint", closed(created, "An endpoint and its signing secret.")),
        ("CreateEndpoint", create_endpoint()),
        ("UpdateEndpoint", update_endpoint()),
        (
            "SigningSecret",
            closed(
                json!({
                    "signing_secret": secret(),
                    "previous_expires_at": { "anyOf": [{ "type": "null" }, time()], "description": "Until when the secret before it signs as well." },
                }),
                "The secret that signs an endpoint's webhooks.",
            ),
        ),
        ("PublicKey", public_key()),
        ("AddKey", add_key()),
        ("EncryptionKey", encryption_key()),
        ("Delivery", delivery()),
        ("Event", event()),
        (
            "Replay",
            closed(
                json!({
                    "event_id": reference("EventId"),
                    "deliveries": { "type": "integer", "minimum": 0, "description": "How many deliveries began anew.", "examples": [1] },
                }),
                "An event that is being sent again.",
            ),
        ),
    ];
    named.extend(EventType::ALL.iter().map(|kind| (plaintext_name(*kind), plaintext(*kind))));
    named
}

/// The schema of an event's decrypted webhook.
pub fn plaintext_name(kind: EventType) -> &'static str {
    match kind {
        EventType::AttemptSucceeded => "AttemptSucceededWebhook",
        EventType::AttemptFailed => "AttemptFailedWebhook",
        EventType::SessionSucceeded => "SessionSucceededWebhook",
        EventType::SessionFailed => "SessionFailedWebhook",
        EventType::SessionExpired => "SessionExpiredWebhook",
        EventType::SessionCancelled => "SessionCancelledWebhook",
    }
}

fn secret() -> Value {
    json!({
        "type": "string",
        "pattern": "^whsec_[a-z0-9]{32}$",
        "description": "Verifies both signatures of a webhook.",
        "examples": ["whsec_exampleexampleexampleexampleexam"],
    })
}

fn url() -> Value {
    json!({
        "type": "string",
        "format": "uri",
        "maxLength": MAX_URL_BYTES,
        "description": "https, a public host, no user name.",
        "examples": ["https://hooks.example.com/proofmill"],
    })
}

fn name() -> Value {
    json!({ "type": ["string", "null"], "minLength": 1, "maxLength": 200, "pattern": r"\S", "examples": ["Shop"] })
}

fn labels() -> Value {
    json!({
        "type": "array",
        "items": { "type": "string", "minLength": 1, "maxLength": 64, "pattern": r"\S", "examples": ["production"] },
        "maxItems": 8,
    })
}

fn types() -> Value {
    json!({
        "type": "array",
        "items": reference("EventType"),
        "minItems": 1,
        "description": "Which events it hears of; left out at creation: all.",
        "examples": [["verification.session.succeeded", "verification.session.failed"]],
    })
}

fn retention() -> Value {
    json!({
        "type": "integer",
        "enum": [72, 0, 24, 168],
        "description": "How long an undelivered payload is kept after its last try.",
    })
}

fn endpoint() -> Value {
    closed(
        json!({
            "id": reference("EndpointId"),
            "url": url(),
            "name": name(),
            "labels": labels(),
            "enabled": { "type": "boolean", "examples": [true] },
            "subscribed_event_types": types(),
            "undelivered_payload_retention_hours": retention(),
            "created_at": time(),
            "updated_at": time(),
            "disabled_at": { "anyOf": [{ "type": "null" }, time()] },
        }),
        "Where webhooks go.",
    )
}

fn create_endpoint() -> Value {
    open(
        json!({
            "url": url(),
            "name": name(),
            "labels": labels(),
            "enabled": { "type": ["boolean", "null"] },
            "subscribed_event_types": nullable(types()),
            "undelivered_payload_retention_hours": { "enum": [72, 0, 24, 168, null] },
        }),
        &["url"],
        "An endpoint to be.",
    )
}

fn update_endpoint() -> Value {
    open(
        json!({
            "url": url(),
            "name": name(),
            "labels": labels(),
            "enabled": { "type": "boolean" },
            "subscribed_event_types": types(),
            "undelivered_payload_retention_hours": retention(),
        }),
        &[],
        "What is to change; what is left out stays. `name` may be removed with null.",
    )
}

fn public_key() -> Value {
    closed(
        json!({
            "kty": { "type": "string", "const": "RSA" },
            "n": text("The modulus, 2048 to 8192 bits, base64url.", EXAMPLE_MODULUS),
            "e": text("The exponent, odd, 3 to 2^33 - 1, base64url.", "AQAB"),
            "alg": { "type": "string", "const": "RSA-OAEP-256" },
            "use": { "type": "string", "const": "enc" },
            "key_ops": { "type": "array", "items": { "type": "string" }, "examples": [["encrypt"]] },
            "kid": text("The caller's name for the key.", "webhooks-2026"),
        }),
        "A public RSA key as JWK (RFC 7517).",
    )
}

fn key_id() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": proofmill_jose::MAX_KEY_ID_BYTES,
        "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$",
        "description": "The caller's name for the key: the `kid` of every webhook encrypted to it.",
        "examples": ["webhooks-2026"],
    })
}

fn add_key() -> Value {
    closed(
        json!({
            "key_id": key_id(),
            "algorithm": { "type": "string", "const": "RSA-OAEP-256" },
            "key_type": { "type": "string", "const": "RSA" },
            "jwk": {
                "type": "object",
                "description": "The public key as JWK (RFC 7517): RSA of 2048 to 8192 bits with an odd exponent from 3 to 2^33 - 1, no private member; `use`, if there, is `enc`, `key_ops` holds `encrypt`.",
                "properties": {
                    "kty": { "type": "string", "const": "RSA" },
                    "n": { "type": "string", "pattern": "^[A-Za-z0-9_-]+$" },
                    "e": { "type": "string", "pattern": "^[A-Za-z0-9_-]+$" },
                    "alg": { "type": "string", "const": "RSA-OAEP-256" },
                    "use": { "type": "string", "const": "enc" },
                    "key_ops": { "type": "array", "items": { "enum": ["encrypt", "wrapKey"] }, "contains": { "const": "encrypt" } },
                },
                "required": ["kty", "n", "e"],
                "not": { "anyOf": [{ "required": ["d"] }, { "required": ["p"] }, { "required": ["q"] }] },
            },
        }),
        "A key that the endpoint's webhooks are to be encrypted to.",
    )
}

fn encryption_key() -> Value {
    closed(
        json!({
            "id": reference("EncryptionKeyId"),
            "endpoint_id": reference("EndpointId"),
            "key_id": key_id(),
            "algorithm": { "type": "string", "const": "RSA-OAEP-256" },
            "key_type": { "type": "string", "const": "RSA" },
            "jwk": reference("PublicKey"),
            "active": { "type": "boolean", "description": "At most one key of an endpoint is.", "examples": [true] },
            "created_at": time(),
            "deactivated_at": { "anyOf": [{ "type": "null" }, time()] },
        }),
        "An encryption key of an endpoint.",
    )
}

fn delivery() -> Value {
    closed(
        json!({
            "id": reference("DeliveryId"),
            "event_id": reference("EventId"),
            "event_type": reference("EventType"),
            "endpoint_id": reference("EndpointId"),
            "session_id": reference("SessionId"),
            "status": reference("DeliveryStatus"),
            "reason": { "type": ["string", "null"], "description": "Why it was given up, such as `no_active_key`.", "examples": [null] },
            "tries": { "type": "integer", "minimum": 0, "examples": [0] },
            "last_status_code": { "type": ["integer", "null"], "examples": [null] },
            "last_error": { "type": ["string", "null"], "examples": [null] },
            "next_attempt_at": { "anyOf": [{ "type": "null" }, time()] },
            "payload_available": { "type": "boolean", "description": "Whether it can still be sent.", "examples": [true] },
            "delivered_at": { "anyOf": [{ "type": "null" }, time()] },
            "created_at": time(),
            "updated_at": time(),
        }),
        "One event on its way to one endpoint.",
    )
}

fn event() -> Value {
    closed(
        json!({
            "id": reference("EventId"),
            "type": reference("EventType"),
            "contract_version": reference("ContractVersion"),
            "session_id": reference("SessionId"),
            "attempt_id": { "anyOf": [{ "type": "null" }, reference("AttemptId")] },
            "terminal": { "type": "boolean", "description": "Whether it ends its session.", "examples": [true] },
            "superseded_at": { "anyOf": [{ "type": "null" }, time()], "description": "When a privacy cancellation replaced it." },
            "created_at": time(),
        }),
        "Something that happened to a session, without what it said.",
    )
}

fn plaintext(kind: EventType) -> Value {
    let contract_version = match kind {
        EventType::AttemptSucceeded | EventType::AttemptFailed => json!({ "const": 1 }),
        EventType::SessionSucceeded | EventType::SessionFailed => json!({ "const": 2 }),
        EventType::SessionExpired | EventType::SessionCancelled => reference("ContractVersion"),
    };
    let mut metadata = json!({
        "contract_version": contract_version,
        "event_id": reference("EventId"),
        "verification_session_id": reference("SessionId"),
    });
    if kind.names_attempt() {
        metadata["verification_attempt_id"] = reference("AttemptId");
    }
    closed(
        json!({
            "type": { "type": "string", "const": kind.as_str() },
            "metadata": closed(metadata, "What it is about."),
            "data": data(kind),
        }),
        "The plaintext of a webhook.",
    )
}

fn data(kind: EventType) -> Value {
    let counter = || json!({ "type": "integer", "minimum": 0, "maximum": MAX_TRIES });
    match kind {
        EventType::AttemptSucceeded | EventType::SessionSucceeded => closed(
            json!({ "claims": claims(), "selected_field_keys": {
                "type": "array",
                "items": reference("ClaimKey"),
                "minItems": 1,
                "maxItems": MAX_SHARE_FIELDS,
                "description": "Sorted.",
            } }),
            "Exactly the claims that the holder agreed to share.",
        ),
        EventType::AttemptFailed => {
            closed(json!({ "failure_code": one_of(&codes_of_contract_1(), "Which check failed.") }), "Not final.")
        }
        EventType::SessionFailed => closed(
            json!({
                "failure_code": one_of(&codes_of_contract_2(), "Which check failed."),
                "nfc_tries_used": counter(),
                "liveness_tries_used": counter(),
            }),
            "Final.",
        ),
        EventType::SessionExpired => closed(json!({}), "Nothing more."),
        EventType::SessionCancelled => closed(
            json!({
                "outcome": { "type": "string", "const": "not_verified" },
                "reason": one_of(
                    &[
                        CancelReason::Cancelled,
                        CancelReason::CancelledAfterFailedCheck,
                        CancelReason::PrivacyAfterTerminalSuccess,
                        CancelReason::PrivacyAfterTerminalFailure,
                    ]
                    .map(CancelReason::as_str),
                    "When in the session's life it was cancelled.",
                ),
                "nfc_tries_used": counter(),
                "liveness_tries_used": counter(),
            }),
            "Final.",
        ),
    }
}

fn codes_of_contract_1() -> Vec<&'static str> {
    codes(proofmill_contract::ContractVersion::V1)
}

fn codes_of_contract_2() -> Vec<&'static str> {
    codes(proofmill_contract::ContractVersion::V2)
}

fn codes(version: proofmill_contract::ContractVersion) -> Vec<&'static str> {
    let mut codes: Vec<&str> = Vec::new();
    for code in proofmill_contract::FailureCode::ALL {
        let text = code.in_contract(version);
        if !codes.contains(&text) {
            codes.push(text);
        }
    }
    codes
}

/// Claims with their shapes; `age_over_N` by pattern.
fn claims() -> Value {
    let date = |example: &str| json!({ "type": "string", "format": "date", "examples": [example] });
    json!({
        "type": "object",
        "properties": {
            "document_type_code": text("Document code.", "P"),
            "issuing_country_code": text("Issuing state or organisation.", "UTO"),
            "family_name": text("Primary identifier.", "ERIKSSON"),
            "given_names": text("Secondary identifier.", "ANNA MARIA"),
            "document_number": text("Document number.", "L898902C3"),
            "nationality_code": text("Nationality.", "UTO"),
            "date_of_birth": date("1974-08-12"),
            "sex_marker": one_of(&["F", "M", "X"], "X: unspecified."),
            "document_expiry_date": date("2032-04-15"),
            "mrz_optional_data": text("Optional data, without filler.", "ZE184226B"),
            "kayle_document_id": derived("kdid_", "The same document at the same organisation."),
            "kayle_human_id": derived("khid_", "The same person at the same organisation, across documents."),
            "document_photo": closed(
                json!({
                    "data_base64": { "type": "string", "contentEncoding": "base64", "examples": ["/9j/"] },
                    "format": one_of(&["jpeg", "jpeg2000"], "How the chip holds it."),
                    "width": { "type": "integer", "minimum": 1, "examples": [480] },
                    "height": { "type": "integer", "minimum": 1, "examples": [640] },
                }),
                "The chip's portrait.",
            ),
        },
        "patternProperties": { "^age_over_(1[2-9]|[2-9][0-9]|1[0-2][0-9]|130)$": { "type": "boolean" } },
        "additionalProperties": false,
        "examples": [{
            "kayle_document_id": format!("kdid_{}", "0123456789abcdef".repeat(4)),
            "age_over_18": true,
        }],
    })
}

fn derived(prefix: &str, description: &str) -> Value {
    json!({
        "type": "string",
        "pattern": format!("^{prefix}[0-9a-f]{{64}}$"),
        "description": description,
        "examples": [format!("{prefix}{}", "0123456789abcdef".repeat(4))],
    })
}

/// A 2048-bit modulus made for the examples; nobody has its private key.
pub const EXAMPLE_MODULUS: &str = include_str!("example_modulus.txt").trim_ascii();
