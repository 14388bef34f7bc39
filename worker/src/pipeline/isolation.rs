//! Keeping suspects apart.
//!
//! A broker counts a delivery for every unacknowledged message when its consumer dies, and a lease ends for every attempt
//! that was held, so a neighbour of an attempt that kills its worker looks as guilty as the killer. An attempt that was
//! leased before and came back is therefore a suspect: it runs while nothing else is in flight. An innocent one then
//! succeeds, and a guilty one takes nobody along.
//!
//! Waiting for that must not look like guilt either: while suspects are about, attempts take their leases one at a time,
//! and none takes one while a suspect waits or runs. So only the killer's own count of leases rises with each death.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proofmill_contract::AttemptId;
use tokio::sync::{MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::Instant;

/// How long leases are taken one at a time after the start of the process (which may follow a death) and after any sign
/// of a suspect. Longer than a lease usually lasts, so that what a dead worker held is met with care.
const CAUTION: Duration = Duration::from_secs(120);
/// Entries of attempts that another worker took stay behind; beyond this many, all are forgotten. That costs speed only.
const MAX_CLEARED: usize = 100_000;

/// Who may run beside whom.
pub(super) struct Isolation {
    /// Held shared by every attempt in flight, exclusively by a suspect. Fair: who comes after a waiting suspect waits.
    gate: RwLock<()>,
    /// Held while a lease is taken, and by a suspect until it is done.
    turn: tokio::sync::Mutex<()>,
    cautious_until: Mutex<Instant>,
    /// Attempts that this process itself put off after a fault that was not theirs: their next lease is no suspicion.
    cleared: Mutex<HashSet<AttemptId>>,
}

/// Leave to ask for a lease.
pub(super) struct Entry<'a> {
    held: RwLockReadGuard<'a, ()>,
    turn: Option<MutexGuard<'a, ()>>,
}

/// Leave to run; held for as long as the attempt can do harm.
pub(super) enum Pass<'a> {
    /// Beside others.
    Shared { _held: RwLockReadGuard<'a, ()> },
    /// Alone.
    Alone { _held: RwLockWriteGuard<'a, ()>, _turn: Option<MutexGuard<'a, ()>> },
}

impl Pass<'_> {
    /// Whether nothing else is in flight.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self, Pass::Alone { .. })
    }
}

impl Isolation {
    pub(super) fn new() -> Self {
        Self {
            gate: RwLock::new(()),
            turn: tokio::sync::Mutex::new(()),
            cautious_until: Mutex::new(Instant::now() + CAUTION),
            cleared: Mutex::default(),
        }
    }

    /// Waits until a lease may be asked for. A redelivered job is a sign that a worker died.
    pub(super) async fn enter(&self, redelivered: bool) -> Entry<'_> {
        if redelivered {
            self.be_cautious();
        }
        let turn = if self.is_cautious() { Some(self.turn.lock().await) } else { None };
        Entry { held: self.gate.read().await, turn }
    }

    /// Waits until an attempt that has its lease may run.
    pub(super) async fn pass<'a>(&'a self, entry: Entry<'a>, suspect: bool) -> Pass<'a> {
        let Entry { held, turn } = entry;
        if !suspect {
            return Pass::Shared { _held: held };
        }
        self.be_cautious();
        drop(held);
        Pass::Alone { _held: self.gate.write().await, _turn: turn }
    }

    /// Whether an attempt may have broken an earlier worker. One that was never leased before cannot have.
    pub(super) fn is_suspect(&self, attempt: &AttemptId, redelivered: bool, leases: u32) -> bool {
        let cleared = lock(&self.cleared).remove(attempt);
        leases > 1 && (redelivered || !cleared)
    }

    /// Notes that an attempt comes again for a reason that is not its own.
    pub(super) fn clear(&self, attempt: &AttemptId) {
        let mut cleared = lock(&self.cleared);
        if cleared.len() >= MAX_CLEARED {
            cleared.clear();
        }
        cleared.insert(attempt.clone());
    }

    fn be_cautious(&self) {
        *lock(&self.cautious_until) = Instant::now() + CAUTION;
    }

    fn is_cautious(&self) -> bool {
        Instant::now() < *lock(&self.cautious_until)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn attempt(digit: &str) -> AttemptId {
        AttemptId::parse(&format!("va_{}", digit.repeat(64))).unwrap()
    }

    #[tokio::test]
    async fn suspicion_falls_on_what_was_leased_before_unless_we_sent_it_back_ourselves() {
        let isolation = Isolation::new();
        let id = attempt("a");
        assert!(!isolation.is_suspect(&id, false, 1));
        assert!(!isolation.is_suspect(&id, true, 1), "nobody held it before, so nobody died of it");
        assert!(isolation.is_suspect(&id, false, 2));
        isolation.clear(&id);
        assert!(!isolation.is_suspect(&id, false, 2));
        assert!(isolation.is_suspect(&id, false, 3), "cleared once, not for ever");
        isolation.clear(&id);
        assert!(isolation.is_suspect(&id, true, 2), "a dead connection outweighs it");
    }

    #[tokio::test]
    async fn a_suspect_runs_while_nothing_else_does_and_nobody_is_leased_meanwhile() {
        let isolation = Isolation::new();
        let first = isolation.pass(isolation.enter(false).await, false).await;
        let second = isolation.pass(isolation.enter(false).await, false).await;
        assert!(!first.is_alone());
        let mut alone = pin!(isolation.pass(isolation.enter(false).await, true));
        assert!(futures::poll!(&mut alone).is_pending());
        let mut late = pin!(isolation.enter(false));
        assert!(futures::poll!(&mut late).is_pending(), "a lease was given while a suspect waited");
        drop(first);
        assert!(futures::poll!(&mut alone).is_pending());
        drop(second);
        let alone = alone.await;
        assert!(alone.is_alone());
        assert!(futures::poll!(&mut late).is_pending(), "a lease was given while a suspect ran");
        drop(alone);
        assert!(!isolation.pass(late.await, false).await.is_alone());
    }

    #[tokio::test]
    async fn with_nothing_to_fear_leases_are_taken_side_by_side() {
        let isolation = Isolation::new();
        let first = isolation.enter(false).await;
        assert!(futures::poll!(pin!(isolation.enter(false))).is_pending(), "the start of a process calls for caution");
        drop(first);
        *lock(&isolation.cautious_until) = Instant::now();
        let _first = isolation.enter(false).await;
        let _second = isolation.enter(false).await;
        assert!(futures::poll!(pin!(isolation.enter(true))).is_ready(), "nobody has a turn to wait for");
        let _third = isolation.enter(false).await;
        assert!(futures::poll!(pin!(isolation.enter(false))).is_pending(), "a redelivery calls for caution");
    }
}
