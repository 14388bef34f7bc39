//! Certificates and revocation lists described for people: what an engineer needs to see. Of states' keys only; nothing
//! here is of a document's holder.

use serde::Serialize;

use crate::{
    asn1::{Reader, Tag},
    certificate::Certificate,
    crl::{Crl, CrlScope},
    crypto::{algorithm::SignatureAlgorithm, digest::Digest},
    deviation::Deviation,
    evidence::UnixTime,
    name::{self, hex},
    oid,
    trust::TrustError,
};

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateInfo {
    /// SHA-256 of the whole certificate, hexadecimal; what names it everywhere in this library.
    pub sha256: String,
    /// The subject (RFC 4514).
    pub subject: String,
    /// The issuer (RFC 4514).
    pub issuer: String,
    /// The subject's country, else the issuer's, upper case.
    pub country: Option<String>,
    /// X.509 version, 1 to 3.
    pub version: u8,
    /// The serial number, hexadecimal without leading zeros.
    pub serial: String,
    /// Start of validity; serialised as RFC 3339 in UTC.
    pub not_before: UnixTime,
    /// End of validity.
    pub not_after: UnixTime,
    /// Such as `rsa2048` or `brainpoolP256r1 (explicit parameters)`; of a key that cannot be used, why.
    pub public_key: String,
    /// Whether the key can verify signatures here.
    pub public_key_usable: bool,
    /// The algorithm of the certificate's own signature, such as `rsa_pss_sha256` or `ecdsa_sha256`; its object
    /// identifier when it is not known.
    pub signature_algorithm: String,
    /// The subject key identifier, hexadecimal; the SHA-1 of the key where there is none.
    pub key_identifier: String,
    /// The authority key identifier, hexadecimal.
    pub authority_key_identifier: Option<String>,
    /// basicConstraints' cA; `None` without the extension.
    pub certification_authority: Option<bool>,
    /// basicConstraints' pathLenConstraint.
    pub path_length: Option<u64>,
    /// The names of keyUsage's bits (RFC 5280 section 4.2.1.3); `None` without the extension.
    pub key_usage: Option<Vec<&'static str>>,
    /// The purposes of extendedKeyUsage in dotted decimal.
    pub extended_key_usage: Vec<String>,
    /// Whether issuer and subject are the same name.
    pub self_issued: bool,
    /// Whether an extension that decides is repeated or malformed; such a certificate is of no use.
    pub extensions_malformed: bool,
    /// What deviates in the certificate itself, whatever its role.
    pub deviations: Vec<Deviation>,
}

impl CertificateInfo {
    /// Reads a certificate, DER.
    pub fn parse(der: &[u8]) -> Result<CertificateInfo, TrustError> {
        let certificate =
            Certificate::parse(der).map_err(|error| TrustError::CertificateMalformed(error.to_string()))?;
        Ok(CertificateInfo::of(&certificate))
    }

    /// The certificate's validity at a time.
    pub fn status(&self, at: UnixTime) -> crate::report::CertificateStatus {
        crate::report::CertificateStatus::of(self.not_before, self.not_after, at)
    }

    pub(crate) fn of(certificate: &Certificate) -> CertificateInfo {
        let public_key = match &certificate.key {
            Ok(key) if certificate.explicit_parameters => format!("{} (explicit parameters)", key.key().describe()),
            Ok(key) => key.key().describe(),
            Err(error) => format!("not usable: {error}"),
        };
        let country = certificate.subject_country.as_ref().or(certificate.issuer_country.as_ref());
        CertificateInfo {
            sha256: sha256(certificate.der()),
            subject: name::text(certificate.subject_raw()),
            issuer: name::text(certificate.issuer_raw()),
            country: country.cloned(),
            version: certificate.version,
            serial: hex(&certificate.serial),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            public_key,
            public_key_usable: certificate.key.is_ok(),
            signature_algorithm: algorithm(certificate.algorithm(), certificate.algorithm_raw()),
            key_identifier: hex(&certificate.key_identifier),
            authority_key_identifier: certificate.authority_key_identifier.as_deref().map(hex),
            certification_authority: certificate.certification_authority,
            path_length: certificate.path_length,
            key_usage: certificate.key_usage.map(|usage| key_usage_names(usage.bits)),
            extended_key_usage: certificate.extended_key_usage.iter().map(|purpose| oid::dotted(purpose)).collect(),
            self_issued: certificate.is_self_issued(),
            extensions_malformed: certificate.extensions_malformed,
            deviations: certificate.deviations().iter().collect(),
        }
    }
}

/// What a revocation list says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CrlInfo {
    /// SHA-256 of the whole list, hexadecimal.
    pub sha256: String,
    /// The issuer (RFC 4514).
    pub issuer: String,
    /// The issuer's country, upper case.
    pub country: Option<String>,
    /// X.509 version, 1 or 2.
    pub version: u8,
    /// cRLNumber, hexadecimal.
    pub number: Option<String>,
    /// When it was issued; serialised as RFC 3339 in UTC.
    pub this_update: UnixTime,
    /// By when the next is issued.
    pub next_update: Option<UnixTime>,
    /// How many certificates of its issuer it names.
    pub entries: usize,
    /// The algorithm of its signature, as in [`CertificateInfo::signature_algorithm`].
    pub signature_algorithm: String,
    /// The authority key identifier, hexadecimal.
    pub authority_key_identifier: Option<String>,
    /// Which certificates it speaks for by its silence.
    pub scope: CrlScope,
    /// Whether it lists changes to another list only.
    pub delta: bool,
    /// Whether it lists certificates of other issuers, which are passed over.
    pub indirect: bool,
}

impl CrlInfo {
    /// Reads a list, DER.
    pub fn parse(der: &[u8]) -> Result<CrlInfo, TrustError> {
        let crl = Crl::parse(der).map_err(|error| TrustError::CrlMalformed(error.to_string()))?;
        Ok(CrlInfo::of(&crl))
    }

    /// Whether a time lies between the list's issue and the next one; never without a nextUpdate.
    pub fn is_current(&self, at: UnixTime) -> bool {
        self.this_update <= at && self.next_update.is_some_and(|next| at <= next)
    }

    /// Whether a list says all that another one says, as lately or later: of the same issuer, key and scope, and naming
    /// every certificate that the other names. The other need not be kept then. What does not parse replaces nothing.
    pub fn supersedes(newer: &[u8], older: &[u8]) -> bool {
        match (Crl::parse(newer), Crl::parse(older)) {
            (Ok(newer), Ok(older)) => newer.supersedes(&older),
            _ => false,
        }
    }

    pub(crate) fn of(crl: &Crl) -> CrlInfo {
        CrlInfo {
            sha256: sha256(crl.der()),
            issuer: name::text(crl.issuer_raw()),
            country: crl.issuer_country.clone(),
            version: crl.version,
            number: crl.number.as_deref().map(|number| hex(crate::asn1::strip_zeros(number))),
            this_update: crl.this_update,
            next_update: crl.next_update,
            entries: crl.len(),
            signature_algorithm: algorithm(crl.algorithm(), crl.algorithm_raw()),
            authority_key_identifier: crl.authority_key_identifier.as_deref().map(hex),
            scope: crl.scope,
            delta: crl.delta,
            indirect: crl.indirect,
        }
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(Digest::Sha256.compute(&[bytes]).as_ref())
}

/// A signature algorithm in words, or its object identifier.
pub(crate) fn algorithm(known: Option<SignatureAlgorithm>, identifier: &[u8]) -> String {
    let (kind, digest) = match known {
        Some(SignatureAlgorithm::RsaPkcs1(digest)) => ("rsa_pkcs1", digest),
        Some(SignatureAlgorithm::RsaPss { digest, .. }) => ("rsa_pss", Some(digest)),
        Some(SignatureAlgorithm::Ecdsa(digest)) => ("ecdsa", digest),
        Some(SignatureAlgorithm::EcdsaPlain(digest)) => ("ecdsa_plain", Some(digest)),
        None => {
            let read = || Reader::new(identifier).expect(Tag::SEQUENCE)?.reader().expect(Tag::OID);
            return read().map_or_else(|_| "malformed".to_owned(), |tlv| oid::dotted(tlv.value));
        }
    };
    match digest {
        Some(digest) => format!("{kind}_{}", digest.name()),
        None => kind.to_owned(),
    }
}

fn key_usage_names(bits: u16) -> Vec<&'static str> {
    const NAMES: [&str; 9] = [
        "digitalSignature",
        "nonRepudiation",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
        "decipherOnly",
    ];
    NAMES.iter().enumerate().filter(|(bit, _)| bits & 1 << bit != 0).map(|(_, name)| *name).collect()
}
