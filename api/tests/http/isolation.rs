use axum::body::Body;
use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use crate::document::{Operation, operations};
use crate::stage::{Stage, example_of};
use crate::support::{Answer, Tenant, World, request};

/// How an organisation is kept from another's objects on a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    /// The id in the path is looked up among the caller's own.
    Path,
    /// It lists the caller's own, and its filters and cursor find nothing else.
    List,
    /// It makes something new, and may refer to the caller's own only.
    Body,
    /// The write token opens one attempt.
    WriteToken,
    /// Whoever knows the session's id may use it: 54 random characters.
    Capability,
    /// It is the same for everybody.
    Nothing,
}

/// Every route. One that is added has to be added here too, with a thought of what keeps organisations apart on it.
const ROUTES: &[(&str, &str, By)] = &[
    ("post", "/v1/sessions", By::Body),
    ("get", "/v1/sessions", By::List),
    ("get", "/v1/sessions/{id}", By::Path),
    ("post", "/v1/sessions/{id}/cancel", By::Path),
    ("post", "/v1/sessions/{id}/attempts", By::Path),
    ("get", "/v1/sessions/{id}/attempts", By::Path),
    ("get", "/v1/attempts/{id}", By::Path),
    ("put", "/v1/attempts/{id}/evidence", By::Path),
    ("post", "/v1/attempts/{id}/chip-authentication", By::Path),
    ("post", "/v1/attempts/open", By::Body),
    ("post", "/v1/attempts/batch", By::Body),
    ("get", "/v1/verify/session/{id}/status", By::Capability),
    ("post", "/v1/verify/session/{id}/cancel", By::Capability),
    ("post", "/v1/verify/session/{id}/handoff", By::Capability),
    ("put", "/v1/verify/attempts/{id}/evidence", By::WriteToken),
    ("post", "/v1/verify/attempts/{id}/chip-authentication", By::WriteToken),
    ("get", "/verify/{id}", By::Capability),
    ("post", "/v1/webhooks/endpoints", By::Body),
    ("get", "/v1/webhooks/endpoints", By::List),
    ("get", "/v1/webhooks/endpoints/{id}", By::Path),
    ("patch", "/v1/webhooks/endpoints/{id}", By::Path),
    ("delete", "/v1/webhooks/endpoints/{id}", By::Path),
    ("post", "/v1/webhooks/endpoints/{id}/signing-secret/reveal", By::Path),
    ("post", "/v1/webhooks/endpoints/{id}/signing-secret/rotate", By::Path),
    ("post", "/v1/webhooks/endpoints/{id}/keys", By::Path),
    ("get", "/v1/webhooks/endpoints/{id}/keys", By::Path),
    ("post", "/v1/webhooks/keys/{id}/deactivate", By::Path),
    ("post", "/v1/webhooks/keys/{id}/reactivate", By::Path),
    ("get", "/v1/webhooks/deliveries", By::List),
    ("post", "/v1/webhooks/deliveries/{id}/retry", By::Path),
    ("get", "/v1/webhooks/events", By::List),
    ("get", "/v1/webhooks/events/{id}", By::Path),
    ("post", "/v1/webhooks/events/{id}/replay", By::Path),
    ("get", "/openapi.json", By::Nothing),
    ("get", "/docs", By::Nothing),
];

fn how(operation: &Operation) -> By {
    let found = ROUTES.iter().find(|(method, path, _)| *method == operation.method && *path == operation.path);
    found
        .unwrap_or_else(|| {
            panic!(
                "{} {} is a new route: say in ROUTES what keeps organisations apart on it, and test it",
                operation.method, operation.path
            )
        })
        .2
}

#[test]
fn the_list_of_routes_is_the_whole_one() {
    for operation in operations() {
        let by = how(&operation);
        assert_eq!(by == By::WriteToken, operation.needs_write_token(), "{}", operation.id());
        assert_eq!(matches!(by, By::Path | By::List | By::Body), operation.scope().is_some(), "{}", operation.id());
        assert_eq!(matches!(by, By::List | By::Body | By::Nothing), operation.names().is_none(), "{}", operation.id());
    }
    assert_eq!(ROUTES.len(), operations().len(), "a route is gone: remove it from ROUTES");
}

/// An example of the operation's body, or nothing.
fn example(operation: &Operation) -> Value {
    let examples = operation.body().and_then(|(_, body)| body["examples"].as_object());
    examples.and_then(|examples| examples.values().next()).map_or(Value::Null, |one| one["value"].clone())
}

/// What an answer says, but for its request's id and the id that was asked for.
fn said(answer: &Answer, id: &str) -> (StatusCode, String) {
    let mut error = answer.json["error"].clone();
    error["request_id"] = Value::Null;
    (answer.status, error.to_string().replace(id, "ID"))
}

/// Everything that the owner can read.
async fn everything_of(stage: &Stage) -> Vec<String> {
    let mut all = Vec::new();
    for operation in operations().into_iter().filter(|one| one.method == "get" && one.scope().is_some()) {
        all.push(stage.world.get(&stage.tenant.key, &stage.path(&operation)).await.json["data"].to_string());
    }
    all
}

#[tokio::test]
async fn anothers_object_is_as_unknown_as_one_that_never_was_on_every_route() {
    let owner = Stage::new().await;
    let world = &owner.world;
    let stranger = world.tenant().await;
    let before = everything_of(&owner).await;
    let mut asked = 0;
    for operation in operations().into_iter().filter(|one| how(one) == By::Path) {
        let schema = operation.names().unwrap();
        let (theirs, never) = (owner.id(schema).to_owned(), example_of(schema));
        let mut answers = Vec::new();
        for id in [&theirs, &never] {
            let path = operation.path.replace("{id}", id);
            let asked = owner.request(&operation, &path, &stranger.key, &example(&operation));
            let answer = world.send(asked).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}: {}", operation.id(), answer.text);
            answers.push(said(&answer, id));
        }
        assert_eq!(answers[0], answers[1], "{} tells a foreign object from none", operation.id());
        asked += 1;
    }
    assert_eq!(asked, ROUTES.iter().filter(|(_, _, by)| *by == By::Path).count());
    assert_eq!(everything_of(&owner).await, before, "a stranger changed something");
}

#[tokio::test]
async fn a_body_that_would_be_refused_does_not_tell_that_the_object_exists() {
    let owner = Stage::new().await;
    let stranger = owner.world.tenant().await;
    for operation in operations().into_iter().filter(|one| how(one) == By::Path && one.body().is_some()) {
        let schema = operation.names().unwrap();
        for body in [json!({ "no_such_member": 1 }), json!([]), Value::String("not json".to_owned())] {
            let mut answers = Vec::new();
            for id in [owner.id(schema).to_owned(), example_of(schema)] {
                let path = operation.path.replace("{id}", &id);
                let mut request = owner.request(&operation, &path, &stranger.key, &json!({}));
                *request.body_mut() = body.to_string().into();
                answers.push(said(&owner.world.send(request).await, &id));
            }
            assert_eq!(answers[0], answers[1], "{} with {body}", operation.id());
        }
    }
}

#[tokio::test]
async fn lists_filters_and_cursors_find_nothing_of_anothers() {
    let owner = Stage::new().await;
    let stranger = owner.world.tenant().await;
    for operation in operations().into_iter().filter(|one| how(one) == By::List) {
        let answer = owner.world.get(&stranger.key, operation.path).await;
        assert_eq!(answer.data(StatusCode::OK), json!([]), "{}", operation.id());
        for parameter in operation.parameters("query") {
            let Some(target) = parameter["schema"]["$ref"].as_str() else { continue };
            let (name, schema) = (parameter["name"].as_str().unwrap(), target.rsplit('/').next().unwrap());
            let mut answers = Vec::new();
            for id in [owner.id(schema).to_owned(), example_of(schema)] {
                let answer = owner.world.get(&stranger.key, &format!("{}?{name}={id}", operation.path)).await;
                assert!(!answer.text.contains(owner.id("SessionId")), "{}", answer.text);
                match name {
                    "starting_after" => assert_eq!(answer.json["error"]["code"], "INVALID_CURSOR"),
                    _ => assert_eq!(answer.json["data"], json!([])),
                }
                answers.push((said(&answer, &id), answer.json["data"].clone()));
            }
            assert_eq!(answers[0], answers[1], "{} {name}", operation.id());
        }
    }
}

#[tokio::test]
async fn bodies_may_name_ones_own_objects_only() {
    let owner = Stage::new().await;
    let stranger = owner.world.tenant().await;
    let mut answers = Vec::new();
    for id in [owner.endpoint.clone(), example_of("EndpointId")] {
        let answer = owner.world.post(&stranger.key, "/v1/sessions", json!({ "webhook_endpoint_id": id })).await;
        answer.error("WEBHOOK_ENDPOINT_UNAVAILABLE");
        answers.push(said(&answer, &id));
    }
    assert_eq!(answers[0], answers[1]);

    let mut items = Vec::new();
    for id in [owner.session.clone(), example_of("SessionId")] {
        let answer = owner.world.post(&stranger.key, "/v1/attempts/open", json!({ "session_ids": [id] })).await;
        items.push(item(answer.data(StatusCode::OK)[0].clone(), &id));
    }
    assert!(items[0].contains("SESSION_NOT_FOUND") && items[0] == items[1], "{items:?}");

    let batch = operations().into_iter().find(|one| one.path == "/v1/attempts/batch").unwrap();
    let Value::String(line) = example(&batch) else { panic!("no example of a line") };
    let mut lines = Vec::new();
    for id in [owner.attempt.clone(), example_of("AttemptId")] {
        let line = line.replace(&example_of("AttemptId"), &id);
        let request = request(batch.http_method(), batch.path, &stranger.key)
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .body(Body::from(line))
            .unwrap();
        let answer = owner.world.send(request).await;
        lines.push(item(serde_json::from_str(&answer.text).unwrap(), &id));
    }
    assert!(lines[0].contains("NOT_FOUND") && lines[0] == lines[1], "{lines:?}");
    let read = owner.world.get(&owner.tenant.key, &format!("/v1/attempts/{}", owner.attempt)).await;
    assert_eq!(read.data(StatusCode::OK)["phase"], "awaiting_evidence");
}

/// An item of an answer, but for its request's id and the id that was asked for.
fn item(mut item: Value, id: &str) -> String {
    item["error"]["request_id"] = Value::Null;
    item.to_string().replace(id, "ID")
}

#[tokio::test]
async fn an_idempotency_key_is_its_organisations_own() {
    let world = World::new().await;
    let (one, other) = (world.tenant().await, world.tenant().await);
    let first = world.post_once(&one.key, "/v1/sessions", "same", json!({})).await;
    let second = world.post_once(&other.key, "/v1/sessions", "same", json!({})).await;
    assert!(second.headers.get("idempotency-replayed").is_none());
    assert_ne!(first.data(StatusCode::CREATED)["id"], second.data(StatusCode::CREATED)["id"]);
    // Another request of the other organisation's is no reuse either.
    let third = world.post_once(&other.key, "/v1/sessions", "same-2", json!({ "contract_version": 1 })).await;
    third.data(StatusCode::CREATED);
    world.post_once(&one.key, "/v1/sessions", "same-2", json!({})).await.data(StatusCode::CREATED);
}

#[tokio::test]
async fn a_write_token_opens_its_own_attempt_only() {
    let owner = Stage::new().await;
    let stranger: Tenant = owner.world.tenant().await;
    let (_, handoff) = owner.world.opened(&stranger).await;
    let token = handoff["mobile_write_token"].as_str().unwrap();
    for operation in operations().into_iter().filter(|one| how(one) == By::WriteToken) {
        let mut answers = Vec::new();
        for id in [owner.attempt.clone(), example_of("AttemptId")] {
            for bearer in [token, &stranger.key, ""] {
                let path = operation.path.replace("{id}", &id);
                let answer = owner.world.send(owner.request(&operation, &path, bearer, &example(&operation))).await;
                answer.error("HANDOFF_TOKEN_INVALID");
                answers.push(said(&answer, &id));
            }
        }
        assert!(answers.iter().all(|one| *one == answers[0]), "{}", operation.id());
    }
    let read = owner.world.get(&owner.tenant.key, &format!("/v1/attempts/{}", owner.attempt)).await;
    assert_eq!(read.data(StatusCode::OK)["phase"], "awaiting_evidence");
}

#[tokio::test]
async fn every_route_wants_a_key_that_is_valid_and_holds_its_scope() {
    let stage = Stage::new().await;
    let (world, organisation) = (&stage.world, &stage.tenant.organisation);
    let scopes = ["sessions:read", "sessions:write", "webhooks:read", "webhooks:write"];
    let before = world.state.store.list_api_keys(organisation).await.unwrap();
    let revoked = world.key(organisation, &[]).await;
    let rows = world.state.store.list_api_keys(organisation).await.unwrap();
    let row = rows.iter().find(|row| before.iter().all(|one| one.id != row.id)).unwrap();
    assert!(world.state.store.revoke_api_key(organisation, &row.id, world.now()).await.unwrap());
    assert_eq!(
        [world.get(&revoked, "/v1/sessions").await.status, world.get(&stage.tenant.key, "/v1/sessions").await.status],
        [StatusCode::UNAUTHORIZED, StatusCode::OK],
        "the other key was revoked"
    );
    for operation in operations() {
        let Some(scope) = operation.scope() else { continue };
        let ask = async |bearer: &str| {
            world.send(stage.request(&operation, &stage.path(&operation), bearer, &example(&operation))).await
        };
        for bearer in ["", &revoked, "kk_exampleexampleexampleexampleexam", &stage.write_token] {
            ask(bearer).await.error("UNAUTHORIZED");
        }
        let others: Vec<&str> = scopes.into_iter().filter(|one| *one != scope).collect();
        let message = ask(&world.key(organisation, &others).await).await.error("FORBIDDEN");
        assert!(message.contains(scope), "{}: {message}", operation.id());
    }
    // With that scope alone each works; last, because some of them end things.
    for operation in operations() {
        let Some(scope) = operation.scope() else { continue };
        let stage = Stage::new().await;
        let key = stage.world.key(&stage.tenant.organisation, &[scope]).await;
        let request = stage.request(&operation, &stage.path(&operation), &key, &example(&operation));
        let answer = stage.world.send(request).await;
        assert!(answer.status.is_success(), "{}: {}", operation.id(), answer.text);
    }
}
