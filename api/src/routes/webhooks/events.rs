//! Events: what happened, without what it said.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use proofmill_contract::EventId;
use proofmill_contract::events::EventType;
use proofmill_store::{Event, EventFilter, ReplayResult};
use serde_json::{Value, json};

use crate::http::auth::{Authorised, WebhooksRead, WebhooksWrite};
use crate::http::envelope;
use crate::http::error::{Error, Result};
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
) -> Result<Response> {
    let id = event_id(&id)?;
    match ctx.store.replay_event(&caller.organisation, &id, ctx.clock.now()).await? {
        ReplayResult::Replayed(deliveries) => {
            Ok(envelope::data(StatusCode::ACCEPTED, &json!({ "event_id": id, "deliveries": deliveries })))
        }
        ReplayResult::PayloadExpired => Err(super::payload_expired()),
        ReplayResult::NotFound => Err(not_found()),
    }
}

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
