//! The receiver is what every other test and the demonstration believe, so it has to notice what is wrong.

use proofmill_jose::{DecryptionKey, EncryptionKey, SigningSecret, WebhookHeaders};
use proofmill_tests::Receiver;
use serde_json::json;

const EVENT: &str = "evt_1";
const TYPE: &str = "verification.session.succeeded";

#[tokio::test]
async fn what_is_signed_and_encrypted_rightly_is_opened_and_anything_else_is_named() {
    let receiver = Receiver::start().await.unwrap();
    let secret = SigningSecret::parse(&format!("whsec_{}", "a".repeat(32))).unwrap();
    let other_secret = SigningSecret::parse(&format!("whsec_{}", "b".repeat(32))).unwrap();
    let key = DecryptionKey::generate("k", 2048).unwrap();
    let public = EncryptionKey::from_jwk("k", &key.public_jwk()).unwrap();
    let other_key = DecryptionKey::generate("k", 2048).unwrap();
    let other_public = EncryptionKey::from_jwk("k", &other_key.public_jwk()).unwrap();
    receiver.register("main", SigningSecret::parse(secret.expose()).unwrap(), key);

    let plaintext = json!({ "type": TYPE, "metadata": { "event_id": EVENT }, "data": {} });
    let good = public.encrypt(plaintext.to_string().as_bytes()).unwrap();
    let foreign = other_public.encrypt(plaintext.to_string().as_bytes()).unwrap();
    let renamed = json!({ "type": TYPE, "metadata": { "event_id": "evt_2" }, "data": {} });
    let renamed = public.encrypt(renamed.to_string().as_bytes()).unwrap();
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let signed = |secret: &SigningSecret, at: i64, body: &str| {
        WebhookHeaders::new(&[secret], "whd_1", EVENT, TYPE, at, body.as_bytes())
    };

    send(&receiver, "main", &signed(&secret, now, &good), &good, None).await;
    send(&receiver, "main", &signed(&other_secret, now, &good), &good, None).await;
    send(&receiver, "main", &signed(&secret, now - 3_600, &good), &good, None).await;
    send(&receiver, "main", &signed(&secret, now, &foreign), &good, None).await;
    send(&receiver, "main", &signed(&secret, now, &good), &good, Some("webhook-signature")).await;
    send(&receiver, "main", &signed(&secret, now, &foreign), &foreign, None).await;
    send(&receiver, "main", &signed(&secret, now, &renamed), &renamed, None).await;
    send(&receiver, "unknown", &signed(&secret, now, &good), &good, None).await;

    let received = receiver.received();
    assert_eq!(received[0].payload.as_ref().unwrap(), &plaintext);
    let wrong: Vec<&str> = received[1..].iter().map(|one| one.payload.as_ref().unwrap_err().as_str()).collect();
    let expected = [
        "X-Kayle-Signature",
        "X-Kayle-Signature",
        "X-Kayle-Signature",
        "webhook-signature",
        "JWE",
        "event_id",
        "no endpoint",
    ];
    assert_eq!(wrong.len(), expected.len());
    for (wrong, expected) in wrong.iter().zip(expected) {
        assert!(wrong.contains(expected), "{wrong} is not about {expected}");
    }
}

/// Sends as a sender would; one header may be spoiled.
async fn send(receiver: &Receiver, endpoint: &str, headers: &WebhookHeaders, body: &str, spoiled: Option<&str>) {
    let mut request = reqwest::Client::new().post(receiver.url(endpoint)).body(body.to_owned());
    for (name, value) in headers.iter() {
        request = request.header(name, if spoiled == Some(name) { "v1,AAAA" } else { value });
    }
    assert!(request.send().await.unwrap().status().is_success());
}
