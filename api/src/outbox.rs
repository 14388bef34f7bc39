//! Jobs from the requests that accepted them to the relay of the same process.
//!
//! The attempt's row is the outbox, and nothing is accepted without it. This is a shorter way to the same job: its row is left
//! to this process for a while, so that its relay need not look for it, claim it and write the claim down. A process that
//! dies takes no job along: its rows become due like any others, a few seconds later.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proofmill_contract::Lane;
use proofmill_queue::JobRef;
use tokio::sync::Notify;

/// How long a row is left to the process that accepted it: longer than its relay mostly needs, short enough to wait for
/// after a crash.
const LEFT_TO_RELAY: Duration = Duration::from_secs(5);
/// Jobs remembered. The rest is found in the store: while the broker is away this is not to grow.
const MOST: usize = 10_000;

/// Accepted jobs that the relay has not taken yet.
#[derive(Default)]
pub struct Outbox {
    // Shared between the requests, which put, and the relay, which takes.
    jobs: Mutex<Lanes>,
    wakeup: Notify,
}

#[derive(Default)]
struct Lanes {
    interactive: VecDeque<JobRef>,
    bulk: VecDeque<JobRef>,
}

impl Lanes {
    fn len(&self) -> usize {
        self.interactive.len() + self.bulk.len()
    }
}

impl Outbox {
    /// How long a submission that is to be accepted now is left to this process.
    pub fn left_to_relay(&self) -> Duration {
        if self.lock().len() < MOST { LEFT_TO_RELAY } else { Duration::ZERO }
    }

    /// A submission was accepted.
    pub fn put(&self, job: JobRef) {
        let mut jobs = self.lock();
        if jobs.len() < MOST {
            match job.lane {
                Lane::Interactive => jobs.interactive.push_back(job),
                Lane::Bulk => jobs.bulk.push_back(job),
            }
        }
        drop(jobs);
        self.wakeup.notify_one();
    }

    /// Up to so many, interactive ones first: a burst of bulk work must not keep somebody waiting before a phone.
    pub fn take(&self, most: usize) -> Vec<JobRef> {
        let mut jobs = self.lock();
        let interactive = jobs.interactive.len().min(most);
        let mut taken: Vec<JobRef> = jobs.interactive.drain(..interactive).collect();
        let bulk = jobs.bulk.len().min(most - interactive);
        taken.extend(jobs.bulk.drain(..bulk));
        taken
    }

    /// Waits until there is one.
    pub(crate) async fn filled(&self) {
        while self.lock().len() == 0 {
            self.wakeup.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proofmill_contract::{AttemptId, Timestamp};

    use super::*;

    #[test]
    fn interactive_jobs_go_first_and_no_more_are_kept_than_there_is_room_for() {
        let outbox = Outbox::default();
        let job = |lane| JobRef::new(AttemptId::generate(Timestamp::from_secs(1), &mut rand::rng()), lane);
        for lane in [Lane::Bulk, Lane::Interactive, Lane::Bulk, Lane::Interactive] {
            outbox.put(job(lane));
        }
        let lanes = |taken: Vec<JobRef>| taken.into_iter().map(|job| job.lane).collect::<Vec<_>>();
        assert_eq!(lanes(outbox.take(3)), [Lane::Interactive, Lane::Interactive, Lane::Bulk]);
        assert_eq!(lanes(outbox.take(3)), [Lane::Bulk]);
        assert_eq!(outbox.left_to_relay(), LEFT_TO_RELAY);
        for _ in 0..MOST + 1 {
            outbox.put(job(Lane::Bulk));
        }
        assert_eq!(outbox.left_to_relay(), Duration::ZERO, "who comes now is found in the store, at once");
        assert_eq!(outbox.take(usize::MAX).len(), MOST);
    }
}
