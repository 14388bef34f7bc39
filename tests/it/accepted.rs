//! A genuine passport and its holder.

use proofmill_tests::minted::SELECTED;
use serde_json::json;

use crate::support::{Scene, defaults, in_both_modes};

in_both_modes!(
    contract_2_success_is_one_verified_and_decrypted_webhook,
    contract_1_success_completes_the_session,
    a_chip_that_answers_its_challenge_is_accepted_and_one_that_answers_another_is_not,
    the_same_evidence_again_is_accepted_and_other_evidence_is_not,
);

async fn contract_2_success_is_one_verified_and_decrypted_webhook(mut scene: Scene) {
    let session = scene
        .api()
        .create_session(&json!({
            "contract_version": 2,
            "share_fields": {
                "kayle_document_id": { "required": true, "reason": "one account per document" },
                "family_name": { "required": true, "reason": "contract" },
                "document_number": { "required": true, "reason": "contract" },
                "date_of_birth": { "required": false, "reason": "not agreed to" },
            },
        }))
        .await
        .unwrap();
    assert_eq!(session["status"], "created");
    let id = session["id"].as_str().unwrap().to_owned();

    let specimen = scene.world.genuine();
    let opened = scene.api().open_attempt(&id).await.unwrap();
    let mut submission = specimen.submission(&opened.challenge);
    let selected = ["document_number", "family_name", "kayle_document_id"];
    submission.selected = selected.map(str::to_owned).to_vec();
    // As a phone does it: without the integrator's key.
    let phone = scene.server.client(None);
    let answer = phone.put_evidence_with_token(&opened.attempt_id, &opened.write_token, &submission).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);

    let attempt = scene.api().settled(&opened.attempt_id).await.unwrap();
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    assert_eq!(attempt["phase"], "settled");
    for gate in ["passive_authentication", "document_data", "liveness", "face_match"] {
        assert_eq!(attempt["checks"][gate], "passed", "{gate} in {attempt}");
    }
    assert_eq!(attempt["checks"]["revocation_status"], "verified_not_revoked");

    let payload = scene.integrator.receiver.event(&id, "verification.session.succeeded").await.unwrap();
    assert_eq!(payload["metadata"]["contract_version"], 2);
    assert_eq!(payload["data"]["selected_field_keys"], json!(selected));
    let claims = payload["data"]["claims"].as_object().unwrap();
    let mut keys: Vec<&str> = claims.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, selected, "exactly what was selected");
    assert!(claims["kayle_document_id"].as_str().unwrap().starts_with("kdid_"));

    let ended = scene.api().session(&id).await.unwrap();
    assert_eq!(ended["status"], "succeeded");
    assert_eq!((&ended["nfc_tries_used"], &ended["liveness_tries_used"]), (&json!(0), &json!(0)));
    let more = scene.api().post(&format!("/v1/sessions/{id}/attempts"), &json!({})).await.unwrap();
    assert_eq!((more.status, more.code()), (409, "SESSION_TERMINAL"));
    assert_eq!(scene.integrator.receiver.about(&id).len(), 1);

    // What was consented to is in the webhook and nowhere else.
    let (name, number) = (claims["family_name"].as_str().unwrap(), claims["document_number"].as_str().unwrap());
    let seen = format!("{} {attempt} {ended}", scene.logs());
    for personal in [name, number, &scene.integrator.api_key, &opened.write_token] {
        assert!(!personal.is_empty() && !seen.contains(personal), "{personal} leaked");
    }
}

async fn contract_1_success_completes_the_session(scene: Scene) {
    let session = scene.session(1).await;
    let specimen = scene.world.genuine();
    let attempt = scene.attempt(&session, &specimen).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    let payload = scene.integrator.receiver.event(&session, "verification.attempt.succeeded").await.unwrap();
    assert_eq!(payload["metadata"]["verification_attempt_id"], attempt["id"]);
    assert_eq!(payload["metadata"]["contract_version"], 1);
    assert_eq!(scene.api().session(&session).await.unwrap()["status"], "completed");
    let more = scene.api().post(&format!("/v1/sessions/{session}/attempts"), &json!({})).await.unwrap();
    assert_eq!((more.status, more.code()), (409, "SESSION_TERMINAL"));
}

async fn a_chip_that_answers_its_challenge_is_accepted_and_one_that_answers_another_is_not(scene: Scene) {
    let specimen = scene.world.genuine_with_chip_key();
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let mut other = opened.challenge;
    other[0] ^= 1;
    let submission = defaults(specimen.submission(&other));
    scene.api().put_evidence(&opened.attempt_id, &submission).await.unwrap().data().unwrap();
    let attempt = scene.api().settled(&opened.attempt_id).await.unwrap();
    assert_eq!(attempt["failure_code"], "document_active_authentication_failed", "{attempt}");
    assert_eq!(attempt["checks"]["active_authentication"], "failed");

    let attempt = scene.attempt(&session, &specimen).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    assert_eq!(attempt["checks"]["active_authentication"], "passed");
    assert_eq!(scene.api().session(&session).await.unwrap()["nfc_tries_used"], 1);
}

async fn the_same_evidence_again_is_accepted_and_other_evidence_is_not(scene: Scene) {
    let session = scene.session(2).await;
    let specimen = scene.world.genuine();
    let opened = scene.submit(&session, &specimen).await;
    let submission = defaults(specimen.submission(&opened.challenge));
    let again = scene.api().put_evidence(&opened.attempt_id, &submission).await.unwrap();
    assert_eq!(again.status, 202, "{}", again.body);
    scene.api().settled(&opened.attempt_id).await.unwrap();
    let again = scene.api().put_evidence(&opened.attempt_id, &submission).await.unwrap();
    assert_eq!(again.status, 202, "{}", again.body);

    let mut other = submission.clone();
    other.selected = SELECTED.iter().take(1).map(|key| (*key).to_owned()).collect();
    other.selected = vec!["kayle_document_id".into()];
    let refused = scene.api().put_evidence(&opened.attempt_id, &other).await.unwrap();
    assert_eq!((refused.status, refused.code()), (409, "EVIDENCE_ALREADY_SUBMITTED"));
    assert_eq!(scene.api().attempts(&session).await.unwrap().len(), 1);
}
