//! What a verdict does, literally: one line for every state of the counters, one column for every kind of outcome. Short forms:
//! `a.succeeded` is `verification.attempt.succeeded`, `s.failed` is `verification.session.failed`; `-` is no event.

use std::collections::BTreeSet;

use super::{KINDS, counters, outcomes};
use crate::session::{AttemptStatus, ContractVersion, Counters, Outcome, SessionStatus, settle};

/// Counters are NFC/liveness/rejected attempts. The third rejected attempt ends it, whatever it was rejected for.
const CONTRACT_1: &str = "
 before | accepted                    | chip or data                | liveness or match           | hard kill
 0/0/0  | completed   0/0/0 a.succeeded | in_progress 1/0/1 a.failed | in_progress 0/1/1 a.failed | in_progress 0/0/1 a.failed
 0/0/1  | completed   0/0/1 a.succeeded | in_progress 1/0/2 a.failed | in_progress 0/1/2 a.failed | in_progress 0/0/2 a.failed
 0/1/1  | completed   0/1/1 a.succeeded | in_progress 1/1/2 a.failed | in_progress 0/2/2 a.failed | in_progress 0/1/2 a.failed
 1/0/1  | completed   1/0/1 a.succeeded | in_progress 2/0/2 a.failed | in_progress 1/1/2 a.failed | in_progress 1/0/2 a.failed
 0/0/2  | completed   0/0/2 a.succeeded | completed   1/0/3 a.failed | completed   0/1/3 a.failed | completed   0/0/3 a.failed
 0/1/2  | completed   0/1/2 a.succeeded | completed   1/1/3 a.failed | completed   0/2/3 a.failed | completed   0/1/3 a.failed
 0/2/2  | completed   0/2/2 a.succeeded | completed   1/2/3 a.failed | completed   0/3/3 a.failed | completed   0/2/3 a.failed
 1/0/2  | completed   1/0/2 a.succeeded | completed   2/0/3 a.failed | completed   1/1/3 a.failed | completed   1/0/3 a.failed
 1/1/2  | completed   1/1/2 a.succeeded | completed   2/1/3 a.failed | completed   1/2/3 a.failed | completed   1/1/3 a.failed
 2/0/2  | completed   2/0/2 a.succeeded | completed   3/0/3 a.failed | completed   2/1/3 a.failed | completed   2/0/3 a.failed
";

/// Counters are NFC/liveness. The third failure of one check ends it; a hard kill ends it at once and charges neither.
const CONTRACT_2: &str = "
 before | accepted                  | chip or data           | liveness or match      | hard kill
 0/0    | succeeded 0/0 s.succeeded | in_progress 1/0 -      | in_progress 0/1 -      | failed 0/0 s.failed
 0/1    | succeeded 0/1 s.succeeded | in_progress 1/1 -      | in_progress 0/2 -      | failed 0/1 s.failed
 0/2    | succeeded 0/2 s.succeeded | in_progress 1/2 -      | failed      0/3 s.failed | failed 0/2 s.failed
 1/0    | succeeded 1/0 s.succeeded | in_progress 2/0 -      | in_progress 1/1 -      | failed 1/0 s.failed
 1/1    | succeeded 1/1 s.succeeded | in_progress 2/1 -      | in_progress 1/2 -      | failed 1/1 s.failed
 1/2    | succeeded 1/2 s.succeeded | in_progress 2/2 -      | failed      1/3 s.failed | failed 1/2 s.failed
 2/0    | succeeded 2/0 s.succeeded | failed      3/0 s.failed | in_progress 2/1 -    | failed 2/0 s.failed
 2/1    | succeeded 2/1 s.succeeded | failed      3/1 s.failed | in_progress 2/2 -    | failed 2/1 s.failed
 2/2    | succeeded 2/2 s.succeeded | failed      3/2 s.failed | failed      2/3 s.failed | failed 2/2 s.failed
";

#[test]
fn every_verdict_does_what_the_page_says() {
    for (version, table) in [(ContractVersion::V1, CONTRACT_1), (ContractVersion::V2, CONTRACT_2)] {
        let mut seen = BTreeSet::new();
        for line in table.trim().lines().skip(1) {
            let mut cells = line.split('|').map(str::trim);
            let before = cells.next().unwrap();
            assert!(seen.insert(before.to_owned()), "{before} stands there twice");
            let cells: Vec<&str> = cells.collect();
            assert_eq!(cells.len(), KINDS.len(), "{line}");
            for (expected, (kind, outcomes)) in cells.iter().zip(KINDS) {
                let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
                for &outcome in outcomes {
                    let place = format!("contract {}, {before}, {kind}", u8::from(version));
                    assert_eq!(verdict(version, before, outcome), expected, "{place}");
                }
            }
        }
        let reachable: BTreeSet<String> = reachable(version).iter().map(|&found| shown(version, found)).collect();
        assert_eq!(seen, reachable, "the table has every state that can be reached, and no other");
    }
}

#[test]
fn a_verdict_on_a_session_that_is_not_in_progress_writes_nothing() {
    for version in [ContractVersion::V1, ContractVersion::V2] {
        for &status in SessionStatus::ALL.iter().filter(|status| **status != SessionStatus::InProgress) {
            for nfc in 0..=3 {
                for liveness in 0..=3 {
                    for rejected in 0..=3 {
                        for outcome in outcomes() {
                            assert_eq!(settle(version, status, counters(nfc, liveness, rejected), outcome), None);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn counters_that_no_session_can_have_do_not_grow_past_three() {
    for version in [ContractVersion::V1, ContractVersion::V2] {
        for outcome in outcomes() {
            let after = settle(version, SessionStatus::InProgress, counters(3, 3, 3), outcome).unwrap();
            assert_eq!(after.counters, counters(3, 3, 3));
        }
    }
}

/// A cell of the table, as the code has it.
fn verdict(version: ContractVersion, before: &str, outcome: Outcome) -> String {
    let mut numbers = before.split('/').map(|number| number.parse::<u32>().unwrap());
    let (nfc, liveness) = (numbers.next().unwrap(), numbers.next().unwrap());
    let before = counters(nfc, liveness, numbers.next().unwrap_or((nfc + liveness).min(3)));
    let after = settle(version, SessionStatus::InProgress, before, outcome).unwrap();
    let (attempt, failure) = match outcome {
        Outcome::Accepted => (AttemptStatus::Succeeded, None),
        Outcome::Rejected(code) => (AttemptStatus::Failed, after.session.is_terminal().then_some(code)),
    };
    assert_eq!((after.attempt, after.session_failure), (attempt, failure));
    let event = after.event.map_or("-".to_owned(), |event| {
        event.as_str().replace("verification.attempt", "a").replace("verification.session", "s")
    });
    format!("{} {} {event}", after.session, shown(version, after.counters))
}

fn shown(version: ContractVersion, counters: Counters) -> String {
    let Counters { nfc_tries_used: nfc, liveness_tries_used: liveness, rejected_attempts: rejected } = counters;
    match version {
        ContractVersion::V1 => format!("{nfc}/{liveness}/{rejected}"),
        ContractVersion::V2 => format!("{nfc}/{liveness}"),
    }
}

/// Counters of sessions in progress that some sequence of verdicts leads to.
pub(super) fn reachable(version: ContractVersion) -> Vec<Counters> {
    let mut found = vec![Counters::default()];
    let mut next = 0;
    while let Some(&before) = found.get(next) {
        next += 1;
        for outcome in outcomes() {
            let after = settle(version, SessionStatus::InProgress, before, outcome).unwrap();
            if after.session == SessionStatus::InProgress && !found.contains(&after.counters) {
                found.push(after.counters);
            }
        }
    }
    found.sort_by_key(|c| (c.rejected_attempts, c.nfc_tries_used, c.liveness_tries_used));
    found
}
