//! Two-digit years made whole, and dates that do not exist refused.

use zeroize::Zeroize;

use crate::{evidence::UnixTime, time};

/// A calendar date, proleptic Gregorian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Zeroize)]
pub struct Date {
    /// Four-digit year.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl Date {
    /// `YYYY-MM-DD`.
    pub fn to_iso(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// The first second of the day after, UTC: the first instant at which a document with this expiry has expired.
    pub fn end(&self) -> UnixTime {
        UnixTime(time::days_from_civil(i64::from(self.year), self.month, self.day) * 86_400 + 86_400)
    }

    /// The first second of the day, UTC.
    pub fn start(&self) -> UnixTime {
        UnixTime(self.end().0 - 86_400)
    }

    fn existing(year: u16, month: u8, day: u8) -> Option<Date> {
        time::is_civil(i64::from(year), month, day).then_some(Date { year, month, day })
    }

    fn at(at: UnixTime) -> Date {
        let (year, month, day) = time::civil_from_days(at.0.div_euclid(86_400));
        Date { year: year.clamp(0, 9999) as u16, month, day }
    }

    /// The same day some years earlier or later; 29 February becomes the 28th.
    fn add_years(self, years: i32) -> Date {
        let year = (i32::from(self.year) + years).clamp(0, 9999) as u16;
        Date::existing(year, self.month, self.day).unwrap_or(Date { year, month: self.month, day: 28 })
    }
}

/// A date of birth: any part may be unknown (ICAO Doc 9303-3 section 4.8).
#[derive(Clone, Copy, PartialEq, Eq, Zeroize)]
pub struct PartialDate {
    /// Four-digit year, if known.
    pub year: Option<u16>,
    /// Month, if known.
    pub month: Option<u8>,
    /// Day, if known.
    pub day: Option<u8>,
}

impl PartialDate {
    /// The whole date, if every part is known.
    pub fn complete(&self) -> Option<Date> {
        Date::existing(self.year?, self.month?, self.day?)
    }

    /// `YYYY-MM-DD`, if every part is known.
    pub fn to_iso(&self) -> Option<String> {
        self.complete().map(|date| date.to_iso())
    }
}

/// Chips have been in documents since 2004: an earlier expiry is none, while states write the year 99 into documents that never
/// expire.
const EARLIEST_EXPIRY: i32 = 2000;

/// A six-digit expiry. The century is the one that puts the date nearest to the verification
/// time (from 50 years before to 49 after), but not before there were chips.
pub(super) fn expiry(digits: &[u8], at: UnixTime) -> Option<Date> {
    let [year, month, day] = pairs(digits)?;
    let (year, month, day) = (year?, month?, day?);
    let now = i32::from(Date::at(at).year);
    let earliest = EARLIEST_EXPIRY.max(now - 50);
    let year = earliest + (i32::from(year) - earliest).rem_euclid(100);
    Date::existing(u16::try_from(year).ok()?, month, day)
}

/// Children's documents are valid for 5 years, 6 in Germany.
const CHILD_AGE_YEARS: i32 = 12;
const CHILD_VALIDITY_YEARS: i32 = 6;

/// A six-character date of birth; parts may be fillers.
///
/// The century is the latest that puts the birth neither after the verification time nor after
/// the expiry nor after the document was signed, where that is known. Where that makes the holder a
/// child and the document outlasts what a child's document could from its latest possible issue,
/// the century before is meant: a document of 2026 that expires in 2035 with birth year 24 belongs
/// to somebody born in 1924.
pub(super) fn birth(digits: &[u8], expiry: Date, at: UnixTime, signed: Option<UnixTime>) -> Option<PartialDate> {
    let [year, month, day] = pairs(digits)?;
    if month.is_some_and(|month| !(1..=12).contains(&month)) || day.is_some_and(|day| !(1..=31).contains(&day)) {
        return None;
    }
    let Some(year) = year else {
        if let (Some(month), Some(day)) = (month, day) {
            // 2000 is a leap year: any day that exists in some year exists in it.
            Date::existing(2000, month, day)?;
        }
        return Some(PartialDate { year: None, month, day });
    };
    // The signing time is in UTC, and a birth on the far side of the date line may be of the day after.
    let signed = signed.map_or(expiry, |signed| Date::at(UnixTime(signed.0.saturating_add(86_400))));
    let latest_issue = Date::at(at).min(expiry).min(signed);
    let candidate = |century: u16| {
        let year = century + u16::from(year);
        // Unknown parts count as the earliest possible day, so that no century is lost for them.
        let earliest = Date { year, month: month.unwrap_or(1), day: day.unwrap_or(1) };
        (earliest <= latest_issue).then_some((year, earliest))
    };
    let century_now = latest_issue.year / 100 * 100;
    let later = candidate(century_now);
    let earlier = candidate(century_now.checked_sub(100)?);
    let (year, _) = match (later, earlier) {
        (Some((_, born)), Some(earlier)) if outlasts_childhood(born, expiry, latest_issue) => earlier,
        (Some(later), _) => later,
        (None, Some(earlier)) => earlier,
        (None, None) => return None,
    };
    match (month, day) {
        (Some(month), Some(day)) => {
            Date::existing(year, month, day)?;
        }
        (Some(month), None) => {
            Date::existing(year, month, 1)?;
        }
        _ => {}
    }
    Some(PartialDate { year: Some(year), month, day })
}

fn outlasts_childhood(born: Date, expiry: Date, latest_issue: Date) -> bool {
    let still_child = latest_issue < born.add_years(CHILD_AGE_YEARS);
    still_child && latest_issue.add_years(CHILD_VALIDITY_YEARS) < expiry
}

/// Three two-digit numbers, each `None` when it is filler.
fn pairs(digits: &[u8]) -> Option<[Option<u8>; 3]> {
    let pair = |at: usize| -> Option<Option<u8>> {
        match (digits.get(at)?, digits.get(at + 1)?) {
            (b'<', b'<') => Some(None),
            (tens @ b'0'..=b'9', units @ b'0'..=b'9') => Some(Some((tens - b'0') * 10 + units - b'0')),
            _ => None,
        }
    };
    (digits.len() == 6).then_some(())?;
    Some([pair(0)?, pair(2)?, pair(4)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-06-15T12:00:00Z
    const NOW: UnixTime = UnixTime(1_781_524_800);

    fn expiry_iso(digits: &str) -> Option<String> {
        expiry(digits.as_bytes(), NOW).map(|date| date.to_iso())
    }

    fn birth_iso(digits: &str, expiry_digits: &str) -> Option<String> {
        birth(digits.as_bytes(), expiry(expiry_digits.as_bytes(), NOW)?, NOW, None)?.to_iso()
    }

    fn birth_iso_signed(digits: &str, expiry_digits: &str, signed: i64) -> Option<String> {
        let expiry = expiry(expiry_digits.as_bytes(), NOW)?;
        birth(digits.as_bytes(), expiry, NOW, Some(UnixTime(signed)))?.to_iso()
    }

    #[test]
    fn expiry_century_is_the_nearest() {
        assert_eq!(expiry_iso("350101").as_deref(), Some("2035-01-01"));
        assert_eq!(expiry_iso("750101").as_deref(), Some("2075-01-01"));
        assert_eq!(expiry_iso("760101").as_deref(), Some("2076-01-01"));
        assert_eq!(expiry_iso("991231").as_deref(), Some("2099-12-31"));
        assert_eq!(expiry_iso("000101").as_deref(), Some("2000-01-01"));
        let in_2070 = |digits: &str| expiry(digits.as_bytes(), UnixTime(3_155_760_000)).map(|date| date.year);
        assert_eq!([in_2070("200101"), in_2070("190101")], [Some(2020), Some(2119)]);
    }

    #[test]
    fn impossible_dates_are_refused() {
        for digits in ["350229", "351301", "350100", "350132", "350431", "35<<01", "3501<<", "35010", "3501A1"] {
            assert_eq!(expiry_iso(digits), None, "{digits}");
        }
        assert_eq!(expiry_iso("360229").as_deref(), Some("2036-02-29"));
        for digits in ["830229", "831301", "830431", "8<0101"] {
            assert_eq!(birth_iso(digits, "300101"), None, "{digits}");
        }
    }

    #[test]
    fn birth_is_never_in_the_future() {
        assert_eq!(birth_iso("260615", "310101").as_deref(), Some("2026-06-15"));
        assert_eq!(birth_iso("260616", "310101").as_deref(), Some("1926-06-16"));
        assert_eq!(birth_iso("830101", "310101").as_deref(), Some("1983-01-01"));
    }

    #[test]
    fn the_1920s_and_the_2020s_are_told_apart_by_validity() {
        // Five years at most remain: a child's document.
        assert_eq!(birth_iso("240301", "300101").as_deref(), Some("2024-03-01"));
        // Nine years remain: no child's document.
        assert_eq!(birth_iso("240301", "350101").as_deref(), Some("1924-03-01"));
        // A teenager's ten years are common.
        assert_eq!(birth_iso("120301", "350101").as_deref(), Some("2012-03-01"));
        // Expired before the later birth.
        assert_eq!(birth_iso("240301", "230101").as_deref(), Some("1924-03-01"));
    }

    #[test]
    fn a_schoolchilds_five_years_may_end_long_after_the_tenth_birthday() {
        /// 2026-05-23T10:00:00Z
        const SIGNED: i64 = 1_779_530_400;
        // Issued at every age from a day to seventeen years, signed or not known when: the child's own century.
        for age in 0..18 {
            for (validity, signed) in [(5, Some(SIGNED)), (5, None), (6, Some(SIGNED))] {
                let born = format!("{:02}0522", (26 - age) % 100);
                let expiry = expiry(format!("{:02}0523", 26 + validity).as_bytes(), NOW).unwrap();
                let date = birth(born.as_bytes(), expiry, NOW, signed.map(UnixTime)).unwrap();
                assert_eq!(date.year, Some(2026 - age), "issued at {age} for {validity} years");
            }
        }
        // Seen years later, too: born 2018, issued at five, seen at eight.
        let date = birth_iso_signed("180601", "281023", 1_698_055_200);
        assert_eq!(date.as_deref(), Some("2018-06-01"));
        // Ten years are nobody's under twelve, and are those of somebody a hundred years older.
        assert_eq!(birth_iso_signed("180522", "360523", SIGNED).as_deref(), Some("1918-05-22"));
    }

    #[test]
    fn nobody_is_born_after_their_document_was_signed() {
        /// 2024-06-01T20:00:00Z
        const SIGNED: i64 = 1_717_272_000;
        // Five years of validity alone would leave a child of 2025 possible.
        assert_eq!(birth_iso("250301", "290601").as_deref(), Some("2025-03-01"));
        assert_eq!(birth_iso_signed("250301", "290601", SIGNED).as_deref(), Some("1925-03-01"));
        // Three months old when it was signed: a child's five years, and nobody's ten.
        assert_eq!(birth_iso_signed("240301", "290601", SIGNED).as_deref(), Some("2024-03-01"));
        assert_eq!(birth_iso_signed("240301", "340601", SIGNED).as_deref(), Some("1924-03-01"));
        // The day after in UTC is the day itself in Auckland.
        assert_eq!(birth_iso_signed("240602", "290601", SIGNED).as_deref(), Some("2024-06-02"));
        assert_eq!(birth_iso_signed("240603", "290601", SIGNED).as_deref(), Some("1924-06-03"));
    }

    #[test]
    fn unknown_parts_are_kept_unknown() {
        let expiry = expiry(b"300101", NOW).unwrap();
        let date = birth(b"83<<<<", expiry, NOW, None).unwrap();
        assert!(date == PartialDate { year: Some(1983), month: None, day: None });
        let date = birth(b"<<<<<<", expiry, NOW, None).unwrap();
        assert!(date == PartialDate { year: None, month: None, day: None });
        assert!(birth(b"<<0230", expiry, NOW, None).is_none());
        assert!(birth(b"<<0229", expiry, NOW, None).is_some());
    }
}
