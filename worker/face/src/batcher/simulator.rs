//! A world in virtual time around the scheduler: random arrivals, engine times, failing devices,
//! clock jumps and drains, or the arrivals of a recording. The same seed gives the same world.
//!
//! It checks as it goes: every attempt ends once; batches keep their size and order; the isolated
//! run alone; no free device lets an attempt wait past its deadline; the starvation bounds hold;
//! draining ends.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use super::schedule::{DeviceRules, ExecutorId, Job, Next, Scheduler, Service};
use super::{BatchConfig, CloseReason, Lane, Trace, bulk_bound, interactive_bound};

/// What happened, added up over all worlds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events of the world: arrivals, batches that end, checks, wake-ups.
    pub steps: u64,
    /// Worlds that were run from the first arrival to the drain.
    pub worlds: u64,
    /// Attempts that were taken.
    pub taken: u64,
    /// Attempts that were not, for want of room.
    pub refused: u64,
    /// Attempts that ended in a batch.
    pub ran: u64,
    /// Attempts that came back from a device that failed.
    pub returned: u64,
    /// Attempts given up because no device was left, or two failed under them.
    pub given_up: u64,
    /// Batches, in the order of [`CloseReason::ALL`].
    pub batches: [u64; 5],
    /// Times that a device failed.
    pub failures: u64,
    /// Of everything that was decided: equal for equal seeds.
    pub digest: u64,
}

/// Runs worlds of random arrivals until `steps` events have happened.
///
/// # Errors
/// What does not hold, with the seed of its world.
pub fn random(seed: u64, steps: u64) -> Result<Tally, String> {
    run(seed, steps, None)
}

/// Runs worlds with the arrivals and batch times of a recording, at random speeds and on random
/// devices, until `steps` events have happened.
///
/// # Errors
/// As [`random`]; also a recording without arrivals or batches.
pub fn replay(trace: &Trace, seed: u64, steps: u64) -> Result<Tally, String> {
    if trace.arrivals.is_empty() || trace.batches.is_empty() {
        return Err("the recording has no arrivals or no batches".to_owned());
    }
    run(seed, steps, Some(trace))
}

fn run(seed: u64, steps: u64, trace: Option<&Trace>) -> Result<Tally, String> {
    let mut tally = Tally { digest: 0xcbf2_9ce4_8422_2325, ..Tally::default() };
    let mut seeds = Random(seed);
    while tally.steps < steps {
        let seed = seeds.next();
        World::new(seed, trace, &mut tally).live().map_err(|what| format!("world {seed:#018x}: {what}"))?;
        tally.worlds += 1;
    }
    Ok(tally)
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to and without `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(u8),
    /// An executor is done; whether its device was sound is seen now.
    End {
        device: usize,
        executor: usize,
    },
    Wake,
    Heal {
        device: usize,
    },
    Drain,
}

enum Running {
    Batch(Vec<Job<u32>>),
    Check,
}

/// An attempt, by number.
struct Known {
    lane: Lane,
    since: Duration,
    ended: bool,
    returned: bool,
    /// Number of the shared batch by which it must have run.
    due: Option<u64>,
}

struct World<'a> {
    random: Random,
    tally: &'a mut Tally,
    trace: Option<&'a Trace>,
    config: BatchConfig,
    rules: Vec<DeviceRules>,
    broken: Vec<bool>,
    /// One batch in so many breaks its device; none where 0.
    fragility: u64,
    /// How much denser than usual attempts come.
    haste: u64,
    /// The next wake-up that is planned.
    wake: Option<Duration>,
    scheduler: Scheduler<u32>,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    order: u64,
    now: Duration,
    running: HashMap<ExecutorId, Running>,
    known: Vec<Known>,
    /// Attempts that have not run yet and were not returned, by lane, in their order.
    waiting: [VecDeque<u32>; 2],
    /// Bulk attempts before this one have their bound.
    overdue: usize,
    served_bulk: usize,
    arrivals_left: u64,
    shared: u64,
    draining: bool,
    alone_last: bool,
    smallest_batch: usize,
}

impl<'a> World<'a> {
    fn new(seed: u64, trace: Option<&'a Trace>, tally: &'a mut Tally) -> Self {
        let mut random = Random(seed);
        let most_waiting = [12, 400][random.below(2) as usize];
        let config = BatchConfig {
            max_batch: 1 + random.below(40) as usize,
            interactive_deadline: Duration::from_millis(1 + random.below(80)),
            bulk_deadline: Duration::from_millis(1 + random.below(800)),
            idle: Duration::from_millis(random.below(10)),
            max_waiting: 1 + random.below(most_waiting) as usize,
            max_bytes: 0,
        };
        let mut rules: Vec<DeviceRules> = (0..1 + random.below(3))
            .map(|_| DeviceRules {
                executors: 1 + random.below(3) as usize,
                max_batch: config.max_batch,
                standby: false,
            })
            .collect();
        if random.chance(2) {
            let max_batch = 1 + random.below(config.max_batch as u64) as usize;
            rules.push(DeviceRules { executors: 1, max_batch, standby: true });
        }
        let haste = 1 + random.below(12);
        let fragility = [0, 0, 200, 30][random.below(4) as usize];
        let smallest_batch = rules.iter().map(|rules| rules.max_batch).min().unwrap_or(1);
        let arrivals_left = match trace {
            Some(trace) => trace.arrivals.len() as u64,
            None => 200 + random.below(3_000),
        };
        Self {
            scheduler: Scheduler::new(config.clone(), &rules),
            broken: vec![false; rules.len()],
            fragility,
            haste,
            wake: None,
            config,
            rules,
            trace,
            tally,
            random,
            events: BinaryHeap::new(),
            order: 0,
            now: Duration::ZERO,
            running: HashMap::new(),
            known: Vec::new(),
            waiting: Default::default(),
            overdue: 0,
            served_bulk: 0,
            arrivals_left,
            shared: 0,
            draining: false,
            alone_last: false,
            smallest_batch,
        }
    }

    fn live(mut self) -> Result<(), String> {
        self.plan_arrivals();
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.tally.steps += 1;
            self.now = self.now.max(at);
            self.happen(event)?;
            if self.act()? {
                return self.finish();
            }
        }
        Err("nothing will ever happen again, and it is not drained".to_owned())
    }

    /// Of a recording all at once; random ones one after the other.
    fn plan_arrivals(&mut self) {
        let Some(trace) = self.trace else {
            return self.plan(Duration::ZERO, Event::Arrival(0));
        };
        // From a quarter of the recorded speed to sixteen times.
        let speed = 0.25 * f64::from(1u32 << self.random.below(7));
        let mut last = Duration::ZERO;
        for (lane, at) in &trace.arrivals {
            last = at.div_f64(speed);
            self.plan(last, Event::Arrival(*lane as u8));
        }
        self.plan(last, Event::Drain);
    }

    fn plan(&mut self, at: Duration, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Arrival(lane) => self.arrive(lane),
            Event::Wake => {
                self.wake = None;
                Ok(())
            }
            Event::Heal { device } => {
                self.broken[device] = false;
                Ok(())
            }
            Event::Drain => {
                self.draining = true;
                self.scheduler.drain();
                Ok(())
            }
            Event::End { device, executor } => self.end(ExecutorId { device, executor }),
        }
    }

    fn arrive(&mut self, lane: u8) -> Result<(), String> {
        let lane = match self.trace {
            Some(_) => Lane::ALL[usize::from(lane)],
            None => {
                self.plan_next();
                match self.random.below(40) {
                    0 => Lane::Isolated,
                    1..20 => Lane::Interactive,
                    _ => Lane::Bulk,
                }
            }
        };
        let number = self.known.len() as u32;
        let at = self.told_time();
        let room = self.scheduler.waiting() < self.config.max_waiting;
        match self.scheduler.push(number, lane, at) {
            Ok(()) if !room => return Err("more attempts wait than may".to_owned()),
            Ok(()) => {}
            Err(_) if room && !self.draining => return Err("an attempt was refused though there is room".to_owned()),
            Err(_) => {
                self.tally.refused += 1;
                return Ok(());
            }
        }
        self.tally.taken += 1;
        let due = (lane == Lane::Interactive)
            .then(|| self.shared + interactive_bound(self.waiting[0].len(), self.smallest_batch) as u64);
        self.known.push(Known { lane, since: self.now, ended: false, returned: false, due });
        if lane != Lane::Isolated {
            self.waiting[lane as usize].push_back(number);
        }
        Ok(())
    }

    fn plan_next(&mut self) {
        self.arrivals_left -= 1;
        // Now and then a pause, or a machine that slept.
        let gap = match self.random.below(400) {
            0 => Duration::from_secs(self.random.below(7_200)),
            1..=10 => Duration::from_millis(self.random.below(900)),
            11..=200 => Duration::ZERO,
            _ => Duration::from_micros(self.random.below(18_000) / self.haste),
        };
        let next = if self.arrivals_left == 0 { Event::Drain } else { Event::Arrival(0) };
        self.plan(self.now.saturating_add(gap), next);
    }

    /// What the clock says: sometimes it lags behind what it said before.
    fn told_time(&mut self) -> Duration {
        if self.random.chance(50) {
            return self.now.saturating_sub(Duration::from_millis(self.random.below(2_000)));
        }
        self.now
    }

    fn end(&mut self, at: ExecutorId) -> Result<(), String> {
        let running = self.running.remove(&at).ok_or("an executor ended what it had not begun")?;
        if let (Running::Batch(_), true) = (&running, self.fragility > 0)
            && self.random.chance(self.fragility)
        {
            self.broken[at.device] = true;
            // Some never recover.
            if !self.random.chance(4) {
                let heals = self.now.saturating_add(Duration::from_secs(self.random.below(120)));
                self.plan(heals, Event::Heal { device: at.device });
            }
        }
        let (now, broken) = (self.told_time(), self.broken[at.device]);
        match running {
            Running::Check if broken => {
                self.tally.failures += 1;
                self.scheduler.probed(at, Err("broken".to_owned()), now);
            }
            Running::Check => self.scheduler.probed(at, Ok(()), now),
            Running::Batch(jobs) if broken => {
                self.tally.failures += 1;
                let all: Vec<u32> = jobs.iter().map(|job| job.item).collect();
                let given = self.scheduler.failed(at, jobs, "broken".to_owned(), now);
                for item in &given {
                    self.finished(*item)?;
                    self.tally.given_up += 1;
                }
                for item in all.into_iter().filter(|item| !given.contains(item)) {
                    let known = &mut self.known[item as usize];
                    if std::mem::replace(&mut known.returned, true) {
                        return Err(format!("attempt {item} came back twice"));
                    }
                    self.tally.returned += 1;
                }
            }
            Running::Batch(jobs) => {
                for job in jobs {
                    self.finished(job.item)?;
                    self.tally.ran += 1;
                }
                self.scheduler.done(at, now);
            }
        }
        Ok(())
    }

    fn finished(&mut self, item: u32) -> Result<(), String> {
        match std::mem::replace(&mut self.known[item as usize].ended, true) {
            true => Err(format!("attempt {item} ended twice")),
            false => Ok(()),
        }
    }

    /// Lets the scheduler do what it wants; whether it has finished.
    fn act(&mut self) -> Result<bool, String> {
        loop {
            let told = self.told_time();
            match self.scheduler.next(told) {
                Next::Run { at, batch, starved } => {
                    self.check_batch(at, &batch.items, batch.reason)?;
                    self.digest(&[1, at.device as u64, at.executor as u64, starved.as_nanos() as u64]);
                    let size = batch.items.len();
                    if self.running.insert(at, Running::Batch(batch.items)).is_some() {
                        return Err("a busy executor was given a batch".to_owned());
                    }
                    let took = self.batch_time(size);
                    self.plan(self.now.saturating_add(took), Event::End { device: at.device, executor: at.executor });
                }
                Next::Probe(at) => {
                    self.digest(&[2, at.device as u64, at.executor as u64]);
                    if self.running.insert(at, Running::Check).is_some() {
                        return Err("a busy executor was given a check".to_owned());
                    }
                    let took = Duration::from_millis(1 + self.random.below(2_000));
                    self.plan(self.now.saturating_add(took), Event::End { device: at.device, executor: at.executor });
                }
                Next::GiveUp(items) => {
                    let serving = self.scheduler.services().any(|service| *service == Service::Serving);
                    if items.is_empty() || serving {
                        return Err("work was given up while a device serves".to_owned());
                    }
                    for item in items {
                        self.forget(item)?;
                        self.finished(item)?;
                        self.tally.given_up += 1;
                    }
                }
                Next::WaitUntil(at) => {
                    if at <= told {
                        return Err("it waits for the past".to_owned());
                    }
                    self.check_patience()?;
                    // A thread waits for one moment at a time; an earlier wake-up asks again.
                    if self.wake.is_none_or(|planned| at < planned) {
                        self.wake = Some(at);
                        self.plan(at, Event::Wake);
                    }
                    return Ok(false);
                }
                Next::Wait => {
                    self.check_patience()?;
                    return Ok(false);
                }
                Next::Finished => return Ok(true),
            }
        }
    }

    fn batch_time(&mut self, size: usize) -> Duration {
        match self.trace {
            None => Duration::from_micros(500 + self.random.below(60_000) + size as u64 * self.random.below(9_000)),
            Some(trace) => {
                // Of the recorded batches of the nearest size, one by chance.
                let nearest = trace.batches.iter().map(|(of, _)| of.abs_diff(size)).min().unwrap_or(0);
                let near = || trace.batches.iter().filter(|(of, _)| of.abs_diff(size) == nearest);
                let chosen = self.random.below(near().count() as u64) as usize;
                near().nth(chosen).map_or(Duration::ZERO, |(_, ran)| *ran)
            }
        }
    }

    fn check_batch(&mut self, at: ExecutorId, jobs: &[Job<u32>], reason: CloseReason) -> Result<(), String> {
        let index = CloseReason::ALL.iter().position(|known| *known == reason).unwrap_or(0);
        self.tally.batches[index] += 1;
        // A batch may have been sized for devices that just failed, never for more than any has.
        if jobs.is_empty() || jobs.len() > self.rules[at.device].max_batch {
            return Err(format!(
                "a batch of {} on a device that takes {}",
                jobs.len(),
                self.rules[at.device].max_batch
            ));
        }
        let isolated = |job: &Job<u32>| {
            let known = &self.known[job.item as usize];
            known.returned || known.lane == Lane::Isolated
        };
        let alone = jobs.iter().any(isolated);
        if alone != (reason == CloseReason::Isolation) || (alone && jobs.len() != 1) {
            return Err(format!("a batch of {} closed by {reason:?}, isolated {alone}", jobs.len()));
        }
        if alone {
            let shared_waits = self.waiting.iter().map(VecDeque::len).sum::<usize>() >= self.config.max_batch;
            if self.alone_last && shared_waits {
                return Err("two isolated batches in a row while a full one waits".to_owned());
            }
        } else {
            self.note_overdue();
            self.shared += 1;
        }
        self.alone_last = alone;
        for job in jobs {
            self.digest(&[job.item.into()]);
            let known = &self.known[job.item as usize];
            if known.ended {
                return Err(format!("attempt {} runs again after its end", job.item));
            }
            if known.due.is_some_and(|due| !known.returned && self.shared > due) {
                return Err(format!("attempt {} ran in shared batch {}, due {:?}", job.item, self.shared, known.due));
            }
            if !alone {
                let lane = known.lane as usize;
                if self.waiting[lane].pop_front() != Some(job.item) {
                    return Err(format!("attempt {} overtook another of its lane", job.item));
                }
                self.served_bulk += lane;
            }
        }
        Ok(())
    }

    /// From the moment that a bulk attempt is overdue its bound counts.
    fn note_overdue(&mut self) {
        let ahead = self.overdue - self.served_bulk.min(self.overdue);
        self.overdue = self.overdue.max(self.served_bulk);
        for position in ahead..self.waiting[1].len() {
            let item = self.waiting[1][position];
            let known = &mut self.known[item as usize];
            // As much earlier than the scheduler's own clock as the lag is.
            if self.now < known.since.saturating_add(self.config.bulk_deadline) {
                break;
            }
            known.due = Some(self.shared + 1 + bulk_bound(position, self.smallest_batch) as u64);
            self.overdue += 1;
        }
    }

    fn forget(&mut self, item: u32) -> Result<(), String> {
        let known = &self.known[item as usize];
        if known.lane == Lane::Isolated || known.returned {
            return Ok(());
        }
        let lane = known.lane as usize;
        let at = self.waiting[lane].iter().position(|waiting| *waiting == item);
        let at = at.ok_or_else(|| format!("attempt {item} was given up and did not wait"))?;
        self.waiting[lane].remove(at);
        self.served_bulk += lane;
        Ok(())
    }

    /// It waits: so no device is free, or nobody has waited long enough.
    fn check_patience(&mut self) -> Result<(), String> {
        let free = |(device, service): (usize, &Service)| {
            *service == Service::Serving
                && (0..self.rules[device].executors)
                    .any(|executor| !self.running.contains_key(&ExecutorId { device, executor }))
        };
        if !self.scheduler.services().enumerate().any(free) {
            return Ok(());
        }
        // The clock that the scheduler was told may lag.
        let lag = Duration::from_secs(2);
        for (lane, patience) in [(0, self.config.interactive_deadline), (1, self.config.bulk_deadline)] {
            if let Some(first) = self.waiting[lane].front() {
                let since = self.known[*first as usize].since;
                if self.now > since.saturating_add(patience).saturating_add(lag) {
                    return Err(format!("a device is free and attempt {first} is past its deadline"));
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), String> {
        if !self.draining || !self.running.is_empty() {
            return Err("it says that it has finished, and has not".to_owned());
        }
        match self.known.iter().position(|known| !known.ended) {
            Some(lost) => Err(format!("attempt {lost} was lost")),
            None => Ok(()),
        }
    }

    /// FNV-1a over words.
    fn digest(&mut self, words: &[u64]) {
        for word in words {
            self.tally.digest = (self.tally.digest ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
