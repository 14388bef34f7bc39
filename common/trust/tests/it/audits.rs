//! What is found wrong with a store.

use proofmill_emrtd::{TrustStore, TrustStoreBuilder, UnixTime};
use proofmill_trust::{Audit, Freshness, Topic};

use crate::mint::{Authority, NOW};

const WINDOW: i64 = 90 * 86_400;

fn store(authorities: &[&[u8]], signers: &[Vec<u8>], crls: &[Vec<u8>]) -> TrustStore {
    let mut builder = TrustStoreBuilder::new();
    authorities.iter().for_each(|der| builder.add_csca(der, "list").unwrap());
    signers.iter().for_each(|der| builder.add_dsc(der, "list").unwrap());
    crls.iter().for_each(|der| builder.add_crl(der, "list").unwrap());
    builder.build(3)
}

fn audit(store: &TrustStore) -> Audit {
    Audit::of(store, NOW, WINDOW, &[])
}

fn topics(audit: &Audit) -> (Vec<Topic>, Vec<Topic>) {
    let topics = |findings: &[proofmill_trust::Finding]| findings.iter().map(|finding| finding.topic).collect();
    (topics(&audit.problems), topics(&audit.warnings))
}

#[test]
fn a_store_in_order_has_nothing_to_say() {
    let (old, new) = (Authority::new("UT", 1), Authority::new("UT", 2));
    let link = old.link_to(&new);
    let store = store(
        &[&old.der, &new.der, &link],
        &[old.signer(5), new.signer(6)],
        &[old.crl(1, -1, 30, &[]), new.crl(1, -1, 30, &[])],
    );
    let audit = audit(&store);
    assert_eq!(topics(&audit), (vec![], vec![]), "{audit:?}");
    assert!(audit.is_well());
    assert_eq!((audit.classes["self_signed_ok"], audit.classes["link_ok"], audit.classes["signer_absent"]), (2, 1, 0));
    assert_eq!((audit.signers.trusted, audit.signers.not_trusted.len()), (2, 0));
    let country = audit.countries["UT"];
    assert_eq!((country.authorities, country.signers, country.crls), (3, 2, 2));
    assert_eq!(country.freshness, Freshness::Current);
}

#[test]
fn every_certificate_is_of_exactly_one_class() {
    let (old, new, other) = (Authority::new("UT", 1), Authority::new("UT", 2), Authority::new("XA", 3));
    let link = old.link_to(&new);
    let store = store(&[&new.der, &link, &other.der], &[], &[]);
    let audit = audit(&store);
    assert_eq!(audit.classes.values().sum::<usize>(), 3);
    assert_eq!((audit.classes["self_signed_ok"], audit.classes["link_ok"], audit.classes["signer_absent"]), (2, 0, 1));
    assert!(topics(&audit).1.contains(&Topic::SignerAbsent));
    assert!(audit.is_well(), "the link's key is in the new certificate, too");
}

#[test]
fn stale_lists_are_a_problem_of_their_country_and_absent_ones_a_warning() {
    let states = [Authority::new("UT", 1), Authority::new("XA", 2), Authority::new("XB", 3)];
    let crls = [states[0].crl(1, -1, 30, &[]), states[1].crl(1, -60, -1, &[9])];
    let store = store(&[&states[0].der, &states[1].der, &states[2].der], &[states[1].signer(9)], &crls);
    let found = audit(&store);
    assert_eq!(topics(&found), (vec![Topic::CrlStale], vec![Topic::CrlAbsent]));
    assert!(found.problems[0].detail.starts_with("XA") && found.warnings[0].detail.contains("XB"));
    assert_eq!(found.signers.revoked, 1, "a stale list revokes all the same");
    let states = ["UT", "XA", "XB"].map(|code| found.countries[code].freshness);
    assert_eq!(states, [Freshness::Current, Freshness::Stale, Freshness::Absent]);
    let later = Audit::of(&store, UnixTime(NOW.0 + 40 * 86_400), WINDOW, &[]);
    assert_eq!(topics(&later).0, [Topic::CrlStale, Topic::CrlStale]);
}

#[test]
fn lists_that_do_not_count_are_named() {
    let (state, impostor, stranger) = (Authority::new("UT", 1), Authority::new("UT", 66), Authority::new("XA", 2));
    let mut tampered = state.crl(2, 0, 60, &[]);
    *tampered.last_mut().unwrap() ^= 1;
    let crls = [state.crl(1, -1, 30, &[]), tampered, impostor.crl(2, 0, 60, &[]), stranger.crl(1, -1, 30, &[])];
    let found = audit(&store(&[&state.der], &[impostor.signer(1)], &crls));
    assert_eq!(topics(&found).0, [Topic::CrlSignatureInvalid]);
    assert_eq!(topics(&found).1, [Topic::CrlIssuerUnknown, Topic::CrlIssuerUnknown, Topic::SignerNotTrusted]);
    assert_eq!(found.countries["UT"].freshness, Freshness::Current);
    assert_eq!(found.signers.not_trusted.values().sum::<usize>(), 1);
}

#[test]
fn what_ends_soon_is_told_where_nothing_follows() {
    let (ending, lasting) = (Authority::lasting("UT", 1, 30), Authority::new("UT", 2));
    let crls = [ending.crl(1, -1, 20, &[]), lasting.crl(1, -1, 20, &[])];
    let alone = audit(&store(&[&ending.der], &[], &crls[..1]));
    assert_eq!(topics(&alone), (vec![], vec![Topic::AuthorityExpiring]));
    assert!(alone.authorities[0].expiring);
    let followed = audit(&store(&[&ending.der, &lasting.der], &[], &crls));
    assert_eq!(topics(&followed), (vec![], vec![]));
    assert_eq!(followed.countries["UT"].expiring, 1);
    let ended = Audit::of(&store(&[&ending.der], &[], &[]), UnixTime(NOW.0 + 31 * 86_400), WINDOW, &[]);
    assert_eq!((ended.countries["UT"].expired, ended.countries["UT"].expiring), (1, 0));
}

#[test]
fn an_empty_store_and_unusable_items_are_problems() {
    let found = Audit::of(&store(&[], &[], &[]), NOW, WINDOW, &["dsc somewhere: not a certificate".to_owned()]);
    assert_eq!(topics(&found).0, [Topic::NoAuthority, Topic::ItemUnusable]);
    assert!(!found.is_well());
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["problems"][0]["topic"], "no_authority");
}
