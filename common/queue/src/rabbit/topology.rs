//! The queues: two for work, retry queues beside them, one for dead letters.
//!
//! All are quorum queues on the default exchange. A message that fails for good goes to the dead-letter queue; a
//! message to be retried is published to a retry queue, whose time to live sends it back to its work queue.

use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use proofmill_contract::Lane;

use crate::error::QueueError;
use crate::rabbit::config::RabbitConfig;

const LANES: [Lane; 2] = [Lane::Interactive, Lane::Bulk];
const MAX_PREFIX_BYTES: usize = 64;

/// Names and arguments of a deployment's queues.
#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
    delivery_limit: u32,
    /// Milliseconds, ascending.
    retry_millis: Vec<u64>,
}

impl Topology {
    pub(crate) fn new(config: &RabbitConfig) -> Result<Self, QueueError> {
        let safe = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        let prefix = config.prefix.clone();
        if prefix.is_empty() || prefix.len() > MAX_PREFIX_BYTES || !prefix.bytes().all(safe) {
            return Err(QueueError::Config("prefix must be 1 to 64 characters of [A-Za-z0-9._-]".into()));
        }
        let mut retry_millis: Vec<u64> =
            config.retry_delays.iter().map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)).collect();
        retry_millis.sort_unstable();
        retry_millis.dedup();
        let day = 24 * 60 * 60 * 1000;
        if retry_millis.is_empty() || retry_millis.iter().any(|millis| *millis == 0 || *millis > day) {
            return Err(QueueError::Config("retry delays must be from 1 ms to 1 day, at least one".into()));
        }
        if config.delivery_limit == 0 {
            return Err(QueueError::Config("delivery limit must be at least 1".into()));
        }
        Ok(Self { prefix, delivery_limit: config.delivery_limit, retry_millis })
    }

    /// Where the jobs of a lane wait.
    pub fn work(&self, lane: Lane) -> String {
        format!("{}.attempts.{lane}", self.prefix)
    }

    /// Where jobs set aside wait for an operator.
    pub fn dead(&self) -> String {
        format!("{}.attempts.dead", self.prefix)
    }

    /// Where a job waits out a delay: the shortest retry queue that is long enough, or else the longest.
    pub fn retry(&self, lane: Lane, delay: Duration) -> String {
        let wanted = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let long_enough = self.retry_millis.iter().copied().find(|millis| *millis >= wanted);
        let millis = long_enough.or(self.retry_millis.last().copied()).unwrap_or(1_000);
        self.retry_queue(lane, millis)
    }

    /// Every queue.
    pub fn queues(&self) -> Vec<String> {
        let mut queues = vec![self.dead()];
        for lane in LANES {
            queues.push(self.work(lane));
            queues.extend(self.retry_millis.iter().map(|millis| self.retry_queue(lane, *millis)));
        }
        queues
    }

    /// Declares every queue; a queue that exists with other arguments is an error and is left as it is.
    pub(crate) async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        declare(channel, &self.dead(), &[]).await?;
        for lane in LANES {
            let work = self.work(lane);
            let dead = self.dead();
            // Over its delivery limit a message without a dead-letter exchange would be dropped silently.
            let mut arguments = dead_letter_to(&dead);
            arguments.push(("x-delivery-limit", AMQPValue::LongLongInt(i64::from(self.delivery_limit))));
            declare(channel, &work, &arguments).await?;
            for millis in &self.retry_millis {
                let mut arguments = dead_letter_to(&work);
                let ttl = i64::try_from(*millis).unwrap_or(i64::MAX);
                arguments.push(("x-message-ttl", AMQPValue::LongLongInt(ttl)));
                declare(channel, &self.retry_queue(lane, *millis), &arguments).await?;
            }
        }
        Ok(())
    }

    fn retry_queue(&self, lane: Lane, millis: u64) -> String {
        // The delay is in the name, because the arguments of a queue cannot be changed later.
        format!("{}.attempts.{lane}.retry-{millis}ms", self.prefix)
    }
}

/// Messages waiting in a queue.
pub(crate) async fn message_count(channel: &Channel, queue: &str) -> lapin::Result<u64> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    Ok(u64::from(queue.message_count()))
}

/// Dead-lettering at least once needs `reject-publish`: with it, a move between queues is confirmed inside the
/// broker before the message leaves the first one.
fn dead_letter_to(queue: &str) -> Vec<(&'static str, AMQPValue)> {
    vec![
        ("x-dead-letter-exchange", AMQPValue::LongString("".into())),
        ("x-dead-letter-routing-key", AMQPValue::LongString(queue.into())),
        ("x-dead-letter-strategy", AMQPValue::LongString("at-least-once".into())),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ]
}

async fn declare(channel: &Channel, queue: &str, arguments: &[(&str, AMQPValue)]) -> lapin::Result<()> {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, table).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(prefix: &str, delays: &[u64]) -> Result<Topology, QueueError> {
        let mut config = RabbitConfig::new("amqp://localhost", prefix);
        config.retry_delays = delays.iter().map(|millis| Duration::from_millis(*millis)).collect();
        Topology::new(&config)
    }

    #[test]
    fn a_delay_waits_in_the_shortest_queue_that_is_long_enough() {
        let topology = topology("p", &[30_000, 1_000, 5_000]).unwrap();
        let queue = |millis| topology.retry(Lane::Bulk, Duration::from_millis(millis));
        assert_eq!(queue(0), "p.attempts.bulk.retry-1000ms");
        assert_eq!(queue(1_000), "p.attempts.bulk.retry-1000ms");
        assert_eq!(queue(1_001), "p.attempts.bulk.retry-5000ms");
        assert_eq!(queue(3_600_000), "p.attempts.bulk.retry-30000ms");
        assert_eq!(topology.queues().len(), 1 + 2 * (1 + 3));
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused() {
        assert!(topology("", &[1]).is_err());
        assert!(topology("a b", &[1]).is_err());
        assert!(topology("p", &[]).is_err());
        assert!(topology("p", &[0]).is_err());
        assert!(topology("p", &[u64::MAX]).is_err());
    }
}
