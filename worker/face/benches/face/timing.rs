//! Measuring pieces of work in turns.

use std::fmt;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What is counted.
#[derive(Clone, Copy)]
pub enum Clock {
    /// Time that this thread spent on a processor: solid on a machine that does other work too.
    Processor,
    /// Time that passed.
    Wall,
}

/// How long a piece of work took.
#[derive(Clone)]
pub struct Run {
    pub median: Duration,
    pub best: Duration,
    rounds: Vec<Duration>,
}

impl Run {
    /// The median over rounds of the ratio to another piece of work in the same round.
    pub fn over(&self, other: &Self) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        let mut ratios: Vec<f64> = pairs.map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }

    /// The share of one of `count`, in milliseconds.
    pub fn each(&self, count: usize) -> String {
        format!("{:.2}", self.median.as_secs_f64() * 1e3 / count as f64)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.each(1))
    }
}

pub fn micros(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1e6)
}

/// Runs every piece once in each of `rounds`, and once before for nothing.
pub fn in_turns<const N: usize>(rounds: usize, clock: Clock, mut work: [&mut (dyn FnMut() + Send); N]) -> [Run; N] {
    let mut times: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::with_capacity(rounds));
    for round in 0..=rounds {
        for (work, times) in work.iter_mut().zip(&mut times) {
            let start = now(clock);
            work();
            let took = now(clock).saturating_sub(start);
            if round > 0 {
                times.push(took);
            }
        }
    }
    times.map(|rounds| {
        let mut sorted = rounds.clone();
        sorted.sort();
        Run { median: sorted[sorted.len() / 2], best: sorted[0], rounds }
    })
}

fn now(clock: Clock) -> Duration {
    let id = match clock {
        Clock::Processor => ClockId::ThreadCPUTime,
        Clock::Wall => ClockId::Monotonic,
    };
    let time = clock_gettime(id);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
