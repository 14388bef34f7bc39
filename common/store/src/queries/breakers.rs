//! Circuit breakers of endpoints. A row exists only while an endpoint's last try failed.

use std::collections::HashMap;

use diesel::prelude::*;
use proofmill_contract::Timestamp;
use rand::RngExt;

use super::backend::{Conn, lock};
use crate::breaker::Breaker;
use crate::error::StoreError;
use crate::schema::endpoint_breakers;

/// The breakers of these endpoints that are not at rest.
pub(super) fn of(conn: &mut Conn, endpoints: &[&str]) -> Result<HashMap<String, Breaker>, StoreError> {
    let rows: Vec<(String, i32, i32, Option<i64>)> = endpoint_breakers::table
        .filter(endpoint_breakers::endpoint_id.eq_any(endpoints))
        .select((
            endpoint_breakers::endpoint_id,
            endpoint_breakers::failures,
            endpoint_breakers::openings,
            endpoint_breakers::open_until,
        ))
        .load(conn)?;
    let breaker = |(id, failures, openings, open_until)| (id, Breaker { failures, openings, open_until });
    Ok(rows.into_iter().map(breaker).collect())
}

/// Endpoints that answered: their breakers close.
pub(super) fn close(conn: &mut Conn, endpoints: &[&str]) -> Result<(), StoreError> {
    if !endpoints.is_empty() {
        let rows = endpoint_breakers::table.filter(endpoint_breakers::endpoint_id.eq_any(endpoints));
        diesel::delete(rows).execute(conn)?;
    }
    Ok(())
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
