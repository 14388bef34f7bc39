//! The state machines against the published page, written out.

mod life;
mod states;
mod table;

use super::*;

fn counters(nfc: u32, liveness: u32, rejected: u32) -> Counters {
    Counters { nfc_tries_used: nfc, liveness_tries_used: liveness, rejected_attempts: rejected }
}

/// The four kinds of outcome, each with all of its codes.
const KINDS: [(&str, &[Outcome]); 4] = [
    ("accepted", &[Outcome::Accepted]),
    (
        "chip or data",
        &[
            Outcome::Rejected(FailureCode::DocumentAuthenticityFailed),
            Outcome::Rejected(FailureCode::DocumentActiveAuthenticationFailed),
            Outcome::Rejected(FailureCode::DocumentChipAuthenticationFailed),
            Outcome::Rejected(FailureCode::DocumentDataInvalid),
        ],
    ),
    (
        "liveness or match",
        &[Outcome::Rejected(FailureCode::LivenessFailed), Outcome::Rejected(FailureCode::SelfieFaceMismatch)],
    ),
    ("hard kill", &[Outcome::Rejected(FailureCode::DocumentAntiCloningAttestationFailed)]),
];

/// Every outcome there is.
fn outcomes() -> impl Iterator<Item = Outcome> {
    KINDS.iter().flat_map(|(_, outcomes)| outcomes.iter().copied())
}

#[test]
fn the_kinds_hold_every_outcome_once() {
    let all: Vec<Outcome> = outcomes().collect();
    assert_eq!(all.len(), FailureCode::ALL.len() + 1);
    for &code in FailureCode::ALL {
        assert_eq!(all.iter().filter(|outcome| **outcome == Outcome::Rejected(code)).count(), 1, "{code}");
    }
}

#[test]
fn each_contract_has_its_words_for_a_failure() {
    let expected = [
        ("document_authenticity_failed", "passport_authenticity_failed"),
        ("document_active_authentication_failed", "passport_active_authentication_failed"),
        ("document_chip_authentication_failed", "passport_chip_authentication_failed"),
        ("document_anti_cloning_attestation_failed", "passport_authenticity_failed"),
        ("document_data_invalid", "passport_authenticity_failed"),
        ("liveness_failed", "selfie_face_mismatch"),
        ("selfie_face_mismatch", "selfie_face_mismatch"),
    ];
    let told = FailureCode::ALL
        .iter()
        .map(|code| (code.in_contract(ContractVersion::V2), code.in_contract(ContractVersion::V1)))
        .collect::<Vec<_>>();
    assert_eq!(told, expected);
}
