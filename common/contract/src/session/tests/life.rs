//! Sequences of anything that can happen to a session.

use proptest::prelude::*;

use super::{counters, outcomes};
use crate::errors::ErrorCode;
use crate::events::{CancelReason, EventType};
use crate::session::{
    AttemptStatus, CancelToken, ContractVersion, Counters, FailureCode, Happening, Life, OpenAttempt, Outcome, Receipt,
    SessionStatus,
};

const MISMATCH: Happening = Happening::Verdict(Outcome::Rejected(FailureCode::SelfieFaceMismatch));
const FORGED: Happening = Happening::Verdict(Outcome::Rejected(FailureCode::DocumentAuthenticityFailed));
const ACCEPTED: Happening = Happening::Verdict(Outcome::Accepted);
const fn holder(receipt: Receipt) -> Happening {
    Happening::HolderCancel(CancelToken::Fresh, receipt)
}

/// A session after these happenings, and the last one's effect.
fn after(version: ContractVersion, happenings: &[Happening]) -> (Life, crate::session::Effect) {
    happenings.iter().fold((Life::new(version), Default::default()), |(life, _), happening| life.after(*happening))
}

/// Opens and submits before each verdict.
fn attempts(verdicts: &[Happening]) -> Vec<Happening> {
    verdicts.iter().flat_map(|verdict| [Happening::Open, Happening::Submit, *verdict]).collect()
}

#[test]
fn cancelling_says_whether_a_check_had_failed() {
    for version in [ContractVersion::V1, ContractVersion::V2] {
        for (verdicts, reason) in [
            (vec![], CancelReason::Cancelled),
            (vec![MISMATCH], CancelReason::CancelledAfterFailedCheck),
            (vec![FORGED, MISMATCH], CancelReason::CancelledAfterFailedCheck),
        ] {
            for cancel in [Happening::Cancel, holder(Receipt::Nobody)] {
                let (life, effect) = after(version, &[attempts(&verdicts), vec![cancel]].concat());
                assert_eq!((life.status, effect.reason), (SessionStatus::Cancelled, Some(reason)));
                assert_eq!(effect.event, Some(EventType::SessionCancelled));
                assert!(effect.terminal && !effect.replaces);
            }
        }
    }
}

#[test]
fn a_withdrawal_replaces_what_nobody_received_and_leaves_what_somebody_did() {
    use CancelReason::{PrivacyAfterTerminalFailure as Failure, PrivacyAfterTerminalSuccess as Success};
    for (version, verdicts, ended, reason) in [
        (ContractVersion::V1, vec![MISMATCH, ACCEPTED], SessionStatus::Completed, Success),
        (ContractVersion::V1, vec![MISMATCH, FORGED, MISMATCH], SessionStatus::Completed, Failure),
        (ContractVersion::V2, vec![ACCEPTED], SessionStatus::Succeeded, Success),
        (ContractVersion::V2, vec![FORGED, FORGED, FORGED], SessionStatus::Failed, Failure),
    ] {
        let (life, _) = after(version, &attempts(&verdicts));
        assert_eq!(life.status, ended);
        let (waiting, effect) = life.after(holder(Receipt::OnTheWay));
        assert_eq!((waiting, effect), (life, Default::default()), "while it is being sent, nothing is decided");
        let (kept, effect) = life.after(holder(Receipt::Somebody));
        assert_eq!((kept.status, effect.event), (ended, None));
        assert!(kept.cancel_token_used);
        let (withdrawn, effect) = life.after(holder(Receipt::Nobody));
        assert_eq!((withdrawn.status, effect.reason), (SessionStatus::Cancelled, Some(reason)));
        assert_eq!(withdrawn.counters, life.counters);
        assert!(effect.terminal && effect.replaces && withdrawn.cancel_token_used);
        let organisations = life.after(Happening::Cancel);
        assert_eq!(organisations, (life, Default::default()), "only the holder can withdraw");
    }
}

#[test]
fn a_cancel_token_is_refused_when_wrong_and_when_used_on_an_active_session() {
    let wrong = Happening::HolderCancel(CancelToken::Wrong, Receipt::Nobody);
    let used = Happening::HolderCancel(CancelToken::Used, Receipt::Nobody);
    let (active, _) = after(ContractVersion::V2, &[Happening::Open]);
    let (ended, _) = active.after(Happening::Cancel);
    for life in [active, ended] {
        let (same, effect) = life.after(wrong);
        assert_eq!((same, effect.refused), (life, Some(ErrorCode::CancelTokenInvalid)));
    }
    let (same, effect) = active.after(used);
    assert_eq!((same, effect.refused), (active, Some(ErrorCode::CancelTokenUsed)));
    let (same, effect) = ended.after(used);
    assert_eq!((same.status, effect.refused, effect.event), (SessionStatus::Cancelled, None, None));
}

#[test]
fn time_waits_for_a_verdict_and_a_handoff_that_ran_out_costs_nothing() {
    let (submitted, _) = after(ContractVersion::V2, &[Happening::Open, Happening::Submit]);
    assert_eq!(submitted.after(Happening::TimeOver), (submitted, Default::default()));
    let (rejected, _) = submitted.after(MISMATCH);
    let (expired, effect) = rejected.after(Happening::TimeOver);
    assert_eq!((expired.status, effect.event), (SessionStatus::Expired, Some(EventType::SessionExpired)));
    assert_eq!(effect.reason, None);

    let (open, _) = after(ContractVersion::V2, &[Happening::Open]);
    let (over, effect) = open.after(Happening::HandoffOver);
    assert_eq!((over.attempt, effect.attempt), (None, Some(AttemptStatus::Cancelled)));
    assert_eq!((over.counters, over.status, effect.event), (Counters::default(), SessionStatus::Created, None));
    let (expired, effect) = open.after(Happening::TimeOver);
    assert_eq!((expired.status, effect.attempt), (SessionStatus::Expired, Some(AttemptStatus::Cancelled)));
}

#[test]
fn a_verdict_after_the_end_is_lost() {
    for end in [Happening::Cancel, holder(Receipt::Nobody)] {
        let (ended, effect) = after(ContractVersion::V1, &[Happening::Open, Happening::Submit, end]);
        assert_eq!(effect.attempt, Some(AttemptStatus::Cancelled), "although its verdict was being computed");
        assert_eq!(ended.after(ACCEPTED), (ended, Default::default()));
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    let receipt = prop_oneof![Just(Receipt::Nobody), Just(Receipt::Somebody), Just(Receipt::OnTheWay)];
    prop_oneof![
        // Weighted so that sessions get somewhere: most happenings are attempts and their verdicts.
        6 => Just(Happening::Open),
        6 => Just(Happening::Submit),
        6 => proptest::sample::select(outcomes().collect::<Vec<_>>()).prop_map(Happening::Verdict),
        2 => Just(Happening::WriteTokenUsed),
        2 => Just(Happening::HandoffOver),
        2 => Just(Happening::SystemFault),
        1 => Just(Happening::Cancel),
        1 => Just(Happening::TimeOver),
        2 => receipt.prop_map(holder),
        1 => Just(Happening::HolderCancel(CancelToken::Wrong, Receipt::Nobody)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn whatever_happens_a_session_ends_once_and_charges_only_verdicts(
        version in prop_oneof![Just(ContractVersion::V1), Just(ContractVersion::V2)],
        happenings in proptest::collection::vec(happening(), 1..40),
    ) {
        let mut life = Life::new(version);
        let (mut accepted, mut terminal_events, mut replaced, mut rejections) = (0, 0, 0, 0);
        for happening in happenings {
            // A token is consumed by its first use; then it is a used one.
            let happening = match happening {
                Happening::HolderCancel(CancelToken::Fresh, receipt) if life.cancel_token_used => {
                    Happening::HolderCancel(CancelToken::Used, receipt)
                }
                other => other,
            };
            let before = life;
            let (next, effect) = life.after(happening);
            life = next;

            accepted += u32::from(effect.attempt == Some(AttemptStatus::Succeeded));
            rejections += u32::from(effect.attempt == Some(AttemptStatus::Failed));
            terminal_events += u32::from(effect.terminal);
            replaced += u32::from(effect.replaces);

            // System faults change nothing.
            if happening == Happening::SystemFault {
                prop_assert_eq!((life, effect), (before, Default::default()));
            }
            // Only a verdict that rejects is charged, to one counter at most.
            if life.counters != before.counters {
                prop_assert_eq!(effect.attempt, Some(AttemptStatus::Failed));
                let raised = life.counters.nfc_tries_used + life.counters.liveness_tries_used
                    - before.counters.nfc_tries_used - before.counters.liveness_tries_used;
                prop_assert!(raised <= 1);
            }
            prop_assert!(life.counters.nfc_tries_used <= 3 && life.counters.liveness_tries_used <= 3);
            prop_assert!(life.counters.rejected_attempts <= 3);
            // What has ended stays ended; only a withdrawal moves it, once, and to `cancelled`.
            if before.status.is_terminal() && life.status != before.status {
                prop_assert!(effect.replaces && life.status == SessionStatus::Cancelled);
            }
            prop_assert!(!before.status.is_terminal() || effect.event.is_none() || effect.replaces);
            prop_assert!(!life.status.is_terminal() || life.attempt.is_none(), "no attempt outlives its session");
            prop_assert_eq!(effect.terminal, effect.event.is_some() && life.status.is_terminal());
            // Each contract has its statuses and its events.
            let foreign = match version {
                ContractVersion::V1 => [SessionStatus::Succeeded, SessionStatus::Failed].contains(&life.status),
                ContractVersion::V2 => life.status == SessionStatus::Completed,
            };
            prop_assert!(!foreign);
            if let Some(event) = effect.event {
                let of_attempt = event.names_attempt();
                let of_result = matches!(event, EventType::SessionSucceeded | EventType::SessionFailed);
                let of_the_other = if version == ContractVersion::V1 { of_result } else { of_attempt };
                prop_assert!(!of_the_other);
            }
            // Evidence never waits in a session that has not begun.
            prop_assert!(life.attempt != Some(OpenAttempt::Submitted) || life.status == SessionStatus::InProgress);
        }
        prop_assert!(accepted <= 1);
        prop_assert!(replaced <= 1);
        prop_assert_eq!(terminal_events - replaced, u32::from(life.status.is_terminal()), "one terminal event stands");
        prop_assert!(version == ContractVersion::V2 || rejections <= 3);
        prop_assert!(version == ContractVersion::V1 || rejections <= 5);
    }
}

#[test]
fn an_ended_session_opens_no_attempt() {
    for (end, code) in
        [(Happening::Cancel, ErrorCode::SessionTerminal), (Happening::TimeOver, ErrorCode::SessionExpired)]
    {
        let (ended, _) = after(ContractVersion::V2, &[end]);
        let (same, effect) = ended.after(Happening::Open);
        assert_eq!((same, effect.refused), (ended, Some(code)));
    }
    let (submitted, _) = after(ContractVersion::V2, &[Happening::Open, Happening::Submit]);
    assert_eq!(submitted.after(Happening::Open).1.refused, Some(ErrorCode::SessionInProgress));
    assert_eq!(submitted.counters, counters(0, 0, 0));
}
