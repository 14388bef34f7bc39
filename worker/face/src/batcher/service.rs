//! The handle: taking attempts in, answers, draining.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};

use super::dispatch::{Answer, Board, Dispatcher, Member, Owner, Work, execute, out_of_service};
use super::engine::{BatchEngine, Standby, Weigh};
use super::report::{BatchEvent, BatchReport, DeviceState, DeviceStatus};
use super::schedule::ExecutorId;
use super::{BatchConfig, Lane};
use crate::error::EngineError;
use crate::matcher::{Matcher, Prepared};
use crate::outcome::FaceOutcome;

/// Runs batches on the executor threads of each device, all fed from one intake. On the processor
/// that is one thread; a CUDA device has as many as keep it supplied, and a thread of its own
/// behind them that alone talks to it.
pub struct BatchService<A = Prepared> {
    board: Arc<Board>,
    /// Gone once the service drains.
    intake: Mutex<Option<Sender<Work<A>>>>,
    /// Its end tells the dispatcher to give up what waits.
    stop: Option<Sender<()>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Room by number, and by size in KiB.
    places: Arc<Semaphore>,
    kibibytes: Arc<Semaphore>,
    max_kibibytes: u32,
    /// How many threads still run.
    running: watch::Receiver<usize>,
}

/// What a service is made of.
pub struct Setup<A> {
    /// The devices. All must match by the same pack and policy.
    pub engines: Vec<Arc<dyn BatchEngine<A>>>,
    /// Takes over while none of them works.
    pub standby: Option<Standby<A>>,
    /// How batches are formed.
    pub config: BatchConfig,
    /// Told of everything that happens, on the service's threads: it must be quick.
    pub observer: Box<dyn Fn(&BatchEvent) + Send + Sync>,
}

/// Why an attempt was not taken. It gives the attempt back.
pub enum SubmitError<A = Prepared> {
    /// No room now; wait, or use [`BatchService::submit`], which waits.
    Full(A),
    /// The service takes no more work.
    Draining(A),
}

/// The answer to come. Await it on any runtime, or call [`Ticket::wait`] from a plain thread.
/// Dropping it gives the work up if it has not begun.
pub struct Ticket(oneshot::Receiver<Answer>);

impl BatchService {
    /// Starts the threads. All matchers must be of the same pack and policy.
    pub fn spawn(matchers: Vec<Arc<Matcher>>, config: BatchConfig) -> Self {
        Self::spawn_observed(matchers, config, |_| {})
    }

    /// Like [`Self::spawn`]; `observer` is told about each batch, on the executor's thread.
    pub fn spawn_observed(
        matchers: Vec<Arc<Matcher>>,
        config: BatchConfig,
        observer: impl Fn(&BatchReport) + Send + Sync + 'static,
    ) -> Self {
        let observer = move |event: &BatchEvent| {
            if let BatchEvent::Ran(report) = event {
                observer(report);
            }
        };
        let engines = matchers.into_iter().map(|matcher| matcher as Arc<dyn BatchEngine<Prepared>>).collect();
        Self::start(Setup { engines, standby: None, config, observer: Box::new(observer) })
    }
}

impl<A: Weigh + Send + Sync + 'static> BatchService<A> {
    /// Starts the threads.
    pub fn start(setup: Setup<A>) -> Self {
        let Setup { engines, standby, mut config, observer } = setup;
        config.max_batch = config.max_batch.max(1);
        config.max_waiting = config.max_waiting.clamp(1, Semaphore::MAX_PERMITS);
        let max_kibibytes = u32::try_from(config.max_bytes / 1024)
            .unwrap_or(u32::MAX)
            .clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize) as u32);
        let (places, kibibytes) = (Semaphore::new(config.max_waiting), Semaphore::new(max_kibibytes as usize));
        let board = Arc::new(Board::new(observer));
        let (alive, running) = watch::channel(0);
        let mut threads = Threads { alive: Arc::new(alive), handles: Vec::new() };

        let members = engines.into_iter().map(|engine| Member::ready(engine, config.max_batch));
        let members: Vec<Arc<Member<A>>> = members.chain(standby.map(Member::standby)).map(Arc::new).collect();
        let (notices, heard) = unbounded();
        let mut executors = Vec::new();
        for (device, member) in members.iter().enumerate() {
            let mut senders = Vec::new();
            for _ in 0..member.rules.executors {
                let (sender, tasks) = bounded(1);
                let at = ExecutorId { device, executor: senders.len() };
                let (member, board, notices) = (Arc::clone(member), Arc::clone(&board), notices.clone());
                let name = format!("face {}", member.device);
                if threads.start(name, move || execute(at, &member, &board, &tasks, &notices)) {
                    senders.push(sender);
                }
            }
            executors.push(senders);
        }
        // Room is reserved before anything is sent, so that sending never waits.
        let (intake, taken) = bounded(config.max_waiting);
        let (stop, stopped) = bounded(0);
        let able = executors.iter().any(|senders| !senders.is_empty());
        let dispatcher = Dispatcher::new(Arc::clone(&board), config, members, executors, (taken, heard, stopped));
        let able = able && threads.start("face batches".to_owned(), move || dispatcher.run());
        let service = Self {
            board,
            intake: Mutex::new(Some(intake)),
            stop: Some(stop),
            threads: Mutex::new(threads.handles),
            places: Arc::new(places),
            kibibytes: Arc::new(kibibytes),
            max_kibibytes,
            running,
        };
        // Nobody would ever run the work: refuse it instead.
        if !able {
            service.close();
        }
        service
    }

    /// Hands an attempt in, waiting for room. Works on any async runtime.
    pub async fn submit(&self, item: A, lane: Lane) -> Result<Ticket, SubmitError<A>> {
        let size = self.size_of(&item);
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return Err(SubmitError::Draining(item));
        };
        let Ok(size) = Arc::clone(&self.kibibytes).acquire_many_owned(size).await else {
            return Err(SubmitError::Draining(item));
        };
        self.push(item, lane, [place, size])
    }

    /// Hands an attempt in if there is room.
    pub fn try_submit(&self, item: A, lane: Lane) -> Result<Ticket, SubmitError<A>> {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(TryAcquireError::NoPermits) => return Err(SubmitError::Full(item)),
            Err(TryAcquireError::Closed) => return Err(SubmitError::Draining(item)),
        };
        let size = match Arc::clone(&self.kibibytes).try_acquire_many_owned(self.size_of(&item)) {
            Ok(size) => size,
            Err(TryAcquireError::NoPermits) => return Err(SubmitError::Full(item)),
            Err(TryAcquireError::Closed) => return Err(SubmitError::Draining(item)),
        };
        self.push(item, lane, [place, size])
    }

    /// Hands an attempt in, blocking for room; not for async code.
    pub fn submit_blocking(&self, item: A, lane: Lane) -> Result<Ticket, SubmitError<A>> {
        block_on(self.submit(item, lane))
    }

    /// Attempts that wait for a batch now.
    pub fn waiting(&self) -> usize {
        Lane::ALL.into_iter().map(|lane| self.waiting_in(lane)).sum()
    }

    /// Attempts of one lane that wait for a batch now.
    pub fn waiting_in(&self, lane: Lane) -> usize {
        self.board.waiting(lane)
    }

    /// Each device and whether it works.
    pub fn devices(&self) -> Vec<DeviceStatus> {
        self.board.devices()
    }

    /// Whether a device is there to run what is handed in; if not, what they said.
    ///
    /// # Errors
    /// None is in service, and none is about to be.
    pub fn ready(&self) -> Result<(), String> {
        let devices = self.devices();
        let hope = |status: &DeviceStatus| matches!(status.state, DeviceState::Serving | DeviceState::Checking);
        if devices.iter().any(hope) {
            return Ok(());
        }
        Err(format!("no device is in service: {}", out_of_service(&devices)))
    }

    /// Whether every task that is under way began at most `limit` ago. A device that hangs without an error keeps its thread
    /// and its batch, so that nothing in this process can give the batch to another: only a new process helps.
    ///
    /// # Errors
    /// Names the device that has been on one task for longest.
    pub fn alive(&self, limit: Duration) -> Result<(), String> {
        match self.board.longest() {
            Some((device, busy)) if busy > limit => {
                Err(format!("{device} has been on one batch for {} s and does not answer", busy.as_secs()))
            }
            _ => Ok(()),
        }
    }

    /// Takes no more work, finishes what was taken and stops the threads.
    pub async fn drain(&self) {
        self.close();
        let mut running = self.running.clone();
        // An error means that the last thread is gone, which is what is waited for.
        let _ = running.wait_for(|running| *running == 0).await;
    }

    /// The same, blocking; not for async code.
    pub fn drain_blocking(&self) {
        block_on(self.drain());
    }

    fn size_of(&self, item: &A) -> u32 {
        u32::try_from(item.bytes() / 1024).unwrap_or(u32::MAX).clamp(1, self.max_kibibytes)
    }

    fn push(&self, attempt: A, lane: Lane, room: [OwnedSemaphorePermit; 2]) -> Result<Ticket, SubmitError<A>> {
        let (answer, receiver) = oneshot::channel();
        let work = Work { attempt, owner: Owner { lane, answer, _room: room } };
        let intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(intake) = &*intake else {
            return Err(SubmitError::Draining(work.attempt));
        };
        self.board.arrived(lane);
        match intake.send(work) {
            Ok(()) => Ok(Ticket(receiver)),
            Err(refused) => Err(SubmitError::Draining(refused.into_inner().attempt)),
        }
    }
}

impl<A> BatchService<A> {
    fn close(&self) {
        self.places.close();
        self.kibibytes.close();
        *self.intake.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl<A> Drop for BatchService<A> {
    /// Finishes the batches that run and gives up what waits: their tickets say so. Call
    /// [`BatchService::drain`] first to lose nothing.
    fn drop(&mut self) {
        self.stop = None;
        self.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// Threads that are counted while they run.
struct Threads {
    alive: Arc<watch::Sender<usize>>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    fn start(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> bool {
        self.alive.send_modify(|running| *running += 1);
        let guard = CountDown(Arc::clone(&self.alive));
        let run = move || {
            let _last = guard;
            run();
        };
        match std::thread::Builder::new().name(name).spawn(run) {
            Ok(thread) => {
                self.handles.push(thread);
                true
            }
            Err(error) => {
                tracing::error!(%error, "cannot start a thread of the face service");
                false
            }
        }
    }
}

/// Counts a thread out, however it ends.
struct CountDown(Arc<watch::Sender<usize>>);

impl Drop for CountDown {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running = running.saturating_sub(1));
    }
}

impl Ticket {
    /// Blocks until the answer is there; not for async code.
    pub fn wait(self) -> Result<FaceOutcome, EngineError> {
        self.0.blocking_recv().unwrap_or(Err(EngineError::Stopped))
    }
}

impl Future for Ticket {
    type Output = Result<FaceOutcome, EngineError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(EngineError::Stopped)))
    }
}

/// Runs a future that only waits for tokio's synchronisation primitives, without a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

impl<A> fmt::Display for SubmitError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the face queue is full",
            Self::Draining(_) => "the face service is draining",
        })
    }
}

// By hand: the attempt inside must not be printed.
impl<A> fmt::Debug for SubmitError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Draining(_) => "Draining",
        })
    }
}

impl<A> std::error::Error for SubmitError<A> {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::device::Device;
    use crate::outcome::FaceVerdict;

    impl Weigh for u32 {
        fn bytes(&self) -> usize {
            1024
        }
    }

    /// A device that works until it is told to fail.
    struct Fake {
        device: Device,
        broken: AtomicBool,
        ran: AtomicUsize,
    }

    impl Fake {
        fn new(device: Device) -> Arc<Self> {
            Arc::new(Self { device, broken: AtomicBool::new(false), ran: AtomicUsize::new(0) })
        }

        fn sound(&self) -> Result<(), EngineError> {
            match self.broken.load(Ordering::SeqCst) {
                true => Err(EngineError::Cuda("CUDA_ERROR_ILLEGAL_ADDRESS".to_owned())),
                false => Ok(()),
            }
        }
    }

    impl BatchEngine<u32> for Fake {
        fn device(&self) -> Device {
            self.device
        }

        fn run(&self, batch: &[u32]) -> Result<Vec<FaceOutcome>, EngineError> {
            self.sound()?;
            self.ran.fetch_add(batch.len(), Ordering::SeqCst);
            let verdict = |item: &u32| if item.is_multiple_of(2) { FaceVerdict::Match } else { FaceVerdict::Mismatch };
            Ok(batch.iter().map(|item| verdict(item).into()).collect())
        }

        fn probe(&self) -> Result<(), EngineError> {
            self.sound()
        }
    }

    fn setup(engines: &[&Arc<Fake>], standby: Option<&Arc<Fake>>) -> Setup<u32> {
        let standby = standby.map(|fake| {
            let fake = Arc::clone(fake);
            Standby {
                device: Device::Cpu,
                max_batch: 2,
                build: Box::new(move || Ok(Arc::clone(&fake) as Arc<dyn BatchEngine<u32>>)),
            }
        });
        Setup {
            engines: engines.iter().map(|fake| Arc::clone(fake) as Arc<dyn BatchEngine<u32>>).collect(),
            standby,
            config: BatchConfig { max_batch: 4, idle: Duration::ZERO, ..BatchConfig::default() },
            observer: Box::new(|_| {}),
        }
    }

    fn answers(service: &BatchService<u32>, items: std::ops::Range<u32>) -> Vec<Answer> {
        let tickets: Vec<Ticket> =
            items.map(|item| service.submit_blocking(item, Lane::ALL[item as usize % 3]).unwrap()).collect();
        tickets.into_iter().map(Ticket::wait).collect()
    }

    #[test]
    fn without_an_engine_work_is_refused_rather_than_kept_waiting() {
        let service = BatchService::spawn(Vec::new(), BatchConfig::default());
        assert!(service.places.is_closed());
        assert!(service.ready().is_err());
        service.drain_blocking();
    }

    #[test]
    fn every_attempt_gets_its_own_answer_from_whichever_device() {
        let devices = [Fake::new(Device::Cuda(0)), Fake::new(Device::Cuda(1))];
        let service = BatchService::start(setup(&[&devices[0], &devices[1]], None));
        for (item, answer) in answers(&service, 0..200).into_iter().enumerate() {
            let expected = if item % 2 == 0 { FaceVerdict::Match } else { FaceVerdict::Mismatch };
            assert_eq!(answer.unwrap().verdict, expected, "{item}");
        }
        assert_eq!(devices.iter().map(|device| device.ran.load(Ordering::SeqCst)).sum::<usize>(), 200);
        assert_eq!(service.waiting(), 0);
        service.drain_blocking();
        assert!(matches!(service.try_submit(1, Lane::Bulk), Err(SubmitError::Draining(1))));
    }

    #[test]
    fn a_device_that_fails_for_good_costs_no_attempt_its_answer() {
        let devices = [Fake::new(Device::Cuda(0)), Fake::new(Device::Cuda(1))];
        devices[0].broken.store(true, Ordering::SeqCst);
        let service = BatchService::start(setup(&[&devices[0], &devices[1]], None));
        assert!(answers(&service, 0..100).iter().all(Result::is_ok));
        assert_eq!(devices[0].ran.load(Ordering::SeqCst), 0);
        let states = service.devices();
        assert!(matches!(&states[0].state, DeviceState::OutOfService(why) if why.contains("ILLEGAL_ADDRESS")));
        assert_eq!(states[1].state, DeviceState::Serving);
        assert_eq!(service.ready(), Ok(()));
    }

    #[test]
    fn the_standby_is_built_when_the_last_device_fails_and_takes_over_its_work() {
        let (device, standby) = (Fake::new(Device::Cuda(0)), Fake::new(Device::Cpu));
        let service = BatchService::start(setup(&[&device], Some(&standby)));
        assert!(answers(&service, 0..10).iter().all(Result::is_ok));
        assert_eq!(standby.ran.load(Ordering::SeqCst), 0);
        device.broken.store(true, Ordering::SeqCst);
        assert!(answers(&service, 10..60).iter().all(Result::is_ok));
        assert_eq!(standby.ran.load(Ordering::SeqCst), 50);
        assert_eq!(service.devices()[1].state, DeviceState::Serving);
    }

    /// A device that does not come back from a batch until it is let go.
    struct Hanging {
        entered: Sender<()>,
        released: crossbeam_channel::Receiver<()>,
    }

    impl BatchEngine<u32> for Hanging {
        fn device(&self) -> Device {
            Device::Cuda(3)
        }

        fn run(&self, batch: &[u32]) -> Result<Vec<FaceOutcome>, EngineError> {
            self.entered.send(()).unwrap();
            self.released.recv().unwrap();
            Ok(batch.iter().map(|_| FaceVerdict::Match.into()).collect())
        }

        fn probe(&self) -> Result<(), EngineError> {
            Ok(())
        }
    }

    #[test]
    fn a_device_that_hangs_in_a_batch_is_named() {
        let ((entered, enters), (release, released)) = (bounded(1), bounded(1));
        let engine = Arc::new(Hanging { entered, released }) as Arc<dyn BatchEngine<u32>>;
        let service = BatchService::start(Setup { engines: vec![engine], ..setup(&[], None) });
        assert_eq!(service.alive(Duration::ZERO), Ok(()), "nothing is under way");
        let ticket = service.submit_blocking(1, Lane::Bulk).unwrap();
        enters.recv().unwrap();
        assert_eq!(service.alive(Duration::from_secs(3600)), Ok(()), "a batch may take its time");
        let why = service.alive(Duration::ZERO).unwrap_err();
        assert!(why.starts_with("cuda:3 has been on one batch for "), "{why}");
        release.send(()).unwrap();
        assert!(ticket.wait().is_ok());
        service.drain_blocking();
        assert_eq!(service.alive(Duration::ZERO), Ok(()));
    }

    #[test]
    fn with_no_device_left_attempts_are_answered_with_a_fault_that_says_why() {
        let (device, standby) = (Fake::new(Device::Cuda(0)), Fake::new(Device::Cpu));
        device.broken.store(true, Ordering::SeqCst);
        standby.broken.store(true, Ordering::SeqCst);
        let service = BatchService::start(setup(&[&device], Some(&standby)));
        for answer in answers(&service, 0..10) {
            assert!(matches!(&answer, Err(EngineError::OutOfService(why)) if why.contains("cuda:0")), "{answer:?}");
        }
        let why = service.ready().unwrap_err();
        assert!(why.contains("cuda:0: ") && why.contains("cpu: "), "{why}");
        assert_eq!(service.waiting(), 0);
        service.drain_blocking();
    }
}
