//! Cancel by the organisation, cancel and withdrawal by the holder.

use diesel::prelude::*;
use proofmill_contract::session::{self, CancelToken, HolderCancel, Receipt, Withdrawal};
use proofmill_contract::{ErrorCode, OrganisationId, SessionId, SessionStatus, Timestamp};
use subtle::ConstantTimeEq;

use super::backend::Conn;
use super::close::close;
use super::emit::emit;
use super::expiry::expire_if_due;
use super::sessions::lock_row;
use crate::error::StoreError;
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
        diesel::update(sessions::table.find(&session.id))
            .set(sessions::cancel_token_used_at.eq(now.0))
            .execute(conn)?;
    }
    Ok(result)
}

/// The privacy cancel: destroys every payload of the session, then, if no endpoint has the terminal event, replaces
/// that event by a cancellation.
fn withdraw(
    conn: &mut Conn,
    recipients: &mut Recipients,
    session: &SessionRow,
    status: SessionStatus,
    now: Timestamp,
) -> Result<PublicCancel, StoreError> {
    destroy_payloads(conn, &session.id, now)?;

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
    let pending = deliveries::session_id.eq(session).and(deliveries::status.eq(DeliveryStatus::Pending.as_str()));
    diesel::update(deliveries::table.filter(pending))
        .set((
            deliveries::status.eq(DeliveryStatus::Failed.as_str()),
            deliveries::reason.eq(WITHDRAWN),
            deliveries::next_attempt_at.eq(None::<i64>),
            deliveries::payload.eq(None::<String>),
            deliveries::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    diesel::update(deliveries::table.filter(deliveries::session_id.eq(session)))
        .set((deliveries::payload.eq(None::<String>), deliveries::payload_expires_at.eq(None::<i64>)))
        .execute(conn)?;
    Ok(())
}

/// Why a delivery failed whose session was withdrawn.
pub(super) const WITHDRAWN: &str = "privacy_withdrawn";
