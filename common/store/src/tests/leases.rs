//! Leases: one holder at a time, and a zombie's writes find nothing.

use std::time::Duration;

use proofmill_contract::{AttemptId, AttemptStatus, ContractVersion, Outcome, Phase, SessionStatus};

use super::harness::{LEASE, MISMATCH, START, World, on_both, verdict};
use crate::{Lease, LostEvidence, SettleResult};

on_both!(
    an_attempt_has_one_holder_until_the_lease_ends,
    a_zombies_lease_is_refused_everywhere_once_it_was_taken_over,
    a_lease_that_ended_unnoticed_still_settles,
    a_released_attempt_is_free_at_once,
    an_attempt_without_evidence_or_with_a_verdict_gives_no_lease,
    a_quarantined_attempt_is_set_aside_uncharged_and_can_come_back,
    an_attempt_whose_evidence_is_gone_ends_and_its_holder_goes_on,
);

async fn an_attempt_whose_evidence_is_gone_ends_and_its_holder_goes_on(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    let id = leased.attempt.id.clone();
    let give_up = |token: &str, lost| {
        let (id, token, store) = (id.clone(), token.to_owned(), world.store.clone());
        async move { store.give_up(&id, &token, lost, "evidence object is missing", START).await.unwrap() }
    };
    assert_eq!(give_up("another's", LostEvidence::OfAttempt).await, None);
    let discarded = give_up(&leased.token, LostEvidence::OfAttempt).await;
    assert_eq!(discarded, Some(vec![leased.sealed.object.clone()]));
    assert_eq!(give_up(&leased.token, LostEvidence::OfAttempt).await, None);

    let found = world.store.attempt(None, &id, START).await.unwrap().unwrap();
    assert_eq!((found.attempt.status, found.attempt.completed_at), (AttemptStatus::Cancelled, Some(START)));
    assert_eq!((found.session.status, found.session.counters), (SessionStatus::InProgress, Default::default()));
    assert!(matches!(world.store.acquire_lease(&id, LEASE, START).await.unwrap(), Lease::Settled));
    let late = world.settle_one(verdict(&leased, MISMATCH), START).await;
    assert_eq!(late, SettleResult::SessionEnded, "what was ended takes no verdict");

    // For the operator it is noted, but there is nothing to send back.
    let noted = world.store.list_given_up(10).await.unwrap();
    assert_eq!(noted.len(), 1);
    assert_eq!((noted[0].attempt_id.clone(), noted[0].reason.as_str()), (id.clone(), "evidence object is missing"));
    assert!(world.store.list_quarantined(10).await.unwrap().is_empty());
    assert_eq!(world.store.backlog(START).await.unwrap().quarantined, 0);
    assert!(!world.store.requeue_quarantined(&id, START).await.unwrap());

    // A poison attempt whose session was cancelled is not among them.
    let other = world.session(ContractVersion::V2, START).await.id;
    let poison = world.leased(&other, START).await;
    assert!(world.store.quarantine(&poison.attempt.id, &poison.token, "panicked", START).await.unwrap());
    world.store.cancel_session(None, &other, START.plus(LEASE)).await.unwrap();
    assert_eq!(world.store.list_given_up(10).await.unwrap().len(), 1);

    world.leased(&session, START).await;
}

async fn an_attempt_has_one_holder_until_the_lease_ends(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let id = world.submitted(&session, START).await;
    let first = world.lease(&id, START.plus(Duration::from_secs(2))).await;
    assert_eq!((first.tries, first.waited), (1, Duration::from_secs(2)));
    assert_eq!((first.session.id.clone(), first.organisation.id.clone()), (session, world.organisation.clone()));
    assert_eq!(first.attempt.phase, Phase::Verifying);

    let ends = START.plus(Duration::from_secs(2) + LEASE);
    let before = ends.minus(Duration::from_micros(1));
    let held = world.store.acquire_lease(&id, LEASE, before).await.unwrap();
    assert!(matches!(held, Lease::HeldByOther { until } if until == ends));
    assert!(world.store.extend_lease(&id, &first.token, ends.plus(LEASE)).await.unwrap());
    assert!(matches!(world.store.acquire_lease(&id, LEASE, ends).await.unwrap(), Lease::HeldByOther { .. }));
    let second = world.lease(&id, ends.plus(LEASE)).await;
    assert_eq!(second.tries, 2);
    assert_ne!(second.token, first.token);
}

async fn a_zombies_lease_is_refused_everywhere_once_it_was_taken_over(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let zombie = world.leased(&session, START).await;
    let id = zombie.attempt.id.clone();
    let later = START.plus(LEASE);
    let heir = world.lease(&id, later).await;

    assert!(!world.store.extend_lease(&id, &zombie.token, later.plus(LEASE)).await.unwrap());
    assert!(!world.store.release_lease(&id, &zombie.token, later).await.unwrap());
    assert!(!world.store.quarantine(&id, &zombie.token, "oom", later).await.unwrap());
    assert_eq!(world.settle_one(verdict(&zombie, MISMATCH), later).await, SettleResult::LostLease);
    assert_eq!(world.reload(&session, later).await.counters.liveness_tries_used, 0);

    let settled = world.settle_one(verdict(&heir, Outcome::Accepted), later).await;
    assert!(matches!(settled, SettleResult::Settled { session_status: SessionStatus::Succeeded, .. }));
    assert_eq!(world.settle_one(verdict(&zombie, MISMATCH), later).await, SettleResult::AlreadySettled);
    assert_eq!(world.event_types(&session).await, ["verification.session.succeeded"]);
}

async fn a_lease_that_ended_unnoticed_still_settles(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    let late = START.plus(LEASE * 2);
    let settled = world.settle_one(verdict(&leased, Outcome::Accepted), late).await;
    assert!(matches!(settled, SettleResult::Settled { .. }), "nobody else took it: {settled:?}");
}

async fn a_released_attempt_is_free_at_once(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    assert!(world.store.release_lease(&leased.attempt.id, &leased.token, START).await.unwrap());
    let found = world.store.attempt(None, &leased.attempt.id, START).await.unwrap().unwrap();
    assert_eq!(found.attempt.phase, Phase::Queued);
    assert_eq!(world.lease(&leased.attempt.id, START).await.tries, 2);
}

async fn an_attempt_without_evidence_or_with_a_verdict_gives_no_lease(world: World) {
    let store = &world.store;
    let acquire = |id: AttemptId| async move { store.acquire_lease(&id, LEASE, START).await.unwrap() };
    let session = world.session(ContractVersion::V2, START).await.id;
    let open = world.attempt(&session, START).await.id;
    assert!(matches!(acquire(open.clone()).await, Lease::Gone));
    assert!(matches!(acquire(AttemptId::generate(START, &mut rand::rng())).await, Lease::Gone));
    world.store.cancel_session(None, &session, START).await.unwrap();
    assert!(matches!(acquire(open).await, Lease::Settled));

    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    world.settle_one(verdict(&leased, MISMATCH), START).await;
    assert!(matches!(acquire(leased.attempt.id).await, Lease::Settled));
}

async fn a_quarantined_attempt_is_set_aside_uncharged_and_can_come_back(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    let id = leased.attempt.id.clone();
    assert!(world.store.quarantine(&id, &leased.token, "gpu fault, 5 tries", START).await.unwrap());

    let aside = world.store.list_quarantined(10).await.unwrap();
    assert_eq!(aside.len(), 1);
    assert_eq!(
        (aside[0].attempt_id.clone(), aside[0].reason.as_str(), aside[0].tries),
        (id.clone(), "gpu fault, 5 tries", 1)
    );
    assert!(matches!(world.store.acquire_lease(&id, LEASE, START).await.unwrap(), Lease::Quarantined));
    let long_after = START.plus(Duration::from_secs(3_000));
    assert_eq!(world.store.requeue_lost(Duration::ZERO, 10, long_after).await.unwrap(), 0);
    let found = world.store.attempt(None, &id, START).await.unwrap().unwrap();
    assert!(found.attempt.quarantined);
    assert_eq!((found.attempt.status, found.session.counters), (AttemptStatus::InProgress, Default::default()));
    assert_eq!(world.store.backlog(START).await.unwrap().quarantined, 1);

    assert!(world.store.requeue_quarantined(&id, START).await.unwrap());
    assert!(!world.store.requeue_quarantined(&id, START).await.unwrap());
    assert_eq!(world.store.outbox_due(10, LEASE, START).await.unwrap()[0].attempt_id, id);
    assert_eq!(world.lease(&id, START).await.tries, 1);
}
