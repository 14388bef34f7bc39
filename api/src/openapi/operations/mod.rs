//! What each route does.

pub mod attempts;
pub mod bulk;
pub mod documents;
pub mod holder;
pub mod sessions;
pub mod webhooks;

/// Groups of operations, in the order of the reference page.
pub const TAGS: [(&str, &str); 5] = [
    ("Sessions", "What is to be verified, of whom nobody knows yet who they are."),
    ("Attempts", "A session's tries: opened, submitted with evidence, read."),
    (
        "Holder",
        "What a holder's phone or browser may do. A session's id is the capability; evidence needs the attempt's write token.",
    ),
    ("Webhooks", "Where results go: endpoints, signing secrets, encryption keys, deliveries, events."),
    ("Documents", "This description."),
];

/// What holds for every operation.
pub const INTRODUCTION: &str = "\
Every answer is `{\"data\", \"error\", \"pagination\"?}`: `error` is null or has `code`, `message`, `hint`, `docs` and \
`request_id`. `X-Request-Id` is in every answer.

Unknown members of a body and unknown query parameters are refused by name, and so is a parameter given twice. A JSON body needs \
`Content-Type: application/json`; `Accept` is not looked at. Where a body has no required member it may be left out.

Another organisation's object is as unknown as one that never was: 404. A method that a path does not offer is answered 405 \
`METHOD_NOT_ALLOWED` with `Allow`, an unknown path 404 `NOT_FOUND`. GET routes answer HEAD. A request line of more than 8 KiB, more \
than 64 header fields or more than 32 KiB of them are refused with 400 `INVALID_REQUEST`.

Times are RFC 3339 in UTC with milliseconds. Lists are newest first and stable while items are added.";

/// A query parameter that is a moment, with any offset.
fn moment() -> serde_json::Value {
    serde_json::json!({ "type": "string", "format": "date-time", "examples": [super::schemas::EXAMPLE_TIME] })
}
