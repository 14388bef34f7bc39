//! The life of one session as a value: the same pure steps that the store takes under its locks, put together, so that sequences
//! of them can be tested, and the store against them.

use super::endings::{CancelToken, HolderCancel, Receipt, Withdrawal, begin, cancel, expire, holder_cancel, withdraw};
use super::{AttemptStatus, ContractVersion, Counters, FailureCode, Outcome, SessionStatus, settle};
use crate::errors::ErrorCode;
use crate::events::{CancelReason, EventType};

/// A session, and its open attempt if it has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    /// The contract it lives under.
    pub version: ContractVersion,
    /// Where it stands.
    pub status: SessionStatus,
    /// How often its holder has tried.
    pub counters: Counters,
    /// Why it ended without an accepted attempt.
    pub failure: Option<FailureCode>,
    /// The open attempt.
    pub attempt: Option<OpenAttempt>,
    /// Whether the cancel token was consumed.
    pub cancel_token_used: bool,
}

/// An attempt without a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenAttempt {
    /// Its evidence is awaited.
    AwaitingEvidence,
    /// Its evidence was accepted.
    Submitted,
}

/// What can happen to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happening {
    /// An attempt is opened; an open one that awaits its evidence is given again.
    Open,
    /// The open attempt's write token is used for something that is no submission.
    WriteTokenUsed,
    /// Evidence arrives for the open attempt.
    Submit,
    /// The open attempt's handoff is over.
    HandoffOver,
    /// The open attempt is decided.
    Verdict(Outcome),
    /// The open attempt could not be decided: a fault of ours.
    SystemFault,
    /// The organisation cancels.
    Cancel,
    /// The holder cancels, with who has received the terminal event if the session has a result.
    HolderCancel(CancelToken, Receipt),
    /// The session is seen after its end.
    TimeOver,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effect {
    /// What became of the open attempt.
    pub attempt: Option<AttemptStatus>,
    /// The event that goes out.
    pub event: Option<EventType>,
    /// The reason that event gives, if it is a cancellation.
    pub reason: Option<CancelReason>,
    /// Whether that event is the session's terminal one.
    pub terminal: bool,
    /// Whether it takes the place of a terminal event that nobody received.
    pub replaces: bool,
    /// Why the caller was refused.
    pub refused: Option<ErrorCode>,
}

impl Life {
    /// A session that was just created.
    pub fn new(version: ContractVersion) -> Self {
        Self {
            version,
            status: SessionStatus::Created,
            counters: Counters::default(),
            failure: None,
            attempt: None,
            cancel_token_used: false,
        }
    }

    /// What a happening makes of it.
    #[must_use]
    pub fn after(mut self, happening: Happening) -> (Self, Effect) {
        let effect = self.take(happening);
        (self, effect)
    }

    fn take(&mut self, happening: Happening) -> Effect {
        match happening {
            Happening::Open => self.open(),
            Happening::WriteTokenUsed => self.begin(self.attempt.is_some()),
            Happening::Submit => self.submit(),
            Happening::HandoffOver => match self.attempt {
                Some(OpenAttempt::AwaitingEvidence) => {
                    self.attempt = None;
                    Effect { attempt: Some(AttemptStatus::Cancelled), ..Effect::default() }
                }
                _ => Effect::default(),
            },
            Happening::Verdict(outcome) => self.verdict(outcome),
            Happening::SystemFault => Effect::default(),
            Happening::Cancel => cancel(self.status, self.counters).map_or(Effect::default(), |end| self.end(end)),
            Happening::HolderCancel(token, receipt) => self.holder_cancel(token, receipt),
            Happening::TimeOver => {
                let waits = self.attempt == Some(OpenAttempt::Submitted);
                expire(self.status, true, waits).map_or(Effect::default(), |end| self.end(end))
            }
        }
    }

    fn open(&mut self) -> Effect {
        let refused = match (self.status, self.attempt) {
            (SessionStatus::Expired, _) => Some(ErrorCode::SessionExpired),
            (status, _) if status.is_terminal() => Some(ErrorCode::SessionTerminal),
            (_, Some(OpenAttempt::Submitted)) => Some(ErrorCode::SessionInProgress),
            _ => None,
        };
        if refused.is_none() {
            self.attempt = Some(OpenAttempt::AwaitingEvidence);
        }
        Effect { refused, ..Effect::default() }
    }

    fn begin(&mut self, used: bool) -> Effect {
        if used && let Some(next) = begin(self.status) {
            self.status = next;
        }
        Effect::default()
    }

    fn submit(&mut self) -> Effect {
        if self.attempt != Some(OpenAttempt::AwaitingEvidence) {
            return Effect::default();
        }
        self.attempt = Some(OpenAttempt::Submitted);
        self.begin(true)
    }

    fn verdict(&mut self, outcome: Outcome) -> Effect {
        if self.attempt != Some(OpenAttempt::Submitted) {
            return Effect::default();
        }
        let Some(settled) = settle(self.version, self.status, self.counters, outcome) else { return Effect::default() };
        self.status = settled.session;
        self.counters = settled.counters;
        self.failure = settled.session_failure;
        self.attempt = None;
        Effect {
            attempt: Some(settled.attempt),
            event: settled.event,
            terminal: settled.session.is_terminal(),
            ..Effect::default()
        }
    }

    fn holder_cancel(&mut self, token: CancelToken, receipt: Receipt) -> Effect {
        let effect = match holder_cancel(self.status, self.counters, token) {
            HolderCancel::Refuse(code) => return Effect { refused: Some(code), ..Effect::default() },
            HolderCancel::Nothing => Effect::default(),
            HolderCancel::End(ending) => self.end(ending),
            HolderCancel::Withdraw => match withdraw(self.failure, receipt) {
                Withdrawal::Wait => return Effect::default(),
                Withdrawal::Keep => Effect::default(),
                Withdrawal::Replace(ending) => Effect { replaces: true, ..self.end(ending) },
            },
        };
        self.cancel_token_used = true;
        effect
    }

    fn end(&mut self, ending: super::Ending) -> Effect {
        self.status = ending.status;
        let attempt = self.attempt.take().map(|_| AttemptStatus::Cancelled);
        Effect { attempt, event: Some(ending.event()), reason: ending.reason, terminal: true, ..Effect::default() }
    }
}
