//! Webhook endpoints, their secrets and encryption keys, deliveries and events.

pub mod deliveries;
pub mod endpoints;
pub mod events;
pub mod keys;
pub mod secrets;
mod url;

use proofmill_contract::{EndpointId, ErrorCode};

use crate::http::error::{Error, Result};

/// An endpoint id from a path. A malformed one is simply not found.
fn endpoint_id(text: &str) -> Result<EndpointId> {
    EndpointId::parse(text).map_err(|_| Error::not_found("webhook endpoint"))
}

/// 409 for a payload that is destroyed.
fn payload_expired() -> Error {
    Error::new(ErrorCode::WebhookPayloadExpired, "the payload is destroyed and cannot be sent again")
}
