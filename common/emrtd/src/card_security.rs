//! EF.CardSecurity: the signed SecurityInfos of the master file (ICAO Doc 9303-11 section 9.2.11,
//! BSI TR-03110-3 section A.1.2.5).
//!
//! Its signature is a document signer's like that of the SOD, and the same rules hold for it. It
//! names no holder: whose chip it describes must be shown by other means.

use serde::Serialize;

use crate::{
    asn1::{Reader, Tag, Tlv},
    chip_authentication::{self, Offer},
    cms::SignedData,
    country::{self, CountryMatch},
    deviation::{Deviation, DeviationSet},
    evidence::{ChipTranscript, UnixTime},
    mrz::Date,
    oid,
    policy::Policy,
    report::{CardSecurityProblem, CertificateStatus, GateResult, Reason, RevocationStatus, SigningTimeSource},
    security_infos::{self, SecurityInfo},
    sod::{self, Candidate, SignatureOutcome},
    trust::TrustStore,
    verify::{MAX_PART, signing_window},
};

/// Looks at one EF.CardSecurity alone, without the document it came with.
pub fn inspect_card_security(file: &[u8], trust: &TrustStore, policy: &Policy, at: UnixTime) -> CardSecurityReport {
    let mut check = Check::new(trust, policy, at);
    let outcome = check.run(file, &Expected::default());
    // What is said in a file that does not hold is described all the same, where it can be read.
    let security_infos = SignedData::parse(file)
        .ok()
        .and_then(|data| content(&data.content).and_then(|infos| security_infos::describe(&infos)).ok())
        .unwrap_or_default();
    CardSecurityReport {
        gates: check.gates,
        revocation_status: check.revocation_status,
        deviations: check.deviations.iter().collect(),
        reason: outcome.err().map(Reason::CardSecurity),
        signing_time: check.signing_time,
        signer_status: check.signer_status,
        signature_algorithm: check.signature_algorithm,
        security_infos,
    }
}

/// What is known of one EF.CardSecurity; of a chip, and nothing of its holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CardSecurityReport {
    /// The parts of its passive authentication.
    pub gates: CardSecurityGates,
    /// What the revocation lists say about the signer.
    pub revocation_status: RevocationStatus,
    /// Deviations from the standards that were met, accepted or not.
    pub deviations: Vec<Deviation>,
    /// Why it does not hold; `None` when it does.
    pub reason: Option<Reason>,
    /// How the time of signing was determined.
    pub signing_time: SigningTimeSource,
    /// The signer's certificate at the time of verification, which does not decide.
    pub signer_status: Option<CertificateStatus>,
    /// Signature algorithm and key, such as `ecdsa_sha256/brainpoolP256r1`.
    pub signature_algorithm: Option<String>,
    /// What the file offers, whether it holds or not.
    pub security_infos: Vec<SecurityInfo>,
}

impl CardSecurityReport {
    /// Whether the file holds.
    pub fn is_valid(&self) -> bool {
        self.reason.is_none()
    }
}

/// The results of one EF.CardSecurity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CardSecurityGates {
    /// Well formed, and signed under the signer's key.
    pub signature: GateResult,
    /// The signer chains to a trusted country signing certificate and was valid at signing.
    pub chain: GateResult,
    /// The signer is not revoked. `NotRun` when no usable list exists.
    pub revocation: GateResult,
}

/// What a document says that came with an EF.CardSecurity.
#[derive(Default)]
pub(crate) struct Expected<'a> {
    /// The document's expiry.
    pub expiry: Option<Date>,
    /// Country of the SOD's signer.
    pub country: Option<&'a str>,
}

/// An EF.CardSecurity that holds.
pub(crate) struct CardSecurity<'a>(SignedData<'a>);

impl CardSecurity<'_> {
    /// Its SecurityInfos.
    pub fn security_infos(&self) -> Result<Tlv<'_>, Reason> {
        content(&self.0.content).map_err(Reason::CardSecurity)
    }
}

/// Whether a transcript holds under the keys of an EF.CardSecurity, and of a DG14 where one is given: for looking at one
/// exchange alone. Nobody's signature is verified here; [`inspect_card_security`] does that, and [`verify`](crate::verify())
/// demands it.
pub fn verify_chip_authentication_with_card_security(
    dg14: Option<&[u8]>,
    card_security: &[u8],
    transcript: &ChipTranscript<'_>,
) -> Result<DeviationSet, Reason> {
    let data = parse(card_security).map_err(Reason::CardSecurity)?;
    let infos = content(&data.content).map_err(Reason::CardSecurity)?;
    match dg14 {
        Some(dg14) => chip_authentication::verify(dg14, Some(&infos), transcript),
        None => chip_authentication::verify_among(&infos, transcript),
    }
}

/// Verifies an EF.CardSecurity; the deviations are those of a file that does not hold, too.
pub(crate) fn verify<'a>(
    file: &'a [u8],
    trust: &TrustStore,
    policy: &Policy,
    at: UnixTime,
    expected: &Expected<'_>,
) -> (Result<CardSecurity<'a>, CardSecurityProblem>, DeviationSet) {
    let mut check = Check::new(trust, policy, at);
    let outcome = check.run(file, expected);
    (outcome, check.deviations)
}

struct Check<'e> {
    trust: &'e TrustStore,
    policy: &'e Policy,
    at: UnixTime,
    gates: CardSecurityGates,
    revocation_status: RevocationStatus,
    deviations: DeviationSet,
    signing_time: SigningTimeSource,
    signer_status: Option<CertificateStatus>,
    signature_algorithm: Option<String>,
}

impl<'e> Check<'e> {
    fn new(trust: &'e TrustStore, policy: &'e Policy, at: UnixTime) -> Check<'e> {
        let not_run = GateResult::NotRun;
        Check {
            trust,
            policy,
            at,
            gates: CardSecurityGates { signature: not_run, chain: not_run, revocation: not_run },
            revocation_status: RevocationStatus::Unknown,
            deviations: DeviationSet::EMPTY,
            signing_time: SigningTimeSource::NotDetermined,
            signer_status: None,
            signature_algorithm: None,
        }
    }

    /// Everything is judged as far as it can be; the first part that does not hold gives the problem.
    fn run<'a>(&mut self, file: &'a [u8], expected: &Expected<'_>) -> Result<CardSecurity<'a>, CardSecurityProblem> {
        let gate = |result: &Result<(), CardSecurityProblem>| match result {
            Ok(()) => GateResult::Passed,
            Err(_) => GateResult::Failed,
        };
        let signed = self.signature(file);
        let (data, candidate, mut chain) = match signed {
            Ok(signed) => signed,
            Err(problem) => {
                self.gates.signature = GateResult::Failed;
                return Err(problem);
            }
        };
        let certificate = &candidate.signer.certificate;
        self.signature_algorithm = certificate
            .key
            .as_ref()
            .ok()
            .map(|key| format!("{}/{}", candidate.verified.scheme.describe(), key.key().describe()));
        self.signer_status = Some(certificate.status(self.at));
        let signature = self.note(data.deviations).and(self.note(candidate.verified.deviations));
        self.gates.signature = gate(&signature);
        if chain.is_ok() {
            chain = self.chain(&candidate, expected);
        }
        self.gates.chain = gate(&chain);
        let revocation = self.revocation(&candidate);
        signature.and(chain).and(revocation)?;
        Ok(CardSecurity(data))
    }

    /// The signed data, the candidate under whose key they hold, and whether it is trusted.
    fn signature<'a>(
        &self,
        file: &'a [u8],
    ) -> Result<(SignedData<'a>, Candidate, Result<(), CardSecurityProblem>), CardSecurityProblem> {
        let data = parse(file)?;
        let (candidate, chain) = match sod::verify_signature(&data, self.trust, self.policy) {
            SignatureOutcome::Trusted(candidate) => (candidate, Ok(())),
            SignatureOutcome::Untrusted(candidate, reason) => (candidate, Err(problem(reason))),
            SignatureOutcome::Failed(reason) => return Err(problem(reason)),
        };
        // Keys are checked when somebody has signed them, and not before: it is dear.
        let infos = content(&data.content)?;
        Offer::among(&infos).map_err(|_| CardSecurityProblem::SecurityInfosMalformed)?;
        Ok((data, candidate, chain))
    }

    fn chain(&mut self, candidate: &Candidate, expected: &Expected<'_>) -> Result<(), CardSecurityProblem> {
        let chain = candidate.signer.chain.as_ref().map_err(|reason| problem(*reason))?;
        let mut deviations = chain.deviations;
        // One state issues both files, if not always with one certificate.
        if let Some(country) = expected.country {
            match country::compare_certificates(&chain.country, country) {
                CountryMatch::Equal => {}
                CountryMatch::Alias => deviations.insert(Deviation::CountryAlias),
                CountryMatch::Different => return Err(CardSecurityProblem::CountryMismatch),
            }
        }
        let certificate = &candidate.signer.certificate;
        if let Some(signed) = candidate.signing_time {
            self.signing_time = SigningTimeSource::SignedAttribute;
            if signed > self.at || expected.expiry.is_some_and(|expiry| signed >= expiry.end()) {
                return Err(CardSecurityProblem::SigningTimeImplausible);
            }
            if signed < certificate.not_before || certificate.not_after < signed {
                return Err(CardSecurityProblem::SignedOutsideValidity);
            }
        } else if let Some(expiry) = expected.expiry {
            self.signing_time = SigningTimeSource::ExpiryWindow;
            let (earliest, latest) = signing_window(expiry, self.at);
            if certificate.not_after < earliest || latest < certificate.not_before {
                return Err(CardSecurityProblem::SignedOutsideValidity);
            }
        }
        self.note(deviations)
    }

    fn revocation(&mut self, candidate: &Candidate) -> Result<(), CardSecurityProblem> {
        let Ok(chain) = &candidate.signer.chain else { return Ok(()) };
        self.revocation_status = self.trust.revocation(chain, self.at);
        let (result, gate) = match self.revocation_status {
            RevocationStatus::VerifiedNotRevoked => (Ok(()), GateResult::Passed),
            RevocationStatus::Revoked => (Err(CardSecurityProblem::CertificateRevoked), GateResult::Failed),
            RevocationStatus::Unknown if self.policy.unknown_revocation_fails => {
                (Err(CardSecurityProblem::RevocationUnknown), GateResult::Failed)
            }
            RevocationStatus::Unknown => (Ok(()), GateResult::NotRun),
        };
        self.gates.revocation = gate;
        result
    }

    fn note(&mut self, deviations: DeviationSet) -> Result<(), CardSecurityProblem> {
        self.deviations = self.deviations.union(deviations);
        if deviations.iter().all(|deviation| self.policy.accepted.contains(deviation)) {
            Ok(())
        } else {
            Err(CardSecurityProblem::DeviationRefused)
        }
    }
}

/// The signed data, nothing of which is verified.
fn parse(file: &[u8]) -> Result<SignedData<'_>, CardSecurityProblem> {
    if file.len() > MAX_PART {
        return Err(CardSecurityProblem::Malformed);
    }
    let data = SignedData::parse(file).map_err(problem)?;
    // What New Zealand's SODs are forgiven no EF.CardSecurity needs.
    if data.deviations.contains(Deviation::SodNotDer) {
        return Err(CardSecurityProblem::Malformed);
    }
    if data.content_type != oid::SECURITY_OBJECT.as_bytes() {
        return Err(CardSecurityProblem::ContentTypeUnexpected);
    }
    content(&data.content)?;
    Ok(data)
}

/// SecurityInfos, every one of which has the form of one.
fn content(content: &[u8]) -> Result<Tlv<'_>, CardSecurityProblem> {
    let malformed = |_| CardSecurityProblem::SecurityInfosMalformed;
    let mut file = Reader::new(content);
    let infos = file.expect(Tag::SET).map_err(malformed)?;
    file.finish().map_err(malformed)?;
    let mut each = infos.reader();
    while !each.is_empty() {
        let mut info = each.expect(Tag::SEQUENCE).map_err(malformed)?.reader();
        info.expect(Tag::OID).map_err(malformed)?;
        while !info.is_empty() {
            info.next().map_err(malformed)?;
        }
    }
    Ok(infos)
}

/// What a reason, named after the SOD, says of EF.CardSecurity.
fn problem(reason: Reason) -> CardSecurityProblem {
    match reason {
        Reason::SodTrailingData => CardSecurityProblem::TrailingData,
        Reason::SodVersionUnsupported => CardSecurityProblem::VersionUnsupported,
        Reason::SodContentTypeUnexpected => CardSecurityProblem::ContentTypeUnexpected,
        Reason::ContentTypeMismatch | Reason::MessageDigestMismatch => CardSecurityProblem::ContentMismatch,
        Reason::DigestAlgorithmUnsupported | Reason::SignatureAlgorithmUnsupported => {
            CardSecurityProblem::AlgorithmUnsupported
        }
        Reason::SignerCertificateNotFound => CardSecurityProblem::SignerCertificateNotFound,
        Reason::SignerKeyInvalid | Reason::UnknownCurve => CardSecurityProblem::SignerKeyInvalid,
        Reason::SignatureInvalid => CardSecurityProblem::SignatureInvalid,
        Reason::ChainNotTrusted | Reason::SignerCertificateUsage | Reason::CertificateCountryMismatch => {
            CardSecurityProblem::ChainNotTrusted
        }
        Reason::SignedOutsideValidity => CardSecurityProblem::SignedOutsideValidity,
        Reason::SigningTimeImplausible => CardSecurityProblem::SigningTimeImplausible,
        Reason::CertificateRevoked => CardSecurityProblem::CertificateRevoked,
        Reason::RevocationUnknown => CardSecurityProblem::RevocationUnknown,
        Reason::DeviationRefused(_) => CardSecurityProblem::DeviationRefused,
        _ => CardSecurityProblem::Malformed,
    }
}
