//! What a store holds and what it makes of a certificate or list that is shown to it, for people who look after trust.

use std::hash::BuildHasher;

use serde::Serialize;

use super::{Classification, CrlProblem, Csca, StoredSigner, TrustError, TrustStore, VerifiedCrl, parse_certificate};
use crate::{
    certificate::Certificate,
    crl::Crl,
    deviation::{Deviation, DeviationSet},
    evidence::UnixTime,
    info::{self, CertificateInfo, CrlInfo},
    oid,
    report::{CertificateStatus, Reason, RevocationStatus},
};

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateRole {
    /// A country signing certification authority's certificate.
    Csca,
    /// A document signer's.
    DocumentSigner,
    /// A master list signer's.
    MasterListSigner,
}

impl CertificateRole {
    fn of(certificate: &Certificate) -> CertificateRole {
        let signs_lists = oid::MASTER_LIST_SIGNING_KEY.as_bytes();
        if certificate.is_authority() {
            CertificateRole::Csca
        } else if certificate.extended_key_usage.iter().any(|purpose| **purpose == *signs_lists) {
            CertificateRole::MasterListSigner
        } else {
            CertificateRole::DocumentSigner
        }
    }
}

/// A certificate of the store. Everything but its bytes is computed when it is asked for.
#[derive(Clone, Copy)]
pub struct StoredCertificate<'s> {
    store: &'s TrustStore,
    kind: Kind<'s>,
}

#[derive(Clone, Copy)]
enum Kind<'s> {
    Csca(&'s Csca),
    Signer(&'s StoredSigner),
}

impl<'s> StoredCertificate<'s> {
    /// What it is stored as: [`CertificateRole::Csca`] or [`CertificateRole::DocumentSigner`].
    pub fn role(&self) -> CertificateRole {
        match self.kind {
            Kind::Csca(_) => CertificateRole::Csca,
            Kind::Signer(_) => CertificateRole::DocumentSigner,
        }
    }

    /// The certificate, as received.
    pub fn der(&self) -> &'s [u8] {
        match self.kind {
            Kind::Csca(csca) => csca.certificate.der(),
            Kind::Signer(signer) => &signer.der,
        }
    }

    /// The lists and files it came from.
    pub fn provenance(&self) -> &'s [String] {
        match self.kind {
            Kind::Csca(csca) => &csca.provenance,
            Kind::Signer(signer) => &signer.provenance,
        }
    }

    /// SHA-256 of the certificate, hexadecimal.
    pub fn sha256(&self) -> String {
        info::sha256(self.der())
    }

    /// What it says. `None` never happens to what the builder has taken.
    pub fn info(&self) -> Option<CertificateInfo> {
        match self.kind {
            Kind::Csca(csca) => Some(CertificateInfo::of(&csca.certificate)),
            Kind::Signer(signer) => CertificateInfo::parse(&signer.der).ok(),
        }
    }

    /// The class of a country signing certificate; `None` for a document signer. Costs signatures the first time.
    pub fn classification(&self) -> Option<&'s Classification> {
        match self.kind {
            Kind::Csca(csca) => Some(self.store.classification(csca)),
            Kind::Signer(_) => None,
        }
    }

    /// What the store makes of it at a time, as of any certificate that is shown to it.
    pub fn judge(&self, at: UnixTime) -> Option<CertificateJudgement> {
        match self.kind {
            Kind::Csca(csca) => Some(self.store.judge_csca(&csca.certificate, at)),
            Kind::Signer(signer) => self.store.judge_certificate(&signer.der, at).ok(),
        }
    }
}

/// What a store makes of a certificate at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateJudgement {
    /// What the certificate says.
    pub certificate: CertificateInfo,
    /// What it presents itself as.
    pub role: CertificateRole,
    /// Where the store has these very bytes from, as an authority's certificate or as a signer's; empty when it has not.
    pub provenance: Vec<String>,
    /// What its signature rests on; of an authority's certificate only.
    pub classification: Option<Classification>,
    /// Whether it counts: an authority's certificate when the store has it, or has the one that signed it; a signer's
    /// when its chain ends in the store. Revocation and validity today stand beside it.
    pub trusted: bool,
    /// SHA-256 of the certificate in the store that signed it, hexadecimal.
    pub issued_by: Option<String>,
    /// Why it does not count, or that it is revoked.
    pub reason: Option<Reason>,
    /// What the revocation lists say.
    pub revocation_status: RevocationStatus,
    /// Its validity at the time.
    pub status: CertificateStatus,
    /// Every deviation of certificate and chain.
    pub deviations: Vec<Deviation>,
}

/// A revocation list of the store, verified.
#[derive(Clone, Copy)]
pub struct StoredCrl<'s> {
    store: &'s TrustStore,
    list: &'s VerifiedCrl,
}

impl<'s> StoredCrl<'s> {
    /// The list, as received.
    pub fn der(&self) -> &'s [u8] {
        self.list.crl.der()
    }

    /// What it says.
    pub fn info(&self) -> CrlInfo {
        CrlInfo::of(&self.list.crl)
    }

    /// The files it came from.
    pub fn provenance(&self) -> &'s [String] {
        &self.list.provenance
    }

    /// SHA-256, hexadecimal, of the country signing certificate under which its signature holds.
    pub fn verified_under(&self) -> String {
        self.store.cscas.get(self.list.signed_by).map(|csca| info::sha256(csca.certificate.der())).unwrap_or_default()
    }

    /// Whether a certificate of that key is revoked: then the list's entries count, and its silence does not.
    pub fn signer_revoked(&self) -> bool {
        self.store.cscas.get(self.list.signed_by).is_none_or(|csca| self.store.revoked_keys.contains(&csca.key))
    }

    /// Whether a time lies between the list's issue and the next one.
    pub fn is_current(&self, at: UnixTime) -> bool {
        self.list.crl.is_current(at)
    }
}

/// What a store makes of a revocation list at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CrlJudgement {
    /// What the list says.
    pub crl: CrlInfo,
    /// Where the store has these very bytes from; empty when it has not.
    pub provenance: Vec<String>,
    /// SHA-256, hexadecimal, of the country signing certificate under which its signature holds.
    pub verified_under: Option<String>,
    /// Why it does not count.
    pub problem: Option<CrlProblem>,
    /// Whether a certificate of the key that signed it is revoked: then its entries count, and its silence does not.
    pub signer_revoked: bool,
    /// Whether the time lies between its issue and the next one.
    pub current: bool,
}

impl TrustStore {
    /// Every certificate: the authorities' and then the document signers'.
    pub fn certificates(&self) -> impl Iterator<Item = StoredCertificate<'_>> {
        let cscas = self.cscas.iter().map(|csca| StoredCertificate { store: self, kind: Kind::Csca(csca) });
        let signers =
            self.stored_signers.iter().map(|signer| StoredCertificate { store: self, kind: Kind::Signer(signer) });
        cscas.chain(signers)
    }

    /// Every revocation list that counts.
    pub fn crls(&self) -> impl Iterator<Item = StoredCrl<'_>> {
        self.crls.iter().map(|list| StoredCrl { store: self, list })
    }

    /// What the store makes of a certificate, DER, at a time.
    pub fn judge_certificate(&self, der: &[u8], at: UnixTime) -> Result<CertificateJudgement, TrustError> {
        let certificate = parse_certificate(der)?;
        let role = CertificateRole::of(&certificate);
        if role == CertificateRole::Csca {
            return Ok(self.judge_csca(&certificate, at));
        }
        let chain = match role {
            CertificateRole::DocumentSigner => self.chain(&certificate),
            _ => self.issued(&certificate, DeviationSet::EMPTY),
        };
        let revocation_status = chain.as_ref().map_or(RevocationStatus::Unknown, |chain| self.revocation(chain, at));
        let numbered = self.hasher.hash_one((&certificate.issuer, &*certificate.serial));
        let alike = self.stored_by_serial.get(&numbered).into_iter().flatten();
        let stored = alike.filter_map(|index| self.stored_signers.get(*index)).find(|stored| *stored.der == *der);
        let mut deviations = certificate.deviations();
        let (issued_by, reason) = match &chain {
            Ok(chain) => {
                deviations = deviations.union(chain.deviations);
                let issuer = self.cscas.get(chain.csca).map(|csca| info::sha256(csca.certificate.der()));
                let revoked = revocation_status == RevocationStatus::Revoked;
                (issuer, revoked.then_some(Reason::CertificateRevoked))
            }
            Err(reason) => (None, Some(*reason)),
        };
        let info = CertificateInfo::of(&certificate);
        Ok(CertificateJudgement {
            role,
            provenance: stored.map(|stored| stored.provenance.clone()).unwrap_or_default(),
            classification: None,
            trusted: chain.is_ok(),
            issued_by,
            reason,
            revocation_status,
            status: info.status(at),
            deviations: deviations.iter().collect(),
            certificate: info,
        })
    }

    fn judge_csca(&self, certificate: &Certificate, at: UnixTime) -> CertificateJudgement {
        let stored = self.stored_csca(certificate.der());
        let classification = match stored {
            Some(csca) => self.classification(csca).clone(),
            None => self.classify(certificate),
        };
        let issued_by = match &classification {
            Classification::SelfSigned => Some(info::sha256(certificate.der())),
            Classification::Link { via } => Some(via.clone()),
            Classification::SignerAbsent { .. } => None,
        };
        let mut deviations = certificate.deviations();
        if certificate.key_usage.is_none() {
            deviations.insert(Deviation::CscaKeyUsageAbsent);
        }
        if certificate.certification_authority.is_none() {
            deviations.insert(Deviation::CscaBasicConstraintsAbsent);
        }
        let trusted = stored.is_some() || matches!(classification, Classification::Link { .. });
        let revocation_status = self.csca_revocation(certificate, at);
        let reason = match revocation_status {
            _ if !trusted => Some(Reason::ChainNotTrusted),
            RevocationStatus::Revoked => Some(Reason::CertificateRevoked),
            _ => None,
        };
        let info = CertificateInfo::of(certificate);
        CertificateJudgement {
            role: CertificateRole::Csca,
            provenance: stored.map(|csca| csca.provenance.clone()).unwrap_or_default(),
            classification: Some(classification),
            trusted,
            issued_by,
            reason,
            revocation_status,
            status: info.status(at),
            deviations: deviations.iter().collect(),
            certificate: info,
        }
    }

    /// What the store makes of a revocation list, DER, at a time.
    pub fn judge_crl(&self, der: &[u8], at: UnixTime) -> Result<CrlJudgement, TrustError> {
        let crl = Crl::parse(der).map_err(|error| TrustError::CrlMalformed(error.to_string()))?;
        let signed_by = self.crl_signer(&crl);
        let csca = signed_by.ok().and_then(|index| self.cscas.get(index));
        let stored = self.crls.iter().find(|list| list.crl.der() == der);
        let rejected =
            self.rejected_crls.iter().filter(|rejected| stored.is_none() && rejected.info.sha256 == info::sha256(der));
        Ok(CrlJudgement {
            crl: CrlInfo::of(&crl),
            provenance: match stored {
                Some(list) => list.provenance.clone(),
                None => rejected.map(|rejected| rejected.provenance.clone()).collect(),
            },
            verified_under: csca.map(|csca| info::sha256(csca.certificate.der())),
            problem: signed_by.err(),
            signer_revoked: csca.is_some_and(|csca| self.revoked_keys.contains(&csca.key)),
            current: crl.is_current(at),
        })
    }
}
