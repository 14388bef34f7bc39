//! The two ways to run: `standalone` (everything in one process) and `run` (a cluster's worker).

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use proofmill_api::relay::run_relay;
use proofmill_api::settings::{Mode, Opened, ServeArgs, StorageArgs, open_queue, open_storage, private_directory};
use proofmill_api::sweeps::{Sweeps, run_sweeps};
use proofmill_api::{AppState, Ops, Outbox, ops_router, serve, serve_router};
use proofmill_contract::Clock;
use proofmill_queue::Queue;
use proofmill_telemetry::{Metrics, SystemClock};
use proofmill_webhooks::{Client, Sender, SenderConfig, Timeouts, system_lookup};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::face::{FaceService, FaceStage};
use crate::pipeline::{Parts, Pipeline};
use crate::settings::{EngineArgs, PipelineArgs, ReloadArgs};
use crate::shutdown;
use crate::trust::Reloader;

/// `proofmill-worker standalone`.
#[derive(Args, Clone, Debug)]
pub struct StandaloneArgs {
    /// Where the data is.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// How to judge.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// How to follow changes of trust.
    #[command(flatten)]
    pub reload: ReloadArgs,
    /// How to work.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
}

/// `proofmill-worker run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Where the data is.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "PROOFMILL_METRICS_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9091", value_parser = proofmill_settings::address)]
    pub metrics_listen: SocketAddr,
    /// Development only: webhooks may go to loopback addresses, by http too
    #[arg(long, env = "PROOFMILL_ALLOW_LOOPBACK_WEBHOOKS")]
    pub allow_loopback_webhooks: bool,
    /// How to judge.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// How to follow changes of trust.
    #[command(flatten)]
    pub reload: ReloadArgs,
    /// How to work.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
}

/// Api, relay, pipeline, sender and sweeps in one process, until a signal; the answer is the exit status.
///
/// # Errors
/// A setting, the storage, the trust store, the model pack or an address cannot be used.
pub async fn standalone(args: StandaloneArgs) -> anyhow::Result<u8> {
    let _alone = match (args.storage.mode(), &args.storage.data_dir) {
        (Mode::Embedded, Some(directory)) => Some(sole_user(directory)?),
        _ => None,
    };
    // Addresses first: one that is taken must not cost the seconds that loading takes.
    let listener = bind(args.serve.listen).await?;
    let address = listener.local_addr()?;
    let ops_listener = bind(args.serve.metrics_listen).await?;
    let ops_address = ops_listener.local_addr()?;

    let worker = Worker::start(&args.storage, &args.engine, &args.reload, &args.pipeline, "standalone").await?;
    let outbox = Arc::<Outbox>::default();
    let state = AppState {
        store: worker.opened.store.clone(),
        vault: worker.opened.vault.clone(),
        deployment: worker.opened.deployment.clone(),
        clock: worker.clock.clone(),
        metrics: worker.metrics.clone(),
        config: args.serve.api_config(address),
        outbox: outbox.clone(),
        shutdown: worker.shutdown.clone(),
    };
    let relay = run_relay(
        worker.opened.store.clone(),
        worker.queue.clone(),
        worker.clock.clone(),
        worker.metrics.clone(),
        outbox,
        worker.shutdown.clone(),
    );
    let serving = serve(state, listener, Some((ops_listener, worker.ops())));
    println!("proofmill-worker standalone: api http://{address}, metrics http://{ops_address}");

    let stop = worker.shutdown.clone();
    let (served, (), ()) = tokio::join!(
        async {
            let served = serving.await;
            // Without its api the process has no purpose: drain and say why.
            stop.cancel();
            served
        },
        relay,
        worker.work(args.serve.allow_loopback_webhooks)?,
    );
    served.context("the api stopped")?;
    Ok(0)
}

/// A cluster's worker: pipeline, sender and sweeps, until a signal; the answer is the exit status.
///
/// # Errors
/// A setting, the storage, the trust store, the model pack or an address cannot be used.
pub async fn run(args: RunArgs) -> anyhow::Result<u8> {
    needs_cluster(&args.storage)?;
    let ops_listener = bind(args.metrics_listen).await?;
    let ops_address = ops_listener.local_addr()?;
    let worker = Worker::start(&args.storage, &args.engine, &args.reload, &args.pipeline, "worker").await?;
    println!("proofmill-worker run: metrics http://{ops_address}");
    // The operator's port answers until the pipeline has drained, so that draining can be seen.
    let ops_done = CancellationToken::new();
    let ops = serve_router(ops_router(worker.ops()), ops_listener, ops_done.clone());
    let work = worker.work(args.allow_loopback_webhooks)?;
    tokio::join!(ops, async {
        work.await;
        ops_done.cancel();
    });
    Ok(0)
}

/// What both ways have in common.
struct Worker {
    opened: Opened,
    queue: Queue,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    face: Arc<FaceService>,
    engine: Arc<Engine>,
    reloader: Reloader,
    pipeline: PipelineArgs,
}

impl Worker {
    async fn start(
        storage: &StorageArgs,
        engine: &EngineArgs,
        reload: &ReloadArgs,
        pipeline: &PipelineArgs,
        role: &'static str,
    ) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new(&crate::build_info(role))?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        metrics.start_seconds.set(clock.now().as_micros() as f64 / 1e6);
        let shutdown = shutdown::watch(metrics.clone()).context("cannot watch for signals")?;
        let opened = open_storage(storage).await?;
        let queue = open_queue(storage).await?;

        let threads = engine.threads();
        let beside = storage.data_dir.as_ref().map(|directory| directory.join("trust"));
        let fallbacks: Vec<&Path> = beside.iter().map(std::path::PathBuf::as_path).collect();
        let source = engine.trust_source(&fallbacks)?;
        let reloader = Reloader::start(source, reload.trust_reload, clock.clone(), metrics.clone()).await?;

        let pack = crate::face::pack_folder(engine.pack.as_deref());
        let (device, batch, terms) = (engine.device, engine.batch.clone(), engine.terms.clone());
        // Reading and building the networks blocks for seconds.
        let counted = metrics.clone();
        let loading = move || FaceService::start(&pack, &terms, device, threads, &batch, counted);
        let face = Arc::new(tokio::task::spawn_blocking(loading).await??);
        let identity = face.matcher().identity();
        metrics.model_info.with_label_values(&[&*identity.name, &*identity.sha256, &*identity.operating_point]).set(1);
        tracing::info!(model = face.model(), devices = face.describe(), threads, "face stage ready");

        let stage: Arc<dyn FaceStage> = face.clone();
        let engine = Arc::new(Engine::new(reloader.live(), stage, metrics.clone(), threads));
        if queue.kind() == "in-process" {
            // The queue died with the process before this one; the store has not forgotten.
            let requeued = opened.store.requeue_unsettled(clock.now()).await?;
            if requeued > 0 {
                tracing::info!(requeued, "attempts without a verdict go on");
            }
            let (store, vault) = (opened.store.clone(), opened.vault.clone());
            let sweeps = Sweeps { store, vault, clock: clock.clone(), metrics: metrics.clone() };
            if let Err(error) = sweeps.left_behind().await {
                // Unreadable already; the hourly sweep tries again.
                tracing::warn!(%error, "sealed evidence that was left behind is not removed yet");
            }
        }
        Ok(Self { opened, queue, clock, metrics, shutdown, face, engine, reloader, pipeline: pipeline.clone() })
    }

    fn ops(&self) -> Ops {
        let ops = Ops::new(self.metrics.clone(), self.shutdown.clone())
            .with_storage(self.opened.store.clone(), self.opened.vault.clone(), self.clock.clone())
            .with_queue(self.queue.clone());
        self.face.clone().show(ops)
    }

    /// Pipeline, sender and sweeps until a signal, drained.
    fn work(self, allow_loopback_webhooks: bool) -> anyhow::Result<impl Future<Output = ()>> {
        let client = Client::new(system_lookup(), allow_loopback_webhooks, Timeouts::default())
            .context("cannot set up TLS for webhooks")?;
        let sender = Sender::new(
            self.opened.store.clone(),
            self.opened.deployment.clone(),
            self.clock.clone(),
            self.metrics.clone(),
            client,
            SenderConfig::default(),
        );
        let webhooks_due = sender.wakeup();
        let sweeps = Sweeps {
            store: self.opened.store.clone(),
            vault: self.opened.vault.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
        };
        let parts = Parts {
            store: self.opened.store,
            queue: self.queue,
            vault: self.opened.vault,
            deployment: self.opened.deployment,
            clock: self.clock,
            metrics: self.metrics,
            engine: self.engine,
            webhooks_due,
        };
        let pipeline = Pipeline::new(parts, self.pipeline.config(self.face.max_batch()));
        let (shutdown, face, reloader) = (self.shutdown, self.face, self.reloader);
        Ok(async move {
            // Verdicts settled while draining may still be sent: the sender stops after the pipeline.
            let settled = CancellationToken::new();
            let piped = async {
                pipeline.run(shutdown.clone()).await;
                settled.cancel();
            };
            tokio::join!(
                piped,
                sender.run(settled.clone()),
                run_sweeps(sweeps, shutdown.clone()),
                reloader.run(shutdown.clone())
            );
            face.drain().await;
            tracing::info!("drained");
        })
    }
}

/// Refuses the embedded mode for `run`.
///
/// # Errors
/// The storage is embedded.
pub fn needs_cluster(storage: &StorageArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        storage.mode() == Mode::Cluster,
        "`run` works for a cluster and needs --database-url and --amqp-uri; `standalone` needs neither"
    );
    Ok(())
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Locks a data directory: its in-process queue knows nothing of another process's work.
fn sole_user(directory: &Path) -> anyhow::Result<File> {
    let context = || format!("cannot lock the data directory {}", directory.display());
    // The database in it, too, is nobody else's to read.
    private_directory(directory)?;
    let file =
        File::options().create(true).truncate(false).write(true).open(directory.join("lock")).with_context(context)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            anyhow::bail!(
                "another `standalone` works in {}; one data directory serves one process",
                directory.display()
            )
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error).with_context(context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_serves_one_process() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        drop(sole_user(&data).unwrap());
        let mode = std::fs::metadata(&data).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "the database is nobody else's to read");
        let held = sole_user(folder.path()).unwrap();
        let error = sole_user(folder.path()).unwrap_err().to_string();
        assert!(error.contains("another"), "{error}");
        drop(held);
        assert!(sole_user(folder.path()).is_ok());
    }
}
