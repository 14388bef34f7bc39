//! The loop: claim what is due, send it, hand over what came of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proofmill_contract::Clock;
use proofmill_jose::{SigningSecret, WebhookHeaders};
use proofmill_store::{ClaimRequest, Claimed, DeliveryOutcome, DueDelivery, Store, TryEnded};
use proofmill_telemetry::Metrics;
use proofmill_vault::DeploymentKey;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Answer, Client};
use crate::pace::Paces;
use crate::recorder;
use crate::schedule::next_try;

/// How a sender works.
#[derive(Clone, Debug)]
pub struct SenderConfig {
    /// Deliveries in flight in this process. A delivery in flight costs a socket and its payload, no thread.
    pub in_flight: usize,
    /// Of these, what is kept from endpoints that are known to be slow.
    pub reserved: usize,
    /// Deliveries in flight to one endpoint, over all senders.
    pub per_endpoint: usize,
    /// The same before anything is known of it: quick answers raise it, slow and failed ones lower it.
    pub per_new_endpoint: usize,
    /// Deliveries in flight to the endpoints of one organisation, over all senders; fewer where that is more than half of what
    /// is free.
    pub per_organisation: usize,
    /// An answer that takes longer is slow.
    pub slow_after: Duration,
    /// Deliveries in flight to endpoints that have not been well, over all senders: one each, and together no more than
    /// leaves the others their room.
    pub probes: usize,
    /// How long to wait when nothing was due.
    pub poll_interval: Duration,
    /// How long a claimed delivery is held. Longer than a whole try (15 s), so that a slow endpoint is not tried twice at
    /// once; short, because a killed sender's deliveries wait for its end.
    pub lease: Duration,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            in_flight: 512,
            reserved: 128,
            per_endpoint: 32,
            per_new_endpoint: 4,
            per_organisation: 128,
            slow_after: Duration::from_secs(2),
            probes: 128,
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
    paces: Paces,
    wakeup: Arc<Notify>,
    // Shared by the tries in flight, each of which draws once when it fails.
    jitter: Mutex<StdRng>,
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
        let jitter = Mutex::new(StdRng::from_rng(&mut rand::rng()));
        let paces = Paces::new(config.per_new_endpoint, config.per_endpoint);
        Self { store, deployment, clock, metrics, client, config, paces, wakeup: Arc::default(), jitter }
    }

    /// The same with jitter drawn from a seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.jitter = Mutex::new(StdRng::seed_from_u64(seed));
        self
    }

    /// Notified, the sender looks for due deliveries at once.
    pub fn wakeup(&self) -> Arc<Notify> {
        self.wakeup.clone()
    }

    /// Runs until `shutdown`, then finishes what is in flight.
    pub async fn run(self, shutdown: CancellationToken) {
        let sender = Arc::new(self);
        let room = Arc::new(Semaphore::new(sender.config.in_flight));
        let recorded = Arc::new(Notify::new());
        let (ended, inbox) = mpsc::channel(sender.config.in_flight.max(1));
        let recorder = tokio::spawn(recorder::run(sender.store.clone(), sender.clock.clone(), inbox, recorded.clone()));
        let tasks = TaskTracker::new();
        let mut after: Option<String> = None;
        while !shutdown.is_cancelled() {
            // Taken and given back at once: nobody else takes permits, so that many are free until the claim.
            tokio::select! {
                () = shutdown.cancelled() => break,
                permit = room.acquire() => drop(permit),
            }
            let free = room.available_permits();
            let claimed = sender.claim(free, after.clone()).await;
            let more = claimed.deliveries.len() >= free || claimed.after.is_some();
            // Where room is scarce, the next claim begins behind who got some of it.
            let last = claimed.deliveries.last().map(|delivery| delivery.endpoint_id.to_string());
            after = claimed.after.or(last).or(after);
            for delivery in claimed.deliveries {
                let Ok(permit) = room.clone().acquire_owned().await else { break };
                let (sender, ended) = (sender.clone(), ended.clone());
                tasks.spawn(async move {
                    sender.metrics.webhook_in_flight.inc();
                    let outcome = sender.deliver(delivery).await;
                    // Fails only if the recorder is gone, which outlives every sender of its channel.
                    let _ = ended.send(outcome).await;
                    sender.metrics.webhook_in_flight.dec();
                    drop(permit);
                });
            }
            if !more {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = sender.wakeup.notified() => {}
                    // What was just recorded made room at its endpoint, which may have more.
                    () = recorded.notified() => {}
                    () = tokio::time::sleep(sender.config.poll_interval) => {}
                }
            }
        }
        tasks.close();
        tasks.wait().await;
        drop(ended);
        if let Err(error) = recorder.await {
            tracing::error!(%error, "the recorder of webhook tries did not finish");
        }
    }

    async fn claim(&self, limit: usize, after: Option<String>) -> Claimed {
        let request = ClaimRequest {
            limit,
            reserved: self.config.reserved,
            divided: true,
            per_endpoint: self.config.per_endpoint,
            per_new_endpoint: self.config.per_new_endpoint,
            per_organisation: self.config.per_organisation,
            paces: self.paces.now(),
            probes: self.config.probes,
            lease_for: self.config.lease,
            after,
        };
        self.store.claim_deliveries(request, self.clock.now()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "deliveries cannot be claimed; trying again");
            Claimed { deliveries: Vec::new(), after: None }
        })
    }

    /// One try; gives what to record of it.
    async fn deliver(&self, delivery: DueDelivery) -> TryEnded {
        let started = self.clock.now();
        self.metrics.webhook_lag_seconds.observe(started.since(delivery.due_at).as_secs_f64());
        let (outcome, endpoint_well) = match self.headers(&delivery) {
            Some(headers) => {
                let sending = self.client.send(&delivery.url, &headers, delivery.payload, started);
                let answer = self.paced(delivery.endpoint_id.as_str(), sending).await;
                tracing::info!(delivery = %delivery.id, event = %delivery.event_id, try_number = delivery.try_number, ?answer, "webhook try");
                (self.outcome(answer, delivery.try_number), answer.endpoint_well())
            }
            // Our fault, not the endpoint's: the schedule goes on, and somebody may mend the key meanwhile.
            None => (self.again(delivery.try_number, None, None, "signing_secret_unreadable", false), None),
        };
        self.metrics.webhook_seconds.observe(self.clock.now().since(started).as_secs_f64());
        let result = if matches!(outcome, DeliveryOutcome::Delivered { .. }) { "ok" } else { "failed" };
        self.metrics.webhook_tries.with_label_values(&[result]).inc();
        if matches!(outcome, DeliveryOutcome::Failed { .. }) {
            self.metrics.webhook_exhausted.inc();
        }
        let (id, lease_token, sent_to) = (delivery.id, delivery.lease_token, Some(delivery.url));
        TryEnded { id, lease_token, sent_to, outcome, endpoint_well }
    }

    /// Awaits an answer and learns from it. What takes long is known to be slow before its answer is there, for that may be
    /// long after the endpoint was given more.
    async fn paced(&self, endpoint: &str, sending: impl Future<Output = Answer>) -> Answer {
        let mut sending = std::pin::pin!(sending);
        let in_time = tokio::time::timeout(self.config.slow_after, &mut sending).await.ok();
        let quick = in_time.is_some();
        let answer = match in_time {
            Some(answer) => answer,
            None => {
                self.paces.slow(endpoint);
                sending.await
            }
        };
        match answer.endpoint_well() {
            Some(true) if quick => self.paces.quick(endpoint),
            Some(false) if quick => self.paces.slow(endpoint),
            _ => {}
        }
        answer
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
            Answer::Refused(status, retry_after) => {
                let word = if (300..400).contains(&status) { "redirect_not_followed" } else { "refused" };
                self.again(try_number, Some(status), retry_after, word, false)
            }
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
        let mut jitter = self.jitter.lock().unwrap_or_else(PoisonError::into_inner);
        let error = error.to_owned();
        match next_try(try_number, self.clock.now(), retry_after, &mut *jitter) {
            Some(at) => DeliveryOutcome::Retry { at, status, error, maybe_received },
            None => DeliveryOutcome::Failed {
                reason: "schedule_exhausted".to_owned(),
                status,
                error: Some(error),
                maybe_received,
            },
        }
    }
}
