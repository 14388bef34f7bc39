//! Cancel by the organisation, cancel and withdrawal by the holder.

use diesel::prelude::*;
use proofmill_contract::events::{CancelReason, EventType, cancelled_data};
use proofmill_contract::{OrganisationId, SessionId, SessionStatus, Timestamp};
use subtle::ConstantTimeEq;

use super::backend::Conn;
use super::close::{Ending, close};
use super::emit::emit;
use super::expiry::expire_if_due;
use super::sessions::lock_row;
use crate::error::StoreError;
use crate::model::{CancelResult, DeliveryStatus, PublicCancel};
use crate::outgoing::{Happening, Recipients};
use crate::rows::SessionRow;
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
    if status.is_terminal() {
        return Ok(CancelResult::AlreadyTerminal(status));
    }
    let discarded = cancel_active(conn, &mut recipients, &session, now)?;
    Ok(CancelResult::Cancelled { discarded })
}

pub(crate) fn by_holder(
    conn: &mut Conn,
    id: &SessionId,
    token_hash: &[u8; 32],
    now: Timestamp,
) -> Result<PublicCancel, StoreError> {
    let Some(mut session) = lock_row(conn, None, id.as_str())? else { return Ok(PublicCancel::NotFound) };
    if !bool::from(session.cancel_token_hash.as_slice().ct_eq(token_hash)) {
        return Ok(PublicCancel::TokenInvalid);
    }
    let mut recipients = Recipients::default();
    expire_if_due(conn, &mut recipients, &mut session, now)?;
    let status = session.status()?;
    if session.cancel_token_used_at.is_some() {
        let used = if status.is_terminal() { PublicCancel::AlreadyTerminal(status) } else { PublicCancel::TokenUsed };
        return Ok(used);
    }

    let result = match status {
        SessionStatus::Created | SessionStatus::InProgress => {
            PublicCancel::Cancelled { discarded: cancel_active(conn, &mut recipients, &session, now)? }
        }
        SessionStatus::Completed | SessionStatus::Succeeded | SessionStatus::Failed => {
            withdraw(conn, &mut recipients, &session, status, now)?
        }
        SessionStatus::Expired | SessionStatus::Cancelled => PublicCancel::AlreadyTerminal(status),
    };
    if !matches!(result, PublicCancel::SendInFlight { .. }) {
        diesel::update(sessions::table.find(&session.id))
            .set(sessions::cancel_token_used_at.eq(now.0))
            .execute(conn)?;
    }
    Ok(result)
}

fn cancel_active(
    conn: &mut Conn,
    recipients: &mut Recipients,
    session: &SessionRow,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let counters = session.counters()?;
    let data = cancelled_data(CancelReason::of_active(counters), counters);
    let ending = Ending { status: SessionStatus::Cancelled, event_type: EventType::SessionCancelled, data: &data };
    close(conn, recipients, session, &ending, now)
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
    if let Some(until) = sending.iter().filter_map(|(_, until)| *until).filter(|until| *until > now.0).max() {
        return Ok(PublicCancel::SendInFlight { until: Timestamp(until) });
    }

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
    if received > 0 || unknown {
        return Ok(PublicCancel::Withdrawn { status });
    }

    diesel::update(events::table.find(&terminal)).set(events::superseded_at.eq(now.0)).execute(conn)?;
    diesel::update(sessions::table.find(&session.id))
        .set((sessions::status.eq(SessionStatus::Cancelled.as_str()), sessions::updated_at.eq(now.0)))
        .execute(conn)?;
    let reason = if succeeded(session, status) {
        CancelReason::PrivacyAfterTerminalSuccess
    } else {
        CancelReason::PrivacyAfterTerminalFailure
    };
    let data = cancelled_data(reason, session.counters()?);
    let happening = Happening { event_type: EventType::SessionCancelled, attempt: None, data: &data, terminal: true };
    emit(conn, recipients, session, &happening, now)?;
    Ok(PublicCancel::Withdrawn { status: SessionStatus::Cancelled })
}

/// Contract 1 ends in `completed` either way: only a session without a failure code had an accepted attempt.
fn succeeded(session: &SessionRow, status: SessionStatus) -> bool {
    match status {
        SessionStatus::Completed => session.failure_code.is_none(),
        status => status == SessionStatus::Succeeded,
    }
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
