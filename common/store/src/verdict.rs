//! What a verdict does to its attempt and session: a pure step between reading the rows and writing them.

use proofmill_contract::events::{self, EventType};
use proofmill_contract::{AttemptStatus, ContractVersion, FailureCode, Outcome, SessionStatus, Timestamp, session};
use serde_json::Value;

use crate::error::StoreError;
use crate::model::{SettleResult, Verdict};
use crate::rows::{AttemptRow, SessionRow, to_json, version};

/// What is to be written. No `Debug`: `data` may hold claims.
pub(crate) struct Step {
    pub attempt_status: AttemptStatus,
    pub attempt_failure: Option<FailureCode>,
    pub checks: String,
    pub session_status: SessionStatus,
    /// The session's row as it will be.
    pub session: SessionRow,
    pub event: Option<(EventType, Value)>,
    /// Sealed objects that nothing refers to afterwards.
    pub discarded: Vec<String>,
}

/// A verdict as it is written into its attempt's row.
pub(crate) struct Settling {
    pub attempt: String,
    /// The fence.
    pub lease_token: String,
    pub status: AttemptStatus,
    pub failure: Option<FailureCode>,
    pub checks: String,
    pub now: Timestamp,
}

impl Settling {
    pub(crate) fn new(step: &Step, verdict: &Verdict, now: Timestamp) -> Self {
        Self {
            attempt: verdict.attempt_id.to_string(),
            lease_token: verdict.lease_token.clone(),
            status: step.attempt_status,
            failure: step.attempt_failure,
            checks: step.checks.clone(),
            now,
        }
    }
}

/// Checks the fence and applies the contract. The inner `Err` is a verdict that may not be written.
pub(crate) fn step(
    session: &SessionRow,
    attempt: &AttemptRow,
    verdict: &Verdict,
    now: i64,
) -> Result<Result<Step, SettleResult>, StoreError> {
    match attempt.status()? {
        AttemptStatus::InProgress => {}
        AttemptStatus::Cancelled => return Ok(Err(SettleResult::SessionEnded)),
        AttemptStatus::Succeeded | AttemptStatus::Failed => return Ok(Err(SettleResult::AlreadySettled)),
    }
    if attempt.lease_token.as_deref() != Some(verdict.lease_token.as_str()) {
        return Ok(Err(SettleResult::LostLease));
    }
    let version = version(session.contract_version, "sessions.contract_version")?;
    let Some(settled) = session::settle(version, session.status()?, session.counters()?, verdict.outcome) else {
        return Ok(Err(SettleResult::SessionEnded));
    };

    let attempt_failure = match verdict.outcome {
        Outcome::Accepted => None,
        Outcome::Rejected(code) => Some(code),
    };
    let data = match (settled.event, verdict.outcome) {
        (None, _) => None,
        (Some(EventType::SessionFailed), Outcome::Rejected(code)) => {
            Some(events::session_failed_data(code, settled.counters))
        }
        (Some(_), Outcome::Rejected(code)) => Some(events::attempt_failed_data(code)),
        (Some(_), Outcome::Accepted) => {
            let Some(claims) = &verdict.claims else {
                return Ok(Err(SettleResult::Conflict("an accepted attempt's verdict lacks its claims".into())));
            };
            Some(events::success_data(claims, &attempt.selected()?))
        }
    };

    let mut next = session.clone();
    next.status = settled.session.as_str().to_owned();
    next.set_counters(settled.counters);
    next.failure_code = settled.session_failure.map(|code| code.as_str().to_owned());
    next.updated_at = now;
    if let Some(versions) = verdict.id_key_versions {
        next.set_id_key_versions(versions);
    }
    let mut discarded: Vec<String> = attempt.objects().collect();
    // Contract 1 retries the whole attempt, so there is nothing to keep for.
    let goes_on_with_selfies = !settled.session.is_terminal() && version == ContractVersion::V2;
    match &verdict.kept_chip_evidence {
        Some(kept) if goes_on_with_selfies => discarded.extend(next.replace_kept(Some(kept))),
        Some(kept) => discarded.push(kept.object.clone()),
        // What was kept did not hold when it was judged again: the chip is to be read anew.
        None if attempt.chip_evidence_kept_used && attempt_failure.is_some_and(|code| !code.leaves_chip_evidence()) => {
            discarded.extend(next.replace_kept(None));
        }
        None => {}
    }
    if settled.session.is_terminal() {
        next.completed_at = Some(now);
        discarded.extend(next.replace_kept(None));
    }

    Ok(Ok(Step {
        attempt_status: settled.attempt,
        attempt_failure,
        checks: to_json(&verdict.checks, "attempts.checks")?,
        session_status: settled.session,
        session: next,
        event: settled.event.zip(data),
        discarded,
    }))
}
