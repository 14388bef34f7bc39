//! The page a holder sees at `verification_url`: what is asked, why, how it stands, and a button to stop it.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proofmill_contract::{SessionId, SessionStatus};
use proofmill_store::Session;
use rand::Rng;

use crate::http::envelope::OwnBody;
use crate::http::error::{Error, Result};
use crate::state::Ctx;

/// `GET /verify/{id}`
pub async fn page(State(ctx): State<Ctx>, Path(id): Path<String>) -> Result<Response> {
    let session = match SessionId::parse(&id) {
        Ok(id) => ctx.store.session(None, &id, ctx.clock.now()).await?,
        Err(_) => None,
    };
    let Some(session) = session else {
        let body = document("Not found", "<p>There is no such verification. The link may be incomplete.</p>", "");
        return Ok(respond(StatusCode::NOT_FOUND, body, ""));
    };
    let organisation = ctx
        .store
        .organisation(&session.organisation_id)
        .await?
        .ok_or_else(|| Error::internal(&"a session names an organisation that does not exist"))?;
    let mut nonce = [0; 16];
    rand::rng().fill_bytes(&mut nonce);
    let nonce = STANDARD.encode(nonce);
    let body = document("Verification", &content(&session, &organisation.name), &script(&session, &nonce));
    Ok(respond(StatusCode::OK, body, &nonce))
}

fn content(session: &Session, organisation: &str) -> String {
    let mut rows = String::new();
    for (key, field) in session.share_fields.iter() {
        let need = if field.required { "required" } else { "optional" };
        rows.push_str(&format!(
            "<tr><td><code>{}</code></td><td>{need}</td><td>{}</td></tr>",
            escape(key),
            escape(&field.reason)
        ));
    }
    let cancel = if session.status == SessionStatus::Cancelled || session.status == SessionStatus::Expired {
        ""
    } else {
        "<p><button id=\"cancel\" hidden>Cancel this verification</button></p>"
    };
    format!(
        "<p><strong>{}</strong> asks you to verify your identity with your passport's chip and a photo of your face. \
         You choose in the app what you share. Neither the chip's data nor the photo is kept once a decision is made.</p>\
         <table><thead><tr><th>Asked for</th><th></th><th>Why</th></tr></thead><tbody>{rows}</tbody></table>\
         <p>Status: <strong id=\"status\">{}</strong></p>{cancel}",
        escape(organisation),
        session.status
    )
}

/// The cancel token stays in the address bar: it is read there, sent only by POST to this host, and never rendered.
fn script(session: &Session, nonce: &str) -> String {
    format!(
        "<script nonce=\"{nonce}\">\n\
         const base = '/v1/verify/session/{}';\n\
         const token = new URLSearchParams(location.search).get('cancel_token');\n\
         const status = document.getElementById('status');\n\
         const cancel = document.getElementById('cancel');\n\
         async function refresh() {{\n\
           const answer = await fetch(base + '/status');\n\
           if (answer.ok) status.textContent = (await answer.json()).data.status;\n\
         }}\n\
         if (cancel && token) {{\n\
           cancel.hidden = false;\n\
           cancel.onclick = async () => {{\n\
             cancel.disabled = true;\n\
             const answer = await fetch(base + '/cancel', {{\n\
               method: 'POST',\n\
               headers: {{ 'Content-Type': 'application/json' }},\n\
               body: JSON.stringify({{ cancel_token: token }}),\n\
             }});\n\
             if (answer.ok) cancel.hidden = true; else cancel.disabled = false;\n\
             refresh();\n\
           }};\n\
         }}\n\
         setInterval(refresh, 5000);\n\
         </script>",
        session.id
    )
}

fn document(title: &str, content: &str, script: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title></head>\
         <body><h1>{title}</h1>{content}{script}</body></html>"
    )
}

fn respond(status: StatusCode, body: String, nonce: &str) -> Response {
    let script =
        if nonce.is_empty() { String::new() } else { format!("script-src 'nonce-{nonce}'; connect-src 'self'; ") };
    let policy = format!("default-src 'none'; {script}base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    let mut response = (status, Html(body)).into_response();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, value);
    }
    // The page's address holds the cancel token.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response.extensions_mut().insert(OwnBody);
    response
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_integrators_cannot_become_markup() {
        assert_eq!(escape("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
    }
}
