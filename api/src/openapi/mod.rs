//! The OpenAPI 3.1 document and its reference page, made of the table of routes, the published limits, the enumerations and
//! the list of error codes, so that none of them is written down twice.
//!
//! What a handler takes and answers is described in `schemas` and `operations`. The tests hold every answer that any of them
//! receives against the document: an undocumented status, code, header or member fails the test that saw it.

mod assemble;
mod example;
mod operation;
pub(crate) mod operations;
mod reference;
mod schemas;
mod webhooks;

pub(crate) use operation::Operation;
pub(crate) use reference::{POLICY, page};

use std::sync::LazyLock;

use serde_json::Value;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| assemble::document(&crate::router::routes()));

/// The document.
pub fn document() -> &'static Value {
    &DOCUMENT
}
