//! Public keys of readers: found by name, revoked for ever, apart by organisation.

use std::time::Duration;

use proofmill_contract::{OrganisationId, ReaderKeyId};
use serde_json::json;

use super::harness::{START, World, new_organisation, on_both};
use crate::{NewReaderKey, ReaderKey, RegisterReaderKey, Store, StoreError};

on_both!(
    a_reader_key_is_found_by_its_name_until_and_after_it_is_revoked,
    a_name_is_given_once_in_an_organisation_and_never_again,
    a_key_is_registered_once_in_an_organisation_under_whatever_name,
);

/// A key of its own for each name.
fn new(organisation: &OrganisationId, kid: &str) -> NewReaderKey {
    of(organisation, kid, kid)
}

fn of(organisation: &OrganisationId, kid: &str, key: &str) -> NewReaderKey {
    NewReaderKey {
        id: ReaderKeyId::generate(START, &mut rand::rng()),
        organisation_id: organisation.clone(),
        kid: kid.to_owned(),
        name: Some("gate 4".into()),
        jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": key, "kid": kid }),
    }
}

async fn registered(store: &Store, new: NewReaderKey) -> ReaderKey {
    match store.create_reader_key(new, START).await.unwrap() {
        RegisterReaderKey::Registered(key) => key,
        other => panic!("{other:?}"),
    }
}

async fn a_reader_key_is_found_by_its_name_until_and_after_it_is_revoked(world: World) {
    let (store, organisation) = (&world.store, &world.organisation);
    let first = registered(store, new(organisation, "reader 1")).await;
    let second = registered(store, new(organisation, "reader 2")).await;
    assert_eq!(store.reader_key(organisation, "reader 1").await.unwrap(), Some(first.clone()));
    assert_eq!(store.reader_key(organisation, "reader").await.unwrap(), None);
    assert_eq!(store.active_reader_keys(organisation, 1).await.unwrap().len(), 1);

    let later = START.plus(Duration::from_secs(60));
    assert!(store.revoke_reader_key(organisation, "reader 1", later).await.unwrap());
    assert!(!store.revoke_reader_key(organisation, "reader 1", later).await.unwrap(), "it is revoked already");
    let revoked = store.reader_key(organisation, "reader 1").await.unwrap().unwrap();
    assert_eq!((&revoked.id, revoked.revoked_at), (&first.id, Some(later)));
    let found = async |id| store.reader_key_by_id(organisation, id).await.unwrap();
    assert_eq!((found(&first.id).await, found(&second.id).await), (Some(revoked), Some(second.clone())));
    let other = new_organisation(store).await;
    assert_eq!(store.reader_key_by_id(&other, &first.id).await.unwrap(), None, "it is another organisation's");
    assert_eq!(store.active_reader_keys(organisation, 10).await.unwrap(), std::slice::from_ref(&second));
    assert_eq!(store.list_reader_keys(organisation).await.unwrap().len(), 2);
    assert!(store.revoke_reader_key(organisation, second.id.as_str(), later).await.unwrap(), "by its id too");
    assert!(store.active_reader_keys(organisation, 10).await.unwrap().is_empty());
}

async fn a_name_is_given_once_in_an_organisation_and_never_again(world: World) {
    let other = new_organisation(&world.store).await;
    let organisation = &world.organisation;
    world.store.create_reader_key(new(organisation, "reader"), START).await.unwrap();
    let create =
        |organisation: &OrganisationId| world.store.create_reader_key(of(organisation, "reader", "another"), START);
    assert!(matches!(create(organisation).await, Err(StoreError::Conflict(_))));
    world.store.revoke_reader_key(organisation, "reader", START).await.unwrap();
    assert!(matches!(create(organisation).await, Err(StoreError::Conflict(_))), "not after its revocation either");

    assert!(world.store.reader_key(&other, "reader").await.unwrap().is_none());
    create(&other).await.unwrap();
    assert!(world.store.reader_key(&other, "reader").await.unwrap().unwrap().revoked_at.is_none());
    assert!(world.store.revoke_reader_key(&other, "reader", START).await.unwrap());
    let unknown = OrganisationId::generate(START, &mut rand::rng());
    assert!(matches!(create(&unknown).await, Err(StoreError::Conflict(_))));
}

async fn a_key_is_registered_once_in_an_organisation_under_whatever_name(world: World) {
    let (store, organisation) = (&world.store, &world.organisation);
    let first = registered(store, of(organisation, "reader 1", "key")).await;
    let again = async |kid| store.create_reader_key(of(organisation, kid, "key"), START).await.unwrap();
    assert_eq!(again("reader 2").await, RegisterReaderKey::SameKey(first.clone()));
    assert_eq!(again("reader 1").await, RegisterReaderKey::SameKey(first.clone()));

    assert!(store.revoke_reader_key(organisation, "reader 1", START).await.unwrap());
    let revoked = ReaderKey { revoked_at: Some(START), ..first };
    assert_eq!(again("reader 2").await, RegisterReaderKey::SameKey(revoked.clone()), "it would count again");
    assert_eq!(store.list_reader_keys(organisation).await.unwrap(), [revoked]);

    let other = new_organisation(store).await;
    registered(store, of(&other, "reader 2", "key")).await;
    let mut longer = of(organisation, "reader 3", "key");
    longer.jwk["y"] = json!("key");
    registered(store, longer).await;

    // Of those that register a key at once, under different names, one does.
    let at_once = (0..4).map(|number| {
        let (store, new) = (store.clone(), of(organisation, &format!("gate {number}"), "contested"));
        tokio::spawn(async move { store.create_reader_key(new, START).await.unwrap() })
    });
    let mut won = 0;
    for task in at_once.collect::<Vec<_>>() {
        won += usize::from(matches!(task.await.unwrap(), RegisterReaderKey::Registered(_)));
    }
    assert_eq!(won, 1);
}
