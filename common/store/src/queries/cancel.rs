//! Cancel by the organisation, cancel and withdrawal by the holder.

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use proofmill_contract::session::{self, CancelToken, HolderCancel, Receipt, Withdrawal};
use proofmill_contract::{ErrorCode, OrganisationId, SessionId, SessionStatus, Timestamp};
use subtle::ConstantTimeEq;

use super::backend::{Conn, lock, lock_free};
use super::close::close;
use super::emit::emit;
use super::expiry::expire_if_due;
use super::sessions::lock_row;
use crate::error::StoreError;
use crate::limits::sql_limit;
use crate::model::{CancelResult, DeliveryStatus, PublicCancel};
use crate::outgoing::{Happening, Recipients};
use crate::rows::{SessionRow, parse};
use crate::schema::{deliveries, events, sessions};

pub(crate) fn by_organisation(
    conn: &mut Conn,
    organisation: Option<&OrganisationId>,
    id: &SessionId,
    now: Timestamp,
) -> Result<CancelResult, StoreError> {
    let Some(mut session) = lock_row(conn, organisation, id.as_str())? else { return Ok(CancelResult::NotFound) };
    let mut recipients = Recipients::default();
    expire_if_due(conn, &mut recipients, &mut session, now)?;
    let status = session.status()?;
    let Some(ending) = session::cancel(status, session.counters()?) else {
        return Ok(CancelResult::AlreadyTerminal(status));
    };
    let discarded = close(conn, &mut recipients, &session, &ending, now)?;
    Ok(CancelResult::Cancelled { discarded })
}

pub(crate) fn by_holder(
    conn: &mut Conn,
    id: &SessionId,
    token_hash: &[u8; 32],
    now: Timestamp,
) -> Result<PublicCancel, StoreError> {
    let Some(mut session) = lock_row(conn, None, id.as_str())? else { return Ok(PublicCancel::NotFound) };
    let token = match bool::from(session.cancel_token_hash.as_slice().ct_eq(token_hash)) {
        false => CancelToken::Wrong,
        true if session.cancel_token_used_at.is_some() => CancelToken::Used,
        true => CancelToken::Fresh,
    };
    let mut recipients = Recipients::default();
    // Not at the word of somebody who only guesses.
    if token != CancelToken::Wrong {
        expire_if_due(conn, &mut recipients, &mut session, now)?;
    }
    let status = session.status()?;
    let result = match session::holder_cancel(status, session.counters()?, token) {
        HolderCancel::Refuse(ErrorCode::CancelTokenUsed) => return Ok(PublicCancel::TokenUsed),
        HolderCancel::Refuse(_) => return Ok(PublicCancel::TokenInvalid),
        HolderCancel::Nothing => PublicCancel::AlreadyTerminal(status),
        HolderCancel::End(ending) => {
            PublicCancel::Cancelled { discarded: close(conn, &mut recipients, &session, &ending, now)? }
        }
        HolderCancel::Withdraw => withdraw(conn, &mut recipients, &session, status, now)?,
    };
    if token == CancelToken::Fresh && !matches!(result, PublicCancel::SendInFlight { .. }) {
        consume_token(conn, &session.id, now)?;
    }
    Ok(result)
}

/// Finishes withdrawals that had to wait for a delivery in flight and need not any more, up to `limit`; gives back how
/// many. Whoever asked for them may be gone.
pub(crate) fn finish_withdrawals(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let ids = ready_withdrawals(conn, now, limit)?;
    if ids.is_empty() {
        return Ok(0);
    }
    // Asked once more under the lock: another process may have been first. One that is at it is left to it.
    let waiting = sessions::table
        .filter(sessions::id.eq_any(&ids))
        .filter(sessions::withdrawal_requested_at.is_not_null())
        .order(sessions::id)
        .select(SessionRow::as_select());
    let waiting: Vec<SessionRow> = lock_free!(waiting).load(conn)?;
    // All of them at once, for the order of ids goes across sessions.
    let held: Vec<&str> = waiting.iter().map(|session| session.id.as_str()).collect();
    lock_deliveries(conn, &held)?;
    let mut recipients = Recipients::default();
    let mut finished = 0;
    for session in &waiting {
        let result = withdraw(conn, &mut recipients, session, session.status()?, now)?;
        if !matches!(result, PublicCancel::SendInFlight { .. }) {
            consume_token(conn, &session.id, now)?;
            finished += 1;
        }
    }
    Ok(finished)
}

/// Sessions whose withdrawal waited and has nothing left to wait for. A send past its time counts as ended.
pub(crate) fn ready_withdrawals(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<Vec<String>, StoreError> {
    let in_flight = deliveries::table
        .filter(deliveries::session_id.eq(sessions::id))
        .filter(deliveries::status.eq(DeliveryStatus::Sending.as_str()))
        .filter(deliveries::lease_until.gt(now.0));
    Ok(sessions::table
        .filter(sessions::withdrawal_requested_at.is_not_null())
        .filter(not(exists(in_flight)))
        .order(sessions::id)
        .limit(sql_limit(limit))
        .select(sessions::id)
        .load(conn)?)
}

fn consume_token(conn: &mut Conn, session: &str, now: Timestamp) -> Result<(), StoreError> {
    diesel::update(sessions::table.find(session)).set(sessions::cancel_token_used_at.eq(now.0)).execute(conn)?;
    Ok(())
}

/// The privacy cancel: destroys every payload of the session, then, if no endpoint has the terminal event, replaces
/// that event by a cancellation. One that has to wait is written down, so that it is finished whatever becomes of the caller.
fn withdraw(
    conn: &mut Conn,
    recipients: &mut Recipients,
    session: &SessionRow,
    status: SessionStatus,
    now: Timestamp,
) -> Result<PublicCancel, StoreError> {
    destroy_payloads(conn, &session.id, now)?;
    let result = replace_terminal(conn, recipients, session, status, now)?;
    let waits = matches!(result, PublicCancel::SendInFlight { .. });
    let noted = sessions::withdrawal_requested_at;
    // The first request's time stays, however often it is asked for.
    let row = diesel::update(sessions::table.filter(sessions::id.eq(&session.id)).filter(noted.is_null().eq(waits)));
    row.set(noted.eq(waits.then_some(now.0))).execute(conn)?;
    Ok(result)
}

fn replace_terminal(
    conn: &mut Conn,
    recipients: &mut Recipients,
    session: &SessionRow,
    status: SessionStatus,
    now: Timestamp,
) -> Result<PublicCancel, StoreError> {
    let sending: Vec<(String, Option<i64>)> = deliveries::table
        .filter(deliveries::session_id.eq(&session.id))
        .filter(deliveries::status.eq(DeliveryStatus::Sending.as_str()))
        .select((deliveries::event_id, deliveries::lease_until))
        .load(conn)?;
    let until = sending.iter().filter_map(|(_, until)| *until).filter(|until| *until > now.0).max().map(Timestamp);

    let terminal: Option<String> = events::table
        .filter(events::session_id.eq(&session.id))
        .filter(events::terminal.eq(true))
        .filter(events::superseded_at.is_null())
        .select(events::id)
        .first(conn)
        .optional()?;
    let Some(terminal) = terminal else { return Err(StoreError::Corrupt("events.terminal")) };
    let received: i64 = deliveries::table
        .filter(deliveries::event_id.eq(&terminal))
        .filter(deliveries::delivered_at.is_not_null().or(deliveries::maybe_received.eq(true)))
        .count()
        .get_result(conn)?;
    // A sender that died in its POST: nobody knows, so it counts as received.
    let unknown = sending.iter().any(|(event, _)| *event == terminal);
    let receipt = match until {
        Some(_) => Receipt::OnTheWay,
        None if received > 0 || unknown => Receipt::Somebody,
        None => Receipt::Nobody,
    };
    let failure = session.failure_code.as_deref().map(|code| parse(code, "sessions.failure_code")).transpose()?;
    let ending = match session::withdraw(failure, receipt) {
        Withdrawal::Wait => return Ok(PublicCancel::SendInFlight { until: until.unwrap_or(now) }),
        Withdrawal::Keep => return Ok(PublicCancel::Withdrawn { status }),
        Withdrawal::Replace(ending) => ending,
    };

    diesel::update(events::table.find(&terminal)).set(events::superseded_at.eq(now.0)).execute(conn)?;
    diesel::update(sessions::table.find(&session.id))
        .set((sessions::status.eq(ending.status.as_str()), sessions::updated_at.eq(now.0)))
        .execute(conn)?;
    let data = ending.data(session.counters()?);
    let happening = Happening { event_type: ending.event(), attempt: None, data: &data, terminal: true };
    emit(conn, recipients, session, &happening, now)?;
    Ok(PublicCancel::Withdrawn { status: ending.status })
}

/// Nothing of the session can be sent any more. What a sender holds at this moment it holds in memory; its row loses
/// the payload too, so that it cannot be tried again.
fn destroy_payloads(conn: &mut Conn, session: &str, now: Timestamp) -> Result<(), StoreError> {
    lock_deliveries(conn, &[session])?;
    // One that was delivered and then replayed has been delivered, whatever becomes of the replay.
    for (delivered, status, reason) in
        [(true, DeliveryStatus::Delivered, None), (false, DeliveryStatus::Failed, Some(WITHDRAWN))]
    {
        let pending = deliveries::session_id.eq(session).and(deliveries::status.eq(DeliveryStatus::Pending.as_str()));
        diesel::update(deliveries::table.filter(pending.and(deliveries::delivered_at.is_not_null().eq(delivered))))
            .set((
                deliveries::status.eq(status.as_str()),
                deliveries::reason.eq(reason),
                deliveries::next_attempt_at.eq(None::<i64>),
                deliveries::payload.eq(None::<String>),
                deliveries::updated_at.eq(now.0),
            ))
            .execute(conn)?;
    }
    let held = deliveries::session_id.eq(session).and(deliveries::payload.is_not_null());
    diesel::update(deliveries::table.filter(held))
        .set((deliveries::payload.eq(None::<String>), deliveries::payload_expires_at.eq(None::<i64>)))
        .execute(conn)?;
    Ok(())
}

/// Keeps the deliveries of these sessions until commit. None comes while the caller holds the sessions' rows. Without it the
/// recorder would turn one from `sending` to `pending` between two of the caller's statements, neither of which then fits.
fn lock_deliveries(conn: &mut Conn, sessions: &[&str]) -> Result<(), StoreError> {
    let rows =
        deliveries::table.filter(deliveries::session_id.eq_any(sessions)).order(deliveries::id).select(deliveries::id);
    lock!(rows).load::<String>(conn)?;
    Ok(())
}

/// Why a delivery failed whose session was withdrawn.
pub(super) const WITHDRAWN: &str = "privacy_withdrawn";
