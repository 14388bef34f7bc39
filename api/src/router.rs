//! The table of routes.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use proofmill_contract::limits::MAX_JSON_REQUEST_BYTES;
use tower_http::catch_panic::CatchPanicLayer;

use crate::http::auth::{Scope, SessionsRead, SessionsWrite, WebhooksRead, WebhooksWrite};
use crate::http::route::{Access, Route, delete, get, patch, post, put};
use crate::http::{auth, deadline, envelope, error, head, linger, rate_limit};
use crate::openapi::operations as say;
use crate::routes::{
    attempts, bulk, chip_authentication, docs, evidence, handoff, open, sessions, status_page, verify, webhooks,
};
use crate::state::{AppState, Ctx, Shared};

/// The public API.
pub fn router(state: AppState) -> Router {
    let ctx = Shared::new(state);
    let (mut with_key, mut public) = (Router::new(), Router::new());
    for route in routes() {
        match route.access {
            Access::Key(_) => with_key = route.mount(with_key),
            Access::WriteToken | Access::Public => public = route.mount(public),
        }
    }
    let with_key = with_key.route_layer(from_fn_with_state(ctx.clone(), auth::require_key));
    let public = public.route_layer(from_fn_with_state(ctx.clone(), rate_limit::by_address));
    finish(Router::new().merge(with_key).merge(public), ctx)
}

const SESSIONS_READ: Access = Access::Key(SessionsRead::NAME);
const SESSIONS_WRITE: Access = Access::Key(SessionsWrite::NAME);
const WEBHOOKS_READ: Access = Access::Key(WebhooksRead::NAME);
const WEBHOOKS_WRITE: Access = Access::Key(WebhooksWrite::NAME);

/// Every route there is, with who may call it and what it does. There is no other way to add one.
#[rustfmt::skip]
pub(crate) fn routes() -> Vec<Route> {
    use Access::{Public, WriteToken};
    use webhooks::{deliveries, endpoints, events, keys, secrets};
    vec![
        post("/v1/sessions", SESSIONS_WRITE, sessions::create, say::sessions::create()),
        get("/v1/sessions", SESSIONS_READ, sessions::list, say::sessions::list()),
        get("/v1/sessions/{id}", SESSIONS_READ, sessions::get, say::sessions::get()),
        post("/v1/sessions/{id}/cancel", SESSIONS_WRITE, sessions::cancel, say::sessions::cancel()),

        post("/v1/sessions/{id}/attempts", SESSIONS_WRITE, handoff::open_with_key, say::attempts::open()),
        get("/v1/sessions/{id}/attempts", SESSIONS_READ, attempts::of_session, say::attempts::of_session()),
        post("/v1/attempts/open", SESSIONS_WRITE, open::open, say::bulk::open()),
        post("/v1/attempts/batch", SESSIONS_WRITE, bulk::submit, say::bulk::submit()),
        get("/v1/attempts/{id}", SESSIONS_READ, attempts::get, say::attempts::get()),
        put("/v1/attempts/{id}/evidence", SESSIONS_WRITE, evidence::submit_with_key, say::attempts::submit()),
        post("/v1/attempts/{id}/chip-authentication", SESSIONS_WRITE, chip_authentication::start_with_key, say::attempts::start_chip_authentication()),

        get("/v1/verify/session/{id}/status", Public, verify::status, say::holder::progress()),
        post("/v1/verify/session/{id}/cancel", Public, verify::cancel, say::holder::cancel()),
        post("/v1/verify/session/{id}/handoff", Public, handoff::open_public, say::holder::handoff()),
        put("/v1/verify/attempts/{id}/evidence", WriteToken, evidence::submit_with_token, say::holder::submit()),
        post("/v1/verify/attempts/{id}/chip-authentication", WriteToken, chip_authentication::start_with_token, say::holder::start_chip_authentication()),
        get("/verify/{id}", Public, status_page::page, say::holder::page()),

        post("/v1/webhooks/endpoints", WEBHOOKS_WRITE, endpoints::create, say::webhooks::create_endpoint()),
        get("/v1/webhooks/endpoints", WEBHOOKS_READ, endpoints::list, say::webhooks::list_endpoints()),
        get("/v1/webhooks/endpoints/{id}", WEBHOOKS_READ, endpoints::get, say::webhooks::get_endpoint()),
        patch("/v1/webhooks/endpoints/{id}", WEBHOOKS_WRITE, endpoints::update, say::webhooks::update_endpoint()),
        delete("/v1/webhooks/endpoints/{id}", WEBHOOKS_WRITE, endpoints::delete, say::webhooks::delete_endpoint()),
        post("/v1/webhooks/endpoints/{id}/signing-secret/reveal", WEBHOOKS_WRITE, secrets::reveal, say::webhooks::reveal_secret()),
        post("/v1/webhooks/endpoints/{id}/signing-secret/rotate", WEBHOOKS_WRITE, secrets::rotate, say::webhooks::rotate_secret()),
        post("/v1/webhooks/endpoints/{id}/keys", WEBHOOKS_WRITE, keys::add, say::webhooks::add_key()),
        get("/v1/webhooks/endpoints/{id}/keys", WEBHOOKS_READ, keys::list, say::webhooks::list_keys()),
        post("/v1/webhooks/keys/{id}/deactivate", WEBHOOKS_WRITE, keys::deactivate, say::webhooks::deactivate_key()),
        post("/v1/webhooks/keys/{id}/reactivate", WEBHOOKS_WRITE, keys::reactivate, say::webhooks::reactivate_key()),
        get("/v1/webhooks/deliveries", WEBHOOKS_READ, deliveries::list, say::webhooks::list_deliveries()),
        post("/v1/webhooks/deliveries/{id}/retry", WEBHOOKS_WRITE, deliveries::retry, say::webhooks::retry_delivery()),
        get("/v1/webhooks/events", WEBHOOKS_READ, events::list, say::webhooks::list_events()),
        get("/v1/webhooks/events/{id}", WEBHOOKS_READ, events::get, say::webhooks::get_event()),
        post("/v1/webhooks/events/{id}/replay", WEBHOOKS_WRITE, events::replay, say::webhooks::replay_event()),

        get("/openapi.json", Public, docs::document, say::documents::document()),
        get("/docs", Public, docs::page, say::documents::reference()),
    ]
}

/// What every route has around it, outermost last.
fn finish(routes: Router<Ctx>, ctx: Ctx) -> Router {
    routes
        .fallback(|| async { StatusCode::NOT_FOUND })
        // Each body reader has its own limit; this one is the net below them.
        .layer(DefaultBodyLimit::max(MAX_JSON_REQUEST_BYTES))
        .layer(from_fn(linger::linger))
        .layer(from_fn_with_state(ctx.clone(), deadline::bound))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(head::limit))
        .layer(from_fn_with_state(ctx.clone(), envelope::envelope))
        .layer(map_response(no_store))
        .with_state(ctx)
}

/// A bug must not take the process down, and its text must not reach the caller.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    axum::response::IntoResponse::into_response(error::Error::internal(&"a handler panicked"))
}

/// Answers hold states and secrets of one caller: no cache may keep them.
async fn no_store(mut response: Response) -> Response {
    use axum::http::{HeaderValue, header};
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use proofmill_telemetry::{BuildInfo, Metrics, SystemClock};
    use tower::ServiceExt;

    use super::*;
    use crate::settings::{StorageArgs, open_storage};
    use crate::state::ApiConfig;

    #[tokio::test]
    async fn a_bug_in_a_handler_is_a_500_that_says_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open_storage(&StorageArgs::embedded(folder.path())).await.unwrap();
        let build = BuildInfo { version: "test", commit: "test", role: "api" };
        let ctx = Shared::new(AppState {
            store: opened.store,
            vault: opened.vault,
            deployment: opened.deployment,
            clock: Arc::new(SystemClock),
            metrics: Arc::new(Metrics::new(&build).unwrap()),
            config: ApiConfig::default(),
            outbox: Arc::default(),
            shutdown: tokio_util::sync::CancellationToken::new(),
        });
        async fn broken() -> StatusCode {
            panic!("P<UTOERIKSSON")
        }
        let router = finish(Router::new().route("/broken", axum::routing::get(broken)), ctx);
        let request = Request::builder().uri("/broken").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("INTERNAL_SERVER_ERROR") && !text.contains("ERIKSSON"), "{text}");
        let request = Request::builder().uri("/still-there").body(Body::empty()).unwrap();
        assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::NOT_FOUND);
    }
}
