//! `STATES.md`: every state and everything that can happen to it, written from the code. The test fails when it is stale;
//! `PROOFMILL_UPDATE=1 cargo test -p proofmill-contract` writes it anew.

use std::fmt::Write as _;

use super::KINDS;
use super::table::reachable;
use crate::session::{
    CancelToken, ContractVersion, Counters, Effect, FailureCode, Happening, Life, OpenAttempt, Receipt, SessionStatus,
    settle,
};

#[test]
fn states_md_is_what_the_code_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/STATES.md");
    let text = page();
    if std::env::var_os("PROOFMILL_UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stored == text, "STATES.md is stale: PROOFMILL_UPDATE=1 cargo test -p proofmill-contract writes it anew");
}

fn page() -> String {
    let mut text = String::from(
        "# The two state machines\n\n\
         Written from the code by a test, which fails when this page is stale. Events are named without `verification.`; \
         counters are NFC tries, liveness tries and, where they limit the session, rejected attempts.\n",
    );
    for version in [ContractVersion::V1, ContractVersion::V2] {
        let number = u8::from(version);
        let _ = write!(text, "\n## Contract {number}: a verdict on a session in progress\n\n| counters |");
        for (kind, _) in KINDS {
            let _ = write!(text, " {kind} |");
        }
        text.push_str("\n|---|---|---|---|---|\n");
        for before in reachable(version) {
            let _ = write!(text, "| {} |", counters(version, before));
            for (_, outcomes) in KINDS {
                let Some(after) = settle(version, SessionStatus::InProgress, before, outcomes[0]) else { continue };
                let event = after.event.map_or("no event", |event| short(event.as_str()));
                let _ = write!(text, " {}, {}, {event} |", after.session, counters(version, after.counters));
            }
            text.push('\n');
        }
        let _ = write!(text, "\n## Contract {number}: everything else\n\n");
        everything_else(&mut text, version);
    }
    text.push_str("\n## Failure codes\n\n| contract 2 | contract 1 | charges |\n|---|---|---|\n");
    for &code in FailureCode::ALL {
        let after = settle(
            ContractVersion::V2,
            SessionStatus::InProgress,
            Counters::default(),
            crate::session::Outcome::Rejected(code),
        );
        let charged = match after.map(|after| (after.counters.nfc_tries_used, after.counters.liveness_tries_used)) {
            Some((1, 0)) => "an NFC try",
            Some((0, 1)) => "a liveness try",
            _ => "neither: it ends the session",
        };
        let one = code.in_contract(ContractVersion::V1);
        let _ = writeln!(text, "| `{code}` | `{one}` | {charged} |");
    }
    text
}

/// A line for each state, a column for each happening that is no verdict.
fn everything_else(text: &mut String, version: ContractVersion) {
    let fresh = |receipt| Happening::HolderCancel(CancelToken::Fresh, receipt);
    let happenings: [(&str, Happening); 9] = [
        ("attempt opened", Happening::Open),
        ("token used", Happening::WriteTokenUsed),
        ("evidence", Happening::Submit),
        ("handoff over", Happening::HandoffOver),
        ("system fault", Happening::SystemFault),
        ("organisation cancels", Happening::Cancel),
        ("holder cancels, nobody has the terminal event", fresh(Receipt::Nobody)),
        ("holder cancels, somebody has it", fresh(Receipt::Somebody)),
        ("time over", Happening::TimeOver),
    ];
    text.push_str("| state |");
    for (name, _) in happenings {
        let _ = write!(text, " {name} |");
    }
    text.push_str("\n|---|---|---|---|---|---|---|---|---|---|\n");
    for (name, life) in states(version) {
        let _ = write!(text, "| {name} |");
        for (_, happening) in happenings {
            let (after, effect) = life.after(happening);
            let _ = write!(text, " {} |", change(life, after, effect));
        }
        text.push('\n');
    }
}

fn states(version: ContractVersion) -> Vec<(String, Life)> {
    let new = Life::new(version);
    let failed_once = Counters { nfc_tries_used: 0, liveness_tries_used: 1, rejected_attempts: 1 };
    let mut states = Vec::new();
    for (attempt, name) in [
        (None, "no attempt"),
        (Some(OpenAttempt::AwaitingEvidence), "evidence awaited"),
        (Some(OpenAttempt::Submitted), "verdict awaited"),
    ] {
        if attempt != Some(OpenAttempt::Submitted) {
            states.push((format!("created, {name}"), Life { attempt, ..new }));
        }
        let begun = Life { status: SessionStatus::InProgress, attempt, ..new };
        states.push((format!("in_progress, {name}"), begun));
        states.push((format!("in_progress after a failure, {name}"), Life { counters: failed_once, ..begun }));
    }
    let mismatch = Some(FailureCode::SelfieFaceMismatch);
    let ended: &[(SessionStatus, Option<FailureCode>, &str)] = match version {
        ContractVersion::V1 => {
            &[(SessionStatus::Completed, None, ", accepted"), (SessionStatus::Completed, mismatch, ", rejected")]
        }
        ContractVersion::V2 => &[(SessionStatus::Succeeded, None, ""), (SessionStatus::Failed, mismatch, "")],
    };
    let without = [(SessionStatus::Expired, None, ""), (SessionStatus::Cancelled, None, "")];
    for &(status, failure, how) in ended.iter().chain(&without) {
        states.push((format!("{status}{how}"), Life { status, failure, ..new }));
    }
    states
}

/// What became of it, in a few words.
fn change(before: Life, after: Life, effect: Effect) -> String {
    let mut words = Vec::new();
    if let Some(code) = effect.refused {
        words.push(format!("`{code}`"));
    }
    if after.status != before.status {
        words.push(after.status.to_string());
    }
    match (effect.attempt, after.attempt) {
        (Some(status), _) => words.push(format!("attempt {status}")),
        (None, now) if now != before.attempt => words.push(
            match now {
                Some(OpenAttempt::AwaitingEvidence) => "evidence awaited",
                Some(OpenAttempt::Submitted) => "verdict awaited",
                None => "no attempt",
            }
            .to_owned(),
        ),
        _ => {}
    }
    if let Some(event) = effect.event {
        let how = if effect.replaces { "in its place " } else { "" };
        let reason = effect.reason.map(|reason| format!(" ({})", reason.as_str())).unwrap_or_default();
        words.push(format!("{how}{}{reason}", short(event.as_str())));
    }
    assert_eq!(after.counters, before.counters, "only verdicts are charged");
    if words.is_empty() { "–".to_owned() } else { words.join(", ") }
}

fn counters(version: ContractVersion, counters: Counters) -> String {
    let Counters { nfc_tries_used: nfc, liveness_tries_used: liveness, rejected_attempts: rejected } = counters;
    match version {
        ContractVersion::V1 => format!("{nfc}/{liveness}/{rejected}"),
        ContractVersion::V2 => format!("{nfc}/{liveness}"),
    }
}

fn short(event: &str) -> &str {
    event.strip_prefix("verification.").unwrap_or(event)
}
