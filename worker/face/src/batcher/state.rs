//! The rules of batching. Time comes in as an argument and only ever grows.

use std::collections::VecDeque;
use std::time::Duration;

use super::{BatchConfig, CloseReason, Lane};

/// Attempts that wait, and the rules that put them together.
pub struct Batcher<T> {
    config: BatchConfig,
    interactive: VecDeque<Waiting<T>>,
    bulk: VecDeque<Waiting<T>>,
    isolated: VecDeque<Waiting<T>>,
    last_arrival: Duration,
    /// The latest time that was told: a clock that jumps back must not reopen what was closed.
    now: Duration,
    draining: bool,
    /// The last batch was an isolated one: a shared one has its turn first.
    isolated_last: bool,
    /// The last shared batch held bulk attempts.
    bulk_last: bool,
}

struct Waiting<T> {
    item: T,
    since: Duration,
}

/// Attempts that run together.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<T> {
    /// Never empty, never more than `max_batch`.
    pub items: Vec<T>,
    /// Why now.
    pub reason: CloseReason,
    /// When the oldest of them came.
    pub oldest: Duration,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Run this.
    Run(Batch<T>),
    /// Nothing before this moment, unless something arrives.
    WaitUntil(Duration),
    /// Nothing waits.
    Empty,
    /// Nothing waits, and nothing will be taken any more.
    Drained,
}

/// Gives back what was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// As many as may wait do wait.
    Full(T),
    /// The batcher drains.
    Draining(T),
}

impl<T> Batcher<T> {
    /// An empty batcher. A `max_batch` or `max_waiting` of zero counts as one.
    pub fn new(config: BatchConfig) -> Self {
        let config =
            BatchConfig { max_batch: config.max_batch.max(1), max_waiting: config.max_waiting.max(1), ..config };
        Self {
            config,
            interactive: VecDeque::new(),
            bulk: VecDeque::new(),
            isolated: VecDeque::new(),
            last_arrival: Duration::ZERO,
            now: Duration::ZERO,
            draining: false,
            isolated_last: false,
            bulk_last: false,
        }
    }

    /// Attempts that wait.
    pub fn waiting(&self) -> usize {
        self.interactive.len() + self.bulk.len() + self.isolated.len()
    }

    /// Takes an attempt, if there is room.
    pub fn push(&mut self, item: T, lane: Lane, now: Duration) -> Result<(), Refused<T>> {
        let now = self.advance(now);
        if self.draining {
            return Err(Refused::Draining(item));
        }
        if self.waiting() >= self.config.max_waiting {
            return Err(Refused::Full(item));
        }
        self.last_arrival = now;
        let queue = match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Bulk => &mut self.bulk,
            Lane::Isolated => &mut self.isolated,
        };
        queue.push_back(Waiting { item, since: now });
        Ok(())
    }

    /// Takes back what could not be run, to run alone and before what came later. It was counted
    /// once already, so that the bound does not apply.
    pub fn put_back(&mut self, items: Vec<(T, Duration)>) {
        for (item, since) in items.into_iter().rev() {
            self.isolated.push_front(Waiting { item, since });
        }
    }

    /// Sets how many attempts a batch may have: another device may have taken over.
    pub fn set_max_batch(&mut self, max_batch: usize) {
        self.config.max_batch = max_batch.max(1);
    }

    /// Whether nothing more is taken.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Takes nothing more; what waits will run without waiting for company.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Gives up all that waits.
    pub fn take_all(&mut self) -> Vec<T> {
        let all = self.interactive.drain(..).chain(self.bulk.drain(..)).chain(self.isolated.drain(..));
        all.map(|waiting| waiting.item).collect()
    }

    /// What an executor that is free now should do.
    pub fn poll(&mut self, now: Duration) -> Step<T> {
        let now = self.advance(now);
        let shared = self.shared_reason(now);
        let isolation_first = !self.isolated_last || shared.is_none();
        if isolation_first && let Some(one) = self.isolated.pop_front() {
            self.isolated_last = true;
            return Step::Run(Batch { items: vec![one.item], reason: CloseReason::Isolation, oldest: one.since });
        }
        if let Some(reason) = shared {
            self.isolated_last = false;
            return Step::Run(self.close(reason, now));
        }
        match self.next_close() {
            Some(at) => Step::WaitUntil(at),
            None if self.draining => Step::Drained,
            None => Step::Empty,
        }
    }

    fn advance(&mut self, now: Duration) -> Duration {
        self.now = self.now.max(now);
        self.now
    }

    fn shared_reason(&self, now: Duration) -> Option<CloseReason> {
        let waiting = self.interactive.len() + self.bulk.len();
        if waiting == 0 {
            None
        } else if waiting >= self.config.max_batch {
            Some(CloseReason::Full)
        } else if self.draining {
            Some(CloseReason::Drain)
        } else if self.deadline().is_some_and(|at| now >= at) {
            Some(CloseReason::Deadline)
        } else if now >= self.last_arrival.saturating_add(self.config.idle) {
            Some(CloseReason::Idle)
        } else {
            None
        }
    }

    /// When the first of the waiting attempts has waited long enough.
    fn deadline(&self) -> Option<Duration> {
        let due = |queue: &VecDeque<Waiting<T>>, patience| queue.front().map(|w| w.since.saturating_add(patience));
        let interactive = due(&self.interactive, self.config.interactive_deadline);
        let bulk = due(&self.bulk, self.config.bulk_deadline);
        interactive.into_iter().chain(bulk).min()
    }

    fn next_close(&self) -> Option<Duration> {
        let idle = self.last_arrival.saturating_add(self.config.idle);
        self.deadline().map(|deadline| deadline.min(idle))
    }

    fn close(&mut self, reason: CloseReason, now: Duration) -> Batch<T> {
        let room = self.config.max_batch;
        let overdue = self.bulk.front().is_some_and(|w| now >= w.since.saturating_add(self.config.bulk_deadline));
        let reserved = match room {
            _ if !overdue => 0,
            // One place cannot be shared: the lanes take turns.
            1 => usize::from(!self.bulk_last),
            _ => bulk_share(room).min(self.bulk.len()),
        };
        let interactive = self.interactive.len().min(room - reserved);
        let bulk = self.bulk.len().min(room - interactive);
        self.bulk_last = bulk > 0;
        let taken: Vec<Waiting<T>> = self.interactive.drain(..interactive).chain(self.bulk.drain(..bulk)).collect();
        let oldest = taken.iter().map(|w| w.since).min().unwrap_or(now);
        Batch { items: taken.into_iter().map(|w| w.item).collect(), reason, oldest }
    }
}

/// Places of a batch that overdue bulk attempts are sure of: an eighth, at least one. A batch of
/// one cannot be shared; there the lanes take turns, so that each has every other batch.
pub fn bulk_share(max_batch: usize) -> usize {
    (max_batch / 8).max(1)
}

/// Starvation bound of the interactive lane: the most shared batches that close from the arrival
/// of an attempt with `ahead` others of its lane before it until the one that holds it, however
/// much bulk work waits. At most one isolated batch runs between two shared ones.
pub fn interactive_bound(ahead: usize, max_batch: usize) -> usize {
    match max_batch {
        0 | 1 => 2 * (ahead + 1),
        room => (ahead + 1).div_ceil(room - bulk_share(room)),
    }
}

/// Starvation bound of the bulk lane: the same from the moment an attempt is overdue, with
/// `ahead` others of its lane before it, however many interactive attempts keep coming.
pub fn bulk_bound(ahead: usize, max_batch: usize) -> usize {
    match max_batch {
        0 | 1 => 2 * (ahead + 1),
        room => (ahead + 1).div_ceil(bulk_share(room)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn config() -> BatchConfig {
        BatchConfig {
            max_batch: 4,
            interactive_deadline: ms(50),
            bulk_deadline: ms(500),
            idle: ms(10),
            max_waiting: 20,
            max_bytes: 0,
        }
    }

    fn filled(items: &[(u32, Lane, u64)]) -> Batcher<u32> {
        let mut batcher = Batcher::new(config());
        for (item, lane, at) in items {
            batcher.push(*item, *lane, ms(*at)).unwrap();
        }
        batcher
    }

    fn run(step: Step<u32>) -> (Vec<u32>, CloseReason) {
        match step {
            Step::Run(batch) => (batch.items, batch.reason),
            other => panic!("expected a batch, got {other:?}"),
        }
    }

    #[test]
    fn a_full_batch_closes_at_once() {
        let mut batcher = filled(&[1, 2, 3, 4, 5].map(|n| (n, Lane::Interactive, 0)));
        assert_eq!(run(batcher.poll(ms(0))), (vec![1, 2, 3, 4], CloseReason::Full));
        assert_eq!(batcher.poll(ms(0)), Step::WaitUntil(ms(10)));
    }

    #[test]
    fn a_batch_closes_when_nothing_more_arrives() {
        let mut batcher = filled(&[(1, Lane::Interactive, 0), (2, Lane::Bulk, 5)]);
        assert_eq!(batcher.poll(ms(14)), Step::WaitUntil(ms(15)));
        assert_eq!(run(batcher.poll(ms(15))), (vec![1, 2], CloseReason::Idle));
        assert_eq!(batcher.poll(ms(15)), Step::Empty);
    }

    #[test]
    fn a_trickle_cannot_push_the_deadline_away() {
        let mut batcher = Batcher::new(BatchConfig { max_batch: 100, max_waiting: 100, ..config() });
        for n in 0..7 {
            batcher.push(n, Lane::Interactive, ms(u64::from(n) * 8)).unwrap();
        }
        let (items, reason) = run(batcher.poll(ms(50)));
        assert_eq!((items.len(), reason), (7, CloseReason::Deadline));
    }

    #[test]
    fn an_isolated_attempt_runs_alone_and_takes_turns_with_the_others() {
        let mut batcher = filled(&[(1, Lane::Isolated, 0), (2, Lane::Isolated, 0), (3, Lane::Interactive, 0)]);
        assert_eq!(run(batcher.poll(ms(20))), (vec![1], CloseReason::Isolation));
        assert_eq!(run(batcher.poll(ms(20))), (vec![3], CloseReason::Idle));
        assert_eq!(run(batcher.poll(ms(20))), (vec![2], CloseReason::Isolation));
    }

    #[test]
    fn interactive_attempts_go_first_but_overdue_bulk_keeps_a_share() {
        let mut batcher = filled(&[(100, Lane::Bulk, 0), (101, Lane::Bulk, 0)]);
        for n in 1..=8 {
            batcher.push(n, Lane::Interactive, ms(1)).unwrap();
        }
        assert_eq!(run(batcher.poll(ms(1))).0, vec![1, 2, 3, 4]);
        assert_eq!(run(batcher.poll(ms(600))).0, vec![5, 6, 7, 100]);
    }

    #[test]
    fn with_room_for_one_the_lanes_take_turns() {
        let mut batcher = Batcher::new(BatchConfig { max_batch: 1, ..config() });
        for n in 0..3 {
            batcher.push(n, Lane::Interactive, ms(0)).unwrap();
            batcher.push(100 + n, Lane::Bulk, ms(0)).unwrap();
        }
        let order: Vec<u32> = (0..6).map(|_| run(batcher.poll(ms(900))).0[0]).collect();
        assert_eq!(order, vec![100, 0, 101, 1, 102, 2]);
    }

    #[test]
    fn draining_refuses_what_comes_and_runs_what_waits() {
        let mut batcher = filled(&[(1, Lane::Interactive, 0), (2, Lane::Isolated, 0)]);
        batcher.drain();
        assert_eq!(batcher.push(3, Lane::Bulk, ms(1)), Err(Refused::Draining(3)));
        assert_eq!(run(batcher.poll(ms(1))).1, CloseReason::Isolation);
        assert_eq!(run(batcher.poll(ms(1))), (vec![1], CloseReason::Drain));
        assert_eq!(batcher.poll(ms(1)), Step::Drained);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut batcher = filled(&(0..20).map(|n| (n, Lane::Bulk, 0)).collect::<Vec<_>>());
        assert_eq!(batcher.push(20, Lane::Isolated, ms(0)), Err(Refused::Full(20)));
        let _ = batcher.poll(ms(0));
        assert_eq!(batcher.push(20, Lane::Isolated, ms(0)), Ok(()));
    }

    #[test]
    fn what_could_not_be_run_comes_back_alone_first_and_beyond_the_bound() {
        let mut batcher = filled(&(0..20).map(|n| (n, Lane::Interactive, 0)).collect::<Vec<_>>());
        let (first, _) = run(batcher.poll(ms(0)));
        for n in 20..24 {
            batcher.push(n, Lane::Interactive, ms(1)).unwrap();
        }
        batcher.put_back(first.into_iter().map(|item| (item, ms(0))).collect());
        assert_eq!(batcher.waiting(), 24);
        let order: Vec<_> = (0..4).map(|_| run(batcher.poll(ms(1)))).collect();
        assert_eq!((order[0].0[0], order[0].1), (0, CloseReason::Isolation));
        assert_eq!((order[2].0[0], order[2].1), (1, CloseReason::Isolation));
        assert_eq!((order[1].1, order[3].1), (CloseReason::Full, CloseReason::Full));
    }

    #[test]
    fn a_clock_that_jumps_neither_panics_nor_reopens_what_was_closed() {
        let mut batcher = filled(&[(1, Lane::Interactive, 1_000)]);
        assert_eq!(batcher.poll(ms(1_009)), Step::WaitUntil(ms(1_010)));
        assert_eq!(run(batcher.poll(Duration::MAX)).0, vec![1]);
        batcher.push(2, Lane::Bulk, ms(3)).unwrap();
        assert_eq!(run(batcher.poll(ms(0))), (vec![2], CloseReason::Deadline));
    }

    /// What may happen to a batcher.
    #[derive(Debug, Clone)]
    enum Event {
        Push(Lane),
        Pass(u64),
        Poll,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Push(Lane::Interactive)),
            3 => Just(Event::Push(Lane::Bulk)),
            1 => Just(Event::Push(Lane::Isolated)),
            3 => (0u64..80).prop_map(Event::Pass),
            3 => Just(Event::Poll),
        ]
    }

    proptest! {
        /// Nothing is lost, doubled or overtaken in its lane; batches keep their size; the
        /// isolated run alone; waiting is bounded; a wake-up lies in the future.
        #[test]
        fn whatever_happens_every_attempt_runs_once_in_its_order(
            events in prop::collection::vec(event(), 1..300),
            max_batch in 1usize..9,
        ) {
            let mut batcher = Batcher::new(BatchConfig { max_batch, ..config() });
            let mut now = ms(0);
            let mut pushed: Vec<(u32, Lane)> = Vec::new();
            let mut ran: Vec<u32> = Vec::new();
            let mut next = 0;
            let take = |step: Step<u32>, now: Duration, ran: &mut Vec<u32>, pushed: &[(u32, Lane)]| {
                match step {
                    Step::Run(batch) => {
                        assert!((1..=max_batch).contains(&batch.items.len()));
                        assert!(batch.oldest <= now);
                        let isolated = batch.items.iter().any(|i| pushed[*i as usize].1 == Lane::Isolated);
                        assert_eq!(isolated, batch.reason == CloseReason::Isolation);
                        assert!(!isolated || batch.items.len() == 1);
                        ran.extend(batch.items);
                        true
                    }
                    Step::WaitUntil(at) => {
                        assert!(at > now);
                        false
                    }
                    Step::Empty | Step::Drained => false,
                }
            };
            for event in events {
                match event {
                    Event::Push(lane) => {
                        let before = batcher.waiting();
                        match batcher.push(next, lane, now) {
                            Ok(()) => {
                                pushed.push((next, lane));
                                next += 1;
                            }
                            Err(refused) => {
                                prop_assert_eq!(refused, Refused::Full(next));
                                prop_assert_eq!(before, 20);
                            }
                        }
                        prop_assert!(batcher.waiting() <= 20);
                    }
                    Event::Pass(by) => now += ms(by),
                    Event::Poll => {
                        take(batcher.poll(now), now, &mut ran, &pushed);
                    }
                }
            }
            batcher.drain();
            while take(batcher.poll(now), now, &mut ran, &pushed) {}
            prop_assert_eq!(batcher.poll(now), Step::Drained);
            for lane in [Lane::Interactive, Lane::Bulk, Lane::Isolated] {
                let of = |ids: &mut dyn Iterator<Item = u32>| {
                    ids.filter(|id| pushed[*id as usize].1 == lane).collect::<Vec<_>>()
                };
                let sent = of(&mut pushed.iter().map(|p| p.0));
                prop_assert_eq!(of(&mut ran.iter().copied()), sent);
            }
        }

        /// An executor that is always free and wakes when told never lets an attempt wait past
        /// its lane's deadline.
        #[test]
        fn a_free_executor_keeps_every_deadline(
            arrivals in prop::collection::vec((0u64..30, any::<bool>()), 1..120),
        ) {
            let mut batcher = Batcher::new(BatchConfig { max_waiting: 1_000, ..config() });
            let mut now = ms(0);
            let run_until = |batcher: &mut Batcher<(Duration, Duration)>, from: Duration, until: Duration| {
                let mut at = from;
                loop {
                    match batcher.poll(at) {
                        Step::Run(batch) => {
                            for (since, patience) in batch.items {
                                assert!(at <= since + patience);
                            }
                        }
                        Step::WaitUntil(next) if next <= until => at = next,
                        _ => return,
                    }
                }
            };
            for (gap, person_waits) in arrivals {
                let arrival = now + ms(gap);
                run_until(&mut batcher, now, arrival);
                now = arrival;
                let (lane, patience) = if person_waits {
                    (Lane::Interactive, ms(50))
                } else {
                    (Lane::Bulk, ms(500))
                };
                batcher.push((now, patience), lane, now).unwrap();
            }
            run_until(&mut batcher, now, now + ms(10_000));
            prop_assert_eq!(batcher.waiting(), 0);
        }

        /// Both lanes saturated, isolated attempts among them: each attempt runs within the
        /// stated number of shared batches, and never two isolated batches in a row.
        #[test]
        fn no_lane_waits_for_more_batches_than_the_stated_bound(
            max_batch in 1usize..40,
            interactive in 0usize..80,
            bulk in 0usize..80,
            isolated in 0usize..5,
            overdue in any::<bool>(),
        ) {
            let mut batcher = Batcher::new(BatchConfig { max_batch, max_waiting: 10_000, ..config() });
            let start = if overdue { ms(500) } else { ms(0) };
            for (count, lane) in [(isolated, Lane::Isolated), (bulk, Lane::Bulk), (interactive, Lane::Interactive)] {
                for position in 0..count {
                    batcher.push((lane, Some(position)), lane, ms(0)).unwrap();
                }
            }
            let (mut shared, mut before, mut left) = (0, None, interactive + isolated + if overdue { bulk } else { 0 });
            while left > 0 {
                // As many again as a batch holds: nobody gets through because the others are done.
                for _ in 0..max_batch {
                    batcher.push((Lane::Interactive, None), Lane::Interactive, start).unwrap();
                    if overdue {
                        batcher.push((Lane::Bulk, None), Lane::Bulk, start).unwrap();
                    }
                }
                let Step::Run(batch) = batcher.poll(start) else { panic!("work waits") };
                let alone = batch.reason == CloseReason::Isolation;
                prop_assert!(!alone || before != Some(CloseReason::Isolation));
                before = Some(batch.reason);
                shared += usize::from(!alone);
                for (lane, position) in batch.items {
                    let Some(ahead) = position else { continue };
                    match lane {
                        Lane::Interactive => prop_assert!(shared <= interactive_bound(ahead, max_batch)),
                        Lane::Bulk if overdue => prop_assert!(shared <= bulk_bound(ahead, max_batch)),
                        Lane::Bulk => continue,
                        Lane::Isolated => prop_assert!(shared <= ahead + 1),
                    }
                    left -= 1;
                }
            }
        }

        /// However many interactive attempts keep coming, bulk attempts get through.
        #[test]
        fn bulk_never_starves(max_batch in 1usize..9, backlog in 1u32..8) {
            let mut batcher = Batcher::new(BatchConfig { max_batch, max_waiting: 1_000, ..config() });
            for n in 0..backlog {
                batcher.push(n, Lane::Bulk, ms(0)).unwrap();
            }
            let mut left = backlog;
            let mut now = ms(500);
            for _ in 0..2 * backlog {
                for _ in 0..max_batch {
                    let _ = batcher.push(1_000, Lane::Interactive, now);
                }
                let (items, _) = run(batcher.poll(now));
                left -= items.iter().filter(|item| **item < 1_000).count() as u32;
                now += ms(1);
            }
            prop_assert_eq!(left, 0);
        }
    }
}
