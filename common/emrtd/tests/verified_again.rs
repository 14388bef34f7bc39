//! A document judged once more without its SOD: what can have changed since, and nothing else.
#![allow(clippy::unwrap_used, missing_docs)]

mod mint;

use mint::*;
use proofmill_emrtd::{
    DocumentEvidence, DocumentSigner, Gate, GateResult, KeptDocument, Policy, Reason, RevocationStatus, TrustStore,
    TrustStoreBuilder, UnixTime, Verification, verify, verify_again,
};

/// 2026-06-15T12:00:00Z
const NOW: UnixTime = UnixTime(1_781_524_800);
const DAY: i64 = 86_400;

struct Kept {
    csca: Certificate,
    dg1: Vec<u8>,
    dg2: Vec<u8>,
    signer: DocumentSigner,
}

fn trust(csca: Option<&Certificate>, crls: &[Crl]) -> TrustStore {
    let mut builder = TrustStoreBuilder::new();
    if let Some(csca) = csca {
        builder.add_csca(&csca.der(), "test").unwrap();
    }
    for crl in crls {
        builder.add_crl(&crl.der(), "test").unwrap();
    }
    builder.build(1)
}

/// Verified whole.
fn kept() -> Kept {
    let csca = Certificate::csca("UT", &p256(1));
    let dsc = Certificate::dsc("UT", &p256(2), &p256(1));
    let (dg1, dg2) = (dg1("UTO", "740812", "330101"), dg2(JPEG));
    let sod = Sod::new(&dsc, &[(1, &dg1), (2, &dg2)]).der();
    let evidence = DocumentEvidence { sod: &sod, dg1: Some(&dg1), dg2: Some(&dg2), ..DocumentEvidence::default() };
    let verified = verify(&evidence, &trust(Some(&csca), &[crl(&[])]), &Policy::default(), NOW);
    assert_eq!(verified.report.reason, None);
    let signer = verified.signer.unwrap();
    assert_eq!(signer.certificate, dsc.der());
    assert!(signer.signed_at.is_some());
    Kept { csca, dg1, dg2, signer }
}

impl Kept {
    fn again(&self, trust: &TrustStore, policy: &Policy, at: UnixTime) -> Verification<'_> {
        verify_again(&KeptDocument { dg1: &self.dg1, dg2: &self.dg2, signer: &self.signer }, trust, policy, at)
    }
}

#[test]
fn what_holds_still_holds_and_gives_the_same_data() {
    let kept = kept();
    let verified = kept.again(&trust(Some(&kept.csca), &[crl(&[])]), &Policy::default(), NOW);
    let report = &verified.report;
    assert_eq!((report.reason, report.revocation_status), (None, RevocationStatus::VerifiedNotRevoked));
    assert_eq!(report.document_expired, Some(false));
    let gates = &report.gates;
    assert_eq!(gates.evidence_format, GateResult::Passed);
    assert_eq!((gates.passive_authentication.result, gates.document_data), (GateResult::Passed, GateResult::Passed));
    // Nothing is claimed of what was not looked at.
    assert_eq!(gates.passive_authentication.signature, GateResult::NotRun);
    assert_eq!(gates.passive_authentication.data_group_hashes, GateResult::NotRun);
    assert_eq!((gates.active_authentication, gates.chip_authentication), (GateResult::NotRun, GateResult::NotRun));
    assert_eq!(verified.mrz.unwrap().primary_identifier, "ERIKSSON");
    assert_eq!(verified.portrait.unwrap().image, JPEG);
    assert!(verified.signer == Some(kept.signer.clone()));
}

#[test]
fn a_signer_that_was_revoked_or_is_trusted_no_more_fails_passive_authentication() {
    let kept = kept();
    let signer: &[u8] = &[0x10, 0x01];
    let strict = Policy { unknown_revocation_fails: true, ..Policy::default() };
    let failed = |trust: TrustStore, policy: &Policy| {
        let verified = kept.again(&trust, policy, NOW);
        assert!(verified.mrz.is_none() && verified.portrait.is_none() && verified.signer.is_none());
        assert_eq!(verified.report.failed_gate(), Some(Gate::PassiveAuthentication));
        assert_eq!(verified.report.gates.document_data, GateResult::NotRun);
        verified.report
    };
    let report = failed(trust(Some(&kept.csca), &[crl(&[signer])]), &Policy::default());
    assert_eq!(
        (report.reason, report.revocation_status),
        (Some(Reason::CertificateRevoked), RevocationStatus::Revoked)
    );
    let report = failed(trust(Some(&kept.csca), &[]), &strict);
    assert_eq!(report.reason, Some(Reason::RevocationUnknown));
    let report = failed(trust(None, &[]), &Policy::default());
    assert_eq!(report.reason, Some(Reason::ChainNotTrusted));
    let stranger = Certificate::csca("UT", &p256(9));
    let report = failed(trust(Some(&stranger), &[]), &Policy::default());
    assert_eq!(report.reason, Some(Reason::ChainNotTrusted));
    let lenient = Policy { unknown_revocation_fails: false, ..Policy::default() };
    let verified = kept.again(&trust(Some(&kept.csca), &[]), &lenient, NOW);
    assert_eq!((verified.report.reason, verified.report.revocation_status), (None, RevocationStatus::Unknown));
}

#[test]
fn dates_are_those_of_the_day() {
    let kept = kept();
    let trust = trust(Some(&kept.csca), &[]);
    // 2033-01-01 and the day after it.
    let last_day = UnixTime(1_988_150_400);
    let expired = |at| kept.again(&trust, &Policy::default(), at).report.document_expired;
    assert_eq!(expired(last_day), Some(false));
    assert_eq!(expired(UnixTime(last_day.0 + DAY)), Some(true));
}

#[test]
fn a_signer_that_is_no_certificate_is_no_signer() {
    let mut kept = kept();
    kept.signer.certificate = b"\x30\x03\x02\x01\x01".to_vec();
    let verified = kept.again(&trust(Some(&kept.csca), &[]), &Policy::default(), NOW);
    assert_eq!(verified.report.reason, Some(Reason::SignerCertificateNotFound));
    // Nor is the authority itself one.
    kept.signer.certificate = kept.csca.der();
    let verified = kept.again(&trust(Some(&kept.csca), &[]), &Policy::default(), NOW);
    assert_eq!(verified.report.reason, Some(Reason::SignerCertificateUsage));
}
