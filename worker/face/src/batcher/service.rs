//! The threads around the state machine: one executor for each device, waiting, answers.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};

use super::state::{Batcher, Refused, Step};
use super::{BatchConfig, CloseReason, Lane};
use crate::device::Device;
use crate::error::EngineError;
use crate::matcher::{Matcher, Prepared};
use crate::outcome::FaceOutcome;

/// Runs batches on the executor threads of each matcher (one matcher for each device), all fed
/// from one intake. On the processor that is one thread; a CUDA device has as many as keep it
/// supplied, and a thread of its own behind them that alone talks to it.
pub struct BatchService {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// How many executors still run.
    running: watch::Receiver<usize>,
}

/// What one batch did; for metrics.
#[derive(Debug, Clone, Copy)]
pub struct BatchReport {
    /// Where it ran.
    pub device: Device,
    /// Attempts in it.
    pub size: usize,
    /// Most attempts that it could have had.
    pub capacity: usize,
    /// Why it was closed.
    pub reason: CloseReason,
    /// How long its oldest attempt had waited.
    pub waited: Duration,
    /// How long it ran, on processor and device together.
    pub ran: Duration,
    /// How long the device has been busy since its last report. On a CUDA device several batches
    /// are under way at once, so that this is not what `ran` adds up to.
    pub busy: Duration,
    /// Whether the engine failed on it.
    pub failed: bool,
}

/// Why an attempt was not taken. It gives the attempt back.
pub enum SubmitError {
    /// No room now; wait, or use [`BatchService::submit`], which waits.
    Full(Prepared),
    /// The service takes no more work.
    Draining(Prepared),
}

/// The answer to come. Await it on any runtime, or call [`Ticket::wait`] from a plain thread.
/// Dropping it gives the work up if it has not begun.
pub struct Ticket(oneshot::Receiver<Result<FaceOutcome, EngineError>>);

struct Shared {
    state: Mutex<Batcher<Job>>,
    changed: Condvar,
    started: Instant,
    /// Room by number, and by size in KiB.
    places: Arc<Semaphore>,
    kibibytes: Arc<Semaphore>,
    max_kibibytes: u32,
    capacity: usize,
    observer: Box<dyn Fn(&BatchReport) + Send + Sync>,
}

struct Job {
    attempt: Prepared,
    answer: oneshot::Sender<Result<FaceOutcome, EngineError>>,
    _room: Room,
}

/// Given back when the job is done with.
struct Room {
    _place: OwnedSemaphorePermit,
    _size: OwnedSemaphorePermit,
}

impl BatchService {
    /// Starts the executor threads. All matchers must be of the same pack and policy.
    pub fn spawn(matchers: Vec<Arc<Matcher>>, config: BatchConfig) -> Self {
        Self::spawn_observed(matchers, config, |_| {})
    }

    /// Like [`Self::spawn`]; `observer` is told about each batch, on the executor's thread.
    pub fn spawn_observed(
        matchers: Vec<Arc<Matcher>>,
        config: BatchConfig,
        observer: impl Fn(&BatchReport) + Send + Sync + 'static,
    ) -> Self {
        let max_kibibytes = u32::try_from(config.max_bytes / 1024)
            .unwrap_or(u32::MAX)
            .clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize) as u32);
        let shared = Arc::new(Shared {
            changed: Condvar::new(),
            started: Instant::now(),
            places: Arc::new(Semaphore::new(config.max_waiting.clamp(1, Semaphore::MAX_PERMITS))),
            kibibytes: Arc::new(Semaphore::new(max_kibibytes as usize)),
            max_kibibytes,
            capacity: config.max_batch.max(1),
            observer: Box::new(observer),
            state: Mutex::new(Batcher::new(config)),
        });
        // Each lane takes a batch of its own: on a CUDA device one computes while the processor
        // cuts out the faces of the next and judges those of the last.
        let lanes: Vec<(Arc<Matcher>, Arc<Mutex<Duration>>)> = matchers
            .into_iter()
            .flat_map(|matcher| {
                let (lanes, reported) = (matcher.lanes(), Arc::new(Mutex::new(Duration::ZERO)));
                std::iter::repeat_n((matcher, reported), lanes)
            })
            .collect();
        let (alive, running) = watch::channel(lanes.len());
        let alive = Arc::new(alive);
        let threads = lanes
            .into_iter()
            .filter_map(|(matcher, reported)| {
                let shared = Arc::clone(&shared);
                let alive = Arc::clone(&alive);
                let name = format!("face {}", matcher.device());
                let run = move || {
                    let _last = CountDown(alive);
                    execute(&shared, &matcher, &reported);
                };
                match std::thread::Builder::new().name(name).spawn(run) {
                    Ok(thread) => Some(thread),
                    Err(error) => {
                        // The closure is dropped unrun, without its guard's effect.
                        tracing::error!(%error, "cannot start a face executor thread");
                        None
                    }
                }
            })
            .collect::<Vec<_>>();
        // Nobody would ever run the work: refuse it instead.
        if threads.is_empty() {
            shared.stop();
        }
        Self { shared, threads: Mutex::new(threads), running }
    }

    /// Hands an attempt in, waiting for room. Works on any async runtime.
    pub async fn submit(&self, item: Prepared, lane: Lane) -> Result<Ticket, SubmitError> {
        let shared = &self.shared;
        let size = shared.size_of(&item);
        let Ok(place) = Arc::clone(&shared.places).acquire_owned().await else {
            return Err(SubmitError::Draining(item));
        };
        let Ok(size) = Arc::clone(&shared.kibibytes).acquire_many_owned(size).await else {
            return Err(SubmitError::Draining(item));
        };
        shared.push(item, lane, place, size)
    }

    /// Hands an attempt in if there is room.
    pub fn try_submit(&self, item: Prepared, lane: Lane) -> Result<Ticket, SubmitError> {
        let shared = &self.shared;
        let place = match Arc::clone(&shared.places).try_acquire_owned() {
            Ok(place) => place,
            Err(TryAcquireError::NoPermits) => return Err(SubmitError::Full(item)),
            Err(TryAcquireError::Closed) => return Err(SubmitError::Draining(item)),
        };
        let size = shared.size_of(&item);
        let size = match Arc::clone(&shared.kibibytes).try_acquire_many_owned(size) {
            Ok(size) => size,
            Err(TryAcquireError::NoPermits) => return Err(SubmitError::Full(item)),
            Err(TryAcquireError::Closed) => return Err(SubmitError::Draining(item)),
        };
        shared.push(item, lane, place, size)
    }

    /// Hands an attempt in, blocking for room; not for async code.
    pub fn submit_blocking(&self, item: Prepared, lane: Lane) -> Result<Ticket, SubmitError> {
        block_on(self.submit(item, lane))
    }

    /// Attempts that wait for a batch now.
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting()
    }

    /// Takes no more work, finishes what was taken and stops the threads.
    pub async fn drain(&self) {
        self.shared.drain();
        let mut running = self.running.clone();
        // An error means that the last executor is gone, which is what is waited for.
        let _ = running.wait_for(|running| *running == 0).await;
    }

    /// The same, blocking; not for async code.
    pub fn drain_blocking(&self) {
        block_on(self.drain());
    }
}

impl Drop for BatchService {
    /// Finishes the batches that run and gives up what waits: their tickets say so. Call
    /// [`BatchService::drain`] first to lose nothing.
    fn drop(&mut self) {
        self.shared.stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Batcher<Job>> {
        // The state machine does not panic half-way; a poisoned lock is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn size_of(&self, item: &Prepared) -> u32 {
        u32::try_from(item.bytes() / 1024).unwrap_or(u32::MAX).clamp(1, self.max_kibibytes)
    }

    fn push(
        &self,
        attempt: Prepared,
        lane: Lane,
        place: OwnedSemaphorePermit,
        size: OwnedSemaphorePermit,
    ) -> Result<Ticket, SubmitError> {
        let (answer, receiver) = oneshot::channel();
        let job = Job { attempt, answer, _room: Room { _place: place, _size: size } };
        let now = self.now();
        let pushed = self.lock().push(job, lane, now);
        match pushed {
            Ok(()) => {
                self.changed.notify_one();
                Ok(Ticket(receiver))
            }
            Err(Refused::Full(job)) => Err(SubmitError::Full(job.attempt)),
            Err(Refused::Draining(job)) => Err(SubmitError::Draining(job.attempt)),
        }
    }

    fn drain(&self) {
        self.places.close();
        self.kibibytes.close();
        self.lock().drain();
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.lock().clear();
        self.drain();
    }
}

/// The life of an executor thread. `reported` is how much of the device's busy time its reports
/// have told.
fn execute(shared: &Shared, matcher: &Matcher, reported: &Mutex<Duration>) {
    loop {
        let batch = {
            let mut state = shared.lock();
            loop {
                let now = shared.now();
                match state.poll(now) {
                    Step::Run(batch) => break batch,
                    Step::Drained => return,
                    Step::Empty => {
                        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                    Step::WaitUntil(at) => {
                        state = shared
                            .changed
                            .wait_timeout(state, at.saturating_sub(now))
                            .unwrap_or_else(PoisonError::into_inner)
                            .0;
                    }
                }
            }
        };
        let (start, waited) = (shared.now(), shared.now().saturating_sub(batch.oldest));
        // Whoever dropped the ticket does not want the answer any more.
        let jobs = batch.items.into_iter().filter(|job| !job.answer.is_closed());
        let (attempts, rest): (Vec<Prepared>, Vec<_>) = jobs.map(|job| (job.attempt, (job.answer, job._room))).unzip();
        let size = attempts.len();
        let mut failed = false;
        for (answer, (sender, _room)) in run(&|batch| matcher.match_batch(batch), &attempts).into_iter().zip(rest) {
            failed |= answer.is_err();
            let _ = sender.send(answer);
        }
        let ran = shared.now().saturating_sub(start);
        (shared.observer)(&BatchReport {
            device: matcher.device(),
            size,
            capacity: shared.capacity,
            reason: batch.reason,
            waited,
            ran,
            busy: match matcher.status().busy_seconds {
                Some(seconds) => since_last(reported, Duration::from_secs_f64(seconds)),
                None => ran,
            },
            failed,
        });
    }
}

/// How much a growing total has grown since it was last asked for.
fn since_last(reported: &Mutex<Duration>, total: Duration) -> Duration {
    let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
    let grown = total.saturating_sub(*reported);
    *reported = total.max(*reported);
    grown
}

/// Runs a batch. If the engine fails on it, each attempt runs again alone: one attempt that
/// breaks the engine must not cost its neighbours their answer.
fn run<A>(engine: &Engine<'_, A>, attempts: &[A]) -> Vec<Result<FaceOutcome, EngineError>> {
    if attempts.is_empty() {
        return Vec::new();
    }
    match guarded(engine, attempts) {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(error) if attempts.len() == 1 => vec![Err(error)],
        Err(error) => {
            tracing::warn!(%error, size = attempts.len(), "a face batch failed; its attempts run one by one");
            attempts
                .iter()
                .map(|attempt| {
                    let mut one = guarded(engine, std::slice::from_ref(attempt))?;
                    one.pop().ok_or(EngineError::Panicked)
                })
                .collect()
        }
    }
}

type Engine<'a, A> = dyn Fn(&[A]) -> Result<Vec<FaceOutcome>, EngineError> + 'a;

fn guarded<A>(engine: &Engine<'_, A>, attempts: &[A]) -> Result<Vec<FaceOutcome>, EngineError> {
    let outcomes = catch_unwind(AssertUnwindSafe(|| engine(attempts))).unwrap_or(Err(EngineError::Panicked))?;
    if outcomes.len() == attempts.len() { Ok(outcomes) } else { Err(EngineError::Panicked) }
}

/// Counts an executor out, however it ends.
struct CountDown(Arc<watch::Sender<usize>>);

impl Drop for CountDown {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running = running.saturating_sub(1));
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

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the face queue is full",
            Self::Draining(_) => "the face service is draining",
        })
    }
}

// By hand: the attempt inside must not be printed.
impl fmt::Debug for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Draining(_) => "Draining",
        })
    }
}

impl std::error::Error for SubmitError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FaceVerdict;

    const MATCH: FaceOutcome = FaceOutcome { verdict: FaceVerdict::Match };

    #[test]
    fn an_attempt_that_breaks_the_engine_costs_its_neighbours_nothing() {
        let engine = |batch: &[u32]| {
            assert!(!batch.contains(&13), "poison");
            if batch.contains(&7) {
                return Err(EngineError::Torch("refused".to_owned()));
            }
            Ok(vec![MATCH; batch.len()])
        };
        assert_eq!(
            run(&engine, &[1, 13, 2, 7]),
            [Ok(MATCH), Err(EngineError::Panicked), Ok(MATCH), Err(EngineError::Torch("refused".to_owned())),]
        );
        assert_eq!(run(&engine, &[]), []);
    }

    #[test]
    fn an_engine_that_answers_too_little_is_at_fault() {
        let engine = |_: &[u32]| Ok(Vec::new());
        assert_eq!(run(&engine, &[1]), [Err(EngineError::Panicked)]);
    }

    #[test]
    fn a_devices_busy_time_is_told_once_however_many_batches_share_it() {
        let reported = Mutex::new(Duration::ZERO);
        let told: Vec<u64> = [300, 700, 700, 650, 900]
            .map(|ms| since_last(&reported, Duration::from_millis(ms)).as_millis() as u64)
            .into();
        assert_eq!(told, [300, 400, 0, 0, 200]);
    }

    #[test]
    fn without_an_engine_work_is_refused_rather_than_kept_waiting() {
        let service = BatchService::spawn(Vec::new(), BatchConfig::default());
        assert!(service.shared.places.is_closed());
        service.drain_blocking();
    }
}
