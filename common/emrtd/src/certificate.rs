//! X.509 certificates (RFC 5280, profile of ICAO Doc 9303-12), owned and ready to be used.

use std::ops::Range;

use crate::{
    asn1::{Asn1Error, Reader, Tag, Tlv, strip_zeros},
    crypto::{
        algorithm::SignatureAlgorithm,
        digest::Digest,
        key::{KeyError, parse_spki},
        provider::{PreparedKey, SignatureError},
    },
    deviation::{Deviation, DeviationSet},
    evidence::UnixTime,
    name::{self, CanonicalName},
    oid, time,
};

/// A certificate: the received bytes and what the library needs of them.
pub(crate) struct Certificate {
    der: Box<[u8]>,
    /// The signed part, as received: it is never re-encoded.
    tbs: Range<usize>,
    signature: Range<usize>,
    algorithm: Option<SignatureAlgorithm>,
    algorithms: AlgorithmAgreement,
    pub serial: Box<[u8]>,
    pub issuer: CanonicalName,
    pub subject: CanonicalName,
    issuer_raw: Range<usize>,
    pub subject_country: Option<String>,
    pub issuer_country: Option<String>,
    pub not_before: UnixTime,
    pub not_after: UnixTime,
    pub key: Result<PreparedKey, KeyError>,
    pub key_deviations: DeviationSet,
    /// The subject key identifier, or the SHA-1 of the key where there is none (RFC 5280 section 4.2.1.2).
    pub key_identifier: Box<[u8]>,
    pub authority_key_identifier: Option<Box<[u8]>>,
    pub key_usage: Option<KeyUsage>,
    /// `Some(true)` for a certification authority, `None` without the extension.
    pub certification_authority: Option<bool>,
    pub extended_key_usage: Vec<Box<[u8]>>,
}

/// Whether the algorithm inside the signed part is the one beside it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AlgorithmAgreement {
    Same,
    ParametersDiffer,
    Different,
}

/// The bits of keyUsage that matter here.
#[derive(Clone, Copy)]
pub(crate) struct KeyUsage {
    pub digital_signature: bool,
    pub certificate_sign: bool,
    pub crl_sign: bool,
}

impl Certificate {
    pub fn parse(der: &[u8]) -> Result<Certificate, Asn1Error> {
        let mut file = Reader::new(der);
        let certificate = file.expect(Tag::SEQUENCE)?;
        file.finish()?;
        let mut parts = certificate.reader();
        let tbs = parts.expect(Tag::SEQUENCE)?;
        let outer_algorithm = parts.expect(Tag::SEQUENCE)?;
        let signature = parts.expect(Tag::BIT_STRING)?.bit_string()?;
        parts.finish()?;

        let mut fields = tbs.reader();
        if let Some(version) = fields.optional(Tag::context(0))? {
            let mut version = version.reader();
            // v1, v2 or v3
            if version.expect(Tag::INTEGER)?.small()? > 2 {
                return Err(Asn1Error::Value);
            }
            version.finish()?;
        }
        // Negative and over-long serial numbers exist; they are compared, never computed with.
        let serial = strip_zeros(fields.expect(Tag::INTEGER)?.value);
        let inner_algorithm = fields.expect(Tag::SEQUENCE)?;
        let issuer_tlv = fields.expect(Tag::SEQUENCE)?;
        let issuer = name::parse(&issuer_tlv)?;
        let mut validity = fields.expect(Tag::SEQUENCE)?.reader();
        let not_before = time::parse_asn1(&validity.next()?).ok_or(Asn1Error::Value)?;
        let not_after = time::parse_asn1(&validity.next()?).ok_or(Asn1Error::Value)?;
        validity.finish()?;
        let subject = name::parse(&fields.expect(Tag::SEQUENCE)?)?;
        let spki = fields.expect(Tag::SEQUENCE)?;
        fields.optional(Tag::context_primitive(1))?;
        fields.optional(Tag::context_primitive(2))?;
        let mut extensions = Extensions::default();
        if let Some(explicit) = fields.optional(Tag::context(3))? {
            let mut explicit = explicit.reader();
            extensions = Extensions::parse(&explicit.expect(Tag::SEQUENCE)?)?;
            explicit.finish()?;
        }
        fields.finish()?;

        let parsed_key = parse_spki(&spki);
        let key_deviations = parsed_key.as_ref().map_or(DeviationSet::EMPTY, |parsed| parsed.deviations);
        let key_identifier = match extensions.subject_key_identifier {
            Some(identifier) => identifier.to_vec(),
            None => sha1_of_key(&spki)?,
        };
        Ok(Certificate {
            tbs: range_in(der, tbs.raw),
            signature: range_in(der, signature),
            algorithm: SignatureAlgorithm::parse(&outer_algorithm),
            algorithms: compare_algorithms(&inner_algorithm, &outer_algorithm),
            serial: serial.into(),
            issuer: issuer.canonical,
            subject: subject.canonical,
            issuer_raw: range_in(der, issuer_tlv.raw),
            subject_country: subject.country,
            issuer_country: issuer.country,
            not_before,
            not_after,
            key: parsed_key.map(|parsed| PreparedKey::new(parsed.key)),
            key_deviations,
            key_identifier: key_identifier.into(),
            authority_key_identifier: extensions.authority_key_identifier.map(Into::into),
            key_usage: extensions.key_usage,
            certification_authority: extensions.certification_authority,
            extended_key_usage: extensions.extended_key_usage.iter().map(|oid| (*oid).into()).collect(),
            der: der.into(),
        })
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The issuer's name as received.
    pub fn issuer_raw(&self) -> &[u8] {
        self.der.get(self.issuer_raw.clone()).unwrap_or_default()
    }

    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Verifies this certificate's signature under an issuer's key.
    pub fn verify_signature(&self, issuer: &Certificate) -> Result<DeviationSet, SignatureError> {
        let key = issuer.key.as_ref().map_err(|_| SignatureError::Unsupported)?;
        let scheme = self
            .algorithm
            .and_then(|algorithm| algorithm.scheme(None, key.key()))
            .ok_or(SignatureError::Unsupported)?;
        let mut deviations = DeviationSet::EMPTY;
        match self.algorithms {
            AlgorithmAgreement::Same => {}
            AlgorithmAgreement::ParametersDiffer => deviations.insert(Deviation::CertificateAlgorithmParametersDiffer),
            AlgorithmAgreement::Different => return Err(SignatureError::Invalid),
        }
        let tbs = self.der.get(self.tbs.clone()).unwrap_or_default();
        let signature = self.der.get(self.signature.clone()).unwrap_or_default();
        let verified = key.verify(scheme, &[tbs], signature)?;
        if verified.integers_not_minimal {
            deviations.insert(Deviation::EcdsaIntegerNotMinimal);
        }
        Ok(deviations)
    }
}

/// RFC 5280 section 4.1.1.2: both must be the same. Real certificates differ in a NULL at most.
fn compare_algorithms(inner: &Tlv<'_>, outer: &Tlv<'_>) -> AlgorithmAgreement {
    if inner.raw == outer.raw {
        return AlgorithmAgreement::Same;
    }
    match (SignatureAlgorithm::parse(inner), SignatureAlgorithm::parse(outer)) {
        (Some(inner), Some(outer)) if inner == outer => AlgorithmAgreement::ParametersDiffer,
        _ => AlgorithmAgreement::Different,
    }
}

fn sha1_of_key(spki: &Tlv<'_>) -> Result<Vec<u8>, Asn1Error> {
    let mut fields = spki.reader();
    fields.next()?;
    let bits = fields.expect(Tag::BIT_STRING)?.bit_string()?;
    Ok(Digest::Sha1.compute(&[bits]).as_ref().to_vec())
}

/// Where a part that was read from the whole lies in it.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

#[derive(Default)]
struct Extensions<'a> {
    subject_key_identifier: Option<&'a [u8]>,
    authority_key_identifier: Option<&'a [u8]>,
    key_usage: Option<KeyUsage>,
    certification_authority: Option<bool>,
    extended_key_usage: Vec<&'a [u8]>,
}

impl<'a> Extensions<'a> {
    /// Unknown extensions are passed over, critical or not: the profile's critical ones are read
    /// here, and national ones must not fail a document.
    fn parse(sequence: &Tlv<'a>) -> Result<Extensions<'a>, Asn1Error> {
        let mut extensions = Extensions::default();
        let mut seen: Vec<&[u8]> = Vec::new();
        let mut list = sequence.reader();
        while !list.is_empty() {
            let mut extension = list.expect(Tag::SEQUENCE)?.reader();
            let kind = extension.expect(Tag::OID)?.value;
            extension.optional(Tag::BOOLEAN)?;
            let value = extension.expect(Tag::OCTET_STRING)?.value;
            extension.finish()?;
            // Of a repeated extension it would be open which one counts.
            if seen.contains(&kind) {
                return Err(Asn1Error::Value);
            }
            if seen.len() < 64 {
                seen.push(kind);
            } else {
                return Err(Asn1Error::Value);
            }
            let mut value = Reader::new(value);
            if kind == oid::SUBJECT_KEY_IDENTIFIER.as_bytes() {
                extensions.subject_key_identifier = Some(value.expect(Tag::OCTET_STRING)?.value);
            } else if kind == oid::AUTHORITY_KEY_IDENTIFIER.as_bytes() {
                let mut fields = value.expect(Tag::SEQUENCE)?.reader();
                extensions.authority_key_identifier = fields.optional(Tag::context_primitive(0))?.map(|tlv| tlv.value);
            } else if kind == oid::KEY_USAGE.as_bytes() {
                extensions.key_usage = Some(key_usage(value.expect(Tag::BIT_STRING)?.value)?);
            } else if kind == oid::BASIC_CONSTRAINTS.as_bytes() {
                let mut fields = value.expect(Tag::SEQUENCE)?.reader();
                let authority = fields.optional(Tag::BOOLEAN)?;
                extensions.certification_authority =
                    Some(authority.is_some_and(|flag| flag.value.iter().any(|octet| *octet != 0)));
            } else if kind == oid::EXTENDED_KEY_USAGE.as_bytes() {
                let mut purposes = value.expect(Tag::SEQUENCE)?.reader();
                while !purposes.is_empty() {
                    extensions.extended_key_usage.push(purposes.expect(Tag::OID)?.value);
                }
            }
        }
        Ok(extensions)
    }
}

fn key_usage(bit_string: &[u8]) -> Result<KeyUsage, Asn1Error> {
    let (unused, bits) = bit_string.split_first().ok_or(Asn1Error::Value)?;
    if *unused > 7 {
        return Err(Asn1Error::Value);
    }
    let bit = |number: usize| bits.get(number / 8).is_some_and(|octet| octet & 0x80 >> (number % 8) != 0);
    Ok(KeyUsage { digital_signature: bit(0), certificate_sign: bit(5), crl_sign: bit(6) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::{Decode, Encode};

    /// Another parser on every certificate of the reference lists.
    #[test]
    fn real_certificates_read_the_same_as_by_x509_cert() {
        let Some(path) = std::env::var_os("PROOFMILL_REFERENCE_DATA") else {
            println!("skipped: PROOFMILL_REFERENCE_DATA is not set, so there are no real certificates to compare");
            return;
        };
        let lists = std::path::PathBuf::from(path).join("emrtd/masterlists");
        let read = |name: &str| std::fs::read(lists.join(name)).unwrap();
        let (mut total, mut compared, mut keys) = (0, 0, 0);
        for (list, anchor) in
            [("DE_ML_2024-04-10-10-54-13.ml", "DE_CSCA_048B.cer"), ("NL_ML_2026-07-22.ml", "NL_ROOT_CA.cer")]
        {
            for der in crate::MasterList::verify(&read(list), &read(anchor)).unwrap().certificates() {
                total += 1;
                let ours = Certificate::parse(der).unwrap();
                keys += usize::from(ours.key.is_ok());
                if let Err(error) = &ours.key {
                    println!("{:?}: {error}", ours.subject_country);
                }
                // The other parser refuses some real certificates; ours must read them all.
                let Ok(theirs) = x509_cert::Certificate::from_der(der) else {
                    continue;
                };
                let tbs = theirs.tbs_certificate();
                assert_eq!(&*ours.serial, strip_zeros(tbs.serial_number().as_bytes()));
                assert_eq!(ours.issuer_raw(), tbs.issuer().to_der().unwrap());
                assert_eq!(ours.not_before.0, tbs.validity().not_before.to_unix_duration().as_secs() as i64);
                assert_eq!(ours.not_after.0, tbs.validity().not_after.to_unix_duration().as_secs() as i64);
                let signature = ours.der.get(ours.signature.clone()).unwrap();
                assert_eq!(signature, theirs.signature().raw_bytes());
                compared += 1;
            }
        }
        println!("{total} certificates, {compared} compared, {keys} with a usable key");
        assert_eq!(total, 937);
        assert!(compared > 800, "{compared}");
    }
}
