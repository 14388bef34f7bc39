//! What is wrong, or soon will be, with a store: for people who look after trust.

use std::collections::BTreeMap;

use proofmill_emrtd::{
    CertificateRole, CertificateStatus, Classification, CrlProblem, CrlScope, RevocationStatus, StoredCertificate,
    TrustCounts, TrustStore, UnixTime,
};
use serde::Serialize;

/// The country of certificates that name none.
const NO_COUNTRY: &str = "??";

/// A store as of a time.
#[derive(Clone, Debug, Serialize)]
pub struct Audit {
    /// The store's number.
    pub epoch: u64,
    /// The time as of which everything is judged.
    pub at: UnixTime,
    /// What there is.
    pub counts: TrustCounts,
    /// How many country signing certificates are of each class; each is of exactly one.
    pub classes: BTreeMap<&'static str, usize>,
    /// By country code; `??` stands for certificates that name none.
    pub countries: BTreeMap<String, CountryAudit>,
    /// Every country signing certificate, by country and end.
    pub authorities: Vec<AuthorityRow>,
    /// The stored document signers together.
    pub signers: SignerAudit,
    /// The newest revocation list of each issuer.
    pub crls: Vec<CrlRow>,
    /// What keeps genuine documents from passing, or revoked ones from failing, now.
    pub problems: Vec<Finding>,
    /// What may.
    pub warnings: Vec<Finding>,
}

/// One country.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CountryAudit {
    /// Country signing certificates.
    pub authorities: usize,
    /// Of those, past their validity.
    pub expired: usize,
    /// Of those, past their validity soon.
    pub expiring: usize,
    /// Stored document signers.
    pub signers: usize,
    /// Revocation lists that count.
    pub crls: usize,
    /// Certificates that they name.
    pub revoked: usize,
    /// Whether their silence means anything now.
    pub freshness: Freshness,
}

/// The state of an issuer's or a country's revocation lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// There is none: whether a signer is revoked cannot be known.
    #[default]
    Absent,
    /// The newest is past its nextUpdate, or has none: its entries count, its silence does not.
    Stale,
    /// The newest is current.
    Current,
}

/// One country signing certificate.
#[derive(Clone, Debug, Serialize)]
pub struct AuthorityRow {
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Country code.
    pub country: Option<String>,
    /// RFC 4514.
    pub subject: String,
    /// The last moment of its validity.
    pub not_after: UnixTime,
    /// Valid now, not yet or no longer.
    pub status: CertificateStatus,
    /// Whether it ends within the window that was asked for.
    pub expiring: bool,
    /// Whether its key can be used.
    pub key_usable: bool,
    /// What the revocation lists say about it.
    pub revocation_status: RevocationStatus,
    /// What its signature rests on.
    #[serde(flatten)]
    pub classification: Classification,
    /// The lists and files it came from.
    pub provenance: Vec<String>,
}

/// The stored document signers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SignerAudit {
    /// Those whose chain ends in the store and which are not revoked.
    pub trusted: usize,
    /// Those that are revoked.
    pub revoked: usize,
    /// Those past their validity, which says nothing about documents signed before.
    pub expired: usize,
    /// Those past their validity soon.
    pub expiring: usize,
    /// Why the others do not count, and how many of them.
    pub not_trusted: BTreeMap<String, usize>,
}

/// The newest revocation list of an issuer, or one that does not count.
#[derive(Clone, Debug, Serialize)]
pub struct CrlRow {
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// RFC 4514.
    pub issuer: String,
    /// Country code.
    pub country: Option<String>,
    /// When it was issued.
    pub this_update: UnixTime,
    /// By when the next is.
    pub next_update: Option<UnixTime>,
    /// Certificates that it names.
    pub entries: usize,
    /// For which certificates its silence speaks.
    pub scope: CrlScope,
    /// Whether it is current.
    pub freshness: Freshness,
    /// Why it does not count; `None` when it does.
    pub problem: Option<CrlProblem>,
}

/// Something to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub topic: Topic,
    /// Countries, certificates or lists, and what about them.
    pub detail: String,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// There is no country signing certificate.
    NoAuthority,
    /// An item of the store could not be used.
    ItemUnusable,
    /// A revocation list's signature holds under no key of its issuer.
    CrlSignatureInvalid,
    /// No list of a country that has some is current.
    CrlStale,
    /// A list names an authority's certificate, or another one of its key.
    AuthorityRevoked,
    /// A revocation list whose issuer's certificate, or the one of its key, is missing.
    CrlIssuerUnknown,
    /// Countries without any list.
    CrlAbsent,
    /// A list of an issuer is stale, while the country has a current one.
    CrlOfOneIssuerStale,
    /// No certificate of a country outlasts the window.
    AuthorityExpiring,
    /// Certificates whose signer is absent.
    SignerAbsent,
    /// Certificates whose key cannot be used.
    KeyUnusable,
    /// Stored document signers that no authority vouches for.
    SignerNotTrusted,
}

impl Audit {
    /// Looks at a whole store. `window` is the number of seconds within which what ends is called expiring; `unusable` are
    /// items that could not be taken into it. Costs a signature for every certificate.
    pub fn of(store: &TrustStore, at: UnixTime, window: i64, unusable: &[String]) -> Audit {
        let mut audit = Audit {
            epoch: store.epoch(),
            at,
            counts: store.counts(),
            classes: ["self_signed_ok", "link_ok", "signer_absent"].map(|class| (class, 0)).into(),
            countries: BTreeMap::new(),
            authorities: Vec::new(),
            signers: SignerAudit::default(),
            crls: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let ends = UnixTime(at.0.saturating_add(window));
        for certificate in store.certificates() {
            match certificate.role() {
                CertificateRole::Csca => audit.authority(&certificate, ends),
                _ => audit.signer(&certificate, ends),
            }
        }
        audit.authorities.sort_by(|one, other| {
            (&one.country, one.not_after, &one.sha256).cmp(&(&other.country, other.not_after, &other.sha256))
        });
        audit.lists(store);
        audit.conclude(unusable);
        audit
    }

    /// Whether nothing is wrong now.
    pub fn is_well(&self) -> bool {
        self.problems.is_empty()
    }

    fn country(&mut self, country: Option<&String>) -> &mut CountryAudit {
        self.countries.entry(country.cloned().unwrap_or_else(|| NO_COUNTRY.to_owned())).or_default()
    }

    fn authority(&mut self, certificate: &StoredCertificate<'_>, ends: UnixTime) {
        let Some(judgement) = certificate.judge(self.at) else { return };
        let info = judgement.certificate;
        let expiring = self.at <= info.not_after && info.not_after <= ends;
        let country = self.country(info.country.as_ref());
        country.authorities += 1;
        country.expired += usize::from(judgement.status == CertificateStatus::Expired);
        country.expiring += usize::from(expiring);
        let Some(classification) = judgement.classification else { return };
        *self.classes.entry(classification.name()).or_default() += 1;
        self.authorities.push(AuthorityRow {
            sha256: info.sha256,
            country: info.country,
            subject: info.subject,
            not_after: info.not_after,
            status: judgement.status,
            expiring,
            key_usable: info.public_key_usable,
            revocation_status: judgement.revocation_status,
            classification,
            provenance: judgement.provenance,
        });
    }

    fn signer(&mut self, certificate: &StoredCertificate<'_>, ends: UnixTime) {
        let Some(judgement) = certificate.judge(self.at) else { return };
        let info = judgement.certificate;
        self.country(info.country.as_ref()).signers += 1;
        let at = self.at;
        let signers = &mut self.signers;
        signers.expired += usize::from(judgement.status == CertificateStatus::Expired);
        signers.expiring += usize::from(at <= info.not_after && info.not_after <= ends);
        if judgement.revocation_status == RevocationStatus::Revoked {
            signers.revoked += 1;
        } else if judgement.trusted {
            signers.trusted += 1;
        } else {
            let reason = judgement.reason.map_or_else(|| "unknown".to_owned(), |reason| reason.to_string());
            *signers.not_trusted.entry(reason).or_default() += 1;
        }
    }

    fn lists(&mut self, store: &TrustStore) {
        let mut newest: BTreeMap<String, CrlRow> = BTreeMap::new();
        for list in store.crls() {
            let info = list.info();
            let silent = info.scope == CrlScope::Partial || list.signer_revoked();
            let current = !silent && info.is_current(self.at);
            let country = self.country(info.country.as_ref());
            country.crls += 1;
            country.revoked += info.entries;
            let freshness = if current { Freshness::Current } else { Freshness::Stale };
            if current {
                country.freshness = Freshness::Current;
            } else if country.freshness == Freshness::Absent {
                country.freshness = Freshness::Stale;
            }
            let known = newest.get(&info.issuer);
            if known.is_none_or(|known| known.this_update < info.this_update) {
                newest.insert(info.issuer.clone(), row(info, freshness, None));
            }
        }
        self.crls = newest.into_values().collect();
        for list in store.rejected_crls() {
            if !self.crls.iter().any(|row| row.sha256 == list.info.sha256) {
                self.crls.push(row(list.info.clone(), Freshness::Stale, Some(list.problem)));
            }
        }
    }

    fn conclude(&mut self, unusable: &[String]) {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let finding = |topic, detail: String| Finding { topic, detail };
        if self.counts.cscas == 0 {
            problems.push(finding(Topic::NoAuthority, "there is no country signing certificate".to_owned()));
        }
        problems.extend(unusable.iter().map(|item| finding(Topic::ItemUnusable, item.clone())));
        for list in &self.crls {
            let what = || format!("{} of {}", list.issuer, list.this_update);
            let country = list.country.as_deref().and_then(|country| self.countries.get(country));
            match list.problem {
                Some(CrlProblem::SignatureInvalid) => problems.push(finding(Topic::CrlSignatureInvalid, what())),
                Some(CrlProblem::IssuerUnknown | CrlProblem::IssuerKeyUnknown) => {
                    warnings.push(finding(Topic::CrlIssuerUnknown, what()));
                }
                None if list.freshness == Freshness::Stale
                    && country.is_some_and(|country| country.freshness == Freshness::Current) =>
                {
                    warnings.push(finding(Topic::CrlOfOneIssuerStale, what()));
                }
                None => {}
            }
        }
        let mut absent = Vec::new();
        for (code, country) in &self.countries {
            match country.freshness {
                _ if country.authorities == 0 => {}
                Freshness::Current => {}
                Freshness::Absent => absent.push(code.as_str()),
                Freshness::Stale => {
                    let newest = self.crls.iter().filter(|list| list.problem.is_none());
                    let newest = newest.filter(|list| list.country.as_deref() == Some(code));
                    let due = newest.filter_map(|list| list.next_update).max();
                    let due = match due {
                        Some(due) if due > self.at => "the newest is of a time yet to come".to_owned(),
                        Some(due) => format!("the next was due {due}"),
                        None => "the newest never said when the next is due".to_owned(),
                    };
                    problems.push(finding(Topic::CrlStale, format!("{code}: no revocation list is current, {due}")));
                }
            }
            let valid = country.authorities - country.expired;
            if country.authorities > 0 && valid == country.expiring {
                let what = if valid > 0 { "outlasts the window" } else { "is valid any more" };
                warnings
                    .push(finding(Topic::AuthorityExpiring, format!("{code}: no country signing certificate {what}")));
            }
        }
        if !absent.is_empty() {
            warnings.push(finding(
                Topic::CrlAbsent,
                format!("{} countries have no revocation list: {}", absent.len(), absent.join(" ")),
            ));
        }
        let revoked = self.authorities.iter().filter(|row| row.revocation_status == RevocationStatus::Revoked);
        warnings
            .extend(revoked.map(|row| finding(Topic::AuthorityRevoked, format!("{} ({})", row.subject, row.sha256))));
        let unusable = self.authorities.iter().filter(|row| !row.key_usable);
        warnings.extend(unusable.map(|row| finding(Topic::KeyUnusable, format!("{} ({})", row.subject, row.sha256))));
        let absent = self.classes.get("signer_absent").copied().unwrap_or_default();
        if absent > 0 {
            warnings.push(finding(
                Topic::SignerAbsent,
                format!("{absent} certificates were signed by one that is not here"),
            ));
        }
        for (reason, count) in &self.signers.not_trusted {
            warnings.push(finding(Topic::SignerNotTrusted, format!("{count} stored document signers: {reason}")));
        }
        self.problems = problems;
        self.warnings = warnings;
    }
}

fn row(info: proofmill_emrtd::CrlInfo, freshness: Freshness, problem: Option<CrlProblem>) -> CrlRow {
    CrlRow {
        sha256: info.sha256,
        issuer: info.issuer,
        country: info.country,
        this_update: info.this_update,
        next_update: info.next_update,
        entries: info.entries,
        scope: info.scope,
        freshness,
        problem,
    }
}
