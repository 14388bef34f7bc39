//! Certificates: structure, chain, revocation.

use proofmill_emrtd::{
    self as emrtd, CertificateInfo, CertificateJudgement, CertificateRole, CertificateStatus, Classification,
    GateResult, Reason, RevocationStatus, SignerAbsence,
};

use super::context::Context;
use super::detail::{Detail, Details};
use super::finding::Finding;

/// Certificates from one to the last whose signer is known: a signer, its authority, and the links between its keys.
const MAX_CHAIN: usize = 8;

/// `inspect cert`.
pub fn judge(context: &Context, file: &str, der: &[u8]) -> Vec<Finding> {
    let mut finding = Finding::new(file, "cert");
    match context.trust.judge_certificate(der, context.at) {
        Ok(judgement) => conclude(context, &judgement, &mut finding),
        Err(error) => {
            finding.gate("structure", GateResult::Failed);
            finding.fail("certificate_malformed", Some(error.to_string()));
        }
    }
    vec![finding]
}

fn conclude(context: &Context, judgement: &CertificateJudgement, finding: &mut Finding) {
    let certificate = &judgement.certificate;
    let message = "an extension that decides is repeated or malformed";
    finding.demand("structure", !certificate.extensions_malformed, "certificate_extensions_malformed", message);
    finding.demand("public_key", certificate.public_key_usable, "public_key_unusable", &certificate.public_key);
    match own_signature(judgement) {
        Some(holds) => finding.check("signature", if holds { Ok(()) } else { Err(Reason::SignatureInvalid) }, context),
        None => finding.gate("signature", GateResult::NotRun),
    }
    if context.has_trust {
        let chain = match judgement.reason {
            _ if judgement.trusted => Ok(()),
            reason => Err(reason.unwrap_or(Reason::ChainNotTrusted)),
        };
        finding.check("chain", chain, context);
    } else if context.strict {
        finding.demand("chain", false, "trust_missing", "nothing is given that vouches for the certificate: --trust");
    } else {
        finding.gate("chain", GateResult::NotRun);
    }
    match judgement.revocation_status {
        RevocationStatus::VerifiedNotRevoked => finding.gate("revocation", GateResult::Passed),
        RevocationStatus::Revoked => finding.check("revocation", Err(Reason::CertificateRevoked), context),
        RevocationStatus::Unknown if context.policy.unknown_revocation_fails => {
            finding.check("revocation", Err(Reason::RevocationUnknown), context);
        }
        RevocationStatus::Unknown => finding.gate("revocation", GateResult::NotRun),
    }
    // Documents outlive their signers' certificates: by itself no reason to refuse one.
    if context.strict {
        let holds = judgement.status == CertificateStatus::Valid;
        let reason = format!("certificate_{}", status(judgement.status));
        finding.demand("validity", holds, &reason, "the moment is outside the certificate's validity");
    }
    finding.revocation_status(judgement.revocation_status);
    finding.accept(&judgement.deviations, context);
    finding.details.add("status", status(judgement.status));
    finding.details.add_serialised("role", &judgement.role);
    if let Some(classification) = &judgement.classification {
        finding.details.add_serialised("classification", classification);
    }
    finding.details.add_serialised("structure", certificate);
    if context.has_trust {
        finding.details.add("chain", chain(context, judgement));
    }
}

/// Whether a certificate's own signature holds, where its signer is known: found, or by its own words itself.
fn own_signature(judgement: &CertificateJudgement) -> Option<bool> {
    let certificate = &judgement.certificate;
    // One that names no key names its own, if the issuer's name is its own.
    let names_itself = match &certificate.authority_key_identifier {
        Some(identifier) => *identifier == certificate.key_identifier,
        None => certificate.self_issued,
    };
    match &judgement.classification {
        Some(Classification::SelfSigned | Classification::Link { .. }) => Some(true),
        Some(Classification::SignerAbsent { detail: SignerAbsence::SignatureInvalid }) if names_itself => Some(false),
        Some(_) => None,
        None => judgement.issued_by.is_some().then_some(true),
    }
}

/// What the store makes of the certificates that a SignedData embeds: the signer's, and others.
pub fn describe_embedded(context: &Context, signed_data: &[u8], finding: &mut Finding) {
    let judged = emrtd::embedded_certificates(signed_data);
    let mut judged = judged.into_iter().filter_map(|der| context.trust.judge_certificate(der, context.at).ok());
    let Some(first) = judged.next() else { return };
    let others: Vec<_> = judged.collect();
    // The certificate that signs documents or lists; an authority's may lie beside it.
    let all: Vec<&CertificateJudgement> = std::iter::once(&first).chain(&others).collect();
    let signer = all.iter().position(|judgement| judgement.role != CertificateRole::Csca).unwrap_or(0);
    let Some(judgement) = all.get(signer) else { return };
    let mut shown = Details::default();
    shown.add_serialised("role", &judgement.role);
    shown.add("status", status(judgement.status));
    shown.add("trusted", judgement.trusted);
    if let Some(reason) = judgement.reason {
        shown.add("reason", reason.to_string());
    }
    if let Detail::Map(members) = Detail::of(&judgement.certificate) {
        shown.0.extend(members.0);
    }
    finding.details.add("signer", shown);
    finding.details.add("chain", chain(context, judgement));
    if context.has_trust && !judgement.trusted {
        finding.details.add("candidates", candidates(context, &judgement.certificate));
    }
    let rest: Vec<Details> =
        all.iter().enumerate().filter(|(index, _)| *index != signer).map(|(_, other)| link(other)).collect();
    if !rest.is_empty() {
        finding.details.add("other_certificates", rest);
    }
}

/// The authorities given that come nearest to a certificate whose issuer was not found: of its issuer's key or name, or
/// else how many there are of its country.
fn candidates(context: &Context, certificate: &CertificateInfo) -> Details {
    let mut near = Vec::new();
    let mut of_country = 0_usize;
    for judgement in context.trust.certificates().filter(|stored| stored.role() == CertificateRole::Csca) {
        let Some(info) = judgement.info() else { continue };
        of_country += usize::from(info.country.is_some() && info.country == certificate.country);
        let same_key = certificate.authority_key_identifier.as_ref() == Some(&info.key_identifier);
        let same_name = info.subject.eq_ignore_ascii_case(&certificate.issuer);
        if (same_key || same_name) && near.len() < MAX_CHAIN {
            let entry = Details::default()
                .with("subject", info.subject)
                .with("sha256", info.sha256)
                .with("same_name", same_name)
                .with("same_key_identifier", same_key);
            near.push(entry);
        }
    }
    let certificates = Details::default().with("of_the_country", of_country);
    if near.is_empty() { certificates } else { certificates.with("of_the_issuer", near) }
}

/// From a certificate up to the one that signed itself, or to the last whose signer is known.
fn chain(context: &Context, judgement: &CertificateJudgement) -> Vec<Details> {
    let mut links = vec![link(judgement)];
    let mut names = vec![judgement.certificate.sha256.clone()];
    let mut next = judgement.issued_by.clone();
    while let Some(name) = next.filter(|name| links.len() < MAX_CHAIN && !names.contains(name)) {
        let Some(issuer) = context.trust.certificates().find(|stored| stored.sha256() == name) else { break };
        let Some(judgement) = issuer.judge(context.at) else { break };
        links.push(link(&judgement));
        next = judgement.issued_by;
        names.push(name);
    }
    links
}

fn link(judgement: &CertificateJudgement) -> Details {
    let CertificateInfo { subject, serial, not_before, not_after, public_key, sha256, .. } = &judgement.certificate;
    let mut link = Details::default()
        .with("subject", subject.clone())
        .with("serial", serial.clone())
        .with("not_before", not_before.to_string())
        .with("not_after", not_after.to_string())
        .with("status", status(judgement.status))
        .with("public_key", public_key.clone())
        .with("sha256", sha256.clone());
    link.add_serialised("role", &judgement.role);
    if let Some(classification) = &judgement.classification {
        link.add("classification", classification.name());
    }
    if let Some(Classification::SignerAbsent { detail }) = &judgement.classification {
        link.add_serialised("signer", detail);
    }
    if !judgement.provenance.is_empty() {
        link.add("from", judgement.provenance.clone());
    }
    link
}

/// As serialised.
pub fn status(status: CertificateStatus) -> &'static str {
    match status {
        CertificateStatus::Valid => "valid",
        CertificateStatus::Expired => "expired",
        CertificateStatus::NotYetValid => "not_yet_valid",
    }
}
