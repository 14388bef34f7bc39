//! The page a holder sees at `verification_url`: what is asked, why, how it stands, and a button to stop it.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proofmill_contract::share::ClaimKey;
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
        let need = if field.required { "required" } else { "your choice" };
        rows.push_str(&format!(
            "<tr><td>{} <code>{}</code></td><td>{need}</td><td>{}</td></tr>",
            escape(&label(key)),
            escape(key),
            escape(&field.reason)
        ));
    }
    let organisation = escape(organisation);
    let back = match &session.redirect_url {
        Some(url) if session.status.is_terminal() => {
            format!("<p><a href=\"{}\" rel=\"noreferrer\">Back to {organisation}</a></p>", escape(url))
        }
        _ => String::new(),
    };
    format!(
        "<p><strong>{organisation}</strong> asks you to verify your identity with your passport's chip and a photo of your face. \
         You choose in the app what you share. Neither the chip's data nor the photo is kept once a decision is made.</p>\
         <table><thead><tr><th>Asked for</th><th></th><th>Why</th></tr></thead><tbody>{rows}</tbody></table>\
         <p>Status: <strong>{}</strong></p>{}{back}",
        status(session.status),
        button(session.status)
    )
}

/// The button stays hidden without a cancel token in the address, and without a script that could send it.
fn button(status: SessionStatus) -> String {
    let (text, what) = match status {
        SessionStatus::Created | SessionStatus::InProgress => ("Cancel this verification", "cancel it"),
        SessionStatus::Completed | SessionStatus::Succeeded | SessionStatus::Failed => {
            ("Withdraw: destroy what has not been received yet", "withdraw")
        }
        SessionStatus::Expired | SessionStatus::Cancelled => return String::new(),
    };
    format!(
        "<p><button id=\"cancel\" hidden>{text}</button> <span id=\"note\" role=\"status\"></span></p>\
         <noscript><p>To {what}, allow this page to run its script. Reload to see how it stands.</p></noscript>"
    )
}

fn status(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Created => "waiting for you to begin",
        SessionStatus::InProgress => "in progress",
        SessionStatus::Completed => "completed",
        SessionStatus::Succeeded => "verified",
        SessionStatus::Failed => "could not be verified",
        SessionStatus::Expired => "expired",
        SessionStatus::Cancelled => "cancelled",
    }
}

/// A claim in words that a holder understands.
fn label(key: &str) -> String {
    if let Ok(ClaimKey::AgeOver(years)) = ClaimKey::parse(key) {
        return format!("Whether you are {years} or older");
    }
    match key {
        "date_of_birth" => "Date of birth",
        "document_expiry_date" => "When your document expires",
        "document_number" => "Document number",
        "document_photo" => "Photo in your document",
        "document_type_code" => "Kind of document",
        "family_name" => "Family name",
        "given_names" => "Given names",
        "issuing_country_code" => "Country that issued it",
        "kayle_document_id" => "A code that recognises your document and tells nothing else",
        "kayle_human_id" => "A code that recognises you, also with another document",
        "mrz_optional_data" => "Optional data in your document",
        "nationality_code" => "Nationality",
        "sex_marker" => "Sex as your document states it",
        other => other,
    }
    .to_owned()
}

/// The cancel token stays in the address bar: it is read there, sent only by POST to this host, and never rendered.
fn script(session: &Session, nonce: &str) -> String {
    format!(
        "<script nonce=\"{nonce}\">\n\
         const base = '/v1/verify/session/{}';\n\
         const token = new URLSearchParams(location.search).get('cancel_token');\n\
         const cancel = document.getElementById('cancel');\n\
         const note = document.getElementById('note');\n\
         async function refresh() {{\n\
           const answer = await fetch(base + '/status');\n\
           if (answer.ok && (await answer.json()).data.status !== '{}') location.reload();\n\
         }}\n\
         if (cancel && token) {{\n\
           cancel.hidden = false;\n\
           cancel.onclick = async () => {{\n\
             cancel.disabled = true;\n\
             note.textContent = '';\n\
             const answer = await fetch(base + '/cancel', {{\n\
               method: 'POST',\n\
               headers: {{ 'Content-Type': 'application/json' }},\n\
               body: JSON.stringify({{ cancel_token: token }}),\n\
             }}).catch(() => null);\n\
             if (answer && answer.ok) {{\n\
               cancel.hidden = true;\n\
               note.textContent = 'Done.';\n\
             }} else {{\n\
               cancel.disabled = false;\n\
               note.textContent = answer && answer.status === 401 ? 'This link cannot cancel it.' : 'That did not work. Try again.';\n\
             }}\n\
             refresh();\n\
           }};\n\
         }}\n\
         setInterval(refresh, 5000);\n\
         </script>",
        session.id, session.status
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
    use proofmill_contract::share::STATIC_CLAIMS;

    #[test]
    fn text_from_integrators_cannot_become_markup() {
        assert_eq!(escape("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
    }

    #[test]
    fn every_claim_has_words_that_a_holder_understands() {
        for key in STATIC_CLAIMS {
            assert!(label(key) != key && !label(key).contains('_'), "{key}");
        }
        assert_eq!(label("age_over_18"), "Whether you are 18 or older");
    }
}
