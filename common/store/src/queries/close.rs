//! Ending an active session without a verdict: by cancel or by expiry.

use diesel::prelude::*;
use proofmill_contract::session::Ending;
use proofmill_contract::{AttemptStatus, Timestamp};

use super::backend::Conn;
use super::emit::emit;
use crate::error::StoreError;
use crate::outgoing::{Happening, Recipients};
use crate::rows::{AttemptEnd, SessionRow};
use crate::schema::{attempts, sessions};

/// Ends the session, whose row the caller has locked: its open attempt becomes `cancelled` even if it is being
/// verified, wrapped keys go, one terminal event goes out. Gives back sealed objects that nothing refers to now.
pub(super) fn close(
    conn: &mut Conn,
    recipients: &mut Recipients,
    session: &SessionRow,
    ending: &Ending,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let active = sessions::table.find(&session.id).filter(sessions::status.eq(&session.status));
    let closed = diesel::update(active)
        .set((
            sessions::status.eq(ending.status.as_str()),
            sessions::kept_object.eq(None::<String>),
            sessions::kept_epoch.eq(None::<String>),
            sessions::kept_wrapped_key.eq(None::<Vec<u8>>),
            sessions::completed_at.eq(now.0),
            sessions::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    if closed != 1 {
        // The row was locked, so only a bug gets here; undoing the transaction is the safe answer.
        return Err(StoreError::Database("a locked session changed under its lock".into()));
    }

    let mut discarded: Vec<String> = session.kept_object.iter().cloned().collect();
    discarded.extend(cancel_open_attempt(conn, &session.id, now)?);
    let data = ending.data(session.counters()?);
    let happening = Happening { event_type: ending.event(), attempt: None, data: &data, terminal: true };
    emit(conn, recipients, session, &happening, now)?;
    Ok(discarded)
}

/// Cancels the open attempt, if there is one; gives back its sealed objects.
fn cancel_open_attempt(conn: &mut Conn, session: &str, now: Timestamp) -> Result<Vec<String>, StoreError> {
    let open = attempts::session_id.eq(session).and(attempts::status.eq(AttemptStatus::InProgress.as_str()));
    let objects: Option<(Option<String>, Option<String>)> = attempts::table
        .filter(open)
        .select((attempts::evidence_object, attempts::terminal_object))
        .first(conn)
        .optional()?;
    diesel::update(attempts::table.filter(open)).set(AttemptEnd::new(AttemptStatus::Cancelled, now)).execute(conn)?;
    let (evidence, terminal) = objects.unwrap_or_default();
    Ok(evidence.into_iter().chain(terminal).collect())
}
