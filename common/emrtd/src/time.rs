//! Calendar arithmetic and the two ASN.1 time types (RFC 5280 section 4.1.2.5).

use crate::{
    asn1::{Tag, Tlv},
    evidence::UnixTime,
};

/// Days from 1970-01-01 to a proleptic Gregorian date.
pub(crate) fn days_from_civil(year: i64, month: u8, day: u8) -> i64 {
    // Counting years from 1 March puts the leap day last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date that is so many days after 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u8;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Whether the date exists.
pub(crate) fn is_civil(year: i64, month: u8, day: u8) -> bool {
    (1..=12).contains(&month) && day >= 1 && civil_from_days(days_from_civil(year, month, day)) == (year, month, day)
}

/// UTCTime or GeneralizedTime. Seconds may be absent and an offset may stand in place of `Z`,
/// as in certificates older than RFC 3280; a fraction of a second is dropped.
pub(crate) fn parse_asn1(time: &Tlv<'_>) -> Option<UnixTime> {
    let text = time.value;
    let (year, rest) = match time.tag {
        Tag::UTC_TIME => {
            let year = number(text.get(..2)?)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        Tag::GENERALIZED_TIME => (number(text.get(..4)?)?, text.get(4..)?),
        _ => return None,
    };
    let month = number(rest.get(..2)?)? as u8;
    let day = number(rest.get(2..4)?)? as u8;
    let hour = number(rest.get(4..6)?)?;
    let minute = number(rest.get(6..8)?)?;
    let mut rest = rest.get(8..)?;
    let mut second = 0;
    if rest.first().is_some_and(u8::is_ascii_digit) {
        second = number(rest.get(..2)?)?;
        rest = rest.get(2..)?;
        if let [b'.' | b',', fraction @ ..] = rest {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            rest = fraction.get(digits..)?;
        }
    }
    // 24:00 and leap seconds do not occur in DER times.
    if !is_civil(year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let offset = match rest {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), digits @ ..] if digits.len() == 4 => {
            let minutes = number(digits.get(..2)?)? * 60 + number(digits.get(2..)?)?;
            if minutes > 14 * 60 {
                return None;
            }
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    let days = days_from_civil(year, month, day);
    Some(UnixTime(days * 86_400 + hour * 3_600 + (minute - offset) * 60 + second))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates_round_trip_over_four_centuries() {
        for days in -150_000..150_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert!(is_civil(2000, 2, 29) && !is_civil(1900, 2, 29) && !is_civil(2023, 4, 31));
    }

    #[test]
    fn asn1_times_are_read_with_their_offsets() {
        let utc = |text: &[u8]| parse_asn1(&Tlv::synthetic(Tag::UTC_TIME, text)).map(|time| time.0);
        let general = |text: &[u8]| parse_asn1(&Tlv::synthetic(Tag::GENERALIZED_TIME, text)).map(|time| time.0);
        assert_eq!(utc(b"700101000000Z"), Some(0));
        assert_eq!(utc(b"7001010000Z"), Some(0));
        assert_eq!(utc(b"700101020000+0200"), Some(0));
        assert_eq!(general(b"20380119031407Z"), Some(2_147_483_647));
        assert_eq!(general(b"20380119031407.123Z"), Some(2_147_483_647));
        for bad in [&b"700230000000Z"[..], b"700101240000Z", b"700101000000", b"7001010000", b"", b"xx0101000000Z"] {
            assert_eq!(utc(bad), None);
        }
    }
}
