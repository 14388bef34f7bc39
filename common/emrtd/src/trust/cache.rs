//! A bounded cache of signers.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::chain::Signer;

const SHARDS: usize = 16;
/// Signers in each of two generations of a shard: 2 × 16 × 512 in all, some 3 kB each.
const GENERATION: usize = 512;

/// Signers by the bytes of their certificate: the whole bytes, so that no other certificate can
/// ever stand for one. Sharded, so that threads seldom meet; each shard keeps two generations
/// and drops the older when the younger is full, which bounds it without a list to maintain.
pub(super) struct SignerCache {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    young: HashMap<Box<[u8]>, Arc<Signer>>,
    old: HashMap<Box<[u8]>, Arc<Signer>>,
}

impl Default for SignerCache {
    fn default() -> SignerCache {
        SignerCache { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl SignerCache {
    pub fn get(&self, der: &[u8]) -> Option<Arc<Signer>> {
        let mut shard = self.shard(der);
        if let Some(signer) = shard.young.get(der) {
            return Some(signer.clone());
        }
        let (der, signer) = shard.old.remove_entry(der)?;
        shard.insert(der, signer.clone());
        Some(signer)
    }

    pub fn insert(&self, signer: Arc<Signer>) {
        let der = signer.certificate.der();
        self.shard(der).insert(der.into(), signer.clone());
    }

    pub fn len(&self) -> usize {
        let count = |shard: MutexGuard<'_, Shard>| shard.young.len() + shard.old.len();
        self.shards.iter().map(|shard| count(lock(shard))).sum()
    }

    fn shard(&self, der: &[u8]) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(der) as usize % SHARDS;
        lock(&self.shards[index])
    }
}

impl Shard {
    fn insert(&mut self, der: Box<[u8]>, signer: Arc<Signer>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(der, signer);
    }
}

/// A shard is whole between any two statements, so a panic elsewhere leaves nothing to fear.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{certificate::Certificate, report::Reason};

    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&[tag][..], &crate::asn1::encode_length(body.len()), &body].concat()
    }

    /// The least that is a certificate, with its own serial number.
    fn signer(serial: u32) -> Arc<Signer> {
        let algorithm = tlv(0x30, &[&[6, 3, 42, 3, 4]]);
        let key = tlv(0x30, &[&algorithm, &[3, 2, 0, 0]]);
        let time = tlv(0x17, &[b"200101000000Z"]);
        let name = tlv(0x30, &[]);
        let serial = tlv(2, &[&[1], &serial.to_be_bytes()]);
        let tbs = tlv(0x30, &[&serial, &algorithm, &name, &tlv(0x30, &[&time, &time]), &name, &key]);
        let der = tlv(0x30, &[&tbs, &algorithm, &[3, 2, 0, 0]]);
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
}
