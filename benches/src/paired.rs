//! Two pieces of work in one run.

use std::time::{Duration, Instant};

/// Two pieces of work, measured in turns in one run: on a machine whose speed drifts, only their ratio is solid. The time
/// is that of the processor in this thread, where the kernel tells it, so that other work on the machine costs neither.
#[derive(Clone, Copy, Debug)]
pub struct Paired {
    /// Median time of one call of the first.
    pub ours: Duration,
    /// Median time of one call of the second.
    pub bare: Duration,
    ratio: f64,
}

impl Paired {
    /// Measures both, in alternating slices of about `slice`, `rounds` times.
    pub fn measure(slice: Duration, rounds: usize, mut ours: impl FnMut(), mut bare: impl FnMut()) -> Self {
        let our_calls = calls_in(slice, &mut ours);
        let bare_calls = calls_in(slice, &mut bare);
        let (mut our_times, mut bare_times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (our_time, bare_time) = (time(our_calls, &mut ours), time(bare_calls, &mut bare));
            ratios.push(bare_time.as_secs_f64() / our_time.as_secs_f64());
            our_times.push(our_time);
            bare_times.push(bare_time);
        }
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN);
        Self { ours: median(our_times), bare: median(bare_times), ratio }
    }

    /// The bare work's share of ours: 1 means that nothing was added to it. The median over the pairs of slices.
    pub fn ratio(&self) -> f64 {
        self.ratio
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
    let (started, busy) = (Instant::now(), processor_time());
    (0..calls).for_each(|_| work());
    let taken = match (busy, processor_time()) {
        (Some(before), Some(after)) if after > before => after - before,
        _ => started.elapsed(),
    };
    taken / calls
}

/// Time that this thread has run, from proc_pid_schedstat(5).
fn processor_time() -> Option<Duration> {
    // The kernel brings the account up to date when it looks at its queue.
    std::thread::yield_now();
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    account.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
