use std::time::Duration;

use axum::http::StatusCode;
use proofmill_api::relay::{Relayed, relay_once};
use proofmill_api::{Sweeps, run_relay};
use proofmill_contract::{AttemptId, Lane};
use proofmill_queue::Queue;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{World, text};

pub(crate) fn sweeps(world: &World) -> Sweeps {
    Sweeps {
        store: world.state.store.clone(),
        vault: world.state.vault.clone(),
        clock: world.state.clock.clone(),
        metrics: world.state.metrics.clone(),
    }
}

#[tokio::test]
async fn the_relay_carries_each_submission_to_the_queue_once() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (_, attempt) = world.submitted(&tenant).await;
    let queue = Queue::in_process(10);
    let once = || {
        relay_once(&world.state.store, &queue, world.state.clock.as_ref(), &world.state.metrics, &world.state.outbox)
    };
    assert_eq!(once().await.unwrap(), Relayed { published: 1, failed: 0 });
    assert_eq!(once().await.unwrap(), Relayed { published: 0, failed: 0 });
    let mut consumer = queue.consume(Lane::Interactive, 1).await.unwrap();
    let delivery = consumer.next().await.unwrap();
    assert_eq!(delivery.job.attempt_id, AttemptId::parse(&attempt).unwrap());
}

#[tokio::test]
async fn what_the_queue_does_not_take_stays_in_the_outbox() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    for _ in 0..3 {
        world.submitted(&tenant).await;
    }
    let small = Queue::in_process(1);
    let relayed =
        relay_once(&world.state.store, &small, world.state.clock.as_ref(), &world.state.metrics, &world.state.outbox)
            .await
            .unwrap();
    assert_eq!(relayed, Relayed { published: 1, failed: 2 });
    let roomy = Queue::in_process(10);
    let relayed =
        relay_once(&world.state.store, &roomy, world.state.clock.as_ref(), &world.state.metrics, &world.state.outbox)
            .await
            .unwrap();
    assert_eq!(relayed, Relayed { published: 2, failed: 0 });
}

#[tokio::test]
async fn a_submission_wakes_the_relay() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let queue = Queue::in_process(10);
    let stop = CancellationToken::new();
    let relay = tokio::spawn(run_relay(
        world.state.store.clone(),
        queue.clone(),
        world.state.clock.clone(),
        world.state.metrics.clone(),
        world.state.outbox.clone(),
        stop.clone(),
    ));
    let (_, attempt) = world.submitted(&tenant).await;
    let mut consumer = queue.consume(Lane::Interactive, 1).await.unwrap();
    let delivery = tokio::time::timeout(Duration::from_secs(30), consumer.next()).await.unwrap().unwrap();
    assert_eq!(delivery.job.attempt_id.as_str(), attempt);
    stop.cancel();
    relay.await.unwrap();
}

#[tokio::test]
async fn sweeps_expire_sessions_and_cancel_stale_attempts() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, handoff) = world.opened(&tenant).await;
    let go = CancellationToken::new();
    world.advance(Duration::from_secs(301));
    assert_eq!(sweeps(&world).sessions(&go).await.unwrap(), 1);
    let attempt = format!("/v1/attempts/{}", text(&handoff["attempt_id"]));
    assert_eq!(world.get(&tenant.key, &attempt).await.data(StatusCode::OK)["status"], "cancelled");
    world.advance(Duration::from_secs(3600));
    assert_eq!(sweeps(&world).sessions(&go).await.unwrap(), 1);
    assert_eq!(sweeps(&world).sessions(&go).await.unwrap(), 0, "sweeping again changes nothing");
    let after = world.get(&tenant.key, &format!("/v1/sessions/{session}")).await.data(StatusCode::OK);
    assert_eq!(after["status"], "expired");
    let events = world.get(&tenant.key, "/v1/webhooks/events").await.data(StatusCode::OK);
    assert_eq!(events.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn sweeps_put_lost_jobs_back() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (_, attempt) = world.submitted(&tenant).await;
    let queue = Queue::in_process(10);
    let relay = || {
        relay_once(&world.state.store, &queue, world.state.clock.as_ref(), &world.state.metrics, &world.state.outbox)
    };
    relay().await.unwrap();
    // A worker takes it and dies.
    let id = AttemptId::parse(&attempt).unwrap();
    world.state.store.acquire_lease(&id, Duration::from_secs(60), world.now()).await.unwrap();
    let go = CancellationToken::new();
    assert_eq!(sweeps(&world).lost_jobs(&go).await.unwrap(), 0, "the lease still holds");
    world.advance(Duration::from_secs(61));
    assert_eq!(sweeps(&world).lost_jobs(&go).await.unwrap(), 1);
    assert_eq!(relay().await.unwrap(), Relayed { published: 1, failed: 0 });
}

#[tokio::test]
async fn sweeps_destroy_orphans_and_keep_what_is_referred_to() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    world.submitted(&tenant).await;
    world.state.vault.seal_parts("va_orphan", &[("dg1", b"x")], world.now()).await.unwrap();
    assert_eq!(world.sealed_objects().await, 2);
    // The vault goes by the file's own time, so the sweep's clock is far ahead of it.
    world.advance(Duration::from_secs(86_400 * 365 * 5));
    assert_eq!(sweeps(&world).orphans().await.unwrap(), 1);
    assert_eq!(world.sealed_objects().await, 1);
    assert_eq!(sweeps(&world).orphans().await.unwrap(), 0);
}

#[tokio::test]
async fn what_a_killed_process_left_behind_goes_when_the_next_one_starts() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    world.submitted(&tenant).await;
    world.state.vault.seal_parts("va_orphan", &[("dg1", b"x")], world.now()).await.unwrap();
    // Ahead of the files' own times, yet far from the age at which the hourly sweep would act.
    world.advance(Duration::from_secs(86_400 * 365 * 5));
    assert_eq!(sweeps(&world).left_behind().await.unwrap(), 1);
    assert_eq!(world.sealed_objects().await, 1);
}

#[tokio::test]
async fn an_epoch_key_goes_once_nothing_is_sealed_under_it() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, _) = world.submitted(&tenant).await;
    let epochs = || world.state.vault.epochs().list().unwrap();
    assert_eq!(epochs(), ["20261122"]);
    world.advance(Duration::from_secs(86_400 * 3));
    assert_eq!(sweeps(&world).epoch_keys().await.unwrap(), 0, "an attempt still needs it");
    world.post(&tenant.key, &format!("/v1/sessions/{session}/cancel"), json!({})).await;
    assert_eq!(sweeps(&world).epoch_keys().await.unwrap(), 1);
    assert!(epochs().is_empty());
}
