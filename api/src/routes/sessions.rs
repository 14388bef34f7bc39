//! Sessions, for integrators.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use proofmill_contract::limits::{MAX_SESSION_ENDPOINTS, MAX_URL_BYTES, SESSION_LIFE};
use proofmill_contract::{
    ApiError, ContractVersion, EndpointId, ErrorCode, OrganisationId, SessionId, SessionStatus, ShareFields, Timestamp,
    ids,
};
use proofmill_store::{CancelResult, NewSession, Session, SessionFilter};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::{destroy, session_id, views};
use crate::http::auth::{Authorised, Caller, SessionsRead, SessionsWrite};
use crate::http::body::{Empty, JsonBytes};
use crate::http::envelope;
use crate::http::error::{Error, Result};
use crate::http::idempotency::{self, Answered, Creation, Once};
use crate::http::page;
use crate::http::query::Query;
use crate::state::{ApiConfig, Ctx};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateRequest {
    #[serde(default)]
    share_fields: Option<Box<RawValue>>,
    #[serde(default)]
    redirect_url: Option<String>,
    #[serde(default)]
    webhook_endpoint_id: Option<Value>,
    #[serde(default)]
    contract_version: Option<u8>,
}

/// `POST /v1/sessions`
pub async fn create(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<SessionsWrite>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    let request: CreateRequest = body.parse()?;
    let creation = Creation { organisation: caller.organisation.clone(), method, uri, headers, body: body.0 };
    let shared = ctx.clone();
    idempotency::once(&ctx, creation, |once| store_session(shared, caller, request, once)).await
}

/// `GET /v1/sessions/{id}`
pub async fn get(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<SessionsRead>,
    Path(id): Path<String>,
    mut query: Query,
) -> Result<Response> {
    let include_attempts = query.take_flag("include_attempts")?;
    query.finish()?;
    let id = session_id(&id)?;
    let now = ctx.clock.now();
    let session =
        ctx.store.session(Some(&caller.organisation), &id, now).await?.ok_or_else(Error::session_not_found)?;
    let value = if include_attempts {
        let attempts = ctx.store.attempts_of(std::slice::from_ref(&session.id), now).await?;
        views::with_attempts(std::slice::from_ref(&session), attempts, &ctx.config).remove(0)
    } else {
        views::session(&session, &ctx.config)
    };
    Ok(envelope::data(StatusCode::OK, &value))
}

/// `GET /v1/sessions`
pub async fn list(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<SessionsRead>,
    mut query: Query,
) -> Result<Response> {
    let include_attempts = query.take_flag("include_attempts")?;
    let request = page::request(&mut query)?;
    let limit = request.limit;
    let filter = SessionFilter {
        status: query.take::<SessionStatus>("status", "a session status")?,
        created_from: query.take_time("created_from")?,
        created_to: query.take_time("created_to")?,
    };
    query.finish()?;
    let now = ctx.clock.now();
    let rows = ctx.store.list_sessions(&caller.organisation, filter, request, now).await?;
    let items = if include_attempts {
        let ids: Vec<SessionId> = rows.items.iter().map(|session| session.id.clone()).collect();
        let attempts = ctx.store.attempts_of(&ids, now).await?;
        views::with_attempts(&rows.items, attempts, &ctx.config)
    } else {
        rows.items.iter().map(|session| views::session(session, &ctx.config)).collect()
    };
    Ok(page::response(limit, &rows, items))
}

/// `POST /v1/sessions/{id}/cancel`
pub async fn cancel(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<SessionsWrite>,
    Path(id): Path<String>,
    body: JsonBytes,
) -> Result<Response> {
    body.parse::<Empty>()?;
    let id = session_id(&id)?;
    match ctx.store.cancel_session(Some(&caller.organisation), &id, ctx.clock.now()).await? {
        CancelResult::NotFound => Err(Error::session_not_found()),
        CancelResult::Cancelled { discarded } => {
            destroy(&ctx, discarded).await;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        CancelResult::AlreadyTerminal(_) => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

async fn store_session(ctx: Ctx, caller: Caller, request: CreateRequest, once: Once) -> Result<Answered> {
    let now = ctx.clock.now();
    let NewSessionWithToken { new, cancel_token } = new_session(&ctx, caller.organisation, request, now).await?;
    let config = ctx.config.clone();
    let reply =
        once.reply(move |session| Ok(Some((StatusCode::CREATED, created_view(session, &cancel_token, &config)))));
    let session = ctx.store.create_session_once(new, reply.stored(), now).await?;
    reply.respond_to_success(&session)
}

/// A session to create, and the token that only its creator is told.
pub(crate) struct NewSessionWithToken {
    pub new: NewSession,
    pub cancel_token: String,
}

/// Checks a request and makes of it what the store creates.
pub(crate) async fn new_session(
    ctx: &Ctx,
    organisation: OrganisationId,
    request: CreateRequest,
    now: Timestamp,
) -> Result<NewSessionWithToken> {
    let contract_version = match request.contract_version {
        None => {
            let found = ctx.store.organisation(&organisation).await?;
            let missing = || Error::internal(&"an API key names an organisation that does not exist");
            found.ok_or_else(missing)?.default_contract_version
        }
        Some(number) => ContractVersion::try_from(number)
            .map_err(|_| ApiError::invalid_field("contract_version", "expected 1 or 2"))?,
    };
    let cancel_token = ids::cancel_token(&mut rand::rng());
    let id = SessionId::generate(now, &mut rand::rng());
    let new = NewSession {
        cancel_token_hash: super::verify::cancel_token_hash(ctx, &id, &cancel_token)?,
        id,
        organisation_id: organisation,
        contract_version,
        share_fields: ShareFields::from_json(request.share_fields.as_deref())?,
        redirect_url: request.redirect_url.as_deref().map(redirect_url).transpose()?,
        webhook_endpoint_ids: endpoint_ids(request.webhook_endpoint_id.as_ref())?,
        expires_at: now.plus(SESSION_LIFE),
    };
    Ok(NewSessionWithToken { new, cancel_token })
}

/// A session as its creator sees it: with the cancel token, which is shown nowhere else.
pub(crate) fn created_view(session: &Session, cancel_token: &str, config: &ApiConfig) -> Value {
    let mut value = views::session(session, config);
    value["verification_url"] = views::verification_url(config, &session.id, Some(cancel_token)).into();
    value["cancel_token"] = cancel_token.into();
    value
}

/// Begins with `https://`, at most 2048 bytes, a host, no user information.
fn redirect_url(text: &str) -> Result<String> {
    let reject = |why: &str| Error::new(ErrorCode::InvalidRedirectUrl, format!("field `redirect_url`: {why}"));
    if text.len() > MAX_URL_BYTES {
        return Err(reject("longer than 2048 bytes"));
    }
    if !text.starts_with("https://") {
        return Err(reject("must begin with https://"));
    }
    let url = Url::parse(text).map_err(|_| reject("not an absolute URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(reject("user name and password are not allowed"));
    }
    if !text.bytes().all(|c| c.is_ascii_graphic() && c != b'\\') {
        return Err(reject("holds characters that a URL cannot have"));
    }
    // The text is handed on as it came, and readers differ on odd ones (`https:///x`, `https://@x`): the authority must
    // stand where every reader looks for it.
    let authority = text["https://".len()..].split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') {
        return Err(reject("must name a host right after https://, without user name"));
    }
    Ok(text.to_owned())
}

/// An id, or 1 to 25 ids, without repeats.
fn endpoint_ids(value: Option<&Value>) -> Result<Option<Vec<EndpointId>>> {
    let expected = || {
        Error::from(ApiError::invalid_field(
            "webhook_endpoint_id",
            format!("expected a webhook endpoint id or an array of 1 to {MAX_SESSION_ENDPOINTS} of them"),
        ))
    };
    let texts: Vec<&str> = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) if (1..=MAX_SESSION_ENDPOINTS).contains(&items.len()) => {
            items.iter().map(|item| item.as_str().ok_or_else(expected)).collect::<Result<_>>()?
        }
        Some(_) => return Err(expected()),
    };
    let mut ids = Vec::with_capacity(texts.len());
    for text in texts {
        // A text that cannot be an id names no endpoint of anybody's: the same answer as for a foreign one.
        let id = EndpointId::parse(text).map_err(|error| {
            Error::new(ErrorCode::WebhookEndpointUnavailable, format!("field `webhook_endpoint_id`: {error}"))
        })?;
        if ids.contains(&id) {
            return Err(ApiError::invalid_field("webhook_endpoint_id", format!("`{id}` was given twice")).into());
        }
        ids.push(id);
    }
    Ok(Some(ids))
}
