use axum::http::StatusCode;
use proofmill_contract::{FailureCode, Outcome};
use serde_json::{Value, json};

use crate::support::{World, text};

#[tokio::test]
async fn a_holder_sees_the_status_and_nothing_else() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, attempt) = world.submitted(&tenant).await;
    world.reject(&attempt, FailureCode::LivenessFailed).await;
    let status = world.get("", &format!("/v1/verify/session/{session}/status")).await.data(StatusCode::OK);
    assert_eq!(
        status,
        json!({
            "session_id": session,
            "status": "in_progress",
            "is_terminal": false,
            "completed_at": null,
            "redirect_url": null,
            "nfc_tries_remaining": 3,
            "liveness_tries_remaining": 2,
        })
    );
}

#[tokio::test]
async fn the_cancel_token_works_once_and_only_for_its_session() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let session = world.session(&tenant, json!({})).await;
    let other = world.session(&tenant, json!({})).await;
    let path = format!("/v1/verify/session/{}/cancel", text(&session["id"]));
    let with = |token: &Value| json!({ "cancel_token": token });
    world.post("", &path, with(&other["cancel_token"])).await.error("CANCEL_TOKEN_INVALID");
    world.post("", &path, json!({ "cancel_token": "x" })).await.error("CANCEL_TOKEN_INVALID");
    assert!(world.post("", &path, json!({})).await.error("INVALID_REQUEST").contains("`cancel_token`"));
    let extra = json!({ "cancel_token": "x", "why": "y" });
    assert!(world.post("", &path, extra).await.error("INVALID_REQUEST").contains("`why`"));
    let first = world.post("", &path, with(&session["cancel_token"])).await;
    assert_eq!(first.status, StatusCode::NO_CONTENT);
    let again = world.post("", &path, with(&session["cancel_token"])).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT, "the session is terminal");
    let unknown = format!("/v1/verify/session/vs_{}/cancel", "0".repeat(64));
    world.post("", &unknown, with(&session["cancel_token"])).await.error("SESSION_NOT_FOUND");
    let after = world.get("", &format!("/v1/verify/session/{}/status", text(&session["id"]))).await;
    assert_eq!(after.json["data"]["status"], "cancelled");
}

#[tokio::test]
async fn withdrawing_an_undelivered_success_makes_it_a_cancel() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let body = json!({ "url": "https://hooks.example.com" });
    let endpoint = world.post(&tenant.key, "/v1/webhooks/endpoints", body).await.data(StatusCode::CREATED);
    let keys = format!("/v1/webhooks/endpoints/{}/keys", text(&endpoint["id"]));
    world.post(&tenant.key, &keys, crate::support::key_body("k")).await.data(StatusCode::CREATED);
    let session = world.session(&tenant, json!({})).await;
    let id = text(&session["id"]);
    let handoff =
        world.post("", &format!("/v1/verify/session/{id}/handoff"), json!({})).await.data(StatusCode::CREATED);
    let attempt = text(&handoff["attempt_id"]);
    world.submit(&tenant, &attempt, crate::support::Form::genuine()).await.data(StatusCode::ACCEPTED);
    world.settle(&attempt, Outcome::Accepted).await;
    world.advance(std::time::Duration::from_secs(1));
    let cancel = json!({ "cancel_token": session["cancel_token"] });
    let answer = world.post("", &format!("/v1/verify/session/{id}/cancel"), cancel).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
    let after = world.get(&tenant.key, &format!("/v1/sessions/{id}")).await.data(StatusCode::OK);
    assert_eq!(after["status"], "cancelled");
    let events = world.get(&tenant.key, "/v1/webhooks/events").await.data(StatusCode::OK);
    let types: Vec<_> = events.as_array().unwrap().iter().map(|event| text(&event["type"])).collect();
    assert_eq!(types, ["verification.session.cancelled", "verification.session.succeeded"]);
    let success = text(&events[1]["id"]);
    let replay = world.post(&tenant.key, &format!("/v1/webhooks/events/{success}/replay"), json!({})).await;
    replay.error("WEBHOOK_PAYLOAD_EXPIRED");
}
