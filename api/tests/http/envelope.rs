use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::support::{World, request};

#[tokio::test]
async fn errors_of_the_router_itself_have_the_one_shape() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    world.get("", "/v1/nothing").await.error("NOT_FOUND");
    let answer = world.delete(&tenant.key, "/v1/sessions").await;
    answer.error("METHOD_NOT_ALLOWED");
    assert_eq!(answer.header("allow"), "POST,GET,HEAD");
}

#[tokio::test]
async fn every_answer_has_an_id_of_its_own_and_is_not_cached() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let first = world.get(&tenant.key, "/v1/sessions").await;
    let second = world.get(&tenant.key, "/v1/sessions").await;
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    assert_eq!(first.header("cache-control"), "no-store");
    assert_eq!(
        first.json,
        json!({
            "data": [], "error": null, "pagination": { "limit": 10, "has_more": false, "next_cursor": null },
        })
    );
    let empty = world.post(&tenant.key, "/v1/sessions/vs_0/cancel", json!({})).await;
    empty.error("INVALID_SESSION_ID");
}

#[tokio::test]
async fn the_link_of_every_error_leads_somewhere() {
    let world = World::new().await;
    let page = world.get("", "/docs").await;
    assert_eq!(page.status, StatusCode::OK);
    for code in proofmill_contract::ErrorCode::ALL {
        assert!(page.text.contains(&format!("id=\"{code}\"")), "{code}");
    }
}

#[tokio::test]
async fn json_bodies_are_bounded_and_must_say_that_they_are_json() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let big = json!({ "redirect_url": "x".repeat(300 << 10) });
    assert!(world.post(&tenant.key, "/v1/sessions", big).await.error("PAYLOAD_TOO_LARGE").contains("`body`"));
    let plain = request(Method::POST, "/v1/sessions", &tenant.key)
        .header("content-type", "text/plain")
        .body(Body::from("{}"))
        .unwrap();
    world.send(plain).await.error("UNSUPPORTED_MEDIA_TYPE");
    let broken = request(Method::POST, "/v1/sessions", &tenant.key)
        .header("content-type", "application/json; charset=utf-8")
        .body(Body::from("{\"share_fields\":"))
        .unwrap();
    world.send(broken).await.error("INVALID_REQUEST");
    // No body at all is an empty object.
    let none = request(Method::POST, "/v1/sessions", &tenant.key).body(Body::empty()).unwrap();
    world.send(none).await.data(StatusCode::CREATED);
}
