//! The loop: claim what is due, send it, record what came of it.

use std::sync::Arc;
use std::time::Duration;

use proofmill_contract::Clock;
use proofmill_jose::{SigningSecret, WebhookHeaders};
use proofmill_store::{DeliveryOutcome, DueDelivery, Store};
use proofmill_telemetry::Metrics;
use proofmill_vault::DeploymentKey;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Answer, Client};
use crate::schedule::next_try;

/// How a sender works.
#[derive(Clone, Debug)]
pub struct SenderConfig {
    /// Deliveries in flight in this process.
    pub in_flight: usize,
    /// Deliveries in flight to one endpoint, over all senders.
    pub per_endpoint: usize,
    /// How long to wait when nothing was due.
    pub poll_interval: Duration,
    /// How long a claimed delivery is held. Longer than a whole try (15 s), so that a slow endpoint is not tried twice at
    /// once; short, because a killed sender's deliveries wait for its end.
    pub lease: Duration,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            in_flight: 64,
            per_endpoint: 16,
            poll_interval: Duration::from_millis(200),
            lease: Duration::from_secs(25),
        }
    }
}

/// Sends deliveries until told to stop. Any number may run against one store.
pub struct Sender {
    store: Store,
    deployment: Arc<DeploymentKey>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    client: Client,
    config: SenderConfig,
    wakeup: Arc<Notify>,
}

impl Sender {
    /// A sender over its collaborators.
    pub fn new(
        store: Store,
        deployment: Arc<DeploymentKey>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        client: Client,
        config: SenderConfig,
    ) -> Self {
        Self { store, deployment, clock, metrics, client, config, wakeup: Arc::default() }
    }

    /// Notified, the sender looks for due deliveries at once.
    pub fn wakeup(&self) -> Arc<Notify> {
        self.wakeup.clone()
    }

    /// Runs until `shutdown`, then finishes what is in flight.
    pub async fn run(self, shutdown: CancellationToken) {
        let sender = Arc::new(self);
        let room = Arc::new(Semaphore::new(sender.config.in_flight));
        let tasks = TaskTracker::new();
        while !shutdown.is_cancelled() {
            let claimed = sender.claim(room.available_permits()).await;
            let idle = claimed.is_empty();
            for delivery in claimed {
                // Only as many were claimed as there is room for, and nobody else takes permits.
                let Ok(permit) = room.clone().acquire_owned().await else { break };
                let sender = sender.clone();
                tasks.spawn(async move {
                    sender.metrics.webhook_in_flight.inc();
                    sender.deliver(delivery).await;
                    sender.metrics.webhook_in_flight.dec();
                    drop(permit);
                });
            }
            if idle {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = sender.wakeup.notified() => {}
                    () = tokio::time::sleep(sender.config.poll_interval) => {}
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn claim(&self, room: usize) -> Vec<DueDelivery> {
        if room == 0 {
            return Vec::new();
        }
        let claimed =
            self.store.claim_due_deliveries(room, self.config.per_endpoint, self.config.lease, self.clock.now()).await;
        claimed.unwrap_or_else(|error| {
            tracing::warn!(%error, "deliveries cannot be claimed; trying again");
            Vec::new()
        })
    }

    async fn deliver(&self, delivery: DueDelivery) {
        let started = self.clock.now();
        let outcome = match self.headers(&delivery) {
            Some(headers) => {
                let answer = self.client.send(&delivery.url, &headers, delivery.payload).await;
                tracing::info!(delivery = %delivery.id, event = %delivery.event_id, try_number = delivery.try_number, ?answer, "webhook try");
                self.outcome(answer, delivery.try_number)
            }
            // Our fault, not the endpoint's: the schedule goes on, and somebody may mend the key meanwhile.
            None => self.again(delivery.try_number, None, None, "signing_secret_unreadable", false),
        };
        self.metrics.webhook_seconds.observe(self.clock.now().since(started).as_secs_f64());
        let result = if matches!(outcome, DeliveryOutcome::Delivered { .. }) { "ok" } else { "failed" };
        self.metrics.webhook_tries.with_label_values(&[result]).inc();
        if matches!(outcome, DeliveryOutcome::Failed { .. }) {
            self.metrics.webhook_exhausted.inc();
        }
        let recorded = self.store.record_delivery(&delivery.id, &delivery.lease_token, outcome, self.clock.now()).await;
        if let Err(error) = recorded {
            // The lease runs out and the delivery is sent again under the same event id: at least once.
            tracing::warn!(delivery = %delivery.id, %error, "webhook outcome cannot be recorded");
        }
    }

    fn headers(&self, delivery: &DueDelivery) -> Option<WebhookHeaders> {
        let secrets: Vec<SigningSecret> = delivery
            .secrets_sealed
            .iter()
            .filter_map(|sealed| {
                let aad = delivery.endpoint_id.as_str().as_bytes();
                let text = self.deployment.open("webhook.signing_secret", aad, sealed).ok()?;
                SigningSecret::parse(std::str::from_utf8(&text).ok()?).ok()
            })
            .collect();
        if secrets.is_empty() {
            tracing::error!(endpoint = %delivery.endpoint_id, "no signing secret can be opened: is this the deployment key that sealed it?");
            return None;
        }
        Some(WebhookHeaders::new(
            &secrets.iter().collect::<Vec<_>>(),
            delivery.id.as_str(),
            delivery.event_id.as_str(),
            delivery.event_type.as_str(),
            self.clock.now().as_secs(),
            delivery.payload.as_bytes(),
        ))
    }

    fn outcome(&self, answer: Answer, try_number: u32) -> DeliveryOutcome {
        match answer {
            Answer::Delivered(status) => DeliveryOutcome::Delivered { status },
            Answer::Gone => DeliveryOutcome::EndpointGone,
            Answer::Refused(status, retry_after) => self.again(try_number, Some(status), retry_after, "refused", false),
            Answer::Unreachable(word) => self.again(try_number, None, None, word, false),
            Answer::Unanswered(word) => self.again(try_number, None, None, word, true),
        }
    }

    fn again(
        &self,
        try_number: u32,
        status: Option<u16>,
        retry_after: Option<Duration>,
        error: &str,
        maybe_received: bool,
    ) -> DeliveryOutcome {
        match next_try(try_number, self.clock.now(), retry_after, &mut rand::rng()) {
            Some(at) => DeliveryOutcome::Retry { at, status, error: error.to_owned(), maybe_received },
            None => DeliveryOutcome::Failed { reason: "schedule_exhausted".to_owned(), status, maybe_received },
        }
    }
}
