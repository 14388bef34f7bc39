//! Events: what happened, without what it said.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use proofmill_contract::EventId;
use proofmill_contract::events::EventType;
use proofmill_store::{Event, EventFilter, ReplayResult};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::auth::{Authorised, WebhooksRead, WebhooksWrite};
use crate::http::body::JsonBytes;
use crate::http::envelope;
use crate::http::error::{Error, Result};
use crate::http::idempotency::{self, Creation};
use crate::http::page;
use crate::http::query::Query;
use crate::state::Ctx;

/// `GET /v1/webhooks/events`
pub async fn list(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksRead>,
    mut query: Query,
) -> Result<Response> {
    let filter = EventFilter {
        event_type: query.take::<EventType>("type", "an event type")?,
        created_from: query.take_time("created_from")?,
        created_to: query.take_time("created_to")?,
    };
    let request = page::request(&mut query)?;
    query.finish()?;
    let limit = request.limit;
    let rows = ctx.store.list_events(&caller.organisation, filter, request).await?;
    let items = rows.items.iter().map(view).collect();
    Ok(page::response(limit, &rows, items))
}

/// `GET /v1/webhooks/events/{id}`
pub async fn get(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksRead>,
    Path(id): Path<String>,
) -> Result<Response> {
    let id = event_id(&id)?;
    let event = ctx.store.event(&caller.organisation, &id).await?.ok_or_else(not_found)?;
    Ok(envelope::data(StatusCode::OK, &view(&event)))
}

/// `POST /v1/webhooks/events/{id}/replay`
pub async fn replay(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksWrite>,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    body.parse::<Empty>()?;
    let id = event_id(&id)?;
    let organisation = caller.organisation.clone();
    let creation = Creation { organisation: caller.organisation, method, uri, headers, body: body.0 };
    let shared = ctx.clone();
    // A repeat must not send everything a second time: hence once per idempotency key.
    idempotency::once(&ctx, creation, |once| async move {
        let event = id.clone();
        let reply = once.reply(move |result: &ReplayResult| match result {
            ReplayResult::Replayed(deliveries) => {
                Ok(Some((StatusCode::ACCEPTED, json!({ "event_id": event, "deliveries": deliveries }))))
            }
            ReplayResult::PayloadExpired | ReplayResult::NotFound => Ok(None),
        });
        let result = shared.store.replay_event_once(&organisation, &id, reply.stored(), shared.clock.now()).await?;
        reply.respond(&result)?.ok_or_else(|| match result {
            ReplayResult::PayloadExpired => super::payload_expired(),
            ReplayResult::Replayed(_) | ReplayResult::NotFound => not_found(),
        })
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

fn event_id(text: &str) -> Result<EventId> {
    EventId::parse(text).map_err(|_| not_found())
}

fn not_found() -> Error {
    Error::not_found("event")
}

fn view(event: &Event) -> Value {
    json!({
        "id": event.id,
        "type": event.event_type,
        "contract_version": event.contract_version,
        "session_id": event.session_id,
        "attempt_id": event.attempt_id,
        "terminal": event.terminal,
        "superseded_at": event.superseded_at,
        "created_at": event.created_at,
    })
}
