//! Time as a value: nothing in this crate asks what time it is.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds since the Unix epoch, UTC. PostgreSQL's resolution, so both stores keep it exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// From seconds since the Unix epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment plus a span; saturates at the ends of time.
    pub fn plus(self, span: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This moment minus a span; saturates at the ends of time.
    pub fn minus(self, span: std::time::Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The first moment that is shown as a later one: times are shown in whole milliseconds.
    pub fn next_millisecond(self) -> Self {
        Self::from_millis(self.as_millis().saturating_add(1))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The civil date in UTC.
    pub fn utc_date(self) -> jiff::civil::Date {
        self.jiff().to_zoned(jiff::tz::TimeZone::UTC).date()
    }

    /// RFC 3339, UTC, milliseconds, `Z`: `2026-11-22T09:30:00.000Z`.
    pub fn to_rfc3339(self) -> String {
        let civil = self.jiff().to_zoned(jiff::tz::TimeZone::UTC).datetime();
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second(),
            civil.millisecond()
        )
    }

    /// Reads RFC 3339 with any offset, years 0000 to 9999.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        if !has_shape_of_rfc3339(text) {
            return None;
        }
        // Not as an instant of the library's: those end a day before the year 9999 does.
        let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
        let civil = pieces.date().to_datetime(pieces.time()?);
        let epoch = jiff::civil::date(1970, 1, 1).to_datetime(jiff::civil::Time::midnight());
        let micros = i64::try_from(civil.duration_since(epoch).as_micros()).ok()?;
        Some(Self(micros - i64::from(pieces.to_numeric_offset()?.seconds()) * 1_000_000))
    }

    fn jiff(self) -> jiff::Timestamp {
        // Clamped: a time outside jiff's range (years -9999..9999) can only come from a
        // saturated sum, and must not panic a formatter.
        let (low, high) = (jiff::Timestamp::MIN.as_microsecond(), jiff::Timestamp::MAX.as_microsecond());
        jiff::Timestamp::from_microsecond(self.0.clamp(low, high)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

/// `2026-11-22T09:30:00`, perhaps a fraction, and `Z` or `+01:00`: the library reads more than RFC 3339 section 5.6 has.
fn has_shape_of_rfc3339(text: &str) -> bool {
    let fits = |text: &[u8], shape: &[u8]| {
        text.len() == shape.len()
            && text.iter().zip(shape).all(|(c, s)| match s {
                b'0' => c.is_ascii_digit(),
                b'+' => matches!(c, b'+' | b'-'),
                s => c.eq_ignore_ascii_case(s),
            })
    };
    let Some((seconds, rest)) = text.as_bytes().split_at_checked(19) else { return false };
    let digits = match rest.split_first() {
        Some((b'.', fraction)) => 1 + fraction.iter().take_while(|c| c.is_ascii_digit()).count(),
        _ => 0,
    };
    let (fraction, offset) = rest.split_at(digits);
    fits(seconds, b"0000-00-00T00:00:00") && fraction.len() != 1 && (fits(offset, b"Z") || fits(offset, b"+00:00"))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_rfc3339())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse_rfc3339(&text)
            .ok_or_else(|| serde::de::Error::custom("expected an RFC 3339 time such as 2026-11-22T09:30:00.000Z"))
    }
}

/// Where the time comes from. Production uses the system clock (telemetry); tests a [`ManualClock`].
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: std::time::Duration) {
        self.0.fetch_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_has_milliseconds_and_z_and_reads_back() {
        let t = Timestamp::from_micros(1_795_339_800_123_456);
        assert_eq!(t.to_rfc3339(), "2026-11-22T09:30:00.123Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-11-22T10:30:00.123456+01:00"), Some(t));
        for other in [
            "2026-11-22",
            "2026-11-22T09:30Z",
            "2026-11-22T09:30:00",
            "2026-11-22 09:30:00Z",
            "20261122T093000Z",
            "2026-11-22T09:30:00.Z",
            "2026-11-22T09:30:00+01",
            "2026-11-22T09:30:00Z[UTC]",
            "2026-02-29T09:30:00Z",
            "2026-11-22T24:30:00Z",
            "+002026-11-22T09:30:00Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(other), None, "{other}");
        }
    }

    #[test]
    fn rfc3339_reaches_from_the_first_year_to_the_last() {
        let last = Timestamp::parse_rfc3339("9999-12-31T23:59:59.999999Z").unwrap();
        assert_eq!(last.as_secs(), 253_402_300_799);
        assert!(last < Timestamp::parse_rfc3339("9999-12-31T23:59:59-14:00").unwrap());
        assert_eq!(Timestamp::parse_rfc3339("0000-01-01T00:00:00Z").unwrap().as_secs(), -62_167_219_200);
        assert_eq!(Timestamp::parse_rfc3339("1969-12-31T23:59:59.5Z"), Some(Timestamp(-500_000)));
    }

    #[test]
    fn saturated_times_still_print() {
        assert!(Timestamp(i64::MAX).to_rfc3339().ends_with('Z'));
        assert!(!Timestamp(i64::MIN).to_rfc3339().is_empty());
    }
}
