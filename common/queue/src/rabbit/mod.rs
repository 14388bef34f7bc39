//! RabbitMQ: quorum queues, confirmed publishes, and connections that are rebuilt for as long as it takes.

mod config;
mod consumer;
mod link;
mod publisher;
mod topology;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proofmill_contract::Lane;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{PublishError, QueueError};
use crate::job::JobRef;
use crate::queue::QueueStats;
use link::Link;
use publisher::{Message, Publisher};

pub use config::RabbitConfig;
pub(crate) use consumer::{Consumer, Token};
pub use topology::Topology;

/// A deployment's queues on a RabbitMQ broker. Cheap to clone.
#[derive(Clone)]
pub struct RabbitQueue {
    inner: Arc<Inner>,
}

/// Publishing and consuming have a connection each: a broker short of memory stops reading from connections
/// that publish, and acknowledgements must still get through.
pub(crate) struct Inner {
    config: Arc<RabbitConfig>,
    topology: Topology,
    publishing: Link,
    consuming: OnceLock<Link>,
    jobs: Publisher,
    // Retries have a channel of their own, so that they do not wait behind a relay's large batch.
    retries: Publisher,
    malformed: AtomicU64,
    closed: CancellationToken,
    _close_on_drop: DropGuard,
}

impl RabbitQueue {
    /// Checks the configuration and starts connecting in the background.
    pub(crate) fn connect(config: RabbitConfig) -> Result<Self, QueueError> {
        let topology = Topology::new(&config)?;
        config.check()?;
        let config = Arc::new(config);
        let closed = CancellationToken::new();
        let publishing = Link::start(config.clone(), topology.clone(), "publish", closed.clone());
        Ok(Self {
            inner: Arc::new(Inner {
                jobs: Publisher::new(&config, &topology),
                retries: Publisher::new(&config, &topology),
                config,
                topology,
                publishing,
                consuming: OnceLock::new(),
                malformed: AtomicU64::new(0),
                _close_on_drop: closed.clone().drop_guard(),
                closed,
            }),
        })
    }

    /// The names of the queues.
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    pub(crate) async fn publish(&self, jobs: &[JobRef]) -> Vec<Result<(), PublishError>> {
        let messages: Vec<Message> =
            jobs.iter().map(|job| Message { queue: self.inner.topology.work(job.lane), body: job.encode() }).collect();
        self.inner.jobs.publish(&self.inner.publishing, &messages).await
    }

    pub(crate) fn consume(&self, lane: Lane, prefetch: u16) -> Consumer {
        Consumer::start(self.inner.clone(), lane, prefetch)
    }

    pub(crate) fn ready(&self) -> Result<(), QueueError> {
        self.inner.publishing.ready()?;
        match self.inner.consuming.get() {
            Some(link) => link.ready(),
            None => Ok(()),
        }
    }

    pub(crate) async fn wait_ready(&self, limit: Duration) -> Result<(), QueueError> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            match self.ready() {
                Ok(()) => return Ok(()),
                Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub(crate) async fn depth(&self, lane: Lane) -> Result<u64, QueueError> {
        self.inner.count(&self.inner.topology.work(lane)).await
    }

    pub(crate) async fn dead_letters(&self) -> Result<u64, QueueError> {
        self.inner.count(&self.inner.topology.dead()).await
    }

    pub(crate) fn stats(&self) -> QueueStats {
        QueueStats {
            connected: self.ready().is_ok(),
            reconnects: self.inner.publishing.reconnects() + self.inner.consuming.get().map_or(0, Link::reconnects),
            malformed: self.inner.malformed.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    /// The connection for consuming, made when the first consumer asks: an api never does.
    fn consuming(&self) -> &Link {
        self.consuming
            .get_or_init(|| Link::start(self.config.clone(), self.topology.clone(), "consume", self.closed.clone()))
    }

    async fn count(&self, queue: &str) -> Result<u64, QueueError> {
        let connection = self.publishing.current()?;
        let ask = async {
            // A channel of its own: asking for a queue that does not exist closes the channel.
            let channel = connection.create_channel().await?;
            topology::message_count(&channel, queue).await
        };
        match tokio::time::timeout(self.config.timeout, ask).await {
            Ok(count) => count.map_err(|error| QueueError::Refused(error.to_string())),
            Err(_) => Err(QueueError::NotConnected("no answer in time".into())),
        }
    }
}

impl std::fmt::Debug for RabbitQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitQueue").field("config", &self.inner.config).finish_non_exhaustive()
    }
}
