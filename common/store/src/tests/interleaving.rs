//! What another transaction does between two statements of ours, and in which order ours waits. PostgreSQL only: on SQLite a
//! transaction that writes has the database to itself.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use proofmill_contract::{ContractVersion, EndpointId, Outcome, SessionId, SessionStatus};

use super::harness::{LEASE, START, World};
use crate::{DeliveryOutcome, DueDelivery, EndpointUpdate, PublicCancel};

macro_rules! on_postgres_only {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(#[test] fn $name() { $crate::tests::harness::on_postgres(super::$name) })*
        }
    };
}

on_postgres_only!(
    a_try_that_ends_during_a_withdrawal_does_not_break_it,
    a_try_or_a_retry_during_an_endpoints_deletion_does_not_break_it,
    whoever_takes_several_deliveries_takes_them_by_id,
    a_try_that_accuses_its_endpoint_waits_for_it_before_it_takes_its_delivery,
    a_deletion_touches_nothing_of_the_history,
);

const TOKEN: [u8; 32] = [7; 32];

/// As the recorder of tries writes one that failed.
const FAILED: &str = "UPDATE deliveries SET status = 'pending', reason = NULL, next_attempt_at = 0, lease_token = NULL, \
     lease_until = NULL, payload_expires_at = NULL";

/// A connection of somebody else's.
struct Other(PgConnection);

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

impl Other {
    fn open(world: &World) -> Self {
        Self(PgConnection::establish(&world.url).unwrap())
    }

    fn run(&mut self, sql: &str) {
        self.0.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn count(&mut self, sql: &str) -> i64 {
        diesel::sql_query(sql).get_result::<Counted>(&mut self.0).unwrap().n
    }
}

/// Until one of the store's transactions waits for a row.
async fn until_one_waits(world: &World) {
    let mut watch = Other::open(world);
    let deadline = Instant::now() + Duration::from_secs(20);
    let waiting = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() \
         AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()";
    while watch.count(waiting) == 0 {
        assert!(Instant::now() < deadline, "nobody waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A success that is being sent to two endpoints.
async fn sending(world: &World) -> (SessionId, Vec<DueDelivery>) {
    world.receiver(START).await;
    world.receiver(START).await;
    let session = world.session(ContractVersion::V2, START).await.id;
    world.decide(&session, Outcome::Accepted, START).await;
    let due = world.store.claim_due_deliveries(10, 10, LEASE, START).await.unwrap();
    assert_eq!(due.len(), 2);
    (session, due)
}

const LEFT: &str = "SELECT count(*) AS n FROM deliveries WHERE event_type = 'verification.session.succeeded' \
     AND (payload IS NOT NULL OR status IN ('pending', 'sending'))";

async fn a_try_that_ends_during_a_withdrawal_does_not_break_it(world: World) {
    for sweep in [false, true] {
        let (session, _) = sending(&world).await;
        if sweep {
            let sql = format!("UPDATE sessions SET withdrawal_requested_at = 1 WHERE id = '{session}'");
            world.store.execute(&sql).await.unwrap();
        }
        let mut recorder = Other::open(&world);
        recorder.run("BEGIN");
        recorder.run(&format!("{FAILED} WHERE status = 'sending'"));
        let store = world.store.clone();
        let id = session.clone();
        let withdrawal = tokio::spawn(async move {
            if sweep {
                assert_eq!(store.finish_withdrawals(START.plus(LEASE), 10).await.unwrap(), 1);
            } else {
                let withdrawn = store.public_cancel(&id, TOKEN, START).await.unwrap();
                assert_eq!(withdrawn, PublicCancel::Withdrawn { status: SessionStatus::Cancelled });
            }
        });
        until_one_waits(&world).await;
        recorder.run("COMMIT");
        withdrawal.await.unwrap();
        assert_eq!(recorder.count(LEFT), 0);
        assert_eq!(world.reload(&session, START).await.status, SessionStatus::Cancelled);
        world.store.execute("DELETE FROM deliveries").await.unwrap();
        world.store.execute("UPDATE webhook_endpoints SET enabled = false, disabled_at = 1").await.unwrap();
    }
}

async fn a_try_or_a_retry_during_an_endpoints_deletion_does_not_break_it(world: World) {
    for retry in [false, true] {
        let (_, due) = sending(&world).await;
        if retry {
            for due in &due {
                let delivered = DeliveryOutcome::Delivered { status: 200 };
                assert!(world.store.record_delivery(&due.id, &due.lease_token, delivered, START).await.unwrap());
            }
        }
        let endpoint = due[0].endpoint_id.clone();
        let mut other = Other::open(&world);
        other.run("BEGIN");
        other.run(&format!("{FAILED} WHERE endpoint_id = '{endpoint}'"));
        let (store, mine) = (world.store.clone(), world.organisation.clone());
        let id = endpoint.clone();
        let deletion = tokio::spawn(async move { store.delete_endpoint(&mine, &id, START).await.unwrap() });
        until_one_waits(&world).await;
        other.run("COMMIT");
        assert!(deletion.await.unwrap());
        let left = format!(
            "SELECT count(*) AS n FROM deliveries WHERE endpoint_id = '{endpoint}' AND status = 'failed' \
             AND reason = 'endpoint_deleted' AND payload IS NULL AND payload_expires_at IS NULL"
        );
        assert_eq!(other.count(&left), 1);
        world.store.execute("UPDATE deliveries SET status = 'failed', lease_token = NULL, lease_until = NULL, next_attempt_at = NULL").await.unwrap();
        world.store.execute("UPDATE webhook_endpoints SET enabled = false, disabled_at = 1").await.unwrap();
    }
}

/// Holds the row that comes first by its id and last by its place, and sees that whoever waits for it holds no other.
async fn whoever_takes_several_deliveries_takes_them_by_id(world: World) {
    #[derive(Clone, Copy, Debug)]
    enum Taker {
        Withdrawal,
        Sweep,
        Deletion,
        Disabling,
        Gone,
    }
    for taker in [Taker::Withdrawal, Taker::Sweep, Taker::Deletion, Taker::Disabling, Taker::Gone] {
        // Two events to each of two endpoints.
        let (session, due) = sending(&world).await;
        let endpoint = due[0].endpoint_id.clone();
        let second = world.session(ContractVersion::V2, START).await.id;
        world.decide(&second, Outcome::Accepted, START).await;
        if !matches!(taker, Taker::Gone) {
            world.store.execute(&format!("{FAILED} WHERE status = 'sending'")).await.unwrap();
        }
        if matches!(taker, Taker::Sweep) {
            let sql = format!("UPDATE sessions SET withdrawal_requested_at = 1 WHERE id IN ('{session}', '{second}')");
            world.store.execute(&sql).await.unwrap();
        }
        let of = match taker {
            Taker::Withdrawal => format!("session_id = '{session}'"),
            Taker::Sweep => "true".to_owned(),
            Taker::Deletion | Taker::Disabling | Taker::Gone => format!("endpoint_id = '{endpoint}'"),
        };
        let mut other = Other::open(&world);
        // A new version of the row lies behind the others.
        other.run(&format!(
            "UPDATE deliveries SET updated_at = updated_at + 1 WHERE id = (SELECT min(id) FROM deliveries WHERE {of})"
        ));
        other.run("BEGIN");
        other.run(&format!(
            "SELECT 1 FROM deliveries WHERE id = (SELECT min(id) FROM deliveries WHERE {of}) FOR UPDATE"
        ));
        let (store, mine, gone) = (world.store.clone(), world.organisation.clone(), due[0].clone());
        let taking = tokio::spawn(async move {
            match taker {
                Taker::Withdrawal => drop(store.public_cancel(&session, TOKEN, START).await.unwrap()),
                Taker::Sweep => assert_eq!(store.finish_withdrawals(START, 10).await.unwrap(), 2),
                Taker::Deletion => assert!(store.delete_endpoint(&mine, &endpoint, START).await.unwrap()),
                Taker::Disabling => {
                    let disable = EndpointUpdate { enabled: Some(false), ..Default::default() };
                    store.update_endpoint(&mine, &endpoint, disable, START).await.unwrap().unwrap();
                }
                Taker::Gone => {
                    let outcome = DeliveryOutcome::EndpointGone;
                    assert!(store.record_delivery(&gone.id, &gone.lease_token, outcome, START).await.unwrap());
                }
            }
        });
        until_one_waits(&world).await;
        let free = format!(
            "SELECT count(*) AS n FROM (SELECT 1 FROM deliveries WHERE {of} AND id <> (SELECT min(id) FROM deliveries \
             WHERE {of}) FOR UPDATE SKIP LOCKED) free"
        );
        let others = format!("SELECT count(*) - 1 AS n FROM deliveries WHERE {of}");
        assert_eq!(other.count(&free), other.count(&others), "{taker:?} holds rows out of turn");
        other.run("ROLLBACK");
        taking.await.unwrap();
        world.store.execute("DELETE FROM deliveries").await.unwrap();
        world.store.execute("UPDATE webhook_endpoints SET enabled = false, disabled_at = 1").await.unwrap();
        world.store.execute("UPDATE sessions SET withdrawal_requested_at = NULL").await.unwrap();
    }
}

async fn a_try_that_accuses_its_endpoint_waits_for_it_before_it_takes_its_delivery(world: World) {
    let (_, due) = sending(&world).await;
    let mut other = Other::open(&world);
    other.run("BEGIN");
    other.run(&format!("SELECT 1 FROM webhook_endpoints WHERE id = '{}' FOR UPDATE", due[0].endpoint_id));
    let (store, gone) = (world.store.clone(), due[0].clone());
    let recording = tokio::spawn(async move {
        store.record_delivery(&gone.id, &gone.lease_token, DeliveryOutcome::EndpointGone, START).await.unwrap()
    });
    until_one_waits(&world).await;
    other.run(&format!("SELECT 1 FROM deliveries WHERE id = '{}' FOR UPDATE NOWAIT", due[0].id));
    other.run("COMMIT");
    assert!(recording.await.unwrap());
}

async fn a_deletion_touches_nothing_of_the_history(world: World) {
    let (_, due) = sending(&world).await;
    for due in &due {
        let delivered = DeliveryOutcome::Delivered { status: 200 };
        assert!(world.store.record_delivery(&due.id, &due.lease_token, delivered, START).await.unwrap());
    }
    let (old, held): (&EndpointId, &EndpointId) = (&due[0].endpoint_id, &due[1].endpoint_id);
    let sql = format!("UPDATE deliveries SET payload = NULL, payload_expires_at = NULL WHERE endpoint_id = '{old}'");
    world.store.execute(&sql).await.unwrap();
    let versions = |endpoint: &EndpointId| {
        let sql = format!("SELECT xmin::text || ctid::text AS text FROM deliveries WHERE endpoint_id = '{endpoint}'");
        let store = world.store.clone();
        async move { store.texts(&sql).await.unwrap() }
    };
    for (endpoint, touched) in [(old, false), (held, true)] {
        let before = versions(endpoint).await;
        assert!(world.store.delete_endpoint(&world.organisation, endpoint, START).await.unwrap());
        assert_eq!(versions(endpoint).await != before, touched);
    }
}
