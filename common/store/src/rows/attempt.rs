use diesel::prelude::*;
use proofmill_contract::{AttemptStatus, Phase, Timestamp};
use proofmill_vault::SealedRef;

use super::{bytes, from_json, parse, time};
use crate::error::StoreError;
use crate::model::{Attempt, NewAttempt};
use crate::schema::attempts;

#[derive(Queryable, Selectable, Insertable, Clone)]
#[diesel(table_name = attempts)]
#[diesel(treat_none_as_default_value = false)]
pub(crate) struct AttemptRow {
    pub id: String,
    pub session_id: String,
    pub status: String,
    pub lane: String,
    pub challenge: Vec<u8>,
    pub handoff_expires_at: i64,
    pub submitted_at: Option<i64>,
    pub evidence_fingerprint: Option<Vec<u8>>,
    pub evidence_object: Option<String>,
    pub evidence_epoch: Option<String>,
    pub evidence_wrapped_key: Option<Vec<u8>>,
    pub selected_field_keys: Option<String>,
    pub chip_evidence_kept_used: bool,
    pub failure_code: Option<String>,
    pub checks: Option<String>,
    pub outbox_at: Option<i64>,
    pub queued_at: Option<i64>,
    pub published_at: Option<i64>,
    pub lease_token: Option<String>,
    pub lease_until: Option<i64>,
    pub lease_tries: i32,
    pub quarantined_at: Option<i64>,
    pub quarantine_reason: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
    pub completed_at: Option<i64>,
    pub terminal_object: Option<String>,
    pub terminal_epoch: Option<String>,
    pub terminal_wrapped_key: Option<Vec<u8>>,
}

/// What the end of an attempt does to its row, whichever end it is: its wrapped keys go, and nobody is to publish it or to
/// work on it any more.
#[derive(AsChangeset)]
#[diesel(table_name = attempts)]
#[diesel(treat_none_as_null = true)]
pub(crate) struct AttemptEnd {
    status: &'static str,
    evidence_object: Option<String>,
    evidence_epoch: Option<String>,
    evidence_wrapped_key: Option<Vec<u8>>,
    terminal_object: Option<String>,
    terminal_epoch: Option<String>,
    terminal_wrapped_key: Option<Vec<u8>>,
    outbox_at: Option<i64>,
    lease_token: Option<String>,
    lease_until: Option<i64>,
    completed_at: Option<i64>,
    updated_at: i64,
}

impl AttemptEnd {
    pub(crate) fn new(status: AttemptStatus, now: Timestamp) -> Self {
        Self {
            status: status.as_str(),
            evidence_object: None,
            evidence_epoch: None,
            evidence_wrapped_key: None,
            terminal_object: None,
            terminal_epoch: None,
            terminal_wrapped_key: None,
            outbox_at: None,
            lease_token: None,
            lease_until: None,
            completed_at: Some(now.0),
            updated_at: now.0,
        }
    }
}

/// [`AttemptEnd`] in SQL, for an update from rows called `new` that have a `status` and a `now`.
macro_rules! attempt_end {
    () => {
        "status = new.status, evidence_object = NULL, evidence_epoch = NULL, evidence_wrapped_key = NULL, \
         terminal_object = NULL, terminal_epoch = NULL, terminal_wrapped_key = NULL, outbox_at = NULL, \
         lease_token = NULL, lease_until = NULL, completed_at = new.now, updated_at = new.now"
    };
}
pub(crate) use attempt_end;

impl AttemptRow {
    pub(crate) fn new(new: &NewAttempt, now: Timestamp) -> Self {
        Self {
            id: new.id.to_string(),
            session_id: new.session_id.to_string(),
            status: AttemptStatus::InProgress.as_str().to_owned(),
            lane: new.lane.as_str().to_owned(),
            challenge: new.challenge.to_vec(),
            handoff_expires_at: new.handoff_expires_at.0,
            submitted_at: None,
            evidence_fingerprint: None,
            evidence_object: None,
            evidence_epoch: None,
            evidence_wrapped_key: None,
            selected_field_keys: None,
            chip_evidence_kept_used: false,
            failure_code: None,
            checks: None,
            outbox_at: None,
            queued_at: None,
            published_at: None,
            lease_token: None,
            lease_until: None,
            lease_tries: 0,
            quarantined_at: None,
            quarantine_reason: None,
            created_at: now.0,
            updated_at: now.0,
            completed_at: None,
            terminal_object: None,
            terminal_epoch: None,
            terminal_wrapped_key: None,
        }
    }

    pub(crate) fn status(&self) -> Result<AttemptStatus, StoreError> {
        parse(&self.status, "attempts.status")
    }

    /// Derived, not stored: a phase of its own could contradict the columns it follows from.
    pub(crate) fn phase(&self) -> Result<Phase, StoreError> {
        Ok(match (self.status()?, self.submitted_at, &self.lease_token) {
            (AttemptStatus::InProgress, None, _) => Phase::AwaitingEvidence,
            (AttemptStatus::InProgress, Some(_), None) => Phase::Queued,
            (AttemptStatus::InProgress, Some(_), Some(_)) => Phase::Verifying,
            _ => Phase::Settled,
        })
    }

    /// The sealed evidence, while its key exists.
    pub(crate) fn sealed(&self) -> Option<SealedRef> {
        Some(SealedRef {
            object: self.evidence_object.clone()?,
            epoch: self.evidence_epoch.clone()?,
            wrapped_key: self.evidence_wrapped_key.clone()?,
        })
    }

    /// The sealed key of the server's terminal, while its own key exists.
    pub(crate) fn terminal(&self) -> Option<SealedRef> {
        Some(SealedRef {
            object: self.terminal_object.clone()?,
            epoch: self.terminal_epoch.clone()?,
            wrapped_key: self.terminal_wrapped_key.clone()?,
        })
    }

    /// The sealed objects that nothing refers to once the attempt has ended.
    pub(crate) fn objects(&self) -> impl Iterator<Item = String> {
        self.evidence_object.iter().chain(&self.terminal_object).cloned()
    }

    /// What the holder lets go.
    pub(crate) fn selected(&self) -> Result<Vec<String>, StoreError> {
        let text = self.selected_field_keys.as_deref();
        text.map_or_else(|| Ok(Vec::new()), |text| from_json(text, "attempts.selected_field_keys"))
    }
}

impl TryFrom<AttemptRow> for Attempt {
    type Error = StoreError;
    fn try_from(row: AttemptRow) -> Result<Self, StoreError> {
        Ok(Self {
            terminal: row.terminal(),
            id: parse(&row.id, "attempts.id")?,
            session_id: parse(&row.session_id, "attempts.session_id")?,
            status: row.status()?,
            phase: row.phase()?,
            lane: parse(&row.lane, "attempts.lane")?,
            challenge: bytes(&row.challenge, "attempts.challenge")?,
            handoff_expires_at: Timestamp(row.handoff_expires_at),
            submitted_at: time(row.submitted_at),
            failure_code: row.failure_code.as_deref().map(|c| parse(c, "attempts.failure_code")).transpose()?,
            checks: row.checks.as_deref().map(|c| from_json(c, "attempts.checks")).transpose()?,
            quarantined: row.quarantined_at.is_some(),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            completed_at: time(row.completed_at),
        })
    }
}
