//! Revocation lists: structure, freshness, signature.

use proofmill_emrtd::{CrlJudgement, CrlProblem, GateResult, UnixTime};

use super::context::Context;
use super::finding::Finding;

/// `inspect crl`.
pub fn judge(context: &Context, file: &str, der: &[u8]) -> Vec<Finding> {
    let mut finding = Finding::new(file, "crl");
    match context.trust.judge_crl(der, context.at) {
        Ok(judgement) => conclude(context, &judgement, &mut finding),
        Err(error) => {
            finding.gate("structure", GateResult::Failed);
            finding.fail("crl_malformed", Some(error.to_string()));
        }
    }
    vec![finding]
}

fn conclude(context: &Context, judgement: &CrlJudgement, finding: &mut Finding) {
    finding.gate("structure", GateResult::Passed);
    match judgement.problem {
        _ if !context.has_trust => {
            if context.strict {
                finding.demand(
                    "signature",
                    false,
                    "trust_missing",
                    "nothing is given that vouches for the list: --trust",
                );
            } else {
                finding.gate("signature", GateResult::NotRun);
            }
        }
        None => finding.gate("signature", GateResult::Passed),
        Some(CrlProblem::IssuerUnknown) => {
            let message = "no certificate of the list's issuer is given with --trust";
            finding.demand("signature", false, "crl_issuer_unknown", message);
        }
        Some(CrlProblem::IssuerKeyUnknown) => {
            let message =
                "certificates of the list's issuer are given with --trust, but none with the key that it names";
            finding.demand("signature", false, "crl_issuer_key_unknown", message);
        }
        Some(CrlProblem::SignatureInvalid) => {
            let message = "the signature holds under no key of the list's issuer that may sign lists";
            finding.demand("signature", false, "signature_invalid", message);
        }
    }
    let crl = &judgement.crl;
    let freshness = freshness(crl.this_update, crl.next_update, context.at);
    // A stale list still revokes whom it names; only its silence says nothing any more.
    if context.strict {
        let message = "the list is not current, so that its silence says nothing";
        finding.demand("freshness", judgement.current, &format!("crl_{freshness}"), message);
    }
    finding.details.add("status", freshness);
    finding.details.add("entries", crl.entries);
    if judgement.signer_revoked {
        finding.details.add("signer_revoked", true);
    }
    finding.details.add_serialised("structure", crl);
    if let Some(issuer) = &judgement.verified_under {
        finding.details.add("verified_under", issuer.clone());
    }
}

fn freshness(this_update: UnixTime, next_update: Option<UnixTime>, at: UnixTime) -> &'static str {
    match next_update {
        _ if at < this_update => "not_yet_valid",
        None => "without_next_update",
        Some(next) if next < at => "stale",
        Some(_) => "current",
    }
}
