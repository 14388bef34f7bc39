//! What is waiting, and what sealed evidence is still referred to.

use std::collections::BTreeSet;

use diesel::dsl::{count_star, min};
use diesel::prelude::*;
use proofmill_contract::{AttemptStatus, Lane, SessionStatus, Timestamp};

use super::backend::Conn;
use super::breakers;
use crate::error::StoreError;
use crate::limits::MAX_BATCH;
use crate::model::{Backlog, DeliveryStatus, LaneBacklog};
use crate::schema::{attempts, deliveries, sessions};

pub(crate) fn referenced_objects(conn: &mut Conn, objects: &[String]) -> Result<Vec<String>, StoreError> {
    let mut referenced = BTreeSet::new();
    for objects in objects.chunks(MAX_BATCH) {
        let of_attempts: Vec<Option<String>> = attempts::table
            .filter(attempts::evidence_object.eq_any(objects))
            .select(attempts::evidence_object)
            .load(conn)?;
        let of_terminals: Vec<Option<String>> = attempts::table
            .filter(attempts::terminal_object.eq_any(objects))
            .select(attempts::terminal_object)
            .load(conn)?;
        let of_sessions: Vec<Option<String>> =
            sessions::table.filter(sessions::kept_object.eq_any(objects)).select(sessions::kept_object).load(conn)?;
        referenced.extend(of_attempts.into_iter().chain(of_terminals).chain(of_sessions).flatten());
    }
    Ok(referenced.into_iter().collect())
}

pub(crate) fn epochs_in_use(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    let of_attempts: Vec<Option<String>> = attempts::table
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .select(attempts::evidence_epoch)
        .distinct()
        .load(conn)?;
    let of_terminals: Vec<Option<String>> = attempts::table
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .select(attempts::terminal_epoch)
        .distinct()
        .load(conn)?;
    let of_sessions: Vec<Option<String>> = sessions::table
        .filter(sessions::status.eq_any([SessionStatus::Created.as_str(), SessionStatus::InProgress.as_str()]))
        .select(sessions::kept_epoch)
        .distinct()
        .load(conn)?;
    let epochs: BTreeSet<String> = of_attempts.into_iter().chain(of_terminals).chain(of_sessions).flatten().collect();
    Ok(epochs.into_iter().collect())
}

pub(crate) fn backlog(conn: &mut Conn, now: Timestamp) -> Result<Backlog, StoreError> {
    let mut lanes = Vec::new();
    for lane in Lane::ALL {
        let unsettled = attempts::lane
            .eq(lane.as_str())
            .and(attempts::status.eq(AttemptStatus::InProgress.as_str()))
            .and(attempts::submitted_at.is_not_null())
            .and(attempts::quarantined_at.is_null());
        let (all, oldest): (i64, Option<i64>) =
            attempts::table.filter(unsettled).select((count_star(), min(attempts::submitted_at))).first(conn)?;
        let verifying: i64 =
            attempts::table.filter(unsettled.and(attempts::lease_token.is_not_null())).count().get_result(conn)?;
        lanes.push(LaneBacklog {
            lane: *lane,
            queued: positive(all - verifying),
            verifying: positive(verifying),
            oldest: oldest.map(|submitted| now.since(Timestamp(submitted))),
        });
    }
    let outbox: i64 = attempts::table.filter(attempts::outbox_at.is_not_null()).count().get_result(conn)?;
    let quarantined: i64 = attempts::table
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .filter(attempts::quarantined_at.is_not_null())
        .count()
        .get_result(conn)?;
    let due: i64 = deliveries::table
        .filter(deliveries::status.eq(DeliveryStatus::Pending.as_str()))
        .filter(deliveries::next_attempt_at.le(now.0))
        .count()
        .get_result(conn)?;
    let (pending, next): (i64, Option<i64>) = deliveries::table
        .filter(deliveries::status.eq(DeliveryStatus::Pending.as_str()))
        .select((count_star(), min(deliveries::next_attempt_at)))
        .first(conn)?;
    Ok(Backlog {
        lanes,
        outbox: positive(outbox),
        quarantined: positive(quarantined),
        deliveries_pending: positive(pending),
        deliveries_due: positive(due),
        breakers_open: positive(breakers::open_count(conn)?),
        oldest_due_delivery: next.map(Timestamp).filter(|due| *due <= now).map(|due| now.since(due)),
    })
}

/// The two counts of a lane are two statements, so their difference may be negative for a moment.
fn positive(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
