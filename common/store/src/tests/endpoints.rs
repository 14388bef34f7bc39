//! Endpoints, signing secrets, encryption keys.

use std::time::Duration;

use proofmill_contract::events::EventType;
use proofmill_contract::limits::SECRET_OVERLAP;
use proofmill_contract::{ContractVersion, EncryptionKeyId};

use super::harness::{LEASE, START, World, new_organisation, on_both};
use crate::{
    DeliveryFilter, DeliveryStatus, EndpointUpdate, MAX_SIGNING_SECRETS, NewWebhookKey, PageRequest, StoreError,
};

on_both!(
    an_endpoint_reads_back_changes_and_goes,
    both_secrets_sign_for_a_day_after_a_rotation,
    no_rotation_ends_a_secret_before_its_day_is_over,
    one_key_is_active_and_a_name_is_used_once,
    keys_come_in_pages_newest_first,
    another_organisation_touches_nothing,
    disabling_an_endpoint_ends_its_pending_deliveries,
    deleting_an_endpoint_destroys_its_payloads_and_secrets,
);

async fn an_endpoint_reads_back_changes_and_goes(world: World) {
    let (store, mine) = (&world.store, &world.organisation);
    let id = world.endpoint(vec![EventType::SessionExpired], 24, START).await;
    let read = store.endpoint(mine, &id).await.unwrap().unwrap();
    assert_eq!((read.url.as_str(), read.name, read.enabled), ("https://hooks.example/proofmill", None, true));
    assert_eq!(read.subscribed_event_types, [EventType::SessionExpired]);
    assert_eq!((read.labels, read.undelivered_payload_retention_hours), (vec!["test".to_owned()], 24));

    let later = START.plus(Duration::from_secs(1));
    let update = EndpointUpdate {
        name: Some(Some("main".into())),
        subscribed_event_types: Some(vec![]),
        undelivered_payload_retention_hours: Some(0),
        ..Default::default()
    };
    let changed = store.update_endpoint(mine, &id, update, later).await.unwrap().unwrap();
    assert_eq!((changed.name.as_deref(), changed.updated_at), (Some("main"), later));
    assert_eq!((changed.url.as_str(), changed.undelivered_payload_retention_hours), (read.url.as_str(), 0));
    let unnamed = EndpointUpdate { name: Some(None), ..Default::default() };
    assert_eq!(store.update_endpoint(mine, &id, unnamed, later).await.unwrap().unwrap().name, None);

    let second = world.endpoint(vec![], 72, later).await;
    let list = |limit, after| store.list_endpoints(mine, PageRequest { limit, starting_after: after });
    let first_page = list(1, None).await.unwrap();
    assert_eq!(first_page.items[0].id, second);
    assert_eq!(list(1, first_page.next_cursor).await.unwrap().items[0].id, id);
    assert!(matches!(list(1, Some("whe_none".into())).await, Err(StoreError::InvalidCursor)));

    assert!(store.delete_endpoint(mine, &id, later).await.unwrap());
    assert!(!store.delete_endpoint(mine, &id, later).await.unwrap());
    assert!(store.endpoint(mine, &id).await.unwrap().is_none());
    assert!(store.update_endpoint(mine, &id, EndpointUpdate::default(), later).await.unwrap().is_none());
    assert_eq!(list(10, None).await.unwrap().items.len(), 1);
}

async fn both_secrets_sign_for_a_day_after_a_rotation(world: World) {
    let (store, mine) = (&world.store, &world.organisation);
    let receiver = world.receiver(START).await;
    let secrets = |now| store.signing_secrets(mine, &receiver.endpoint, now);
    let first = secrets(START).await.unwrap().unwrap();
    assert_eq!((first.current_sealed.as_slice(), first.previous_sealed), (b"sealed secret 1".as_slice(), None));

    assert!(store.rotate_signing_secret(mine, &receiver.endpoint, b"second".to_vec(), START).await.unwrap());
    let session = world.session(ContractVersion::V2, START).await.id;
    store.cancel_session(None, &session, START).await.unwrap();
    let due = store.claim_due_deliveries(1, 1, LEASE, START).await.unwrap();
    assert_eq!(due[0].secrets_sealed, [b"second".to_vec(), b"sealed secret 1".to_vec()]);
    let over = START.plus(SECRET_OVERLAP);
    assert_eq!(secrets(START).await.unwrap().unwrap().previous_expires_at, Some(over));
    assert_eq!(secrets(over).await.unwrap().unwrap().previous_sealed, None);

    // A second rotation takes nothing of the first one's day: all three sign.
    store.rotate_signing_secret(mine, &receiver.endpoint, b"third".to_vec(), START).await.unwrap();
    let now = secrets(START).await.unwrap().unwrap();
    assert_eq!(
        (now.current_sealed.as_slice(), now.previous_sealed.as_deref()),
        (b"third".as_slice(), Some(b"second".as_slice()))
    );
    let session = world.session(ContractVersion::V2, START).await.id;
    store.cancel_session(None, &session, START).await.unwrap();
    let due = store.claim_due_deliveries(1, 2, LEASE, START).await.unwrap();
    assert_eq!(due[0].secrets_sealed, [b"third".to_vec(), b"second".to_vec(), b"sealed secret 1".to_vec()]);
}

async fn no_rotation_ends_a_secret_before_its_day_is_over(world: World) {
    let (store, mine) = (&world.store, &world.organisation);
    let receiver = world.receiver(START).await;
    let rotate = |number: usize, now| {
        let sealed = format!("rotated {number}").into_bytes();
        store.rotate_signing_secret(mine, &receiver.endpoint, sealed, now)
    };
    let hour = |hours: usize| START.plus(Duration::from_secs(3_600 * hours as u64));
    for number in 1..MAX_SIGNING_SECRETS {
        assert!(rotate(number, hour(number)).await.unwrap());
    }
    let full = hour(MAX_SIGNING_SECRETS);
    let refused = rotate(99, full).await;
    assert!(matches!(refused, Err(StoreError::TooManySigningSecrets(MAX_SIGNING_SECRETS))), "{refused:?}");
    let session = world.session(ContractVersion::V2, full).await.id;
    store.cancel_session(None, &session, full).await.unwrap();
    let due = store.claim_due_deliveries(1, 1, LEASE, full).await.unwrap();
    assert_eq!(due[0].secrets_sealed.len(), MAX_SIGNING_SECRETS);
    assert_eq!(due[0].secrets_sealed.last().unwrap(), b"sealed secret 1");
    // The first one's day is over a day after the first rotation.
    assert!(rotate(100, hour(1).plus(SECRET_OVERLAP)).await.unwrap());
}

async fn one_key_is_active_and_a_name_is_used_once(world: World) {
    let (store, mine) = (&world.store, &world.organisation);
    let receiver = world.receiver(START).await;
    let later = START.plus(Duration::from_secs(1));
    let second = world.key(&receiver.endpoint, later).await;
    let keys = || async { world.keys(mine, &receiver.endpoint).await.unwrap() };
    let [new, old] = keys().await.try_into().unwrap();
    assert_eq!((new.key_id.as_str(), new.active, new.jwk.clone()), (second.key_id(), true, second.public_jwk()));
    assert_eq!((old.active, old.deactivated_at), (false, Some(later)));

    let back = store.set_webhook_key_active(mine, &old.id, true, later).await.unwrap().unwrap();
    assert_eq!((back.active, back.deactivated_at), (true, None));
    assert!(!keys().await[0].active);
    store.set_webhook_key_active(mine, &old.id, false, later).await.unwrap().unwrap();
    assert!(keys().await.iter().all(|key| !key.active));

    let twin = NewWebhookKey {
        id: EncryptionKeyId::generate(later, &mut rand::rng()),
        organisation_id: mine.clone(),
        endpoint_id: receiver.endpoint.clone(),
        key_id: new.key_id.clone(),
        jwk: new.jwk.clone(),
    };
    assert!(matches!(store.add_webhook_key(twin, later).await, Err(StoreError::Conflict(_))));
}

async fn keys_come_in_pages_newest_first(world: World) {
    let store = &world.store;
    let receiver = world.receiver(START).await;
    for seconds in 1..3 {
        world.key(&receiver.endpoint, START.plus(Duration::from_secs(seconds))).await;
    }
    let page = async |limit, after: Option<&EncryptionKeyId>| {
        let page = PageRequest { limit, starting_after: after.map(ToString::to_string) };
        store.list_webhook_keys(&world.organisation, &receiver.endpoint, page).await
    };
    let all = world.keys(&world.organisation, &receiver.endpoint).await.unwrap();
    assert!(all.len() == 3 && all.is_sorted_by(|a, b| a.created_at > b.created_at));
    let first = page(2, None).await.unwrap().unwrap();
    assert_eq!(first.items.iter().map(|key| &key.id).collect::<Vec<_>>(), [&all[0].id, &all[1].id]);
    assert_eq!((first.has_more, first.next_cursor), (true, Some(all[1].id.to_string())));
    let last = page(2, Some(&all[1].id)).await.unwrap().unwrap();
    assert_eq!((last.items[0].id.clone(), last.items.len(), last.has_more), (all[2].id.clone(), 1, false));
    // Another endpoint's key is no place in this list.
    let other = world.receiver(START).await;
    let foreign = world.keys(&world.organisation, &other.endpoint).await.unwrap().remove(0).id;
    assert!(matches!(page(2, Some(&foreign)).await, Err(StoreError::InvalidCursor)));
}

async fn another_organisation_touches_nothing(world: World) {
    let store = &world.store;
    let receiver = world.receiver(START).await;
    let key = world.keys(&world.organisation, &receiver.endpoint).await.unwrap().remove(0);
    let other = new_organisation(store).await;
    let endpoint = &receiver.endpoint;
    assert!(store.endpoint(&other, endpoint).await.unwrap().is_none());
    assert!(store.update_endpoint(&other, endpoint, EndpointUpdate::default(), START).await.unwrap().is_none());
    assert!(!store.delete_endpoint(&other, endpoint, START).await.unwrap());
    assert!(store.signing_secrets(&other, endpoint, START).await.unwrap().is_none());
    assert!(!store.rotate_signing_secret(&other, endpoint, vec![1], START).await.unwrap());
    assert!(world.keys(&other, endpoint).await.is_none());
    assert!(store.set_webhook_key_active(&other, &key.id, false, START).await.unwrap().is_none());
    let theirs = NewWebhookKey {
        id: EncryptionKeyId::generate(START, &mut rand::rng()),
        organisation_id: other,
        endpoint_id: endpoint.clone(),
        key_id: "theirs".into(),
        jwk: key.jwk,
    };
    assert!(store.add_webhook_key(theirs, START).await.unwrap().is_none());
    assert!(world.keys(&world.organisation, endpoint).await.unwrap()[0].active);
}

async fn disabling_an_endpoint_ends_its_pending_deliveries(world: World) {
    let (store, mine) = (&world.store, &world.organisation);
    let receiver = world.receiver(START).await;
    let session = world.session(ContractVersion::V2, START).await.id;
    store.cancel_session(None, &session, START).await.unwrap();
    let disable = EndpointUpdate { enabled: Some(false), ..Default::default() };
    let disabled = store.update_endpoint(mine, &receiver.endpoint, disable, START).await.unwrap().unwrap();
    assert_eq!((disabled.enabled, disabled.disabled_at), (false, Some(START)));
    assert!(store.claim_due_deliveries(10, 10, LEASE, START).await.unwrap().is_empty());
    let failed = store.list_deliveries(mine, DeliveryFilter::default(), PageRequest::default()).await.unwrap();
    assert_eq!(
        (failed.items[0].status, failed.items[0].reason.as_deref()),
        (DeliveryStatus::Failed, Some("endpoint_disabled"))
    );
    assert!(failed.items[0].payload_available, "kept for the endpoint's retention");

    // It hears of nothing while it is disabled, and of everything again afterwards.
    let silent = world.session(ContractVersion::V2, START).await.id;
    store.cancel_session(None, &silent, START).await.unwrap();
    let enable = EndpointUpdate { enabled: Some(true), ..Default::default() };
    let enabled = store.update_endpoint(mine, &receiver.endpoint, enable, START).await.unwrap().unwrap();
    assert_eq!((enabled.enabled, enabled.disabled_at), (true, None));
    let heard = world.session(ContractVersion::V2, START).await.id;
    store.cancel_session(None, &heard, START).await.unwrap();
    let received = world.received(&receiver, START).await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["metadata"]["verification_session_id"], heard.as_str());
}

async fn deleting_an_endpoint_destroys_its_payloads_and_secrets(world: World) {
    let (store, mine) = (&world.store, &world.organisation);
    let receiver = world.receiver(START).await;
    let session = world.session(ContractVersion::V2, START).await.id;
    store.cancel_session(None, &session, START).await.unwrap();
    store.delete_endpoint(mine, &receiver.endpoint, START).await.unwrap();
    let deliveries = store.list_deliveries(mine, DeliveryFilter::default(), PageRequest::default()).await.unwrap();
    let delivery = &deliveries.items[0];
    assert_eq!((delivery.status, delivery.reason.as_deref()), (DeliveryStatus::Failed, Some("endpoint_deleted")));
    assert!(!delivery.payload_available);
    for table in ["signing_secrets", "encryption_keys"] {
        let count = store.texts(&format!("SELECT CAST(count(*) AS TEXT) AS text FROM {table}")).await.unwrap();
        assert_eq!(count, ["0"], "{table}");
    }
}
