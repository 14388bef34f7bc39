//! The one place of a worker where verdicts are written. Many share a transaction: while one commits, the next group
//! gathers, so groups grow with the load and nobody waits for company.
//!
//! A verdict is encrypted to each of its organisation's endpoints within its transaction. With a portrait among its claims that
//! is a thousand times the work of any other, so those have a task of their own, and a group ends where its payloads become
//! too many: who waits behind another organisation's verdicts waits for one transaction, not for all of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proofmill_contract::{Clock, OrganisationId};
use proofmill_store::{SettleResult, Store, StoreError, Verdict};
use proofmill_telemetry::Metrics;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::PipelineConfig;
use crate::engine::Fault;

/// Delays before a group is written again when the database does not answer. Longer outages give the attempts back.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(2)];

/// Bytes of claims from which a verdict is heavy: many times what all claims have that are texts, and less than a portrait.
const HEAVY_CLAIMS: usize = 64 << 10;

/// Hands verdicts to the settling tasks.
pub(super) struct Settler {
    light: mpsc::Sender<Request>,
    heavy: mpsc::Sender<Request>,
}

impl Settler {
    /// Starts the settling tasks; they end when the last handle is gone and everything is written.
    pub(super) fn start(
        store: &Store,
        clock: &Arc<dyn Clock>,
        metrics: &Arc<Metrics>,
        config: &PipelineConfig,
    ) -> (Self, [JoinHandle<()>; 2]) {
        let group = config.settle_group.max(1);
        let start = || {
            let writer = Writer {
                store: store.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
                group,
                bytes: config.settle_bytes,
            };
            let (requests, inbox) = mpsc::channel(group);
            (requests, tokio::spawn(writer.write(inbox)))
        };
        let ((light, first), (heavy, second)) = (start(), start());
        (Self { light, heavy }, [first, second])
    }

    /// Writes a verdict of an organisation.
    pub(super) async fn settle(&self, organisation: &OrganisationId, verdict: Verdict) -> Result<SettleResult, Fault> {
        let gone = || Fault::system("store", "the settling task has ended");
        let (answer, wait) = oneshot::channel();
        let bytes = verdict.claims.as_ref().map_or(0, text_bytes);
        let lane = if bytes < HEAVY_CLAIMS { &self.light } else { &self.heavy };
        let request = Request { organisation: organisation.clone(), verdict: Arc::new(verdict), bytes, answer };
        lane.send(request).await.map_err(|_| gone())?;
        wait.await.unwrap_or_else(|_| Err(gone()))
    }
}

struct Request {
    organisation: OrganisationId,
    /// Shared, so that a second try of its transaction does not copy the claims.
    verdict: Arc<Verdict>,
    bytes: usize,
    answer: oneshot::Sender<Result<SettleResult, Fault>>,
}

/// One settling task.
struct Writer {
    store: Store,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    group: usize,
    bytes: usize,
}

impl Writer {
    async fn write(self, mut inbox: mpsc::Receiver<Request>) {
        let mut waiting = Turns::default();
        let mut arrived = Vec::with_capacity(self.group);
        loop {
            if waiting.is_empty() && inbox.recv_many(&mut arrived, self.group).await == 0 {
                return;
            }
            while let Ok(request) = inbox.try_recv() {
                arrived.push(request);
            }
            arrived.drain(..).for_each(|request| waiting.push(request));
            self.write_group(&mut waiting).await;
        }
    }

    /// Writes those whose turn it is; what does not fit into one transaction keeps its place.
    async fn write_group(&self, waiting: &mut Turns) {
        let mut group = waiting.take(self.group, self.bytes);
        let verdicts: Vec<Arc<Verdict>> = group.iter().map(|request| request.verdict.clone()).collect();
        let started = Instant::now();
        let results = self.write_first(&verdicts).await;
        self.metrics.stage_seconds.with_label_values(&["settle"]).observe(started.elapsed().as_secs_f64());
        drop(verdicts);
        match results {
            Ok(results) => {
                self.metrics.settle_batch_items.observe(results.len() as f64);
                let rest = group.split_off(results.len().min(group.len()));
                for (request, result) in group.into_iter().zip(results) {
                    // A worker that lost its lease meanwhile has stopped listening.
                    let _ = request.answer.send(Ok(result));
                }
                waiting.give_back(rest);
            }
            Err(error) => {
                for request in group {
                    let _ = request.answer.send(Err(Fault::system("store", &error)));
                }
            }
        }
    }

    /// Writes the first of a group, again if the database was away for a moment: what was committed after all is reported as
    /// settled already, and a lease that passed on meanwhile as lost.
    async fn write_first(&self, verdicts: &[Arc<Verdict>]) -> Result<Vec<SettleResult>, StoreError> {
        for delay in RETRIES {
            match self.store.settle_first(verdicts, self.bytes, self.clock.now()).await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, verdicts = verdicts.len(), "verdicts cannot be written; trying again");
                    tokio::time::sleep(delay).await;
                }
                done => return done,
            }
        }
        self.store.settle_first(verdicts, self.bytes, self.clock.now()).await
    }
}

/// Requests that wait, by organisation: those who have many waiting come round as often as those who have one.
#[derive(Default)]
struct Turns(VecDeque<(OrganisationId, VecDeque<Request>)>);

impl Turns {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, request: Request) {
        match self.0.iter_mut().find(|(organisation, _)| *organisation == request.organisation) {
            Some((_, requests)) => requests.push_back(request),
            None => self.0.push_back((request.organisation.clone(), VecDeque::from([request]))),
        }
    }

    /// The next ones in turn: one at least, at most so many, and no more than so many bytes of claims.
    fn take(&mut self, most: usize, most_bytes: usize) -> Vec<Request> {
        let (mut group, mut bytes) = (Vec::new(), 0_usize);
        while group.len() < most.max(1) {
            let Some((organisation, mut requests)) = self.0.pop_front() else { break };
            let fits = |next: &Request| group.is_empty() || bytes.saturating_add(next.bytes) <= most_bytes;
            if !requests.front().is_some_and(fits) {
                self.0.push_front((organisation, requests));
                break;
            }
            if let Some(next) = requests.pop_front() {
                bytes = bytes.saturating_add(next.bytes);
                group.push(next);
            }
            if !requests.is_empty() {
                self.0.push_back((organisation, requests));
            }
        }
        group
    }

    /// Takes back the last ones that were taken: they are the next in turn again.
    fn give_back(&mut self, rest: Vec<Request>) {
        for request in rest.into_iter().rev() {
            let place = self.0.iter().position(|(organisation, _)| *organisation == request.organisation);
            let of_organisation = place.and_then(|place| self.0.remove(place));
            let (organisation, mut requests) =
                of_organisation.unwrap_or_else(|| (request.organisation.clone(), VecDeque::new()));
            requests.push_front(request);
            self.0.push_front((organisation, requests));
        }
    }
}

/// Bytes of the texts in a value, which is what can make it large.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(members) => members.iter().map(|(key, value)| key.len() + text_bytes(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofmill_api::tenancy::create_organisation;
    use proofmill_contract::events::EventType;
    use proofmill_contract::{
        AttemptId, Checks, ContractVersion, EndpointId, Lane, ManualClock, OrganisationPolicy, Outcome, SessionId,
        ShareFields, Timestamp,
    };
    use proofmill_store::{Lease, NewAttempt, NewEndpoint, NewSession, StoreConfig, Submission};
    use proofmill_vault::{DeploymentKey, SealedRef};
    use serde_json::json;

    /// A request that its lease's token names.
    fn request(organisation: &str, name: &str, bytes: usize) -> Request {
        let verdict = Verdict {
            attempt_id: AttemptId::parse(&format!("va_{}", "a".repeat(64))).unwrap(),
            lease_token: name.to_owned(),
            outcome: Outcome::Accepted,
            checks: Checks::default(),
            claims: None,
            id_key_versions: None,
            kept_chip_evidence: None,
        };
        let organisation = OrganisationId::parse(&format!("org_{}", organisation.repeat(32))).unwrap();
        Request { organisation, verdict: Arc::new(verdict), bytes, answer: oneshot::channel().0 }
    }

    fn names(group: &[Request]) -> Vec<&str> {
        group.iter().map(|request| request.verdict.lease_token.as_str()).collect()
    }

    #[test]
    fn organisations_take_turns_and_what_was_not_written_keeps_its_place() {
        let mut turns = Turns::default();
        for name in ["a1", "a2", "a3", "a4"] {
            turns.push(request("a", name, 1));
        }
        turns.push(request("b", "b1", 1));
        let mut group = turns.take(64, 100);
        assert_eq!(names(&group), ["a1", "b1", "a2", "a3", "a4"]);
        assert!(turns.is_empty());
        // The transaction had room for the first alone; another organisation's arrives meanwhile.
        turns.give_back(group.split_off(1));
        turns.push(request("c", "c1", 1));
        let mut group = turns.take(64, 100);
        assert_eq!(names(&group), ["b1", "a2", "c1", "a3", "a4"]);
        turns.give_back(group.split_off(2));
        assert_eq!(names(&turns.take(64, 100)), ["c1", "a3", "a4"]);
        assert!(turns.is_empty());
    }

    #[test]
    fn a_group_ends_with_its_number_or_its_bytes_and_has_one_at_least() {
        let mut turns = Turns::default();
        for (name, bytes) in [("a1", 50), ("a2", 30), ("a3", 30), ("a4", 500), ("a5", 1)] {
            turns.push(request("a", name, bytes));
        }
        assert_eq!(names(&turns.take(64, 100)), ["a1", "a2"]);
        assert_eq!(names(&turns.take(64, 100)), ["a3"]);
        assert_eq!(names(&turns.take(64, 100)), ["a4"], "larger than a group, and a group by itself");
        turns.push(request("a", "a6", 1));
        assert_eq!(names(&turns.take(1, 100)), ["a5"]);
        assert_eq!(names(&turns.take(0, 0)), ["a6"]);
    }

    /// A store with an organisation that has an endpoint, whose deliveries count although it has no key.
    async fn organisation(store: &Store) -> OrganisationId {
        let now = Timestamp::from_secs(1_795_339_800);
        let deployment = DeploymentKey::from_bytes([7; 32]);
        let policy = OrganisationPolicy::default();
        let made = create_organisation(store, &deployment, "Acme", ContractVersion::V2, policy, false, now).await;
        let organisation = made.unwrap().id;
        let endpoint = NewEndpoint {
            id: EndpointId::generate(now, &mut rand::rng()),
            organisation_id: organisation.clone(),
            url: "https://hooks.example/proofmill".into(),
            name: None,
            labels: Vec::new(),
            enabled: true,
            subscribed_event_types: EventType::ALL.to_vec(),
            undelivered_payload_retention_hours: 72,
            signing_secret_sealed: vec![1],
        };
        store.create_endpoint(endpoint, now).await.unwrap();
        organisation
    }

    /// An accepted verdict with so many bytes of claims, to be written under a lease that is held.
    async fn verdict(store: &Store, organisation: &OrganisationId, bytes: usize) -> Verdict {
        let now = Timestamp::from_secs(1_795_339_800);
        let session = NewSession {
            id: SessionId::generate(now, &mut rand::rng()),
            organisation_id: organisation.clone(),
            contract_version: ContractVersion::V2,
            share_fields: ShareFields::default_contract(),
            redirect_url: None,
            webhook_endpoint_ids: None,
            cancel_token_hash: [1; 32],
            expires_at: now.plus(Duration::from_secs(3_600)),
        };
        let attempt = NewAttempt {
            id: AttemptId::generate(now, &mut rand::rng()),
            session_id: session.id.clone(),
            organisation_id: None,
            challenge: [1; 8],
            handoff_expires_at: now.plus(Duration::from_secs(300)),
            lane: Lane::Interactive,
        };
        let id = attempt.id.clone();
        let submission = Submission {
            evidence_fingerprint: [1; 32],
            sealed: SealedRef { object: id.to_string(), epoch: "20261122".into(), wrapped_key: vec![1; 40] },
            selected_field_keys: Vec::new(),
            lane: Lane::Interactive,
            chip_evidence_kept_used: false,
            left_to_caller: Duration::ZERO,
        };
        store.submit_in_new_session(session, attempt, submission, None, now).await.unwrap();
        let Lease::Acquired(lease) = store.acquire_lease(&id, Duration::from_secs(60), now).await.unwrap() else {
            panic!("not leased")
        };
        Verdict {
            attempt_id: id,
            lease_token: lease.token,
            outcome: Outcome::Accepted,
            checks: Checks::default(),
            claims: Some(json!({ "document_photo": "x".repeat(bytes) })),
            id_key_versions: None,
            kept_chip_evidence: None,
        }
    }

    #[tokio::test]
    async fn heavy_verdicts_share_no_transaction_with_light_ones_and_none_with_more_than_it_has_room_for() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("store.sqlite").display());
        let store = Store::open(StoreConfig { url, pool_size: 2 }).await.unwrap();
        store.migrate().await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_secs(1_795_339_801)));
        let metrics = Arc::new(Metrics::new(&crate::build_info("test")).unwrap());
        // Room for two of the heavy ones, and for any number of light ones.
        let config = PipelineConfig { settle_bytes: 3 * HEAVY_CLAIMS, ..PipelineConfig::default() };
        let (settler, writing) = Settler::start(&store, &clock, &metrics, &config);
        let (many, one) = (organisation(&store).await, organisation(&store).await);
        let mut verdicts = Vec::new();
        for _ in 0..5 {
            verdicts.push((many.clone(), verdict(&store, &many, HEAVY_CLAIMS).await));
        }
        for _ in 0..2 {
            verdicts.push((one.clone(), verdict(&store, &one, 100).await));
        }
        let settled = verdicts.into_iter().map(|(organisation, verdict)| {
            let settler = &settler;
            async move { settler.settle(&organisation, verdict).await.unwrap() }
        });
        for settled in futures::future::join_all(settled).await {
            assert!(matches!(settled, SettleResult::Settled { deliveries: 1, .. }), "{settled:?}");
        }
        drop(settler);
        for task in writing {
            task.await.unwrap();
        }
        let transactions = metrics.settle_batch_items.get_sample_count();
        // Five heavy ones two at a time at most, and the light ones beside them.
        assert!((4..=7).contains(&transactions), "{transactions}");
        assert_eq!(metrics.settle_batch_items.get_sample_sum(), 7.0);
    }

    #[test]
    fn claims_weigh_what_their_texts_have() {
        assert_eq!(text_bytes(&json!({ "a": "xyz", "b": ["12", { "c": null }], "d": 7, "e": true })), 3 + 2 + 5);
    }
}
