//! From DG1 bytes to fields, every check digit verified.

use zeroize::Zeroizing;

use super::{
    DocumentType, Mrz, Sex, date,
    layout::{Layout, LongNumber},
};
use crate::{
    asn1::{Reader, Tag},
    deviation::{Deviation, DeviationSet},
    evidence::UnixTime,
    report::{MrzField, Reason},
};

/// Why a machine readable zone is refused; names the field, never its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MrzError {
    Malformed,
    Field(MrzField),
    CheckDigit(MrzField),
    Date(MrzField),
}

impl From<MrzError> for Reason {
    fn from(error: MrzError) -> Reason {
        match error {
            MrzError::Malformed => Reason::MrzMalformed,
            MrzError::Field(field) => Reason::MrzFieldMalformed(field),
            MrzError::CheckDigit(field) => Reason::MrzCheckDigit(field),
            MrzError::Date(field) => Reason::MrzDateImpossible(field),
        }
    }
}

/// Parses DG1 and verifies every check digit. The verification time decides centuries, and so does the time of
/// signing where the SOD gives one.
pub(crate) fn parse_dg1(dg1: &[u8], at: UnixTime, signed: Option<UnixTime>) -> Result<(Mrz, DeviationSet), MrzError> {
    let (zone, mut deviations) = zone(dg1)?;
    let layout = Layout::of(zone.len()).ok_or(MrzError::Malformed)?;
    if let Some((field, _)) = layout.check_digits(zone).find(|(_, holds)| !holds) {
        return Err(MrzError::CheckDigit(field));
    }
    let mrz = assemble(layout, zone, at, signed, &mut deviations)?;
    Ok((mrz, deviations))
}

/// The characters of the machine readable zone, lines joined.
pub(super) fn zone(dg1: &[u8]) -> Result<(&[u8], DeviationSet), MrzError> {
    let malformed = |_| MrzError::Malformed;
    let mut file = Reader::new(dg1);
    let dg1 = file.expect(Tag::DG1).map_err(malformed)?;
    file.finish().map_err(malformed)?;
    let mut content = dg1.reader();
    let zone = content.expect(Tag::MRZ).map_err(malformed)?;
    content.finish().map_err(malformed)?;
    if !zone.value.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'<')) {
        return Err(MrzError::Malformed);
    }
    let mut deviations = DeviationSet::EMPTY;
    if !(dg1.der && zone.der) {
        deviations.insert(Deviation::DataGroupNotDer);
    }
    Ok((zone.value, deviations))
}

fn assemble(
    layout: &'static Layout,
    zone: &[u8],
    at: UnixTime,
    signed: Option<UnixTime>,
    deviations: &mut DeviationSet,
) -> Result<Mrz, MrzError> {
    let field = |columns: &std::ops::Range<usize>| zone.get(columns.clone()).ok_or(MrzError::Malformed);
    let code = field(&layout.code)?;
    if document_code_is_unusual(layout.document_type, code).ok_or(MrzError::Field(MrzField::DocumentCode))? {
        deviations.insert(Deviation::MrzDocumentCodeUnusual);
    }
    let issuer = field(&layout.issuer)?;
    if !is_state(issuer) {
        return Err(MrzError::Field(MrzField::IssuingState));
    }
    let (number, optional) = number_and_optional(layout, zone)?;
    let document_number = text(&number);
    if document_number.is_empty() {
        return Err(MrzError::Field(MrzField::DocumentNumber));
    }
    let names = field(&layout.names)?;
    if names.iter().all(|byte| *byte == b'<') {
        return Err(MrzError::Field(MrzField::Names));
    }
    let (primary, secondary) = match names.windows(2).position(|pair| pair == b"<<") {
        Some(at) => names.split_at_checked(at).ok_or(MrzError::Malformed)?,
        None => (names, &[][..]),
    };
    let nationality = field(&layout.nationality)?;
    if nationality.iter().any(u8::is_ascii_digit) {
        return Err(MrzError::Field(MrzField::Nationality));
    }
    let sex = match zone.get(layout.sex) {
        Some(b'M') => Sex::Male,
        Some(b'F') => Sex::Female,
        Some(b'<' | b'X') => Sex::Unspecified,
        _ => return Err(MrzError::Field(MrzField::Sex)),
    };
    let irregular = names.iter().any(u8::is_ascii_digit)
        || names.starts_with(b"<")
        || !is_state(nationality)
        || zone.get(layout.sex) == Some(&b'X');
    if irregular {
        deviations.insert(Deviation::MrzFieldIrregular);
    }
    let expiry = date::expiry(field(&layout.expiry)?, at).ok_or(MrzError::Date(MrzField::DateOfExpiry))?;
    let birth = date::birth(field(&layout.birth)?, expiry, at, signed).ok_or(MrzError::Date(MrzField::DateOfBirth))?;
    let optional: Zeroizing<Vec<String>> =
        Zeroizing::new(optional.iter().map(|part| text(part)).filter(|part| !part.is_empty()).collect());
    Ok(Mrz {
        document_type: layout.document_type,
        document_code: text(code),
        issuing_state: text(issuer),
        primary_identifier: text(primary),
        secondary_identifier: text(secondary),
        document_number,
        nationality: text(nationality),
        date_of_birth: birth,
        sex,
        date_of_expiry: expiry,
        optional_data: optional.join(" "),
    })
}

/// Whether a document code is other than its format asks for; `None` when it is no travel document's.
///
/// ICAO Doc 9303-4 asks for P and a letter of the issuer's choice; 9303-5 and 9303-6 for A, C or I and a letter other than V.
/// Codes that begin with V are visas, which have no chip of their own (9303-7). Other letters occur in travel and
/// residence documents.
fn document_code_is_unusual(document_type: DocumentType, code: &[u8]) -> Option<bool> {
    let [first @ b'A'..=b'Z', second @ (b'A'..=b'Z' | b'<' | b'0'..=b'9')] = code else {
        return None;
    };
    let usual = match document_type {
        _ if *first == b'V' => return None,
        DocumentType::Td3 => *first == b'P',
        DocumentType::Td1 | DocumentType::Td2 => matches!(first, b'A' | b'C' | b'I') && *second != b'V',
    };
    Some(!usual || second.is_ascii_digit())
}

/// One to three letters, then fillers (ICAO Doc 9303-3 section 5).
fn is_state(code: &[u8]) -> bool {
    let letters = code.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    letters > 0 && code.iter().skip(letters).all(|byte| *byte == b'<')
}

type NumberAndOptional<'z> = (Zeroizing<Vec<u8>>, Vec<&'z [u8]>);

fn number_and_optional<'z>(layout: &Layout, zone: &'z [u8]) -> Result<NumberAndOptional<'z>, MrzError> {
    let field = |columns: &std::ops::Range<usize>| zone.get(columns.clone()).ok_or(MrzError::Malformed);
    let mut optional = layout.optional.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let number = field(&layout.number)?;
    let continues = layout.document_type != DocumentType::Td3 && zone.get(layout.number.end) == Some(&b'<');
    if !continues {
        return Ok((Zeroizing::new(number.to_vec()), optional));
    }
    let long = LongNumber::read(layout, zone).ok_or(MrzError::CheckDigit(MrzField::DocumentNumber))?;
    if let Some(first) = optional.first_mut() {
        *first = long.optional;
    }
    Ok((Zeroizing::new([long.start, long.rest].concat()), optional))
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

#[cfg(test)]
mod tests {
    use super::{super::check_digit::check_digit, *};

    /// 2012-01-01
    const THEN: UnixTime = UnixTime(1_325_376_000);

    fn dg1(mrz: &str) -> Vec<u8> {
        let mut out = vec![0x61, mrz.len() as u8 + 3, 0x5f, 0x1f, mrz.len() as u8];
        out.extend_from_slice(mrz.as_bytes());
        out
    }

    fn parse(mrz: &str) -> Result<Mrz, MrzError> {
        parse_dg1(&dg1(mrz), THEN, None).map(|(mrz, _)| mrz)
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
            assert!(parse_dg1(&dg1(TD3)[..end], THEN, None).is_err());
        }
    }
}
