//! Document signer to country signing certificate (ICAO Doc 9303-11 section 5.1, 9303-12).

use std::sync::Arc;

use super::TrustStore;
use crate::{
    certificate::Certificate,
    country::{self, CountryMatch},
    crypto::provider::SignatureError,
    deviation::{Deviation, DeviationSet},
    oid,
    report::Reason,
};

/// Issuers tried for one signer: the largest country has some fifty certificates under few names.
const MAX_ISSUERS: usize = 64;

/// A document signer and what the store makes of it.
pub(crate) struct Signer {
    pub certificate: Arc<Certificate>,
    pub chain: Result<TrustedChain, Reason>,
}

/// The country signing certificate that issued a signer.
pub(crate) struct TrustedChain {
    /// Index in the store.
    pub csca: usize,
    /// The signer's country.
    pub country: String,
    pub deviations: DeviationSet,
}

impl TrustStore {
    /// Finds the issuer by key identifier, then by name, then every key of that name, and keeps
    /// the one with the fewest deviations whose signature holds.
    pub(super) fn chain(&self, signer: &Certificate) -> Result<TrustedChain, Reason> {
        let mut deviations = signer_usage(signer)?;
        let country = match (&signer.subject_country, &signer.issuer_country) {
            (Some(country), _) => country.clone(),
            (None, Some(country)) => {
                deviations.insert(Deviation::DscCountryAbsent);
                country.clone()
            }
            (None, None) => return Err(Reason::CertificateCountryMismatch),
        };
        let mut best: Option<(usize, DeviationSet)> = None;
        let mut failure = Reason::ChainNotTrusted;
        for index in self.issuer_candidates(signer) {
            let Some(csca) = self.cscas.get(index).map(|csca| &csca.certificate) else {
                continue;
            };
            match self.issued_by(signer, &country, csca) {
                Ok(found) => {
                    if best.is_none_or(|(_, fewest)| found.iter().count() < fewest.iter().count()) {
                        best = Some((index, found));
                    }
                    if found == DeviationSet::EMPTY {
                        break;
                    }
                }
                // Of several failures the one that came nearest says most.
                Err(Reason::ChainNotTrusted) => {}
                Err(reason) => failure = reason,
            }
        }
        let (csca, found) = best.ok_or(failure)?;
        Ok(TrustedChain { csca, country, deviations: deviations.union(found) })
    }

    fn issuer_candidates(&self, signer: &Certificate) -> Vec<usize> {
        let by_key =
            signer.authority_key_identifier.as_ref().and_then(|identifier| self.by_key_identifier.get(identifier));
        let by_name = self.by_subject.get(&signer.issuer);
        let mut candidates = Vec::new();
        for index in by_key.into_iter().chain(by_name).flatten() {
            if candidates.len() < MAX_ISSUERS && !candidates.contains(index) {
                candidates.push(*index);
            }
        }
        candidates
    }

    fn issued_by(&self, signer: &Certificate, country: &str, csca: &Certificate) -> Result<DeviationSet, Reason> {
        let mut deviations = match signer.verify_signature(csca) {
            Ok(deviations) => deviations,
            Err(SignatureError::Unsupported | SignatureError::Malformed | SignatureError::Invalid) => {
                return Err(Reason::ChainNotTrusted);
            }
        };
        match csca.key_usage {
            Some(usage) if !usage.certificate_sign => return Err(Reason::ChainNotTrusted),
            Some(_) => {}
            None => deviations.insert(Deviation::CscaKeyUsageAbsent),
        }
        match csca.certification_authority {
            Some(false) => return Err(Reason::ChainNotTrusted),
            Some(true) => {}
            None => deviations.insert(Deviation::CscaBasicConstraintsAbsent),
        }
        if csca.subject != signer.issuer {
            deviations.insert(Deviation::IssuerNameDiffers);
        }
        if signer.authority_key_identifier.as_ref().is_some_and(|identifier| *identifier != csca.key_identifier) {
            deviations.insert(Deviation::AuthorityKeyIdentifierMismatch);
        }
        if !(csca.not_before <= signer.not_before && signer.not_before <= csca.not_after) {
            deviations.insert(Deviation::DscIssuedOutsideCscaValidity);
        }
        deviations = deviations.union(csca.key_deviations).union(signer.key_deviations);
        let csca_country = csca.subject_country.as_deref().unwrap_or_default();
        match country::compare_certificates(country, csca_country) {
            CountryMatch::Equal => {}
            CountryMatch::Alias => deviations.insert(Deviation::CountryAlias),
            CountryMatch::Different => return Err(Reason::CertificateCountryMismatch),
        }
        Ok(deviations)
    }
}

/// Whether the certificate may sign documents at all.
fn signer_usage(signer: &Certificate) -> Result<DeviationSet, Reason> {
    let mut deviations = DeviationSet::EMPTY;
    match signer.key_usage {
        Some(usage) if !usage.digital_signature => return Err(Reason::SignerCertificateUsage),
        Some(_) => {}
        None => deviations.insert(Deviation::DscKeyUsageAbsent),
    }
    // A master list signer, a deviation list signer or a visa signer is issued by the same
    // authority, under the same name, and is not to vouch for passports.
    let icao_purpose = |purpose: &[u8]| purpose.starts_with(oid::ICAO_SECURITY.as_bytes());
    if signer.certification_authority == Some(true)
        || signer.extended_key_usage.iter().any(|purpose| icao_purpose(purpose))
        || (signer.is_self_issued() && signer.key_usage.is_some_and(|usage| usage.certificate_sign))
    {
        return Err(Reason::SignerCertificateUsage);
    }
    Ok(deviations)
}
