use std::time::Duration;

use axum::http::StatusCode;
use proofmill_contract::{FailureCode, Outcome};
use proofmill_store::{DeliveryOutcome, DueDelivery};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Answer, Tenant, World, text};

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

#[tokio::test]
async fn a_cancel_says_whether_a_check_had_failed_and_a_withdrawal_what_had_ended() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let body = json!({ "url": "https://hooks.example.com" });
    let endpoint = world.post(&tenant.key, "/v1/webhooks/endpoints", body).await.data(StatusCode::CREATED);
    let (key_body, key) = crate::support::key_pair("k");
    let keys = format!("/v1/webhooks/endpoints/{}/keys", text(&endpoint["id"]));
    world.post(&tenant.key, &keys, key_body).await.data(StatusCode::CREATED);

    let cases: [(&[Outcome], &str); 4] = [
        (&[], "cancelled"),
        (&[Outcome::Rejected(FailureCode::LivenessFailed)], "cancelled_after_failed_check"),
        (&[Outcome::Accepted], "privacy_cancelled_after_terminal_success"),
        (
            &[Outcome::Rejected(FailureCode::DocumentAntiCloningAttestationFailed)],
            "privacy_cancelled_after_terminal_failure",
        ),
    ];
    for (outcomes, reason) in cases {
        let session = world.session(&tenant, json!({})).await;
        let id = text(&session["id"]);
        for outcome in outcomes {
            let opened = world.post("", &format!("/v1/verify/session/{id}/handoff"), json!({})).await;
            let attempt = text(&opened.data(StatusCode::CREATED)["attempt_id"]);
            world.submit(&tenant, &attempt, crate::support::Form::genuine()).await.data(StatusCode::ACCEPTED);
            world.settle(&attempt, *outcome).await;
        }
        world.advance(std::time::Duration::from_secs(1));
        let cancel = json!({ "cancel_token": session["cancel_token"] });
        let answer = world.post("", &format!("/v1/verify/session/{id}/cancel"), cancel).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
        let lease = std::time::Duration::from_secs(60);
        let due = world.state.store.claim_due_deliveries(10, 10, lease, world.now()).await.unwrap();
        assert_eq!(due.len(), 1, "{reason}: what was not delivered is destroyed");
        let told: Value = serde_json::from_slice(&key.decrypt(&due[0].payload).unwrap()).unwrap();
        assert_eq!(told["type"], "verification.session.cancelled");
        assert_eq!((&told["data"]["reason"], &told["data"]["outcome"]), (&json!(reason), &json!("not_verified")));
        let delivered = proofmill_store::DeliveryOutcome::Delivered { status: 200 };
        assert!(
            world.state.store.record_delivery(&due[0].id, &due[0].lease_token, delivered, world.now()).await.unwrap()
        );
        let after = world.get(&tenant.key, &format!("/v1/sessions/{id}")).await.data(StatusCode::OK);
        assert_eq!(after["status"], "cancelled", "{reason}");
    }
}

/// A success that is being sent to its endpoint while its holder's cancel waits, in a runtime of its own.
struct InFlight {
    world: World,
    tenant: Tenant,
    session: String,
    due: DueDelivery,
    server: tokio::runtime::Runtime,
    request: tokio::task::JoinHandle<Answer>,
}

impl InFlight {
    async fn new() -> Self {
        let world = World::new().await;
        let tenant = world.tenant().await;
        let body = json!({ "url": "https://hooks.example.com" });
        let endpoint = world.post(&tenant.key, "/v1/webhooks/endpoints", body).await.data(StatusCode::CREATED);
        let keys = format!("/v1/webhooks/endpoints/{}/keys", text(&endpoint["id"]));
        world.post(&tenant.key, &keys, crate::support::key_body("k")).await.data(StatusCode::CREATED);
        let created = world.session(&tenant, json!({})).await;
        let session = text(&created["id"]);
        let handoff = format!("/v1/verify/session/{session}/handoff");
        let handoff = world.post("", &handoff, json!({})).await.data(StatusCode::CREATED);
        let attempt = text(&handoff["attempt_id"]);
        world.submit(&tenant, &attempt, crate::support::Form::genuine()).await.data(StatusCode::ACCEPTED);
        world.settle(&attempt, Outcome::Accepted).await;
        let lease = Duration::from_secs(60);
        let due = world.state.store.claim_due_deliveries(1, 1, lease, world.now()).await.unwrap().remove(0);

        let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let cancel = json!({ "cancel_token": created["cancel_token"] });
        let request = server.spawn(world.posting(&format!("/v1/verify/session/{session}/cancel"), &cancel));
        let this = Self { world, tenant, session, due, server, request };
        this.until("the withdrawal was taken down", async |this| {
            !this.delivery().await["payload_available"].as_bool().unwrap()
        })
        .await;
        assert_eq!(this.status().await, "succeeded", "it depends on the delivery");
        this
    }

    async fn until(&self, what: &str, met: impl AsyncFn(&Self) -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !met(self).await {
            assert!(std::time::Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn delivery(&self) -> Value {
        let list = self.world.get(&self.tenant.key, "/v1/webhooks/deliveries").await.data(StatusCode::OK);
        list.as_array().unwrap().last().unwrap().clone()
    }

    async fn status(&self) -> String {
        let session = self.world.get(&self.tenant.key, &format!("/v1/sessions/{}", self.session)).await;
        text(&session.data(StatusCode::OK)["status"])
    }

    async fn send_fails(&self) {
        self.world.advance(Duration::from_secs(1));
        let at = self.world.now().plus(Duration::from_secs(5));
        let failed = DeliveryOutcome::Retry { at, status: Some(500), error: "500".into(), maybe_received: false };
        let store = &self.world.state.store;
        assert!(store.record_delivery(&self.due.id, &self.due.lease_token, failed, self.world.now()).await.unwrap());
    }

    async fn one_replacement(&self) {
        let events = self.world.get(&self.tenant.key, "/v1/webhooks/events").await.data(StatusCode::OK);
        let types: Vec<_> = events.as_array().unwrap().iter().map(|event| text(&event["type"])).collect();
        assert_eq!(types, ["verification.session.cancelled", "verification.session.succeeded"]);
    }
}

#[tokio::test]
async fn a_holder_who_leaves_while_a_withdrawal_waits_is_withdrawn_all_the_same() {
    let waiting = InFlight::new().await;
    waiting.request.abort();
    waiting.send_fails().await;
    waiting.until("the withdrawal was finished", async |this| this.status().await == "cancelled").await;
    waiting.one_replacement().await;
    waiting.server.shutdown_background();
}

#[tokio::test]
async fn a_withdrawal_whose_process_ended_is_finished_by_the_sweep_once() {
    let waiting = InFlight::new().await;
    let InFlight { world, tenant, session, due, server, request } = waiting;
    // Everything the request started ends with its runtime.
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
    let server = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let waiting = InFlight { world, tenant, session, due, server, request };
    let (go, sweeps) = (CancellationToken::new(), crate::background::sweeps(&waiting.world));
    assert_eq!(sweeps.withdrawals(&go).await.unwrap(), 0, "it is still being sent");
    waiting.send_fails().await;
    assert_eq!(waiting.status().await, "succeeded");
    let (a, b) = tokio::join!(sweeps.withdrawals(&go), sweeps.withdrawals(&go));
    assert_eq!(a.unwrap() + b.unwrap(), 1);
    assert_eq!(waiting.status().await, "cancelled");
    waiting.one_replacement().await;
    assert_eq!(sweeps.withdrawals(&go).await.unwrap(), 0);
    waiting.one_replacement().await;
    waiting.server.shutdown_background();
}
