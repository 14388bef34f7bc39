//! `quarantine list|requeue`

use clap::Subcommand;
use proofmill_api::{StorageArgs, settings};
use proofmill_contract::{AttemptId, Clock};
use proofmill_telemetry::SystemClock;
use serde_json::json;

#[derive(Subcommand)]
pub enum QuarantineCommand {
    /// List attempts set aside, oldest first
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Send an attempt back to the workers
    Requeue {
        /// The attempt's id
        attempt: AttemptId,
    },
}

pub async fn run(storage: &StorageArgs, command: QuarantineCommand) -> anyhow::Result<()> {
    let store = settings::open_store(storage).await?;
    match command {
        QuarantineCommand::List { json, limit } => {
            for row in store.list_quarantined(limit).await? {
                let value = json!({
                    "attempt_id": row.attempt_id,
                    "session_id": row.session_id,
                    "reason": row.reason,
                    "quarantined_at": row.quarantined_at,
                    "tries": row.tries,
                });
                super::print(json, &value, || {
                    format!("{}  {}  {} tries  {}", row.attempt_id, row.quarantined_at, row.tries, row.reason)
                });
            }
        }
        QuarantineCommand::Requeue { attempt } => {
            let requeued = store.requeue_quarantined(&attempt, SystemClock.now()).await?;
            anyhow::ensure!(requeued, "attempt {attempt} is not set aside");
            println!("requeued {attempt}");
        }
    }
    Ok(())
}
