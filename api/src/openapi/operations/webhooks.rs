//! Webhook endpoints, secrets, keys, deliveries, events.

use proofmill_contract::events::EventType;
use proofmill_contract::{ErrorCode, limits};
use proofmill_store::{DeliveryStatus, MAX_SIGNING_SECRETS};
use serde_json::{Value, json};

use super::super::operation::{BodyKind, Content, Operation};
use super::super::schemas::{EXAMPLE_MODULUS, reference};
use super::super::webhooks::callbacks;

const TAG: &str = "Webhooks";

pub fn create_endpoint() -> Operation {
    Operation::new("createEndpoint", TAG, "Create an endpoint")
        .describe(format!(
            "Deliveries are always encrypted: add a key before the first event, or they fail with `no_active_key`. An organisation has at most {} endpoints; one more is a `CONFLICT`.",
            proofmill_store::MAX_ENDPOINTS
        ))
        .takes(BodyKind::Json, reference("CreateEndpoint"))
        .example("plain", "Every event", 201, json!({ "url": "https://hooks.example.com/proofmill" }))
        .example(
            "full",
            "Final events of contract 2, payloads destroyed after the last try",
            201,
            json!({
                "url": "https://hooks.example.com/proofmill",
                "name": "Shop",
                "labels": ["production"],
                "enabled": true,
                "subscribed_event_types": ["verification.session.succeeded", "verification.session.failed"],
                "undelivered_payload_retention_hours": 0,
            }),
        )
        .idempotent()
        .answers(201, "The endpoint and its signing secret.", Content::Data(reference("CreatedEndpoint")))
        .errors(&[ErrorCode::WebhookUrlRejected, ErrorCode::Conflict])
        .callbacks(callbacks())
        .link("get", link("getEndpoint"))
        .link("update", link("updateEndpoint"))
        .link("delete", link("deleteEndpoint"))
        .link("addKey", link("addKey"))
        .link("listKeys", link("listKeys"))
        .link("reveal", link("revealSigningSecret"))
        .link("rotate", link("rotateSigningSecret"))
}

pub fn list_endpoints() -> Operation {
    Operation::new("listEndpoints", TAG, "List endpoints").pages(
        "The endpoints, newest first.",
        reference("Endpoint"),
        "EndpointId",
    )
}

pub fn get_endpoint() -> Operation {
    Operation::new("getEndpoint", TAG, "Read an endpoint")
        .names("EndpointId")
        .answers(200, "The endpoint.", Content::Data(reference("Endpoint")))
        .errors(&[ErrorCode::NotFound])
}

pub fn update_endpoint() -> Operation {
    Operation::new("updateEndpoint", TAG, "Change an endpoint")
        .names("EndpointId")
        .may_take(reference("UpdateEndpoint"))
        .example("disable", "Deliver nothing for now", 200, json!({ "enabled": false }))
        .example("rename", "No name, other labels", 200, json!({ "name": null, "labels": ["staging"] }))
        .answers(200, "The endpoint.", Content::Data(reference("Endpoint")))
        .errors(&[ErrorCode::NotFound, ErrorCode::WebhookUrlRejected])
}

pub fn delete_endpoint() -> Operation {
    Operation::new("deleteEndpoint", TAG, "Delete an endpoint")
        .names("EndpointId")
        .answers(204, "It is gone.", Content::Nothing)
        .errors(&[ErrorCode::NotFound])
}

pub fn reveal_secret() -> Operation {
    Operation::new("revealSigningSecret", TAG, "Show an endpoint's signing secret")
        .names("EndpointId")
        .may_take(reference("Empty"))
        .example("nothing", "No member", 200, json!({}))
        .answers(200, "The secret.", Content::Data(reference("SigningSecret")))
        .errors(&[ErrorCode::NotFound])
}

pub fn rotate_secret() -> Operation {
    Operation::new("rotateSigningSecret", TAG, "Replace an endpoint's signing secret")
        .describe(format!(
            "The secret before it signs as well for {} hours. At most {MAX_SIGNING_SECRETS} of an endpoint sign at once: a rotation that would end one before its time is refused.",
            limits::SECRET_OVERLAP.as_secs() / 3_600
        ))
        .names("EndpointId")
        .may_take(reference("Empty"))
        .example("nothing", "No member", 200, json!({}))
        .idempotent()
        .answers(200, "The new secret.", Content::Data(reference("SigningSecret")))
        .errors(&[ErrorCode::NotFound, ErrorCode::Conflict])
}

pub fn add_key() -> Operation {
    Operation::new("addKey", TAG, "Add an encryption key")
        .describe("It becomes the endpoint's active key; the one before is deactivated.")
        .names("EndpointId")
        .takes(BodyKind::Json, reference("AddKey"))
        .example(
            "rsa2048",
            "A public key of 2048 bits",
            201,
            json!({
                "key_id": "webhooks-2026",
                "algorithm": "RSA-OAEP-256",
                "key_type": "RSA",
                "jwk": { "kty": "RSA", "n": EXAMPLE_MODULUS, "e": "AQAB", "use": "enc", "alg": "RSA-OAEP-256" },
            }),
        )
        .idempotent()
        .answers(201, "The key.", Content::Data(reference("EncryptionKey")))
        .errors(&[ErrorCode::NotFound, ErrorCode::InvalidEncryptionKey, ErrorCode::Conflict])
        .link("deactivate", link("deactivateKey"))
        .link("reactivate", link("reactivateKey"))
}

pub fn list_keys() -> Operation {
    Operation::new("listKeys", TAG, "List an endpoint's encryption keys")
        .names("EndpointId")
        .pages("The keys, newest first.", reference("EncryptionKey"), "EncryptionKeyId")
        .errors(&[ErrorCode::NotFound])
}

pub fn deactivate_key() -> Operation {
    set_active(Operation::new("deactivateKey", TAG, "Deactivate an encryption key"))
}

pub fn reactivate_key() -> Operation {
    set_active(
        Operation::new("reactivateKey", TAG, "Reactivate an encryption key")
            .describe("The key that was active is deactivated."),
    )
}

fn set_active(operation: Operation) -> Operation {
    operation
        .names("EncryptionKeyId")
        .may_take(reference("Empty"))
        .example("nothing", "No member", 200, json!({}))
        .answers(200, "The key.", Content::Data(reference("EncryptionKey")))
        .errors(&[ErrorCode::NotFound])
}

pub fn list_deliveries() -> Operation {
    let statuses: Vec<&str> = DeliveryStatus::ALL.iter().map(|status| status.as_str()).collect();
    Operation::new("listDeliveries", TAG, "List deliveries")
        .query("status", "Only those that stand so.", json!({ "type": "string", "enum": statuses }))
        .query("endpoint_id", "Only those to this endpoint.", reference("EndpointId"))
        .query("event_id", "Only those of this event.", reference("EventId"))
        .pages("The deliveries, newest first.", reference("Delivery"), "DeliveryId")
}

pub fn retry_delivery() -> Operation {
    Operation::new("retryDelivery", TAG, "Send a delivery again")
        .names("DeliveryId")
        .may_take(reference("Empty"))
        .example("nothing", "No member", 202, json!({}))
        .idempotent()
        .answers(202, "Its schedule began anew.", Content::Data(reference("Delivery")))
        .errors(&[ErrorCode::NotFound, ErrorCode::Conflict, ErrorCode::WebhookPayloadExpired])
}

pub fn list_events() -> Operation {
    let types: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    Operation::new("listEvents", TAG, "List events")
        .query("type", "Only those of this type.", json!({ "type": "string", "enum": types }))
        .query("created_from", "Only those of then or later.", super::moment())
        .query("created_to", "Only those of before or then.", super::moment())
        .pages("The events, newest first.", reference("Event"), "EventId")
}

pub fn get_event() -> Operation {
    Operation::new("getEvent", TAG, "Read an event")
        .names("EventId")
        .answers(200, "The event.", Content::Data(reference("Event")))
        .errors(&[ErrorCode::NotFound])
}

pub fn replay_event() -> Operation {
    Operation::new("replayEvent", TAG, "Send an event again")
        .describe("To every endpoint that it went to and that still is, its payload permitting.")
        .names("EventId")
        .may_take(reference("Empty"))
        .example("nothing", "No member", 202, json!({}))
        .idempotent()
        .answers(202, "Its deliveries began anew.", Content::Data(reference("Replay")))
        .errors(&[ErrorCode::NotFound, ErrorCode::WebhookPayloadExpired])
}

fn link(operation: &str) -> Value {
    json!({ "operationId": operation, "parameters": { "id": "$response.body#/data/id" } })
}
