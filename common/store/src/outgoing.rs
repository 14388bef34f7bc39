//! Events and their encrypted deliveries, composed in memory: the queries only read recipients and insert rows.

use std::collections::HashMap;

use proofmill_contract::events::{EventType, plaintext};
use proofmill_contract::{AttemptId, DeliveryId, EndpointId, EventId, SessionId, Timestamp};
use proofmill_jose::EncryptionKey;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::limits::longest_schedule;
use crate::model::DeliveryStatus;
use crate::rows::{DeliveryRow, EndpointRow, EventRow, SessionRow, WebhookKeyRow, from_json, parse, version};

/// The endpoints of the organisations that one transaction deals with: read once, their keys parsed once.
#[derive(Default)]
pub(crate) struct Recipients(HashMap<String, Vec<Recipient>>);

impl Recipients {
    /// An organisation's recipients, read by `load` the first time.
    pub(crate) fn of(
        &mut self,
        organisation: &str,
        load: impl FnOnce() -> Result<Vec<(EndpointRow, Option<WebhookKeyRow>)>, StoreError>,
    ) -> Result<&[Recipient], StoreError> {
        if !self.0.contains_key(organisation) {
            let recipients = load()?.into_iter().map(Recipient::read).collect::<Result<Vec<_>, _>>()?;
            self.0.insert(organisation.to_owned(), recipients);
        }
        Ok(self.0.get(organisation).map_or(&[], Vec::as_slice))
    }
}

/// An enabled endpoint.
pub(crate) struct Recipient {
    endpoint: EndpointId,
    subscribed: Vec<EventType>,
    key: Key,
}

enum Key {
    Ready(Box<EncryptionKey>),
    Missing,
    Unusable,
}

impl Recipient {
    fn read((endpoint, key): (EndpointRow, Option<WebhookKeyRow>)) -> Result<Self, StoreError> {
        let key = match key {
            None => Key::Missing,
            // The api checked it when it was added. A key that fails now must not keep verdicts from being written.
            Some(key) => {
                match EncryptionKey::from_registered_jwk(&key.key_id, &from_json(&key.jwk, "encryption_keys.jwk")?) {
                    Ok(key) => Key::Ready(Box::new(key)),
                    Err(error) => {
                        tracing::error!(encryption_key = %key.id, %error, "stored encryption key is unusable");
                        Key::Unusable
                    }
                }
            }
        };
        Ok(Self {
            endpoint: parse(&endpoint.id, "webhook_endpoints.id")?,
            subscribed: from_json(&endpoint.subscribed_event_types, "webhook_endpoints.subscribed_event_types")?,
            key,
        })
    }
}

/// What is to happen, before it has an id.
pub(crate) struct Happening<'a> {
    pub event_type: EventType,
    pub attempt: Option<&'a AttemptId>,
    pub data: &'a Value,
    pub terminal: bool,
}

/// An event and its deliveries, ready to be inserted.
pub(crate) struct Outgoing {
    pub event: EventRow,
    pub deliveries: Vec<DeliveryRow>,
}

/// Composes an event of a session and encrypts it to each recipient. The plaintext is wiped before this returns.
pub(crate) fn compose(
    session: &SessionRow,
    recipients: &[Recipient],
    happening: &Happening<'_>,
    now: Timestamp,
) -> Result<Outgoing, StoreError> {
    let mut rng = rand::rng();
    let event_id = EventId::generate(now, &mut rng);
    let contract_version = version(session.contract_version, "sessions.contract_version")?;
    let session_id: SessionId = parse(&session.id, "sessions.id")?;
    let named = session.webhook_endpoint_ids.as_deref();
    let named: Option<Vec<EndpointId>> =
        named.map(|ids| from_json(ids, "sessions.webhook_endpoint_ids")).transpose()?;
    let hears = |recipient: &&Recipient| {
        named.as_ref().is_none_or(|ids| ids.contains(&recipient.endpoint))
            && recipient.subscribed.contains(&happening.event_type)
    };

    let text =
        plaintext(happening.event_type, contract_version, &event_id, &session_id, happening.attempt, happening.data);
    let text = Zeroizing::new(text.to_string());

    let deliveries = recipients
        .iter()
        .filter(hears)
        .map(|recipient| {
            let payload = encrypt(&recipient.key, text.as_bytes());
            let failed = payload.as_ref().err().copied();
            DeliveryRow {
                id: DeliveryId::generate(now, &mut rng).into(),
                event_id: event_id.to_string(),
                endpoint_id: recipient.endpoint.to_string(),
                organisation_id: session.organisation_id.clone(),
                session_id: session.id.clone(),
                event_type: happening.event_type.as_str().to_owned(),
                status: failed.map_or(DeliveryStatus::Pending, |_| DeliveryStatus::Failed).as_str().to_owned(),
                reason: failed.map(str::to_owned),
                payload: payload.ok(),
                payload_expires_at: None,
                tries: 0,
                next_attempt_at: failed.is_none().then_some(now.0),
                lease_token: None,
                lease_until: None,
                maybe_received: false,
                last_status_code: None,
                last_error: None,
                delivered_at: None,
                created_at: now.0,
                updated_at: now.0,
                give_up_at: failed.is_none().then(|| now.plus(longest_schedule()).0),
            }
        })
        .collect();

    let event = EventRow {
        id: event_id.into(),
        organisation_id: session.organisation_id.clone(),
        session_id: session.id.clone(),
        attempt_id: happening.attempt.map(ToString::to_string),
        event_type: happening.event_type.as_str().to_owned(),
        contract_version: session.contract_version,
        terminal: happening.terminal,
        superseded_at: None,
        created_at: now.0,
    };
    Ok(Outgoing { event, deliveries })
}

/// The JWE, or the reason for which the delivery fails.
fn encrypt(key: &Key, plaintext: &[u8]) -> Result<String, &'static str> {
    match key {
        Key::Missing => Err("no_active_key"),
        Key::Unusable => Err("encryption_failed"),
        Key::Ready(key) => key.encrypt(plaintext).map_err(|error| {
            tracing::error!(kid = key.key_id(), %error, "webhook payload could not be encrypted");
            "encryption_failed"
        }),
    }
}
