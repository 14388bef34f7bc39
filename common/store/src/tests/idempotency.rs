//! Idempotency keys.

use std::time::Duration;

use proofmill_contract::limits::IDEMPOTENCY_LIFE;
use proofmill_contract::{OrganisationId, Timestamp};

use super::harness::{START, World, new_organisation, on_both};
use crate::{Begin, StoreError};

on_both!(
    a_finished_request_is_replayed_and_another_one_refused,
    a_killed_request_frees_its_key_when_its_lease_ends,
    an_abandoned_key_is_free_at_once,
    a_key_is_forgotten_after_its_day,
    of_many_at_once_one_runs,
);

const LEASE: Duration = Duration::from_secs(30);

async fn begin(
    world: &World,
    organisation: &OrganisationId,
    key: &str,
    request: u8,
    now: Timestamp,
) -> Result<Begin, StoreError> {
    world.store.begin_idempotent(organisation, "POST /v1/sessions", key, [request; 32], LEASE, now).await
}

fn fresh(begin: Begin) -> String {
    match begin {
        Begin::Fresh(token) => token,
        Begin::Replay { .. } => panic!("replayed"),
        Begin::InProgress => panic!("in progress"),
        Begin::Reused => panic!("reused"),
    }
}

async fn a_finished_request_is_replayed_and_another_one_refused(world: World) {
    let mine = world.organisation.clone();
    let token = fresh(begin(&world, &mine, "k", 1, START).await.unwrap());
    assert!(begin(&world, &mine, "k", 1, START).await.unwrap() == Begin::InProgress);
    assert!(begin(&world, &mine, "k", 2, START).await.unwrap() == Begin::Reused);
    assert!(world.store.finish_idempotent(&token, 201, b"sealed".to_vec(), START).await.unwrap());
    assert!(!world.store.finish_idempotent(&token, 201, b"other".to_vec(), START).await.unwrap());

    let later = START.plus(LEASE * 10);
    let replay = begin(&world, &mine, "k", 1, later).await.unwrap();
    assert!(replay == Begin::Replay { sealed: b"sealed".to_vec(), status: 201 });
    assert!(begin(&world, &mine, "k", 2, later).await.unwrap() == Begin::Reused);
    // The same key is another one in another organisation and on another route.
    let other = new_organisation(&world.store).await;
    fresh(begin(&world, &other, "k", 2, later).await.unwrap());
    let elsewhere = world.store.begin_idempotent(&mine, "POST /v1/webhooks/endpoints", "k", [2; 32], LEASE, later);
    fresh(elsewhere.await.unwrap());
}

async fn a_killed_request_frees_its_key_when_its_lease_ends(world: World) {
    let mine = world.organisation.clone();
    let dead = fresh(begin(&world, &mine, "k", 1, START).await.unwrap());
    let ends = START.plus(LEASE);
    assert!(begin(&world, &mine, "k", 1, ends.minus(Duration::from_micros(1))).await.unwrap() == Begin::InProgress);
    let heir = fresh(begin(&world, &mine, "k", 1, ends).await.unwrap());
    assert!(!world.store.finish_idempotent(&dead, 201, b"late".to_vec(), ends).await.unwrap());
    assert!(!world.store.abandon_idempotent(&dead).await.unwrap());
    assert!(world.store.finish_idempotent(&heir, 201, b"sealed".to_vec(), ends).await.unwrap());
}

async fn an_abandoned_key_is_free_at_once(world: World) {
    let mine = world.organisation.clone();
    let token = fresh(begin(&world, &mine, "k", 1, START).await.unwrap());
    assert!(world.store.abandon_idempotent(&token).await.unwrap());
    let token = fresh(begin(&world, &mine, "k", 2, START).await.unwrap());
    world.store.finish_idempotent(&token, 201, b"sealed".to_vec(), START).await.unwrap();
    assert!(!world.store.abandon_idempotent(&token).await.unwrap(), "a finished response stays");
}

async fn a_key_is_forgotten_after_its_day(world: World) {
    let mine = world.organisation.clone();
    let token = fresh(begin(&world, &mine, "k", 1, START).await.unwrap());
    world.store.finish_idempotent(&token, 201, b"sealed".to_vec(), START).await.unwrap();
    let day = START.plus(IDEMPOTENCY_LIFE);
    assert_eq!(world.store.purge_idempotency(day.minus(Duration::from_micros(1))).await.unwrap(), 0);
    // Forgotten even before the sweep comes by.
    let token = fresh(begin(&world, &mine, "k", 2, day).await.unwrap());
    world.store.finish_idempotent(&token, 201, b"sealed".to_vec(), day).await.unwrap();
    assert_eq!(world.store.purge_idempotency(day.plus(IDEMPOTENCY_LIFE)).await.unwrap(), 1);
    fresh(begin(&world, &mine, "k", 3, day).await.unwrap());
}

async fn of_many_at_once_one_runs(world: World) {
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (store, organisation) = (world.store.clone(), world.organisation.clone());
            tokio::spawn(async move {
                store.begin_idempotent(&organisation, "POST /v1/sessions", "k", [1; 32], LEASE, START).await.unwrap()
            })
        })
        .collect();
    let mut fresh = 0;
    for task in tasks {
        match task.await.unwrap() {
            Begin::Fresh(_) => fresh += 1,
            Begin::InProgress => {}
            Begin::Replay { .. } | Begin::Reused => panic!("nothing was finished and the request is the same"),
        }
    }
    assert_eq!(fresh, 1);
}
