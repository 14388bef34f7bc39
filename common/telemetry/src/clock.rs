//! The one place that asks the host what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use proofmill_contract::{Clock, Timestamp};

/// The host's clock, UTC. Leases and due times go by the database's clock instead: hosts disagree.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "everybody else is given a clock; this is the one that is given")]
    fn now(&self) -> Timestamp {
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        Timestamp::from_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_tells_this_century_and_goes_forward() {
        let first = SystemClock.now();
        assert!(first > Timestamp::from_secs(1_700_000_000));
        assert!(SystemClock.now() >= first);
    }
}
