//! Public keys of readers: found by name, revoked for ever, apart by organisation.

use std::time::Duration;

use proofmill_contract::{OrganisationId, ReaderKeyId};
use serde_json::json;

use super::harness::{START, World, new_organisation, on_both};
use crate::{NewReaderKey, StoreError};

on_both!(
    a_reader_key_is_found_by_its_name_until_and_after_it_is_revoked,
    a_name_is_given_once_in_an_organisation_and_never_again,
);

fn new(organisation: &OrganisationId, kid: &str) -> NewReaderKey {
    NewReaderKey {
        id: ReaderKeyId::generate(START, &mut rand::rng()),
        organisation_id: organisation.clone(),
        kid: kid.to_owned(),
        name: Some("gate 4".into()),
        jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" }),
    }
}

async fn a_reader_key_is_found_by_its_name_until_and_after_it_is_revoked(world: World) {
    let (store, organisation) = (&world.store, &world.organisation);
    let first = store.create_reader_key(new(organisation, "reader 1"), START).await.unwrap();
    let second = store.create_reader_key(new(organisation, "reader 2"), START).await.unwrap();
    assert_eq!(store.reader_key(organisation, "reader 1").await.unwrap(), Some(first.clone()));
    assert_eq!(store.reader_key(organisation, "reader").await.unwrap(), None);
    assert_eq!(store.active_reader_keys(organisation, 1).await.unwrap().len(), 1);

    let later = START.plus(Duration::from_secs(60));
    assert!(store.revoke_reader_key(organisation, "reader 1", later).await.unwrap());
    assert!(!store.revoke_reader_key(organisation, "reader 1", later).await.unwrap(), "it is revoked already");
    let revoked = store.reader_key(organisation, "reader 1").await.unwrap().unwrap();
    assert_eq!((revoked.id, revoked.revoked_at), (first.id, Some(later)));
    assert_eq!(store.active_reader_keys(organisation, 10).await.unwrap(), std::slice::from_ref(&second));
    assert_eq!(store.list_reader_keys(organisation).await.unwrap().len(), 2);
    assert!(store.revoke_reader_key(organisation, second.id.as_str(), later).await.unwrap(), "by its id too");
    assert!(store.active_reader_keys(organisation, 10).await.unwrap().is_empty());
}

async fn a_name_is_given_once_in_an_organisation_and_never_again(world: World) {
    let other = new_organisation(&world.store).await;
    let organisation = &world.organisation;
    world.store.create_reader_key(new(organisation, "reader"), START).await.unwrap();
    let create = |organisation: &OrganisationId| world.store.create_reader_key(new(organisation, "reader"), START);
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
