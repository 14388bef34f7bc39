use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use base64::Engine as _;
use proofmill_api::openapi;
use proofmill_contract::events::{self, CancelReason, EventType};
use proofmill_contract::{AttemptId, ContractVersion, Counters, ErrorCode, EventId, FailureCode, SessionId, Timestamp};
use proofmill_fixtures::{CaChip, CaKind, dg14};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

use crate::document::{METHODS, Operation, mismatch, operations, resolve};
use crate::stage::Stage;
use crate::support::{World, request};

#[test]
fn the_checked_in_document_is_the_present_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert!(
        kept == *openapi::document(),
        "api/openapi.json is stale: look at the difference, then \
         `cargo run -p proofmill-api -- openapi > api/openapi.json`"
    );
}

#[tokio::test]
async fn the_document_and_its_page_are_served_whole() {
    let world = World::new().await;
    let served = world.get("", "/openapi.json").await;
    assert_eq!((served.status, served.header("content-type")), (StatusCode::OK, "application/json"));
    assert_eq!(served.json, *openapi::document());
    let page = world.get("", "/docs").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    for operation in operations() {
        assert!(page.text.contains(&format!("id=\"{}\"", operation.id())), "{}", operation.id());
    }
    for kind in EventType::ALL {
        assert!(page.text.contains(&format!("id=\"{kind}\"")), "{kind}");
    }
    // It is complete in itself: nothing to load, nothing to run, every link of its own leads somewhere.
    for foreign in ["<script", "http://", "src=", "@import", "url("] {
        assert!(!page.text.contains(foreign), "{foreign}");
    }
    for link in page.text.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(page.text.contains(&format!("id=\"{link}\"")), "#{link} leads nowhere");
    }
}

#[test]
fn the_document_is_well_formed() {
    let document = openapi::document();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    // Every reference leads somewhere.
    each(document, &mut |value| {
        if value.get("$ref").is_some_and(Value::is_string) {
            resolve(value);
        }
    });
    // Every schema is one.
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    each(document, &mut |value| {
        for key in ["schema", "x-line"] {
            if let Some(schema) = value.get(key).filter(|schema| schema.is_object()) {
                jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|error| panic!("{schema}: {error}"));
            }
        }
    });
    let tags: BTreeSet<&str> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let mut ids = BTreeSet::new();
    for operation in operations() {
        let what = operation.id();
        assert!(ids.insert(what), "{what} twice");
        assert!(tags.contains(operation.value["tags"][0].as_str().unwrap()), "{what}");
        assert_eq!(operation.path.matches("{id}").count(), usize::from(operation.names().is_some()), "{what}");
        for requirement in operation.value["security"].as_array().unwrap() {
            assert!(requirement.as_object().unwrap().keys().all(|name| schemes.contains_key(name)), "{what}");
        }
        let responses = operation.value["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{what}");
        for (status, response) in responses {
            assert!(!resolve(response)["description"].as_str().unwrap().is_empty(), "{what} {status}");
        }
    }
    for (name, webhook) in document["webhooks"].as_object().unwrap() {
        assert!(ids.insert(webhook["post"]["operationId"].as_str().unwrap()), "{name}");
    }
    each(document, &mut |value| {
        if let Some(target) = value.get("operationId").and_then(Value::as_str) {
            assert!(ids.contains(target), "a link to {target}");
        }
    });
}

#[test]
fn every_example_is_what_its_schema_describes() {
    let mut seen = 0;
    each(openapi::document(), &mut |value| {
        let Some(schema) = value.get("x-line").or_else(|| value.get("schema")).filter(|schema| schema.is_object())
        else {
            return;
        };
        let several = value.get("examples").and_then(Value::as_object).into_iter().flat_map(|map| map.values());
        for example in value.get("example").into_iter().chain(several.map(|one| &one["value"])) {
            let lines: Vec<Value> = match (value.get("x-line"), example) {
                (Some(_), Value::String(text)) => {
                    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
                }
                _ => vec![example.clone()],
            };
            for one in lines {
                seen += 1;
                if let Some(why) = mismatch(schema, &one) {
                    panic!("{one}\n{why}");
                }
            }
        }
        for example in schema.get("examples").and_then(Value::as_array).into_iter().flatten() {
            assert_eq!(mismatch(schema, example), None, "{example}");
        }
    });
    assert!(seen > 50, "{seen}");
    for (name, schema) in openapi::document()["components"]["schemas"].as_object().unwrap() {
        for example in schema.get("examples").and_then(Value::as_array).into_iter().flatten() {
            assert_eq!(mismatch(schema, example), None, "{name}: {example}");
        }
    }
}

/// Codes and statuses as published. `METHOD_NOT_ALLOWED` and `REQUEST_TIMEOUT` are what HTTP itself asks for.
const CODES: [(u16, &[&str]); 14] = [
    (
        400,
        &[
            "INVALID_REQUEST",
            "INVALID_CURSOR",
            "INVALID_SESSION_ID",
            "INVALID_REDIRECT_URL",
            "WEBHOOK_ENDPOINT_UNAVAILABLE",
            "WEBHOOK_URL_REJECTED",
            "INVALID_ENCRYPTION_KEY",
            "INVALID_SHARE_FIELDS",
            "UNKNOWN_CLAIM_KEY",
            "INVALID_AGE_GATE_KEY",
            "MULTIPLE_AGE_GATES_NOT_ALLOWED",
            "REASON_REQUIRED",
            "REASON_TOO_LONG",
            "TOO_MANY_SHARE_FIELDS",
            "SHARE_SELECTION_REQUIRED",
            "SHARE_SELECTION_MISSING_REQUIRED",
            "SHARE_SELECTION_INVALID_FIELD",
            "EVIDENCE_PART_MISSING",
            "EVIDENCE_PART_INVALID",
            "CHIP_EVIDENCE_REQUIRED",
        ],
    ),
    (
        401,
        &[
            "UNAUTHORIZED",
            "CANCEL_TOKEN_INVALID",
            "HANDOFF_TOKEN_INVALID",
            "HANDOFF_TOKEN_EXPIRED",
            "HANDOFF_TOKEN_CONSUMED",
        ],
    ),
    (403, &["FORBIDDEN"]),
    (404, &["NOT_FOUND", "SESSION_NOT_FOUND"]),
    (405, &["METHOD_NOT_ALLOWED"]),
    (408, &["REQUEST_TIMEOUT"]),
    (
        409,
        &[
            "CONFLICT",
            "SESSION_IN_PROGRESS",
            "SESSION_TERMINAL",
            "CANCEL_TOKEN_USED",
            "EVIDENCE_ALREADY_SUBMITTED",
            "CHIP_AUTHENTICATION_STARTED",
            "WEBHOOK_PAYLOAD_EXPIRED",
            "IDEMPOTENCY_IN_PROGRESS",
        ],
    ),
    (410, &["SESSION_EXPIRED"]),
    (413, &["PAYLOAD_TOO_LARGE"]),
    (415, &["UNSUPPORTED_MEDIA_TYPE"]),
    (422, &["IDEMPOTENCY_KEY_REUSED"]),
    (429, &["RATE_LIMITED"]),
    (500, &["INTERNAL_SERVER_ERROR"]),
    (503, &["UNAVAILABLE"]),
];

#[test]
fn every_error_code_is_as_published_and_stands_where_it_can_occur() {
    let published: BTreeMap<&str, u16> =
        CODES.iter().flat_map(|(status, codes)| codes.iter().map(|code| (*code, *status))).collect();
    let ours: BTreeMap<&str, u16> = ErrorCode::ALL.iter().map(|code| (code.as_str(), code.status())).collect();
    assert_eq!(ours, published);

    let mut documented = BTreeSet::new();
    for operation in operations() {
        for (status, response) in operation.value["responses"].as_object().unwrap() {
            let (response, pointer) =
                (resolve(response), "/content/application~1json/schema/allOf/1/properties/error/properties/code/enum");
            for code in response.pointer(pointer).and_then(Value::as_array).into_iter().flatten() {
                let code = code.as_str().unwrap();
                assert_eq!(published[code].to_string(), *status, "{} {code}", operation.id());
                documented.insert(code);
            }
        }
        // What can befall any request.
        for status in ["400", "408", "429", "500", "503"] {
            assert!(operation.value["responses"].get(status).is_some(), "{} {status}", operation.id());
        }
        let has_key = operation.scope().is_some();
        assert_eq!(operation.value["responses"].get("403").is_some(), has_key, "{}", operation.id());
        if operation.body().is_some() {
            for status in ["413", "415"] {
                assert!(operation.value["responses"].get(status).is_some(), "{} {status}", operation.id());
            }
        }
    }
    let missing: Vec<_> = published.keys().filter(|code| !documented.contains(*code)).collect();
    // A method that a path does not offer belongs to no operation; the introduction speaks of it.
    assert_eq!(missing, [&"METHOD_NOT_ALLOWED"]);
    assert!(openapi::document()["info"]["description"].as_str().unwrap().contains("METHOD_NOT_ALLOWED"));
}

#[tokio::test]
async fn every_path_offers_the_documented_methods_and_no_other() {
    let stage = Stage::new().await;
    let mut by_path: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
    for operation in operations() {
        by_path.entry(operation.path).or_default().push(operation);
    }
    for (template, offered) in by_path {
        let (path, bearer) = (stage.path(&offered[0]), stage.bearer(&offered[0]));
        for method in METHODS {
            let answer = stage.world.send(bare(&method.to_uppercase(), &path, bearer)).await;
            if offered.iter().any(|one| one.method == method) {
                assert_ne!(answer.json["error"]["code"], "METHOD_NOT_ALLOWED", "{method} {template}");
                assert_ne!(answer.json["error"]["message"], "no such route", "{method} {template}");
                continue;
            }
            answer.error("METHOD_NOT_ALLOWED");
            let allowed: BTreeSet<&str> = answer.header("allow").split(',').collect();
            let mut documented: BTreeSet<String> = offered.iter().map(|one| one.method.to_uppercase()).collect();
            if documented.contains("GET") {
                documented.insert("HEAD".to_owned());
            }
            assert_eq!(allowed, documented.iter().map(String::as_str).collect(), "{template}");
        }
        for method in ["OPTIONS", "TRACE", "CONNECT", "QUERY"] {
            stage.world.send(bare(method, &path, bearer)).await.error("METHOD_NOT_ALLOWED");
        }
    }
}

#[tokio::test]
async fn every_example_request_is_answered_as_documented() {
    let mut run = 0;
    for operation in operations() {
        let nothing = [Value::Null];
        let (examples, statuses): (Vec<Value>, Vec<u64>) = match operation.body() {
            None => (nothing.to_vec(), vec![first_status(&operation)]),
            Some((_, body)) => {
                let examples = body["examples"].as_object().unwrap().values();
                examples.map(|one| (one["value"].clone(), one["x-status"].as_u64().unwrap())).unzip()
            }
        };
        assert!(!examples.is_empty(), "{} has no example", operation.id());
        for (example, status) in examples.iter().zip(statuses) {
            // Whether the answer is as described was looked at when it came in.
            let stage = Stage::new().await;
            let request = stage.request(&operation, &stage.path(&operation), stage.bearer(&operation), example);
            let answer = stage.world.send(request).await;
            assert_eq!(u64::from(answer.status.as_u16()), status, "{}: {}", operation.id(), answer.text);
            run += 1;
        }
        // Each documented query parameter, with a value of its schema.
        for parameter in operation.parameters("query") {
            let stage = Stage::new().await;
            let name = parameter["name"].as_str().unwrap();
            let Some(mut value) = query_value(&stage, name, &parameter["schema"]) else { continue };
            if (operation.id(), name) == ("listSessionAttempts", "starting_after") {
                // The stage's own attempt is another session's.
                let opened = stage.world.post(&stage.tenant.key, &stage.path(&operation), json!({})).await;
                value = opened.data(StatusCode::CREATED)["attempt_id"].as_str().unwrap().into();
            }
            let path = format!("{}?{name}={value}", stage.path(&operation));
            let answer = stage.world.get(stage.bearer(&operation), &path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
            run += 1;
        }
    }
    assert!(run >= operations().len() + 10, "{run}");
}

#[tokio::test]
async fn every_documented_member_of_a_body_is_known_to_its_route_and_no_other() {
    for operation in operations() {
        let Some(("application/json", body)) = operation.body() else { continue };
        let stage = Stage::new().await;
        let send = async |body: Value| {
            let request = stage.request(&operation, &stage.path(&operation), stage.bearer(&operation), &body);
            stage.world.send(request).await
        };
        let refused = send(json!({ "no_such_member": 1 })).await.error("INVALID_REQUEST");
        assert_eq!(refused, "unknown field `no_such_member`", "{}", operation.id());
        let schema = resolve(&body["schema"]);
        assert_eq!(schema["additionalProperties"], false, "{}", operation.id());
        for member in schema["properties"].as_object().unwrap().keys() {
            // Of a type that no member has, so nothing is done; but the name is one that the route knows.
            let answer = send(json!({ member: [[[]]] })).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{} {member}: {}", operation.id(), answer.text);
            let message = answer.json["error"]["message"].as_str().unwrap();
            assert!(!message.contains("unknown field"), "{} {member}: {message}", operation.id());
        }
    }
}

#[test]
fn the_example_of_a_chip_is_minted() {
    let chip = CaChip::generate(CaKind::P256Aes128, &mut ChaCha20Rng::seed_from_u64(1));
    let minted = base64::engine::general_purpose::STANDARD.encode(dg14(chip.offer().infos()));
    let pointer = "/paths/~1v1~1attempts~1{id}~1chip-authentication/post/requestBody/content/application~1json/examples/p256/value/dg14";
    assert_eq!(openapi::document().pointer(pointer).unwrap(), &json!(minted));
}

#[test]
fn the_plaintext_of_every_webhook_is_as_documented() {
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let now = Timestamp::from_secs(1_795_339_800);
    let (event, session, attempt) =
        (EventId::generate(now, &mut rng), SessionId::generate(now, &mut rng), AttemptId::generate(now, &mut rng));
    let counters = Counters { nfc_tries_used: 1, liveness_tries_used: 3, ..Counters::default() };
    let claims = json!({ "kayle_document_id": format!("kdid_{}", "0a".repeat(32)), "age_over_18": true });
    let webhooks = openapi::document()["webhooks"].as_object().unwrap();
    assert_eq!(webhooks.len(), EventType::ALL.len());
    for &kind in EventType::ALL {
        let schema =
            &webhooks[kind.as_str()]["post"]["requestBody"]["content"]["application/jose"]["x-plaintext"]["schema"];
        let data: Vec<Value> = match kind {
            EventType::AttemptSucceeded | EventType::SessionSucceeded => {
                vec![events::success_data(&claims, &["age_over_18".to_owned(), "kayle_document_id".to_owned()])]
            }
            EventType::AttemptFailed => {
                FailureCode::ALL.iter().map(|code| events::attempt_failed_data(*code)).collect()
            }
            EventType::SessionFailed => {
                FailureCode::ALL.iter().map(|code| events::session_failed_data(*code, counters)).collect()
            }
            EventType::SessionExpired => vec![events::expired_data()],
            EventType::SessionCancelled => [
                CancelReason::Cancelled,
                CancelReason::CancelledAfterFailedCheck,
                CancelReason::PrivacyAfterTerminalSuccess,
                CancelReason::PrivacyAfterTerminalFailure,
            ]
            .map(|reason| events::cancelled_data(reason, counters))
            .to_vec(),
        };
        let versions: &[ContractVersion] = match kind {
            EventType::AttemptSucceeded | EventType::AttemptFailed => &[ContractVersion::V1],
            EventType::SessionSucceeded | EventType::SessionFailed => &[ContractVersion::V2],
            EventType::SessionExpired | EventType::SessionCancelled => &[ContractVersion::V1, ContractVersion::V2],
        };
        for (data, version) in data.iter().flat_map(|data| versions.iter().map(move |version| (data, *version))) {
            let text = events::plaintext(kind, version, &event, &session, Some(&attempt), data);
            assert_eq!(mismatch(schema, &text), None, "{text}");
            let mut more = text.clone();
            more["data"]["score"] = json!(0.97);
            assert!(mismatch(schema, &more).is_some(), "a member that is not documented must not pass");
        }
    }
}

/// The status of an operation's first answer that is no error.
fn first_status(operation: &Operation) -> u64 {
    operation.value["responses"].as_object().unwrap().keys().find(|one| one.starts_with('2')).unwrap().parse().unwrap()
}

fn query_value(stage: &Stage, name: &str, schema: &'static Value) -> Option<String> {
    if let Some(target) = schema["$ref"].as_str() {
        // The stage's own; of a list of one kind the cursor is an id of that kind.
        return Some(stage.id(target.rsplit('/').next().unwrap()).to_owned());
    }
    let value = schema.pointer("/enum/0").or(schema.get("default")).or(schema.pointer("/examples/0"));
    match value {
        Some(Value::String(text)) => Some(text.clone()),
        Some(value) => Some(value.to_string()),
        None => {
            assert_eq!(name, "cancel_token", "no value to try for {name}");
            None
        }
    }
}

fn bare(method: &str, path: &str, bearer: &str) -> Request<Body> {
    request(Method::from_bytes(method.as_bytes()).unwrap(), path, bearer).body(Body::empty()).unwrap()
}

/// Every object in a value.
fn each(value: &'static Value, look: &mut dyn FnMut(&'static Value)) {
    match value {
        Value::Object(members) => {
            look(value);
            members.values().for_each(|member| each(member, look));
        }
        Value::Array(items) => items.iter().for_each(|item| each(item, look)),
        _ => {}
    }
}
