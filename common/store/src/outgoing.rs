//! Events and their encrypted deliveries, composed in memory: the queries only read recipients and insert rows.

use std::collections::HashMap;
use std::rc::Rc;

use proofmill_contract::events::{EventType, plaintext};
use proofmill_contract::{AttemptId, DeliveryId, EndpointId, EventId, SessionId, Timestamp};
use proofmill_jose::EncryptionKey;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::limits::{DELIVERY_COST, longest_schedule};
use crate::model::DeliveryStatus;
use crate::rows::{DeliveryRow, EndpointRow, EventRow, SessionRow, WebhookKeyRow, from_json, parse, version};

/// The endpoints of the organisations that one transaction deals with: read once, their keys parsed once.
#[derive(Default)]
pub(crate) struct Recipients(HashMap<String, Rc<[Recipient]>>);

impl Recipients {
    /// An organisation's recipients, read by `load` the first time.
    pub(crate) fn of(
        &mut self,
        organisation: &str,
        load: impl FnOnce() -> Result<Vec<(EndpointRow, Option<WebhookKeyRow>)>, StoreError>,
    ) -> Result<Rc<[Recipient]>, StoreError> {
        if let Some(recipients) = self.0.get(organisation) {
            return Ok(recipients.clone());
        }
        let recipients = load()?.into_iter().map(Recipient::read).collect::<Result<Rc<[_]>, _>>()?;
        self.0.insert(organisation.to_owned(), recipients.clone());
        Ok(recipients)
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

/// An event, ready to be inserted, and what its deliveries are made of: each is a ciphertext of all of it, so they are
/// encrypted when their turn to be written comes. The plaintext is wiped when this is dropped.
pub(crate) struct Outgoing {
    pub event: EventRow,
    text: Zeroizing<String>,
    recipients: Rc<[Recipient]>,
    /// Who of the recipients hears of it.
    hearing: Vec<usize>,
    now: Timestamp,
}

/// Composes an event of a session for those who hear of it.
pub(crate) fn compose(
    session: &SessionRow,
    recipients: Rc<[Recipient]>,
    happening: &Happening<'_>,
    now: Timestamp,
) -> Result<Outgoing, StoreError> {
    let event_id = EventId::generate(now, &mut rand::rng());
    let contract_version = version(session.contract_version, "sessions.contract_version")?;
    let session_id: SessionId = parse(&session.id, "sessions.id")?;
    let named = session.webhook_endpoint_ids.as_deref();
    let named: Option<Vec<EndpointId>> =
        named.map(|ids| from_json(ids, "sessions.webhook_endpoint_ids")).transpose()?;
    let hears = |recipient: &Recipient| {
        named.as_ref().is_none_or(|ids| ids.contains(&recipient.endpoint))
            && recipient.subscribed.contains(&happening.event_type)
    };
    let hearing = recipients.iter().enumerate().filter(|(_, one)| hears(one)).map(|(index, _)| index).collect();

    let text =
        plaintext(happening.event_type, contract_version, &event_id, &session_id, happening.attempt, happening.data);
    let text = Zeroizing::new(text.to_string());

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
    Ok(Outgoing { event, text, recipients, hearing, now })
}

impl Outgoing {
    /// How many deliveries it has.
    pub(crate) fn deliveries(&self) -> usize {
        self.hearing.len()
    }

    /// What writing its deliveries costs, as bytes of payload.
    pub(crate) fn cost(&self) -> usize {
        self.hearing.len().saturating_mul(self.text.len().saturating_add(DELIVERY_COST))
    }

    /// Its deliveries, each encrypted when it is asked for.
    pub(crate) fn encrypted(&self) -> impl Iterator<Item = DeliveryRow> + '_ {
        self.hearing.iter().filter_map(|index| self.recipients.get(*index)).map(|recipient| self.delivery(recipient))
    }

    fn delivery(&self, recipient: &Recipient) -> DeliveryRow {
        let (event, now) = (&self.event, self.now);
        let payload = encrypt(&recipient.key, self.text.as_bytes());
        let failed = payload.as_ref().err().copied();
        DeliveryRow {
            id: DeliveryId::generate(now, &mut rand::rng()).into(),
            event_id: event.id.clone(),
            endpoint_id: recipient.endpoint.to_string(),
            organisation_id: event.organisation_id.clone(),
            session_id: event.session_id.clone(),
            event_type: event.event_type.clone(),
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
    }
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
