//! What the queue promises, over both transports.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proofmill_contract::Lane;
use proofmill_queue::Queue;
use support::{DEADLINE, TestBroker, jobs, next, publish, wait_until};

macro_rules! over_both_transports {
    ($($(#[$doc:meta])* $name:ident($queue:ident) $body:block)*) => {
        $($(#[$doc])* async fn $name($queue: Queue) $body)*

        mod in_process {
            use super::*;
            $(#[tokio::test] async fn $name() { super::$name(Queue::in_process(1_000)).await; })*
        }

        mod rabbitmq {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                let Some(broker) = TestBroker::for_test(stringify!($name)) else { return };
                super::$name(broker.queue().await).await;
            })*
        }
    };
}

over_both_transports! {
    published_jobs_arrive_in_order_in_their_lane_and_an_ack_ends_them(queue) {
        let (interactive, bulk) = (jobs(3, Lane::Interactive), jobs(2, Lane::Bulk));
        publish(&queue, &interactive).await;
        publish(&queue, &bulk).await;
        let mut consumer = queue.consume(Lane::Interactive, 10).await.unwrap();
        for job in &interactive {
            let delivery = next(&mut consumer).await;
            assert_eq!((&delivery.job, delivery.redelivered), (job, false));
            delivery.ack().await.unwrap();
        }
        consumer.cancel().await;
        assert!(consumer.next().await.is_none());
        assert_eq!(queue.depth(Lane::Interactive).await.unwrap(), 0);
        assert_eq!(queue.depth(Lane::Bulk).await.unwrap(), 2);
    }

    a_delivery_that_is_dropped_comes_again_marked(queue) {
        let published = jobs(1, Lane::Bulk);
        publish(&queue, &published).await;
        let mut consumer = queue.consume(Lane::Bulk, 10).await.unwrap();
        let first = next(&mut consumer).await;
        assert!(!first.redelivered);
        drop(first);
        let second = next(&mut consumer).await;
        assert_eq!((&second.job, second.redelivered), (&published[0], true));
        second.ack().await.unwrap();
    }

    retry_later_brings_a_job_back_after_its_delay(queue) {
        let published = jobs(1, Lane::Interactive);
        publish(&queue, &published).await;
        let mut consumer = queue.consume(Lane::Interactive, 1).await.unwrap();
        let started = std::time::Instant::now();
        let delay = Duration::from_millis(300);
        next(&mut consumer).await.retry_later(delay).await.unwrap();
        let again = next(&mut consumer).await;
        assert_eq!(again.job, published[0]);
        assert!(started.elapsed() >= delay, "it came back before its delay");
        again.ack().await.unwrap();
    }

    a_dead_lettered_job_is_set_aside_and_does_not_come_again(queue) {
        let published = jobs(2, Lane::Bulk);
        publish(&queue, &published).await;
        let mut consumer = queue.consume(Lane::Bulk, 1).await.unwrap();
        next(&mut consumer).await.dead_letter().await.unwrap();
        let other = next(&mut consumer).await;
        assert_eq!(other.job, published[1]);
        other.ack().await.unwrap();
        wait_until("one dead letter", || async { queue.dead_letters().await.unwrap() == 1 }).await;
        assert_eq!(queue.depth(Lane::Bulk).await.unwrap(), 0);
    }

    no_more_jobs_are_handed_out_than_the_prefetch_allows(queue) {
        publish(&queue, &jobs(5, Lane::Bulk)).await;
        let mut consumer = queue.consume(Lane::Bulk, 2).await.unwrap();
        let first = next(&mut consumer).await;
        let second = next(&mut consumer).await;
        let third = tokio::time::timeout(Duration::from_millis(200), consumer.next()).await;
        assert!(third.is_err(), "a third job was handed out while two were unsettled");
        assert_eq!(queue.depth(Lane::Bulk).await.unwrap(), 3);
        first.ack().await.unwrap();
        let third = next(&mut consumer).await;
        third.ack().await.unwrap();
        second.ack().await.unwrap();
    }

    cancelling_gives_back_what_was_not_handed_out_and_what_was_can_still_be_settled(queue) {
        let published = jobs(6, Lane::Bulk);
        publish(&queue, &published).await;
        let mut draining = queue.consume(Lane::Bulk, 6).await.unwrap();
        let held = next(&mut draining).await;
        draining.cancel().await;
        assert!(draining.next().await.is_none());
        wait_until("five given back", || async { queue.depth(Lane::Bulk).await.unwrap() == 5 }).await;
        let mut other = queue.consume(Lane::Bulk, 6).await.unwrap();
        let mut seen = Vec::new();
        for _ in 0..5 {
            let delivery = next(&mut other).await;
            seen.push(delivery.job.clone());
            delivery.ack().await.unwrap();
        }
        seen.sort_by(|a, b| a.attempt_id.cmp(&b.attempt_id));
        let mut expected = published[1..].to_vec();
        expected.sort_by(|a, b| a.attempt_id.cmp(&b.attempt_id));
        assert_eq!(seen, expected);
        assert_eq!(held.job, published[0]);
        held.ack().await.unwrap();
        other.cancel().await;
        drop(draining);
        assert_eq!(queue.depth(Lane::Bulk).await.unwrap(), 0);
    }

    two_consumers_share_a_lane_without_sharing_a_job(queue) {
        let published = jobs(40, Lane::Interactive);
        let settled = AtomicUsize::new(0);
        let settled = &settled;
        let consume = |queue: Queue| async move {
            let mut consumer = queue.consume(Lane::Interactive, 3).await.unwrap();
            let mut seen = Vec::new();
            let deadline = tokio::time::Instant::now() + DEADLINE;
            while settled.load(Ordering::SeqCst) < 40 && tokio::time::Instant::now() < deadline {
                // Given up and asked again all the time: no job may be lost by that.
                if let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_millis(5), consumer.next()).await {
                    seen.push(delivery.job.clone());
                    delivery.ack().await.unwrap();
                    settled.fetch_add(1, Ordering::SeqCst);
                }
            }
            seen
        };
        let (first, second, ()) =
            tokio::join!(consume(queue.clone()), consume(queue.clone()), publish(&queue, &published));
        let mut seen = [first, second].concat();
        seen.sort_by(|a, b| a.attempt_id.cmp(&b.attempt_id));
        let mut expected = published.clone();
        expected.sort_by(|a, b| a.attempt_id.cmp(&b.attempt_id));
        assert_eq!(seen, expected);
    }

    a_prefetch_of_zero_is_refused(queue) {
        assert!(queue.consume(Lane::Bulk, 0).await.is_err());
    }
}

#[tokio::test]
async fn a_full_in_process_queue_refuses_and_the_lanes_do_not_share_room() {
    let queue = Queue::in_process(2);
    let results = queue.publish(&jobs(3, Lane::Bulk)).await;
    assert_eq!(results, [Ok(()), Ok(()), Err(proofmill_queue::PublishError::Refused)]);
    publish(&queue, &jobs(2, Lane::Interactive)).await;
    assert_eq!(queue.kind(), "in-process");
    queue.ready().await.unwrap();
}
