use axum::http::StatusCode;
use serde_json::json;

use crate::support::{World, text};

#[tokio::test]
async fn the_holders_page_says_what_is_asked_and_why_and_trusts_nobody() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let reason = "<script>alert('x')</script> & more";
    let body = json!({ "share_fields": { "age_over_18": { "required": true, "reason": reason } } });
    let session = world.session(&tenant, body).await;
    let token = text(&session["cancel_token"]);
    let page = world.get("", &format!("/verify/{}?cancel_token={token}", text(&session["id"]))).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.text.contains("Example &amp; Söhne") && page.text.contains("age_over_18"));
    assert!(page.text.contains("&lt;script&gt;alert(&#39;x&#39;)") && !page.text.contains("<script>alert"));
    assert!(!page.text.contains(&token), "the token stays in the address bar");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("'nonce-") && !policy.contains("unsafe"));
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_wrong_link_gets_a_page_not_json() {
    let world = World::new().await;
    for id in ["nonsense", &format!("vs_{}", "0".repeat(64))] {
        let page = world.get("", &format!("/verify/{id}")).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND);
        assert!(page.text.starts_with("<!doctype html>"), "{}", page.text);
    }
}
