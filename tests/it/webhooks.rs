//! Deliveries that fail at first, and endpoints of several.

use proofmill_tests::integrator::add_endpoint;
use proofmill_tests::wait;

use crate::support::{Scene, in_both_modes};

in_both_modes!(
    a_failed_delivery_is_tried_again_under_the_same_event_id,
    every_endpoint_gets_its_own_delivery_under_its_own_key,
);

async fn a_failed_delivery_is_tried_again_under_the_same_event_id(scene: Scene) {
    scene.integrator.receiver.answer_with(500);
    let session = scene.session(2).await;
    let genuine = scene.world.genuine();
    scene.attempt(&session, &genuine).await;
    let receiver = &scene.integrator.receiver;
    receiver.event(&session, "verification.session.succeeded").await.unwrap();
    receiver.answer_with(200);
    let tries = receiver
        .wait("the second try", |received| {
            let about: Vec<_> = received.iter().filter(|one| one.session_id() == Some(&session)).cloned().collect();
            about.iter().any(|one| one.answered == 200).then_some(about)
        })
        .await
        .unwrap();
    assert!(tries.len() >= 2);
    assert!(tries.iter().all(|one| one.event_id == tries[0].event_id && one.delivery_id == tries[0].delivery_id));
    assert!(tries.iter().all(|one| one.payload == tries[0].payload));

    let path = format!("/v1/webhooks/deliveries?event_id={}", tries[0].event_id);
    let api = scene.api().clone();
    let deliveries = wait::until("the delivery's record", || async {
        let deliveries = api.all(&path).await?;
        Ok(deliveries
            .iter()
            .all(|one| one["status"] == "delivered" || one["status"] == "succeeded")
            .then_some(deliveries))
    })
    .await
    .unwrap();
    assert_eq!(deliveries.len(), 1);
}

async fn every_endpoint_gets_its_own_delivery_under_its_own_key(scene: Scene) {
    let receiver = &scene.integrator.receiver;
    add_endpoint(scene.api(), receiver, "second").await.unwrap();
    let session = scene.session(2).await;
    let genuine = scene.world.genuine();
    scene.attempt(&session, &genuine).await;
    let about = receiver
        .wait("one webhook at each endpoint", |received| {
            let about: Vec<_> = received.iter().filter(|one| one.session_id() == Some(&session)).cloned().collect();
            (about.len() == 2).then_some(about)
        })
        .await
        .unwrap();
    let mut endpoints: Vec<&str> = about.iter().map(|one| one.endpoint.as_str()).collect();
    endpoints.sort_unstable();
    assert_eq!(endpoints, ["main", "second"]);
    assert_eq!(about[0].event_id, about[1].event_id);
    assert_ne!(about[0].delivery_id, about[1].delivery_id);
    assert_eq!(about[0].payload, about[1].payload);
}
