//! Keeping suspects apart.
//!
//! A broker counts a delivery for every unacknowledged message when its consumer dies, so a batch-mate of an attempt
//! that kills its worker looks as guilty as the killer. Once a job comes back, it therefore runs while nothing else is in
//! flight: an innocent one then succeeds, and a guilty one takes nobody along.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use proofmill_contract::AttemptId;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Who may run beside whom.
pub(super) struct Isolation {
    gate: RwLock<()>,
    /// Attempts that this process itself put off after a fault that was not theirs: their next lease is no suspicion.
    cleared: Mutex<HashSet<AttemptId>>,
}

/// Leave to run; held for as long as the attempt can do harm.
pub(super) enum Pass<'a> {
    /// Beside others.
    Shared { _held: RwLockReadGuard<'a, ()> },
    /// Alone.
    Alone { _held: RwLockWriteGuard<'a, ()> },
}

impl Pass<'_> {
    /// Whether nothing else is in flight.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self, Pass::Alone { .. })
    }
}

impl Isolation {
    pub(super) fn new() -> Self {
        Self { gate: RwLock::new(()), cleared: Mutex::default() }
    }

    /// Whether an attempt may have broken an earlier worker.
    pub(super) fn is_suspect(&self, attempt: &AttemptId, redelivered: bool, leases: u32) -> bool {
        let cleared = self.cleared.lock().unwrap_or_else(PoisonError::into_inner).remove(attempt);
        redelivered || (leases > 1 && !cleared)
    }

    /// Notes that an attempt comes again for a reason that is not its own.
    pub(super) fn clear(&self, attempt: &AttemptId) {
        let mut cleared = self.cleared.lock().unwrap_or_else(PoisonError::into_inner);
        // Another worker may take the attempt, so entries can stay behind. Forgetting them costs speed, not safety.
        if cleared.len() >= 100_000 {
            cleared.clear();
        }
        cleared.insert(attempt.clone());
    }

    /// Waits until the attempt may run.
    pub(super) async fn pass(&self, suspect: bool) -> Pass<'_> {
        if suspect {
            Pass::Alone { _held: self.gate.write().await }
        } else {
            Pass::Shared { _held: self.gate.read().await }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(digit: &str) -> AttemptId {
        AttemptId::parse(&format!("va_{}", digit.repeat(64))).unwrap()
    }

    #[test]
    fn suspicion_falls_on_what_came_back_unless_we_sent_it_back_ourselves() {
        let isolation = Isolation::new();
        let id = attempt("a");
        assert!(!isolation.is_suspect(&id, false, 1));
        assert!(isolation.is_suspect(&id, true, 1));
        assert!(isolation.is_suspect(&id, false, 2));
        isolation.clear(&id);
        assert!(!isolation.is_suspect(&id, false, 2));
        assert!(isolation.is_suspect(&id, false, 3), "cleared once, not for ever");
        isolation.clear(&id);
        assert!(isolation.is_suspect(&id, true, 2), "a dead connection outweighs it");
    }

    #[tokio::test]
    async fn a_suspect_runs_while_nothing_else_does() {
        let isolation = Isolation::new();
        let first = isolation.pass(false).await;
        let second = isolation.pass(false).await;
        assert!(!first.is_alone());
        let alone = isolation.pass(true);
        tokio::pin!(alone);
        assert!(futures::poll!(&mut alone).is_pending());
        drop(first);
        assert!(futures::poll!(&mut alone).is_pending());
        drop(second);
        let alone = alone.await;
        assert!(alone.is_alone());
        assert!(futures::poll!(std::pin::pin!(isolation.pass(false))).is_pending());
        drop(alone);
        isolation.pass(false).await;
    }
}
