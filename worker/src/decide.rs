//! From gate results, policy and face verdict to an outcome: a pure function, the only place that decides.
//!
//! The gates stand in their published order and the first failing one decides; those after it are reported as not run,
//! whether or not they were computed. A gate that must hold and was not run counts as failed: what was not checked is
//! never accepted.

use proofmill_contract::policy::{Demand, Tolerance};
use proofmill_contract::{Checks, FailureCode, Gate, OrganisationPolicy, Outcome, RevocationStatus, Terminal};
use proofmill_emrtd::{GateResult, Report, RevocationStatus as Revocation, Terminal as ChipTerminal};
use proofmill_face::FaceVerdict;

use crate::attestation::Attestation;

/// What was decided of one attempt, and what it may say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Accepted, or the first failing gate's code.
    pub outcome: Outcome,
    /// Every gate's result; no score, no document data.
    pub checks: Checks,
}

/// What the document gates left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentDecision {
    /// A document gate failed: the attempt never reaches the face stage.
    Rejected(Decision),
    /// A gate failed that stands behind the document's content. To that belongs a portrait that somebody can be compared
    /// with, so that the portrait is judged first, and this is what holds if it is one.
    RejectedUnlessPortrait(Decision),
    /// Every document gate held: the faces decide.
    Faces(Checks),
}

/// Whether the chip that was submitted is the one with which the server's terminal of chip authentication began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalBinding {
    /// It is, or none began.
    Holds,
    /// The submission has another DG14, or none.
    Broken,
}

/// Decides the document gates, the reader's statement last of them.
pub fn document(
    report: &Report,
    terminal: TerminalBinding,
    attestation: &Attestation,
    policy: &OrganisationPolicy,
) -> DocumentDecision {
    let gates = &report.gates;
    let mut checks = Checks {
        revocation_status: match report.revocation_status {
            Revocation::VerifiedNotRevoked => RevocationStatus::VerifiedNotRevoked,
            Revocation::Revoked => RevocationStatus::Revoked,
            Revocation::Unknown => RevocationStatus::RevocationUnknown,
        },
        chip_authentication_terminal: report.chip_authentication_terminal.map(|terminal| match terminal {
            ChipTerminal::Server => Terminal::Server,
            ChipTerminal::Integrator => Terminal::Integrator,
        }),
        deviations: report.deviations.iter().map(|deviation| deviation.name().to_owned()).collect(),
        ..Checks::default()
    };

    let revocation = match (report.revocation_status, policy.unknown_revocation) {
        (Revocation::Revoked, _) => Some("certificate_revoked"),
        (Revocation::Unknown, Tolerance::Reject) => Some("revocation_unknown"),
        _ => None,
    };
    let expiry = match (report.document_expired, policy.expired_documents) {
        (Some(true), Tolerance::Reject) => Some("document_expired"),
        _ => None,
    };
    let undeclared_ca =
        gates.chip_authentication == GateResult::NotRun && policy.chip_authentication == Demand::Required;
    let chip = match terminal {
        TerminalBinding::Broken => Some("chip_authentication_dg14_mismatch"),
        TerminalBinding::Holds => undeclared_ca.then_some("chip_authentication_missing"),
    };

    // Each gate: its result, what policy and attempt add to it, the code of its failure, where it is reported.
    type Slot = fn(&mut Checks) -> &mut Gate;
    let steps: [(GateResult, Need, Option<&str>, FailureCode, Slot); 5] = [
        (gates.evidence_format, Need::MustPass, None, FailureCode::DocumentAuthenticityFailed, |c| {
            &mut c.evidence_format
        }),
        (
            gates.passive_authentication.result,
            Need::MustPass,
            revocation,
            FailureCode::DocumentAuthenticityFailed,
            |c| &mut c.passive_authentication,
        ),
        (gates.document_data, Need::MustPass, expiry, FailureCode::DocumentDataInvalid, |c| &mut c.document_data),
        (
            gates.active_authentication,
            Need::PassIfApplicable,
            None,
            FailureCode::DocumentActiveAuthenticationFailed,
            |c| &mut c.active_authentication,
        ),
        (gates.chip_authentication, Need::PassIfSupplied, chip, FailureCode::DocumentChipAuthenticationFailed, |c| {
            &mut c.chip_authentication
        }),
    ];
    for (result, need, demanded, code, slot) in steps {
        let reason = if need.holds(result) {
            match demanded {
                None => {
                    *slot(&mut checks) = reported(result);
                    continue;
                }
                Some(reason) => reason.to_owned(),
            }
        } else if result == GateResult::Failed {
            report.reason.map_or_else(|| "gate_failed".to_owned(), |reason| reason.to_string())
        } else {
            "gate_not_run".to_owned()
        };
        let behind_content = checks.document_data == Gate::Passed;
        *slot(&mut checks) = Gate::Failed;
        checks.reason = Some(reason);
        let decision = Decision { outcome: Outcome::Rejected(code), checks };
        return match behind_content {
            true => DocumentDecision::RejectedUnlessPortrait(decision),
            false => DocumentDecision::Rejected(decision),
        };
    }

    // Supplied, it is always verified, and a failure always rejects.
    let (gate, reason) = match (attestation, policy.reader_attestation) {
        (Attestation::Holds(_), _) => (Gate::Passed, None),
        (Attestation::NotSupplied, Demand::Off) => (Gate::NotApplicable, None),
        (Attestation::NotVerified, Demand::Off) => (Gate::NotRun, None),
        (Attestation::NotSupplied, Demand::Required) => (Gate::Failed, Some("reader_attestation_missing")),
        (Attestation::NotVerified, Demand::Required) => (Gate::Failed, Some("reader_attestation_not_verified")),
        (Attestation::Fails(reason), _) => (Gate::Failed, Some(*reason)),
    };
    checks.reader_attestation = gate;
    if let Some(reason) = reason {
        checks.reason = Some(reason.to_owned());
        let outcome = Outcome::Rejected(FailureCode::DocumentAntiCloningAttestationFailed);
        return DocumentDecision::RejectedUnlessPortrait(Decision { outcome, checks });
    }
    DocumentDecision::Faces(checks)
}

/// Decides liveness and face match, for an attempt whose document gates held. `face_model` names the model pack and
/// operating point that judged.
pub fn faces(mut checks: Checks, verdict: &FaceVerdict, face_model: &str) -> Decision {
    checks.face_model = Some(face_model.to_owned());
    let outcome = match verdict {
        FaceVerdict::Match => {
            checks.liveness = Gate::Passed;
            checks.face_match = Gate::Passed;
            Outcome::Accepted
        }
        FaceVerdict::Mismatch => {
            checks.liveness = Gate::Passed;
            checks.face_match = Gate::Failed;
            checks.reason = Some("face_mismatch".to_owned());
            Outcome::Rejected(FailureCode::SelfieFaceMismatch)
        }
        FaceVerdict::LivenessFailed(reason) => {
            checks.liveness = Gate::Failed;
            checks.reason = Some(reason.as_str().to_owned());
            Outcome::Rejected(FailureCode::LivenessFailed)
        }
        FaceVerdict::PortraitUnusable(reason) => return portrait_unusable(checks, reason.as_str()),
    };
    Decision { outcome, checks }
}

/// A portrait that nobody can be compared with fails the content of the document, whatever came after that gate.
pub fn portrait_unusable(mut checks: Checks, reason: &str) -> Decision {
    checks.document_data = Gate::Failed;
    checks.active_authentication = Gate::NotRun;
    checks.chip_authentication = Gate::NotRun;
    checks.reader_attestation = Gate::NotRun;
    checks.reason = Some(format!("portrait_{reason}"));
    Decision { outcome: Outcome::Rejected(FailureCode::DocumentDataInvalid), checks }
}

/// Document content that the claims cannot be made of.
pub fn content_unusable(mut checks: Checks, reason: &str) -> Decision {
    checks.document_data = Gate::Failed;
    checks.active_authentication = Gate::NotRun;
    checks.chip_authentication = Gate::NotRun;
    checks.reader_attestation = Gate::NotRun;
    checks.reason = Some(reason.to_owned());
    Decision { outcome: Outcome::Rejected(FailureCode::DocumentDataInvalid), checks }
}

/// What a gate's result must be for the attempt to go on.
#[derive(Clone, Copy)]
enum Need {
    MustPass,
    /// The document may lack what the gate checks.
    PassIfApplicable,
    /// Nothing may have been supplied to check.
    PassIfSupplied,
}

impl Need {
    fn holds(self, result: GateResult) -> bool {
        match result {
            GateResult::Passed => true,
            GateResult::Failed => false,
            GateResult::NotApplicable => !matches!(self, Need::MustPass),
            GateResult::NotRun => matches!(self, Need::PassIfSupplied),
        }
    }
}

fn reported(result: GateResult) -> Gate {
    match result {
        GateResult::Passed => Gate::Passed,
        GateResult::Failed => Gate::Failed,
        GateResult::NotApplicable => Gate::NotApplicable,
        GateResult::NotRun => Gate::NotRun,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofmill_contract::{ReaderKeyId, Timestamp};
    use proofmill_emrtd::{Gates, Part, PassiveAuthentication, Reason, SigningTimeSource};
    use proofmill_face::FaceReason;

    use FailureCode as Code;
    use GateResult::{Failed, NotApplicable, NotRun, Passed};

    /// A report of a genuine document without chip protocols.
    fn genuine() -> Report {
        Report {
            gates: Gates {
                evidence_format: Passed,
                passive_authentication: PassiveAuthentication {
                    result: Passed,
                    signature: Passed,
                    chain: Passed,
                    revocation: Passed,
                    data_group_hashes: Passed,
                },
                document_data: Passed,
                active_authentication: NotApplicable,
                chip_authentication: NotApplicable,
            },
            revocation_status: Revocation::VerifiedNotRevoked,
            deviations: Vec::new(),
            reason: None,
            signing_time: SigningTimeSource::SignedAttribute,
            signer_status: None,
            document_expired: Some(false),
            lds_version: Some(1),
            digest_algorithm: None,
            signature_algorithm: None,
            chip_authentication_terminal: None,
        }
    }

    fn with(change: impl FnOnce(&mut Report)) -> Report {
        let mut report = genuine();
        change(&mut report);
        report
    }

    fn rejected(report: &Report, policy: &OrganisationPolicy) -> (Code, Checks) {
        refused(document(report, TerminalBinding::Holds, &Attestation::NotSupplied, policy))
    }

    /// What was decided against the document, which waits for the portrait exactly where its gate stands behind the content.
    fn refused(decided: DocumentDecision) -> (Code, Checks) {
        let (decision, waits) = match decided {
            DocumentDecision::Rejected(decision) => (decision, false),
            DocumentDecision::RejectedUnlessPortrait(decision) => (decision, true),
            DocumentDecision::Faces(checks) => panic!("{checks:?}"),
        };
        let Outcome::Rejected(code) = decision.outcome else { panic!("{decision:?}") };
        let behind = [
            Code::DocumentActiveAuthenticationFailed,
            Code::DocumentChipAuthenticationFailed,
            Code::DocumentAntiCloningAttestationFailed,
        ];
        assert_eq!(waits, behind.contains(&code), "{code:?}");
        (code, decision.checks)
    }

    fn continues(report: &Report, policy: &OrganisationPolicy) -> Checks {
        match document(report, TerminalBinding::Holds, &Attestation::NotSupplied, policy) {
            DocumentDecision::Faces(checks) => checks,
            other => panic!("{other:?}"),
        }
    }

    /// Fails one gate of a report.
    type Break = fn(&mut Report);

    /// Where a gate is reported.
    type Reported = fn(&Checks) -> Gate;

    /// The document gates in their published order: how each fails, its code, and where it is reported.
    const ORDER: [(Break, Code, Reported); 5] = [
        (|r| r.gates.evidence_format = Failed, Code::DocumentAuthenticityFailed, |c| c.evidence_format),
        (
            |r| r.gates.passive_authentication.result = Failed,
            Code::DocumentAuthenticityFailed,
            |c| c.passive_authentication,
        ),
        (|r| r.gates.document_data = Failed, Code::DocumentDataInvalid, |c| c.document_data),
        (
            |r| r.gates.active_authentication = Failed,
            Code::DocumentActiveAuthenticationFailed,
            |c| c.active_authentication,
        ),
        (|r| r.gates.chip_authentication = Failed, Code::DocumentChipAuthenticationFailed, |c| c.chip_authentication),
    ];

    #[test]
    fn the_first_failing_gate_decides_whatever_fails_after_it() {
        let policy = OrganisationPolicy::default();
        for first in 0..ORDER.len() {
            // Every set of later failures.
            for later in 0..1u32 << (ORDER.len() - first - 1) {
                let report = with(|report| {
                    ORDER[first].0(report);
                    for (offset, gate) in ORDER[first + 1..].iter().enumerate() {
                        if later & (1 << offset) != 0 {
                            gate.0(report);
                        }
                    }
                });
                let (code, checks) = rejected(&report, &policy);
                assert_eq!(code, ORDER[first].1, "gate {first}, later {later:b}");
                assert_eq!(ORDER[first].2(&checks), Gate::Failed);
                for gate in &ORDER[first + 1..] {
                    assert_eq!(gate.2(&checks), Gate::NotRun, "gate {first}, later {later:b}");
                }
                assert_eq!((checks.liveness, checks.face_match), (Gate::NotRun, Gate::NotRun));
            }
        }
    }

    #[test]
    fn a_gate_that_must_hold_and_was_not_run_is_never_accepted() {
        let policy = OrganisationPolicy::default();
        let skipped: [(Break, Code); 4] = [
            (|r| r.gates.evidence_format = NotRun, Code::DocumentAuthenticityFailed),
            (|r| r.gates.passive_authentication.result = NotRun, Code::DocumentAuthenticityFailed),
            (|r| r.gates.document_data = NotApplicable, Code::DocumentDataInvalid),
            (|r| r.gates.active_authentication = NotRun, Code::DocumentActiveAuthenticationFailed),
        ];
        for (skip, expected) in skipped {
            let (code, checks) = rejected(&with(skip), &policy);
            assert_eq!(code, expected);
            assert_eq!(checks.reason.as_deref(), Some("gate_not_run"));
        }
    }

    #[test]
    fn policy_decides_expiry_revocation_and_chip_authentication() {
        use proofmill_contract::policy::{Demand, Tolerance};
        let strict = OrganisationPolicy::default();

        let expired = with(|r| r.document_expired = Some(true));
        let (code, checks) = rejected(&expired, &strict);
        assert_eq!((code, checks.reason.as_deref()), (Code::DocumentDataInvalid, Some("document_expired")));
        assert_eq!(checks.passive_authentication, Gate::Passed);
        let lenient = OrganisationPolicy { expired_documents: Tolerance::Accept, ..strict.clone() };
        continues(&expired, &lenient);

        let unknown = with(|r| r.revocation_status = Revocation::Unknown);
        let (code, checks) = rejected(&unknown, &strict);
        assert_eq!((code, checks.reason.as_deref()), (Code::DocumentAuthenticityFailed, Some("revocation_unknown")));
        assert_eq!(
            continues(&unknown, &OrganisationPolicy::sandbox()).revocation_status,
            RevocationStatus::RevocationUnknown
        );

        // Revoked is revoked, whatever an organisation lets through.
        let revoked = with(|r| r.revocation_status = Revocation::Revoked);
        assert_eq!(rejected(&revoked, &OrganisationPolicy::sandbox()).0, Code::DocumentAuthenticityFailed);

        // NotRun: DG14 declares it and no transcript was supplied.
        let absent = with(|r| r.gates.chip_authentication = NotRun);
        assert_eq!(continues(&absent, &strict).chip_authentication, Gate::NotRun);
        let demanding = OrganisationPolicy { chip_authentication: Demand::Required, ..strict.clone() };
        assert_eq!(rejected(&absent, &demanding).0, Code::DocumentChipAuthenticationFailed);
        continues(&genuine(), &demanding);
        // An integrator's transcript is there, and right: no absence. Whose it is, is reported.
        for (theirs, reported) in
            [(ChipTerminal::Integrator, Terminal::Integrator), (ChipTerminal::Server, Terminal::Server)]
        {
            let present = with(|r| {
                r.gates.chip_authentication = Passed;
                r.chip_authentication_terminal = Some(theirs);
            });
            let checks = continues(&present, &demanding);
            assert_eq!(
                (checks.chip_authentication, checks.chip_authentication_terminal),
                (Gate::Passed, Some(reported))
            );
        }
        // Supplied and wrong rejects whatever the policy.
        let wrong = with(|r| {
            r.gates.chip_authentication = Failed;
            r.reason = Some(Reason::ChipAuthenticationInvalid);
            r.chip_authentication_terminal = Some(ChipTerminal::Integrator);
        });
        let (code, checks) = rejected(&wrong, &strict);
        assert_eq!(
            (code, checks.reason.as_deref()),
            (Code::DocumentChipAuthenticationFailed, Some("chip_authentication_invalid"))
        );

        let attested = OrganisationPolicy { reader_attestation: Demand::Required, ..strict };
        let (code, checks) = rejected(&genuine(), &attested);
        assert_eq!(code, Code::DocumentAntiCloningAttestationFailed);
        assert_eq!(checks.reader_attestation, Gate::Failed);
    }

    #[test]
    fn another_chip_than_our_terminal_began_with_fails_chip_authentication_whatever_the_policy() {
        let judge = |report: &Report, policy: &OrganisationPolicy| {
            refused(document(report, TerminalBinding::Broken, &Attestation::NotSupplied, policy))
        };
        let strict = OrganisationPolicy::default();
        let demanding = OrganisationPolicy { chip_authentication: Demand::Required, ..strict.clone() };
        for policy in [&strict, &demanding, &OrganisationPolicy::sandbox()] {
            // An integrator's transcript that holds, one that was not supplied, a document without DG14.
            for result in [Passed, NotRun, NotApplicable] {
                let (code, checks) = judge(&with(|r| r.gates.chip_authentication = result), policy);
                assert_eq!(code, Code::DocumentChipAuthenticationFailed, "{result:?}");
                assert_eq!(checks.reason.as_deref(), Some("chip_authentication_dg14_mismatch"), "{result:?}");
                assert_eq!(
                    (checks.chip_authentication, checks.active_authentication),
                    (Gate::Failed, Gate::NotApplicable)
                );
                assert_eq!((checks.reader_attestation, checks.liveness), (Gate::NotRun, Gate::NotRun));
            }
        }
        // A transcript that fails by itself, and a gate that comes before, say so.
        let invalid = with(|r| {
            r.gates.chip_authentication = Failed;
            r.reason = Some(Reason::ChipAuthenticationInvalid);
        });
        assert_eq!(judge(&invalid, &strict).1.reason.as_deref(), Some("chip_authentication_invalid"));
        for (fail, code, _) in ORDER {
            assert_eq!(judge(&with(fail), &strict).0, code);
        }
    }

    #[test]
    fn a_readers_statement_is_verified_whenever_there_is_one_and_missed_where_it_is_demanded() {
        use proofmill_contract::policy::Demand;
        let policy = |reader_attestation| OrganisationPolicy { reader_attestation, ..OrganisationPolicy::default() };
        let holds = || Attestation::Holds(ReaderKeyId::generate(Timestamp::from_secs(0), &mut rand::rng()));
        let table = [
            (Attestation::NotSupplied, Demand::Off, Ok(Gate::NotApplicable)),
            (Attestation::NotSupplied, Demand::Required, Err("reader_attestation_missing")),
            (Attestation::NotVerified, Demand::Off, Ok(Gate::NotRun)),
            (Attestation::NotVerified, Demand::Required, Err("reader_attestation_not_verified")),
            (holds(), Demand::Off, Ok(Gate::Passed)),
            (holds(), Demand::Required, Ok(Gate::Passed)),
            (Attestation::Fails("reader_attestation_expired"), Demand::Off, Err("reader_attestation_expired")),
            (Attestation::Fails("reader_attestation_expired"), Demand::Required, Err("reader_attestation_expired")),
        ];
        for (attestation, demand, expected) in table {
            let found = match document(&genuine(), TerminalBinding::Holds, &attestation, &policy(demand)) {
                DocumentDecision::Faces(checks) => Ok(checks.reader_attestation),
                decided => {
                    let (code, checks) = refused(decided);
                    assert_eq!(code, Code::DocumentAntiCloningAttestationFailed);
                    assert_eq!((checks.reader_attestation, checks.liveness), (Gate::Failed, Gate::NotRun));
                    Err(checks.reason.unwrap())
                }
            };
            assert_eq!(found, expected.map_err(str::to_owned), "{attestation:?} {demand:?}");
        }
        // It is the last of the document's gates: what fails before it decides.
        for (fail, code, _) in ORDER {
            let expired = Attestation::Fails("reader_attestation_expired");
            let decided = document(&with(fail), TerminalBinding::Holds, &expired, &policy(Demand::Required));
            let (found, checks) = refused(decided);
            assert_eq!((found, checks.reader_attestation), (code, Gate::NotRun));
        }
    }

    #[test]
    fn a_portrait_that_is_none_decides_before_the_gates_behind_it() {
        let report = with(|r| {
            r.gates.active_authentication = Failed;
            r.reason = Some(Reason::ActiveAuthenticationInvalid);
        });
        let (_, checks) = rejected(&report, &OrganisationPolicy::default());
        let decision = faces(checks, &FaceVerdict::PortraitUnusable(FaceReason::NoFace), "pack@1");
        assert_eq!(decision.outcome, Outcome::Rejected(Code::DocumentDataInvalid));
        assert_eq!(decision.checks.reason.as_deref(), Some("portrait_no_face"));
        assert_eq!(
            (decision.checks.document_data, decision.checks.active_authentication),
            (Gate::Failed, Gate::NotRun)
        );
    }

    #[test]
    fn an_expired_document_that_also_fails_active_authentication_is_expired_first() {
        let report = with(|r| {
            r.document_expired = Some(true);
            r.gates.active_authentication = Failed;
            r.reason = Some(Reason::ActiveAuthenticationInvalid);
        });
        let (code, checks) = rejected(&report, &OrganisationPolicy::default());
        assert_eq!((code, checks.reason.as_deref()), (Code::DocumentDataInvalid, Some("document_expired")));
        assert_eq!(checks.active_authentication, Gate::NotRun);
    }

    #[test]
    fn reasons_and_deviations_are_named() {
        let report = with(|r| {
            r.gates.passive_authentication.result = Failed;
            r.reason = Some(Reason::DataGroupHashMismatch(Part::Dg1));
            r.deviations = vec![proofmill_emrtd::Deviation::ContentTypeIdData];
        });
        let (_, checks) = rejected(&report, &OrganisationPolicy::default());
        assert_eq!(checks.reason.as_deref(), Some("data_group_hash_mismatch(dg1)"));
        assert_eq!(checks.deviations, vec!["content_type_id_data"]);
        let report = with(|r| {
            r.gates.evidence_format = Failed;
            r.reason = Some(Reason::SodMalformed);
        });
        assert_eq!(rejected(&report, &OrganisationPolicy::default()).1.reason.as_deref(), Some("sod_malformed"));
    }

    #[test]
    fn liveness_comes_before_the_face_match_and_the_portrait_before_both() {
        let open = || continues(&genuine(), &OrganisationPolicy::default());
        let table = [
            (FaceVerdict::Match, Outcome::Accepted, Gate::Passed, Gate::Passed, None),
            (
                FaceVerdict::Mismatch,
                Outcome::Rejected(Code::SelfieFaceMismatch),
                Gate::Passed,
                Gate::Failed,
                Some("face_mismatch"),
            ),
            (
                FaceVerdict::LivenessFailed(FaceReason::PortraitReplay),
                Outcome::Rejected(Code::LivenessFailed),
                Gate::Failed,
                Gate::NotRun,
                Some("portrait_replay"),
            ),
            (
                FaceVerdict::PortraitUnusable(FaceReason::NoFace),
                Outcome::Rejected(Code::DocumentDataInvalid),
                Gate::NotRun,
                Gate::NotRun,
                Some("portrait_no_face"),
            ),
        ];
        for (verdict, outcome, liveness, face_match, reason) in table {
            let decision = faces(open(), &verdict, "pack@1/fmr-1e-4");
            assert_eq!(decision.outcome, outcome);
            assert_eq!((decision.checks.liveness, decision.checks.face_match), (liveness, face_match), "{verdict:?}");
            assert_eq!(decision.checks.reason.as_deref(), reason);
            assert_eq!(decision.checks.face_model.as_deref(), Some("pack@1/fmr-1e-4"));
            let document =
                if matches!(verdict, FaceVerdict::PortraitUnusable(_)) { Gate::Failed } else { Gate::Passed };
            assert_eq!(decision.checks.document_data, document);
        }
    }
}
