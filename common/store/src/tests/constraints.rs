//! What must hold even if the code were wrong: the database refuses it.

use proofmill_contract::{ContractVersion, Outcome};

use super::harness::{MISMATCH, START, World, on_both};
use crate::StoreError;

on_both!(
    a_session_has_at_most_one_accepted_and_one_open_attempt,
    a_session_has_at_most_one_terminal_event,
    an_endpoint_has_at_most_one_active_key,
    a_settled_attempt_cannot_hold_a_wrapped_key,
    statuses_and_counters_stay_in_range,
    rows_do_not_dangle,
);

async fn refused(world: &World, sql: &str) {
    match world.store.execute(sql).await {
        Err(StoreError::Conflict(constraint)) => assert!(!constraint.is_empty()),
        other => panic!("{sql}: {other:?}"),
    }
}

/// No caller can bring it about: whoever is told of it is told of a fault of ours.
async fn our_fault(world: &World, sql: &str) {
    match world.store.execute(sql).await {
        Err(StoreError::RuleBroken(constraint)) => assert!(!constraint.is_empty()),
        other => panic!("{sql}: {other:?}"),
    }
}

fn copy_of_attempt(session: &str, status: &str, completed: &str) -> String {
    format!(
        "INSERT INTO attempts (id, session_id, status, lane, challenge, handoff_expires_at, created_at, updated_at, \
         completed_at) SELECT 'va_copy', session_id, '{status}', lane, challenge, handoff_expires_at, created_at, \
         updated_at, {completed} FROM attempts WHERE session_id = '{session}'"
    )
}

async fn a_session_has_at_most_one_accepted_and_one_open_attempt(world: World) {
    let accepted = world.session(ContractVersion::V2, START).await.id;
    world.decide(&accepted, Outcome::Accepted, START).await;
    refused(&world, &copy_of_attempt(accepted.as_str(), "succeeded", "1")).await;

    let open = world.session(ContractVersion::V2, START).await.id;
    world.attempt(&open, START).await;
    refused(&world, &copy_of_attempt(open.as_str(), "in_progress", "NULL")).await;
    // The same statement with another status passes, so it is the index that refused.
    world.store.execute(&copy_of_attempt(open.as_str(), "failed", "1")).await.unwrap();
}

async fn a_session_has_at_most_one_terminal_event(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    world.store.cancel_session(None, &session, START).await.unwrap();
    let copy = |id: &str, terminal: &str| {
        format!(
            "INSERT INTO events (id, organisation_id, session_id, event_type, contract_version, terminal, created_at) \
             SELECT '{id}', organisation_id, session_id, event_type, contract_version, {terminal}, created_at \
             FROM events WHERE session_id = '{session}' AND id LIKE 'evt_%' LIMIT 1"
        )
    };
    refused(&world, &copy("copy_1", "terminal")).await;
    world.store.execute(&copy("copy_2", "NOT terminal")).await.unwrap();
}

async fn an_endpoint_has_at_most_one_active_key(world: World) {
    let receiver = world.receiver(START).await;
    world.key(&receiver.endpoint, START).await;
    refused(&world, "UPDATE encryption_keys SET active = NOT active WHERE NOT active").await;
}

async fn a_settled_attempt_cannot_hold_a_wrapped_key(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    world.submitted(&session, START).await;
    our_fault(&world, "UPDATE attempts SET status = 'failed', completed_at = 1, outbox_at = NULL").await;
}

async fn statuses_and_counters_stay_in_range(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    world.decide(&session, MISMATCH, START).await;
    our_fault(&world, "UPDATE sessions SET status = 'done'").await;
    our_fault(&world, "UPDATE sessions SET liveness_tries_used = 4").await;
    our_fault(&world, "UPDATE sessions SET status = 'succeeded'").await;
    our_fault(&world, "UPDATE attempts SET status = 'in_progress'").await;
}

async fn rows_do_not_dangle(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    world.attempt(&session, START).await;
    refused(&world, "DELETE FROM sessions").await;
    refused(&world, "DELETE FROM organisations").await;
}
