//! What a consumer receives, over either transport.

use std::time::Duration;

use proofmill_contract::AttemptId;

use crate::error::QueueError;
use crate::job::JobRef;
use crate::{in_process, rabbit};

/// Jobs of one lane. Survives reconnects: it just goes on.
///
/// Dropping it gives back what it holds and has not handed out.
pub struct Consumer(pub(crate) ConsumerKind);

pub(crate) enum ConsumerKind {
    InProcess(in_process::Consumer),
    Rabbit(rabbit::Consumer),
}

impl Consumer {
    /// The next job; `None` once cancelled. Cancel-safe: no job is lost if this future is dropped.
    pub async fn next(&mut self) -> Option<Delivery> {
        match &mut self.0 {
            ConsumerKind::InProcess(consumer) => consumer.next().await,
            ConsumerKind::Rabbit(consumer) => consumer.next().await,
        }
    }

    /// Stops consuming, for draining. Jobs not yet handed out go back at once; deliveries already handed
    /// out can still be settled. [`Consumer::next`] returns `None` from now on.
    pub async fn cancel(&mut self) {
        match &mut self.0 {
            ConsumerKind::InProcess(consumer) => consumer.cancel(),
            ConsumerKind::Rabbit(consumer) => consumer.cancel().await,
        }
    }
}

/// One job, to be acked, put off or dead-lettered. Dropped without any of these it is delivered again.
pub struct Delivery {
    /// The job.
    pub job: JobRef,
    /// Whether it was delivered before without being settled: its worker may have died of it.
    pub redelivered: bool,
    pub(crate) token: Token,
}

pub(crate) enum Token {
    InProcess(in_process::Token),
    Rabbit(rabbit::Token),
}

impl Delivery {
    /// The attempt the job refers to.
    pub fn attempt_id(&self) -> &AttemptId {
        &self.job.attempt_id
    }

    /// Done with it. To be called after the verdict is committed, never before.
    ///
    /// # Errors
    /// [`QueueError::Stale`] if the connection is gone: the job comes again and is found settled.
    pub async fn ack(self) -> Result<(), QueueError> {
        match self.token {
            Token::InProcess(token) => {
                token.ack();
                Ok(())
            }
            Token::Rabbit(token) => token.ack().await,
        }
    }

    /// Puts it off: it comes again after about `delay`, as a new message. Never an immediate requeue,
    /// which would spin.
    ///
    /// # Errors
    /// If it could not be put off; it is then delivered again at once.
    pub async fn retry_later(self, delay: Duration) -> Result<(), QueueError> {
        match self.token {
            Token::InProcess(token) => {
                token.retry_later(delay);
                Ok(())
            }
            Token::Rabbit(token) => token.retry_later(&self.job, delay).await,
        }
    }

    /// Sets it aside in the dead-letter queue, for an operator.
    ///
    /// # Errors
    /// [`QueueError::Stale`] if the connection is gone: the job comes again.
    pub async fn dead_letter(self) -> Result<(), QueueError> {
        match self.token {
            Token::InProcess(token) => {
                token.dead_letter();
                Ok(())
            }
            Token::Rabbit(token) => token.dead_letter().await,
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("job", &self.job)
            .field("redelivered", &self.redelivered)
            .finish_non_exhaustive()
    }
}
