//! The pipeline with the real face stage: minted passports, real photos.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use proofmill_contract::events::EventType;
use proofmill_contract::{AttemptStatus, ContractVersion, Evidence, Gate, OrganisationPolicy, SessionStatus};
use proofmill_face::{FaceFailure, Prepared};
use proofmill_fixtures::{Algorithm, Case, ChipKind, Expected};
use proofmill_store::{EventFilter, PageRequest};
use proofmill_worker::Fault;
use proofmill_worker::face::{FaceAnswer, FaceLane, FaceService, FaceStage};

use crate::gallery::Gallery;
use crate::support::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn every_case_gets_the_verdict_of_its_first_failing_gate() {
    let Some(gallery) = Gallery::load() else { return };
    // The careful policy: expired documents and unknown revocation are refused.
    let world = World::with_policy(OrganisationPolicy::default()).await;
    let worker = world.worker(gallery.trust.clone(), gallery.faces.clone());
    let mut submitted = Vec::new();
    for (index, case) in Case::all().into_iter().enumerate() {
        let session = world.session(ContractVersion::V2).await;
        let attempt = world.open(&session).await;
        world.put(&attempt.id, &gallery.evidence(case, index as u64, &attempt.challenge)).await;
        submitted.push((case, session, attempt.id));
    }
    world.relay().await;
    let mut wrong = Vec::new();
    for (case, session, attempt) in &submitted {
        let settled = world.settled(attempt).await;
        let got = settled.failure_code.map_or(Expected::Accepted, Expected::Rejected);
        let checks = settled.checks.unwrap();
        if got != case.expected() {
            wrong.push(format!("{case}: expected {:?}, got {got:?} ({:?})", case.expected(), checks.reason));
            continue;
        }
        let session = world.session_of(session).await;
        match got {
            Expected::Accepted => {
                assert_eq!(session.status, SessionStatus::Succeeded, "{case}");
                assert_eq!((checks.liveness, checks.face_match), (Gate::Passed, Gate::Passed), "{case}");
                assert!(checks.face_model.is_some_and(|model| model.starts_with("proofmill-open-1")), "{case}");
            }
            Expected::Rejected(_) => {
                assert_eq!(session.status, SessionStatus::InProgress, "{case}");
                let tries = session.counters.nfc_tries_used + session.counters.liveness_tries_used;
                assert_eq!(tries, 1, "{case}");
            }
        }
    }
    worker.drain().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let kept = submitted.iter().filter(|(case, ..)| match case.expected() {
        Expected::Accepted => false,
        Expected::Rejected(code) => code.leaves_chip_evidence(),
    });
    assert_eq!(world.sealed_objects().await, kept.count(), "nothing outlives a verdict but a chip read that passed");
    let succeeded = EventFilter { event_type: Some(EventType::SessionSucceeded), ..EventFilter::default() };
    let page = PageRequest { limit: 100, starting_after: None };
    let events = world.store.list_events(&world.organisation, succeeded, page).await.unwrap().items;
    let genuine = submitted.iter().filter(|(case, ..)| case.is_genuine()).count();
    assert_eq!(events.len(), genuine, "one event for each accepted session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chip_must_answer_the_attempts_own_challenge() {
    let Some(gallery) = Gallery::load() else { return };
    let world = World::new().await;
    let worker = world.worker(gallery.trust.clone(), gallery.faces.clone());
    let session = world.session(ContractVersion::V2).await;
    let attempt = world.open_with(&session, [1; 8]).await;
    let replayed = gallery.evidence(Case::GenuineChip(ChipKind::EcdsaP256), 1, &[2; 8]);
    world.put(&attempt.id, &replayed).await;
    world.relay().await;
    let settled = world.settled(&attempt.id).await;
    worker.drain().await;
    let code = settled.failure_code.map(|code| code.as_str());
    assert_eq!(code, Some("document_active_authentication_failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_on_one_attempts_pictures_costs_that_attempt_alone() {
    let Some(gallery) = Gallery::load() else { return };
    let world = World::new().await;
    let stage = Arc::new(Troubled { inner: gallery.faces.clone(), faults: AtomicUsize::new(0) });
    let mut neighbours = Vec::new();
    let mut poison = None;
    for index in 0..7 {
        let session = world.session(ContractVersion::V2).await;
        let attempt = world.open(&session).await;
        let mut evidence = gallery.evidence(GENUINE, index, &attempt.challenge);
        if index == 3 {
            evidence = poisoned(&evidence);
            poison = Some((session, attempt.id.clone()));
        } else {
            neighbours.push(attempt.id.clone());
        }
        world.put(&attempt.id, &evidence).await;
    }
    let (session, poison) = poison.unwrap();
    world.relay().await;
    let worker = world.worker(gallery.trust.clone(), stage);
    for neighbour in &neighbours {
        assert_eq!(world.settled(neighbour).await.status, AttemptStatus::Succeeded);
    }
    let set_aside = eventually("the poison attempt is set aside", || async {
        world.store.list_quarantined(10).await.unwrap().into_iter().next()
    })
    .await;
    worker.drain().await;
    assert_eq!((set_aside.attempt_id, set_aside.tries), (poison, world.config.max_tries));
    let session = world.session_of(&session).await;
    assert_eq!((session.counters.nfc_tries_used, session.counters.liveness_tries_used), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_fault_is_retried_and_nobody_is_charged() {
    let Some(gallery) = Gallery::load() else { return };
    let world = World::new().await;
    let stage = Arc::new(Troubled { inner: gallery.faces.clone(), faults: AtomicUsize::new(5) });
    let session = world.session(ContractVersion::V2).await;
    let attempt = world.open(&session).await;
    world.put(&attempt.id, &gallery.evidence(GENUINE, 1, &attempt.challenge)).await;
    world.relay().await;
    let worker = world.worker(gallery.trust.clone(), stage);
    let settled = world.settled(&attempt.id).await;
    worker.drain().await;
    assert_eq!(settled.status, AttemptStatus::Succeeded);
    assert_eq!(world.metrics.system_faults.with_label_values(&["gpu"]).get(), 5);
    let session = world.session_of(&session).await;
    assert_eq!((session.counters.nfc_tries_used, session.counters.liveness_tries_used), (0, 0));
}

const GENUINE: Case = Case::Genuine(Algorithm::ALL[0]);
/// What follows the end of a picture is nobody's business, so it can carry a mark.
const MARK: &[u8] = b"this one breaks whoever looks at it";

fn poisoned(evidence: &Evidence) -> Evidence {
    let mut marked = Evidence::new();
    for (part, bytes) in evidence.parts() {
        marked.insert(part, bytes.to_vec()).unwrap();
    }
    for selfie in evidence.selfies() {
        marked.push_selfie([selfie, MARK].concat()).unwrap();
    }
    marked
}

/// The real stage, which panics on marked pictures and whose device fails a number of times.
struct Troubled {
    inner: Arc<FaceService>,
    faults: AtomicUsize,
}

impl FaceStage for Troubled {
    fn prepare(&self, portrait: &[u8], selfies: &[&[u8]]) -> Result<Prepared, FaceFailure> {
        assert!(!selfies.iter().any(|selfie| selfie.ends_with(MARK)), "marked");
        self.inner.prepare(portrait, selfies)
    }

    fn submit(&self, pictures: Prepared, lane: FaceLane) -> BoxFuture<'_, Result<FaceAnswer, Fault>> {
        let left = self.faults.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            return Box::pin(async { Err(Fault::system("gpu", "out of memory on cuda:0")) });
        }
        self.inner.submit(pictures, lane)
    }

    fn model(&self) -> &str {
        self.inner.model()
    }
}
