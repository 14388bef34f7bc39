//! Many at once: exactly one wins, the others change and emit nothing.

use std::collections::BTreeSet;

use proofmill_contract::limits::SESSION_LIFE;
use proofmill_contract::{AttemptStatus, ContractVersion, Outcome, SessionStatus};

use super::harness::{LEASE, MISMATCH, START, World, new_attempt, on_both, submission, verdict};
use crate::{CancelResult, Lease, OpenAttempt, SettleResult, SubmitResult};

on_both!(
    sixteen_open_one_attempt,
    sixteen_submissions_of_different_bytes_are_one,
    sixteen_workers_get_one_lease,
    a_submission_that_races_with_a_cancel_is_cancelled_with_it_or_refused,
    settle_cancel_and_expiry_end_a_session_once,
    groups_of_verdicts_in_opposite_order_all_get_written,
);

const RACERS: usize = 16;

async fn sixteen_open_one_attempt(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let results = race(|_| {
        let (store, new) = (world.store.clone(), new_attempt(&session, START));
        async move { store.open_attempt(new, START).await.unwrap() }
    })
    .await;
    let opened = results.iter().filter(|result| matches!(result, OpenAttempt::Opened(_))).count();
    let ids: BTreeSet<_> = results
        .iter()
        .map(|result| match result {
            OpenAttempt::Opened(attempt) | OpenAttempt::Existing(attempt) => attempt.id.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((opened, ids.len()), (1, 1));
}

async fn sixteen_submissions_of_different_bytes_are_one(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.attempt(&session, START).await.id;
    let results = race(|racer| {
        let (store, attempt) = (world.store.clone(), attempt.clone());
        async move { store.submit_evidence(&attempt, submission(racer as u8), START).await.unwrap() }
    })
    .await;
    let accepted = results.iter().filter(|result| matches!(result, SubmitResult::Accepted(_))).count();
    let refused = results.iter().filter(|result| matches!(result, SubmitResult::AlreadySubmitted)).count();
    assert_eq!((accepted, refused), (1, RACERS - 1));
}

/// Many sessions at once, so that submissions share transactions while the cancels hold rows of theirs.
async fn a_submission_that_races_with_a_cancel_is_cancelled_with_it_or_refused(world: World) {
    let mut opened = Vec::new();
    for _ in 0..RACERS / 2 {
        let session = world.session(ContractVersion::V2, START).await.id;
        let attempt = world.attempt(&session, START).await.id;
        opened.push((session, attempt));
    }
    let results = race(|racer| {
        let (store, (session, attempt)) = (world.store.clone(), opened[racer / 2].clone());
        async move {
            if racer % 2 == 0 {
                (Some(store.submit_evidence(&attempt, submission(1), START).await.unwrap()), None)
            } else {
                (None, Some(store.cancel_session(None, &session, START).await.unwrap()))
            }
        }
    })
    .await;
    for pair in results.chunks(2) {
        let [(Some(submitted), _), (_, Some(CancelResult::Cancelled { discarded }))] = pair else { panic!("{pair:?}") };
        match submitted {
            SubmitResult::Accepted(_) => assert_eq!(discarded.len(), 1, "its evidence goes with the session"),
            SubmitResult::SessionTerminal(SessionStatus::Cancelled) => assert!(discarded.is_empty()),
            other => panic!("{other:?}"),
        }
    }
    assert!(world.store.outbox_due(100, LEASE, START).await.unwrap().is_empty());
}

async fn sixteen_workers_get_one_lease(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.submitted(&session, START).await;
    let results = race(|_| {
        let (store, attempt) = (world.store.clone(), attempt.clone());
        async move { store.acquire_lease(&attempt, LEASE, START).await.unwrap() }
    })
    .await;
    let tokens: Vec<&str> = results
        .iter()
        .filter_map(|result| match result {
            Lease::Acquired(leased) => Some(leased.token.as_str()),
            Lease::HeldByOther { .. } => None,
            _ => panic!("neither leased nor held"),
        })
        .collect();
    assert_eq!(tokens.len(), 1);
    assert!(world.store.extend_lease(&attempt, tokens[0], START.plus(LEASE * 2)).await.unwrap());
}

/// Rounds of: several settles of one lease, a cancel and an expiry sweep, all at once.
async fn settle_cancel_and_expiry_end_a_session_once(world: World) {
    let receiver = world.receiver(START).await;
    let late = START.plus(SESSION_LIFE);
    for round in 0..12 {
        let session = world.session(ContractVersion::V2, START).await.id;
        // Two failures before, so that both outcomes end the session.
        world.decide(&session, MISMATCH, START).await;
        world.decide(&session, MISMATCH, START).await;
        let leased = world.leased(&session, START).await;
        let outcome = if round % 2 == 0 { Outcome::Accepted } else { MISMATCH };

        enum Did {
            Settle(SettleResult),
            Cancel(CancelResult),
            Sweep,
        }
        let results = race(|racer| {
            let (store, session) = (world.store.clone(), session.clone());
            let verdict = verdict(&leased, outcome);
            async move {
                match racer % 4 {
                    0 | 1 => Did::Settle(store.settle(vec![verdict], late).await.unwrap().remove(0)),
                    2 => Did::Cancel(store.cancel_session(None, &session, late).await.unwrap()),
                    _ => {
                        store.expire_due(late, 100).await.unwrap();
                        Did::Sweep
                    }
                }
            }
        })
        .await;

        let settled = results.iter().filter(|did| matches!(did, Did::Settle(SettleResult::Settled { .. }))).count();
        let cancelled = results.iter().filter(|did| matches!(did, Did::Cancel(CancelResult::Cancelled { .. }))).count();
        assert_eq!(settled + cancelled, 1, "round {round}: the sweep must wait for the verdict, the others exclude");
        let after = world.reload(&session, late).await;
        let attempt = world.store.attempt(None, &leased.attempt.id, late).await.unwrap().unwrap().attempt;
        let expected = match (settled, outcome) {
            (1, Outcome::Accepted) => (SessionStatus::Succeeded, AttemptStatus::Succeeded),
            (1, Outcome::Rejected(_)) => (SessionStatus::Failed, AttemptStatus::Failed),
            _ => (SessionStatus::Cancelled, AttemptStatus::Cancelled),
        };
        assert_eq!((after.status, attempt.status), expected);
        let events = world.events(&session).await;
        assert_eq!((events.len(), events[0].terminal), (1, true));
        assert_eq!(world.received(&receiver, late).await.len(), 1, "one delivery for the one event");
    }
}

/// Two workers settle overlapping groups in opposite order: the locks must not end in a deadlock that loses a verdict.
async fn groups_of_verdicts_in_opposite_order_all_get_written(world: World) {
    let mut leased = Vec::new();
    for _ in 0..12 {
        let session = world.session(ContractVersion::V2, START).await.id;
        leased.push(world.leased(&session, START).await);
    }
    let results = race(|racer| {
        let store = world.store.clone();
        let mut verdicts: Vec<_> = leased.iter().map(|leased| verdict(leased, Outcome::Accepted)).collect();
        if racer % 2 == 1 {
            verdicts.reverse();
        }
        async move { store.settle(verdicts, START).await.unwrap() }
    })
    .await;
    let settled = results.iter().flatten().filter(|result| matches!(result, SettleResult::Settled { .. })).count();
    let repeats = results.iter().flatten().filter(|result| **result == SettleResult::AlreadySettled).count();
    assert_eq!((settled, repeats), (12, 12 * (RACERS - 1)));
}

/// Runs `RACERS` futures on as many tasks, released together.
async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(start: impl Fn(usize) -> F) -> Vec<T> {
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(RACERS));
    let tasks: Vec<_> = (0..RACERS)
        .map(|racer| {
            let (barrier, work) = (barrier.clone(), start(racer));
            tokio::spawn(async move {
                barrier.wait().await;
                work.await
            })
        })
        .collect();
    let mut results = Vec::with_capacity(RACERS);
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}
