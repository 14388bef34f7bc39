//! Chip evidence kept for a later attempt with selfies alone: it lives as long as it may be used, and no longer.

use std::time::Duration;

use proofmill_contract::limits::SESSION_LIFE;
use proofmill_contract::{ContractVersion, FailureCode, Outcome, SessionId, SessionStatus, Timestamp};
use proofmill_vault::SealedRef;

use super::harness::{FORGED, LEASE, MISMATCH, START, World, on_both, sealed, submission, verdict};
use crate::{Lease, LeasedAttempt, SettleResult, SubmitResult};

on_both!(
    a_liveness_failure_leaves_what_is_kept_and_a_document_failure_of_it_does_not,
    a_chip_read_that_fails_beside_it_leaves_what_is_kept,
    the_third_liveness_failure_ends_session_and_what_it_kept,
    expiry_takes_what_is_kept_even_while_selfies_wait_for_their_verdict,
    what_was_sealed_for_a_verdict_that_was_not_written_is_referred_to_by_nothing,
);

/// A session whose chip evidence passed and is kept.
async fn kept(world: &World, now: Timestamp) -> (SessionId, SealedRef) {
    let session = world.session(ContractVersion::V2, now).await.id;
    let leased = world.leased(&session, now).await;
    let kept = sealed("kept");
    let mut rejected = verdict(&leased, MISMATCH);
    rejected.kept_chip_evidence = Some(kept.clone());
    world.settle_one(rejected, now).await;
    (session, kept)
}

async fn selfies(world: &World, session: &SessionId, now: Timestamp) -> LeasedAttempt {
    let attempt = world.attempt(session, now).await.id;
    let selfies = crate::Submission { chip_evidence_kept_used: true, ..submission(2) };
    let submitted = world.store.submit_evidence(&attempt, selfies, now).await.unwrap();
    assert!(matches!(submitted, SubmitResult::Accepted(_)), "{submitted:?}");
    world.lease(&attempt, now).await
}

fn discarded(result: SettleResult) -> Vec<String> {
    match result {
        SettleResult::Settled { discarded, .. } => discarded,
        other => panic!("{other:?}"),
    }
}

async fn a_liveness_failure_leaves_what_is_kept_and_a_document_failure_of_it_does_not(world: World) {
    for (code, left) in [(FailureCode::LivenessFailed, true), (FailureCode::DocumentAuthenticityFailed, false)] {
        let (session, kept) = kept(&world, START).await;
        let leased = selfies(&world, &session, START).await;
        let discarded = discarded(world.settle_one(verdict(&leased, Outcome::Rejected(code)), START).await);
        assert_eq!(discarded.contains(&kept.object), !left, "{code}");
        let after = world.reload(&session, START).await;
        assert_eq!((after.status, after.chip_evidence_kept), (SessionStatus::InProgress, left), "{code}");
        let referenced = world.store.referenced_objects(&[kept.object]).await.unwrap();
        assert_eq!(referenced.len(), usize::from(left), "{code}");
    }
}

async fn a_chip_read_that_fails_beside_it_leaves_what_is_kept(world: World) {
    let (session, _) = kept(&world, START).await;
    world.decide(&session, FORGED, START).await;
    let after = world.reload(&session, START).await;
    assert!(after.chip_evidence_kept, "other evidence that does not hold says nothing against it");
    assert_eq!((after.counters.nfc_tries_used, after.counters.liveness_tries_used), (1, 1));
}

async fn the_third_liveness_failure_ends_session_and_what_it_kept(world: World) {
    let (session, kept) = kept(&world, START).await;
    let leased = selfies(&world, &session, START).await;
    assert!(!discarded(world.settle_one(verdict(&leased, MISMATCH), START).await).contains(&kept.object));
    let leased = selfies(&world, &session, START).await;
    assert!(discarded(world.settle_one(verdict(&leased, MISMATCH), START).await).contains(&kept.object));
    let after = world.reload(&session, START).await;
    assert_eq!((after.status, after.chip_evidence_kept), (SessionStatus::Failed, false));
    assert_eq!((after.counters.nfc_tries_used, after.counters.liveness_tries_used), (0, 3));
    assert!(world.store.epochs_in_use().await.unwrap().is_empty());
}

async fn expiry_takes_what_is_kept_even_while_selfies_wait_for_their_verdict(world: World) {
    let idle = kept(&world, START).await;
    let end = START.plus(SESSION_LIFE);
    assert_eq!(world.store.expire_due(end, 10).await.unwrap(), 1);
    assert!(world.store.referenced_objects(&[idle.1.object]).await.unwrap().is_empty());

    let (session, kept) = kept(&world, START).await;
    let near_end = end.minus(Duration::from_secs(1));
    let leased = selfies(&world, &session, near_end).await;
    assert_eq!(world.store.expire_due(end, 10).await.unwrap(), 0, "accepted in time is settled first");
    assert!(world.reload(&session, end).await.chip_evidence_kept);
    // Until the epoch's key is about to go: then it could not be opened any more.
    let two_days = near_end.plus(Duration::from_secs(47 * 60 * 60));
    assert_eq!(world.store.expire_due(two_days, 10).await.unwrap(), 1);
    assert!(world.store.referenced_objects(&[kept.object]).await.unwrap().is_empty());
    assert!(world.store.epochs_in_use().await.unwrap().is_empty());
    let late = world.settle_one(verdict(&leased, Outcome::Accepted), two_days).await;
    assert_eq!(late, SettleResult::SessionEnded);
}

async fn what_was_sealed_for_a_verdict_that_was_not_written_is_referred_to_by_nothing(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let first = world.leased(&session, START).await;
    // A worker seals, dies before it settles, and another takes over.
    let (orphan, written) = (sealed("kept"), sealed("kept"));
    let later = START.plus(LEASE);
    let Lease::Acquired(second) = world.store.acquire_lease(&first.attempt.id, LEASE, later).await.unwrap() else {
        panic!("the lease has run out")
    };
    let with = |leased: &LeasedAttempt, kept: &SealedRef| {
        let mut rejected = verdict(leased, MISMATCH);
        rejected.kept_chip_evidence = Some(kept.clone());
        rejected
    };
    assert_eq!(world.settle_one(with(&first, &orphan), later).await, SettleResult::LostLease);
    assert!(!world.reload(&session, later).await.chip_evidence_kept);
    world.settle_one(with(&second, &written), later).await;
    let both = [orphan.object, written.object.clone()];
    assert_eq!(world.store.referenced_objects(&both).await.unwrap(), [written.object]);
}
