//! What only a real broker can show.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use proofmill_contract::{AttemptId, Lane};
use proofmill_queue::{JobRef, PublishError, Queue, QueueError};
use support::{DEADLINE, Proxy, TestBroker, connect, jobs, next, publish, topology, wait_until};

#[tokio::test]
async fn a_lost_connection_redelivers_what_was_unsettled_and_the_consumer_goes_on() {
    let Some(broker) = TestBroker::for_test("lost-connection") else { return };
    let proxy = Proxy::to(broker.host_and_port()).await;
    let queue = connect(broker.config_at(&proxy.uri(&broker.uri))).await;
    let published = jobs(2, Lane::Interactive);
    publish(&queue, &published[..1]).await;
    let mut consumer = queue.consume(Lane::Interactive, 4).await.unwrap();
    let unsettled = next(&mut consumer).await;

    proxy.cut();
    wait_until("the loss is noticed", || async { queue.ready().await.is_err() }).await;
    let refused = queue.publish(&published[1..]).await;
    assert!(matches!(refused[..], [Err(PublishError::NotConnected(_))]), "{refused:?}");
    assert!(matches!(unsettled.ack().await, Err(QueueError::Stale)));

    proxy.restore();
    let again = next(&mut consumer).await;
    assert_eq!((&again.job, again.redelivered), (&published[0], true));
    again.ack().await.unwrap();
    queue.wait_ready(DEADLINE).await.unwrap();
    publish(&queue, &published[1..]).await;
    let last = next(&mut consumer).await;
    assert_eq!(last.job, published[1]);
    last.ack().await.unwrap();
    assert!(queue.stats().reconnects >= 2);
}

#[tokio::test]
async fn a_batch_cut_off_half_way_claims_no_job_that_is_not_stored_and_succeeds_when_repeated() {
    let Some(broker) = TestBroker::for_test("cut-publish") else { return };
    let proxy = Proxy::to(broker.host_and_port()).await;
    let queue = connect(broker.config_at(&proxy.uri(&broker.uri))).await;
    let work = topology(&queue).work(Lane::Bulk);
    let published = jobs(1_000, Lane::Bulk);

    // Each publish takes some 250 bytes, so about a third of the batch gets through.
    proxy.cut_after(80_000);
    let results = queue.publish(&published).await;
    proxy.restore();

    let read = |bodies: Vec<Vec<u8>>| -> HashSet<AttemptId> {
        bodies.iter().map(|body| JobRef::decode(body).unwrap().attempt_id).collect()
    };
    let stored = read(broker.drain(&work).await);
    let (confirmed, failed): (Vec<_>, Vec<_>) = published.iter().zip(&results).partition(|(_, result)| result.is_ok());
    assert!(!confirmed.is_empty() && !failed.is_empty(), "{} confirmed, {} failed", confirmed.len(), failed.len());
    assert!(confirmed.iter().all(|(job, _)| stored.contains(&job.attempt_id)));

    let again: Vec<JobRef> = failed.into_iter().map(|(job, _)| job.clone()).collect();
    queue.wait_ready(DEADLINE).await.unwrap();
    publish(&queue, &again).await;
    let stored_again = read(broker.drain(&work).await);
    assert!(again.iter().all(|job| stored_again.contains(&job.attempt_id)));
}

#[tokio::test]
async fn a_message_without_a_queue_is_a_failed_publish_and_only_that_one() {
    let Some(broker) = TestBroker::for_test("returned") else { return };
    let queue = broker.queue().await;
    // Publishes once, so that the channel exists before the queue disappears under it.
    publish(&queue, &jobs(1, Lane::Interactive)).await;
    let bulk = topology(&queue).work(Lane::Bulk);
    let (_connection, channel) = broker.channel().await;
    channel.queue_delete(bulk.into(), QueueDeleteOptions::default()).await.unwrap();

    let (interactive, lost) = (jobs(3_000, Lane::Interactive), jobs(3_000, Lane::Bulk));
    let mixed: Vec<JobRef> = interactive.iter().zip(&lost).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    let results = queue.publish(&mixed).await;
    for (job, result) in mixed.iter().zip(&results) {
        match job.lane {
            Lane::Interactive => assert_eq!(result, &Ok(())),
            Lane::Bulk => assert!(matches!(result, Err(PublishError::Returned(_))), "{result:?}"),
        }
    }
    assert_eq!(queue.depth(Lane::Interactive).await.unwrap(), 3_001);

    // The next batch declares the queues again, so publishing again what failed succeeds.
    publish(&queue, &lost).await;
    assert_eq!(queue.depth(Lane::Bulk).await.unwrap(), 3_000);
}

#[tokio::test]
async fn messages_that_are_no_jobs_are_dead_lettered_and_the_rest_goes_on() {
    let Some(broker) = TestBroker::for_test("malformed") else { return };
    let queue = broker.queue().await;
    let topology = topology(&queue);
    let good = jobs(1, Lane::Bulk);
    let other_version = String::from_utf8(good[0].encode()).unwrap().replace(":1,", ":9,");
    let malformed = [b"not a job".to_vec(), Vec::new(), vec![b'x'; 5_000], other_version.into_bytes()];
    let (_connection, channel) = broker.channel().await;
    for body in &malformed {
        channel
            .basic_publish(
                "".into(),
                topology.work(Lane::Bulk).as_str().into(),
                BasicPublishOptions::default(),
                body,
                BasicProperties::default(),
            )
            .await
            .unwrap();
    }
    publish(&queue, &good).await;
    let mut consumer = queue.consume(Lane::Bulk, 1).await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.job, good[0]);
    delivery.ack().await.unwrap();
    wait_until("four dead letters", || async { queue.dead_letters().await.unwrap() == 4 }).await;
    assert_eq!(queue.stats().malformed, 4);
    assert_eq!(broker.drain(&topology.dead()).await, malformed);
}

#[tokio::test]
async fn a_job_over_the_delivery_limit_is_dead_lettered_not_dropped() {
    let Some(broker) = TestBroker::for_test("delivery-limit") else { return };
    let mut config = broker.config();
    config.delivery_limit = 2;
    let queue = connect(config).await;
    let published = jobs(1, Lane::Interactive);
    publish(&queue, &published).await;
    let mut consumer = queue.consume(Lane::Interactive, 1).await.unwrap();
    for _ in 0..3 {
        drop(next(&mut consumer).await);
    }
    wait_until("it is set aside", || async { queue.dead_letters().await.unwrap() == 1 }).await;
    assert_eq!(broker.drain(&topology(&queue).dead()).await, [published[0].encode()]);
}

#[tokio::test]
async fn a_job_put_off_waits_in_a_queue_of_its_lane_with_that_delay() {
    let Some(broker) = TestBroker::for_test("retry-queue") else { return };
    let queue = broker.queue().await;
    let published = jobs(1, Lane::Bulk);
    publish(&queue, &published).await;
    let mut consumer = queue.consume(Lane::Bulk, 1).await.unwrap();
    next(&mut consumer).await.retry_later(Duration::from_secs(45)).await.unwrap();
    let waiting = topology(&queue).retry(Lane::Bulk, Duration::from_secs(45));
    assert!(waiting.ends_with(".retry-60000ms"), "{waiting}");
    wait_until("the work queue forgets it", || async { queue.depth(Lane::Bulk).await.unwrap() == 0 }).await;
    assert_eq!(broker.drain(&waiting).await, [published[0].encode()]);
}

#[tokio::test]
async fn a_job_that_cannot_be_put_off_comes_again_and_can_be_put_off_then() {
    let Some(broker) = TestBroker::for_test("retry-returned") else { return };
    let queue = broker.queue().await;
    let published = jobs(1, Lane::Bulk);
    publish(&queue, &published).await;
    let mut consumer = queue.consume(Lane::Bulk, 1).await.unwrap();
    let delay = Duration::from_millis(300);
    let delivery = next(&mut consumer).await;
    // Opens the channel for retries, so that the queue can disappear under it.
    delivery.retry_later(delay).await.unwrap();
    let delivery = next(&mut consumer).await;
    let (_connection, channel) = broker.channel().await;
    let retry = topology(&queue).retry(Lane::Bulk, delay);
    channel.queue_delete(retry.into(), QueueDeleteOptions::default()).await.unwrap();
    assert!(delivery.retry_later(delay).await.is_err());
    let again = next(&mut consumer).await;
    assert_eq!((&again.job, again.redelivered), (&published[0], true));
    again.retry_later(delay).await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();
}

#[tokio::test]
async fn putting_off_over_a_lost_connection_makes_no_second_copy() {
    let Some(broker) = TestBroker::for_test("retry-stale") else { return };
    let proxy = Proxy::to(broker.host_and_port()).await;
    let queue = connect(broker.config_at(&proxy.uri(&broker.uri))).await;
    let published = jobs(1, Lane::Bulk);
    publish(&queue, &published).await;
    let mut consumer = queue.consume(Lane::Bulk, 1).await.unwrap();
    let delivery = next(&mut consumer).await;
    proxy.cut();
    wait_until("the loss is noticed", || async { queue.ready().await.is_err() }).await;
    proxy.restore();
    queue.wait_ready(DEADLINE).await.unwrap();
    assert!(matches!(delivery.retry_later(Duration::from_secs(60)).await, Err(QueueError::Stale)));
    let again = next(&mut consumer).await;
    assert_eq!(again.job, published[0]);
    again.ack().await.unwrap();
    assert!(broker.drain(&topology(&queue).retry(Lane::Bulk, Duration::from_secs(60))).await.is_empty());
}

#[tokio::test]
async fn a_line_that_goes_silent_is_noticed_by_its_heartbeat() {
    let Some(broker) = TestBroker::for_test("silent") else { return };
    let proxy = Proxy::to(broker.host_and_port()).await;
    let mut config = broker.config_at(&format!("{}?heartbeat=1", proxy.uri(&broker.uri)));
    config.timeout = Duration::from_secs(2);
    let queue = connect(config).await;
    let published = jobs(1, Lane::Interactive);
    publish(&queue, &published).await;
    let mut consumer = queue.consume(Lane::Interactive, 1).await.unwrap();
    let unsettled = next(&mut consumer).await;
    proxy.go_silent();
    let results = queue.publish(&jobs(1, Lane::Interactive)).await;
    assert!(results[0].is_err(), "{results:?}");
    wait_until("the silence is noticed", || async { queue.ready().await.is_err() }).await;
    proxy.restore();
    queue.wait_ready(DEADLINE).await.unwrap();
    drop(unsettled);
    let again = next(&mut consumer).await;
    again.ack().await.unwrap();
}

#[tokio::test]
async fn a_publish_that_is_given_up_half_way_does_not_confuse_the_next() {
    let Some(broker) = TestBroker::for_test("abandoned") else { return };
    let queue = broker.queue().await;
    publish(&queue, &jobs(1, Lane::Interactive)).await;
    let bulk = topology(&queue).work(Lane::Bulk);
    let (_connection, channel) = broker.channel().await;
    for _ in 0..10 {
        channel.queue_delete(bulk.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        let unroutable = jobs(300, Lane::Bulk);
        let abandoned = tokio::spawn({
            let queue = queue.clone();
            async move { queue.publish(&unroutable).await }
        });
        tokio::task::yield_now().await;
        abandoned.abort();
        let _ = abandoned.await;
        // Whatever came of the abandoned batch, these have queues (declared again if need be).
        publish(&queue, &jobs(20, Lane::Interactive)).await;
        publish(&queue, &jobs(20, Lane::Bulk)).await;
    }
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_reported_and_left_as_it_is() {
    let Some(broker) = TestBroker::for_test("mismatch") else { return };
    let (_connection, channel) = broker.channel().await;
    let dead = format!("{}.attempts.dead", broker.prefix);
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(dead.into(), options, support::no_arguments()).await.unwrap();
    let queue = Queue::connect(broker.config()).await.unwrap();
    wait_until("the reason is given", || async {
        matches!(queue.ready().await, Err(QueueError::NotConnected(reason)) if reason.contains("x-queue-type"))
    })
    .await;
    let results = queue.publish(&jobs(2, Lane::Bulk)).await;
    assert!(matches!(results[..], [Err(PublishError::NotConnected(_)), Err(PublishError::NotConnected(_))]));
}

#[tokio::test]
async fn a_process_starts_while_the_broker_is_down_and_says_so() {
    // Needs no broker: nothing listens on this port.
    let mut config = proofmill_queue::RabbitConfig::new("amqp://guest:guest@127.0.0.1:1/%2f", "down");
    config.reconnect_min = Duration::from_millis(10);
    let queue = Queue::connect(config).await.unwrap();
    assert_eq!(queue.kind(), "rabbitmq");
    assert!(queue.wait_ready(Duration::from_millis(100)).await.is_err());
    let results = queue.publish(&jobs(3, Lane::Bulk)).await;
    assert_eq!(results.len(), 3);
    assert!(results.iter().all(|result| matches!(result, Err(PublishError::NotConnected(_)))));
    let mut consumer = queue.consume(Lane::Bulk, 1).await.unwrap();
    consumer.cancel().await;
    assert!(consumer.next().await.is_none());
    assert!(!queue.stats().connected);
}

#[tokio::test]
async fn a_wrong_uri_is_a_configuration_error() {
    for uri in ["", "http://localhost", "localhost:5672"] {
        let config = proofmill_queue::RabbitConfig::new(uri, "p");
        assert!(matches!(Queue::connect(config).await, Err(QueueError::Config(_))), "{uri}");
    }
}
