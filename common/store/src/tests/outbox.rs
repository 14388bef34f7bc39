//! The outbox: nothing accepted is ever without a way to a worker.

use std::collections::BTreeSet;
use std::time::Duration;

use proofmill_contract::{ContractVersion, Lane, Outcome};

use super::harness::{LEASE, START, World, on_both, submission, verdict};
use crate::LaneBacklog;

on_both!(
    accepted_evidence_waits_in_the_outbox_until_its_publication_is_confirmed,
    two_relays_do_not_publish_the_same_attempt,
    a_lost_job_and_a_dead_workers_attempt_come_back,
    a_restart_without_its_queue_brings_every_unsettled_attempt_back,
    interactive_attempts_are_published_before_older_bulk_ones,
    the_backlog_counts_what_waits_per_lane,
);

const CLAIM: Duration = Duration::from_secs(30);

async fn accepted_evidence_waits_in_the_outbox_until_its_publication_is_confirmed(world: World) {
    let store = &world.store;
    let session = world.session(ContractVersion::V2, START).await.id;
    world.attempt(&session, START).await;
    assert!(store.outbox_due(10, CLAIM, START).await.unwrap().is_empty(), "nothing to publish without evidence");
    let attempt = world.attempts(&session).await.remove(0).id;
    store.submit_evidence(&attempt, submission(1), START).await.unwrap();

    let later = START.plus(Duration::from_secs(7));
    assert_eq!(store.outbox_oldest(later).await.unwrap(), Some(Duration::from_secs(7)));
    let due = store.outbox_due(10, CLAIM, START).await.unwrap();
    assert_eq!((due[0].attempt_id.clone(), due[0].lane), (attempt.clone(), Lane::Interactive));
    // Claimed by a relay that died: due again when the claim ends, at once when the relay gives it back.
    assert!(store.outbox_due(10, CLAIM, later).await.unwrap().is_empty());
    assert_eq!(store.outbox_due(10, CLAIM, START.plus(CLAIM)).await.unwrap().len(), 1);
    assert_eq!(store.release_outbox(std::slice::from_ref(&attempt), START).await.unwrap(), 1);
    assert_eq!(store.outbox_due(10, CLAIM, START).await.unwrap().len(), 1);

    assert_eq!(store.mark_published(std::slice::from_ref(&attempt), START).await.unwrap(), 1);
    assert_eq!(store.mark_published(std::slice::from_ref(&attempt), START).await.unwrap(), 0);
    assert_eq!(store.release_outbox(&[attempt], START).await.unwrap(), 0);
    assert_eq!(store.outbox_oldest(later).await.unwrap(), None);
    assert!(store.outbox_due(10, CLAIM, START.plus(CLAIM * 2)).await.unwrap().is_empty());
}

async fn two_relays_do_not_publish_the_same_attempt(world: World) {
    for _ in 0..40 {
        let session = world.session(ContractVersion::V2, START).await.id;
        world.submitted(&session, START).await;
    }
    let relay = |_| {
        let store = world.store.clone();
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let due = store.outbox_due(7, CLAIM, START).await.unwrap();
                if due.is_empty() {
                    return mine;
                }
                mine.extend(due.into_iter().map(|item| item.attempt_id));
            }
        })
    };
    let relays: Vec<_> = (0..4).map(relay).collect();
    let mut claimed = Vec::new();
    for relay in relays {
        claimed.extend(relay.await.unwrap());
    }
    // A relay that finds only rows another one is just claiming stops early; what is left is due to the next call.
    claimed.extend(world.store.outbox_due(40, CLAIM, START).await.unwrap().into_iter().map(|item| item.attempt_id));
    assert_eq!(claimed.len(), 40);
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>().len(), 40);
}

async fn a_lost_job_and_a_dead_workers_attempt_come_back(world: World) {
    let store = &world.store;
    let lost_after = Duration::from_secs(900);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let session = world.session(ContractVersion::V2, START).await.id;
        ids.push(world.submitted(&session, START).await);
    }
    store.mark_published(&ids, START).await.unwrap();
    world.lease(&ids[1], START).await;
    let lease_ends = START.plus(LEASE);
    assert_eq!(store.requeue_lost(lost_after, 10, lease_ends.minus(Duration::from_micros(1))).await.unwrap(), 0);
    assert_eq!(store.requeue_lost(lost_after, 10, lease_ends).await.unwrap(), 1);
    assert_eq!(store.outbox_due(10, CLAIM, lease_ends).await.unwrap()[0].attempt_id, ids[1]);
    store.mark_published(&ids[1..], lease_ends).await.unwrap();
    assert_eq!(store.requeue_lost(lost_after, 10, START.plus(lost_after)).await.unwrap(), 1);
    assert_eq!(store.outbox_due(10, CLAIM, START.plus(lost_after)).await.unwrap()[0].attempt_id, ids[0]);
}

async fn a_restart_without_its_queue_brings_every_unsettled_attempt_back(world: World) {
    let store = &world.store;
    let mut leased = Vec::new();
    for _ in 0..3 {
        let session = world.session(ContractVersion::V2, START).await.id;
        leased.push(world.leased(&session, START).await);
    }
    world.settle_one(verdict(&leased[0], Outcome::Accepted), START).await;
    let open = world.session(ContractVersion::V2, START).await.id;
    world.attempt(&open, START).await;
    assert_eq!(store.requeue_unsettled(START).await.unwrap(), 2);
    let due: BTreeSet<_> =
        store.outbox_due(10, CLAIM, START).await.unwrap().into_iter().map(|item| item.attempt_id).collect();
    assert_eq!(due, leased[1..].iter().map(|leased| leased.attempt.id.clone()).collect());
    // The predecessor's lease is over: the attempt is free at once.
    world.lease(&leased[1].attempt.id, START).await;
}

async fn interactive_attempts_are_published_before_older_bulk_ones(world: World) {
    for (second, lane) in [Lane::Bulk, Lane::Bulk, Lane::Interactive].into_iter().enumerate() {
        let now = START.plus(Duration::from_secs(second as u64));
        let session = world.session(ContractVersion::V2, now).await.id;
        let attempt = world.attempt(&session, now).await.id;
        let in_lane = crate::Submission { lane, ..submission(1) };
        world.store.submit_evidence(&attempt, in_lane, now).await.unwrap();
    }
    let now = START.plus(Duration::from_secs(10));
    let due = world.store.outbox_due(2, CLAIM, now).await.unwrap();
    assert_eq!(due.iter().map(|item| item.lane).collect::<Vec<_>>(), [Lane::Interactive, Lane::Bulk]);
    assert_eq!(world.store.outbox_due(2, CLAIM, now).await.unwrap().len(), 1);
}

async fn the_backlog_counts_what_waits_per_lane(world: World) {
    let store = &world.store;
    let receiver = world.receiver(START).await;
    let first = world.session(ContractVersion::V2, START).await.id;
    world.leased(&first, START).await;
    let bulk = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.attempt(&bulk, START).await.id;
    let in_bulk = crate::Submission { lane: Lane::Bulk, ..submission(1) };
    store.submit_evidence(&attempt, in_bulk, START.plus(Duration::from_secs(5))).await.unwrap();
    let third = world.session_for(ContractVersion::V2, Some(vec![receiver.endpoint]), START).await.id;
    store.cancel_session(None, &third, START).await.unwrap();

    let backlog = store.backlog(START.plus(Duration::from_secs(9))).await.unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(
        backlog.lanes,
        [
            LaneBacklog { lane: Lane::Interactive, queued: 0, verifying: 1, oldest: Some(seconds(9)) },
            LaneBacklog { lane: Lane::Bulk, queued: 1, verifying: 0, oldest: Some(seconds(4)) },
        ]
    );
    assert_eq!((backlog.outbox, backlog.quarantined, backlog.deliveries_pending), (1, 0, 1));
    assert_eq!(backlog.oldest_due_delivery, Some(seconds(9)));
    assert_eq!(store.epochs_in_use().await.unwrap(), ["20261118"]);
}
