//! Chip authentication with the server as the terminal: what is proof against cloning, and what is not.

use std::path::{Path, PathBuf};

use proofmill_tests::Submission;
use proofmill_tests::minted::Specimen;
use serde_json::{Value, json};

use crate::support::{Scene, defaults, in_both_modes};

in_both_modes!(
    a_chip_that_answers_the_servers_terminal_is_reported_as_proof,
    an_integrators_transcript_holds_and_is_reported_as_his,
    a_recorded_transcript_is_worth_nothing_in_another_attempt,
    a_restart_between_the_commands_and_the_answer_loses_nothing,
    the_key_and_dg14_are_nowhere_in_the_clear_and_go_with_the_verdict,
    a_transcript_that_claims_a_terminal_that_never_began_is_refused,
    a_chip_that_declares_it_must_answer_where_the_organisation_requires_it,
);

async fn submit_and_settle(scene: &Scene, attempt: &str, submission: Submission) -> Value {
    scene.api().put_evidence(attempt, &defaults(submission)).await.unwrap().data().unwrap();
    scene.api().settled(attempt).await.unwrap()
}

fn specimen(scene: &Scene, name: &str) -> Specimen {
    scene.world.case(name).unwrap()
}

async fn a_chip_that_answers_the_servers_terminal_is_reported_as_proof(scene: Scene) {
    for name in ["genuine_ca_p256_aes128", "genuine_ca_bp256r1_unsaid", "genuine_ca_dh2048_aes128"] {
        let session = scene.session(2).await;
        let attempt = scene.attempt(&session, &specimen(&scene, name)).await;
        assert_eq!(attempt["status"], "succeeded", "{name}: {attempt}");
        assert_eq!(attempt["checks"]["chip_authentication"], "passed", "{name}: {attempt}");
        assert_eq!(attempt["checks"]["chip_authentication_terminal"], "server", "{name}: {attempt}");
    }

    // A clone that answers whatever it is asked fails, and costs a try of the chip's counter.
    let session = scene.session(2).await;
    let attempt = scene.attempt(&session, &specimen(&scene, "cloned_ca_chip")).await;
    assert_eq!(attempt["failure_code"], "document_chip_authentication_failed", "{attempt}");
    assert_eq!(attempt["checks"]["chip_authentication"], "failed");
    assert_eq!(attempt["checks"]["chip_authentication_terminal"], "server");
    assert_eq!(scene.api().session(&session).await.unwrap()["nfc_tries_used"], 1);
    let metrics = reqwest::get(format!("http://{}/metrics", scene.server.metrics_address())).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let counted = r#"proofmill_document_reasons_total{reason="chip_authentication_invalid"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

async fn an_integrators_transcript_holds_and_is_reported_as_his(scene: Scene) {
    let session = scene.session(2).await;
    let attempt = scene.attempt(&session, &specimen(&scene, "genuine_ca_integrator_p256_aes128")).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    assert_eq!(attempt["checks"]["chip_authentication"], "passed");
    assert_eq!(attempt["checks"]["chip_authentication_terminal"], "integrator", "whoever has the key can forge it");
}

async fn a_recorded_transcript_is_worth_nothing_in_another_attempt(scene: Scene) {
    let genuine = specimen(&scene, "genuine_ca_p256_aes128");
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let recorded = genuine.evidence(scene.api(), &opened).await.unwrap();
    // Nobody submits it; the attempt goes with its session, and the recording is played to the next.
    scene.api().post(&format!("/v1/sessions/{session}/cancel"), &json!({})).await.unwrap();

    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let dg14 = genuine.dg14().unwrap();
    scene.api().start_chip_authentication(&opened, dg14).await.unwrap().data().unwrap();
    let attempt = submit_and_settle(&scene, &opened.attempt_id, recorded).await;
    assert_eq!(attempt["failure_code"], "document_chip_authentication_failed", "{attempt}");
    assert_eq!(attempt["checks"]["reason"], "chip_authentication_terminal_key_invalid", "{attempt}");

    // Under its own attempt's key and with the fresh one's public key it is not right either.
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let terminal = scene.api().start_chip_authentication(&opened, dg14).await.unwrap().data().unwrap();
    let mut transcript = genuine.server_transcript(&terminal).unwrap();
    let old = genuine.evidence(scene.api(), &opened).await.unwrap();
    assert_eq!(
        transcript_of(&old),
        transcript,
        "the server answers the same again, and the chip computes the same from it"
    );
    transcript["SmRapdu"] = json!("990290008e0801020304050607089000");
    let forged = old.with("chip_authentication", transcript.to_string().into_bytes());
    let attempt = submit_and_settle(&scene, &opened.attempt_id, forged).await;
    assert_eq!(attempt["checks"]["reason"], "chip_authentication_invalid", "{attempt}");
}

async fn a_restart_between_the_commands_and_the_answer_loses_nothing(mut scene: Scene) {
    let genuine = specimen(&scene, "genuine_ca_bp256r1_aes256");
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let before = scene.api().start_chip_authentication(&opened, genuine.dg14().unwrap()).await.unwrap();
    assert_eq!(before.status, 200, "{}", before.body);
    scene.server.kill_worker().unwrap();
    scene.server.start_worker().await.unwrap();
    let after = scene.api().start_chip_authentication(&opened, genuine.dg14().unwrap()).await.unwrap();
    assert_eq!(after.body, before.body);
    let submission = genuine.evidence(scene.api(), &opened).await.unwrap();
    let attempt = submit_and_settle(&scene, &opened.attempt_id, submission).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    assert_eq!(attempt["checks"]["chip_authentication_terminal"], "server");
    assert_eq!(attempt["checks"]["active_authentication"], "passed", "this one has both");
}

async fn the_key_and_dg14_are_nowhere_in_the_clear_and_go_with_the_verdict(scene: Scene) {
    let genuine = specimen(&scene, "genuine_ca_p256_3des");
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let submission = genuine.evidence(scene.api(), &opened).await.unwrap();
    // The point of the chip's key tells one passport from every other.
    let dg14 = genuine.dg14().unwrap().to_vec();
    let point = dg14[dg14.len() - 64..].to_vec();
    let holders = |needle: &[u8]| files_with(scene.server.data_dir(), needle);
    assert_eq!(holders(&point), Vec::<PathBuf>::new());
    assert_eq!(sealed_objects(&scene, &opened.attempt_id).len(), 1, "sealed when it began");
    let attempt = submit_and_settle(&scene, &opened.attempt_id, submission).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    assert_eq!(holders(&point), Vec::<PathBuf>::new());
    proofmill_tests::wait::until("sealed objects go", || async {
        Ok(sealed_objects(&scene, &opened.attempt_id).is_empty().then_some(()))
    })
    .await
    .unwrap();
    let refused = scene.api().start_chip_authentication(&opened, &dg14).await.unwrap();
    assert_eq!((refused.status, refused.code()), (401, "HANDOFF_TOKEN_CONSUMED"), "{}", refused.body);
}

async fn a_transcript_that_claims_a_terminal_that_never_began_is_refused(scene: Scene) {
    let genuine = specimen(&scene, "genuine_ca_p256_aes128");
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let own = genuine.submission(&opened.challenge);
    let claimed = json!({ "terminal": "server", "TermPubKey": "04", "SmRapdu": "9000", "SmSsc": "00" });
    let with = |transcript: &Value| own.clone().with("chip_authentication", transcript.to_string().into_bytes());
    let put = async |transcript: &Value| {
        scene.api().put_evidence(&opened.attempt_id, &defaults(with(transcript))).await.unwrap()
    };
    let refused = put(&claimed).await;
    assert_eq!((refused.status, refused.code()), (400, "EVIDENCE_PART_INVALID"), "{}", refused.body);
    assert!(refused.message().contains("`chip_authentication`"), "{}", refused.message());
    let mut stolen = claimed.clone();
    stolen["TermPri"] = json!("01");
    let refused = put(&stolen).await;
    assert_eq!((refused.status, refused.code()), (400, "EVIDENCE_PART_INVALID"), "{}", refused.body);
    assert!(refused.message().contains("`TermPri`"), "{}", refused.message());
    // Neither cost the holder anything.
    let attempt = submit_and_settle(&scene, &opened.attempt_id, own.clone()).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    assert_eq!(attempt["checks"]["chip_authentication"], "not_run", "it was not asked");
    assert_eq!(attempt["checks"]["chip_authentication_terminal"], Value::Null);
}

async fn a_chip_that_declares_it_must_answer_where_the_organisation_requires_it(scene: Scene) {
    scene.server.set_policy(&scene.integrator.organisation, &["--chip-authentication", "required"]).unwrap();
    let genuine = specimen(&scene, "genuine_ca_p256_aes128");
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let attempt = submit_and_settle(&scene, &opened.attempt_id, genuine.submission(&opened.challenge)).await;
    assert_eq!(attempt["failure_code"], "document_chip_authentication_failed", "{attempt}");
    assert_eq!(attempt["checks"]["reason"], "chip_authentication_missing", "{attempt}");

    let attempt = scene.attempt(&session, &genuine).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    // Present and right, if no proof: reported as the integrator's, and not an absence.
    let session = scene.session(2).await;
    let attempt = scene.attempt(&session, &specimen(&scene, "genuine_ca_integrator_p256_aes128")).await;
    assert_eq!(
        (&attempt["status"], &attempt["checks"]["chip_authentication_terminal"]),
        (&json!("succeeded"), &json!("integrator"))
    );
    let session = scene.session(2).await;
    let attempt = scene.attempt(&session, &scene.world.genuine()).await;
    assert_eq!(attempt["status"], "succeeded", "a chip without it has nothing to answer: {attempt}");
}

fn transcript_of(submission: &Submission) -> Value {
    let (_, bytes) = submission.parts.iter().find(|(name, _)| *name == "chip_authentication").unwrap();
    serde_json::from_slice(bytes).unwrap()
}

/// Sealed objects of an attempt, wherever the vault lies in the data folder.
fn sealed_objects(scene: &Scene, attempt: &str) -> Vec<PathBuf> {
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(attempt));
    files(scene.server.data_dir()).into_iter().filter(named).collect()
}

fn files_with(folder: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    };
    files(folder).into_iter().filter(holds).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // What goes between the listing and the look at it is gone.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}
