//! What is refused, and in which words, at the edges of HTTP.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use serde_json::json;

use crate::document::operations;
use crate::stage::{Stage, example_of};
use crate::support::{World, request, text};

#[tokio::test]
async fn unknown_and_repeated_query_parameters_are_refused_by_name_on_every_route() {
    let stage = Stage::new().await;
    for operation in operations() {
        // Pages, whose links mailers decorate.
        if matches!(operation.path, "/docs" | "/verify/{id}") {
            let answer = stage.world.get("", &format!("{}?utm_source=mail", stage.path(&operation))).await;
            assert_eq!(answer.status, StatusCode::OK);
            continue;
        }
        let ask = async |query: &str| {
            let path = format!("{}?{query}", stage.path(&operation));
            let example = operation.body().and_then(|(_, body)| body["examples"].as_object()?.values().next());
            let example = example.map_or(json!({}), |one| one["value"].clone());
            stage.world.send(stage.request(&operation, &path, stage.bearer(&operation), &example)).await
        };
        let message = ask("no_such_parameter=1").await.error("INVALID_REQUEST");
        assert!(message.contains("`no_such_parameter`"), "{}: {message}", operation.id());
        for parameter in operation.parameters("query") {
            let name = parameter["name"].as_str().unwrap();
            let message = ask(&format!("{name}=1&{name}=1")).await.error("INVALID_REQUEST");
            assert!(message.contains(&format!("`{name}`")), "{}: {message}", operation.id());
        }
    }
    let refused = stage.world.get(&stage.tenant.key, &format!("/v1/sessions?{}=1", "x".repeat(5_000))).await;
    assert!(refused.error("INVALID_REQUEST").len() < 200, "an error must not become a mirror of any size");
}

#[tokio::test]
async fn a_path_is_taken_literally() {
    let stage = Stage::new().await;
    let (world, key, session) = (&stage.world, &stage.tenant.key, &stage.session);
    for path in [
        "/v1/sessions/".to_owned(),
        format!("/v1/sessions/{session}/"),
        "/V1/sessions".to_owned(),
        "//v1/sessions".to_owned(),
        "/v1//sessions".to_owned(),
        "/v1/sessions/../sessions".to_owned(),
        "/".to_owned(),
        "/v1".to_owned(),
        "/docs/".to_owned(),
    ] {
        assert_eq!(world.get(key, &path).await.error("NOT_FOUND"), "no such route", "{path}");
    }
    // A percent-encoded id is the id; anything else percent-encoded is not one.
    let encoded = session.replace('_', "%5F");
    assert_eq!(world.get(key, &format!("/v1/sessions/{encoded}")).await.data(StatusCode::OK)["id"], *session);
    let long = "a".repeat(4_000);
    for id in ["%2e%2e", "%00", "vs_%2F", "%F0%9F%92%A5", "vs_1'--", long.as_str()] {
        world.get(key, &format!("/v1/sessions/{id}")).await.error("INVALID_SESSION_ID");
        world.get(key, &format!("/v1/webhooks/events/{id}")).await.error("NOT_FOUND");
    }
    for path in ["/v1/sessions/%FF", "/v1/webhooks/events/%FF", "/v1/verify/session/%FF/status"] {
        world.get(key, path).await.error("INVALID_REQUEST");
    }
    world.get(key, &format!("/v1/sessions/{}", session.to_uppercase())).await.error("INVALID_SESSION_ID");
}

#[tokio::test]
async fn bodies_say_what_they_are() {
    let stage = Stage::new().await;
    let send = async |kind: Option<&str>, body: &'static str| {
        let mut request = request(Method::POST, "/v1/sessions", &stage.tenant.key);
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        stage.world.send(request.body(Body::from(body)).unwrap()).await
    };
    for kind in ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON;charset=\"UTF-8\""] {
        send(Some(kind), "{}").await.data(StatusCode::CREATED);
    }
    for kind in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx"), Some("")]
    {
        send(kind, "{}").await.error("UNSUPPORTED_MEDIA_TYPE");
        send(kind, "").await.data(StatusCode::CREATED);
    }
    for body in
        ["null", "1", "\"text\"", "[]", "{", "{}{}", "{\"contract_version\":2,\"contract_version\":2}", "\u{feff}{}"]
    {
        send(Some("application/json"), body).await.error("INVALID_REQUEST");
    }
}

#[tokio::test]
async fn every_body_without_required_members_may_be_left_out() {
    for operation in operations() {
        let Some((_, body)) = operation.body() else { continue };
        let stage = Stage::new().await;
        let request = request(operation.http_method(), &stage.path(&operation), stage.bearer(&operation));
        let answer = stage.world.send(request.body(Body::empty()).unwrap()).await;
        if operation.value["requestBody"]["required"] == true {
            assert!(answer.status.is_client_error(), "{}: {}", operation.id(), answer.text);
        } else {
            assert!(answer.status.is_success(), "{}: {}", operation.id(), answer.text);
            assert!(body["schema"].is_object());
        }
    }
}

#[tokio::test]
async fn accept_is_not_looked_at_and_head_is_get_without_a_body() {
    let stage = Stage::new().await;
    let path = format!("/v1/sessions/{}", stage.session);
    let ask = async |method: Method, accept: &str| {
        let request = request(method, &path, &stage.tenant.key).header(header::ACCEPT, accept);
        stage.world.send(request.body(Body::empty()).unwrap()).await
    };
    for accept in ["*/*", "text/html", "application/xml;q=0.1", "nonsense"] {
        ask(Method::GET, accept).await.data(StatusCode::OK);
    }
    let head = ask(Method::HEAD, "*/*").await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-type"), "application/json");
    assert!(head.headers.contains_key("ratelimit"));
}

#[tokio::test]
async fn a_head_beyond_the_limits_is_refused_in_the_one_shape() {
    let stage = Stage::new().await;
    let key = &stage.tenant.key;
    let long = format!("/v1/sessions?status={}", "x".repeat(9 << 10));
    assert!(stage.world.get(key, &long).await.error("INVALID_REQUEST").contains("8192"));
    let mut many = request(Method::GET, "/v1/sessions", key);
    for n in 0..70 {
        many = many.header(format!("x-extra-{n}"), "1");
    }
    let many = many.body(Body::empty()).unwrap();
    assert!(stage.world.send(many).await.error("INVALID_REQUEST").contains("64 header fields"));
    let big = request(Method::GET, "/v1/sessions", key).header("x-big", "x".repeat(40 << 10));
    let big = big.body(Body::empty()).unwrap();
    assert!(stage.world.send(big).await.error("INVALID_REQUEST").contains("32768"));
    // What a browser or a proxy sends in earnest passes.
    let mut usual = request(Method::GET, "/v1/sessions", key);
    for n in 0..40 {
        usual = usual.header(format!("x-extra-{n}"), "x".repeat(400));
    }
    stage.world.send(usual.body(Body::empty()).unwrap()).await.data(StatusCode::OK);
}

#[tokio::test]
async fn moments_have_any_offset_and_may_be_far_away() {
    let stage = Stage::new().await;
    let count = async |query: &str| {
        let answer = stage.world.get(&stage.tenant.key, &format!("/v1/sessions?{query}")).await;
        answer.data(StatusCode::OK).as_array().unwrap().len()
    };
    let all = count("").await;
    assert!(all > 0);
    for query in [
        "created_to=9999-12-31T23:59:59.999Z",
        "created_to=9999-12-31T23:59:59-14:00",
        "created_from=0001-01-01T00:00:00Z",
        "created_from=2026-11-22T10:30:00%2B01:00",
        // A plus sign that was not percent-encoded arrives as a space.
        "created_from=2026-11-22T10:30:00+01:00",
        "created_from=2026-11-22T09:30:00.000000Z&created_to=2026-11-22T09:30:00Z",
    ] {
        assert_eq!(count(query).await, all, "{query}");
    }
    assert_eq!(count("created_from=9999-12-31T23:59:59Z").await, 0);
    assert_eq!(count("created_to=0001-01-01T00:00:00Z").await, 0);
    for moment in
        ["", "now", "2026-11-22", "2026-11-22T09:30:00", "2026-13-22T09:30:00Z", "2026-11-22T25:30:00Z", "1795339800"]
    {
        for name in ["created_from", "created_to"] {
            let answer = stage.world.get(&stage.tenant.key, &format!("/v1/sessions?{name}={moment}")).await;
            assert!(answer.error("INVALID_REQUEST").contains(name), "{moment}");
        }
    }
}

#[tokio::test]
async fn every_answer_names_its_request_and_shows_its_quota() {
    let stage = Stage::new().await;
    for (bearer, path) in [
        ("", "/v1/nothing".to_owned()),
        ("", "/v1/sessions".to_owned()),
        ("nonsense", "/v1/sessions".to_owned()),
        (stage.tenant.key.as_str(), "/v1/sessions?nonsense=1".to_owned()),
        (stage.tenant.key.as_str(), format!("/v1/sessions/{}", example_of("SessionId"))),
        ("", format!("/v1/verify/session/{}/status", stage.session)),
        ("", "/docs".to_owned()),
    ] {
        let answer = stage.world.get(bearer, &path).await;
        assert!(answer.header("x-request-id").starts_with("req_"));
        if path != "/v1/nothing" {
            assert!(
                answer.headers.contains_key("ratelimit") && answer.headers.contains_key("ratelimit-policy"),
                "{path}"
            );
        }
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn a_request_id_of_the_callers_is_not_taken_over() {
    let world = World::new().await;
    let request = request(Method::GET, "/v1/nothing", "").header("x-request-id", "req_mine");
    let answer = world.send(request.body(Body::empty()).unwrap()).await;
    assert_ne!(answer.header("x-request-id"), "req_mine");
    assert_ne!(text(&answer.json["error"]["request_id"]), "req_mine");
}
