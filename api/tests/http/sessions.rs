use std::time::Duration;

use axum::http::StatusCode;
use proofmill_contract::{ContractVersion, FailureCode};
use serde_json::{Value, json};

use crate::support::{Form, World, text};

#[tokio::test]
async fn a_new_session_is_as_published() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let session = world.session(&tenant, json!({ "redirect_url": "https://example.com/done" })).await;
    let id = text(&session["id"]);
    let token = text(&session["cancel_token"]);
    assert_eq!(token.len(), 48);
    assert_eq!(session["status"], "created");
    assert_eq!(session["contract_version"], 2);
    assert_eq!(session["redirect_url"], "https://example.com/done");
    assert_eq!(session["webhook_endpoint_id"], Value::Null);
    assert_eq!(session["failure_code"], Value::Null);
    assert_eq!((&session["nfc_tries_used"], &session["liveness_tries_used"]), (&json!(0), &json!(0)));
    assert_eq!(session["created_at"], "2026-11-22T09:30:00.000Z");
    assert_eq!(session["expires_at"], "2026-11-22T10:30:00.000Z");
    assert_eq!(session["completed_at"], Value::Null);
    assert_eq!(session["share_fields"]["kayle_document_id"]["required"], true);
    assert_eq!(session["share_fields"]["issuing_country_code"]["source"], "default");
    let page = format!("https://verify.example.com/verify/{id}");
    assert_eq!(session["verification_url"], format!("{page}?cancel_token={token}"));

    // The token is told once.
    let again = world.get(&tenant.key, &format!("/v1/sessions/{id}")).await.data(StatusCode::OK);
    assert_eq!(again["verification_url"], page);
    assert!(again.get("cancel_token").is_none());
    assert!(!world.any_file_holds(&token), "only a keyed hash of the cancel token is stored");
    assert!(!world.any_file_holds(&tenant.key), "only a hash of the key is stored");
}

#[tokio::test]
async fn the_organisation_chooses_the_contract_a_session_the_exception() {
    let world = World::new().await;
    let tenant = world.tenant_of(ContractVersion::V1).await;
    assert_eq!(world.session(&tenant, json!({})).await["contract_version"], 1);
    assert_eq!(world.session(&tenant, json!({ "contract_version": 2 })).await["contract_version"], 2);
    let wrong = world.post(&tenant.key, "/v1/sessions", json!({ "contract_version": 3 })).await;
    assert!(wrong.error("INVALID_REQUEST").contains("`contract_version`"));
}

#[tokio::test]
async fn a_bad_request_says_which_field() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let field = json!({ "required": true, "reason": "to know" });
    let many: serde_json::Map<String, Value> = (12..45).map(|n| (format!("age_over_{n}"), field.clone())).collect();
    let unknown_endpoint = format!("whe_{}", "0".repeat(32));
    let cases = [
        (json!({ "colour": "red" }), "INVALID_REQUEST", "`colour`"),
        (json!({ "contract_version": "two" }), "INVALID_REQUEST", "`contract_version`"),
        (json!({ "redirect_url": "http://example.com" }), "INVALID_REDIRECT_URL", "https://"),
        (json!({ "redirect_url": "https://user:secret@example.com" }), "INVALID_REDIRECT_URL", "user name"),
        (
            json!({ "redirect_url": format!("https://example.com/{}", "x".repeat(2048)) }),
            "INVALID_REDIRECT_URL",
            "2048",
        ),
        (json!({ "redirect_url": "https://" }), "INVALID_REDIRECT_URL", "URL"),
        (json!({ "redirect_url": "https:///x" }), "INVALID_REDIRECT_URL", "host"),
        (json!({ "redirect_url": "https://@example.com" }), "INVALID_REDIRECT_URL", "host"),
        (json!({ "redirect_url": "https://example.com\\@evil.example/x" }), "INVALID_REDIRECT_URL", "characters"),
        (json!({ "redirect_url": "https://example.com\u{0}" }), "INVALID_REQUEST", "NUL"),
        (json!([]), "INVALID_REQUEST", "JSON object"),
        (json!({ "contract_version": "1" }), "INVALID_REQUEST", "expected a whole number from 0 to 255"),
        (json!({ "share_fields": [] }), "INVALID_SHARE_FIELDS", "`share_fields`"),
        (json!({ "share_fields": { "shoe_size": field } }), "UNKNOWN_CLAIM_KEY", "`shoe_size`"),
        (json!({ "share_fields": { "age_over_9": field } }), "INVALID_AGE_GATE_KEY", "`age_over_9`"),
        (
            json!({ "share_fields": { "age_over_18": field, "age_over_21": field } }),
            "MULTIPLE_AGE_GATES_NOT_ALLOWED",
            "`age_over_21`",
        ),
        (json!({ "share_fields": { "family_name": { "required": true } } }), "REASON_REQUIRED", "family_name"),
        (
            json!({ "share_fields": { "family_name": { "required": true, "reason": "x".repeat(201) } } }),
            "REASON_TOO_LONG",
            "family_name",
        ),
        (json!({ "share_fields": many }), "TOO_MANY_SHARE_FIELDS", "33"),
        (json!({ "webhook_endpoint_id": 5 }), "INVALID_REQUEST", "`webhook_endpoint_id`"),
        (json!({ "webhook_endpoint_id": [] }), "INVALID_REQUEST", "`webhook_endpoint_id`"),
        (json!({ "webhook_endpoint_id": "whe_no" }), "WEBHOOK_ENDPOINT_UNAVAILABLE", "`webhook_endpoint_id`"),
        (json!({ "webhook_endpoint_id": unknown_endpoint }), "WEBHOOK_ENDPOINT_UNAVAILABLE", "whe_"),
        (json!({ "webhook_endpoint_id": [unknown_endpoint, unknown_endpoint] }), "INVALID_REQUEST", "given twice"),
    ];
    for (body, code, names) in cases {
        let answer = world.post(&tenant.key, "/v1/sessions", body.clone()).await;
        let message = answer.error(code);
        assert!(message.contains(names), "{body}: {message}");
    }
    let list = world.get(&tenant.key, "/v1/sessions").await.data(StatusCode::OK);
    assert_eq!(list, json!([]), "a refused request creates nothing");
}

#[tokio::test]
async fn a_session_names_its_endpoints_as_they_were_given() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let mut ids = Vec::new();
    for n in 0..2 {
        let body = json!({ "url": format!("https://hooks.example.com/{n}") });
        let endpoint = world.post(&tenant.key, "/v1/webhooks/endpoints", body).await.data(StatusCode::CREATED);
        ids.push(text(&endpoint["id"]));
    }
    let one = world.session(&tenant, json!({ "webhook_endpoint_id": ids[0] })).await;
    assert_eq!(one["webhook_endpoint_id"], json!(ids[0]));
    let both = world.session(&tenant, json!({ "webhook_endpoint_id": ids })).await;
    assert_eq!(both["webhook_endpoint_id"], json!(ids));
    let path = format!("/v1/webhooks/endpoints/{}", ids[1]);
    world.patch(&tenant.key, &path, json!({ "enabled": false })).await.data(StatusCode::OK);
    let body = json!({ "webhook_endpoint_id": ids });
    let refused = world.post(&tenant.key, "/v1/sessions", body).await.error("WEBHOOK_ENDPOINT_UNAVAILABLE");
    assert!(refused.contains(&ids[1]), "{refused}");
}

#[tokio::test]
async fn an_unknown_session_is_not_a_malformed_one() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let unknown = format!("/v1/sessions/vs_{}", "0".repeat(64));
    world.get(&tenant.key, &unknown).await.error("SESSION_NOT_FOUND");
    let malformed = world.get(&tenant.key, "/v1/sessions/vs_1").await.error("INVALID_SESSION_ID");
    assert!(malformed.contains("vs_"), "{malformed}");
}

#[tokio::test]
async fn pages_are_newest_first_and_stable_under_inserts() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(text(&world.session(&tenant, json!({})).await["id"]));
        world.advance(Duration::from_millis(5));
    }
    made.reverse();
    let ids = |page: &Value| page.as_array().unwrap().iter().map(|s| text(&s["id"])).collect::<Vec<_>>();
    let first = world.get(&tenant.key, "/v1/sessions?limit=2").await;
    assert_eq!(first.json["pagination"], json!({ "limit": 2, "has_more": true, "next_cursor": made[1] }));
    assert_eq!(ids(&first.json["data"]), made[..2]);
    world.session(&tenant, json!({})).await;
    let path = format!("/v1/sessions?limit=2&starting_after={}", made[1]);
    assert_eq!(ids(&world.get(&tenant.key, &path).await.json["data"]), made[2..4]);
    let path = format!("/v1/sessions?limit=2&starting_after={}", made[3]);
    let last = world.get(&tenant.key, &path).await;
    assert_eq!(ids(&last.json["data"]), made[4..]);
    assert_eq!(last.json["pagination"], json!({ "limit": 2, "has_more": false, "next_cursor": null }));
}

#[tokio::test]
async fn lists_filter_and_refuse_what_they_do_not_know() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let old = text(&world.session(&tenant, json!({})).await["id"]);
    world.post(&tenant.key, &format!("/v1/sessions/{old}/cancel"), json!({})).await;
    world.advance(Duration::from_secs(60));
    let (new, attempt) = world.submitted(&tenant).await;
    let only = |path: &'static str| {
        let (world, tenant) = (&world, &tenant);
        async move {
            let page = world.get(&tenant.key, path).await.data(StatusCode::OK);
            page.as_array().unwrap().iter().map(|s| text(&s["id"])).collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(only("/v1/sessions?status=cancelled").await, old);
    assert_eq!(only("/v1/sessions?status=in_progress").await, new);
    assert_eq!(only("/v1/sessions?created_from=2026-11-22T09:30:30Z").await, new);
    assert_eq!(only("/v1/sessions?created_to=2026-11-22T09:30:30Z").await, old);
    let with = world.get(&tenant.key, "/v1/sessions?status=in_progress&include_attempts=true").await;
    assert_eq!(with.json["data"][0]["attempts"][0]["id"], json!(attempt));
    let one = world.get(&tenant.key, &format!("/v1/sessions/{new}?include_attempts=true")).await.data(StatusCode::OK);
    assert_eq!(one["attempts"][0]["phase"], "queued");

    for (query, names) in [
        ("limit=0", "`limit`"),
        ("limit=101", "`limit`"),
        ("limit=ten", "`limit`"),
        ("status=done", "`status`"),
        ("created_from=yesterday", "`created_from`"),
        ("include_attempts=maybe", "`include_attempts`"),
        ("order=asc", "`order`"),
        ("limit=1&limit=2", "`limit`"),
    ] {
        let message = world.get(&tenant.key, &format!("/v1/sessions?{query}")).await.error("INVALID_REQUEST");
        assert!(message.contains(names), "{query}: {message}");
    }
    world.get(&tenant.key, "/v1/sessions?starting_after=vs_1").await.error("INVALID_CURSOR");
}

#[tokio::test]
async fn cancelling_is_idempotent_and_destroys_submitted_evidence() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, attempt) = world.submitted(&tenant).await;
    assert_eq!(world.sealed_objects().await, 1);
    let path = format!("/v1/sessions/{session}/cancel");
    for _ in 0..2 {
        let answer = world.post(&tenant.key, &path, json!({})).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""));
    }
    assert_eq!(world.sealed_objects().await, 0);
    let after = world.get(&tenant.key, &format!("/v1/sessions/{session}")).await.data(StatusCode::OK);
    assert_eq!(after["status"], "cancelled");
    let attempt = world.get(&tenant.key, &format!("/v1/attempts/{attempt}")).await.data(StatusCode::OK);
    assert_eq!((&attempt["status"], &attempt["phase"]), (&json!("cancelled"), &json!("settled")));
    let events = world.get(&tenant.key, "/v1/webhooks/events").await.data(StatusCode::OK);
    assert_eq!(events.as_array().unwrap().len(), 1);
    assert_eq!(events[0]["type"], "verification.session.cancelled");
}

#[tokio::test]
async fn an_hour_later_a_session_is_expired_on_first_sight() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let id = text(&world.session(&tenant, json!({})).await["id"]);
    world.advance(Duration::from_secs(3599));
    let before = world.get("", &format!("/v1/verify/session/{id}/status")).await.data(StatusCode::OK);
    assert_eq!(before["status"], "created");
    world.advance(Duration::from_secs(1));
    let after = world.get(&tenant.key, &format!("/v1/sessions/{id}")).await.data(StatusCode::OK);
    assert_eq!(after["status"], "expired");
    world.post("", &format!("/v1/verify/session/{id}/handoff"), json!({})).await.error("SESSION_EXPIRED");
    let events = world.get(&tenant.key, "/v1/webhooks/events?type=verification.session.expired").await;
    assert_eq!(events.json["data"].as_array().unwrap().len(), 1, "exactly one event");
}

#[tokio::test]
async fn the_limits_of_a_session_are_inclusive() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let longest = format!("https://example.com/{}", "x".repeat(2048 - 20));
    assert_eq!(longest.len(), 2048);
    let session = world.session(&tenant, json!({ "redirect_url": longest })).await;
    assert_eq!(session["redirect_url"], json!(longest));
    let longer = world.post(&tenant.key, "/v1/sessions", json!({ "redirect_url": format!("{longest}x") })).await;
    longer.error("INVALID_REDIRECT_URL");

    let mut ids = Vec::new();
    for n in 0..26 {
        let body = json!({ "url": format!("https://hooks.example.com/{n}") });
        let endpoint = world.post(&tenant.key, "/v1/webhooks/endpoints", body).await.data(StatusCode::CREATED);
        ids.push(text(&endpoint["id"]));
    }
    let all = world.session(&tenant, json!({ "webhook_endpoint_id": ids[..25] })).await;
    assert_eq!(all["webhook_endpoint_id"].as_array().unwrap().len(), 25);
    let too_many = world.post(&tenant.key, "/v1/sessions", json!({ "webhook_endpoint_id": ids })).await;
    assert!(too_many.error("INVALID_REQUEST").contains("1 to 25"));
    let foreign = world.tenant().await;
    let refused = world.post(&foreign.key, "/v1/sessions", json!({ "webhook_endpoint_id": ids[0] })).await;
    assert!(refused.error("WEBHOOK_ENDPOINT_UNAVAILABLE").contains(&ids[0]));

    // What is null is not said; an empty body says nothing either.
    let nulls =
        json!({ "share_fields": null, "redirect_url": null, "webhook_endpoint_id": null, "contract_version": null });
    let said_nothing = world.session(&tenant, nulls).await;
    assert_eq!(said_nothing["share_fields"].as_object().unwrap().len(), 3);
    assert_eq!(said_nothing["contract_version"], 2);
    let minimal = world.session(&tenant, json!({ "share_fields": {} })).await;
    assert_eq!(minimal["share_fields"].as_object().unwrap().keys().collect::<Vec<_>>(), ["kayle_document_id"]);
}

#[tokio::test]
async fn a_cursor_is_an_id_of_the_callers_own_whatever_the_filter() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let first = text(&world.session(&tenant, json!({})).await["id"]);
    world.advance(Duration::from_millis(5));
    let second = text(&world.session(&tenant, json!({})).await["id"]);
    world.post(&tenant.key, &format!("/v1/sessions/{second}/cancel"), json!({})).await;
    let after = format!("/v1/sessions?starting_after={second}&status=created");
    let page = world.get(&tenant.key, &after).await.data(StatusCode::OK);
    let found: Vec<_> = page.as_array().unwrap().iter().map(|s| text(&s["id"])).collect();
    assert_eq!(found, [&*first]);
    let foreign = world.tenant().await;
    world.get(&foreign.key, &format!("/v1/sessions?starting_after={first}")).await.error("INVALID_CURSOR");
    let unknown = format!("/v1/sessions?starting_after=vs_{}", "0".repeat(64));
    world.get(&tenant.key, &unknown).await.error("INVALID_CURSOR");
    let between = "/v1/sessions?created_from=2026-11-22T09:30:00.001Z&created_to=2026-11-22T10:30:00%2B01:00";
    assert_eq!(world.get(&tenant.key, between).await.data(StatusCode::OK), json!([]), "the window is empty");
}

#[tokio::test]
async fn each_contract_tells_a_session_in_its_own_words() {
    let world = World::new().await;
    for (version, status, code) in [
        (ContractVersion::V1, "completed", "passport_authenticity_failed"),
        (ContractVersion::V2, "failed", "document_data_invalid"),
    ] {
        let tenant = world.tenant_of(version).await;
        let session = text(&world.session(&tenant, json!({})).await["id"]);
        let path = format!("/v1/sessions/{session}");
        for n in 1..=3 {
            let opened =
                world.post(&tenant.key, &format!("{path}/attempts"), json!({})).await.data(StatusCode::CREATED);
            let attempt = text(&opened["attempt_id"]);
            world.submit(&tenant, &attempt, Form::genuine()).await.data(StatusCode::ACCEPTED);
            world.reject(&attempt, FailureCode::DocumentDataInvalid).await;
            world.advance(Duration::from_millis(5));
            let now = world.get(&tenant.key, &path).await.data(StatusCode::OK);
            assert_eq!((&now["nfc_tries_used"], &now["liveness_tries_used"]), (&json!(n), &json!(0)));
            assert_eq!(now["status"], if n < 3 { "in_progress" } else { status });
            assert_eq!(now["failure_code"], if n < 3 { Value::Null } else { json!(code) });
        }
        let told = world.get(&tenant.key, &format!("{path}?include_attempts=true")).await.data(StatusCode::OK);
        let attempts = told["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 3);
        assert!(attempts.iter().all(|attempt| attempt["failure_code"] == code && attempt["status"] == "failed"));
        let ids: Vec<_> = attempts.iter().map(|attempt| text(&attempt["id"])).collect();
        assert!(ids.is_sorted(), "oldest first");
        world.post(&tenant.key, &format!("{path}/attempts"), json!({})).await.error("SESSION_TERMINAL");
        let progress = world.get("", &format!("/v1/verify/session/{session}/status")).await.data(StatusCode::OK);
        assert_eq!((&progress["status"], &progress["is_terminal"]), (&json!(status), &json!(true)));
        assert_eq!((&progress["nfc_tries_remaining"], &progress["liveness_tries_remaining"]), (&json!(0), &json!(3)));
        assert_eq!(progress["completed_at"], told["completed_at"]);
        let cancel = world.post(&tenant.key, &format!("{path}/cancel"), json!({})).await;
        assert_eq!(cancel.status, StatusCode::NO_CONTENT, "no-op when terminal");
        assert_eq!(world.get(&tenant.key, &path).await.data(StatusCode::OK)["status"], status);
    }
}

#[tokio::test]
async fn first_sight_and_sweep_expire_a_session_once() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let session = world.session(&tenant, json!({})).await;
    let id = text(&session["id"]);
    world.advance(Duration::from_secs(3600));
    let store = &world.state.store;
    let status = format!("/v1/verify/session/{id}/status");
    let (swept, seen, listed) = tokio::join!(
        store.expire_due(world.now(), 100),
        world.get("", &status),
        world.get(&tenant.key, "/v1/sessions?status=expired")
    );
    swept.unwrap();
    assert_eq!(seen.json["data"]["status"], "expired");
    assert_eq!(listed.json["data"].as_array().unwrap().len(), 1, "a filtered list sees it too");
    let cancel = json!({ "cancel_token": session["cancel_token"] });
    let cancelled = world.post("", &format!("/v1/verify/session/{id}/cancel"), cancel).await;
    assert_eq!(cancelled.status, StatusCode::NO_CONTENT, "there is nothing left to cancel");
    let events = world.get(&tenant.key, "/v1/webhooks/events").await.data(StatusCode::OK);
    assert_eq!(events.as_array().unwrap().len(), 1);
    assert_eq!(events[0]["type"], "verification.session.expired");
}

#[tokio::test]
async fn a_claim_that_is_asked_for_twice_is_refused() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let field = r#"{"required":true,"reason":"x"}"#;
    for (fields, path) in [
        (format!(r#"{{"sex_marker":{field},"sex_marker":{field}}}"#), "`share_fields.sex_marker`"),
        (
            r#"{"sex_marker":{"required":true,"reason":"x","reason":"y"}}"#.to_owned(),
            "`share_fields.sex_marker.reason`",
        ),
    ] {
        let request = crate::support::request(axum::http::Method::POST, "/v1/sessions", &tenant.key)
            .header("content-type", "application/json")
            .body(axum::body::Body::from(format!(r#"{{"share_fields":{fields}}}"#)))
            .unwrap();
        let message = world.send(request).await.error("INVALID_SHARE_FIELDS");
        assert!(message.contains(path), "{message}");
    }
}
