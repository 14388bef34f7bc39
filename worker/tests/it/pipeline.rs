//! What the pipeline promises, with evidence that fails the first document gate.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proofmill_contract::events::EventType;
use proofmill_contract::{AttemptStatus, Clock as _, ContractVersion, FailureCode, Gate, Phase, SessionStatus};
use proofmill_store::{CancelResult, EventFilter, Lease, PageRequest};

use crate::support::{World, eventually, garbage};

#[tokio::test]
async fn a_submission_gets_its_verdict_and_its_evidence_is_destroyed() {
    let world = World::new().await;
    let (session, attempt) = world.submit(ContractVersion::V2, &garbage()).await;
    assert_eq!(world.sealed_objects().await, 1);
    world.relay().await;
    let worker = world.document_worker();
    let settled = world.settled(&attempt).await;
    assert_eq!(settled.status, AttemptStatus::Failed);
    assert_eq!(settled.failure_code, Some(FailureCode::DocumentAuthenticityFailed));
    let checks = settled.checks.unwrap();
    assert_eq!(checks.evidence_format, Gate::Failed);
    assert_eq!((checks.passive_authentication, checks.face_match), (Gate::NotRun, Gate::NotRun));
    let session = world.session_of(&session).await;
    assert_eq!((session.status, session.counters.nfc_tries_used), (SessionStatus::InProgress, 1));
    worker.drain().await;
    assert_eq!(world.sealed_objects().await, 0, "evidence outlives its verdict");
}

#[tokio::test]
async fn many_deliveries_of_one_attempt_make_one_verdict_and_one_event() {
    let world = World::new().await;
    let (session, attempt) = world.submit(ContractVersion::V1, &garbage()).await;
    world.relay().await;
    for _ in 0..20 {
        world.publish_again(&attempt).await;
    }
    let first = world.document_worker();
    let second = world.document_worker();
    world.settled(&attempt).await;
    eventually("every duplicate is acknowledged or put off", || async {
        (world.queue.depth(proofmill_contract::Lane::Interactive).await.unwrap() == 0).then_some(())
    })
    .await;
    first.drain().await;
    second.drain().await;
    assert_eq!(world.verdicts(), 1);
    let session = world.session_of(&session).await;
    assert_eq!(session.counters.rejected_attempts, 1);
    let events = world
        .store
        .list_events(&world.organisation, EventFilter::default(), PageRequest::default())
        .await
        .unwrap()
        .items;
    assert_eq!(events.iter().map(|event| event.event_type).collect::<Vec<_>>(), [EventType::AttemptFailed]);
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_writes_nothing() {
    let world = World::new().await;
    let (session, attempt) = world.submit(ContractVersion::V2, &garbage()).await;
    let release = world.objects.hold(&attempt);
    world.relay().await;
    let worker = world.document_worker();
    eventually("the worker opens the evidence", || async {
        (world.objects.reads.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;

    // The worker stalls; its lease ends, and another takes the attempt.
    world.clock.advance(world.config.lease + Duration::from_secs(1));
    let lease = world.store.acquire_lease(&attempt, Duration::from_secs(600), world.clock.now()).await.unwrap();
    assert!(matches!(lease, Lease::Acquired(_)));
    release.notify_one();
    eventually("the stalled worker finds its lease gone", || async {
        (world.metrics.leases_lost.get() > 0).then_some(())
    })
    .await;
    worker.drain().await;

    assert_eq!(world.attempt(&attempt).await.status, AttemptStatus::InProgress);
    assert_eq!(world.session_of(&session).await.counters.nfc_tries_used, 0);
    assert_eq!(world.verdicts(), 0);
    assert_eq!(world.sealed_objects().await, 1, "the evidence belongs to the new holder of the lease");
}

#[tokio::test]
async fn an_attempt_that_is_worked_on_keeps_its_lease() {
    let mut world = World::new().await;
    world.config.lease = Duration::from_millis(300);
    let (_, attempt) = world.submit(ContractVersion::V2, &garbage()).await;
    let release = world.objects.hold(&attempt);
    world.relay().await;
    let worker = world.document_worker();
    let until = async || {
        let asked = world.store.acquire_lease(&attempt, Duration::from_secs(1), world.clock.now()).await.unwrap();
        match asked {
            Lease::HeldByOther { until } => Some(until),
            _ => None,
        }
    };
    eventually("the worker opens the evidence", || async {
        (world.objects.reads.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    let mut ends = until().await.expect("the worker holds the lease");
    for _ in 0..3 {
        world.clock.advance(Duration::from_millis(200));
        let before = ends;
        ends = eventually("the lease is extended", || async { until().await.filter(|ends| *ends > before) }).await;
    }
    release.notify_one();
    world.settled(&attempt).await;
    worker.drain().await;
    assert_eq!((world.verdicts(), world.metrics.leases_lost.get()), (1, 0));
}

#[tokio::test]
async fn a_worker_that_finds_its_lease_gone_stops_working() {
    let mut world = World::new().await;
    world.config.lease = Duration::from_millis(300);
    let (_, attempt) = world.submit(ContractVersion::V2, &garbage()).await;
    let _never_released = world.objects.hold(&attempt);
    world.relay().await;
    let worker = world.document_worker();
    eventually("the worker opens the evidence", || async {
        (world.objects.reads.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    eventually("another worker takes the attempt over", || async {
        // Between two extensions the lease can look ended to whoever asks late enough.
        world.clock.advance(Duration::from_secs(1));
        let asked = world.store.acquire_lease(&attempt, Duration::from_secs(600), world.clock.now()).await.unwrap();
        matches!(asked, Lease::Acquired(_)).then_some(())
    })
    .await;
    // It stops although what it waits for never comes.
    eventually("the worker notices", || async { (world.metrics.leases_lost.get() == 1).then_some(()) }).await;
    worker.drain().await;
    assert_eq!(world.verdicts(), 0);
}

#[tokio::test]
async fn a_session_cancelled_meanwhile_gets_no_verdict_and_no_charge() {
    let world = World::new().await;
    let (session, attempt) = world.submit(ContractVersion::V2, &garbage()).await;
    let release = world.objects.hold(&attempt);
    world.relay().await;
    let worker = world.document_worker();
    eventually("the worker opens the evidence", || async {
        (world.objects.reads.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    let cancelled = world.store.cancel_session(None, &session, world.clock.now()).await.unwrap();
    assert!(matches!(cancelled, CancelResult::Cancelled { .. }));
    release.notify_one();
    worker.drain().await;

    assert_eq!(world.attempt(&attempt).await.status, AttemptStatus::Cancelled);
    let session = world.session_of(&session).await;
    assert_eq!((session.status, session.counters.nfc_tries_used), (SessionStatus::Cancelled, 0));
    assert_eq!(world.verdicts(), 0);
    assert_eq!(world.sealed_objects().await, 0, "evidence outlives its session");
}

#[tokio::test]
async fn a_poison_attempt_is_set_aside_uncharged_and_its_neighbours_settle() {
    let mut world = World::new().await;
    world.config.max_tries = 3;
    let mut neighbours = Vec::new();
    for _ in 0..8 {
        neighbours.push(world.submit(ContractVersion::V2, &garbage()).await.1);
    }
    let (session, poison) = world.submit(ContractVersion::V2, &garbage()).await;
    for _ in 0..8 {
        neighbours.push(world.submit(ContractVersion::V2, &garbage()).await.1);
    }
    world.objects.poisoned.lock().unwrap().push(poison.to_string());
    world.relay().await;
    let worker = world.document_worker();
    for neighbour in &neighbours {
        assert_eq!(world.settled(neighbour).await.status, AttemptStatus::Failed);
    }
    let set_aside = eventually("the poison attempt is set aside", || async {
        world.store.list_quarantined(10).await.unwrap().into_iter().next()
    })
    .await;
    worker.drain().await;

    assert_eq!(set_aside.attempt_id, poison);
    assert_eq!(set_aside.tries, 3);
    assert!(set_aside.reason.contains("panicked"), "{}", set_aside.reason);
    assert_eq!(world.session_of(&session).await.counters.nfc_tries_used, 0, "a fault of ours was charged");
    assert_eq!(world.verdicts(), 16);
    // Its first try ran among the others; the two that followed ran while nothing else did.
    assert_eq!(world.metrics.isolated.get(), 2);
    assert_eq!(world.metrics.quarantined.get(), 1);
    let faults: HashMap<_, _> =
        ["vault", "store"].map(|part| (part, world.metrics.system_faults.with_label_values(&[part]).get())).into();
    assert_eq!(faults, HashMap::from([("vault", 0), ("store", 0)]));
}

#[tokio::test]
async fn an_attempt_that_came_back_runs_alone() {
    let world = World::new().await;
    let (_, poison) = world.submit(ContractVersion::V2, &garbage()).await;
    // A worker took it and died: its lease ended without a word.
    let lease = world.store.acquire_lease(&poison, Duration::from_secs(1), world.clock.now()).await.unwrap();
    assert!(matches!(lease, Lease::Acquired(_)));
    world.clock.advance(Duration::from_secs(2));
    world.objects.poisoned.lock().unwrap().push(poison.to_string());
    let (_, beside) = world.submit(ContractVersion::V2, &garbage()).await;
    let release = world.objects.hold(&beside);
    world.publish_again(&beside).await;
    world.publish_again(&poison).await;
    let worker = world.document_worker();
    eventually("an innocent attempt is under way and the suspect is leased", || async {
        let leased = world.attempt(&poison).await.phase == Phase::Verifying;
        (leased && world.objects.reads.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    // Room for the suspect to go on, if anything lets it.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.objects.reads.load(Ordering::SeqCst), 1, "the suspect did not wait");
    release.notify_one();
    world.settled(&beside).await;
    eventually("the poison attempt is set aside", || async {
        world.store.list_quarantined(10).await.unwrap().into_iter().next()
    })
    .await;
    worker.drain().await;
    assert_eq!(world.objects.beside_poison.load(Ordering::SeqCst), 0, "something ran beside a suspect");
}

#[tokio::test]
async fn an_attempt_that_kills_its_worker_every_time_takes_no_neighbour_along() {
    let mut world = World::new().await;
    // The killer is first in line after every restart: its id is the oldest.
    let (_, killer) = world.submit(ContractVersion::V2, &garbage()).await;
    world.clock.advance(Duration::from_millis(2));
    let mut neighbours = Vec::new();
    for _ in 0..10 {
        neighbours.push(world.submit(ContractVersion::V2, &garbage()).await.1);
    }
    let _never_released = world.objects.hold(&killer);
    // The deaths that everybody was part of: a worker held them all.
    for _ in 0..2 {
        for attempt in neighbours.iter().chain([&killer]) {
            let lease = world.store.acquire_lease(attempt, Duration::from_secs(9), world.clock.now()).await.unwrap();
            assert!(matches!(lease, Lease::Acquired(_)));
        }
        assert_eq!(world.store.requeue_unsettled(world.clock.now()).await.unwrap(), 11);
    }
    let mut deaths = 0;
    loop {
        world.relay().await;
        let worker = world.document_worker();
        let alive = eventually("the killer runs, or is set aside", || async {
            if !world.store.list_quarantined(10).await.unwrap().is_empty() {
                return Some(true);
            }
            (world.objects.reads_of(&killer) > deaths).then_some(false)
        })
        .await;
        if alive {
            for neighbour in &neighbours {
                assert_eq!(world.settled(neighbour).await.status, AttemptStatus::Failed);
            }
            worker.drain().await;
            break;
        }
        deaths += 1;
        worker.kill().await;
        world.queue = proofmill_queue::Queue::in_process(1_000);
        world.store.requeue_unsettled(world.clock.now()).await.unwrap();
    }
    assert_eq!(deaths, world.config.max_leases as usize - 2, "each death counts, and no other thing does");
    let set_aside = world.store.list_quarantined(100).await.unwrap();
    assert_eq!(set_aside.iter().map(|aside| &aside.attempt_id).collect::<Vec<_>>(), [&killer]);
}

#[tokio::test]
async fn a_vault_that_is_away_is_waited_for_and_nobody_is_charged() {
    let world = World::new().await;
    let (session, attempt) = world.submit(ContractVersion::V2, &garbage()).await;
    world.objects.away.store(true, Ordering::SeqCst);
    world.relay().await;
    let worker = world.document_worker();
    // More often than a poison attempt would be tried.
    eventually("the attempt is tried again and again", || async {
        (world.objects.reads.load(Ordering::SeqCst) > 4).then_some(())
    })
    .await;
    assert_eq!(world.attempt(&attempt).await.status, AttemptStatus::InProgress);
    assert!(world.store.list_quarantined(10).await.unwrap().is_empty());
    assert!(world.metrics.system_faults.with_label_values(&["vault"]).get() > 4);
    world.objects.away.store(false, Ordering::SeqCst);
    let settled = world.settled(&attempt).await;
    worker.drain().await;
    assert_eq!(settled.failure_code, Some(FailureCode::DocumentAuthenticityFailed));
    assert_eq!(world.session_of(&session).await.counters.nfc_tries_used, 1, "charged once, for the verdict");
    assert_eq!(world.metrics.isolated.get(), 0, "a fault of ours made a suspect of the attempt");
}

#[tokio::test]
async fn evidence_that_is_gone_ends_its_attempt_uncharged_and_the_holder_goes_on() {
    let world = World::new().await;
    let (session, attempt) = world.submit(ContractVersion::V2, &garbage()).await;
    let later = proofmill_contract::Timestamp::from_secs(i64::from(u32::MAX));
    for object in world.vault.list_older_than(later, 10).await.unwrap() {
        world.vault.destroy(&object.object).await.unwrap();
    }
    world.relay().await;
    let worker = world.document_worker();
    let ended = world.settled(&attempt).await;
    assert_eq!((ended.status, ended.failure_code), (AttemptStatus::Cancelled, None));
    assert_eq!(world.session_of(&session).await.counters.nfc_tries_used, 0);
    // The operator finds it noted; there is nothing to send back.
    let noted = world.store.list_given_up(10).await.unwrap();
    assert_eq!(
        noted.iter().map(|one| (&one.attempt_id, one.tries)).collect::<Vec<_>>(),
        [(&attempt, world.config.max_leases)]
    );
    assert!(world.store.list_quarantined(10).await.unwrap().is_empty());

    let again = world.open(&session).await;
    world.put(&again.id, &garbage()).await;
    world.relay().await;
    assert_eq!(world.settled(&again.id).await.status, AttemptStatus::Failed);
    worker.drain().await;
    assert_eq!((world.metrics.quarantined.get(), world.verdicts()), (1, 1));
    assert_eq!(world.session_of(&session).await.counters.nfc_tries_used, 1, "charged for the second alone");
}

#[tokio::test]
async fn draining_finishes_what_was_begun_and_begins_nothing() {
    let mut world = World::new().await;
    world.config.prefetch = 1;
    let (_, begun) = world.submit(ContractVersion::V2, &garbage()).await;
    let release = world.objects.hold(&begun);
    world.relay().await;
    let worker = world.document_worker();
    eventually("the worker opens the evidence", || async {
        (world.objects.reads.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    let (_, waiting) = world.submit(ContractVersion::V2, &garbage()).await;
    world.relay().await;
    worker.stop();
    release.notify_one();
    worker.drain().await;
    assert_eq!(world.attempt(&begun).await.status, AttemptStatus::Failed);
    assert_eq!(world.attempt(&waiting).await.status, AttemptStatus::InProgress);
    assert_eq!(world.objects.reads.load(Ordering::SeqCst), 1, "work was begun while draining");

    // What was given back is there for the next worker.
    let next = world.document_worker();
    assert_eq!(world.settled(&waiting).await.status, AttemptStatus::Failed);
    next.drain().await;
}

#[tokio::test]
async fn what_a_dead_process_left_behind_is_rebuilt_from_the_store() {
    let mut world = World::new().await;
    let (_, leased) = world.submit(ContractVersion::V2, &garbage()).await;
    let (_, published) = world.submit(ContractVersion::V2, &garbage()).await;
    world.relay().await;
    let lease = world.store.acquire_lease(&leased, Duration::from_secs(600), world.clock.now()).await.unwrap();
    assert!(matches!(lease, Lease::Acquired(_)));
    // The process dies: its queue and everything in flight is gone.
    world.queue = proofmill_queue::Queue::in_process(1_000);
    assert_eq!(world.store.requeue_unsettled(world.clock.now()).await.unwrap(), 2);
    world.relay().await;
    let worker = world.document_worker();
    assert_eq!(world.settled(&leased).await.status, AttemptStatus::Failed);
    assert_eq!(world.settled(&published).await.status, AttemptStatus::Failed);
    worker.drain().await;
    assert_eq!(world.verdicts(), 2);
}
