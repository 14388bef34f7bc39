//! A session whose hour has passed. The hour itself is not waited for: the row's time is moved.

use std::process::Command;

use proofmill_tests::Mode;
use serde_json::json;

use crate::support::{Scene, in_both_modes};

in_both_modes!(a_session_past_its_hour_expires_once_and_takes_no_more_attempts,);

async fn a_session_past_its_hour_expires_once_and_takes_no_more_attempts(scene: Scene) {
    let session = scene.session(2).await;
    let opened = scene.api().open_attempt(&session).await.unwrap();
    let alone = scene.session(2).await;
    pass_the_hour(&scene, &session);

    let refused = scene.api().post(&format!("/v1/sessions/{session}/attempts"), &json!({})).await.unwrap();
    assert_eq!((refused.status, refused.code()), (410, "SESSION_EXPIRED"), "{}", refused.body);
    let payload = scene.integrator.receiver.event(&session, "verification.session.expired").await.unwrap();
    assert_eq!(payload["data"], json!({}));
    assert_eq!(scene.api().session(&session).await.unwrap()["status"], "expired");
    let attempt = scene.api().settled(&opened.attempt_id).await.unwrap();
    assert_eq!(attempt["status"], "cancelled", "{attempt}");
    assert_eq!(scene.api().all("/v1/webhooks/events").await.unwrap().len(), 1);
    assert_eq!(scene.api().session(&alone).await.unwrap()["status"], "created", "others are not touched");
}

/// Behind the product's back: to it the session has simply become old.
fn pass_the_hour(scene: &Scene, session: &str) {
    let statement = format!("UPDATE sessions SET expires_at = created_at + 1 WHERE id = '{session}'");
    let status = match scene.server.mode() {
        Mode::Embedded => {
            let file = scene.server.data_dir().join("proofmill.sqlite");
            let script = "import sqlite3, sys\n\
                          with sqlite3.connect(sys.argv[1], timeout=30) as c: assert c.execute(sys.argv[2]).rowcount == 1";
            Command::new("python3").args(["-c", script]).arg(file).arg(&statement).status()
        }
        Mode::Cluster => {
            let url = scene.server.database_url().unwrap();
            Command::new("psql").args([url, "-v", "ON_ERROR_STOP=1", "-qc", &statement]).status()
        }
    };
    assert!(status.unwrap().success());
}
