//! The outbox: attempts whose job the broker has not confirmed, and jobs that must be published again.

use std::time::Duration;

use diesel::dsl::min;
use diesel::prelude::*;
use proofmill_contract::{AttemptId, AttemptStatus, Lane, Timestamp};

use super::backend::{Conn, lock_free};
use super::writes;
use crate::error::StoreError;
use crate::limits::{MAX_BATCH, sql_limit};
use crate::model::OutboxItem;
use crate::rows::parse;
use crate::schema::attempts;

pub(crate) fn due(
    conn: &mut Conn,
    limit: usize,
    claim_for: Duration,
    now: Timestamp,
) -> Result<Vec<OutboxItem>, StoreError> {
    let mut items: Vec<(String, String)> = Vec::new();
    // Lane by lane, in their order: a burst of bulk work must not keep somebody waiting before a phone.
    for lane in Lane::ALL {
        let due = attempts::table
            .filter(attempts::lane.eq(lane.as_str()))
            .filter(attempts::outbox_at.le(now.0))
            .order((attempts::outbox_at, attempts::id))
            .limit(sql_limit(limit.saturating_sub(items.len())))
            .select((attempts::id, attempts::lane));
        items.extend(lock_free!(due).load::<(String, String)>(conn)?);
    }
    if items.is_empty() {
        return Ok(Vec::new());
    }
    diesel::update(attempts::table.filter(attempts::id.eq_any(items.iter().map(|(id, _)| id))))
        .set(attempts::outbox_at.eq(now.plus(claim_for).0))
        .execute(conn)?;
    items
        .into_iter()
        .map(|(id, lane)| {
            Ok(OutboxItem { attempt_id: parse(&id, "attempts.id")?, lane: parse(&lane, "attempts.lane")? })
        })
        .collect()
}

pub(crate) fn mark_published(conn: &mut Conn, ids: &[AttemptId], now: Timestamp) -> Result<usize, StoreError> {
    let mut marked = 0;
    for ids in ids.chunks(MAX_BATCH) {
        marked += writes::mark_published(conn, ids, now)?;
    }
    Ok(marked)
}

pub(crate) fn release(conn: &mut Conn, ids: &[AttemptId], now: Timestamp) -> Result<usize, StoreError> {
    let mut released = 0;
    for ids in ids.chunks(MAX_BATCH) {
        let claimed = attempts::table
            .filter(attempts::id.eq_any(ids.iter().map(|id| id.as_str())))
            .filter(attempts::outbox_at.is_not_null());
        released += diesel::update(claimed).set(attempts::outbox_at.eq(now.0)).execute(conn)?;
    }
    Ok(released)
}

pub(crate) fn oldest(conn: &mut Conn, now: Timestamp) -> Result<Option<Duration>, StoreError> {
    let oldest: Option<i64> =
        attempts::table.filter(attempts::outbox_at.is_not_null()).select(min(attempts::queued_at)).first(conn)?;
    Ok(oldest.map(|queued| now.since(Timestamp(queued))))
}

pub(crate) fn requeue_lost(
    conn: &mut Conn,
    lost_after: Duration,
    limit: usize,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let lease_ended = attempts::lease_until.le(now.0);
    let never_leased = attempts::lease_until.is_null().and(attempts::published_at.le(now.minus(lost_after).0));
    let lost = attempts::table
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .filter(attempts::submitted_at.is_not_null())
        .filter(attempts::quarantined_at.is_null())
        .filter(attempts::outbox_at.is_null())
        .filter(lease_ended.or(never_leased))
        .limit(sql_limit(limit))
        .select(attempts::id);
    let ids: Vec<String> = lock_free!(lost).load(conn)?;
    requeue(conn, &ids, now)
}

pub(crate) fn requeue_unsettled(conn: &mut Conn, now: Timestamp) -> Result<usize, StoreError> {
    let unsettled = attempts::table
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .filter(attempts::submitted_at.is_not_null())
        .filter(attempts::quarantined_at.is_null());
    Ok(diesel::update(unsettled)
        .set((
            attempts::outbox_at.eq(now.0),
            attempts::queued_at.eq(now.0),
            attempts::lease_token.eq(None::<String>),
            attempts::lease_until.eq(None::<i64>),
        ))
        .execute(conn)?)
}

/// Ends the leases of these attempts, whoever holds them, and puts them into the outbox.
fn requeue(conn: &mut Conn, ids: &[String], now: Timestamp) -> Result<usize, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    Ok(diesel::update(attempts::table.filter(attempts::id.eq_any(ids)))
        .set((
            attempts::outbox_at.eq(now.0),
            attempts::queued_at.eq(now.0),
            attempts::lease_token.eq(None::<String>),
            attempts::lease_until.eq(None::<i64>),
        ))
        .execute(conn)?)
}
