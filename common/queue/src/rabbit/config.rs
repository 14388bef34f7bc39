//! How to reach the broker.

use std::fmt;
use std::time::Duration;

use lapin::uri::AMQPUri;

use crate::error::QueueError;

/// Seconds between heartbeats unless the URI says otherwise: a half-open connection is noticed within two.
const HEARTBEAT_SECONDS: u16 = 10;

/// Where the broker is and how to behave towards it. Printed without the password.
#[derive(Clone)]
pub struct RabbitConfig {
    /// `amqp://user:password@host:port/vhost` or `amqps://…`.
    pub uri: String,
    /// First part of every queue's name, so that deployments can share a broker.
    pub prefix: String,
    /// Shown in the broker's list of connections.
    pub connection_name: String,
    /// Deliveries of one message after which the broker dead-letters it by itself. A backstop only: the
    /// broker counts a delivery for every message that a dying worker held, the guilty and the innocent,
    /// so the tries that count are those in the database.
    pub delivery_limit: u32,
    /// Delays that exist as retry queues; a retry waits for the shortest one that is long enough.
    pub retry_delays: Vec<Duration>,
    /// How long to wait for a connection, or for the broker to confirm a batch.
    pub timeout: Duration,
    /// Unconfirmed publishes under way at a time.
    pub publish_window: usize,
    /// First pause before reconnecting; doubles, with jitter, up to `reconnect_max`.
    pub reconnect_min: Duration,
    /// Longest pause before reconnecting.
    pub reconnect_max: Duration,
}

impl RabbitConfig {
    /// The usual settings.
    pub fn new(uri: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            prefix: prefix.into(),
            connection_name: "proofmill".into(),
            delivery_limit: 50,
            retry_delays: [1, 5, 30, 300].map(Duration::from_secs).to_vec(),
            timeout: Duration::from_secs(30),
            publish_window: 512,
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(10),
        }
    }
}

impl RabbitConfig {
    /// Whether it can be used, without connecting.
    ///
    /// # Errors
    /// [`QueueError::Config`], which repeats nothing of the URI.
    pub fn check(&self) -> Result<(), QueueError> {
        self.parsed_uri()?;
        if self.publish_window == 0 {
            return Err(QueueError::Config("publish window must be at least 1".into()));
        }
        if self.timeout.is_zero() {
            return Err(QueueError::Config("timeout must be longer than zero".into()));
        }
        Ok(())
    }

    pub(crate) fn parsed_uri(&self) -> Result<AMQPUri, QueueError> {
        // The parser's own message might repeat the password.
        let mut uri: AMQPUri = self
            .uri
            .parse()
            .map_err(|_| QueueError::Config("uri is not of the form amqp://user:password@host:port/vhost".into()))?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        Ok(uri)
    }
}

impl fmt::Debug for RabbitConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitConfig")
            .field("uri", &"[redacted]")
            .field("prefix", &self.prefix)
            .field("delivery_limit", &self.delivery_limit)
            .field("retry_delays", &self.retry_delays)
            .field("timeout", &self.timeout)
            .field("publish_window", &self.publish_window)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_in_no_error_and_not_printed() {
        let config = RabbitConfig::new("amqp://user:hunter2@", "p");
        assert!(!format!("{config:?}").contains("hunter2"));
        let config = RabbitConfig::new("ampq://user:hunter2@host", "p");
        assert!(!config.check().unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn a_heartbeat_is_asked_for_unless_the_uri_does() {
        let heartbeat = |uri: &str| RabbitConfig::new(uri, "p").parsed_uri().unwrap().query.heartbeat;
        assert_eq!(heartbeat("amqp://localhost"), Some(HEARTBEAT_SECONDS));
        assert_eq!(heartbeat("amqp://localhost?heartbeat=3"), Some(3));
    }
}
