//! Two-digit years of an MRZ (ICAO 9303-3 §4.8) as full dates.

use jiff::civil::Date;

/// The longest validity of a passport, in years, with the nine months some issuers add for early renewal.
const MAX_VALIDITY_MONTHS: i32 = 10 * 12 + 9;
/// The longest validity of a passport issued to a minor, likewise.
const MAX_MINOR_VALIDITY_MONTHS: i32 = 5 * 12 + 9;
/// Below this age at issue a holder is a minor for the purpose of validity.
const MINOR_YEARS: i32 = 16;

/// A calendar date, or `None` where there is no such day (30 February, month 13).
pub fn civil(year: i16, month: u8, day: u8) -> Option<Date> {
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// A date of expiry. Chips exist since 2004 and documents live ten years: the century is 20.
pub fn expiry(two_digit_year: u8, month: u8, day: u8) -> Option<Date> {
    civil(2000 + i16::from(two_digit_year), month, day)
}

/// A date of birth, with the century that the rule below picks:
///
/// 1. never in the future of `today`: `30` read in 2026 is 1930;
/// 2. where both centuries are possible, the later one unless the document contradicts it: a child's document
///    lives at most five years (and nine months), so a holder who by the later reading would still have been a minor
///    at the earliest possible issue of a document that is valid longer than that was born a century earlier.
///
/// `None` where neither century has that day.
pub fn birth(two_digit_year: u8, month: u8, day: u8, expiry: Date, today: Date) -> Option<Date> {
    let earlier = civil(1900 + i16::from(two_digit_year), month, day);
    let later = civil(2000 + i16::from(two_digit_year), month, day).filter(|date| *date <= today);
    match (earlier, later) {
        (Some(earlier), Some(later)) => Some(if holder_fits(later, expiry, today) { later } else { earlier }),
        (earlier, later) => later.or(earlier),
    }
}

/// Whether a holder born on `birth` can hold, today, a document that expires on `expiry`.
fn holder_fits(birth: Date, expiry: Date, today: Date) -> bool {
    // The document was issued by today, so its validity is at least what is left of it.
    let left = months_between(today, expiry);
    if left > MAX_VALIDITY_MONTHS || birth > expiry {
        return false;
    }
    let minor_until = birth.checked_add(jiff::Span::new().years(MINOR_YEARS)).unwrap_or(Date::MAX);
    // Adult today: the document may have been issued as an adult's.
    minor_until <= today || left <= MAX_MINOR_VALIDITY_MONTHS
}

/// Whole months from `from` to `to`, rounded up; zero if `to` is not after it.
fn months_between(from: Date, to: Date) -> i32 {
    if to <= from {
        return 0;
    }
    let months = (i32::from(to.year()) - i32::from(from.year())) * 12 + i32::from(to.month()) - i32::from(from.month());
    months + i32::from(to.day() > from.day())
}

/// Full years of age on `today`. A holder born on 29 February has the birthday on 1 March in common years.
pub fn age_on(birth: Date, today: Date) -> i32 {
    let years = i32::from(today.year()) - i32::from(birth.year());
    let had_birthday = (today.month(), today.day()) >= (birth.month(), birth.day());
    years - i32::from(!had_birthday)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn the_1920s_and_2020s_are_told_apart_by_the_document() {
        let today = date(2026, 11, 22);
        // A document valid nine more years cannot be a six-year-old's: born in 1920.
        assert_eq!(birth(20, 5, 1, date(2035, 11, 1), today), Some(date(1920, 5, 1)));
        // One valid four more years can: born in 2020.
        assert_eq!(birth(20, 5, 1, date(2030, 11, 1), today), Some(date(2020, 5, 1)));
        // The future is never a birthday.
        assert_eq!(birth(26, 11, 23, date(2030, 1, 1), today), Some(date(1926, 11, 23)));
        assert_eq!(birth(26, 11, 22, date(2030, 1, 1), today), Some(date(2026, 11, 22)));
        assert_eq!(birth(74, 8, 12, date(2032, 4, 15), today), Some(date(1974, 8, 12)));
        // An adult of twenty holds a ten-year document.
        assert_eq!(birth(5, 1, 1, date(2036, 1, 1), today), Some(date(2005, 1, 1)));
    }

    #[test]
    fn impossible_days_are_no_dates() {
        let today = date(2026, 11, 22);
        assert_eq!(birth(1, 2, 29, date(2030, 1, 1), today), None);
        assert_eq!(birth(0, 2, 29, date(2030, 1, 1), today), Some(date(2000, 2, 29)));
        assert_eq!(expiry(30, 2, 30), None);
        assert_eq!(civil(2026, 0, 1), None);
        assert_eq!(civil(2026, 1, 200), None);
    }

    #[test]
    fn age_changes_on_the_day() {
        assert_eq!(age_on(date(2008, 11, 22), date(2026, 11, 21)), 17);
        assert_eq!(age_on(date(2008, 11, 22), date(2026, 11, 22)), 18);
        assert_eq!(age_on(date(2008, 2, 29), date(2026, 2, 28)), 17);
        assert_eq!(age_on(date(2008, 2, 29), date(2026, 3, 1)), 18);
    }
}
