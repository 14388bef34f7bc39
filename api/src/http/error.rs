//! The one place that turns an error into HTTP.
//!
//! A handler returns [`Error`]; it becomes a status, a `Retry-After` where one helps, and an [`ApiError`] in the response's
//! extensions. [`super::envelope`] writes the body, because only it knows the request's id.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use proofmill_contract::{ApiError, ErrorCode};
use proofmill_store::StoreError;
use proofmill_vault::VaultError;

/// Seconds a caller is asked to wait when a part of ours is down: long enough to let a database fail over a bit, short
/// enough that somebody before a phone still waits.
const UNAVAILABLE_RETRY_S: u32 = 2;

/// An error on its way out.
#[derive(Debug)]
pub struct Error {
    /// What the caller is told.
    pub api: ApiError,
    shed: Option<Shed>,
}

/// In a response's extensions: it was refused because this part of ours (`proofmill_telemetry::PARTS`) was unavailable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shed(pub &'static str);

/// What handlers return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with a code and a message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ApiError::new(code, message).into()
    }

    /// 404 for a kind of object.
    pub fn not_found(kind: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("no such {kind}"))
    }

    /// 404 for a session.
    pub fn session_not_found() -> Self {
        Self::new(ErrorCode::SessionNotFound, "no such session")
    }

    /// 503 with `Retry-After`, counted against a part of ours.
    pub fn unavailable(part: &'static str, what: &str) -> Self {
        let api = ApiError::new(ErrorCode::Unavailable, what.to_owned()).with_retry_after(UNAVAILABLE_RETRY_S);
        Self { api, shed: Some(Shed(part)) }
    }

    /// 500; the cause goes to the log, never to the caller.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed inside");
        Self::new(ErrorCode::InternalServerError, "something failed on our side")
    }
}

impl From<ApiError> for Error {
    fn from(api: ApiError) -> Self {
        Self { api, shed: None }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            _ if error.is_transient() => {
                tracing::warn!(%error, "the store is unavailable");
                Self::unavailable("store", "the database cannot be reached")
            }
            StoreError::InvalidCursor => {
                Self::new(ErrorCode::InvalidCursor, "field `starting_after`: names no item of this list")
            }
            StoreError::EndpointUnavailable(id) => Self::new(
                ErrorCode::WebhookEndpointUnavailable,
                format!("field `webhook_endpoint_id`: `{id}` is not an enabled endpoint of this organisation"),
            ),
            StoreError::TooManyEndpoints(most) => ApiError::new(
                ErrorCode::Conflict,
                format!("the organisation has {most} webhook endpoints, and may have no more"),
            )
            .with_hint("delete an endpoint that is no longer needed, or let one hear of more event types")
            .into(),
            StoreError::TooManySigningSecrets(most) => ApiError::new(
                ErrorCode::Conflict,
                format!("{most} signing secrets of the endpoint sign, and no more may"),
            )
            .with_hint("each secret signs for 24 h after its rotation: rotate again when the oldest of those rotations is 24 h old")
            .into(),
            StoreError::KeyTakenOver => super::idempotency::in_progress(),
            StoreError::Conflict(_) => {
                tracing::info!(%error, "conflict");
                Self::new(ErrorCode::Conflict, "the object's state does not allow this")
            }
            other => Self::internal(&other),
        }
    }
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        if error.is_retryable() {
            tracing::warn!(%error, "the vault is unavailable");
            return Self::unavailable("vault", "the evidence store cannot be reached");
        }
        Self::internal(&error)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response =
            StatusCode::from_u16(self.api.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.api.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(shed) = self.shed {
            response.extensions_mut().insert(shed);
        }
        response.extensions_mut().insert(self.api);
        response
    }
}

/// The error of a response that some middleware or the router made without saying why.
pub(super) fn from_status(status: StatusCode) -> ApiError {
    let (code, message) = match status {
        StatusCode::UNAUTHORIZED => (ErrorCode::Unauthorized, "not authenticated"),
        StatusCode::FORBIDDEN => (ErrorCode::Forbidden, "not allowed"),
        StatusCode::NOT_FOUND => (ErrorCode::NotFound, "no such route"),
        StatusCode::METHOD_NOT_ALLOWED => (ErrorCode::MethodNotAllowed, "this route does not take this method"),
        StatusCode::REQUEST_TIMEOUT => (ErrorCode::RequestTimeout, "the request took too long"),
        StatusCode::PAYLOAD_TOO_LARGE => (ErrorCode::PayloadTooLarge, "the request body is too large"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (ErrorCode::UnsupportedMediaType, "unsupported content type"),
        StatusCode::TOO_MANY_REQUESTS => (ErrorCode::RateLimited, "too many requests"),
        StatusCode::SERVICE_UNAVAILABLE => (ErrorCode::Unavailable, "temporarily unavailable"),
        status if status.is_client_error() => (ErrorCode::InvalidRequest, "the request is not acceptable"),
        _ => (ErrorCode::InternalServerError, "something failed on our side"),
    };
    ApiError::new(code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_the_database_that_would_break_is_our_fault_and_a_taken_name_the_callers() {
        let status = |error: StoreError| Error::from(error).into_response().status();
        assert_eq!(status(StoreError::RuleBroken("deliveries_check1".into())), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(status(StoreError::Conflict("encryption_keys_one_active".into())), StatusCode::CONFLICT);
        assert_eq!(status(StoreError::TooManySigningSecrets(8)), StatusCode::CONFLICT);
    }
}
