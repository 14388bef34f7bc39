//! Intake: deliveries of one lane become tasks, a bounded number at a time.

use std::sync::Arc;
use std::time::Duration;

use proofmill_contract::Lane;
use proofmill_queue::{Consumer, Delivery};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Shared, work};

/// Consumes one lane until `shutdown`, then finishes what was begun.
pub(super) async fn run(shared: Arc<Shared>, lane: Lane, shutdown: CancellationToken) {
    let mut tasks = JoinSet::new();
    while !shutdown.is_cancelled() {
        let Some(mut consumer) = consume(&shared, lane, &shutdown).await else { break };
        take(&shared, lane, &mut consumer, &mut tasks, &shutdown).await;
        // First of all stop the flow: what was prefetched and not begun goes to another worker now.
        consumer.cancel().await;
        // The connection must outlive its deliveries, or they could not be acknowledged any more.
        while let Some(task) = tasks.join_next().await {
            report(task);
        }
    }
}

async fn consume(shared: &Shared, lane: Lane, shutdown: &CancellationToken) -> Option<Consumer> {
    loop {
        match shared.parts.queue.consume(lane, shared.config.prefetch).await {
            Ok(consumer) => return Some(consumer),
            Err(error) => tracing::warn!(%lane, %error, "cannot consume; trying again"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

async fn take(
    shared: &Arc<Shared>,
    lane: Lane,
    consumer: &mut Consumer,
    tasks: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) {
    let room = usize::from(shared.config.prefetch);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            Some(task) = tasks.join_next(), if !tasks.is_empty() => report(task),
            delivery = consumer.next(), if tasks.len() < room => match delivery {
                Some(delivery) => begin(shared, lane, delivery, tasks),
                None => return,
            },
        }
    }
}

fn begin(shared: &Arc<Shared>, lane: Lane, delivery: Delivery, tasks: &mut JoinSet<()>) {
    let metrics = &shared.parts.metrics;
    if delivery.redelivered {
        metrics.redeliveries.with_label_values(&[lane.as_str()]).inc();
    }
    let shared = shared.clone();
    tasks.spawn(async move { work::run(&shared, delivery).await });
}

/// A panic here is a bug in the pipeline itself, not in a stage (those are caught). The delivery was dropped with its
/// task, so it comes again, as a suspect.
fn report(task: Result<(), tokio::task::JoinError>) {
    if let Err(error) = task
        && error.is_panic()
    {
        tracing::error!("a pipeline task panicked; its attempt comes again");
    }
}
