use axum::http::StatusCode;
use proofmill_contract::{FailureCode, Outcome};
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
    assert!(page.text.contains("Whether you are 18 or older") && page.text.contains("waiting for you to begin"));
    assert!(page.text.contains("&lt;script&gt;alert(&#39;x&#39;)") && !page.text.contains("<script>alert"));
    assert!(!page.text.contains(&token), "the token stays in the address bar");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("'nonce-") && !policy.contains("unsafe"));
    assert!(policy.contains("connect-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(policy.contains("form-action 'none'") && policy.contains("base-uri 'none'"), "{policy}");
    for foreign in ["src=", "http://", "//cdn", "@import", "style="] {
        assert!(!page.text.contains(foreign), "{foreign}: the page loads nothing");
    }
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

#[tokio::test]
async fn the_page_offers_what_can_still_be_done() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let page = |id: String| {
        let world = &world;
        async move { world.get("", &format!("/verify/{id}")).await.text }
    };
    let body = json!({ "redirect_url": "https://shop.example/back?a=1&b=\"2\"" });
    let session = text(&world.session(&tenant, body).await["id"]);
    let active = page(session.clone()).await;
    assert!(active.contains("Cancel this verification") && !active.contains("shop.example"));
    let path = format!("/v1/sessions/{session}/cancel");
    world.post(&tenant.key, &path, json!({})).await;
    let cancelled = page(session).await;
    assert!(cancelled.contains("Status: <strong>cancelled</strong>") && !cancelled.contains("<button"));
    assert!(
        cancelled.contains("href=\"https://shop.example/back?a=1&amp;b=&quot;2&quot;\" rel=\"noreferrer\""),
        "{cancelled}"
    );

    let (accepted, attempt) = world.submitted(&tenant).await;
    assert!(page(accepted.clone()).await.contains("in progress"));
    world.settle(&attempt, Outcome::Accepted).await;
    let verified = page(accepted).await;
    assert!(verified.contains("Status: <strong>verified</strong>") && verified.contains("Withdraw"), "{verified}");
    let (failed, attempt) = world.submitted(&tenant).await;
    world.reject(&attempt, FailureCode::DocumentAntiCloningAttestationFailed).await;
    let told = page(failed.clone()).await;
    assert!(
        told.contains("could not be verified") && !told.contains("anti_cloning"),
        "why is the organisation's to know"
    );
}
