//! Memory for the tables of keys.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How much memory the tables of many keys may take together. Keys of one store share one; what a
/// table took comes back when its key is dropped.
#[derive(Debug)]
pub struct TableBudget {
    octets: usize,
    used: AtomicUsize,
}

impl TableBudget {
    /// A budget of so many octets.
    pub fn new(octets: usize) -> Arc<TableBudget> {
        Arc::new(TableBudget { octets, used: AtomicUsize::new(0) })
    }

    /// Octets in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn reserve(self: &Arc<Self>, octets: usize) -> Option<Reservation> {
        let fits = |used: usize| used.checked_add(octets).filter(|sum| *sum <= self.octets);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Reservation { budget: self.clone(), octets })
    }
}

/// Part of a budget, given back when dropped.
pub(super) struct Reservation {
    budget: Arc<TableBudget>,
    octets: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_reserved_than_there_is_and_all_of_it_comes_back() {
        let budget = TableBudget::new(100);
        let first = budget.reserve(60).unwrap();
        assert!(budget.reserve(41).is_none());
        let second = budget.reserve(40).unwrap();
        assert_eq!(budget.used(), 100);
        drop(first);
        assert!(budget.reserve(usize::MAX).is_none());
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
