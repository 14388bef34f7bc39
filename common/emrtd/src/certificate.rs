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
    oid,
    report::CertificateStatus,
    time,
};

/// A certificate: the received bytes and what the library needs of them.
pub(crate) struct Certificate {
    der: Box<[u8]>,
    /// The signed part, as received: it is never re-encoded.
    tbs: Range<usize>,
    signature: Range<usize>,
    algorithm: Option<SignatureAlgorithm>,
    algorithms: AlgorithmAgreement,
    outer_algorithm: Range<usize>,
    /// 1 to 3.
    pub version: u8,
    pub serial: Box<[u8]>,
    pub issuer: CanonicalName,
    pub subject: CanonicalName,
    issuer_raw: Range<usize>,
    subject_raw: Range<usize>,
    spki: Range<usize>,
    pub subject_country: Option<String>,
    pub issuer_country: Option<String>,
    pub not_before: UnixTime,
    pub not_after: UnixTime,
    pub key: Result<PreparedKey, KeyError>,
    pub key_deviations: DeviationSet,
    /// The key's curve is written out in every parameter.
    pub explicit_parameters: bool,
    /// The subject key identifier, or the SHA-1 of the key where there is none (RFC 5280 section 4.2.1.2).
    pub key_identifier: Box<[u8]>,
    pub authority_key_identifier: Option<Box<[u8]>>,
    pub key_usage: Option<KeyUsage>,
    /// `Some(true)` for a certification authority, `None` without the extension.
    pub certification_authority: Option<bool>,
    pub path_length: Option<u64>,
    pub extended_key_usage: Vec<Box<[u8]>>,
    /// The value of cRLDistributionPoints.
    crl_distribution_points: Range<usize>,
    /// An extension that is read here is repeated or malformed; keyUsage and basicConstraints then allow nothing.
    pub extensions_malformed: bool,
    /// A critical extension is neither read here nor harmless.
    critical_extension_unknown: bool,
}

/// Longest serial number; RFC 5280 section 4.1.2.2 allows 20 octets, and some authorities take more.
const MAX_SERIAL: usize = 1024;

/// Whether the algorithm inside the signed part is the one beside it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AlgorithmAgreement {
    Same,
    ParametersDiffer,
    Different,
}

/// keyUsage, and the bits of it that matter here.
#[derive(Clone, Copy, Default)]
pub(crate) struct KeyUsage {
    /// digitalSignature (0) to decipherOnly (8), the first in the lowest bit.
    pub bits: u16,
    pub digital_signature: bool,
    pub certificate_sign: bool,
    pub crl_sign: bool,
}

impl Certificate {
    pub fn parse(der: &[u8]) -> Result<Certificate, Asn1Error> {
        Certificate::outline(der).map(Certificate::with_key)
    }

    /// The certificate without its key: enough to tell whether it is the one looked for. Reading a key can cost as much
    /// as a signature, and a hostile file holds thousands of certificates.
    pub fn outline(der: &[u8]) -> Result<Certificate, Asn1Error> {
        let mut file = Reader::new(der);
        let certificate = file.expect(Tag::SEQUENCE)?;
        file.finish()?;
        let mut parts = certificate.reader();
        let tbs = parts.expect(Tag::SEQUENCE)?;
        let outer_algorithm = parts.expect(Tag::SEQUENCE)?;
        let signature = parts.expect(Tag::BIT_STRING)?.bit_string()?;
        parts.finish()?;

        let mut fields = tbs.reader();
        let mut version = 1;
        if let Some(explicit) = fields.optional(Tag::context(0))? {
            let mut explicit = explicit.reader();
            // v1, v2 or v3
            version = match explicit.expect(Tag::INTEGER)?.small()? {
                number @ 0..=2 => number as u8 + 1,
                _ => return Err(Asn1Error::Value),
            };
            explicit.finish()?;
        }
        // Negative and over-long serial numbers exist; they are compared, never computed with.
        let serial = strip_zeros(fields.expect(Tag::INTEGER)?.value);
        if serial.len() > MAX_SERIAL {
            return Err(Asn1Error::Value);
        }
        let inner_algorithm = fields.expect(Tag::SEQUENCE)?;
        let issuer_tlv = fields.expect(Tag::SEQUENCE)?;
        let issuer = name::parse(&issuer_tlv)?;
        let mut validity = fields.expect(Tag::SEQUENCE)?.reader();
        let not_before = time::parse_asn1(&validity.next()?).ok_or(Asn1Error::Value)?;
        let not_after = time::parse_asn1(&validity.next()?).ok_or(Asn1Error::Value)?;
        validity.finish()?;
        let subject_tlv = fields.expect(Tag::SEQUENCE)?;
        let subject = name::parse(&subject_tlv)?;
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

        let key_identifier = match extensions.subject_key_identifier {
            Some(identifier) => identifier.to_vec(),
            None => sha1_of_key(&spki),
        };
        Ok(Certificate {
            tbs: range_in(der, tbs.raw),
            signature: range_in(der, signature),
            algorithm: SignatureAlgorithm::parse(&outer_algorithm),
            algorithms: compare_algorithms(&inner_algorithm, &outer_algorithm),
            outer_algorithm: range_in(der, outer_algorithm.raw),
            version,
            serial: serial.into(),
            issuer: issuer.canonical,
            subject: subject.canonical,
            issuer_raw: range_in(der, issuer_tlv.raw),
            subject_raw: range_in(der, subject_tlv.raw),
            subject_country: subject.country,
            issuer_country: issuer.country,
            not_before,
            not_after,
            key: Err(KeyError::Malformed),
            key_deviations: DeviationSet::EMPTY,
            spki: range_in(der, spki.raw),
            explicit_parameters: has_explicit_parameters(&spki),
            key_identifier: key_identifier.into(),
            authority_key_identifier: extensions.authority_key_identifier.map(Into::into),
            key_usage: extensions.key_usage,
            certification_authority: extensions.certification_authority,
            path_length: extensions.path_length,
            extended_key_usage: extensions.extended_key_usage.iter().map(|oid| (*oid).into()).collect(),
            crl_distribution_points: extensions.crl_distribution_points.map_or(0..0, |value| range_in(der, value)),
            extensions_malformed: extensions.malformed,
            critical_extension_unknown: extensions.critical_unknown,
            der: der.into(),
        })
    }

    /// Reads the key of an outline.
    #[must_use]
    pub fn with_key(mut self) -> Certificate {
        let spki = self.der.get(self.spki.clone()).unwrap_or_default();
        let parsed = Reader::new(spki).next().map_err(KeyError::from).and_then(|spki| parse_spki(&spki));
        self.key_deviations = parsed.as_ref().map_or(DeviationSet::EMPTY, |parsed| parsed.deviations);
        self.key = parsed.map(|parsed| PreparedKey::new(parsed.key));
        self
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The issuer's name as received.
    pub fn issuer_raw(&self) -> &[u8] {
        self.der.get(self.issuer_raw.clone()).unwrap_or_default()
    }

    /// The subject's name as received.
    pub fn subject_raw(&self) -> &[u8] {
        self.der.get(self.subject_raw.clone()).unwrap_or_default()
    }

    /// The AlgorithmIdentifier beside the signature, as received.
    pub fn algorithm_raw(&self) -> &[u8] {
        self.der.get(self.outer_algorithm.clone()).unwrap_or_default()
    }

    pub fn algorithm(&self) -> Option<SignatureAlgorithm> {
        self.algorithm
    }

    /// The value of cRLDistributionPoints; empty without the extension.
    pub fn crl_distribution_points(&self) -> &[u8] {
        self.der.get(self.crl_distribution_points.clone()).unwrap_or_default()
    }

    /// What deviates in the certificate itself, whatever its role.
    pub fn deviations(&self) -> DeviationSet {
        match self.algorithms {
            AlgorithmAgreement::ParametersDiffer => {
                self.content_deviations().with(Deviation::CertificateAlgorithmParametersDiffer)
            }
            _ => self.content_deviations(),
        }
    }

    /// What deviates in its key and its extensions.
    pub fn content_deviations(&self) -> DeviationSet {
        if self.critical_extension_unknown {
            self.key_deviations.with(Deviation::CriticalExtensionUnknown)
        } else {
            self.key_deviations
        }
    }

    /// Whether the certificate presents itself as a certification authority's.
    pub fn is_authority(&self) -> bool {
        match self.certification_authority {
            Some(authority) => authority,
            None => self.key_usage.map_or(self.is_self_issued(), |usage| usage.certificate_sign),
        }
    }

    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// The certificate's validity at a time.
    pub fn status(&self, at: UnixTime) -> CertificateStatus {
        CertificateStatus::of(self.not_before, self.not_after, at)
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

/// SHA-1 of the key (RFC 5280 section 4.2.1.2); of a key that cannot be found, of everything.
fn sha1_of_key(spki: &Tlv<'_>) -> Vec<u8> {
    let bits = || {
        let mut fields = spki.reader();
        fields.next().ok()?;
        fields.expect(Tag::BIT_STRING).ok()?.bit_string().ok()
    };
    Digest::Sha1.compute(&[bits().unwrap_or(spki.value)]).as_ref().to_vec()
}

fn has_explicit_parameters(spki: &Tlv<'_>) -> bool {
    let parameters = || {
        let mut algorithm = spki.reader().expect(Tag::SEQUENCE).ok()?.reader();
        (algorithm.expect(Tag::OID).ok()?.value == oid::EC_PUBLIC_KEY.as_bytes()).then_some(())?;
        algorithm.peek()
    };
    parameters() == Some(Tag::SEQUENCE)
}

/// Where a part that was read from the whole lies in it.
pub(crate) fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

/// More extensions, and purposes in one, than any certificate has.
const MAX_EXTENSIONS: usize = 64;

#[derive(Default)]
struct Extensions<'a> {
    subject_key_identifier: Option<&'a [u8]>,
    authority_key_identifier: Option<&'a [u8]>,
    key_usage: Option<KeyUsage>,
    certification_authority: Option<bool>,
    path_length: Option<u64>,
    extended_key_usage: Vec<&'a [u8]>,
    crl_distribution_points: Option<&'a [u8]>,
    malformed: bool,
    critical_unknown: bool,
}

/// Extensions that restrict nothing that is relied upon here: other names, policies, the issuer's own signing period,
/// what ICAO Doc 9303-12 section 7.1.1 adds, Netscape's certificate type.
const HARMLESS: &[der::oid::ObjectIdentifier] = &[
    oid::PRIVATE_KEY_USAGE_PERIOD,
    oid::SUBJECT_ALT_NAME,
    oid::ISSUER_ALT_NAME,
    oid::CERTIFICATE_POLICIES,
    oid::NAME_CHANGE,
    oid::DOCUMENT_TYPE_LIST,
    oid::NETSCAPE_CERTIFICATE_TYPE,
];

impl<'a> Extensions<'a> {
    /// Unknown extensions are passed over; that one is critical is a deviation. One that is malformed or repeated does
    /// not keep the certificate from being listed, but from every use: it would be open what the
    /// issuer allowed.
    fn parse(sequence: &Tlv<'a>) -> Result<Extensions<'a>, Asn1Error> {
        let mut extensions = Extensions::default();
        let mut seen: Vec<&[u8]> = Vec::new();
        let mut list = sequence.reader();
        while !list.is_empty() {
            let mut extension = list.expect(Tag::SEQUENCE)?.reader();
            let kind = extension.expect(Tag::OID)?.value;
            let critical = extension.optional(Tag::BOOLEAN)?.is_some_and(|flag| flag.value != [0]);
            let value = extension.expect(Tag::OCTET_STRING)?.value;
            extension.finish()?;
            if seen.len() == MAX_EXTENSIONS {
                return Err(Asn1Error::Value);
            }
            match extensions.read(kind, value) {
                Ok(_) if seen.contains(&kind) => extensions.malformed = true,
                Ok(read) => {
                    let harmless = HARMLESS.iter().any(|known| known.as_bytes() == kind);
                    extensions.critical_unknown |= critical && !read && !harmless;
                }
                Err(_) => extensions.malformed = true,
            }
            seen.push(kind);
        }
        if extensions.malformed {
            extensions.key_usage = Some(KeyUsage::default());
            extensions.certification_authority = Some(false);
        }
        Ok(extensions)
    }

    /// Whether it is one of those that are read here.
    fn read(&mut self, kind: &[u8], value: &'a [u8]) -> Result<bool, Asn1Error> {
        let mut reader = Reader::new(value);
        if kind == oid::SUBJECT_KEY_IDENTIFIER.as_bytes() {
            self.subject_key_identifier = Some(reader.expect(Tag::OCTET_STRING)?.value);
        } else if kind == oid::AUTHORITY_KEY_IDENTIFIER.as_bytes() {
            let mut fields = reader.expect(Tag::SEQUENCE)?.reader();
            self.authority_key_identifier = fields.optional(Tag::context_primitive(0))?.map(|tlv| tlv.value);
        } else if kind == oid::KEY_USAGE.as_bytes() {
            self.key_usage = Some(key_usage(reader.expect(Tag::BIT_STRING)?.value)?);
        } else if kind == oid::BASIC_CONSTRAINTS.as_bytes() {
            let mut fields = reader.expect(Tag::SEQUENCE)?.reader();
            let authority = fields.optional(Tag::BOOLEAN)?;
            self.certification_authority =
                Some(authority.is_some_and(|flag| flag.value.iter().any(|octet| *octet != 0)));
            self.path_length = match fields.optional(Tag::INTEGER)? {
                Some(length) => Some(length.small()?),
                None => None,
            };
        } else if kind == oid::EXTENDED_KEY_USAGE.as_bytes() {
            let mut purposes = reader.expect(Tag::SEQUENCE)?.reader();
            while !purposes.is_empty() {
                if self.extended_key_usage.len() == MAX_EXTENSIONS {
                    return Err(Asn1Error::Value);
                }
                self.extended_key_usage.push(purposes.expect(Tag::OID)?.value);
            }
        } else if kind == oid::CRL_DISTRIBUTION_POINTS.as_bytes() {
            self.crl_distribution_points = Some(value);
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

fn key_usage(bit_string: &[u8]) -> Result<KeyUsage, Asn1Error> {
    let (unused, octets) = bit_string.split_first().ok_or(Asn1Error::Value)?;
    if *unused > 7 {
        return Err(Asn1Error::Value);
    }
    let bit = |number: usize| octets.get(number / 8).is_some_and(|octet| octet & 0x80 >> (number % 8) != 0);
    let bits = (0..9).filter(|number| bit(*number)).fold(0, |bits, number| bits | 1 << number);
    Ok(KeyUsage { bits, digital_signature: bit(0), certificate_sign: bit(5), crl_sign: bit(6) })
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
