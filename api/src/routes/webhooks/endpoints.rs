//! Webhook endpoints.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use proofmill_contract::events::EventType;
use proofmill_contract::{ApiError, EndpointId, ids};
use proofmill_store::{Endpoint, EndpointUpdate, NewEndpoint};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::secrets::seal_secret;
use super::{endpoint_id, url};
use crate::http::auth::{Authorised, Caller, WebhooksRead, WebhooksWrite};
use crate::http::body::JsonBytes;
use crate::http::envelope;
use crate::http::error::{Error, Result};
use crate::http::idempotency::{self, Answered, Creation, Once};
use crate::http::page;
use crate::http::query::Query;
use crate::state::Ctx;

const MAX_NAME_CHARS: usize = 200;
const MAX_LABELS: usize = 8;
const MAX_LABEL_CHARS: usize = 64;
const RETENTION_HOURS: [u32; 4] = [0, 24, 72, 168];
const DEFAULT_RETENTION_HOURS: u32 = 72;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateRequest {
    url: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default)]
    subscribed_event_types: Option<Vec<EventType>>,
    #[serde(default)]
    undelivered_payload_retention_hours: Option<u32>,
}

/// What is left out stays. Only the name can be `null`: it is removed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateRequest {
    #[serde(default, deserialize_with = "present")]
    url: Option<String>,
    #[serde(default, deserialize_with = "present")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    labels: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    enabled: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    subscribed_event_types: Option<Vec<EventType>>,
    #[serde(default, deserialize_with = "present")]
    undelivered_payload_retention_hours: Option<u32>,
}

/// `POST /v1/webhooks/endpoints`
pub async fn create(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksWrite>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    let request: CreateRequest = body.parse()?;
    let creation = Creation { organisation: caller.organisation.clone(), method, uri, headers, body: body.0 };
    let shared = ctx.clone();
    idempotency::once(&ctx, creation, |once| store_endpoint(shared, caller, request, once)).await
}

/// `GET /v1/webhooks/endpoints`
pub async fn list(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksRead>,
    mut query: Query,
) -> Result<Response> {
    let request = page::request(&mut query)?;
    query.finish()?;
    let limit = request.limit;
    let rows = ctx.store.list_endpoints(&caller.organisation, request).await?;
    let items = rows.items.iter().map(view).collect();
    Ok(page::response(limit, &rows, items))
}

/// `GET /v1/webhooks/endpoints/{id}`
pub async fn get(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksRead>,
    Path(id): Path<String>,
) -> Result<Response> {
    let id = endpoint_id(&id)?;
    let endpoint = ctx.store.endpoint(&caller.organisation, &id).await?.ok_or_else(not_found)?;
    Ok(envelope::data(StatusCode::OK, &view(&endpoint)))
}

/// `PATCH /v1/webhooks/endpoints/{id}`
pub async fn update(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksWrite>,
    Path(id): Path<String>,
    body: JsonBytes,
) -> Result<Response> {
    let id = endpoint_id(&id)?;
    let request: UpdateRequest = body.parse()?;
    let update = EndpointUpdate {
        url: request.url.as_deref().map(|url| check_url(&ctx, url)).transpose()?,
        name: request.name.map(check_name).transpose()?,
        labels: request.labels.map(check_labels).transpose()?,
        enabled: request.enabled,
        subscribed_event_types: request.subscribed_event_types.map(check_types).transpose()?,
        undelivered_payload_retention_hours: request
            .undelivered_payload_retention_hours
            .map(check_retention)
            .transpose()?,
    };
    let endpoint =
        ctx.store.update_endpoint(&caller.organisation, &id, update, ctx.clock.now()).await?.ok_or_else(not_found)?;
    Ok(envelope::data(StatusCode::OK, &view(&endpoint)))
}

/// `DELETE /v1/webhooks/endpoints/{id}`
pub async fn delete(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksWrite>,
    Path(id): Path<String>,
) -> Result<Response> {
    let id = endpoint_id(&id)?;
    if ctx.store.delete_endpoint(&caller.organisation, &id, ctx.clock.now()).await? {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(not_found())
    }
}

pub(super) fn not_found() -> Error {
    Error::not_found("webhook endpoint")
}

async fn store_endpoint(ctx: Ctx, caller: Caller, request: CreateRequest, once: Once) -> Result<Answered> {
    let now = ctx.clock.now();
    let id = EndpointId::generate(now, &mut rand::rng());
    let secret = ids::signing_secret(&mut rand::rng());
    let new = NewEndpoint {
        signing_secret_sealed: seal_secret(&ctx, &id, &secret)?,
        id,
        organisation_id: caller.organisation,
        url: check_url(&ctx, &request.url)?,
        name: check_name(request.name)?,
        labels: check_labels(request.labels)?,
        enabled: request.enabled.unwrap_or(true),
        subscribed_event_types: match request.subscribed_event_types {
            None => EventType::ALL.to_vec(),
            Some(types) => check_types(types)?,
        },
        undelivered_payload_retention_hours: check_retention(
            request.undelivered_payload_retention_hours.unwrap_or(DEFAULT_RETENTION_HOURS),
        )?,
    };
    let reply = once.reply(move |endpoint| {
        let mut value = view(endpoint);
        value["signing_secret"] = secret.clone().into();
        Ok(Some((StatusCode::CREATED, value)))
    });
    let endpoint = ctx.store.create_endpoint_once(new, reply.stored(), now).await?;
    reply.respond_to_success(&endpoint)
}

fn view(endpoint: &Endpoint) -> Value {
    json!({
        "id": endpoint.id,
        "url": endpoint.url,
        "name": endpoint.name,
        "labels": endpoint.labels,
        "enabled": endpoint.enabled,
        "subscribed_event_types": endpoint.subscribed_event_types,
        "undelivered_payload_retention_hours": endpoint.undelivered_payload_retention_hours,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
        "disabled_at": endpoint.disabled_at,
    })
}

fn check_url(ctx: &Ctx, text: &str) -> Result<String> {
    url::check(text, ctx.config.allow_loopback_webhooks)?;
    Ok(text.to_owned())
}

fn check_name(name: Option<String>) -> Result<Option<String>> {
    match name {
        Some(name) if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS => {
            Err(ApiError::invalid_field("name", format!("expected 1 to {MAX_NAME_CHARS} characters")).into())
        }
        name => Ok(name),
    }
}

fn check_labels(labels: Vec<String>) -> Result<Vec<String>> {
    if labels.len() > MAX_LABELS {
        return Err(ApiError::invalid_field("labels", format!("expected at most {MAX_LABELS}")).into());
    }
    for (index, label) in labels.iter().enumerate() {
        if label.trim().is_empty() || label.chars().count() > MAX_LABEL_CHARS {
            let field = format!("labels[{index}]");
            return Err(ApiError::invalid_field(&field, format!("expected 1 to {MAX_LABEL_CHARS} characters")).into());
        }
    }
    Ok(labels)
}

/// In the published order, without repeats. An endpoint that hears nothing is a mistake; disabling says it better.
fn check_types(types: Vec<EventType>) -> Result<Vec<EventType>> {
    if types.is_empty() {
        return Err(ApiError::invalid_field("subscribed_event_types", "expected at least one event type")
            .with_hint("set `enabled` to false to stop deliveries")
            .into());
    }
    Ok(EventType::ALL.iter().copied().filter(|kind| types.contains(kind)).collect())
}

fn check_retention(hours: u32) -> Result<u32> {
    if RETENTION_HOURS.contains(&hours) {
        return Ok(hours);
    }
    Err(ApiError::invalid_field("undelivered_payload_retention_hours", "expected 0, 24, 72 or 168").into())
}

/// Tells `null` from absent: it is then a value like any other, and refused where `T` has none.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}
