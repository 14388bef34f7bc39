//! Sessions past their time, attempts never submitted.

use std::time::Duration;

use proofmill_contract::limits::{HANDOFF_LIFE, SESSION_LIFE};
use proofmill_contract::{AttemptStatus, ContractVersion, Phase, SessionStatus};

use super::harness::{MISMATCH, START, World, on_both, submission, verdict};
use crate::{PageRequest, SessionFilter, SettleResult, StoreError, SubmitResult};

on_both!(
    a_session_past_its_time_is_expired_on_first_sight_with_one_event,
    evidence_accepted_in_time_defers_expiry_until_its_verdict,
    evidence_whose_key_is_gone_defers_expiry_no_longer,
    the_sweep_expires_up_to_its_limit_and_cancels_what_was_open,
    a_filtered_list_sees_sessions_as_they_now_are,
    an_attempt_never_submitted_is_cancelled_and_nobody_is_charged,
    a_handoff_that_is_over_is_cancelled_at_first_sight,
    a_sessions_attempts_come_in_pages_newest_first,
);

async fn a_handoff_that_is_over_is_cancelled_at_first_sight(world: World) {
    let over = START.plus(HANDOFF_LIFE);
    let just_before = over.minus(Duration::from_micros(1));
    let later = over.plus(Duration::from_secs(9));
    let standing = |found: crate::Attempt| (found.status, found.completed_at);
    let cancelled = (AttemptStatus::Cancelled, Some(over));
    for first_sight in 0..3 {
        let session = world.session(ContractVersion::V2, START).await.id;
        let attempt = world.attempt(&session, START).await.id;
        let one = async |now| world.store.attempt(None, &attempt, now).await.unwrap().unwrap().attempt;
        assert_eq!(one(just_before).await.status, AttemptStatus::InProgress);
        let seen = match first_sight {
            0 => one(over).await,
            1 => world.store.list_attempts(&session, PageRequest::default(), over).await.unwrap().items.remove(0),
            _ => world.store.attempts_of(std::slice::from_ref(&session), over).await.unwrap().remove(0),
        };
        assert_eq!(standing(seen), cancelled);
        assert_eq!(standing(one(later).await), cancelled, "once, when it was seen");
        assert_eq!(world.reload(&session, later).await.counters, Default::default());
    }
    assert_eq!(world.store.cancel_stale_handoffs(later, 10).await.unwrap(), 0, "nothing is left to the sweep");

    // Evidence that was accepted in time is waited for.
    let session = world.session(ContractVersion::V2, START).await.id;
    let submitted = world.submitted(&session, START).await;
    assert_eq!(world.store.attempt(None, &submitted, later).await.unwrap().unwrap().attempt.phase, Phase::Queued);
}

async fn a_sessions_attempts_come_in_pages_newest_first(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let mut made = Vec::new();
    let mut now = START;
    for _ in 0..3 {
        made.insert(0, world.attempt(&session, now).await.id.to_string());
        now = now.plus(HANDOFF_LIFE);
    }
    let page = async |limit, after: Option<&str>| {
        let page = PageRequest { limit, starting_after: after.map(str::to_owned) };
        world.store.list_attempts(&session, page, now).await
    };
    let ids = |page: crate::Page<crate::Attempt>| page.items.iter().map(|one| one.id.to_string()).collect::<Vec<_>>();
    let first = page(2, None).await.unwrap();
    assert_eq!((first.has_more, first.next_cursor.as_deref()), (true, Some(made[1].as_str())));
    assert!(first.items.iter().all(|attempt| attempt.status == AttemptStatus::Cancelled));
    assert_eq!(ids(first), made[..2]);
    let last = page(2, Some(&made[1])).await.unwrap();
    assert_eq!((last.has_more, last.next_cursor.clone()), (false, None));
    assert_eq!(ids(last), made[2..]);
    // Another session's attempt is no place in this list.
    let other = world.session(ContractVersion::V2, START).await.id;
    let foreign = world.attempt(&other, START).await.id;
    assert!(matches!(page(2, Some(foreign.as_str())).await, Err(StoreError::InvalidCursor)));
}

async fn a_session_past_its_time_is_expired_on_first_sight_with_one_event(world: World) {
    let receiver = world.receiver(START).await;
    let session = world.session(ContractVersion::V2, START).await.id;
    let end = START.plus(SESSION_LIFE);
    let just_before = end.minus(Duration::from_micros(1));
    assert_eq!(world.reload(&session, just_before).await.status, SessionStatus::Created);
    let expired = world.reload(&session, end).await;
    assert_eq!((expired.status, expired.completed_at), (SessionStatus::Expired, Some(end)));
    world.reload(&session, end).await;
    assert_eq!(world.store.expire_due(end, 100).await.unwrap(), 0);
    assert_eq!(world.event_types(&session).await, ["verification.session.expired"]);
    let received = world.received(&receiver, end).await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["data"], serde_json::json!({}));
    assert_eq!(received[0]["metadata"]["verification_session_id"], session.as_str());
}

async fn evidence_accepted_in_time_defers_expiry_until_its_verdict(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let in_time = START.plus(SESSION_LIFE - Duration::from_secs(1));
    let leased = world.leased(&session, in_time).await;
    let late = START.plus(SESSION_LIFE + Duration::from_secs(600));
    assert_eq!(world.store.expire_due(late, 100).await.unwrap(), 0);
    assert_eq!(world.reload(&session, late).await.status, SessionStatus::InProgress);

    let settled = world.settle_one(verdict(&leased, MISMATCH), late).await;
    assert!(matches!(settled, SettleResult::Settled { session_status: SessionStatus::InProgress, .. }));
    let expired = world.reload(&session, late).await;
    assert_eq!((expired.status, expired.counters.liveness_tries_used), (SessionStatus::Expired, 1));
    assert_eq!(world.event_types(&session).await, ["verification.session.expired"]);
}

async fn evidence_whose_key_is_gone_defers_expiry_no_longer(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let attempt = world.submitted(&session, START).await;
    let two_days = START.plus(Duration::from_secs(48 * 60 * 60));
    assert_eq!(world.store.expire_due(two_days, 100).await.unwrap(), 1);
    let attempt = world.store.attempt(None, &attempt, two_days).await.unwrap().unwrap();
    assert_eq!(attempt.attempt.status, AttemptStatus::Cancelled);
    assert_eq!(attempt.session.status, SessionStatus::Expired);
    assert!(world.store.epochs_in_use().await.unwrap().is_empty());
}

async fn the_sweep_expires_up_to_its_limit_and_cancels_what_was_open(world: World) {
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let session = world.session(ContractVersion::V1, START).await.id;
        sessions.push((world.attempt(&session, START).await.id, session));
    }
    let end = START.plus(SESSION_LIFE);
    assert_eq!(world.store.expire_due(end, 2).await.unwrap(), 2);
    assert_eq!(world.store.expire_due(end, 2).await.unwrap(), 1);
    assert_eq!(world.store.expire_due(end, 2).await.unwrap(), 0);
    for (attempt, session) in sessions {
        let attempt = world.store.attempt(None, &attempt, end).await.unwrap().unwrap().attempt;
        assert_eq!(attempt.status, AttemptStatus::Cancelled);
        assert_eq!(world.event_types(&session).await, ["verification.session.expired"]);
    }
}

async fn a_filtered_list_sees_sessions_as_they_now_are(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let end = START.plus(SESSION_LIFE);
    let list = |status| {
        let filter = SessionFilter { status: Some(status), ..Default::default() };
        world.store.list_sessions(&world.organisation, filter, PageRequest::default(), end)
    };
    assert!(list(SessionStatus::Created).await.unwrap().items.is_empty());
    assert_eq!(list(SessionStatus::Expired).await.unwrap().items[0].id, session);
}

async fn an_attempt_never_submitted_is_cancelled_and_nobody_is_charged(world: World) {
    let session = world.session(ContractVersion::V1, START).await.id;
    let attempt = world.attempt(&session, START).await.id;
    let end = START.plus(HANDOFF_LIFE);
    assert_eq!(world.store.cancel_stale_handoffs(end.minus(Duration::from_micros(1)), 10).await.unwrap(), 0);
    assert_eq!(world.store.cancel_stale_handoffs(end, 10).await.unwrap(), 1);
    assert_eq!(world.store.cancel_stale_handoffs(end, 10).await.unwrap(), 0);
    let found = world.store.attempt(None, &attempt, end).await.unwrap().unwrap();
    assert_eq!(found.attempt.status, AttemptStatus::Cancelled);
    assert_eq!(found.session.counters, Default::default());
    let submitted = world.store.submit_evidence(&attempt, submission(1), end).await.unwrap();
    assert!(matches!(submitted, SubmitResult::HandoffExpired));
    assert!(world.event_types(&session).await.is_empty());
}
