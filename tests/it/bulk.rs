//! A thousand lines in one request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proofmill_tests::Opened;
use serde_json::{Value, json};

use crate::support::{Scene, defaults, in_both_modes};

in_both_modes!(of_a_thousand_lines_with_a_broken_one_the_others_are_accepted);

const LINES: usize = 1_000;
const BROKEN: usize = 499;
/// Genuine ones among them; the rest is no document.
const GENUINE: usize = 8;

async fn of_a_thousand_lines_with_a_broken_one_the_others_are_accepted(scene: Scene) {
    let mut sessions = Vec::new();
    for _ in 0..GENUINE {
        sessions.push(scene.session(2).await);
    }
    let opened = scene.api().post("/v1/attempts/open", &json!({ "session_ids": sessions })).await.unwrap();
    let opened = opened.data().unwrap();
    let (genuine, with_key) = (scene.world.genuine(), scene.world.genuine_with_chip_key());
    let mut lines: Vec<String> = Vec::new();
    for (index, item) in opened.as_array().unwrap().iter().enumerate() {
        let attempt = Opened::read(item).unwrap();
        let specimen = if index % 2 == 0 { &genuine } else { &with_key };
        let submission = defaults(specimen.evidence(scene.api(), &attempt).await.unwrap());
        lines.push(submission.line(json!({ "attempt_id": attempt.attempt_id })).unwrap().to_string());
    }
    // One that makes its session.
    let whole = defaults(genuine.submission(&[0; 8])).without("dg15").without("active_authentication");
    lines.push(whole.line(json!({ "session": {}, "idempotency_key": "whole" })).unwrap().to_string());
    while lines.len() < LINES {
        lines.push(no_document(lines.len()).to_string());
    }
    lines[BROKEN].truncate(60);

    let answers = scene.api().post_lines(lines.join("\n")).await.unwrap();
    assert_eq!(answers.len(), LINES);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer["line"], index + 1);
        let (status, code) = if index == BROKEN { (400, json!("INVALID_REQUEST")) } else { (202, Value::Null) };
        assert_eq!((&answer["status"], &answer["error"]["code"]), (&json!(status), &code), "{answer}");
    }
    let mut again = scene.api().post_lines(lines.join("\n")).await.unwrap();
    for (index, (first, second)) in answers.iter().zip(&mut again).enumerate() {
        if index < GENUINE {
            // Without a key of its own a line is known by its evidence; the attempt may have come further.
            assert_eq!((&second["status"], &second["session_id"]), (&json!(202), &first["session_id"]));
        } else if index != BROKEN {
            assert_eq!(second["idempotency_replayed"], true);
            assert_eq!(first["data"], second["data"]);
        }
    }
    for answer in &answers[..=GENUINE] {
        let attempt = scene.api().settled(answer["attempt_id"].as_str().unwrap()).await.unwrap();
        assert_eq!(attempt["status"], "succeeded", "{attempt}");
    }
    let other = scene.api().settled(answers[LINES - 1]["attempt_id"].as_str().unwrap()).await.unwrap();
    assert_eq!(other["status"], "failed", "{other}");
}

fn no_document(number: usize) -> Value {
    let octets = STANDARD.encode(format!("octets of nothing, {number}"));
    json!({
        "idempotency_key": format!("line-{number}"),
        "session": { "contract_version": 1 },
        "selected_field_keys": ["kayle_document_id"],
        "sod": octets,
        "dg1": octets,
        "dg2": octets,
        "selfie": [STANDARD.encode(b"\xff\xd8\xff no face")],
    })
}
