//! Distinguished names, compared canonically (RFC 5280 section 7.1, and looser where issuers are).

use crate::{
    asn1::{Asn1Error, Tag, Tlv},
    oid,
};

/// A name in a form in which equal names are equal bytes: values decoded from their string type,
/// lower case, white space folded; relative names sorted, since signers exist that list them in
/// reverse. Used to find candidates; what decides is always a signature.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct CanonicalName(Box<[u8]>);

/// A parsed name.
pub(crate) struct Name {
    pub canonical: CanonicalName,
    /// The countryName, upper case.
    pub country: Option<String>,
}

pub(crate) fn parse(name: &Tlv<'_>) -> Result<Name, Asn1Error> {
    let mut country = None;
    let mut relative_names = Vec::new();
    let mut sets = name.reader();
    while !sets.is_empty() {
        let mut attributes = Vec::new();
        let mut set = sets.expect(Tag::SET)?.reader();
        while !set.is_empty() {
            let mut attribute = set.expect(Tag::SEQUENCE)?.reader();
            let kind = attribute.expect(Tag::OID)?.value;
            let value = attribute.next()?;
            attribute.finish()?;
            if kind == oid::COUNTRY_NAME.as_bytes() && country.is_none() {
                country = decode(&value).map(|text| text.trim().to_uppercase());
            }
            attributes.push([kind, &[0], &canonical_value(&value)].concat());
        }
        attributes.sort();
        relative_names.push(join(&attributes));
    }
    relative_names.sort();
    Ok(Name { canonical: CanonicalName(join(&relative_names).into_boxed_slice()), country })
}

/// Parts with their lengths, so that no two lists give the same bytes.
fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part].concat()).collect()
}

fn canonical_value(value: &Tlv<'_>) -> Vec<u8> {
    match decode(value) {
        Some(text) => text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase().into_bytes(),
        // Not a string type: only the same bytes are equal, and never equal to a string.
        None => [&[0xff], value.raw].concat(),
    }
}

fn decode(value: &Tlv<'_>) -> Option<String> {
    match value.tag {
        Tag::UTF8_STRING => String::from_utf8(value.value.to_vec()).ok(),
        // T.61 is read as Latin-1, as issuers mean it.
        Tag::PRINTABLE_STRING | Tag::IA5_STRING | Tag::VISIBLE_STRING | Tag::TELETEX_STRING => {
            Some(value.value.iter().map(|byte| char::from(*byte)).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asn1::Reader;

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
}
