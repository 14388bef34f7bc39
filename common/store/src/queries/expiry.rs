//! Sessions past their time, and attempts that were opened and never submitted.

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use proofmill_contract::{AttemptStatus, OrganisationId, SessionId, SessionStatus, Timestamp, session};

use super::backend::Conn;
use super::close::close;
use super::sessions::{lock_row, lock_rows};
use crate::error::StoreError;
use crate::limits::{EVIDENCE_LIFE, MAX_BATCH, sql_limit};
use crate::model::Session;
use crate::outgoing::Recipients;
use crate::rows::{AttemptEnd, SessionRow};
use crate::schema::{attempts, sessions};

/// Expires sessions that are due, up to `limit`; gives back how many.
pub(crate) fn expire_due(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let due = due(conn, None, limit, now)?;
    expire_all(conn, &due, now)
}

/// Expires an organisation's sessions that are due.
pub(crate) fn expire_due_of(
    conn: &mut Conn,
    organisation: &OrganisationId,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let due = due(conn, Some(organisation), MAX_BATCH, now)?;
    expire_all(conn, &due, now)
}

/// Whether an organisation has a session that is due.
pub(crate) fn any_due(conn: &mut Conn, organisation: &OrganisationId, now: Timestamp) -> Result<bool, StoreError> {
    Ok(!due(conn, Some(organisation), 1, now)?.is_empty())
}

/// Expires one session if it is due, and reads it.
pub(crate) fn expire_and_get(conn: &mut Conn, id: &SessionId, now: Timestamp) -> Result<Option<Session>, StoreError> {
    let Some(mut session) = lock_row(conn, None, id.as_str())? else { return Ok(None) };
    expire_if_due(conn, &mut Recipients::default(), &mut session, now)?;
    Session::try_from(session).map(Some)
}

/// Expires a locked session if it is due; its row is then the new one.
pub(super) fn expire_if_due(
    conn: &mut Conn,
    recipients: &mut Recipients,
    session: &mut SessionRow,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (status, over) = (session.status()?, session.expires_at <= now.0);
    // Asked only where it matters: almost every session that is looked at is not past its time.
    let waits = over && !status.is_terminal() && waits_for_verdict(conn, &session.id, now)?;
    let Some(ending) = session::expire(status, over, waits) else { return Ok(false) };
    // No accepted evidence is among the objects: that would have deferred the expiry, or is too old to be opened.
    // The orphan sweep removes them.
    close(conn, recipients, session, &ending, now)?;
    session.status = ending.status.as_str().to_owned();
    session.replace_kept(None);
    session.completed_at = Some(now.0);
    session.updated_at = now.0;
    Ok(true)
}

/// Cancels attempts whose handoff is over without evidence. A submission that races with this loses or wins by the
/// same conditions on the row.
pub(crate) fn cancel_stale_handoffs(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let stale = attempts::status
        .eq(AttemptStatus::InProgress.as_str())
        .and(attempts::submitted_at.is_null())
        .and(attempts::handoff_expires_at.le(now.0));
    let ids: Vec<String> = attempts::table.filter(stale).select(attempts::id).limit(sql_limit(limit)).load(conn)?;
    cancel_unsubmitted(conn, &ids, now)
}

/// Cancels these attempts if they are still open and without evidence.
pub(crate) fn cancel_unsubmitted(conn: &mut Conn, ids: &[String], now: Timestamp) -> Result<usize, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let open = attempts::table
        .filter(attempts::id.eq_any(ids))
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .filter(attempts::submitted_at.is_null());
    Ok(diesel::update(open)
        // Its terminal's sealed object is an orphan from now on, unreadable without its key, and the sweep's.
        .set(AttemptEnd::new(AttemptStatus::Cancelled, now))
        .execute(conn)?)
}

fn expire_all(conn: &mut Conn, ids: &[String], now: Timestamp) -> Result<usize, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let mut recipients = Recipients::default();
    let mut expired = 0;
    for mut session in lock_rows(conn, ids)? {
        expired += usize::from(expire_if_due(conn, &mut recipients, &mut session, now)?);
    }
    Ok(expired)
}

/// Sessions past their time, the longest overdue first, without those that wait for a verdict.
fn due(
    conn: &mut Conn,
    organisation: Option<&OrganisationId>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let waiting = attempts::table
        .filter(attempts::session_id.eq(sessions::id))
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .filter(attempts::submitted_at.gt(now.minus(EVIDENCE_LIFE).0));
    let mut query = sessions::table
        .filter(sessions::status.eq_any([SessionStatus::Created.as_str(), SessionStatus::InProgress.as_str()]))
        .filter(sessions::expires_at.le(now.0))
        .filter(not(exists(waiting)))
        .order(sessions::expires_at)
        .select(sessions::id)
        .limit(sql_limit(limit))
        .into_boxed();
    if let Some(organisation) = organisation {
        query = query.filter(sessions::organisation_id.eq(organisation.as_str()));
    }
    Ok(query.load(conn)?)
}

/// Whether evidence accepted in time still waits for its verdict. It was accepted in time if it was accepted at all:
/// a session past its time takes none.
fn waits_for_verdict(conn: &mut Conn, session: &str, now: Timestamp) -> Result<bool, StoreError> {
    let waiting = attempts::table
        .filter(attempts::session_id.eq(session))
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .filter(attempts::submitted_at.gt(now.minus(EVIDENCE_LIFE).0));
    Ok(diesel::select(exists(waiting)).get_result(conn)?)
}
