//! Single answers about a document's files, for a closer look at one of them. None of these verifies a document.

use crate::{
    asn1::{Reader, Tag},
    deviation::DeviationSet,
    lds::LdsSecurityObject,
    report::Reason,
    security_options::active_authentication_key,
    sod,
};

/// Certificates that are taken out of one file.
const MAX_EMBEDDED: usize = 64;

/// The certificates that EF.SOD, or another CMS SignedData, embeds, as received: the first few, and none behind what
/// cannot be read. Nothing is said about whether any of them signed it.
pub fn embedded_certificates(signed_data: &[u8]) -> Vec<&[u8]> {
    embedded(signed_data).unwrap_or_default()
}

fn embedded(signed_data: &[u8]) -> Option<Vec<&[u8]>> {
    let mut file = Reader::new(signed_data);
    if file.peek() == Some(Tag::SOD) {
        file = file.next().ok()?.reader();
    }
    let mut content_info = file.expect(Tag::SEQUENCE).ok()?.reader();
    content_info.expect(Tag::OID).ok()?;
    let mut explicit = content_info.expect(Tag::context(0)).ok()?.reader();
    let mut fields = explicit.expect(Tag::SEQUENCE).ok()?.reader();
    fields.expect(Tag::INTEGER).ok()?;
    fields.expect(Tag::SET).ok()?;
    fields.expect(Tag::SEQUENCE).ok()?;
    let mut set = fields.optional(Tag::context(0)).ok()??.reader();
    let mut certificates = Vec::new();
    while let (Ok(certificate), true) = (set.next(), certificates.len() < MAX_EMBEDDED) {
        if certificate.tag == Tag::SEQUENCE {
            certificates.push(certificate.raw);
        }
    }
    Some(certificates)
}

/// Whether a data group, of any number, is the one whose hash the SOD lists; `None` when it lists none of that number or
/// cannot be read. Only a verified SOD makes the answer mean anything.
pub fn data_group_matches(sod: &[u8], number: u8, data_group: &[u8]) -> Option<bool> {
    let data = sod::parse(sod).ok()?;
    let lds = LdsSecurityObject::parse(&data.content).ok()?;
    Some(lds.digest.compute(&[data_group]).as_ref() == lds.hash(number)?)
}

/// Kind and size of the key in DG15, such as `rsa1024` or `brainpoolP256r1`, and how its encoding deviates.
pub fn describe_active_authentication_key(dg15: &[u8]) -> Result<(String, DeviationSet), Reason> {
    let parsed = active_authentication_key(dg15).map_err(|_| Reason::ActiveAuthenticationKeyInvalid)?;
    Ok((parsed.key.describe(), parsed.deviations))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_out_of_what_cannot_be_read() {
        for bytes in [&b""[..], &[0x77, 0x00], &[0x30, 0x80, 0x06], &[0x77, 0x82, 0xff, 0xff, 0x30]] {
            assert!(embedded_certificates(bytes).is_empty());
            assert_eq!(data_group_matches(bytes, 1, &[]), None);
            assert!(describe_active_authentication_key(bytes).is_err());
        }
    }
}
