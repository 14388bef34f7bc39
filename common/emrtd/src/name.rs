//! Distinguished names, compared canonically (RFC 5280 section 7.1, and looser where issuers are).

use crate::{
    asn1::{Asn1Error, Reader, Tag, Tlv},
    oid,
};

/// A name in a form in which equal names are equal bytes: values decoded from their string type,
/// lower case, white space folded; relative names sorted, since signers exist that list them in
/// reverse. Used to find candidates; what decides is always a signature.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct CanonicalName(Box<[u8]>);

/// Octets of a name, and attributes in it, that are read; real names have some hundred octets and seven attributes.
/// Decoding, folding and sorting cost many times what skipping does, so an unbounded name would be a cheap attack.
const MAX_OCTETS: usize = 16 * 1024;
const MAX_ATTRIBUTES: usize = 64;

/// A parsed name.
pub(crate) struct Name {
    pub canonical: CanonicalName,
    /// The countryName, upper case.
    pub country: Option<String>,
}

/// Parts of a name; real ones have a dozen at most.
const MAX_PARTS: usize = 64;

pub(crate) fn parse(name: &Tlv<'_>) -> Result<Name, Asn1Error> {
    let mut parts = 0;
    if name.raw.len() > MAX_OCTETS {
        return Err(Asn1Error::Length);
    }
    let mut country = None;
    let mut relative_names = Vec::new();
    let mut count = 0;
    let mut sets = name.reader();
    while !sets.is_empty() {
        let mut attributes = Vec::new();
        let mut set = sets.expect(Tag::SET)?.reader();
        // An empty one counts too.
        count += usize::from(set.is_empty());
        while !set.is_empty() {
            count += 1;
            parts += 1;
            if parts > MAX_PARTS {
                return Err(Asn1Error::Value);
            }
            let mut attribute = set.expect(Tag::SEQUENCE)?.reader();
            let kind = attribute.expect(Tag::OID)?.value;
            let value = attribute.next()?;
            attribute.finish()?;
            if kind == oid::COUNTRY_NAME.as_bytes() && country.is_none() {
                country = decode(&value).and_then(|text| country_code(&text));
            }
            let mut canonical = Vec::with_capacity(kind.len() + 2 + value.raw.len());
            canonical.extend_from_slice(kind);
            canonical.push(0);
            canonical_value(&value, &mut canonical);
            attributes.push(canonical);
        }
        if count > MAX_ATTRIBUTES {
            return Err(Asn1Error::Length);
        }
        attributes.sort();
        if relative_names.len() == MAX_PARTS {
            return Err(Asn1Error::Value);
        }
        relative_names.push(join(&attributes));
    }
    relative_names.sort();
    Ok(Name { canonical: CanonicalName(join(&relative_names).into_boxed_slice()), country })
}

/// The code in upper case, without the padding some issuers write around it; none when nothing is left.
fn country_code(text: &str) -> Option<String> {
    let code = text.trim_matches(|character: char| character.is_whitespace() || character == '\0');
    (!code.is_empty()).then(|| code.to_uppercase())
}

/// The name for people and logs (RFC 4514): last relative name first, what is not a string as `#hex`. A part that is
/// not as it should be is shown as `#hex` too, so that any name of a parsed certificate can be shown.
pub(crate) fn text(name: &[u8]) -> String {
    let mut relative_names = Vec::new();
    if let Ok(name) = Reader::new(name).next() {
        let mut sets = name.reader();
        while let Ok(set) = sets.next() {
            relative_names.push(relative_name_text(&set).unwrap_or_else(|| format!("#{}", hex(set.raw))));
        }
    }
    relative_names.reverse();
    relative_names.join(",")
}

fn relative_name_text(set: &Tlv<'_>) -> Option<String> {
    let mut attributes = Vec::new();
    let mut set = set.reader();
    while !set.is_empty() {
        let mut attribute = set.expect(Tag::SEQUENCE).ok()?.reader();
        let kind = attribute.expect(Tag::OID).ok()?.value;
        let value = attribute.next().ok()?;
        let kind = match SHORT_NAMES.iter().find(|(oid, _)| oid.as_bytes() == kind) {
            Some((_, short)) => (*short).to_owned(),
            None => oid::dotted(kind),
        };
        let value = match decode(&value) {
            Some(text) => escape(&text),
            None => format!("#{}", hex(value.raw)),
        };
        attributes.push(format!("{kind}={value}"));
    }
    Some(attributes.join("+"))
}

/// RFC 4514 section 2.4; control and formatting characters as well, which could forge a line of a log.
fn escape(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (at, character) in text.chars().enumerate() {
        let at_edge = (at == 0 && matches!(character, ' ' | '#')) || (at == last && character == ' ');
        if character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        {
            let mut utf8 = [0; 4];
            for octet in character.encode_utf8(&mut utf8).bytes() {
                out.push_str(&format!("\\{octet:02x}"));
            }
        } else {
            if at_edge || matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
                out.push('\\');
            }
            out.push(character);
        }
    }
    out
}

const SHORT_NAMES: &[(der::oid::ObjectIdentifier, &str)] = &[
    (oid::COUNTRY_NAME, "C"),
    (oid::COMMON_NAME, "CN"),
    (oid::ORGANIZATION_NAME, "O"),
    (oid::ORGANIZATIONAL_UNIT_NAME, "OU"),
    (oid::LOCALITY_NAME, "L"),
    (oid::STATE_OR_PROVINCE_NAME, "ST"),
    (oid::SERIAL_NUMBER, "serialNumber"),
    (oid::EMAIL_ADDRESS, "emailAddress"),
    (oid::DOMAIN_COMPONENT, "DC"),
];

/// Parts with their lengths, so that no two lists give the same bytes.
fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(parts.iter().map(|part| 8 + part.len()).sum());
    for part in parts {
        joined.extend_from_slice(&(part.len() as u64).to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

fn canonical_value(value: &Tlv<'_>, out: &mut Vec<u8>) {
    let single_octets =
        [Tag::UTF8_STRING, Tag::PRINTABLE_STRING, Tag::IA5_STRING, Tag::VISIBLE_STRING, Tag::TELETEX_STRING];
    if single_octets.contains(&value.tag) && value.value.is_ascii() {
        // Nearly every name there is, and every document has one: the same as below without the detours.
        let words = value.value.split(|octet| char::from(*octet).is_whitespace()).filter(|word| !word.is_empty());
        for (index, word) in words.enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            out.extend(word.iter().map(u8::to_ascii_lowercase));
        }
        return;
    }
    match decode(value) {
        Some(text) => {
            out.extend(text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase().into_bytes());
        }
        // Not a string type: only the same bytes are equal, and never equal to a string.
        None => {
            out.push(0xff);
            out.extend_from_slice(value.raw);
        }
    }
}

fn decode(value: &Tlv<'_>) -> Option<String> {
    match value.tag {
        // Text that is Latin-1 under the name of UTF-8 exists.
        Tag::UTF8_STRING => Some(std::str::from_utf8(value.value).map_or_else(|_| latin_1(value.value), str::to_owned)),
        // T.61 is read as Latin-1, as issuers mean it.
        Tag::PRINTABLE_STRING | Tag::NUMERIC_STRING | Tag::IA5_STRING | Tag::VISIBLE_STRING | Tag::TELETEX_STRING => {
            Some(latin_1(value.value))
        }
        Tag::BMP_STRING => {
            let units: Vec<u16> =
                value.value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        }
        Tag::UNIVERSAL_STRING => value
            .value
            .chunks_exact(4)
            .map(|four| char::from_u32(u32::from_be_bytes([four[0], four[1], four[2], four[3]])))
            .collect(),
        _ => None,
    }
}

fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Octets in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        let value = [&[tag, value.len() as u8][..], value].concat();
        let sequence = [&[0x06, 3, 0x55, 4, kind][..], &value].concat();
        let sequence = [&[0x30, sequence.len() as u8][..], &sequence].concat();
        [&[0x31, sequence.len() as u8][..], &sequence].concat()
    }

    fn name(attributes: &[Vec<u8>]) -> CanonicalName {
        let body = attributes.concat();
        let der = [&[0x30, body.len() as u8][..], &body].concat();
        parse(&Reader::new(&der).next().unwrap()).unwrap().canonical
    }

    #[test]
    fn equal_names_differ_in_encoding_only() {
        let plain = name(&[attribute(6, 0x13, b"UT"), attribute(3, 0x13, b"Passport CA")]);
        for same in [
            name(&[attribute(6, 0x0c, b"ut"), attribute(3, 0x0c, b"passport  ca ")]),
            name(&[attribute(3, 0x14, b"PASSPORT CA"), attribute(6, 0x13, b"UT")]),
            name(&[attribute(6, 0x13, b"UT"), attribute(3, 0x1e, b"\0P\0a\0s\0s\0p\0o\0r\0t\0 \0C\0A")]),
        ] {
            assert!(plain == same);
        }
        for other in [
            name(&[attribute(6, 0x13, b"UT"), attribute(3, 0x13, b"PassportCA")]),
            name(&[attribute(6, 0x13, b"UT"), attribute(4, 0x13, b"Passport CA")]),
            name(&[attribute(6, 0x13, b"UT")]),
            name(&[]),
        ] {
            assert!(plain != other);
        }
    }

    proptest::proptest! {
        /// As UTF8String and as BMPString, which takes the long way.
        #[test]
        fn the_short_way_for_ascii_gives_what_the_long_one_gives(text in "[ -~\\t\\r\\n\x0b\x0c\x1c\x1f]{0,40}") {
            let wide: Vec<u8> = text.bytes().flat_map(|octet| [0, octet]).collect();
            proptest::prop_assert!(name(&[attribute(3, 0x0c, text.as_bytes())]) == name(&[attribute(3, 0x1e, &wide)]));
        }
    }
}
