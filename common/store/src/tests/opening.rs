//! Opening attempts and accepting evidence.

use std::time::Duration;

use proofmill_contract::limits::{HANDOFF_LIFE, SESSION_LIFE};
use proofmill_contract::{AttemptId, AttemptStatus, ContractVersion, Phase, SessionStatus};

use super::harness::{FORGED, MISMATCH, START, World, new_attempt, on_both, sealed, submission, verdict};
use crate::{OpenAttempt, SettleResult, SubmitResult};

on_both!(
    an_open_attempt_is_returned_again_until_it_is_submitted_or_its_handoff_ends,
    a_session_that_ended_opens_no_attempt,
    evidence_is_accepted_once_and_a_repeat_is_recognised_whatever_became_of_it,
    evidence_after_the_handoff_or_the_session_is_refused,
    many_attempts_open_in_one_transaction_each_as_it_would_alone,
    a_session_comes_with_its_evidence_or_not_at_all,
    using_the_write_token_starts_the_session,
    selfies_alone_need_chip_evidence_that_was_kept_in_the_session,
);

async fn an_open_attempt_is_returned_again_until_it_is_submitted_or_its_handoff_ends(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let first = world.attempt(&session, START).await;
    assert_eq!((first.status, first.phase), (AttemptStatus::InProgress, Phase::AwaitingEvidence));
    assert_eq!(first.challenge, [9; 8]);
    let open = |now| world.store.open_attempt(new_attempt(&session, now), now);
    assert!(matches!(open(START).await.unwrap(), OpenAttempt::Existing(again) if again.id == first.id));
    assert_eq!(world.reload(&session, START).await.status, SessionStatus::Created);

    let later = START.plus(HANDOFF_LIFE);
    let OpenAttempt::Opened(second) = open(later).await.unwrap() else { panic!("the first one's time is over") };
    assert_ne!(second.id, first.id);
    let first = world.store.attempt(None, &first.id, later).await.unwrap().unwrap().attempt;
    assert_eq!((first.status, first.completed_at), (AttemptStatus::Cancelled, Some(later)));

    world.store.submit_evidence(&second.id, submission(1), later).await.unwrap();
    assert!(matches!(open(later).await.unwrap(), OpenAttempt::InProgress));
    let attempts = world.attempts(&session).await;
    assert_eq!(attempts.iter().map(|attempt| &attempt.id).collect::<Vec<_>>(), [&first.id, &second.id]);
}

async fn a_session_that_ended_opens_no_attempt(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let late = START.plus(SESSION_LIFE);
    let opened = world.store.open_attempt(new_attempt(&session, late), late).await.unwrap();
    assert!(matches!(opened, OpenAttempt::Terminal(SessionStatus::Expired)));
    assert_eq!(world.event_types(&session).await, ["verification.session.expired"]);

    let cancelled = world.session(ContractVersion::V2, START).await.id;
    world.store.cancel_session(None, &cancelled, START).await.unwrap();
    let opened = world.store.open_attempt(new_attempt(&cancelled, START), START).await.unwrap();
    assert!(matches!(opened, OpenAttempt::Terminal(SessionStatus::Cancelled)));
}

async fn evidence_is_accepted_once_and_a_repeat_is_recognised_whatever_became_of_it(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.attempt(&session, START).await.id;
    let submit = |bytes| world.store.submit_evidence(&attempt, submission(bytes), START);
    let SubmitResult::Accepted(accepted) = submit(1).await.unwrap() else { panic!() };
    assert_eq!((accepted.phase, accepted.submitted_at), (Phase::Queued, Some(START)));
    assert_eq!(world.reload(&session, START).await.status, SessionStatus::InProgress);

    assert!(matches!(submit(1).await.unwrap(), SubmitResult::Repeat(now) if now.phase == Phase::Queued));
    assert!(matches!(submit(2).await.unwrap(), SubmitResult::AlreadySubmitted));
    let leased = world.lease(&attempt, START).await;
    assert_eq!(leased.selected_field_keys, ["family_name", "kayle_document_id"]);
    assert_eq!(leased.sealed.wrapped_key, [0xAB; 40]);
    assert!(matches!(submit(1).await.unwrap(), SubmitResult::Repeat(now) if now.phase == Phase::Verifying));
    world.settle_one(verdict(&leased, FORGED), START).await;
    assert!(matches!(submit(1).await.unwrap(), SubmitResult::Repeat(now) if now.status == AttemptStatus::Failed));
    assert!(matches!(submit(2).await.unwrap(), SubmitResult::AlreadySubmitted));

    let unknown = AttemptId::generate(START, &mut rand::rng());
    assert!(matches!(
        world.store.submit_evidence(&unknown, submission(1), START).await.unwrap(),
        SubmitResult::NotFound
    ));
}

async fn evidence_after_the_handoff_or_the_session_is_refused(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.attempt(&session, START).await.id;
    let late = START.plus(HANDOFF_LIFE);
    let submitted = world.store.submit_evidence(&attempt, submission(1), late).await.unwrap();
    assert!(matches!(submitted, SubmitResult::HandoffExpired));

    // Opened a minute before the session's end, so the handoff outlives the session.
    let near_end = START.plus(SESSION_LIFE - Duration::from_secs(60));
    let attempt = world.attempt(&session, near_end).await.id;
    let submitted = world.store.submit_evidence(&attempt, submission(1), START.plus(SESSION_LIFE)).await.unwrap();
    assert!(matches!(submitted, SubmitResult::SessionExpired));
    assert_eq!(world.event_types(&session).await, ["verification.session.expired"]);

    let cancelled = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.attempt(&cancelled, START).await.id;
    world.store.cancel_session(None, &cancelled, START).await.unwrap();
    let submitted = world.store.submit_evidence(&attempt, submission(1), START).await.unwrap();
    assert!(matches!(submitted, SubmitResult::SessionTerminal(SessionStatus::Cancelled)));
}

async fn many_attempts_open_in_one_transaction_each_as_it_would_alone(world: World) {
    let later = START.plus(HANDOFF_LIFE);
    let fresh = world.session(ContractVersion::V2, START).await.id;
    let open = world.session(ContractVersion::V2, START).await.id;
    let stale = world.session(ContractVersion::V2, START).await.id;
    let verifying = world.session(ContractVersion::V2, START).await.id;
    let cancelled = world.session(ContractVersion::V2, START).await.id;
    let due = world.session(ContractVersion::V2, later.minus(SESSION_LIFE)).await.id;
    let ends_soon = world.session(ContractVersion::V2, later.minus(SESSION_LIFE).plus(HANDOFF_LIFE / 2)).await.id;
    let other = super::harness::new_organisation(&world.store).await;
    let foreign = super::harness::new_session(&other, ContractVersion::V2, None, START);
    let foreign = world.store.create_session(foreign, START).await.unwrap().id;
    let opened = world.attempt(&open, START.plus(HANDOFF_LIFE / 2)).await;
    let over = world.attempt(&stale, START).await;
    world.submitted(&verifying, START).await;
    world.store.cancel_session(None, &cancelled, START).await.unwrap();

    let ids = [&fresh, &open, &stale, &verifying, &cancelled, &due, &ends_soon, &foreign, &fresh];
    let new = ids.iter().map(|id| new_attempt(id, later)).collect();
    let results = world.store.open_attempts(&world.organisation, new, None, later).await.unwrap();
    let named: Vec<_> = results.iter().map(|result| &result.session_id).collect();
    assert_eq!(named, ids);
    let attempt = |index: usize| match &results[index].outcome {
        OpenAttempt::Opened(attempt) => attempt.clone(),
        other => panic!("{index}: {other:?}"),
    };
    assert_eq!(attempt(0).handoff_expires_at, later.plus(HANDOFF_LIFE));
    assert!(matches!(&results[1].outcome, OpenAttempt::Existing(again) if again.id == opened.id));
    assert_ne!(attempt(2).id, over.id);
    let over = world.store.attempt(None, &over.id, later).await.unwrap().unwrap().attempt;
    assert_eq!(over.status, AttemptStatus::Cancelled);
    assert!(matches!(results[3].outcome, OpenAttempt::InProgress));
    assert!(matches!(results[4].outcome, OpenAttempt::Terminal(SessionStatus::Cancelled)));
    assert!(matches!(results[5].outcome, OpenAttempt::Terminal(SessionStatus::Expired)));
    assert_eq!(world.event_types(&due).await, ["verification.session.expired"]);
    assert_eq!(attempt(6).handoff_expires_at, later.plus(HANDOFF_LIFE / 2), "no later than its session");
    assert!(matches!(results[7].outcome, OpenAttempt::NotFound) && results[7].session.is_none());
    assert_eq!(attempt(8).id, attempt(0).id);
    assert_eq!(world.attempts(&foreign).await.len(), 0);
    let stored = world.attempts(&fresh).await;
    assert_eq!(stored.iter().map(|one| &one.id).collect::<Vec<_>>(), [&attempt(0).id]);
}

async fn a_session_comes_with_its_evidence_or_not_at_all(world: World) {
    let new = |endpoints| super::harness::new_session(&world.organisation, ContractVersion::V2, endpoints, START);
    let submit = |session: crate::NewSession| {
        let attempt = new_attempt(&session.id, START);
        world.store.submit_in_new_session(session, attempt, submission(1), None, START)
    };
    let made = submit(new(None)).await.unwrap();
    assert_eq!((made.session.status, made.attempt.phase), (SessionStatus::InProgress, Phase::Queued));
    assert_eq!(made.attempt.session_id, made.session.id);
    assert_eq!(world.lease(&made.attempt.id, START).await.selected_field_keys.len(), 2);

    let unknown = proofmill_contract::EndpointId::generate(START, &mut rand::rng());
    let refused = new(Some(vec![unknown]));
    let id = refused.id.clone();
    assert!(matches!(submit(refused).await, Err(crate::StoreError::EndpointUnavailable(_))));
    assert!(world.store.session(None, &id, START).await.unwrap().is_none());
}

async fn using_the_write_token_starts_the_session(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.attempt(&session, START).await.id;
    assert!(world.store.write_token_used(&attempt, START).await.unwrap());
    assert_eq!(world.reload(&session, START).await.status, SessionStatus::InProgress);
    world.store.cancel_session(None, &session, START).await.unwrap();
    assert!(!world.store.write_token_used(&attempt, START).await.unwrap());
    assert_eq!(world.reload(&session, START).await.status, SessionStatus::Cancelled);
}

async fn selfies_alone_need_chip_evidence_that_was_kept_in_the_session(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let selfies = || crate::Submission { chip_evidence_kept_used: true, ..submission(2) };
    let attempt = world.attempt(&session, START).await.id;
    let refused = world.store.submit_evidence(&attempt, selfies(), START).await.unwrap();
    assert!(matches!(refused, SubmitResult::ChipEvidenceRequired));

    world.store.submit_evidence(&attempt, submission(1), START).await.unwrap();
    let leased = world.lease(&attempt, START).await;
    assert!(leased.kept_chip_evidence.is_none());
    let kept = sealed("kept");
    let mut rejected = verdict(&leased, MISMATCH);
    rejected.kept_chip_evidence = Some(kept.clone());
    world.settle_one(rejected, START).await;
    assert!(world.reload(&session, START).await.chip_evidence_kept);
    let asked = [kept.object.clone(), "orphan".into()];
    assert_eq!(world.store.referenced_objects(&asked).await.unwrap(), asked[..1]);

    let attempt = world.attempt(&session, START).await.id;
    let accepted = world.store.submit_evidence(&attempt, selfies(), START).await.unwrap();
    assert!(matches!(accepted, SubmitResult::Accepted(_)));
    let leased = world.lease(&attempt, START).await;
    assert_eq!(leased.kept_chip_evidence.as_ref().map(|kept| &kept.object), Some(&kept.object));
    let evidence = leased.sealed.object.clone();
    let settled = world.settle_one(verdict(&leased, proofmill_contract::Outcome::Accepted), START).await;
    let SettleResult::Settled { discarded, .. } = settled else { panic!("{settled:?}") };
    assert_eq!(discarded, [evidence, kept.object.clone()]);
    assert!(world.store.referenced_objects(&[kept.object]).await.unwrap().is_empty());
    assert!(!world.reload(&session, START).await.chip_evidence_kept);
}
