//! One response shape, middleware errors included, and `X-Request-Id` on every response.

use std::sync::Arc;

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use proofmill_contract::{ApiError, ErrorCode, ids};
use proofmill_telemetry::Metrics;
use serde::Serialize;
use serde_json::{Value, json};
use tracing::Instrument;

use super::error;
use crate::state::Ctx;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A successful response: `{"data", "error": null}`.
pub fn data(status: StatusCode, value: &impl Serialize) -> Response {
    (status, Json(json!({ "data": value, "error": null }))).into_response()
}

/// Marks a response that wrote its own error body (the page for holders, which speaks HTML).
#[derive(Clone, Copy)]
pub struct OwnBody;

/// In a request's extensions: its id, for answers that hold errors of their own.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Outermost middleware: gives the request an id, logs it, and writes the body of every error.
///
/// Logs name the route's template, never the URI: a cancel token travels in the page's query.
pub async fn envelope(State(ctx): State<Ctx>, mut request: Request, next: Next) -> Response {
    let request_id = format!("req_{}", ids::random_text(26, &mut rand::rng()));
    request.extensions_mut().insert(RequestId(request_id.clone()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", %request_id, %method, %route);
    let started = std::time::Instant::now();

    let in_flight = InFlight::new(ctx.metrics.clone());
    let mut response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);

    let status = response.status();
    let failure = response.extensions_mut().remove::<ApiError>();
    let own_body = response.extensions_mut().remove::<OwnBody>().is_some();
    let failed = (status.is_client_error() || status.is_server_error()) && !own_body;
    if failed {
        let failure = failure.unwrap_or_else(|| error::from_status(status));
        if failure.code == ErrorCode::RateLimited {
            ctx.metrics.rate_limited.inc();
        }
        if let Some(error::Shed(part)) = response.extensions_mut().remove() {
            ctx.metrics.shed.with_label_values(&[part]).inc();
        }
        span.in_scope(|| tracing::info!(status = status.as_u16(), code = %failure.code, "refused"));
        let body = Json(json!({ "data": null, "error": error_object(&failure, &request_id, &ctx.config.docs_url) }));
        let (mut parts, _) = response.into_parts();
        let (fresh, body) = body.into_response().into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.extend(fresh.headers);
        response = Response::from_parts(parts, body);
    }
    span.in_scope(|| tracing::debug!(status = status.as_u16(), elapsed = ?started.elapsed(), "answered"));
    ctx.observe_request(&method, &route, status, started.elapsed());
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Counted down by drop, because a caller who hangs up drops the whole future.
struct InFlight(Arc<Metrics>);

impl InFlight {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.http_in_flight.inc();
        Self(metrics)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.http_in_flight.dec();
    }
}

/// An error as integrators see it.
pub(crate) fn error_object(error: &ApiError, request_id: &str, docs_url: &str) -> Value {
    json!({
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "docs": format!("{docs_url}#{}", error.code),
        "request_id": request_id,
    })
}
