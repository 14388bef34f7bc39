//! Deliveries: who gets one, who sends it, how it ends, how long its payload lives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proofmill_contract::events::EventType;
use proofmill_contract::{ContractVersion, EndpointId, EventId, Timestamp};

use super::harness::{LEASE, START, World, new_organisation, on_both, on_sqlite};
use crate::{
    ClaimRequest, Delivery, DeliveryFilter, DeliveryOutcome, DeliveryStatus, DueDelivery, EndpointUpdate, EventFilter,
    PageRequest, ReplayResult, RetryResult, StoreError, TryEnded,
};

on_both!(
    an_event_goes_to_the_endpoints_that_want_it,
    without_an_active_key_nothing_is_sent_and_the_delivery_says_so,
    each_key_reads_its_own_copy_and_the_event_id_is_the_same,
    a_delivery_is_sent_by_one_sender_and_recorded_by_its_holder_only,
    a_slow_endpoint_fills_its_own_cap_only,
    a_retry_waits_for_its_time_and_a_schedule_ends,
    a_dead_senders_delivery_is_tried_again_and_counts_as_perhaps_received,
    gone_disables_the_endpoint,
    payloads_live_for_the_retention_and_then_are_destroyed,
    retry_and_replay_begin_a_fresh_schedule_while_the_payload_lives,
    lists_are_filtered_and_kept_apart,
    every_endpoint_gets_its_turn_however_many_there_are,
    two_senders_together_do_not_pass_an_endpoints_cap,
    tries_that_end_together_are_recorded_together,
    failures_in_a_row_open_a_breaker_that_every_sender_sees,
    endpoints_on_probation_share_little_room,
    what_was_written_to_an_endpoint_that_went_meanwhile_ends,
    a_retry_or_replay_during_the_last_try_begins_a_fresh_schedule_when_it_fails,
    a_retry_during_a_try_that_ends_the_matter_changes_nothing,
    what_a_former_url_answers_says_nothing_of_the_endpoint,
    what_an_open_breaker_holds_back_is_tried_at_least_once_before_it_ends,
    a_breaker_opened_by_a_clock_that_was_set_back_since_is_not_open_for_long,
);

#[test]
fn lists_retries_and_replays_read_no_payload() {
    on_sqlite(unread_payloads);
}

/// An event of a session of its own, made by cancelling it.
async fn cancelled_session(world: &World, endpoints: Option<Vec<EndpointId>>, now: Timestamp) {
    let session = world.session_for(ContractVersion::V2, endpoints, now).await.id;
    world.store.cancel_session(None, &session, now).await.unwrap();
}

async fn claim(world: &World, now: Timestamp) -> Vec<DueDelivery> {
    world.store.claim_due_deliveries(100, 100, LEASE, now).await.unwrap()
}

/// With room for everything.
fn request(limit: usize) -> ClaimRequest {
    ClaimRequest {
        limit,
        reserved: 0,
        divided: false,
        per_endpoint: 100,
        per_new_endpoint: 100,
        per_organisation: 1_000,
        paces: Arc::default(),
        probes: 100,
        lease_for: LEASE,
        after: None,
    }
}

async fn all(world: &World) -> Vec<Delivery> {
    let page = PageRequest { limit: 100, starting_after: None };
    world.store.list_deliveries(&world.organisation, DeliveryFilter::default(), page).await.unwrap().items
}

async fn record(world: &World, due: &DueDelivery, outcome: DeliveryOutcome, now: Timestamp) -> bool {
    world.store.record_delivery(&due.id, &due.lease_token, outcome, now).await.unwrap()
}

async fn an_event_goes_to_the_endpoints_that_want_it(world: World) {
    let every = world.endpoint(EventType::ALL.to_vec(), 72, START).await;
    let cancels = world.endpoint(vec![EventType::SessionCancelled], 72, START).await;
    let successes = world.endpoint(vec![EventType::SessionSucceeded], 72, START).await;
    let endpoints = |deliveries: Vec<Delivery>| -> BTreeSet<EndpointId> {
        deliveries.into_iter().map(|delivery| delivery.endpoint_id).collect()
    };
    cancelled_session(&world, None, START).await;
    assert_eq!(endpoints(all(&world).await), BTreeSet::from([every.clone(), cancels.clone()]));

    // Named endpoints only, and of those only the ones that subscribe to the type.
    world.store.execute("DELETE FROM deliveries").await.unwrap();
    cancelled_session(&world, Some(vec![cancels.clone(), successes]), START).await;
    assert_eq!(endpoints(all(&world).await), BTreeSet::from([cancels]));
}

async fn without_an_active_key_nothing_is_sent_and_the_delivery_says_so(world: World) {
    world.endpoint(EventType::ALL.to_vec(), 72, START).await;
    cancelled_session(&world, None, START).await;
    let delivery = all(&world).await.remove(0);
    assert_eq!((delivery.status, delivery.reason.as_deref()), (DeliveryStatus::Failed, Some("no_active_key")));
    assert!(!delivery.payload_available && delivery.next_attempt_at.is_none());
    assert!(claim(&world, START).await.is_empty());
    let retried = world.store.retry_delivery(&world.organisation, &delivery.id, START).await.unwrap();
    assert!(matches!(retried, RetryResult::PayloadExpired));
}

async fn each_key_reads_its_own_copy_and_the_event_id_is_the_same(world: World) {
    let receivers = [world.receiver(START).await, world.receiver(START).await];
    cancelled_session(&world, None, START).await;
    let due = claim(&world, START).await;
    assert_eq!(due.len(), 2);
    assert_eq!(due[0].event_id, due[1].event_id);
    assert_ne!(due[0].id, due[1].id);
    for receiver in &receivers {
        let mine = due.iter().find(|due| due.endpoint_id == receiver.endpoint).unwrap();
        let plaintext: serde_json::Value =
            serde_json::from_slice(&receiver.key.decrypt(&mine.payload).unwrap()).unwrap();
        assert_eq!(plaintext["metadata"]["event_id"], mine.event_id.as_str());
        let theirs = due.iter().find(|due| due.endpoint_id != receiver.endpoint).unwrap();
        assert!(receiver.key.decrypt(&theirs.payload).is_err());
    }
}

async fn a_delivery_is_sent_by_one_sender_and_recorded_by_its_holder_only(world: World) {
    world.receiver(START).await;
    for _ in 0..20 {
        cancelled_session(&world, None, START).await;
    }
    let sender = |_| {
        let store = world.store.clone();
        tokio::spawn(async move { store.claim_due_deliveries(20, 20, LEASE, START).await.unwrap() })
    };
    let senders: Vec<_> = (0..8).map(sender).collect();
    let mut claimed = Vec::new();
    for sender in senders {
        claimed.extend(sender.await.unwrap());
    }
    claimed.extend(claim(&world, START).await);
    let ids: BTreeSet<_> = claimed.iter().map(|due| due.id.clone()).collect();
    assert_eq!((claimed.len(), ids.len()), (20, 20));
    assert!(all(&world).await.iter().all(|delivery| delivery.status == DeliveryStatus::Sending));

    let due = &claimed[0];
    assert_eq!((due.try_number, due.url.as_str()), (1, "https://hooks.example/proofmill"));
    let delivered = DeliveryOutcome::Delivered { status: 204 };
    assert!(!world.store.record_delivery(&due.id, "not the token", delivered.clone(), START).await.unwrap());
    assert!(record(&world, due, delivered.clone(), START).await);
    assert!(!record(&world, due, delivered, START).await);
    let filter = DeliveryFilter { status: Some(DeliveryStatus::Delivered), ..Default::default() };
    let listed = world.store.list_deliveries(&world.organisation, filter, PageRequest::default()).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    assert_eq!((listed.items[0].last_status_code, listed.items[0].delivered_at), (Some(204), Some(START)));
}

async fn a_slow_endpoint_fills_its_own_cap_only(world: World) {
    let slow = world.receiver(START).await.endpoint;
    let other = world.receiver(START).await.endpoint;
    for _ in 0..10 {
        cancelled_session(&world, Some(vec![slow.clone()]), START).await;
    }
    cancelled_session(&world, Some(vec![other.clone()]), START.plus(Duration::from_secs(1))).await;
    let now = START.plus(Duration::from_secs(2));
    let claim = || world.store.claim_due_deliveries(100, 3, LEASE, now);
    let first = claim().await.unwrap();
    assert_eq!(first.iter().filter(|due| due.endpoint_id == slow).count(), 3);
    assert_eq!(first.iter().filter(|due| due.endpoint_id == other).count(), 1);
    assert!(claim().await.unwrap().is_empty(), "three are in flight");
    let done = first.iter().find(|due| due.endpoint_id == slow).unwrap();
    record(&world, done, DeliveryOutcome::Delivered { status: 200 }, now).await;
    assert_eq!(claim().await.unwrap().len(), 1);
    assert!(world.store.claim_due_deliveries(0, 100, LEASE, now).await.unwrap().is_empty());
}

/// More endpoints than one claim looks at, each with one delivery; the claims are small, and go on where the last one stopped.
async fn every_endpoint_gets_its_turn_however_many_there_are(world: World) {
    let first = world.receiver(START).await;
    let session = world.session(ContractVersion::V2, START).await.id;
    world.store.cancel_session(None, &session, START).await.unwrap();
    // Copies of the one delivery, at copies of the one endpoint: encrypting 600 times would be a test of patience.
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1599)";
    let endpoints = format!(
        "{numbers} INSERT INTO webhook_endpoints SELECT substr(id, 1, 32) || CAST(n AS TEXT), organisation_id, url, name, \
         labels, enabled, subscribed_event_types, retention_hours, created_at, updated_at, disabled_at, deleted_at \
         FROM webhook_endpoints, numbers WHERE id = '{}'",
        first.endpoint
    );
    assert_eq!(world.store.execute(&endpoints).await.unwrap(), 600);
    let deliveries = format!(
        "{numbers} INSERT INTO deliveries (id, event_id, endpoint_id, organisation_id, session_id, event_type, status, \
         payload, next_attempt_at, created_at, updated_at) SELECT substr(id, 1, 64) || CAST(n AS TEXT), event_id, \
         substr(endpoint_id, 1, 32) || CAST(n AS TEXT), organisation_id, session_id, event_type, status, payload, \
         next_attempt_at, created_at, updated_at FROM deliveries, numbers WHERE endpoint_id = '{}'",
        first.endpoint
    );
    assert_eq!(world.store.execute(&deliveries).await.unwrap(), 600);
    let mut after = None;
    let mut claimed = BTreeSet::new();
    let mut claims = 0;
    while claimed.len() < 601 {
        let request = ClaimRequest { per_endpoint: 1, probes: 1, after, ..request(100) };
        let some = world.store.claim_deliveries(request, START).await.unwrap();
        claimed.extend(some.deliveries.into_iter().map(|due| due.endpoint_id));
        after = some.after;
        claims += 1;
        assert!(claims <= 10, "each claim takes a hundred where there are as many");
    }
    assert!(claim(&world, START).await.is_empty());
}

async fn two_senders_together_do_not_pass_an_endpoints_cap(world: World) {
    world.receiver(START).await;
    for _ in 0..20 {
        cancelled_session(&world, None, START).await;
    }
    let sender = |_| {
        let store = world.store.clone();
        tokio::spawn(async move { store.claim_due_deliveries(20, 3, LEASE, START).await.unwrap().len() })
    };
    let senders: Vec<_> = (0..8).map(sender).collect();
    let mut claimed = 0;
    for sender in senders {
        claimed += sender.await.unwrap();
    }
    claimed += world.store.claim_due_deliveries(20, 3, LEASE, START).await.unwrap().len();
    assert_eq!(claimed, 3);
}

async fn tries_that_end_together_are_recorded_together(world: World) {
    let keep = world.endpoint(EventType::ALL.to_vec(), 24, START).await;
    let none = world.endpoint(EventType::ALL.to_vec(), 0, START).await;
    world.key(&keep, START).await;
    world.key(&none, START).await;
    for _ in 0..3 {
        cancelled_session(&world, None, START).await;
    }
    let due = claim(&world, START).await;
    let again = START.plus(Duration::from_secs(5));
    let ended = |due: &DueDelivery, outcome| TryEnded {
        id: due.id.clone(),
        lease_token: due.lease_token.clone(),
        sent_to: Some(due.url.clone()),
        outcome,
        endpoint_well: Some(true),
    };
    let mut batch: Vec<TryEnded> = due
        .iter()
        .enumerate()
        .map(|(index, due)| match index {
            0 => {
                let error = "refused".to_owned();
                ended(due, DeliveryOutcome::Retry { at: again, status: Some(404), error, maybe_received: false })
            }
            1 | 2 => ended(due, DeliveryOutcome::Delivered { status: 200 }),
            _ => ended(due, DeliveryOutcome::Delivered { status: 202 }),
        })
        .collect();
    batch[2].lease_token = "another sender's".into();
    let recorded = world.store.record_deliveries(batch, START).await.unwrap();
    assert_eq!(recorded, [true, true, false, true, true, true]);
    let after = all(&world).await;
    let find = |due: &DueDelivery| after.iter().find(|delivery| delivery.id == due.id).unwrap();
    assert_eq!((find(&due[0]).status, find(&due[0]).next_attempt_at), (DeliveryStatus::Pending, Some(again)));
    assert_eq!(find(&due[2]).status, DeliveryStatus::Sending);
    for (index, due) in due.iter().enumerate().filter(|(index, _)| ![0, 2].contains(index)) {
        let delivery = find(due);
        assert_eq!((delivery.status, delivery.delivered_at), (DeliveryStatus::Delivered, Some(START)));
        assert_eq!(delivery.last_status_code, Some(if index == 1 { 200 } else { 202 }));
        assert_eq!(delivery.payload_available, delivery.endpoint_id == keep, "by its endpoint's retention");
    }
}

/// Ends what is claimed: `Some(true)` is an endpoint that answered.
async fn end(world: &World, due: Vec<DueDelivery>, well: bool, now: Timestamp) {
    let at = now.plus(Duration::from_secs(1));
    let ended = |due: DueDelivery| {
        let error = "timeout".to_owned();
        let outcome = if well {
            DeliveryOutcome::Delivered { status: 200 }
        } else {
            DeliveryOutcome::Retry { at, status: None, error, maybe_received: true }
        };
        let (id, lease_token, sent_to) = (due.id, due.lease_token, Some(due.url));
        TryEnded { id, lease_token, sent_to, outcome, endpoint_well: Some(well) }
    };
    world.store.record_deliveries(due.into_iter().map(ended).collect(), now).await.unwrap();
}

async fn failures_in_a_row_open_a_breaker_that_every_sender_sees(world: World) {
    let receiver = world.receiver(START).await;
    for _ in 0..20 {
        cancelled_session(&world, None, START).await;
    }
    let claim = |limit, now| world.store.claim_due_deliveries(limit, 100, LEASE, now);
    // Nine failures and a success open nothing; a tenth in a row would.
    end(&world, claim(9, START).await.unwrap(), false, START).await;
    end(&world, claim(1, START).await.unwrap(), true, START).await;
    end(&world, claim(9, START).await.unwrap(), false, START).await;
    let second = START.plus(Duration::from_secs(1));
    end(&world, claim(1, second).await.unwrap(), false, second).await;
    let opened = START.plus(Duration::from_secs(2));
    assert!(claim(20, opened).await.unwrap().is_empty(), "nothing, although nineteen are due");
    assert_eq!(world.store.backlog(opened).await.unwrap().breakers_open, 1);

    // Half-open: one at a time, over all senders.
    let later = START.plus(Duration::from_secs(8));
    let probe = claim(20, later).await.unwrap();
    assert_eq!(probe.len(), 1);
    assert!(claim(20, later).await.unwrap().is_empty());
    end(&world, probe, true, later).await;
    assert_eq!(claim(20, later).await.unwrap().len(), 18, "closed");

    // Whoever mends an endpoint need not wait.
    world.store.execute("UPDATE deliveries SET status = 'pending', next_attempt_at = 0, lease_token = NULL, lease_until = NULL WHERE status = 'sending'").await.unwrap();
    end(&world, claim(20, later).await.unwrap(), false, later).await;
    let soon = later.plus(Duration::from_secs(2));
    assert!(claim(20, soon).await.unwrap().is_empty());
    let moved = EndpointUpdate { url: Some("https://hooks.example/mended".into()), ..Default::default() };
    world.store.update_endpoint(&world.organisation, &receiver.endpoint, moved, soon).await.unwrap();
    assert_eq!(claim(20, soon).await.unwrap().len(), 18);
}

async fn endpoints_on_probation_share_little_room(world: World) {
    let mut endpoints = Vec::new();
    for _ in 0..4 {
        endpoints.push(world.receiver(START).await.endpoint);
    }
    for _ in 0..10 {
        cancelled_session(&world, None, START).await;
    }
    end(&world, claim(&world, START).await, false, START).await;
    let later = START.plus(Duration::from_secs(8));
    let request = || ClaimRequest { probes: 3, ..request(100) };
    let probes = world.store.claim_deliveries(request(), later).await.unwrap().deliveries;
    assert_eq!(probes.len(), 3);
    assert!(world.store.claim_deliveries(request(), later).await.unwrap().deliveries.is_empty());
    end(&world, probes, false, later).await;
    assert_eq!(world.store.claim_deliveries(request(), later).await.unwrap().deliveries.len(), 1, "the fourth's turn");
}

async fn what_was_written_to_an_endpoint_that_went_meanwhile_ends(world: World) {
    let (disabled, deleted) = (world.receiver(START).await.endpoint, world.receiver(START).await.endpoint);
    cancelled_session(&world, None, START).await;
    let due = claim(&world, START).await;
    let disable = EndpointUpdate { enabled: Some(false), ..Default::default() };
    world.store.update_endpoint(&world.organisation, &disabled, disable, START).await.unwrap();
    assert!(world.store.delete_endpoint(&world.organisation, &deleted, START).await.unwrap());
    let reason = |deliveries: &[Delivery], endpoint: &EndpointId| {
        deliveries.iter().find(|delivery| &delivery.endpoint_id == endpoint).unwrap().reason.clone()
    };
    end(&world, due, false, START).await;
    let ended = all(&world).await;
    assert_eq!(reason(&ended, &disabled).as_deref(), Some("endpoint_disabled"));
    assert_eq!(reason(&ended, &deleted).as_deref(), Some("endpoint_deleted"));

    // A settle that read the endpoint before it was disabled, and committed after.
    world.store.execute("UPDATE deliveries SET status = 'pending', reason = NULL, next_attempt_at = 0, payload_expires_at = NULL WHERE payload IS NOT NULL").await.unwrap();
    assert!(claim(&world, START).await.is_empty());
    let ended = all(&world).await;
    assert!(ended.iter().all(|delivery| delivery.status == DeliveryStatus::Failed));
    assert_eq!(reason(&ended, &disabled).as_deref(), Some("endpoint_disabled"));
}

async fn a_retry_waits_for_its_time_and_a_schedule_ends(world: World) {
    world.receiver(START).await;
    cancelled_session(&world, None, START).await;
    let at = START.plus(Duration::from_secs(5));
    let due = claim(&world, START).await.remove(0);
    let retry = DeliveryOutcome::Retry { at, status: Some(503), error: "x".repeat(500), maybe_received: false };
    assert!(record(&world, &due, retry, START).await);
    let waiting = all(&world).await.remove(0);
    assert_eq!((waiting.status, waiting.tries, waiting.next_attempt_at), (DeliveryStatus::Pending, 1, Some(at)));
    assert_eq!((waiting.last_status_code, waiting.last_error.map(|error| error.len())), (Some(503), Some(200)));
    assert_eq!(world.store.next_delivery_due().await.unwrap(), Some(at));
    assert!(claim(&world, at.minus(Duration::from_micros(1))).await.is_empty());
    let again = claim(&world, at).await.remove(0);
    assert_eq!((again.try_number, &again.event_id, &again.payload), (2, &due.event_id, &due.payload));
    let failed = DeliveryOutcome::Failed {
        reason: "schedule_exhausted".into(),
        status: None,
        error: Some("timeout".into()),
        maybe_received: true,
    };
    assert!(record(&world, &again, failed, at).await);
    let ended = all(&world).await.remove(0);
    assert_eq!((ended.status, ended.reason.as_deref()), (DeliveryStatus::Failed, Some("schedule_exhausted")));
    assert_eq!((ended.last_status_code, ended.last_error.as_deref()), (None, Some("timeout")));
    assert_eq!(world.store.next_delivery_due().await.unwrap(), None);
}

async fn a_dead_senders_delivery_is_tried_again_and_counts_as_perhaps_received(world: World) {
    world.receiver(START).await;
    cancelled_session(&world, None, START).await;
    let mut now = START;
    let dead = claim(&world, now).await.remove(0);
    assert!(claim(&world, now).await.is_empty());
    for try_number in 2..=8 {
        now = now.plus(LEASE);
        let again = claim(&world, now).await.remove(0);
        assert_eq!(again.try_number, try_number);
    }
    let late = DeliveryOutcome::Delivered { status: 200 };
    assert!(!record(&world, &dead, late, now).await, "its lease was taken over");
    // The eighth sender dies as well: the schedule is over, and nobody knows.
    now = now.plus(LEASE);
    assert!(claim(&world, now).await.is_empty());
    let ended = all(&world).await.remove(0);
    assert_eq!((ended.status, ended.reason.as_deref()), (DeliveryStatus::Failed, Some("outcome_unknown")));
    let flags = world.store.texts("SELECT CAST(maybe_received AS TEXT) AS text FROM deliveries").await.unwrap();
    assert!(["true", "1"].contains(&flags[0].as_str()));
}

async fn gone_disables_the_endpoint(world: World) {
    let receiver = world.receiver(START).await;
    for _ in 0..2 {
        cancelled_session(&world, None, START).await;
    }
    let due = world.store.claim_due_deliveries(1, 1, LEASE, START).await.unwrap().remove(0);
    assert!(record(&world, &due, DeliveryOutcome::EndpointGone, START).await);
    let endpoint = world.store.endpoint(&world.organisation, &receiver.endpoint).await.unwrap().unwrap();
    assert_eq!((endpoint.enabled, endpoint.disabled_at), (false, Some(START)));
    let ended = all(&world).await;
    assert!(ended.iter().all(|delivery| delivery.status == DeliveryStatus::Failed));
    assert!(ended.iter().all(|delivery| delivery.reason.as_deref() == Some("endpoint_gone")));
    let retried = world.store.retry_delivery(&world.organisation, &ended[0].id, START).await.unwrap();
    assert!(matches!(retried, RetryResult::EndpointUnavailable));
}

async fn payloads_live_for_the_retention_and_then_are_destroyed(world: World) {
    let keep = world.endpoint(EventType::ALL.to_vec(), 24, START).await;
    let none = world.endpoint(EventType::ALL.to_vec(), 0, START).await;
    world.key(&keep, START).await;
    world.key(&none, START).await;
    cancelled_session(&world, None, START).await;
    // Undelivered payloads are held however long the schedule takes.
    let week = START.plus(Duration::from_secs(7 * 24 * 3600));
    assert_eq!(world.store.scrub_payloads(week, 100).await.unwrap(), 0);
    for due in claim(&world, week).await {
        record(&world, &due, DeliveryOutcome::Delivered { status: 200 }, week).await;
    }
    let available = |deliveries: &[Delivery], endpoint: &EndpointId| {
        deliveries.iter().find(|delivery| &delivery.endpoint_id == endpoint).unwrap().payload_available
    };
    let now = all(&world).await;
    assert!(available(&now, &keep) && !available(&now, &none));
    let end = week.plus(Duration::from_secs(24 * 3600));
    assert_eq!(world.store.scrub_payloads(end.minus(Duration::from_micros(1)), 100).await.unwrap(), 0);
    assert_eq!(world.store.scrub_payloads(end, 100).await.unwrap(), 1);
    assert!(!available(&all(&world).await, &keep));
}

async fn retry_and_replay_begin_a_fresh_schedule_while_the_payload_lives(world: World) {
    let (store, mine) = (&world.store, &world.organisation);
    world.receiver(START).await;
    cancelled_session(&world, None, START).await;
    let due = claim(&world, START).await.remove(0);
    let replay = |now| store.replay_event(mine, &due.event_id, now);
    assert_eq!(replay(START).await.unwrap(), ReplayResult::Replayed(1), "tried afresh if this fails");
    // It failed: it is due at once, and this time nobody asks for more.
    let failed = DeliveryOutcome::Retry { at: START, status: Some(500), error: "500".into(), maybe_received: false };
    record(&world, &due, failed, START).await;
    let due = claim(&world, START).await.remove(0);
    let failed = DeliveryOutcome::Failed {
        reason: "schedule_exhausted".into(),
        status: Some(500),
        error: None,
        maybe_received: false,
    };
    record(&world, &due, failed, START).await;

    let day = START.plus(Duration::from_secs(24 * 3600));
    let RetryResult::Retried(retried) = store.retry_delivery(mine, &due.id, day).await.unwrap() else { panic!() };
    assert_eq!((retried.status, retried.tries, retried.reason), (DeliveryStatus::Pending, 0, None));
    // Held while it is to be sent, although the first retention is over.
    let later = day.plus(Duration::from_secs(72 * 3600));
    assert_eq!(store.scrub_payloads(later, 10).await.unwrap(), 0);
    let again = claim(&world, later).await.remove(0);
    assert_eq!((again.try_number, &again.payload), (1, &due.payload));
    record(&world, &again, DeliveryOutcome::Delivered { status: 200 }, later).await;
    assert_eq!(replay(later).await.unwrap(), ReplayResult::Replayed(1));
    let again = claim(&world, later).await.remove(0);
    assert_eq!(again.event_id, due.event_id);
    record(&world, &again, DeliveryOutcome::Delivered { status: 200 }, later).await;

    let end = later.plus(Duration::from_secs(72 * 3600));
    assert_eq!(store.scrub_payloads(end, 10).await.unwrap(), 1);
    assert_eq!(replay(end).await.unwrap(), ReplayResult::PayloadExpired);
    assert!(matches!(store.retry_delivery(mine, &due.id, end).await.unwrap(), RetryResult::PayloadExpired));
    let unknown = EventId::generate(START, &mut rand::rng());
    assert_eq!(store.replay_event(mine, &unknown, end).await.unwrap(), ReplayResult::NotFound);
    let other = new_organisation(store).await;
    assert_eq!(store.replay_event(&other, &due.event_id, end).await.unwrap(), ReplayResult::NotFound);
    assert!(matches!(store.retry_delivery(&other, &due.id, end).await.unwrap(), RetryResult::NotFound));
}

/// A delivery in its last try.
async fn last_try(world: &World) -> DueDelivery {
    cancelled_session(world, None, START).await;
    world.store.execute("UPDATE deliveries SET tries = 7 WHERE status = 'pending'").await.unwrap();
    let due = claim(world, START).await.remove(0);
    assert_eq!(due.try_number, 8);
    due
}

fn exhausted() -> DeliveryOutcome {
    let reason = "schedule_exhausted".to_owned();
    DeliveryOutcome::Failed { reason, status: Some(500), error: None, maybe_received: false }
}

async fn a_retry_or_replay_during_the_last_try_begins_a_fresh_schedule_when_it_fails(world: World) {
    // Without retention nothing would be left to send of one that failed.
    let endpoint = world.endpoint(EventType::ALL.to_vec(), 0, START).await;
    world.key(&endpoint, START).await;
    let (store, mine) = (&world.store, &world.organisation);
    let later = START.plus(Duration::from_secs(2));
    for (retry, lost) in [(true, false), (false, false), (true, true)] {
        let due = last_try(&world).await;
        if retry {
            let RetryResult::Retried(asked) = store.retry_delivery(mine, &due.id, START).await.unwrap() else {
                panic!()
            };
            assert_eq!(asked.status, DeliveryStatus::Sending);
        } else {
            assert_eq!(store.replay_event(mine, &due.event_id, START).await.unwrap(), ReplayResult::Replayed(1));
        }
        let now = if lost { START.plus(LEASE) } else { later };
        if !lost {
            assert!(record(&world, &due, exhausted(), now).await);
        }
        let again = claim(&world, now).await.remove(0);
        assert_eq!((&again.id, again.try_number, &again.payload), (&due.id, 1, &due.payload));
        // Once asked, once begun afresh.
        assert!(record(&world, &again, exhausted(), now).await);
        let ended = all(&world).await.into_iter().find(|delivery| delivery.id == due.id).unwrap();
        assert_eq!((ended.status, ended.payload_available), (DeliveryStatus::Failed, false));
        assert_eq!(ended.reason.as_deref(), Some("schedule_exhausted"));
        assert!(matches!(store.retry_delivery(mine, &due.id, now).await.unwrap(), RetryResult::PayloadExpired));
    }
}

async fn a_retry_during_a_try_that_ends_the_matter_changes_nothing(world: World) {
    world.receiver(START).await;
    let (store, mine) = (&world.store, &world.organisation);
    let outcomes = [DeliveryOutcome::Delivered { status: 200 }, DeliveryOutcome::EndpointGone];
    for (outcome, status) in outcomes.into_iter().zip([DeliveryStatus::Delivered, DeliveryStatus::Failed]) {
        let due = last_try(&world).await;
        assert!(matches!(store.retry_delivery(mine, &due.id, START).await.unwrap(), RetryResult::Retried(_)));
        assert!(record(&world, &due, outcome, START).await);
        let ended = all(&world).await.into_iter().find(|delivery| delivery.id == due.id).unwrap();
        assert_eq!(ended.status, status);
        assert!(claim(&world, START.plus(LEASE)).await.is_empty());
    }
}

async fn lists_are_filtered_and_kept_apart(world: World) {
    let (store, mine) = (&world.store, &world.organisation);
    let receiver = world.receiver(START).await;
    cancelled_session(&world, None, START).await;
    let session = world.session(ContractVersion::V2, START).await;
    store.expire_due(session.expires_at, 10).await.unwrap();

    let events = |filter| store.list_events(mine, filter, PageRequest::default());
    let everything = events(EventFilter::default()).await.unwrap().items;
    assert_eq!(everything.len(), 2);
    assert_eq!(everything[0].event_type, EventType::SessionExpired, "newest first");
    let only = EventFilter { event_type: Some(EventType::SessionCancelled), ..Default::default() };
    assert_eq!(events(only).await.unwrap().items[0].id, everything[1].id);
    let since = EventFilter { created_from: Some(session.expires_at), ..Default::default() };
    assert_eq!(events(since).await.unwrap().items.len(), 1);
    let until = EventFilter { created_to: Some(START), ..Default::default() };
    assert_eq!(events(until).await.unwrap().items.len(), 1);

    let of_event = DeliveryFilter { event_id: Some(everything[0].id.clone()), ..Default::default() };
    let found = store.list_deliveries(mine, of_event, PageRequest::default()).await.unwrap().items;
    assert_eq!((found.len(), found[0].event_type), (1, EventType::SessionExpired));
    let of_endpoint = DeliveryFilter { endpoint_id: Some(receiver.endpoint.clone()), ..Default::default() };
    let page = PageRequest { limit: 1, starting_after: None };
    let first = store.list_deliveries(mine, of_endpoint.clone(), page).await.unwrap();
    let page = PageRequest { limit: 1, starting_after: first.next_cursor };
    let second = store.list_deliveries(mine, of_endpoint, page).await.unwrap();
    assert!(second.items[0].id < first.items[0].id && !second.has_more);

    let other = new_organisation(store).await;
    assert!(store.list_events(&other, EventFilter::default(), PageRequest::default()).await.unwrap().items.is_empty());
    assert!(store.event(&other, &everything[0].id).await.unwrap().is_none());
    assert_eq!(store.event(mine, &everything[0].id).await.unwrap().unwrap().session_id, session.id);
    let page = PageRequest { limit: 1, starting_after: Some(first.items[0].id.to_string()) };
    let foreign = store.list_deliveries(&other, DeliveryFilter::default(), page).await;
    assert!(matches!(foreign, Err(StoreError::InvalidCursor)));
}

/// A payload that cannot be read as text stands in for one that is not read.
async fn unread_payloads(world: World) {
    world.receiver(START).await;
    cancelled_session(&world, None, START).await;
    world.store.execute("UPDATE deliveries SET payload = CAST(x'ff' AS TEXT)").await.unwrap();
    assert!(world.store.claim_due_deliveries(1, 1, LEASE, START).await.is_err(), "otherwise this test shows nothing");
    let delivery = all(&world).await.remove(0);
    assert!(delivery.payload_available);
    let (store, mine) = (&world.store, &world.organisation);
    assert_eq!(store.replay_event(mine, &delivery.event_id, START).await.unwrap(), ReplayResult::Replayed(1));
    assert!(matches!(store.retry_delivery(mine, &delivery.id, START).await.unwrap(), RetryResult::Retried(_)));
}

/// As a sender says it, which knows where it sent to.
async fn record_from(world: &World, due: Vec<DueDelivery>, outcome: &DeliveryOutcome, well: Option<bool>) {
    let ended = |due: DueDelivery| TryEnded {
        id: due.id,
        lease_token: due.lease_token,
        sent_to: Some(due.url),
        outcome: outcome.clone(),
        endpoint_well: well,
    };
    world.store.record_deliveries(due.into_iter().map(ended).collect(), START).await.unwrap();
}

async fn what_a_former_url_answers_says_nothing_of_the_endpoint(world: World) {
    let (store, mine) = (&world.store, &world.organisation);
    let endpoint = world.receiver(START).await.endpoint;
    for _ in 0..11 {
        cancelled_session(&world, None, START).await;
    }
    let mut former = claim(&world, START).await;
    assert_eq!(former.len(), 11);
    let moved = EndpointUpdate { url: Some("https://hooks.example/moved".into()), ..Default::default() };
    store.update_endpoint(mine, &endpoint, moved, START).await.unwrap().unwrap();

    // Late, a 410: the endpoint stays, and the event goes to where it is now.
    record_from(&world, former.split_off(10), &DeliveryOutcome::EndpointGone, None).await;
    assert!(store.endpoint(mine, &endpoint).await.unwrap().unwrap().enabled);
    let again = claim(&world, START).await;
    assert_eq!((again.len(), again[0].url.as_str()), (1, "https://hooks.example/moved"));
    // Late, ten failures: the new URL begins with a closed breaker.
    let failed = |at| DeliveryOutcome::Retry { at, status: None, error: "timeout".into(), maybe_received: true };
    record_from(&world, former, &failed(START), Some(false)).await;
    assert_eq!(store.backlog(START).await.unwrap().breakers_open, 0);

    // What the new one says counts.
    let there = claim(&world, START).await;
    assert_eq!(there.len(), 10);
    record_from(&world, there, &failed(START), Some(false)).await;
    assert_eq!(store.backlog(START).await.unwrap().breakers_open, 1);
    record_from(&world, again, &DeliveryOutcome::EndpointGone, None).await;
    assert!(!store.endpoint(mine, &endpoint).await.unwrap().unwrap().enabled);
    assert!(all(&world).await.iter().all(|delivery| delivery.reason.as_deref() == Some("endpoint_gone")));
    assert_eq!(store.backlog(START).await.unwrap().breakers_open, 0);
}

async fn what_an_open_breaker_holds_back_is_tried_at_least_once_before_it_ends(world: World) {
    let endpoint = world.endpoint(EventType::ALL.to_vec(), 24, START).await;
    world.key(&endpoint, START).await;
    for _ in 0..13 {
        cancelled_session(&world, None, START).await;
    }
    let tried = world.store.claim_due_deliveries(10, 100, LEASE, START).await.unwrap();
    end(&world, tried, false, START).await;
    let hours = |hours: u64| START.plus(Duration::from_secs(3_600 * hours));
    let give_up = |now| world.store.give_up_deliveries(now, 100);
    // The longest schedule, 33 h and some minutes, and then the day for which the endpoint keeps what was not delivered.
    for now in [hours(34), hours(57)] {
        assert_eq!(give_up(now).await.unwrap(), 0);
    }
    let over = hours(58);
    // The last probe, just now, has failed as well.
    let open = |until: Timestamp| format!("UPDATE endpoint_breakers SET open_until = {}", until.0);
    world.store.execute(&open(over.plus(Duration::from_secs(30)))).await.unwrap();
    assert!(claim(&world, over).await.is_empty());
    assert_eq!(give_up(over).await.unwrap(), 10);
    let ended = |delivery: &&Delivery| delivery.status == DeliveryStatus::Failed;
    assert_eq!(all(&world).await.iter().filter(ended).count(), 10);

    let last = claim(&world, over).await;
    assert_eq!(last.len(), 3, "although the breaker is open");
    assert!(last.iter().all(|due| due.try_number == 1));
    assert!(claim(&world, over).await.is_empty(), "once each");
    end(&world, last, false, over).await;
    let later = over.plus(Duration::from_secs(2));
    assert!(claim(&world, later).await.is_empty());
    assert_eq!(give_up(later).await.unwrap(), 3);
    let ended = all(&world).await;
    assert!(ended.iter().all(|delivery| delivery.status == DeliveryStatus::Failed && delivery.tries == 1));
    assert!(ended.iter().all(|delivery| delivery.reason.as_deref() == Some("schedule_exhausted")));
    assert!(ended.iter().all(|delivery| delivery.payload_available), "for its retention");
    // What comes now waits for its turn like any other.
    cancelled_session(&world, None, later).await;
    assert!(claim(&world, later).await.is_empty());
}

async fn a_breaker_opened_by_a_clock_that_was_set_back_since_is_not_open_for_long(world: World) {
    world.receiver(START).await;
    for _ in 0..12 {
        cancelled_session(&world, None, START).await;
    }
    let tried = world.store.claim_due_deliveries(10, 100, LEASE, START).await.unwrap();
    end(&world, tried, false, START).await;
    assert!(claim(&world, START).await.is_empty());
    let year = START.plus(Duration::from_secs(365 * 24 * 3_600));
    world.store.execute(&format!("UPDATE endpoint_breakers SET open_until = {}", year.0)).await.unwrap();
    assert_eq!(claim(&world, START).await.len(), 1, "half-open");
}
