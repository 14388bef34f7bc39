//! Limits on a request's head, within those of the HTTP library, whose own refusals have neither envelope nor id.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use proofmill_contract::ErrorCode;

use super::error::Error;

/// Bytes of the target of a request: a `redirect_url` of full length would fit, percent-encoded, and nothing here needs more.
const MAX_TARGET_BYTES: usize = 8 << 10;
/// Header fields.
const MAX_FIELDS: usize = 64;
/// Bytes of all header fields.
const MAX_FIELD_BYTES: usize = 32 << 10;

/// Middleware: refuses a head beyond the limits.
pub async fn limit(request: Request, next: Next) -> Response {
    match excess(&request) {
        None => next.run(request).await,
        Some(what) => Error::new(ErrorCode::InvalidRequest, what).into_response(),
    }
}

fn excess(request: &Request) -> Option<String> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET_BYTES {
        return Some(format!("the request's path and query are longer than {MAX_TARGET_BYTES} bytes"));
    }
    let headers = request.headers();
    if headers.len() > MAX_FIELDS {
        return Some(format!("the request has more than {MAX_FIELDS} header fields"));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    (bytes > MAX_FIELD_BYTES).then(|| format!("the request's header fields are larger than {MAX_FIELD_BYTES} bytes"))
}
