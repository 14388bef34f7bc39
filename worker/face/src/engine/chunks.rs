//! How much goes through a network at once, and what happens when the device has no memory left.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::error::EngineError;

/// Clean passes after which a halved limit is doubled again.
const RECOVERY: usize = 64;

/// Cuts batches into chunks. When the device runs out of memory the chunk is halved and tried
/// again, down to one item; the smaller limit stays for a while, so that what has failed is not
/// tried anew with each batch, and grows back once memory may be free again.
pub(crate) struct Chunks {
    most: usize,
    limit: AtomicUsize,
    clean: AtomicUsize,
    halvings: AtomicU64,
}

impl Chunks {
    /// Chunks of at most `most` items.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, limit: AtomicUsize::new(most), clean: AtomicUsize::new(0), halvings: AtomicU64::new(0) }
    }

    /// How often a chunk was halved.
    pub(crate) fn halvings(&self) -> u64 {
        self.halvings.load(Ordering::Relaxed)
    }

    /// Runs `work` over chunks of `items`, each of which gives as many results as it has items.
    pub(crate) fn run<I, O>(
        &self,
        items: &[I],
        mut work: impl FnMut(&[I]) -> Result<Vec<O>, EngineError>,
    ) -> Result<Vec<O>, EngineError> {
        let mut out = Vec::with_capacity(items.len());
        let mut rest = items;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.limit.load(Ordering::Relaxed).clamp(1, rest.len()));
            match work(now) {
                Ok(done) if done.len() == now.len() => {
                    out.extend(done);
                    rest = later;
                    self.passed();
                }
                Ok(_) => return Err(EngineError::Torch("a network returned another number of results".to_owned())),
                Err(EngineError::OutOfMemory(what)) if now.len() > 1 => self.halve(now.len(), &what),
                Err(error) => return Err(error),
            }
        }
        Ok(out)
    }

    fn halve(&self, tried: usize, what: &str) {
        let limit = (tried / 2).max(1);
        self.limit.fetch_min(limit, Ordering::Relaxed);
        self.clean.store(0, Ordering::Relaxed);
        self.halvings.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(tried, limit, error = what, "out of memory: the face batch is halved");
    }

    fn passed(&self) {
        if self.limit.load(Ordering::Relaxed) < self.most && self.clean.fetch_add(1, Ordering::Relaxed) + 1 >= RECOVERY
        {
            self.clean.store(0, Ordering::Relaxed);
            let most = self.most;
            let _ = self.limit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |limit| Some((limit * 2).min(most)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that takes `room` items at once.
    fn device(room: usize, log: &mut Vec<usize>) -> impl FnMut(&[u32]) -> Result<Vec<u32>, EngineError> {
        move |chunk| {
            log.push(chunk.len());
            if chunk.len() > room {
                return Err(EngineError::OutOfMemory("CUDA out of memory".to_owned()));
            }
            Ok(chunk.iter().map(|v| v * 10).collect())
        }
    }

    #[test]
    fn out_of_memory_halves_the_batch_and_loses_nothing() {
        let chunks = Chunks::new(32);
        let items: Vec<u32> = (0..20).collect();
        let mut sizes = Vec::new();
        let done = chunks.run(&items, device(6, &mut sizes)).unwrap();
        assert_eq!(done, items.iter().map(|v| v * 10).collect::<Vec<_>>());
        assert_eq!(sizes, [20, 10, 5, 5, 5, 5]);
        assert_eq!(chunks.halvings(), 2);
    }

    #[test]
    fn what_has_failed_is_not_tried_with_each_batch_but_is_again_later() {
        let chunks = Chunks::new(8);
        let items = [1, 2, 3, 4];
        let mut sizes = Vec::new();
        chunks.run(&items, device(2, &mut sizes)).unwrap();
        chunks.run(&items, device(2, &mut sizes)).unwrap();
        assert_eq!(sizes, [4, 2, 2, 2, 2]);
        for _ in 0..4 * RECOVERY {
            chunks.run(&[1], device(8, &mut Vec::new())).unwrap();
        }
        let mut sizes = Vec::new();
        chunks.run(&items, device(8, &mut sizes)).unwrap();
        assert_eq!(sizes, [4]);
    }

    #[test]
    fn a_single_item_that_does_not_fit_is_an_error_and_so_is_any_other_fault() {
        let chunks = Chunks::new(8);
        let none = chunks.run(&[1, 2, 3], device(0, &mut Vec::new()));
        assert!(matches!(none, Err(EngineError::OutOfMemory(_))));
        let mut calls = 0;
        let broken: Result<Vec<u32>, _> = chunks.run(&[1, 2], |_: &[u32]| {
            calls += 1;
            Err(EngineError::Torch("illegal memory access".to_owned()))
        });
        assert!(matches!(broken, Err(EngineError::Torch(_))));
        assert_eq!(calls, 1);
        let short: Result<Vec<u32>, _> = chunks.run(&[1, 2], |_: &[u32]| Ok(Vec::new()));
        assert!(matches!(short, Err(EngineError::Torch(_))));
    }
}
