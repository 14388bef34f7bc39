//! `Idempotency-Key`: the same request within a day gets the same answer.
//!
//! A request first takes a lease on its key. What it creates and the answer that tells of it are then written in one
//! transaction, which also proves that the lease is still held: a process killed at any moment leaves both or neither,
//! and of two processes that both believe that they hold the key, one is undone.
//!
//! The stored answer is sealed under the deployment key, bound to organisation and route, because it may hold a cancel
//! token or a signing secret. The request's fingerprint is an HMAC, so that the database holds nothing to guess from.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use proofmill_contract::limits::MAX_IDEMPOTENCY_KEY_CHARS;
use proofmill_contract::{ApiError, ErrorCode, OrganisationId};
use proofmill_store::{Answer, Begin, SealedAnswer};
use serde_json::{Value, json};
use tracing::Instrument;

use super::error::{Error, Result};
use crate::state::Ctx;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const SEAL_LABEL: &str = "idempotency.response";
/// How long a request may run before its key counts as abandoned, which is how long a repeat waits after a process was
/// killed. Who runs longer than this loses the key, and with it the right to commit.
pub(crate) const LEASE: Duration = Duration::from_secs(20);

/// What identifies a creating request.
pub struct Creation {
    /// Whose keys they are.
    pub organisation: OrganisationId,
    /// Method of the request.
    pub method: Method,
    /// Path and query of the request.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Leave to do the work of one request.
pub struct Once(Option<Arc<Key>>);

struct Key {
    ctx: Ctx,
    token: String,
    aad: Vec<u8>,
}

/// How what was done is answered: with a status and `data`, or not at all when it is a refusal, which is not stored.
pub struct Reply<T> {
    compose: Arc<Compose<T>>,
    key: Option<Arc<Key>>,
}

type Compose<T> = dyn Fn(&T) -> Result<Option<(StatusCode, Value)>> + Send + Sync;

/// A success whose answer was stored with it. Only [`Reply::respond`] makes one, so that no handler can forget the store.
pub struct Answered(Response);

impl IntoResponse for Answered {
    fn into_response(self) -> Response {
        self.0
    }
}

/// Runs `work` once per idempotency key. It runs in a task of its own: a caller who hangs up cancels only the wait.
pub async fn once<F>(ctx: &Ctx, creation: Creation, work: impl FnOnce(Once) -> F) -> Result<Response>
where
    F: Future<Output = Result<Answered>> + Send + 'static,
{
    let once = match key_of(&creation.headers)? {
        None => Once(None),
        Some(key) => {
            let route = format!("{} {}", creation.method, creation.uri.path());
            let query = creation.uri.query().unwrap_or_default();
            let request = [route.as_bytes(), query.as_bytes(), &creation.body];
            match begin(ctx, &creation.organisation, &route, &key, &request).await? {
                Begun::Fresh(once) => once,
                Begun::Replay { status, body } => return replay(status, body),
            }
        }
    };
    let key = once.0.clone();
    let work = work(once);
    let task = tokio::spawn(
        async move {
            let outcome = work.await;
            // A refusal changed nothing, so the same key may try again.
            if let (true, Some(key)) = (outcome.is_err(), key) {
                key.give_back().await;
            }
            outcome.map(|Answered(response)| response)
        }
        .in_current_span(),
    );
    task.await.unwrap_or_else(|error| Err(Error::internal(&error)))
}

/// What a key says of a request.
pub(crate) enum Begun {
    /// It is to be done.
    Fresh(Once),
    /// It was done.
    Replay {
        /// HTTP status.
        status: u16,
        /// The whole body.
        body: Vec<u8>,
    },
}

/// Takes the lease on a key, or finds the answer.
///
/// # Errors
/// `IDEMPOTENCY_IN_PROGRESS`, `IDEMPOTENCY_KEY_REUSED`.
pub(crate) async fn begin(
    ctx: &Ctx,
    organisation: &OrganisationId,
    route: &str,
    key: &str,
    request: &[&[u8]],
) -> Result<Begun> {
    let fingerprint = ctx.deployment.hmac("fingerprint.request", request)?;
    let aad = [organisation.as_str().as_bytes(), b" ", route.as_bytes()].concat();
    match ctx.store.begin_idempotent(organisation, route, key, fingerprint, LEASE, ctx.clock.now()).await? {
        Begin::Fresh(token) => Ok(Begun::Fresh(Once(Some(Arc::new(Key { ctx: ctx.clone(), token, aad }))))),
        Begin::Replay { status, sealed } => {
            ctx.metrics.idempotency_replays.inc();
            let body = ctx.deployment.open(SEAL_LABEL, &aad, &sealed)?;
            Ok(Begun::Replay { status, body: body.to_vec() })
        }
        Begin::InProgress => Err(in_progress()),
        Begin::Reused => {
            Err(ApiError::new(ErrorCode::IdempotencyKeyReused, "this `Idempotency-Key` was used with another request")
                .with_hint("take a fresh key for each new request")
                .into())
        }
    }
}

pub(crate) fn in_progress() -> Error {
    ApiError::new(ErrorCode::IdempotencyInProgress, "the first request with this key still runs")
        .with_retry_after(1)
        .into()
}

impl Once {
    /// A request without a key.
    pub(crate) fn unkeyed() -> Self {
        Self(None)
    }

    /// How this request will be answered. `compose` is asked twice, inside the transaction and after it, and must say the
    /// same each time.
    pub fn reply<T>(
        &self,
        compose: impl Fn(&T) -> Result<Option<(StatusCode, Value)>> + Send + Sync + 'static,
    ) -> Reply<T> {
        Reply { compose: Arc::new(compose), key: self.0.clone() }
    }

    /// Gives the key free after a refusal.
    pub(crate) async fn give_back(&self) {
        if let Some(key) = &self.0 {
            key.give_back().await;
        }
    }
}

impl Key {
    async fn give_back(&self) {
        if let Err(error) = self.ctx.store.abandon_idempotent(&self.token).await {
            tracing::warn!(%error, "an idempotency key could not be given back; its lease will");
        }
    }
}

impl<T: 'static> Reply<T> {
    /// The answer for the transaction that does the work; `None` when the request has no key.
    pub fn stored(&self) -> Option<Answer<T>> {
        let (key, compose) = (self.key.clone()?, self.compose.clone());
        Some(Answer::new(key.token.clone(), move |done| {
            let Some((status, data)) = compose(done).map_err(|error| error.api.to_string())? else { return Ok(None) };
            let body = body(&data);
            let sealed = key.ctx.deployment.seal(SEAL_LABEL, &key.aad, &body).map_err(|error| error.to_string())?;
            Ok(Some(SealedAnswer { status: status.as_u16(), sealed }))
        }))
    }

    /// The response; `None` for a refusal, which is the handler's to explain.
    ///
    /// # Errors
    /// What `compose` fails with.
    pub fn respond(&self, done: &T) -> Result<Option<Answered>> {
        let answered = |(status, data)| Answered(response(status, body(&data)));
        Ok((self.compose)(done)?.map(answered))
    }

    /// The same for work that cannot be refused once it has been done.
    ///
    /// # Errors
    /// What `compose` fails with.
    pub fn respond_to_success(&self, done: &T) -> Result<Answered> {
        self.respond(done)?.ok_or_else(|| Error::internal(&"something done was answered like a refusal"))
    }
}

fn body(data: &Value) -> Vec<u8> {
    json!({ "data": data, "error": null }).to_string().into_bytes()
}

fn response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<String>> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (value.to_str(), values.next()) {
        // A tab is no part of what the message promises, though a header may hold one.
        (Ok(text), None) if (1..=MAX_IDEMPOTENCY_KEY_CHARS).contains(&text.len()) && !text.contains('\t') => {
            Ok(Some(text.to_owned()))
        }
        _ => Err(ApiError::invalid_field(
            "Idempotency-Key",
            format!("expected 1 to {MAX_IDEMPOTENCY_KEY_CHARS} visible ASCII characters"),
        )
        .into()),
    }
}

fn replay(status: u16, body: Vec<u8>) -> Result<Response> {
    let status = StatusCode::from_u16(status).map_err(|error| Error::internal(&error))?;
    let mut response = response(status, body);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}
