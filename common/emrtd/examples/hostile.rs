//! How long input made to be slow takes, slowest first: `cargo run --release -p proofmill-emrtd --example hostile`.
#![allow(clippy::unwrap_used)]

#[path = "../tests/hostile_inputs/mod.rs"]
mod hostile_inputs;
#[path = "../tests/mint/mod.rs"]
mod mint;

use std::time::{Duration, Instant};

use proofmill_emrtd::{DocumentEvidence, Policy, UnixTime, fuzzing::TARGETS, inspect};

fn main() {
    let mut rows: Vec<(Duration, String)> = Vec::new();
    for size in [1 << 20, 60_000] {
        for hostile in hostile_inputs::all(size) {
            let (_, target) = TARGETS.iter().find(|(name, _)| *name == hostile.target).unwrap();
            // The best of three: what is measured is the parser, not the machine's other work.
            let taken = (0..3).map(|_| {
                let start = Instant::now();
                target(&hostile.bytes);
                start.elapsed()
            });
            let octets = hostile.bytes.len();
            rows.push((taken.min().unwrap(), format!("{:<14} {:<56} {octets:>9}", hostile.target, hostile.name)));
        }
    }
    let (trust, sod) = hostile_inputs::chains();
    let start = Instant::now();
    let evidence = DocumentEvidence { sod: &sod, ..Default::default() };
    let report = inspect(&evidence, &trust, &Policy::default(), UnixTime(1_781_524_800)).report;
    rows.push((start.elapsed(), format!("{:<14} {:<56} {:>9}", "sod", report.reason.unwrap(), sod.len())));
    rows.sort();
    for (taken, what) in rows.iter().rev() {
        println!("{:>9.3} ms  {what}", taken.as_secs_f64() * 1e3);
    }
    println!("{} inputs", rows.len());
}
