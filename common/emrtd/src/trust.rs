//! The trust store: country signing certificates, stored signers and revocation lists.

mod cache;
mod chain;
mod classify;
mod describe;
mod master_list;
mod revocation;

pub use classify::{Classification, SignerAbsence};
pub use describe::{CertificateJudgement, CertificateRole, CrlJudgement, StoredCertificate, StoredCrl};
pub use master_list::{MasterList, MasterListAnchor, MasterListError, MasterListSigner, UnverifiedMasterList};

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock},
};

use serde::Serialize;

use crate::{
    certificate::Certificate,
    cms::{MAX_CANDIDATES, SignerIdentifier},
    crl::Crl,
    crypto::{digest::Digest, key::PublicKey},
    info::CrlInfo,
    name::CanonicalName,
};
use cache::SignerCache;
pub(crate) use chain::{Fitting, Signer, TrustedChain};
use revocation::VerifiedCrl;

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
    by_sha256: HashMap<[u8; 32], usize>,
    by_key_identifier: HashMap<Box<[u8]>, Vec<usize>>,
    by_subject: HashMap<CanonicalName, Vec<usize>>,
    stored_signers: Vec<StoredSigner>,
    stored_by_serial: HashMap<u64, Vec<usize>>,
    stored_by_key_identifier: HashMap<u64, Vec<usize>>,
    hasher: RandomState,
    crls: Vec<VerifiedCrl>,
    /// By the name of the certificate that verifies the list.
    crls_by_name: HashMap<CanonicalName, Vec<usize>>,
    /// By every name of the same authority.
    crls_by_authority: HashMap<CanonicalName, Vec<usize>>,
    crls_by_key: HashMap<usize, Vec<usize>>,
    /// Keys, as [`Csca::key`], of which a certificate is named by a list.
    revoked_keys: HashSet<usize>,
    rejected_crls: Vec<RejectedCrl>,
    // The only interior mutability: what a signer's certificate chains to depends on the store
    // alone and costs more than the document's own signature, while one signer signs 10^4 to 10^5
    // documents. The cache is part of the store, so no result outlives its epoch.
    signers: SignerCache,
}

struct Csca {
    certificate: Certificate,
    provenance: Vec<String>,
    /// The index of the first certificate in the store with this key: the same for all of one key.
    key: usize,
    /// Computed when it is first asked for: it costs signatures that no verification needs.
    classification: OnceLock<Classification>,
}

/// A stored document signer. Only its bytes are kept: a store holds tens of thousands, and a parsed certificate takes
/// three times as much.
struct StoredSigner {
    der: Box<[u8]>,
    provenance: Vec<String>,
}

/// A revocation list that no certificate of the store vouches for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectedCrl {
    /// Where it came from.
    pub provenance: String,
    /// Why it does not count.
    pub problem: CrlProblem,
    /// What it says.
    pub info: CrlInfo,
}

/// Why a revocation list does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CrlProblem {
    /// The store has no certificate of the list's issuer.
    IssuerUnknown,
    /// The store has certificates of the list's issuer, none with the key that the list names.
    IssuerKeyUnknown,
    /// Its signature holds under no key of its issuer that may sign lists.
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
            crls: self.crls.len(),
            revoked: self.crls.iter().map(|list| list.crl.len()).sum(),
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

    /// The certificate, if it fits the identifier: parsed once if its chain is remembered. What does not fit costs
    /// neither a key nor a signature, and what fits is not chained before [`TrustStore::chained`].
    pub(crate) fn fitting(&self, der: &[u8], identifier: &SignerIdentifier<'_>) -> Option<Fitting> {
        if let Some(signer) = self.signers.get(der) {
            return identifier.matches(&signer.certificate).map(|_| Fitting::Remembered(signer));
        }
        let certificate = Certificate::outline(der).ok()?;
        identifier.matches(&certificate)?;
        Some(Fitting::New(Arc::new(certificate.with_key())))
    }

    /// Stored signers that fit an identifier.
    pub(crate) fn stored_fitting(&self, identifier: &SignerIdentifier<'_>) -> Vec<Fitting> {
        let indices = match identifier {
            SignerIdentifier::IssuerAndSerial { issuer, serial, .. } => {
                self.stored_by_serial.get(&self.hasher.hash_one((issuer, *serial)))
            }
            SignerIdentifier::KeyIdentifier(key) => self.stored_by_key_identifier.get(&self.hasher.hash_one(*key)),
        };
        let stored = indices.into_iter().flatten().filter_map(|index| self.stored_signers.get(*index));
        stored.filter_map(|stored| self.fitting(&stored.der, identifier)).take(MAX_CANDIDATES).collect()
    }

    /// The signer of exactly these bytes, with its chain; `None` for what is no certificate.
    pub(crate) fn signer(&self, der: &[u8]) -> Option<Arc<Signer>> {
        let new = || Certificate::parse(der).ok().map(|certificate| self.chained(Arc::new(certificate)));
        self.signers.get(der).or_else(new)
    }

    /// The signer with its chain, remembered if that is trusted.
    pub(crate) fn chained(&self, certificate: Arc<Certificate>) -> Arc<Signer> {
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

    /// The stored country signing certificate of exactly these bytes.
    fn stored_csca(&self, der: &[u8]) -> Option<&Csca> {
        self.by_sha256.get(&sha256(der)).and_then(|index| self.cscas.get(*index))
    }
}

/// Collects certificates and lists, then checks them against each other once.
#[derive(Default)]
pub struct TrustStoreBuilder {
    cscas: Vec<(Certificate, Vec<String>)>,
    known_cscas: HashMap<[u8; 32], usize>,
    signers: Vec<(StoredSigner, SignerKeys)>,
    known_signers: HashMap<[u8; 32], usize>,
    crls: Vec<(Crl, Vec<String>)>,
    known_crls: HashMap<[u8; 32], usize>,
    hasher: RandomState,
}

/// Hashes of what a stored signer is looked up by.
struct SignerKeys {
    issuer_and_serial: u64,
    key_identifier: u64,
}

impl TrustStoreBuilder {
    /// An empty store.
    pub fn new() -> TrustStoreBuilder {
        TrustStoreBuilder::default()
    }

    /// Adds a country signing certificate, trusted by the list it comes from. The same
    /// certificate from two lists is one with two provenances.
    pub fn add_csca(&mut self, der: &[u8], provenance: &str) -> Result<(), TrustError> {
        let sha256 = sha256(der);
        if let Some((_, known)) = self.known_cscas.get(&sha256).and_then(|index| self.cscas.get_mut(*index)) {
            add_provenance(known, provenance);
            return Ok(());
        }
        let certificate = parse_certificate(der)?;
        self.known_cscas.insert(sha256, self.cscas.len());
        self.cscas.push((certificate, vec![provenance.to_owned()]));
        Ok(())
    }

    /// Adds a document signer certificate, for SODs that embed none. It gains no trust by being
    /// stored: it must chain like an embedded one.
    pub fn add_dsc(&mut self, der: &[u8], provenance: &str) -> Result<(), TrustError> {
        let sha256 = sha256(der);
        if let Some((known, _)) = self.known_signers.get(&sha256).and_then(|index| self.signers.get_mut(*index)) {
            add_provenance(&mut known.provenance, provenance);
            return Ok(());
        }
        let certificate =
            Certificate::outline(der).map_err(|error| TrustError::CertificateMalformed(error.to_string()))?;
        let keys = SignerKeys {
            issuer_and_serial: self.hasher.hash_one((&certificate.issuer, &*certificate.serial)),
            key_identifier: self.hasher.hash_one(&*certificate.key_identifier),
        };
        self.known_signers.insert(sha256, self.signers.len());
        self.signers.push((StoredSigner { der: der.into(), provenance: vec![provenance.to_owned()] }, keys));
        Ok(())
    }

    /// Adds a revocation list; it counts once its signature holds under a country signing
    /// certificate of the finished store.
    pub fn add_crl(&mut self, der: &[u8], provenance: &str) -> Result<(), TrustError> {
        let sha256 = sha256(der);
        if let Some((_, known)) = self.known_crls.get(&sha256).and_then(|index| self.crls.get_mut(*index)) {
            add_provenance(known, provenance);
            return Ok(());
        }
        let crl = Crl::parse(der).map_err(|error| TrustError::CrlMalformed(error.to_string()))?;
        self.known_crls.insert(sha256, self.crls.len());
        self.crls.push((crl, vec![provenance.to_owned()]));
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
        let mut by_key: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut by_key_identifier: HashMap<Box<[u8]>, Vec<usize>> = HashMap::new();
        let mut by_subject: HashMap<CanonicalName, Vec<usize>> = HashMap::new();
        let mut cscas = Vec::with_capacity(self.cscas.len());
        for (index, (certificate, provenance)) in self.cscas.into_iter().enumerate() {
            by_key_identifier.entry(certificate.key_identifier.clone()).or_default().push(index);
            by_subject.entry(certificate.subject.clone()).or_default().push(index);
            let key = match &certificate.key {
                Ok(key) => *by_key.entry(key_octets(key.key())).or_insert(index),
                Err(_) => index,
            };
            cscas.push(Csca { certificate, provenance, key, classification: OnceLock::new() });
        }
        by_key_identifier.values_mut().chain(by_subject.values_mut()).for_each(|indices| thin_out(indices, &cscas));
        let mut stored_by_serial: HashMap<u64, Vec<usize>> = HashMap::with_capacity(self.signers.len());
        let mut stored_by_key_identifier: HashMap<u64, Vec<usize>> = HashMap::with_capacity(self.signers.len());
        let mut stored_signers = Vec::with_capacity(self.signers.len());
        for (index, (stored, keys)) in self.signers.into_iter().enumerate() {
            stored_by_serial.entry(keys.issuer_and_serial).or_default().push(index);
            stored_by_key_identifier.entry(keys.key_identifier).or_default().push(index);
            stored_signers.push(stored);
        }
        let mut store = TrustStore {
            epoch,
            cscas,
            by_sha256: self.known_cscas,
            by_key_identifier,
            by_subject,
            stored_signers,
            stored_by_serial,
            stored_by_key_identifier,
            hasher: self.hasher,
            crls: Vec::new(),
            crls_by_name: HashMap::new(),
            crls_by_authority: HashMap::new(),
            crls_by_key: HashMap::new(),
            revoked_keys: HashSet::new(),
            rejected_crls: Vec::new(),
            signers: SignerCache::default(),
        };
        // An authority's key verifies every signer of its country.
        store.cscas.iter().flat_map(|csca| &csca.certificate.key).for_each(|key| store.signers.share_tables(key));
        store.take_crls(self.crls);
        store
    }
}

/// Leaves of each key a few certificates, and one without a usable key: looking for an issuer must not take longer
/// for each certificate of a name, the more there are.
fn thin_out(indices: &mut Vec<usize>, cscas: &[Csca]) {
    /// What certificates of one key differ in are their rights and their validity.
    const MAX_PER_KEY: usize = 8;
    if indices.len() <= MAX_PER_KEY {
        return;
    }
    let mut counts: HashMap<Option<usize>, usize> = HashMap::new();
    indices.retain(|index| {
        let Some(csca) = cscas.get(*index) else { return false };
        let key = csca.certificate.key.is_ok().then_some(csca.key);
        let count = counts.entry(key).or_default();
        *count += 1;
        *count <= if key.is_some() { MAX_PER_KEY } else { 1 }
    });
}

fn parse_certificate(der: &[u8]) -> Result<Certificate, TrustError> {
    Certificate::parse(der).map_err(|error| TrustError::CertificateMalformed(error.to_string()))
}

fn add_provenance(known: &mut Vec<String>, provenance: &str) {
    if !known.iter().any(|known| known == provenance) {
        known.push(provenance.to_owned());
    }
}

/// The same for the same key, however its curve was written.
fn key_octets(key: &PublicKey) -> Vec<u8> {
    match key {
        PublicKey::Rsa { modulus, exponent } => [b"rsa", modulus.as_slice(), b" ", exponent].concat(),
        PublicKey::Ec { curve, point } => [curve.name().as_bytes(), b" ", point].concat(),
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(Digest::Sha256.compute(&[bytes]).as_ref());
    out
}
