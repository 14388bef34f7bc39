//! The trust store: country signing certificates, stored signers and revocation lists.

mod cache;
mod chain;
mod master_list;

pub use master_list::{MasterList, MasterListError};

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde::Serialize;

use crate::{
    certificate::Certificate,
    cms::{MAX_CANDIDATES, SignerIdentifier},
    crl::Crl,
    evidence::UnixTime,
    name::CanonicalName,
    report::RevocationStatus,
};
use cache::SignerCache;
pub(crate) use chain::{Signer, TrustedChain};

/// Why a certificate or list was not taken into the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Not an X.509 certificate.
    #[error("not an X.509 certificate: {0}")]
    CertificateMalformed(String),
    /// Not a certificate revocation list.
    #[error("not an X.509 certificate revocation list: {0}")]
    CrlMalformed(String),
}

/// Certificates and lists at one moment. Immutable, but for a cache of its own conclusions;
/// share it in an `Arc`.
pub struct TrustStore {
    epoch: u64,
    cscas: Vec<Csca>,
    by_key_identifier: HashMap<Box<[u8]>, Vec<usize>>,
    by_subject: HashMap<CanonicalName, Vec<usize>>,
    stored_signers: Vec<Arc<Certificate>>,
    stored_by_serial: HashMap<Box<[u8]>, Vec<usize>>,
    stored_by_key_identifier: HashMap<Box<[u8]>, Vec<usize>>,
    crls: HashMap<CanonicalName, Vec<Crl>>,
    rejected_crls: Vec<RejectedCrl>,
    // The only interior mutability: what a signer's certificate chains to depends on the store
    // alone and costs more than the document's own signature, while one signer signs 10^4 to 10^5
    // documents. The cache is part of the store, so no result outlives its epoch.
    signers: SignerCache,
}

struct Csca {
    certificate: Certificate,
    provenance: Vec<String>,
}

/// A revocation list that no certificate of the store vouches for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectedCrl {
    /// Where it came from.
    pub provenance: String,
    /// Why it does not count.
    pub problem: CrlProblem,
}

/// Why a revocation list does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CrlProblem {
    /// The store has no certificate of the list's issuer.
    IssuerUnknown,
    /// Its signature holds under no key of its issuer.
    SignatureInvalid,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TrustCounts {
    /// Country signing certificates.
    pub cscas: usize,
    /// Stored document signer certificates.
    pub document_signers: usize,
    /// Revocation lists whose signature holds.
    pub crls: usize,
    /// Entries of those lists.
    pub revoked: usize,
    /// Lists that do not count.
    pub rejected_crls: usize,
}

impl TrustStore {
    /// The number the builder was given; results remembered for one epoch are not used in another.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What the store holds.
    pub fn counts(&self) -> TrustCounts {
        TrustCounts {
            cscas: self.cscas.len(),
            document_signers: self.stored_signers.len(),
            crls: self.crls.values().map(Vec::len).sum(),
            revoked: self.crls.values().flatten().map(Crl::len).sum(),
            rejected_crls: self.rejected_crls.len(),
        }
    }

    /// Revocation lists that were given and do not count.
    pub fn rejected_crls(&self) -> &[RejectedCrl] {
        &self.rejected_crls
    }

    /// Every country signing certificate with the lists it came from.
    pub fn cscas(&self) -> impl Iterator<Item = (&[u8], &[String])> {
        self.cscas.iter().map(|csca| (csca.certificate.der(), csca.provenance.as_slice()))
    }

    /// Signers whose chain is remembered at present.
    pub fn remembered_signers(&self) -> usize {
        self.signers.len()
    }

    /// The signer an embedded certificate stands for, if it fits the identifier: parsed and
    /// chained once. What does not fit is not chained, so it costs no signature.
    pub(crate) fn signer(&self, der: &[u8], identifier: &SignerIdentifier<'_>) -> Option<Arc<Signer>> {
        if let Some(signer) = self.signers.get(der) {
            return identifier.matches(&signer.certificate).map(|_| signer);
        }
        let certificate = Certificate::parse(der).ok()?;
        identifier.matches(&certificate)?;
        Some(self.chained(Arc::new(certificate)))
    }

    /// Stored signers that fit an identifier.
    pub(crate) fn stored_signers(&self, identifier: &SignerIdentifier<'_>) -> Vec<Arc<Signer>> {
        let indices = match identifier {
            SignerIdentifier::IssuerAndSerial { serial, .. } => self.stored_by_serial.get(*serial),
            SignerIdentifier::KeyIdentifier(key) => self.stored_by_key_identifier.get(*key),
        };
        indices
            .into_iter()
            .flatten()
            .filter_map(|index| self.stored_signers.get(*index))
            .filter(|certificate| identifier.matches(certificate).is_some())
            .take(MAX_CANDIDATES)
            .map(|certificate| match self.signers.get(certificate.der()) {
                Some(signer) => signer,
                None => self.chained(certificate.clone()),
            })
            .collect()
    }

    fn chained(&self, certificate: Arc<Certificate>) -> Arc<Signer> {
        let chain = self.chain(&certificate);
        // Only trusted signers are remembered: there are few of them, while anybody can make
        // certificates to fill the cache with.
        let trusted = chain.is_ok();
        let signer = Arc::new(Signer { certificate, chain });
        if trusted {
            self.signers.insert(signer.clone());
        }
        signer
    }

    /// What the lists say about a signer and its issuer. An entry revokes whatever the times;
    /// silence counts only in a list that is current.
    pub(crate) fn revocation(&self, signer: &Certificate, chain: &TrustedChain, at: UnixTime) -> RevocationStatus {
        let named = |certificate: &Certificate| {
            self.crls
                .get(&certificate.issuer)
                .is_some_and(|lists| lists.iter().any(|list| list.names(&certificate.serial)))
        };
        let csca = self.cscas.get(chain.csca).map(|csca| &csca.certificate);
        // The signer's issuer may be known under two names (the chain was found by key identifier): its lists stand
        // under either, and an entry in any of them counts.
        let authority = csca.map(|csca| &csca.subject).filter(|subject| **subject != signer.issuer);
        let lists =
            || [Some(&signer.issuer), authority].into_iter().flatten().filter_map(|name| self.crls.get(name)).flatten();
        if lists().any(|list| list.names(&signer.serial)) || csca.is_some_and(named) {
            return RevocationStatus::Revoked;
        }
        if lists().any(|list| list.is_current(at)) {
            RevocationStatus::VerifiedNotRevoked
        } else {
            RevocationStatus::Unknown
        }
    }
}

/// Collects certificates and lists, then checks them against each other once.
#[derive(Default)]
pub struct TrustStoreBuilder {
    cscas: Vec<Csca>,
    known: HashMap<Box<[u8]>, usize>,
    stored_signers: Vec<Arc<Certificate>>,
    known_signers: HashSet<Box<[u8]>>,
    crls: Vec<(Crl, String)>,
    known_crls: HashSet<Box<[u8]>>,
}

impl TrustStoreBuilder {
    /// An empty store.
    pub fn new() -> TrustStoreBuilder {
        TrustStoreBuilder::default()
    }

    /// Adds a country signing certificate, trusted by the list it comes from. The same
    /// certificate from two lists is one with two provenances.
    pub fn add_csca(&mut self, der: &[u8], provenance: &str) -> Result<(), TrustError> {
        if let Some(csca) = self.known.get(der).and_then(|index| self.cscas.get_mut(*index)) {
            if !csca.provenance.iter().any(|known| known == provenance) {
                csca.provenance.push(provenance.to_owned());
            }
            return Ok(());
        }
        let certificate = parse_certificate(der)?;
        self.known.insert(der.into(), self.cscas.len());
        self.cscas.push(Csca { certificate, provenance: vec![provenance.to_owned()] });
        Ok(())
    }

    /// Adds a document signer certificate, for SODs that embed none. It gains no trust by being
    /// stored: it must chain like an embedded one.
    pub fn add_dsc(&mut self, der: &[u8], _provenance: &str) -> Result<(), TrustError> {
        if self.known_signers.contains(der) {
            return Ok(());
        }
        let certificate = parse_certificate(der)?;
        self.known_signers.insert(der.into());
        self.stored_signers.push(Arc::new(certificate));
        Ok(())
    }

    /// Adds a revocation list; it counts once its signature holds under a country signing
    /// certificate of the finished store.
    pub fn add_crl(&mut self, der: &[u8], provenance: &str) -> Result<(), TrustError> {
        if self.known_crls.contains(der) {
            return Ok(());
        }
        let crl = Crl::parse(der).map_err(|error| TrustError::CrlMalformed(error.to_string()))?;
        self.known_crls.insert(der.into());
        self.crls.push((crl, provenance.to_owned()));
        Ok(())
    }

    /// Adds every certificate of a master list that was verified. Returns how many there were
    /// and how many could not be parsed.
    pub fn add_master_list(&mut self, list: &MasterList, provenance: &str) -> (usize, usize) {
        let mut refused = 0;
        for der in list.certificates() {
            refused += usize::from(self.add_csca(der, provenance).is_err());
        }
        (list.len(), refused)
    }

    /// Finishes the store under an epoch number: indexes it and verifies every revocation list.
    pub fn build(self, epoch: u64) -> TrustStore {
        let mut store = TrustStore {
            epoch,
            by_key_identifier: HashMap::new(),
            by_subject: HashMap::new(),
            cscas: self.cscas,
            stored_signers: self.stored_signers,
            stored_by_serial: HashMap::new(),
            stored_by_key_identifier: HashMap::new(),
            crls: HashMap::new(),
            rejected_crls: Vec::new(),
            signers: SignerCache::default(),
        };
        for (index, csca) in store.cscas.iter().enumerate() {
            let certificate = &csca.certificate;
            store.by_key_identifier.entry(certificate.key_identifier.clone()).or_default().push(index);
            store.by_subject.entry(certificate.subject.clone()).or_default().push(index);
        }
        for (index, signer) in store.stored_signers.iter().enumerate() {
            store.stored_by_serial.entry(signer.serial.clone()).or_default().push(index);
            store.stored_by_key_identifier.entry(signer.key_identifier.clone()).or_default().push(index);
        }
        for (crl, provenance) in self.crls {
            match store.crl_problem(&crl) {
                None => store.crls.entry(crl.issuer.clone()).or_default().push(crl),
                Some(problem) => store.rejected_crls.push(RejectedCrl { provenance, problem }),
            }
        }
        store
    }
}

impl TrustStore {
    /// A list is signed by a key of its issuer's name; which of several is not always said.
    fn crl_problem(&self, crl: &Crl) -> Option<CrlProblem> {
        let Some(candidates) = self.by_subject.get(&crl.issuer) else {
            return Some(CrlProblem::IssuerUnknown);
        };
        let named_first = |index: &&usize| {
            let certificate = self.cscas.get(**index).map(|csca| &csca.certificate);
            certificate.map(|certificate| &certificate.key_identifier) != crl.authority_key_identifier.as_ref()
        };
        let mut candidates: Vec<&usize> = candidates.iter().collect();
        candidates.sort_by_key(named_first);
        let holds = candidates.iter().filter_map(|index| self.cscas.get(**index)).any(|csca| {
            let certificate = &csca.certificate;
            certificate.key_usage.is_none_or(|usage| usage.crl_sign)
                && certificate.certification_authority != Some(false)
                && crl.verify_signature(certificate).is_ok()
        });
        if holds { None } else { Some(CrlProblem::SignatureInvalid) }
    }
}

fn parse_certificate(der: &[u8]) -> Result<Certificate, TrustError> {
    Certificate::parse(der).map_err(|error| TrustError::CertificateMalformed(error.to_string()))
}
