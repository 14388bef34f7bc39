//! Stopping: the first SIGTERM or SIGINT drains, the second ends the process at once.

use std::io;

use proofmill_telemetry::Metrics;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit status of a process that was told twice.
const IMMEDIATE: i32 = 130;

/// Watches for signals. The token is cancelled by the first one.
///
/// # Errors
/// Signals cannot be watched.
pub fn watch(metrics: std::sync::Arc<Metrics>) -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let watched = token.clone();
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        tracing::info!("draining: no new work is taken; a second signal stops at once");
        metrics.draining.set(1);
        watched.cancel();
        either(&mut terminate, &mut interrupt).await;
        tracing::warn!("stopped at once; what was in flight comes again");
        std::process::exit(IMMEDIATE);
    });
    Ok(token)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
