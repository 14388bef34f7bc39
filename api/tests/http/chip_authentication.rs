use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proofmill_contract::{AttemptId, Outcome, Part};
use proofmill_fixtures::{CaChip, CaKind, der, dg14};
use proofmill_store::{Lease, SettleResult};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

use crate::support::{Answer, Form, Tenant, World, text};

/// A chip of a kind, and its DG14.
fn chip(kind: CaKind, seed: u64) -> (CaChip, Vec<u8>) {
    let chip = CaChip::generate(kind, &mut ChaCha20Rng::seed_from_u64(seed));
    let dg14 = dg14(chip.offer().infos());
    (chip, dg14)
}

fn body(dg14: &[u8]) -> Value {
    json!({ "dg14": STANDARD.encode(dg14) })
}

/// An opened attempt.
struct Opened {
    world: World,
    tenant: Tenant,
    session: String,
    attempt: String,
    token: String,
}

impl Opened {
    async fn new() -> Self {
        let world = World::new().await;
        let tenant = world.tenant().await;
        let (session, handoff) = world.opened(&tenant).await;
        let (attempt, token) = (text(&handoff["attempt_id"]), text(&handoff["mobile_write_token"]));
        Self { world, tenant, session, attempt, token }
    }

    async fn by_token(&self, body: Value) -> Answer {
        self.world.post(&self.token, &format!("/v1/verify/attempts/{}/chip-authentication", self.attempt), body).await
    }

    async fn by_key(&self, body: Value) -> Answer {
        self.world.post(&self.tenant.key, &format!("/v1/attempts/{}/chip-authentication", self.attempt), body).await
    }

    async fn submit(&self, form: Form) -> Answer {
        self.world.submit(&self.tenant, &self.attempt, form).await
    }
}

fn octets(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_chip_of_every_kind_is_given_commands_that_it_takes() {
    for (seed, kind) in (1..).zip(CaKind::ALL) {
        let opened = Opened::new().await;
        let (chip, dg14) = chip(kind, seed);
        let answer = opened.by_token(body(&dg14)).await.data(StatusCode::OK);
        assert_eq!((&answer["v"], &answer["attempt_id"]), (&json!(1), &json!(opened.attempt)));
        let mut session = chip.session(&dg14);
        for command in answer["commands"].as_array().unwrap() {
            let response = session.command(&octets(command));
            assert!(response.ends_with(&[0x90, 0x00]), "{kind:?} {command}: {response:02x?}");
        }
        let response = session.protected(&octets(&answer["protected_command"]));
        // Under the right keys the chip reads out; otherwise it answers a bare status.
        assert!(response.len() > 20 && response.ends_with(&[0x90, 0x00]), "{kind:?}: {response:02x?}");
        let transcript = &answer["transcript"];
        assert_eq!(transcript["TermPubKey"], answer["terminal_public_key"]);
        assert_eq!((&transcript["terminal"], &transcript["SmRapdu"]), (&json!("server"), &Value::Null));
        let counter = octets(&transcript["SmSsc"]);
        assert!(matches!(counter.len(), 8 | 16) && counter.last() == Some(&2), "{counter:?}");
        let after = opened.world.get(&opened.tenant.key, &format!("/v1/sessions/{}", opened.session)).await;
        assert_eq!(after.data(StatusCode::OK)["status"], "in_progress", "its write token was used");
    }
}

#[tokio::test]
async fn the_same_dg14_is_answered_the_same_and_another_is_refused() {
    let opened = Opened::new().await;
    let (_, dg14) = chip(CaKind::P256Aes128, 1);
    let first = opened.by_token(body(&dg14)).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    assert_eq!(opened.by_token(body(&dg14)).await.text, first.text, "byte for byte");
    assert_eq!(opened.by_key(body(&dg14)).await.text, first.text, "whoever asks");
    let (_, other) = chip(CaKind::P256Aes128, 2);
    opened.by_token(body(&other)).await.error("CHIP_AUTHENTICATION_STARTED");
    opened.by_key(body(&other)).await.error("CHIP_AUTHENTICATION_STARTED");
    assert_eq!(opened.by_token(body(&dg14)).await.text, first.text);
    assert_eq!(opened.world.sealed_objects().await, 1);

    // Another attempt has a key of its own for the same chip.
    let (_, handoff) = opened.world.opened(&opened.tenant).await;
    let path = format!("/v1/attempts/{}/chip-authentication", text(&handoff["attempt_id"]));
    let second = opened.world.post(&opened.tenant.key, &path, body(&dg14)).await.data(StatusCode::OK);
    assert_ne!(second["terminal_public_key"], first.json["data"]["terminal_public_key"]);
}

#[tokio::test]
async fn only_the_public_half_ever_shows_and_it_all_goes_with_the_attempt() {
    let opened = Opened::new().await;
    let world = &opened.world;
    let (_, dg14) = chip(CaKind::Brainpool256Aes256, 1);
    let answer = opened.by_key(body(&dg14)).await;
    let id = AttemptId::parse(&opened.attempt).unwrap();
    let row = world.state.store.attempt(None, &id, world.now()).await.unwrap().unwrap().attempt;
    let sealed = row.terminal.unwrap();
    let terminal = world.state.vault.open_terminal(&id, &sealed).await.unwrap();
    assert_eq!(terminal.dg14.as_bytes(), dg14);
    assert_eq!(hex::encode(terminal.public_key.as_bytes()), answer.json["data"]["terminal_public_key"]);
    let private = terminal.private_key.as_bytes();
    assert!(private.len() >= 32 && private.iter().any(|octet| *octet != private[0]), "random");
    for form in [hex::encode(private), STANDARD.encode(private), STANDARD.encode(&dg14), hex::encode(&dg14[..40])] {
        assert!(!world.any_file_holds(&form) && !answer.text.contains(&form));
    }
    assert!(!world.any_file_holds_bytes(private) && !world.any_file_holds_bytes(&dg14[dg14.len() - 32..]));

    let transcript = json!({ "terminal": "server", "TermPubKey": "04", "SmRapdu": "9000", "SmSsc": "02" });
    let form = Form::genuine().part("dg14", &dg14).part("chip_authentication", transcript.to_string().as_bytes());
    opened.submit(form).await.data(StatusCode::ACCEPTED);
    opened.by_token(body(&dg14)).await.error("HANDOFF_TOKEN_CONSUMED");
    opened.by_key(body(&dg14)).await.error("EVIDENCE_ALREADY_SUBMITTED");
    assert_eq!(world.sealed_objects().await, 2, "the evidence and the terminal's key");

    // What a worker does once it has decided, and then destroys.
    let SettleResult::Settled { discarded, .. } = world.settle(&opened.attempt, Outcome::Accepted).await else {
        panic!("not settled")
    };
    assert!(discarded.len() == 2 && discarded.contains(&sealed.object));
    let row = world.state.store.attempt(None, &id, world.now()).await.unwrap().unwrap().attempt;
    assert_eq!(row.terminal, None);
    assert!(world.state.store.referenced_objects(&[sealed.object]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cancelled_session_takes_the_key_along() {
    let opened = Opened::new().await;
    let (_, dg14) = chip(CaKind::P256Aes128, 1);
    opened.by_token(body(&dg14)).await.data(StatusCode::OK);
    let path = format!("/v1/sessions/{}/cancel", opened.session);
    opened.world.post(&opened.tenant.key, &path, json!({})).await;
    assert_eq!(opened.world.sealed_objects().await, 0);
    opened.by_token(body(&dg14)).await.error("SESSION_TERMINAL");
    opened.by_key(body(&dg14)).await.error("SESSION_TERMINAL");
}

#[tokio::test]
async fn a_dg14_that_cannot_be_used_is_refused_by_name_and_uses_nothing_up() {
    let opened = Opened::new().await;
    let (_, genuine) = chip(CaKind::P256Aes128, 1);
    // The last bytes are the protocol's info, or the key's point, as DER sorts them: find the point.
    let point = {
        let (chip, _) = chip(CaKind::P256Aes128, 1);
        let infos = chip.offer().infos();
        let key = &infos[0];
        key[key.len() - 64..].to_vec()
    };
    let at = genuine.windows(64).position(|window| window == point).unwrap();
    let with_point = |point: &[u8]| {
        let mut dg14 = genuine.clone();
        dg14[at..at + 64].copy_from_slice(point);
        dg14
    };
    let mut off_the_curve = point.clone();
    off_the_curve[63] ^= 1;
    let active_only = dg14(vec![proofmill_fixtures::plain_ecdsa_sha256_info()]);
    // A group with a smooth order is no known one; minus one has order two in a known one.
    let (dh, dh_dg14) = chip(CaKind::DhAes128, 1);
    let element = der::unsigned(&dh_public(&dh));
    let place = dh_dg14.windows(element.len()).position(|window| window == element).unwrap();
    let mut small_order = dh_dg14.clone();
    let header = element.len() - 256;
    let minus_one = hex::decode(DH_P_MINUS_ONE).unwrap();
    small_order[place + header..place + element.len()].copy_from_slice(&minus_one);
    let cases = [
        (body(b""), "chip_authentication_info_malformed"),
        (body(b"no DG14"), "chip_authentication_info_malformed"),
        (body(&genuine[..genuine.len() - 1]), "chip_authentication_info_malformed"),
        (body(&active_only), "chip_authentication_unsupported"),
        (body(&with_point(&off_the_curve)), "chip_authentication_key_invalid"),
        (body(&with_point(&[0; 64])), "chip_authentication_key_invalid"),
        (body(&small_order), "chip_authentication_key_invalid"),
        (json!({ "dg14": "not base64!" }), "not standard base64"),
    ];
    for (body, why) in cases {
        let message = opened.by_token(body.clone()).await.error("EVIDENCE_PART_INVALID");
        assert!(message.contains("`dg14`") && message.contains(why), "{message}");
        assert_eq!(opened.by_key(body).await.error("EVIDENCE_PART_INVALID"), message);
    }
    let message = opened.by_token(body(&vec![0x6e; (64 << 10) + 1])).await.error("PAYLOAD_TOO_LARGE");
    assert!(message.contains("`dg14`") && message.contains("65536"), "{message}");
    let message = opened.by_token(json!({ "dg14": "", "nonce": 1 })).await.error("INVALID_REQUEST");
    assert!(message.contains("`nonce`"), "{message}");
    assert!(opened.by_token(json!({})).await.error("INVALID_REQUEST").contains("`dg14`"));
    assert_eq!(opened.world.sealed_objects().await, 0);
    opened.by_token(body(&genuine)).await.data(StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_token_another_organisation_and_a_late_caller_are_refused() {
    let opened = Opened::new().await;
    let (_, dg14) = chip(CaKind::P256Aes128, 1);
    let path = |id: &str| format!("/v1/verify/attempts/{id}/chip-authentication");
    let unknown = format!("va_{}", "0".repeat(64));
    let mut messages = Vec::new();
    for id in [opened.attempt.as_str(), unknown.as_str(), "va_1"] {
        for token in ["", "wrong", opened.tenant.key.as_str()] {
            messages.push(opened.world.post(token, &path(id), body(&dg14)).await.error("HANDOFF_TOKEN_INVALID"));
        }
    }
    messages.dedup();
    assert_eq!(messages.len(), 1);
    let stranger = opened.world.tenant().await;
    let own = format!("/v1/attempts/{}/chip-authentication", opened.attempt);
    opened.world.post(&stranger.key, &own, body(&dg14)).await.error("NOT_FOUND");
    let reader = opened.world.key(&opened.tenant.organisation, &["sessions:read"]).await;
    opened.world.post(&reader, &own, body(&dg14)).await.error("FORBIDDEN");
    opened.world.post("", &own, body(&dg14)).await.error("UNAUTHORIZED");
    opened.world.advance(Duration::from_secs(300));
    opened.by_token(body(&dg14)).await.error("HANDOFF_TOKEN_EXPIRED");
    opened.by_key(body(&dg14)).await.error("CONFLICT");
    opened.world.advance(Duration::from_secs(3_600));
    opened.by_token(body(&dg14)).await.error("SESSION_EXPIRED");
    assert_eq!(opened.world.sealed_objects().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_calls_that_race_all_get_the_answer_of_one() {
    let opened = Arc::new(Opened::new().await);
    let (_, dg14) = chip(CaKind::P256Aes128, 1);
    let racers: Vec<_> = (0..8)
        .map(|n| {
            let (opened, body) = (opened.clone(), body(&dg14));
            tokio::spawn(async move {
                if n % 2 == 0 { opened.by_token(body).await.text } else { opened.by_key(body).await.text }
            })
        })
        .collect();
    let mut answers = Vec::new();
    for racer in racers {
        answers.push(racer.await.unwrap());
    }
    assert!(answers[0].contains("protected_command"), "{}", answers[0]);
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(opened.world.sealed_objects().await, 1, "the losers' keys were destroyed");

    // And of two that bring different ones, one is refused.
    let opened = Arc::new(Opened::new().await);
    let racers: Vec<_> = (1..=4)
        .map(|seed| {
            let (opened, (_, dg14)) = (opened.clone(), chip(CaKind::P256Aes128, seed));
            tokio::spawn(async move { opened.by_token(body(&dg14)).await })
        })
        .collect();
    let mut accepted = 0;
    for racer in racers {
        let answer = racer.await.unwrap();
        match answer.status {
            StatusCode::OK => accepted += 1,
            _ => drop(answer.error("CHIP_AUTHENTICATION_STARTED")),
        }
    }
    assert_eq!((accepted, opened.world.sealed_objects().await), (1, 1));
}

#[tokio::test]
async fn transcripts_are_read_at_submission_and_refused_by_member() {
    let opened = Opened::new().await;
    let form = |transcript: Value| {
        Form::genuine().part("dg14", b"n").part("chip_authentication", transcript.to_string().as_bytes())
    };
    let server = json!({ "terminal": "server", "TermPubKey": "04", "SmRapdu": "9000", "SmSsc": "02" });
    let with = |name: &str, value: Value| {
        let mut changed = server.clone();
        changed[name] = value;
        changed
    };
    let cases = [
        (server.clone(), "has not begun"),
        (with("TermPri", json!("01")), "`TermPri`"),
        (with("SmRapdu", json!("zz")), "`SmRapdu`"),
        (with("SmRapdu", Value::Null), "SmRapdu"),
        (with("terminal", json!("reader")), "terminal"),
        (with("Cookie", json!("01")), "`Cookie`"),
        (json!({ "terminal": "integrator", "TermPubKey": "04", "SmRapdu": "9000", "SmSsc": "02" }), "`TermPri`"),
        (json!({ "terminal": "integrator", "PaceMapPubKey": "04" }), "`CaData`"),
        (json!([]), "JSON object"),
    ];
    for (transcript, why) in cases {
        let message = opened.submit(form(transcript.clone())).await.error("EVIDENCE_PART_INVALID");
        assert!(message.contains("`chip_authentication`") && message.contains(why), "{transcript}: {message}");
    }
    let message = opened.submit(Form::genuine().part("chip_authentication", b"P<UTO")).await;
    assert!(!message.error("EVIDENCE_PART_INVALID").contains("UTO"));
    assert_eq!(opened.world.sealed_objects().await, 0);

    let integrator =
        json!({ "terminal": "integrator", "TermPri": "01", "TermPubKey": "04", "SmRapdu": "9000", "SmSsc": "02" });
    let whole = form(integrator.clone()).part("card_security", b"file");
    opened.submit(whole.clone()).await.data(StatusCode::ACCEPTED);
    opened.submit(whole).await.data(StatusCode::ACCEPTED);
    opened.submit(form(integrator)).await.error("EVIDENCE_ALREADY_SUBMITTED");
    let id = AttemptId::parse(&opened.attempt).unwrap();
    let lease = opened.world.state.store.acquire_lease(&id, Duration::from_secs(30), opened.world.now()).await.unwrap();
    let Lease::Acquired(leased) = lease else { panic!("not queued") };
    let evidence = opened.world.state.vault.open(&id, &leased.sealed).await.unwrap();
    assert_eq!(evidence.get(Part::CardSecurity), Some(&b"file"[..]));
    assert!(evidence.get(Part::ChipAuthentication).is_some());
}

/// The element of a DH chip's DG14: the last 256 bytes of its key's info, for it has no identifier.
fn dh_public(chip: &CaChip) -> Vec<u8> {
    let infos = chip.offer().infos();
    infos[0][infos[0].len() - 256..].to_vec()
}

/// RFC 5114 section 2.3.
const DH_P_MINUS_ONE: &str = concat!(
    "87a8e61db4b6663cffbbd19c651959998ceef608660dd0f25d2ceed4435e3b00e00df8f1d61957d4faf7df4561b2aa30",
    "16c3d91134096faa3bf4296d830e9a7c209e0c6497517abd5a8a9d306bcf67ed91f9e6725b4758c022e0b1ef4275bf7b",
    "6c5bfc11d45f9088b941f54eb1e59bb8bc39a0bf12307f5c4fdb70c581b23f76b63acae1caa6b7902d52526735488a0e",
    "f13c6d9a51bfa4ab3ad8347796524d8ef6a167b5a41825d967e144e5140564251ccacb83e6b486f6b3ca3f7971506026",
    "c0b857f689962856ded4010abd0be621c3a3960a54e710c375f26375d7014103a4b54330c198af126116d2276e11715f",
    "693877fad7ef09cadb094ae91e1a1596"
);
