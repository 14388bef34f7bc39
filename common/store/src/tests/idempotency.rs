//! Idempotency keys.

use std::time::Duration;

use proofmill_contract::limits::IDEMPOTENCY_LIFE;
use proofmill_contract::{ContractVersion, OrganisationId, Timestamp};

use super::harness::{START, World, new_attempt, new_organisation, new_session, on_both};
use crate::{Answer, Begin, OpenAttempt, PageRequest, SealedAnswer, Session, SessionFilter, StoreError};

on_both!(
    a_finished_request_is_replayed_and_another_one_refused,
    a_killed_request_frees_its_key_when_its_lease_ends,
    an_abandoned_key_is_free_at_once,
    a_key_is_forgotten_after_its_day,
    of_many_at_once_one_runs,
    what_is_created_and_its_answer_are_one_transaction,
    a_refusal_frees_the_key_with_the_transaction_that_found_it,
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

async fn what_is_created_and_its_answer_are_one_transaction(world: World) {
    let mine = world.organisation.clone();
    let create = |token: &str, compose: fn(&Session) -> Result<Option<SealedAnswer>, String>| {
        let session = new_session(&world.organisation, ContractVersion::V2, None, START);
        world.store.create_session_once(session, Some(Answer::new(token.to_owned(), compose)), START)
    };
    let sealed: fn(&Session) -> Result<Option<SealedAnswer>, String> =
        |session| Ok(Some(SealedAnswer { status: 201, sealed: session.id.to_string().into_bytes() }));
    let list = async || {
        let page = PageRequest { limit: 100, starting_after: None };
        world.store.list_sessions(&world.organisation, SessionFilter::default(), page, START).await.unwrap().items
    };
    // An answer that cannot be made, a key that was given up, a lease that was taken over: nothing is created.
    let token = fresh(begin(&world, &mine, "k", 1, START).await.unwrap());
    assert!(matches!(create(&token, |_| Err("no".into())).await, Err(StoreError::Answer(_))));
    world.store.abandon_idempotent(&token).await.unwrap();
    assert!(matches!(create(&token, sealed).await, Err(StoreError::KeyTakenOver)));
    let dead = fresh(begin(&world, &mine, "k", 1, START).await.unwrap());
    let heir = fresh(begin(&world, &mine, "k", 1, START.plus(LEASE)).await.unwrap());
    assert!(matches!(create(&dead, sealed).await, Err(StoreError::KeyTakenOver)));
    assert!(list().await.is_empty());

    let session = create(&heir, sealed).await.unwrap();
    let replay = begin(&world, &mine, "k", 1, START.plus(LEASE)).await.unwrap();
    assert!(replay == Begin::Replay { sealed: session.id.to_string().into_bytes(), status: 201 });
    assert!(matches!(create(&heir, sealed).await, Err(StoreError::KeyTakenOver)), "an answered key answers once");
    assert_eq!(list().await.len(), 1);
}

async fn a_refusal_frees_the_key_with_the_transaction_that_found_it(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    world.store.cancel_session(None, &session, START).await.unwrap();
    let token = fresh(begin(&world, &world.organisation, "k", 1, START).await.unwrap());
    let answer = Answer::new(token, |_: &OpenAttempt| Ok(None));
    let refused = world.store.open_attempt_once(new_attempt(&session, START), Some(answer), START).await.unwrap();
    assert!(matches!(refused, OpenAttempt::Terminal(_)));
    fresh(begin(&world, &world.organisation, "k", 2, START).await.unwrap());
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
