//! Circuit breakers of endpoints. A row exists only while an endpoint's last try failed.

use std::collections::HashMap;

use diesel::prelude::*;
use proofmill_contract::Timestamp;
use rand::RngExt;

use super::backend::{Conn, lock, lock_free};
use crate::breaker::Breaker;
use crate::error::StoreError;
use crate::schema::endpoint_breakers;

/// A breaker that is not at rest.
pub(super) struct Known {
    pub breaker: Breaker,
    /// Whether the endpoint has deliveries whose time is over and that were never tried.
    pub last_tries: bool,
}

/// The breakers of these endpoints that are not at rest.
pub(super) fn of(conn: &mut Conn, endpoints: &[&str]) -> Result<HashMap<String, Known>, StoreError> {
    let rows: Vec<(String, i32, i32, Option<i64>, bool)> = endpoint_breakers::table
        .filter(endpoint_breakers::endpoint_id.eq_any(endpoints))
        .select((
            endpoint_breakers::endpoint_id,
            endpoint_breakers::failures,
            endpoint_breakers::openings,
            endpoint_breakers::open_until,
            endpoint_breakers::last_tries,
        ))
        .load(conn)?;
    let known = |(id, failures, openings, open_until, last_tries)| {
        (id, Known { breaker: Breaker { failures, openings, open_until }, last_tries })
    };
    Ok(rows.into_iter().map(known).collect())
}

/// Keeps the breakers of these endpoints until commit. Taken by id, after endpoints and deliveries: whoever needs several
/// takes them here first, so that nobody waits in a ring.
pub(super) fn lock_all(conn: &mut Conn, endpoints: &[&str]) -> Result<(), StoreError> {
    let rows = endpoint_breakers::table
        .filter(endpoint_breakers::endpoint_id.eq_any(endpoints))
        .order(endpoint_breakers::endpoint_id)
        .select(endpoint_breakers::endpoint_id);
    lock!(rows).load::<String>(conn)?;
    Ok(())
}

/// Endpoints that answered: their breakers close.
pub(super) fn close(conn: &mut Conn, endpoints: &[&str]) -> Result<(), StoreError> {
    if !endpoints.is_empty() {
        let rows = endpoint_breakers::table.filter(endpoint_breakers::endpoint_id.eq_any(endpoints));
        diesel::delete(rows).execute(conn)?;
    }
    Ok(())
}

/// Lets deliveries to these endpoints that were never tried through, each once, open or not.
pub(super) fn allow_last_tries(conn: &mut Conn, endpoints: &[String]) -> Result<(), StoreError> {
    if !endpoints.is_empty() {
        lock_all(conn, &endpoints.iter().map(String::as_str).collect::<Vec<_>>())?;
        let rows = endpoint_breakers::table.filter(endpoint_breakers::endpoint_id.eq_any(endpoints));
        diesel::update(rows).set(endpoint_breakers::last_tries.eq(true)).execute(conn)?;
    }
    Ok(())
}

/// There are none left. A breaker that somebody holds keeps the mark: it is found without need once more.
pub(super) fn no_last_tries(conn: &mut Conn, endpoint: &str) -> Result<(), StoreError> {
    let query = endpoint_breakers::table.find(endpoint).select(endpoint_breakers::endpoint_id);
    if lock_free!(query).first::<String>(conn).optional()?.is_some() {
        let row = endpoint_breakers::table.find(endpoint);
        diesel::update(row).set(endpoint_breakers::last_tries.eq(false)).execute(conn)?;
    }
    Ok(())
}

/// Endpoints whose breaker is not closed.
pub(super) fn not_closed(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    Ok(endpoint_breakers::table
        .filter(endpoint_breakers::open_until.is_not_null())
        .select(endpoint_breakers::endpoint_id)
        .load(conn)?)
}

/// An endpoint that failed so many times in a row.
pub(super) fn failed(conn: &mut Conn, endpoint: &str, times: usize, now: Timestamp) -> Result<(), StoreError> {
    let query = endpoint_breakers::table.find(endpoint).select((
        endpoint_breakers::failures,
        endpoint_breakers::openings,
        endpoint_breakers::open_until,
    ));
    let row: Option<(i32, i32, Option<i64>)> = lock!(query).first(conn).optional()?;
    let before = row.map_or_else(Breaker::default, |(failures, openings, open_until)| Breaker {
        failures,
        openings,
        open_until,
    });
    let mut rng = rand::rng();
    let after = (0..times).fold(before, |breaker, _| breaker.failed(now, rng.random_range(0.8..=1.2)));
    let values = (
        endpoint_breakers::failures.eq(after.failures),
        endpoint_breakers::openings.eq(after.openings),
        endpoint_breakers::open_until.eq(after.open_until),
        endpoint_breakers::updated_at.eq(now.0),
    );
    // Of two senders that see the first failure at once, the second overwrites: one failure less is counted.
    diesel::insert_into(endpoint_breakers::table)
        .values((endpoint_breakers::endpoint_id.eq(endpoint), values))
        .on_conflict(endpoint_breakers::endpoint_id)
        .do_update()
        .set(values)
        .execute(conn)?;
    Ok(())
}

/// How many are not closed.
pub(super) fn open_count(conn: &mut Conn) -> Result<i64, StoreError> {
    Ok(endpoint_breakers::table.filter(endpoint_breakers::open_until.is_not_null()).count().get_result(conn)?)
}
