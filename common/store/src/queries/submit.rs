//! Accepting evidence: the attempt's row becomes the outbox entry, in one transaction.

use std::collections::HashMap;

use diesel::prelude::*;
use proofmill_contract::{AttemptId, AttemptStatus, ContractVersion, SessionStatus, Timestamp};
use subtle::ConstantTimeEq;

use super::attempts::lock_row_of;
use super::backend::{Conn, lock_free};
use super::expiry::expire_if_due;
use super::sessions::{self, lock_row};
use super::{idempotency, writes};
use crate::error::StoreError;
use crate::model::{AttemptWithSession, NewAttempt, NewSession, Offer, Submission, SubmitResult};
use crate::outgoing::Recipients;
use crate::rows::{AttemptRow, SessionRow, to_json};
use crate::schema::{self, attempts};

pub(crate) fn submit(
    conn: &mut Conn,
    id: &AttemptId,
    submission: &Submission,
    now: Timestamp,
) -> Result<SubmitResult, StoreError> {
    let session = attempts::table.find(id.as_str()).select(attempts::session_id).first::<String>(conn).optional()?;
    let Some(session) = session else { return Ok(SubmitResult::NotFound) };
    let Some(mut session) = lock_row(conn, None, &session)? else { return Ok(SubmitResult::NotFound) };
    let Some(attempt) = lock_row_of(conn, id.as_str())? else { return Ok(SubmitResult::NotFound) };

    if let Some(fingerprint) = &attempt.evidence_fingerprint {
        // A repeat is answered whatever has become of the attempt: the sender only lost our first answer.
        return if bool::from(fingerprint.as_slice().ct_eq(&submission.evidence_fingerprint)) {
            attempt.try_into().map(SubmitResult::Repeat)
        } else {
            Ok(SubmitResult::AlreadySubmitted)
        };
    }
    expire_if_due(conn, &mut Recipients::default(), &mut session, now)?;
    if let Some(refusal) = refusal(&session, &attempt, submission, now)? {
        return Ok(refusal);
    }
    let accepted = with_evidence(attempt, submission, now)?;
    if writes::accept(conn, std::slice::from_ref(&accepted))? != 1 {
        return Ok(SubmitResult::HandoffExpired);
    }
    writes::begin_sessions(conn, &[session.id.as_str()], now)?;
    accepted.try_into().map(SubmitResult::Accepted)
}

/// Accepts many at once, with their answers, in a few statements. `None` for one that is not plainly to be accepted, or
/// whose rows somebody else holds: that one is to be submitted by itself once this transaction has ended. An error undoes
/// all of them.
pub(crate) fn submit_many<'a>(
    conn: &mut Conn,
    offers: impl Iterator<Item = &'a Offer> + Clone,
) -> Result<Vec<Option<SubmitResult>>, StoreError> {
    let mut free = lock_those_free(conn, offers.clone().map(|offer| offer.attempt.as_str()))?;
    let (mut accepted, mut begun, mut taken) = (Vec::new(), Vec::new(), Vec::new());
    for offer in offers.clone() {
        // Removed: who names the same attempt again comes too late for this group.
        let rows = free.remove(offer.attempt.as_str());
        let rows = rows.filter(|(attempt, session)| plainly_acceptable(session, attempt, offer));
        taken.push(rows.is_some());
        if let Some((attempt, session)) = rows {
            if session.status()? == SessionStatus::Created {
                begun.push((session.id, offer.now));
            }
            accepted.push(with_evidence(attempt, &offer.submission, offer.now)?);
        }
    }
    if !accepted.is_empty() && writes::accept(conn, &accepted)? != accepted.len() {
        return Err(StoreError::Conflict("attempts.submitted_at changed under its lock".into()));
    }
    if let Some(now) = begun.iter().map(|(_, now)| *now).max() {
        let begun: Vec<&str> = begun.iter().map(|(id, _)| id.as_str()).collect();
        writes::begin_sessions(conn, &begun, now)?;
    }

    let mut accepted = accepted.into_iter();
    let mut results = Vec::with_capacity(taken.len());
    for (offer, taken) in offers.zip(taken) {
        let row = if taken { accepted.next() } else { None };
        let result = row.map(|row| row.try_into().map(SubmitResult::Accepted)).transpose()?;
        if let Some(result) = &result {
            idempotency::answer(conn, offer.answer.as_ref(), result, offer.now)?;
        }
        results.push(result);
    }
    Ok(results)
}

/// A session, its attempt and the evidence at once.
pub(crate) fn submit_in_new_session(
    conn: &mut Conn,
    session: &NewSession,
    attempt: &NewAttempt,
    submission: &Submission,
    now: Timestamp,
) -> Result<AttemptWithSession, StoreError> {
    sessions::create(conn, session, now)?;
    diesel::insert_into(attempts::table).values(&AttemptRow::new(attempt, now)).execute(conn)?;
    let SubmitResult::Accepted(attempt) = submit(conn, &attempt.id, submission, now)? else {
        return Err(StoreError::Database("a new session refused its first evidence".into()));
    };
    let session = sessions::get(conn, None, &session.id)?;
    let session = session.ok_or_else(|| StoreError::Database("a session vanished under its transaction".into()))?;
    Ok(AttemptWithSession { attempt, session })
}

/// Attempts by id, each with its session, both kept until commit. It waits for nobody, so that one whose rows are held for
/// long holds up no other; and because it does not wait, it may lock sessions and attempts in one go, in any order.
fn lock_those_free<'a>(
    conn: &mut Conn,
    ids: impl Iterator<Item = &'a str>,
) -> Result<HashMap<String, (AttemptRow, SessionRow)>, StoreError> {
    let query = attempts::table
        .inner_join(schema::sessions::table)
        .filter(attempts::id.eq_any(ids))
        .select((AttemptRow::as_select(), SessionRow::as_select()));
    let rows: Vec<(AttemptRow, SessionRow)> = lock_free!(query).load(conn)?;
    Ok(rows.into_iter().map(|(attempt, session)| (attempt.id.clone(), (attempt, session))).collect())
}

/// Whether nothing needs to be found out, undone or refused.
fn plainly_acceptable(session: &SessionRow, attempt: &AttemptRow, offer: &Offer) -> bool {
    let awaits = attempt.submitted_at.is_none() && attempt.evidence_fingerprint.is_none();
    // What cannot be read is not plain either: its own transaction says so, and to nobody else.
    let refused = !matches!(refusal(session, attempt, &offer.submission, offer.now), Ok(None));
    awaits && session.expires_at > offer.now.0 && !refused
}

/// Why this evidence cannot be taken, if it cannot.
fn refusal(
    session: &SessionRow,
    attempt: &AttemptRow,
    submission: &Submission,
    now: Timestamp,
) -> Result<Option<SubmitResult>, StoreError> {
    let status = session.status()?;
    if status == SessionStatus::Expired {
        return Ok(Some(SubmitResult::SessionExpired));
    }
    if status.is_terminal() {
        return Ok(Some(SubmitResult::SessionTerminal(status)));
    }
    if attempt.status()? != AttemptStatus::InProgress || attempt.handoff_expires_at <= now.0 {
        return Ok(Some(SubmitResult::HandoffExpired));
    }
    // Contract 1 retries the whole attempt, chip included.
    let selfies_may_follow =
        session.kept().is_some() && session.contract_version == i32::from(u8::from(ContractVersion::V2));
    if submission.chip_evidence_kept_used && !selfies_may_follow {
        return Ok(Some(SubmitResult::ChipEvidenceRequired));
    }
    Ok(None)
}

/// The attempt's row as it will be.
fn with_evidence(attempt: AttemptRow, submission: &Submission, now: Timestamp) -> Result<AttemptRow, StoreError> {
    Ok(AttemptRow {
        submitted_at: Some(now.0),
        evidence_fingerprint: Some(submission.evidence_fingerprint.to_vec()),
        evidence_object: Some(submission.sealed.object.clone()),
        evidence_epoch: Some(submission.sealed.epoch.clone()),
        evidence_wrapped_key: Some(submission.sealed.wrapped_key.clone()),
        selected_field_keys: Some(to_json(&submission.selected_field_keys, "attempts.selected_field_keys")?),
        chip_evidence_kept_used: submission.chip_evidence_kept_used,
        lane: submission.lane.as_str().to_owned(),
        outbox_at: Some(now.plus(submission.left_to_caller).0),
        queued_at: Some(now.0),
        updated_at: now.0,
        ..attempt
    })
}
