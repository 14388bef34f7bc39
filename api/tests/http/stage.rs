//! A deployment with one object of every kind, and requests built from the OpenAPI document's examples.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use proofmill_api::openapi;
use serde_json::{Value, json};

use crate::document::Operation;
use crate::support::{Form, Tenant, World, request, text};

/// Everything an organisation can have.
pub struct Stage {
    pub world: World,
    pub tenant: Tenant,
    /// No attempt yet.
    pub session: String,
    pub cancel_token: String,
    /// Open, in a session of its own.
    pub attempt: String,
    pub write_token: String,
    pub endpoint: String,
    pub key: String,
    pub event: String,
    pub delivery: String,
}

impl Stage {
    pub async fn new() -> Self {
        let world = World::new().await;
        let tenant = world.tenant().await;
        Self::of(world, tenant).await
    }

    async fn of(world: World, tenant: Tenant) -> Self {
        let made = Objects::make(&world, &tenant).await;
        let Objects { session, cancel_token, attempt, write_token, endpoint, key, event, delivery } = made;
        Self { world, tenant, session, cancel_token, attempt, write_token, endpoint, key, event, delivery }
    }

    /// The object that an id in a path names.
    pub fn id(&self, schema: &str) -> &str {
        match schema {
            "SessionId" => &self.session,
            "AttemptId" => &self.attempt,
            "EndpointId" => &self.endpoint,
            "EncryptionKeyId" => &self.key,
            "EventId" => &self.event,
            "DeliveryId" => &self.delivery,
            other => panic!("the stage has no object for {other}"),
        }
    }

    /// The path of an operation on this stage's objects.
    pub fn path(&self, operation: &Operation) -> String {
        match operation.names() {
            None => operation.path.to_owned(),
            Some(schema) => operation.path.replace("{id}", self.id(schema)),
        }
    }

    /// What opens an operation to this stage's organisation.
    pub fn bearer(&self, operation: &Operation) -> &str {
        if operation.scope().is_some() {
            &self.tenant.key
        } else if operation.needs_write_token() {
            &self.write_token
        } else {
            ""
        }
    }

    /// A request with an example of its body, ids and tokens of examples replaced by this stage's.
    pub fn request(&self, operation: &Operation, path: &str, bearer: &str, example: &Value) -> Request<Body> {
        let builder = request(operation.http_method(), path, bearer);
        let Some((media_type, _)) = operation.body() else {
            return builder.body(Body::empty()).unwrap();
        };
        match media_type {
            "multipart/form-data" => builder
                .header(header::CONTENT_TYPE, Form::CONTENT_TYPE)
                .body(Body::from(form(example).finish()))
                .unwrap(),
            media_type => {
                let text = match example {
                    Value::String(text) => text.clone(),
                    value => value.to_string(),
                };
                builder.header(header::CONTENT_TYPE, media_type).body(Body::from(self.own(text))).unwrap()
            }
        }
    }

    /// Ids and tokens of the examples as this stage's.
    fn own(&self, mut text: String) -> String {
        for schema in ["SessionId", "AttemptId", "EndpointId", "EncryptionKeyId", "EventId", "DeliveryId"] {
            text = text.replace(&example_of(schema), self.id(schema));
        }
        let token =
            openapi::document().pointer("/components/schemas/CreatedSession/properties/cancel_token/examples/0");
        text.replace(token.unwrap().as_str().unwrap(), &self.cancel_token)
    }
}

/// The example in a schema.
pub fn example_of(schema: &str) -> String {
    let pointer = format!("/components/schemas/{schema}/examples/0");
    openapi::document().pointer(&pointer).unwrap().as_str().unwrap().to_owned()
}

struct Objects {
    session: String,
    cancel_token: String,
    attempt: String,
    write_token: String,
    endpoint: String,
    key: String,
    event: String,
    delivery: String,
}

impl Objects {
    async fn make(world: &World, tenant: &Tenant) -> Self {
        let post = async |path: &str, body: Value, status: u16| {
            world.post(&tenant.key, path, body).await.data(StatusCode::from_u16(status).unwrap())
        };
        let endpoint =
            text(&post("/v1/webhooks/endpoints", json!({ "url": "https://hooks.example.com/in" }), 201).await["id"]);
        let jwk = json!({ "kty": "RSA", "n": example_modulus(), "e": "AQAB" });
        let body = json!({ "key_id": "first", "algorithm": "RSA-OAEP-256", "key_type": "RSA", "jwk": jwk });
        let key = text(&post(&format!("/v1/webhooks/endpoints/{endpoint}/keys"), body, 201).await["id"]);
        let ended = text(&post("/v1/sessions", json!({}), 201).await["id"]);
        world.post(&tenant.key, &format!("/v1/sessions/{ended}/cancel"), json!({})).await;
        let event = world.get(&tenant.key, "/v1/webhooks/events").await.data(StatusCode::OK);
        let delivery = world.get(&tenant.key, "/v1/webhooks/deliveries").await.data(StatusCode::OK);
        let (_, handoff) = world.opened(tenant).await;
        let session = post("/v1/sessions", json!({}), 201).await;
        Self {
            session: text(&session["id"]),
            cancel_token: text(&session["cancel_token"]),
            attempt: text(&handoff["attempt_id"]),
            write_token: text(&handoff["mobile_write_token"]),
            endpoint,
            key,
            event: text(&event[0]["id"]),
            delivery: text(&delivery[0]["id"]),
        }
    }
}

/// The modulus in the example of a key.
fn example_modulus() -> String {
    let pointer = "/components/schemas/PublicKey/properties/n/examples/0";
    openapi::document().pointer(pointer).unwrap().as_str().unwrap().to_owned()
}

/// An example of a form: the characters of a text are octets, an object is JSON, an array several parts.
fn form(example: &Value) -> Form {
    let mut form = Form::default();
    for (name, value) in example.as_object().unwrap() {
        let parts = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for part in parts {
            let octets = match part {
                Value::String(text) => text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect(),
                object => object.to_string().into_bytes(),
            };
            form = form.part(name, &octets);
        }
    }
    form
}
