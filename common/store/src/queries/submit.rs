//! Accepting evidence: the attempt's row becomes the outbox entry, in one transaction.

use diesel::prelude::*;
use proofmill_contract::{AttemptId, AttemptStatus, ContractVersion, SessionStatus, Timestamp};
use subtle::ConstantTimeEq;

use super::attempts::{begin_session, lock_row_of};
use super::backend::Conn;
use super::expiry::expire_if_due;
use super::sessions::{self, lock_row};
use crate::error::StoreError;
use crate::model::{AttemptWithSession, NewAttempt, NewSession, Submission, SubmitResult};
use crate::outgoing::Recipients;
use crate::rows::{AttemptRow, SessionRow, to_json};
use crate::schema::attempts;

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

    let awaiting = attempts::table
        .find(id.as_str())
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .filter(attempts::submitted_at.is_null());
    let accepted: Option<AttemptRow> = diesel::update(awaiting)
        .set((
            (
                attempts::submitted_at.eq(now.0),
                attempts::evidence_fingerprint.eq(submission.evidence_fingerprint.to_vec()),
                attempts::evidence_object.eq(&submission.sealed.object),
                attempts::evidence_epoch.eq(&submission.sealed.epoch),
                attempts::evidence_wrapped_key.eq(&submission.sealed.wrapped_key),
            ),
            attempts::selected_field_keys.eq(to_json(&submission.selected_field_keys, "attempts.selected_field_keys")?),
            attempts::chip_evidence_kept_used.eq(submission.chip_evidence_kept_used),
            attempts::lane.eq(submission.lane.as_str()),
            attempts::outbox_at.eq(now.0),
            attempts::queued_at.eq(now.0),
            attempts::updated_at.eq(now.0),
        ))
        .returning(AttemptRow::as_returning())
        .get_result(conn)
        .optional()?;
    let Some(accepted) = accepted else { return Ok(SubmitResult::HandoffExpired) };
    begin_session(conn, &session.id, now)?;
    accepted.try_into().map(SubmitResult::Accepted)
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
