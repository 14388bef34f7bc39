//! Age on a day.

use jiff::civil::Date;

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
    fn age_changes_on_the_day() {
        assert_eq!(age_on(date(2008, 11, 22), date(2026, 11, 21)), 17);
        assert_eq!(age_on(date(2008, 11, 22), date(2026, 11, 22)), 18);
        assert_eq!(age_on(date(2008, 2, 29), date(2026, 2, 28)), 17);
        assert_eq!(age_on(date(2008, 2, 29), date(2026, 3, 1)), 18);
        assert_eq!(age_on(date(2008, 2, 29), date(2028, 2, 28)), 19);
        assert_eq!(age_on(date(2008, 2, 29), date(2028, 2, 29)), 20, "in a leap year the birthday is the day itself");
        assert_eq!(age_on(date(2007, 12, 31), date(2026, 1, 1)), 18);
        assert_eq!(age_on(date(2026, 11, 22), date(2026, 11, 22)), 0);
    }

    /// Counted the other way: birthdays that have come since the birth.
    #[test]
    fn age_is_the_number_of_birthdays() {
        let (mut birth, last) = (date(1999, 12, 1), date(2000, 4, 1));
        while birth <= last {
            let mut today = date(2023, 12, 1);
            while today <= date(2024, 4, 1) {
                let birthdays = (1..=30).filter(|years| {
                    let year = birth.year() + years;
                    // 29 February falls on 1 March where there is none.
                    jiff::civil::Date::new(year, birth.month(), birth.day()).unwrap_or(date(year, 3, 1)) <= today
                });
                assert_eq!(age_on(birth, today), i32::try_from(birthdays.count()).unwrap(), "{birth} {today}");
                today = today.tomorrow().unwrap();
            }
            birth = birth.tomorrow().unwrap();
        }
    }
}
