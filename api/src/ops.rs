//! The operator's port: `/livez` and `/readyz` naming the failing part, `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::future::{BoxFuture, join_all};
use proofmill_contract::Clock;
use proofmill_queue::Queue;
use proofmill_store::Store;
use proofmill_telemetry::{METRICS_CONTENT_TYPE, Metrics};
use proofmill_vault::Vault;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

/// A part that hangs is as unready as one that fails.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks whether a part is ready; the text of an error is for operators.
pub type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Says something about a part that is worth knowing while it is ready, too.
pub type About = Arc<dyn Fn() -> Value + Send + Sync>;

/// What the operator's port shows.
#[derive(Clone)]
pub struct Ops {
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    lives: Vec<(&'static str, Check)>,
    checks: Vec<(&'static str, Check)>,
    about: Vec<(&'static str, About)>,
}

impl Ops {
    /// Without any part yet. Once `shutdown` is cancelled the process is not ready, so that no new work is sent to it.
    pub fn new(metrics: Arc<Metrics>, shutdown: CancellationToken) -> Self {
        Self { metrics, shutdown, lives: Vec::new(), checks: Vec::new(), about: Vec::new() }
    }

    /// Adds a part that only a new process mends: while it fails, `/livez` does, so that whoever supervises the process restarts it.
    #[must_use]
    pub fn live<F, Fut>(mut self, part: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.lives.push((part, Arc::new(move || Box::pin(check()))));
        self
    }

    /// Adds a part.
    #[must_use]
    pub fn check<F, Fut>(mut self, part: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks.push((part, Arc::new(move || Box::pin(check()))));
        self
    }

    /// Adds what `/readyz` says about a part under `details`, ready or not.
    #[must_use]
    pub fn about(mut self, part: &'static str, about: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.about.push((part, Arc::new(about)));
        self
    }

    /// Adds the parts every process has.
    #[must_use]
    pub fn with_storage(self, store: Store, vault: Vault, clock: Arc<dyn Clock>) -> Self {
        self.check("store", move || {
            let store = store.clone();
            async move { store.ready().await.map_err(|error| error.to_string()) }
        })
        .check("vault", move || {
            let (vault, clock) = (vault.clone(), clock.clone());
            async move { vault.check(clock.now()).await.map_err(|error| error.to_string()) }
        })
    }

    /// Adds the queue.
    #[must_use]
    pub fn with_queue(self, queue: Queue) -> Self {
        self.check("queue", move || {
            let queue = queue.clone();
            async move { queue.ready().await.map_err(|error| error.to_string()) }
        })
    }
}

/// The operator's routes.
pub fn ops_router(ops: Ops) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(ops))
}

async fn livez(State(ops): State<Arc<Ops>>) -> Response {
    for (part, check) in &ops.lives {
        if let Err(reason) = check().await {
            return (StatusCode::SERVICE_UNAVAILABLE, format!("{part}: {reason}\n")).into_response();
        }
    }
    "ok\n".into_response()
}

async fn readyz(State(ops): State<Arc<Ops>>) -> Response {
    let results = join_all(ops.checks.iter().map(|(part, check)| async move {
        let result = match tokio::time::timeout(CHECK_TIMEOUT, check()).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())),
        };
        (*part, result)
    }))
    .await;
    let mut parts = Map::new();
    let mut failing = Vec::new();
    for (part, result) in results {
        ops.metrics.ready.with_label_values(&[part]).set(i64::from(result.is_ok()));
        if result.is_err() {
            failing.push(part);
        }
        parts.insert(part.to_owned(), json!(result.err().unwrap_or_else(|| "ok".to_owned())));
    }
    let draining = ops.shutdown.is_cancelled();
    let ready = failing.is_empty() && !draining;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = json!({ "ready": ready, "draining": draining, "failing": failing, "parts": parts });
    if !ops.about.is_empty() {
        body["details"] =
            ops.about.iter().map(|(part, about)| ((*part).to_owned(), about())).collect::<Map<_, _>>().into();
    }
    (status, Json(body)).into_response()
}

async fn metrics(State(ops): State<Arc<Ops>>) -> Response {
    match ops.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
