use std::time::Duration;

use axum::http::StatusCode;
use proofmill_contract::Outcome;
use proofmill_jose::DecryptionKey;
use serde_json::{Value, json};

use crate::support::{Tenant, World, key_body, text};

const ENDPOINTS: &str = "/v1/webhooks/endpoints";

async fn endpoint(world: &World, tenant: &Tenant) -> Value {
    let body = json!({ "url": "https://hooks.example.com/in" });
    world.post(&tenant.key, ENDPOINTS, body).await.data(StatusCode::CREATED)
}

#[tokio::test]
async fn an_endpoint_is_as_published_and_tells_its_secret_once() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let made = endpoint(&world, &tenant).await;
    let secret = text(&made["signing_secret"]);
    assert!(secret.starts_with("whsec_") && secret.len() == 38);
    assert!(!world.any_file_holds(&secret));
    assert_eq!(made["enabled"], true);
    assert_eq!(made["labels"], json!([]));
    assert_eq!(made["name"], Value::Null);
    assert_eq!(made["undelivered_payload_retention_hours"], 72);
    assert_eq!(made["subscribed_event_types"].as_array().unwrap().len(), 6);
    assert_eq!(made["disabled_at"], Value::Null);
    let path = format!("{ENDPOINTS}/{}", text(&made["id"]));
    let got = world.get(&tenant.key, &path).await.data(StatusCode::OK);
    assert!(got.get("signing_secret").is_none());
    assert_eq!(world.get(&tenant.key, ENDPOINTS).await.data(StatusCode::OK), json!([got]));
}

#[tokio::test]
async fn webhooks_go_to_public_https_hosts_only() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    for url in [
        "http://hooks.example.com",
        "https://user@hooks.example.com",
        "https://localhost/in",
        "https://127.0.0.1/in",
        "https://10.1.2.3/in",
        "https://192.168.1.1",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1",
        "https://[::1]/in",
        "https://[::ffff:127.0.0.1]/",
        "https://[fd00::1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://intranet/",
        "ftp://hooks.example.com",
        "hooks.example.com",
        "https://@hooks.example.com",
        "https:hooks.example.com",
        "https:///hooks.example.com",
        "https://hooks..example.com",
        "https://hooks.example.com/#x",
        "https://hooks.payments.svc/",
        "https://168.63.129.16/",
        "",
    ] {
        let answer = world.post(&tenant.key, ENDPOINTS, json!({ "url": url })).await;
        assert!(answer.error("WEBHOOK_URL_REJECTED").contains("`url`"), "{url}");
    }
    let long = format!("https://hooks.example.com/{}", "x".repeat(2048));
    world.post(&tenant.key, ENDPOINTS, json!({ "url": long })).await.error("WEBHOOK_URL_REJECTED");
    let path = format!("{ENDPOINTS}/{}", text(&endpoint(&world, &tenant).await["id"]));
    let moved = world.patch(&tenant.key, &path, json!({ "url": "https://10.0.0.1" })).await;
    moved.error("WEBHOOK_URL_REJECTED");
}

#[tokio::test]
async fn the_development_switch_lets_loopback_through_and_nothing_else() {
    let world = World::with(|config| config.allow_loopback_webhooks = true).await;
    let tenant = world.tenant().await;
    for url in ["http://127.0.0.1:9000/in", "http://localhost:9000", "http://[::1]:9000/"] {
        world.post(&tenant.key, ENDPOINTS, json!({ "url": url })).await.data(StatusCode::CREATED);
    }
    for url in ["http://hooks.example.com", "http://10.0.0.1", "https://192.168.1.1", "http://169.254.169.254"] {
        world.post(&tenant.key, ENDPOINTS, json!({ "url": url })).await.error("WEBHOOK_URL_REJECTED");
    }
}

#[tokio::test]
async fn endpoint_fields_are_checked_by_name() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let with = |name: &str, value: Value| {
        let mut body = json!({ "url": "https://hooks.example.com" });
        body[name] = value;
        body
    };
    for (body, names) in [
        (json!({}), "`url`"),
        (with("colour", json!("red")), "`colour`"),
        (with("name", json!("")), "`name`"),
        (with("name", json!("x".repeat(201))), "`name`"),
        (with("labels", json!(["a", "b", "c", "d", "e", "f", "g", "h", "i"])), "`labels`"),
        (with("labels", json!(["a", ""])), "`labels[1]`"),
        (with("labels", json!(["a", 5])), "`labels[1]`"),
        (with("enabled", json!("yes")), "`enabled`"),
        (with("subscribed_event_types", json!([])), "`subscribed_event_types`"),
        (with("subscribed_event_types", json!(["session.done"])), "`subscribed_event_types[0]`"),
        (with("undelivered_payload_retention_hours", json!(48)), "`undelivered_payload_retention_hours`"),
    ] {
        let message = world.post(&tenant.key, ENDPOINTS, body.clone()).await.error("INVALID_REQUEST");
        assert!(message.contains(names), "{body}: {message}");
    }
}

#[tokio::test]
async fn an_organisation_has_fifty_endpoints_at_most() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    for _ in 0..50 {
        endpoint(&world, &tenant).await;
    }
    let refused = world.post(&tenant.key, ENDPOINTS, json!({ "url": "https://hooks.example.com" })).await;
    assert!(refused.error("CONFLICT").contains("50 webhook endpoints"));
    endpoint(&world, &world.tenant().await).await;
}

#[tokio::test]
async fn an_endpoint_changes_field_by_field_and_goes() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let body = json!({ "url": "https://hooks.example.com", "name": "billing", "labels": ["eu"] });
    let made = world.post(&tenant.key, ENDPOINTS, body).await.data(StatusCode::CREATED);
    let path = format!("{ENDPOINTS}/{}", text(&made["id"]));
    world.advance(Duration::from_secs(1));
    let change = json!({ "enabled": false, "subscribed_event_types": ["verification.session.failed"] });
    let changed = world.patch(&tenant.key, &path, change).await.data(StatusCode::OK);
    assert_eq!(changed["enabled"], false);
    assert_eq!(changed["disabled_at"], "2026-11-22T09:30:01.000Z");
    assert_eq!(changed["subscribed_event_types"], json!(["verification.session.failed"]));
    assert_eq!((&changed["name"], &changed["labels"]), (&json!("billing"), &json!(["eu"])));
    let unnamed = world.patch(&tenant.key, &path, json!({ "name": null, "enabled": true })).await;
    let unnamed = unnamed.data(StatusCode::OK);
    assert_eq!((&unnamed["name"], &unnamed["disabled_at"]), (&Value::Null, &Value::Null));
    for field in ["url", "labels", "enabled", "subscribed_event_types", "undelivered_payload_retention_hours"] {
        let message = world.patch(&tenant.key, &path, json!({ field: null })).await.error("INVALID_REQUEST");
        assert!(message.contains(&format!("`{field}`")), "{message}");
    }
    assert_eq!(world.delete(&tenant.key, &path).await.status, StatusCode::NO_CONTENT);
    world.delete(&tenant.key, &path).await.error("NOT_FOUND");
    world.get(&tenant.key, &path).await.error("NOT_FOUND");
    world.get(&tenant.key, &format!("{ENDPOINTS}/5")).await.error("NOT_FOUND");
}

#[tokio::test]
async fn secrets_are_revealed_and_rotated() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let made = endpoint(&world, &tenant).await;
    let path = format!("{ENDPOINTS}/{}/signing-secret", text(&made["id"]));
    let revealed = world.post(&tenant.key, &format!("{path}/reveal"), json!({})).await.data(StatusCode::OK);
    assert_eq!(revealed["signing_secret"], made["signing_secret"]);
    let rotated = world.post(&tenant.key, &format!("{path}/rotate"), json!({})).await.data(StatusCode::OK);
    assert_ne!(rotated["signing_secret"], made["signing_secret"]);
    assert_eq!(rotated["previous_expires_at"], "2026-11-23T09:30:00.000Z");
    let revealed = world.post(&tenant.key, &format!("{path}/reveal"), json!({})).await.data(StatusCode::OK);
    assert_eq!(revealed["signing_secret"], rotated["signing_secret"]);
    let reader = world.key(&tenant.organisation, &["webhooks:read"]).await;
    world.post(&reader, &format!("{path}/reveal"), json!({})).await.error("FORBIDDEN");
}

#[tokio::test]
async fn a_rotation_that_would_end_a_secret_before_its_time_is_refused() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let path = format!("{ENDPOINTS}/{}/signing-secret/rotate", text(&endpoint(&world, &tenant).await["id"]));
    for _ in 1..proofmill_store::MAX_SIGNING_SECRETS {
        world.post(&tenant.key, &path, json!({})).await.data(StatusCode::OK);
    }
    let message = world.post(&tenant.key, &path, json!({})).await.error("CONFLICT");
    assert!(message.contains("8 signing secrets"), "{message}");
    world.advance(Duration::from_secs(24 * 3_600));
    world.post(&tenant.key, &path, json!({})).await.data(StatusCode::OK);
}

#[tokio::test]
async fn one_encryption_key_is_active_at_a_time() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let path = format!("{ENDPOINTS}/{}/keys", text(&endpoint(&world, &tenant).await["id"]));
    let first = world.post(&tenant.key, &path, key_body("first")).await.data(StatusCode::CREATED);
    assert_eq!((&first["key_id"], &first["active"]), (&json!("first"), &json!(true)));
    assert_eq!(first["jwk"]["kty"], "RSA");
    world.advance(Duration::from_secs(1));
    let second = world.post(&tenant.key, &path, key_body("second")).await.data(StatusCode::CREATED);
    let active = || async {
        let keys = world.get(&tenant.key, &path).await.data(StatusCode::OK);
        keys.as_array()
            .unwrap()
            .iter()
            .filter(|key| key["active"] == true)
            .map(|key| text(&key["key_id"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(active().await, ["second"]);
    let page = world.get(&tenant.key, &format!("{path}?limit=1")).await;
    assert_eq!(page.json["pagination"], json!({ "limit": 1, "has_more": true, "next_cursor": second["id"] }));
    assert_eq!(page.data(StatusCode::OK)[0]["key_id"], "second", "newest first");
    let page = world.get(&tenant.key, &format!("{path}?limit=1&starting_after={}", text(&second["id"]))).await;
    assert_eq!(page.json["pagination"], json!({ "limit": 1, "has_more": false, "next_cursor": null }));
    assert_eq!(page.data(StatusCode::OK)[0]["key_id"], "first");
    world.get(&tenant.key, &format!("{path}?starting_after=whk_{}", "0".repeat(32))).await.error("INVALID_CURSOR");
    assert!(world.get(&tenant.key, &format!("{path}?limit=101")).await.error("INVALID_REQUEST").contains("`limit`"));
    let id = |key: &Value| text(&key["id"]);
    let back = format!("/v1/webhooks/keys/{}/reactivate", id(&first));
    world.post(&tenant.key, &back, json!({})).await.data(StatusCode::OK);
    assert_eq!(active().await, ["first"]);
    let off = format!("/v1/webhooks/keys/{}/deactivate", id(&first));
    let off = world.post(&tenant.key, &off, json!({})).await.data(StatusCode::OK);
    assert_ne!(off["deactivated_at"], Value::Null);
    assert!(active().await.is_empty());
    world.post(&tenant.key, &path, key_body("second")).await.error("CONFLICT");
    let unknown = format!("/v1/webhooks/keys/whk_{}/deactivate", "0".repeat(32));
    world.post(&tenant.key, &unknown, json!({})).await.error("NOT_FOUND");
    assert_eq!(second["endpoint_id"], first["endpoint_id"]);
}

#[tokio::test]
async fn an_encryption_key_must_be_a_public_rsa_key_for_encryption() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let path = format!("{ENDPOINTS}/{}/keys", text(&endpoint(&world, &tenant).await["id"]));
    let good = key_body("k");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        body
    };
    for (body, names) in [
        (with(&|b| b["algorithm"] = json!("RSA1_5")), "`algorithm`"),
        (with(&|b| b["key_type"] = json!("EC")), "`key_type`"),
        (with(&|b| b["jwk"]["d"] = json!("AQAB")), "`d`"),
        (with(&|b| b["jwk"]["kty"] = json!("oct")), "`kty`"),
        (with(&|b| b["jwk"]["use"] = json!("sig")), "`use`"),
        (with(&|b| b["jwk"]["key_ops"] = json!(["decrypt"])), "`key_ops`"),
        (with(&|b| b["jwk"]["n"] = json!("AQAB")), "bits"),
        (with(&|b| b["jwk"]["n"] = json!(format!("{}_w", "_".repeat(340)))), "RSA public key"),
        (with(&|b| b["jwk"]["n"] = json!("_".repeat(1_368))), "2048 to 8192"),
        (with(&|b| b["jwk"]["e"] = json!("AgAAAAE")), "`e`"),
        (with(&|b| b["jwk"]["e"] = b["jwk"]["n"].clone()), "`e`"),
        (with(&|b| b["jwk"] = json!("PEM")), "jwk"),
        (with(&|b| b["key_id"] = json!("")), "key id"),
    ] {
        let message = world.post(&tenant.key, &path, body).await.error("INVALID_ENCRYPTION_KEY");
        assert!(message.contains(names), "{names}: {message}");
    }
    let missing = with(&|b| drop(b.as_object_mut().unwrap().remove("jwk")));
    assert!(world.post(&tenant.key, &path, missing).await.error("INVALID_REQUEST").contains("`jwk`"));
    assert_eq!(world.get(&tenant.key, &path).await.data(StatusCode::OK), json!([]));
}

#[tokio::test]
async fn events_and_deliveries_tell_what_happened_and_can_be_sent_again() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let made = endpoint(&world, &tenant).await;
    let id = text(&made["id"]);
    let key = DecryptionKey::generate("k", 2048).unwrap();
    let body = json!({ "key_id": "k", "algorithm": "RSA-OAEP-256", "key_type": "RSA", "jwk": key.public_jwk() });
    world.post(&tenant.key, &format!("{ENDPOINTS}/{id}/keys"), body).await.data(StatusCode::CREATED);
    let (session, attempt) = world.submitted(&tenant).await;
    world.settle(&attempt, Outcome::Accepted).await;

    let events = world.get(&tenant.key, "/v1/webhooks/events?type=verification.session.succeeded").await;
    let event = events.data(StatusCode::OK)[0].clone();
    assert_eq!((&event["session_id"], &event["contract_version"]), (&json!(session), &json!(2)));
    let event_id = text(&event["id"]);
    let path = format!("/v1/webhooks/events/{event_id}");
    assert_eq!(world.get(&tenant.key, &path).await.data(StatusCode::OK), event);
    let query = format!("/v1/webhooks/deliveries?endpoint_id={id}&event_id={event_id}&status=pending");
    let delivery = world.get(&tenant.key, &query).await.data(StatusCode::OK)[0].clone();
    assert_eq!(delivery["event_type"], "verification.session.succeeded");
    assert_eq!(delivery["payload_available"], true);

    // What goes out is what the receiver's key opens, and nothing else of the deployment holds it.
    let due = world.state.store.claim_due_deliveries(10, 10, Duration::from_secs(30), world.now()).await.unwrap();
    let plain: Value = serde_json::from_slice(&key.decrypt(&due[0].payload).unwrap()).unwrap();
    assert_eq!(plain["data"]["claims"], json!({ "kayle_document_id": "kdid_test" }));
    assert!(!world.any_file_holds("kdid_test"));
    let gone = proofmill_store::DeliveryOutcome::Failed {
        reason: "test".into(),
        status: None,
        error: None,
        maybe_received: false,
    };
    world.state.store.record_delivery(&due[0].id, &due[0].lease_token, gone, world.now()).await.unwrap();

    let retry = format!("/v1/webhooks/deliveries/{}/retry", text(&delivery["id"]));
    assert_eq!(world.post(&tenant.key, &retry, json!({})).await.data(StatusCode::ACCEPTED)["status"], "pending");
    let replay = format!("{path}/replay");
    assert_eq!(world.post(&tenant.key, &replay, json!({})).await.data(StatusCode::ACCEPTED)["deliveries"], 1);

    for (query, names) in [
        ("deliveries?status=lost", "`status`"),
        ("deliveries?endpoint_id=5", "`endpoint_id`"),
        ("deliveries?event_id=5", "`event_id`"),
        ("events?type=done", "`type`"),
    ] {
        let message = world.get(&tenant.key, &format!("/v1/webhooks/{query}")).await.error("INVALID_REQUEST");
        assert!(message.contains(names));
    }
    let unknown = format!("/v1/webhooks/deliveries/whd_{}/retry", "0".repeat(64));
    world.post(&tenant.key, &unknown, json!({})).await.error("NOT_FOUND");
    world.get(&tenant.key, "/v1/webhooks/events/evt_5").await.error("NOT_FOUND");
}

#[tokio::test]
async fn without_an_active_key_a_delivery_fails_and_cannot_be_sent_again() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    endpoint(&world, &tenant).await;
    let (_, attempt) = world.submitted(&tenant).await;
    world.settle(&attempt, Outcome::Accepted).await;
    let delivery = world.get(&tenant.key, "/v1/webhooks/deliveries").await.data(StatusCode::OK)[0].clone();
    assert_eq!((&delivery["status"], &delivery["reason"]), (&json!("failed"), &json!("no_active_key")));
    let retry = format!("/v1/webhooks/deliveries/{}/retry", text(&delivery["id"]));
    world.post(&tenant.key, &retry, json!({})).await.error("WEBHOOK_PAYLOAD_EXPIRED");
    let replay = format!("/v1/webhooks/events/{}/replay", text(&delivery["event_id"]));
    world.post(&tenant.key, &replay, json!({})).await.error("WEBHOOK_PAYLOAD_EXPIRED");
}

#[tokio::test]
async fn every_published_retention_and_eight_labels_are_accepted() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let labels = json!(["1", "2", "3", "4", "5", "6", "7", "8"]);
    for hours in [0, 24, 72, 168] {
        let body = json!({
            "url": "https://hooks.example.com",
            "labels": labels,
            "enabled": false,
            "undelivered_payload_retention_hours": hours,
        });
        let made = world.post(&tenant.key, ENDPOINTS, body).await.data(StatusCode::CREATED);
        assert_eq!((&made["undelivered_payload_retention_hours"], &made["labels"]), (&json!(hours), &labels));
        assert_eq!(made["disabled_at"], made["created_at"]);
    }
}

#[tokio::test]
async fn a_session_names_its_endpoints_or_means_every_enabled_one_that_subscribes() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let all = text(&endpoint(&world, &tenant).await["id"]);
    let named = text(&endpoint(&world, &tenant).await["id"]);
    let body = json!({
        "url": "https://hooks.example.com/failures",
        "subscribed_event_types": ["verification.session.failed"],
    });
    world.post(&tenant.key, ENDPOINTS, body).await.data(StatusCode::CREATED);
    let off = text(&endpoint(&world, &tenant).await["id"]);
    let off = format!("{ENDPOINTS}/{off}");
    world.patch(&tenant.key, &off, json!({ "enabled": false })).await.data(StatusCode::OK);
    let told = async |body: Value| {
        let session = world.post(&tenant.key, "/v1/sessions", body).await.data(StatusCode::CREATED);
        let session = text(&session["id"]);
        let cancelled = world.post(&tenant.key, &format!("/v1/sessions/{session}/cancel"), json!({})).await;
        assert_eq!(cancelled.status, StatusCode::NO_CONTENT);
        let deliveries = world.get(&tenant.key, "/v1/webhooks/deliveries?limit=100").await.data(StatusCode::OK);
        let about = |delivery: &&Value| delivery["session_id"] == json!(session);
        let mut told: Vec<String> = deliveries
            .as_array()
            .unwrap()
            .iter()
            .filter(about)
            .map(|delivery| text(&delivery["endpoint_id"]))
            .collect();
        told.sort_unstable();
        told
    };
    let mut both = vec![all, named.clone()];
    both.sort_unstable();
    assert_eq!(told(json!({})).await, both);
    assert_eq!(told(json!({ "webhook_endpoint_id": null })).await, both);
    assert_eq!(told(json!({ "webhook_endpoint_id": named })).await, std::slice::from_ref(&named));
    assert_eq!(told(json!({ "webhook_endpoint_id": [named] })).await.len(), 1);
}

#[tokio::test]
async fn events_and_deliveries_are_listed_by_time_and_by_what_they_are() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let other = world.tenant().await;
    let id = text(&endpoint(&world, &tenant).await["id"]);
    let cancel = async || {
        let session = world.post(&tenant.key, "/v1/sessions", json!({})).await.data(StatusCode::CREATED);
        let path = format!("/v1/sessions/{}/cancel", text(&session["id"]));
        assert_eq!(world.post(&tenant.key, &path, json!({})).await.status, StatusCode::NO_CONTENT);
    };
    cancel().await;
    world.advance(Duration::from_secs(60));
    cancel().await;
    let count = async |key: &str, query: &str| {
        world.get(key, &format!("/v1/webhooks/{query}")).await.data(StatusCode::OK).as_array().unwrap().len()
    };
    let key = &tenant.key;
    assert_eq!(count(key, "events").await, 2);
    assert_eq!(count(key, "events?type=verification.session.cancelled").await, 2);
    assert_eq!(count(key, "events?type=verification.session.expired").await, 0);
    assert_eq!(count(key, "events?created_from=2026-11-22T09:30:30Z").await, 1);
    assert_eq!(count(key, "events?created_to=2026-11-22T09:30:30Z").await, 1);
    let both = "events?created_from=2026-11-22T09:30:00Z&created_to=2026-11-22T09:31:00Z";
    assert_eq!(count(key, both).await, 2);
    assert_eq!(count(key, "deliveries?status=failed").await, 2);
    assert_eq!(count(key, "deliveries?status=delivered").await, 0);
    assert_eq!(count(key, &format!("deliveries?endpoint_id={id}&limit=1")).await, 1);
    let event = text(&world.get(key, "/v1/webhooks/events?limit=1").await.data(StatusCode::OK)[0]["id"]);
    assert_eq!(count(key, &format!("deliveries?event_id={event}&status=failed&endpoint_id={id}")).await, 1);
    assert_eq!(count(&other.key, &format!("deliveries?event_id={event}")).await, 0);
    assert_eq!(count(&other.key, "events").await, 0);
}
