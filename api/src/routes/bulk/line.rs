//! One line: read, checked, submitted, answered.
//!
//! `{"line", "id"?, "attempt_id", "session_id", "idempotency_key", "idempotency_replayed", "status", "data", "error"}`:
//! `status` is the HTTP status that the line would have had as a request of its own, and of `data` and `error` one is null,
//! as in the envelope.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use proofmill_contract::evidence_line::{EvidenceLine, Names};
use proofmill_contract::limits::MAX_IDEMPOTENCY_KEY_CHARS;
use proofmill_contract::{ApiError, ErrorCode, Evidence, Lane, OrganisationId, Part};
use proofmill_emrtd::Terminal;
use proofmill_store::{Attempt, AttemptWithSession, Submission, SubmitResult};
use serde_json::{Value, json};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::super::evidence::{self, Offered, fingerprint};
use super::super::handoff::Bearer;
use super::super::sessions::{self, CreateRequest, NewSessionWithToken};
use super::super::{attempt_id, attempt_of, destroy, handoff};
use crate::evidence_form;
use crate::http::body;
use crate::http::envelope::error_object;
use crate::http::error::{Error, Result};
use crate::http::idempotency::{self, Begun, Once};
use crate::memory_budget::Held;
use crate::state::Ctx;

/// Lines have keys of their own, apart from those of whole requests.
const KEY_ROUTE: &str = "POST /v1/attempts/batch line";
/// A line whose key is in use waits for the one that uses it: a repeated upload often follows on the heels of the first.
const KEY_PAUSE: Duration = Duration::from_millis(50);
const KEY_PATIENCE: Duration = Duration::from_secs(idempotency::LEASE.as_secs() + 2);
/// A line beyond this is decoded where it does not hold up others.
const SMALL: usize = 256 << 10;

/// What the lines of one request share.
pub(super) struct Batch {
    pub(super) ctx: Ctx,
    pub(super) organisation: OrganisationId,
    pub(super) request_id: String,
    /// The request's own `Idempotency-Key`: with a line's number the key of a line that has none.
    pub(super) key: Option<String>,
}

/// What a line is to be submitted to.
enum Target {
    Opened(String),
    NewSession(String),
}

/// What a line brings.
struct Content {
    challenge: Option<[u8; 8]>,
    evidence: Evidence,
    selected_field_keys: Vec<String>,
    held: Held,
}

/// What came of a line.
struct Done {
    replayed: bool,
    status: u16,
    data: Value,
}

impl Batch {
    /// Does what the line says; its answer.
    pub(super) async fn answer(&self, number: u64, text: Zeroizing<Vec<u8>>, held: Held) -> Bytes {
        let line = match read(text).await {
            Ok(line) => line,
            Err(refused) => return self.refused(number, &refused.0, &refused.1),
        };
        let names = Names {
            id: line.id.clone(),
            attempt_id: line.attempt_id.clone(),
            idempotency_key: line.idempotency_key.clone(),
        };
        match self.take(number, line, held).await {
            Ok(done) => ndjson(&named(number, &names, &done)),
            Err(error) => self.refused(number, &names, &error.api),
        }
    }

    /// The answer of a line that could not be taken.
    pub(super) fn refused(&self, number: u64, names: &Names, error: &ApiError) -> Bytes {
        let done = Done { replayed: false, status: error.code.status(), data: Value::Null };
        let mut answer = named(number, names, &done);
        answer["error"] = error_object(error, &self.request_id, &self.ctx.config.docs_url);
        ndjson(&answer)
    }

    async fn take(&self, number: u64, line: EvidenceLine, held: Held) -> Result<Done> {
        let EvidenceLine { attempt_id, session, idempotency_key, selected_field_keys, challenge, evidence, .. } = line;
        let target = match (attempt_id, session) {
            (Some(id), None) => Target::Opened(id),
            (None, Some(request)) => Target::NewSession(request),
            _ => {
                let why = "a line names either the attempt that was opened for it or the session to create";
                return Err(ApiError::invalid_field("attempt_id", why).into());
            }
        };
        let content = Content { challenge, evidence, selected_field_keys, held };
        let Some(key) = self.key_of(number, idempotency_key)? else {
            return self.submit(target, content, &Once::unkeyed()).await;
        };
        let once = match self.begin(&key, &target, &content).await? {
            Begun::Fresh(once) => once,
            Begun::Replay { status, body } => {
                let mut body: Value = serde_json::from_slice(&body).map_err(|error| Error::internal(&error))?;
                return Ok(Done { replayed: true, status, data: body["data"].take() });
            }
        };
        let outcome = self.submit(target, content, &once).await;
        if outcome.is_err() {
            once.give_back().await;
        }
        outcome
    }

    fn key_of(&self, number: u64, own: Option<String>) -> Result<Option<String>> {
        match (own, &self.key) {
            (Some(key), _) if key.is_empty() || !key.bytes().all(|c| (b' '..=b'~').contains(&c)) => {
                let expected = format!("expected 1 to {MAX_IDEMPOTENCY_KEY_CHARS} visible ASCII characters");
                Err(ApiError::invalid_field("idempotency_key", expected).into())
            }
            (Some(key), _) => Ok(Some(key)),
            (None, Some(request)) => Ok(Some(format!("{request} line {number}"))),
            (None, None) => Ok(None),
        }
    }

    async fn begin(&self, key: &str, target: &Target, content: &Content) -> Result<Begun> {
        let mut request: Vec<&[u8]> = match target {
            Target::Opened(id) => vec![b"attempt", id.as_bytes()],
            Target::NewSession(session) => vec![b"session", session.as_bytes()],
        };
        request.extend(evidence::content(&content.evidence, &content.selected_field_keys));
        let deadline = Instant::now() + KEY_PATIENCE;
        loop {
            match idempotency::begin(&self.ctx, &self.organisation, KEY_ROUTE, key, &request).await {
                Err(error) if error.api.code == ErrorCode::IdempotencyInProgress && Instant::now() < deadline => {
                    tokio::time::sleep(KEY_PAUSE).await;
                }
                Err(error) if error.api.code == ErrorCode::IdempotencyKeyReused => {
                    return Err(ApiError::new(
                        ErrorCode::IdempotencyKeyReused,
                        "field `idempotency_key`: it was used with another line",
                    )
                    .with_hint("take a fresh key for each new line")
                    .into());
                }
                other => return other,
            }
        }
    }

    async fn submit(&self, target: Target, content: Content, once: &Once) -> Result<Done> {
        match target {
            Target::Opened(id) => self.submit_opened(&id, content, once).await,
            Target::NewSession(request) => self.submit_new(&request, content, once).await,
        }
    }

    async fn submit_opened(&self, id: &str, content: Content, once: &Once) -> Result<Done> {
        let Content { challenge, evidence, selected_field_keys, held } = content;
        let ctx = &self.ctx;
        let found = attempt_of(ctx, &self.organisation, &attempt_id(id)?).await?;
        if challenge.is_some_and(|challenge| challenge != found.attempt.challenge) {
            return Err(ApiError::invalid_field("challenge", "not the one of this attempt").into());
        }
        if found.attempt.submitted_at.is_none() {
            evidence::refuse_while_outbox_is_stuck(ctx).await?;
        }
        let reply = once.reply(|result: &SubmitResult| match result {
            SubmitResult::Accepted(attempt) | SubmitResult::Repeat(attempt) => {
                Ok(Some((StatusCode::ACCEPTED, data(attempt))))
            }
            _ => Ok(None),
        });
        let offered =
            Offered { evidence, selected_field_keys, lane: Lane::Bulk, bearer: Bearer::ApiKey, answer: reply.stored() };
        let attempt = evidence::submit(ctx, found, offered, held).await?;
        Ok(Done { replayed: false, status: StatusCode::ACCEPTED.as_u16(), data: data(&attempt) })
    }

    async fn submit_new(&self, request: &str, content: Content, once: &Once) -> Result<Done> {
        let Content { challenge, evidence, selected_field_keys, held } = content;
        let ctx = &self.ctx;
        require_unopened(&evidence, challenge)?;
        evidence::refuse_while_outbox_is_stuck(ctx).await?;
        let request: CreateRequest = body::parse_field("session", request.as_bytes())?;
        let now = ctx.clock.now();
        let NewSessionWithToken { new, cancel_token } =
            sessions::new_session(ctx, self.organisation.clone(), request, now).await?;
        let selected_field_keys = new.share_fields.check_selection(&selected_field_keys)?;
        let attempt = handoff::new_attempt(new.id.clone(), Some(self.organisation.clone()), Lane::Bulk, now).0;
        let bytes = evidence.total_bytes();
        let evidence_fingerprint = fingerprint(ctx, &attempt.id, &evidence, &selected_field_keys)?;
        let sealed = ctx.vault.seal(&attempt.id, &evidence, now).await?;
        drop((evidence, held));
        let object = sealed.object.clone();
        let submission = Submission {
            evidence_fingerprint,
            sealed,
            selected_field_keys,
            lane: Lane::Bulk,
            chip_evidence_kept_used: false,
            left_to_caller: ctx.outbox.left_to_relay(),
        };
        let config = ctx.config.clone();
        let done = move |made: &AttemptWithSession| {
            let mut value = data(&made.attempt);
            value["session"] = sessions::created_view(&made.session, &cancel_token, &config);
            value
        };
        let reply = once.reply({
            let done = done.clone();
            move |made| Ok(Some((StatusCode::ACCEPTED, done(made))))
        });
        let made = match ctx.store.submit_in_new_session(new, attempt, submission, reply.stored(), now).await {
            Ok(made) => made,
            Err(error) => {
                // A lost answer may hide a commit: then the object is referred to. If not, the sweep finds it.
                if !error.is_transient() {
                    destroy(ctx, vec![object]).await;
                }
                return Err(error.into());
            }
        };
        evidence::note_accepted(ctx, &made.attempt, bytes);
        Ok(Done { replayed: false, status: StatusCode::ACCEPTED.as_u16(), data: done(&made) })
    }
}

/// What must be known before the attempt exists cannot be in its evidence.
fn require_unopened(evidence: &Evidence, challenge: Option<[u8; 8]>) -> Result<()> {
    let open_first = "open an attempt for this session with POST /v1/attempts/open, and send its `attempt_id`";
    let invalid = |name: &str, why: &str| {
        let message = format!("evidence part `{name}`: {why}");
        Err(Error::from(ApiError::new(ErrorCode::EvidencePartInvalid, message).with_hint(open_first)))
    };
    for part in [Part::Dg15, Part::ActiveAuthentication] {
        if evidence.get(part).is_some() {
            let why = "active authentication answers the challenge of an attempt that was opened before";
            return invalid(part.name(), why);
        }
    }
    if challenge.is_some() {
        return Err(ApiError::invalid_field("challenge", "belongs to an attempt that was opened before").into());
    }
    if evidence.reader_attestation().is_some() {
        return invalid("reader_attestation", "it names an attempt that was opened before");
    }
    if evidence_form::terminal_of(evidence)? == Some(Terminal::Server) {
        return invalid(
            Part::ChipAuthentication.name(),
            "`terminal` is `server`, which begins with an attempt that was opened before",
        );
    }
    if evidence.is_selfies_only() {
        return Err(evidence::chip_evidence_required());
    }
    evidence.require_complete()?;
    evidence.require_jpeg_selfies()?;
    Ok(())
}

async fn read(text: Zeroizing<Vec<u8>>) -> std::result::Result<EvidenceLine, Box<(Names, ApiError)>> {
    let small = text.len() <= SMALL;
    let parse = move || EvidenceLine::parse(&text).map_err(|error| Box::new((Names::of(&text), error)));
    if small {
        return parse();
    }
    match tokio::task::spawn_blocking(parse).await {
        Ok(line) => line,
        Err(error) => Err(Box::new((Names::default(), Error::internal(&error).api))),
    }
}

fn data(attempt: &Attempt) -> Value {
    let mut value = evidence::accepted(attempt);
    value["session_id"] = json!(attempt.session_id);
    value
}

/// The line's answer without its error.
fn named(number: u64, names: &Names, done: &Done) -> Value {
    let mut answer = json!({
        "line": number,
        "attempt_id": names.attempt_id,
        "session_id": null,
        "idempotency_key": names.idempotency_key,
        "idempotency_replayed": done.replayed,
        "status": done.status,
        "data": done.data,
        "error": null,
    });
    for name in ["attempt_id", "session_id"] {
        if let Some(known) = done.data.get(name) {
            answer[name] = known.clone();
        }
    }
    if let Some(id) = &names.id {
        answer["id"] = json!(id);
    }
    answer
}

fn ndjson(answer: &Value) -> Bytes {
    let mut text = answer.to_string();
    text.push('\n');
    text.into()
}
