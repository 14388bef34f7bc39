//! CSCA master lists (ICAO Doc 9303-12 section 8): verified whole before one certificate is taken.

use crate::{
    asn1::{Reader, Tag},
    certificate::Certificate,
    cms::{MAX_CANDIDATES, SignedData, SignerInfo},
    country::{self, CountryMatch},
    oid,
    report::Reason,
};

/// A master list whose signature holds under a given anchor.
pub struct MasterList {
    certificates: Vec<Box<[u8]>>,
}

/// Why a master list was refused, whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MasterListError {
    /// The anchor is not a certificate with a usable key.
    #[error("the anchor is not a certificate with a usable key")]
    AnchorUnusable,
    /// The list is not a CMS SignedData, or its signature does not hold.
    #[error("the master list's signature does not hold: {0}")]
    Signature(Reason),
    /// The signer was not issued by the anchor.
    #[error("the master list's signer was not issued by the anchor")]
    SignerNotIssuedByAnchor,
    /// The signer may not sign master lists.
    #[error("the master list's signer may not sign master lists")]
    SignerUsage,
    /// The content is not a master list.
    #[error("the signed content is not a master list of version 0")]
    ContentMalformed,
}

impl MasterList {
    /// Verifies a CMS-signed list under an anchor: the certificate that issued the list's signer,
    /// or that signed the list itself.
    pub fn verify(list: &[u8], anchor: &[u8]) -> Result<MasterList, MasterListError> {
        let anchor = Certificate::parse(anchor).map_err(|_| MasterListError::AnchorUnusable)?;
        if anchor.key.is_err() {
            return Err(MasterListError::AnchorUnusable);
        }
        let data = SignedData::parse(list).map_err(MasterListError::Signature)?;
        if data.content_type != oid::CSCA_MASTER_LIST.as_bytes() {
            return Err(MasterListError::Signature(Reason::SodContentTypeUnexpected));
        }
        let mut failure = MasterListError::Signature(Reason::SignerCertificateNotFound);
        for signer in &data.signers {
            match verify_signer(&data, signer, &anchor) {
                Ok(()) => return Ok(MasterList { certificates: parse_content(&data.content)? }),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The certificates, as received.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(|certificate| &**certificate)
    }

    /// How many certificates the list has.
    pub fn len(&self) -> usize {
        self.certificates.len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }
}

fn verify_signer(data: &SignedData<'_>, signer: &SignerInfo<'_>, anchor: &Certificate) -> Result<(), MasterListError> {
    signer.check_content(data).map_err(MasterListError::Signature)?;
    let mut failure = MasterListError::Signature(Reason::SignerCertificateNotFound);
    let embedded = data.certificates.iter().filter_map(|der| Certificate::parse(der).ok());
    for certificate in
        embedded.filter(|certificate| signer.identifier.matches(certificate).is_some()).take(MAX_CANDIDATES)
    {
        match verify_candidate(signer, &certificate, anchor) {
            Ok(()) => return Ok(()),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn verify_candidate(
    signer: &SignerInfo<'_>,
    certificate: &Certificate,
    anchor: &Certificate,
) -> Result<(), MasterListError> {
    let is_anchor = certificate.der() == anchor.der();
    if !is_anchor {
        certificate.verify_signature(anchor).map_err(|_| MasterListError::SignerNotIssuedByAnchor)?;
        let country = |certificate: &Certificate| certificate.subject_country.clone().unwrap_or_default();
        if country::compare_certificates(&country(certificate), &country(anchor)) == CountryMatch::Different
            || anchor.certification_authority == Some(false)
            || anchor.key_usage.is_some_and(|usage| !usage.certificate_sign)
        {
            return Err(MasterListError::SignerNotIssuedByAnchor);
        }
        // The authority also issues document signers; they must not be able to name new authorities.
        let purpose = oid::MASTER_LIST_SIGNING_KEY;
        if !certificate.extended_key_usage.iter().any(|known| **known == *purpose.as_bytes()) {
            return Err(MasterListError::SignerUsage);
        }
    }
    if let Some(time) = signer.signing_time
        && !(certificate.not_before <= time && time <= certificate.not_after)
    {
        return Err(MasterListError::Signature(Reason::SignedOutsideValidity));
    }
    let key = certificate.key.as_ref().map_err(|_| MasterListError::Signature(Reason::SignerKeyInvalid))?;
    signer.verify(key, false).map_err(MasterListError::Signature)?;
    Ok(())
}

/// CscaMasterList: version 0 and a SET OF Certificate.
fn parse_content(content: &[u8]) -> Result<Vec<Box<[u8]>>, MasterListError> {
    let parse = || {
        let mut file = Reader::new(content);
        let list = file.expect(Tag::SEQUENCE)?;
        file.finish()?;
        let mut fields = list.reader();
        let version = fields.expect(Tag::INTEGER)?.small()?;
        let mut set = fields.expect(Tag::SET)?.reader();
        fields.finish()?;
        let mut certificates = Vec::new();
        while !set.is_empty() {
            certificates.push(set.expect(Tag::SEQUENCE)?.raw.into());
        }
        Ok::<_, crate::asn1::Asn1Error>((version, certificates))
    };
    match parse() {
        Ok((0, certificates)) => Ok(certificates),
        _ => Err(MasterListError::ContentMalformed),
    }
}
