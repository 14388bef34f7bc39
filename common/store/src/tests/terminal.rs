//! The server's terminal of an attempt: one, bound once, gone with the attempt.

use std::collections::BTreeSet;
use std::time::Duration;

use proofmill_contract::limits::{HANDOFF_LIFE, SESSION_LIFE};
use proofmill_contract::{AttemptId, AttemptStatus, ContractVersion, Outcome, SessionStatus, Timestamp};
use proofmill_vault::SealedRef;

use super::harness::{FORGED, START, World, new_attempt, on_both, sealed, verdict};
use crate::{Attempt, BindTerminal, CancelResult, OpenAttempt, SettleResult};

on_both!(
    of_sixteen_that_begin_at_once_one_is_bound_and_the_others_are_told_which,
    the_worker_gets_what_was_bound_and_the_verdict_takes_it_away,
    a_cancel_and_an_expiry_take_it_away_too,
    after_the_submission_or_the_handoff_nothing_is_bound,
    no_terminal_outlives_its_attempt_whatever_the_code_does,
);

async fn bind(world: &World, attempt: &AttemptId, now: Timestamp) -> (SealedRef, BindTerminal) {
    let terminal = sealed("terminal");
    let result = world.store.bind_terminal(attempt, terminal.clone(), now).await.unwrap();
    (terminal, result)
}

async fn bound(world: &World, attempt: &AttemptId) -> SealedRef {
    let (terminal, result) = bind(world, attempt, START).await;
    assert!(matches!(result, BindTerminal::Bound), "{result:?}");
    terminal
}

async fn reload(world: &World, attempt: &AttemptId) -> Attempt {
    world.store.attempt(None, attempt, START).await.unwrap().unwrap().attempt
}

/// What the database holds of the terminals, as text.
async fn columns(world: &World) -> Vec<String> {
    let sql = "SELECT COALESCE(terminal_object, '') || COALESCE(terminal_epoch, '') || \
               CASE WHEN terminal_wrapped_key IS NULL THEN '' ELSE 'key' END AS text FROM attempts";
    world.store.texts(sql).await.unwrap()
}

async fn of_sixteen_that_begin_at_once_one_is_bound_and_the_others_are_told_which(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.attempt(&session, START).await.id;
    let racers: Vec<_> = (0..16)
        .map(|_| {
            let (store, attempt) = (world.store.clone(), attempt.clone());
            tokio::spawn(async move {
                let terminal = sealed("terminal");
                (terminal.object.clone(), store.bind_terminal(&attempt, terminal, START).await.unwrap())
            })
        })
        .collect();
    let (mut winners, mut told) = (Vec::new(), BTreeSet::new());
    for racer in racers {
        match racer.await.unwrap() {
            (object, BindTerminal::Bound) => winners.push(object),
            (_, BindTerminal::Existing(existing)) => drop(told.insert(existing.object)),
            (_, other) => panic!("{other:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(told.into_iter().collect::<Vec<_>>(), winners);
    assert_eq!(reload(&world, &attempt).await.terminal.map(|terminal| terminal.object), winners.pop());
    // Opening again gives the same attempt, terminal and all.
    match world.store.open_attempt(new_attempt(&session, START), START).await.unwrap() {
        OpenAttempt::Existing(again) => assert!(again.terminal.is_some()),
        other => panic!("{other:?}"),
    }
}

async fn the_worker_gets_what_was_bound_and_the_verdict_takes_it_away(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    for outcome in [FORGED, Outcome::Accepted] {
        let attempt = world.attempt(&session, START).await.id;
        let terminal = bound(&world, &attempt).await;
        assert_eq!(world.store.epochs_in_use().await.unwrap(), std::slice::from_ref(&terminal.epoch));
        world.store.submit_evidence(&attempt, super::harness::submission(1), START).await.unwrap();
        let leased = world.lease(&attempt, START).await;
        assert_eq!(leased.attempt.terminal.as_ref(), Some(&terminal));
        let objects = [terminal.object.clone(), leased.sealed.object.clone()];
        assert_eq!(world.store.referenced_objects(&objects).await.unwrap().len(), 2);

        let SettleResult::Settled { discarded, .. } = world.settle_one(verdict(&leased, outcome), START).await else {
            panic!("not settled")
        };
        assert_eq!(discarded, [leased.sealed.object, terminal.object]);
        assert!(world.store.referenced_objects(&objects).await.unwrap().is_empty());
        assert!(world.store.epochs_in_use().await.unwrap().is_empty());
        assert_eq!(reload(&world, &attempt).await.terminal, None);
        assert!(columns(&world).await.iter().all(String::is_empty));
    }
}

async fn a_cancel_and_an_expiry_take_it_away_too(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.attempt(&session, START).await.id;
    let terminal = bound(&world, &attempt).await;
    let cancelled = world.store.cancel_session(None, &session, START).await.unwrap();
    assert_eq!(cancelled, CancelResult::Cancelled { discarded: vec![terminal.object] });

    // The session's time is over.
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt_2 = world.attempt(&session, START).await.id;
    bound(&world, &attempt_2).await;
    assert_eq!(world.store.expire_due(START.plus(SESSION_LIFE), 10).await.unwrap(), 1);

    // The handoff's time is over.
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt_3 = world.attempt(&session, START).await.id;
    let terminal = bound(&world, &attempt_3).await;
    assert_eq!(world.store.cancel_stale_handoffs(START.plus(HANDOFF_LIFE), 10).await.unwrap(), 1);
    assert!(world.store.referenced_objects(&[terminal.object]).await.unwrap().is_empty(), "the sweep removes it");

    for attempt in [attempt, attempt_2, attempt_3] {
        let after = reload(&world, &attempt).await;
        assert_eq!((after.status, after.terminal), (AttemptStatus::Cancelled, None));
    }
    assert!(columns(&world).await.iter().all(String::is_empty));
    assert!(world.store.epochs_in_use().await.unwrap().is_empty());
}

async fn after_the_submission_or_the_handoff_nothing_is_bound(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.attempt(&session, START).await.id;
    let late = START.plus(HANDOFF_LIFE);
    assert!(matches!(bind(&world, &attempt, late).await.1, BindTerminal::HandoffExpired));
    world.store.submit_evidence(&attempt, super::harness::submission(1), START).await.unwrap();
    assert!(matches!(bind(&world, &attempt, START).await.1, BindTerminal::AlreadySubmitted));
    assert!(matches!(bind(&world, &attempt, late).await.1, BindTerminal::AlreadySubmitted));

    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.attempt(&session, START).await.id;
    let over = START.plus(SESSION_LIFE).plus(Duration::from_secs(1));
    assert!(matches!(bind(&world, &attempt, over).await.1, BindTerminal::SessionExpired));
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.attempt(&session, START).await.id;
    world.store.cancel_session(None, &session, START).await.unwrap();
    let refused = bind(&world, &attempt, START).await.1;
    assert!(matches!(refused, BindTerminal::SessionTerminal(SessionStatus::Cancelled)), "{refused:?}");
    let unknown = AttemptId::generate(START, &mut rand::rng());
    assert!(matches!(bind(&world, &unknown, START).await.1, BindTerminal::NotFound));
    assert!(columns(&world).await.iter().all(String::is_empty));
}

async fn no_terminal_outlives_its_attempt_whatever_the_code_does(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.attempt(&session, START).await.id;
    bound(&world, &attempt).await;
    let sql = format!("UPDATE attempts SET status = 'cancelled', completed_at = 1 WHERE id = '{attempt}'");
    assert!(world.store.execute(&sql).await.is_err(), "the wrapped key must go with the status");
}
