//! An organisation as its integrator sets it up: a key, an endpoint, an encryption key, a receiver.

use anyhow::{Context, Result};
use proofmill_jose::{DecryptionKey, SigningSecret};
use serde_json::{Value, json};

use crate::client::ApiClient;
use crate::receiver::Receiver;
use crate::server::Server;

/// What an integrator has in hand once everything is set up.
pub struct Integrator {
    /// The organisation's id.
    pub organisation: String,
    /// Its API key.
    pub api_key: String,
    /// The API under that key.
    pub api: ApiClient,
    /// Where the webhooks arrive.
    pub receiver: Receiver,
    /// The endpoint's id.
    pub endpoint: String,
}

impl Integrator {
    /// Organisation and key by the command line, the rest over HTTP.
    pub async fn set_up(server: &Server, name: &str) -> Result<Self> {
        let organisation = server.create_organisation(name)?;
        let api_key = server.create_key(&organisation)?;
        let api = server.client(Some(&api_key));
        let receiver = Receiver::start().await?;
        let endpoint = add_endpoint(&api, &receiver, "main").await?;
        Ok(Self { organisation, api_key, api, receiver, endpoint })
    }
}

/// Creates an endpoint with a fresh RSA key, served by `receiver` under `path`; returns its id.
pub async fn add_endpoint(api: &ApiClient, receiver: &Receiver, path: &str) -> Result<String> {
    let created =
        api.post("/v1/webhooks/endpoints", &json!({ "url": receiver.url(path), "name": path })).await?.data()?;
    let text = |name: &str| created[name].as_str().with_context(|| format!("an endpoint has its `{name}`"));
    let endpoint = text("id")?.to_owned();
    let secret = SigningSecret::parse(text("signing_secret")?)?;
    let key = DecryptionKey::generate(&format!("{path}-key"), 2048)?;
    api.post(&format!("/v1/webhooks/endpoints/{endpoint}/keys"), &key_body(&key)).await?.data()?;
    receiver.register(path, secret, key);
    Ok(endpoint)
}

/// The request that registers a key.
pub fn key_body(key: &DecryptionKey) -> Value {
    json!({ "key_id": key.key_id(), "algorithm": "RSA-OAEP-256", "key_type": "RSA", "jwk": key.public_jwk() })
}
