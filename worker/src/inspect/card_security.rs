//! EF.CardSecurity: a signed list of what the chip offers.

use proofmill_emrtd as emrtd;

use super::certificate;
use super::context::Context;
use super::detail::Detail;
use super::finding::Finding;

/// `inspect cardsecurity`.
pub fn judge(context: &Context, file: &str, bytes: &[u8]) -> Vec<Finding> {
    let mut finding = Finding::new(file, "cardsecurity");
    let report = emrtd::inspect_card_security(bytes, &context.trust, &context.policy, context.at);
    finding.gate("signature", report.gates.signature);
    finding.gate("chain", report.gates.chain);
    finding.gate("revocation", report.gates.revocation);
    finding.revocation_status(report.revocation_status);
    finding.note(report.deviations.iter().copied());
    if let Some(reason) = report.reason {
        finding.because(reason, context);
    }
    finding.details.add("signature_algorithm", report.signature_algorithm.map_or(Detail::Null, Detail::from));
    finding.details.add_serialised("signing_time", &report.signing_time);
    finding.details.add_serialised("signer_status", &report.signer_status);
    finding.details.add_serialised("security_infos", &report.security_infos);
    certificate::describe_embedded(context, bytes, &mut finding);
    vec![finding]
}

/// The signature and chain of an EF.CardSecurity that came with an exchange. Without `--trust` there is nothing to chain it
/// to, and its signature alone decides.
pub fn judge_beside(context: &Context, bytes: &[u8], finding: &mut Finding) {
    let report = emrtd::inspect_card_security(bytes, &context.trust, &context.policy, context.at);
    finding.gate("card_security_signature", report.gates.signature);
    let judged = context.has_trust || report.gates.signature != emrtd::GateResult::Passed;
    finding.gate("card_security_chain", if judged { report.gates.chain } else { emrtd::GateResult::NotRun });
    finding.note(report.deviations.iter().copied());
    if let (true, Some(reason)) = (judged, report.reason) {
        finding.because(reason, context);
    }
    finding.details.add_serialised("card_security", &report.security_infos);
}
