#![doc = include_str!("../README.md")]

use std::time::{Duration, Instant};

/// Two pieces of work, measured in turns in one run: on a machine whose speed drifts, only their ratio is solid.
#[derive(Clone, Copy, Debug)]
pub struct Paired {
    /// Median time of one call of the first.
    pub ours: Duration,
    /// Median time of one call of the second.
    pub bare: Duration,
}

impl Paired {
    /// Measures both, in alternating slices of about `slice`, `rounds` times.
    pub fn measure(slice: Duration, rounds: usize, mut ours: impl FnMut(), mut bare: impl FnMut()) -> Self {
        let our_calls = calls_in(slice, &mut ours);
        let bare_calls = calls_in(slice, &mut bare);
        let (mut our_times, mut bare_times) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            our_times.push(time(our_calls, &mut ours));
            bare_times.push(time(bare_calls, &mut bare));
        }
        Self { ours: median(our_times), bare: median(bare_times) }
    }

    /// The bare work's share of ours: 1 means that nothing was added to it.
    pub fn ratio(&self) -> f64 {
        self.bare.as_secs_f64() / self.ours.as_secs_f64()
    }
}

fn calls_in(slice: Duration, work: &mut impl FnMut()) -> u32 {
    let mut calls = 1;
    loop {
        let started = Instant::now();
        (0..calls).for_each(|_| work());
        let taken = started.elapsed();
        if taken >= slice / 2 || calls >= 1 << 20 {
            return ((slice.as_secs_f64() / taken.as_secs_f64().max(1e-9)) * f64::from(calls)).clamp(1.0, 1e7) as u32;
        }
        calls *= 2;
    }
}

fn time(calls: u32, work: &mut impl FnMut()) -> Duration {
    let started = Instant::now();
    (0..calls).for_each(|_| work());
    started.elapsed() / calls
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
