//! The one place of a worker where verdicts are written. Many share a transaction: while one commits, the next group
//! gathers, so groups grow with the load and nobody waits for company.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proofmill_contract::Clock;
use proofmill_store::{SettleResult, Store, StoreError, Verdict};
use proofmill_telemetry::Metrics;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::engine::Fault;

/// Delays before a group is written again when the database does not answer. Longer outages give the attempts back.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(2)];

struct Request {
    verdict: Verdict,
    answer: oneshot::Sender<Result<SettleResult, Fault>>,
}

/// Hands verdicts to the settling task.
pub(super) struct Settler(mpsc::Sender<Request>);

impl Settler {
    /// Starts the settling task; it ends when the last handle is gone and everything is written.
    pub(super) fn start(
        store: Store,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        group: usize,
    ) -> (Self, JoinHandle<()>) {
        let (requests, inbox) = mpsc::channel(group.max(1));
        (Self(requests), tokio::spawn(write(store, clock, metrics, group.max(1), inbox)))
    }

    /// Writes a verdict.
    pub(super) async fn settle(&self, verdict: Verdict) -> Result<SettleResult, Fault> {
        let gone = || Fault::system("store", "the settling task has ended");
        let (answer, wait) = oneshot::channel();
        self.0.send(Request { verdict, answer }).await.map_err(|_| gone())?;
        wait.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn write(
    store: Store,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    group: usize,
    mut inbox: mpsc::Receiver<Request>,
) {
    let mut requests = Vec::with_capacity(group);
    while inbox.recv_many(&mut requests, group).await > 0 {
        let (verdicts, answers): (Vec<_>, Vec<_>) =
            requests.drain(..).map(|request| (request.verdict, request.answer)).unzip();
        metrics.settle_batch_items.observe(verdicts.len() as f64);
        let started = Instant::now();
        let results = write_group(&store, &*clock, verdicts).await;
        metrics.stage_seconds.with_label_values(&["settle"]).observe(started.elapsed().as_secs_f64());
        match results {
            Ok(results) => {
                for (answer, result) in answers.into_iter().zip(results) {
                    // A worker that lost its lease meanwhile has stopped listening.
                    let _ = answer.send(Ok(result));
                }
            }
            Err(error) => {
                for answer in answers {
                    let _ = answer.send(Err(Fault::system("store", &error)));
                }
            }
        }
    }
}

/// Writes a group, again if the database was away for a moment: a group that was committed after all is reported as
/// settled already, and a lease that passed on meanwhile as lost.
async fn write_group(
    store: &Store,
    clock: &dyn Clock,
    verdicts: Vec<Verdict>,
) -> Result<Vec<SettleResult>, StoreError> {
    for delay in RETRIES {
        match store.settle(verdicts.iter().map(copy).collect(), clock.now()).await {
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, verdicts = verdicts.len(), "verdicts cannot be written; trying again");
                tokio::time::sleep(delay).await;
            }
            done => return done,
        }
    }
    store.settle(verdicts, clock.now()).await
}

/// `Verdict` is no `Clone`, so that claims are not copied about by accident; a retry needs one copy.
fn copy(verdict: &Verdict) -> Verdict {
    Verdict {
        attempt_id: verdict.attempt_id.clone(),
        lease_token: verdict.lease_token.clone(),
        outcome: verdict.outcome,
        checks: verdict.checks.clone(),
        claims: verdict.claims.clone(),
        id_key_versions: verdict.id_key_versions,
        kept_chip_evidence: verdict.kept_chip_evidence.clone(),
    }
}
