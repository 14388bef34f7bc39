//! Forged passports and other people's selfies: what a rejection costs, in both contracts.

use proofmill_tests::minted::{World, in_contract_1};
use serde_json::json;

use crate::support::{Scene, in_both_modes};

in_both_modes!(
    contract_2_ends_after_the_third_failure_of_one_check,
    contract_1_ends_after_the_third_rejected_attempt,
    contract_2_counts_a_wrong_face_apart_from_the_chip,
    every_kind_of_forgery_gets_the_verdict_it_was_minted_for,
);

async fn contract_2_ends_after_the_third_failure_of_one_check(scene: Scene) {
    let session = scene.session(2).await;
    let forged = scene.world.case("tampered_dg1").unwrap();
    for tries in 1..=3 {
        let attempt = scene.attempt(&session, &forged).await;
        assert_eq!(attempt["status"], "failed");
        assert_eq!(attempt["failure_code"], "document_authenticity_failed", "{attempt}");
        let now = scene.api().session(&session).await.unwrap();
        assert_eq!((&now["nfc_tries_used"], &now["liveness_tries_used"]), (&json!(tries), &json!(0)));
        assert_eq!(now["status"], if tries < 3 { "in_progress" } else { "failed" });
    }
    let payload = scene.integrator.receiver.event(&session, "verification.session.failed").await.unwrap();
    assert_eq!(
        payload["data"],
        json!({ "failure_code": "document_authenticity_failed", "nfc_tries_used": 3, "liveness_tries_used": 0 })
    );
    assert_eq!(scene.api().session(&session).await.unwrap()["failure_code"], "document_authenticity_failed");
    let more = scene.api().post(&format!("/v1/sessions/{session}/attempts"), &json!({})).await.unwrap();
    assert_eq!((more.status, more.code()), (409, "SESSION_TERMINAL"));
    assert_eq!(scene.integrator.receiver.about(&session).len(), 1, "one event, and only at the end");
}

async fn contract_1_ends_after_the_third_rejected_attempt(scene: Scene) {
    let session = scene.session(1).await;
    let forged = scene.world.case("tampered_dg1").unwrap();
    for number in 1..=3 {
        let attempt = scene.attempt(&session, &forged).await;
        assert_eq!(attempt["failure_code"], "passport_authenticity_failed", "{attempt}");
        let status = scene.api().session(&session).await.unwrap()["status"].clone();
        assert_eq!(status, if number < 3 { "in_progress" } else { "completed" });
    }
    let attempts = scene.api().attempts(&session).await.unwrap();
    let told = scene
        .integrator
        .receiver
        .wait("three attempt.failed", |received| {
            let about: Vec<_> = received.iter().filter(|one| one.session_id() == Some(&session)).cloned().collect();
            (about.len() >= 3).then_some(about)
        })
        .await
        .unwrap();
    let mut of_attempts: Vec<_> = told
        .iter()
        .map(|one| one.payload.as_ref().unwrap()["metadata"]["verification_attempt_id"].as_str().unwrap())
        .collect();
    of_attempts.sort_unstable();
    let mut ids: Vec<_> = attempts.iter().map(|attempt| attempt["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(of_attempts, ids, "one event for each attempt");
    assert!(told.iter().all(|one| one.event_type == "verification.attempt.failed"));
    let more = scene.api().post(&format!("/v1/sessions/{session}/attempts"), &json!({})).await.unwrap();
    assert_eq!((more.status, more.code()), (409, "SESSION_TERMINAL"));
}

async fn contract_2_counts_a_wrong_face_apart_from_the_chip(scene: Scene) {
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let genuine = scene.world.genuine();
    let right = crate::support::defaults(genuine.submission(&opened.challenge));

    // Selfies alone are no evidence before a chip has passed.
    let mut selfies_alone = right.clone();
    selfies_alone.parts.clear();
    let refused = scene.api().put_evidence(&opened.attempt_id, &selfies_alone).await.unwrap();
    assert_eq!((refused.status, refused.code()), (400, "CHIP_EVIDENCE_REQUIRED"), "{}", refused.body);

    let other = scene.world.case("selfie_other_person").unwrap();
    let swapped = right.with_selfies(other.submission(&opened.challenge).selfies);
    scene.api().put_evidence(&opened.attempt_id, &swapped).await.unwrap().data().unwrap();
    let attempt = scene.api().settled(&opened.attempt_id).await.unwrap();
    assert_eq!(attempt["failure_code"], "selfie_face_mismatch", "{attempt}");
    let now = scene.api().session(&session).await.unwrap();
    assert_eq!((&now["nfc_tries_used"], &now["liveness_tries_used"]), (&json!(0), &json!(1)));
    assert_eq!(now["status"], "in_progress");

    let attempt = scene.attempt(&session, &scene.world.case("tampered_dg1").unwrap()).await;
    assert_eq!(attempt["failure_code"], "document_authenticity_failed", "{attempt}");
    let now = scene.api().session(&session).await.unwrap();
    assert_eq!((&now["nfc_tries_used"], &now["liveness_tries_used"]), (&json!(1), &json!(1)));

    let attempt = scene.attempt(&session, &genuine).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    scene.integrator.receiver.event(&session, "verification.session.succeeded").await.unwrap();
    assert_eq!(scene.integrator.receiver.about(&session).len(), 1, "a failure that is not the end is not told");
}

async fn every_kind_of_forgery_gets_the_verdict_it_was_minted_for(scene: Scene) {
    scene.register_readers();
    let mut submitted = Vec::new();
    for specimen in scene.world.specimens(World::cases()) {
        let session = scene.session(1).await;
        let opened = scene.submit(&session, &specimen).await;
        submitted.push((specimen, session, opened.attempt_id));
    }
    let mut wrong = Vec::new();
    for (specimen, session, attempt) in submitted {
        let attempt = scene.api().settled(&attempt).await.unwrap();
        let expected = specimen.expected.map(in_contract_1);
        if attempt["failure_code"].as_str() != expected {
            wrong.push(format!("{}: expected {expected:?}, got {attempt}", specimen.name));
        }
        let event = if expected.is_some() { "verification.attempt.failed" } else { "verification.attempt.succeeded" };
        let payload = scene.integrator.receiver.event(&session, event).await.unwrap();
        if expected.is_some() {
            assert_eq!(payload["data"]["failure_code"], attempt["failure_code"]);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
