//! Submitting evidence: read under limits, sealed, referred to in one transaction, answered 202.
//!
//! Nothing of it is decoded here and nothing of it appears in an error or a log. Whether it is a document is the
//! worker's to say, because a verdict is charged and an HTTP error is not.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use proofmill_contract::evidence::READER_ATTESTATION;
use proofmill_contract::{ApiError, AttemptId, AttemptStatus, ErrorCode, Evidence, Lane, Part, Phase, SessionStatus};
use proofmill_emrtd::Terminal;
use proofmill_queue::JobRef;
use proofmill_store::{Answer, Attempt, AttemptWithSession, Submission, SubmitResult};
use serde_json::{Value, json};
use tracing::Instrument;

use super::handoff::{Bearer, by_write_token, ended};
use super::{attempt_id, attempt_of, destroy};
use crate::evidence_form::{self, Form};
use crate::http::auth::{Authorised, SessionsWrite};
use crate::http::envelope;
use crate::http::error::{Error, Result};
use crate::memory_budget::Held;
use crate::state::Ctx;

/// `PUT /v1/verify/attempts/{id}/evidence`
pub async fn submit_with_token(
    State(ctx): State<Ctx>,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response> {
    let found = by_write_token(&ctx, &id, &headers).await?;
    refuse_early(&ctx, &found, Bearer::WriteToken)?;
    // The first use begins the session, whatever comes of the upload.
    if found.session.status == SessionStatus::Created {
        ctx.store.write_token_used(&found.attempt.id, ctx.clock.now()).await?;
    }
    submit_form(&ctx, found, request, Bearer::WriteToken).await
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
    submit_form(&ctx, found, request, Bearer::ApiKey).await
}

/// Evidence as a request brought it, read under its limits.
pub(crate) struct Offered {
    /// What is to be verified.
    pub evidence: Evidence,
    /// Claims that the holder agreed to share, as sent.
    pub selected_field_keys: Vec<String>,
    /// Which queue it is to wait in.
    pub lane: Lane,
    /// Who brought it.
    pub bearer: Bearer,
    /// The answer to store with it, for a request with an idempotency key.
    pub answer: Option<Answer<SubmitResult>>,
}

async fn submit_form(ctx: &Ctx, found: AttemptWithSession, request: Request, bearer: Bearer) -> Result<Response> {
    refuse_early(ctx, &found, bearer)?;
    // A repeat adds nothing to what waits, so it is answered even then.
    if found.attempt.submitted_at.is_none() {
        refuse_while_outbox_is_stuck(ctx).await?;
    }
    let mut held = ctx.evidence_memory.hold();
    let Form { evidence, selected_field_keys } = evidence_form::read(request, &mut held).await?;
    let offered = Offered { evidence, selected_field_keys, lane: Lane::Interactive, bearer, answer: None };
    let attempt = submit(ctx, found, offered, held).await?;
    Ok(envelope::data(StatusCode::ACCEPTED, &accepted(&attempt)))
}

/// Takes evidence for an attempt, whatever brought it: checked, sealed, referred to in one transaction. Gives back the
/// attempt as it is now, which for a repeat of the same bytes may be settled. `held` is the memory that the evidence takes
/// of the process's budget, until it is sealed.
///
/// # Errors
/// Every refusal of a submission. Nothing of the evidence is left behind then.
pub(crate) async fn submit(ctx: &Ctx, found: AttemptWithSession, offered: Offered, held: Held) -> Result<Attempt> {
    let Offered { evidence, selected_field_keys, lane, bearer, answer } = offered;
    refuse_early(ctx, &found, bearer)?;
    let transcript = evidence_form::terminal_of(&evidence)?;
    let selected = found.session.share_fields.check_selection(&selected_field_keys)?;
    // A repeat of an attempt that was settled meanwhile finds nothing kept any more, and is still a repeat.
    let fresh = found.attempt.submitted_at.is_none();
    let selfies_only = evidence.is_selfies_only();
    if fresh && selfies_only && !found.session.chip_evidence_kept {
        return Err(chip_evidence_required());
    }
    if !selfies_only {
        evidence.require_complete()?;
    }
    evidence.require_jpeg_selfies()?;
    if fresh && transcript == Some(Terminal::Server) && found.attempt.terminal.is_none() {
        return Err(chip_authentication_not_started(&found.attempt));
    }
    let evidence_fingerprint = fingerprint(ctx, &found.attempt.id, &evidence, &selected)?;

    // A task of its own: if the caller hangs up between sealing and committing, the sealed object would be left behind.
    let shared = ctx.clone();
    let task = tokio::spawn(
        async move {
            let _held = held;
            let accepted = Checked {
                evidence,
                evidence_fingerprint,
                selected_field_keys: selected,
                lane,
                bearer,
                selfies_only,
                answer,
            };
            store_evidence(&shared, &found, accepted).await
        }
        .in_current_span(),
    );
    task.await.unwrap_or_else(|error| Err(Error::internal(&error)))
}

/// What passed every check that needs no transaction.
struct Checked {
    evidence: Evidence,
    evidence_fingerprint: [u8; 32],
    selected_field_keys: Vec<String>,
    lane: Lane,
    bearer: Bearer,
    selfies_only: bool,
    answer: Option<Answer<SubmitResult>>,
}

async fn store_evidence(ctx: &Ctx, found: &AttemptWithSession, checked: Checked) -> Result<Attempt> {
    let Checked { evidence, evidence_fingerprint, selected_field_keys, lane, bearer, selfies_only, answer } = checked;
    let id = &found.attempt.id;
    let bytes = evidence.total_bytes();
    let sealed = ctx.vault.seal(id, &evidence, ctx.clock.now()).await?;
    drop(evidence);
    let object = sealed.object.clone();
    let submission = Submission {
        evidence_fingerprint,
        sealed,
        selected_field_keys,
        lane,
        chip_evidence_kept_used: selfies_only,
        left_to_caller: ctx.outbox.left_to_relay(),
    };
    let result = ctx.store.submit_evidence_once(id, submission, answer, ctx.clock.now()).await;
    if let Ok(SubmitResult::Accepted(attempt)) = &result {
        note_accepted(ctx, attempt, bytes);
        return Ok(attempt.clone());
    }
    // An error may hide a commit (the answer was lost): then the object is referred to and must stay. If it is not,
    // the sweep for orphans finds it.
    if result.is_ok() {
        destroy(ctx, vec![object]).await;
    }
    match result? {
        SubmitResult::Accepted(attempt) | SubmitResult::Repeat(attempt) => Ok(attempt),
        SubmitResult::AlreadySubmitted => {
            Err(Error::new(ErrorCode::EvidenceAlreadySubmitted, "other evidence was submitted for this attempt"))
        }
        SubmitResult::HandoffExpired => Err(bearer.handoff_expired()),
        SubmitResult::ChipEvidenceRequired => Err(chip_evidence_required()),
        SubmitResult::SessionTerminal(status) => Err(ended(status)),
        SubmitResult::SessionExpired => Err(ended(SessionStatus::Expired)),
        SubmitResult::NotFound => Err(Error::not_found("attempt")),
    }
}

/// Tells the relay and counts.
pub(crate) fn note_accepted(ctx: &Ctx, attempt: &Attempt, bytes: usize) {
    ctx.outbox.put(JobRef::new(attempt.id.clone(), attempt.lane));
    ctx.metrics.submissions.with_label_values(&[attempt.lane.as_str()]).inc();
    ctx.metrics.submission_bytes.observe(bytes as f64);
}

/// What can be refused before a byte of the body is read. The transaction decides again.
pub(crate) fn refuse_early(ctx: &Ctx, found: &AttemptWithSession, bearer: Bearer) -> Result<()> {
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
        AttemptStatus::InProgress | AttemptStatus::Cancelled => Err(bearer.handoff_expired()),
        AttemptStatus::Succeeded | AttemptStatus::Failed => {
            Err(Error::internal(&"a settled attempt has no time of submission"))
        }
    }
}

/// Before a byte of the body is read.
pub(crate) async fn refuse_while_outbox_is_stuck(ctx: &Ctx) -> Result<()> {
    let age = ctx.outbox_age.get(&ctx.store, ctx.clock.now()).await?;
    if age > ctx.config.max_outbox_age {
        return Err(Error::unavailable("queue", "submissions wait too long to be queued"));
    }
    Ok(())
}

/// Keyed, because a plain hash of somebody's passport would identify them.
pub(crate) fn fingerprint(
    ctx: &Ctx,
    attempt: &AttemptId,
    evidence: &Evidence,
    selected: &[String],
) -> Result<[u8; 32]> {
    let mut parts = vec![attempt.as_str().as_bytes()];
    parts.extend(content(evidence, selected));
    Ok(ctx.deployment.hmac("fingerprint.evidence", &parts)?)
}

/// All that tells one submission from another.
pub(crate) fn content<'a>(evidence: &'a Evidence, selected: &'a [String]) -> Vec<&'a [u8]> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in Part::ALL {
        parts.push(part.name().as_bytes());
        parts.push(evidence.get(part).unwrap_or_default());
    }
    parts.push(b"selfie");
    parts.extend(evidence.selfies());
    if let Some(jws) = evidence.reader_attestation() {
        parts.extend([READER_ATTESTATION.as_bytes(), jws]);
    }
    parts.push(b"selected_field_keys");
    parts.extend(selected.iter().map(String::as_bytes));
    parts
}

/// What a submission is answered.
pub(crate) fn accepted(attempt: &Attempt) -> Value {
    json!({ "attempt_id": attempt.id, "status": attempt.status, "phase": attempt.phase })
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

pub(crate) fn chip_evidence_required() -> Error {
    ApiError::new(ErrorCode::ChipEvidenceRequired, "selfies alone are accepted only after the chip evidence passed")
        .with_hint("send sod, dg1, dg2 and at least one selfie")
        .into()
}
