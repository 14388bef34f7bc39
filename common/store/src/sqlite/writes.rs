//! Updates of many rows, one after the other: within the process a statement costs little.

use diesel::prelude::*;
use proofmill_contract::{AttemptId, AttemptStatus, SessionStatus, Timestamp};

use super::backend::Conn;
use crate::error::StoreError;
use crate::rows::{AttemptEnd, AttemptRow, SessionRow};
use crate::schema::{attempts, sessions};
use crate::verdict::Settling;

/// Writes accepted evidence into attempts that await it; gives back how many there were.
pub(crate) fn accept(conn: &mut Conn, rows: &[AttemptRow]) -> Result<usize, StoreError> {
    let mut accepted = 0;
    for row in rows {
        let awaiting = attempts::table
            .find(&row.id)
            .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
            .filter(attempts::submitted_at.is_null());
        accepted += diesel::update(awaiting)
            .set((
                (
                    attempts::submitted_at.eq(row.submitted_at),
                    attempts::evidence_fingerprint.eq(&row.evidence_fingerprint),
                    attempts::evidence_object.eq(&row.evidence_object),
                    attempts::evidence_epoch.eq(&row.evidence_epoch),
                    attempts::evidence_wrapped_key.eq(&row.evidence_wrapped_key),
                ),
                attempts::selected_field_keys.eq(&row.selected_field_keys),
                attempts::chip_evidence_kept_used.eq(row.chip_evidence_kept_used),
                attempts::lane.eq(&row.lane),
                attempts::outbox_at.eq(row.outbox_at),
                attempts::queued_at.eq(row.queued_at),
                attempts::updated_at.eq(row.updated_at),
            ))
            .execute(conn)?;
    }
    Ok(accepted)
}

/// `created → in_progress`; a session that is further on stays where it is.
pub(crate) fn begin_sessions(conn: &mut Conn, ids: &[&str], now: Timestamp) -> Result<(), StoreError> {
    let created =
        sessions::table.filter(sessions::id.eq_any(ids)).filter(sessions::status.eq(SessionStatus::Created.as_str()));
    diesel::update(created)
        .set((sessions::status.eq(SessionStatus::InProgress.as_str()), sessions::updated_at.eq(now.0)))
        .execute(conn)?;
    Ok(())
}

/// Takes published attempts out of the outbox; gives back how many were in it.
pub(crate) fn mark_published(conn: &mut Conn, ids: &[AttemptId], now: Timestamp) -> Result<usize, StoreError> {
    let waiting = attempts::table
        .filter(attempts::id.eq_any(ids.iter().map(|id| id.as_str())))
        .filter(attempts::outbox_at.is_not_null());
    Ok(diesel::update(waiting)
        .set((attempts::outbox_at.eq(None::<i64>), attempts::published_at.eq(now.0)))
        .execute(conn)?)
}

/// Writes verdicts into attempts that are leased under their tokens; gives back how many there were.
pub(crate) fn settle_attempts(conn: &mut Conn, verdicts: &[Settling]) -> Result<usize, StoreError> {
    let mut settled = 0;
    for one in verdicts {
        let leased = attempts::table
            .find(&one.attempt)
            .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
            .filter(attempts::lease_token.eq(&one.lease_token));
        settled += diesel::update(leased)
            .set((
                AttemptEnd::new(one.status, one.now),
                attempts::failure_code.eq(one.failure.map(|code| code.as_str())),
                attempts::checks.eq(&one.checks),
            ))
            .execute(conn)?;
    }
    Ok(settled)
}

/// Writes what verdicts made of sessions that are in progress; gives back how many there were.
pub(crate) fn settle_sessions(conn: &mut Conn, rows: &[&SessionRow]) -> Result<usize, StoreError> {
    let mut settled = 0;
    for next in rows {
        let active = sessions::table.find(&next.id).filter(sessions::status.eq(SessionStatus::InProgress.as_str()));
        settled += diesel::update(active)
            .set((
                sessions::status.eq(&next.status),
                sessions::nfc_tries_used.eq(next.nfc_tries_used),
                sessions::liveness_tries_used.eq(next.liveness_tries_used),
                sessions::rejected_attempts.eq(next.rejected_attempts),
                sessions::failure_code.eq(&next.failure_code),
                (
                    sessions::kept_object.eq(&next.kept_object),
                    sessions::kept_epoch.eq(&next.kept_epoch),
                    sessions::kept_wrapped_key.eq(&next.kept_wrapped_key),
                ),
                (
                    sessions::document_id_key_version.eq(next.document_id_key_version),
                    sessions::human_id_key_version.eq(next.human_id_key_version),
                ),
                sessions::completed_at.eq(next.completed_at),
                sessions::updated_at.eq(next.updated_at),
            ))
            .execute(conn)?;
    }
    Ok(settled)
}
