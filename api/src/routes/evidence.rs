//! Submitting evidence: read under limits, sealed, referred to in one transaction, answered 202.
//!
//! Nothing of it is decoded here and nothing of it appears in an error or a log. Whether it is a document is the
//! worker's to say, because a verdict is charged and an HTTP error is not.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use proofmill_contract::{ApiError, AttemptStatus, ErrorCode, Evidence, Lane, Part, Phase};
use proofmill_emrtd::Terminal;
use proofmill_store::{Attempt, AttemptWithSession, Submission, SubmitResult};
use serde_json::json;
use tracing::Instrument;

use super::handoff::{by_write_token, ended};
use super::{attempt_id, attempt_of, destroy};
use crate::evidence_form::{self, Form};
use crate::http::auth::{Authorised, SessionsWrite};
use crate::http::envelope;
use crate::http::error::{Error, Result};
use crate::state::Ctx;

/// `PUT /v1/verify/attempts/{id}/evidence`
pub async fn submit_with_token(
    State(ctx): State<Ctx>,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response> {
    let found = by_write_token(&ctx, &id, &headers).await?;
    refuse_early(&ctx, &found)?;
    ctx.store.write_token_used(&found.attempt.id, ctx.clock.now()).await?;
    submit(ctx, found, request).await
}

/// `PUT /v1/attempts/{id}/evidence`
pub async fn submit_with_key(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<SessionsWrite>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    let id = attempt_id(&id)?;
    let found = attempt_of(&ctx, &caller.organisation, &id).await?;
    submit(ctx, found, request).await
}

async fn submit(ctx: Ctx, found: AttemptWithSession, request: Request) -> Result<Response> {
    refuse_early(&ctx, &found)?;
    // A repeat adds nothing to what waits, so it is answered even then.
    if found.attempt.submitted_at.is_none() {
        refuse_while_outbox_is_stuck(&ctx).await?;
    }
    let mut held = ctx.evidence_memory.hold();
    let Form { evidence, manifest, transcript } = evidence_form::read(request, &mut held).await?;
    let selected = found.session.share_fields.check_selection(&manifest.selected_field_keys)?;
    let selfies_only = evidence.is_selfies_only();
    if selfies_only && !found.session.chip_evidence_kept {
        return Err(chip_evidence_required());
    }
    if !selfies_only {
        evidence.require_complete()?;
    }
    let fresh = found.attempt.submitted_at.is_none();
    if fresh && transcript == Some(Terminal::Server) && found.attempt.terminal.is_none() {
        return Err(chip_authentication_not_started(&found.attempt));
    }

    // A task of its own: if the caller hangs up between sealing and committing, the sealed object would be left behind.
    let shared = ctx.clone();
    let task = tokio::spawn(
        async move {
            let _held = held;
            store_evidence(&shared, &found, evidence, selected, selfies_only).await
        }
        .in_current_span(),
    );
    task.await.unwrap_or_else(|error| Err(Error::internal(&error)))
}

async fn store_evidence(
    ctx: &Ctx,
    found: &AttemptWithSession,
    evidence: Evidence,
    selected_field_keys: Vec<String>,
    selfies_only: bool,
) -> Result<Response> {
    let id = &found.attempt.id;
    let bytes = evidence.total_bytes();
    let evidence_fingerprint = fingerprint(ctx, &found.attempt, &evidence, &selected_field_keys)?;
    let sealed = ctx.vault.seal(id, &evidence, ctx.clock.now()).await?;
    drop(evidence);
    let object = sealed.object.clone();
    let submission = Submission {
        evidence_fingerprint,
        sealed,
        selected_field_keys,
        lane: Lane::Interactive,
        chip_evidence_kept_used: selfies_only,
    };
    let result = ctx.store.submit_evidence(id, submission, ctx.clock.now()).await;
    if let Ok(SubmitResult::Accepted(attempt)) = &result {
        ctx.outbox_wakeup.notify_one();
        ctx.metrics.submissions.with_label_values(&[attempt.lane.as_str()]).inc();
        ctx.metrics.submission_bytes.observe(bytes as f64);
        return Ok(accepted(attempt));
    }
    // An error may hide a commit (the answer was lost): then the object is referred to and must stay. If it is not,
    // the sweep for orphans finds it.
    if result.is_ok() {
        destroy(ctx, vec![object]).await;
    }
    match result? {
        SubmitResult::Accepted(attempt) | SubmitResult::Repeat(attempt) => Ok(accepted(&attempt)),
        SubmitResult::AlreadySubmitted => {
            Err(Error::new(ErrorCode::EvidenceAlreadySubmitted, "other evidence was submitted for this attempt"))
        }
        SubmitResult::HandoffExpired => Err(handoff_expired()),
        SubmitResult::ChipEvidenceRequired => Err(chip_evidence_required()),
        SubmitResult::SessionTerminal(status) => Err(ended(status)),
        SubmitResult::SessionExpired => Err(ended(proofmill_contract::SessionStatus::Expired)),
        SubmitResult::NotFound => Err(Error::not_found("attempt")),
    }
}

/// What can be refused before a byte of the body is read. The transaction decides again.
pub(crate) fn refuse_early(ctx: &Ctx, found: &AttemptWithSession) -> Result<()> {
    let attempt = &found.attempt;
    if attempt.submitted_at.is_some() {
        return Ok(());
    }
    if found.session.status.is_terminal() {
        return Err(ended(found.session.status));
    }
    if attempt.phase == Phase::AwaitingEvidence && ctx.clock.now() < attempt.handoff_expires_at {
        return Ok(());
    }
    match attempt.status {
        AttemptStatus::InProgress | AttemptStatus::Cancelled => Err(handoff_expired()),
        AttemptStatus::Succeeded | AttemptStatus::Failed => {
            Err(Error::internal(&"a settled attempt has no time of submission"))
        }
    }
}

async fn refuse_while_outbox_is_stuck(ctx: &Ctx) -> Result<()> {
    let age = ctx.outbox_age.get(&ctx.store, ctx.clock.now()).await?;
    if age > ctx.config.max_outbox_age {
        return Err(Error::unavailable("queue", "submissions wait too long to be queued"));
    }
    Ok(())
}

/// Keyed, because a plain hash of somebody's passport would identify them.
fn fingerprint(ctx: &Ctx, attempt: &Attempt, evidence: &Evidence, selected: &[String]) -> Result<[u8; 32]> {
    let mut parts: Vec<&[u8]> = vec![attempt.id.as_str().as_bytes()];
    for part in Part::ALL {
        parts.push(part.name().as_bytes());
        parts.push(evidence.get(part).unwrap_or_default());
    }
    parts.push(b"selfie");
    parts.extend(evidence.selfies());
    parts.push(b"selected_field_keys");
    parts.extend(selected.iter().map(String::as_bytes));
    Ok(ctx.deployment.hmac("fingerprint.evidence", &parts)?)
}

fn accepted(attempt: &Attempt) -> Response {
    envelope::data(
        StatusCode::ACCEPTED,
        &json!({ "attempt_id": attempt.id, "status": attempt.status, "phase": attempt.phase }),
    )
}

pub(crate) fn handoff_expired() -> Error {
    ApiError::new(ErrorCode::HandoffTokenExpired, "the attempt was not submitted in time")
        .with_hint("open another attempt; this one is not charged")
        .into()
}

/// After the verdict the key is gone, so a repeat finds none either: only a fresh submission is told so.
fn chip_authentication_not_started(attempt: &Attempt) -> Error {
    ApiError::new(
        ErrorCode::EvidencePartInvalid,
        "evidence part `chip_authentication`: `terminal` is `server`, and the server's terminal has not begun with this attempt",
    )
    .with_hint(format!("POST /v1/verify/attempts/{}/chip-authentication comes first", attempt.id))
    .into()
}

fn chip_evidence_required() -> Error {
    ApiError::new(ErrorCode::ChipEvidenceRequired, "selfies alone are accepted only after the chip evidence passed")
        .with_hint("send sod, dg1, dg2 and at least one selfie")
        .into()
}
