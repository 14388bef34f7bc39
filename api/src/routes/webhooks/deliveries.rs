//! Deliveries: what was sent where, and sending it again.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use proofmill_contract::{DeliveryId, EndpointId, ErrorCode, EventId};
use proofmill_store::{Delivery, DeliveryFilter, DeliveryStatus, RetryResult};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::auth::{Authorised, WebhooksRead, WebhooksWrite};
use crate::http::body::JsonBytes;
use crate::http::error::{Error, Result};
use crate::http::idempotency::{self, Creation};
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
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    let unknown = || Error::not_found("delivery");
    body.parse::<Empty>()?;
    let id = DeliveryId::parse(&id).map_err(|_| unknown())?;
    let organisation = caller.organisation.clone();
    let creation = Creation { organisation: caller.organisation, method, uri, headers, body: body.0 };
    let shared = ctx.clone();
    // A repeat must not begin the schedule anew: hence once per idempotency key.
    idempotency::once(&ctx, creation, |once| async move {
        let reply = once.reply(|result: &RetryResult| match result {
            RetryResult::Retried(delivery) => Ok(Some((StatusCode::ACCEPTED, view(delivery)))),
            _ => Ok(None),
        });
        let result = shared.store.retry_delivery_once(&organisation, &id, reply.stored(), shared.clock.now()).await?;
        reply.respond(&result)?.ok_or_else(|| match result {
            RetryResult::PayloadExpired => super::payload_expired(),
            RetryResult::EndpointUnavailable => {
                Error::new(ErrorCode::Conflict, "the delivery's endpoint is disabled or deleted")
            }
            RetryResult::Retried(_) | RetryResult::NotFound => unknown(),
        })
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

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
