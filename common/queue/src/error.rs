//! What can go wrong with the queue. None of it is ever a user's failure.

/// The queue cannot do it now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// There is no connection; one is being made.
    #[error("not connected to the message broker: {0}")]
    NotConnected(String),
    /// The broker has run out of memory or disk and takes no publishes.
    #[error("the message broker is blocked: {0}")]
    Blocked(String),
    /// The connection the delivery came over is gone: the broker delivers the job again.
    #[error("the delivery's connection is gone")]
    Stale,
    /// The broker refused.
    #[error("the message broker refused: {0}")]
    Refused(String),
    /// The configuration cannot work.
    #[error("queue configuration: {0}")]
    Config(String),
    /// The queue has been shut down.
    #[error("the queue is closed")]
    Closed,
}

/// One job is not known to be stored: publish it again later (twice is fine, never is not).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There is no connection, or it was lost before the broker confirmed.
    #[error("not connected to the message broker: {0}")]
    NotConnected(String),
    /// The broker returned the message: no queue for it.
    #[error("the message broker returned the job as unroutable: {0}")]
    Returned(String),
    /// The broker said no, or the queue is full.
    #[error("the message broker did not accept the job")]
    Refused,
    /// No confirmation in time.
    #[error("the message broker did not confirm in time")]
    Timeout,
}
