//! Who signed a country signing certificate (ICAO Doc 9303-12 section 4.1: self-signed, or a link between two keys).

use serde::Serialize;

use super::{Csca, TrustStore, chain::Trials};
use crate::{certificate::Certificate, crypto::provider::SignatureError, info};

/// What the signature of a country signing certificate rests on: exactly one of these. It says nothing about trust,
/// which comes from the list that the certificate came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "class", rename_all = "snake_case")]
pub enum Classification {
    /// On its own key.
    #[serde(rename = "self_signed_ok")]
    SelfSigned,
    /// On the key of another certificate in the store.
    #[serde(rename = "link_ok")]
    Link {
        /// SHA-256 of that certificate, hexadecimal.
        via: String,
    },
    /// On no key in the store: the certificate's signer is absent.
    SignerAbsent {
        /// What there is in its place.
        detail: SignerAbsence,
    },
}

impl Classification {
    /// `self_signed_ok`, `link_ok` or `signer_absent`.
    pub fn name(&self) -> &'static str {
        match self {
            Classification::SelfSigned => "self_signed_ok",
            Classification::Link { .. } => "link_ok",
            Classification::SignerAbsent { .. } => "signer_absent",
        }
    }
}

/// What there is in place of a signer. A certificate of the signer's name under whose key the signature does not hold
/// is not the signer, so each of these is a kind of absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignerAbsence {
    /// No certificate of the issuer's name or key identifier.
    NoCertificateOfIssuer,
    /// Certificates of the issuer's name, none with the key that the authority key identifier names.
    NoCertificateOfKey,
    /// Certificates of the issuer, none with a key and an algorithm that can be computed here.
    SignatureNotVerifiable,
    /// Certificates of the issuer, under none of whose keys the signature holds.
    SignatureInvalid,
}

impl TrustStore {
    /// The class of a stored certificate, computed once.
    pub(super) fn classification<'s>(&self, csca: &'s Csca) -> &'s Classification {
        csca.classification.get_or_init(|| self.classify(&csca.certificate))
    }

    /// The class that a certificate has in this store, whether or not it is part of it.
    pub(super) fn classify(&self, certificate: &Certificate) -> Classification {
        let named = certificate.authority_key_identifier.as_ref();
        let failure = |error: SignatureError, issuer: &Certificate| match error {
            _ if named.is_some_and(|named| *named != issuer.key_identifier) => SignerAbsence::NoCertificateOfKey,
            SignatureError::Unsupported => SignerAbsence::SignatureNotVerifiable,
            SignatureError::Malformed | SignatureError::Invalid => SignerAbsence::SignatureInvalid,
        };
        // Of several failures the one that says most, which stands last.
        let mut detail = SignerAbsence::NoCertificateOfIssuer;
        if certificate.is_self_issued() || named == Some(&certificate.key_identifier) {
            match certificate.verify_signature(certificate) {
                Ok(_) => return Classification::SelfSigned,
                Err(error) => detail = failure(error, certificate),
            }
        }
        let mut trials = Trials::of(certificate);
        let mut signed_by: Option<&Csca> = None;
        for csca in self.issuer_candidates(certificate).into_iter().filter_map(|index| self.cscas.get(index)) {
            let issuer = &csca.certificate;
            if issuer.der() == certificate.der() || issuer.certification_authority == Some(false) {
                continue;
            }
            match trials.signature(csca) {
                // Of several certificates of the key, the one that is no link itself.
                Some(Ok(_)) if signed_by.is_none() || issuer.is_self_issued() => {
                    signed_by = Some(csca);
                    if issuer.is_self_issued() {
                        break;
                    }
                }
                Some(Ok(_)) | None => {}
                Some(Err(error)) => detail = detail.max(failure(error, issuer)),
            }
        }
        match signed_by {
            Some(csca) => Classification::Link { via: info::sha256(csca.certificate.der()) },
            None => Classification::SignerAbsent { detail },
        }
    }
}
