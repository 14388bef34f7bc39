//! Drives the batcher's rules through random worlds, or through recorded arrivals:
//!
//! `cargo run -p proofmill-face --example batch_simulator -- [SEED] [STEPS] [TRACE.csv]`
//!
//! Exit status 1 when a rule does not hold; the world's seed then reproduces it.
#![allow(missing_docs)]

use std::process::ExitCode;
use std::time::Instant;

use proofmill_face::batcher::Trace;
use proofmill_face::batcher::simulator::{random, replay};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u64| match arguments.get(index) {
        Some(text) => text.parse().map_err(|_| format!("{text} is no number")),
        None => Ok(default),
    };
    let run = || {
        let (seed, steps) = (number(0, 1)?, number(1, 3_000_000)?);
        let started = Instant::now();
        let tally = match arguments.get(2) {
            None => random(seed, steps),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
                replay(&Trace::parse(&text).map_err(|error| format!("{path}: {error}"))?, seed, steps)
            }
        }?;
        let minute = tally.steps as f64 / started.elapsed().as_secs_f64() * 60.0;
        println!("seed {seed}: {:.1} million steps a minute\n{tally:#?}", minute / 1e6);
        Ok::<(), String>(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
