//! EF.SOD: the signed hashes of the data groups (ICAO Doc 9303-10 section 4.6.2).

use std::sync::Arc;

use crate::{
    asn1::{Reader, Tag},
    certificate::Certificate,
    cms::{MAX_CANDIDATES, SignedData, SignerInfo, VerifiedSigner},
    crypto::key::{KeyError, PublicKey},
    deviation::{Deviation, DeviationSet},
    evidence::UnixTime,
    oid,
    policy::Policy,
    report::Reason,
    trust::{Fitting, Signer, TrustStore},
};

/// Certificates of one file whose issuer is looked for. A file can bring many for which the signature holds, all under one
/// key of its maker, and each would be tried under every key of its issuer's name.
const MAX_CHAINS: usize = 8;

/// What the signatures of one SOD may cost together, in the unit of [`effort`]: four signers with eight candidates each, of keys
/// that documents have.
const MAX_EFFORT: i32 = 32;

/// What a verification costs: RSA's grows with the square of the modulus, and the largest take as long as four of
/// any other key that documents have.
fn effort(certificate: &Certificate) -> i32 {
    match certificate.key.as_ref().map(|key| key.key()) {
        Ok(PublicKey::Rsa { modulus, .. }) if modulus.len() > 512 => 4,
        _ => 1,
    }
}

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
            if !wrapper.der {
                deviations.insert(Deviation::SodNotDer);
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
    let mut chains_left = MAX_CHAINS;
    let mut effort_left = MAX_EFFORT;
    for info in &data.signers {
        if let Err(reason) = info.check_content(data) {
            failure = reason;
            continue;
        }
        let embedded = data.certificates.iter().filter_map(|der| trust.fitting(der, &info.identifier));
        let stored = std::iter::once_with(|| trust.stored_fitting(&info.identifier)).flatten();
        for fitting in embedded.chain(stored).take(MAX_CANDIDATES) {
            effort_left -= effort(fitting.certificate());
            if effort_left < 0 {
                break;
            }
            let verified = match verify_under(info, fitting.certificate(), policy) {
                Ok(verified) => verified,
                Err(reason) => {
                    failure = reason;
                    continue;
                }
            };
            let signer = match fitting {
                Fitting::Remembered(signer) => signer,
                // The dearest part comes last, and only for a key that the signature holds under.
                Fitting::New(certificate) if chains_left > 0 => {
                    chains_left -= 1;
                    trust.chained(certificate)
                }
                Fitting::New(certificate) => Arc::new(Signer { certificate, chain: Err(Reason::ChainNotTrusted) }),
            };
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

fn verify_under(info: &SignerInfo<'_>, certificate: &Certificate, policy: &Policy) -> Result<VerifiedSigner, Reason> {
    let names = info.identifier.matches(certificate).ok_or(Reason::SignerCertificateNotFound)?;
    let key = certificate.key.as_ref().map_err(|error| match error {
        KeyError::UnknownCurve => Reason::UnknownCurve,
        _ => Reason::SignerKeyInvalid,
    })?;
    let mut verified = info.verify(key, policy.retry_resorted_attributes)?;
    verified.deviations = verified.deviations.union(names);
    Ok(verified)
}
