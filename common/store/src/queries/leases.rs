//! Work leases. The token is a fence: once another worker has one, the former holder's writes find nothing.

use std::time::Duration;

use diesel::prelude::*;
use proofmill_contract::{AttemptId, AttemptStatus, Timestamp};

use super::attempts::lock_row_of;
use super::backend::Conn;
use super::sessions::lock_row;
use crate::error::StoreError;
use crate::limits::{lease_token, shorten, sql_limit};
use crate::model::{Lease, LeasedAttempt, LostEvidence, QuarantinedAttempt};
use crate::rows::{AttemptEnd, AttemptRow, OrganisationRow, SessionRow, count, parse};
use crate::schema::{attempts, organisations, sessions};

pub(crate) fn acquire(
    conn: &mut Conn,
    id: &AttemptId,
    lease_for: Duration,
    now: Timestamp,
) -> Result<Lease, StoreError> {
    let token = lease_token();
    let free = attempts::table
        .find(id.as_str())
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .filter(attempts::submitted_at.is_not_null())
        .filter(attempts::quarantined_at.is_null())
        .filter(attempts::lease_until.is_null().or(attempts::lease_until.le(now.0)));
    let leased: Option<AttemptRow> = diesel::update(free)
        .set((
            attempts::lease_token.eq(&token),
            attempts::lease_until.eq(now.plus(lease_for).0),
            attempts::lease_tries.eq(attempts::lease_tries + 1),
            // The job has arrived, so publishing it once more is needless; a lost one is found by its lease.
            attempts::outbox_at.eq(None::<i64>),
            attempts::updated_at.eq(now.0),
        ))
        .returning(AttemptRow::as_returning())
        .get_result(conn)
        .optional()?;
    let Some(attempt) = leased else { return why_not(conn, id) };

    let (session, organisation): (SessionRow, OrganisationRow) = sessions::table
        .inner_join(organisations::table)
        .filter(sessions::id.eq(&attempt.session_id))
        .select((SessionRow::as_select(), OrganisationRow::as_select()))
        .first(conn)?;
    let kept_chip_evidence = if attempt.chip_evidence_kept_used { session.kept() } else { None };
    Ok(Lease::Acquired(LeasedAttempt {
        token,
        tries: count(attempt.lease_tries, "attempts.lease_tries")?,
        waited: attempt.submitted_at.map_or(Duration::ZERO, |submitted| now.since(Timestamp(submitted))),
        sealed: attempt.sealed().ok_or(StoreError::Corrupt("attempts.evidence_wrapped_key"))?,
        selfies_only: attempt.chip_evidence_kept_used,
        kept_chip_evidence,
        selected_field_keys: attempt.selected()?,
        attempt: attempt.try_into()?,
        session: session.try_into()?,
        organisation: organisation.try_into()?,
    }))
}

pub(crate) fn extend(conn: &mut Conn, id: &AttemptId, token: &str, until: Timestamp) -> Result<bool, StoreError> {
    let held = diesel::update(attempts::table.find(id.as_str()).filter(attempts::lease_token.eq(token)))
        .set(attempts::lease_until.eq(until.0))
        .execute(conn)?;
    Ok(held == 1)
}

pub(crate) fn release(conn: &mut Conn, id: &AttemptId, token: &str, now: Timestamp) -> Result<bool, StoreError> {
    let held = diesel::update(attempts::table.find(id.as_str()).filter(attempts::lease_token.eq(token)))
        .set((
            attempts::lease_token.eq(None::<String>),
            attempts::lease_until.eq(None::<i64>),
            // The clock by which a lost job is noticed starts anew.
            attempts::published_at.eq(now.0),
            attempts::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    Ok(held == 1)
}

pub(crate) fn quarantine(
    conn: &mut Conn,
    id: &AttemptId,
    token: &str,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let held = diesel::update(attempts::table.find(id.as_str()).filter(attempts::lease_token.eq(token)))
        .set((
            attempts::lease_token.eq(None::<String>),
            attempts::lease_until.eq(None::<i64>),
            attempts::outbox_at.eq(None::<i64>),
            attempts::quarantined_at.eq(now.0),
            attempts::quarantine_reason.eq(shorten(reason)),
            attempts::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    Ok(held == 1)
}

pub(crate) fn give_up(
    conn: &mut Conn,
    id: &AttemptId,
    token: &str,
    lost: LostEvidence,
    reason: &str,
    now: Timestamp,
) -> Result<Option<Vec<String>>, StoreError> {
    let session = attempts::table.find(id.as_str()).select(attempts::session_id).first::<String>(conn).optional()?;
    let Some(session) = session else { return Ok(None) };
    let Some(mut session) = lock_row(conn, None, &session)? else { return Ok(None) };
    let Some(attempt) = lock_row_of(conn, id.as_str())? else { return Ok(None) };
    let leased = attempts::table
        .find(id.as_str())
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .filter(attempts::lease_token.eq(token));
    let ended = diesel::update(leased)
        .set((
            AttemptEnd::new(AttemptStatus::Cancelled, now),
            attempts::quarantined_at.eq(now.0),
            attempts::quarantine_reason.eq(shorten(reason)),
        ))
        .execute(conn)?;
    if ended != 1 {
        return Ok(None);
    }
    let mut discarded: Vec<String> = attempt.objects().collect();
    if lost == LostEvidence::KeptOfSession {
        // The next attempt would be told to rely on it, and end as this one did.
        discarded.extend(session.replace_kept(None));
        diesel::update(sessions::table.find(&session.id))
            .set((
                sessions::kept_object.eq(None::<String>),
                sessions::kept_epoch.eq(None::<String>),
                sessions::kept_wrapped_key.eq(None::<Vec<u8>>),
                sessions::updated_at.eq(now.0),
            ))
            .execute(conn)?;
    }
    Ok(Some(discarded))
}

pub(crate) fn list_given_up(conn: &mut Conn, limit: usize) -> Result<Vec<QuarantinedAttempt>, StoreError> {
    let rows = attempts::table
        .filter(attempts::status.eq(AttemptStatus::Cancelled.as_str()))
        .filter(attempts::quarantined_at.is_not_null())
        .filter(attempts::completed_at.eq(attempts::quarantined_at))
        .order(attempts::quarantined_at.desc())
        .limit(sql_limit(limit))
        .select(AttemptRow::as_select())
        .load(conn)?;
    rows.into_iter().map(quarantined).collect()
}

pub(crate) fn list_quarantined(conn: &mut Conn, limit: usize) -> Result<Vec<QuarantinedAttempt>, StoreError> {
    let rows = attempts::table
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .filter(attempts::quarantined_at.is_not_null())
        .order(attempts::quarantined_at)
        .limit(sql_limit(limit))
        .select(AttemptRow::as_select())
        .load(conn)?;
    rows.into_iter().map(quarantined).collect()
}

fn quarantined(row: AttemptRow) -> Result<QuarantinedAttempt, StoreError> {
    Ok(QuarantinedAttempt {
        attempt_id: parse(&row.id, "attempts.id")?,
        session_id: parse(&row.session_id, "attempts.session_id")?,
        reason: row.quarantine_reason.unwrap_or_default(),
        quarantined_at: Timestamp(row.quarantined_at.unwrap_or_default()),
        tries: count(row.lease_tries, "attempts.lease_tries")?,
    })
}

pub(crate) fn requeue_quarantined(conn: &mut Conn, id: &AttemptId, now: Timestamp) -> Result<bool, StoreError> {
    let aside = attempts::table
        .find(id.as_str())
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .filter(attempts::quarantined_at.is_not_null());
    let requeued = diesel::update(aside)
        .set((
            attempts::quarantined_at.eq(None::<i64>),
            attempts::quarantine_reason.eq(None::<String>),
            attempts::lease_tries.eq(0),
            attempts::outbox_at.eq(now.0),
            attempts::queued_at.eq(now.0),
            attempts::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    Ok(requeued == 1)
}

fn why_not(conn: &mut Conn, id: &AttemptId) -> Result<Lease, StoreError> {
    let row = attempts::table.find(id.as_str()).select(AttemptRow::as_select()).first(conn).optional()?;
    let Some(row) = row else { return Ok(Lease::Gone) };
    if row.status()? != AttemptStatus::InProgress {
        return Ok(Lease::Settled);
    }
    if row.submitted_at.is_none() {
        return Ok(Lease::Gone);
    }
    if row.quarantined_at.is_some() {
        return Ok(Lease::Quarantined);
    }
    // None: released between the two statements; the caller's next try finds it free.
    Ok(Lease::HeldByOther { until: Timestamp(row.lease_until.unwrap_or_default()) })
}
