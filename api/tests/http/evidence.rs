use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use proofmill_contract::{AttemptId, FailureCode, Outcome, Part};
use proofmill_store::Lease;
use serde_json::{Value, json};

use crate::support::{Form, MRZ, World, request, text};

#[tokio::test]
async fn accepted_evidence_is_sealed_queued_and_opens_again_as_it_was_sent() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, handoff) = world.opened(&tenant).await;
    let attempt = text(&handoff["attempt_id"]);
    let path = format!("/v1/verify/attempts/{attempt}/evidence");
    let form = Form::genuine()
        .part("dg15", b"key")
        .part("active_authentication", b"answer")
        .part("selfie", b"\xff\xd8\xff second");
    let accepted = world.put(&path, &text(&handoff["mobile_write_token"]), form).await.data(StatusCode::ACCEPTED);
    assert_eq!(accepted, json!({ "attempt_id": attempt, "status": "in_progress", "phase": "queued" }));
    let after = world.get(&tenant.key, &format!("/v1/sessions/{session}")).await.data(StatusCode::OK);
    assert_eq!(after["status"], "in_progress");
    assert!(!world.any_file_holds(MRZ), "evidence lies on disk sealed only");

    let id = AttemptId::parse(&attempt).unwrap();
    let lease = world.state.store.acquire_lease(&id, Duration::from_secs(30), world.now()).await.unwrap();
    let Lease::Acquired(leased) = lease else { panic!("not queued") };
    assert_eq!(hex::encode(leased.attempt.challenge), text(&handoff["active_authentication_challenge"]));
    assert_eq!(leased.selected_field_keys, ["kayle_document_id"]);
    let evidence = world.state.vault.open(&id, &leased.sealed).await.unwrap();
    assert_eq!(evidence.get(Part::Dg1), Some(MRZ.as_bytes()));
    assert_eq!(evidence.get(Part::ActiveAuthentication), Some(&b"answer"[..]));
    assert_eq!(evidence.selfies().collect::<Vec<_>>(), [&b"\xff\xd8\xff selfie"[..], b"\xff\xd8\xff second"]);
}

#[tokio::test]
async fn the_same_bytes_again_are_welcome_other_bytes_are_not() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (_, handoff) = world.opened(&tenant).await;
    let attempt = text(&handoff["attempt_id"]);
    let path = format!("/v1/verify/attempts/{attempt}/evidence");
    let token = text(&handoff["mobile_write_token"]);
    world.put(&path, &token, Form::genuine()).await.data(StatusCode::ACCEPTED);
    // Also after the token's time: what was accepted stays accepted.
    world.advance(Duration::from_secs(400));
    let repeat = world.put(&path, &token, Form::genuine()).await.data(StatusCode::ACCEPTED);
    assert_eq!(repeat["phase"], "queued");
    let other = Form::genuine().part("selfie", b"\xff\xd8\xff another");
    world.put(&path, &token, other.clone()).await.error("EVIDENCE_ALREADY_SUBMITTED");
    world.submit(&tenant, &attempt, other).await.error("EVIDENCE_ALREADY_SUBMITTED");
    assert_eq!(world.sealed_objects().await, 1, "what was not accepted was destroyed again");

    world.reject(&attempt, FailureCode::LivenessFailed).await;
    let settled = world.put(&path, &token, Form::genuine()).await.data(StatusCode::ACCEPTED);
    assert_eq!((&settled["status"], &settled["phase"]), (&json!("failed"), &json!("settled")));
}

#[tokio::test]
async fn a_wrong_token_does_not_tell_whether_the_attempt_exists() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (_, handoff) = world.opened(&tenant).await;
    let attempt = text(&handoff["attempt_id"]);
    let unknown = format!("va_{}", "0".repeat(64));
    let mut messages = Vec::new();
    for id in [attempt.as_str(), unknown.as_str(), "va_1"] {
        let path = format!("/v1/verify/attempts/{id}/evidence");
        for token in ["", "wrong", tenant.key.as_str()] {
            messages.push(world.put(&path, token, Form::genuine()).await.error("HANDOFF_TOKEN_INVALID"));
        }
    }
    messages.dedup();
    assert_eq!(messages.len(), 1);
    world.submit(&tenant, &unknown, Form::genuine()).await.error("NOT_FOUND");
}

#[tokio::test]
async fn bad_evidence_is_refused_by_name_and_never_echoed() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, handoff) = world.opened(&tenant).await;
    let attempt = text(&handoff["attempt_id"]);
    let mrz = MRZ.as_bytes();
    let whole = || Form::default().part("dg1", mrz).part("dg2", mrz).part("sod", mrz).part("selfie", mrz);
    let limit =
        |name: &'static str, bytes: usize| (whole().part(name, &MRZ.repeat(bytes / MRZ.len() + 1).into_bytes()), name);
    let (selfie, dg14) = (limit("selfie", 4 << 20), limit("dg14", 64 << 10));
    let big_dg2 = Form::default().part("dg2", &MRZ.repeat((1 << 20) / MRZ.len() + 1).into_bytes());
    let keys = |keys: Value| json!({ "selected_field_keys": keys });
    let attested = |jws: Value| {
        whole().manifest(&json!({ "selected_field_keys": ["kayle_document_id"], "reader_attestation": jws }))
    };
    let six = (0..5).fold(whole(), |form, _| form.part("selfie", mrz)).consent();
    let cases: Vec<(Form, &str, &str)> = vec![
        (
            Form::default().part("dg2", mrz).part("sod", mrz).part("selfie", mrz).consent(),
            "EVIDENCE_PART_MISSING",
            "`dg1`",
        ),
        (
            Form::default().part("dg1", mrz).part("sod", mrz).part("selfie", mrz).consent(),
            "EVIDENCE_PART_MISSING",
            "`dg2`",
        ),
        (
            Form::default().part("dg1", mrz).part("dg2", mrz).part("selfie", mrz).consent(),
            "EVIDENCE_PART_MISSING",
            "`sod`",
        ),
        (
            Form::default().part("dg1", mrz).part("dg2", mrz).part("sod", mrz).consent(),
            "EVIDENCE_PART_MISSING",
            "`selfie`",
        ),
        (whole(), "EVIDENCE_PART_MISSING", "`manifest`"),
        (Form::default().part("selfie", mrz).consent(), "CHIP_EVIDENCE_REQUIRED", "chip evidence"),
        (Form::default().consent(), "EVIDENCE_PART_MISSING", "`sod`"),
        (whole().consent(), "EVIDENCE_PART_INVALID", "`selfie` is not a JPEG (frame 1 of 1)"),
        (whole().part("selfie", b"").consent(), "EVIDENCE_PART_INVALID", "`selfie` is empty"),
        (whole().part("selfie_2", mrz).consent(), "EVIDENCE_PART_INVALID", "`selfie_2` is not known"),
        (
            whole().part("reader_attestation", mrz).consent(),
            "EVIDENCE_PART_INVALID",
            "`reader_attestation` is not known",
        ),
        (whole().part("", mrz).consent(), "EVIDENCE_PART_INVALID", "is not known"),
        (whole().part("dg15", b"").consent(), "EVIDENCE_PART_INVALID", "`dg15`"),
        (whole().part("dg1", mrz).consent(), "EVIDENCE_PART_INVALID", "`dg1`"),
        (six, "EVIDENCE_PART_INVALID", "`selfie`"),
        (whole().part("chip_authentication", b"{}").consent(), "EVIDENCE_PART_INVALID", "`chip_authentication`"),
        (whole().part("dg3", mrz).consent(), "EVIDENCE_PART_INVALID", "`dg3`"),
        (whole().part("manifest", mrz), "EVIDENCE_PART_INVALID", "`manifest`"),
        (whole().manifest(&json!({ "consent": MRZ })), "EVIDENCE_PART_INVALID", "`consent`"),
        (whole().manifest(&keys(json!(MRZ))), "EVIDENCE_PART_INVALID", "`selected_field_keys`"),
        (attested(json!({ "jws": MRZ })), "EVIDENCE_PART_INVALID", "`reader_attestation`"),
        (attested(json!("")), "EVIDENCE_PART_INVALID", "`reader_attestation` is empty"),
        (
            attested(json!("A".repeat(17 << 10))),
            "PAYLOAD_TOO_LARGE",
            "`reader_attestation` is larger than its limit of 16384",
        ),
        (whole().consent().consent(), "EVIDENCE_PART_INVALID", "`manifest`"),
        (whole().manifest(&json!({})), "SHARE_SELECTION_REQUIRED", "selected_field_keys"),
        (whole().manifest(&keys(json!([]))), "SHARE_SELECTION_REQUIRED", "selected_field_keys"),
        (
            whole().manifest(&keys(json!(["document_type_code"]))),
            "SHARE_SELECTION_MISSING_REQUIRED",
            "kayle_document_id",
        ),
        (
            whole().manifest(&keys(json!(["kayle_document_id", "family_name"]))),
            "SHARE_SELECTION_INVALID_FIELD",
            "family_name",
        ),
        (whole().manifest(&keys(json!(["kayle_document_id", ""]))), "SHARE_SELECTION_INVALID_FIELD", ""),
        (whole().part("manifest", &vec![b' '; (64 << 10) + 1]), "PAYLOAD_TOO_LARGE", "`manifest` is larger"),
        (selfie.0, "PAYLOAD_TOO_LARGE", "`selfie` is larger than its limit of 4194304"),
        (dg14.0, "PAYLOAD_TOO_LARGE", "`dg14` is larger than its limit of 65536"),
        (big_dg2, "PAYLOAD_TOO_LARGE", "`dg2` is larger than its limit of 1048576"),
    ];
    for (form, code, names) in cases {
        let answer = world.submit(&tenant, &attempt, form).await;
        let message = answer.error(code);
        assert!(message.contains(names), "{message}");
        assert!(!answer.text.contains("ERIKSSON"), "{}", answer.text);
    }
    assert_eq!(world.sealed_objects().await, 0);
    assert!(!world.any_file_holds("ERIKSSON"));
    let status = world.get(&tenant.key, &format!("/v1/sessions/{session}")).await.data(StatusCode::OK);
    assert_eq!(status["status"], "created", "a refused submission changes nothing");
    world.submit(&tenant, &attempt, Form::genuine()).await.data(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_body_that_is_no_form_or_breaks_off_is_a_bad_request() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (_, handoff) = world.opened(&tenant).await;
    let path = format!("/v1/attempts/{}/evidence", text(&handoff["attempt_id"]));
    let put = |content_type: &'static str, body: Vec<u8>| {
        request(Method::PUT, &path, &tenant.key)
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .unwrap()
    };
    world.send(put("application/json", b"{}".to_vec())).await.error("UNSUPPORTED_MEDIA_TYPE");
    world.send(put("multipart/form-data", b"{}".to_vec())).await.error("INVALID_REQUEST");
    for body in [Vec::new(), b"garbage".to_vec(), Form::genuine().unfinished(), vec![0xff; 1 << 16]] {
        let answer = world.send(put(Form::CONTENT_TYPE, body)).await;
        answer.error("INVALID_REQUEST");
        assert!(!answer.text.contains("ERIKSSON"));
    }
    let junk = put(Form::CONTENT_TYPE, vec![b'x'; 25 << 20]);
    assert!(world.send(junk).await.error("PAYLOAD_TOO_LARGE").contains("`request`"));
    // Every part at its limit is the largest request that is taken.
    let selfies = (0..5).fold(Form::default(), |form, _| form.part("selfie", &jpeg(4 << 20)));
    let parts = ["dg14", "dg15", "sod", "dg1", "active_authentication", "card_security"];
    let full = parts.iter().fold(selfies, |form, name| form.part(name, &vec![1; 64 << 10]));
    let answer = world.send(put(Form::CONTENT_TYPE, full.part("dg2", &vec![1; 1 << 20]).consent().finish())).await;
    answer.data(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn an_ended_session_takes_no_evidence() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, handoff) = world.opened(&tenant).await;
    let attempt = text(&handoff["attempt_id"]);
    world.post(&tenant.key, &format!("/v1/sessions/{session}/cancel"), json!({})).await;
    world.submit(&tenant, &attempt, Form::genuine()).await.error("SESSION_TERMINAL");
    let (_, handoff) = world.opened(&tenant).await;
    world.advance(Duration::from_secs(3600));
    world.submit(&tenant, &text(&handoff["attempt_id"]), Form::genuine()).await.error("SESSION_EXPIRED");
    assert_eq!(world.sealed_objects().await, 0);
}

#[tokio::test]
async fn evidence_accepted_in_time_is_settled_before_the_session_expires() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let session = text(&world.session(&tenant, json!({})).await["id"]);
    world.advance(Duration::from_secs(3590));
    let path = format!("/v1/verify/session/{session}/handoff");
    let handoff = world.post("", &path, json!({})).await.data(StatusCode::CREATED);
    let attempt = text(&handoff["attempt_id"]);
    world.submit(&tenant, &attempt, Form::genuine()).await.data(StatusCode::ACCEPTED);
    world.advance(Duration::from_secs(600));
    let waiting = world.get(&tenant.key, &format!("/v1/sessions/{session}")).await.data(StatusCode::OK);
    assert_eq!(waiting["status"], "in_progress", "our backlog is not the user's failure");
    world.settle(&attempt, Outcome::Accepted).await;
    let after = world.get(&tenant.key, &format!("/v1/sessions/{session}")).await.data(StatusCode::OK);
    assert_eq!(after["status"], "succeeded");
}

#[tokio::test]
async fn submissions_are_refused_while_the_outbox_is_stuck() {
    let world = World::with(|config| config.max_outbox_age = Duration::from_secs(60)).await;
    let tenant = world.tenant().await;
    world.submitted(&tenant).await;
    world.advance(Duration::from_secs(61));
    let (_, handoff) = world.opened(&tenant).await;
    let attempt = text(&handoff["attempt_id"]);
    let refused = world.submit(&tenant, &attempt, Form::genuine()).await;
    refused.error("UNAVAILABLE");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    // The relay comes back.
    let due = world.state.store.outbox_due(10, Duration::from_secs(60), world.now()).await.unwrap();
    let ids: Vec<_> = due.into_iter().map(|item| item.attempt_id).collect();
    world.state.store.mark_published(&ids, world.now()).await.unwrap();
    world.advance(Duration::from_secs(1));
    world.submit(&tenant, &attempt, Form::genuine()).await.data(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_vault_that_is_down_is_our_fault_and_charges_nobody() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (_, handoff) = world.opened(&tenant).await;
    let attempt = text(&handoff["attempt_id"]);
    let vault = world.folder().join("vault");
    std::fs::remove_dir_all(&vault).unwrap();
    std::fs::write(&vault, "in the way").unwrap();
    let refused = world.submit(&tenant, &attempt, Form::genuine()).await;
    refused.error("UNAVAILABLE");
    assert!(!refused.text.contains("vault/"), "no path of ours reaches a caller: {}", refused.text);
    std::fs::remove_file(&vault).unwrap();
    std::fs::create_dir(&vault).unwrap();
    world.submit(&tenant, &attempt, Form::genuine()).await.data(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_caller_who_stops_sending_is_answered_and_holds_nothing() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (_, handoff) = world.opened(&tenant).await;
    let attempt = text(&handoff["attempt_id"]);
    let begun = futures::stream::once(async { Ok::<_, std::io::Error>(Form::genuine().unfinished()) });
    let body = Body::from_stream(futures::StreamExt::chain(begun, futures::stream::pending()));
    let request = request(Method::PUT, &format!("/v1/attempts/{attempt}/evidence"), &tenant.key)
        .header(header::CONTENT_TYPE, Form::CONTENT_TYPE)
        .body(body)
        .unwrap();
    let impatient = world.router_with(|config| config.request_timeout = Duration::from_millis(100));
    World::send_to(impatient, request).await.error("REQUEST_TIMEOUT");
    assert_eq!(world.sealed_objects().await, 0);
}

#[tokio::test]
async fn a_slow_upload_may_take_longer_than_a_request_may_be_silent() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (_, handoff) = world.opened(&tenant).await;
    let path = format!("/v1/attempts/{}/evidence", text(&handoff["attempt_id"]));
    let pieces: Vec<Vec<u8>> = Form::genuine().finish().chunks(64).map(<[u8]>::to_vec).collect();
    let (count, pause) = (pieces.len() as u32, Duration::from_millis(400));
    let slow = futures::StreamExt::then(futures::stream::iter(pieces), move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(piece)
    });
    let request = request(Method::PUT, &path, &tenant.key)
        .header(header::CONTENT_TYPE, Form::CONTENT_TYPE)
        .body(Body::from_stream(slow))
        .unwrap();
    let limit = Duration::from_secs(2);
    assert!(pause * count > limit, "{count} pieces");
    let router = world.router_with(|config| config.request_timeout = limit);
    World::send_to(router, request).await.data(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_request_that_says_it_is_too_large_is_refused_before_it_is_sent() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (_, handoff) = world.opened(&tenant).await;
    let path = format!("/v1/attempts/{}/evidence", text(&handoff["attempt_id"]));
    for (method, path, kind) in
        [(Method::PUT, path.as_str(), Form::CONTENT_TYPE), (Method::POST, "/v1/sessions", "application/json")]
    {
        let request = request(method, path, &tenant.key)
            .header(header::CONTENT_TYPE, kind)
            .body(Body::new(Announced(24 * 1024 * 1024 + 1)))
            .unwrap();
        world.send(request).await.error("PAYLOAD_TOO_LARGE");
    }
}

/// A body that tells its length and never comes.
struct Announced(u64);

impl axum::body::HttpBody for Announced {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn evidence_beyond_the_memory_budget_is_refused_for_now() {
    let world = World::with(|config| config.max_evidence_memory = 64 << 10).await;
    let tenant = world.tenant().await;
    let (_, handoff) = world.opened(&tenant).await;
    let attempt = text(&handoff["attempt_id"]);
    let large = world.submit(&tenant, &attempt, Form::genuine().part("selfie", &jpeg(128 << 10))).await;
    large.error("UNAVAILABLE");
    assert!(large.headers.contains_key("retry-after"));
    world.submit(&tenant, &attempt, Form::genuine()).await.data(StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_submissions_that_race_one_is_accepted_and_the_others_leave_nothing() {
    let world = std::sync::Arc::new(World::new().await);
    let tenant = std::sync::Arc::new(world.tenant().await);
    let (_, handoff) = world.opened(&tenant).await;
    let attempt = text(&handoff["attempt_id"]);
    let racers: Vec<_> = (0..8u8)
        .map(|n| {
            let (world, tenant, attempt) = (world.clone(), tenant.clone(), attempt.clone());
            tokio::spawn(async move { world.submit(&tenant, &attempt, Form::genuine().part("dg14", &[n])).await })
        })
        .collect();
    let mut accepted = 0;
    for racer in racers {
        let answer = racer.await.unwrap();
        match answer.status {
            StatusCode::ACCEPTED => accepted += 1,
            _ => drop(answer.error("EVIDENCE_ALREADY_SUBMITTED")),
        }
    }
    assert_eq!(accepted, 1);
    assert_eq!(world.sealed_objects().await, 1);
}

#[tokio::test]
async fn a_readers_statement_is_sealed_with_the_evidence_and_part_of_what_a_repeat_must_repeat() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (_, handoff) = world.opened(&tenant).await;
    let attempt = text(&handoff["attempt_id"]);
    let stated = |jws: Value| {
        let manifest = json!({ "selected_field_keys": ["kayle_document_id"], "reader_attestation": jws });
        Form::default()
            .part("dg1", MRZ.as_bytes())
            .part("dg2", b"portrait")
            .part("sod", b"signature")
            .part("selfie", b"\xff\xd8\xff selfie")
            .manifest(&manifest)
    };
    // Whether it is a statement at all is a verdict: here it is only kept from everybody.
    let jws = "eyJhbGciOiJFUzI1NiJ9.ZXZlcnktaGFzaC1uYW1lcy1hLXBlcnNvbg.AAAA";
    world.submit(&tenant, &attempt, stated(json!(jws))).await.data(StatusCode::ACCEPTED);
    assert!(!world.any_file_holds("ZXZlcnktaGFzaC1uYW1lcy1hLXBlcnNvbg"), "its hashes identify the holder");
    world.submit(&tenant, &attempt, stated(json!(jws))).await.data(StatusCode::ACCEPTED);
    world.submit(&tenant, &attempt, stated(json!("other"))).await.error("EVIDENCE_ALREADY_SUBMITTED");
    world.submit(&tenant, &attempt, stated(Value::Null)).await.error("EVIDENCE_ALREADY_SUBMITTED");

    let id = AttemptId::parse(&attempt).unwrap();
    let lease = world.state.store.acquire_lease(&id, Duration::from_secs(30), world.now()).await.unwrap();
    let Lease::Acquired(leased) = lease else { panic!("not queued") };
    let evidence = world.state.vault.open(&id, &leased.sealed).await.unwrap();
    assert_eq!(evidence.reader_attestation(), Some(jws.as_bytes()));
}

#[tokio::test]
async fn selfies_alone_are_taken_once_chip_evidence_is_kept_and_a_repeat_of_them_for_ever() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, attempt) = world.submitted(&tenant).await;
    let selfies = || Form::default().part("selfie", b"\xff\xd8\xff again").consent();
    world.reject_and_keep(&session, &attempt).await;
    let path = format!("/v1/verify/session/{session}/handoff");
    let handoff = world.post("", &path, json!({})).await.data(StatusCode::CREATED);
    assert_eq!(handoff["chip_evidence"], "already_passed");
    let attempt = text(&handoff["attempt_id"]);
    // Part of the chip's evidence is neither the one nor the other.
    let partial = selfies().part("dg1", MRZ.as_bytes());
    assert!(world.submit(&tenant, &attempt, partial).await.error("EVIDENCE_PART_MISSING").contains("`sod`"));
    world.submit(&tenant, &attempt, selfies()).await.data(StatusCode::ACCEPTED);
    world.submit(&tenant, &attempt, selfies()).await.data(StatusCode::ACCEPTED);
    world.settle(&attempt, Outcome::Accepted).await;
    let repeat = world.submit(&tenant, &attempt, selfies()).await.data(StatusCode::ACCEPTED);
    assert_eq!(repeat["status"], "succeeded", "although nothing is kept any more");
    let other = selfies().part("selfie", b"\xff\xd8\xff more");
    world.submit(&tenant, &attempt, other).await.error("EVIDENCE_ALREADY_SUBMITTED");
}

/// As long as that, and beginning as a JPEG does.
fn jpeg(bytes: usize) -> Vec<u8> {
    let mut jpeg = vec![1; bytes];
    jpeg[..3].copy_from_slice(b"\xff\xd8\xff");
    jpeg
}
