//! Input that is wrong: a named error or a verdict, and the process stays up.

use proofmill_tests::Submission;
use serde_json::json;

use crate::support::{Scene, defaults, in_both_modes};

in_both_modes!(
    refused_requests_are_named_and_cost_nothing,
    evidence_that_is_no_document_gets_a_verdict_and_harms_no_neighbour,
    ids_and_keys_that_are_wrong_are_refused_by_name,
);

async fn refused_requests_are_named_and_cost_nothing(mut scene: Scene) {
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let genuine = scene.world.genuine();
    let good = defaults(genuine.submission(&opened.challenge));
    let put = async |submission: &Submission| scene.api().put_evidence(&opened.attempt_id, submission).await.unwrap();

    for missing in ["sod", "dg1", "dg2"] {
        let refused = put(&good.clone().without(missing)).await;
        assert_eq!((refused.status, refused.code()), (400, "EVIDENCE_PART_MISSING"), "{missing}");
        assert!(refused.message().contains(missing), "{}", refused.message());
    }
    let refused = put(&good.clone().with_selfies(vec![])).await;
    assert_eq!((refused.status, refused.code()), (400, "EVIDENCE_PART_MISSING"));
    assert!(refused.message().contains("selfie"), "{}", refused.message());

    for (part, limit) in [("dg1", 64 << 10), ("sod", 64 << 10), ("dg2", 1 << 20)] {
        let refused = put(&good.clone().with(part, vec![0x30; limit + 1])).await;
        assert_eq!((refused.status, refused.code()), (413, "PAYLOAD_TOO_LARGE"), "{part}: {}", refused.body);
        let message = refused.message();
        assert!(message.contains(part) && message.contains(&limit.to_string()), "{message}");
    }
    let refused = put(&good.clone().with_selfies(vec![vec![0xff; (4 << 20) + 1]])).await;
    assert_eq!((refused.status, refused.code()), (413, "PAYLOAD_TOO_LARGE"), "{}", refused.body);
    assert!(refused.message().contains("selfie"), "{}", refused.message());

    let refused = put(&good.clone().with_selfies(vec![vec![0xff; 10]; 6])).await;
    assert_eq!((refused.status, refused.code()), (400, "EVIDENCE_PART_INVALID"), "{}", refused.body);
    let refused = put(&good.clone().with("sod", vec![])).await;
    assert_eq!((refused.status, refused.code()), (400, "EVIDENCE_PART_INVALID"), "{}", refused.body);

    let mut unselected = good.clone();
    unselected.selected.clear();
    let refused = put(&unselected).await;
    assert_eq!((refused.status, refused.code()), (400, "SHARE_SELECTION_REQUIRED"), "{}", refused.body);
    let mut foreign = good.clone();
    foreign.selected.push("family_name".into());
    let refused = put(&foreign).await;
    assert_eq!((refused.status, refused.code()), (400, "SHARE_SELECTION_INVALID_FIELD"), "{}", refused.body);

    let request = scene
        .api()
        .request(reqwest::Method::PUT, &format!("/v1/attempts/{}/evidence", opened.attempt_id))
        .header("content-type", "application/json")
        .body("{}");
    let refused = scene.api().send(request).await.unwrap();
    assert_eq!((refused.status, refused.code()), (415, "UNSUPPORTED_MEDIA_TYPE"));

    // None of that used the attempt up.
    put(&good).await.data().unwrap();
    let attempt = scene.api().settled(&opened.attempt_id).await.unwrap();
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    assert_eq!(scene.api().session(&session).await.unwrap()["nfc_tries_used"], 0);
    assert!(scene.server.lives());
}

async fn evidence_that_is_no_document_gets_a_verdict_and_harms_no_neighbour(mut scene: Scene) {
    let genuine = scene.world.genuine();
    let no_face = scene.world.case("selfie_no_face").unwrap();
    let mut submitted = Vec::new();
    for name in ["text for a SOD", "text for DG2", "bomb", "truncated selfie", "no face", "genuine"] {
        let session = scene.session(2).await;
        let opened = scene.api().open_attempt(&session).await.unwrap();
        let good = defaults(genuine.submission(&opened.challenge));
        let half = good.selfies[0][..good.selfies[0].len() / 2].to_vec();
        let (submission, expected) = match name {
            "text for a SOD" => (good.with("sod", b"not DER at all".to_vec()), Some("document_authenticity_failed")),
            "text for DG2" => (good.with("dg2", b"not DER at all".to_vec()), Some("document_authenticity_failed")),
            "bomb" => (good.with_selfies(vec![bomb()]), Some("liveness_failed")),
            "truncated selfie" => (good.with_selfies(vec![half]), Some("liveness_failed")),
            "no face" => {
                let selfies = no_face.submission(&opened.challenge).selfies;
                (good.with_selfies(selfies), Some("liveness_failed"))
            }
            _ => (good, None),
        };
        scene.api().put_evidence(&opened.attempt_id, &submission).await.unwrap().data().unwrap();
        submitted.push((name, opened.attempt_id, expected));
    }
    // What does not even begin as a JPEG is refused where it is sent, and costs no try.
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let text = defaults(genuine.submission(&opened.challenge)).with_selfies(vec![b"no image".to_vec()]);
    let answer = scene.api().put_evidence(&opened.attempt_id, &text).await.unwrap();
    assert_eq!((answer.status, answer.code()), (400, "EVIDENCE_PART_INVALID"));
    for (name, attempt, expected) in submitted {
        let attempt = scene.api().settled(&attempt).await.unwrap();
        assert_eq!(attempt["failure_code"].as_str(), expected, "{name}: {attempt}");
        if expected.is_some() {
            assert!(attempt["checks"]["reason"].is_string(), "{name} has no named reason: {attempt}");
        }
    }
    assert!(scene.server.lives());
}

async fn ids_and_keys_that_are_wrong_are_refused_by_name(mut scene: Scene) {
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let unknown = format!("vs_{}", "0".repeat(64));

    let answer = scene.api().get(&format!("/v1/sessions/{unknown}")).await.unwrap();
    assert_eq!((answer.status, answer.code()), (404, "SESSION_NOT_FOUND"));
    let answer = scene.api().get("/v1/sessions/vs_short").await.unwrap();
    assert_eq!((answer.status, answer.code()), (400, "INVALID_SESSION_ID"));
    let answer = scene.api().post(&format!("/v1/sessions/{unknown}/attempts"), &json!({})).await.unwrap();
    assert_eq!((answer.status, answer.code()), (404, "SESSION_NOT_FOUND"));

    for key in [None, Some("kk_00000000000000000000000000000000"), Some("nonsense")] {
        let stranger = scene.api().with_key(key);
        let answer = stranger.get(&format!("/v1/sessions/{session}")).await.unwrap();
        assert_eq!((answer.status, answer.code()), (401, "UNAUTHORIZED"), "{key:?}");
        assert!(answer.headers.contains_key("x-request-id"));
        assert!(answer.body["data"].is_null());
    }
    let elsewhere = scene.server.create_organisation("Elsewhere").unwrap();
    let their_key = scene.server.create_key(&elsewhere).unwrap();
    let answer = scene.server.client(Some(&their_key)).get(&format!("/v1/sessions/{session}")).await.unwrap();
    assert_eq!((answer.status, answer.code()), (404, "SESSION_NOT_FOUND"), "another organisation's is unknown");

    let submission = defaults(scene.world.genuine().submission(&opened.challenge));
    let answer =
        scene.api().put_evidence_with_token(&opened.attempt_id, "0".repeat(48).as_str(), &submission).await.unwrap();
    assert_eq!((answer.status, answer.code()), (401, "HANDOFF_TOKEN_INVALID"));

    let answer = scene.api().post("/v1/sessions", &json!({ "no_such_field": 1 })).await.unwrap();
    assert_eq!((answer.status, answer.code()), (400, "INVALID_REQUEST"));
    assert!(answer.message().contains("no_such_field"), "{}", answer.message());
    assert!(scene.server.lives());
}

/// A JPEG whose header promises 65,535 x 65,535 pixels (12 GB decoded) in a few hundred bytes.
fn bomb() -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8];
    // Quantisation table 0, all ones.
    bytes.extend([0xff, 0xdb, 0x00, 0x43, 0x00]);
    bytes.extend([1u8; 64]);
    // Start of frame, baseline, 8 bits, 65535 x 65535, one component.
    bytes.extend([0xff, 0xc0, 0x00, 0x0b, 0x08, 0xff, 0xff, 0xff, 0xff, 0x01, 0x01, 0x11, 0x00]);
    // DC and AC Huffman tables with one code each.
    for class in [0x00, 0x10] {
        bytes.extend([0xff, 0xc4, 0x00, 0x14, class, 1]);
        bytes.extend([0u8; 15]);
        bytes.push(0);
    }
    bytes.extend([0xff, 0xda, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x3f, 0x00]);
    bytes.extend([0u8; 256]);
    bytes.extend([0xff, 0xd9]);
    bytes
}
