//! Verdicts: what they do to attempt and session, what goes out, and what is not kept.

use std::sync::Arc;
use std::time::Duration;

use proofmill_contract::limits::SESSION_LIFE;
use proofmill_contract::{AttemptStatus, ContractVersion, Counters, FailureCode, Outcome, SessionStatus};
use serde_json::json;

use super::harness::{CLONED, FORGED, MISMATCH, START, World, on_both, sealed, verdict};
use crate::{CancelResult, Lease, LostEvidence, SettleResult};

on_both!(
    contract_2_success_goes_out_encrypted_and_leaves_no_plaintext_behind,
    contract_2_counts_per_check_and_the_third_failure_ends_the_session,
    contract_2_ends_at_once_when_the_chip_was_cloned,
    contract_1_reports_every_rejection_and_ends_with_the_third,
    contract_1_ends_with_the_first_accepted_attempt,
    a_settled_attempt_keeps_its_gates_and_loses_its_evidence,
    a_cancelled_session_takes_no_verdict,
    one_refused_verdict_does_not_harm_its_neighbours,
    an_unreadable_row_does_not_harm_its_neighbours,
    a_verdict_written_twice_is_written_once,
    a_transaction_writes_as_many_verdicts_as_its_payloads_allow_and_one_at_least,
    large_payloads_are_written_a_few_at_a_time_and_arrive_whole,
    kept_chip_evidence_that_is_gone_is_not_promised_again,
    an_accepted_verdict_without_claims_is_refused,
    chip_evidence_is_kept_only_while_selfies_may_follow,
);

fn counters(nfc: u32, liveness: u32, rejected: u32) -> Counters {
    Counters { nfc_tries_used: nfc, liveness_tries_used: liveness, rejected_attempts: rejected }
}

async fn contract_2_success_goes_out_encrypted_and_leaves_no_plaintext_behind(world: World) {
    let receiver = world.receiver(START).await;
    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    let evidence = leased.sealed.object.clone();
    let settled = world.settle_one(verdict(&leased, Outcome::Accepted), START).await;
    assert_eq!(
        settled,
        SettleResult::Settled {
            session_status: SessionStatus::Succeeded,
            event: Some(proofmill_contract::events::EventType::SessionSucceeded),
            deliveries: 1,
            discarded: vec![evidence.clone()],
        }
    );
    let after = world.reload(&session, START).await;
    assert_eq!((after.status, after.completed_at, after.failure_code), (SessionStatus::Succeeded, Some(START), None));

    // Everything the database holds of it, as text, before anybody received it.
    let tables = ["sessions", "attempts", "events", "deliveries"];
    let mut columns = 0;
    for table in tables {
        for row in dump(&world, table).await {
            columns += 1;
            assert!(!row.contains("ERIKSSON") && !row.contains("kdid_test"), "{table} holds a claim");
        }
    }
    assert!(columns >= tables.len());
    assert!(world.store.referenced_objects(&[evidence]).await.unwrap().is_empty());

    let received = world.received(&receiver, START).await;
    let event = world.events(&session).await.remove(0);
    assert!(event.terminal);
    assert_eq!(
        received,
        [json!({
            "type": "verification.session.succeeded",
            "metadata": {
                "contract_version": 2,
                "event_id": event.id.as_str(),
                "verification_session_id": session.as_str(),
            },
            "data": {
                "claims": { "family_name": "ERIKSSON", "kayle_document_id": "kdid_test" },
                "selected_field_keys": ["family_name", "kayle_document_id"],
            },
        })]
    );
}

/// A table's rows as text, every column of them.
async fn dump(world: &World, table: &str) -> Vec<String> {
    match world.store.kind() {
        crate::StoreKind::Postgres => {
            world.store.texts(&format!("SELECT t::text AS text FROM {table} t")).await.unwrap()
        }
        crate::StoreKind::Sqlite => {
            let columns =
                world.store.texts(&format!("SELECT name AS text FROM pragma_table_info('{table}')")).await.unwrap();
            let quoted: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
            let sql = format!("SELECT {} AS text FROM {table}", quoted.join(" || '|' || "));
            world.store.texts(&sql).await.unwrap()
        }
    }
}

async fn contract_2_counts_per_check_and_the_third_failure_ends_the_session(world: World) {
    let receiver = world.receiver(START).await;
    let session = world.session(ContractVersion::V2, START).await.id;
    for (outcome, expected) in [
        (MISMATCH, counters(0, 1, 1)),
        (FORGED, counters(1, 1, 2)),
        (FORGED, counters(2, 1, 3)),
        (MISMATCH, counters(2, 2, 3)),
    ] {
        let settled = world.decide(&session, outcome, START).await;
        assert!(
            matches!(&settled, SettleResult::Settled { session_status: SessionStatus::InProgress, event: None, .. }),
            "{settled:?}"
        );
        assert_eq!(world.reload(&session, START).await.counters, expected);
    }
    let settled = world.decide(&session, MISMATCH, START).await;
    assert!(matches!(settled, SettleResult::Settled { session_status: SessionStatus::Failed, .. }));
    let after = world.reload(&session, START).await;
    assert_eq!((after.counters, after.failure_code), (counters(2, 3, 3), Some(FailureCode::SelfieFaceMismatch)));
    let received = world.received(&receiver, START).await;
    assert_eq!(received.len(), 1, "one event, final");
    assert_eq!(received[0]["type"], "verification.session.failed");
    let data = json!({ "failure_code": "selfie_face_mismatch", "nfc_tries_used": 2, "liveness_tries_used": 3 });
    assert_eq!(received[0]["data"], data);
}

async fn contract_2_ends_at_once_when_the_chip_was_cloned(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    world.decide(&session, CLONED, START).await;
    let after = world.reload(&session, START).await;
    assert_eq!((after.status, after.counters), (SessionStatus::Failed, counters(0, 0, 1)));
}

async fn contract_1_reports_every_rejection_and_ends_with_the_third(world: World) {
    let receiver = world.receiver(START).await;
    let session = world.session(ContractVersion::V1, START).await.id;
    let outcomes = [MISMATCH, CLONED, Outcome::Rejected(FailureCode::DocumentDataInvalid)];
    for (second, outcome) in outcomes.into_iter().enumerate() {
        let now = START.plus(Duration::from_secs(second as u64));
        assert_eq!(world.reload(&session, now).await.completed_at, None);
        world.decide(&session, outcome, now).await;
    }
    let after = world.reload(&session, START).await;
    assert_eq!((after.status, after.counters), (SessionStatus::Completed, counters(1, 1, 3)));

    let attempts = world.attempts(&session).await;
    let mut received = world.received(&receiver, START.plus(Duration::from_secs(9))).await;
    received.sort_by_key(|event| event["metadata"]["verification_attempt_id"].to_string());
    let codes: Vec<_> = received.iter().map(|event| event["data"]["failure_code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["selfie_face_mismatch", "passport_authenticity_failed", "passport_authenticity_failed"]);
    for (event, attempt) in received.iter().zip(&attempts) {
        assert_eq!(event["type"], "verification.attempt.failed");
        assert_eq!(event["metadata"]["verification_attempt_id"], attempt.id.as_str());
    }
    let terminal: Vec<bool> = world.events(&session).await.iter().map(|event| event.terminal).collect();
    assert_eq!(terminal.iter().filter(|terminal| **terminal).count(), 1);
}

async fn contract_1_ends_with_the_first_accepted_attempt(world: World) {
    let session = world.session(ContractVersion::V1, START).await.id;
    world.decide(&session, FORGED, START).await;
    world.decide(&session, Outcome::Accepted, START).await;
    let after = world.reload(&session, START).await;
    assert_eq!((after.status, after.failure_code), (SessionStatus::Completed, None));
    let mut types = world.event_types(&session).await;
    types.sort_unstable();
    assert_eq!(types, ["verification.attempt.failed", "verification.attempt.succeeded"]);
}

async fn a_settled_attempt_keeps_its_gates_and_loses_its_evidence(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    world.settle_one(verdict(&leased, FORGED), START).await;
    let attempt = world.store.attempt(None, &leased.attempt.id, START).await.unwrap().unwrap().attempt;
    assert_eq!((attempt.status, attempt.completed_at), (AttemptStatus::Failed, Some(START)));
    assert_eq!(attempt.failure_code, Some(FailureCode::DocumentAuthenticityFailed));
    assert_eq!(attempt.checks.unwrap().reason.as_deref(), Some("from_the_test"));
    assert!(world.store.referenced_objects(&[leased.sealed.object]).await.unwrap().is_empty());
    assert!(world.store.epochs_in_use().await.unwrap().is_empty());
    assert!(world.store.outbox_due(10, super::harness::LEASE, START).await.unwrap().is_empty());
}

async fn a_cancelled_session_takes_no_verdict(world: World) {
    let receiver = world.receiver(START).await;
    let session = world.session(ContractVersion::V2, START).await.id;
    world.decide(&session, MISMATCH, START).await;
    let leased = world.leased(&session, START).await;
    let cancelled = world.store.cancel_session(Some(&world.organisation), &session, START).await.unwrap();
    assert_eq!(cancelled, CancelResult::Cancelled { discarded: vec![leased.sealed.object.clone()] });
    assert_eq!(world.settle_one(verdict(&leased, Outcome::Accepted), START).await, SettleResult::SessionEnded);

    let again = world.store.cancel_session(Some(&world.organisation), &session, START).await.unwrap();
    assert_eq!(again, CancelResult::AlreadyTerminal(SessionStatus::Cancelled));
    let attempt = world.store.attempt(None, &leased.attempt.id, START).await.unwrap().unwrap().attempt;
    assert_eq!((attempt.status, attempt.checks), (AttemptStatus::Cancelled, None));
    let received = world.received(&receiver, START).await;
    assert_eq!(received.len(), 1);
    assert_eq!(
        received[0]["data"],
        json!({
            "outcome": "not_verified",
            "reason": "cancelled_after_failed_check",
            "nfc_tries_used": 0,
            "liveness_tries_used": 1,
        })
    );
    assert_eq!(world.reload(&session, START.plus(SESSION_LIFE)).await.status, SessionStatus::Cancelled);
}

async fn one_refused_verdict_does_not_harm_its_neighbours(world: World) {
    let mut leased = Vec::new();
    for _ in 0..3 {
        let session = world.session(ContractVersion::V2, START).await.id;
        leased.push(world.leased(&session, START).await);
    }
    // Behind the store's back the middle session gets an accepted attempt: the unique index must now refuse another.
    let twin = leased[1].session.id.to_string();
    world
        .store
        .execute(&format!(
            "INSERT INTO attempts (id, session_id, status, lane, challenge, handoff_expires_at, created_at, \
             updated_at, completed_at) SELECT 'va_forged', session_id, 'succeeded', lane, challenge, \
             handoff_expires_at, created_at, updated_at, 1 FROM attempts WHERE session_id = '{twin}'"
        ))
        .await
        .unwrap();
    let verdicts = leased.iter().map(|leased| verdict(leased, Outcome::Accepted)).collect();
    let results = world.store.settle(verdicts, START).await.unwrap();
    assert!(matches!(&results[0], SettleResult::Settled { .. }));
    assert!(matches!(&results[1], SettleResult::Conflict(reason) if reason.contains("attempts")), "{:?}", results[1]);
    assert!(matches!(&results[2], SettleResult::Settled { .. }));

    // The refused one left nothing behind, and its lease is still held.
    let refused = world.reload(&leased[1].session.id, START).await;
    assert_eq!(refused.status, SessionStatus::InProgress);
    assert!(world.event_types(&refused.id).await.is_empty());
    let lease = world.store.acquire_lease(&leased[1].attempt.id, super::harness::LEASE, START).await.unwrap();
    assert!(matches!(lease, Lease::HeldByOther { .. }));
}

async fn an_unreadable_row_does_not_harm_its_neighbours(world: World) {
    let mut leased = Vec::new();
    for _ in 0..3 {
        let session = world.session(ContractVersion::V2, START).await.id;
        leased.push(world.leased(&session, START).await);
    }
    let odd = format!("UPDATE attempts SET selected_field_keys = 'no json' WHERE id = '{}'", leased[1].attempt.id);
    world.store.execute(&odd).await.unwrap();
    let verdicts = leased.iter().map(|leased| verdict(leased, Outcome::Accepted)).collect();
    let results = world.store.settle(verdicts, START).await.unwrap();
    assert!(matches!(&results[1], SettleResult::Conflict(reason) if reason.contains("selected_field_keys")));
    for neighbour in [0, 2] {
        assert!(matches!(&results[neighbour], SettleResult::Settled { .. }));
        assert_eq!(world.event_types(&leased[neighbour].session.id).await, ["verification.session.succeeded"]);
    }
}

/// A verdict with a claim of so many bytes.
fn heavy(leased: &crate::LeasedAttempt, bytes: usize) -> Arc<crate::Verdict> {
    let mut verdict = verdict(leased, Outcome::Accepted);
    verdict.claims = Some(json!({ "family_name": "ERIKSSON", "document_photo": "x".repeat(bytes) }));
    Arc::new(verdict)
}

async fn a_transaction_writes_as_many_verdicts_as_its_payloads_allow_and_one_at_least(world: World) {
    for _ in 0..3 {
        world.receiver(START).await;
    }
    let mut verdicts = Vec::new();
    for _ in 0..5 {
        let session = world.session(ContractVersion::V2, START).await.id;
        verdicts.push(heavy(&world.leased(&session, START).await, 100_000));
    }
    let settled = |results: Vec<SettleResult>| {
        results.iter().filter(|result| matches!(result, SettleResult::Settled { deliveries: 3, .. })).count()
    };
    // Three deliveries of a hundred thousand bytes each: two verdicts are more than half a million.
    let first = world.store.settle_first(&verdicts, 800_000, START).await.unwrap();
    assert_eq!((first.len(), settled(first)), (2, 2));
    let second = world.store.settle_first(&verdicts[2..], 1, START).await.unwrap();
    assert_eq!((second.len(), settled(second)), (1, 1), "one is written whatever it costs");
    // Those that were written cost nothing any more, nor does one that is refused.
    let again = world.store.settle_first(&verdicts, 1, START).await.unwrap();
    assert_eq!(again.len(), 4);
    assert!(again[..3].iter().all(|result| *result == SettleResult::AlreadySettled));
    // And so it is when each has a savepoint of its own.
    let last = heavy(&world.leased(&world.session(ContractVersion::V2, START).await.id, START).await, 100_000);
    let odd = format!("UPDATE attempts SET selected_field_keys = 'no json' WHERE id = '{}'", last.attempt_id);
    world.store.execute(&odd).await.unwrap();
    let rest = world.store.settle_first(&[last, verdicts[4].clone()], 1, START).await.unwrap();
    assert_eq!(rest.len(), 2);
    assert!(matches!((&rest[0], &rest[1]), (SettleResult::Conflict(_), SettleResult::Settled { .. })), "{rest:?}");
}

async fn large_payloads_are_written_a_few_at_a_time_and_arrive_whole(world: World) {
    let receivers = [world.receiver(START).await, world.receiver(START).await, world.receiver(START).await];
    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    // Each payload is more than half of what a statement takes.
    let bytes = crate::limits::STATEMENT_BYTES / 2;
    let settled = world.store.settle_first(&[heavy(&leased, bytes)], 1, START).await.unwrap().remove(0);
    assert!(matches!(settled, SettleResult::Settled { deliveries: 3, .. }));
    let due = world.store.claim_due_deliveries(10, 10, super::harness::LEASE, START).await.unwrap();
    assert_eq!(due.len(), 3);
    for due in due {
        let receiver = receivers.iter().find(|receiver| receiver.endpoint == due.endpoint_id).unwrap();
        let plain: serde_json::Value = serde_json::from_slice(&receiver.key.decrypt(&due.payload).unwrap()).unwrap();
        assert_eq!(plain["data"]["claims"]["document_photo"].as_str().unwrap().len(), bytes);
    }
}

async fn kept_chip_evidence_that_is_gone_is_not_promised_again(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    let mut failed = verdict(&leased, MISMATCH);
    let kept = sealed("kept");
    failed.kept_chip_evidence = Some(kept.clone());
    world.settle_one(failed, START).await;
    assert!(world.reload(&session, START).await.chip_evidence_kept);

    let selfies = world.leased(&session, START).await;
    let (id, token) = (&selfies.attempt.id, &selfies.token);
    let discarded =
        world.store.give_up(id, token, LostEvidence::KeptOfSession, "kept is missing", START).await.unwrap().unwrap();
    assert_eq!(discarded, [selfies.sealed.object.clone(), kept.object]);
    let after = world.reload(&session, START).await;
    assert_eq!((after.chip_evidence_kept, after.counters), (false, counters(0, 1, 1)));
}

async fn a_verdict_written_twice_is_written_once(world: World) {
    let session = world.session(ContractVersion::V1, START).await.id;
    let leased = world.leased(&session, START).await;
    let twice = vec![verdict(&leased, MISMATCH), verdict(&leased, MISMATCH)];
    let results = world.store.settle(twice, START).await.unwrap();
    assert!(matches!(results[0], SettleResult::Settled { .. }));
    assert_eq!(results[1], SettleResult::AlreadySettled);
    // The commit's answer was lost and the worker tries again.
    assert_eq!(world.settle_one(verdict(&leased, MISMATCH), START).await, SettleResult::AlreadySettled);
    assert_eq!(world.reload(&session, START).await.counters, counters(0, 1, 1));
    assert_eq!(world.event_types(&session).await, ["verification.attempt.failed"]);
}

async fn an_accepted_verdict_without_claims_is_refused(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    let mut bare = verdict(&leased, Outcome::Accepted);
    bare.claims = None;
    assert!(matches!(world.settle_one(bare, START).await, SettleResult::Conflict(_)));
    assert_eq!(world.reload(&session, START).await.status, SessionStatus::InProgress);
}

async fn chip_evidence_is_kept_only_while_selfies_may_follow(world: World) {
    let with_kept = |leased: &crate::LeasedAttempt, outcome| {
        let kept = sealed("kept");
        let mut verdict = verdict(leased, outcome);
        verdict.kept_chip_evidence = Some(kept.clone());
        (verdict, kept.object)
    };
    let discarded = |result: SettleResult| match result {
        SettleResult::Settled { discarded, .. } => discarded,
        other => panic!("{other:?}"),
    };

    let session = world.session(ContractVersion::V2, START).await.id;
    let leased = world.leased(&session, START).await;
    let (rejected, first) = with_kept(&leased, MISMATCH);
    assert_eq!(discarded(world.settle_one(rejected, START).await), [leased.sealed.object]);
    let leased = world.leased(&session, START).await;
    let (rejected, second) = with_kept(&leased, MISMATCH);
    assert_eq!(discarded(world.settle_one(rejected, START).await), [leased.sealed.object, first]);
    let cancelled = world.store.cancel_session(None, &session, START).await.unwrap();
    assert_eq!(cancelled, CancelResult::Cancelled { discarded: vec![second] });

    let session = world.session(ContractVersion::V1, START).await.id;
    let leased = world.leased(&session, START).await;
    let (rejected, kept) = with_kept(&leased, MISMATCH);
    assert_eq!(discarded(world.settle_one(rejected, START).await), [leased.sealed.object, kept]);
    assert!(!world.reload(&session, START).await.chip_evidence_kept);
}
