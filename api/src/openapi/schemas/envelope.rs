//! What surrounds every answer.

use proofmill_contract::ErrorCode;
use proofmill_contract::limits::MAX_PAGE;
use serde_json::json;

use super::{Named, closed, nullable, one_of, reference, text};

pub fn schemas() -> Named {
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    vec![
        ("ErrorCode", one_of(&codes, "What went wrong, for programs. The reference page says what each means.")),
        (
            "Error",
            closed(
                json!({
                    "code": reference("ErrorCode"),
                    "message": text(
                        "What is wrong and where: names the field, part or parameter, and quotes no evidence.",
                        "field `limit`: expected a number from 1 to 100",
                    ),
                    "hint": nullable(text("What to do about it.", "take a fresh key for each new request")),
                    "docs": text("Where the code is explained.", "/docs#INVALID_REQUEST"),
                    "request_id": {
                        "type": "string",
                        "pattern": "^req_[a-z0-9]{26}$",
                        "description": "The same as `X-Request-Id`; quote it to support.",
                        "examples": ["req_q7v2kx4c8d1f6hj3l5n0pr9tzw"],
                    },
                }),
                "Why a request was refused.",
            ),
        ),
        (
            "ErrorAnswer",
            closed(
                json!({ "data": { "type": "null" }, "error": reference("Error") }),
                "The answer to a refused request.",
            ),
        ),
        (
            "Pagination",
            closed(
                json!({
                    "limit": { "type": "integer", "minimum": 1, "maximum": MAX_PAGE, "examples": [10] },
                    "has_more": { "type": "boolean", "description": "Whether older items follow.", "examples": [false] },
                    "next_cursor": {
                        "type": ["string", "null"],
                        "description": "The next page's `starting_after`; null on the last page.",
                        "examples": [null],
                    },
                }),
                "Where a page stands in its list, newest first.",
            ),
        ),
    ]
}
