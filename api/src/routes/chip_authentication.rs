//! Chip authentication with this server as the terminal (ICAO Doc 9303-11 section 6.2): the chip proves to us, and not to
//! the reader, that it has the private key of its DG14.
//!
//! The ephemeral private key is made here, sealed under the attempt like evidence, and never leaves: whoever holds it can
//! forge the transcript. The first DG14 of an attempt binds it; the same one is answered the same, byte for byte.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use proofmill_contract::evidence_line::decode;
use proofmill_contract::{ApiError, ErrorCode, Part, Secret, SessionStatus};
use proofmill_emrtd::{Reason, ServerTerminal};
use proofmill_store::{AttemptWithSession, BindTerminal};
use proofmill_vault::{SealedRef, TerminalSecret};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::Instrument;
use zeroize::Zeroizing;

use super::evidence::refuse_early;
use super::handoff::{Bearer, by_write_token, ended};
use super::{attempt_id, attempt_of, destroy};
use crate::http::auth::{Authorised, SessionsWrite};
use crate::http::body::JsonBytes;
use crate::http::envelope;
use crate::http::error::{Error, Result};
use crate::state::Ctx;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartRequest {
    dg14: String,
}

/// `POST /v1/verify/attempts/{id}/chip-authentication`
pub async fn start_with_token(
    State(ctx): State<Ctx>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    let found = by_write_token(&ctx, &id, &headers).await?;
    start(ctx, found, body, Bearer::WriteToken).await
}

/// `POST /v1/attempts/{id}/chip-authentication`
pub async fn start_with_key(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<SessionsWrite>,
    Path(id): Path<String>,
    body: JsonBytes,
) -> Result<Response> {
    let id = attempt_id(&id)?;
    let found = attempt_of(&ctx, &caller.organisation, &id).await?;
    start(ctx, found, body, Bearer::ApiKey).await
}

/// What is told after the submission.
fn submitted(bearer: Bearer) -> Error {
    match bearer {
        Bearer::WriteToken => {
            Error::new(ErrorCode::HandoffTokenConsumed, "the evidence was submitted, which used the write token up")
        }
        Bearer::ApiKey => {
            Error::new(ErrorCode::EvidenceAlreadySubmitted, "the evidence of this attempt was submitted already")
        }
    }
}

async fn start(ctx: Ctx, found: AttemptWithSession, body: JsonBytes, bearer: Bearer) -> Result<Response> {
    if found.attempt.submitted_at.is_some() {
        return Err(submitted(bearer));
    }
    refuse_early(&ctx, &found, bearer)?;
    let dg14 = read(&body)?;
    if bearer == Bearer::WriteToken {
        ctx.store.write_token_used(&found.attempt.id, ctx.clock.now()).await?;
    }
    if let Some(sealed) = &found.attempt.terminal {
        return answer_again(&ctx, &found, sealed, &dg14).await;
    }
    let shared = ctx.clone();
    // A task of its own: a caller who hangs up must not leave a sealed key that no row refers to.
    let task = tokio::spawn(async move { begin(&shared, &found, dg14, bearer).await }.in_current_span());
    task.await.unwrap_or_else(|error| Err(Error::internal(&error)))
}

fn read(body: &JsonBytes) -> Result<Secret> {
    let request: StartRequest = body.parse()?;
    let text = Zeroizing::new(request.dg14);
    let dg14 = decode(Part::Dg14.name(), &text, Part::Dg14.limit())?;
    if dg14.len() > Part::Dg14.limit() {
        return Err(ApiError::too_large(Part::Dg14.name(), Part::Dg14.limit()).into());
    }
    Ok(Secret::new(dg14))
}

async fn begin(ctx: &Ctx, found: &AttemptWithSession, dg14: Secret, bearer: Bearer) -> Result<Response> {
    let id = &found.attempt.id;
    // Big numbers: not on a thread that serves others.
    let (started, dg14) = tokio::task::spawn_blocking(move || (ServerTerminal::start(dg14.as_bytes(), random), dg14))
        .await
        .map_err(|error| Error::internal(&error))?;
    let terminal = started.map_err(unusable)?;
    let answer = answer(found, &terminal);
    let secret = TerminalSecret {
        private_key: Secret::new(terminal.private_key().to_vec()),
        public_key: Secret::new(terminal.public_key().to_vec()),
        dg14,
        answer: Secret::new(answer.to_string().into_bytes()),
    };
    drop(terminal);
    let sealed = ctx.vault.seal_terminal(id, &secret, ctx.clock.now()).await?;
    let object = sealed.object.clone();
    let bound = ctx.store.bind_terminal(id, sealed, ctx.clock.now()).await;
    if let Ok(BindTerminal::Bound) = &bound {
        ctx.metrics.chip_authentications.inc();
        return Ok(envelope::data(StatusCode::OK, &answer));
    }
    // An error may hide a commit: then the object is referred to and must stay. If it is not, the sweep finds it.
    if bound.is_ok() {
        destroy(ctx, vec![object]).await;
    }
    match bound? {
        BindTerminal::Bound => Ok(envelope::data(StatusCode::OK, &answer)),
        BindTerminal::Existing(sealed) => answer_again(ctx, found, &sealed, &secret.dg14).await,
        BindTerminal::AlreadySubmitted => Err(submitted(bearer)),
        BindTerminal::HandoffExpired => Err(bearer.handoff_expired()),
        BindTerminal::SessionTerminal(status) => Err(ended(status)),
        BindTerminal::SessionExpired => Err(ended(SessionStatus::Expired)),
        BindTerminal::NotFound => Err(Error::not_found("attempt")),
    }
}

/// The answer that was given to this DG14, or a refusal of another.
async fn answer_again(ctx: &Ctx, found: &AttemptWithSession, sealed: &SealedRef, dg14: &Secret) -> Result<Response> {
    let terminal = ctx.vault.open_terminal(&found.attempt.id, sealed).await?;
    if terminal.dg14.as_bytes() != dg14.as_bytes() {
        return Err(ApiError::new(
            ErrorCode::ChipAuthenticationStarted,
            "chip authentication began with another DG14 in this attempt",
        )
        .with_hint("send the DG14 it began with, or let this attempt expire and open another")
        .into());
    }
    let answer: Value = serde_json::from_slice(terminal.answer.as_bytes()).map_err(|error| Error::internal(&error))?;
    Ok(envelope::data(StatusCode::OK, &answer))
}

/// What the reader needs. `transcript` is the part `chip_authentication` of the submission, but for the chip's response.
fn answer(found: &AttemptWithSession, terminal: &ServerTerminal) -> Value {
    let public_key = hex::encode(terminal.public_key());
    let counter = hex::encode(terminal.response_counter());
    json!({
        "v": 1,
        "attempt_id": found.attempt.id,
        "terminal_public_key": public_key,
        "commands": terminal.key_agreement().iter().map(hex::encode).collect::<Vec<_>>(),
        "protected_command": hex::encode(terminal.proof_command()),
        "transcript": { "terminal": "server", "TermPubKey": public_key, "SmRapdu": null, "SmSsc": counter },
    })
}

/// Zeros where there is no randomness: no key is made of them, and the call fails.
fn random(octets: &mut [u8]) {
    if aws_lc_rs::rand::fill(octets).is_err() {
        octets.fill(0);
    }
}

fn unusable(reason: Reason) -> Error {
    let why = match reason {
        Reason::ChipAuthenticationInfoMalformed => "is not a file of security infos",
        Reason::ChipAuthenticationUnsupported => "offers no chip authentication that this server can run",
        Reason::ChipAuthenticationGroupUnknown => "names no known curve or group",
        Reason::ChipAuthenticationKeyInvalid => {
            "holds a public key that is not of the right order on its curve or group"
        }
        other => return Error::internal(&format!("no terminal key: {other}")),
    };
    ApiError::new(ErrorCode::EvidencePartInvalid, format!("evidence part `dg14` {why} ({reason})"))
        .with_hint("submit without chip authentication; the attempt is not charged for this")
        .into()
}
