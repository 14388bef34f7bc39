//! Reads on after a refusal. A caller who is still sending megabytes of evidence looks for the answer only afterwards; a
//! connection closed with unread bytes is reset, and the reset destroys the answer on its way.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use proofmill_contract::limits::MAX_EVIDENCE_REQUEST_BYTES;

/// How long, and how much: nobody is owed more than the largest request that could have been accepted.
const TIME: Duration = Duration::from_secs(5);
const BYTES: usize = MAX_EVIDENCE_REQUEST_BYTES;

/// Middleware: when the answer is an error, takes what is left of the body and throws it away.
pub async fn linger(request: Request, next: Next) -> Response {
    let too_much = request.body().size_hint().lower() > BYTES as u64;
    // Who asked before sending (RFC 9110 §10.1.1) has not begun to.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let mut rest = Shared(Arc::new(Mutex::new(body)));
    let response = next.run(Request::from_parts(parts, Body::new(rest.clone()))).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        let discard = async move {
            let mut taken = 0;
            while taken < BYTES
                && let Some(Ok(frame)) = rest.frame().await
            {
                taken += frame.data_ref().map_or(0, Bytes::len);
            }
        };
        // Too slow a caller loses the answer, not our time.
        let discard = tokio::time::timeout(TIME, discard);
        if too_much {
            // It will not be read to its end, so the answer goes out at once, while the caller still sends.
            tokio::spawn(discard);
        } else {
            let _ = discard.await;
        }
    }
    response
}

/// A body that can still be read when the handler has dropped it.
#[derive(Clone)]
struct Shared(Arc<Mutex<Body>>);

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}
