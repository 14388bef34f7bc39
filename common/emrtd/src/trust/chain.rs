//! Document signer to country signing certificate (ICAO Doc 9303-11 section 5.1, 9303-12).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Csca, TrustStore};
use crate::{
    certificate::Certificate,
    country::{self, CountryMatch},
    crypto::provider::SignatureError,
    deviation::{Deviation, DeviationSet},
    oid,
    report::Reason,
};

/// Keys tried for one certificate or list: the largest country has some fifty certificates under few names.
pub(super) const MAX_ISSUERS: usize = 32;

/// A document signer and what the store makes of it.
pub(crate) struct Signer {
    pub certificate: Arc<Certificate>,
    pub chain: Result<TrustedChain, Reason>,
}

/// A certificate that fits a signer identifier.
pub(crate) enum Fitting {
    /// Its chain is known, and trusted.
    Remembered(Arc<Signer>),
    /// Nobody has asked yet who issued it.
    New(Arc<Certificate>),
}

impl Fitting {
    pub fn certificate(&self) -> &Certificate {
        match self {
            Fitting::Remembered(signer) => &signer.certificate,
            Fitting::New(certificate) => certificate,
        }
    }
}

/// The country signing certificate that issued a signer.
pub(crate) struct TrustedChain {
    /// Index in the store.
    pub csca: usize,
    /// The signer's country.
    pub country: String,
    pub deviations: DeviationSet,
    /// A revocation list names the signer or its issuer.
    pub(super) revoked: bool,
    /// Indices of the lists whose silence may count.
    pub(super) lists: Box<[usize]>,
}

impl TrustStore {
    /// Finds the issuer by key identifier, then by name, then every key of that name, and keeps
    /// the one with the fewest deviations whose signature holds.
    pub(super) fn chain(&self, signer: &Certificate) -> Result<TrustedChain, Reason> {
        let deviations = signer_usage(signer)?;
        // An authority's certificate signs certificates, never documents, even one that says nothing of its use.
        if self.stored_csca(signer.der()).is_some() {
            return Err(Reason::SignerCertificateUsage);
        }
        self.issued(signer, deviations)
    }

    /// The chain of a certificate of any use.
    pub(super) fn issued(&self, signer: &Certificate, mut deviations: DeviationSet) -> Result<TrustedChain, Reason> {
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
        let mut trials = Trials::of(signer);
        for index in self.issuer_candidates(signer) {
            let Some((csca, signature)) = self.cscas.get(index).and_then(|csca| Some((csca, trials.signature(csca)?)))
            else {
                continue;
            };
            match issued_by(signer, signature, &country, &csca.certificate) {
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
        let (index, found) = best.ok_or(failure)?;
        let csca = self.cscas.get(index).ok_or(failure)?;
        let (revoked, lists) = self.revocation_of(signer, csca);
        Ok(TrustedChain { csca: index, country, deviations: deviations.union(found), revoked, lists })
    }

    /// Who may have signed a certificate: those its key identifier names, then those of its issuer's name.
    pub(super) fn issuer_candidates(&self, signer: &Certificate) -> Vec<usize> {
        let by_key =
            signer.authority_key_identifier.as_ref().and_then(|identifier| self.by_key_identifier.get(identifier));
        let by_name = self.by_subject.get(&signer.issuer);
        let mut seen = HashSet::new();
        by_key.into_iter().chain(by_name).flatten().copied().filter(|index| seen.insert(*index)).collect()
    }
}

/// Signatures of one certificate under the keys of several: each key once, however many certificates have it, and so
/// many keys at most, however many share a name.
pub(super) struct Trials<'c> {
    certificate: &'c Certificate,
    results: HashMap<usize, Result<DeviationSet, SignatureError>>,
}

impl<'c> Trials<'c> {
    pub fn of(certificate: &'c Certificate) -> Trials<'c> {
        Trials { certificate, results: HashMap::new() }
    }

    /// Whether the signature holds under the certificate's key; `None` when too many were tried.
    pub fn signature(&mut self, csca: &Csca) -> Option<Result<DeviationSet, SignatureError>> {
        if csca.certificate.key.is_err() {
            return Some(Err(SignatureError::Unsupported));
        }
        if let Some(known) = self.results.get(&csca.key) {
            return Some(*known);
        }
        if self.results.len() == MAX_ISSUERS {
            return None;
        }
        let result = self.certificate.verify_signature(&csca.certificate);
        self.results.insert(csca.key, result);
        Some(result)
    }
}

/// What else must hold between a signer and the authority under whose key its signature does or does not hold.
fn issued_by(
    signer: &Certificate,
    signature: Result<DeviationSet, SignatureError>,
    country: &str,
    csca: &Certificate,
) -> Result<DeviationSet, Reason> {
    let mut deviations = signature.map_err(|_| Reason::ChainNotTrusted)?;
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
    } else if csca.subject_raw() != signer.issuer_raw() {
        deviations.insert(Deviation::NameEncodingDiffers);
    }
    if signer.authority_key_identifier.as_ref().is_some_and(|identifier| *identifier != csca.key_identifier) {
        deviations.insert(Deviation::AuthorityKeyIdentifierMismatch);
    }
    if !(csca.not_before <= signer.not_before && signer.not_before <= csca.not_after) {
        deviations.insert(Deviation::DscIssuedOutsideCscaValidity);
    }
    deviations = deviations.union(csca.content_deviations()).union(signer.content_deviations());
    let csca_country = csca.subject_country.as_deref().unwrap_or_default();
    match country::compare_certificates(country, csca_country) {
        CountryMatch::Equal => {}
        CountryMatch::Alias => deviations.insert(Deviation::CountryAlias),
        CountryMatch::Different => return Err(Reason::CertificateCountryMismatch),
    }
    Ok(deviations)
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
