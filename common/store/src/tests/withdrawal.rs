//! The holder's cancel, and the withdrawal of a session that ended.

use std::time::Duration;

use proofmill_contract::limits::SESSION_LIFE;
use proofmill_contract::{ContractVersion, Outcome, SessionId, SessionStatus, Timestamp};
use serde_json::json;

use super::harness::{FORGED, LEASE, START, World, on_both};
use crate::{DeliveryFilter, DeliveryOutcome, DeliveryStatus, PageRequest, PublicCancel, ReplayResult};

on_both!(
    a_holder_cancels_an_active_session_once,
    a_wrong_token_or_session_changes_nothing,
    an_undelivered_success_is_replaced_by_a_cancellation,
    an_undelivered_failure_says_so_in_its_reason,
    a_delivered_verdict_stays_and_the_other_endpoints_get_nothing_more,
    a_delivery_that_is_being_sent_is_waited_for_and_an_unknown_outcome_counts_as_delivered,
    an_earlier_event_that_was_delivered_does_not_count,
);

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
