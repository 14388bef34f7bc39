//! Opening many attempts at once.
//!
//! `{"session_ids": ["vs_…", …]}`, 1 to 1,000 of them, is answered 200 with one item for each, in order: what opening an
//! attempt answers, and `"error": null`; or `{"session_id", "error"}` for a session in which none can be opened. Partial
//! success is normal. All of it is one transaction of a few statements.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use proofmill_contract::limits::MAX_BULK_LINES;
use proofmill_contract::{ApiError, Lane, OrganisationId, SessionId};
use proofmill_store::{NewAttempt, OpenAttempt, Opening};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{handoff, session_id};
use crate::http::auth::{Authorised, SessionsWrite};
use crate::http::body::JsonBytes;
use crate::http::envelope::{self, RequestId};
use crate::http::error::{Error, Result};
use crate::http::idempotency::{self, Answered, Creation, Once};
use crate::state::Ctx;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenRequest {
    session_ids: Vec<String>,
}

/// `POST /v1/attempts/open`
pub async fn open(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<SessionsWrite>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    let OpenRequest { session_ids } = body.parse()?;
    if !(1..=MAX_BULK_LINES).contains(&session_ids.len()) {
        let expected = format!("expected an array of 1 to {MAX_BULK_LINES} session ids");
        return Err(ApiError::invalid_field("session_ids", expected).into());
    }
    let organisation = caller.organisation.clone();
    let creation = Creation { organisation: caller.organisation, method, uri, headers, body: body.0 };
    let shared = ctx.clone();
    idempotency::once(&ctx, creation, |once| open_all(shared, organisation, session_ids, request_id, once)).await
}

/// One item of the request: a session's id, or why it is none.
type Wanted = std::result::Result<SessionId, ApiError>;

async fn open_all(
    ctx: Ctx,
    organisation: OrganisationId,
    session_ids: Vec<String>,
    request_id: String,
    once: Once,
) -> Result<Answered> {
    let now = ctx.clock.now();
    let wanted: Vec<Wanted> = session_ids.iter().map(|text| session_id(text).map_err(|error| error.api)).collect();
    let new: Vec<NewAttempt> = wanted
        .iter()
        .flatten()
        .map(|id| handoff::new_attempt(id.clone(), Some(organisation.clone()), Lane::Bulk, now).0)
        .collect();
    let name = handoff::organisation_name(&ctx, &organisation).await?;
    let shared = ctx.clone();
    let reply = once.reply(move |opened: &Vec<Opening>| {
        let mut opened = opened.iter();
        let mut items = Vec::with_capacity(wanted.len());
        for (text, wanted) in session_ids.iter().zip(&wanted) {
            let refused = match wanted {
                Ok(_) => {
                    let opening = opened.next().ok_or_else(|| Error::internal(&"fewer openings than sessions"))?;
                    match item(&shared, opening, &name)? {
                        Ok(value) => {
                            items.push(value);
                            continue;
                        }
                        Err(error) => error.api,
                    }
                }
                Err(error) => error.clone(),
            };
            // An id that is none may be any text: it is given back cut short.
            let shown: String = text.chars().take(SessionId::PREFIX.len() + SessionId::LENGTH).collect();
            let error = envelope::error_object(&refused, &request_id, &shared.config.docs_url);
            items.push(json!({ "session_id": shown, "error": error }));
        }
        Ok(Some((StatusCode::OK, Value::Array(items))))
    });
    let opened = ctx.store.open_attempts(&organisation, new, reply.stored(), now).await?;
    reply.respond_to_success(&opened)
}

fn item(ctx: &Ctx, opening: &Opening, organisation_name: &str) -> Result<std::result::Result<Value, Error>> {
    match (&opening.outcome, &opening.session) {
        (OpenAttempt::Opened(attempt) | OpenAttempt::Existing(attempt), Some(session)) => {
            let mut value = handoff::view(ctx, session, attempt, organisation_name)?;
            value["error"] = Value::Null;
            Ok(Ok(value))
        }
        (refused, _) => Ok(Err(handoff::not_opened(refused))),
    }
}
