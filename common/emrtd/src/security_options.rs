//! DG14 (security options) and DG15 (active authentication key): ICAO Doc 9303-11 section 9.2.

use crate::{
    asn1::{Asn1Error, Reader, Tag, Tlv},
    crypto::{
        algorithm::SignatureAlgorithm,
        digest::Digest,
        key::{KeyError, ParsedKey, parse_spki},
    },
    oid,
};

/// What the library takes from DG14.
#[derive(Default)]
pub(crate) struct SecurityOptions {
    /// The digest of ECDSA active authentication.
    pub active_authentication_digest: NamedDigest,
    /// Whether the chip offers chip authentication.
    pub chip_authentication: bool,
}

/// What ActiveAuthenticationInfo says of the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum NamedDigest {
    /// There is no such info.
    #[default]
    Absent,
    /// It names no signature algorithm that is known.
    Unknown,
    /// It names one.
    Known(Digest),
}

/// id-PK and id-CA of BSI TR-03110-3: chip authentication public keys and protocols.
const CHIP_AUTHENTICATION_KEY: &[u8] = &[0x04, 0x00, 0x7f, 0x00, 0x07, 0x02, 0x02, 0x01];
const CHIP_AUTHENTICATION: &[u8] = &[0x04, 0x00, 0x7f, 0x00, 0x07, 0x02, 0x02, 0x03];

impl SecurityOptions {
    pub fn parse(dg14: &[u8]) -> Result<SecurityOptions, Asn1Error> {
        let mut options = SecurityOptions::default();
        let mut infos = security_infos(dg14)?.reader();
        while !infos.is_empty() {
            let mut info = infos.expect(Tag::SEQUENCE)?.reader();
            let protocol = info.expect(Tag::OID)?.value;
            if protocol == oid::ACTIVE_AUTHENTICATION.as_bytes() {
                // ActiveAuthenticationInfo: version 1 and the signature algorithm.
                info.expect(Tag::INTEGER)?;
                let algorithm = info.expect(Tag::OID)?;
                options.active_authentication_digest =
                    digest_of(&algorithm).map_or(NamedDigest::Unknown, NamedDigest::Known);
            } else if protocol.starts_with(CHIP_AUTHENTICATION_KEY) || protocol.starts_with(CHIP_AUTHENTICATION) {
                options.chip_authentication = true;
            }
        }
        Ok(options)
    }
}

/// The SecurityInfos of DG14.
pub(crate) fn security_infos(dg14: &[u8]) -> Result<Tlv<'_>, Asn1Error> {
    let mut file = Reader::new(dg14);
    let content = file.expect(Tag::DG14)?;
    file.finish()?;
    content.reader().expect(Tag::SET)
}

/// The digest of a bare signature algorithm identifier, plain or not.
fn digest_of(algorithm: &Tlv<'_>) -> Option<Digest> {
    // As an AlgorithmIdentifier without parameters.
    let identifier = Tlv { tag: Tag::SEQUENCE, value: algorithm.raw, raw: algorithm.raw, der: true };
    SignatureAlgorithm::parse(&identifier)?.digest()
}

/// The key of DG15.
pub(crate) fn active_authentication_key(dg15: &[u8]) -> Result<ParsedKey, KeyError> {
    let mut file = Reader::new(dg15);
    let content = file.expect(Tag::DG15)?;
    file.finish()?;
    let mut fields = content.reader();
    let spki = fields.expect(Tag::SEQUENCE)?;
    fields.finish()?;
    parse_spki(&spki)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_security_options_are_read() {
        let Some(path) = std::env::var_os("PROOFMILL_REFERENCE_DATA") else {
            println!("skipped: PROOFMILL_REFERENCE_DATA is not set, so there is no real DG14 to read");
            return;
        };
        let data = std::path::PathBuf::from(path).join("emrtd");
        let read = |name: &str| std::fs::read(data.join(name)).unwrap();
        for folder in ["specimen/bsi2008", "specimen/bsi-tr03105-5"] {
            let options = SecurityOptions::parse(&read(&format!("{folder}/Datagroup14.bin"))).unwrap();
            assert!(options.chip_authentication, "{folder}");
            let key = active_authentication_key(&read(&format!("{folder}/Datagroup15.bin"))).unwrap();
            println!("{folder}: {} {:?}", key.key.describe(), key.deviations.iter().collect::<Vec<_>>());
        }
        let dg14 = read("dg2/spec_sample_encoded_dg14.bin");
        assert!(SecurityOptions::parse(&dg14).unwrap().chip_authentication);
        for end in 0..dg14.len() {
            assert!(SecurityOptions::parse(&dg14[..end]).is_err());
        }
    }
}
