//! Opening an attempt: the challenge for the chip and the token that may write the evidence.
//!
//! The write token is `HMAC(deployment key, attempt id, expiry)`: it is derived again whenever it is needed, so nothing
//! secret is stored, and asking twice gives the same one.

use aws_lc_rs::constant_time;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use proofmill_contract::limits::HANDOFF_LIFE;
use proofmill_contract::{ApiError, AttemptId, ErrorCode, Lane, OrganisationId, SessionId, SessionStatus, Timestamp};
use proofmill_store::{Attempt, AttemptWithSession, NewAttempt, OpenAttempt, Session};
use rand::Rng;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{attempt_id, session_id};
use crate::http::auth::{Authorised, SessionsWrite, bearer};
use crate::http::body::JsonBytes;
use crate::http::error::{Error, Result};
use crate::http::idempotency::{self, Answered, Creation, Once};
use crate::state::{AppState, Ctx};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenRequest {}

/// `POST /v1/verify/session/{id}/handoff`
pub async fn open_public(
    State(ctx): State<Ctx>,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    body.parse::<OpenRequest>()?;
    let id = session_id(&id)?;
    let session = ctx.store.session(None, &id, ctx.clock.now()).await?.ok_or_else(Error::session_not_found)?;
    // The path holds the session's id, so nobody meets another session's answer.
    let creation = Creation { organisation: session.organisation_id.clone(), method, uri, headers, body: body.0 };
    let shared = ctx.clone();
    idempotency::once(&ctx, creation, |once| async move { open(&shared, session, &once).await }).await
}

/// `POST /v1/sessions/{id}/attempts`
pub async fn open_with_key(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<SessionsWrite>,
    Path(id): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    body.parse::<OpenRequest>()?;
    let id = session_id(&id)?;
    let organisation = caller.organisation.clone();
    let creation = Creation { organisation: caller.organisation, method, uri, headers, body: body.0 };
    let shared = ctx.clone();
    idempotency::once(&ctx, creation, |once| async move {
        let session = shared
            .store
            .session(Some(&organisation), &id, shared.clock.now())
            .await?
            .ok_or_else(Error::session_not_found)?;
        open(&shared, session, &once).await
    })
    .await
}

/// Who brings something to an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bearer {
    /// A holder's phone, with the attempt's write token.
    WriteToken,
    /// The integrator.
    ApiKey,
}

impl Bearer {
    /// What he is told after the handoff's end. A key has not expired, so its holder is not sent to authenticate again.
    pub(crate) fn handoff_expired(self) -> Error {
        let code = match self {
            Bearer::WriteToken => ErrorCode::HandoffTokenExpired,
            Bearer::ApiKey => ErrorCode::Conflict,
        };
        ApiError::new(code, "the attempt was not submitted in time")
            .with_hint("open another attempt; this one is not charged")
            .into()
    }
}

/// The attempt whose write token a request bears.
///
/// # Errors
/// `HANDOFF_TOKEN_INVALID`, the same for an unknown attempt and a wrong token: a route must not tell which attempts exist.
pub(crate) async fn by_write_token(ctx: &Ctx, id: &str, headers: &HeaderMap) -> Result<AttemptWithSession> {
    let invalid = || Error::new(ErrorCode::HandoffTokenInvalid, "wrong write token for this attempt");
    let token = bearer(headers).ok_or_else(invalid)?;
    let id = attempt_id(id).map_err(|_| invalid())?;
    let found = ctx.store.attempt(None, &id, ctx.clock.now()).await?.ok_or_else(invalid)?;
    let expected = write_token(ctx, &found.attempt)?;
    constant_time::verify_slices_are_equal(expected.as_bytes(), token.as_bytes()).map_err(|_| invalid())?;
    Ok(found)
}

/// The token that may write an attempt's evidence, 64 hex digits.
pub(crate) fn write_token(state: &AppState, attempt: &Attempt) -> Result<String> {
    let expiry = attempt.handoff_expires_at.as_micros().to_be_bytes();
    Ok(hex::encode(state.deployment.hmac("token.handoff", &[attempt.id.as_str().as_bytes(), &expiry])?))
}

/// Why nothing more can happen in a session that has ended.
pub(crate) fn ended(status: SessionStatus) -> Error {
    match status {
        SessionStatus::Expired => Error::new(ErrorCode::SessionExpired, "the session has expired"),
        other => Error::new(ErrorCode::SessionTerminal, format!("the session has ended: it is `{other}`")),
    }
}

async fn open(ctx: &Ctx, session: Session, once: &Once) -> Result<Answered> {
    if session.status.is_terminal() {
        return Err(ended(session.status));
    }
    let now = ctx.clock.now();
    let new = new_attempt(session.id.clone(), Some(session.organisation_id.clone()), Lane::Interactive, now)
        // A handoff never promises more time than its session has.
        .until(session.expires_at);
    let name = organisation_name(ctx, &session.organisation_id).await?;
    let shared = ctx.clone();
    let reply = once.reply(move |opened: &OpenAttempt| {
        let (status, attempt) = match opened {
            OpenAttempt::Opened(attempt) => (StatusCode::CREATED, attempt),
            OpenAttempt::Existing(attempt) => (StatusCode::OK, attempt),
            OpenAttempt::InProgress | OpenAttempt::Terminal(_) | OpenAttempt::NotFound => return Ok(None),
        };
        Ok(Some((status, view(&shared, &session, attempt, &name)?)))
    });
    let opened = ctx.store.open_attempt_once(new.0, reply.stored(), now).await?;
    reply.respond(&opened)?.ok_or_else(|| not_opened(&opened))
}

/// An attempt to open.
pub(crate) struct Opening(pub NewAttempt);

impl Opening {
    /// Ends the handoff at that time if it would end later.
    pub(crate) fn until(mut self, end: Timestamp) -> Self {
        self.0.handoff_expires_at = self.0.handoff_expires_at.min(end);
        self
    }
}

/// An attempt with a fresh id and a fresh challenge.
pub(crate) fn new_attempt(
    session_id: SessionId,
    organisation_id: Option<OrganisationId>,
    lane: Lane,
    now: Timestamp,
) -> Opening {
    let mut challenge = [0; 8];
    rand::rng().fill_bytes(&mut challenge);
    Opening(NewAttempt {
        id: AttemptId::generate(now, &mut rand::rng()),
        session_id,
        organisation_id,
        challenge,
        handoff_expires_at: now.plus(HANDOFF_LIFE),
        lane,
    })
}

/// Why no attempt is open now.
pub(crate) fn not_opened(opened: &OpenAttempt) -> Error {
    match opened {
        OpenAttempt::InProgress => {
            Error::new(ErrorCode::SessionInProgress, "the session's attempt was submitted and is being verified")
        }
        OpenAttempt::Terminal(status) => ended(*status),
        OpenAttempt::NotFound => Error::session_not_found(),
        OpenAttempt::Opened(_) | OpenAttempt::Existing(_) => Error::internal(&"an open attempt was refused"),
    }
}

/// What the holder is shown of whoever asks.
pub(crate) async fn organisation_name(ctx: &Ctx, id: &OrganisationId) -> Result<String> {
    let organisation = ctx.store.organisation(id).await?;
    let missing = || Error::internal(&"a session names an organisation that does not exist");
    Ok(organisation.ok_or_else(missing)?.name)
}

/// What a phone or an integrator needs to bring an attempt's evidence.
pub(crate) fn view(ctx: &Ctx, session: &Session, attempt: &Attempt, organisation_name: &str) -> Result<Value> {
    let chip_evidence = if session.chip_evidence_kept { "already_passed" } else { "required" };
    Ok(json!({
        "v": 1,
        "session_id": session.id,
        "attempt_id": attempt.id,
        "mobile_write_token": write_token(ctx, attempt)?,
        "expires_at": attempt.handoff_expires_at,
        "active_authentication_challenge": hex::encode(attempt.challenge),
        "contract_version": session.contract_version,
        "share_fields": session.share_fields,
        "redirect_url": session.redirect_url,
        "organisation_name": organisation_name,
        "chip_evidence": chip_evidence,
    }))
}
