//! EF.SOD: signature, chain, revocation, and what is inside.

use proofmill_emrtd::{self as emrtd, DocumentEvidence, Report, SodInfo};

use super::certificate;
use super::context::Context;
use super::detail::{Detail, Details};
use super::finding::Finding;

/// `inspect sod`.
pub fn judge(context: &Context, file: &str, bytes: &[u8]) -> Vec<Finding> {
    let mut finding = Finding::new(file, "sod");
    let evidence = DocumentEvidence { sod: bytes, ..Default::default() };
    let report = emrtd::inspect(&evidence, &context.trust, &context.policy, context.at).report;
    finding.report(&report, context);
    describe_report(&report, &mut finding.details);
    describe(context, bytes, &mut finding);
    vec![finding]
}

/// What a report says beside its gates.
pub fn describe_report(report: &Report, details: &mut Details) {
    let algorithm = |name: Option<&str>| name.map_or(Detail::Null, Detail::from);
    details.add("signature_algorithm", algorithm(report.signature_algorithm.as_deref()));
    details.add("digest_algorithm", algorithm(report.digest_algorithm));
    details.add("lds_version", report.lds_version.map_or(Detail::Null, |version| Detail::from(usize::from(version))));
    details.add_serialised("signing_time", &report.signing_time);
    details.add_serialised("signer_status", &report.signer_status);
    if let Some(expired) = report.document_expired {
        details.add("document_expired", expired);
    }
    if let Some(terminal) = &report.chip_authentication_terminal {
        details.add_serialised("chip_authentication_terminal", terminal);
    }
}

/// The structure, the signer and its chain.
pub fn describe(context: &Context, sod: &[u8], finding: &mut Finding) {
    let mut structure = SodInfo::read(sod);
    // Told below with what the trust store makes of them.
    structure.certificates.clear();
    let Detail::Map(mut structure) = Detail::of(&structure) else { return };
    structure.0.retain(|(name, _)| name != "certificates");
    finding.details.add("structure", structure);
    certificate::describe_embedded(context, sod, finding);
}
