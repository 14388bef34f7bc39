//! kill -9, a broker that crashes, a termination signal: exactly one verdict each, and nothing lost.

use std::collections::HashSet;

use proofmill_tests::{Mode, Options, environment};
use xtask::services::{Rabbit, ServiceFolder};

use crate::support::{Scene, in_both_modes, play_with};

in_both_modes!(
    a_worker_killed_in_mid_work_leaves_exactly_one_verdict_each,
    a_termination_signal_ends_the_process_cleanly_and_loses_nothing,
);

async fn a_worker_killed_in_mid_work_leaves_exactly_one_verdict_each(mut scene: Scene) {
    let mut submitted = Vec::new();
    for _ in 0..2 {
        submitted.extend(submit_some(&scene, 6).await);
        let first = submitted[submitted.len() - 6].1.clone();
        scene.api().settled(&first).await.unwrap();
        // Some have a verdict, some are being verified, and these two have been accepted this moment.
        submitted.extend(submit_some(&scene, 2).await);
        scene.server.kill_worker().unwrap();
        scene.server.start_worker().await.unwrap();
    }
    exactly_one_verdict_each(&scene, &submitted).await;
}

async fn a_termination_signal_ends_the_process_cleanly_and_loses_nothing(mut scene: Scene) {
    let submitted = submit_some(&scene, 6).await;
    let worker = scene.server.worker().unwrap();
    worker.terminate().unwrap();
    let status = worker.ended().await.unwrap();
    assert!(status.success(), "the worker ended with {status}");
    scene.server.start_worker().await.unwrap();
    exactly_one_verdict_each(&scene, &submitted).await;
}

/// On a broker of its own, which the other tests do not notice.
#[test]
fn a_broker_that_crashes_and_comes_back_loses_nothing_and_nobody_waits_for_it() {
    let Some(mut cluster) = environment::cluster() else { return };
    let folder = ServiceFolder::new().unwrap();
    let mut broker = Rabbit::start(&folder).unwrap();
    cluster.amqp_uri = broker.uri();
    let options = Options { cluster: Some(cluster), ..Options::default() };
    play_with(Mode::Cluster, options, |mut scene| async move {
        let mut submitted = submit_some(&scene, 3).await;
        broker.crash(&folder).unwrap();
        // The attempt's row is the outbox: submissions are accepted while the broker is away.
        submitted.extend(submit_some(&scene, 3).await);
        broker.serve(&folder).unwrap();
        exactly_one_verdict_each(&scene, &submitted).await;
        assert!(scene.server.lives());
        drop(scene);
    });
}

/// Sessions and their attempts, submitted and not waited for.
async fn submit_some(scene: &Scene, count: usize) -> Vec<(String, String)> {
    let genuine = scene.world.genuine();
    let mut submitted = Vec::new();
    for _ in 0..count {
        let session = scene.session(2).await;
        let opened = scene.submit(&session, &genuine).await;
        submitted.push((session, opened.attempt_id));
    }
    submitted
}

async fn exactly_one_verdict_each(scene: &Scene, submitted: &[(String, String)]) {
    for (session, attempt) in submitted {
        let attempt = scene.api().settled(attempt).await.unwrap();
        assert_eq!(attempt["status"], "succeeded", "{attempt}");
        scene.integrator.receiver.event(session, "verification.session.succeeded").await.unwrap();
        let state = scene.api().session(session).await.unwrap();
        assert_eq!(state["status"], "succeeded");
        assert_eq!(state["nfc_tries_used"], 0, "a crash is never the holder's failure");
    }
    let events = scene.api().all("/v1/webhooks/events").await.unwrap();
    assert_eq!(events.len(), submitted.len(), "one event for each session");
    for (session, _) in submitted {
        // A delivery may come twice after a crash, but always under the one event's id.
        let ids: HashSet<String> =
            scene.integrator.receiver.about(session).into_iter().map(|one| one.event_id).collect();
        assert_eq!(ids.len(), 1, "{session}");
    }
}
