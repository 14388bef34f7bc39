use super::harness::*;
use proofmill_contract::{ContractVersion, Outcome};
use std::time::Instant;

on_both!(measure);

async fn measure(world: World) {
    world.receiver(START).await;
    let n = 512usize;
    let t = Instant::now();
    let mut ids = Vec::new();
    for chunk in 0..16 {
        let mut tasks = Vec::new();
        for _ in 0..n / 16 {
            let (store, org) = (world.store.clone(), world.organisation.clone());
            tasks.push(tokio::spawn(async move {
                let new = new_session(&org, ContractVersion::V2, None, START);
                let s = store.create_session(new, START).await.unwrap();
                let a = store.open_attempt(new_attempt(&s.id, START), START).await.unwrap();
                let crate::OpenAttempt::Opened(a) = a else { panic!() };
                store.submit_evidence(&a.id, submission(1), START).await.unwrap();
                a.id
            }));
        }
        for t in tasks {
            ids.push(t.await.unwrap());
        }
        let _ = chunk;
    }
    println!("create+open+submit: {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    let mut leased = Vec::new();
    for id in &ids {
        leased.push(world.lease(id, START).await);
    }
    println!("lease (one after another): {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    let verdicts = leased.iter().map(|l| verdict(l, Outcome::Accepted)).collect();
    let t = Instant::now();
    let r = world.store.settle(verdicts, START).await.unwrap();
    assert!(r.iter().all(|r| matches!(r, crate::SettleResult::Settled { .. })));
    println!("settle (groups of 128, one delivery each): {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    let due = world.store.claim_due_deliveries(n, n, LEASE, START).await.unwrap();
    println!("claim: {:.0}/s", due.len() as f64 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    for d in &due {
        world
            .store
            .record_delivery(&d.id, &d.lease_token, crate::DeliveryOutcome::Delivered { status: 200 }, START)
            .await
            .unwrap();
    }
    println!("record: {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
}
