//! Master lists: who signed, and what each certificate on them rests on.

use std::collections::{BTreeMap, HashSet};

use proofmill_emrtd::{
    CertificateInfo, CertificateStatus, Classification, GateResult, MasterList, MasterListAnchor, MasterListError,
    Reason, TrustStore, TrustStoreBuilder, UnverifiedMasterList,
};

use super::certificate;
use super::context::Context;
use super::detail::{Detail, Details};
use super::finding::Finding;

/// `inspect masterlist`.
pub fn judge(context: &Context, file: &str, bytes: &[u8]) -> Vec<Finding> {
    let mut finding = Finding::new(file, "masterlist");
    match MasterList::read_unverified(bytes) {
        Ok(list) => {
            finding.gate("structure", GateResult::Passed);
            signatures(context, bytes, &list, &mut finding);
            contents(context, &list, &mut finding);
        }
        Err(error) => {
            finding.gate("structure", GateResult::Failed);
            fail(&mut finding, &error);
        }
    }
    vec![finding]
}

/// `signature` is that of somebody who is trusted; `integrity` says that the list is as somebody signed it.
fn signatures(context: &Context, bytes: &[u8], list: &UnverifiedMasterList, finding: &mut Finding) {
    let anchors: Vec<&[u8]> = context.anchors.iter().map(Vec::as_slice).collect();
    let verified = if anchors.is_empty() {
        if context.strict {
            finding.demand(
                "signature",
                false,
                "anchor_missing",
                "nothing is given that vouches for the list: --anchor",
            );
        } else {
            finding.gate("signature", GateResult::NotRun);
        }
        None
    } else {
        match MasterList::verify_with_any(bytes, &anchors) {
            Ok(verified) => {
                finding.gate("signature", GateResult::Passed);
                Some(verified)
            }
            Err(error) => {
                finding.gate("signature", GateResult::Failed);
                fail(finding, &error);
                None
            }
        }
    };
    let broken = || list.signers().iter().find_map(|signer| signer.reason).unwrap_or(Reason::SignatureInvalid);
    finding.check("integrity", if list.signature_holds() { Ok(()) } else { Err(broken()) }, context);
    finding.accept(list.deviations(), context);
    match verified {
        Some(verified) => finding.details.add("anchor", anchor(context, &verified)),
        None if context.anchors.is_empty() && MasterList::verify_self_anchored(bytes).is_ok() => {
            finding.details.add("anchor", "none given; the signer chains to a certificate of the list itself");
        }
        None if context.anchors.is_empty() => {
            finding.details.add("anchor", "none given; nothing on the list vouches for the signer either");
        }
        None => {}
    }
    finding.details.add_serialised("signers", &list.signers());
}

fn anchor(context: &Context, verified: &MasterList) -> Detail {
    let (MasterListAnchor::Given { sha256 } | MasterListAnchor::WithinList { sha256 }) = verified.anchor();
    let known = context.anchors.iter().filter_map(|der| CertificateInfo::parse(der).ok());
    match known.into_iter().find(|info| info.sha256 == *sha256) {
        Some(info) => Details::default().with("subject", info.subject).with("sha256", info.sha256).into(),
        None => sha256.as_str().into(),
    }
}

fn contents(context: &Context, list: &UnverifiedMasterList, finding: &mut Finding) {
    let mut builder = TrustStoreBuilder::new();
    let (mut unreadable, mut different) = (Vec::new(), HashSet::new());
    for (index, der) in list.certificates().enumerate() {
        if builder.add_csca(der, "").is_err() {
            unreadable.push(Detail::from(index + 1));
        } else {
            different.insert(der);
        }
    }
    let store = builder.build(1);
    let all_read = unreadable.is_empty();
    let message = "certificates of the list cannot be read: `unreadable` has their numbers";
    finding.demand("certificates", all_read, "certificate_malformed", message);
    finding.details.add("total", list.len());
    if different.len() + unreadable.len() != list.len() {
        finding.details.add("different", different.len() + unreadable.len());
    }
    if !all_read {
        finding.details.add("unreadable", Detail::List(unreadable));
    }
    classify(context, &store, finding);
}

#[derive(Default)]
struct Counts {
    self_signed_ok: usize,
    link_ok: usize,
    signer_absent: usize,
}

impl Counts {
    fn count(&mut self, classification: &Classification) {
        *match classification {
            Classification::SelfSigned => &mut self.self_signed_ok,
            Classification::Link { .. } => &mut self.link_ok,
            Classification::SignerAbsent { .. } => &mut self.signer_absent,
        } += 1;
    }

    fn details(&self) -> Details {
        Details::default()
            .with("self_signed_ok", self.self_signed_ok)
            .with("link_ok", self.link_ok)
            .with("signer_absent", self.signer_absent)
    }

    fn total(&self) -> usize {
        self.self_signed_ok + self.link_ok + self.signer_absent
    }
}

fn classify(context: &Context, store: &TrustStore, finding: &mut Finding) {
    let (mut all, mut countries) = (Counts::default(), BTreeMap::<String, Counts>::new());
    let mut statuses = [CertificateStatus::Valid, CertificateStatus::Expired, CertificateStatus::NotYetValid]
        .map(|status| (status, 0_usize));
    let mut entries = Vec::new();
    for stored in store.certificates() {
        let (Some(info), Some(classification)) = (stored.info(), stored.classification()) else { continue };
        all.count(classification);
        countries.entry(info.country.clone().unwrap_or_else(|| "?".to_owned())).or_default().count(classification);
        let status = info.status(context.at);
        statuses.iter_mut().filter(|(known, _)| *known == status).for_each(|(_, count)| *count += 1);
        if context.list {
            let mut entry = Details::default()
                .with("subject", info.subject)
                .with("serial", info.serial)
                .with("not_after", info.not_after.to_string())
                .with("status", certificate::status(status))
                .with("public_key", info.public_key)
                .with("sha256", info.sha256)
                .with("class", classification.name());
            match classification {
                Classification::Link { via } => entry.add("via", via.clone()),
                Classification::SignerAbsent { detail } => entry.add_serialised("signer", detail),
                Classification::SelfSigned => {}
            }
            entries.push(entry);
        }
    }
    finding.details.add("classification", all.details());
    let mut status = Details::default();
    statuses.iter().for_each(|(known, count)| status.add(certificate::status(*known), *count));
    finding.details.add("status", status);
    let mut by_country = Details::default();
    for (country, counts) in &countries {
        let mut line = Details::default().with("total", counts.total());
        line.0.extend(counts.details().0);
        by_country.add(country, line);
    }
    finding.details.add("countries", countries.len());
    finding.details.add("by_country", by_country);
    if context.list {
        finding.details.add("certificates", entries);
    }
}

fn fail(finding: &mut Finding, error: &MasterListError) {
    finding.fail(reason(error), Some(error.to_string()));
}

fn reason(error: &MasterListError) -> String {
    match error {
        MasterListError::AnchorUnusable => "anchor_unusable",
        MasterListError::SignerNotIssuedByAnchor => "signer_not_issued_by_anchor",
        MasterListError::SignerUsage => "signer_usage",
        MasterListError::ContentMalformed => "content_malformed",
        MasterListError::Signature(Reason::SodMalformed) => "master_list_malformed",
        MasterListError::Signature(Reason::SodTrailingData) => "trailing_data",
        MasterListError::Signature(Reason::SodVersionUnsupported) => "version_unsupported",
        MasterListError::Signature(Reason::SodContentTypeUnexpected) => "content_type_unexpected",
        MasterListError::Signature(reason) => return reason.to_string(),
    }
    .to_owned()
}
