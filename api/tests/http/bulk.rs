use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt as _, StreamExt as _};
use proofmill_contract::{AttemptId, FailureCode, Lane};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{MRZ, Tenant, World, request, text};

const OPEN: &str = "/v1/attempts/open";
const BATCH: &str = "/v1/attempts/batch";

#[tokio::test]
async fn many_attempts_open_at_once_and_what_cannot_be_opened_says_why() {
    let world = World::new().await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(text(&world.session(&tenant, json!({})).await["id"]));
    }
    let ended = text(&world.session(&tenant, json!({})).await["id"]);
    world.post(&tenant.key, &format!("/v1/sessions/{ended}/cancel"), json!({})).await;
    let (verifying, _) = world.submitted(&tenant).await;
    let foreign = text(&world.session(&other, json!({})).await["id"]);
    // The last one is open already.
    let before = world
        .post("", &format!("/v1/verify/session/{}/handoff", sessions[2]), json!({}))
        .await
        .data(StatusCode::CREATED);
    let unknown = format!("vs_{}", "0".repeat(64));
    let ids =
        [&sessions[0], &ended, &sessions[1], &foreign, &unknown, "nonsense", &sessions[2], &verifying, &sessions[0]];
    let items = world.post(&tenant.key, OPEN, json!({ "session_ids": ids })).await.data(StatusCode::OK);
    let codes: Vec<&Value> = items.as_array().unwrap().iter().map(|item| &item["error"]["code"]).collect();
    let no = Value::Null;
    assert_eq!(
        codes,
        [
            &no,
            &json!("SESSION_TERMINAL"),
            &no,
            &json!("SESSION_NOT_FOUND"),
            &json!("SESSION_NOT_FOUND"),
            &json!("INVALID_SESSION_ID"),
            &no,
            &json!("SESSION_IN_PROGRESS"),
            &no
        ]
    );
    let named: Vec<&str> = items.as_array().unwrap().iter().map(|item| item["session_id"].as_str().unwrap()).collect();
    assert_eq!(named, ids);
    assert_eq!(items[0], items[8], "a session that is named twice has one attempt");
    let mut known = items[6].clone();
    known.as_object_mut().unwrap().remove("error");
    assert_eq!(known, before, "an open attempt is given back as it is");
    assert_eq!(
        world.get(&other.key, &format!("/v1/sessions/{foreign}/attempts")).await.data(StatusCode::OK),
        json!([])
    );

    // What was opened takes evidence.
    let attempt = text(&items[2]["attempt_id"]);
    world.submit(&tenant, &attempt, crate::support::Form::genuine()).await.data(StatusCode::ACCEPTED);
    for wrong in [json!({}), json!({ "session_ids": [] }), json!({ "session_ids": vec!["x"; 1_001] })] {
        assert!(world.post(&tenant.key, OPEN, wrong).await.error("INVALID_REQUEST").contains("`session_ids`"));
    }
    let reader = world.key(&tenant.organisation, &["sessions:read"]).await;
    world.post(&reader, OPEN, json!({ "session_ids": [unknown] })).await.error("FORBIDDEN");
}

#[tokio::test]
async fn a_thousand_attempts_open_in_one_request_and_its_repetition_opens_none() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let mut ids = Vec::new();
    for _ in 0..1_000 {
        ids.push(text(&world.session(&tenant, json!({})).await["id"]));
    }
    let body = json!({ "session_ids": ids });
    let first = world.post_once(&tenant.key, OPEN, "k", body.clone()).await;
    let items = first.json["data"].as_array().unwrap();
    assert!(items.len() == 1_000 && items.iter().all(|item| item["error"].is_null()));
    let mut attempts: Vec<&str> = items.iter().map(|item| item["attempt_id"].as_str().unwrap()).collect();
    attempts.sort_unstable();
    attempts.dedup();
    assert_eq!(attempts.len(), 1_000);
    assert!(!world.any_file_holds(items[0]["mobile_write_token"].as_str().unwrap()));
    world.advance(Duration::from_secs(301));
    let again = world.post_once(&tenant.key, OPEN, "k", body.clone()).await;
    assert_eq!((again.header("idempotency-replayed"), &again.json), ("true", &first.json));
    let fresh = world.post(&tenant.key, OPEN, body).await.data(StatusCode::OK);
    assert_ne!(fresh[0]["attempt_id"], items[0]["attempt_id"], "the first handoffs are over");
}

#[tokio::test]
async fn a_broken_line_in_the_middle_costs_itself_alone() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let attempts = opened(&world, &tenant, 9).await;
    let mut lines: Vec<String> = attempts.iter().map(|attempt| line(attempt).to_string()).collect();
    lines[4] = format!("{{\"attempt_id\":\"{}\",\"idempotency_key\":\"five\",\"dg1\":\"{}", attempts[4], MRZ);
    let answers = bulk(&world, &tenant, &lines.join("\n")).await;
    assert_eq!(answers.len(), 9);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer["line"], index + 1);
        assert_eq!(answer["attempt_id"], attempts[index].as_str(), "in order, the broken one by its name");
        if index == 4 {
            assert_eq!((&answer["status"], &answer["error"]["code"]), (&json!(400), &json!("INVALID_REQUEST")));
            assert!(answer["data"].is_null() && answer["idempotency_key"] == "five");
            assert!(answer["error"]["request_id"].as_str().unwrap().starts_with("req_"));
            assert!(!answer.to_string().contains("ERIKSSON"));
        } else {
            assert_eq!((&answer["status"], &answer["error"]), (&json!(202), &Value::Null));
            assert_eq!(answer["data"]["phase"], "queued");
            assert_eq!(answer["idempotency_replayed"], false);
        }
    }
    let id = AttemptId::parse(&attempts[0]).unwrap();
    let found = world.state.store.attempt(None, &id, world.now()).await.unwrap().unwrap();
    assert_eq!(found.attempt.lane, Lane::Bulk);
    assert_eq!(answers[0]["session_id"], found.session.id.as_str());
    assert_eq!(world.sealed_objects().await, 8);
    assert!(!world.any_file_holds("ERIKSSON"));
}

#[tokio::test]
async fn a_line_can_make_its_session_for_a_document_without_active_authentication() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let session = json!({ "contract_version": 1, "redirect_url": "https://example.com/done" });
    let with = |name: &str, value: Value| {
        let mut line = fresh_line(json!({}));
        line[name] = value;
        line
    };
    let octets = json!(STANDARD.encode(b"octets"));
    let integrators_terminal =
        json!({ "terminal": "integrator", "TermPri": "01", "TermPubKey": "02", "SmRapdu": "03", "SmSsc": "04" });
    let cases: Vec<(Value, &str, &str)> = vec![
        (with("dg15", octets.clone()), "EVIDENCE_PART_INVALID", "`dg15`"),
        (with("active_authentication", octets.clone()), "EVIDENCE_PART_INVALID", "`active_authentication`"),
        (with("reader_attestation", json!("a.b.c")), "EVIDENCE_PART_INVALID", "`reader_attestation`"),
        (with("challenge", json!("0102030405060708")), "INVALID_REQUEST", "`challenge`"),
        (with("attempt_id", json!(format!("va_{}", "0".repeat(64)))), "INVALID_REQUEST", "`attempt_id`"),
        (with("session", json!({ "shoe": 1 })), "INVALID_REQUEST", "`shoe`"),
        (
            with("session", json!({ "contract_version": "1" })),
            "INVALID_REQUEST",
            "field `session.contract_version`: expected a whole number",
        ),
        (with("session", json!("x")), "INVALID_REQUEST", "field `session`: expected a JSON object"),
        (with("foo", json!(1)), "INVALID_REQUEST", "unknown field `foo`"),
        (with("selfie", json!("x")), "INVALID_REQUEST", "field `selfie`: expected an array"),
        (with("selected_field_keys", Value::Null), "SHARE_SELECTION_REQUIRED", "selected_field_keys"),
        (with("session", json!({ "redirect_url": "http://x" })), "INVALID_REDIRECT_URL", "redirect_url"),
        (
            with("session", json!({ "webhook_endpoint_id": format!("whe_{}", "0".repeat(32)) })),
            "WEBHOOK_ENDPOINT_UNAVAILABLE",
            "whe_",
        ),
        (with("session", Value::Null), "INVALID_REQUEST", "`attempt_id`"),
        (with("selected_field_keys", json!([])), "SHARE_SELECTION_REQUIRED", "selected_field_keys"),
        (with("selfie", json!([])), "EVIDENCE_PART_MISSING", "`selfie`"),
        (with("idempotency_key", json!("")), "INVALID_REQUEST", "`idempotency_key`"),
    ];
    let text_of_cases: Vec<String> = cases.iter().map(|(line, ..)| line.to_string()).collect();
    for (answer, (_, code, names)) in bulk(&world, &tenant, &text_of_cases.join("\n")).await.iter().zip(&cases) {
        assert_eq!(answer["error"]["code"], *code, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(names), "{answer}");
    }
    assert_eq!(
        world.get(&tenant.key, "/v1/sessions").await.data(StatusCode::OK),
        json!([]),
        "a refused line makes nothing"
    );
    assert_eq!(world.sealed_objects().await, 0);

    let mut second = fresh_line(json!({}));
    second["chip_authentication"] = integrators_terminal;
    let both = format!("{}\n{second}", fresh_line(session));
    let answers = bulk(&world, &tenant, &both).await;
    for answer in &answers {
        assert_eq!(answer["status"], 202, "{answer}");
        let session = world.get(&tenant.key, &format!("/v1/sessions/{}", text(&answer["session_id"]))).await;
        let session = session.data(StatusCode::OK);
        assert_eq!(session["status"], "in_progress");
        let attempts = world.get(&tenant.key, &format!("/v1/sessions/{}/attempts", text(&session["id"]))).await;
        assert_eq!(attempts.data(StatusCode::OK)[0]["id"], answer["attempt_id"]);
        let token = text(&answer["data"]["session"]["cancel_token"]);
        assert!(!world.any_file_holds(&token));
        let path = format!("/v1/verify/session/{}/cancel", text(&session["id"]));
        world.post("", &path, json!({ "cancel_token": token })).await;
    }
    assert_eq!(answers[0]["data"]["session"]["contract_version"], 1);
}

#[tokio::test]
async fn a_repeated_upload_gets_the_same_answers_and_changes_nothing() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let attempts = opened(&world, &tenant, 3).await;
    let mut lines: Vec<Value> = attempts.iter().map(|attempt| line(attempt)).collect();
    lines.extend((0..3).map(|_| fresh_line(json!({}))));
    for (index, line) in lines.iter_mut().enumerate() {
        line["idempotency_key"] = json!(format!("holder-{index}"));
    }
    let upload = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let first = bulk(&world, &tenant, &upload).await;
    let objects = world.sealed_objects().await;
    world.reject(first[0]["attempt_id"].as_str().unwrap(), FailureCode::LivenessFailed).await;
    let mut again = bulk(&world, &tenant, &upload).await;
    for answer in &mut again {
        assert_eq!(answer["idempotency_replayed"], true, "{answer}");
        answer["idempotency_replayed"] = json!(false);
    }
    assert_eq!(first, again);
    assert_eq!(world.sealed_objects().await, objects);
    assert_eq!(world.get(&tenant.key, "/v1/sessions").await.data(StatusCode::OK).as_array().unwrap().len(), 6);

    // Other content under a key, in either kind of line.
    for (index, name) in [(0, "dg2"), (3, "dg1")] {
        let mut changed = lines[index].clone();
        changed[name] = json!(STANDARD.encode(b"other"));
        assert_eq!(bulk(&world, &tenant, &changed.to_string()).await[0]["error"]["code"], "IDEMPOTENCY_KEY_REUSED");
    }
    // A key in a line and one in a header are apart, and so are organisations.
    let other = world.tenant().await;
    let theirs = bulk(&world, &other, &lines[3].to_string()).await;
    assert_eq!((&theirs[0]["status"], &theirs[0]["idempotency_replayed"]), (&json!(202), &json!(false)));
    world.post_once(&tenant.key, "/v1/sessions", "holder-3", json!({})).await.data(StatusCode::CREATED);

    // A refused line may come again under its key.
    let mut refused = fresh_line(json!({ "webhook_endpoint_id": format!("whe_{}", "0".repeat(32)) }));
    refused["idempotency_key"] = json!("again");
    assert_eq!(bulk(&world, &tenant, &refused.to_string()).await[0]["status"], 400);
    let mut mended = fresh_line(json!({}));
    mended["idempotency_key"] = json!("again");
    assert_eq!(bulk(&world, &tenant, &mended.to_string()).await[0]["status"], 202);
}

#[tokio::test]
async fn the_same_line_twice_in_one_upload_is_done_once() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let mut line = fresh_line(json!({}));
    line["idempotency_key"] = json!("k");
    let answers = bulk(&world, &tenant, &format!("{line}\n{line}\n{line}")).await;
    let replayed = answers.iter().filter(|answer| answer["idempotency_replayed"] == true).count();
    assert_eq!(replayed, 2);
    assert!(answers.iter().all(|answer| answer["attempt_id"] == answers[0]["attempt_id"]));
    assert_eq!(world.sealed_objects().await, 1);
}

#[tokio::test]
async fn a_header_gives_keys_to_lines_that_have_none() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let body = format!("{}\n{}", fresh_line(json!({})), fresh_line(json!({})));
    let send = || async {
        let mut request = ndjson(&tenant, Body::from(body.clone()));
        request.headers_mut().insert("idempotency-key", "upload-1".parse().unwrap());
        answers_of(&world.send(request).await.text)
    };
    let (first, second) = (send().await, send().await);
    assert_ne!(first[0]["attempt_id"], first[1]["attempt_id"]);
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first["data"], second["data"]);
        assert_eq!(second["idempotency_replayed"], true);
    }
}

#[tokio::test]
async fn limits_are_told_in_place() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let attempt = opened(&world, &tenant, 1).await.remove(0);
    let huge = format!("{{\"id\":\"huge\",\"dg2\":\"{}\"}}", "A".repeat(34 << 20));
    let large = json!({ "id": "large", "attempt_id": attempt, "dg14": "A".repeat(100_000) });
    let upload = format!("\n{huge}\r\n   \n{large}\n{}\n", line(&attempt));
    let answers = bulk(&world, &tenant, &upload).await;
    let seen: Vec<(u64, &str, &str)> = answers
        .iter()
        .map(|answer| {
            let name = answer["id"].as_str().unwrap_or_default();
            (answer["line"].as_u64().unwrap(), name, answer["error"]["code"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(seen, [(2, "huge", "PAYLOAD_TOO_LARGE"), (4, "large", "PAYLOAD_TOO_LARGE"), (5, "", "")]);

    let answers = bulk(&world, &tenant, &"{}\n".repeat(1_200)).await;
    assert_eq!(answers.len(), 1_001, "the line beyond the limit is the last that is answered");
    assert!(answers[..1_000].iter().all(|answer| answer["error"]["code"] == "INVALID_REQUEST"));
    assert_eq!(
        (&answers[1_000]["line"], &answers[1_000]["error"]["code"]),
        (&json!(1_001), &json!("PAYLOAD_TOO_LARGE"))
    );

    for kind in ["application/json", ""] {
        let request = request(Method::POST, BATCH, &tenant.key).header(header::CONTENT_TYPE, kind);
        world.send(request.body(Body::from("{}")).unwrap()).await.error("UNSUPPORTED_MEDIA_TYPE");
    }
    assert_eq!(bulk(&world, &tenant, "").await, Vec::<Value>::new());
    let other = world.tenant().await;
    let foreign = bulk(&world, &other, &line(&attempt).to_string()).await;
    assert_eq!(foreign[0]["error"]["code"], "NOT_FOUND");
}

#[tokio::test]
async fn answers_come_while_the_upload_goes_on_and_it_is_not_cut_by_the_request_timeout() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let impatient = world.router_with(|config| config.request_timeout = Duration::from_secs(2));
    let attempts = opened(&world, &tenant, 4).await;
    let (mut upload, body) = futures::channel::mpsc::channel::<Result<String, std::io::Error>>(1);
    let response = impatient.oneshot(ndjson(&tenant, Body::from_stream(body))).await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()[header::CONTENT_TYPE]),
        (StatusCode::OK, &header::HeaderValue::from_static("application/x-ndjson"))
    );
    let mut answers = response.into_body().into_data_stream();
    let started = std::time::Instant::now();
    for attempt in &attempts {
        upload.send(Ok(format!("{}\n", line(attempt)))).await.unwrap();
        let answer: Value = serde_json::from_slice(&answers.next().await.unwrap().unwrap()).unwrap();
        assert_eq!((answer["attempt_id"].as_str(), &answer["status"]), (Some(attempt.as_str()), &json!(202)));
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert!(started.elapsed() > Duration::from_secs(2));
    // Then nothing comes for too long.
    let last: Value = serde_json::from_slice(&answers.next().await.unwrap().unwrap()).unwrap();
    assert_eq!((&last["line"], &last["error"]["code"]), (&json!(5), &json!("REQUEST_TIMEOUT")));
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn what_was_accepted_before_the_caller_hung_up_stays_accepted() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let attempts = opened(&world, &tenant, 2).await;
    let (mut upload, body) = futures::channel::mpsc::channel::<Result<String, std::io::Error>>(1);
    let response = world.router_with(|_| {}).oneshot(ndjson(&tenant, Body::from_stream(body))).await.unwrap();
    let mut answers = response.into_body().into_data_stream();
    upload.send(Ok(format!("{}\n", line(&attempts[0])))).await.unwrap();
    answers.next().await.unwrap().unwrap();
    let half = line(&attempts[1]).to_string();
    upload.send(Ok(half[..half.len() / 2].to_owned())).await.unwrap();
    upload.send(Err(std::io::Error::other("connection reset"))).await.unwrap();
    assert!(answers.next().await.is_none(), "a line that broke off never came");
    for (attempt, phase) in attempts.iter().zip(["queued", "awaiting_evidence"]) {
        let state = world.get(&tenant.key, &format!("/v1/attempts/{attempt}")).await.data(StatusCode::OK);
        assert_eq!(state["phase"], phase);
    }
    let whole = format!("{}\n{}", line(&attempts[0]), line(&attempts[1]));
    let again = bulk(&world, &tenant, &whole).await;
    assert!(again.iter().all(|answer| answer["status"] == 202), "{again:?}");
}

#[tokio::test]
async fn lines_wait_for_memory_and_for_the_quota_instead_of_failing() {
    let world = World::with(|config| config.max_evidence_memory = 1 << 20).await;
    let tenant = world.tenant().await;
    let attempts = opened(&world, &tenant, 12).await;
    let upload: Vec<String> = attempts
        .iter()
        .map(|attempt| {
            let mut line = line(attempt);
            line["dg2"] = json!(STANDARD.encode(vec![7; 300 << 10]));
            line.to_string()
        })
        .collect();
    let answers = bulk(&world, &tenant, &upload.join("\n")).await;
    assert!(answers.len() == 12 && answers.iter().all(|answer| answer["status"] == 202), "{answers:?}");
}

async fn opened(world: &World, tenant: &Tenant, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(text(&world.session(tenant, json!({})).await["id"]));
    }
    let items = world.post(&tenant.key, OPEN, json!({ "session_ids": ids })).await.data(StatusCode::OK);
    items.as_array().unwrap().iter().map(|item| text(&item["attempt_id"])).collect()
}

fn evidence() -> Value {
    json!({
        "selected_field_keys": ["kayle_document_id"],
        "sod": STANDARD.encode(b"signature"),
        "dg1": STANDARD.encode(MRZ),
        "dg2": STANDARD.encode(b"portrait"),
        "selfie": [STANDARD.encode(b"\xff\xd8\xff selfie")],
    })
}

fn line(attempt: &str) -> Value {
    let mut line = evidence();
    line["attempt_id"] = json!(attempt);
    line
}

fn fresh_line(session: Value) -> Value {
    let mut line = evidence();
    line["session"] = session;
    line
}

fn ndjson(tenant: &Tenant, body: Body) -> Request<Body> {
    request(Method::POST, BATCH, &tenant.key).header(header::CONTENT_TYPE, "application/x-ndjson").body(body).unwrap()
}

async fn bulk(world: &World, tenant: &Tenant, upload: &str) -> Vec<Value> {
    let answer = world.send(ndjson(tenant, Body::from(upload.to_owned()))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answers_of(&answer.text)
}

fn answers_of(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
