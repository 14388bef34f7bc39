//! Evidence in, judgement out: the stages that need no database, shared by the pipeline and the offline job.
//!
//! Document gates and picture decoding run on the rayon pool; faces go through the batcher. Decoded pictures are the largest
//! thing in memory: an attempt reserves what its pictures declare before any of them is decoded, and gives it back when
//! they are wiped, so that all attempts together keep within one budget, whoever holds them.

mod budget;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use proofmill_contract::claims::DocumentData;
use proofmill_contract::{Checks, Evidence, OrganisationPolicy, Outcome, Part, PresentationAttackDetection, Timestamp};
use proofmill_emrtd::TrustStore;
use proofmill_face::{FaceFailure, FaceVerdict, Prepared, PresentationAttack};
use proofmill_telemetry::Metrics;
use proofmill_vault::TerminalSecret;
use tokio::sync::{Semaphore, oneshot};
use zeroize::Zeroizing;

use self::budget::{Budget, Reservation};

use crate::attestation::{Attestation, Reader};
use crate::decide::{self, Decision, DocumentDecision};
use crate::document::{self, Transcript};
use crate::face::{FaceLane, FaceStage};
use crate::kept::{ChipEvidence, Kept};
use crate::trust::LiveTrust;

/// What an attempt is judged by, besides its evidence.
pub struct Case {
    /// The organisation's policy.
    pub policy: OrganisationPolicy,
    /// Claims that the holder agreed to share: decides what is kept of the document until the verdict.
    pub selected_field_keys: Vec<String>,
    /// The challenge that was sent to the chip, if one was.
    pub challenge: Option<[u8; 8]>,
    /// The server's terminal of chip authentication, if it began one with this attempt's chip.
    pub terminal: Option<TerminalSecret>,
    /// By whom the reader's statement may be signed.
    pub reader: Reader,
    /// Where the chip's evidence comes from.
    pub chip: ChipEvidence,
    /// The moment at which dates count: when the evidence was accepted, so that a backlog is never the holder's failure.
    pub at: Timestamp,
}

/// What was decided, and what claims are made from.
pub struct Judgement {
    /// The decision.
    pub decision: Decision,
    /// The document's data; only when accepted.
    pub document: Option<DocumentData>,
    /// The chip's evidence; only when it was submitted and wanted, its gates held, and the selfies failed.
    pub kept: Option<Kept>,
}

/// Why an attempt could not be judged. Never its user's failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Something around the attempt does not work; another time or place may do.
    #[error("{part}: {error}")]
    System {
        /// Which part, as metrics name it: `store`, `queue`, `vault`, `trust`, `model`, `gpu`.
        part: &'static str,
        /// What it said; nothing of the evidence.
        error: String,
    },
    /// Judging this attempt broke the code that judged it; it may do so again.
    #[error("{0}")]
    Poison(String),
}

impl Fault {
    /// A fault of a part.
    pub fn system(part: &'static str, error: &(impl std::fmt::Display + ?Sized)) -> Self {
        Fault::System { part, error: error.to_string() }
    }
}

/// The stages, ready to judge.
pub struct Engine {
    trust: LiveTrust,
    face: Arc<dyn FaceStage>,
    metrics: Arc<Metrics>,
    slots: Semaphore,
    memory: Arc<Budget>,
}

impl Engine {
    /// An engine that works on at most `threads` documents at once. Each is judged by the trust store that is in use when its
    /// document stage begins.
    pub fn new(trust: impl Into<LiveTrust>, face: Arc<dyn FaceStage>, metrics: Arc<Metrics>, threads: usize) -> Self {
        // One more than threads, so that the pool has its next attempt while one waits for the batcher.
        let memory = Arc::new(Budget::new(face.memory(), &metrics));
        Self { trust: trust.into(), face, metrics, slots: Semaphore::new(threads + 1), memory }
    }

    /// Judges one attempt.
    ///
    /// # Errors
    /// [`Fault`], after which nothing is known about the attempt.
    pub async fn judge(&self, evidence: Evidence, case: Arc<Case>, lane: FaceLane) -> Result<Judgement, Fault> {
        let slot = self.slots.acquire().await.map_err(|_| Fault::system("model", "the engine has stopped"))?;
        let examined = {
            let (trust, face, metrics) = (self.trust.clone(), self.face.clone(), self.metrics.clone());
            on_pool(move || examine(evidence, &case, &trust.current(), &*face, &metrics)).await?
        };
        let (encoded, case) = match examined {
            Examined::Decided(decision) => return Ok(judgement(decision, None, None)),
            Examined::Faces { encoded, case } => (encoded, case),
        };
        let room = self.memory.reserve(encoded.memory).await;
        let room = room.ok_or_else(|| Fault::system("model", "the engine has stopped"))?;
        let prepared = {
            let (face, metrics) = (self.face.clone(), self.metrics.clone());
            let alone = matches!(*case, FaceCase::Portrait(_));
            on_pool(move || prepare(encoded, alone, room, &*face, &metrics)).await?
        };
        let (pictures, selfies) = match prepared {
            Ok(prepared) => prepared,
            Err(portrait) => {
                let decision = decide::faces(case.checks(), &portrait.verdict(), self.face.model());
                return Ok(judgement(decision, None, None));
            }
        };
        let started = Instant::now();
        let answer = self.face.submit(pictures, lane).await?;
        drop(slot);
        let answered = answer.await?;
        observe(&self.metrics, "embed", started);
        Ok(match (*case, answered.verdict, selfies) {
            (case, verdict @ FaceVerdict::PortraitUnusable(_), _) => {
                judgement(decide::faces(case.checks(), &verdict, self.face.model()), None, None)
            }
            (FaceCase::Portrait(decision), _, _) => judgement(decision, None, None),
            (FaceCase::Whole { checks, kept, .. }, _, Err(failure)) => {
                judgement(decide::faces(checks, &failure.verdict(), self.face.model()), None, kept)
            }
            (FaceCase::Whole { checks, document, kept }, verdict, Ok(())) => {
                let mut decision = decide::faces(checks, &verdict, self.face.model());
                decision.checks.presentation_attack_detection = presentation(answered.presentation_attack);
                judgement(decision, Some(document), kept)
            }
        })
    }
}

/// The document's data only of an accepted attempt, the chip's evidence only of one whose selfies failed.
fn judgement(decision: Decision, document: Option<DocumentData>, kept: Option<Kept>) -> Judgement {
    let (document, kept) = match decision.outcome {
        Outcome::Accepted => (document, None),
        Outcome::Rejected(code) => (None, kept.filter(|_| code.leaves_chip_evidence())),
    };
    Judgement { decision, document, kept }
}

fn presentation(found: PresentationAttack) -> PresentationAttackDetection {
    match found {
        PresentationAttack::NotPerformed => PresentationAttackDetection::NotPerformed,
        PresentationAttack::BonaFide => PresentationAttackDetection::Passed,
        PresentationAttack::Attack => PresentationAttackDetection::Failed,
    }
}

/// What the document stage leaves behind.
enum Examined {
    Decided(Decision),
    Faces { encoded: Encoded, case: Box<FaceCase> },
}

/// What the faces are to decide. One of them at a time, boxed where it travels.
#[expect(clippy::large_enum_variant)]
enum FaceCase {
    /// Whether the portrait is one: if it is, this was decided by a gate that stands behind it.
    Portrait(Decision),
    /// The attempt.
    Whole { checks: Checks, document: DocumentData, kept: Option<Kept> },
}

impl FaceCase {
    /// What was found of the document.
    fn checks(self) -> Checks {
        match self {
            FaceCase::Portrait(decision) => decision.checks,
            FaceCase::Whole { checks, .. } => checks,
        }
    }
}

/// Pictures that are not decoded yet. Wiped when dropped.
struct Encoded {
    portrait: Zeroizing<Vec<u8>>,
    /// Whose selfies they are.
    evidence: Evidence,
    /// Bytes that decoding takes.
    memory: usize,
}

fn examine(
    mut evidence: Evidence,
    case: &Case,
    trust: &TrustStore,
    face: &dyn FaceStage,
    metrics: &Metrics,
) -> Examined {
    let started = Instant::now();
    let transcript = Transcript::of(&evidence);
    let verified = document::verify(&evidence, transcript.as_ref(), case, trust);
    observe(metrics, "document", started);
    let attestation = document::attestation(&evidence, case);
    let terminal = document::terminal_binding(&evidence, case);
    let decided = decide::document(&verified.report, terminal, &attestation, &case.policy);
    count(metrics, &verified.report, &decided);
    let (checks, later) = match decided {
        DocumentDecision::Rejected(decision) => return Examined::Decided(decision),
        DocumentDecision::RejectedUnlessPortrait(decision) => (decision.checks.clone(), Some(decision)),
        DocumentDecision::Faces(checks) => (checks, None),
    };
    let (Some(mrz), Some(portrait)) = (&verified.mrz, &verified.portrait) else {
        return Examined::Decided(decide::content_unusable(checks, "document_content_absent"));
    };
    let document = match document::data(mrz, portrait, &case.selected_field_keys) {
        Ok(document) => document,
        Err(reason) => return Examined::Decided(decide::content_unusable(checks, reason)),
    };
    let selfies = if later.is_some() { Vec::new() } else { evidence.selfies().collect() };
    let memory = face.memory_for(portrait.image, &selfies);
    let portrait = Zeroizing::new(portrait.image.to_vec());
    if let Some(decision) = later {
        let encoded = Encoded { portrait, evidence, memory };
        return Examined::Faces { encoded, case: Box::new(FaceCase::Portrait(decision)) };
    }
    let signer = verified.signer.filter(|_| matches!(case.chip, ChipEvidence::Submitted { keep: true }));
    let kept = signer.and_then(|signer| {
        let (dg1, dg2) = (evidence.take(Part::Dg1)?, evidence.take(Part::Dg2)?);
        let attested_by = match attestation {
            Attestation::Holds(key) => Some(key),
            _ => None,
        };
        Some(Kept::new(dg1, dg2, signer, checks.clone(), attested_by))
    });
    let case = Box::new(FaceCase::Whole { checks, document, kept });
    Examined::Faces { encoded: Encoded { portrait, evidence, memory }, case }
}

/// Decodes the portrait, and the selfies unless the portrait `alone` is asked about. What is wrong with a selfie waits: whether
/// the portrait is one stands before it. The evidence itself is wiped when this returns; its part of the budget stays with
/// the pictures.
fn prepare(
    encoded: Encoded,
    alone: bool,
    mut room: Reservation,
    face: &dyn FaceStage,
    metrics: &Metrics,
) -> Result<(Prepared, Result<(), FaceFailure>), FaceFailure> {
    let started = Instant::now();
    let selfies: Vec<&[u8]> = if alone { Vec::new() } else { encoded.evidence.selfies().collect() };
    let prepared = match face.prepare(&encoded.portrait, &selfies) {
        Err(failure @ FaceFailure::Selfie(_)) => {
            face.prepare(&encoded.portrait, &[]).map(|pictures| (pictures, Err(failure)))
        }
        prepared => prepared.map(|pictures| (pictures, Ok(()))),
    };
    observe(metrics, "decode", started);
    let (pictures, selfies) = prepared?;
    room.keep(pictures.bytes());
    Ok((pictures.holding(room), selfies))
}

/// Names of departures and reasons: nothing of a document, and no more of them than the libraries have.
fn count(metrics: &Metrics, report: &proofmill_emrtd::Report, decided: &DocumentDecision) {
    for deviation in &report.deviations {
        metrics.document_deviations.with_label_values(&[deviation.name()]).inc();
    }
    if let DocumentDecision::Rejected(Decision { checks, .. })
    | DocumentDecision::RejectedUnlessPortrait(Decision { checks, .. }) = decided
        && let Some(reason) = &checks.reason
    {
        metrics.document_reasons.with_label_values(&[reason]).inc();
    }
}

fn observe(metrics: &Metrics, stage: &str, started: Instant) {
    metrics.stage_seconds.with_label_values(&[stage]).observe(started.elapsed().as_secs_f64());
}

/// Runs on the rayon pool. A panic costs this attempt alone, and says so.
async fn on_pool<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    let (answer, wait) = oneshot::channel();
    rayon::spawn(move || {
        let result =
            catch_unwind(AssertUnwindSafe(work)).map_err(|_| Fault::Poison("the document stage panicked".to_owned()));
        // Nobody waits when the lease was lost meanwhile.
        let _ = answer.send(result);
    });
    wait.await.unwrap_or_else(|_| Err(Fault::system("model", "the processor pool has stopped")))
}
