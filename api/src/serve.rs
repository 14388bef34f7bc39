//! The HTTP server: bounded connections, a deadline for headers, and a shutdown that finishes what was begun.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::http::refusals::Enveloped;
use crate::ops::{Ops, ops_router};
use crate::router::router;
use crate::state::AppState;

/// A client that sends its headers byte by byte holds a connection, so it gets this long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4_096;
/// Pause after a failed accept, which mostly means that the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may finish once the process drains.
const DRAIN: Duration = Duration::from_secs(30);

/// Serves the public API, and the operator's port if there is one, until the state's shutdown token is cancelled and
/// what was begun is finished.
///
/// # Errors
/// If a listener has no address.
pub async fn serve(state: AppState, listener: TcpListener, ops: Option<(TcpListener, Ops)>) -> io::Result<()> {
    let shutdown = state.shutdown.clone();
    let docs_url: Arc<str> = state.config.docs_url.as_str().into();
    tracing::info!(address = %listener.local_addr()?, "serving the api");
    let operators = async {
        if let Some((listener, ops)) = ops {
            // It answers until the api has drained: a process that drains is to be seen draining.
            serve_router(ops_router(ops), listener, CancellationToken::new()).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = accept(router(state), listener, shutdown, Some(docs_url)) => {}
        () = operators => {}
    }
    Ok(())
}

/// Serves a router until `shutdown`.
pub async fn serve_router(router: Router, listener: TcpListener, shutdown: CancellationToken) {
    accept(router, listener, shutdown, None).await;
}

/// With a `docs_url`, what the HTTP library refuses by itself is answered in the envelope as well.
async fn accept(router: Router, listener: TcpListener, shutdown: CancellationToken, docs_url: Option<Arc<str>>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            () = shutdown.cancelled() => break,
        };
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = serve_connection(router.clone(), stream, peer, shutdown.clone(), docs_url.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections did not finish in time and are cut");
    }
}

async fn serve_connection(
    router: Router,
    stream: TcpStream,
    peer: SocketAddr,
    shutdown: CancellationToken,
    docs_url: Option<Arc<str>>,
) {
    // An answer is written whole: waiting for more to send would only delay it.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(Enveloped::new(TokioIo::new(stream), docs_url), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}
