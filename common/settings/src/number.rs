//! Numbers on the command line, with one message for all that is wrong with them.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A parser of numbers in a range, for `value_parser`: whatever is wrong, it says which numbers there are.
pub fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    let (low, high) = (*range.start(), *range.end());
    move |text: &str| match text.parse::<T>() {
        Ok(number) if number >= low && number <= high => Ok(number),
        _ => Err(format!("expected a number from {low} to {high}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_of_the_range_is_told_the_range() {
        let parse = number(3u16..=40);
        assert_eq!((parse("3"), parse("40")), (Ok(3), Ok(40)));
        for bad in ["2", "41", "ten", "", "-3", "70000", "3.5", " 3"] {
            assert_eq!(parse(bad), Err("expected a number from 3 to 40".to_owned()), "{bad}");
        }
    }
}
