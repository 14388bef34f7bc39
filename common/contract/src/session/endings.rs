//! How a session begins, and how it ends without a verdict: by cancel, by expiry, by the holder's withdrawal.
//!
//! Each function answers `None` (or `Nothing`) where nothing changes: who loses a race changes nothing and emits nothing.

use serde_json::Value;

use super::{Counters, FailureCode, SessionStatus};
use crate::errors::ErrorCode;
use crate::events::{CancelReason, EventType, cancelled_data, expired_data};

/// The end of a session, by which its open attempt becomes `cancelled` whatever is being done with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ending {
    /// The session's status from now on.
    pub status: SessionStatus,
    /// Why, if it was cancelled.
    pub reason: Option<CancelReason>,
}

impl Ending {
    const EXPIRED: Self = Self { status: SessionStatus::Expired, reason: None };

    const fn cancelled(reason: CancelReason) -> Self {
        Self { status: SessionStatus::Cancelled, reason: Some(reason) }
    }

    /// The one event that goes out.
    pub const fn event(&self) -> EventType {
        match self.reason {
            Some(_) => EventType::SessionCancelled,
            None => EventType::SessionExpired,
        }
    }

    /// The event's `data`.
    pub fn data(&self, counters: Counters) -> Value {
        match self.reason {
            Some(reason) => cancelled_data(reason, counters),
            None => expired_data(),
        }
    }
}

/// Evidence was accepted, or a write token first used.
pub fn begin(status: SessionStatus) -> Option<SessionStatus> {
    (status == SessionStatus::Created).then_some(SessionStatus::InProgress)
}

/// The organisation cancels: nothing happens to a session that has ended.
pub fn cancel(status: SessionStatus, counters: Counters) -> Option<Ending> {
    (!status.is_terminal()).then_some(Ending::cancelled(CancelReason::of_active(counters)))
}

/// The session is seen at a time: `over` says whether that is past its end, `waits_for_verdict` whether evidence was accepted
/// before it and has no verdict yet. Our backlog is not the holder's failure, so that verdict comes first.
pub fn expire(status: SessionStatus, over: bool, waits_for_verdict: bool) -> Option<Ending> {
    (over && !waits_for_verdict && !status.is_terminal()).then_some(Ending::EXPIRED)
}

/// A cancel token that was shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CancelToken {
    /// The session's, shown for the first time.
    Fresh,
    /// The session's, consumed before.
    Used,
    /// Not the session's.
    Wrong,
}

/// What the holder's cancel does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HolderCancel {
    /// It ends an active session.
    End(Ending),
    /// The session has a result: the holder withdraws it, see [`withdraw`].
    Withdraw,
    /// The session had ended without a result; the holder has what they want.
    Nothing,
    /// The caller is refused.
    Refuse(ErrorCode),
}

/// The holder cancels. Whatever is not refused consumes the token.
pub fn holder_cancel(status: SessionStatus, counters: Counters, token: CancelToken) -> HolderCancel {
    match (token, status) {
        (CancelToken::Wrong, _) => HolderCancel::Refuse(ErrorCode::CancelTokenInvalid),
        (CancelToken::Used, status) if status.is_terminal() => HolderCancel::Nothing,
        (CancelToken::Used, _) => HolderCancel::Refuse(ErrorCode::CancelTokenUsed),
        (CancelToken::Fresh, SessionStatus::Completed | SessionStatus::Succeeded | SessionStatus::Failed) => {
            HolderCancel::Withdraw
        }
        (CancelToken::Fresh, status) => cancel(status, counters).map_or(HolderCancel::Nothing, HolderCancel::End),
    }
}

/// Who has received a session's terminal event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receipt {
    /// No endpoint.
    Nobody,
    /// An endpoint, or nobody knows: an unknown outcome counts as received.
    Somebody,
    /// It is on its way to an endpoint at this moment.
    OnTheWay,
}

/// What a withdrawal does, once every undelivered payload of the session is destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Withdrawal {
    /// The terminal event is replaced by a cancellation, which goes to every endpoint.
    Replace(Ending),
    /// Some endpoint knows the result: the session stays as it is, and the others get nothing more.
    Keep,
    /// Ask again when the send has ended.
    Wait,
}

/// Withdraws a session's result. A session without a failure code had an accepted attempt: contract 1 ends in `completed`
/// either way.
pub fn withdraw(failure: Option<FailureCode>, receipt: Receipt) -> Withdrawal {
    match receipt {
        Receipt::OnTheWay => Withdrawal::Wait,
        Receipt::Somebody => Withdrawal::Keep,
        Receipt::Nobody => Withdrawal::Replace(Ending::cancelled(match failure {
            None => CancelReason::PrivacyAfterTerminalSuccess,
            Some(_) => CancelReason::PrivacyAfterTerminalFailure,
        })),
    }
}
