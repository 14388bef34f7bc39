//! The batching service over the real engine: answers, back-pressure, draining.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::pictures::{jpeg, photo, scaled};
use proofmill_face::{
    BatchConfig, BatchReport, BatchService, CloseReason, Device, EngineError, FaceVerdict, Lane, LoadOptions, Matcher,
    Pack, Prepared, SubmitError,
};

fn matcher() -> Option<Arc<Matcher>> {
    let pack = Pack::load(&common::pack_folder()?, LoadOptions::default()).unwrap();
    Some(Arc::new(Matcher::new(pack, Device::Cpu, 1).unwrap()))
}

/// Makes attempts: the same person, and two.
struct Maker {
    portrait: Vec<u8>,
    same: Vec<u8>,
    other: Vec<u8>,
}

impl Maker {
    fn load() -> Option<Self> {
        let small = |name: &str, width| Some(jpeg(&scaled(&photo(name)?, width), 80));
        Some(Self {
            portrait: small("obama.jpg", 413)?,
            same: small("obama2.jpg", 400)?,
            other: small("biden.jpg", 500)?,
        })
    }

    fn genuine(&self, matcher: &Matcher) -> Prepared {
        matcher.prepare(&self.portrait, &[&self.same]).unwrap()
    }

    fn impostor(&self, matcher: &Matcher) -> Prepared {
        matcher.prepare(&self.portrait, &[&self.other]).unwrap()
    }
}

fn config() -> BatchConfig {
    BatchConfig { max_batch: 4, ..BatchConfig::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_gets_its_own_answer_and_draining_loses_none() {
    let (Some(matcher), Some(maker)) = (matcher(), Maker::load()) else { return };
    let reports: Arc<Mutex<Vec<BatchReport>>> = Arc::default();
    let seen = Arc::clone(&reports);
    let service = BatchService::spawn_observed(vec![Arc::clone(&matcher)], config(), move |report| {
        seen.lock().unwrap().push(*report);
    });
    let mut tickets = Vec::new();
    for n in 0..9 {
        let attempt = if n % 3 == 0 { maker.impostor(&matcher) } else { maker.genuine(&matcher) };
        let lane = [Lane::Interactive, Lane::Bulk, Lane::Isolated][n % 3];
        tickets.push((n, service.submit(attempt, lane).await.unwrap()));
    }
    service.drain().await;
    let refused = service.submit(maker.genuine(&matcher), Lane::Bulk).await;
    assert!(matches!(refused, Err(SubmitError::Draining(_))));
    for (n, ticket) in tickets {
        let expected = if n % 3 == 0 { FaceVerdict::Mismatch } else { FaceVerdict::Match };
        assert_eq!(ticket.await.unwrap().verdict, expected, "attempt {n}");
    }
    let reports = reports.lock().unwrap();
    assert_eq!(reports.iter().map(|r| r.size).sum::<usize>(), 9);
    assert!(reports.iter().all(|r| r.size <= 4 && !r.failed));
    let isolated = reports.iter().filter(|r| r.reason == CloseReason::Isolation);
    assert!(isolated.clone().all(|r| r.size == 1));
    assert_eq!(isolated.count(), 3);
}

#[test]
fn a_full_service_gives_the_attempt_back_and_takes_it_later() {
    let (Some(matcher), Some(maker)) = (matcher(), Maker::load()) else { return };
    // Nothing closes a batch before the queue is full.
    let patient = BatchConfig {
        max_batch: 100,
        max_waiting: 2,
        interactive_deadline: Duration::from_secs(3_600),
        bulk_deadline: Duration::from_secs(3_600),
        idle: Duration::from_secs(3_600),
        ..BatchConfig::default()
    };
    let service = BatchService::spawn(vec![Arc::clone(&matcher)], patient);
    let first = service.try_submit(maker.genuine(&matcher), Lane::Interactive).unwrap();
    let second = service.try_submit(maker.impostor(&matcher), Lane::Bulk).unwrap();
    assert_eq!(service.waiting(), 2);
    let refused = service.try_submit(maker.genuine(&matcher), Lane::Interactive);
    let Err(SubmitError::Full(attempt)) = refused else {
        panic!("expected a full queue");
    };
    assert!(attempt.bytes() > 100_000);
    service.drain_blocking();
    assert_eq!(first.wait().unwrap().verdict, FaceVerdict::Match);
    assert_eq!(second.wait().unwrap().verdict, FaceVerdict::Mismatch);
}

#[test]
fn memory_is_bounded_and_a_waiting_sender_goes_on_when_room_appears() {
    let (Some(matcher), Some(maker)) = (matcher(), Maker::load()) else { return };
    // Room for one attempt at a time: each must be done before the next one fits.
    let narrow = BatchConfig { max_bytes: maker.genuine(&matcher).bytes(), ..config() };
    let service = BatchService::spawn(vec![Arc::clone(&matcher)], narrow);
    let tickets: Vec<_> =
        (0..3).map(|_| service.submit_blocking(maker.genuine(&matcher), Lane::Interactive).unwrap()).collect();
    for ticket in tickets {
        assert_eq!(ticket.wait().unwrap().verdict, FaceVerdict::Match);
    }
}

#[test]
fn what_nobody_waits_for_is_not_run_and_a_stopped_service_says_so() {
    let (Some(matcher), Some(maker)) = (matcher(), Maker::load()) else { return };
    let sizes: Arc<Mutex<Vec<usize>>> = Arc::default();
    let seen = Arc::clone(&sizes);
    let patient = BatchConfig {
        max_batch: 2,
        interactive_deadline: Duration::from_secs(3_600),
        idle: Duration::from_secs(3_600),
        ..BatchConfig::default()
    };
    let service = BatchService::spawn_observed(vec![Arc::clone(&matcher)], patient, move |report| {
        seen.lock().unwrap().push(report.size);
    });
    let abandoned = service.try_submit(maker.genuine(&matcher), Lane::Interactive).unwrap();
    drop(abandoned);
    let wanted = service.try_submit(maker.genuine(&matcher), Lane::Interactive).unwrap();
    assert_eq!(wanted.wait().unwrap().verdict, FaceVerdict::Match);
    let left = service.try_submit(maker.genuine(&matcher), Lane::Interactive).unwrap();
    drop(service);
    assert_eq!(left.wait(), Err(EngineError::Stopped));
    assert_eq!(*sizes.lock().unwrap(), [1]);
}
