//! From DG1 bytes to fields, every check digit verified.

use zeroize::Zeroizing;

use super::{DocumentType, Mrz, Sex, check_digit::check_digit, date};
use crate::{
    asn1::{Reader, Tag},
    evidence::UnixTime,
    report::MrzField,
};

/// Why a machine readable zone is refused; names the field, never its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MrzError {
    Malformed,
    CheckDigit(MrzField),
    Date(MrzField),
}

/// Parses DG1 and verifies every check digit; `at` decides centuries.
pub(crate) fn parse_dg1(dg1: &[u8], at: UnixTime) -> Result<Mrz, MrzError> {
    let mut file = Reader::new(dg1);
    let dg1 = file.expect(Tag::DG1).map_err(|_| MrzError::Malformed)?;
    file.finish().map_err(|_| MrzError::Malformed)?;
    let mut content = dg1.reader();
    let mrz = content.expect(Tag::MRZ).map_err(|_| MrzError::Malformed)?.value;
    content.finish().map_err(|_| MrzError::Malformed)?;
    if !mrz.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'<')) {
        return Err(MrzError::Malformed);
    }
    match mrz.len() {
        90 => td1(mrz, at),
        72 => td2(mrz, at),
        88 => td3(mrz, at),
        _ => Err(MrzError::Malformed),
    }
}

fn td3(mrz: &[u8], at: UnixTime) -> Result<Mrz, MrzError> {
    let line = Line(mrz);
    let number = line.at(44..53)?;
    verify(number, line.one(53)?, MrzField::DocumentNumber)?;
    verify(line.at(57..63)?, line.one(63)?, MrzField::DateOfBirth)?;
    verify(line.at(65..71)?, line.one(71)?, MrzField::DateOfExpiry)?;
    let optional = line.at(72..86)?;
    // ICAO Doc 9303-4: the check digit of an empty optional field may be 0 or a filler.
    let optional_check = line.one(86)?;
    if !(optional_check == b'<' && optional.iter().all(|byte| *byte == b'<')) {
        verify(optional, optional_check, MrzField::OptionalData)?;
    }
    let composite = [line.at(44..54)?, line.at(57..64)?, line.at(65..87)?];
    verify(&Zeroizing::new(composite.concat()), line.one(87)?, MrzField::Composite)?;
    assemble(
        Fields {
            document_type: DocumentType::Td3,
            code: line.at(0..2)?,
            issuer: line.at(2..5)?,
            names: line.at(5..44)?,
            number: vec![number],
            nationality: line.at(54..57)?,
            birth: line.at(57..63)?,
            sex: line.one(64)?,
            expiry: line.at(65..71)?,
            optional: vec![optional],
        },
        at,
    )
}

fn td2(mrz: &[u8], at: UnixTime) -> Result<Mrz, MrzError> {
    let line = Line(mrz);
    let (number, optional) = long_number(line.at(36..45)?, line.one(45)?, line.at(64..71)?)?;
    verify(line.at(49..55)?, line.one(55)?, MrzField::DateOfBirth)?;
    verify(line.at(57..63)?, line.one(63)?, MrzField::DateOfExpiry)?;
    let composite = [line.at(36..46)?, line.at(49..56)?, line.at(57..71)?];
    verify(&Zeroizing::new(composite.concat()), line.one(71)?, MrzField::Composite)?;
    assemble(
        Fields {
            document_type: DocumentType::Td2,
            code: line.at(0..2)?,
            issuer: line.at(2..5)?,
            names: line.at(5..36)?,
            number,
            nationality: line.at(46..49)?,
            birth: line.at(49..55)?,
            sex: line.one(56)?,
            expiry: line.at(57..63)?,
            optional: vec![optional],
        },
        at,
    )
}

fn td1(mrz: &[u8], at: UnixTime) -> Result<Mrz, MrzError> {
    let line = Line(mrz);
    let (number, optional) = long_number(line.at(5..14)?, line.one(14)?, line.at(15..30)?)?;
    verify(line.at(30..36)?, line.one(36)?, MrzField::DateOfBirth)?;
    verify(line.at(38..44)?, line.one(44)?, MrzField::DateOfExpiry)?;
    let composite = [line.at(5..30)?, line.at(30..37)?, line.at(38..45)?, line.at(48..59)?];
    verify(&Zeroizing::new(composite.concat()), line.one(59)?, MrzField::Composite)?;
    assemble(
        Fields {
            document_type: DocumentType::Td1,
            code: line.at(0..2)?,
            issuer: line.at(2..5)?,
            names: line.at(60..90)?,
            number,
            nationality: line.at(45..48)?,
            birth: line.at(30..36)?,
            sex: line.one(37)?,
            expiry: line.at(38..44)?,
            optional: vec![optional, line.at(48..59)?],
        },
        at,
    )
}

/// A document number of TD1 or TD2: when its check digit is a filler, the number goes on in the
/// optional data up to the next filler, and its last character there is the check digit
/// (ICAO Doc 9303-5 and 9303-6, note j).
fn long_number<'a>(start: &'a [u8], check: u8, optional: &'a [u8]) -> Result<(Vec<&'a [u8]>, &'a [u8]), MrzError> {
    let wrong = MrzError::CheckDigit(MrzField::DocumentNumber);
    if check != b'<' {
        verify(start, check, MrzField::DocumentNumber)?;
        return Ok((vec![start], optional));
    }
    let end = optional.iter().position(|byte| *byte == b'<').unwrap_or(optional.len());
    let (rest, optional) = optional.split_at(end);
    let (check, rest) = rest.split_last().ok_or(wrong)?;
    if rest.is_empty() || start.contains(&b'<') {
        return Err(wrong);
    }
    if check_digit(start.iter().chain(rest)) != Some(*check) {
        return Err(wrong);
    }
    Ok((vec![start, rest], optional))
}

struct Fields<'a> {
    document_type: DocumentType,
    code: &'a [u8],
    issuer: &'a [u8],
    names: &'a [u8],
    number: Vec<&'a [u8]>,
    nationality: &'a [u8],
    birth: &'a [u8],
    sex: u8,
    expiry: &'a [u8],
    optional: Vec<&'a [u8]>,
}

fn assemble(fields: Fields<'_>, at: UnixTime) -> Result<Mrz, MrzError> {
    // A code or issuer that is no letters is no travel document; anything else is the issuer's affair.
    if !fields.code.first().is_some_and(u8::is_ascii_uppercase)
        || !fields.issuer.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'<')
        || !fields.issuer.first().is_some_and(u8::is_ascii_uppercase)
    {
        return Err(MrzError::Malformed);
    }
    let document_number = text(&Zeroizing::new(fields.number.concat()));
    if document_number.is_empty() {
        return Err(MrzError::Malformed);
    }
    let expiry = date::expiry(fields.expiry, at).ok_or(MrzError::Date(MrzField::DateOfExpiry))?;
    let birth = date::birth(fields.birth, expiry, at).ok_or(MrzError::Date(MrzField::DateOfBirth))?;
    let (primary, secondary) = match fields.names.windows(2).position(|pair| pair == b"<<") {
        Some(at) => (&fields.names[..at], &fields.names[at..]),
        None => (fields.names, &[][..]),
    };
    let optional: Zeroizing<Vec<String>> =
        Zeroizing::new(fields.optional.iter().map(|part| text(part)).filter(|part| !part.is_empty()).collect());
    Ok(Mrz {
        document_type: fields.document_type,
        document_code: text(fields.code),
        issuing_state: text(fields.issuer),
        primary_identifier: text(primary),
        secondary_identifier: text(secondary),
        document_number,
        nationality: text(fields.nationality),
        date_of_birth: birth,
        sex: match fields.sex {
            b'M' => Sex::Male,
            b'F' => Sex::Female,
            b'<' | b'X' => Sex::Unspecified,
            _ => return Err(MrzError::Malformed),
        },
        date_of_expiry: expiry,
        optional_data: optional.join(" "),
    })
}

/// Fillers at the ends are dropped, runs of fillers inside become one space.
fn text(field: &[u8]) -> String {
    // In place, at its final capacity: no reallocation leaves a copy of the name behind.
    let mut text = String::with_capacity(field.len());
    for word in field.split(|byte| *byte == b'<').filter(|word| !word.is_empty()) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(word.iter().map(|byte| char::from(*byte)));
    }
    text
}

fn verify(field: &[u8], check: u8, name: MrzField) -> Result<(), MrzError> {
    if check_digit(field) == Some(check) { Ok(()) } else { Err(MrzError::CheckDigit(name)) }
}

/// Columns by position over all lines together.
struct Line<'a>(&'a [u8]);

impl<'a> Line<'a> {
    fn at(&self, range: std::ops::Range<usize>) -> Result<&'a [u8], MrzError> {
        self.0.get(range).ok_or(MrzError::Malformed)
    }

    fn one(&self, index: usize) -> Result<u8, MrzError> {
        self.0.get(index).copied().ok_or(MrzError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2012-01-01
    const THEN: UnixTime = UnixTime(1_325_376_000);

    fn dg1(mrz: &str) -> Vec<u8> {
        let mut out = vec![0x61, mrz.len() as u8 + 3, 0x5f, 0x1f, mrz.len() as u8];
        out.extend_from_slice(mrz.as_bytes());
        out
    }

    fn parse(mrz: &str) -> Result<Mrz, MrzError> {
        parse_dg1(&dg1(mrz), THEN)
    }

    // The specimens of ICAO Doc 9303-4, 9303-5 and 9303-6.
    const TD3: &str = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<L898902C36UTO7408122F1204159ZE184226B<<<<<10";
    const TD1: &str = "I<UTOD231458907<<<<<<<<<<<<<<<7408122F1204159UTO<<<<<<<<<<<6ERIKSSON<<ANNA<MARIA<<<<<<<<<<";
    const TD2: &str = "I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<D231458907UTO7408122F1204159<<<<<<<6";

    #[test]
    fn reads_the_9303_specimens() {
        for (mrz, kind, number, optional) in [
            (TD3, DocumentType::Td3, "L898902C3", "ZE184226B"),
            (TD1, DocumentType::Td1, "D23145890", ""),
            (TD2, DocumentType::Td2, "D23145890", ""),
        ] {
            let mrz = parse(mrz).unwrap_or_else(|error| panic!("{error:?}"));
            assert!(mrz.document_type == kind);
            assert_eq!(mrz.issuing_state, "UTO");
            assert_eq!(mrz.primary_identifier, "ERIKSSON");
            assert_eq!(mrz.secondary_identifier, "ANNA MARIA");
            assert_eq!(mrz.document_number, number);
            assert_eq!(mrz.optional_data, optional);
            assert_eq!(mrz.nationality, "UTO");
            assert_eq!(mrz.date_of_birth.to_iso().as_deref(), Some("1974-08-12"));
            assert_eq!(mrz.date_of_expiry.to_iso(), "2012-04-15");
            assert!(mrz.sex == Sex::Female);
        }
    }

    #[test]
    fn long_document_numbers_are_joined() {
        // ICAO Doc 9303-5, note j: D23145890734 with check digit 9.
        let body = "I<UTOD23145890<7349<<<<<<<<<<<7408122F1204159UTO<<<<<<<<<<<";
        let composite = {
            let b = body.as_bytes();
            let all = [&b[5..30], &b[30..37], &b[38..45], &b[48..59]].concat();
            check_digit(&all).unwrap() as char
        };
        let mrz = format!("{body}{composite}ERIKSSON<<ANNA<MARIA<<<<<<<<<<");
        let parsed = parse(&mrz).unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(parsed.document_number, "D23145890734");
        assert_eq!(parsed.optional_data, "");
        assert!(matches!(parse(&mrz.replace("7349", "7348")), Err(MrzError::CheckDigit(MrzField::DocumentNumber))));
    }

    #[test]
    fn every_checked_character_is_checked() {
        for mrz in [TD3, TD1, TD2] {
            let unchecked: Vec<usize> = match mrz.len() {
                88 => (0..44).chain(54..57).chain([64]).collect(),
                90 => (0..5).chain([37]).chain(45..48).chain(60..90).collect(),
                _ => (0..36).chain(46..49).chain([56]).collect(),
            };
            for at in 0..mrz.len() {
                if unchecked.contains(&at) {
                    continue;
                }
                let mut mutant = mrz.as_bytes().to_vec();
                // Seven and one apart modulo 10 under every weight of 7, 3 and 1.
                mutant[at] = match mutant[at] {
                    b'0'..=b'8' => mutant[at] + 1,
                    b'9' => b'0',
                    b'<' => b'1',
                    letter @ b'A'..=b'Y' => letter + 1,
                    _ => b'A',
                };
                let result = parse(std::str::from_utf8(&mutant).unwrap());
                assert!(matches!(result, Err(MrzError::CheckDigit(_))), "column {at} of {}", mrz.len());
            }
        }
    }

    #[test]
    fn impossible_dates_are_named() {
        let with_birth = |digits: &str| {
            let mut mrz = TD3.as_bytes().to_vec();
            mrz[57..63].copy_from_slice(digits.as_bytes());
            mrz[63] = check_digit(&mrz[57..63]).unwrap();
            let composite = [&mrz[44..54], &mrz[57..64], &mrz[65..87]].concat();
            mrz[87] = check_digit(&composite).unwrap();
            parse(std::str::from_utf8(&mrz).unwrap()).map(|mrz| mrz.date_of_birth)
        };
        assert!(matches!(with_birth("740231"), Err(MrzError::Date(MrzField::DateOfBirth))));
        assert!(with_birth("74<<<<").is_ok_and(|date| date.year == Some(1974) && date.month.is_none()));
    }

    #[test]
    fn other_lengths_and_alphabets_are_refused() {
        assert!(matches!(parse(&TD3[..87]), Err(MrzError::Malformed)));
        assert!(matches!(parse(&TD3.to_lowercase()), Err(MrzError::Malformed)));
        for end in 0..dg1(TD3).len() {
            assert!(parse_dg1(&dg1(TD3)[..end], THEN).is_err());
        }
    }
}
