//! Evidence in, judgement out: the stages that need no database, shared by the pipeline and the offline job.
//!
//! Document gates and picture decoding run on the rayon pool; faces go through the batcher. Pictures are the largest
//! thing in memory, so only a few attempts may hold decoded pictures that the batcher has not taken yet.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use proofmill_contract::claims::DocumentData;
use proofmill_contract::{Checks, Evidence, OrganisationPolicy, Outcome, Part, Timestamp};
use proofmill_emrtd::TrustStore;
use proofmill_face::Prepared;
use proofmill_telemetry::Metrics;
use proofmill_vault::TerminalSecret;
use tokio::sync::{Semaphore, oneshot};

use crate::attestation::Reader;
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
}

impl Engine {
    /// An engine that works on at most `threads` documents at once. Each is judged by the trust store that is in use when its
    /// document stage begins.
    pub fn new(trust: impl Into<LiveTrust>, face: Arc<dyn FaceStage>, metrics: Arc<Metrics>, threads: usize) -> Self {
        // One more than threads, so that the pool has its next attempt while one waits for the batcher.
        Self { trust: trust.into(), face, metrics, slots: Semaphore::new(threads + 1) }
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
        let (checks, pictures, document, kept) = match examined {
            Examined::Decided { decision, kept } => return Ok(judgement(decision, None, kept)),
            Examined::Faces { checks, pictures, document, kept } => (checks, pictures, document, kept),
        };
        let started = Instant::now();
        let answer = self.face.submit(pictures, lane).await?;
        drop(slot);
        let verdict = answer.await?;
        observe(&self.metrics, "embed", started);
        let decision = decide::faces(checks, &verdict, self.face.model());
        Ok(judgement(decision, Some(*document), kept))
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

/// What the processor stages leave behind; the evidence itself is wiped by then.
enum Examined {
    Decided { decision: Decision, kept: Option<Kept> },
    Faces { checks: Checks, pictures: Prepared, document: Box<DocumentData>, kept: Option<Kept> },
}

impl Examined {
    fn decided(decision: Decision) -> Self {
        Examined::Decided { decision, kept: None }
    }
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
    let decided = decide::document(&verified.report, document::attestation(&evidence, case), &case.policy);
    count(metrics, &verified.report, &decided);
    let checks = match decided {
        DocumentDecision::Rejected(decision) => return Examined::decided(decision),
        DocumentDecision::Faces(checks) => checks,
    };
    let (Some(mrz), Some(portrait)) = (&verified.mrz, &verified.portrait) else {
        return Examined::decided(decide::content_unusable(checks, "document_content_absent"));
    };
    let document = match document::data(mrz, portrait, &case.selected_field_keys) {
        Ok(document) => document,
        Err(reason) => return Examined::decided(decide::content_unusable(checks, reason)),
    };
    let selfies: Vec<&[u8]> = evidence.selfies().collect();
    let started = Instant::now();
    let prepared = face.prepare(portrait.image, &selfies);
    observe(metrics, "decode", started);
    let signer = verified.signer.filter(|_| matches!(case.chip, ChipEvidence::Submitted { keep: true }));
    let kept = signer.and_then(|signer| {
        Some(Kept::new(evidence.take(Part::Dg1)?, evidence.take(Part::Dg2)?, signer, checks.clone()))
    });
    match prepared {
        Ok(pictures) => Examined::Faces { checks, pictures, document: Box::new(document), kept },
        Err(failure) => Examined::Decided { decision: decide::faces(checks, &failure.verdict(), face.model()), kept },
    }
}

/// Names of departures and reasons: nothing of a document, and no more of them than the libraries have.
fn count(metrics: &Metrics, report: &proofmill_emrtd::Report, decided: &DocumentDecision) {
    for deviation in &report.deviations {
        metrics.document_deviations.with_label_values(&[deviation.name()]).inc();
    }
    if let DocumentDecision::Rejected(Decision { checks, .. }) = decided
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
