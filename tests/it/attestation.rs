//! Statements of registered readers: what holds, what does not, and what it costs in either contract.

use serde_json::{Value, json};

use crate::support::{Scene, defaults, in_both_modes};

in_both_modes!(
    a_registered_readers_statement_holds_and_is_reported,
    a_statement_that_does_not_hold_ends_a_session_of_contract_2_at_once,
    contract_1_counts_it_as_a_rejected_attempt,
    where_it_is_required_its_absence_fails,
    a_key_that_is_revoked_between_submissions_counts_no_more,
    what_a_key_vouched_for_before_it_was_revoked_is_not_good_for_selfies_alone,
);

async fn a_registered_readers_statement_holds_and_is_reported(scene: Scene) {
    scene.register_readers();
    for name in ["genuine_attested_es256", "genuine_attested_eddsa"] {
        let session = scene.session(2).await;
        let attempt = scene.attempt(&session, &scene.world.case(name).unwrap()).await;
        assert_eq!(attempt["status"], "succeeded", "{name}: {attempt}");
        assert_eq!(attempt["checks"]["reader_attestation"], "passed", "{name}: {attempt}");
        assert_eq!(attempt["checks"]["active_authentication"], "passed");
    }
    let session = scene.session(2).await;
    let attempt = scene.attempt(&session, &scene.world.genuine()).await;
    assert_eq!(attempt["checks"]["reader_attestation"], "not_applicable", "it is not demanded: {attempt}");
}

async fn a_statement_that_does_not_hold_ends_a_session_of_contract_2_at_once(scene: Scene) {
    scene.register_readers();
    for (name, reason) in [
        ("attestation_expired", "reader_attestation_expired"),
        ("attestation_of_other_bytes", "reader_attestation_part_mismatch"),
        ("attestation_of_another_attempt", "reader_attestation_attempt_mismatch"),
        ("attestation_by_revoked_key", "reader_attestation_key_revoked"),
        ("attestation_by_impostor", "reader_attestation_signature_invalid"),
    ] {
        let session = scene.session(2).await;
        let attempt = scene.attempt(&session, &scene.world.case(name).unwrap()).await;
        assert_eq!(attempt["failure_code"], "document_anti_cloning_attestation_failed", "{name}: {attempt}");
        assert_eq!(attempt["checks"]["reason"], reason, "{name}: {attempt}");
        assert_eq!(
            (&attempt["checks"]["reader_attestation"], &attempt["checks"]["liveness"]),
            (&json!("failed"), &json!("not_run"))
        );
        let ended = scene.api().session(&session).await.unwrap();
        assert_eq!(ended["status"], "failed", "{name}");
        assert_eq!(ended["failure_code"], "document_anti_cloning_attestation_failed");
        assert_eq!(
            (&ended["nfc_tries_used"], &ended["liveness_tries_used"]),
            (&json!(0), &json!(0)),
            "counters untouched"
        );
        let payload = scene.integrator.receiver.event(&session, "verification.session.failed").await.unwrap();
        assert_eq!(
            payload["data"],
            json!({ "failure_code": "document_anti_cloning_attestation_failed", "nfc_tries_used": 0, "liveness_tries_used": 0 })
        );
        let more = scene.api().post(&format!("/v1/sessions/{session}/attempts"), &json!({})).await.unwrap();
        assert_eq!((more.status, more.code()), (409, "SESSION_TERMINAL"));
    }
}

async fn contract_1_counts_it_as_a_rejected_attempt(scene: Scene) {
    scene.register_readers();
    let session = scene.session(1).await;
    let attempt = scene.attempt(&session, &scene.world.case("attestation_expired").unwrap()).await;
    assert_eq!(attempt["failure_code"], "passport_authenticity_failed", "{attempt}");
    assert_eq!(scene.api().session(&session).await.unwrap()["status"], "in_progress");
    let attempt = scene.attempt(&session, &scene.world.case("genuine_attested_es256").unwrap()).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    assert_eq!(scene.api().session(&session).await.unwrap()["status"], "completed");
}

async fn where_it_is_required_its_absence_fails(scene: Scene) {
    scene.register_readers();
    scene.server.set_policy(&scene.integrator.organisation, &["--reader-attestation", "required"]).unwrap();
    let session = scene.session(2).await;
    let attempt = scene.attempt(&session, &scene.world.genuine()).await;
    assert_eq!(attempt["failure_code"], "document_anti_cloning_attestation_failed", "{attempt}");
    assert_eq!(attempt["checks"]["reason"], "reader_attestation_missing");
    assert_eq!(scene.api().session(&session).await.unwrap()["status"], "failed");

    let session = scene.session(2).await;
    let attempt = scene.attempt(&session, &scene.world.case("genuine_attested_eddsa").unwrap()).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    // An earlier gate decides first, and costs a try of its own counter.
    let session = scene.session(2).await;
    let attempt = scene.attempt(&session, &scene.world.case("tampered_dg1").unwrap()).await;
    assert_eq!(attempt["failure_code"], "document_authenticity_failed", "{attempt}");
    assert_eq!(attempt["checks"]["reader_attestation"], "not_run");
    assert_eq!(scene.api().session(&session).await.unwrap()["status"], "in_progress");
}

async fn a_key_that_is_revoked_between_submissions_counts_no_more(scene: Scene) {
    scene.register_readers();
    let genuine = scene.world.case("genuine_attested_es256").unwrap();
    let session = scene.session(2).await;
    assert_eq!(scene.attempt(&session, &genuine).await["status"], "succeeded");
    scene.server.revoke_reader_key(&scene.integrator.organisation, "reader-desk").unwrap();
    let session = scene.session(1).await;
    let attempt = scene.attempt(&session, &genuine).await;
    assert_eq!(attempt["checks"]["reason"], "reader_attestation_key_revoked", "{attempt}");

    // The same bytes again are a repeat; the same evidence under another statement is other evidence.
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let phone = scene.world.case("genuine_attested_eddsa").unwrap();
    let submission = defaults(phone.evidence(scene.api(), &opened).await.unwrap());
    let attempt = scene.settle(&opened, &submission).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    let repeat = scene.api().put_evidence(&opened.attempt_id, &submission).await.unwrap();
    assert_eq!((repeat.status, &repeat.body["data"]["status"]), (202, &json!("succeeded")));
    let mut other = submission.clone();
    other.reader_attestation = None;
    let refused = scene.api().put_evidence(&opened.attempt_id, &other).await.unwrap();
    assert_eq!((refused.status, refused.code()), (409, "EVIDENCE_ALREADY_SUBMITTED"));
    assert_eq!(refused.body["data"], Value::Null);
}

async fn what_a_key_vouched_for_before_it_was_revoked_is_not_good_for_selfies_alone(scene: Scene) {
    scene.register_readers();
    let by_desk = attested_and_kept(&scene, "genuine_attested_es256").await;
    let by_phone = attested_and_kept(&scene, "genuine_attested_eddsa").await;
    scene.server.revoke_reader_key(&scene.integrator.organisation, "reader-desk").unwrap();

    let attempt = selfies_alone(&scene, &by_desk, "genuine_attested_es256").await;
    assert_eq!(attempt["failure_code"], "document_anti_cloning_attestation_failed", "{attempt}");
    assert_eq!(attempt["checks"]["reason"], "reader_attestation_key_revoked", "{attempt}");
    assert_eq!(attempt["checks"]["reader_attestation"], "failed");
    assert_eq!(scene.api().session(&by_desk).await.unwrap()["status"], "failed");

    let attempt = selfies_alone(&scene, &by_phone, "genuine_attested_eddsa").await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    assert_eq!(attempt["checks"]["reader_attestation"], "passed", "{attempt}");
}

/// A session whose attested chip evidence passed and whose first selfie was somebody else's.
async fn attested_and_kept(scene: &Scene, name: &str) -> String {
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let other = scene.world.case("selfie_other_person").unwrap().submission(&opened.challenge).selfies;
    let attested = scene.world.case(name).unwrap().evidence(scene.api(), &opened).await.unwrap();
    let attempt = scene.settle(&opened, &defaults(attested).with_selfies(other)).await;
    assert_eq!(attempt["failure_code"], "selfie_face_mismatch", "{attempt}");
    assert_eq!(attempt["checks"]["reader_attestation"], "passed", "{attempt}");
    session
}

/// The verdict on the holder's own selfie, without the chip's evidence.
async fn selfies_alone(scene: &Scene, session: &str, name: &str) -> Value {
    let opened = scene.api().open_attempt(session).await.unwrap();
    let own = scene.world.case(name).unwrap().submission(&opened.challenge);
    scene.settle(&opened, &defaults(own).selfies_only()).await
}
