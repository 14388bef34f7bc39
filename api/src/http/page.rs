//! Lists: `limit`, `starting_after`, newest first.

use axum::Json;
use axum::response::{IntoResponse, Response};
use proofmill_contract::ApiError;
use proofmill_contract::limits::{DEFAULT_PAGE, MAX_PAGE};
use proofmill_store::{Page, PageRequest};
use serde_json::{Value, json};

use super::error::Result;
use super::query::Query;

/// `limit` (1 to 100, 10 when absent) and `starting_after`.
pub fn request(query: &mut Query) -> Result<PageRequest> {
    let expected = format!("a number from 1 to {MAX_PAGE}");
    let limit = match query.take::<u32>("limit", &expected)? {
        None => DEFAULT_PAGE,
        Some(limit) if (1..=MAX_PAGE).contains(&limit) => limit,
        Some(_) => return Err(ApiError::invalid_field("limit", format!("expected {expected}")).into()),
    };
    Ok(PageRequest { limit, starting_after: query.take("starting_after", "an id")? })
}

/// A page, its items already written as integrators see them.
pub fn response<T>(limit: u32, page: &Page<T>, items: Vec<Value>) -> Response {
    Json(json!({
        "data": items,
        "error": null,
        "pagination": { "limit": limit, "has_more": page.has_more, "next_cursor": page.next_cursor },
    }))
    .into_response()
}
