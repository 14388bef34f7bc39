use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use proofmill_api::{Ops, StorageArgs, open_storage, ops_router, serve};
use proofmill_queue::Queue;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use crate::support::World;

fn ops(world: &World) -> Ops {
    Ops::new(world.state.metrics.clone(), world.state.shutdown.clone())
        .with_storage(world.state.store.clone(), world.state.vault.clone(), world.state.clock.clone())
        .with_queue(Queue::in_process(10))
}

async fn ask(ops: Ops, path: &str) -> (StatusCode, String) {
    let request = Request::builder().uri(path).body(Body::empty()).unwrap();
    let response = ops_router(ops).oneshot(request).await.unwrap();
    let status = response.status();
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn readiness_names_the_failing_part() {
    let world = World::new().await;
    let (status, body) = ask(ops(&world), "/readyz").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let vault = world.folder().join("vault");
    std::fs::remove_dir_all(&vault).unwrap();
    std::fs::write(&vault, "in the way").unwrap();
    let (status, body) = ask(ops(&world), "/readyz").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["failing"]), (StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!(["vault"])));
    assert_eq!(body["parts"]["store"], "ok");
    let (status, _) = ask(ops(&world), "/livez").await;
    assert_eq!(status, StatusCode::OK, "a process whose vault is down is still alive");
}

#[tokio::test]
async fn liveness_names_a_part_that_only_a_restart_mends() {
    let world = World::new().await;
    let hangs = || std::future::ready(Err("cuda:0 has been on one batch for 301 s".to_owned()));
    let ops = ops(&world).live("store", || std::future::ready(Ok(()))).live("face", hangs);
    let (status, body) = ask(ops.clone(), "/livez").await;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "face: cuda:0 has been on one batch for 301 s\n")
    );
    let (status, _) = ask(ops, "/readyz").await;
    assert_eq!(status, StatusCode::OK, "it is not a matter of readiness");
}

#[tokio::test]
async fn evidence_that_went_missing_stops_the_start_and_not_the_attempts() {
    for missing in ["vault", "keys/epochs"] {
        let world = World::new().await;
        let tenant = world.tenant().await;
        world.submitted(&tenant).await;
        let storage = StorageArgs::embedded(world.folder());
        assert!(open_storage(&storage).await.is_ok());
        let (path, away) = (world.folder().join(missing), world.folder().join("away"));
        std::fs::rename(&path, &away).unwrap();
        let refusal = open_storage(&storage).await.err().expect("the start is refused").to_string();
        assert!(refusal.contains(missing) && refusal.contains("put it back"), "{refusal}");
        std::fs::rename(&away, &path).unwrap();
        assert!(open_storage(&storage).await.is_ok());
    }
}

#[tokio::test]
async fn a_draining_process_is_not_ready() {
    let world = World::new().await;
    world.state.shutdown.cancel();
    let (status, body) = ask(ops(&world), "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("\"draining\":true"));
}

#[tokio::test]
async fn metrics_name_routes_by_template_and_never_by_id() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let (session, _) = world.submitted(&tenant).await;
    world.get("", &format!("/v1/verify/session/{session}/status")).await;
    let odd = Request::builder().method("MAKE-ME-A-LABEL").uri("/v1/nothing").body(Body::empty()).unwrap();
    world.send(odd).await.error("NOT_FOUND");
    let (status, text) = ask(ops(&world), "/metrics").await;
    assert!(text.contains("method=\"OTHER\"") && !text.contains("MAKE-ME-A-LABEL"));
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("route=\"/v1/verify/session/{id}/status\""), "{text}");
    assert!(text.contains("proofmill_submissions_total{lane=\"interactive\"} 1"));
    assert!(!text.contains(&session) && !text.contains(tenant.organisation.as_str()));
}

#[tokio::test]
async fn the_server_answers_finishes_and_stops() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(world.state.clone(), listener, None));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("NOT_FOUND"), "{answer}");
    world.state.shutdown.cancel();
    // An idle connection does not hold the process.
    tokio::time::timeout(std::time::Duration::from_secs(10), server).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_refusal_reaches_a_caller_who_is_still_sending() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(world.state.clone(), listener, None));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = 20 << 20;
    let head = format!(
        "PUT /v1/attempts/va_1/evidence HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The answer is known before the first byte of the body; the caller reads it only after the last.
    stream.write_all(&vec![b'x'; length]).await.unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("UNAUTHORIZED"), "{answer}");
    world.state.shutdown.cancel();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_the_http_library_refuses_by_itself_has_the_one_shape_too() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(world.state.clone(), listener, None));
    let many: String = (0..300).map(|n| format!("X-Extra-{n}: 1\r\n")).collect();
    let requests = [
        "GARBAGE\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\nHost: x\r\n\r\n".to_owned(),
        "GET /\u{7f} HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nbad header\r\n\r\n".to_owned(),
        "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(70 << 10)),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n", "x".repeat(600 << 10)),
        // After an answer of ours on the same connection.
        "GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\r\n\r\n".to_owned(),
    ];
    for request in requests {
        let shown: String = request.chars().take(60).collect();
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may refuse, and close, before all of it is written.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(read) = stream.read(&mut piece).await
            && read > 0
        {
            answer.extend_from_slice(&piece[..read]);
        }
        let answer = String::from_utf8(answer).unwrap();
        let last = &answer[answer.rfind("HTTP/1.1 ").unwrap_or_else(|| panic!("{shown}: {answer}"))..];
        assert!(last.starts_with("HTTP/1.1 400 "), "{shown}: {answer}");
        let (head, body) = last.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{shown}: {answer}"));
        assert_eq!(body["error"]["code"], "INVALID_REQUEST", "{shown}");
        let id = body["error"]["request_id"].as_str().unwrap();
        assert!(head.contains(&format!("x-request-id: {id}")), "{shown}: {head}");
    }
    world.state.shutdown.cancel();
    server.await.unwrap().unwrap();
}
