//! Where the `docs` link of an error leads: the list of codes, made from the code.

use std::fmt::Write as _;

use axum::response::Html;
use proofmill_contract::ErrorCode;

/// `GET /docs`
pub async fn page() -> Html<String> {
    let mut rows = String::new();
    for code in ErrorCode::ALL {
        // Writing to a String cannot fail.
        let _ = write!(rows, "<tr id=\"{code}\"><td>{}</td><td><code>{code}</code></td></tr>", code.status());
    }
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Error codes</title></head><body>\
         <h1>Error codes</h1><p>Every error has this shape: <code>{{\"data\": null, \"error\": {{\"code\", \"message\", \
         \"hint\", \"docs\", \"request_id\"}}}}</code>. The message names the field or part; quote the request id to \
         support.</p><table><thead><tr><th>HTTP</th><th>Code</th></tr></thead><tbody>{rows}</tbody></table></body></html>"
    ))
}
