//! Contract 2: after chip evidence passed, selfies alone may follow a liveness failure.

use std::path::PathBuf;

use proofmill_tests::{Mode, Opened, Options, Submission, environment, wait};
use serde_json::json;

use crate::support::{Scene, defaults, in_both_modes, play_with};

in_both_modes!(
    selfies_alone_follow_a_liveness_failure_and_give_the_claims,
    selfies_alone_are_refused_where_no_chip_evidence_passed,
    three_liveness_failures_end_the_session_and_what_it_kept,
    a_new_chip_read_takes_the_place_of_what_is_kept,
    what_is_kept_is_sealed_and_goes_with_its_session,
    a_stricter_policy_counts_for_what_is_kept_too,
    a_worker_killed_between_verdict_and_destruction_keeps_its_promise,
);

/// Opens an attempt; what the handoff says of the chip's evidence.
async fn open(scene: &Scene, session: &str) -> (Opened, String) {
    let path = format!("/v1/verify/session/{session}/handoff");
    let handoff = scene.api().with_key(None).post(&path, &json!({})).await.unwrap().data().unwrap();
    (Opened::read(&handoff).unwrap(), handoff["chip_evidence"].as_str().unwrap().to_owned())
}

/// Chip evidence of a genuine passport, and somebody else's selfie.
fn wrong_selfie(scene: &Scene, opened: &Opened) -> Submission {
    let other = scene.world.case("selfie_other_person").unwrap().submission(&opened.challenge).selfies;
    defaults(scene.world.genuine_with_chip_key().submission(&opened.challenge)).with_selfies(other)
}

/// The holder's own selfie, without the chip's evidence.
fn selfies(scene: &Scene, opened: &Opened) -> Submission {
    defaults(scene.world.genuine_with_chip_key().submission(&opened.challenge)).selfies_only()
}

/// A session whose chip evidence passed and whose first selfie was somebody else's.
async fn kept(scene: &Scene) -> String {
    let session = scene.session(2).await;
    let (opened, chip_evidence) = open(scene, &session).await;
    assert_eq!(chip_evidence, "required");
    let attempt = scene.settle(&opened, &wrong_selfie(scene, &opened)).await;
    assert_eq!(attempt["failure_code"], "selfie_face_mismatch", "{attempt}");
    session
}

async fn put(scene: &Scene, opened: &Opened, submission: &Submission) -> (u16, String) {
    let answer = scene.api().put_evidence(&opened.attempt_id, submission).await.unwrap();
    (answer.status, answer.code().to_owned())
}

async fn selfies_alone_follow_a_liveness_failure_and_give_the_claims(scene: Scene) {
    let session = kept(&scene).await;
    let (opened, chip_evidence) = open(&scene, &session).await;
    assert_eq!(chip_evidence, "already_passed");
    let submission = selfies(&scene, &opened);
    let attempt = scene.settle(&opened, &submission).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    let checks = &attempt["checks"];
    for gate in [
        "evidence_format",
        "passive_authentication",
        "document_data",
        "active_authentication",
        "liveness",
        "face_match",
    ] {
        assert_eq!(checks[gate], "passed", "{gate}: {attempt}");
    }
    assert_eq!(checks["revocation_status"], "verified_not_revoked");
    let payload = scene.integrator.receiver.event(&session, "verification.session.succeeded").await.unwrap();
    let claims = payload["data"]["claims"].as_object().unwrap();
    assert_eq!(claims.keys().collect::<Vec<_>>(), ["issuing_country_code", "kayle_document_id"]);
    let ended = scene.api().session(&session).await.unwrap();
    assert_eq!(
        (&ended["status"], &ended["liveness_tries_used"], &ended["nfc_tries_used"]),
        (&json!("succeeded"), &json!(1), &json!(0))
    );
    assert_eq!(scene.integrator.receiver.about(&session).len(), 1);

    // The same document in one go has the same id.
    let whole = scene.session(2).await;
    let attempt = scene.attempt(&whole, &scene.world.genuine_with_chip_key()).await;
    assert_eq!(attempt["status"], "succeeded");
    let other = scene.integrator.receiver.event(&whole, "verification.session.succeeded").await.unwrap();
    assert_eq!(other["data"]["claims"]["kayle_document_id"], claims["kayle_document_id"]);

    // A repeat is a repeat, although nothing is kept any more.
    assert_eq!(put(&scene, &opened, &submission).await, (202, String::new()));
}

async fn selfies_alone_are_refused_where_no_chip_evidence_passed(scene: Scene) {
    let required = (400, "CHIP_EVIDENCE_REQUIRED".to_owned());
    // Nothing submitted yet; then a chip read that failed.
    let session = scene.session(2).await;
    let (opened, _) = open(&scene, &session).await;
    assert_eq!(put(&scene, &opened, &selfies(&scene, &opened)).await, required);
    let forged = scene.world.case("tampered_dg1").unwrap();
    let attempt = scene.settle(&opened, &defaults(forged.submission(&opened.challenge))).await;
    assert_eq!(attempt["failure_code"], "document_authenticity_failed", "{attempt}");
    let (opened, chip_evidence) = open(&scene, &session).await;
    assert_eq!(chip_evidence, "required");
    assert_eq!(put(&scene, &opened, &selfies(&scene, &opened)).await, required);
    // Parts of it are no chip evidence either.
    let partial = defaults(scene.world.genuine().submission(&opened.challenge)).without("sod");
    assert_eq!(put(&scene, &opened, &partial).await, (400, "EVIDENCE_PART_MISSING".to_owned()));

    // Contract 1 retries the whole attempt, whatever failed of it.
    let session = scene.session(1).await;
    let (opened, _) = open(&scene, &session).await;
    let attempt = scene.settle(&opened, &wrong_selfie(&scene, &opened)).await;
    assert_eq!(attempt["failure_code"], "selfie_face_mismatch", "{attempt}");
    let (opened, chip_evidence) = open(&scene, &session).await;
    assert_eq!(chip_evidence, "required");
    assert_eq!(put(&scene, &opened, &selfies(&scene, &opened)).await, required);
}

async fn three_liveness_failures_end_the_session_and_what_it_kept(scene: Scene) {
    let session = kept(&scene).await;
    for tries in 2..=3 {
        let (opened, chip_evidence) = open(&scene, &session).await;
        assert_eq!(chip_evidence, "already_passed");
        let nobody = scene.world.case("selfie_no_face").unwrap().submission(&opened.challenge).selfies;
        let attempt = scene.settle(&opened, &selfies(&scene, &opened).with_selfies(nobody)).await;
        assert_eq!(attempt["failure_code"], "liveness_failed", "{attempt}");
        let now = scene.api().session(&session).await.unwrap();
        assert_eq!((&now["nfc_tries_used"], &now["liveness_tries_used"]), (&json!(0), &json!(tries)));
    }
    assert_eq!(scene.api().session(&session).await.unwrap()["status"], "failed");
    let payload = scene.integrator.receiver.event(&session, "verification.session.failed").await.unwrap();
    assert_eq!(
        payload["data"],
        json!({ "failure_code": "liveness_failed", "nfc_tries_used": 0, "liveness_tries_used": 3 })
    );
    nothing_is_kept(&scene, &session).await;
}

async fn a_new_chip_read_takes_the_place_of_what_is_kept(scene: Scene) {
    let session = kept(&scene).await;
    let first = kept_objects(&scene, &session);
    assert_eq!(first.len(), 1);
    // A read that fails beside it says nothing against it.
    let attempt = scene.attempt(&session, &scene.world.case("tampered_dg1").unwrap()).await;
    assert_eq!(attempt["failure_code"], "document_authenticity_failed", "{attempt}");
    assert_eq!(open(&scene, &session).await.1, "already_passed");
    assert_eq!(kept_objects(&scene, &session), first);

    let (opened, _) = open(&scene, &session).await;
    let attempt = scene.settle(&opened, &wrong_selfie(&scene, &opened)).await;
    assert_eq!(attempt["failure_code"], "selfie_face_mismatch", "{attempt}");
    wait::until("the earlier one is destroyed", || async {
        let now = kept_objects(&scene, &session);
        Ok((now.len() == 1 && now != first).then_some(()))
    })
    .await
    .unwrap();
    let (opened, _) = open(&scene, &session).await;
    let attempt = scene.settle(&opened, &selfies(&scene, &opened)).await;
    assert_eq!(attempt["status"], "succeeded", "{attempt}");
    nothing_is_kept(&scene, &session).await;
}

async fn what_is_kept_is_sealed_and_goes_with_its_session(scene: Scene) {
    let session = kept(&scene).await;
    let attempts = scene.api().attempts(&session).await.unwrap();
    assert_eq!(kept_objects(&scene, &session).len(), 1);
    // SOD, transcripts and selfies went with the verdict; what is left of the zone is sealed.
    let id = attempts[0]["id"].as_str().unwrap().to_owned();
    wait::until("the submission is destroyed", || async { Ok(kept_objects(&scene, &id).is_empty().then_some(())) })
        .await
        .unwrap();
    let dg1 =
        scene.world.genuine_with_chip_key().submission(&[0; 8]).parts.into_iter().find(|(name, _)| *name == "dg1");
    let zone = dg1.unwrap().1[5..25].to_vec();
    for file in files(scene.server.data_dir()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert!(!bytes.windows(zone.len()).any(|window| window == zone), "{}", file.display());
    }
    scene.api().post(&format!("/v1/sessions/{session}/cancel"), &json!({})).await.unwrap();
    nothing_is_kept(&scene, &session).await;
}

async fn a_stricter_policy_counts_for_what_is_kept_too(scene: Scene) {
    let session = scene.session(2).await;
    let (opened, _) = open(&scene, &session).await;
    let genuine = scene.world.case("genuine_ca_p256_aes128").unwrap();
    let other = scene.world.case("selfie_other_person").unwrap().submission(&opened.challenge).selfies;
    // Its chip declares chip authentication, and was not asked.
    let submission = defaults(genuine.submission(&opened.challenge)).with_selfies(other);
    let attempt = scene.settle(&opened, &submission).await;
    assert_eq!(attempt["failure_code"], "selfie_face_mismatch", "{attempt}");

    scene.server.set_policy(&scene.integrator.organisation, &["--chip-authentication", "required"]).unwrap();
    let (opened, chip_evidence) = open(&scene, &session).await;
    assert_eq!(chip_evidence, "already_passed");
    let attempt = scene.settle(&opened, &defaults(genuine.submission(&opened.challenge)).selfies_only()).await;
    assert_eq!(attempt["failure_code"], "document_chip_authentication_failed", "{attempt}");
    let now = scene.api().session(&session).await.unwrap();
    assert_eq!((&now["nfc_tries_used"], &now["liveness_tries_used"]), (&json!(1), &json!(1)));
    assert_eq!(open(&scene, &session).await.1, "required", "the chip is to be read anew");
    nothing_is_kept(&scene, &session).await;
}

async fn a_worker_killed_between_verdict_and_destruction_keeps_its_promise(mut scene: Scene) {
    for round in 0..3u32 {
        let session = scene.session(2).await;
        let (opened, _) = open(&scene, &session).await;
        let submission = wrong_selfie(&scene, &opened);
        scene.api().put_evidence(&opened.attempt_id, &submission).await.unwrap().data().unwrap();
        // At another moment each time: while it waits, while it is verified, once its verdict is there.
        match round {
            0 => {}
            1 => wait_for_phase(&scene, &opened, "verifying").await,
            _ => drop(scene.api().settled(&opened.attempt_id).await.unwrap()),
        }
        scene.server.kill_worker().unwrap();
        scene.server.start_worker().await.unwrap();
        let attempt = scene.api().settled(&opened.attempt_id).await.unwrap();
        assert_eq!(attempt["failure_code"], "selfie_face_mismatch", "{attempt}");
        let (opened, chip_evidence) = open(&scene, &session).await;
        assert_eq!(chip_evidence, "already_passed");
        let attempt = scene.settle(&opened, &selfies(&scene, &opened)).await;
        assert_eq!(attempt["status"], "succeeded", "{attempt}");
        let ended = scene.api().session(&session).await.unwrap();
        assert_eq!((&ended["status"], &ended["liveness_tries_used"]), (&json!("succeeded"), &json!(1)));
    }
}

/// Until it has come so far, or further.
async fn wait_for_phase(scene: &Scene, opened: &Opened, phase: &str) {
    wait::until(phase, || async {
        let attempt = scene.api().get(&format!("/v1/attempts/{}", opened.attempt_id)).await?.data()?;
        Ok((attempt["phase"] == phase || attempt["phase"] == "settled").then_some(()))
    })
    .await
    .unwrap();
}

mod revoked_meanwhile {
    #[test]
    fn embedded() {
        super::revoked(proofmill_tests::Mode::Embedded);
    }

    #[test]
    fn cluster() {
        super::revoked(proofmill_tests::Mode::Cluster);
    }
}

fn revoked(mode: Mode) {
    let cluster = match mode {
        Mode::Embedded => None,
        Mode::Cluster => match environment::cluster() {
            Some(cluster) => Some(cluster),
            None => return,
        },
    };
    let environment = vec![("PROOFMILL_TRUST_RELOAD".into(), "1s".into())];
    play_with(mode, Options { cluster, environment, ..Options::default() }, revoked_in_between);
}

async fn revoked_in_between(mut scene: Scene) {
    let session = kept(&scene).await;
    scene.world.revoke_signers();
    scene.world.write_trust(&scene.trust).unwrap();
    wait::until("the new lists count", || async {
        let url = format!("http://{}/metrics", scene.server.metrics_address());
        let metrics = reqwest::get(url).await?.text().await?;
        let epoch = metrics.lines().find_map(|line| line.strip_prefix("proofmill_trust_epoch "));
        Ok(epoch.and_then(|epoch| epoch.parse::<f64>().ok()).is_some_and(|epoch| epoch >= 2.0).then_some(()))
    })
    .await
    .unwrap();
    let (opened, chip_evidence) = open(&scene, &session).await;
    assert_eq!(chip_evidence, "already_passed");
    let attempt = scene.settle(&opened, &selfies(&scene, &opened)).await;
    assert_eq!(attempt["failure_code"], "document_authenticity_failed", "{attempt}");
    let checks = &attempt["checks"];
    assert_eq!((&checks["revocation_status"], &checks["reason"]), (&json!("revoked"), &json!("certificate_revoked")));
    assert_eq!((&checks["passive_authentication"], &checks["liveness"]), (&json!("failed"), &json!("not_run")));
    let now = scene.api().session(&session).await.unwrap();
    assert_eq!((&now["nfc_tries_used"], &now["liveness_tries_used"]), (&json!(1), &json!(1)));
    // What does not hold any more is not kept.
    let (opened, chip_evidence) = open(&scene, &session).await;
    assert_eq!(chip_evidence, "required");
    assert_eq!(put(&scene, &opened, &selfies(&scene, &opened)).await.0, 400);
    nothing_is_kept(&scene, &session).await;
}

async fn nothing_is_kept(scene: &Scene, session: &str) {
    wait::until("what was kept is destroyed", || async { Ok(kept_objects(scene, session).is_empty().then_some(())) })
        .await
        .unwrap();
}

/// Sealed objects of an owner, a session or an attempt, wherever the vault lies in the data folder.
fn kept_objects(scene: &Scene, owner: &str) -> Vec<PathBuf> {
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(owner));
    files(scene.server.data_dir()).into_iter().filter(named).collect()
}

fn files(folder: &std::path::Path) -> Vec<PathBuf> {
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
