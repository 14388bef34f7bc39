//! Keys of derived ids: rotated, kept, and recorded with the sessions that used them.

use std::time::Duration;

use proofmill_contract::{ContractVersion, OrganisationId, Outcome};

use super::harness::{MISMATCH, START, World, on_both, verdict};
use crate::{IdKey, IdKeyVersions, IdKind, StoreError};

on_both!(a_rotation_keeps_what_it_replaces, a_session_records_the_keys_that_its_ids_were_made_under);

fn shown(keys: &[IdKey]) -> Vec<(IdKind, u32, Vec<u8>, bool)> {
    keys.iter().map(|key| (key.kind, key.version, key.sealed.clone(), key.retired_at.is_some())).collect()
}

async fn a_rotation_keeps_what_it_replaces(world: World) {
    let (store, organisation) = (&world.store, &world.organisation);
    let later = START.plus(Duration::from_secs(60));
    let rotate = |version, sealed| store.rotate_id_key(organisation, IdKind::Document, version, sealed, later);
    assert_eq!(rotate(1, vec![8]).await.unwrap(), Some(2));
    assert!(matches!(rotate(1, vec![9]).await, Err(StoreError::Conflict(_))), "of two at once, one wins");
    assert_eq!(rotate(2, vec![9]).await.unwrap(), Some(3));
    let keys = store.id_keys(organisation).await.unwrap();
    assert_eq!(
        shown(&keys),
        [
            (IdKind::Document, 1, vec![1, 2, 3], true),
            (IdKind::Document, 2, vec![8], true),
            (IdKind::Document, 3, vec![9], false),
            (IdKind::Human, 1, vec![4, 5, 6], false),
        ]
    );
    assert_eq!((keys[0].since, keys[0].retired_at, keys[1].since), (START, Some(later), later));
    let row = store.organisation(organisation).await.unwrap().unwrap();
    assert_eq!((row.document_id_key_version, row.human_id_key_version), (3, 1));
    assert_eq!(row.document_id_key_sealed, [9]);

    let nobody = OrganisationId::generate(START, &mut rand::rng());
    assert_eq!(store.rotate_id_key(&nobody, IdKind::Human, 1, vec![1], later).await.unwrap(), None);
    assert!(store.id_keys(&nobody).await.unwrap().is_empty());
}

async fn a_session_records_the_keys_that_its_ids_were_made_under(world: World) {
    let recorded = "SELECT COALESCE(CAST(document_id_key_version AS TEXT), 'none') || '/' || \
                    COALESCE(CAST(human_id_key_version AS TEXT), 'none') AS text FROM sessions";
    let session = world.session(ContractVersion::V2, START).await.id;
    world.decide(&session, MISMATCH, START).await;
    assert_eq!(world.store.texts(recorded).await.unwrap(), ["none/none"]);
    let leased = world.leased(&session, START).await;
    let mut accepted = verdict(&leased, Outcome::Accepted);
    accepted.id_key_versions = Some(IdKeyVersions { document: 3, human: 2 });
    world.settle_one(accepted, START).await;
    assert_eq!(world.store.texts(recorded).await.unwrap(), ["3/2"]);
}
