//! The store against the pure life of a session: whatever happens, in whatever order, rows and events are what the contract's
//! state machine says.

use std::time::Duration;

use proofmill_contract::limits::{HANDOFF_LIFE, SESSION_LIFE};
use proofmill_contract::session::{CancelToken, Effect, Happening, Life, OpenAttempt as Open, Receipt};
use proofmill_contract::{
    AttemptId, AttemptStatus, ContractVersion, ErrorCode, FailureCode, Outcome, SessionId, SessionStatus, Timestamp,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::harness::{LEASE, START, World, new_attempt, on_both, submission, verdict};
use crate::{DeliveryOutcome, OpenAttempt, PublicCancel, SettleResult, SubmitResult};

on_both!(the_store_lives_a_session_as_the_contract_does);

/// Sequences; each is a seed, named when it fails.
const SEQUENCES: u64 = 40;
const STEPS: usize = 30;

async fn the_store_lives_a_session_as_the_contract_does(world: World) {
    world.receiver(START).await;
    for seed in 0..SEQUENCES {
        let version = if seed % 2 == 0 { ContractVersion::V1 } else { ContractVersion::V2 };
        let mut run = Run::new(&world, version, seed).await;
        for step in 0..STEPS {
            let happening = run.choose();
            run.happen(happening).await;
            run.compare(&format!("seed {seed}, step {step}: {happening:?}")).await;
            if run.rng.next_u32() % 4 == 0 {
                run.deliver().await;
            }
        }
    }
}

/// One session in both worlds.
struct Run<'a> {
    world: &'a World,
    session: SessionId,
    attempt: Option<AttemptId>,
    life: Life,
    rng: ChaCha20Rng,
    now: Timestamp,
    /// Events and ended attempts as the contract has them.
    events: Vec<&'static str>,
    attempts: Vec<AttemptStatus>,
    /// Whether an endpoint has received the terminal event.
    received: bool,
}

impl<'a> Run<'a> {
    async fn new(world: &'a World, version: ContractVersion, seed: u64) -> Self {
        // Each session has a time of its own, so that one's expiry is not in the way of another's.
        let now = START.plus(Duration::from_secs(seed * 86_400));
        Self {
            world,
            session: world.session(version, now).await.id,
            attempt: None,
            life: Life::new(version),
            rng: ChaCha20Rng::seed_from_u64(seed),
            now,
            events: Vec::new(),
            attempts: Vec::new(),
            received: false,
        }
    }

    fn choose(&mut self) -> Happening {
        // What leads on is likelier than what ends: most sequences shall get somewhere.
        let likely = match self.life.attempt {
            None => Happening::Open,
            Some(Open::AwaitingEvidence) => Happening::Submit,
            Some(Open::Submitted) => {
                let codes = FailureCode::ALL;
                let index = self.rng.next_u32() as usize % (codes.len() + 2);
                Happening::Verdict(codes.get(index).map_or(Outcome::Accepted, |code| Outcome::Rejected(*code)))
            }
        };
        let token = if self.life.cancel_token_used { CancelToken::Used } else { CancelToken::Fresh };
        let receipt = if self.received { Receipt::Somebody } else { Receipt::Nobody };
        match self.rng.next_u32() % 30 {
            0 => Happening::Cancel,
            1 | 2 => Happening::HolderCancel(token, receipt),
            3 => Happening::HolderCancel(CancelToken::Wrong, receipt),
            4 => Happening::TimeOver,
            5 | 6 => Happening::HandoffOver,
            7 => Happening::WriteTokenUsed,
            8 | 9 => Happening::SystemFault,
            10 => Happening::Open,
            11 => Happening::Submit,
            _ if self.life.status.is_terminal() => Happening::HolderCancel(token, receipt),
            _ => likely,
        }
    }

    /// The same in both worlds; what the store answers must be what the contract says.
    async fn happen(&mut self, happening: Happening) {
        self.now = self.now.plus(Duration::from_millis(5));
        if happening == Happening::HandoffOver && self.life.attempt == Some(Open::AwaitingEvidence) {
            self.now = self.now.plus(HANDOFF_LIFE);
        }
        if happening == Happening::TimeOver {
            self.now = self.now.plus(SESSION_LIFE);
        }
        self.see();
        let before = self.life;
        let (store, now, session) = (&self.world.store, self.now, self.session.clone());
        let effect = self.apply(happening);
        match happening {
            Happening::Open => match store.open_attempt(new_attempt(&session, now), now).await.unwrap() {
                OpenAttempt::Opened(attempt) | OpenAttempt::Existing(attempt) => {
                    assert_eq!(effect.refused, None);
                    self.attempt = Some(attempt.id);
                }
                OpenAttempt::InProgress => assert_eq!(effect.refused, Some(ErrorCode::SessionInProgress)),
                OpenAttempt::Terminal(SessionStatus::Expired) => {
                    assert_eq!(effect.refused, Some(ErrorCode::SessionExpired));
                }
                OpenAttempt::Terminal(_) => assert_eq!(effect.refused, Some(ErrorCode::SessionTerminal)),
                OpenAttempt::NotFound => panic!("the session is gone"),
            },
            Happening::WriteTokenUsed => {
                if let Some(attempt) = &self.attempt {
                    assert_eq!(store.write_token_used(attempt, now).await.unwrap(), before.attempt.is_some());
                }
            }
            Happening::Submit => {
                if let Some(attempt) = &self.attempt {
                    let result = store.submit_evidence(attempt, submission(1), now).await.unwrap();
                    let accepted = matches!(result, SubmitResult::Accepted(_));
                    assert_eq!(accepted, before.attempt == Some(Open::AwaitingEvidence), "{result:?}");
                }
            }
            Happening::HandoffOver => {
                store.cancel_stale_handoffs(now, 100).await.unwrap();
            }
            Happening::Verdict(outcome) => {
                if let (Some(attempt), Some(Open::Submitted)) = (&self.attempt, before.attempt) {
                    let leased = self.world.lease(attempt, now).await;
                    let result = self.world.settle_one(verdict(&leased, outcome), now).await;
                    assert!(matches!(result, SettleResult::Settled { .. }), "{result:?}");
                }
            }
            Happening::SystemFault => {
                if let (Some(attempt), Some(Open::Submitted)) = (&self.attempt, before.attempt) {
                    let leased = self.world.lease(attempt, now).await;
                    assert!(store.release_lease(attempt, &leased.token, now).await.unwrap());
                }
            }
            Happening::Cancel => {
                store.cancel_session(None, &session, now).await.unwrap();
            }
            Happening::HolderCancel(token, _) => {
                let shown = if token == CancelToken::Wrong { [8; 32] } else { [7; 32] };
                match store.public_cancel(&session, shown, now).await.unwrap() {
                    PublicCancel::TokenInvalid => assert_eq!(effect.refused, Some(ErrorCode::CancelTokenInvalid)),
                    PublicCancel::TokenUsed => assert_eq!(effect.refused, Some(ErrorCode::CancelTokenUsed)),
                    PublicCancel::Cancelled { .. } => assert!(effect.terminal && !effect.replaces),
                    PublicCancel::Withdrawn { status } => assert_eq!(status, self.life.status),
                    PublicCancel::AlreadyTerminal(status) => assert_eq!(status, before.status),
                    other => panic!("{other:?}"),
                }
            }
            Happening::TimeOver => {
                store.expire_due(now, 100).await.unwrap();
            }
        }
    }

    /// A session past its end is expired by whoever sees it.
    fn see(&mut self) {
        if self.life.status.is_terminal() || self.now < self.end() {
            return;
        }
        let _: Effect = self.apply(Happening::TimeOver);
    }

    fn end(&self) -> Timestamp {
        let seconds = (self.now.as_secs() - START.as_secs()) / 86_400 * 86_400;
        Timestamp::from_secs(START.as_secs() + seconds).plus(SESSION_LIFE)
    }

    fn apply(&mut self, happening: Happening) -> Effect {
        let (life, effect) = self.life.after(happening);
        self.life = life;
        self.events.extend(effect.event.map(|event| event.as_str()));
        self.attempts.extend(effect.attempt);
        if effect.terminal {
            self.received = false;
        }
        effect
    }

    async fn compare(&mut self, place: &str) {
        // Ids sort by the millisecond: what seeing it emits must not have the time of what happened.
        self.now = self.now.plus(Duration::from_millis(5));
        self.see();
        let session = self.world.store.session(None, &self.session, self.now).await.unwrap().unwrap();
        assert_eq!(session.status, self.life.status, "{place}");
        assert_eq!(session.counters, self.life.counters, "{place}");
        assert_eq!(session.failure_code, self.life.failure, "{place}");
        let (id, store) = (&self.session, &self.world.store);
        let events = format!("SELECT event_type AS text FROM events WHERE session_id = '{id}' ORDER BY id");
        assert_eq!(store.texts(&events).await.unwrap(), self.events, "{place}");
        let mut attempts: Vec<AttemptStatus> =
            self.world.attempts(id).await.into_iter().map(|attempt| attempt.status).collect();
        if self.life.attempt.is_some() {
            assert_eq!(attempts.pop(), Some(AttemptStatus::InProgress), "{place}");
        }
        assert_eq!(attempts, self.attempts, "{place}");
        let standing = format!(
            "SELECT CAST(count(*) AS TEXT) AS text FROM events WHERE session_id = '{id}' AND terminal AND superseded_at IS NULL"
        );
        let expected = u32::from(self.life.status.is_terminal()).to_string();
        assert_eq!(store.texts(&standing).await.unwrap(), [expected], "{place}: one terminal event stands");
    }

    /// Everything that is due reaches its endpoint.
    async fn deliver(&mut self) {
        let store = &self.world.store;
        for due in store.claim_due_deliveries(100, 100, LEASE, self.now).await.unwrap() {
            let delivered = DeliveryOutcome::Delivered { status: 200 };
            assert!(store.record_delivery(&due.id, &due.lease_token, delivered, self.now).await.unwrap());
        }
        self.received = self.life.status.is_terminal();
    }
}
