//! The description itself.

use serde_json::json;

use super::super::operation::{Content, Operation};

const TAG: &str = "Documents";

pub fn document() -> Operation {
    Operation::new("getDocument", TAG, "This document").answers(
        200,
        "OpenAPI 3.1.",
        Content::Document(json!({
            "type": "object",
            "properties": { "openapi": { "type": "string", "const": "3.1.0" } },
            "required": ["openapi", "info", "paths", "webhooks", "components"],
        })),
    )
}

pub fn reference() -> Operation {
    Operation::new("getReference", TAG, "The reference page")
        .describe("This document for people; the `docs` link of an error leads to its code there.")
        .any_query()
        .answers(200, "The page.", Content::Html)
}
