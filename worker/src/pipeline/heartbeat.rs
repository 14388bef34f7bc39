//! Keeping a lease alive while its attempt is worked on.

use std::fmt::Display;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Runs `work` and extends its lease at every beat; `None` once the lease is another's.
///
/// Writing the verdict ends the lease too, and a beat may see that before `work` hears of it. Once `settling` is set, a
/// lease that is gone is therefore no news: only the answer to the write tells whose it was.
pub(super) async fn while_held<T, E: Display, F: Future<Output = Result<bool, E>>>(
    beat: Duration,
    settling: &AtomicBool,
    mut extend: impl FnMut() -> F,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    let mut beats = interval_at(Instant::now() + beat, beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            _ = beats.tick() => {}
        }
        // Beside the work, not in its way: a database that is slow to answer must not hold the stages up.
        let held = tokio::select! {
            biased;
            done = &mut work => return Some(done),
            held = extend() => held,
        };
        match held {
            Ok(true) => {}
            Ok(false) if settling.load(Ordering::Acquire) => return Some(work.await),
            Ok(false) => return None,
            // The verdict is written under the token, so going on is safe.
            Err(error) => tracing::warn!(%error, "lease not extended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::Notify;

    const BEAT: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn a_lease_that_is_anothers_ends_the_work() {
        let settling = AtomicBool::new(false);
        let done = while_held(BEAT, &settling, async || Ok::<_, Infallible>(false), std::future::pending::<()>()).await;
        assert_eq!(done, None);
    }

    #[tokio::test]
    async fn a_lease_that_ended_with_our_own_verdict_is_not_lost() {
        let (settling, asked) = (AtomicBool::new(false), Notify::new());
        let work = async {
            settling.store(true, Ordering::Release);
            // The verdict is committed; a beat sees it before its answer is here.
            asked.notified().await;
            tokio::task::yield_now().await;
            "settled"
        };
        let extend = async || {
            asked.notify_one();
            Ok::<_, Infallible>(false)
        };
        assert_eq!(while_held(BEAT, &settling, extend, work).await, Some("settled"));
    }

    #[tokio::test]
    async fn a_database_that_does_not_answer_neither_ends_nor_delays_the_work() {
        let (settling, asked, beats) = (AtomicBool::new(false), Notify::new(), AtomicUsize::new(0));
        let work = async {
            asked.notified().await;
            "done"
        };
        let extend = async || {
            if beats.fetch_add(1, Ordering::SeqCst) < 2 {
                return Err("away");
            }
            asked.notify_one();
            std::future::pending().await
        };
        assert_eq!(while_held(BEAT, &settling, extend, work).await, Some("done"));
    }
}
