//! One answer per idempotency key, through kill -9 of the process that was making it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proofmill_tests::{ApiClient, wait};
use serde_json::{Value, json};

use crate::support::{Scene, in_both_modes};

in_both_modes!(of_many_identical_requests_through_a_kill_one_creates_and_all_get_its_answer);

const IDENTICAL: usize = 200;
/// Further keys with a few requests each, so that the kill meets many of them on their way.
const KEYS: usize = 40;
const REPEATS: usize = 5;
/// Answers after which the process is killed.
const BEFORE: usize = 25;

async fn of_many_identical_requests_through_a_kill_one_creates_and_all_get_its_answer(mut scene: Scene) {
    let answered = Arc::new(AtomicUsize::new(0));
    let mut requests = Vec::new();
    for _ in 0..IDENTICAL {
        requests.push(("/v1/sessions", "identical".to_owned(), json!({ "redirect_url": "https://example.com/a" })));
    }
    for key in 0..KEYS {
        let request = match key % 2 {
            0 => ("/v1/sessions", json!({ "contract_version": 1 })),
            _ => ("/v1/webhooks/endpoints", json!({ "url": format!("https://hooks.example.com/{key}") })),
        };
        requests.extend((0..REPEATS).map(|_| (request.0, format!("key-{key}"), request.1.clone())));
    }
    // In turns, so that the single keys are not all answered before or after the others.
    let half = requests.len() / 2;
    let (front, back) = requests.split_at(half);
    let mixed: Vec<_> = front.iter().zip(back).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();

    let tasks: Vec<_> = mixed
        .into_iter()
        .map(|(path, key, body)| {
            let (api, answered) = (scene.api().clone(), answered.clone());
            tokio::spawn(async move {
                let data = until_created(&api, path, &key, &body).await;
                answered.fetch_add(1, Ordering::SeqCst);
                (path, key, data)
            })
        })
        .collect();
    let enough = || async { Ok((answered.load(Ordering::SeqCst) >= BEFORE).then_some(())) };
    wait::until("some answers", enough).await.unwrap();
    scene.server.kill_api().unwrap();
    assert!(answered.load(Ordering::SeqCst) < tasks.len(), "the process was killed in the middle");
    scene.server.serve_again().await.unwrap();

    let mut made: BTreeMap<String, Vec<(&str, Value)>> = BTreeMap::new();
    for task in tasks {
        let (path, key, data) = task.await.unwrap();
        made.entry(key).or_default().push((path, data));
    }
    for (key, answers) in &made {
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{key}: one answer for all");
    }
    let of = |path: &str| {
        let mut ids: Vec<String> = made
            .values()
            .filter(|answers| answers[0].0 == path)
            .map(|answers| answers[0].1["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort_unstable();
        ids
    };
    let (sessions, mut endpoints) = (of("/v1/sessions"), of("/v1/webhooks/endpoints"));
    endpoints.push(scene.integrator.endpoint.clone());
    endpoints.sort_unstable();
    assert_eq!((sessions.len(), endpoints.len()), (1 + KEYS / 2, 1 + KEYS / 2));
    assert_eq!(ids(scene.api(), "/v1/sessions").await, sessions, "what was answered is all that was created");
    assert_eq!(ids(scene.api(), "/v1/webhooks/endpoints").await, endpoints);
}

/// The answer, as a caller gets it who repeats the request until there is one.
async fn until_created(api: &ApiClient, path: &'static str, key: &str, body: &Value) -> Value {
    wait::until(&format!("an answer under {key}"), || async {
        // Nobody listens while the process is away.
        let Ok(answer) = api.post_once(path, key, body).await else { return Ok(None) };
        match answer.status {
            201 => answer.data().map(Some),
            _ if ["IDEMPOTENCY_IN_PROGRESS", "UNAVAILABLE", "RATE_LIMITED"].contains(&answer.code()) => Ok(None),
            _ => anyhow::bail!("{path}: {}", answer.body),
        }
    })
    .await
    .unwrap()
}

async fn ids(api: &ApiClient, path: &str) -> Vec<String> {
    let mut ids: Vec<String> =
        api.all(path).await.unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}
