use diesel::prelude::*;
use proofmill_contract::Timestamp;

use super::{count, from_json, parse, time, to_json, version};
use crate::error::StoreError;
use crate::model::{Delivery, Endpoint, Event, NewEndpoint, NewWebhookKey, WebhookKey};
use crate::schema::{deliveries, encryption_keys, events, idempotency_keys, signing_secrets, webhook_endpoints};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = webhook_endpoints)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct EndpointRow {
    pub id: String,
    pub organisation_id: String,
    pub url: String,
    pub name: Option<String>,
    pub labels: String,
    pub enabled: bool,
    pub subscribed_event_types: String,
    pub retention_hours: i32,
    pub created_at: i64,
    pub updated_at: i64,
    pub disabled_at: Option<i64>,
    pub deleted_at: Option<i64>,
}

impl EndpointRow {
    pub(crate) fn new(new: &NewEndpoint, now: Timestamp) -> Result<Self, StoreError> {
        Ok(Self {
            id: new.id.to_string(),
            organisation_id: new.organisation_id.to_string(),
            url: new.url.clone(),
            name: new.name.clone(),
            labels: to_json(&new.labels, "webhook_endpoints.labels")?,
            enabled: new.enabled,
            subscribed_event_types: to_json(&new.subscribed_event_types, "webhook_endpoints.subscribed_event_types")?,
            retention_hours: hours(new.undelivered_payload_retention_hours),
            created_at: now.0,
            updated_at: now.0,
            disabled_at: (!new.enabled).then_some(now.0),
            deleted_at: None,
        })
    }
}

/// The column's type; an absurd number is then refused by the column's constraint.
pub(crate) fn hours(hours: u32) -> i32 {
    i32::try_from(hours).unwrap_or(i32::MAX)
}

impl TryFrom<EndpointRow> for Endpoint {
    type Error = StoreError;
    fn try_from(row: EndpointRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: parse(&row.id, "webhook_endpoints.id")?,
            organisation_id: parse(&row.organisation_id, "webhook_endpoints.organisation_id")?,
            url: row.url,
            name: row.name,
            labels: from_json(&row.labels, "webhook_endpoints.labels")?,
            enabled: row.enabled,
            subscribed_event_types: from_json(&row.subscribed_event_types, "webhook_endpoints.subscribed_event_types")?,
            undelivered_payload_retention_hours: count(row.retention_hours, "webhook_endpoints.retention_hours")?,
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            disabled_at: time(row.disabled_at),
        })
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = signing_secrets)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct SecretRow {
    pub endpoint_id: String,
    pub generation: i32,
    pub sealed: Vec<u8>,
    pub created_at: i64,
    pub expires_at: Option<i64>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = encryption_keys)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct WebhookKeyRow {
    pub id: String,
    pub endpoint_id: String,
    pub key_id: String,
    pub jwk: String,
    pub active: bool,
    pub created_at: i64,
    pub deactivated_at: Option<i64>,
}

impl WebhookKeyRow {
    pub(crate) fn new(new: &NewWebhookKey, now: Timestamp) -> Self {
        Self {
            id: new.id.to_string(),
            endpoint_id: new.endpoint_id.to_string(),
            key_id: new.key_id.clone(),
            jwk: new.jwk.to_string(),
            active: true,
            created_at: now.0,
            deactivated_at: None,
        }
    }
}

impl TryFrom<WebhookKeyRow> for WebhookKey {
    type Error = StoreError;
    fn try_from(row: WebhookKeyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: parse(&row.id, "encryption_keys.id")?,
            endpoint_id: parse(&row.endpoint_id, "encryption_keys.endpoint_id")?,
            key_id: row.key_id,
            jwk: from_json(&row.jwk, "encryption_keys.jwk")?,
            active: row.active,
            created_at: Timestamp(row.created_at),
            deactivated_at: time(row.deactivated_at),
        })
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = events)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct EventRow {
    pub id: String,
    pub organisation_id: String,
    pub session_id: String,
    pub attempt_id: Option<String>,
    pub event_type: String,
    pub contract_version: i32,
    pub terminal: bool,
    pub superseded_at: Option<i64>,
    pub created_at: i64,
}

impl TryFrom<EventRow> for Event {
    type Error = StoreError;
    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: parse(&row.id, "events.id")?,
            organisation_id: parse(&row.organisation_id, "events.organisation_id")?,
            session_id: parse(&row.session_id, "events.session_id")?,
            attempt_id: row.attempt_id.as_deref().map(|id| parse(id, "events.attempt_id")).transpose()?,
            event_type: parse(&row.event_type, "events.event_type")?,
            contract_version: version(row.contract_version, "events.contract_version")?,
            terminal: row.terminal,
            created_at: Timestamp(row.created_at),
            superseded_at: time(row.superseded_at),
        })
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = deliveries)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct DeliveryRow {
    pub id: String,
    pub event_id: String,
    pub endpoint_id: String,
    pub organisation_id: String,
    pub session_id: String,
    pub event_type: String,
    pub status: String,
    pub reason: Option<String>,
    pub payload: Option<String>,
    pub payload_expires_at: Option<i64>,
    pub tries: i32,
    pub next_attempt_at: Option<i64>,
    pub lease_token: Option<String>,
    pub lease_until: Option<i64>,
    pub maybe_received: bool,
    pub last_status_code: Option<i32>,
    pub last_error: Option<String>,
    pub delivered_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub give_up_at: Option<i64>,
}

/// What is told of a delivery: whether its payload exists, and nothing of it. A page of payloads would be megabytes.
#[derive(Queryable, Selectable)]
#[diesel(table_name = deliveries)]
pub(crate) struct ListedDelivery {
    pub id: String,
    pub event_id: String,
    pub endpoint_id: String,
    pub session_id: String,
    pub event_type: String,
    pub status: String,
    pub reason: Option<String>,
    #[diesel(select_expression = deliveries::payload.is_not_null())]
    #[diesel(select_expression_type = diesel::dsl::IsNotNull<deliveries::payload>)]
    pub has_payload: bool,
    pub tries: i32,
    pub next_attempt_at: Option<i64>,
    pub last_status_code: Option<i32>,
    pub last_error: Option<String>,
    pub delivered_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

impl TryFrom<ListedDelivery> for Delivery {
    type Error = StoreError;
    fn try_from(row: ListedDelivery) -> Result<Self, StoreError> {
        let code = |number: i32| u16::try_from(number).map_err(|_| StoreError::Corrupt("deliveries.last_status_code"));
        Ok(Self {
            id: parse(&row.id, "deliveries.id")?,
            event_id: parse(&row.event_id, "deliveries.event_id")?,
            event_type: parse(&row.event_type, "deliveries.event_type")?,
            endpoint_id: parse(&row.endpoint_id, "deliveries.endpoint_id")?,
            session_id: parse(&row.session_id, "deliveries.session_id")?,
            status: parse(&row.status, "deliveries.status")?,
            reason: row.reason,
            tries: count(row.tries, "deliveries.tries")?,
            last_status_code: row.last_status_code.map(code).transpose()?,
            last_error: row.last_error,
            next_attempt_at: time(row.next_attempt_at),
            payload_available: row.has_payload,
            delivered_at: time(row.delivered_at),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        })
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = idempotency_keys)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct IdempotencyRow {
    pub organisation_id: String,
    pub route: String,
    pub key: String,
    pub fingerprint: Vec<u8>,
    pub lease_token: String,
    pub lease_until: i64,
    pub response_status: Option<i32>,
    pub response_sealed: Option<Vec<u8>>,
    pub created_at: i64,
    pub expires_at: i64,
}
