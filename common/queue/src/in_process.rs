//! The queue of the embedded mode: same promises within one process. What a crash loses is rebuilt from the
//! store at start.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proofmill_contract::Lane;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::delivery::{Delivery, Token as DeliveryToken};
use crate::error::PublishError;
use crate::job::JobRef;

/// Jobs in memory, first in, first out per lane.
#[derive(Clone)]
pub struct InProcessQueue {
    shared: Arc<Shared>,
}

struct Shared {
    capacity: usize,
    state: Mutex<State>,
    interactive: Notify,
    bulk: Notify,
}

#[derive(Default)]
struct State {
    interactive: VecDeque<Waiting>,
    bulk: VecDeque<Waiting>,
    dead: u64,
}

struct Waiting {
    job: JobRef,
    redelivered: bool,
}

impl InProcessQueue {
    /// Holds up to `capacity` waiting jobs per lane.
    pub fn new(capacity: usize) -> Self {
        let shared = Shared { capacity, state: Mutex::default(), interactive: Notify::new(), bulk: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn publish(&self, jobs: &[JobRef]) -> Vec<Result<(), PublishError>> {
        jobs.iter()
            .map(|job| {
                let mut state = self.shared.lock();
                let waiting = state.lane(job.lane);
                if waiting.len() >= self.shared.capacity {
                    return Err(PublishError::Refused);
                }
                waiting.push_back(Waiting { job: job.clone(), redelivered: false });
                drop(state);
                self.shared.notify(job.lane).notify_one();
                Ok(())
            })
            .collect()
    }

    pub(crate) fn consume(&self, lane: Lane, prefetch: u16) -> Consumer {
        Consumer {
            shared: self.shared.clone(),
            lane,
            permits: Arc::new(Semaphore::new(usize::from(prefetch))),
            cancelled: false,
        }
    }

    pub(crate) fn depth(&self, lane: Lane) -> u64 {
        self.shared.lock().lane(lane).len() as u64
    }

    pub(crate) fn dead_letters(&self) -> u64 {
        self.shared.lock().dead
    }
}

impl fmt::Debug for InProcessQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessQueue").field("capacity", &self.shared.capacity).finish_non_exhaustive()
    }
}

pub(crate) struct Consumer {
    shared: Arc<Shared>,
    lane: Lane,
    permits: Arc<Semaphore>,
    cancelled: bool,
}

impl Consumer {
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        if self.cancelled {
            return None;
        }
        // The job is taken in the last step, which does not wait: dropping this future loses none.
        let permit = self.permits.clone().acquire_owned().await.ok()?;
        loop {
            let notified = self.shared.notify(self.lane).notified();
            if let Some(waiting) = self.shared.take(self.lane) {
                let token = Token { shared: self.shared.clone(), job: Some(waiting.job.clone()), _permit: permit };
                return Some(Delivery {
                    job: waiting.job,
                    redelivered: waiting.redelivered,
                    token: DeliveryToken::InProcess(token),
                });
            }
            notified.await;
        }
    }

    pub(crate) fn cancel(&mut self) {
        self.cancelled = true;
    }
}

/// Settles one delivery; dropped unsettled, it gives the job back.
pub(crate) struct Token {
    shared: Arc<Shared>,
    job: Option<JobRef>,
    _permit: OwnedSemaphorePermit,
}

impl Token {
    pub(crate) fn ack(mut self) {
        self.job = None;
    }

    pub(crate) fn retry_later(mut self, delay: Duration) {
        if let Some(job) = self.job.take() {
            let shared = self.shared.clone();
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let lane = job.lane;
                shared.lock().lane(lane).push_back(Waiting { job, redelivered: false });
                shared.notify(lane).notify_one();
            });
        }
    }

    pub(crate) fn dead_letter(mut self) {
        if let Some(job) = self.job.take() {
            tracing::warn!(attempt_id = %job.attempt_id, lane = %job.lane, "job dead-lettered");
            self.shared.lock().dead += 1;
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            let lane = job.lane;
            // To the front: it was ahead of all that waits.
            self.shared.lock().lane(lane).push_front(Waiting { job, redelivered: true });
            self.shared.notify(lane).notify_one();
        }
    }
}

impl Shared {
    /// A panic elsewhere cannot leave the lists half changed, so poisoning is passed over.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, lane: Lane) -> Option<Waiting> {
        let mut state = self.lock();
        let waiting = state.lane(lane);
        let taken = waiting.pop_front();
        // `notify_one` holds at most one permit, so several publishes may have woken one consumer only:
        // whoever takes a job passes the word on while there are more.
        if !waiting.is_empty() {
            self.notify(lane).notify_one();
        }
        taken
    }

    fn notify(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Interactive => &self.interactive,
            Lane::Bulk => &self.bulk,
        }
    }
}

impl State {
    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Waiting> {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Bulk => &mut self.bulk,
        }
    }
}
