//! `components.schemas`: every object that a route takes or answers (JSON Schema 2020-12).

mod attempts;
mod bulk;
mod envelope;
mod sessions;
mod webhooks;

pub use webhooks::{EXAMPLE_MODULUS, plaintext_name};

use proofmill_contract::limits::{DEFAULT_PAGE, MAX_PAGE};
use serde_json::{Map, Value, json};

/// What an id of an example looks like after its prefix: the time of [`EXAMPLE_TIME`], then noise.
const EXAMPLE_ID: &str = "00mwrmynk0q7v2kx4c8d1f6hj3l5n0pr9tzwbyeu2oa4sg7m1xk8q3v6c0d5fhjr";
/// When the objects of the examples were made.
pub const EXAMPLE_TIME: &str = "2026-11-22T09:30:00.000Z";

/// Every schema, by name.
pub fn all() -> Map<String, Value> {
    let mut schemas = Map::new();
    for (name, schema) in
        [ids(), envelope::schemas(), sessions::schemas(), attempts::schemas(), bulk::schemas(), webhooks::schemas()]
            .into_iter()
            .flatten()
    {
        schemas.insert(name.to_owned(), schema);
    }
    schemas
}

/// A reference to a schema by name.
pub fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The example id of a kind.
pub fn example_id(prefix: &str, length: usize) -> String {
    format!("{prefix}{}", &EXAMPLE_ID[..length])
}

/// `limit` of a list.
pub fn page_limit() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE })
}

/// A moment.
pub fn time() -> Value {
    reference("Timestamp")
}

type Named = Vec<(&'static str, Value)>;

fn ids() -> Named {
    use proofmill_contract::{AttemptId, DeliveryId, EncryptionKeyId, EndpointId, EventId, SessionId};
    let id = |prefix: &str, length: usize, what: &str| {
        json!({
            "type": "string",
            "pattern": format!("^{prefix}[a-z0-9]{{{length}}}$"),
            "description": what,
            "examples": [example_id(prefix, length)],
        })
    };
    vec![
        ("SessionId", id(SessionId::PREFIX, SessionId::LENGTH, "A session. Whoever knows it may follow the session.")),
        ("AttemptId", id(AttemptId::PREFIX, AttemptId::LENGTH, "An attempt of a session.")),
        ("EventId", id(EventId::PREFIX, EventId::LENGTH, "An event; the same for every delivery and try of it.")),
        ("DeliveryId", id(DeliveryId::PREFIX, DeliveryId::LENGTH, "One event on its way to one endpoint.")),
        ("EndpointId", id(EndpointId::PREFIX, EndpointId::LENGTH, "A webhook endpoint.")),
        ("EncryptionKeyId", id(EncryptionKeyId::PREFIX, EncryptionKeyId::LENGTH, "An encryption key.")),
        (
            "Timestamp",
            json!({
                "type": "string",
                "format": "date-time",
                "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
                "description": "RFC 3339, UTC, milliseconds.",
                "examples": [EXAMPLE_TIME],
            }),
        ),
        ("Empty", closed(json!({}), "No member.")),
    ]
}

/// An object with exactly these members.
fn closed(members: Value, description: &str) -> Value {
    let required: Vec<&String> = members.as_object().into_iter().flat_map(Map::keys).collect();
    json!({
        "type": "object",
        "description": description,
        "properties": members,
        "required": required,
        "additionalProperties": false,
    })
}

/// An object with these members and no other, of which only some must be there.
fn open(members: Value, required: &[&str], description: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "properties": members,
        "required": required,
        "additionalProperties": false,
    })
}

/// The same, or null.
fn nullable(mut schema: Value) -> Value {
    match schema.get("type").cloned() {
        Some(kind @ Value::String(_)) if schema.get("enum").is_none() => {
            schema["type"] = json!([kind, "null"]);
            schema
        }
        _ => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

/// The same, with what it is for.
fn said(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}

/// One of these texts.
fn one_of(values: &[&str], description: &str) -> Value {
    json!({ "type": "string", "enum": values, "description": description })
}

/// A text that a member shows as an example.
fn text(description: &str, example: &str) -> Value {
    json!({ "type": "string", "description": description, "examples": [example] })
}

/// The `properties` of a closed object, to build another with more.
fn members_of(schema: &Value) -> Value {
    schema["properties"].clone()
}
