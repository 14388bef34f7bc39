//! When to try again.

use std::time::Duration;

use proofmill_contract::Timestamp;
use proofmill_contract::limits::DELIVERY_DELAYS;
use rand::{Rng, RngExt};

/// A receiver may ask for a later try, but not for one after a day: the payload would be gone.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The moment of the next try after `tries_done` tries have failed, or `None` when the schedule has ended.
///
/// The scheduled delay carries ±20 % jitter, so that an endpoint that comes back is not met by everything that failed
/// while it was away at one instant. `retry_after` (429 and 503) can only make it later.
pub fn next_try(
    tries_done: u32,
    now: Timestamp,
    retry_after: Option<Duration>,
    rng: &mut impl Rng,
) -> Option<Timestamp> {
    let delay = DELIVERY_DELAYS.get(usize::try_from(tries_done).ok()?)?;
    let jittered = delay.mul_f64(rng.random_range(0.8..=1.2));
    let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
    Some(now.plus(jittered.max(asked)))
}

/// Reads `Retry-After` (RFC 9110 §10.2.3): seconds, or a date, which is held against the answer's own `Date`, so that only
/// the receiver's clock is asked; against ours where it has none.
pub fn retry_after(value: &str, date: Option<&str>, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only what is too large does not parse, and what is too large is cut short anyway.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let said = date.and_then(moment).unwrap_or(now.as_secs());
    u64::try_from(moment(value)? - said).ok().map(Duration::from_secs)
}

/// Unix seconds of a date in any of the three forms that a recipient must read (RFC 9110 §5.6.7), or with another zone than
/// GMT, which some servers send.
fn moment(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(at) = jiff::fmt::rfc2822::parse(text) {
        return Some(at.timestamp().as_second());
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    #[test]
    fn eight_tries_with_a_fifth_of_jitter_then_no_more() {
        let now = Timestamp::from_secs(1_000);
        for seed in 0..200 {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            for (tries, delay) in DELIVERY_DELAYS.iter().enumerate().skip(1) {
                let at = next_try(tries as u32, now, None, &mut rng).unwrap().since(now);
                assert!(at >= delay.mul_f64(0.799) && at <= delay.mul_f64(1.201), "{tries}: {at:?}");
            }
            assert_eq!(next_try(8, now, None, &mut rng), None);
        }
    }

    #[test]
    fn retry_after_only_makes_it_later() {
        let now = Timestamp::from_secs(0);
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let hour = Some(Duration::from_secs(3_600));
        assert_eq!(next_try(1, now, hour, &mut rng).unwrap().as_secs(), 3_600);
        assert!(next_try(6, now, hour, &mut rng).unwrap().as_secs() > 3_600 * 7);
        let century = Some(Duration::from_secs(u64::MAX));
        assert_eq!(next_try(1, now, century, &mut rng).unwrap().as_secs(), 86_400);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let (at, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:51:37 GMT");
        let now = Timestamp::from_secs(784_111_777 + 60);
        assert_eq!(retry_after(" 120 ", None, now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(later, Some(at), now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(later, None, now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after(at, Some(later), now), None);
        assert_eq!(retry_after(at, None, now), None);
        assert_eq!(retry_after("soon", Some(at), now), None);
        assert_eq!(retry_after(later, Some("today"), now), Some(Duration::from_secs(60)), "by our clock");
        // RFC 850 and asctime, on either side.
        for later in ["Sunday, 06-Nov-94 08:51:37 GMT", "Sun Nov  6 08:51:37 1994"] {
            assert_eq!(retry_after(later, Some(at), now), Some(Duration::from_secs(120)), "{later}");
            assert_eq!(retry_after(later, None, now), Some(Duration::from_secs(60)), "{later}");
            assert_eq!(retry_after("Sun, 06 Nov 1994 08:52:37 GMT", Some(later), now), Some(Duration::from_secs(60)));
        }
        let beyond = retry_after("18446744073709551616", None, now);
        assert_eq!(beyond, Some(Duration::from_secs(u64::MAX)));
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        assert_eq!(next_try(1, now, beyond, &mut rng).unwrap().since(now), LONGEST_RETRY_AFTER);
        assert_eq!(retry_after("", None, now), None);
        assert_eq!(retry_after("-5", None, now), None);
    }
}
