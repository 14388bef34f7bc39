//! A bounded cache of signers.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::chain::Signer;
use crate::crypto::provider::{PreparedKey, TableBudget};

const SHARDS: usize = 16;
/// Signers in each of two generations of a shard: 2 × 16 × 512 in all, some 3 kB each.
const GENERATION: usize = 512;
/// For the tables of keys: 4096 of 256 bits, those first busy. The others are verified without.
const TABLE_OCTETS: usize = 128 << 20;

/// Signers by the bytes of their certificate: the whole bytes, so that no other certificate can
/// ever stand for one. Sharded, so that threads seldom meet; each shard keeps two generations
/// and drops the older when the younger is full, which bounds it without a list to maintain.
pub(super) struct SignerCache {
    hasher: RandomState,
    shards: [RwLock<Shard>; SHARDS],
    tables: Arc<TableBudget>,
}

/// By a hash of the certificate, made once per look-up.
type Generation = HashMap<u64, Arc<Signer>, BuildHasherDefault<AlreadyHashed>>;

#[derive(Default)]
struct Shard {
    young: Generation,
    old: Generation,
}

impl Default for SignerCache {
    fn default() -> SignerCache {
        SignerCache {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| RwLock::default()),
            tables: TableBudget::new(TABLE_OCTETS),
        }
    }
}

impl SignerCache {
    pub fn get(&self, der: &[u8]) -> Option<Arc<Signer>> {
        let hash = self.hash(der);
        let meant = |signer: &&Arc<Signer>| signer.certificate.der() == der;
        {
            // What is in use is young, so that threads with the same signer do not wait for one another.
            let shard = read(self.shard(hash));
            if let Some(signer) = shard.young.get(&hash).filter(meant) {
                return Some(signer.clone());
            }
            shard.old.get(&hash).filter(meant)?;
        }
        let mut shard = write(self.shard(hash));
        // Another thread may have come first.
        if let Some(signer) = shard.young.get(&hash).filter(meant) {
            return Some(signer.clone());
        }
        let signer = shard.old.remove(&hash)?;
        shard.insert(hash, signer.clone());
        Some(signer).filter(|signer| meant(&signer))
    }

    pub fn insert(&self, signer: Arc<Signer>) {
        if let Ok(key) = &signer.certificate.key {
            self.share_tables(key);
        }
        let hash = self.hash(signer.certificate.der());
        write(self.shard(hash)).insert(hash, signer);
    }

    /// Lets a key that the store keeps have a table when it is used again and again.
    pub fn share_tables(&self, key: &PreparedKey) {
        key.share_budget(&self.tables);
    }

    pub fn len(&self) -> usize {
        let count = |shard: RwLockReadGuard<'_, Shard>| shard.young.len() + shard.old.len();
        self.shards.iter().map(|shard| count(read(shard))).sum()
    }

    /// Of the length and the last octets, which are the issuer's signature: as good as random, and
    /// twenty times less to hash than the whole. Of certificates with one hash the last one is kept.
    fn hash(&self, der: &[u8]) -> u64 {
        let tail = der.get(der.len().saturating_sub(48)..).unwrap_or_default();
        self.hasher.hash_one((der.len(), tail))
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // The map takes its buckets from both ends of the hash.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

impl Shard {
    fn insert(&mut self, hash: u64, signer: Arc<Signer>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, signer);
    }
}

/// A shard is whole between any two statements, so a panic elsewhere leaves nothing to fear.
fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

/// Keys that are hashes themselves.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        // Not called for u64; whatever comes still counts.
        self.0 = octets.iter().fold(self.0, |hash, octet| hash.rotate_left(8) ^ u64::from(*octet));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{certificate::Certificate, report::Reason};

    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&[tag][..], &crate::asn1::encode_length(body.len()), &body].concat()
    }

    /// The least that is a certificate, with a serial number and a signature.
    fn signer(serial: u32) -> Arc<Signer> {
        signed(serial, &serial.to_be_bytes())
    }

    fn signed(serial: u32, signature: &[u8]) -> Arc<Signer> {
        let algorithm = tlv(0x30, &[&[6, 3, 42, 3, 4]]);
        let key = tlv(0x30, &[&algorithm, &[3, 2, 0, 0]]);
        let time = tlv(0x17, &[b"200101000000Z"]);
        let name = tlv(0x30, &[]);
        let serial = tlv(2, &[&[1], &serial.to_be_bytes()]);
        let tbs = tlv(0x30, &[&serial, &algorithm, &name, &tlv(0x30, &[&time, &time]), &name, &key]);
        let signature = [&[0; 48][..], signature].concat();
        let der = tlv(0x30, &[&tbs, &algorithm, &tlv(3, &[&signature])]);
        Arc::new(Signer {
            certificate: Arc::new(Certificate::parse(&der).unwrap()),
            chain: Err(Reason::ChainNotTrusted),
        })
    }

    #[test]
    fn what_is_used_stays_and_the_whole_is_bounded() {
        let cache = SignerCache::default();
        let favourite = signer(u32::MAX);
        cache.insert(favourite.clone());
        for serial in 0..40_000 {
            let signer = signer(serial);
            cache.insert(signer.clone());
            assert!(cache.get(signer.certificate.der()).is_some());
            if serial % 100 == 0 {
                assert!(cache.get(favourite.certificate.der()).is_some());
            }
        }
        assert!(cache.len() <= 2 * SHARDS * GENERATION, "{}", cache.len());
        assert!(cache.get(signer(0).certificate.der()).is_none());
    }

    #[test]
    fn certificates_that_share_a_hash_are_never_mistaken_for_each_other() {
        let cache = SignerCache::default();
        let (first, second) = (signed(1, b"same"), signed(2, b"same"));
        let found =
            |signer: &Arc<Signer>| cache.get(signer.certificate.der()).map(|found| found.certificate.der().to_vec());
        cache.insert(first.clone());
        assert_eq!(found(&first).as_deref(), Some(first.certificate.der()));
        assert_eq!(found(&second), None);
        cache.insert(second.clone());
        assert_eq!(found(&second).as_deref(), Some(second.certificate.der()));
        assert_eq!(found(&first), None);
    }
}
