//! How quickly endpoints answer, and how much each may therefore have in flight.
//!
//! An endpoint begins with little, gains one with each quick answer and loses half with each slow or failed one. What it
//! holds of the sender's room is so what it uses well: twenty slow endpoints hold little more than twenty places.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use proofmill_store::Pace;

/// Endpoints remembered. Beyond it all are forgotten and begin anew, which costs each a few answers.
const REMEMBERED: usize = 10_000;

/// What this process has seen of endpoints. A restart forgets it, and other senders see for themselves.
pub(crate) struct Paces {
    first: usize,
    most: usize,
    // Shared by the tries in flight, each of which changes one entry; a claim reads it as it was when the claim began.
    known: Mutex<Arc<HashMap<String, Pace>>>,
}

impl Paces {
    /// Of endpoints that begin with `first` in flight and never have more than `most`.
    pub fn new(first: usize, most: usize) -> Self {
        Self { first: first.max(1), most: most.max(1), known: Mutex::default() }
    }

    /// As it is now.
    pub fn now(&self) -> Arc<HashMap<String, Pace>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An endpoint answered in good time, and is well.
    pub fn quick(&self, endpoint: &str) {
        self.change(endpoint, |most| Pace { most: most.saturating_add(1), quick: true });
    }

    /// An endpoint takes long, or failed.
    pub fn slow(&self, endpoint: &str) {
        self.change(endpoint, |most| Pace { most: most / 2, quick: false });
    }

    fn change(&self, endpoint: &str, after: impl FnOnce(usize) -> Pace) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Arc::make_mut(&mut known);
        let before = known.get(endpoint).map_or(self.first, |pace| pace.most);
        let Pace { most, quick } = after(before);
        if known.len() >= REMEMBERED && !known.contains_key(endpoint) {
            known.clear();
        }
        known.insert(endpoint.to_owned(), Pace { most: most.clamp(1, self.most), quick });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_answers_gain_one_each_and_slow_ones_halve() {
        let paces = Paces::new(4, 8);
        let most = || paces.now()["a"].most;
        let gained: Vec<usize> = (0..6).map(|_| (paces.quick("a"), most()).1).collect();
        assert_eq!(gained, [5, 6, 7, 8, 8, 8]);
        let lost: Vec<usize> = (0..5).map(|_| (paces.slow("a"), most()).1).collect();
        assert_eq!(lost, [4, 2, 1, 1, 1]);
        assert!(!paces.now()["a"].quick);
        paces.quick("a");
        assert_eq!(paces.now()["a"], Pace { most: 2, quick: true });
    }

    #[test]
    fn what_a_claim_reads_does_not_change_under_it_and_what_is_remembered_is_bounded() {
        let paces = Paces::new(4, 32);
        paces.slow("a");
        let before = paces.now();
        paces.slow("a");
        assert_eq!((before["a"].most, paces.now()["a"].most), (2, 1));
        for n in 0..REMEMBERED {
            paces.quick(&n.to_string());
        }
        let now = paces.now();
        assert!(now.len() < REMEMBERED && !now.contains_key("a") && now.contains_key(&(REMEMBERED - 1).to_string()));
    }
}
