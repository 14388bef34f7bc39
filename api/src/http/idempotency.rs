//! `Idempotency-Key`: the same request within a day gets the same answer.
//!
//! The stored answer is sealed under the deployment key, bound to organisation and route, because it may hold a cancel
//! token or a signing secret. The request's fingerprint is an HMAC, so that the database holds nothing to guess from.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use http_body_util::BodyExt;
use proofmill_contract::limits::MAX_IDEMPOTENCY_KEY_CHARS;
use proofmill_contract::{ApiError, ErrorCode};
use proofmill_store::Begin;
use tracing::Instrument;

use super::auth::Caller;
use super::error::{Error, Result};
use crate::state::Ctx;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// How long a request may run before its key counts as abandoned: longer than the request timeout, so that only a killed
/// process leaves one behind.
const LEASE: Duration = Duration::from_secs(60);

/// What identifies a creating request.
pub struct Creation {
    /// Who creates.
    pub caller: Caller,
    /// Method of the request.
    pub method: Method,
    /// Path and query of the request.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Runs `work` once per idempotency key. It runs in a task of its own: a caller who hangs up must not leave a created
/// object without its stored answer.
pub async fn once(
    ctx: &Ctx,
    creation: Creation,
    work: impl Future<Output = Result<Response>> + Send + 'static,
) -> Result<Response> {
    let Some(key) = key_of(&creation.headers)? else {
        return joined(tokio::spawn(work.in_current_span()).await);
    };
    let organisation = &creation.caller.organisation;
    let route = format!("{} {}", creation.method, creation.uri.path());
    let fingerprint = ctx.deployment.hmac(
        "fingerprint.request",
        &[route.as_bytes(), creation.uri.query().unwrap_or_default().as_bytes(), &creation.body],
    )?;
    let aad = [organisation.as_str().as_bytes(), b" ", route.as_bytes()].concat();
    let begun = ctx.store.begin_idempotent(organisation, &route, &key, fingerprint, LEASE, ctx.clock.now()).await?;
    let token = match begun {
        Begin::Fresh(token) => token,
        Begin::Replay { status, sealed } => {
            ctx.metrics.idempotency_replays.inc();
            let body = ctx.deployment.open("idempotency.response", &aad, &sealed)?;
            return replay(status, body.to_vec());
        }
        Begin::InProgress => {
            return Err(ApiError::new(ErrorCode::IdempotencyInProgress, "the first request with this key still runs")
                .with_retry_after(1)
                .into());
        }
        Begin::Reused => {
            return Err(ApiError::new(
                ErrorCode::IdempotencyKeyReused,
                "this `Idempotency-Key` was used with another request",
            )
            .with_hint("take a fresh key for each new request")
            .into());
        }
    };
    let ctx = ctx.clone();
    joined(
        tokio::spawn(
            async move {
                // Only what was created is stored: a refusal changed nothing, so the same key may try again.
                let outcome = match work.await {
                    Ok(response) if response.status().is_success() => {
                        let (parts, body) = response.into_parts();
                        let body = body.collect().await.map_err(|error| Error::internal(&error))?.to_bytes();
                        let sealed = ctx.deployment.seal("idempotency.response", &aad, &body)?;
                        ctx.store.finish_idempotent(&token, parts.status.as_u16(), sealed, ctx.clock.now()).await?;
                        return Ok(Response::from_parts(parts, Body::from(body)));
                    }
                    other => other,
                };
                if let Err(error) = ctx.store.abandon_idempotent(&token).await {
                    tracing::warn!(%error, "an idempotency key could not be given back; its lease will");
                }
                outcome
            }
            .in_current_span(),
        )
        .await,
    )
}

fn joined(result: std::result::Result<Result<Response>, tokio::task::JoinError>) -> Result<Response> {
    result.unwrap_or_else(|error| Err(Error::internal(&error)))
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if !text.is_empty() && text.len() <= MAX_IDEMPOTENCY_KEY_CHARS => Ok(Some(text.to_owned())),
        _ => Err(ApiError::invalid_field(
            "Idempotency-Key",
            format!("expected 1 to {MAX_IDEMPOTENCY_KEY_CHARS} visible ASCII characters"),
        )
        .into()),
    }
}

fn replay(status: u16, body: Vec<u8>) -> Result<Response> {
    let status = StatusCode::from_u16(status).map_err(|error| Error::internal(&error))?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}
