//! How long a request may take. An upload of evidence is as fast as a phone's network: not its length is bounded but its
//! silence, and generously the whole of it, so that nobody holds a connection by a byte now and then.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::state::Ctx;

/// The largest evidence request at 0.7 Mbit/s.
const UPLOAD: Duration = Duration::from_secs(300);

/// Middleware: answers 408 what takes longer than `request_timeout`; of an upload, what is silent for that long.
pub async fn bound(State(ctx): State<Ctx>, request: Request, next: Next) -> Response {
    let limit = ctx.config.request_timeout;
    if !is_upload(&request) {
        let answer = tokio::time::timeout(limit, next.run(request)).await;
        return answer.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response());
    }
    let heard = Heard::default();
    let (parts, body) = request.into_parts();
    let watched = Watched { body, heard: heard.clone() };
    tokio::select! {
        response = next.run(Request::from_parts(parts, Body::new(watched))) => response,
        () = heard.nothing_for(limit) => StatusCode::REQUEST_TIMEOUT.into_response(),
        () = tokio::time::sleep(UPLOAD.max(limit)) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

fn is_upload(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    request.method() == Method::PUT && route.ends_with("/evidence")
}

/// When the caller was last heard of. Shared, because the handler reads the body and this middleware the clock.
#[derive(Clone)]
struct Heard(Arc<Mutex<Instant>>);

impl Default for Heard {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Heard {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    async fn nothing_for(&self, limit: Duration) {
        loop {
            let end = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + limit;
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// A body that tells when something of it comes, its end included.
struct Watched {
    body: Body,
    heard: Heard,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            self.heard.now();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
