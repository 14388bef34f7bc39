//! What a store holds at one epoch, and how it changes.

use std::collections::{BTreeMap, HashMap, HashSet};

use proofmill_emrtd::{CrlInfo, CrlProblem, TrustStore, TrustStoreBuilder};

use crate::item::{Fingerprint, Kind, Provenance};
use crate::source::{Found, Refusal};

/// Places remembered for one item: the first, and the latest of the others.
const MAX_PROVENANCE: usize = 16;
/// Of one issuer's lists that no certificate vouches for, those that may wait for one. Further ones are turned away and
/// counted: nothing that waits may be pushed out by what anybody can write.
const MAX_WAITING_CRLS: usize = 256;

/// The contents of a store.
#[derive(Clone, Default)]
pub struct Contents {
    pub(crate) epoch: u64,
    pub(crate) created_at: String,
    items: BTreeMap<Key, Item>,
    /// New since this was read.
    added: HashSet<Key>,
    /// Whether what was there when this was read is no longer as it was.
    altered: bool,
}

pub(crate) type Key = (Kind, Fingerprint);

/// One certificate or list.
#[derive(Clone)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// As received.
    pub der: Box<[u8]>,
    /// Where it came from, the first place first.
    pub provenance: Vec<Provenance>,
}

/// Whether an item was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    Taken,
    Known,
}

impl Contents {
    pub(crate) fn of(epoch: u64, created_at: String, items: BTreeMap<Key, Item>) -> Contents {
        Contents { epoch, created_at, items, ..Contents::default() }
    }

    /// Rises by one with every change; 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When this epoch was written, RFC 3339 in UTC.
    pub fn created_at(&self) -> &str {
        &self.created_at
    }

    /// Every item, by kind and fingerprint.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many items of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.items.keys().filter(|(known, _)| *known == kind).count()
    }

    /// Keeps only what is wanted, for an export.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Item) -> bool) {
        self.keep(|_, item| wanted(item));
    }

    pub(crate) fn into_items(self) -> impl Iterator<Item = Item> {
        self.items.into_values()
    }

    /// Whether it would be another epoch. What came and went at once changes nothing.
    pub(crate) fn changed(&self) -> bool {
        self.altered || !self.added.is_empty()
    }

    /// The kinds of what is new.
    pub(crate) fn added(&self) -> impl Iterator<Item = Kind> {
        self.added.iter().map(|(kind, _)| *kind)
    }

    /// Keeps what is wanted; how many went.
    fn keep(&mut self, mut wanted: impl FnMut(&Key, &mut Item) -> bool) -> usize {
        let (before, added, altered) = (self.items.len(), &mut self.added, &mut self.altered);
        self.items.retain(|key, item| {
            let wanted = wanted(key, item);
            *altered |= !wanted && !added.remove(key);
            wanted
        });
        before - self.items.len()
    }

    /// The verifier's store, and what could not be taken into it. Revocation lists that nothing vouches for are the
    /// verifier's to name.
    pub fn build(&self, epoch: u64) -> (TrustStore, Vec<String>) {
        let mut builder = TrustStoreBuilder::new();
        let mut refused = Vec::new();
        for ((_, name), item) in &self.items {
            let places: Vec<String> = item.provenance.iter().map(describe).collect();
            let place = || places.first().cloned().unwrap_or_else(|| format!("sha256 {}", hex::encode(name)));
            let added = match item.kind {
                Kind::Csca if places.is_empty() => builder.add_csca(&item.der, &place()),
                Kind::Csca => places.iter().try_for_each(|place| builder.add_csca(&item.der, place)),
                Kind::Dsc => builder.add_dsc(&item.der, &place()),
                Kind::Crl => builder.add_crl(&item.der, &place()),
            };
            if let Err(error) = added {
                refused.push(format!("{} {}: {error}", item.kind, place()));
            }
        }
        (builder.build(epoch), refused)
    }

    pub(crate) fn merge(&mut self, key: Key, found: Found, now: &str) -> Merged {
        let Found { kind, der, source, list, earlier } = found;
        let mut places = earlier;
        places.push(Provenance { source, list, imported_at: now.to_owned() });
        let known = self.items.contains_key(&key);
        let item = self.items.entry(key).or_insert_with(|| Item { kind, der: der.into(), provenance: Vec::new() });
        let mut altered = false;
        for place in places {
            if !item.provenance.iter().any(|known| known.source == place.source && known.list == place.list) {
                altered = true;
                item.provenance.push(place);
                if item.provenance.len() > MAX_PROVENANCE {
                    item.provenance.remove(1);
                }
            }
        }
        if known {
            self.altered |= altered && !self.added.contains(&key);
            Merged::Known
        } else {
            self.added.insert(key);
            Merged::Taken
        }
    }

    /// Removes an item; whether it was there.
    pub fn remove(&mut self, name: &Fingerprint) -> bool {
        self.keep(|(_, known), _| known != name) > 0
    }

    /// Forgets what came from below `root` and is there no longer; how many items went. What came from a file that could
    /// not be read now is kept.
    pub(crate) fn mirror(&mut self, root: &str, collected: &Collected) -> usize {
        let mut forgotten = false;
        let removed = self.keep(|key, item| {
            let places = item.provenance.len();
            item.provenance.retain(|place| {
                !below(&place.source, root)
                    || collected.broken.contains(&place.source)
                    || collected.places.contains(&(*key, place.source.clone(), place.list.clone()))
            });
            forgotten |= item.provenance.len() != places;
            places == 0 || !item.provenance.is_empty()
        });
        self.altered |= forgotten;
        removed
    }

    /// Drops revocation lists that a verified one replaces in every respect, and turns new ones away that nothing vouches for
    /// where too many wait already.
    ///
    /// An older list that names a certificate which no later one names is kept: its entry still revokes. So the store
    /// grows with what states stop listing and not with every list they publish.
    pub(crate) fn tidy(&mut self) -> Tidied {
        let waiting = self.waiting_crls();
        let mut issuers: HashMap<String, Vec<(Fingerprint, CrlInfo)>> = HashMap::new();
        for ((kind, name), item) in &self.items {
            if *kind == Kind::Crl
                && let Ok(info) = CrlInfo::parse(&item.der)
            {
                issuers.entry(info.issuer.clone()).or_default().push((*name, info));
            }
        }
        let mut dropped: HashSet<Fingerprint> = HashSet::new();
        let mut turned_away = 0;
        for mut lists in issuers.into_values() {
            lists.sort_by_key(|(name, info)| (std::cmp::Reverse((info.this_update, info.next_update)), *name));
            let (unverified, verified): (Vec<_>, Vec<_>) =
                lists.into_iter().partition(|(name, _)| waiting.contains_key(name));
            let (new, waiting): (Vec<_>, Vec<_>) =
                unverified.iter().partition(|(name, _)| self.added.contains(&(Kind::Crl, *name)));
            let room = MAX_WAITING_CRLS.saturating_sub(waiting.len());
            dropped.extend(new.iter().skip(room).map(|(name, _)| *name));
            turned_away += new.len().saturating_sub(room);
            let mut kept: Vec<&Fingerprint> = Vec::new();
            for (name, _) in &verified {
                let der = |name: &Fingerprint| self.items.get(&(Kind::Crl, *name)).map(|item| &*item.der);
                let replaced = kept.iter().any(|newer| match (der(newer), der(name)) {
                    (Some(newer), Some(older)) => CrlInfo::supersedes(newer, older),
                    _ => false,
                });
                if replaced {
                    dropped.insert(*name);
                } else {
                    kept.push(name);
                }
            }
        }
        let gone = self.keep(|(kind, name), _| *kind != Kind::Crl || !dropped.contains(name));
        Tidied { superseded: gone - turned_away, turned_away }
    }

    /// Revocation lists that no certificate of the store vouches for.
    pub(crate) fn waiting_crls(&self) -> HashMap<Fingerprint, CrlProblem> {
        let mut builder = TrustStoreBuilder::new();
        for ((kind, _), item) in &self.items {
            // What does not parse is named when the store is built to be used.
            let _ = match kind {
                Kind::Csca => builder.add_csca(&item.der, ""),
                Kind::Crl => builder.add_crl(&item.der, ""),
                Kind::Dsc => Ok(()),
            };
        }
        let store = builder.build(0);
        let named = |list: &proofmill_emrtd::RejectedCrl| {
            let name = hex::decode(&list.info.sha256).ok()?;
            Some((Fingerprint::try_from(name).ok()?, list.problem))
        };
        store.rejected_crls().iter().filter_map(named).collect()
    }
}

/// What tidying did.
pub(crate) struct Tidied {
    /// Lists that a verified one replaces.
    pub superseded: usize,
    /// New lists that nothing vouches for, of issuers of whom too many wait.
    pub turned_away: usize,
}

fn describe(place: &Provenance) -> String {
    match &place.list {
        Some(list) => format!("{} ({list})", place.source),
        None => place.source.clone(),
    }
}

fn below(source: &str, root: &str) -> bool {
    source.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || root.ends_with('/'))
}

/// Refusals remembered in full; of further ones only the number is.
const MAX_REFUSALS: usize = 1000;

/// Collects what reading finds, each item once.
#[derive(Default)]
pub struct Collected {
    pub(crate) found: Vec<(Key, Found)>,
    pub(crate) places: HashSet<(Key, String, Option<String>)>,
    /// Files that could not be read in full.
    broken: HashSet<String>,
    /// The first refusals.
    pub refused: Vec<Refusal>,
    /// How many refusals there were.
    pub refusals: usize,
}

impl crate::source::Visitor for Collected {
    fn found(&mut self, found: Found) {
        let key = (found.kind, crate::item::fingerprint(&found.der));
        // The same item under the same name twice says nothing new.
        if self.places.insert((key, found.source.clone(), found.list.clone())) {
            self.found.push((key, found));
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        self.refusals += 1;
        self.broken.insert(refusal.source.clone());
        if self.refused.len() < MAX_REFUSALS {
            self.refused.push(refusal);
        }
    }
}
