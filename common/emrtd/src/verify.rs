//! The gates, in order; the first that fails gives the reason.

use crate::{
    active_authentication,
    asn1::{Asn1Error, Reader, Tag},
    card_security::{self, CardSecurity, Expected},
    chip_authentication,
    country::{self, CountryMatch},
    deviation::{Deviation, DeviationSet},
    dg2,
    evidence::{ChipTranscript, DocumentEvidence, KeptDocument, Part, UnixTime},
    lds::LdsSecurityObject,
    mrz::{Date, Mrz, MrzError, parse_dg1},
    policy::Policy,
    portrait::Portrait,
    report::{
        DocumentSigner, Gate, GateResult, Gates, Reason, Report, RevocationStatus, SigningTimeSource, Verification,
    },
    security_options::{self, NamedDigest, SecurityOptions},
    sod::{self, SignatureOutcome},
    trust::{Signer, TrustStore},
};

/// Largest DG2: above it no genuine portrait.
pub const MAX_DG2: usize = 1024 * 1024;
/// Largest of the other parts.
pub const MAX_PART: usize = 64 * 1024;

/// Verifies the evidence of one document at a time given by the caller.
///
/// Every data group of DG1, DG2, DG14 and DG15 that the SOD lists must be supplied, and no other.
/// The gates run in the order of [`Gate`]; after the first that fails the later ones are `NotRun`.
pub fn verify<'a>(
    evidence: &DocumentEvidence<'a>,
    trust: &TrustStore,
    policy: &Policy,
    at: UnixTime,
) -> Verification<'a> {
    Run::new(evidence, trust, policy, at, true).run()
}

/// Like [`verify`], for looking at parts of a document: data groups that were not supplied are
/// `NotRun` and not missing, unless the policy says that they fail.
pub fn inspect<'a>(
    evidence: &DocumentEvidence<'a>,
    trust: &TrustStore,
    policy: &Policy,
    at: UnixTime,
) -> Verification<'a> {
    Run::new(evidence, trust, policy, at, policy.absent_data_groups_fail).run()
}

/// Judges a document once more that was verified before: what can have changed without it. Whether its signer is still
/// trusted and not revoked, and what its dates mean at this time.
///
/// In the report `evidence_format` is `Passed`, for it was; signature, hashes and the gates of the chip are `NotRun`, and
/// their results those of the first time.
pub fn verify_again<'a>(
    kept: &KeptDocument<'a>,
    trust: &TrustStore,
    policy: &Policy,
    at: UnixTime,
) -> Verification<'a> {
    let evidence = DocumentEvidence { dg1: Some(kept.dg1), dg2: Some(kept.dg2), ..DocumentEvidence::default() };
    let run = Run::new(&evidence, trust, policy, at, true);
    run.finish(|run| run.again(kept.signer))
}

struct Run<'e, 'a> {
    evidence: &'e DocumentEvidence<'a>,
    trust: &'e TrustStore,
    policy: &'e Policy,
    at: UnixTime,
    /// Whether every declared data group must be there.
    complete: bool,
    report: Report,
    deviations: DeviationSet,
    mrz: Option<Result<Mrz, MrzError>>,
    mrz_deviations: DeviationSet,
    signer: Option<DocumentSigner>,
    /// Once its gate has passed.
    content: Content<'a>,
}

/// The holder's data: the machine readable zone and the facial images.
type Content<'a> = (Option<Mrz>, Vec<Portrait<'a>>);

impl<'e, 'a> Run<'e, 'a> {
    fn new(
        evidence: &'e DocumentEvidence<'a>,
        trust: &'e TrustStore,
        policy: &'e Policy,
        at: UnixTime,
        complete: bool,
    ) -> Self {
        let report = Report {
            gates: Gates::not_run(),
            revocation_status: RevocationStatus::Unknown,
            deviations: Vec::new(),
            reason: None,
            signing_time: SigningTimeSource::NotDetermined,
            signer_status: None,
            document_expired: None,
            lds_version: None,
            digest_algorithm: None,
            signature_algorithm: None,
            chip_authentication_terminal: evidence.chip_authentication.as_ref().map(ChipTranscript::terminal),
        };
        Run {
            evidence,
            trust,
            policy,
            at,
            complete,
            report,
            deviations: DeviationSet::EMPTY,
            mrz: None,
            mrz_deviations: DeviationSet::EMPTY,
            signer: None,
            content: (None, Vec::new()),
        }
    }

    fn run(self) -> Verification<'a> {
        self.finish(Self::gates)
    }

    fn finish(mut self, gates: impl FnOnce(&mut Self) -> Result<(), Reason>) -> Verification<'a> {
        if let Err(reason) = gates(&mut self) {
            // A gate below passive authentication does not unsay whose document it is, nor one of the chip what is in it.
            self.set_gate(reason.gate(), GateResult::Failed);
            self.report.reason = Some(reason);
        }
        self.report.deviations = self.deviations.iter().collect();
        let (mrz, portraits) = self.content;
        let mut portraits = portraits.into_iter();
        Verification {
            report: self.report,
            mrz,
            portrait: portraits.next(),
            further_portraits: portraits.collect(),
            signer: self.signer,
        }
    }

    fn gates(&mut self) -> Result<(), Reason> {
        self.evidence_format()?;
        self.report.gates.evidence_format = GateResult::Passed;

        let lds = self.passive_authentication()?;
        self.report.gates.passive_authentication.result = GateResult::Passed;

        self.content = self.read_content()?;

        let options = match self.evidence.dg14 {
            // What a DG14 offers that cannot be read is unknown, and is not taken for nothing: a
            // caller that requires chip authentication must still miss it.
            Some(dg14) => SecurityOptions::parse(dg14).unwrap_or(SecurityOptions {
                active_authentication_digest: NamedDigest::Unknown,
                chip_authentication: true,
            }),
            None => SecurityOptions::default(),
        };
        self.report.gates.active_authentication = self.active_authentication(&lds, &options)?;
        self.report.gates.chip_authentication = self.chip_authentication(&lds, &options)?;
        Ok(())
    }

    /// The gates of [`verify_again`].
    fn again(&mut self, kept: &DocumentSigner) -> Result<(), Reason> {
        self.report.gates.evidence_format = GateResult::Passed;
        let signer = self.trust.signer(&kept.certificate).ok_or(Reason::SignerCertificateNotFound)?;
        self.report.signer_status = Some(signer.certificate.status(self.at));
        self.read_zone(kept.signed_at);
        let chain = match &signer.chain {
            Ok(_) => self.chain(&signer, kept.signed_at),
            Err(reason) => Err(*reason),
        };
        self.report.gates.passive_authentication.chain = passed(&chain);
        let revocation = self.revocation(&signer);
        chain.and(revocation)?;
        self.report.gates.passive_authentication.result = GateResult::Passed;
        self.signer = Some(kept.clone());
        self.content = self.read_content()?;
        Ok(())
    }

    // -- document data

    /// DG1 as far as it was read, and DG2.
    fn read_content(&mut self) -> Result<Content<'a>, Reason> {
        let mrz = self.mrz.take().transpose()?;
        self.note(self.mrz_deviations)?;
        let portraits = match self.evidence.dg2 {
            Some(dg2) => {
                let (portraits, deviations) = dg2::parse_all(dg2)?;
                self.note(deviations)?;
                portraits
            }
            None => Vec::new(),
        };
        if self.complete && mrz.is_none() {
            return Err(Reason::MrzMalformed);
        }
        if self.complete && portraits.is_empty() {
            return Err(Reason::PortraitAbsent);
        }
        if mrz.is_some() || !portraits.is_empty() {
            self.report.gates.document_data = GateResult::Passed;
        }
        Ok((mrz, portraits))
    }

    /// Reads DG1, whose dates decide about the chain too.
    fn read_zone(&mut self, signed: Option<UnixTime>) {
        if let Some(dg1) = self.evidence.dg1 {
            self.mrz = Some(parse_dg1(dg1, self.at, signed).map(|(mrz, deviations)| {
                self.report.document_expired = Some(self.at >= mrz.date_of_expiry.end());
                self.mrz_deviations = deviations;
                mrz
            }));
        }
    }

    // -- evidence format

    fn evidence_format(&self) -> Result<(), Reason> {
        let evidence = self.evidence;
        let parts = [
            (Part::Sod, Some(evidence.sod), MAX_PART),
            (Part::Dg1, evidence.dg1, MAX_PART),
            (Part::Dg2, evidence.dg2, MAX_DG2),
            (Part::Dg14, evidence.dg14, MAX_PART),
            (Part::Dg15, evidence.dg15, MAX_PART),
            (Part::CardSecurity, evidence.card_security, MAX_PART),
        ];
        for (part, bytes, limit) in parts {
            if let Some(bytes) = bytes {
                outer_tlv(part, bytes, limit)?;
            }
        }
        Ok(())
    }

    // -- passive authentication

    /// Everything below is computed as far as it can be, so that the report says which parts
    /// hold; the reason is that of the first part that does not.
    fn passive_authentication(&mut self) -> Result<LdsDigest, Reason> {
        let fail_structure = |run: &mut Self, reason| {
            run.report.gates.passive_authentication.signature = GateResult::Failed;
            Err(reason)
        };

        let data = match sod::parse(self.evidence.sod) {
            Ok(data) => data,
            Err(reason) => return fail_structure(self, reason),
        };
        let lds = match LdsSecurityObject::parse(&data.content) {
            Ok(lds) => lds,
            Err(reason) => return fail_structure(self, reason),
        };
        self.report.lds_version = Some(lds.version);
        self.report.digest_algorithm = Some(lds.digest.name());
        let structure = self.note(data.deviations);

        let (candidate, mut chain) = match sod::verify_signature(&data, self.trust, self.policy) {
            SignatureOutcome::Trusted(candidate) => (candidate, Ok(())),
            SignatureOutcome::Untrusted(candidate, reason) => (candidate, Err(reason)),
            SignatureOutcome::Failed(reason) => return fail_structure(self, structure.err().unwrap_or(reason)),
        };
        self.report.signature_algorithm = candidate
            .signer
            .certificate
            .key
            .as_ref()
            .ok()
            .map(|key| format!("{}/{}", candidate.verified.scheme.describe(), key.key().describe()));
        let signature = structure.and(self.note(candidate.verified.deviations));
        self.report.gates.passive_authentication.signature = passed(&signature);

        let hashes = self.data_group_hashes(&lds);
        if hashes.is_ok() {
            self.read_zone(candidate.signing_time);
        }
        self.report.signer_status = Some(candidate.signer.certificate.status(self.at));
        if chain.is_ok() {
            chain = self.chain(&candidate.signer, candidate.signing_time);
        }
        self.report.gates.passive_authentication.chain = passed(&chain);
        let revocation = self.revocation(&candidate.signer);
        signature.and(chain).and(revocation).and(hashes)?;
        self.signer = Some(DocumentSigner {
            certificate: candidate.signer.certificate.der().to_vec(),
            signed_at: candidate.signing_time,
        });
        Ok(LdsDigest {
            active_authentication_key: lds.hash(15).is_some(),
            security_options: lds.hash(14).is_some(),
            expiry: self.mrz.as_ref().and_then(|mrz| mrz.as_ref().ok()).map(|mrz| mrz.date_of_expiry),
            signer_country: candidate.signer.chain.as_ref().ok().map(|chain| chain.country.clone()),
        })
    }

    /// Declared groups must be supplied, supplied groups declared, and every hash right.
    fn data_group_hashes(&mut self, lds: &LdsSecurityObject<'_>) -> Result<(), Reason> {
        let evidence = self.evidence;
        let groups = [
            (Part::Dg1, 1, evidence.dg1),
            (Part::Dg2, 2, evidence.dg2),
            (Part::Dg14, 14, evidence.dg14),
            (Part::Dg15, 15, evidence.dg15),
        ];
        let mut result = Ok(());
        for (part, number, bytes) in groups {
            let found = match (lds.hash(number), bytes) {
                (Some(hash), Some(bytes)) if lds.digest.compute(&[bytes]).as_ref() == hash => Ok(()),
                (Some(_), Some(_)) => Err(Reason::DataGroupHashMismatch(part)),
                (Some(_), None) if self.complete => Err(Reason::DataGroupMissing(part)),
                (None, Some(_)) => Err(Reason::DataGroupNotDeclared(part)),
                (_, None) => Ok(()),
            };
            result = result.and(found);
        }
        let any = groups.iter().any(|(_, _, bytes)| bytes.is_some());
        self.report.gates.passive_authentication.data_group_hashes = match (&result, any) {
            (Ok(()), false) => GateResult::NotRun,
            (Ok(()), true) => GateResult::Passed,
            (Err(_), _) => GateResult::Failed,
        };
        result
    }

    /// What the store's chain leaves to be judged per document: time of signing and country.
    fn chain(&mut self, signer: &Signer, signed: Option<UnixTime>) -> Result<(), Reason> {
        let Ok(chain) = &signer.chain else {
            return Err(Reason::ChainNotTrusted);
        };
        let mut deviations = chain.deviations;
        if let Some(Ok(mrz)) = &self.mrz {
            match country::compare_with_mrz(&chain.country, &mrz.issuing_state) {
                CountryMatch::Equal => {}
                CountryMatch::Alias => deviations.insert(Deviation::CountryAlias),
                CountryMatch::Different => return Err(Reason::IssuingStateMismatch),
            }
        }
        self.signing_time(signer, signed)?;
        self.note(deviations)
    }

    /// A signer's certificate must have been valid when it signed, not today: documents outlive
    /// their signers' certificates by years.
    fn signing_time(&mut self, signer: &Signer, signed: Option<UnixTime>) -> Result<(), Reason> {
        let certificate = &signer.certificate;
        let expiry = match &self.mrz {
            Some(Ok(mrz)) => Some(mrz.date_of_expiry),
            _ => None,
        };
        if let Some(signed) = signed {
            self.report.signing_time = SigningTimeSource::SignedAttribute;
            if signed > self.at || expiry.is_some_and(|expiry| signed >= expiry.end()) {
                return Err(Reason::SigningTimeImplausible);
            }
            if signed < certificate.not_before || certificate.not_after < signed {
                return Err(Reason::SignedOutsideValidity);
            }
        } else if let Some(expiry) = expiry {
            self.report.signing_time = SigningTimeSource::ExpiryWindow;
            let (earliest, latest) = signing_window(expiry, self.at);
            if certificate.not_after < earliest || latest < certificate.not_before {
                return Err(Reason::SignedOutsideValidity);
            }
        }
        Ok(())
    }

    fn revocation(&mut self, signer: &Signer) -> Result<(), Reason> {
        let status = match &signer.chain {
            Ok(chain) => self.trust.revocation(chain, self.at),
            Err(_) => return Ok(()),
        };
        self.report.revocation_status = status;
        let (result, gate) = match status {
            RevocationStatus::VerifiedNotRevoked => (Ok(()), GateResult::Passed),
            RevocationStatus::Revoked => (Err(Reason::CertificateRevoked), GateResult::Failed),
            RevocationStatus::Unknown if self.policy.unknown_revocation_fails => {
                (Err(Reason::RevocationUnknown), GateResult::Failed)
            }
            RevocationStatus::Unknown => (Ok(()), GateResult::NotRun),
        };
        self.report.gates.passive_authentication.revocation = gate;
        result
    }

    // -- chip

    fn active_authentication(&mut self, lds: &LdsDigest, options: &SecurityOptions) -> Result<GateResult, Reason> {
        let answer = self.evidence.active_authentication.as_ref();
        match (lds.active_authentication_key, self.evidence.dg15, answer) {
            (false, _, None) => Ok(GateResult::NotApplicable),
            (false, _, Some(_)) => Err(Reason::ActiveAuthenticationUnbound),
            (true, Some(dg15), Some(answer)) => {
                let key = security_options::active_authentication_key(dg15)
                    .map_err(|_| Reason::ActiveAuthenticationKeyInvalid)?;
                // Refused here, such a deviation is the chip key's and not the SOD's.
                self.note(key.deviations).map_err(|_| Reason::ActiveAuthenticationKeyInvalid)?;
                let digest = options.active_authentication_digest;
                let deviations = active_authentication::verify(key.key, answer, digest)?;
                self.note(deviations)?;
                Ok(GateResult::Passed)
            }
            (true, None, Some(_)) => Err(Reason::ActiveAuthenticationUnbound),
            (true, _, None) if self.complete => Err(Reason::ActiveAuthenticationMissing),
            (true, _, None) => Ok(GateResult::NotRun),
        }
    }

    /// A transcript is never passed over, nor an EF.CardSecurity: what cannot be verified fails.
    fn chip_authentication(&mut self, lds: &LdsDigest, options: &SecurityOptions) -> Result<GateResult, Reason> {
        let card_security = match self.evidence.card_security {
            Some(file) => Some(self.card_security(file, lds)?),
            None => None,
        };
        let dg14 = self.evidence.dg14.filter(|_| lds.security_options);
        match (&self.evidence.chip_authentication, dg14) {
            (Some(transcript), Some(dg14)) => {
                let infos = card_security.as_ref().map(CardSecurity::security_infos).transpose()?;
                let deviations = chip_authentication::verify(dg14, infos.as_ref(), transcript)?;
                // Refused here, such a deviation is the chip key's and not the SOD's.
                self.note(deviations).map_err(|reason| match reason {
                    Reason::DeviationRefused(Deviation::CardSecurityKeyNotInDg14) => Reason::ChipAuthenticationUnbound,
                    _ => Reason::ChipAuthenticationKeyInvalid,
                })?;
                Ok(GateResult::Passed)
            }
            (Some(_), None) => Err(Reason::ChipAuthenticationUnbound),
            (None, None) if lds.security_options => Ok(GateResult::NotRun),
            (None, _) if options.chip_authentication => Ok(GateResult::NotRun),
            (None, _) => Ok(GateResult::NotApplicable),
        }
    }

    fn card_security(&mut self, file: &'a [u8], lds: &LdsDigest) -> Result<CardSecurity<'a>, Reason> {
        let expected = Expected { expiry: lds.expiry, country: lds.signer_country.as_deref() };
        let (outcome, deviations) = card_security::verify(file, self.trust, self.policy, self.at, &expected);
        // Whether the policy refuses one is said by the outcome.
        self.deviations = self.deviations.union(deviations);
        outcome.map_err(Reason::CardSecurity)
    }

    // -- report

    /// Reports deviations, and fails when the policy refuses one.
    fn note(&mut self, deviations: DeviationSet) -> Result<(), Reason> {
        self.deviations = self.deviations.union(deviations);
        match deviations.iter().find(|deviation| !self.policy.accepted.contains(*deviation)) {
            Some(refused) => Err(Reason::DeviationRefused(refused)),
            None => Ok(()),
        }
    }

    fn set_gate(&mut self, gate: Gate, result: GateResult) {
        let gates = &mut self.report.gates;
        match gate {
            Gate::EvidenceFormat => gates.evidence_format = result,
            Gate::PassiveAuthentication => gates.passive_authentication.result = result,
            Gate::DocumentData => gates.document_data = result,
            Gate::ActiveAuthentication => gates.active_authentication = result,
            Gate::ChipAuthentication => gates.chip_authentication = result,
        }
    }
}

fn passed(result: &Result<(), Reason>) -> GateResult {
    if result.is_ok() { GateResult::Passed } else { GateResult::Failed }
}

/// What the gates of the chip need of passive authentication.
struct LdsDigest {
    active_authentication_key: bool,
    security_options: bool,
    expiry: Option<Date>,
    signer_country: Option<String>,
}

/// One element with the tag of its file, and nothing after it.
fn outer_tlv(part: Part, bytes: &[u8], limit: usize) -> Result<(), Reason> {
    if bytes.len() > limit {
        return Err(Reason::PartTooLarge(part));
    }
    let expected = match part {
        Part::Sod => Tag::SOD,
        Part::Dg1 => Tag::DG1,
        Part::Dg2 => Tag::DG2,
        Part::Dg14 => Tag::DG14,
        Part::Dg15 => Tag::DG15,
        Part::CardSecurity => Tag::SEQUENCE,
    };
    let mut reader = Reader::new(bytes);
    match reader.next() {
        // The SOD may come without its wrapper.
        Ok(tlv) if tlv.tag == expected || (part == Part::Sod && tlv.tag == Tag::SEQUENCE) => {}
        _ => return Err(Reason::PartMalformed(part)),
    }
    match reader.finish() {
        Ok(()) => Ok(()),
        Err(Asn1Error::Trailing) => Err(Reason::PartTrailingData(part)),
        Err(_) => Err(Reason::PartMalformed(part)),
    }
}

/// When a document of this expiry can have been signed: it is valid for at most ten years, and
/// states issue up to nine months ahead when they add the rest of an old document's validity.
pub(crate) fn signing_window(expiry: Date, at: UnixTime) -> (UnixTime, UnixTime) {
    let months = i32::from(expiry.year) * 12 + i32::from(expiry.month) - 1 - 10 * 12 - 9;
    let year = u16::try_from(months.div_euclid(12)).unwrap_or(0);
    let month = months.rem_euclid(12) as u8 + 1;
    // A day that the month does not have runs into the next: three days at most.
    let earliest = Date { year, month, day: 1 }.start().0 + i64::from(expiry.day - 1) * 86_400;
    (UnixTime(earliest), expiry.end().min(at))
}
