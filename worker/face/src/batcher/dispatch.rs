//! The threads: one that owns the scheduler and hears everybody, and each device's executors.
//!
//! Work goes through channels: attempts in, batches to executors, and word of how they went back.
//! Nobody shares the scheduler, so nobody locks it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, at, never, select};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::engine::{BatchEngine, Standby};
use super::report::{BatchEvent, BatchReport, DeviceStatus};
use super::schedule::{DeviceRules, ExecutorId, Job, Next, Place, Scheduler};
use super::state::{Batch, Refused};
use super::{BatchConfig, Lane};
use crate::device::Device;
use crate::error::EngineError;
use crate::outcome::FaceOutcome;

pub(super) type Answer = Result<FaceOutcome, EngineError>;

/// An attempt and who waits for it.
pub(super) struct Work<A> {
    pub(super) attempt: A,
    pub(super) owner: Owner,
}

/// Who waits for an attempt, and the room that it holds until it is done with.
pub(super) struct Owner {
    pub(super) lane: Lane,
    pub(super) answer: oneshot::Sender<Answer>,
    pub(super) _room: [OwnedSemaphorePermit; 2],
}

/// What the threads and the service's handle share.
pub(super) struct Board {
    pub(super) started: Instant,
    /// Attempts that wait, by lane.
    waiting: [AtomicUsize; 3],
    /// Written by the dispatcher when a device changes, read for readiness texts.
    devices: Mutex<Vec<DeviceStatus>>,
    /// Executors that are on a task and since when: written by themselves, read for liveness texts.
    underway: Mutex<Vec<(ExecutorId, Device, Duration)>>,
    observer: Box<dyn Fn(&BatchEvent) + Send + Sync>,
}

/// Where an executor's engine comes from.
pub(super) enum Source<A> {
    Ready(Arc<dyn BatchEngine<A>>),
    /// Built by the first who needs it.
    Standby(Standby<A>, OnceLock<Arc<dyn BatchEngine<A>>>),
}

/// A device as its executors see it.
pub(super) struct Member<A> {
    pub(super) source: Source<A>,
    pub(super) device: Device,
    pub(super) rules: DeviceRules,
    /// How much of the device's busy time its reports have told.
    reported: Mutex<Duration>,
}

pub(super) enum Task<A> {
    Run { batch: Batch<Job<Work<A>>>, starved: Duration },
    Probe,
}

/// How a task went.
pub(super) struct Notice<A> {
    at: ExecutorId,
    what: What<A>,
}

enum What<A> {
    Done,
    Failed { jobs: Vec<Job<Work<A>>>, reason: String },
    Probed(Result<(), String>),
}

impl Board {
    pub(super) fn new(observer: Box<dyn Fn(&BatchEvent) + Send + Sync>) -> Self {
        Self {
            started: Instant::now(),
            waiting: Default::default(),
            devices: Mutex::default(),
            underway: Mutex::default(),
            observer,
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn waiting(&self, lane: Lane) -> usize {
        self.waiting[lane as usize].load(Ordering::Relaxed)
    }

    fn waiting_by_lane(&self) -> [usize; 3] {
        Lane::ALL.map(|lane| self.waiting(lane))
    }

    pub(super) fn arrived(&self, lane: Lane) {
        self.waiting[lane as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn devices(&self) -> Vec<DeviceStatus> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The device that has been on one task for longest, and for how long.
    pub(super) fn longest(&self) -> Option<(Device, Duration)> {
        let now = self.now();
        let underway = self.underway.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, device, since) = underway.iter().min_by_key(|(_, _, since)| *since)?;
        Some((*device, now.saturating_sub(*since)))
    }

    fn begins(&self, at: ExecutorId, device: Device) {
        self.underway.lock().unwrap_or_else(PoisonError::into_inner).push((at, device, self.now()));
    }

    fn ends(&self, at: ExecutorId) {
        self.underway.lock().unwrap_or_else(PoisonError::into_inner).retain(|(who, ..)| *who != at);
    }

    fn left(&self, lane: Lane) {
        self.waiting[lane as usize].fetch_sub(1, Ordering::Relaxed);
    }

    fn tell(&self, event: &BatchEvent) {
        (self.observer)(event);
    }
}

impl<A: 'static> Member<A> {
    pub(super) fn ready(engine: Arc<dyn BatchEngine<A>>, max_batch: usize) -> Self {
        let rules = DeviceRules { executors: engine.lanes().max(1), max_batch, standby: false };
        Self { device: engine.device(), source: Source::Ready(engine), rules, reported: Mutex::default() }
    }

    pub(super) fn standby(standby: Standby<A>) -> Self {
        let rules = DeviceRules { executors: 1, max_batch: standby.max_batch, standby: true };
        let device = standby.device;
        Self { source: Source::Standby(standby, OnceLock::new()), device, rules, reported: Mutex::default() }
    }

    fn engine(&self) -> Result<&Arc<dyn BatchEngine<A>>, EngineError> {
        match &self.source {
            Source::Ready(engine) => Ok(engine),
            Source::Standby(standby, built) => match built.get() {
                Some(engine) => Ok(engine),
                None => {
                    let engine = (standby.build)()?;
                    Ok(built.get_or_init(|| engine))
                }
            },
        }
    }
}

/// The life of the thread that owns the scheduler.
pub(super) struct Dispatcher<A> {
    pub(super) board: Arc<Board>,
    pub(super) members: Vec<Arc<Member<A>>>,
    /// By device and executor.
    pub(super) executors: Vec<Vec<Sender<Task<A>>>>,
    pub(super) intake: Receiver<Work<A>>,
    pub(super) notices: Receiver<Notice<A>>,
    /// Disconnected when the service is dropped: what waits is given up.
    pub(super) stop: Receiver<()>,
    pub(super) scheduler: Scheduler<Work<A>>,
    stopping: bool,
}

impl<A: Send + 'static> Dispatcher<A> {
    pub(super) fn new(
        board: Arc<Board>,
        config: BatchConfig,
        members: Vec<Arc<Member<A>>>,
        executors: Vec<Vec<Sender<Task<A>>>>,
        channels: (Receiver<Work<A>>, Receiver<Notice<A>>, Receiver<()>),
    ) -> Self {
        // Only executors whose threads could be started count.
        let rules: Vec<DeviceRules> = members
            .iter()
            .zip(&executors)
            .map(|(member, executors)| DeviceRules { executors: executors.len(), ..member.rules })
            .collect();
        let (intake, notices, stop) = channels;
        let dispatcher = Self {
            board,
            members,
            executors,
            intake,
            notices,
            stop,
            scheduler: Scheduler::new(config, &rules),
            stopping: false,
        };
        *dispatcher.board.devices.lock().unwrap_or_else(PoisonError::into_inner) = dispatcher.statuses();
        dispatcher
    }

    pub(super) fn run(mut self) {
        loop {
            let wake = match self.act() {
                Next::Finished => return,
                Next::WaitUntil(moment) => self.board.started.checked_add(moment).map_or_else(never, at),
                _ => never(),
            };
            select! {
                recv(self.intake) -> work => match work {
                    Ok(work) => self.take(work),
                    Err(_) => {
                        self.intake = never();
                        self.scheduler.drain();
                        // A service that is dropped ends both, this one last.
                        if self.stop.try_recv() == Err(TryRecvError::Disconnected) {
                            self.halt();
                        }
                    }
                },
                recv(self.notices) -> notice => if let Ok(notice) = notice { self.hear(notice) },
                recv(self.stop) -> _ => self.halt(),
                recv(wake) -> _ => {}
            }
        }
    }

    /// Does what can be done now.
    fn act(&mut self) -> Next<Work<A>> {
        loop {
            let next = self.scheduler.next(self.board.now());
            self.publish();
            match next {
                Next::Run { at, batch, starved } => {
                    for job in &batch.items {
                        self.board.left(job.item.owner.lane);
                    }
                    self.send(at, Task::Run { batch, starved });
                }
                Next::Probe(at) => self.send(at, Task::Probe),
                Next::GiveUp(works) => {
                    let reason = self.why_none();
                    for work in works {
                        self.board.left(work.owner.lane);
                        let _ = work.owner.answer.send(Err(EngineError::OutOfService(reason.clone())));
                    }
                }
                next => return next,
            }
        }
    }

    /// Gives up what waits and what is still to come; the tickets say that the service has stopped.
    fn halt(&mut self) {
        self.stop = never();
        self.stopping = true;
        for work in self.scheduler.take_all() {
            self.board.left(work.owner.lane);
        }
    }

    fn take(&mut self, work: Work<A>) {
        if self.stopping {
            return self.board.left(work.owner.lane);
        }
        let (lane, now) = (work.owner.lane, self.board.now());
        self.board.tell(&BatchEvent::Arrived { lane, at: now, waiting: self.board.waiting_by_lane() });
        // Neither happens: room was reserved before, and nothing is sent after the drain.
        if let Err(Refused::Full(work) | Refused::Draining(work)) = self.scheduler.push(work, lane, now) {
            self.board.left(lane);
            let _ = work.owner.answer.send(Err(EngineError::Stopped));
        }
    }

    fn hear(&mut self, Notice { at, what }: Notice<A>) {
        let now = self.board.now();
        match what {
            What::Done => self.scheduler.done(at, now),
            What::Probed(result) => self.scheduler.probed(at, result, now),
            What::Failed { jobs, reason } => {
                let device = self.members[at.device].device;
                if !jobs.is_empty() {
                    self.board.tell(&BatchEvent::Returned { device, attempts: jobs.len() });
                }
                for job in &jobs {
                    self.board.arrived(job.item.owner.lane);
                }
                for work in self.scheduler.failed(at, jobs, reason.clone(), now) {
                    self.board.left(work.owner.lane);
                    let _ = work.owner.answer.send(Err(EngineError::OutOfService(format!("{device}: {reason}"))));
                }
            }
        }
    }

    /// An executor takes a task only when it is free, so this does not wait.
    fn send(&mut self, at: ExecutorId, task: Task<A>) {
        if let Err(error) = self.executors[at.device][at.executor].send(task) {
            let jobs = match error.into_inner() {
                Task::Run { batch, .. } => batch.items,
                Task::Probe => Vec::new(),
            };
            self.hear(Notice { at, what: What::Failed { jobs, reason: "its thread has ended".to_owned() } });
        }
    }

    /// Tells of devices whose state has changed.
    fn publish(&self) {
        let changed = {
            let mut known = self.board.devices.lock().unwrap_or_else(PoisonError::into_inner);
            let same =
                known.iter().zip(self.scheduler.services()).all(|(known, service)| known.state == service.into());
            if same {
                return;
            }
            let before = std::mem::replace(&mut *known, self.statuses());
            known
                .iter()
                .zip(before)
                .filter(|(now, before)| *now != before)
                .map(|(now, _)| now.clone())
                .collect::<Vec<_>>()
        };
        for status in changed {
            tell_log(&status);
            self.board.tell(&BatchEvent::Changed(status));
        }
    }

    fn statuses(&self) -> Vec<DeviceStatus> {
        let members = self.members.iter().zip(self.scheduler.services());
        members
            .map(|(member, service)| DeviceStatus {
                device: member.device,
                standby: member.rules.standby,
                state: service.into(),
            })
            .collect()
    }

    fn why_none(&self) -> String {
        out_of_service(&self.statuses())
    }
}

/// The devices that failed and why, as one text.
pub(super) fn out_of_service(devices: &[DeviceStatus]) -> String {
    let failed = devices.iter().filter_map(|status| match &status.state {
        super::DeviceState::OutOfService(reason) => Some(format!("{}: {reason}", status.device)),
        _ => None,
    });
    failed.collect::<Vec<_>>().join("; ")
}

fn tell_log(status: &DeviceStatus) {
    let DeviceStatus { device, state, .. } = status;
    match state {
        super::DeviceState::OutOfService(reason) => {
            tracing::error!(%device, reason, "a face device failed its check and is out of service");
        }
        state => tracing::info!(%device, state = state.as_str(), "a face device has changed"),
    }
}

/// The life of an executor thread.
pub(super) fn execute<A: Send + 'static>(
    at: ExecutorId,
    member: &Member<A>,
    board: &Board,
    tasks: &Receiver<Task<A>>,
    notices: &Sender<Notice<A>>,
) {
    for task in tasks {
        board.begins(at, member.device);
        let what = match task {
            Task::Probe => {
                What::Probed(member.engine().and_then(|engine| probe(&**engine)).map_err(|error| error.to_string()))
            }
            Task::Run { batch, starved } => run_batch(member, board, batch, starved),
        };
        board.ends(at);
        // The dispatcher outlives the executors: it holds the other ends of their channels.
        let _ = notices.send(Notice { at, what });
    }
}

fn run_batch<A: 'static>(member: &Member<A>, board: &Board, batch: Batch<Job<Work<A>>>, starved: Duration) -> What<A> {
    let engine = match member.engine() {
        Ok(engine) => engine,
        Err(error) => return What::Failed { jobs: batch.items, reason: error.to_string() },
    };
    let began = board.now();
    let waited = began.saturating_sub(batch.oldest);
    // Whoever dropped the ticket does not want the answer any more.
    let wanted = batch.items.into_iter().filter(|job| !job.item.owner.answer.is_closed());
    let (attempts, owners): (Vec<A>, Vec<(Owner, Place)>) =
        wanted.map(|Job { item, place }| (item.attempt, (item.owner, place))).unzip();
    let ran = run(&**engine, &attempts);
    let mut failed = ran.device.is_some();
    let mut back = Vec::new();
    let size = attempts.len();
    for ((attempt, (owner, place)), answer) in attempts.into_iter().zip(owners).zip(ran.answers) {
        match answer {
            Some(answer) => {
                failed |= answer.is_err();
                let _ = owner.answer.send(answer);
            }
            None => back.push(Job { item: Work { attempt, owner }, place }),
        }
    }
    let (took, status) = (board.now().saturating_sub(began), engine.status());
    let busy = status.busy_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    board.tell(&BatchEvent::Ran(BatchReport {
        device: member.device,
        size,
        capacity: member.rules.max_batch,
        reason: batch.reason,
        waited,
        began,
        ran: took,
        busy: busy.map_or(took, |total| since_last(&member.reported, total)),
        waiting: board.waiting_by_lane(),
        status,
        starved,
        failed,
    }));
    match ran.device {
        None => What::Done,
        Some(reason) => What::Failed { jobs: back, reason },
    }
}

/// What became of a batch.
struct Ran {
    /// One for each attempt; none for those that a device failed under.
    answers: Vec<Option<Answer>>,
    /// What the device said, if it failed.
    device: Option<String>,
}

/// Runs a batch. If the engine fails on it, its device is checked: one that fails has the whole
/// batch taken away. Otherwise each attempt runs again alone: one that breaks the engine
/// must not cost its neighbours their answer.
fn run<A: 'static>(engine: &dyn BatchEngine<A>, attempts: &[A]) -> Ran {
    if attempts.is_empty() {
        return Ran { answers: Vec::new(), device: None };
    }
    let error = match guarded(engine, attempts) {
        Ok(outcomes) => return Ran { answers: outcomes.into_iter().map(|o| Some(Ok(o))).collect(), device: None },
        Err(error) => error,
    };
    let mut answers = Vec::with_capacity(attempts.len());
    let mut checked = probe(engine);
    if checked.is_ok() && attempts.len() == 1 {
        return Ran { answers: vec![Some(Err(error))], device: None };
    }
    if checked.is_ok() {
        tracing::warn!(%error, size = attempts.len(), "a face batch failed; its attempts run one by one");
        for attempt in attempts {
            match guarded(engine, std::slice::from_ref(attempt)) {
                Ok(mut one) => answers.push(Some(one.pop().ok_or(EngineError::Panicked))),
                Err(error) => {
                    checked = probe(engine);
                    if checked.is_err() {
                        break;
                    }
                    answers.push(Some(Err(error)));
                }
            }
        }
    }
    answers.resize_with(attempts.len(), || None);
    Ran { answers, device: checked.err().map(|check| check.to_string()) }
}

fn guarded<A: 'static>(engine: &dyn BatchEngine<A>, attempts: &[A]) -> Result<Vec<FaceOutcome>, EngineError> {
    let outcomes = catch_unwind(AssertUnwindSafe(|| engine.run(attempts))).unwrap_or(Err(EngineError::Panicked))?;
    if outcomes.len() == attempts.len() { Ok(outcomes) } else { Err(EngineError::Panicked) }
}

fn probe<A: 'static>(engine: &dyn BatchEngine<A>) -> Result<(), EngineError> {
    catch_unwind(AssertUnwindSafe(|| engine.probe())).unwrap_or(Err(EngineError::Panicked))
}

/// How much a growing total has grown since it was last asked for.
fn since_last(reported: &Mutex<Duration>, total: Duration) -> Duration {
    let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
    let grown = total.saturating_sub(*reported);
    *reported = total.max(*reported);
    grown
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::outcome::FaceVerdict;

    fn matched() -> FaceOutcome {
        FaceVerdict::Match.into()
    }

    /// Panics on 13, refuses 7, answers too little for 9, and dies of 66.
    #[derive(Default)]
    struct Fragile {
        dead: AtomicBool,
    }

    impl BatchEngine<u32> for Fragile {
        fn device(&self) -> Device {
            Device::Cuda(0)
        }

        fn run(&self, batch: &[u32]) -> Result<Vec<FaceOutcome>, EngineError> {
            assert!(!batch.contains(&13), "poison");
            if batch.contains(&66) {
                self.dead.store(true, Ordering::Relaxed);
            }
            if self.dead.load(Ordering::Relaxed) || batch.contains(&7) {
                return Err(EngineError::Torch("refused".to_owned()));
            }
            Ok(vec![matched(); if batch.contains(&9) { 0 } else { batch.len() }])
        }

        fn probe(&self) -> Result<(), EngineError> {
            match self.dead.load(Ordering::Relaxed) {
                true => Err(EngineError::Cuda("an illegal memory access was encountered".to_owned())),
                false => Ok(()),
            }
        }
    }

    #[test]
    fn an_attempt_that_breaks_the_engine_costs_its_neighbours_nothing() {
        let ran = run(&Fragile::default(), &[1, 13, 2, 7]);
        let refused = Err(EngineError::Torch("refused".to_owned()));
        assert_eq!(
            ran.answers,
            [Some(Ok(matched())), Some(Err(EngineError::Panicked)), Some(Ok(matched())), Some(refused)]
        );
        assert_eq!(ran.device, None);
        assert_eq!(run(&Fragile::default(), &[]).answers, []);
    }

    #[test]
    fn an_engine_that_answers_too_little_is_at_fault() {
        assert_eq!(run(&Fragile::default(), &[9]).answers, [Some(Err(EngineError::Panicked))]);
    }

    #[test]
    fn a_device_that_fails_its_check_gives_back_all_that_has_no_answer() {
        let ran = run(&Fragile::default(), &[1, 66, 2]);
        assert_eq!(ran.answers, [None, None, None]);
        assert!(ran.device.unwrap().contains("illegal memory access"));
        // It dies only when the batch is already being run one by one.
        let ran = run(&Fragile::default(), &[1, 13, 66, 2]);
        assert_eq!(ran.answers, [Some(Ok(matched())), Some(Err(EngineError::Panicked)), None, None]);
        assert!(ran.device.is_some());
    }

    #[test]
    fn a_devices_busy_time_is_told_once_however_many_batches_share_it() {
        let reported = Mutex::new(Duration::ZERO);
        let told: Vec<u64> = [300, 700, 700, 650, 900]
            .map(|ms| since_last(&reported, Duration::from_millis(ms)).as_millis() as u64)
            .into();
        assert_eq!(told, [300, 400, 0, 0, 200]);
    }
}
