//! What the routes share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use proofmill_contract::Clock;
use proofmill_store::Store;
use proofmill_telemetry::Metrics;
use proofmill_vault::{DeploymentKey, Vault};
use tokio_util::sync::CancellationToken;

use crate::http::rate_limit::{Limits, Quota};
use crate::memory_budget::MemoryBudget;
use crate::outbox::Outbox;
use crate::outbox_age::OutboxAge;

/// Everything a router works on.
#[derive(Clone)]
pub struct AppState {
    /// Where sessions and attempts are.
    pub store: Store,
    /// Where sealed evidence is.
    pub vault: Vault,
    /// Seals secrets and derives tokens.
    pub deployment: Arc<DeploymentKey>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// What the operator chose.
    pub config: ApiConfig,
    /// Accepted jobs, for the relay of this process.
    pub outbox: Arc<Outbox>,
    /// Ends long polls when the process drains.
    pub shutdown: CancellationToken,
}

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Holders are sent to `{verify_base_url}/{session id}`.
    pub verify_base_url: String,
    /// Errors link to `{docs_url}#{code}`.
    pub docs_url: String,
    /// Development switch: webhooks may go to loopback addresses, by http too.
    pub allow_loopback_webhooks: bool,
    /// How many proxies of the operator's append to `X-Forwarded-For`.
    pub trusted_proxies: usize,
    /// Requests per API key.
    pub per_key: Quota,
    /// Requests per client address on public routes.
    pub per_address: Quota,
    /// Bytes of evidence held in memory at once; beyond that submissions are refused with 503.
    pub max_evidence_memory: usize,
    /// How long a whole request may take.
    pub request_timeout: Duration,
    /// Submissions are refused while the oldest unpublished attempt is older than this.
    pub max_outbox_age: Duration,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            verify_base_url: "http://127.0.0.1:8080/verify".to_owned(),
            docs_url: "/docs".to_owned(),
            allow_loopback_webhooks: false,
            trusted_proxies: 0,
            per_key: Quota { burst: 1_000, window_s: 1 },
            per_address: Quota { burst: 120, window_s: 10 },
            max_evidence_memory: 512 << 20,
            request_timeout: Duration::from_secs(30),
            max_outbox_age: Duration::from_secs(60),
        }
    }
}

/// The state of one router.
pub type Ctx = Arc<Shared>;

/// [`AppState`] and what only the routes need.
pub struct Shared {
    app: AppState,
    /// Token buckets.
    pub limits: Limits,
    /// How much evidence may be held in memory.
    pub evidence_memory: MemoryBudget,
    /// How old the outbox is, asked at most once a second.
    pub outbox_age: OutboxAge,
}

impl Shared {
    /// The routes' state.
    pub fn new(app: AppState) -> Ctx {
        Arc::new(Self {
            limits: Limits::new(app.config.per_key, app.config.per_address),
            evidence_memory: MemoryBudget::new(app.config.max_evidence_memory),
            outbox_age: OutboxAge::default(),
            app,
        })
    }

    /// Counts a finished request under its route's template.
    pub fn observe_request(&self, method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
        // A method is any word a client likes to send; a label must not be.
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "OTHER",
        };
        let metrics = &self.metrics;
        metrics.http_requests.with_label_values(&[route, method, status.as_str()]).inc();
        metrics.http_request_seconds.with_label_values(&[route]).observe(elapsed.as_secs_f64());
    }
}

impl Deref for Shared {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.app
    }
}
