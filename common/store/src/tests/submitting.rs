//! Submissions that share a transaction: none is better or worse off for its company.

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use proofmill_contract::limits::HANDOFF_LIFE;
use proofmill_contract::{AttemptId, ContractVersion, SessionStatus};

use super::harness::{LEASE, MISMATCH, START, World, on_both, on_postgres, submission};
use crate::{Answer, Begin, Offer, SealedAnswer, StoreError, SubmitResult};

on_both!(
    a_group_takes_what_is_plain_and_leaves_the_rest,
    of_two_attempts_of_a_session_the_open_one_is_taken,
    a_refused_answer_undoes_the_group_and_harms_no_other,
    an_unreadable_row_harms_no_other,
    evidence_and_answers_of_a_group_are_one_transaction,
);

#[test]
fn a_held_row_holds_up_no_neighbour() {
    on_postgres(held_row);
}

fn offer(attempt: &AttemptId, bytes: u8) -> Arc<Offer> {
    Arc::new(Offer { attempt: attempt.clone(), submission: submission(bytes), answer: None, now: START })
}

fn answered(attempt: &AttemptId, token: &str) -> Arc<Offer> {
    let compose = |_: &SubmitResult| Ok(Some(SealedAnswer { status: 202, sealed: b"sealed".to_vec() }));
    let answer = Some(Answer::new(token.to_owned(), compose));
    Arc::new(Offer { attempt: attempt.clone(), submission: submission(1), answer, now: START })
}

impl World {
    async fn awaiting(&self) -> AttemptId {
        let session = self.session(ContractVersion::V2, START).await.id;
        self.attempt(&session, START).await.id
    }

    async fn idempotency_key(&self, name: &str) -> String {
        match self.store.begin_idempotent(&self.organisation, "route", name, [1; 32], LEASE, START).await.unwrap() {
            Begin::Fresh(token) => token,
            _ => panic!("the key is not fresh"),
        }
    }

    /// Which of the group were taken by it.
    async fn group(&self, offers: Vec<Arc<Offer>>) -> Vec<bool> {
        let taken = |result: Result<Option<SubmitResult>, StoreError>| match result.unwrap() {
            None => false,
            Some(SubmitResult::Accepted(_)) => true,
            Some(other) => panic!("{other:?}"),
        };
        self.store.submit_group(offers).await.into_iter().map(taken).collect()
    }

    async fn is_submitted(&self, attempt: &AttemptId) -> bool {
        self.store.attempt(None, attempt, START).await.unwrap().unwrap().attempt.submitted_at.is_some()
    }
}

async fn a_group_takes_what_is_plain_and_leaves_the_rest(world: World) {
    let (first, last) = (world.awaiting().await, world.awaiting().await);
    let repeated = world.awaiting().await;
    world.store.submit_evidence(&repeated, submission(1), START).await.unwrap();
    let cancelled = world.session(ContractVersion::V2, START).await.id;
    let of_cancelled = world.attempt(&cancelled, START).await.id;
    world.store.cancel_session(None, &cancelled, START).await.unwrap();
    let unknown = AttemptId::generate(START, &mut rand::rng());
    let selfies = world.awaiting().await;
    let mut without_chip = submission(1);
    without_chip.chip_evidence_kept_used = true;
    let late = world.awaiting().await;
    let after_the_handoff = START.plus(HANDOFF_LIFE);

    let taken = world
        .group(vec![
            offer(&first, 1),
            offer(&repeated, 1),
            offer(&of_cancelled, 1),
            offer(&unknown, 1),
            Arc::new(Offer { attempt: selfies.clone(), submission: without_chip, answer: None, now: START }),
            Arc::new(Offer { attempt: late.clone(), submission: submission(1), answer: None, now: after_the_handoff }),
            offer(&last, 1),
            // Other bytes for an attempt that the same group has taken.
            offer(&first, 2),
        ])
        .await;
    assert_eq!(taken, [true, false, false, false, false, false, true, false]);
    for (attempt, submitted) in [(&first, true), (&last, true), (&selfies, false), (&late, false)] {
        assert_eq!(world.is_submitted(attempt).await, submitted);
    }
    // What was taken is in the outbox under its own evidence, and its session has begun.
    let due = world.store.outbox_due(10, LEASE, START).await.unwrap();
    assert_eq!(due.len(), 3);
    for attempt in [&first, &last] {
        let leased = world.lease(attempt, START).await;
        assert_eq!(leased.session.status, SessionStatus::InProgress);
        assert_eq!(leased.selected_field_keys, ["family_name", "kayle_document_id"]);
    }
    let again = world.store.submit_evidence(&first, submission(2), START).await.unwrap();
    assert!(matches!(again, SubmitResult::AlreadySubmitted));
    let again = world.store.submit_evidence(&first, submission(1), START).await.unwrap();
    assert!(matches!(again, SubmitResult::Repeat(_)));
}

async fn of_two_attempts_of_a_session_the_open_one_is_taken(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let stale = world.attempt(&session, START).await.id;
    let later = START.plus(HANDOFF_LIFE);
    let open = world.attempt(&session, later).await.id;
    let at = |attempt: &AttemptId| {
        Arc::new(Offer { attempt: attempt.clone(), submission: submission(1), answer: None, now: later })
    };
    assert_eq!(world.group(vec![at(&stale), at(&open)]).await, [false, true]);
    let refused = world.store.submit_evidence(&stale, submission(1), later).await.unwrap();
    assert!(matches!(refused, SubmitResult::HandoffExpired));
}

async fn a_refused_answer_undoes_the_group_and_harms_no_other(world: World) {
    let attempts = [world.awaiting().await, world.awaiting().await, world.awaiting().await];
    let (good, given_up) = (world.idempotency_key("good").await, world.idempotency_key("given up").await);
    world.store.abandon_idempotent(&given_up).await.unwrap();
    let [plain, refused, keyed] = &attempts;
    let offers = vec![offer(plain, 1), answered(refused, &given_up), answered(keyed, &good)];
    assert_eq!(world.group(offers).await, [false; 3]);
    for attempt in &attempts {
        assert!(!world.is_submitted(attempt).await);
    }

    // As callers see it, all at once.
    let submit = |offer: Arc<Offer>| {
        let store = world.store.clone();
        tokio::spawn(async move {
            let Ok(offer) = Arc::try_unwrap(offer) else { panic!("shared") };
            store.submit_evidence_once(&offer.attempt, offer.submission, offer.answer, offer.now).await
        })
    };
    let tasks = [submit(offer(plain, 1)), submit(answered(refused, &given_up)), submit(answered(keyed, &good))];
    let [one, two, three] = tasks;
    assert!(matches!(one.await.unwrap(), Ok(SubmitResult::Accepted(_))));
    assert!(matches!(two.await.unwrap(), Err(StoreError::KeyTakenOver)));
    assert!(matches!(three.await.unwrap(), Ok(SubmitResult::Accepted(_))));
    assert!(!world.is_submitted(refused).await);
}

async fn an_unreadable_row_harms_no_other(world: World) {
    let (odd, good) = (world.awaiting().await, world.awaiting().await);
    // Seven octets of challenge instead of eight.
    let cut = format!("UPDATE attempts SET challenge = substr(challenge, 1, 7) WHERE id = '{odd}'");
    world.store.execute(&cut).await.unwrap();
    assert_eq!(world.group(vec![offer(&odd, 1), offer(&good, 1)]).await, [false, false]);
    let refused = world.store.submit_evidence(&odd, submission(1), START).await;
    assert!(matches!(refused, Err(StoreError::Corrupt("attempts.challenge"))), "{refused:?}");
    let accepted = world.store.submit_evidence(&good, submission(1), START).await.unwrap();
    assert!(matches!(accepted, SubmitResult::Accepted(_)));
}

async fn evidence_and_answers_of_a_group_are_one_transaction(world: World) {
    let (one, other) = (world.awaiting().await, world.awaiting().await);
    let (first, second) = (world.idempotency_key("first").await, world.idempotency_key("second").await);
    assert_eq!(world.group(vec![answered(&one, &first), answered(&other, &second)]).await, [true, true]);
    for name in ["first", "second"] {
        let later = START.plus(Duration::from_secs(1));
        let begun =
            world.store.begin_idempotent(&world.organisation, "route", name, [1; 32], LEASE, later).await.unwrap();
        assert!(begun == Begin::Replay { sealed: b"sealed".to_vec(), status: 202 });
    }
}

/// Somebody who is long in a transaction with one session.
async fn held_row(world: World) {
    let session = world.session(ContractVersion::V2, START).await.id;
    let held = world.attempt(&session, START).await.id;
    let free = world.awaiting().await;
    let mut other = PgConnection::establish(&world.url).unwrap();
    other.batch_execute(&format!("BEGIN; SELECT 1 FROM sessions WHERE id = '{session}' FOR UPDATE")).unwrap();
    assert_eq!(world.group(vec![offer(&held, 1), offer(&free, 1)]).await, [false, true]);
    // Through the door that callers use it waits its turn, and alone.
    let waiting = tokio::spawn({
        let (store, held) = (world.store.clone(), held.clone());
        async move { store.submit_evidence(&held, submission(1), START).await }
    });
    let neighbour = world.session(ContractVersion::V2, START).await.id;
    world.decide(&neighbour, MISMATCH, START).await;
    other.batch_execute("COMMIT").unwrap();
    assert!(matches!(waiting.await.unwrap().unwrap(), SubmitResult::Accepted(_)));
}
