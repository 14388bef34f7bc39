//! Check digits of ICAO Doc 9303-3 section 4.9: weights 7, 3, 1, modulo 10.

/// The check digit of the characters, or `None` when one is not in the MRZ alphabet.
pub(super) fn check_digit<'a>(characters: impl IntoIterator<Item = &'a u8>) -> Option<u8> {
    let mut sum = 0u32;
    for (index, character) in characters.into_iter().enumerate() {
        let value = match character {
            b'0'..=b'9' => character - b'0',
            b'A'..=b'Z' => character - b'A' + 10,
            b'<' => 0,
            _ => return None,
        };
        sum += u32::from(value) * [7, 3, 1][index % 3];
    }
    Some(b'0' + (sum % 10) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_examples_of_9303() {
        // ICAO Doc 9303-3, appendix A to part 3.
        assert_eq!(check_digit(b"520727"), Some(b'3'));
        assert_eq!(check_digit(b"AB2134<<<"), Some(b'5'));
        assert_eq!(check_digit(b"D23145890734934092"), check_digit(b"D23145890734934092"));
        assert_eq!(check_digit(b"a"), None);
    }
}
