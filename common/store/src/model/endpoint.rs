use proofmill_contract::events::EventType;
use proofmill_contract::{EncryptionKeyId, EndpointId, OrganisationId, Timestamp};
use serde_json::Value;

/// A webhook endpoint to create.
#[derive(Clone)]
pub struct NewEndpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// Where to send.
    pub url: String,
    /// What people call it.
    pub name: Option<String>,
    /// Up to eight labels.
    pub labels: Vec<String>,
    /// Whether it receives.
    pub enabled: bool,
    /// What it wants to hear.
    pub subscribed_event_types: Vec<EventType>,
    /// How long payloads are held after delivery or the end of the schedule.
    pub undelivered_payload_retention_hours: u32,
    /// Its signing secret, sealed.
    pub signing_secret_sealed: Vec<u8>,
}

/// A stored webhook endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// Where to send.
    pub url: String,
    /// What people call it.
    pub name: Option<String>,
    /// Labels.
    pub labels: Vec<String>,
    /// Whether it receives.
    pub enabled: bool,
    /// What it wants to hear.
    pub subscribed_event_types: Vec<EventType>,
    /// How long payloads are held after delivery or the end of the schedule.
    pub undelivered_payload_retention_hours: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was disabled, if it is.
    pub disabled_at: Option<Timestamp>,
}

/// What to change of an endpoint; `None` leaves a field as it is.
#[derive(Clone, Default, Debug)]
pub struct EndpointUpdate {
    /// Where to send.
    pub url: Option<String>,
    /// What people call it; `Some(None)` removes the name.
    pub name: Option<Option<String>>,
    /// Labels.
    pub labels: Option<Vec<String>>,
    /// Whether it receives. Disabling ends its pending deliveries.
    pub enabled: Option<bool>,
    /// What it wants to hear.
    pub subscribed_event_types: Option<Vec<EventType>>,
    /// How long payloads are held after delivery or the end of the schedule.
    pub undelivered_payload_retention_hours: Option<u32>,
}

/// An endpoint's signing secrets, sealed. No `Debug`.
#[derive(Clone)]
pub struct SigningSecrets {
    /// The current one.
    pub current_sealed: Vec<u8>,
    /// The rotated one, while it still signs.
    pub previous_sealed: Option<Vec<u8>>,
    /// Until when it does.
    pub previous_expires_at: Option<Timestamp>,
}

/// A public encryption key to add to an endpoint.
#[derive(Clone)]
pub struct NewWebhookKey {
    /// Its id.
    pub id: EncryptionKeyId,
    /// Whose endpoint it is.
    pub organisation_id: OrganisationId,
    /// Which endpoint.
    pub endpoint_id: EndpointId,
    /// The caller's name of it: the JWE's `kid`.
    pub key_id: String,
    /// The public JWK, already checked.
    pub jwk: Value,
}

/// A stored public encryption key.
#[derive(Clone, Debug)]
pub struct WebhookKey {
    /// Its id.
    pub id: EncryptionKeyId,
    /// Which endpoint.
    pub endpoint_id: EndpointId,
    /// The caller's name of it: the JWE's `kid`.
    pub key_id: String,
    /// The public JWK.
    pub jwk: Value,
    /// Whether it encrypts now; at most one key of an endpoint does.
    pub active: bool,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was deactivated, if it is.
    pub deactivated_at: Option<Timestamp>,
}
