//! Consuming a lane across reconnects.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};
use proofmill_contract::Lane;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::delivery::{Delivery, Token as DeliveryToken};
use crate::error::QueueError;
use crate::job::JobRef;
use crate::rabbit::Inner;
use crate::rabbit::publisher::Message;

/// Longest pause before a job goes back that could not be put off.
const MAX_HOLD: Duration = Duration::from_secs(30);

/// A lane's consumer: a task that keeps consuming, and the deliveries it hands over.
pub(crate) struct Consumer {
    deliveries: mpsc::Receiver<Delivery>,
    cancelled: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Consumer {
    pub(crate) fn start(inner: Arc<Inner>, lane: Lane, prefetch: u16) -> Self {
        let (sender, deliveries) = mpsc::channel(1);
        let cancelled = CancellationToken::new();
        let feeder = Feeder { inner, lane, prefetch, sender, cancelled: cancelled.clone() };
        Self { deliveries, cancelled, task: Some(tokio::spawn(feeder.run())) }
    }

    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        loop {
            if self.cancelled.is_cancelled() {
                return None;
            }
            let delivery = self.deliveries.recv().await?;
            // What was read ahead from a connection that is gone cannot be settled, and comes again.
            if is_alive(&delivery) {
                return Some(delivery);
            }
        }
    }

    pub(crate) async fn cancel(&mut self) {
        self.cancelled.cancel();
        self.deliveries.close();
        while let Some(delivery) = self.deliveries.recv().await {
            give_back(delivery).await;
        }
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the consumer's task failed");
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.cancelled.cancel();
    }
}

/// Consumes, and starts over on a new channel whenever the old one ends.
struct Feeder {
    inner: Arc<Inner>,
    lane: Lane,
    prefetch: u16,
    sender: mpsc::Sender<Delivery>,
    cancelled: CancellationToken,
}

impl Feeder {
    async fn run(self) {
        let mut link = self.inner.consuming().clone();
        let mut pause = self.inner.config.reconnect_min;
        loop {
            let connection = tokio::select! {
                () = self.cancelled.cancelled() => return,
                connection = link.wait() => match connection {
                    Some(connection) => connection,
                    None => return,
                },
            };
            let opened = tokio::select! {
                () = self.cancelled.cancelled() => return,
                opened = tokio::time::timeout(self.inner.config.timeout, self.open(&connection)) => opened,
            };
            let reason = match opened {
                Ok(Ok((channel, stream))) => {
                    pause = self.inner.config.reconnect_min;
                    match self.feed(channel, stream).await {
                        ControlFlow::Break(()) => return,
                        ControlFlow::Continue(reason) => reason,
                    }
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".into(),
            };
            drop(connection);
            tracing::warn!(lane = %self.lane, %reason, "consumer interrupted");
            tokio::select! {
                () = self.cancelled.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(self.inner.config.reconnect_max);
        }
    }

    async fn open(&self, connection: &lapin::Connection) -> lapin::Result<(Channel, lapin::Consumer)> {
        let channel = connection.create_channel().await?;
        self.inner.topology.declare(&channel).await?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        let queue = self.inner.topology.work(self.lane);
        let stream = channel
            .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await?;
        Ok((channel, stream))
    }

    /// Hands deliveries over until cancelled (`Break`) or the channel ends (`Continue`, with the reason).
    async fn feed(&self, channel: Channel, mut stream: lapin::Consumer) -> ControlFlow<(), String> {
        loop {
            let received = tokio::select! {
                () = self.cancelled.cancelled() => break,
                received = stream.next() => received,
            };
            let message = match received {
                Some(Ok(message)) => message,
                Some(Err(error)) => return ControlFlow::Continue(error.to_string()),
                // The broker cancels consumers of a queue that is deleted or loses its majority.
                None => return ControlFlow::Continue("the broker ended the consumer".into()),
            };
            let Some(delivery) = self.read(&channel, message).await else { continue };
            let room = tokio::select! {
                () = self.cancelled.cancelled() => None,
                room = self.sender.reserve() => room.ok(),
            };
            match room {
                Some(room) => room.send(delivery),
                None => {
                    give_back(delivery).await;
                    break;
                }
            }
        }
        self.stop(&channel, stream).await;
        ControlFlow::Break(())
    }

    /// Cancels at the broker first, then gives back what it had sent ahead: the other way round, it would come
    /// straight back here.
    async fn stop(&self, channel: &Channel, mut stream: lapin::Consumer) {
        let cancel = channel.basic_cancel(stream.tag(), BasicCancelOptions::default());
        match tokio::time::timeout(self.inner.config.timeout, cancel).await {
            Ok(Ok(())) => {}
            // The channel is gone, and with it every unsettled delivery: they come again elsewhere.
            Ok(Err(_)) | Err(_) => return,
        }
        while let Some(Ok(message)) = stream.next().await {
            requeue(&message.acker).await;
        }
    }

    async fn read(&self, channel: &Channel, message: lapin::message::Delivery) -> Option<Delivery> {
        match JobRef::decode(&message.data) {
            Ok(job) => {
                let token = Token {
                    acker: Some(message.acker),
                    channel: channel.clone(),
                    inner: self.inner.clone(),
                    lane: self.lane,
                };
                Some(Delivery { job, redelivered: message.redelivered, token: DeliveryToken::Rabbit(token) })
            }
            Err(reason) => {
                self.inner.malformed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    lane = %self.lane,
                    bytes = message.data.len(),
                    delivery_tag = message.delivery_tag,
                    %reason,
                    "message is no job: dead-lettered"
                );
                if let Err(error) = message.acker.reject(BasicRejectOptions { requeue: false }).await {
                    tracing::warn!(lane = %self.lane, %error, "a message that is no job could not be dead-lettered");
                }
                None
            }
        }
    }
}

/// Settles one delivery; dropped unsettled, it gives the job back.
pub(crate) struct Token {
    acker: Option<Acker>,
    // Dropping the last handle of a channel closes it, and a closed channel cannot acknowledge.
    channel: Channel,
    inner: Arc<Inner>,
    lane: Lane,
}

impl Token {
    pub(crate) async fn ack(mut self) -> Result<(), QueueError> {
        let Some(acker) = self.acker.take() else { return Err(QueueError::Stale) };
        settled(acker.ack(BasicAckOptions::default()).await)
    }

    pub(crate) async fn dead_letter(mut self) -> Result<(), QueueError> {
        let Some(acker) = self.acker.take() else { return Err(QueueError::Stale) };
        settled(acker.reject(BasicRejectOptions { requeue: false }).await)
    }

    pub(crate) async fn retry_later(mut self, job: &JobRef, delay: Duration) -> Result<(), QueueError> {
        if !self.acker.as_ref().is_some_and(Acker::usable) {
            return Err(QueueError::Stale);
        }
        let message = Message { queue: self.inner.topology.retry(self.lane, delay), body: job.encode() };
        let results = self.inner.retries.publish(&self.inner.publishing, &[message]).await;
        let failure = results.into_iter().find_map(Result::err);
        let Some(acker) = self.acker.take() else { return Err(QueueError::Stale) };
        match failure {
            // Only now that the copy is stored: a crash in between makes two, never none.
            None => settled(acker.ack(BasicAckOptions::default()).await),
            Some(error) => {
                // Given back at once it would spin between broker and worker until its delivery limit.
                tokio::spawn(async move {
                    tokio::time::sleep(delay.min(MAX_HOLD)).await;
                    requeue(&acker).await;
                    drop(self);
                });
                Err(QueueError::NotConnected(error.to_string()))
            }
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let channel = self.channel.clone();
            runtime.spawn(async move {
                requeue(&acker).await;
                drop(channel);
            });
        }
    }
}

fn is_alive(delivery: &Delivery) -> bool {
    match &delivery.token {
        DeliveryToken::Rabbit(token) => token.acker.as_ref().is_some_and(Acker::usable),
        DeliveryToken::InProcess(_) => true,
    }
}

async fn give_back(mut delivery: Delivery) {
    if let DeliveryToken::Rabbit(token) = &mut delivery.token
        && let Some(acker) = token.acker.take()
    {
        requeue(&acker).await;
    }
}

async fn requeue(acker: &Acker) {
    // Failure means that the channel is gone, which gives the job back as well.
    let _ = acker.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await;
}

fn settled(result: lapin::Result<bool>) -> Result<(), QueueError> {
    match result {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(QueueError::Stale),
    }
}
