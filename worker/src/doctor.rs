//! `doctor`: whether this machine and configuration can work, part by part.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use proofmill_api::settings::{StorageArgs, open_queue, open_storage};
use proofmill_contract::Clock as _;
use proofmill_telemetry::{Metrics, SystemClock};

use crate::face::{FaceService, FaceStage as _};
use crate::settings::{BatchArgs, EngineArgs};

/// How long the broker may take to be reached.
const QUEUE_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// `proofmill-worker doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Where the data is; without it storage is not looked at.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Trust store, model pack, device.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Looks at every part; the answer is 0 if all can work, else 1.
pub async fn run(args: DoctorArgs) -> u8 {
    let mut report = Report { failed: false };
    report.line("device", Ok(proofmill_face::discovery().to_string()));
    report.line("model", model(&args).await);
    let beside = args.storage.data_dir.as_ref().map(|directory| directory.join("trust"));
    let fallbacks: Vec<&Path> = beside.iter().map(std::path::PathBuf::as_path).collect();
    let trust = args.engine.trust_source(&fallbacks).and_then(|source| crate::trust::load_source(&source, 1));
    report.line("trust", trust.map(|trust| crate::trust::describe(&trust)));
    if args.storage.data_dir.is_some() || args.storage.database_url.is_some() {
        storage(&args.storage, &mut report).await;
    } else {
        println!("{:<8} not looked at: neither --data-dir nor --database-url was given", "storage");
    }
    u8::from(report.failed)
}

async fn model(args: &DoctorArgs) -> anyhow::Result<String> {
    let pack = crate::face::pack_folder(args.engine.pack.as_deref());
    let metrics = Arc::new(Metrics::new(&crate::build_info("doctor"))?);
    let (device, threads) = (args.engine.device, args.engine.threads());
    let batch = BatchArgs { record_arrivals: None, ..args.engine.batch.clone() };
    let service = FaceService::start(&pack, &args.engine.terms, device, threads, &batch, metrics)?;
    let text = format!(
        "{} from {}, on {}, batches of {}",
        service.model(),
        pack.display(),
        service.describe(),
        service.max_batch()
    );
    service.drain().await;
    Ok(text)
}

async fn storage(args: &StorageArgs, report: &mut Report) {
    match open_storage(args).await {
        Err(error) => report.line("storage", Err(error.into())),
        Ok(opened) => {
            let store = opened.store.ready().await.map(|()| format!("{:?}", opened.store.kind()));
            report.line("store", store.map_err(anyhow::Error::from));
            let vault = opened.vault.check(SystemClock.now()).await;
            report.line("vault", vault.map(|()| "writes, reads and deletes".to_owned()).map_err(anyhow::Error::from));
        }
    }
    let queue = async {
        let queue = open_queue(args).await?;
        queue.wait_ready(QUEUE_WAIT).await?;
        anyhow::Ok(queue.kind().to_owned())
    };
    report.line("queue", queue.await);
}

struct Report {
    failed: bool,
}

impl Report {
    fn line(&mut self, part: &str, result: anyhow::Result<String>) {
        match result {
            Ok(text) => println!("{part:<8} ok    {text}"),
            Err(error) => {
                self.failed = true;
                println!("{part:<8} FAILS {error:#}");
            }
        }
    }
}
