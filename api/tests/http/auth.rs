use axum::http::{Method, StatusCode};
use proofmill_api::Quota;
use proofmill_contract::ApiKeyId;
use serde_json::{Value, json};

use crate::support::{Answer, World, json_request, key_body, text};

#[tokio::test]
async fn only_a_valid_key_gets_in() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let missing = world.get("", "/v1/sessions").await;
    missing.error("UNAUTHORIZED");
    assert_eq!(missing.header("www-authenticate"), "Bearer");
    world.get("not-a-key", "/v1/sessions").await.error("UNAUTHORIZED");
    let mut other = tenant.key.clone();
    let last = if other.pop() == Some('a') { 'b' } else { 'a' };
    other.push(last);
    world.get(&other, "/v1/sessions").await.error("UNAUTHORIZED");
    world.get(&tenant.key, "/v1/sessions").await.data(StatusCode::OK);
}

#[tokio::test]
async fn a_revoked_key_is_out_at_once() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let rows = world.state.store.list_api_keys(&tenant.organisation).await.unwrap();
    let id: &ApiKeyId = &rows[0].id;
    assert!(world.state.store.revoke_api_key(&tenant.organisation, id, world.now()).await.unwrap());
    world.get(&tenant.key, "/v1/sessions").await.error("UNAUTHORIZED");
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_no_more() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let reader = world.key(&tenant.organisation, &["sessions:read"]).await;
    world.get(&reader, "/v1/sessions").await.data(StatusCode::OK);
    assert!(world.post(&reader, "/v1/sessions", json!({})).await.error("FORBIDDEN").contains("sessions:write"));
    assert!(world.get(&reader, "/v1/webhooks/events").await.error("FORBIDDEN").contains("webhooks:read"));
    let hooks = world.key(&tenant.organisation, &["webhooks:read"]).await;
    world.get(&hooks, "/v1/webhooks/endpoints").await.data(StatusCode::OK);
    world.get(&hooks, "/v1/sessions").await.error("FORBIDDEN");
    let body = json!({ "url": "https://hooks.example.com" });
    world.post(&hooks, "/v1/webhooks/endpoints", body).await.error("FORBIDDEN");
}

#[tokio::test]
async fn organisations_cannot_see_or_touch_each_other() {
    let world = World::new().await;
    let (owner, stranger) = (world.tenant().await, world.tenant().await);
    let (session, attempt) = world.submitted(&owner).await;
    let endpoint = text(
        &world
            .post(&owner.key, "/v1/webhooks/endpoints", json!({ "url": "https://hooks.example.com" }))
            .await
            .data(StatusCode::CREATED)["id"],
    );
    let key = text(
        &world
            .post(&owner.key, &format!("/v1/webhooks/endpoints/{endpoint}/keys"), key_body("k1"))
            .await
            .data(StatusCode::CREATED)["id"],
    );
    world.reject(&attempt, proofmill_contract::FailureCode::DocumentDataInvalid).await;
    world.post(&owner.key, &format!("/v1/sessions/{session}/cancel"), json!({})).await;
    let events = world.get(&owner.key, "/v1/webhooks/events").await.data(StatusCode::OK);
    let event = text(&events[0]["id"]);
    let deliveries = world.get(&owner.key, "/v1/webhooks/deliveries").await.data(StatusCode::OK);
    let delivery = text(&deliveries[0]["id"]);

    // Every route that names an object, with the owner's id under the stranger's key.
    let routes = [
        (Method::GET, format!("/v1/sessions/{session}"), "SESSION_NOT_FOUND"),
        (Method::POST, format!("/v1/sessions/{session}/cancel"), "SESSION_NOT_FOUND"),
        (Method::GET, format!("/v1/sessions/{session}/attempts"), "SESSION_NOT_FOUND"),
        (Method::POST, format!("/v1/sessions/{session}/attempts"), "SESSION_NOT_FOUND"),
        (Method::GET, format!("/v1/attempts/{attempt}"), "NOT_FOUND"),
        (Method::PUT, format!("/v1/attempts/{attempt}/evidence"), "NOT_FOUND"),
        (Method::POST, format!("/v1/attempts/{attempt}/chip-authentication"), "NOT_FOUND"),
        (Method::GET, format!("/v1/webhooks/endpoints/{endpoint}"), "NOT_FOUND"),
        (Method::PATCH, format!("/v1/webhooks/endpoints/{endpoint}"), "NOT_FOUND"),
        (Method::DELETE, format!("/v1/webhooks/endpoints/{endpoint}"), "NOT_FOUND"),
        (Method::POST, format!("/v1/webhooks/endpoints/{endpoint}/signing-secret/reveal"), "NOT_FOUND"),
        (Method::POST, format!("/v1/webhooks/endpoints/{endpoint}/signing-secret/rotate"), "NOT_FOUND"),
        (Method::GET, format!("/v1/webhooks/endpoints/{endpoint}/keys"), "NOT_FOUND"),
        (Method::POST, format!("/v1/webhooks/keys/{key}/deactivate"), "NOT_FOUND"),
        (Method::POST, format!("/v1/webhooks/keys/{key}/reactivate"), "NOT_FOUND"),
        (Method::GET, format!("/v1/webhooks/events/{event}"), "NOT_FOUND"),
        (Method::POST, format!("/v1/webhooks/events/{event}/replay"), "NOT_FOUND"),
        (Method::POST, format!("/v1/webhooks/deliveries/{delivery}/retry"), "NOT_FOUND"),
    ];
    for (method, path, code) in routes {
        let has_body = method != Method::GET;
        let body = if has_body { json!({}) } else { Value::Null };
        let answer: Answer = world.send(json_request(method.clone(), &path, &stranger.key, &body)).await;
        assert_eq!(answer.json["error"]["code"], code, "{method} {path}: {}", answer.text);
    }
    let answer = world.post(&stranger.key, &format!("/v1/webhooks/endpoints/{endpoint}/keys"), key_body("k2")).await;
    answer.error("NOT_FOUND");
    for list in ["/v1/sessions", "/v1/webhooks/endpoints", "/v1/webhooks/events", "/v1/webhooks/deliveries"] {
        assert_eq!(world.get(&stranger.key, list).await.data(StatusCode::OK), json!([]), "{list}");
    }
    let cursor = world.get(&stranger.key, &format!("/v1/sessions?starting_after={session}")).await;
    cursor.error("INVALID_CURSOR");
    let body = json!({ "webhook_endpoint_id": endpoint });
    world.post(&stranger.key, "/v1/sessions", body).await.error("WEBHOOK_ENDPOINT_UNAVAILABLE");
    // And nothing of the owner's has changed.
    world.get(&owner.key, &format!("/v1/webhooks/endpoints/{endpoint}")).await.data(StatusCode::OK);
}

#[tokio::test]
async fn a_key_has_a_quota_that_says_so_and_refills() {
    let world = World::with(|config| config.per_key = Quota { burst: 2, window_s: 10 }).await;
    let tenant = world.tenant().await;
    let first = world.get(&tenant.key, "/v1/sessions").await;
    assert_eq!(first.header("ratelimit-policy"), "\"key\";q=2;w=10");
    assert_eq!(first.header("ratelimit"), "\"key\";r=1;t=5");
    world.get(&tenant.key, "/v1/sessions").await.data(StatusCode::OK);
    let refused = world.get(&tenant.key, "/v1/sessions").await;
    refused.error("RATE_LIMITED");
    assert_eq!(refused.header("retry-after"), "5");
    let neighbour = world.key(&tenant.organisation, &[]).await;
    world.get(&neighbour, "/v1/sessions").await.data(StatusCode::OK);
    world.advance(std::time::Duration::from_secs(5));
    world.get(&tenant.key, "/v1/sessions").await.data(StatusCode::OK);
}

#[tokio::test]
async fn public_routes_and_guessed_keys_are_charged_to_the_address() {
    let world = World::with(|config| {
        config.per_address = Quota { burst: 2, window_s: 10 };
        config.trusted_proxies = 1;
    })
    .await;
    let from = |path: &str, forwarded: &str| {
        let mut request = json_request(Method::GET, path, "", &Value::Null);
        request.headers_mut().insert("x-forwarded-for", forwarded.parse().unwrap());
        request
    };
    let status = "/v1/verify/session/vs_0/status";
    world.send(from(status, "198.51.100.7")).await.error("INVALID_SESSION_ID");
    // What the client itself put in front of the proxy's entry does not help it.
    world.send(from(status, "203.0.113.1, 198.51.100.7")).await.error("INVALID_SESSION_ID");
    world.send(from(status, "203.0.113.2, 198.51.100.7")).await.error("RATE_LIMITED");
    world.send(from("/v1/sessions", "198.51.100.7")).await.error("RATE_LIMITED");
    world.send(from("/v1/sessions", "198.51.100.8")).await.error("UNAUTHORIZED");
}

#[tokio::test]
async fn two_authorization_headers_are_none() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let twice = crate::support::request(axum::http::Method::GET, "/v1/sessions", &tenant.key)
        .header("authorization", format!("Bearer {}", tenant.key))
        .body(axum::body::Body::empty())
        .unwrap();
    assert!(world.send(twice).await.error("UNAUTHORIZED").contains("one `Authorization"));
}
