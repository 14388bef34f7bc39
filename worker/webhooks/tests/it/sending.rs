//! What is sent, when, and what becomes of it.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proofmill_contract::Clock as _;
use proofmill_contract::ids::signing_secret;
use proofmill_contract::limits::DELIVERY_DELAYS;
use proofmill_store::{DeliveryStatus, EndpointUpdate, MAX_SIGNING_SECRETS};
use proofmill_webhooks::{SenderConfig, Timeouts};
use serde_json::{Value, json};

use crate::world::{BUSY, ERROR, Endpoint, GONE, HANG, OK, Receiver, Request, World, until};

const HOUR: Duration = Duration::from_secs(3_600);

fn delivered(delivery: &proofmill_store::Delivery) -> bool {
    delivery.status == DeliveryStatus::Delivered
}

fn tag(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

/// Both signature headers as the secrets make them, newest first.
fn signatures(secrets: &[&str], request: &Request, timestamp: i64) -> (String, String) {
    let event = request.header("Webhook-Id");
    let mut kayle = format!("t={timestamp}");
    let mut standard = Vec::new();
    for secret in secrets {
        let signed = [format!("{timestamp}.").as_bytes(), &request.body].concat();
        kayle += &format!(",v1={}", hex::encode(tag(secret.as_bytes(), &signed)));
        let signed = [format!("{event}.{timestamp}.").as_bytes(), &request.body].concat();
        let key = STANDARD.decode(&secret["whsec_".len()..]).unwrap();
        standard.push(format!("v1,{}", STANDARD.encode(tag(&key, &signed))));
    }
    (kayle, standard.join(" "))
}

#[tokio::test]
async fn the_request_is_as_published() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let endpoint = world.endpoint(&receiver.url("/in/hook?tenant=7")).await;
    let session = world.event(&[&endpoint]).await;
    let running = world.start(SenderConfig::default(), Timeouts::default());
    let delivery = world.until_all(&endpoint, "delivered", delivered).await.remove(0);
    running.stop().await;

    let requests = receiver.requests("/in/hook?tenant=7");
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert_eq!(request.header("Content-Type"), "application/jose");
    assert_eq!(request.header("X-Kayle-Delivery-Id"), delivery.id.as_str());
    assert_eq!(request.header("X-Kayle-Event"), "verification.session.cancelled");
    assert_eq!(request.header("Webhook-Id"), delivery.event_id.as_str());
    let timestamp = world.clock.now().as_secs();
    assert_eq!(request.header("Webhook-Timestamp"), timestamp.to_string());
    let (kayle, standard) = signatures(&[&endpoint.secret], request, timestamp);
    assert_eq!(request.header("X-Kayle-Signature"), kayle);
    assert_eq!(request.header("Webhook-Signature"), standard);
    assert_eq!(request.header("Content-Length"), request.body.len().to_string());
    assert!(request.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("transfer-encoding")));

    let jwe = std::str::from_utf8(&request.body).unwrap();
    let parts: Vec<&str> = jwe.split('.').collect();
    assert_eq!(parts.len(), 5);
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    assert_eq!(header, json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": "key-2026" }));
    let plaintext: Value = serde_json::from_slice(&endpoint.key.decrypt(jwe).unwrap()).unwrap();
    assert_eq!(
        plaintext,
        json!({
            "type": "verification.session.cancelled",
            "metadata": {
                "contract_version": 2,
                "event_id": delivery.event_id,
                "verification_session_id": session,
            },
            "data": { "outcome": "not_verified", "reason": "cancelled", "nfc_tries_used": 0, "liveness_tries_used": 0 },
        })
    );
}

#[tokio::test]
async fn every_rotated_secret_signs_for_its_day_and_the_newest_comes_first() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let endpoint = world.endpoint(&receiver.url("/in")).await;
    let mut secrets = vec![endpoint.secret.clone()];
    let running = world.start(SenderConfig::default(), Timeouts::default());
    let sent = async |number: usize| {
        world.event(&[&endpoint]).await;
        // Recorded, not only received: the clock is about to move past its lease.
        world.until_all(&endpoint, "delivered", delivered).await;
        receiver.requests("/in").get(number).cloned().unwrap()
    };
    let rotate = async |secrets: &mut Vec<String>| {
        let secret = signing_secret(&mut rand::rng());
        let sealed = world.seal(&endpoint.id, &secret);
        let now = world.clock.now();
        assert!(world.store.rotate_signing_secret(&world.organisation, &endpoint.id, sealed, now).await.unwrap());
        secrets.insert(0, secret);
    };
    let check = |request: &Request, secrets: &[String]| {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let (kayle, standard) = signatures(&secrets, request, world.clock.now().as_secs());
        assert_eq!(request.header("X-Kayle-Signature"), kayle);
        assert_eq!(request.header("Webhook-Signature"), standard);
    };
    check(&sent(0).await, &secrets);
    rotate(&mut secrets).await;
    check(&sent(1).await, &secrets[..2]);
    // A second rotation takes nothing of the first one's day.
    world.clock.advance(HOUR);
    rotate(&mut secrets).await;
    check(&sent(2).await, &secrets[..3]);
    world.clock.advance(HOUR * 23);
    check(&sent(3).await, &secrets[..2]);
    world.clock.advance(HOUR);
    check(&sent(4).await, &secrets[..1]);
    // As many as may sign at once do, each for its day.
    for _ in 1..MAX_SIGNING_SECRETS {
        rotate(&mut secrets).await;
    }
    check(&sent(5).await, &secrets[..MAX_SIGNING_SECRETS]);
    running.stop().await;
}

#[tokio::test]
async fn eight_tries_on_schedule_under_one_event_id_and_then_no_more() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver.answer("/in", ERROR);
    let endpoint = world.endpoint(&receiver.url("/in")).await;
    world.event(&[&endpoint]).await;
    let running = world.start(SenderConfig::default(), Timeouts::default());
    for tries in 1..8 {
        let waiting = world
            .until_all(&endpoint, "a failed try", |d| d.status == DeliveryStatus::Pending && d.tries == tries)
            .await;
        assert_eq!((waiting[0].last_status_code, waiting[0].last_error.as_deref()), (Some(500), Some("refused")));
        let delay = waiting[0].next_attempt_at.unwrap().since(world.clock.now());
        let published = DELIVERY_DELAYS[usize::try_from(tries).unwrap()];
        assert!(delay >= published.mul_f64(0.799) && delay <= published.mul_f64(1.201), "{tries}: {delay:?}");
        assert_eq!(receiver.requests("/in").len(), usize::try_from(tries).unwrap());
        world.clock.advance(delay);
    }
    let ended = world.until_all(&endpoint, "the end", |d| d.status == DeliveryStatus::Failed).await.remove(0);
    running.stop().await;
    assert_eq!((ended.tries, ended.reason.as_deref()), (8, Some("schedule_exhausted")));
    assert_eq!((ended.last_status_code, ended.last_error.as_deref()), (Some(500), Some("refused")));
    assert!(ended.payload_available, "for its retention");

    let requests = receiver.requests("/in");
    assert_eq!(requests.len(), 8);
    let same = |name: &str| requests.iter().all(|request| request.header(name) == requests[0].header(name));
    assert!(same("Webhook-Id") && same("X-Kayle-Delivery-Id") && !same("Webhook-Timestamp"));
    assert!(requests.iter().all(|request| request.body == requests[0].body));
}

#[tokio::test]
async fn a_receiver_that_is_busy_says_when_and_one_that_is_gone_is_left_alone() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver.answer("/busy", BUSY);
    receiver.answer("/gone", GONE);
    let busy = world.endpoint(&receiver.url("/busy")).await;
    let gone = world.endpoint(&receiver.url("/gone")).await;
    world.event(&[&busy, &gone]).await;
    let running = world.start(SenderConfig::default(), Timeouts::default());
    let later = world.until_all(&busy, "put off", |d| d.last_status_code == Some(429)).await.remove(0);
    assert_eq!(later.next_attempt_at.unwrap().since(world.clock.now()), Duration::from_secs(1_000));
    let ended = world.until_all(&gone, "given up", |d| d.status == DeliveryStatus::Failed).await.remove(0);
    assert_eq!((ended.last_status_code, ended.reason.as_deref()), (Some(410), Some("endpoint_gone")));
    let endpoint = world.store.endpoint(&world.organisation, &gone.id).await.unwrap().unwrap();
    assert_eq!((endpoint.enabled, endpoint.disabled_at), (false, Some(world.clock.now())));
    running.stop().await;
}

/// The endpoint that hangs has forty waiting, and may hold four.
#[tokio::test]
async fn an_endpoint_that_hangs_holds_its_own_cap_and_nobody_elses() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver.answer("/hang", HANG);
    let hanging = world.endpoint(&receiver.url("/hang")).await;
    let well = world.endpoint(&receiver.url("/well")).await;
    for _ in 0..40 {
        world.event(&[&hanging, &well]).await;
    }
    let config = SenderConfig { in_flight: 32, reserved: 8, per_endpoint: 4, ..SenderConfig::default() };
    let running = world.start(config, Timeouts { connect: HOUR, total: HOUR });
    until("four that hang", async || (receiver.requests("/hang").len() == 4).then_some(())).await;
    world.until_all(&well, "the others delivered", delivered).await;
    assert_eq!(receiver.requests("/hang").len(), 4, "and no more meanwhile");
    let held = world.deliveries(&hanging).await;
    assert_eq!(held.iter().filter(|delivery| delivery.status == DeliveryStatus::Sending).count(), 4);
    assert_eq!(running.metrics.webhook_in_flight.get(), 4);
    running.abandon();
}

/// The room of the sender is sixty-four, of which an organisation may have eight; ten endpoints of it hang, with forty waiting.
#[tokio::test]
async fn many_endpoints_that_hang_hold_their_organisations_share_and_what_is_quick_goes_on() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver.answer("/hang", HANG);
    let mut hanging = Vec::new();
    for _ in 0..10 {
        hanging.push(world.endpoint(&receiver.url("/hang")).await);
    }
    let all: Vec<&Endpoint> = hanging.iter().collect();
    for _ in 0..4 {
        world.event(&all).await;
    }
    let config = SenderConfig { in_flight: 64, reserved: 16, per_organisation: 8, ..SenderConfig::default() };
    let running = world.start(config, Timeouts { connect: HOUR, total: HOUR });
    until("its share", async || (receiver.requests("/hang").len() == 8).then_some(())).await;
    let other = world.another_organisation().await;
    let well = other.endpoint(&receiver.url("/well")).await;
    for _ in 0..20 {
        other.event(&[&well]).await;
    }
    other.until_all(&well, "the other organisation's delivered", delivered).await;
    assert_eq!(receiver.requests("/hang").len(), 8, "and no more meanwhile");
    running.abandon();
}

#[tokio::test]
async fn an_open_breaker_holds_deliveries_back_costs_them_no_try_and_closes_when_the_endpoint_is_well() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver.answer("/sick", ERROR);
    let sick = world.endpoint(&receiver.url("/sick")).await;
    let well = world.endpoint(&receiver.url("/well")).await;
    for _ in 0..12 {
        world.event(&[&sick]).await;
    }
    // All at once, as to an endpoint that has been quick for a while.
    let config = SenderConfig { per_new_endpoint: 32, ..SenderConfig::default() };
    let running = world.start(config, Timeouts::default());
    world.until_all(&sick, "the first tries", |d| d.tries == 1 && d.status == DeliveryStatus::Pending).await;
    assert_eq!(world.store.backlog(world.clock.now()).await.unwrap().breakers_open, 1);
    // One that comes now is not even tried, while another endpoint's are.
    world.event(&[&sick]).await;
    passed_by(&world, &well).await;
    assert_eq!(receiver.requests("/sick").len(), 12);

    // Six seconds later every second try is due, and one of them shows that nothing has changed.
    world.clock.advance(Duration::from_millis(6_100));
    until("one try", async || (receiver.requests("/sick").len() == 13).then_some(())).await;
    passed_by(&world, &well).await;
    passed_by(&world, &well).await;
    assert_eq!(receiver.requests("/sick").len(), 13);
    world.until_all(&sick, "recorded", |d| d.status == DeliveryStatus::Pending).await;
    let tries: u32 = world.deliveries(&sick).await.iter().map(|delivery| delivery.tries).sum();
    assert_eq!(tries, 13, "holding back costs no try");

    receiver.answer("/sick", OK);
    world.clock.advance(Duration::from_secs(600));
    world.until_all(&sick, "all delivered", delivered).await;
    assert_eq!(receiver.requests("/sick").len(), 26);
    assert_eq!(world.store.backlog(world.clock.now()).await.unwrap().breakers_open, 0);
    running.stop().await;
}

/// An outage that is longer than the whole schedule: an open breaker has let few tries through, and none is used up by it.
#[tokio::test]
async fn what_an_open_breaker_held_back_goes_out_after_an_outage_longer_than_the_schedule() {
    let (world, sick, receiver) = broken().await;
    world.event(&[&sick]).await;
    world.clock.advance(HOUR * 34);
    assert_eq!(world.store.give_up_deliveries(world.clock.now(), 100).await.unwrap(), 0);
    receiver.answer("/sick", OK);
    let running = world.start(SenderConfig::default(), Timeouts::default());
    assert_eq!(world.until_all(&sick, "delivered", delivered).await.len(), 11);
    running.stop().await;
}

/// An outage that is longer than the payloads live ends what it holds back, but nothing that was never tried.
#[tokio::test]
async fn what_an_open_breaker_holds_back_ends_with_its_payloads_life_and_after_a_try() {
    let (world, sick, receiver) = broken().await;
    world.event(&[&sick]).await;
    let give_up = async |after| {
        let now = world.clock.now().plus(after);
        world.store.give_up_deliveries(now, 100).await.unwrap()
    };
    // The longest schedule and the endpoint's 72 h.
    assert_eq!(give_up(HOUR * 105).await, 0);
    assert_eq!(give_up(HOUR * 106).await, 10);
    world.clock.advance(HOUR * 106);
    let running = world.start(SenderConfig::default(), Timeouts::default());
    world.until_all(&sick, "a try of each", |d| d.tries == 1 && d.status != DeliveryStatus::Sending).await;
    running.stop().await;
    assert_eq!(receiver.requests("/sick").len(), 11);
    assert_eq!(give_up(HOUR).await, 1);
    let ended = world.deliveries(&sick).await;
    let why = |d: &proofmill_store::Delivery| (d.reason.clone().unwrap(), d.last_error.clone().unwrap());
    assert!(ended.iter().all(|d| why(d) == ("schedule_exhausted".into(), "breaker_open".into())));
    assert!(ended.iter().all(|d| d.status == DeliveryStatus::Failed && d.payload_available));
}

/// The owner has moved the endpoint while its former URL was about to say that it is gone.
#[tokio::test]
async fn a_late_410_of_a_former_url_leaves_the_endpoint_alone() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver.answer("/former", HANG);
    let endpoint = world.endpoint(&receiver.url("/former")).await;
    world.event(&[&endpoint]).await;
    let running = world.start(SenderConfig::default(), Timeouts { connect: HOUR, total: HOUR });
    until("it is under way", async || (receiver.requests("/former").len() == 1).then_some(())).await;
    let moved = EndpointUpdate { url: Some(receiver.url("/now")), ..Default::default() };
    let now = world.clock.now();
    world.store.update_endpoint(&world.organisation, &endpoint.id, moved, now).await.unwrap().unwrap();
    receiver.release("/former", GONE);
    world.until_all(&endpoint, "delivered there", delivered).await;
    running.stop().await;
    assert_eq!(receiver.requests("/now").len(), 1);
    assert!(world.store.endpoint(&world.organisation, &endpoint.id).await.unwrap().unwrap().enabled);
}

/// An endpoint whose breaker is open after ten tries of ten deliveries.
async fn broken() -> (World, Endpoint, Receiver) {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver.answer("/sick", ERROR);
    let sick = world.endpoint(&receiver.url("/sick")).await;
    for _ in 0..10 {
        world.event(&[&sick]).await;
    }
    let running = world.start(SenderConfig::default(), Timeouts::default());
    until("the breaker", async || {
        (world.store.backlog(world.clock.now()).await.unwrap().breakers_open == 1).then_some(())
    })
    .await;
    running.stop().await;
    (world, sick, receiver)
}

/// Sends something to an endpoint that is well and waits for it: the sender has looked at everything that was due since.
async fn passed_by(world: &World, well: &Endpoint) {
    world.event(&[well]).await;
    world.until_all(well, "delivered meanwhile", delivered).await;
}
