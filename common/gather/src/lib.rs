#![doc = include_str!("../README.md")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Calls of one kind. Cheap to clone. The state is shared because calls of many tasks are to meet here; it is locked for as
/// long as it takes to move them in and out.
pub struct Gathered<T, R> {
    shared: Arc<Shared<T, R>>,
}

/// A trip did not come to its end: it panicked, or the runtime ended. What it had done by then is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a call that others shared did not finish")]
pub struct Unfinished;

struct Shared<T, R> {
    most: usize,
    trips: usize,
    state: Mutex<State<T, R>>,
}

struct State<T, R> {
    waiting: VecDeque<(T, oneshot::Sender<R>)>,
    under_way: usize,
}

impl<T, R> Clone for Gathered<T, R> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<T: Send + 'static, R: Send + 'static> Gathered<T, R> {
    /// At most so many calls to a trip, and so many trips at once.
    pub fn new(most: usize, trips: usize) -> Self {
        let state = State { waiting: VecDeque::new(), under_way: 0 };
        Self { shared: Arc::new(Shared { most, trips, state: Mutex::new(state) }) }
    }

    /// Makes a call and gives back its result. `trip` runs on a thread that may block, and gives one result for each call,
    /// in order; whoever finds nobody under way provides it for those who come after him, so it must be the same for all.
    ///
    /// # Errors
    /// [`Unfinished`].
    pub async fn call(&self, call: T, trip: impl Fn(Vec<T>) -> Vec<R> + Send + 'static) -> Result<R, Unfinished> {
        let (sender, result) = oneshot::channel();
        let guide = {
            let mut state = self.shared.lock();
            state.waiting.push_back((call, sender));
            let free = state.under_way < self.shared.trips;
            state.under_way += usize::from(free);
            free.then(|| Guide { shared: self.shared.clone(), done: false })
        };
        if let Some(guide) = guide {
            // Not this task's own: whoever hangs up would leave the others waiting.
            tokio::task::spawn_blocking(move || guide.lead(&trip));
        }
        result.await.map_err(|_| Unfinished)
    }
}

impl<T, R> Shared<T, R> {
    fn lock(&self) -> MutexGuard<'_, State<T, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to make trips, until nobody waits. Dropped before that (a panic, the runtime's end), it tells those who wait.
struct Guide<T, R> {
    shared: Arc<Shared<T, R>>,
    done: bool,
}

impl<T, R> Guide<T, R> {
    fn lead(mut self, trip: &impl Fn(Vec<T>) -> Vec<R>) {
        while let Some((calls, senders)) = self.next() {
            for (result, sender) in trip(calls).into_iter().zip(senders) {
                // Nobody there any more: he hung up, and what was done is done.
                let _ = sender.send(result);
            }
        }
    }

    /// The calls of the next trip. With the look that finds none the right is given back: who comes later must see that.
    fn next(&mut self) -> Option<(Vec<T>, Vec<oneshot::Sender<R>>)> {
        let mut state = self.shared.lock();
        if state.waiting.is_empty() {
            state.under_way -= 1;
            self.done = true;
            return None;
        }
        let count = state.waiting.len().min(self.shared.most);
        Some(state.waiting.drain(..count).unzip())
    }
}

impl<T, R> Drop for Guide<T, R> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = self.shared.lock();
        state.under_way -= 1;
        if state.under_way == 0 {
            state.waiting.clear();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Doubles numbers, and tells how many came together.
    fn doubling(trips: mpsc::Sender<usize>) -> impl Fn(Vec<u32>) -> Vec<u32> + Send + 'static {
        move |calls| {
            trips.send(calls.len()).unwrap();
            calls.into_iter().map(|call| if call == 13 { panic!("13") } else { call * 2 }).collect()
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap()
    }

    #[test]
    fn calls_gather_while_a_trip_is_under_way_and_each_gets_its_own_result() {
        let gathered = Gathered::new(4, 1);
        let ((told, trips), (go, gate)) = (mpsc::channel(), mpsc::channel::<()>());
        runtime().block_on(async {
            let first = tokio::spawn({
                let (gathered, told) = (gathered.clone(), told.clone());
                let held = move |calls: Vec<u32>| {
                    // Only the first trip waits: the gate is gone afterwards.
                    let _ = gate.recv();
                    told.send(calls.len()).unwrap();
                    calls.into_iter().map(|call| call * 2).collect()
                };
                async move { gathered.call(1, held).await }
            });
            until(|| gathered.shared.lock().under_way == 1 && gathered.shared.lock().waiting.is_empty()).await;
            let others: Vec<_> = (2..=6)
                .map(|call| {
                    let (gathered, trip) = (gathered.clone(), doubling(told.clone()));
                    tokio::spawn(async move { gathered.call(call, trip).await })
                })
                .collect();
            until(|| gathered.shared.lock().waiting.len() == 5).await;
            drop(go);
            assert_eq!(first.await.unwrap(), Ok(2));
            for (index, other) in others.into_iter().enumerate() {
                assert_eq!(other.await.unwrap().unwrap() as usize, 2 * (index + 2));
            }
        });
        drop(told);
        assert_eq!(trips.iter().collect::<Vec<_>>(), [1, 4, 1]);
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_panic_is_told_to_those_of_its_trip_and_the_next_call_goes_on() {
        let gathered = Gathered::new(4, 1);
        let (told, trips) = mpsc::channel();
        runtime().block_on(async {
            let failed = gathered.call(13, doubling(told.clone())).await;
            assert_eq!(failed, Err(Unfinished));
            until(|| gathered.shared.lock().under_way == 0).await;
            assert_eq!(gathered.call(4, doubling(told.clone())).await, Ok(8));
        });
        drop(told);
        assert_eq!(trips.iter().collect::<Vec<_>>(), [1, 1]);
    }
}
