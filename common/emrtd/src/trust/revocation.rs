//! Which revocation lists count, and for whom (ICAO Doc 9303-12 section 7.1.4 and appendix D.1.2, RFC 5280 section 6.3).
//!
//! A list counts when its signature holds under a key of its issuer's name in the store, whichever of them: a country
//! has one list, signed with its newest key, for everything it has ever issued. 9303-12 lets the country alone say
//! which list is whose. Here the names must be the same or belong together, by a link certificate between them or by
//! the list's issuerAltName: states exist with several authorities, whose lists and serial numbers are their own.
//!
//! The two things that a list says are weighed apart:
//!
//! * **An entry revokes**, whatever the list's age, scope or kind. That a list was signed by a key that has itself been
//!   revoked does not change this, or an authority could not revoke its own last key.
//! * **Silence counts** only in a list that would name the certificate: one of the right scope, the newest of its key,
//!   current, and of a key none of whose certificates is revoked: whoever stole it could issue an empty list.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use super::{Classification, CrlProblem, Csca, RejectedCrl, TrustStore, TrustedChain, chain::MAX_ISSUERS};
use crate::{
    certificate::Certificate,
    country::{self, CountryMatch},
    crl::Crl,
    evidence::UnixTime,
    info::CrlInfo,
    name::CanonicalName,
    report::RevocationStatus,
};

/// A list whose signature holds.
pub(super) struct VerifiedCrl {
    pub crl: Crl,
    pub provenance: Vec<String>,
    /// The index of the certificate under which it does.
    pub signed_by: usize,
}

impl TrustStore {
    /// Verifies the lists, and draws what follows from them alone.
    pub(super) fn take_crls(&mut self, crls: Vec<(Crl, Vec<String>)>) {
        for (crl, provenance) in crls {
            let signed_by = match self.crl_signer(&crl) {
                Ok(signed_by) => signed_by,
                Err(problem) => {
                    let info = CrlInfo::of(&crl);
                    let rejected = |provenance| RejectedCrl { provenance, problem, info: info.clone() };
                    self.rejected_crls.extend(provenance.into_iter().map(rejected));
                    continue;
                }
            };
            let Some(Csca { certificate, key, .. }) = self.cscas.get(signed_by) else { continue };
            let index = self.crls.len();
            // Under the name that the signing certificate has: a list under another spelling of it was found by the
            // key identifier, and must not speak for a third authority of that name.
            self.crls_by_name.entry(certificate.subject.clone()).or_default().push(index);
            self.crls_by_key.entry(*key).or_default().push(index);
            self.crls.push(VerifiedCrl { crl, provenance, signed_by });
        }
        self.crls_by_authority = self.spread_over_names();
        let named = self.cscas.iter().filter(|csca| {
            let issuer = &csca.certificate.issuer;
            self.lists(self.crls_by_name.get(issuer)).any(|list| list.crl.names(&csca.certificate.serial))
        });
        // With one certificate of a key, all of it are revoked. A link certificate may be the only one that an
        // authority can still revoke when its new key is stolen.
        self.revoked_keys = named.map(|csca| csca.key).collect();
    }

    /// The lists under every name of their authority: names that link certificates join, and former names that the
    /// list itself gives.
    fn spread_over_names(&self) -> HashMap<CanonicalName, Vec<usize>> {
        let mut names = self.crls_by_name.clone();
        if names.is_empty() {
            return names;
        }
        let countries: HashSet<Option<&String>> = self
            .crls
            .iter()
            .filter_map(|list| self.signing(list))
            .map(|csca| csca.certificate.subject_country.as_ref())
            .collect();
        let mut links: HashMap<&CanonicalName, Vec<&CanonicalName>> = HashMap::new();
        for csca in &self.cscas {
            let certificate = &csca.certificate;
            // Where no list can matter, no signature is computed.
            if certificate.is_self_issued()
                || certificate.subject_country != certificate.issuer_country
                || !countries.contains(&certificate.subject_country.as_ref())
                || !self.by_subject.contains_key(&certificate.issuer)
            {
                continue;
            }
            if let Classification::Link { .. } = self.classification(csca) {
                links.entry(&certificate.issuer).or_default().push(&certificate.subject);
                links.entry(&certificate.subject).or_default().push(&certificate.issuer);
            }
        }
        for (name, lists) in &self.crls_by_name {
            let mut reached = HashSet::from([name]);
            let mut pending = vec![name];
            while let Some(next) = pending.pop() {
                for linked in links.get(next).into_iter().flatten() {
                    if reached.insert(linked) {
                        pending.push(linked);
                        names.entry((*linked).clone()).or_default().extend(lists);
                    }
                }
            }
        }
        for (index, list) in self.crls.iter().enumerate() {
            for former in &list.crl.former_names {
                names.entry(former.clone()).or_default().push(index);
            }
        }
        names
    }

    /// The certificate under which a list's signature holds: one that its key identifier names, then any of its
    /// issuer's name; of a name that nobody has, one that the key identifier names in the same country.
    pub(super) fn crl_signer(&self, crl: &Crl) -> Result<usize, CrlProblem> {
        let named = self.by_subject.get(&crl.issuer);
        let identified =
            crl.authority_key_identifier.as_ref().and_then(|identifier| self.by_key_identifier.get(identifier));
        let csca = |index: &usize| self.cscas.get(*index);
        let same_authority = |index: &&usize| {
            csca(index).is_some_and(|csca| match named {
                Some(_) => csca.certificate.subject == crl.issuer,
                None => same_country(crl, &csca.certificate),
            })
        };
        let identified = identified.into_iter().flatten().filter(same_authority);
        let mut tried = HashSet::new();
        for index in identified.chain(named.into_iter().flatten()) {
            let Some(csca) = csca(index) else { continue };
            let certificate = &csca.certificate;
            // Several certificates may have the key, and only some the right to sign lists.
            if certificate.key_usage.is_some_and(|usage| !usage.crl_sign)
                || certificate.certification_authority == Some(false)
                || certificate.key.is_err()
                || tried.contains(&csca.key)
            {
                continue;
            }
            if tried.len() == MAX_ISSUERS {
                break;
            }
            tried.insert(csca.key);
            if crl.verify_signature(certificate).is_ok() {
                return Ok(*index);
            }
        }
        let key_known = crl.authority_key_identifier.as_ref().is_none_or(|identifier| {
            let of_issuer = named.into_iter().flatten().filter_map(csca);
            of_issuer.into_iter().any(|csca| csca.certificate.key_identifier == *identifier)
        });
        Err(match named {
            None if tried.is_empty() => CrlProblem::IssuerUnknown,
            Some(_) if !key_known => CrlProblem::IssuerKeyUnknown,
            _ => CrlProblem::SignatureInvalid,
        })
    }

    /// What does not depend on the time: whether signer or issuer is named, and which lists' silence may count,
    /// those of one key together, the newest first.
    pub(super) fn revocation_of(&self, signer: &Certificate, csca: &Csca) -> (bool, Box<[usize]>) {
        let of_name = self.crls_by_authority.get(&csca.certificate.subject);
        let mut lists: Vec<usize> =
            of_name.into_iter().chain(self.crls_by_key.get(&csca.key)).flatten().copied().collect();
        lists.sort_unstable();
        lists.dedup();
        // The signer may know its issuer, found by the key identifier, under another name; whoever has that name may
        // revoke it too, but its silence says nothing.
        let other = self.crls_by_authority.get(&signer.issuer);
        let named = self.lists(Some(&lists)).chain(self.lists(other)).any(|list| list.crl.names(&signer.serial));
        (named || self.revoked_keys.contains(&csca.key), self.silent_lists(&lists, signer))
    }

    /// Those whose silence about a certificate may count, in the order of [`TrustStore::silence_counts`].
    fn silent_lists(&self, lists: &[usize], certificate: &Certificate) -> Box<[usize]> {
        let mut silent: Vec<(usize, &Crl, usize)> = lists
            .iter()
            .filter_map(|index| {
                let list = self.crls.get(*index)?;
                let key = self.signing(list)?.key;
                let counts = !self.revoked_keys.contains(&key) && list.crl.covers(certificate);
                counts.then_some((key, &list.crl, *index))
            })
            .collect();
        // Of two of one time, the one that lasts longer.
        silent.sort_by_key(|(key, crl, _)| (*key, Reverse((crl.this_update, crl.next_update))));
        silent.into_iter().map(|(_, _, index)| index).collect()
    }

    /// What the lists say about a signer and its issuer at a time.
    pub(crate) fn revocation(&self, chain: &TrustedChain, at: UnixTime) -> RevocationStatus {
        self.status(chain.revoked, &chain.lists, at)
    }

    /// Revocation of a country signing certificate itself, by lists of exactly its issuer's name: what a former name
    /// numbered is no certificate of the new one.
    pub(super) fn csca_revocation(&self, certificate: &Certificate, at: UnixTime) -> RevocationStatus {
        let lists = self.crls_by_name.get(&certificate.issuer);
        let revoked = self.lists(lists).any(|list| list.crl.names(&certificate.serial))
            || self.stored_csca(certificate.der()).is_some_and(|csca| self.revoked_keys.contains(&csca.key));
        let silent = self.silent_lists(lists.map(Vec::as_slice).unwrap_or_default(), certificate);
        self.status(revoked, &silent, at)
    }

    fn status(&self, revoked: bool, silent: &[usize], at: UnixTime) -> RevocationStatus {
        if revoked {
            RevocationStatus::Revoked
        } else if self.silence_counts(silent, at) {
            RevocationStatus::VerifiedNotRevoked
        } else {
            RevocationStatus::Unknown
        }
    }

    /// Whether the newest list of some key is current. A newer one supersedes those before it, although they may not
    /// have run out. In one pass over lists that stand by key and then newest first.
    fn silence_counts(&self, lists: &[usize], at: UnixTime) -> bool {
        let mut judged = None;
        for list in lists.iter().filter_map(|index| self.crls.get(*index)) {
            let key = self.signing(list).map(|csca| csca.key);
            if judged == key || at < list.crl.this_update {
                continue;
            }
            judged = key;
            if list.crl.is_current(at) {
                return true;
            }
        }
        false
    }

    /// The certificate under which a list's signature holds.
    pub(super) fn signing(&self, list: &VerifiedCrl) -> Option<&Csca> {
        self.cscas.get(list.signed_by)
    }

    fn lists<'s>(&'s self, indices: Option<&'s Vec<usize>>) -> impl Iterator<Item = &'s VerifiedCrl> {
        indices.into_iter().flatten().filter_map(|index| self.crls.get(*index))
    }
}

fn same_country(crl: &Crl, certificate: &Certificate) -> bool {
    match (&crl.issuer_country, &certificate.subject_country) {
        (Some(one), Some(other)) => country::compare_certificates(one, other) != CountryMatch::Different,
        _ => false,
    }
}
