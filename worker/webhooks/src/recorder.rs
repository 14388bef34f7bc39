//! Writes how tries ended: whatever has ended while the last transaction was being written goes into the next one, so
//! that a sender under load pays for one commit per batch and an idle one waits for nobody.

use std::sync::Arc;
use std::time::Duration;

use proofmill_contract::Clock;
use proofmill_store::{Store, TryEnded};
use tokio::sync::{Notify, mpsc};

/// Tries of one transaction.
const BATCH: usize = 256;
/// How often a batch is written again where the store is away. What is then still not written runs out of its lease and
/// is sent again, under the same event id.
const WRITES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(500);

/// Records until every sender of tries is gone. `recorded` is notified after each batch: it made room at its endpoints.
pub(crate) async fn run(
    store: Store,
    clock: Arc<dyn Clock>,
    mut ended: mpsc::Receiver<TryEnded>,
    recorded: Arc<Notify>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while ended.recv_many(&mut batch, BATCH).await > 0 {
        write(&store, &*clock, std::mem::take(&mut batch)).await;
        recorded.notify_one();
    }
}

async fn write(store: &Store, clock: &dyn Clock, batch: Vec<TryEnded>) {
    for writes_left in (0..WRITES).rev() {
        match store.record_deliveries(batch.clone(), clock.now()).await {
            Ok(held) => {
                let lost = held.iter().filter(|held| !**held).count();
                if lost > 0 {
                    tracing::warn!(lost, "webhook tries ended after their lease: they are another sender's now");
                }
                return;
            }
            Err(error) if error.is_transient() && writes_left > 0 => {
                tracing::warn!(%error, tries = batch.len(), "webhook outcomes cannot be recorded; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::error!(%error, tries = batch.len(), "webhook outcomes are not recorded");
                return;
            }
        }
    }
}
