//! Bulk submission: evidence as NDJSON in, one answer line for each line out, in order, both streamed.
//!
//! A line is read, then worked on in a task of its own while the next ones are read; a few are at work at once, so what a
//! request holds does not grow with its length. Answers are small and at most a thousand, so they may all wait for a caller
//! who reads only when everything is sent: neither side can block the other.

mod line;
mod lines;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use proofmill_contract::evidence_line::Names;
use proofmill_contract::limits::MAX_BULK_LINES;
use proofmill_contract::{ApiError, ErrorCode};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tracing::Instrument;

use self::line::Batch;
use self::lines::{Lines, Next};
use super::evidence::refuse_while_outbox_is_stuck;
use crate::http::auth::{Authorised, Caller, SessionsWrite};
use crate::http::envelope::RequestId;
use crate::http::error::{Error, Result};
use crate::http::idempotency;
use crate::state::Ctx;

/// Lines of one request that are worked on at once: enough to hide the waits for disk and database.
const AT_ONCE: usize = 16;
/// Pause between two looks at an empty quota.
const QUOTA_PAUSE: Duration = Duration::from_millis(20);
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// `POST /v1/attempts/batch`
pub async fn submit(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<SessionsWrite>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    request: Request,
) -> Result<Response> {
    require_ndjson(request.headers())?;
    let key = idempotency::key_of(request.headers())?;
    refuse_while_outbox_is_stuck(&ctx).await?;
    let lines = Lines::new(request.into_body(), ctx.evidence_memory.clone(), ctx.config.request_timeout);
    let batch = Arc::new(Batch { organisation: caller.organisation.clone(), ctx, request_id, key });
    let (answers, receiver) = mpsc::unbounded_channel();
    // A task of its own: a response whose reader is slow, or gone, must not stop lines that have arrived.
    tokio::spawn(work_through(batch.clone(), caller, lines, answers).in_current_span());
    let in_order = stream::unfold((receiver, batch), |(mut receiver, batch)| async move {
        let Pending { number, answer } = receiver.recv().await?;
        let line = match answer.await {
            Ok(line) => line,
            Err(error) => batch.refused(number, &Names::default(), &Error::internal(&error).api),
        };
        Some((Ok::<Bytes, Infallible>(line), (receiver, batch)))
    });
    let mut response = (StatusCode::OK, Body::from_stream(in_order)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, NDJSON);
    // A proxy that gathers answers would undo the stream.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// A line's answer, on its way.
struct Pending {
    number: u64,
    answer: JoinHandle<Bytes>,
}

/// Reads lines and sets them to work until the request ends, one way or another.
async fn work_through(batch: Arc<Batch>, caller: Caller, mut lines: Lines, answers: mpsc::UnboundedSender<Pending>) {
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let mut taken = 0;
    let shutdown = batch.ctx.shutdown.clone();
    loop {
        let Ok(slot) = at_once.clone().acquire_owned().await else { return };
        let next = tokio::select! {
            biased;
            () = shutdown.cancelled() => Next::Stop {
                number: lines.number() + 1,
                error: Error::unavailable("vault", "this process is ending: repeat the lines from here on").api,
            },
            next = lines.next() => next,
        };
        let answer = |number, names: &Names, error: &ApiError| {
            let line = batch.refused(number, names, error);
            Pending { number, answer: tokio::spawn(async move { line }) }
        };
        let pending = match next {
            Next::End => return,
            Next::Stop { number, error } => {
                // Whoever listens hears why the rest is not answered.
                let _ = answers.send(answer(number, &Names::default(), &error));
                return;
            }
            Next::Line { number, .. } | Next::Refused { number, .. } if taken == MAX_BULK_LINES => {
                let error = ApiError::new(
                    ErrorCode::PayloadTooLarge,
                    format!("the request has more lines than its limit of {MAX_BULK_LINES}"),
                )
                .with_hint("nothing from this line on was read: send the rest in another request");
                let _ = answers.send(answer(number, &Names::default(), &error));
                lines.discard().await;
                return;
            }
            Next::Refused { number, names, error } => answer(number, &names, &error),
            Next::Line { number, text, held } => {
                wait_for_quota(&batch.ctx, &caller).await;
                let batch = batch.clone();
                let work = async move {
                    let _slot = slot;
                    batch.answer(number, text, held).await
                };
                Pending { number, answer: tokio::spawn(work.in_current_span()) }
            }
        };
        taken += 1;
        // Nobody listens any more, and so nobody sends: what has begun goes on by itself.
        if answers.send(pending).is_err() {
            return;
        }
    }
}

/// Each line is charged like a request. An empty quota slows the reading down: refusing lines would only bring them back.
async fn wait_for_quota(ctx: &Ctx, caller: &Caller) {
    while !ctx.limits.key(&caller.key, ctx.clock.now()).allowed {
        tokio::time::sleep(QUOTA_PAUSE).await;
    }
}

fn require_ndjson(headers: &HeaderMap) -> Result<()> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/x-ndjson") || kind.eq_ignore_ascii_case("application/ndjson") {
        return Ok(());
    }
    Err(Error::new(ErrorCode::UnsupportedMediaType, "expected `Content-Type: application/x-ndjson`"))
}
