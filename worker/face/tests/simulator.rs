//! The batcher's rules in a simulated world: random ones, and recorded arrivals.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use proofmill_face::batcher::simulator::{Tally, random, replay};
use proofmill_face::batcher::{CloseReason, Trace};

const STEPS: u64 = 300_000;

fn told(what: &str, run: impl FnOnce() -> Result<Tally, String>) -> Tally {
    let started = Instant::now();
    let tally = run().unwrap();
    let minute = tally.steps as f64 / started.elapsed().as_secs_f64() * 60.0;
    println!("{what}: {:.1} million steps a minute; {tally:?}", minute / 1e6);
    tally
}

fn everything_happened(tally: &Tally) {
    assert_eq!(tally.taken, tally.ran + tally.given_up, "every attempt has ended once");
    for (reason, count) in CloseReason::ALL.iter().zip(tally.batches) {
        assert!(count > 0, "no batch was closed by {reason:?}");
    }
    let rare = [tally.returned, tally.given_up, tally.failures, tally.refused, tally.worlds];
    assert!(rare.iter().all(|count| *count > 0), "{tally:?}");
}

#[test]
fn random_worlds_lose_nothing_and_starve_nobody() {
    for seed in [1, 2026] {
        everything_happened(&told("random worlds", || random(seed, STEPS)));
    }
}

#[test]
fn recorded_arrivals_replay_at_any_speed_and_on_any_devices() {
    // `proofmill-worker verify --record-arrivals` over 120 minted items, two busy cores.
    let trace = Trace::parse(include_str!("traces/verify.csv")).unwrap();
    assert!(trace.arrivals.len() > 20 && !trace.batches.is_empty());
    everything_happened(&told("recorded arrivals", || replay(&trace, 7, STEPS)));
}

#[test]
fn the_same_seed_gives_the_same_world_to_the_last_decision() {
    let run = |seed| random(seed, 30_000).unwrap();
    assert_eq!(run(42), run(42));
    assert_ne!(run(42).digest, run(43).digest);
}
