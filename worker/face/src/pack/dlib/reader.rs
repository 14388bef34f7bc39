//! dlib's primitive encodings.

use crate::error::{ModelError, ModelFault};

pub(super) type Result<T> = std::result::Result<T, ModelError>;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn fail<T>(&self, fault: ModelFault) -> Result<T> {
        Err(ModelError { offset: self.at, fault })
    }

    pub(super) fn unexpected<T>(&self, what: &'static str, found: impl ToString, expected: impl ToString) -> Result<T> {
        self.fail(ModelFault::Unexpected { what, found: found.to_string(), expected: expected.to_string() })
    }

    /// The model must end where the file ends.
    pub(super) fn finish(self) -> Result<()> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            left => self.fail(ModelFault::Trailing(left)),
        }
    }

    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8]> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        match taken {
            Some(bytes) => {
                self.at += count;
                Ok(bytes)
            }
            None => self.fail(ModelFault::Truncated(what)),
        }
    }

    /// A control byte (sign and length), then that many bytes of magnitude, lowest first.
    pub(super) fn int(&mut self, what: &'static str) -> Result<i64> {
        let start = self.at;
        let &[control] = self.take(1, what)? else {
            return self.fail(ModelFault::Truncated(what));
        };
        let length = usize::from(control & 0x0f);
        let malformed = ModelError { offset: start, fault: ModelFault::Malformed(what) };
        if control & 0x70 != 0 || !(1..=8).contains(&length) {
            return Err(malformed);
        }
        let magnitude = self.take(length, what)?.iter().rev().fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
        let magnitude = i64::try_from(magnitude).map_err(|_| malformed)?;
        Ok(if control & 0x80 != 0 { -magnitude } else { magnitude })
    }

    /// An integer that must have this value.
    pub(super) fn exactly(&mut self, what: &'static str, expected: i64) -> Result<()> {
        let start = self.at;
        let found = self.int(what)?;
        if found == expected {
            return Ok(());
        }
        Err(ModelError {
            offset: start,
            fault: ModelFault::Unexpected { what, found: found.to_string(), expected: expected.to_string() },
        })
    }

    /// The length of a vector whose items take at least `least` bytes each: never more than the
    /// rest of the file can hold, so it is safe to allocate for.
    pub(super) fn count(&mut self, what: &'static str, least: usize) -> Result<usize> {
        let start = self.at;
        let count = self.int(what)?;
        let left = self.bytes.len() - self.at;
        match usize::try_from(count) {
            Ok(count) if count.checked_mul(least).is_some_and(|need| need <= left) => Ok(count),
            _ => Err(ModelError { offset: start, fault: ModelFault::Count { what, count: count.unsigned_abs() } }),
        }
    }

    pub(super) fn index(&mut self, what: &'static str, below: usize) -> Result<u16> {
        let start = self.at;
        let value = self.int(what)?;
        match (usize::try_from(value), u16::try_from(value)) {
            (Ok(wide), Ok(narrow)) if wide < below => Ok(narrow),
            _ => Err(ModelError {
                offset: start,
                fault: ModelFault::Unexpected { what, found: value.to_string(), expected: format!("below {below}") },
            }),
        }
    }

    pub(super) fn boolean(&mut self, what: &'static str) -> Result<bool> {
        match self.take(1, what)? {
            b"0" => Ok(false),
            b"1" => Ok(true),
            _ => self.fail(ModelFault::Malformed(what)),
        }
    }

    /// Mantissa, then exponent of two. Infinities and NaN have no place in a model.
    pub(super) fn float(&mut self, what: &'static str) -> Result<f64> {
        let mantissa = self.int(what)?;
        let exponent = self.int(what)?;
        let value = match i32::try_from(exponent) {
            Ok(exponent) if (-1_200..=1_200).contains(&exponent) => mantissa as f64 * 2f64.powi(exponent),
            _ => f64::NAN,
        };
        if value.is_finite() && value.abs() <= f64::from(f32::MAX) {
            Ok(value)
        } else {
            self.fail(ModelFault::Malformed(what))
        }
    }

    /// A string that must have this value.
    pub(super) fn name(&mut self, expected: &'static str) -> Result<()> {
        let start = self.at;
        let length = self.count("name", 1)?;
        let found = self.take(length, "name")?;
        if found == expected.as_bytes() {
            return Ok(());
        }
        let shown: String = String::from_utf8_lossy(found).chars().take(40).collect();
        Err(ModelError {
            offset: start,
            fault: ModelFault::Unexpected {
                what: "name",
                found: format!("{shown:?}"),
                expected: format!("{expected:?}"),
            },
        })
    }

    /// A column matrix of N floats.
    pub(super) fn column<const N: usize>(&mut self, what: &'static str) -> Result<[f32; N]> {
        // Newer files store both sizes negated.
        let rows = self.int(what)?.unsigned_abs();
        let columns = self.int(what)?.unsigned_abs();
        if (rows, columns) != (N as u64, 1) {
            return self.unexpected(what, format!("{rows}x{columns}"), format!("{N}x1"));
        }
        let mut out = [0.0; N];
        for value in &mut out {
            *value = self.float(what)? as f32;
        }
        Ok(out)
    }

    /// A tensor of `expected` values in all, whatever its shape.
    pub(super) fn tensor(&mut self, what: &'static str, expected: usize) -> Result<Vec<f32>> {
        self.exactly("tensor version", 2)?;
        let start = self.at;
        let mut total = 1u64;
        for _ in 0..4 {
            let dimension = self.int(what)?;
            total =
                u64::try_from(dimension).ok().and_then(|dimension| total.checked_mul(dimension)).unwrap_or(u64::MAX);
        }
        if total != expected as u64 {
            return Err(ModelError {
                offset: start,
                fault: ModelFault::Unexpected {
                    what,
                    found: format!("{total} values"),
                    expected: format!("{expected} values"),
                },
            });
        }
        let raw = self.take(expected * 4, what)?;
        let values: Vec<f32> = raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        if values.iter().all(|value| value.is_finite()) { Ok(values) } else { self.fail(ModelFault::Malformed(what)) }
    }

    /// A view into another tensor: its shape alone.
    pub(super) fn alias(&mut self, what: &'static str, expected: [i64; 4]) -> Result<()> {
        self.exactly("alias version", 1)?;
        for dimension in expected {
            self.exactly(what, dimension)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_sign_length_and_magnitude() {
        let mut reader = Reader::new(&[0x01, 7, 0x82, 0x01, 0x02, 0x08, 255, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(reader.int("a"), Ok(7));
        assert_eq!(reader.int("b"), Ok(-513));
        assert_eq!(reader.int("c"), Ok(255));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn control_bytes_outside_the_format_are_malformed() {
        for control in [0x00, 0x09, 0x11, 0x41] {
            let bytes = [control, 1, 1, 1, 1, 1, 1, 1, 1, 1];
            let error = Reader::new(&bytes).int("x").unwrap_err();
            assert_eq!(error.fault, ModelFault::Malformed("x"), "{control:02x}");
        }
        let overflow = [0x08, 255, 255, 255, 255, 255, 255, 255, 255];
        assert!(Reader::new(&overflow).int("x").is_err());
    }

    #[test]
    fn floats_are_mantissa_then_exponent() {
        let mut reader = Reader::new(&[0x01, 3, 0x81, 1]);
        assert_eq!(reader.float("x"), Ok(1.5));
        // 32000 stands for infinity.
        let infinite = [0x01, 0, 0x02, 0x00, 0x7d];
        assert!(Reader::new(&infinite).float("x").is_err());
    }

    #[test]
    fn a_count_that_the_file_cannot_hold_is_refused_before_allocating() {
        let bytes = [0x08, 0, 0, 0, 0, 0, 0, 0, 0x40, 1, 2, 3];
        let error = Reader::new(&bytes).count("trees", 8).unwrap_err();
        assert!(matches!(error.fault, ModelFault::Count { what: "trees", .. }));
        let hostile_tensor = [0x01, 2, 0x04, 255, 255, 255, 127, 0x04, 255, 255, 255, 127, 0x01, 1, 0x01, 1];
        let error = Reader::new(&hostile_tensor).tensor("weights", 64).unwrap_err();
        assert!(matches!(error.fault, ModelFault::Unexpected { .. }));
    }
}
