//! One attempt: lease, open, judge, settle, destroy, acknowledge.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use proofmill_api::tenancy::{DOCUMENT_ID_KEY, HUMAN_ID_KEY};
use proofmill_contract::claims::{DerivedIdKeys, claims};
use proofmill_contract::{AttemptId, Evidence, FailureCode, Lane, Outcome};
use proofmill_queue::{Delivery, QueueError};
use proofmill_store::{IdKeyVersions, Lease, LeasedAttempt, LostEvidence, SettleResult, Verdict};
use proofmill_vault::{TerminalSecret, VaultError};

use super::Shared;
use super::chip_evidence;
use super::heartbeat::while_held;
use super::isolation::Entry;
use crate::engine::{Case, Fault, Judgement};
use crate::face::FaceLane;

/// Works on one delivery to its end.
pub(super) async fn run(shared: &Shared, delivery: Delivery) {
    let id = delivery.attempt_id().clone();
    let entry = shared.isolation.enter(delivery.redelivered).await;
    let started = Instant::now();
    let lease = shared.parts.store.acquire_lease(&id, shared.config.lease, shared.parts.clock.now()).await;
    stage(shared, "intake", started.elapsed());
    match lease {
        Ok(Lease::Acquired(lease)) => leased(shared, delivery, lease, entry).await,
        Ok(Lease::HeldByOther { until }) => {
            // Whoever holds it settles it, or falls silent and lets it be taken over.
            let wait = until.since(shared.parts.clock.now()) + Duration::from_secs(1);
            finished(&id, "put off", delivery.retry_later(wait).await);
        }
        Ok(Lease::Settled | Lease::Quarantined | Lease::Gone) => acknowledge(&id, delivery).await,
        Err(error) => {
            tracing::warn!(attempt = %id, %error, "no lease; trying again later");
            shared.parts.metrics.system_faults.with_label_values(&["store"]).inc();
            shared.isolation.clear(&id);
            finished(&id, "put off", delivery.retry_later(shared.config.retry_base).await);
        }
    }
}

async fn leased(shared: &Shared, delivery: Delivery, lease: LeasedAttempt, entry: Entry<'_>) {
    let id = &lease.attempt.id;
    let suspect = shared.isolation.is_suspect(id, delivery.redelivered, lease.tries);
    if lease.tries > shared.config.max_leases {
        let reason = format!("leased {} times without a verdict", lease.tries - 1);
        return set_aside(shared, delivery, &lease, &reason).await;
    }
    let settling = AtomicBool::new(false);
    let end = {
        let work = async {
            let pass = shared.isolation.pass(entry, suspect).await;
            if pass.is_alone() {
                shared.parts.metrics.isolated.inc();
            }
            let judged = judge(shared, &lease, pass.is_alone()).await?;
            // Nothing that follows runs code on evidence: others may go on.
            drop(pass);
            let verdict = verdict(shared, &lease, judged).await?;
            let (outcome, kept) = (verdict.outcome, verdict.kept_chip_evidence.clone());
            settling.store(true, Ordering::Release);
            Ok((outcome, kept, shared.settler.settle(&lease.organisation.id, verdict).await?))
        };
        // The stages catch their own panics; this catches those of everything around them.
        let work = AssertUnwindSafe(work)
            .catch_unwind()
            .map(|caught| caught.unwrap_or_else(|_| Err(Stop::Fault(Fault::Poison("the pipeline panicked".into())))));
        let (store, clock, lease_for) = (&shared.parts.store, &shared.parts.clock, shared.config.lease);
        let extend = || store.extend_lease(id, &lease.token, clock.now().plus(lease_for));
        while_held(lease_for / 3, &settling, extend, work).await
    };
    match end {
        None => {
            tracing::warn!(attempt = %id, "lease lost; nothing is written");
            shared.parts.metrics.leases_lost.inc();
            acknowledge(id, delivery).await;
        }
        Some(Ok((outcome, kept, result))) => {
            chip_evidence::discard_unwritten(shared, kept, &result).await;
            settled(shared, delivery, &lease, outcome, result).await;
        }
        Some(Err(stop)) => stopped(shared, delivery, &lease, stop).await,
    }
}

/// Why an attempt was not settled.
pub(super) enum Stop {
    Fault(Fault),
    /// Evidence is gone or does not open. It may be out of sight only, so that it is believed after the last lease.
    Unopenable(LostEvidence, String),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

async fn judge(shared: &Shared, lease: &LeasedAttempt, alone: bool) -> Result<Judgement, Stop> {
    let started = Instant::now();
    let evidence = open(shared, lease).await?;
    stage(shared, "open", started.elapsed());
    let attempt = &lease.attempt;
    let chip = chip_evidence::source(shared, lease).await?;
    let case = Arc::new(Case {
        policy: lease.organisation.policy.clone(),
        selected_field_keys: lease.selected_field_keys.clone(),
        challenge: Some(attempt.challenge),
        terminal: terminal(shared, lease).await?,
        reader: chip_evidence::reader(shared, lease, &evidence, &chip).await?,
        chip,
        at: attempt.submitted_at.unwrap_or_else(|| shared.parts.clock.now()),
    });
    let lane = match (alone, attempt.lane) {
        (true, _) => FaceLane::Isolated,
        (false, Lane::Interactive) => FaceLane::Interactive,
        (false, Lane::Bulk) => FaceLane::Bulk,
    };
    Ok(shared.parts.engine.judge(evidence, case, lane).await?)
}

async fn open(shared: &Shared, lease: &LeasedAttempt) -> Result<Evidence, Stop> {
    shared
        .parts
        .vault
        .open(&lease.attempt.id, &lease.sealed)
        .await
        .map_err(|error| not_opened(LostEvidence::OfAttempt, error))
}

/// The server's terminal, if it began with the chip whose evidence was submitted. Without a transcript it says still which
/// chip that must be.
async fn terminal(shared: &Shared, lease: &LeasedAttempt) -> Result<Option<TerminalSecret>, Stop> {
    match &lease.attempt.terminal {
        Some(sealed) if !lease.selfies_only => {
            let opened = shared.parts.vault.open_terminal(&lease.attempt.id, sealed).await;
            opened.map(Some).map_err(|error| not_opened(LostEvidence::OfAttempt, error))
        }
        _ => Ok(None),
    }
}

pub(super) fn not_opened(lost: LostEvidence, error: VaultError) -> Stop {
    match error {
        // The message names the object, never what is in it.
        VaultError::Missing { .. } | VaultError::Corrupt { .. } => Stop::Unopenable(lost, error.to_string()),
        _ => Stop::Fault(Fault::system("vault", &with_cause(&error))),
    }
}

async fn verdict(shared: &Shared, lease: &LeasedAttempt, judged: Judgement) -> Result<Verdict, Fault> {
    let started = Instant::now();
    let claims = match &judged.document {
        Some(document) => {
            // Of the day of the submission, as the document's expiry is: when we come to it must make no difference.
            let day = lease.attempt.submitted_at.unwrap_or_else(|| shared.parts.clock.now()).utc_date();
            Some(claims(document, &lease.selected_field_keys, &derived_id_keys(shared, lease)?, day))
        }
        None => None,
    };
    stage(shared, "decide", started.elapsed());
    let outcome = judged.decision.outcome;
    Ok(Verdict {
        attempt_id: lease.attempt.id.clone(),
        lease_token: lease.token.clone(),
        outcome,
        checks: judged.decision.checks,
        kept_chip_evidence: chip_evidence::keep(shared, lease, outcome, judged.kept).await?,
        id_key_versions: claims.is_some().then_some(IdKeyVersions {
            document: lease.organisation.document_id_key_version,
            human: lease.organisation.human_id_key_version,
        }),
        claims,
    })
}

fn derived_id_keys(shared: &Shared, lease: &LeasedAttempt) -> Result<DerivedIdKeys, Fault> {
    let organisation = &lease.organisation;
    let open = |label, sealed| {
        shared
            .parts
            .deployment
            .open(label, organisation.id.as_str().as_bytes(), sealed)
            .map_err(|error| Fault::system("vault", &format!("{label}: {error}")))
    };
    Ok(DerivedIdKeys {
        document: open(DOCUMENT_ID_KEY, &organisation.document_id_key_sealed)?,
        human: open(HUMAN_ID_KEY, &organisation.human_id_key_sealed)?,
    })
}

async fn settled(shared: &Shared, delivery: Delivery, lease: &LeasedAttempt, outcome: Outcome, result: SettleResult) {
    let id = &lease.attempt.id;
    let metrics = &shared.parts.metrics;
    match result {
        SettleResult::Settled { session_status, event, deliveries, discarded } => {
            count(shared, lease, outcome);
            if deliveries > 0 {
                shared.parts.webhooks_due.notify_one();
            }
            if let Some(event) = event {
                metrics.events.with_label_values(&[event.as_str()]).inc();
            }
            tracing::info!(attempt = %id, session = %lease.session.id, %session_status, deliveries, "settled");
            destroy(shared, discarded.iter().chain(objects(lease))).await;
        }
        SettleResult::AlreadySettled => destroy(shared, objects(lease)).await,
        SettleResult::SessionEnded => {
            metrics.settle_conflicts.inc();
            metrics.verdicts.with_label_values(&[lease.attempt.lane.as_str(), "cancelled"]).inc();
            tracing::info!(attempt = %id, session = %lease.session.id, "the session ended meanwhile; nothing is written");
            destroy(shared, objects(lease)).await;
        }
        SettleResult::LostLease => {
            metrics.leases_lost.inc();
            tracing::warn!(attempt = %id, "lease lost before the verdict was written; nothing is written");
        }
        SettleResult::Conflict(constraint) => {
            metrics.settle_conflicts.inc();
            let fault = Fault::Poison(format!("the verdict was refused: {constraint}"));
            return stopped(shared, delivery, lease, Stop::Fault(fault)).await;
        }
    }
    acknowledge(id, delivery).await;
}

/// What was sealed for an attempt.
fn objects(lease: &LeasedAttempt) -> impl Iterator<Item = &String> {
    std::iter::once(&lease.sealed.object).chain(lease.attempt.terminal.iter().map(|sealed| &sealed.object))
}

fn count(shared: &Shared, lease: &LeasedAttempt, outcome: Outcome) {
    let metrics = &shared.parts.metrics;
    let lane = lease.attempt.lane.as_str();
    match outcome {
        Outcome::Accepted => metrics.verdicts.with_label_values(&[lane, "accepted"]).inc(),
        Outcome::Rejected(code) => {
            metrics.verdicts.with_label_values(&[lane, "rejected"]).inc();
            metrics.rejections.with_label_values(&[FailureCode::as_str(code)]).inc();
        }
    }
    if let Some(submitted) = lease.attempt.submitted_at {
        let age = shared.parts.clock.now().since(submitted);
        metrics.submit_to_verdict_seconds.with_label_values(&[lane]).observe(age.as_secs_f64());
    }
}

async fn stopped(shared: &Shared, delivery: Delivery, lease: &LeasedAttempt, stop: Stop) {
    let id = &lease.attempt.id;
    let fault = match stop {
        Stop::Unopenable(lost, reason) if lease.tries >= shared.config.max_leases => {
            return give_up(shared, delivery, lease, lost, &reason).await;
        }
        // A folder that is not mounted and a key that is not there yet look like this, too: believed only after every lease.
        Stop::Unopenable(_, reason) => Fault::System { part: "vault", error: reason },
        Stop::Fault(fault) => fault,
    };
    match &fault {
        Fault::System { part, .. } => {
            shared.parts.metrics.system_faults.with_label_values(&[part]).inc();
            shared.isolation.clear(id);
        }
        Fault::Poison(reason) if lease.tries >= shared.config.max_tries => {
            return set_aside(shared, delivery, lease, reason).await;
        }
        Fault::Poison(_) => {}
    }
    let delay = backoff(&shared.config, lease.tries);
    tracing::warn!(attempt = %id, tries = lease.tries, %fault, retry_in_s = delay.as_secs_f32(), "not judged; nobody is charged");
    if let Err(error) = shared.parts.store.release_lease(id, &lease.token, shared.parts.clock.now()).await {
        // It runs out by itself.
        tracing::warn!(attempt = %id, %error, "lease not released");
    }
    finished(id, "put off", delivery.retry_later(delay).await);
}

/// Ends an attempt that nobody can judge any more, so that its holder may begin another; he is not charged. The operator is
/// told, for evidence does not go by itself.
async fn give_up(shared: &Shared, delivery: Delivery, lease: &LeasedAttempt, lost: LostEvidence, reason: &str) {
    let id = &lease.attempt.id;
    match shared.parts.store.give_up(id, &lease.token, lost, reason, shared.parts.clock.now()).await {
        Ok(discarded) => {
            if let Some(discarded) = discarded {
                shared.parts.metrics.quarantined.inc();
                let lane = lease.attempt.lane.as_str();
                shared.parts.metrics.verdicts.with_label_values(&[lane, "cancelled"]).inc();
                tracing::error!(attempt = %id, session = %lease.session.id, reason, "evidence is gone; the attempt is cancelled, nobody is charged; an operator must look");
                destroy(shared, discarded.iter()).await;
            }
            acknowledge(id, delivery).await;
        }
        Err(error) => {
            tracing::warn!(attempt = %id, %error, "not cancelled; trying again later");
            finished(id, "put off", delivery.retry_later(backoff(&shared.config, lease.tries)).await);
        }
    }
}

/// Sets an attempt aside for an operator. The user is not charged.
async fn set_aside(shared: &Shared, delivery: Delivery, lease: &LeasedAttempt, reason: &str) {
    let id = &lease.attempt.id;
    match shared.parts.store.quarantine(id, &lease.token, reason, shared.parts.clock.now()).await {
        Ok(true) => {
            shared.parts.metrics.quarantined.inc();
            tracing::error!(attempt = %id, tries = lease.tries, reason, "set aside; nobody is charged; an operator must look");
            finished(id, "dead-lettered", delivery.dead_letter().await);
        }
        // Cancelled or taken over meanwhile: there is nothing to set aside.
        Ok(false) => acknowledge(id, delivery).await,
        Err(error) => {
            tracing::warn!(attempt = %id, %error, "not set aside; trying again later");
            finished(id, "put off", delivery.retry_later(backoff(&shared.config, lease.tries)).await);
        }
    }
}

pub(super) async fn destroy(shared: &Shared, objects: impl Iterator<Item = &String>) {
    let mut objects: Vec<_> = objects.collect();
    objects.sort_unstable();
    objects.dedup();
    for object in objects {
        match shared.parts.vault.destroy(object).await {
            Ok(()) => shared.parts.metrics.evidence_destroyed.inc(),
            // Its wrapped key is gone with the verdict, so nobody can read it; a sweep removes the bytes.
            Err(error) => tracing::warn!(%error, "sealed evidence not removed yet"),
        }
    }
}

async fn acknowledge(id: &AttemptId, delivery: Delivery) {
    finished(id, "acknowledged", delivery.ack().await);
}

/// A job that could not be handed back comes again by itself, and is then found settled.
fn finished(id: &AttemptId, what: &'static str, result: Result<(), QueueError>) {
    if let Err(error) = result {
        tracing::debug!(attempt = %id, %error, "job not {what}; it comes again");
    }
}

fn backoff(config: &super::PipelineConfig, tries: u32) -> Duration {
    let doubled = config.retry_base.saturating_mul(1u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX));
    // Spread, so that what failed together does not come back together.
    doubled.min(config.retry_cap).mul_f64(rand::random_range(0.8..1.2))
}

fn stage(shared: &Shared, name: &str, took: Duration) {
    shared.parts.metrics.stage_seconds.with_label_values(&[name]).observe(took.as_secs_f64());
}

pub(super) fn with_cause(error: &VaultError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::PipelineConfig;

    #[test]
    fn retries_back_off_up_to_the_cap() {
        let config = PipelineConfig::default();
        let near = |tries, seconds: f64| {
            let delay = backoff(&config, tries).as_secs_f64();
            assert!((seconds * 0.79..seconds * 1.21).contains(&delay), "{tries}: {delay}");
        };
        near(1, 1.0);
        near(4, 8.0);
        near(12, 300.0);
        near(4_000_000, 300.0);
    }
}
