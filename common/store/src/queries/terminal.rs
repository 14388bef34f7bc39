//! Binding the server's terminal to an attempt: one compare-and-set, so that of two that begin at once one wins.

use diesel::prelude::*;
use proofmill_contract::{AttemptId, AttemptStatus, SessionStatus, Timestamp};
use proofmill_vault::SealedRef;

use super::attempts::lock_row_of;
use super::backend::Conn;
use super::expiry::expire_if_due;
use super::sessions::lock_row;
use crate::error::StoreError;
use crate::model::BindTerminal;
use crate::outgoing::Recipients;
use crate::schema::attempts;

pub(crate) fn bind(
    conn: &mut Conn,
    id: &AttemptId,
    sealed: &SealedRef,
    now: Timestamp,
) -> Result<BindTerminal, StoreError> {
    let session = attempts::table.find(id.as_str()).select(attempts::session_id).first::<String>(conn).optional()?;
    let Some(session) = session else { return Ok(BindTerminal::NotFound) };
    let Some(mut session) = lock_row(conn, None, &session)? else { return Ok(BindTerminal::NotFound) };
    let Some(attempt) = lock_row_of(conn, id.as_str())? else { return Ok(BindTerminal::NotFound) };
    if attempt.submitted_at.is_some() {
        return Ok(BindTerminal::AlreadySubmitted);
    }
    expire_if_due(conn, &mut Recipients::default(), &mut session, now)?;
    match session.status()? {
        SessionStatus::Expired => return Ok(BindTerminal::SessionExpired),
        status if status.is_terminal() => return Ok(BindTerminal::SessionTerminal(status)),
        _ => {}
    }
    if attempt.status()? != AttemptStatus::InProgress || attempt.handoff_expires_at <= now.0 {
        return Ok(BindTerminal::HandoffExpired);
    }
    if let Some(existing) = attempt.terminal() {
        return Ok(BindTerminal::Existing(existing));
    }
    let free = attempts::table
        .find(id.as_str())
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .filter(attempts::submitted_at.is_null())
        .filter(attempts::terminal_wrapped_key.is_null());
    let bound = diesel::update(free)
        .set((
            attempts::terminal_object.eq(&sealed.object),
            attempts::terminal_epoch.eq(&sealed.epoch),
            attempts::terminal_wrapped_key.eq(&sealed.wrapped_key),
            attempts::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    if bound != 1 {
        return Err(StoreError::Conflict("attempts.terminal_wrapped_key changed under its lock".into()));
    }
    Ok(BindTerminal::Bound)
}
