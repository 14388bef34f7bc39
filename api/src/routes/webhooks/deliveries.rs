//! Deliveries: what was sent where, and sending it again.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use proofmill_contract::{DeliveryId, EndpointId, ErrorCode, EventId};
use proofmill_store::{Delivery, DeliveryFilter, DeliveryStatus, RetryResult};
use serde_json::{Value, json};

use crate::http::auth::{Authorised, WebhooksRead, WebhooksWrite};
use crate::http::envelope;
use crate::http::error::{Error, Result};
use crate::http::page;
use crate::http::query::Query;
use crate::state::Ctx;

/// `GET /v1/webhooks/deliveries`
pub async fn list(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksRead>,
    mut query: Query,
) -> Result<Response> {
    let filter = DeliveryFilter {
        status: query.take::<DeliveryStatus>("status", "`pending`, `sending`, `delivered` or `failed`")?,
        endpoint_id: query.take::<EndpointId>("endpoint_id", "a webhook endpoint id")?,
        event_id: query.take::<EventId>("event_id", "an event id")?,
    };
    let request = page::request(&mut query)?;
    query.finish()?;
    let limit = request.limit;
    let rows = ctx.store.list_deliveries(&caller.organisation, filter, request).await?;
    let items = rows.items.iter().map(view).collect();
    Ok(page::response(limit, &rows, items))
}

/// `POST /v1/webhooks/deliveries/{id}/retry`
pub async fn retry(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<WebhooksWrite>,
    Path(id): Path<String>,
) -> Result<Response> {
    let unknown = || Error::not_found("delivery");
    let id = DeliveryId::parse(&id).map_err(|_| unknown())?;
    match ctx.store.retry_delivery(&caller.organisation, &id, ctx.clock.now()).await? {
        RetryResult::Retried(delivery) => Ok(envelope::data(StatusCode::ACCEPTED, &view(&delivery))),
        RetryResult::PayloadExpired => Err(super::payload_expired()),
        RetryResult::EndpointUnavailable => {
            Err(Error::new(ErrorCode::Conflict, "the delivery's endpoint is disabled or deleted"))
        }
        RetryResult::NotFound => Err(unknown()),
    }
}

fn view(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "endpoint_id": delivery.endpoint_id,
        "session_id": delivery.session_id,
        "status": delivery.status.as_str(),
        "reason": delivery.reason,
        "tries": delivery.tries,
        "last_status_code": delivery.last_status_code,
        "last_error": delivery.last_error,
        "next_attempt_at": delivery.next_attempt_at,
        "payload_available": delivery.payload_available,
        "delivered_at": delivery.delivered_at,
        "created_at": delivery.created_at,
        "updated_at": delivery.updated_at,
    })
}
