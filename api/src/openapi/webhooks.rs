//! The requests that we send.

use proofmill_contract::events::EventType;
use serde_json::{Map, Value, json};

use super::{example, schemas};

/// `webhooks`: one for each event type.
pub fn all(schemas: &Map<String, Value>) -> Value {
    EventType::ALL.iter().map(|kind| (kind.as_str().to_owned(), webhook(*kind, schemas))).collect::<Map<_, _>>().into()
}

/// `callbacks` of an endpoint's creation.
pub fn callbacks() -> Value {
    let events: Map<String, Value> = EventType::ALL
        .iter()
        .map(|kind| {
            let pointer = kind.as_str().replace('/', "~1");
            (kind.as_str().to_owned(), json!({ "{$request.body#/url}": { "$ref": format!("#/webhooks/{pointer}") } }))
        })
        .collect();
    events.into()
}

fn webhook(kind: EventType, schemas: &Map<String, Value>) -> Value {
    let plaintext = schemas::reference(schemas::plaintext_name(kind));
    let example = example::of(&plaintext, schemas);
    let header = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "header", "required": true, "description": description, "schema": schema });
    json!({ "post": {
        "operationId": format!("receive.{kind}"),
        "tags": ["Webhooks"],
        "summary": summary(kind),
        "description": "At least once; `event_id` is the same every time. Answer 2xx within 15 seconds; 410 disables the endpoint, 429 and 503 may name a time in `Retry-After`.",
        "security": [],
        "parameters": [
            header("X-Kayle-Delivery-Id", "This delivery.", schemas::reference("DeliveryId")),
            header("X-Kayle-Event", "The event's type.", json!({ "type": "string", "const": kind.as_str() })),
            header(
                "X-Kayle-Signature",
                "`t=<unix seconds>,v1=<hex>`: HMAC-SHA256 of `t.body`, keyed with the whole `whsec_` text. After a rotation there are two `v1`, the new secret's first.",
                json!({ "type": "string", "pattern": "^t=[0-9]+(,v1=[0-9a-f]{64}){1,2}$" }),
            ),
            header("webhook-id", "The event.", schemas::reference("EventId")),
            header("webhook-timestamp", "Unix seconds.", json!({ "type": "string", "pattern": "^[0-9]+$" })),
            header(
                "webhook-signature",
                "Standard Webhooks: `v1,<base64>` of HMAC-SHA256 over `id.timestamp.body`, keyed with the base64-decoded text after `whsec_`. After a rotation there are two, parted by a space.",
                json!({ "type": "string", "pattern": "^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)?$" }),
            ),
        ],
        "requestBody": {
            "required": true,
            "description": "A compact JWE (RFC 7516), RSA-OAEP-256 and A256GCM, header members `alg`, `enc` and `kid`, encrypted to the endpoint's active key; `x-plaintext` is what it holds.",
            "content": { "application/jose": {
                "schema": { "type": "string", "pattern": r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){4}$" },
                "x-plaintext": { "schema": plaintext, "example": example },
            } },
        },
        "responses": { "2XX": { "description": "Received." } },
    } })
}

fn summary(kind: EventType) -> &'static str {
    match kind {
        EventType::AttemptSucceeded => "Contract 1: an attempt was accepted; final",
        EventType::AttemptFailed => "Contract 1: an attempt was rejected; final at the third",
        EventType::SessionSucceeded => "Contract 2: the session's attempt was accepted; final",
        EventType::SessionFailed => "Contract 2: the session ended without an accepted attempt; final",
        EventType::SessionExpired => "The session's hour passed; final",
        EventType::SessionCancelled => "The session was cancelled; final",
    }
}
