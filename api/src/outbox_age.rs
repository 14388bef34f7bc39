//! Back-pressure: while the broker is down submissions are still accepted, because the attempt's row is the outbox; but
//! not without end. Once the outbox is too old, callers are told to come back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proofmill_contract::Timestamp;
use proofmill_store::{Store, StoreError};

/// The store is asked at most this often.
const REFRESH: Duration = Duration::from_secs(1);

/// The age of the oldest unpublished attempt, remembered for a second.
#[derive(Default)]
pub struct OutboxAge(Mutex<Option<(Timestamp, Duration)>>);

impl OutboxAge {
    /// The age now, or as of a second or two ago.
    pub async fn get(&self, store: &Store, now: Timestamp) -> Result<Duration, StoreError> {
        let remembered = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, age)) = remembered
            && now.since(at) < REFRESH
        {
            return Ok(age);
        }
        // One asks; those who come meanwhile go by the old age, and do not ask as well.
        let remember = |what| *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
        if let Some((_, age)) = remembered {
            remember(Some((now, age)));
        }
        match store.outbox_oldest(now).await {
            Ok(age) => {
                let age = age.unwrap_or_default();
                remember(Some((now, age)));
                Ok(age)
            }
            Err(error) => {
                remember(remembered);
                Err(error)
            }
        }
    }
}
