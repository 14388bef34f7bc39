//! One supervised connection: made, watched, and made again for as long as the queue lives.
//!
//! The client library can recover by itself, but it gives up after some tries and has failed to reconnect after
//! broker restarts; here the loop is ours, every connection is new, and so is all that hangs on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::error::QueueError;
use crate::rabbit::config::RabbitConfig;
use crate::rabbit::topology::Topology;

/// How often the state of a connection is looked at, beside the events it reports.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// A connection that lasted this long was a good one: the next pause is short again.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// A handle on the connection of the moment.
#[derive(Clone)]
pub(crate) struct Link {
    state: watch::Receiver<State>,
    established: Arc<AtomicU64>,
}

#[derive(Clone)]
enum State {
    Down(String),
    Up(Arc<Connection>),
}

impl Link {
    pub(crate) fn start(
        config: Arc<RabbitConfig>,
        topology: Topology,
        purpose: &'static str,
        closed: CancellationToken,
    ) -> Self {
        let (sender, state) = watch::channel(State::Down("connecting".into()));
        let established = Arc::new(AtomicU64::new(0));
        let supervisor = Supervisor { config, topology, purpose, sender, established: established.clone() };
        tokio::spawn(async move {
            // Cancelled when the last queue handle is dropped; dropping the connection closes it.
            closed.run_until_cancelled(supervisor.run()).await;
        });
        Self { state, established }
    }

    /// The connection, if there is one now.
    pub(crate) fn current(&self) -> Result<Arc<Connection>, QueueError> {
        match &*self.state.borrow() {
            State::Up(connection) if connection.status().connected() => Ok(connection.clone()),
            State::Up(_) => Err(QueueError::NotConnected("connection lost".into())),
            State::Down(reason) => Err(QueueError::NotConnected(reason.clone())),
        }
    }

    /// Waits for a connection; `None` once the queue is closed.
    pub(crate) async fn wait(&mut self) -> Option<Arc<Connection>> {
        loop {
            if let State::Up(connection) = &*self.state.borrow_and_update()
                && connection.status().connected()
            {
                return Some(connection.clone());
            }
            self.state.changed().await.ok()?;
        }
    }

    pub(crate) fn ready(&self) -> Result<(), QueueError> {
        if self.current()?.status().blocked() {
            return Err(QueueError::Blocked("it is short of memory or disk".into()));
        }
        Ok(())
    }

    pub(crate) fn reconnects(&self) -> u64 {
        self.established.load(Ordering::Relaxed).saturating_sub(1)
    }
}

struct Supervisor {
    config: Arc<RabbitConfig>,
    topology: Topology,
    purpose: &'static str,
    sender: watch::Sender<State>,
    established: Arc<AtomicU64>,
}

impl Supervisor {
    async fn run(self) {
        let mut pause = self.config.reconnect_min;
        loop {
            let reason = match tokio::time::timeout(self.config.timeout, self.establish()).await {
                Ok(Ok(connection)) => {
                    let since = Instant::now();
                    self.established.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(purpose = self.purpose, "connected to the message broker");
                    let connection = Arc::new(connection);
                    self.sender.send_replace(State::Up(connection.clone()));
                    let reason = lost(&connection).await;
                    if since.elapsed() >= STABLE_AFTER {
                        pause = self.config.reconnect_min;
                    }
                    reason
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".into(),
            };
            tracing::warn!(purpose = self.purpose, %reason, "not connected to the message broker");
            self.sender.send_replace(State::Down(reason));
            // Jitter, so that a fleet does not come back in step after a broker restart.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(self.config.reconnect_max);
        }
    }

    async fn establish(&self) -> Result<Connection, QueueError> {
        let refused = |error: lapin::Error| QueueError::Refused(error.to_string());
        let name = format!("{} ({})", self.config.connection_name, self.purpose);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connection = Connection::connect_uri(self.config.parsed_uri()?, properties).await.map_err(refused)?;
        // Queues that cannot be declared make the link not ready, with the broker's own words.
        let channel = connection.create_channel().await.map_err(refused)?;
        self.topology.declare(&channel).await.map_err(refused)?;
        Ok(connection)
    }
}

/// Waits until the connection is lost and says why.
async fn lost(connection: &Connection) -> String {
    let mut events = connection.events_listener();
    let mut watch = tokio::time::interval(WATCH_INTERVAL);
    watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::Error(error)) => {
                    if !connection.status().connected() {
                        return error.to_string();
                    }
                }
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(%reason, "the message broker takes no publishes");
                }
                Some(Event::ConnectionUnblocked) => tracing::info!("the message broker takes publishes again"),
                Some(_) => {}
                None => return "connection lost".into(),
            },
            _ = watch.tick() => {
                if !connection.status().connected() {
                    return "connection lost".into();
                }
            }
        }
    }
}
