//! The holder's cancel, and the withdrawal of a session that ended.

use std::time::Duration;

use proofmill_contract::limits::SESSION_LIFE;
use proofmill_contract::{ContractVersion, Outcome, SessionId, SessionStatus, Timestamp};
use serde_json::json;

use super::harness::{FORGED, LEASE, START, World, on_both, on_sqlite};
use crate::{DeliveryFilter, DeliveryOutcome, DeliveryStatus, DueDelivery, PageRequest, PublicCancel, ReplayResult};

on_both!(
    a_holder_cancels_an_active_session_once,
    a_wrong_token_or_session_changes_nothing,
    an_undelivered_success_is_replaced_by_a_cancellation,
    an_undelivered_failure_says_so_in_its_reason,
    a_delivered_verdict_stays_and_the_other_endpoints_get_nothing_more,
    a_delivery_that_is_being_sent_is_waited_for_and_an_unknown_outcome_counts_as_delivered,
    an_earlier_event_that_was_delivered_does_not_count,
    a_withdrawal_whose_holder_left_is_finished_once_by_whoever_sweeps,
    a_withdrawal_whose_sender_died_is_finished_by_a_sweep_and_keeps_the_verdict,
    what_was_delivered_before_a_replay_stays_delivered_at_a_withdrawal,
);

#[test]
fn what_was_destroyed_is_in_none_of_sqlites_files() {
    on_sqlite(destroyed_bytes_are_in_no_file);
}

const TOKEN: [u8; 32] = [7; 32];

async fn cancel(world: &World, session: &SessionId, now: Timestamp) -> PublicCancel {
    world.store.public_cancel(session, TOKEN, now).await.unwrap()
}

async fn payloads(world: &World) -> usize {
    let page = PageRequest { limit: 100, starting_after: None };
    let page = world.store.list_deliveries(&world.organisation, DeliveryFilter::default(), page).await.unwrap();
    page.items.iter().filter(|delivery| delivery.payload_available).count()
}

async fn a_holder_cancels_an_active_session_once(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    assert_eq!(
        cancel(&world, &session, START).await,
        PublicCancel::Cancelled { discarded: vec![leased.sealed.object] }
    );
    assert_eq!(cancel(&world, &session, START).await, PublicCancel::AlreadyTerminal(SessionStatus::Cancelled));
    assert_eq!(world.event_types(&session).await, ["verification.session.cancelled"]);

    let expired = world.session(ContractVersion::V2, START).await.id;
    let late = START.plus(SESSION_LIFE);
    assert_eq!(cancel(&world, &expired, late).await, PublicCancel::AlreadyTerminal(SessionStatus::Expired));

    // Used, yet active: only possible if something went wrong, and then it is said.
    let odd = world.session(ContractVersion::V2, START).await.id;
    let sql = format!("UPDATE sessions SET cancel_token_used_at = 1 WHERE id = '{odd}'");
    world.store.execute(&sql).await.unwrap();
    assert_eq!(cancel(&world, &odd, START).await, PublicCancel::TokenUsed);
}

async fn a_wrong_token_or_session_changes_nothing(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let wrong = world.store.public_cancel(&session, [8; 32], START).await.unwrap();
    assert_eq!(wrong, PublicCancel::TokenInvalid);
    assert_eq!(world.reload(&session, START).await.status, SessionStatus::Created);
    let unknown = SessionId::generate(START, &mut rand::rng());
    assert_eq!(cancel(&world, &unknown, START).await, PublicCancel::NotFound);
}

async fn an_undelivered_success_is_replaced_by_a_cancellation(world: World) {
    let receiver = world.receiver(START).await;
    let session = world.session(ContractVersion::V2, START).await.id;
    world.decide(&session, Outcome::Accepted, START).await;
    let later = START.plus(Duration::from_secs(1));
    assert_eq!(cancel(&world, &session, later).await, PublicCancel::Withdrawn { status: SessionStatus::Cancelled });
    assert_eq!(world.reload(&session, later).await.status, SessionStatus::Cancelled);

    let received = world.received(&receiver, later).await;
    assert_eq!(received.len(), 1, "the success is destroyed");
    assert_eq!(received[0]["type"], "verification.session.cancelled");
    assert_eq!(
        received[0]["data"],
        json!({
            "outcome": "not_verified",
            "reason": "privacy_cancelled_after_terminal_success",
            "nfc_tries_used": 0,
            "liveness_tries_used": 0,
        })
    );
    let events = world.events(&session).await;
    assert_eq!((events[0].superseded_at, events[1].superseded_at), (Some(later), None));
    let replayed = world.store.replay_event(&world.organisation, &events[0].id, later).await.unwrap();
    assert_eq!(replayed, ReplayResult::PayloadExpired);
    assert_eq!(cancel(&world, &session, later).await, PublicCancel::AlreadyTerminal(SessionStatus::Cancelled));
}

async fn an_undelivered_failure_says_so_in_its_reason(world: World) {
    let receiver = world.receiver(START).await;
    for version in [ContractVersion::V1, ContractVersion::V2] {
        let session = world.session(version, START).await.id;
        for _ in 0..3 {
            world.decide(&session, FORGED, START).await;
        }
        cancel(&world, &session, START).await;
        let received = world.received(&receiver, START).await;
        assert_eq!(received.len(), 1, "contract 1's earlier events are destroyed with it");
        assert_eq!(received[0]["data"]["reason"], "privacy_cancelled_after_terminal_failure");
        assert_eq!(received[0]["data"]["nfc_tries_used"], 3);
    }
}

async fn a_delivered_verdict_stays_and_the_other_endpoints_get_nothing_more(world: World) {
    let told = world.receiver(START).await;
    world.receiver(START).await;
    let session = world.session(ContractVersion::V2, START).await.id;
    world.decide(&session, Outcome::Accepted, START).await;
    for due in world.store.claim_due_deliveries(10, 10, LEASE, START).await.unwrap() {
        let outcome = if due.endpoint_id == told.endpoint {
            DeliveryOutcome::Delivered { status: 200 }
        } else {
            let at = START.plus(Duration::from_secs(5));
            DeliveryOutcome::Retry { at, status: Some(500), error: "500".into(), maybe_received: false }
        };
        assert!(world.store.record_delivery(&due.id, &due.lease_token, outcome, START).await.unwrap());
    }
    assert_eq!(cancel(&world, &session, START).await, PublicCancel::Withdrawn { status: SessionStatus::Succeeded });
    assert_eq!(world.event_types(&session).await, ["verification.session.succeeded"]);
    assert_eq!(payloads(&world).await, 0);
    let much_later = START.plus(Duration::from_secs(86_400));
    assert!(world.store.claim_due_deliveries(10, 10, LEASE, much_later).await.unwrap().is_empty());
}

async fn a_delivery_that_is_being_sent_is_waited_for_and_an_unknown_outcome_counts_as_delivered(world: World) {
    world.receiver(START).await;
    // The sender answers in time that it failed: nobody has it.
    let session = world.session(ContractVersion::V2, START).await.id;
    world.decide(&session, Outcome::Accepted, START).await;
    let due = world.store.claim_due_deliveries(1, 1, LEASE, START).await.unwrap().remove(0);
    let until = START.plus(LEASE);
    assert_eq!(cancel(&world, &session, START).await, PublicCancel::SendInFlight { until });
    let at = START.plus(Duration::from_secs(5));
    let refused = DeliveryOutcome::Retry { at, status: Some(500), error: "500".into(), maybe_received: false };
    assert!(world.store.record_delivery(&due.id, &due.lease_token, refused, START).await.unwrap());
    let filter = DeliveryFilter { event_id: Some(due.event_id.clone()), ..Default::default() };
    let page = world.store.list_deliveries(&world.organisation, filter, PageRequest::default()).await.unwrap();
    let ended = &page.items[0];
    assert_eq!((ended.status, ended.reason.as_deref()), (DeliveryStatus::Failed, Some("privacy_withdrawn")));
    assert_eq!(cancel(&world, &session, START).await, PublicCancel::Withdrawn { status: SessionStatus::Cancelled });
    world.store.execute("DELETE FROM deliveries").await.unwrap();

    // The sender dies: nobody knows, so it counts as received, before and after its delivery is found.
    for found_first in [false, true] {
        let session = world.session(ContractVersion::V2, START).await.id;
        world.decide(&session, Outcome::Accepted, START).await;
        assert_eq!(world.store.claim_due_deliveries(1, 1, LEASE, START).await.unwrap().len(), 1);
        assert_eq!(cancel(&world, &session, START).await, PublicCancel::SendInFlight { until });
        if found_first {
            world.store.claim_due_deliveries(1, 1, LEASE, until).await.unwrap();
        }
        assert_eq!(cancel(&world, &session, until).await, PublicCancel::Withdrawn { status: SessionStatus::Succeeded });
        assert_eq!(world.event_types(&session).await, ["verification.session.succeeded"]);
        world.store.execute("DELETE FROM deliveries").await.unwrap();
    }
}

async fn an_earlier_event_that_was_delivered_does_not_count(world: World) {
    world.receiver(START).await;
    let session = world.session(ContractVersion::V1, START).await.id;
    world.decide(&session, FORGED, START).await;
    let due = world.store.claim_due_deliveries(1, 1, LEASE, START).await.unwrap().remove(0);
    let delivered = DeliveryOutcome::Delivered { status: 200 };
    world.store.record_delivery(&due.id, &due.lease_token, delivered, START).await.unwrap();
    for _ in 0..2 {
        world.decide(&session, FORGED, START).await;
    }
    assert_eq!(cancel(&world, &session, START).await, PublicCancel::Withdrawn { status: SessionStatus::Cancelled });
}

fn refused() -> DeliveryOutcome {
    let at = START.plus(Duration::from_secs(5));
    DeliveryOutcome::Retry { at, status: Some(500), error: "500".into(), maybe_received: false }
}

/// A success on its way to one endpoint while its holder withdraws.
async fn withdrawn_in_flight(world: &World) -> (SessionId, DueDelivery) {
    let session = world.session(ContractVersion::V2, START).await.id;
    world.decide(&session, Outcome::Accepted, START).await;
    let due = world.store.claim_due_deliveries(1, 1, LEASE, START).await.unwrap().remove(0);
    assert!(matches!(cancel(world, &session, START).await, PublicCancel::SendInFlight { .. }));
    (session, due)
}

async fn a_withdrawal_whose_holder_left_is_finished_once_by_whoever_sweeps(world: World) {
    let receiver = world.receiver(START).await;
    let (session, due) = withdrawn_in_flight(&world).await;
    // Repeats join the one that waits.
    assert!(matches!(cancel(&world, &session, START).await, PublicCancel::SendInFlight { .. }));
    assert_eq!(world.store.finish_withdrawals(START, 10).await.unwrap(), 0, "the send may still succeed");
    let later = START.plus(Duration::from_secs(1));
    assert!(world.store.record_delivery(&due.id, &due.lease_token, refused(), later).await.unwrap());

    let sweeps = (0..4).map(|_| {
        let store = world.store.clone();
        tokio::spawn(async move { store.finish_withdrawals(later, 10).await.unwrap() })
    });
    let mut finished = 0;
    for sweep in sweeps.collect::<Vec<_>>() {
        finished += sweep.await.unwrap();
    }
    assert_eq!(finished, 1);
    assert_eq!(world.reload(&session, later).await.status, SessionStatus::Cancelled);
    let types = ["verification.session.succeeded", "verification.session.cancelled"];
    assert_eq!(world.event_types(&session).await, types);
    let received = world.received(&receiver, later).await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["data"]["reason"], "privacy_cancelled_after_terminal_success");
    assert_eq!(world.store.finish_withdrawals(later, 10).await.unwrap(), 0);
    // The token was consumed with it.
    assert_eq!(cancel(&world, &session, later).await, PublicCancel::AlreadyTerminal(SessionStatus::Cancelled));
    assert_eq!(world.event_types(&session).await, types);
}

async fn a_withdrawal_whose_sender_died_is_finished_by_a_sweep_and_keeps_the_verdict(world: World) {
    world.receiver(START).await;
    let (session, _) = withdrawn_in_flight(&world).await;
    let until = START.plus(LEASE);
    assert_eq!(world.store.finish_withdrawals(until.minus(Duration::from_secs(1)), 10).await.unwrap(), 0);
    assert_eq!(world.store.finish_withdrawals(until, 10).await.unwrap(), 1);
    assert_eq!(world.store.finish_withdrawals(until, 10).await.unwrap(), 0);
    assert_eq!(world.reload(&session, until).await.status, SessionStatus::Succeeded);
    assert_eq!(world.event_types(&session).await, ["verification.session.succeeded"]);
    assert_eq!(cancel(&world, &session, until).await, PublicCancel::AlreadyTerminal(SessionStatus::Succeeded));
}

async fn what_was_delivered_before_a_replay_stays_delivered_at_a_withdrawal(world: World) {
    world.receiver(START).await;
    for replay_under_way in [false, true] {
        let session = world.session(ContractVersion::V2, START).await.id;
        world.decide(&session, Outcome::Accepted, START).await;
        let due = world.store.claim_due_deliveries(1, 1, LEASE, START).await.unwrap().remove(0);
        let delivered = DeliveryOutcome::Delivered { status: 200 };
        assert!(world.store.record_delivery(&due.id, &due.lease_token, delivered, START).await.unwrap());
        let later = START.plus(Duration::from_secs(9));
        let replayed = world.store.replay_event(&world.organisation, &due.event_id, later).await.unwrap();
        assert_eq!(replayed, ReplayResult::Replayed(1));
        if replay_under_way {
            let again = world.store.claim_due_deliveries(1, 1, LEASE, later).await.unwrap().remove(0);
            assert!(matches!(cancel(&world, &session, later).await, PublicCancel::SendInFlight { .. }));
            assert!(world.store.record_delivery(&again.id, &again.lease_token, refused(), later).await.unwrap());
        }
        let kept = PublicCancel::Withdrawn { status: SessionStatus::Succeeded };
        assert_eq!(cancel(&world, &session, later).await, kept);
        let filter = DeliveryFilter { event_id: Some(due.event_id), ..Default::default() };
        let page = world.store.list_deliveries(&world.organisation, filter, PageRequest::default()).await.unwrap();
        let (state, at) = (page.items[0].status, page.items[0].delivered_at);
        assert_eq!((state, at, page.items[0].payload_available), (DeliveryStatus::Delivered, Some(START), false));
        assert_eq!(page.items[0].reason, None);
    }
}

async fn destroyed_bytes_are_in_no_file(world: World) {
    world.receiver(START).await;
    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    let wrapped = leased.sealed.wrapped_key.clone();
    world.settle_one(super::harness::verdict(&leased, Outcome::Accepted), START).await;
    let due = world.store.claim_due_deliveries(1, 1, LEASE, START).await.unwrap().remove(0);
    assert!(world.store.record_delivery(&due.id, &due.lease_token, refused(), START).await.unwrap());
    // What follows the header, which every JWE to this key shares.
    let payload = due.payload.split_once('.').unwrap().1.as_bytes();
    let folder = std::path::Path::new(world.url.strip_prefix("sqlite:").unwrap()).parent().unwrap();
    // A page's part of a long value is shorter than the value.
    let held = |bytes: &[u8]| {
        let parts: Vec<&[u8]> = bytes.chunks_exact(40).collect();
        assert!(!parts.is_empty());
        std::fs::read_dir(folder).unwrap().any(|file| {
            let file = std::fs::read(file.unwrap().path()).unwrap();
            parts.iter().any(|part| file.windows(part.len()).any(|window| window == *part))
        })
    };
    assert!(held(payload) && held(&wrapped), "otherwise this test looks in the wrong place");
    assert!(world.store.empty_log().await.unwrap());
    assert!(!held(&wrapped), "settled: its key is gone");
    assert!(held(payload), "it is still to be sent");

    cancel(&world, &session, START).await;
    assert!(world.store.empty_log().await.unwrap());
    assert!(!held(payload));
    assert!(world.store.empty_log().await.unwrap(), "an empty log stays empty");

    // While somebody reads, the log stays; nobody waits for long, and the next time it goes.
    world.store.execute("UPDATE organisations SET name = 'Example Bank plc'").await.unwrap();
    let path = world.url.strip_prefix("sqlite:").unwrap();
    let mut reader = <diesel::SqliteConnection as diesel::Connection>::establish(path).unwrap();
    let mut sql = |sql: &str| diesel::connection::SimpleConnection::batch_execute(&mut reader, sql).unwrap();
    sql("BEGIN; SELECT count(*) FROM sessions");
    world.store.execute("UPDATE organisations SET name = 'Example Bank'").await.unwrap();
    assert!(!world.store.empty_log().await.unwrap());
    sql("COMMIT");
    assert!(world.store.empty_log().await.unwrap());
}
