//! Which device runs what, and what becomes of the work of a device that fails. Like the batcher
//! without threads or clocks: production, property tests and the simulator drive this same value.
//!
//! A device that fails its own check is taken out of service. What it was running goes back and
//! runs alone, elsewhere; what a second device fails under is given up as a fault of ours. The
//! device is checked again after a growing delay. A standby device serves while no other does.

use std::time::Duration;

use super::state::{Batch, Batcher, Refused, Step};
use super::{BatchConfig, Lane};

/// How long a device stays out of service before it is checked again; doubled with each failure.
const RETRY: Duration = Duration::from_secs(30);
/// The longest such delay.
const RETRY_CAP: Duration = Duration::from_secs(600);

/// What is fixed about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRules {
    /// Batches that may be under way on it at once.
    pub executors: usize,
    /// Most attempts in one of its batches.
    pub max_batch: usize,
    /// It serves only while no other device does.
    pub standby: bool,
}

/// One of a device's executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExecutorId {
    /// Index of the device.
    pub device: usize,
    /// Index among its executors.
    pub executor: usize,
}

/// An attempt on its way through a batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Job<T> {
    /// The attempt.
    pub item: T,
    /// What is known of its way.
    pub place: Place,
}

/// What is known of an attempt's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    since: Duration,
    returned: bool,
}

/// What to do now.
#[derive(Debug)]
pub enum Next<T> {
    /// Let this executor run this batch; it is busy until [`Scheduler::done`] or
    /// [`Scheduler::failed`].
    Run {
        /// Where.
        at: ExecutorId,
        /// What.
        batch: Batch<Job<T>>,
        /// How long the device had nothing to do while an attempt of this batch waited.
        starved: Duration,
    },
    /// Let this executor check its device; it is busy until [`Scheduler::probed`].
    Probe(ExecutorId),
    /// No device is left: answer these with a fault of ours.
    GiveUp(Vec<T>),
    /// Nothing before this moment, unless something happens.
    WaitUntil(Duration),
    /// Nothing until something happens.
    Wait,
    /// Drained: nothing waits, nothing runs.
    Finished,
}

/// Whether a device works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// It takes batches.
    Serving,
    /// It is checked before it takes any.
    Probing,
    /// It stands by.
    Reserve,
    /// It failed.
    Out {
        /// What it said.
        reason: String,
        /// When it is checked again.
        retry_at: Duration,
    },
}

struct Device {
    rules: DeviceRules,
    service: Service,
    /// Failures since a batch last went through.
    failures: u32,
    busy: Vec<bool>,
    /// Since when none of its executors is busy.
    idle_since: Duration,
    /// When it was last given a batch, in batches.
    turn: u64,
}

/// Attempts that wait, the devices, and who does what.
pub struct Scheduler<T> {
    batcher: Batcher<Job<T>>,
    devices: Vec<Device>,
    turn: u64,
    now: Duration,
}

impl<T> Scheduler<T> {
    /// Devices other than standby ones serve from the start: they were checked when they were built.
    pub fn new(config: BatchConfig, devices: &[DeviceRules]) -> Self {
        let devices = devices.iter().map(|rules| Device::new(*rules)).collect();
        let mut scheduler = Self { batcher: Batcher::new(config), devices, turn: 0, now: Duration::ZERO };
        scheduler.fit_batches();
        scheduler
    }

    /// Takes an attempt, if there is room.
    pub fn push(&mut self, item: T, lane: Lane, now: Duration) -> Result<(), Refused<T>> {
        let now = self.advance(now);
        let job = Job { item, place: Place { since: now, returned: false } };
        self.batcher.push(job, lane, now).map_err(|refused| match refused {
            Refused::Full(job) => Refused::Full(job.item),
            Refused::Draining(job) => Refused::Draining(job.item),
        })
    }

    /// Attempts that wait.
    pub fn waiting(&self) -> usize {
        self.batcher.waiting()
    }

    /// Takes nothing more and finishes what was taken.
    pub fn drain(&mut self) {
        self.batcher.drain();
    }

    /// Gives up what waits.
    pub fn take_all(&mut self) -> Vec<T> {
        self.batcher.take_all().into_iter().map(|job| job.item).collect()
    }

    /// Whether each device works, in the order in which they were named.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.devices.iter().map(|device| &device.service)
    }

    /// An executor's batch went through (attempts that the engine refused included: the device
    /// is sound).
    pub fn done(&mut self, at: ExecutorId, now: Duration) {
        let now = self.advance(now);
        let device = &mut self.devices[at.device];
        device.free(at.executor, now);
        if device.service == Service::Serving {
            device.failures = 0;
        }
    }

    /// An executor's device failed under these jobs. They run alone elsewhere; those that this
    /// happened to before come back and are to be answered with a fault of ours.
    pub fn failed(&mut self, at: ExecutorId, jobs: Vec<Job<T>>, reason: String, now: Duration) -> Vec<T> {
        let now = self.advance(now);
        self.devices[at.device].free(at.executor, now);
        if matches!(self.devices[at.device].service, Service::Serving | Service::Probing) {
            self.devices[at.device].out(reason, now);
            self.fit_batches();
        }
        let (twice, once): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.place.returned);
        let back = |Job { item, place }: Job<T>| {
            let since = place.since;
            (Job { item, place: Place { returned: true, ..place } }, since)
        };
        self.batcher.put_back(once.into_iter().map(back).collect());
        twice.into_iter().map(|job| job.item).collect()
    }

    /// A device was checked.
    pub fn probed(&mut self, at: ExecutorId, result: Result<(), String>, now: Duration) {
        let now = self.advance(now);
        let serving = self.primary_serves();
        let device = &mut self.devices[at.device];
        device.free(at.executor, now);
        if device.service != Service::Probing {
            return;
        }
        match result {
            Err(reason) => device.out(reason, now),
            Ok(()) if device.rules.standby && serving => device.service = Service::Reserve,
            Ok(()) => device.service = Service::Serving,
        }
        if self.primary_serves() {
            let standby = self.devices.iter_mut().filter(|device| device.rules.standby);
            for device in standby.filter(|device| device.service != Service::Probing) {
                device.service = Service::Reserve;
            }
        }
        self.fit_batches();
    }

    /// What to do now. Ask until the answer is to wait.
    pub fn next(&mut self, now: Duration) -> Next<T> {
        let now = self.advance(now);
        if let Some(at) = self.to_probe(now) {
            self.devices[at.device].service = Service::Probing;
            self.devices[at.device].take(at.executor);
            return Next::Probe(at);
        }
        let mut wake = self.next_probe();
        if let Some(at) = self.free_executor() {
            match self.batcher.poll(now) {
                Step::Run(batch) => return self.run(at, batch, now),
                Step::WaitUntil(close) => wake = Some(wake.map_or(close, |probe| probe.min(close))),
                Step::Empty | Step::Drained => {}
            }
        }
        let hope = |device: &Device| matches!(device.service, Service::Serving | Service::Probing);
        if self.batcher.waiting() > 0 && !self.devices.iter().any(hope) {
            return Next::GiveUp(self.take_all());
        }
        if self.batcher.is_draining() && self.batcher.waiting() == 0 && self.devices.iter().all(Device::is_idle) {
            return Next::Finished;
        }
        wake.map_or(Next::Wait, Next::WaitUntil)
    }

    fn run(&mut self, at: ExecutorId, batch: Batch<Job<T>>, now: Duration) -> Next<T> {
        self.turn += 1;
        let device = &mut self.devices[at.device];
        let oldest = batch.items.iter().map(|job| job.place.since).min().unwrap_or(now);
        let idle = if device.is_idle() { now.saturating_sub(device.idle_since.max(oldest)) } else { Duration::ZERO };
        device.turn = self.turn;
        device.take(at.executor);
        Next::Run { at, batch, starved: idle }
    }

    /// Of the devices that serve, the least busy one's free executor; they take turns.
    fn free_executor(&self) -> Option<ExecutorId> {
        let serving = self.devices.iter().enumerate().filter(|(_, device)| device.service == Service::Serving);
        let free = serving.filter_map(|(index, device)| Some((device, device.executor(index)?)));
        free.min_by_key(|(device, _)| (device.running(), device.turn)).map(|(_, at)| at)
    }

    /// A device that is due for a check: one that failed some time ago, or a standby device when
    /// no other serves.
    fn to_probe(&self, now: Duration) -> Option<ExecutorId> {
        let due = |device: &Device| match &device.service {
            // A process that ends needs no more devices than it has.
            Service::Out { retry_at, .. } => *retry_at <= now && !self.batcher.is_draining(),
            Service::Reserve => !self.batcher.is_draining() || self.batcher.waiting() > 0,
            Service::Serving | Service::Probing => false,
        };
        self.wanted().filter(|(_, device)| due(device)).find_map(|(index, device)| device.executor(index))
    }

    fn next_probe(&self) -> Option<Duration> {
        if self.batcher.is_draining() {
            return None;
        }
        let out = self.wanted().filter(|(index, device)| device.executor(*index).is_some());
        out.filter_map(|(_, device)| match &device.service {
            Service::Out { retry_at, .. } => Some(*retry_at),
            _ => None,
        })
        .min()
    }

    /// Devices that are to serve as things are.
    fn wanted(&self) -> impl Iterator<Item = (usize, &Device)> {
        let standby = !self.primary_serves();
        self.devices.iter().enumerate().filter(move |(_, device)| standby || !device.rules.standby)
    }

    fn primary_serves(&self) -> bool {
        self.devices.iter().any(|device| !device.rules.standby && device.service == Service::Serving)
    }

    /// Batches are as large as the devices that serve take them.
    fn fit_batches(&mut self) {
        let serving = self.devices.iter().filter(|device| device.service == Service::Serving);
        if let Some(most) = serving.map(|device| device.rules.max_batch).max() {
            self.batcher.set_max_batch(most);
        }
    }

    fn advance(&mut self, now: Duration) -> Duration {
        self.now = self.now.max(now);
        self.now
    }
}

impl Device {
    fn new(rules: DeviceRules) -> Self {
        let service = if rules.standby { Service::Reserve } else { Service::Serving };
        let busy = vec![false; rules.executors];
        Self { rules, service, failures: 0, busy, idle_since: Duration::ZERO, turn: 0 }
    }

    fn out(&mut self, reason: String, now: Duration) {
        let delay = RETRY.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(RETRY_CAP);
        self.failures = self.failures.saturating_add(1);
        self.service = Service::Out { reason, retry_at: now.saturating_add(delay) };
    }

    fn take(&mut self, executor: usize) {
        self.busy[executor] = true;
    }

    fn free(&mut self, executor: usize, now: Duration) {
        self.busy[executor] = false;
        if self.is_idle() {
            self.idle_since = now;
        }
    }

    fn is_idle(&self) -> bool {
        self.running() == 0
    }

    fn running(&self) -> usize {
        self.busy.iter().filter(|busy| **busy).count()
    }

    fn executor(&self, device: usize) -> Option<ExecutorId> {
        let executor = self.busy.iter().position(|busy| !busy)?;
        Some(ExecutorId { device, executor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batcher::CloseReason;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn scheduler(devices: &[(usize, bool)]) -> Scheduler<u32> {
        let config = BatchConfig { max_batch: 4, idle: ms(0), ..BatchConfig::default() };
        let rules = |(executors, standby): &(usize, bool)| DeviceRules {
            executors: *executors,
            max_batch: if *standby { 2 } else { 4 },
            standby: *standby,
        };
        Scheduler::new(config, &devices.iter().map(rules).collect::<Vec<_>>())
    }

    fn pushed(scheduler: &mut Scheduler<u32>, items: std::ops::Range<u32>, now: u64) {
        for item in items {
            scheduler.push(item, Lane::Interactive, ms(now)).unwrap();
        }
    }

    fn runs(next: Next<u32>) -> (usize, Vec<Job<u32>>, CloseReason) {
        match next {
            Next::Run { at, batch, .. } => (at.device, batch.items, batch.reason),
            other => panic!("expected a batch, got {other:?}"),
        }
    }

    fn items(jobs: &[Job<u32>]) -> Vec<u32> {
        jobs.iter().map(|job| job.item).collect()
    }

    const FIRST: ExecutorId = ExecutorId { device: 0, executor: 0 };
    const SECOND: ExecutorId = ExecutorId { device: 1, executor: 0 };

    #[test]
    fn devices_share_the_work_and_the_least_busy_goes_first() {
        let mut scheduler = scheduler(&[(2, false), (2, false)]);
        pushed(&mut scheduler, 0..16, 0);
        let order: Vec<usize> = (0..4).map(|_| runs(scheduler.next(ms(0))).0).collect();
        assert_eq!(order, [0, 1, 0, 1]);
        assert!(matches!(scheduler.next(ms(0)), Next::Wait));
    }

    #[test]
    fn the_work_of_a_device_that_failed_runs_alone_on_another_and_none_is_lost() {
        let mut scheduler = scheduler(&[(1, false), (1, false)]);
        pushed(&mut scheduler, 0..4, 0);
        let (device, jobs, _) = runs(scheduler.next(ms(0)));
        assert_eq!((device, items(&jobs)), (0, vec![0, 1, 2, 3]));
        assert_eq!(scheduler.failed(FIRST, jobs, "fell off the bus".into(), ms(5)), Vec::<u32>::new());
        for expected in 0..4 {
            let (device, jobs, reason) = runs(scheduler.next(ms(5)));
            assert_eq!((device, items(&jobs), reason), (1, vec![expected], CloseReason::Isolation));
            scheduler.done(SECOND, ms(6));
        }
    }

    #[test]
    fn what_two_devices_failed_under_is_given_up() {
        let mut scheduler = scheduler(&[(1, false), (1, false)]);
        pushed(&mut scheduler, 7..8, 0);
        let (_, jobs, _) = runs(scheduler.next(ms(0)));
        scheduler.failed(FIRST, jobs, "x".into(), ms(1));
        let (device, jobs, _) = runs(scheduler.next(ms(1)));
        assert_eq!(device, 1);
        assert_eq!(scheduler.failed(SECOND, jobs, "x".into(), ms(2)), [7]);
    }

    #[test]
    fn the_standby_device_takes_over_with_its_own_batches_and_steps_back() {
        let mut scheduler = scheduler(&[(1, false), (1, true)]);
        pushed(&mut scheduler, 0..4, 0);
        let (_, jobs, _) = runs(scheduler.next(ms(0)));
        scheduler.failed(FIRST, jobs, "x".into(), ms(1));
        assert!(matches!(scheduler.next(ms(1)), Next::Probe(SECOND)), "it is built and checked first");
        assert!(matches!(scheduler.next(ms(1)), Next::WaitUntil(_)), "what waits waits for it");
        scheduler.probed(SECOND, Ok(()), ms(900));
        pushed(&mut scheduler, 4..8, 900);
        let sizes: Vec<usize> = (0..6)
            .map(|_| {
                let (device, jobs, _) = runs(scheduler.next(ms(900)));
                scheduler.done(SECOND, ms(900));
                assert_eq!(device, 1);
                jobs.len()
            })
            .collect();
        assert_eq!(sizes, [1, 2, 1, 2, 1, 1], "four alone, the rest two at a time");
        // The first one is checked again after half a minute, and is back.
        assert!(matches!(scheduler.next(ms(30_000)), Next::WaitUntil(at) if at == ms(30_001)));
        assert!(matches!(scheduler.next(ms(30_001)), Next::Probe(FIRST)));
        scheduler.probed(FIRST, Ok(()), ms(30_100));
        assert_eq!(scheduler.services().collect::<Vec<_>>(), [&Service::Serving, &Service::Reserve]);
        pushed(&mut scheduler, 8..12, 30_100);
        assert_eq!(runs(scheduler.next(ms(30_100))).1.len(), 4);
    }

    #[test]
    fn with_no_device_left_what_waits_is_given_up_at_once_and_later_work_after_a_check() {
        let mut scheduler = scheduler(&[(1, false)]);
        pushed(&mut scheduler, 0..6, 0);
        let (_, jobs, _) = runs(scheduler.next(ms(0)));
        scheduler.failed(FIRST, jobs, "x".into(), ms(1));
        let Next::GiveUp(given) = scheduler.next(ms(1)) else { panic!("nobody is left") };
        assert_eq!(given.len(), 6);
        pushed(&mut scheduler, 6..7, 2);
        assert!(matches!(scheduler.next(ms(2)), Next::GiveUp(items) if items == [6]));
        assert!(matches!(scheduler.next(ms(40_000)), Next::Probe(FIRST)));
        pushed(&mut scheduler, 7..8, 40_000);
        assert!(matches!(scheduler.next(ms(40_000)), Next::Wait), "the check may succeed");
        scheduler.probed(FIRST, Ok(()), ms(40_001));
        assert_eq!(items(&runs(scheduler.next(ms(40_001))).1), [7]);
    }

    #[test]
    fn each_failure_doubles_the_delay_up_to_ten_minutes_and_a_good_batch_resets_it() {
        let mut scheduler = scheduler(&[(1, false)]);
        let mut now = Duration::ZERO;
        let mut delays = Vec::new();
        for _ in 0..7 {
            scheduler.failed(FIRST, Vec::new(), "x".into(), now);
            let Next::WaitUntil(at) = scheduler.next(now) else { panic!("a check is planned") };
            delays.push((at - now).as_secs());
            now = at;
            assert!(matches!(scheduler.next(now), Next::Probe(FIRST)));
            scheduler.probed(FIRST, Ok(()), now);
        }
        assert_eq!(delays, [30, 60, 120, 240, 480, 600, 600]);
        scheduler.push(1, Lane::Bulk, now).unwrap();
        runs(scheduler.next(now));
        scheduler.done(FIRST, now);
        scheduler.failed(FIRST, Vec::new(), "x".into(), now);
        assert!(matches!(scheduler.next(now), Next::WaitUntil(at) if at == now + RETRY));
    }

    #[test]
    fn draining_waits_for_what_runs_and_checks_no_device_any_more() {
        let mut scheduler = scheduler(&[(1, false), (1, false)]);
        pushed(&mut scheduler, 0..1, 0);
        let (_, jobs, _) = runs(scheduler.next(ms(0)));
        scheduler.drain();
        assert!(matches!(scheduler.next(ms(0)), Next::Wait));
        scheduler.failed(FIRST, jobs, "x".into(), ms(1));
        assert_eq!(runs(scheduler.next(ms(1))).0, 1);
        scheduler.done(SECOND, ms(2));
        assert!(matches!(scheduler.next(ms(90_000)), Next::Finished));
    }

    #[test]
    fn a_device_that_idles_while_work_waits_for_company_says_for_how_long() {
        let config = BatchConfig { max_batch: 4, idle: ms(5), ..BatchConfig::default() };
        let mut scheduler = Scheduler::new(config, &[DeviceRules { executors: 2, max_batch: 4, standby: false }]);
        scheduler.push(1, Lane::Bulk, ms(100)).unwrap();
        assert!(matches!(scheduler.next(ms(105)), Next::Run { starved, .. } if starved == ms(5)));
        scheduler.push(2, Lane::Bulk, ms(106)).unwrap();
        assert!(
            matches!(scheduler.next(ms(111)), Next::Run { starved: Duration::ZERO, .. }),
            "the other executor works"
        );
    }
}
