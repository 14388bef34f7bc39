//! EF.SOD: the signed hashes of the data groups (ICAO Doc 9303-10 section 4.6.2).

use std::sync::Arc;

use crate::{
    asn1::{Reader, Tag},
    cms::{MAX_CANDIDATES, SignedData, VerifiedSigner},
    crypto::key::KeyError,
    deviation::{Deviation, DeviationSet},
    evidence::UnixTime,
    oid,
    policy::Policy,
    report::Reason,
    trust::{Signer, TrustStore},
};

/// The CMS inside the SOD, its content type among those of an LDS security object.
pub(crate) fn parse(sod: &[u8]) -> Result<SignedData<'_>, Reason> {
    let mut file = Reader::new(sod);
    let mut deviations = DeviationSet::EMPTY;
    let content_info = match file.peek() {
        Some(Tag::SOD) => {
            let wrapper = file.next().map_err(|_| Reason::SodMalformed)?;
            if !file.is_empty() {
                return Err(Reason::SodTrailingData);
            }
            wrapper.value
        }
        _ => {
            deviations.insert(Deviation::SodWithoutWrapper);
            sod
        }
    };
    let mut data = SignedData::parse(content_info)?;
    let content_type = data.content_type;
    if content_type == oid::ID_DATA.as_bytes() {
        deviations.insert(Deviation::ContentTypeIdData);
    } else if [oid::LDS_SECURITY_OBJECT_ICAO_OLD, oid::LDS_SECURITY_OBJECT_NL_OLD]
        .iter()
        .any(|legacy| legacy.as_bytes() == content_type)
    {
        deviations.insert(Deviation::ContentTypeLegacy);
    } else if content_type != oid::LDS_SECURITY_OBJECT.as_bytes() {
        return Err(Reason::SodContentTypeUnexpected);
    }
    data.deviations = data.deviations.union(deviations);
    Ok(data)
}

/// What came of trying every signer and candidate.
pub(crate) enum SignatureOutcome {
    /// The signature holds under a signer that chains to a trusted authority.
    Trusted(Candidate),
    /// It holds, but no candidate's chain is trusted; the reason is the chain's.
    Untrusted(Candidate, Reason),
    /// It does not hold.
    Failed(Reason),
}

/// A candidate under whose key the signature holds.
pub(crate) struct Candidate {
    pub signer: Arc<Signer>,
    pub verified: VerifiedSigner,
    pub signing_time: Option<UnixTime>,
}

/// Tries every certificate, embedded and stored, that fits a signer identifier. A key whose
/// chain is not trusted never makes the outcome trusted, whatever it verifies.
pub(crate) fn verify_signature(data: &SignedData<'_>, trust: &TrustStore, policy: &Policy) -> SignatureOutcome {
    let mut failure = Reason::SignerCertificateNotFound;
    let mut untrusted = None;
    for info in &data.signers {
        if let Err(reason) = info.check_content(data) {
            failure = reason;
            continue;
        }
        let embedded = data.certificates.iter().filter_map(|der| trust.signer(der, &info.identifier));
        let stored = std::iter::once_with(|| trust.stored_signers(&info.identifier)).flatten();
        let candidates = embedded.chain(stored);
        let fitting = candidates.filter_map(|signer| {
            let names = info.identifier.matches(&signer.certificate)?;
            Some((signer, names))
        });
        for (signer, names) in fitting.take(MAX_CANDIDATES) {
            let key = match &signer.certificate.key {
                Ok(key) => key,
                Err(KeyError::UnknownCurve) => {
                    failure = Reason::UnknownCurve;
                    continue;
                }
                Err(_) => {
                    failure = Reason::SignerKeyInvalid;
                    continue;
                }
            };
            let mut verified = match info.verify(key, policy.retry_resorted_attributes) {
                Ok(verified) => verified,
                Err(reason) => {
                    failure = reason;
                    continue;
                }
            };
            verified.deviations = verified.deviations.union(names);
            let candidate = Candidate { verified, signing_time: info.signing_time, signer: signer.clone() };
            match &signer.chain {
                Ok(_) => return SignatureOutcome::Trusted(candidate),
                Err(reason) => untrusted = Some((candidate, *reason)),
            }
        }
    }
    match untrusted {
        Some((candidate, reason)) => SignatureOutcome::Untrusted(candidate, reason),
        None => SignatureOutcome::Failed(failure),
    }
}
