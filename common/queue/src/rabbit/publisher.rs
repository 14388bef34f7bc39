//! Confirmed publishing: many messages under way at once, and none believed stored that is not.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::Mutex;

use crate::error::{PublishError, QueueError};
use crate::rabbit::config::RabbitConfig;
use crate::rabbit::link::Link;
use crate::rabbit::topology::Topology;

const PERSISTENT: u8 = 2;

/// One message, for a queue by name.
pub(crate) struct Message {
    pub(crate) queue: String,
    pub(crate) body: Vec<u8>,
}

/// A channel in confirm mode, used by one batch at a time.
///
/// One batch at a time, because the broker sends a returned message apart from its confirmation, and the client
/// library attaches it to whichever confirmation it sees next. So a batch collects all of its confirmations and
/// returned messages, and matches these by message id. A batch that does not end cleanly takes its channel with it.
pub(crate) struct Publisher {
    config: Arc<RabbitConfig>,
    topology: Topology,
    channel: Mutex<Option<Channel>>,
    sequence: AtomicU64,
}

impl Publisher {
    pub(crate) fn new(config: &Arc<RabbitConfig>, topology: &Topology) -> Self {
        Self {
            config: config.clone(),
            topology: topology.clone(),
            channel: Mutex::new(None),
            sequence: AtomicU64::new(0),
        }
    }

    /// Publishes all messages; one result each.
    pub(crate) async fn publish(&self, link: &Link, messages: &[Message]) -> Vec<Result<(), PublishError>> {
        if messages.is_empty() {
            return Vec::new();
        }
        let mut slot = self.channel.lock().await;
        // Taken out: should this future be dropped half way, the channel with its unread confirmations goes too.
        let channel = match slot.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => match self.open_channel(link).await {
                Ok(channel) => channel,
                Err(error) => return vec![Err(error); messages.len()],
            },
        };
        let first_id = self.sequence.fetch_add(messages.len() as u64, Ordering::Relaxed);
        let mut batch = Batch::new(first_id, messages.len());
        match self.run(&channel, messages, &mut batch).await {
            // After a return the next channel declares the queues again: one of them was missing.
            Ok(()) if batch.returned.is_empty() => *slot = Some(channel),
            Ok(()) => {}
            Err(error) => batch.fail_rest(&error),
        }
        batch.into_results()
    }

    async fn run(&self, channel: &Channel, messages: &[Message], batch: &mut Batch) -> Result<(), PublishError> {
        let mut under_way = FuturesUnordered::new();
        for (index, message) in messages.iter().enumerate() {
            while under_way.len() >= self.config.publish_window {
                self.next_confirmation(&mut under_way, batch).await?;
            }
            let sent = channel.basic_publish(
                "".into(),
                message.queue.as_str().into(),
                BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
                &message.body,
                batch.properties(index),
            );
            let confirmation =
                tokio::time::timeout(self.config.timeout, sent).await.map_err(|_| PublishError::Timeout)?;
            let confirmation = confirmation.map_err(lost)?;
            under_way.push(async move { (index, confirmation.await) });
        }
        while !under_way.is_empty() {
            self.next_confirmation(&mut under_way, batch).await?;
        }
        Ok(())
    }

    async fn next_confirmation<F>(
        &self,
        under_way: &mut FuturesUnordered<F>,
        batch: &mut Batch,
    ) -> Result<(), PublishError>
    where
        F: Future<Output = (usize, lapin::Result<Confirmation>)>,
    {
        let next = tokio::time::timeout(self.config.timeout, under_way.next());
        if let Some((index, confirmation)) = next.await.map_err(|_| PublishError::Timeout)? {
            batch.record(index, confirmation.map_err(lost)?);
        }
        Ok(())
    }

    async fn open_channel(&self, link: &Link) -> Result<Channel, PublishError> {
        let not_connected = |error: QueueError| match error {
            QueueError::NotConnected(reason) => PublishError::NotConnected(reason),
            other => PublishError::NotConnected(other.to_string()),
        };
        let connection = link.current().map_err(not_connected)?;
        let open = async {
            let channel = connection.create_channel().await?;
            self.topology.declare(&channel).await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        };
        match tokio::time::timeout(self.config.timeout, open).await {
            Ok(channel) => channel.map_err(lost),
            Err(_) => Err(PublishError::Timeout),
        }
    }
}

/// What is known of each message of a batch.
struct Batch {
    first_id: u64,
    known: Vec<Option<Result<(), PublishError>>>,
    returned: HashMap<u64, String>,
    /// A returned message without an id of this batch: it could be any of them.
    unknown_return: bool,
}

impl Batch {
    fn new(first_id: u64, length: usize) -> Self {
        Self { first_id, known: vec![None; length], returned: HashMap::new(), unknown_return: false }
    }

    fn properties(&self, index: usize) -> BasicProperties {
        let id = self.first_id + index as u64;
        BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/json".into())
            .with_message_id(id.to_string().into())
    }

    fn record(&mut self, index: usize, confirmation: Confirmation) {
        let result = if confirmation.is_ack() { Ok(()) } else { Err(PublishError::Refused) };
        if let Some(known) = self.known.get_mut(index) {
            *known = Some(result);
        }
        if let Some(message) = confirmation.take_message() {
            self.record_return(&message);
        }
    }

    fn record_return(&mut self, message: &BasicReturnMessage) {
        let id = message.delivery.properties.message_id().as_ref().and_then(|id| id.as_str().parse::<u64>().ok());
        match id {
            Some(id) if (self.first_id..self.first_id + self.known.len() as u64).contains(&id) => {
                self.returned.insert(id, format!("{} {}", message.reply_code, message.reply_text));
            }
            _ => self.unknown_return = true,
        }
    }

    fn fail_rest(&mut self, error: &PublishError) {
        for known in &mut self.known {
            known.get_or_insert_with(|| Err(error.clone()));
        }
    }

    fn into_results(self) -> Vec<Result<(), PublishError>> {
        let Self { first_id, known, mut returned, unknown_return } = self;
        let result = |(index, known): (usize, Option<Result<(), PublishError>>)| match returned
            .remove(&(first_id + index as u64))
        {
            Some(reason) => Err(PublishError::Returned(reason)),
            None if unknown_return => Err(PublishError::Returned("a message of the batch".into())),
            None => known.unwrap_or(Err(PublishError::Timeout)),
        };
        known.into_iter().enumerate().map(result).collect()
    }
}

fn lost(error: lapin::Error) -> PublishError {
    PublishError::NotConnected(error.to_string())
}
