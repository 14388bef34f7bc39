//! The circuit breaker of a webhook endpoint, as a pure machine over the moment and a random number.
//!
//! It keeps an endpoint that does not answer from holding the senders' room, and costs its deliveries little: an open breaker
//! consumes no try, and half-open it lets one delivery through at a time, a minute later at most. What is held
//! back goes out as soon as one try shows that the endpoint is well.

use std::time::Duration;

use proofmill_contract::Timestamp;

/// Failures in a row that open it. Enough for a handful of deliveries to go through an endpoint's restart untouched.
pub(crate) const THRESHOLD: i32 = 10;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause, before jitter: how late an endpoint that is well again may hear from us.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Bounds of the jitter.
const JITTER: std::ops::RangeInclusive<f64> = 0.8..=1.2;

/// The latest end that a pause that began by `now` can have. One that is later was written by a clock that has been set back
/// since, and counts as over.
pub(crate) fn latest_end(now: Timestamp) -> Timestamp {
    now.plus(LONGEST_PAUSE.mul_f64(*JITTER.end()))
}

/// What is remembered of an endpoint whose last try failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Breaker {
    /// Failures in a row.
    pub failures: i32,
    /// How often in a row it opened.
    pub openings: i32,
    /// Nothing is sent until then; `None` while closed.
    pub open_until: Option<i64>,
}

/// What may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// As much as the cap allows.
    Closed,
    /// Nothing.
    Open,
    /// One at a time.
    HalfOpen,
}

impl Breaker {
    /// What may be sent now.
    pub(crate) fn state(self, now: Timestamp) -> State {
        match self.open_until {
            None => State::Closed,
            Some(until) if until > now.0 && until <= latest_end(now).0 => State::Open,
            Some(_) => State::HalfOpen,
        }
    }

    /// After one more failure. `jitter` is between 0.8 and 1.2, so that endpoints of one host are not tried at one instant.
    pub(crate) fn failed(self, now: Timestamp, jitter: f64) -> Self {
        let failures = self.failures.saturating_add(1);
        let opens = match self.state(now) {
            State::Closed => failures >= THRESHOLD,
            // Sent before it opened: says nothing new.
            State::Open => false,
            State::HalfOpen => true,
        };
        if !opens {
            return Self { failures, ..self };
        }
        let openings = self.openings.saturating_add(1);
        let doublings = u32::try_from(openings - 1).unwrap_or(0).min(16);
        let pause = FIRST_PAUSE
            .saturating_mul(1 << doublings)
            .min(LONGEST_PAUSE)
            .mul_f64(jitter.clamp(*JITTER.start(), *JITTER.end()));
        Self { failures, openings, open_until: Some(now.plus(pause).0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_000);

    fn after(failures: i32) -> Breaker {
        (0..failures).fold(Breaker::default(), |breaker, _| breaker.failed(START, 1.0))
    }

    #[test]
    fn ten_failures_in_a_row_open_it_and_late_ones_do_not_push_it_back() {
        assert_eq!(after(THRESHOLD - 1).state(START), State::Closed);
        let open = after(THRESHOLD);
        assert_eq!((open.state(START), open.openings), (State::Open, 1));
        let late = open.failed(START.plus(Duration::from_secs(2)), 1.0);
        assert_eq!((late.open_until, late.openings, late.failures), (open.open_until, 1, THRESHOLD + 1));
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_a_minute() {
        let mut breaker = after(THRESHOLD);
        let mut now = START;
        for pause in [5, 10, 20, 40, 60, 60, 60] {
            let until = now.plus(Duration::from_secs(pause));
            assert_eq!(breaker.state(until.minus(Duration::from_micros(1))), State::Open, "{pause}");
            assert_eq!(breaker.state(until), State::HalfOpen, "{pause}");
            now = until;
            breaker = breaker.failed(now, 1.0);
        }
    }

    #[test]
    fn an_end_further_away_than_the_longest_pause_counts_as_over() {
        let open = Breaker { failures: 30, openings: 9, open_until: Some(START.0 + 72_000_000) };
        assert_eq!(open.state(START), State::Open);
        let back = START.minus(Duration::from_secs(3_600));
        assert_eq!(open.state(back), State::HalfOpen, "the clock was set back by an hour");
        // A failure then begins a pause by the clock as it now is.
        assert_eq!(open.failed(back, 1.0).open_until, Some(back.0 + 60_000_000));
    }

    #[test]
    fn jitter_is_bounded_and_counters_never_overflow() {
        let nearly = after(THRESHOLD - 1);
        for (jitter, micros) in [(0.0, 4_000_000), (0.8, 4_000_000), (1.2, 6_000_000), (9.0, 6_000_000)] {
            assert_eq!(nearly.failed(START, jitter).open_until, Some(START.0 + micros));
        }
        let worn = Breaker { failures: i32::MAX, openings: i32::MAX, open_until: Some(0) }.failed(START, 1.0);
        assert_eq!((worn.failures, worn.openings), (i32::MAX, i32::MAX));
        assert_eq!(worn.open_until, Some(START.0 + 60_000_000));
    }
}
