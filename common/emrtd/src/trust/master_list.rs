//! CSCA master lists (ICAO Doc 9303-12 section 8): verified whole before one certificate is taken.

use serde::Serialize;

use crate::{
    asn1::{Asn1Error, Reader, Tag},
    certificate::Certificate,
    cms::{MAX_CANDIDATES, SignedData, SignerInfo},
    country::{self, CountryMatch},
    deviation::Deviation,
    evidence::UnixTime,
    info::{self, CertificateInfo},
    oid,
    report::Reason,
};

/// A master list whose signature holds under an anchor.
pub struct MasterList {
    certificates: Vec<Box<[u8]>>,
    anchor: MasterListAnchor,
    signer: CertificateInfo,
    signing_time: Option<UnixTime>,
}

/// The certificate that a master list's signer was found to be issued by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MasterListAnchor {
    /// One that the caller gave, and trusts.
    Given {
        /// SHA-256 of the certificate, hexadecimal.
        sha256: String,
    },
    /// One of the list itself. Whoever makes a list can put his own certificate on it: this shows that the list is
    /// whole, and nothing about who made it.
    WithinList {
        /// SHA-256 of the certificate, hexadecimal.
        sha256: String,
    },
}

/// Why a master list was refused, whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MasterListError {
    /// No anchor is a certificate with a usable key.
    #[error("the anchor is not a certificate with a usable key")]
    AnchorUnusable,
    /// The list is not a CMS SignedData, or its signature does not hold.
    #[error("the master list's signature does not hold: {0}")]
    Signature(Reason),
    /// The signer was not issued by an anchor.
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
        MasterList::verify_with_any(list, &[anchor])
    }

    /// Verifies a list under any of several anchors, as [`MasterList::verify`] does under one. Anchors that cannot be
    /// used are passed over as long as one can.
    pub fn verify_with_any(list: &[u8], anchors: &[&[u8]]) -> Result<MasterList, MasterListError> {
        let usable = |der: &&[u8]| Certificate::parse(der).ok().filter(|anchor| anchor.key.is_ok());
        let anchors: Vec<Certificate> = anchors.iter().filter_map(usable).collect();
        if anchors.is_empty() {
            return Err(MasterListError::AnchorUnusable);
        }
        let data = parse(list)?;
        let (anchor, signer, signing_time) = verify_under(&data, &anchors)?;
        let anchor = MasterListAnchor::Given { sha256: info::sha256(anchor.der()) };
        Ok(MasterList { certificates: parse_content(&data.content)?, anchor, signer, signing_time })
    }

    /// Verifies a list under the certificates that it holds itself, for a list that came by a trusted way and whose
    /// anchor is not at hand. [`MasterList::anchor`] says so: it is [`MasterListAnchor::WithinList`].
    pub fn verify_self_anchored(list: &[u8]) -> Result<MasterList, MasterListError> {
        let data = parse(list)?;
        // Before any certificate of the content is looked at, somebody must have signed it.
        let mut failure = MasterListError::Signature(Reason::SignerCertificateNotFound);
        let mut holds = |signer| signed_by(&data, signer).map_err(|error| failure = error).is_ok();
        if !data.signers.iter().any(&mut holds) {
            return Err(failure);
        }
        let certificates = parse_content(&data.content)?;
        let anchors: Vec<Certificate> = certificates.iter().filter_map(|der| Certificate::outline(der).ok()).collect();
        let (anchor, signer, signing_time) = verify_under(&data, &anchors)?;
        let anchor = MasterListAnchor::WithinList { sha256: info::sha256(anchor.der()) };
        Ok(MasterList { certificates, anchor, signer, signing_time })
    }

    /// Reads a list to look at it, without trusting anything about it. What it yields cannot be added to a store.
    pub fn read_unverified(list: &[u8]) -> Result<UnverifiedMasterList, MasterListError> {
        let data = parse(list)?;
        let certificates = parse_content(&data.content)?;
        let signers = data.signers.iter().map(|signer| describe_signer(&data, signer)).collect();
        let embedded = data.certificates.iter().map(|der| (*der).into()).collect();
        Ok(UnverifiedMasterList { certificates, signers, embedded, deviations: data.deviations.iter().collect() })
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

    /// The certificate under which it was verified.
    pub fn anchor(&self) -> &MasterListAnchor {
        &self.anchor
    }

    /// The certificate of its signer.
    pub fn signer(&self) -> &CertificateInfo {
        &self.signer
    }

    /// When it says that it was signed.
    pub fn signing_time(&self) -> Option<UnixTime> {
        self.signing_time
    }
}

/// A master list that was read and not verified.
pub struct UnverifiedMasterList {
    certificates: Vec<Box<[u8]>>,
    signers: Vec<MasterListSigner>,
    embedded: Vec<Box<[u8]>>,
    deviations: Vec<Deviation>,
}

/// One signature of a master list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MasterListSigner {
    /// The embedded certificate that fits the signer identifier, and under whose key the signature holds if it does.
    pub certificate: Option<CertificateInfo>,
    /// When it says that it was made.
    pub signing_time: Option<UnixTime>,
    /// Digest algorithm of the content.
    pub digest_algorithm: &'static str,
    /// Signature algorithm, such as `rsa_pss_sha256`.
    pub signature_algorithm: String,
    /// Whether the signature holds under the embedded certificate: the list is whole. Who signed it is another matter.
    pub signature_holds: bool,
    /// Why it does not hold.
    pub reason: Option<Reason>,
}

impl UnverifiedMasterList {
    /// The certificates on the list, as received.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(|certificate| &**certificate)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.certificates.len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// Its signatures.
    pub fn signers(&self) -> &[MasterListSigner] {
        &self.signers
    }

    /// Certificates beside the list, as received: the signer's and mostly its issuer's.
    pub fn embedded_certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.embedded.iter().map(|certificate| &**certificate)
    }

    /// Whether a signature holds under an embedded certificate.
    pub fn signature_holds(&self) -> bool {
        self.signers.iter().any(|signer| signer.signature_holds)
    }

    /// Deviations of its encoding.
    pub fn deviations(&self) -> &[Deviation] {
        &self.deviations
    }
}

fn parse(list: &[u8]) -> Result<SignedData<'_>, MasterListError> {
    let data = SignedData::parse(list).map_err(MasterListError::Signature)?;
    if data.content_type != oid::CSCA_MASTER_LIST.as_bytes() {
        return Err(MasterListError::Signature(Reason::SodContentTypeUnexpected));
    }
    Ok(data)
}

/// The anchor, the signer and when it signed, of the first signature that holds under an anchor.
fn verify_under<'c>(
    data: &SignedData<'_>,
    anchors: &'c [Certificate],
) -> Result<(&'c Certificate, CertificateInfo, Option<UnixTime>), MasterListError> {
    let mut failure = MasterListError::Signature(Reason::SignerCertificateNotFound);
    for signer in &data.signers {
        let issued = signed_by(data, signer).and_then(|certificate| {
            let anchor = issuing_anchor(&certificate, anchors)?;
            Ok((anchor, CertificateInfo::of(&certificate), signer.signing_time))
        });
        match issued {
            Ok(found) => return Ok(found),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The embedded certificate under whose key a signature holds.
fn signed_by(data: &SignedData<'_>, signer: &SignerInfo<'_>) -> Result<Certificate, MasterListError> {
    signer.check_content(data).map_err(MasterListError::Signature)?;
    // As of a SOD under the default policy: nobody signs that list, so a change of it would go unseen.
    let unlisted = Deviation::DigestAlgorithmNotListed;
    if data.deviations.contains(unlisted) {
        return Err(MasterListError::Signature(Reason::DeviationRefused(unlisted)));
    }
    let mut failure = MasterListError::Signature(Reason::SignerCertificateNotFound);
    for certificate in candidates(data, signer) {
        match verify_candidate(signer, &certificate) {
            Ok(()) => return Ok(certificate),
            Err(reason) => failure = MasterListError::Signature(reason),
        }
    }
    Err(failure)
}

/// The embedded certificates that fit a signer identifier.
fn candidates<'d>(data: &'d SignedData<'_>, signer: &'d SignerInfo<'_>) -> impl Iterator<Item = Certificate> + 'd {
    let embedded = data.certificates.iter().filter_map(|der| Certificate::outline(der).ok());
    embedded
        .filter(|certificate| signer.identifier.matches(certificate).is_some())
        .take(MAX_CANDIDATES)
        .map(Certificate::with_key)
}

fn verify_candidate(signer: &SignerInfo<'_>, certificate: &Certificate) -> Result<(), Reason> {
    if let Some(time) = signer.signing_time
        && !(certificate.not_before <= time && time <= certificate.not_after)
    {
        return Err(Reason::SignedOutsideValidity);
    }
    let key = certificate.key.as_ref().map_err(|_| Reason::SignerKeyInvalid)?;
    signer.verify(key, false).map(|_| ())
}

/// The anchor that is the signer or issued it, and that it may sign master lists.
fn issuing_anchor<'c>(signer: &Certificate, anchors: &'c [Certificate]) -> Result<&'c Certificate, MasterListError> {
    /// Anchors whose key is tried for one signer.
    const MAX_ANCHORS: usize = 64;
    if let Some(anchor) = anchors.iter().find(|anchor| anchor.der() == signer.der()) {
        return Ok(anchor);
    }
    // Of one anchor the key decides, of many their names first.
    let by_key = |anchor: &&Certificate| signer.authority_key_identifier.as_ref() == Some(&anchor.key_identifier);
    let by_name = |anchor: &&Certificate| anchors.len() == 1 || anchor.subject == signer.issuer;
    let likely =
        anchors.iter().filter(by_key).chain(anchors.iter().filter(|anchor| !by_key(anchor) && by_name(anchor)));
    for anchor in likely.take(MAX_ANCHORS) {
        if !issued_by(signer, anchor) {
            continue;
        }
        // The authority also issues document signers; they must not be able to name new authorities.
        let purpose = oid::MASTER_LIST_SIGNING_KEY;
        if !signer.extended_key_usage.iter().any(|known| **known == *purpose.as_bytes()) {
            return Err(MasterListError::SignerUsage);
        }
        return Ok(anchor);
    }
    Err(MasterListError::SignerNotIssuedByAnchor)
}

fn issued_by(signer: &Certificate, anchor: &Certificate) -> bool {
    let country = |certificate: &Certificate| certificate.subject_country.clone().unwrap_or_default();
    if anchor.certification_authority == Some(false)
        || anchor.key_usage.is_some_and(|usage| !usage.certificate_sign)
        || country::compare_certificates(&country(signer), &country(anchor)) == CountryMatch::Different
    {
        return false;
    }
    match &anchor.key {
        Ok(_) => signer.verify_signature(anchor).is_ok(),
        // An outline.
        Err(_) => Certificate::parse(anchor.der()).is_ok_and(|anchor| signer.verify_signature(&anchor).is_ok()),
    }
}

fn describe_signer(data: &SignedData<'_>, signer: &SignerInfo<'_>) -> MasterListSigner {
    let (certificate, reason) = match signed_by(data, signer) {
        Ok(certificate) => (Some(certificate), None),
        Err(MasterListError::Signature(reason)) => (candidates(data, signer).next(), Some(reason)),
        Err(_) => (None, Some(Reason::SignatureInvalid)),
    };
    MasterListSigner {
        certificate: certificate.as_ref().map(CertificateInfo::of),
        signing_time: signer.signing_time,
        digest_algorithm: signer.digest().name(),
        signature_algorithm: info::algorithm(Some(signer.algorithm()), &[]),
        signature_holds: reason.is_none(),
        reason,
    }
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
        Ok::<_, Asn1Error>((version, certificates))
    };
    match parse() {
        Ok((0, certificates)) => Ok(certificates),
        _ => Err(MasterListError::ContentMalformed),
    }
}
