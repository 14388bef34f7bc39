//! Chip authentication with the server's terminal, from the sealed key to the verdict.

use proofmill_contract::evidence::Part;
use proofmill_contract::{
    AttemptId, AttemptStatus, Clock as _, ContractVersion, Evidence, FailureCode, Gate, OrganisationPolicy, Secret,
    Terminal,
};
use proofmill_emrtd::ServerTerminal;
use proofmill_fixtures::{Algorithm, CaKind, Case, Minted, ServerTerminal as Asked};
use proofmill_store::BindTerminal;
use proofmill_vault::{SealedRef, TerminalSecret};

use crate::gallery::{Gallery, evidence};
use crate::support::World;

/// What the api does when a reader asks: a key is drawn, sealed and bound. The other half goes to the chip.
async fn begin(world: &World, attempt: &AttemptId, dg14: &[u8]) -> (Asked, SealedRef) {
    let terminal = ServerTerminal::start(dg14, |octets| rand::Rng::fill_bytes(&mut rand::rng(), octets)).unwrap();
    let secret = TerminalSecret {
        private_key: Secret::new(terminal.private_key().to_vec()),
        public_key: Secret::new(terminal.public_key().to_vec()),
        dg14: Secret::new(dg14.to_vec()),
        answer: Secret::new(b"{}".to_vec()),
    };
    let sealed = world.vault.seal_terminal(attempt, &secret, world.clock.now()).await.unwrap();
    let bound = world.store.bind_terminal(attempt, sealed.clone(), world.clock.now()).await.unwrap();
    assert!(matches!(bound, BindTerminal::Bound), "{bound:?}");
    let asked = Asked {
        public_key: terminal.public_key().to_vec(),
        commands: terminal.key_agreement().to_vec(),
        protected_command: terminal.proof_command().to_vec(),
        response_counter: terminal.response_counter().to_vec(),
    };
    (asked, sealed)
}

/// The evidence of a document whose chip was given our terminal's commands.
fn with_transcript(minted: &Minted, challenge: &[u8; 8], asked: &Asked) -> Evidence {
    with(minted, challenge, &minted.server_transcript(asked).unwrap())
}

/// The evidence of a document with a transcript in place of its own.
fn with(minted: &Minted, challenge: &[u8; 8], transcript: &serde_json::Value) -> Evidence {
    let whole = evidence(minted, challenge);
    let mut changed = Evidence::new();
    for (part, bytes) in whole.parts().filter(|(part, _)| *part != Part::ChipAuthentication) {
        changed.insert(part, bytes.to_vec()).unwrap();
    }
    changed.insert(Part::ChipAuthentication, transcript.to_string().into_bytes()).unwrap();
    for selfie in whole.selfies() {
        changed.push_selfie(selfie.to_vec()).unwrap();
    }
    changed
}

const GENUINE: Case = Case::GenuineChipAuthentication(CaKind::P256Aes128);

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chip_answered_to_our_terminal_is_proof_and_the_key_goes_with_the_verdict() {
    let Some(gallery) = Gallery::load() else { return };
    let world = World::with_policy(OrganisationPolicy::default()).await;
    let worker = world.worker(gallery.trust.clone(), gallery.faces.clone());
    let cases = [
        (GENUINE, None),
        (Case::ClonedChipAuthentication, Some("chip_authentication_invalid")),
        (Case::ForgedTranscript, Some("chip_authentication_invalid")),
        (Case::AlteredResponse, Some("chip_authentication_invalid")),
    ];
    let mut submitted = Vec::new();
    for (index, (case, reason)) in (0..).zip(cases) {
        let session = world.session(ContractVersion::V2).await;
        let attempt = world.open(&session).await;
        let minted = gallery.minting.submission(case, index);
        let (asked, _) = begin(&world, &attempt.id, minted.passport.dg14.as_ref().unwrap()).await;
        world.put(&attempt.id, &with_transcript(&minted, &attempt.challenge, &asked)).await;
        submitted.push((case, attempt.id, reason));
    }
    assert_eq!(world.sealed_objects().await, 2 * cases.len());
    world.relay().await;
    for (case, attempt, reason) in submitted {
        let settled = world.settled(&attempt).await;
        let checks = settled.checks.unwrap();
        assert_eq!(checks.reason.as_deref(), reason, "{case}");
        assert_eq!(checks.chip_authentication_terminal, Some(Terminal::Server), "{case}");
        let (gate, code) = match reason {
            None => (Gate::Passed, None),
            Some(reason) => {
                assert!(world.metrics.document_reasons.with_label_values(&[reason]).get() > 0);
                (Gate::Failed, Some(FailureCode::DocumentChipAuthenticationFailed))
            }
        };
        assert_eq!((checks.chip_authentication, settled.failure_code), (gate, code), "{case}");
        assert_eq!(settled.terminal, None, "{case}");
    }
    worker.drain().await;
    assert_eq!(world.sealed_objects().await, 0, "a terminal's key outlives its verdict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcript_of_our_terminal_without_our_key_or_for_another_dg14_fails_its_gate() {
    let Some(gallery) = Gallery::load() else { return };
    let world = World::with_policy(OrganisationPolicy::default()).await;
    let worker = world.worker(gallery.trust.clone(), gallery.faces.clone());
    let minted = gallery.minting.submission(GENUINE, 0);
    let dg14 = minted.passport.dg14.clone().unwrap();
    // A genuine exchange of another attempt, in which the holder never submitted.
    let first = world.open(&world.session(ContractVersion::V2).await).await;
    let (recorded, _) = begin(&world, &first.id, &dg14).await;

    let nothing_began = world.open(&world.session(ContractVersion::V2).await).await;
    world.put(&nothing_began.id, &with_transcript(&minted, &nothing_began.challenge, &recorded)).await;
    let replayed = world.open(&world.session(ContractVersion::V2).await).await;
    begin(&world, &replayed.id, &dg14).await;
    world.put(&replayed.id, &with_transcript(&minted, &replayed.challenge, &recorded)).await;
    // It began with the DG14 of one document, whose chip answered rightly; another document is submitted.
    let swapped = world.open(&world.session(ContractVersion::V2).await).await;
    let other = gallery.minting.submission(GENUINE, 1);
    let (asked, _) = begin(&world, &swapped.id, other.passport.dg14.as_ref().unwrap()).await;
    let answered = other.server_transcript(&asked).unwrap();
    world.put(&swapped.id, &with(&minted, &swapped.challenge, &answered)).await;
    world.relay().await;
    for attempt in [nothing_began.id, replayed.id, swapped.id] {
        let settled = world.settled(&attempt).await;
        assert_eq!(settled.failure_code, Some(FailureCode::DocumentChipAuthenticationFailed));
        let checks = settled.checks.unwrap();
        assert_eq!(checks.reason.as_deref(), Some("chip_authentication_terminal_key_invalid"));
        assert_eq!(checks.active_authentication, Gate::NotApplicable, "the document itself is in order");
    }
    worker.drain().await;
    assert_eq!(world.sealed_objects().await, 1, "only the first attempt's key is left, for its handoff's time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_our_terminal_did_not_begin_with_is_refused_with_whatever_transcript() {
    let Some(gallery) = Gallery::load() else { return };
    let world = World::with_policy(OrganisationPolicy::default()).await;
    let worker = world.worker(gallery.trust.clone(), gallery.faces.clone());
    let begun_with = gallery.minting.submission(GENUINE, 1).passport.dg14.unwrap();
    let mut submitted = Vec::new();
    let others = [Case::GenuineIntegratorTerminal(CaKind::P256Aes128), GENUINE, Case::Genuine(Algorithm::ALL[0])];
    for case in others {
        let minted = gallery.minting.submission(case, 0);
        for dg14 in [Some(&begun_with), minted.passport.dg14.as_ref()].into_iter().flatten() {
            let attempt = world.open(&world.session(ContractVersion::V2).await).await;
            begin(&world, &attempt.id, dg14).await;
            world.put(&attempt.id, &evidence(&minted, &attempt.challenge)).await;
            submitted.push((case, attempt.id, Some(dg14) == minted.passport.dg14.as_ref()));
        }
    }
    assert_eq!(submitted.iter().filter(|(_, _, its_own)| *its_own).count(), 2);
    world.relay().await;
    for (case, attempt, its_own) in submitted {
        let settled = world.settled(&attempt).await;
        let checks = settled.checks.unwrap();
        let expected = match its_own {
            true => (None, None),
            false => (
                Some(FailureCode::DocumentChipAuthenticationFailed),
                Some("chip_authentication_dg14_mismatch".to_owned()),
            ),
        };
        assert_eq!((settled.failure_code, checks.reason), expected, "{case}");
        assert_eq!(checks.chip_authentication == Gate::Failed, !its_own, "{case}");
        assert_eq!(checks.passive_authentication, Gate::Passed, "the document itself is in order: {case}");
    }
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_gone_is_our_fault_and_charges_nobody() {
    let Some(gallery) = Gallery::load() else { return };
    let world = World::with_policy(OrganisationPolicy::default()).await;
    let worker = world.worker(gallery.trust.clone(), gallery.faces.clone());
    let minted = gallery.minting.submission(GENUINE, 0);
    let attempt = world.open(&world.session(ContractVersion::V2).await).await;
    let (asked, sealed) = begin(&world, &attempt.id, minted.passport.dg14.as_ref().unwrap()).await;
    world.put(&attempt.id, &with_transcript(&minted, &attempt.challenge, &asked)).await;
    world.vault.destroy(&sealed.object).await.unwrap();
    world.relay().await;
    assert_eq!(world.settled(&attempt.id).await.status, AttemptStatus::Cancelled);
    worker.drain().await;
    let noted = world.store.list_given_up(10).await.unwrap();
    assert_eq!(noted.iter().map(|one| &one.attempt_id).collect::<Vec<_>>(), [&attempt.id]);
    assert_eq!(world.verdicts(), 0);
}
