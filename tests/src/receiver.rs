//! A webhook receiver as an integrator would write one: it verifies both signatures, decrypts, and remembers.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use proofmill_jose::{DecryptionKey, SigningSecret, verify_kayle, verify_standard};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::wait::PATIENCE;

/// Seconds by which a sender's clock may differ.
const TOLERANCE: u64 = 300;

/// The receiver; it stops with the runtime.
#[derive(Clone)]
pub struct Receiver {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    endpoints: Mutex<HashMap<String, Endpoint>>,
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
    answer: AtomicU16,
}

struct Endpoint {
    secret: SigningSecret,
    key: DecryptionKey,
}

/// One delivery as it came in.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which endpoint, by the last part of its URL.
    pub endpoint: String,
    /// `webhook-id`.
    pub event_id: String,
    /// `X-Kayle-Delivery-Id`.
    pub delivery_id: String,
    /// `X-Kayle-Event`.
    pub event_type: String,
    /// The plaintext if both signatures hold and it decrypts, else what is wrong.
    pub payload: Result<Value, String>,
    /// When it came.
    pub at: Instant,
    /// What was answered.
    pub answered: u16,
}

impl Received {
    /// The session that the plaintext names.
    pub fn session_id(&self) -> Option<&str> {
        self.payload.as_ref().ok()?["metadata"]["verification_session_id"].as_str()
    }
}

impl Receiver {
    /// Listens on a free port of the loopback address.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port")?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            endpoints: Mutex::default(),
            received: Mutex::default(),
            count: watch::Sender::new(0),
            answer: AtomicU16::new(200),
        });
        let router = Router::new().route("/{endpoint}", post(receive)).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, shared })
    }

    /// The URL of the endpoint that `register` will describe.
    pub fn url(&self, endpoint: &str) -> String {
        format!("http://{}/{endpoint}", self.address)
    }

    /// Tells how to verify and decrypt what comes for an endpoint.
    pub fn register(&self, endpoint: &str, secret: SigningSecret, key: DecryptionKey) {
        self.endpoints().insert(endpoint.to_owned(), Endpoint { secret, key });
    }

    /// Answers every delivery with this status from now on.
    pub fn answer_with(&self, status: u16) {
        self.shared.answer.store(status, Ordering::SeqCst);
    }

    /// Everything received so far, in order.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything received so far about a session.
    pub fn about(&self, session: &str) -> Vec<Received> {
        self.received().into_iter().filter(|one| one.session_id() == Some(session)).collect()
    }

    /// Waits until what has been received answers the question.
    pub async fn wait<T>(&self, what: &str, mut ask: impl FnMut(&[Received]) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut count = self.shared.count.subscribe();
        loop {
            count.borrow_and_update();
            let received = self.received();
            if let Some(answer) = ask(&received) {
                return Ok(answer);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, count.changed()).await.is_err() {
                let seen: Vec<_> = received.iter().map(|one| (&one.event_type, one.payload.as_ref().err())).collect();
                bail!("{what}: no such webhook within {} s; there came {seen:?}", PATIENCE.as_secs());
            }
        }
    }

    /// Waits for a webhook of that type about a session and gives its plaintext.
    pub async fn event(&self, session: &str, event_type: &str) -> Result<Value> {
        self.wait(&format!("{event_type} of {session}"), |received| {
            let found = received.iter().find(|one| one.session_id() == Some(session) && one.event_type == event_type);
            found.and_then(|one| one.payload.clone().ok())
        })
        .await
    }

    fn endpoints(&self) -> std::sync::MutexGuard<'_, HashMap<String, Endpoint>> {
        self.shared.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    Path(endpoint): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let payload = shared
        .endpoints
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&endpoint)
        .map_or_else(|| Err(format!("no endpoint {endpoint} is registered")), |known| open(known, &header, &body));
    let status = shared.answer.load(Ordering::SeqCst);
    shared.received.lock().unwrap_or_else(PoisonError::into_inner).push(Received {
        endpoint,
        event_id: header("webhook-id"),
        delivery_id: header("x-kayle-delivery-id"),
        event_type: header("x-kayle-event"),
        payload,
        at: Instant::now(),
        answered: status,
    });
    shared.count.send_modify(|count| *count += 1);
    StatusCode::from_u16(status).unwrap_or(StatusCode::OK)
}

/// Both signatures, the content type, the decryption, and that headers and plaintext agree.
fn open(known: &Endpoint, header: &dyn Fn(&str) -> String, body: &[u8]) -> Result<Value, String> {
    let now = unix_seconds();
    verify_kayle(&known.secret, &header("x-kayle-signature"), body, now, TOLERANCE)
        .map_err(|error| format!("X-Kayle-Signature: {error}"))?;
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    verify_standard(&known.secret, &id, &timestamp, &header("webhook-signature"), body, now, TOLERANCE)
        .map_err(|error| format!("webhook-signature: {error}"))?;
    if header("content-type") != "application/jose" {
        return Err(format!("content-type is {:?}", header("content-type")));
    }
    let text = std::str::from_utf8(body).map_err(|_| "the body is no text".to_owned())?;
    let plaintext = known.key.decrypt(text).map_err(|error| format!("JWE: {error}"))?;
    let payload: Value = serde_json::from_slice(&plaintext).map_err(|error| format!("plaintext: {error}"))?;
    if payload["metadata"]["event_id"] != id.as_str() {
        return Err("webhook-id and the plaintext's event_id differ".to_owned());
    }
    if payload["type"] != header("x-kayle-event").as_str() {
        return Err("X-Kayle-Event and the plaintext's type differ".to_owned());
    }
    Ok(payload)
}

/// A receiver goes by its own clock: the sender's timestamps are what it checks.
#[allow(clippy::disallowed_methods)]
fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}
