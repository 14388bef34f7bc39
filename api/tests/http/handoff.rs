use std::time::Duration;

use axum::http::StatusCode;
use proofmill_contract::{FailureCode, Outcome};
use serde_json::{Value, json};

use crate::support::{Form, World, text};

#[tokio::test]
async fn an_opened_attempt_is_as_published_and_asking_again_gives_the_same() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, handoff) = world.opened(&tenant).await;
    assert_eq!(handoff["v"], 1);
    assert_eq!(handoff["session_id"], session);
    assert_eq!(handoff["expires_at"], "2026-11-22T09:35:00.000Z");
    assert_eq!(text(&handoff["active_authentication_challenge"]).len(), 16);
    assert_eq!(handoff["contract_version"], 2);
    assert_eq!(handoff["organisation_name"], "Example & Söhne");
    assert_eq!(handoff["chip_evidence"], "required");
    assert_eq!(handoff["redirect_url"], Value::Null);
    assert_eq!(handoff["share_fields"]["kayle_document_id"]["required"], true);
    let token = text(&handoff["mobile_write_token"]);
    assert_eq!(token.len(), 64);

    world.advance(Duration::from_secs(60));
    let again = world.post("", &format!("/v1/verify/session/{session}/handoff"), json!({})).await;
    assert_eq!(again.data(StatusCode::OK), handoff);
    let by_key = world.post(&tenant.key, &format!("/v1/sessions/{session}/attempts"), json!({})).await;
    assert_eq!(by_key.data(StatusCode::OK), handoff);
    assert!(!world.any_file_holds(&token), "the write token is derived, never stored");
    let extra = world.post("", &format!("/v1/verify/session/{session}/handoff"), json!({ "lane": "bulk" })).await;
    assert!(extra.error("INVALID_REQUEST").contains("`lane`"));
}

#[tokio::test]
async fn a_phone_that_lost_the_answer_gets_it_again_by_its_idempotency_key() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let [one, other] = [0, 1].map(|_| world.session(&tenant, json!({})));
    let path = |session: &Value| format!("/v1/verify/session/{}/handoff", text(&session["id"]));
    let (one, other) = (path(&one.await), path(&other.await));
    let first = world.post_once("", &one, "k", json!({})).await;
    let again = world.post_once("", &one, "k", json!({})).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (StatusCode::CREATED, "true"));
    assert_eq!(again.json, first.json);
    let elsewhere = world.post_once("", &other, "k", json!({})).await;
    assert!(!elsewhere.headers.contains_key("idempotency-replayed"));
    assert_ne!(elsewhere.data(StatusCode::CREATED)["session_id"], first.json["data"]["session_id"]);
    assert!(!world.any_file_holds(first.json["data"]["mobile_write_token"].as_str().unwrap()));
    world.post_once("", &one, "", json!({})).await.error("INVALID_REQUEST");
}

#[tokio::test]
async fn an_attempt_not_submitted_in_time_is_cancelled_and_nobody_is_charged() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, handoff) = world.opened(&tenant).await;
    let attempt = text(&handoff["attempt_id"]);
    let (path, token) = (format!("/v1/verify/attempts/{attempt}/evidence"), text(&handoff["mobile_write_token"]));
    world.advance(Duration::from_secs(300));
    world.put(&path, &token, Form::genuine()).await.error("HANDOFF_TOKEN_EXPIRED");
    let by_key = world.submit(&tenant, &attempt, Form::genuine()).await.error("CONFLICT");
    assert!(by_key.contains("not submitted in time"), "{by_key}");
    assert_eq!(world.sealed_objects().await, 0);

    let next = world.post("", &format!("/v1/verify/session/{session}/handoff"), json!({})).await;
    let next = next.data(StatusCode::CREATED);
    assert_ne!(next["attempt_id"], handoff["attempt_id"]);
    assert_ne!(next["active_authentication_challenge"], handoff["active_authentication_challenge"]);
    assert_ne!(next["mobile_write_token"], handoff["mobile_write_token"]);
    let old = world.get(&tenant.key, &format!("/v1/attempts/{attempt}")).await.data(StatusCode::OK);
    assert_eq!(old["status"], "cancelled");
    let after = world.get(&tenant.key, &format!("/v1/sessions/{session}")).await.data(StatusCode::OK);
    assert_eq!((&after["nfc_tries_used"], &after["liveness_tries_used"]), (&json!(0), &json!(0)));
    // The old token writes neither to its own attempt nor to the new one.
    world.put(&path, &token, Form::genuine()).await.error("HANDOFF_TOKEN_EXPIRED");
    let new_path = format!("/v1/verify/attempts/{}/evidence", text(&next["attempt_id"]));
    world.put(&new_path, &token, Form::genuine()).await.error("HANDOFF_TOKEN_INVALID");
}

#[tokio::test]
async fn one_attempt_is_verified_at_a_time() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, attempt) = world.submitted(&tenant).await;
    let path = format!("/v1/verify/session/{session}/handoff");
    world.post("", &path, json!({})).await.error("SESSION_IN_PROGRESS");
    world.reject(&attempt, FailureCode::SelfieFaceMismatch).await;
    let next = world.post("", &path, json!({})).await.data(StatusCode::CREATED);
    assert_ne!(next["attempt_id"], json!(attempt));
}

#[tokio::test]
async fn an_ended_session_opens_nothing() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, attempt) = world.submitted(&tenant).await;
    world.settle(&attempt, Outcome::Accepted).await;
    let path = format!("/v1/verify/session/{session}/handoff");
    assert!(world.post("", &path, json!({})).await.error("SESSION_TERMINAL").contains("succeeded"));
    let unknown = format!("/v1/verify/session/vs_{}/handoff", "0".repeat(64));
    world.post("", &unknown, json!({})).await.error("SESSION_NOT_FOUND");
    world.post("", "/v1/verify/session/me/handoff", json!({})).await.error("INVALID_SESSION_ID");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn phones_that_race_get_the_same_attempt() {
    let world = std::sync::Arc::new(World::new().await);
    let tenant = world.tenant().await;
    let session = text(&world.session(&tenant, json!({})).await["id"]);
    let racers: Vec<_> = (0..8)
        .map(|_| {
            let (world, path) = (world.clone(), format!("/v1/verify/session/{session}/handoff"));
            tokio::spawn(async move { world.post("", &path, json!({})).await })
        })
        .collect();
    let mut opened = Vec::new();
    for racer in racers {
        let answer = racer.await.unwrap();
        assert!(answer.status.is_success(), "{}", answer.text);
        opened.push(answer.json["data"].clone());
    }
    opened.dedup();
    assert_eq!(opened.len(), 1);
}
