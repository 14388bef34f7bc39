//! Where the fields stand: the three formats as data. Columns are counted over all lines together.
// A list of one range of columns is meant, not the columns of the range.
#![allow(clippy::single_range_in_vec_init)]

use std::ops::Range;

use super::{DocumentType, check_digit::check_digit};
use crate::report::MrzField;

/// One format of the machine readable zone (ICAO Doc 9303-4, -5 and -6, section 4.2).
pub(super) struct Layout {
    pub document_type: DocumentType,
    /// Characters a line.
    pub columns: usize,
    pub code: Range<usize>,
    pub issuer: Range<usize>,
    pub names: Range<usize>,
    pub number: Range<usize>,
    pub nationality: Range<usize>,
    pub birth: Range<usize>,
    pub sex: usize,
    pub expiry: Range<usize>,
    /// Optional data; the first of it takes the rest of a long document number in TD1 and TD2.
    pub optional: &'static [Range<usize>],
    /// Every check digit: what it is of, the columns it covers in order, its own column.
    checks: &'static [(MrzField, &'static [Range<usize>], usize)],
}

pub(super) const LAYOUTS: [Layout; 3] = [
    Layout {
        document_type: DocumentType::Td3,
        columns: 44,
        code: 0..2,
        issuer: 2..5,
        names: 5..44,
        number: 44..53,
        nationality: 54..57,
        birth: 57..63,
        sex: 64,
        expiry: 65..71,
        optional: &[72..86],
        checks: &[
            (MrzField::DocumentNumber, &[44..53], 53),
            (MrzField::DateOfBirth, &[57..63], 63),
            (MrzField::DateOfExpiry, &[65..71], 71),
            (MrzField::OptionalData, &[72..86], 86),
            (MrzField::Composite, &[44..54, 57..64, 65..87], 87),
        ],
    },
    Layout {
        document_type: DocumentType::Td2,
        columns: 36,
        code: 0..2,
        issuer: 2..5,
        names: 5..36,
        number: 36..45,
        nationality: 46..49,
        birth: 49..55,
        sex: 56,
        expiry: 57..63,
        optional: &[64..71],
        checks: &[
            (MrzField::DocumentNumber, &[36..45], 45),
            (MrzField::DateOfBirth, &[49..55], 55),
            (MrzField::DateOfExpiry, &[57..63], 63),
            (MrzField::Composite, &[36..46, 49..56, 57..71], 71),
        ],
    },
    Layout {
        document_type: DocumentType::Td1,
        columns: 30,
        code: 0..2,
        issuer: 2..5,
        names: 60..90,
        number: 5..14,
        nationality: 45..48,
        birth: 30..36,
        sex: 37,
        expiry: 38..44,
        optional: &[15..30, 48..59],
        checks: &[
            (MrzField::DocumentNumber, &[5..14], 14),
            (MrzField::DateOfBirth, &[30..36], 36),
            (MrzField::DateOfExpiry, &[38..44], 44),
            (MrzField::Composite, &[5..30, 30..37, 38..45, 48..59], 59),
        ],
    },
];

impl Layout {
    /// The format of a zone of so many characters.
    pub fn of(length: usize) -> Option<&'static Layout> {
        LAYOUTS.iter().find(|layout| layout.len() == length)
    }

    fn len(&self) -> usize {
        match self.document_type {
            DocumentType::Td1 => 90,
            DocumentType::Td2 => 72,
            DocumentType::Td3 => 88,
        }
    }

    /// Every check digit and whether it holds, in the order in which they decide.
    pub fn check_digits<'m>(&'static self, mrz: &'m [u8]) -> impl Iterator<Item = (MrzField, bool)> + 'm {
        self.checks.iter().map(move |(field, columns, at)| {
            let digit = mrz.get(*at).copied().unwrap_or_default();
            let holds = match field {
                MrzField::DocumentNumber if digit == b'<' && self.document_type != DocumentType::Td3 => {
                    LongNumber::read(self, mrz).is_some_and(|number| number.holds())
                }
                // ICAO Doc 9303-4: the check digit of an empty optional field may be 0 or a filler.
                MrzField::OptionalData if digit == b'<' => covered(mrz, columns).all(|byte| *byte == b'<'),
                _ => check_digit(covered(mrz, columns)) == Some(digit),
            };
            (*field, holds)
        })
    }
}

fn covered<'m>(mrz: &'m [u8], columns: &'static [Range<usize>]) -> impl Iterator<Item = &'m u8> {
    columns.iter().flat_map(move |range| mrz.get(range.clone()).unwrap_or_default())
}

/// A document number of TD1 or TD2 that is longer than its field: its check digit is a filler, the number goes on in the
/// optional data up to the next filler, and its last character there is the check digit (ICAO Doc 9303-5 and 9303-6,
/// note j).
pub(super) struct LongNumber<'m> {
    pub start: &'m [u8],
    pub rest: &'m [u8],
    check: u8,
    /// What is left of the optional data.
    pub optional: &'m [u8],
}

impl<'m> LongNumber<'m> {
    pub fn read(layout: &Layout, mrz: &'m [u8]) -> Option<LongNumber<'m>> {
        let start = mrz.get(layout.number.clone())?;
        let optional = mrz.get(layout.optional.first()?.clone())?;
        let end = optional.iter().position(|byte| *byte == b'<').unwrap_or(optional.len());
        let (rest, optional) = optional.split_at_checked(end)?;
        let (check, rest) = rest.split_last()?;
        Some(LongNumber { start, rest, check: *check, optional })
    }

    fn holds(&self) -> bool {
        !self.rest.is_empty()
            && !self.start.contains(&b'<')
            && check_digit(self.start.iter().chain(self.rest)) == Some(self.check)
    }
}
