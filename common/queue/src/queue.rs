//! The queue, over either transport.

use std::time::Duration;

use proofmill_contract::Lane;

use crate::delivery::{Consumer, ConsumerKind};
use crate::error::{PublishError, QueueError};
use crate::in_process::InProcessQueue;
use crate::job::JobRef;
use crate::rabbit::{RabbitConfig, RabbitQueue};

/// Carries job references from the outbox to the workers, at least once. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Queue {
    /// Inside one process; rebuilt from the store at start.
    InProcess(InProcessQueue),
    /// RabbitMQ quorum queues.
    Rabbit(RabbitQueue),
}

/// For metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Connected and accepting publishes.
    pub connected: bool,
    /// Connections established, after the first.
    pub reconnects: u64,
    /// Messages that were no jobs.
    pub malformed: u64,
}

impl Queue {
    /// A queue in this process that holds up to `capacity` waiting jobs per lane.
    pub fn in_process(capacity: usize) -> Self {
        Queue::InProcess(InProcessQueue::new(capacity))
    }

    /// RabbitMQ. Returns at once: the connection is made, and kept, in the background, so that a process
    /// starts while the broker is down. [`Queue::ready`] tells how it stands.
    ///
    /// # Errors
    /// [`QueueError::Config`] only.
    pub async fn connect(config: RabbitConfig) -> Result<Self, QueueError> {
        RabbitQueue::connect(config).map(Queue::Rabbit)
    }

    /// Publishes all jobs, confirmations pipelined, and says of each whether it is stored. `Err` means not known
    /// to be stored: publish it again later.
    pub async fn publish(&self, jobs: &[JobRef]) -> Vec<Result<(), PublishError>> {
        match self {
            Queue::InProcess(queue) => queue.publish(jobs),
            Queue::Rabbit(queue) => queue.publish(jobs).await,
        }
    }

    /// Starts to consume a lane, with at most `prefetch` jobs unsettled at a time.
    ///
    /// # Errors
    /// [`QueueError::Config`] for a prefetch of zero (which AMQP takes for "no limit").
    pub async fn consume(&self, lane: Lane, prefetch: u16) -> Result<Consumer, QueueError> {
        if prefetch == 0 {
            return Err(QueueError::Config("prefetch must be at least 1".into()));
        }
        Ok(Consumer(match self {
            Queue::InProcess(queue) => ConsumerKind::InProcess(queue.consume(lane, prefetch)),
            Queue::Rabbit(queue) => ConsumerKind::Rabbit(queue.consume(lane, prefetch)),
        }))
    }

    /// Whether publishes and deliveries can be expected to work now.
    ///
    /// # Errors
    /// What is wrong, for the readiness page.
    pub async fn ready(&self) -> Result<(), QueueError> {
        match self {
            Queue::InProcess(_) => Ok(()),
            Queue::Rabbit(queue) => queue.ready(),
        }
    }

    /// Waits until [`Queue::ready`], for at most `limit`.
    ///
    /// # Errors
    /// The last reason why it is not.
    pub async fn wait_ready(&self, limit: Duration) -> Result<(), QueueError> {
        match self {
            Queue::InProcess(_) => Ok(()),
            Queue::Rabbit(queue) => queue.wait_ready(limit).await,
        }
    }

    /// Jobs waiting in a lane (not those handed out).
    ///
    /// # Errors
    /// [`QueueError::NotConnected`].
    pub async fn depth(&self, lane: Lane) -> Result<u64, QueueError> {
        match self {
            Queue::InProcess(queue) => Ok(queue.depth(lane)),
            Queue::Rabbit(queue) => queue.depth(lane).await,
        }
    }

    /// Jobs set aside for an operator.
    ///
    /// # Errors
    /// [`QueueError::NotConnected`].
    pub async fn dead_letters(&self) -> Result<u64, QueueError> {
        match self {
            Queue::InProcess(queue) => Ok(queue.dead_letters()),
            Queue::Rabbit(queue) => queue.dead_letters().await,
        }
    }

    /// For metrics.
    pub fn stats(&self) -> QueueStats {
        match self {
            Queue::InProcess(_) => QueueStats { connected: true, ..QueueStats::default() },
            Queue::Rabbit(queue) => queue.stats(),
        }
    }

    /// Which transport: `in-process` or `rabbitmq`.
    pub fn kind(&self) -> &'static str {
        match self {
            Queue::InProcess(_) => "in-process",
            Queue::Rabbit(_) => "rabbitmq",
        }
    }
}
