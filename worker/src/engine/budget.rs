//! One budget of memory for all decoded pictures of a process.

use std::sync::Arc;

use proofmill_telemetry::Metrics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget. Reservations are granted in the order in which they were asked for, so that a large one is not passed over
/// for ever; one that is larger than all of it gets all of it, and is then alone.
///
/// Nobody waits here who holds a part of it: an attempt reserves once, for all its pictures. So waiting always ends.
pub(super) struct Budget {
    kibibytes: Arc<Semaphore>,
    all: u32,
    metrics: Arc<Metrics>,
}

/// A part of the budget; given back when dropped.
pub(super) struct Reservation {
    part: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

impl Budget {
    pub(super) fn new(bytes: usize, metrics: &Arc<Metrics>) -> Self {
        let all = kibibytes(bytes).min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        metrics.picture_memory_limit_bytes.set(i64::from(all) << 10);
        Self { kibibytes: Arc::new(Semaphore::new(all as usize)), all, metrics: metrics.clone() }
    }

    /// Waits until there is room for `bytes`. `None` only once the process has given the budget up, which it never does.
    pub(super) async fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let size = kibibytes(bytes).min(self.all);
        let part = self.kibibytes.clone().acquire_many_owned(size).await.ok()?;
        self.metrics.picture_memory_bytes.add(i64::from(size) << 10);
        Some(Reservation { part, metrics: self.metrics.clone() })
    }
}

impl Reservation {
    /// Gives back what is more than `bytes`: pictures take more while they are decoded than afterwards.
    pub(super) fn keep(&mut self, bytes: usize) {
        let over = self.part.num_permits().saturating_sub(kibibytes(bytes) as usize);
        if let Some(over) = self.part.split(over) {
            self.metrics.picture_memory_bytes.sub((over.num_permits() as i64) << 10);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.metrics.picture_memory_bytes.sub((self.part.num_permits() as i64) << 10);
    }
}

/// At least one: an attempt without pictures takes its turn too.
fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    fn budget(kib: usize) -> (Budget, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new(&crate::build_info("test")).unwrap());
        (Budget::new(kib << 10, &metrics), metrics)
    }

    #[tokio::test]
    async fn no_more_is_reserved_than_there_is_and_what_is_given_back_is_used_again() {
        let (budget, metrics) = budget(100);
        assert_eq!(metrics.picture_memory_limit_bytes.get(), 100 << 10);
        let mut first = budget.reserve(70 << 10).await.unwrap();
        assert!(budget.reserve(40 << 10).now_or_never().is_none(), "70 and 40 are more than 100");
        first.keep(60 << 10);
        let second = budget.reserve(40 << 10).now_or_never().unwrap().unwrap();
        assert_eq!(metrics.picture_memory_bytes.get(), 100 << 10);
        first.keep(usize::MAX);
        drop(first);
        assert_eq!(metrics.picture_memory_bytes.get(), 40 << 10);
        drop(second);
        assert_eq!(metrics.picture_memory_bytes.get(), 0);
    }

    #[tokio::test]
    async fn whoever_needs_more_than_all_of_it_runs_alone() {
        let (budget, _) = budget(100);
        let small = budget.reserve(1).await.unwrap();
        assert!(budget.reserve(usize::MAX).now_or_never().is_none(), "not beside another");
        drop(small);
        let all = budget.reserve(usize::MAX).now_or_never().unwrap().unwrap();
        assert!(budget.reserve(1).now_or_never().is_none(), "nobody beside it");
        drop(all);
        assert!(budget.reserve(1).now_or_never().is_some());
    }

    /// Many at once, of all sizes, some of them larger than all of it: everybody gets through, and the sum never exceeds
    /// the budget.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everybody_gets_through() {
        let (budget, metrics) = budget(100);
        let budget = Arc::new(budget);
        let tasks = (0..200usize).map(|task| {
            let (budget, metrics) = (budget.clone(), metrics.clone());
            tokio::spawn(async move {
                let mut held = budget.reserve((task * 7 % 150) << 10).await.unwrap();
                assert!(metrics.picture_memory_bytes.get() <= 100 << 10);
                tokio::task::yield_now().await;
                held.keep((task % 20) << 10);
                tokio::task::yield_now().await;
            })
        });
        let all = futures::future::join_all(tasks.collect::<Vec<_>>());
        let ends = tokio::time::timeout(Duration::from_secs(60), all).await.expect("nobody waits for ever");
        assert!(ends.into_iter().all(|end| end.is_ok()));
        assert_eq!(metrics.picture_memory_bytes.get(), 0);
    }
}
