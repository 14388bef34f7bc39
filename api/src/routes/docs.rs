//! The description of the API: for programs, and for people who follow the `docs` link of an error.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

use crate::openapi;

/// `GET /openapi.json`
pub async fn document() -> Response {
    Json(openapi::document()).into_response()
}

/// `GET /docs`
pub async fn page() -> Response {
    let mut response = Html(openapi::page()).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(openapi::POLICY));
    response
}
