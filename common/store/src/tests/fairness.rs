//! Whose deliveries get the senders' room, and how many endpoints an organisation may have.

use std::collections::HashMap;
use std::sync::Arc;

use proofmill_contract::events::EventType;
use proofmill_contract::{ContractVersion, EndpointId, OrganisationId};

use super::harness::{LEASE, START, World, new_organisation, on_both};
use crate::{ClaimRequest, DueDelivery, MAX_ENDPOINTS, NewEndpoint, Pace, StoreError};

on_both!(
    slow_endpoints_of_one_organisation_leave_room_for_anothers,
    what_is_slow_does_not_get_the_reserve_whoever_it_belongs_to,
    busy_organisations_whose_endpoints_all_hang_leave_room_for_the_next_one,
    an_endpoint_gets_what_its_pace_allows,
    an_organisation_has_so_many_endpoints_and_no_more,
);

/// Room for 64 deliveries, none of which has been sent before.
fn request() -> ClaimRequest {
    ClaimRequest {
        limit: 64,
        reserved: 16,
        divided: true,
        per_endpoint: 32,
        per_new_endpoint: 4,
        per_organisation: 16,
        paces: Arc::default(),
        probes: 16,
        lease_for: LEASE,
        after: None,
    }
}

fn paces(endpoints: &[String], pace: Pace) -> Arc<HashMap<String, Pace>> {
    Arc::new(endpoints.iter().map(|endpoint| (endpoint.clone(), pace)).collect())
}

async fn claim(world: &World, request: ClaimRequest) -> Vec<DueDelivery> {
    world.store.claim_deliveries(request, START).await.unwrap().deliveries
}

/// Six events of one endpoint of the world's organisation, to be copied: encrypting them anew would take long.
async fn original(world: &World) -> EndpointId {
    let endpoint = world.receiver(START).await.endpoint;
    for _ in 0..6 {
        let session = world.session(ContractVersion::V2, START).await.id;
        world.store.cancel_session(None, &session, START).await.unwrap();
    }
    endpoint
}

/// Copies of an endpoint with its deliveries, numbered from `first` (four digits), all of one organisation.
async fn copies(world: &World, of: &EndpointId, owner: &OrganisationId, first: u32, many: u32) -> Vec<String> {
    let last = first + many - 1;
    let numbers =
        format!("WITH RECURSIVE numbers (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})");
    let endpoints = format!(
        "{numbers} INSERT INTO webhook_endpoints SELECT substr(id, 1, 32) || CAST(n AS TEXT), '{owner}', url, name, \
         labels, enabled, subscribed_event_types, retention_hours, created_at, updated_at, disabled_at, deleted_at \
         FROM webhook_endpoints, numbers WHERE id = '{of}'"
    );
    assert_eq!(world.store.execute(&endpoints).await.unwrap(), many as usize);
    let deliveries = format!(
        "{numbers} INSERT INTO deliveries (id, event_id, endpoint_id, organisation_id, session_id, event_type, status, \
         payload, next_attempt_at, created_at, updated_at) SELECT substr(id, 1, 64) || CAST(n AS TEXT), event_id, \
         substr(endpoint_id, 1, 32) || CAST(n AS TEXT), '{owner}', session_id, event_type, status, payload, \
         next_attempt_at, created_at, updated_at FROM deliveries, numbers WHERE endpoint_id = '{of}'"
    );
    assert_eq!(world.store.execute(&deliveries).await.unwrap(), 6 * many as usize);
    (first..=last).map(|n| format!("{}{n}", &of.as_str()[..32])).collect()
}

fn owned_by<'a>(claimed: &'a [DueDelivery], owner: &'a OrganisationId) -> impl Iterator<Item = &'a DueDelivery> {
    claimed.iter().filter(move |due| &due.organisation_id == owner)
}

async fn slow_endpoints_of_one_organisation_leave_room_for_anothers(world: World) {
    let first = original(&world).await;
    let other = new_organisation(&world.store).await;
    let mut slow = copies(&world, &first, &world.organisation, 1000, 19).await;
    slow.push(first.to_string());
    let well = copies(&world, &first, &other, 2000, 1).await;

    // Nothing is known of anybody: twenty endpoints with 120 deliveries, of one organisation.
    let claimed = claim(&world, request()).await;
    assert_eq!(owned_by(&claimed, &world.organisation).count(), 16, "an organisation's share");
    assert_eq!(owned_by(&claimed, &other).count(), 4);
    // What is in flight counts, whichever sender has it.
    let mut known = (*paces(&slow, Pace { most: 1, quick: false })).clone();
    known.extend((*paces(&well, Pace { most: 5, quick: true })).clone());
    let claimed = claim(&world, ClaimRequest { limit: 44, paces: Arc::new(known), ..request() }).await;
    assert_eq!((owned_by(&claimed, &world.organisation).count(), owned_by(&claimed, &other).count()), (0, 1));
}

async fn what_is_slow_does_not_get_the_reserve_whoever_it_belongs_to(world: World) {
    let first = original(&world).await;
    let mut slow = Vec::new();
    for group in 1..=5 {
        let owner = new_organisation(&world.store).await;
        slow.extend(copies(&world, &first, &owner, group * 1000, 8).await);
    }
    let known = paces(&slow, Pace { most: 2, quick: false });
    // Eighty might be in flight to forty slow endpoints of five organisations; the original is new.
    let request = || ClaimRequest { reserved: 32, ..request() };
    let mut claimed = Vec::new();
    loop {
        let some = claim(&world, ClaimRequest { limit: 64 - claimed.len(), paces: known.clone(), ..request() }).await;
        if some.is_empty() {
            break;
        }
        claimed.extend(some);
    }
    let new = claimed.iter().filter(|due| due.endpoint_id == first).count();
    let slow = claimed.len() - new;
    assert!((10..=32).contains(&slow) && (1..=4).contains(&new), "{slow} slow, {new} new");
    // The rest is for what is quick.
    let mut quick = (*known).clone();
    quick.insert(first.to_string(), Pace { most: 32, quick: true });
    let limit = 64 - claimed.len();
    let taken = claim(&world, ClaimRequest { limit, paces: Arc::new(quick), ..request() }).await;
    assert!(taken.iter().all(|due| due.endpoint_id == first));
    assert_eq!(new + taken.len(), 6);
}

/// They were quick until they hung all at once: nothing that is known of them tells.
async fn busy_organisations_whose_endpoints_all_hang_leave_room_for_the_next_one(world: World) {
    let first = original(&world).await;
    world.store.execute("DELETE FROM deliveries WHERE status <> 'pending'").await.unwrap();
    let mut hanging = Vec::new();
    for group in 1..=5 {
        let owner = new_organisation(&world.store).await;
        hanging.extend(copies(&world, &first, &owner, group * 1000, 8).await);
    }
    // The next one's come later.
    let late = format!("UPDATE deliveries SET next_attempt_at = {} WHERE endpoint_id = '{first}'", START.0 + 1);
    world.store.execute(&late).await.unwrap();
    let known = paces(&hanging, Pace { most: 32, quick: true });
    let mut claimed = 0;
    loop {
        let some = claim(&world, ClaimRequest { limit: 64 - claimed, paces: known.clone(), ..request() }).await.len();
        if some == 0 {
            break;
        }
        claimed += some;
    }
    assert!((40..60).contains(&claimed), "{claimed}");
    let now = START.plus(std::time::Duration::from_secs(1));
    let next = ClaimRequest { limit: 64 - claimed, paces: known, ..request() };
    let next = world.store.claim_deliveries(next, now).await.unwrap().deliveries;
    assert!(next.iter().any(|due| due.endpoint_id == first));
}

async fn an_endpoint_gets_what_its_pace_allows(world: World) {
    let first = original(&world).await.to_string();
    let known = |most, quick| paces(std::slice::from_ref(&first), Pace { most, quick });
    let some = async |paces| claim(&world, ClaimRequest { paces, ..request() }).await.len();
    assert_eq!(some(known(1, false)).await, 1);
    assert_eq!(some(known(1, false)).await, 0);
    assert_eq!(some(known(3, true)).await, 2);
    assert_eq!(some(Arc::default()).await, 1, "four of a new one");
    assert_eq!(some(known(100, true)).await, 2);
}

async fn an_organisation_has_so_many_endpoints_and_no_more(world: World) {
    let one = |owner: &OrganisationId| NewEndpoint {
        id: EndpointId::generate(START, &mut rand::rng()),
        organisation_id: owner.clone(),
        url: "https://hooks.example/in".into(),
        name: None,
        labels: vec![],
        enabled: true,
        subscribed_event_types: EventType::ALL.to_vec(),
        undelivered_payload_retention_hours: 72,
        signing_secret_sealed: vec![1],
    };
    let mut last = None;
    for _ in 0..MAX_ENDPOINTS {
        last = Some(world.store.create_endpoint(one(&world.organisation), START).await.unwrap().id);
    }
    let refused = world.store.create_endpoint(one(&world.organisation), START).await;
    assert!(matches!(refused, Err(StoreError::TooManyEndpoints(MAX_ENDPOINTS))));
    let other = new_organisation(&world.store).await;
    world.store.create_endpoint(one(&other), START).await.unwrap();
    // A deleted one does not count.
    assert!(world.store.delete_endpoint(&world.organisation, &last.unwrap(), START).await.unwrap());
    world.store.create_endpoint(one(&world.organisation), START).await.unwrap();
}
