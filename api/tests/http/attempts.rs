use std::time::Duration;

use axum::http::StatusCode;
use proofmill_contract::limits::HANDOFF_LIFE;
use proofmill_contract::{ContractVersion, FailureCode, Outcome};
use serde_json::{Value, json};

use crate::support::{Form, World, text};

#[tokio::test]
async fn an_attempt_shows_its_gates_and_no_data() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, attempt) = world.submitted(&tenant).await;
    let path = format!("/v1/attempts/{attempt}");
    let queued = world.get(&tenant.key, &path).await.data(StatusCode::OK);
    assert_eq!((&queued["status"], &queued["phase"]), (&json!("in_progress"), &json!("queued")));
    assert_eq!((&queued["failure_code"], &queued["completed_at"]), (&Value::Null, &Value::Null));
    world.settle(&attempt, Outcome::Accepted).await;
    let settled = world.get(&tenant.key, &path).await.data(StatusCode::OK);
    assert_eq!((&settled["status"], &settled["phase"]), (&json!("succeeded"), &json!("settled")));
    assert_eq!(settled["checks"]["passive_authentication"], "not_run");
    assert_eq!(settled["checks"]["revocation_status"], "revocation_unknown");
    let mut names: Vec<&str> = settled.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["checks", "completed_at", "created_at", "failure_code", "id", "phase", "session_id", "status", "updated_at",]
    );
    let list = world.get(&tenant.key, &format!("/v1/sessions/{session}/attempts")).await.data(StatusCode::OK);
    assert_eq!(list, json!([settled]));
}

#[tokio::test]
async fn a_sessions_attempts_come_in_pages_newest_first_and_what_is_over_is_cancelled_at_first_sight() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let session = text(&world.session(&tenant, json!({})).await["id"]);
    let path = format!("/v1/sessions/{session}/attempts");
    let mut made = Vec::new();
    for _ in 0..3 {
        let handoff = world.post(&tenant.key, &path, json!({})).await.data(StatusCode::CREATED);
        made.insert(0, text(&handoff["attempt_id"]));
        world.advance(HANDOFF_LIFE);
    }
    // Nothing but this look has been at the last one since its time was over.
    let first = world.get(&tenant.key, &format!("{path}?limit=2")).await;
    assert_eq!(first.json["pagination"], json!({ "limit": 2, "has_more": true, "next_cursor": made[1] }));
    let first = first.data(StatusCode::OK);
    assert_eq!([&first[0]["id"], &first[1]["id"]], [made[0].as_str(), made[1].as_str()]);
    assert_eq!([&first[0]["status"], &first[1]["status"]], ["cancelled", "cancelled"]);
    let last = world.get(&tenant.key, &format!("{path}?limit=2&starting_after={}", made[1])).await;
    assert_eq!(last.json["pagination"], json!({ "limit": 2, "has_more": false, "next_cursor": null }));
    assert_eq!(last.data(StatusCode::OK)[0]["id"], made[2].as_str());

    let whole = world.get(&tenant.key, &path).await;
    assert_eq!(whole.json["pagination"], json!({ "limit": 10, "has_more": false, "next_cursor": null }));
    let with_session = world.get(&tenant.key, &format!("/v1/sessions/{session}?include_attempts=true")).await;
    let mut oldest_first = with_session.data(StatusCode::OK)["attempts"].as_array().unwrap().clone();
    oldest_first.reverse();
    assert_eq!(json!(oldest_first), whole.data(StatusCode::OK));

    let (_, foreign) = world.submitted(&tenant).await;
    for cursor in [foreign.as_str(), "nonsense"] {
        world.get(&tenant.key, &format!("{path}?starting_after={cursor}")).await.error("INVALID_CURSOR");
    }
    for query in ["limit=0", "limit=101", "status=failed"] {
        world.get(&tenant.key, &format!("{path}?{query}")).await.error("INVALID_REQUEST");
    }
}

#[tokio::test]
async fn evidence_that_comes_too_late_finds_its_attempt_cancelled() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let session = text(&world.session(&tenant, json!({})).await["id"]);
    let path = format!("/v1/sessions/{session}/attempts");
    let handoff = world.post(&tenant.key, &path, json!({})).await.data(StatusCode::CREATED);
    let (id, token) = (text(&handoff["attempt_id"]), text(&handoff["mobile_write_token"]));
    let seen = || async { world.get(&tenant.key, &format!("/v1/attempts/{id}")).await.data(StatusCode::OK) };
    world.advance(HANDOFF_LIFE - Duration::from_secs(1));
    assert_eq!(seen().await["status"], "in_progress");
    world.advance(Duration::from_secs(1));
    let put = format!("/v1/verify/attempts/{id}/evidence");
    world.put(&put, &token, Form::genuine()).await.error("HANDOFF_TOKEN_EXPIRED");
    let over = world.now();
    world.advance(Duration::from_secs(60));
    let seen = seen().await;
    assert_eq!((&seen["status"], &seen["phase"]), (&json!("cancelled"), &json!("settled")));
    assert_eq!(seen["completed_at"], json!(over), "since it was refused");
    let after = world.get(&tenant.key, &format!("/v1/sessions/{session}")).await.data(StatusCode::OK);
    assert_eq!((&after["nfc_tries_used"], &after["liveness_tries_used"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn failure_codes_speak_the_sessions_contract() {
    let world = World::new().await;
    for (version, code) in
        [(ContractVersion::V1, "passport_authenticity_failed"), (ContractVersion::V2, "document_data_invalid")]
    {
        let tenant = world.tenant_of(version).await;
        let (_, attempt) = world.submitted(&tenant).await;
        world.reject(&attempt, FailureCode::DocumentDataInvalid).await;
        let attempt = world.get(&tenant.key, &format!("/v1/attempts/{attempt}")).await.data(StatusCode::OK);
        assert_eq!(attempt["failure_code"], code);
    }
}

#[tokio::test]
async fn three_failures_of_a_check_end_a_session_of_contract_2() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let session = text(&world.session(&tenant, json!({})).await["id"]);
    for tries in 1..=3 {
        let path = format!("/v1/sessions/{session}/attempts");
        let handoff = world.post(&tenant.key, &path, json!({})).await.data(StatusCode::CREATED);
        let attempt = text(&handoff["attempt_id"]);
        world.submit(&tenant, &attempt, Form::genuine()).await.data(StatusCode::ACCEPTED);
        world.reject(&attempt, FailureCode::DocumentAuthenticityFailed).await;
        let after = world.get(&tenant.key, &format!("/v1/sessions/{session}")).await.data(StatusCode::OK);
        assert_eq!(after["nfc_tries_used"], tries);
    }
    let after = world.get(&tenant.key, &format!("/v1/sessions/{session}")).await.data(StatusCode::OK);
    assert_eq!((&after["status"], &after["failure_code"]), (&json!("failed"), &json!("document_authenticity_failed")));
    assert_ne!(after["completed_at"], Value::Null);
    let path = format!("/v1/sessions/{session}/attempts");
    world.post(&tenant.key, &path, json!({})).await.error("SESSION_TERMINAL");
}

#[tokio::test]
async fn a_long_poll_ends_with_the_verdict() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (_, attempt) = world.submitted(&tenant).await;
    let path = format!("/v1/attempts/{attempt}?wait=20");
    let (answer, _) = tokio::join!(world.get(&tenant.key, &path), async {
        tokio::task::yield_now().await;
        world.settle(&attempt, Outcome::Accepted).await
    });
    assert_eq!(answer.data(StatusCode::OK)["status"], "succeeded");
    for wait in ["21", "-1", "soon"] {
        let refused = world.get(&tenant.key, &format!("/v1/attempts/{attempt}?wait={wait}")).await;
        assert!(refused.error("INVALID_REQUEST").contains("`wait`"));
    }
}

#[tokio::test]
async fn a_long_poll_ends_when_the_process_drains() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (_, attempt) = world.submitted(&tenant).await;
    world.state.shutdown.cancel();
    let answer = world.get(&tenant.key, &format!("/v1/attempts/{attempt}?wait=20")).await;
    assert_eq!(answer.data(StatusCode::OK)["phase"], "queued");
}

#[tokio::test]
async fn an_unknown_attempt_is_not_found() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    world.get(&tenant.key, &format!("/v1/attempts/va_{}", "0".repeat(64))).await.error("NOT_FOUND");
    world.get(&tenant.key, "/v1/attempts/1").await.error("NOT_FOUND");
}
