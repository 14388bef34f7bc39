use std::time::Duration;

use axum::http::StatusCode;
use proofmill_contract::{ContractVersion, SessionId, ShareFields, Timestamp};
use proofmill_store::{Answer, Begin, NewSession, SealedAnswer, Session, StoreError};
use serde_json::json;

use crate::support::{Tenant, World, key_body, text};

const SESSIONS: &str = "/v1/sessions";

#[tokio::test]
async fn the_same_request_gets_the_same_answer_for_a_day() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let body = json!({ "redirect_url": "https://example.com" });
    let first = world.post_once(&tenant.key, SESSIONS, "order-1", body.clone()).await;
    assert!(first.headers.get("idempotency-replayed").is_none());
    let token = text(&first.json["data"]["cancel_token"]);
    assert!(!world.any_file_holds(&token), "the stored answer is sealed");

    world.advance(Duration::from_secs(86_000));
    let again = world.post_once(&tenant.key, SESSIONS, "order-1", body.clone()).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!((again.status, &again.json), (StatusCode::CREATED, &first.json));
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));

    world.advance(Duration::from_secs(401));
    let fresh = world.post_once(&tenant.key, SESSIONS, "order-1", body).await.data(StatusCode::CREATED);
    assert_ne!(fresh["id"], first.json["data"]["id"]);
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let first = world.post_once(&tenant.key, SESSIONS, "k", json!({})).await.data(StatusCode::CREATED);
    let changed = json!({ "contract_version": 1 });
    world.post_once(&tenant.key, SESSIONS, "k", changed).await.error("IDEMPOTENCY_KEY_REUSED");
    // Another route and another organisation have keys of their own.
    let endpoint = json!({ "url": "https://hooks.example.com" });
    world.post_once(&tenant.key, "/v1/webhooks/endpoints", "k", endpoint).await.data(StatusCode::CREATED);
    let theirs = world.post_once(&other.key, SESSIONS, "k", json!({})).await.data(StatusCode::CREATED);
    assert_ne!(theirs["id"], first["id"]);
}

#[tokio::test]
async fn a_refused_request_may_be_repeated() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let unavailable = json!({ "webhook_endpoint_id": format!("whe_{}", "0".repeat(32)) });
    for _ in 0..2 {
        let answer = world.post_once(&tenant.key, SESSIONS, "k", unavailable.clone()).await;
        answer.error("WEBHOOK_ENDPOINT_UNAVAILABLE");
        assert!(answer.headers.get("idempotency-replayed").is_none());
    }
    world.post_once(&tenant.key, SESSIONS, "k", json!({})).await.data(StatusCode::CREATED);
}

#[tokio::test]
async fn a_second_request_while_the_first_runs_is_told_so_and_a_dead_first_frees_it() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    // A first request of another process that never finishes.
    let route = "POST /v1/sessions";
    let fingerprint = world.state.deployment.hmac("fingerprint.request", &[route.as_bytes(), b"", b"{}"]).unwrap();
    let lease = Duration::from_secs(60);
    let store = &world.state.store;
    let begun =
        store.begin_idempotent(&tenant.organisation, route, "k", fingerprint, lease, world.now()).await.unwrap();
    assert!(matches!(begun, Begin::Fresh(_)));
    let answer = world.post_once(&tenant.key, SESSIONS, "k", json!({})).await;
    answer.error("IDEMPOTENCY_IN_PROGRESS");
    assert!(answer.headers.contains_key("retry-after"));
    world.advance(Duration::from_secs(61));
    world.post_once(&tenant.key, SESSIONS, "k", json!({})).await.data(StatusCode::CREATED);
}

#[tokio::test]
async fn every_creating_route_takes_a_key() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let endpoint = json!({ "url": "https://hooks.example.com" });
    let endpoints = "/v1/webhooks/endpoints";
    let made = world.post_once(&tenant.key, endpoints, "e", endpoint.clone()).await;
    let again = world.post_once(&tenant.key, endpoints, "e", endpoint).await;
    assert_eq!(made.json, again.json);
    let secret = text(&made.json["data"]["signing_secret"]);
    assert!(!world.any_file_holds(&secret), "secrets and stored answers are sealed");
    let id = text(&made.json["data"]["id"]);
    let session = text(&world.session(&tenant, json!({})).await["id"]);
    for (path, body) in [
        (format!("/v1/sessions/{session}/attempts"), json!({})),
        (format!("{endpoints}/{id}/keys"), key_body("k1")),
        (format!("{endpoints}/{id}/signing-secret/rotate"), json!({})),
    ] {
        let first = world.post_once(&tenant.key, &path, "x", body.clone()).await;
        let second = world.post_once(&tenant.key, &path, "x", body).await;
        assert_eq!(second.header("idempotency-replayed"), "true", "{path}: {}", second.text);
        assert_eq!(first.json, second.json);
    }
}

#[tokio::test]
async fn a_creation_whose_key_was_taken_over_is_undone() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let store = &world.state.store;
    // The lease ends before the work commits: another process takes the key over, and does the work.
    let begin =
        || store.begin_idempotent(&tenant.organisation, "route", "k", [1; 32], Duration::from_secs(1), world.now());
    let Begin::Fresh(slow) = begin().await.unwrap() else { panic!("the key is free") };
    world.advance(Duration::from_secs(2));
    let Begin::Fresh(heir) = begin().await.unwrap() else { panic!("the lease is over") };
    let create = |token: String| {
        let answer = Answer::new(token, |session: &Session| {
            Ok(Some(SealedAnswer { status: 201, sealed: session.id.as_str().as_bytes().to_vec() }))
        });
        store.create_session_once(new_session(&tenant, world.now()), Some(answer), world.now())
    };
    assert!(matches!(create(slow).await, Err(StoreError::KeyTakenOver)));
    let created = create(heir).await.unwrap();
    let Begin::Replay { sealed, status: 201 } = begin().await.unwrap() else { panic!("the answer is there") };
    assert_eq!(sealed, created.id.as_str().as_bytes());
    let list = world.get(&tenant.key, SESSIONS).await.data(StatusCode::OK);
    assert_eq!(list.as_array().unwrap().len(), 1);
}

fn new_session(tenant: &Tenant, now: Timestamp) -> NewSession {
    NewSession {
        id: SessionId::generate(now, &mut rand::rng()),
        organisation_id: tenant.organisation.clone(),
        contract_version: ContractVersion::V2,
        share_fields: ShareFields::default_contract(),
        redirect_url: None,
        webhook_endpoint_ids: None,
        cancel_token_hash: [0; 32],
        expires_at: now.plus(Duration::from_secs(3600)),
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    for key in ["", "a\tb", &"x".repeat(256)] {
        let message = world.post_once(&tenant.key, SESSIONS, key, json!({})).await.error("INVALID_REQUEST");
        assert!(message.contains("`Idempotency-Key`"));
    }
    world.post_once(&tenant.key, SESSIONS, &"x".repeat(255), json!({})).await.data(StatusCode::CREATED);
}

#[tokio::test]
async fn requests_racing_under_one_key_create_one_session() {
    let world = std::sync::Arc::new(World::new().await);
    let tenant = std::sync::Arc::new(world.tenant().await);
    let racers: Vec<_> = (0..8)
        .map(|_| {
            let (world, tenant) = (world.clone(), tenant.clone());
            tokio::spawn(async move { world.post_once(&tenant.key, SESSIONS, "race", json!({})).await })
        })
        .collect();
    let mut created = Vec::new();
    for racer in racers {
        let answer = racer.await.unwrap();
        match answer.status {
            StatusCode::CREATED => created.push(text(&answer.json["data"]["id"])),
            _ => drop(answer.error("IDEMPOTENCY_IN_PROGRESS")),
        }
    }
    created.dedup();
    assert_eq!(created.len(), 1);
    let list = world.get(&tenant.key, SESSIONS).await.data(StatusCode::OK);
    assert_eq!(list.as_array().unwrap().len(), 1);
}
