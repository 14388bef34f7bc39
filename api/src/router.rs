//! The table of routes.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post, put};
use proofmill_contract::limits::MAX_JSON_REQUEST_BYTES;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::http::{auth, envelope, error, linger, rate_limit};
use crate::routes::{attempts, chip_authentication, docs, evidence, handoff, sessions, status_page, verify, webhooks};
use crate::state::{AppState, Ctx, Shared};

/// The public API.
pub fn router(state: AppState) -> Router {
    let ctx = Shared::new(state);

    let with_key = Router::new()
        .route("/v1/sessions", post(sessions::create).get(sessions::list))
        .route("/v1/sessions/{id}", get(sessions::get))
        .route("/v1/sessions/{id}/cancel", post(sessions::cancel))
        .route("/v1/sessions/{id}/attempts", post(handoff::open_with_key).get(attempts::of_session))
        .route("/v1/attempts/{id}", get(attempts::get))
        .route("/v1/attempts/{id}/evidence", put(evidence::submit_with_key))
        .route("/v1/attempts/{id}/chip-authentication", post(chip_authentication::start_with_key))
        .route("/v1/webhooks/endpoints", post(webhooks::endpoints::create).get(webhooks::endpoints::list))
        .route(
            "/v1/webhooks/endpoints/{id}",
            get(webhooks::endpoints::get).patch(webhooks::endpoints::update).delete(webhooks::endpoints::delete),
        )
        .route("/v1/webhooks/endpoints/{id}/signing-secret/reveal", post(webhooks::secrets::reveal))
        .route("/v1/webhooks/endpoints/{id}/signing-secret/rotate", post(webhooks::secrets::rotate))
        .route("/v1/webhooks/endpoints/{id}/keys", post(webhooks::keys::add).get(webhooks::keys::list))
        .route("/v1/webhooks/keys/{id}/deactivate", post(webhooks::keys::deactivate))
        .route("/v1/webhooks/keys/{id}/reactivate", post(webhooks::keys::reactivate))
        .route("/v1/webhooks/deliveries", get(webhooks::deliveries::list))
        .route("/v1/webhooks/deliveries/{id}/retry", post(webhooks::deliveries::retry))
        .route("/v1/webhooks/events", get(webhooks::events::list))
        .route("/v1/webhooks/events/{id}", get(webhooks::events::get))
        .route("/v1/webhooks/events/{id}/replay", post(webhooks::events::replay))
        .route_layer(from_fn_with_state(ctx.clone(), auth::require_key));

    let public = Router::new()
        .route("/v1/verify/session/{id}/cancel", post(verify::cancel))
        .route("/v1/verify/session/{id}/status", get(verify::status))
        .route("/v1/verify/session/{id}/handoff", post(handoff::open_public))
        .route("/v1/verify/attempts/{id}/evidence", put(evidence::submit_with_token))
        .route("/v1/verify/attempts/{id}/chip-authentication", post(chip_authentication::start_with_token))
        .route("/verify/{id}", get(status_page::page))
        .route("/docs", get(docs::page))
        .route_layer(from_fn_with_state(ctx.clone(), rate_limit::by_address));

    finish(Router::new().merge(with_key).merge(public), ctx)
}

/// What every route has around it, outermost last.
fn finish(routes: Router<Ctx>, ctx: Ctx) -> Router {
    routes
        .fallback(|| async { StatusCode::NOT_FOUND })
        // Each body reader has its own limit; this one is the net below them.
        .layer(DefaultBodyLimit::max(MAX_JSON_REQUEST_BYTES))
        .layer(from_fn(linger::linger))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, ctx.config.request_timeout))
        .layer(CatchPanicLayer::custom(panicked))
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
            outbox_wakeup: Arc::default(),
            shutdown: tokio_util::sync::CancellationToken::new(),
        });
        async fn broken() -> StatusCode {
            panic!("P<UTOERIKSSON")
        }
        let router = finish(Router::new().route("/broken", get(broken)), ctx);
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
