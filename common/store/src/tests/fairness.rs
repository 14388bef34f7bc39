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
    an_endpoint_gets_what_its_pace_allows,
    an_organisation_has_so_many_endpoints_and_no_more,
);

/// Room for 64 deliveries, none of which has been sent before.
fn request() -> ClaimRequest {
    ClaimRequest {
        limit: 64,
        reserved: 16,
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
    // Eighty might be in flight to forty slow endpoints of five organisations. The original is new: it has one in the reserve.
    let claimed = claim(&world, ClaimRequest { paces: known.clone(), ..request() }).await;
    let new = claimed.iter().filter(|due| due.endpoint_id == first).count();
    assert!(new == 4 && claimed.len() == 48 || new == 1 && claimed.len() == 49, "{new} of {}", claimed.len());
    // The rest of the room is the reserve: nothing of it for what is slow, nor another one for what is unknown.
    let rest = |paces| ClaimRequest { limit: 16, paces, ..request() };
    assert!(claim(&world, rest(known.clone())).await.is_empty());
    // All of it for what is quick.
    let mut quick = (*known).clone();
    quick.insert(first.to_string(), Pace { most: 32, quick: true });
    let taken = claim(&world, rest(Arc::new(quick))).await;
    assert!(taken.iter().all(|due| due.endpoint_id == first));
    assert_eq!(new + taken.len(), 6);
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
