//! `serve`

use std::sync::Arc;

use anyhow::Context as _;
use proofmill_api::{
    AppState, Mode, Ops, ServeArgs, StorageArgs, Sweeps, open_queue, open_storage, run_relay, run_sweeps, serve,
};
use proofmill_contract::Clock;
use proofmill_telemetry::{BuildInfo, Metrics, SystemClock};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub async fn run(storage: StorageArgs, args: ServeArgs) -> anyhow::Result<()> {
    needs_cluster(&storage)?;
    let opened = open_storage(&storage).await?;
    let queue = open_queue(&storage).await?;
    let metrics = Arc::new(Metrics::new(&BuildInfo {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("PROOFMILL_COMMIT").unwrap_or("unknown"),
        role: "api",
    })?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    metrics.start_seconds.set(clock.now().as_micros() as f64 / 1e6);
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("--listen {}", args.listen))?;
    let ops_listener = TcpListener::bind(args.metrics_listen)
        .await
        .with_context(|| format!("--metrics-listen {}", args.metrics_listen))?;
    let (shutdown, background) = (CancellationToken::new(), CancellationToken::new());
    let state = AppState {
        config: args.api_config(listener.local_addr()?),
        store: opened.store.clone(),
        vault: opened.vault.clone(),
        deployment: opened.deployment.clone(),
        clock: clock.clone(),
        metrics: metrics.clone(),
        outbox: Arc::default(),
        shutdown: shutdown.clone(),
    };
    let ops = Ops::new(metrics.clone(), shutdown.clone())
        .with_storage(opened.store.clone(), opened.vault.clone(), clock.clone())
        .with_queue(queue.clone());

    let tasks = TaskTracker::new();
    tasks.spawn(run_relay(
        opened.store.clone(),
        queue,
        clock.clone(),
        metrics.clone(),
        state.outbox.clone(),
        background.clone(),
    ));
    let sweeps = Sweeps { store: opened.store, vault: opened.vault, clock, metrics: metrics.clone() };
    tasks.spawn(run_sweeps(sweeps, background.clone()));
    let mut signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        wait(&mut signals).await;
        tracing::info!("stopping: finishing what was begun");
        metrics.draining.set(1);
        shutdown.cancel();
        wait(&mut signals).await;
        tracing::warn!("stopping at once");
        std::process::exit(130);
    });

    serve(state, listener, Some((ops_listener, ops))).await?;
    // The relay goes last and finishes its round. What it has not published stays in the outbox, for another relay.
    background.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Refuses the embedded mode.
pub fn needs_cluster(storage: &StorageArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        storage.mode() == Mode::Cluster,
        "`serve` is for a cluster (--database-url, --amqp-uri): the in-process queue of the embedded mode needs the \
         worker in the same process, so run `proofmill-worker standalone` instead"
    );
    Ok(())
}

async fn wait(signals: &mut (tokio::signal::unix::Signal, tokio::signal::unix::Signal)) {
    tokio::select! {
        _ = signals.0.recv() => {}
        _ = signals.1.recv() => {}
    }
}
