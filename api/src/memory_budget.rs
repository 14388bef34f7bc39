//! How much evidence the process holds at once, counted as it arrives.
//!
//! Counting bytes and not requests: a client that trickles its upload then holds what it has sent, and cannot keep others
//! out by merely being slow. A request does not wait for memory, because two half-read ones could wait for each other; a
//! line of a bulk request does, for a while, because it can be given up alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const UNIT: usize = 1 << 10;
/// Pauses between two looks of somebody who waits.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The process's budget.
#[derive(Clone)]
pub struct MemoryBudget(Arc<Semaphore>);

/// What one request holds; given back on drop.
pub struct Held {
    budget: Arc<Semaphore>,
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

/// The budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl MemoryBudget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// A request that holds nothing yet.
    pub fn hold(&self) -> Held {
        Held { budget: self.0.clone(), bytes: 0, permit: None }
    }
}

impl Held {
    /// Takes more.
    ///
    /// # Errors
    /// [`Exhausted`]; what was held stays held until the drop.
    pub fn take(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let units = |bytes: usize| bytes.div_ceil(UNIT);
        let total = self.bytes.saturating_add(bytes);
        let more = u32::try_from(units(total) - units(self.bytes)).map_err(|_| Exhausted)?;
        if more > 0 {
            let permit = self.budget.clone().try_acquire_many_owned(more).map_err(|_| Exhausted)?;
            match &mut self.permit {
                Some(held) => held.merge(permit),
                none => *none = Some(permit),
            }
        }
        self.bytes = total;
        Ok(())
    }
}

impl Held {
    /// Gives everything back.
    pub fn give_back(&mut self) {
        self.permit = None;
        self.bytes = 0;
    }

    /// As [`Held::take`], but waits for others to give back. Only for who can end the wait by letting go of everything:
    /// two half-read requests that wait for each other are told apart by nothing else.
    ///
    /// # Errors
    /// [`Exhausted`] when the time is over; what was held stays held until the drop.
    pub async fn take_within(&mut self, bytes: usize, patience: Duration) -> Result<(), Exhausted> {
        let deadline = tokio::time::Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        while self.take(bytes) == Err(Exhausted) {
            if tokio::time::Instant::now() + pause > deadline {
                return Err(Exhausted);
            }
            // Not the semaphore's own queue: a large wish at its head would keep every small one out.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_refuses_at_its_end_and_comes_back() {
        let budget = MemoryBudget::new(10 * UNIT);
        let (mut one, mut other) = (budget.hold(), budget.hold());
        assert_eq!(one.take(4 * UNIT), Ok(()));
        assert_eq!(other.take(5 * UNIT + 1), Ok(()));
        assert_eq!(other.take(UNIT - 1), Ok(()), "the begun unit is filled first");
        assert_eq!(one.take(1), Err(Exhausted));
        drop(other);
        assert_eq!(one.take(6 * UNIT), Ok(()));
        assert_eq!(budget.hold().take(1), Err(Exhausted));
    }
}
