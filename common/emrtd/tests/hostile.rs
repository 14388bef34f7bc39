//! Input of a mebibyte made to be slow is answered, by every parser. `cargo run --release --example hostile` tells how fast.
#![allow(clippy::unwrap_used, missing_docs)]

mod hostile_inputs;
mod mint;

use std::time::{Duration, Instant};

use proofmill_emrtd::{
    DocumentEvidence, GateResult, Policy, Reason, UnixTime,
    fuzzing::{TARGETS, Target},
    inspect,
};

/// Not how fast it is, but that it ends: what takes quadratic time over a mebibyte takes minutes.
const DEADLINE: Duration = Duration::from_secs(20);

fn run(size: usize) {
    for hostile in hostile_inputs::all(size) {
        // Every family has a parser to run against.
        let (_, target): &Target = TARGETS.iter().find(|(name, _)| *name == hostile.target).unwrap();
        let start = Instant::now();
        target(&hostile.bytes);
        let taken = start.elapsed();
        println!("{:>7.1} ms  {:<14} {}", taken.as_secs_f64() * 1e3, hostile.target, hostile.name);
        assert!(taken < DEADLINE, "{}: {}", hostile.target, hostile.name);
    }
}

#[test]
fn a_mebibyte_of_anything_is_answered() {
    run(1 << 20);
}

/// A SOD that embeds as many certificates as are tried, for every signer that is looked at.
#[test]
fn the_search_for_issuers_ends() {
    let (trust, sod) = hostile_inputs::chains();
    let evidence = DocumentEvidence { sod: &sod, ..Default::default() };
    let report = inspect(&evidence, &trust, &Policy::default(), UnixTime(1_781_524_800)).report;
    assert_eq!(report.reason, Some(Reason::ChainNotTrusted));
    assert_eq!(report.gates.passive_authentication.signature, GateResult::Passed);
    assert_eq!(trust.remembered_signers(), 0);
}

/// As much as a file of a chip may have: behind the limit of sizes.
#[test]
fn as_much_as_a_part_may_have_is_answered() {
    run(60_000);
}
