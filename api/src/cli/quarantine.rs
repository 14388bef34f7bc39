//! `quarantine list|requeue`

use clap::Subcommand;
use proofmill_api::{StorageArgs, settings};
use proofmill_contract::{AttemptId, Clock};
use proofmill_settings::number;
use proofmill_telemetry::SystemClock;
use serde_json::json;

#[derive(Subcommand)]
pub enum QuarantineCommand {
    /// List attempts set aside, oldest first: they wait for `requeue`
    List {
        /// Attempts that were cancelled because their evidence was gone instead, newest first: nothing can be sent back
        #[arg(long)]
        lost: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        /// At most this many, 1 to 1000
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = number(1usize..=1_000))]
        limit: usize,
    },
    /// Send an attempt back to the workers
    Requeue {
        /// The attempt's id
        attempt: AttemptId,
    },
}

pub async fn run(storage: &StorageArgs, command: QuarantineCommand) -> anyhow::Result<()> {
    let store = settings::open_existing_store(storage).await?;
    match command {
        QuarantineCommand::List { lost, json, limit } => {
            let rows = if lost { store.list_given_up(limit).await? } else { store.list_quarantined(limit).await? };
            for row in rows {
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
            let now = SystemClock.now();
            if !store.requeue_quarantined(&attempt, now).await? {
                let found = store.attempt(None, &attempt, now).await?;
                let ended =
                    found.is_some_and(|found| found.attempt.quarantined && found.attempt.completed_at.is_some());
                anyhow::ensure!(
                    !ended,
                    "attempt {attempt} has ended: its holder may begin another, this one cannot come back"
                );
                anyhow::bail!("attempt {attempt} is not set aside");
            }
            println!("requeued {attempt}");
        }
    }
    Ok(())
}
