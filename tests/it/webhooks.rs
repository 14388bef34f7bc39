//! Deliveries that fail at first, and endpoints of several.

use proofmill_jose::{DecryptionKey, SigningSecret};
use proofmill_tests::integrator::{add_endpoint, key_body};
use proofmill_tests::wait;
use serde_json::json;

use crate::support::{Scene, in_both_modes};

in_both_modes!(
    a_failed_delivery_is_tried_again_under_the_same_event_id,
    every_endpoint_gets_its_own_delivery_under_its_own_key,
    after_a_rotation_a_receiver_with_either_secret_is_served,
    a_receiver_that_is_gone_is_left_alone_until_its_endpoint_is_enabled_and_the_event_replayed,
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

async fn after_a_rotation_a_receiver_with_either_secret_is_served(scene: Scene) {
    let (api, receiver) = (scene.api(), &scene.integrator.receiver);
    let endpoints = "/v1/webhooks/endpoints";
    let made = api.post(endpoints, &json!({ "url": receiver.url("rotated") })).await.unwrap().data().unwrap();
    let endpoint = format!("{endpoints}/{}", made["id"].as_str().unwrap());
    let key = DecryptionKey::generate("rotated-key", 2048).unwrap();
    let pem = key.to_pem();
    api.post(&format!("{endpoint}/keys"), &key_body(&key)).await.unwrap().data().unwrap();
    let rotated = api.post(&format!("{endpoint}/signing-secret/rotate"), &json!({})).await.unwrap().data().unwrap();
    assert!(rotated["previous_expires_at"].is_string());
    for secret in [&made["signing_secret"], &rotated["signing_secret"]] {
        let secret = SigningSecret::parse(secret.as_str().unwrap()).unwrap();
        receiver.register("rotated", secret, DecryptionKey::from_pem("rotated-key", &pem).unwrap());
        let body = json!({ "webhook_endpoint_id": made["id"] });
        let session = api.create_session(&body).await.unwrap()["id"].as_str().unwrap().to_owned();
        assert_eq!(api.post(&format!("/v1/sessions/{session}/cancel"), &json!({})).await.unwrap().status, 204);
        // Found only by a plaintext, which the receiver gives only if both signatures hold.
        receiver.event(&session, "verification.session.cancelled").await.unwrap();
    }
}

async fn a_receiver_that_is_gone_is_left_alone_until_its_endpoint_is_enabled_and_the_event_replayed(scene: Scene) {
    let (api, receiver) = (scene.api(), &scene.integrator.receiver);
    receiver.answer_with(410);
    let session = scene.session(2).await;
    assert_eq!(api.post(&format!("/v1/sessions/{session}/cancel"), &json!({})).await.unwrap().status, 204);
    let path = format!("/v1/webhooks/endpoints/{}", scene.integrator.endpoint);
    let disabled = wait::until("the endpoint to be disabled", || async {
        let endpoint = api.get(&path).await?.data()?;
        Ok((endpoint["enabled"] == false).then_some(endpoint))
    })
    .await
    .unwrap();
    assert!(disabled["disabled_at"].is_string());
    let delivery = api.all("/v1/webhooks/deliveries").await.unwrap().remove(0);
    assert_eq!((&delivery["status"], &delivery["reason"]), (&json!("failed"), &json!("endpoint_gone")));
    assert_eq!((&delivery["last_status_code"], &delivery["payload_available"]), (&json!(410), &json!(true)));

    receiver.answer_with(200);
    let retry = format!("/v1/webhooks/deliveries/{}/retry", delivery["id"].as_str().unwrap());
    assert_eq!(api.post(&retry, &json!({})).await.unwrap().code(), "CONFLICT");
    let enable = api.request(reqwest::Method::PATCH, &path).json(&json!({ "enabled": true }));
    api.send(enable).await.unwrap().data().unwrap();
    let replay = format!("/v1/webhooks/events/{}/replay", delivery["event_id"].as_str().unwrap());
    let replayed = api.post(&replay, &json!({})).await.unwrap();
    assert_eq!((replayed.status, &replayed.body["data"]["deliveries"]), (202, &json!(1)));
    let about = receiver
        .wait("the event again", |received| {
            let about: Vec<_> = received.iter().filter(|one| one.session_id() == Some(&session)).cloned().collect();
            (about.len() == 2).then_some(about)
        })
        .await
        .unwrap();
    assert_eq!((about[0].answered, about[1].answered), (410, 200));
    assert_eq!((&about[0].event_id, &about[0].delivery_id), (&about[1].event_id, &about[1].delivery_id));
}
