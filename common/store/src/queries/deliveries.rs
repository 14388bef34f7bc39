//! Recording how each try ended, and how long a payload is held after it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use diesel::dsl::min;
use diesel::prelude::*;
use proofmill_contract::Timestamp;

use super::backend::{Conn, lock, lock_free};
use super::breakers;
use super::cancel::WITHDRAWN;
use super::endpoints::disable;
use crate::error::StoreError;
use crate::limits::{DELIVERY_TRIES, longest_schedule, shorten, sql_limit};
use crate::model::{DeliveryOutcome, DeliveryStatus, TryEnded};
use crate::schema::{deliveries, endpoint_breakers, webhook_endpoints};

/// Deliveries whose sender died: tried again unless that was the last try or the payload is gone. Either way the
/// endpoint may have received it.
pub(super) fn reclaim_lost(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    let lost = deliveries::table
        .filter(deliveries::status.eq(DeliveryStatus::Sending.as_str()))
        .filter(deliveries::lease_until.le(now.0))
        .limit(sql_limit(usize::MAX))
        .select(Sending::columns());
    let rows: Vec<Sending> = lock_free!(lost).load::<SendingColumns>(conn)?.into_iter().map(Sending::from).collect();
    let endpoints = receivers(conn, rows.iter().map(|row| row.endpoint_id.as_str()).collect())?;
    for row in &rows {
        let next = if row.tries < DELIVERY_TRIES {
            Next::Again { at: now }
        } else {
            Next::GiveUp { reason: "outcome_unknown".to_owned() }
        };
        let ended = Ended { next, status: None, error: Some("sender_lost".to_owned()), maybe_received: true };
        write(conn, &endpoints, row, ended, now)?;
    }
    Ok(())
}

/// Records how tries ended, in the caller's transaction; for each, whether its lease was still held. Successes, which are
/// many, are written together.
pub(crate) fn record(conn: &mut Conn, ended: &[TryEnded], now: Timestamp) -> Result<Vec<bool>, StoreError> {
    let mut ids: Vec<&str> = ended.iter().map(|ended| ended.id.as_str()).collect();
    ids.sort_unstable();
    let query = deliveries::table.filter(deliveries::id.eq_any(&ids)).order(deliveries::id).select(Sending::columns());
    let held: HashMap<String, Sending> = lock!(query)
        .load::<SendingColumns>(conn)?
        .into_iter()
        .map(|columns| (columns.0.clone(), Sending::from(columns)))
        .collect();
    let endpoints = receivers(conn, held.values().map(|row| row.endpoint_id.as_str()).collect())?;

    let mut delivered: HashMap<Success, Vec<&str>> = HashMap::new();
    let mut health: BTreeMap<&str, Health> = BTreeMap::new();
    let mut recorded = Vec::with_capacity(ended.len());
    for ended in ended {
        let row = held.get(ended.id.as_str()).filter(|row| row.lease_token.as_ref() == Some(&ended.lease_token));
        recorded.push(row.is_some());
        let Some(row) = row else { continue };
        match ended.endpoint_well {
            Some(true) => health.entry(&row.endpoint_id).or_default().well = true,
            Some(false) => health.entry(&row.endpoint_id).or_default().failures += 1,
            None => {}
        }
        match &ended.outcome {
            DeliveryOutcome::Delivered { status } => {
                let retention = receiver(&endpoints, row)?.retention_hours;
                let success = Success { status: *status, retention, payload: row.has_payload };
                delivered.entry(success).or_default().push(&row.id);
            }
            outcome => {
                write(conn, &endpoints, row, Ended::of(outcome), now)?;
                if *outcome == DeliveryOutcome::EndpointGone {
                    disable(conn, &row.endpoint_id, "endpoint_gone", now)?;
                }
            }
        }
    }
    for (success, ids) in delivered {
        write_delivered(conn, success, &ids, now)?;
    }
    let (well, failing): (Vec<_>, Vec<_>) = health.into_iter().partition(|(_, health)| health.well);
    breakers::close(conn, &well.into_iter().map(|(endpoint, _)| endpoint).collect::<Vec<_>>())?;
    for (endpoint, health) in failing {
        breakers::failed(conn, endpoint, health.failures, now)?;
    }
    Ok(recorded)
}

/// What a batch of tries says of an endpoint. One that answered at all is well: the order within a batch means nothing.
#[derive(Default)]
struct Health {
    well: bool,
    failures: usize,
}

/// Successes that one statement writes.
#[derive(PartialEq, Eq, Hash)]
struct Success {
    status: u16,
    retention: i32,
    payload: bool,
}

fn write_delivered(conn: &mut Conn, success: Success, ids: &[&str], now: Timestamp) -> Result<(), StoreError> {
    let kept = success.payload && success.retention > 0;
    diesel::update(deliveries::table.filter(deliveries::id.eq_any(ids)))
        .set((
            deliveries::status.eq(DeliveryStatus::Delivered.as_str()),
            deliveries::reason.eq(None::<String>),
            deliveries::lease_token.eq(None::<String>),
            deliveries::lease_until.eq(None::<i64>),
            (!kept).then_some(deliveries::payload.eq(None::<String>)),
            deliveries::payload_expires_at.eq(kept.then(|| retained_until(success.retention, now))),
            deliveries::delivered_at.eq(now.0),
            // Who asked for another try meanwhile has what they wanted.
            deliveries::retry_requested_at.eq(None::<i64>),
            deliveries::last_status_code.eq(i32::from(success.status)),
            deliveries::last_error.eq(None::<String>),
            deliveries::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    Ok(())
}

/// What has to be known of a delivery that is being sent; its payload stays where it is.
struct Sending {
    id: String,
    endpoint_id: String,
    lease_token: Option<String>,
    has_payload: bool,
    tries: i32,
    maybe_received: bool,
    delivered_before: bool,
    retry_requested: bool,
}

type SendingColumns = (String, String, Option<String>, bool, i32, bool, bool, bool);

impl Sending {
    #[allow(clippy::type_complexity)]
    fn columns() -> (
        deliveries::id,
        deliveries::endpoint_id,
        deliveries::lease_token,
        diesel::dsl::IsNotNull<deliveries::payload>,
        deliveries::tries,
        deliveries::maybe_received,
        diesel::dsl::IsNotNull<deliveries::delivered_at>,
        diesel::dsl::IsNotNull<deliveries::retry_requested_at>,
    ) {
        (
            deliveries::id,
            deliveries::endpoint_id,
            deliveries::lease_token,
            deliveries::payload.is_not_null(),
            deliveries::tries,
            deliveries::maybe_received,
            deliveries::delivered_at.is_not_null(),
            deliveries::retry_requested_at.is_not_null(),
        )
    }
}

impl From<SendingColumns> for Sending {
    fn from(columns: SendingColumns) -> Self {
        let (id, endpoint_id, lease_token, has_payload, tries, maybe_received, delivered_before, retry_requested) =
            columns;
        Self { id, endpoint_id, lease_token, has_payload, tries, maybe_received, delivered_before, retry_requested }
    }
}

/// Of an endpoint, what decides what becomes of a delivery to it.
struct Receiver {
    enabled: bool,
    deleted: bool,
    retention_hours: i32,
}

fn receivers(conn: &mut Conn, mut ids: Vec<&str>) -> Result<HashMap<String, Receiver>, StoreError> {
    ids.sort_unstable();
    ids.dedup();
    let rows: Vec<(String, bool, bool, i32)> = webhook_endpoints::table
        .filter(webhook_endpoints::id.eq_any(ids))
        .select((
            webhook_endpoints::id,
            webhook_endpoints::enabled,
            webhook_endpoints::deleted_at.is_not_null(),
            webhook_endpoints::retention_hours,
        ))
        .load(conn)?;
    let receiver = |(id, enabled, deleted, retention_hours)| (id, Receiver { enabled, deleted, retention_hours });
    Ok(rows.into_iter().map(receiver).collect())
}

fn receiver<'a>(endpoints: &'a HashMap<String, Receiver>, row: &Sending) -> Result<&'a Receiver, StoreError> {
    // A foreign key holds it there.
    endpoints.get(&row.endpoint_id).ok_or(StoreError::Corrupt("deliveries.endpoint_id"))
}

struct Ended {
    next: Next,
    status: Option<u16>,
    error: Option<String>,
    maybe_received: bool,
}

enum Next {
    Done,
    Again {
        at: Timestamp,
    },
    GiveUp {
        reason: String,
    },
    /// The endpoint wants nothing more.
    Gone,
}

impl Ended {
    fn of(outcome: &DeliveryOutcome) -> Self {
        match outcome {
            DeliveryOutcome::Delivered { status } => {
                Self { next: Next::Done, status: Some(*status), error: None, maybe_received: false }
            }
            DeliveryOutcome::Retry { at, status, error, maybe_received } => Self {
                next: Next::Again { at: *at },
                status: *status,
                error: Some(shorten(error)),
                maybe_received: *maybe_received,
            },
            DeliveryOutcome::Failed { reason, status, error, maybe_received } => Self {
                next: Next::GiveUp { reason: shorten(reason) },
                status: *status,
                error: error.as_deref().map(shorten),
                maybe_received: *maybe_received,
            },
            DeliveryOutcome::EndpointGone => {
                Self { next: Next::Gone, status: Some(410), error: None, maybe_received: false }
            }
        }
    }
}

/// Writes how a try ended to a row that is `sending` and locked.
fn write(
    conn: &mut Conn,
    endpoints: &HashMap<String, Receiver>,
    row: &Sending,
    ended: Ended,
    now: Timestamp,
) -> Result<(), StoreError> {
    let endpoint = receiver(endpoints, row)?;
    // As if it had been asked for just after this try.
    let afresh = row.retry_requested
        && row.has_payload
        && endpoint.enabled
        && !endpoint.deleted
        && matches!(ended.next, Next::Again { .. } | Next::GiveUp { .. });
    let next = match ended.next {
        _ if afresh => Next::Again { at: now },
        // As the endpoint went while this was under way, no sender would ever claim it.
        Next::Again { .. } if endpoint.deleted => Next::GiveUp { reason: "endpoint_deleted".to_owned() },
        // A withdrawal came in between: there is nothing left to send.
        Next::Again { .. } | Next::GiveUp { .. } if !row.has_payload && row.delivered_before => Next::Done,
        Next::Again { .. } if !row.has_payload => Next::GiveUp { reason: WITHDRAWN.to_owned() },
        Next::Again { .. } if !endpoint.enabled => Next::GiveUp { reason: "endpoint_disabled".to_owned() },
        next => next,
    };
    let (status, reason, at) = match next {
        Next::Done => (DeliveryStatus::Delivered, None, None),
        Next::Again { at } => (DeliveryStatus::Pending, None, Some(at.0)),
        Next::GiveUp { reason } => (DeliveryStatus::Failed, Some(reason), None),
        Next::Gone => (DeliveryStatus::Failed, Some("endpoint_gone".to_owned()), None),
    };
    let kept = row.has_payload && (at.is_some() || endpoint.retention_hours > 0);
    let expires = (kept && at.is_none()).then(|| retained_until(endpoint.retention_hours, now));
    diesel::update(deliveries::table.find(&row.id))
        .set((
            deliveries::status.eq(status.as_str()),
            deliveries::reason.eq(reason),
            deliveries::next_attempt_at.eq(at),
            deliveries::lease_token.eq(None::<String>),
            deliveries::lease_until.eq(None::<i64>),
            (!kept).then_some(deliveries::payload.eq(None::<String>)),
            deliveries::payload_expires_at.eq(expires),
            (status == DeliveryStatus::Delivered && !row.delivered_before)
                .then_some(deliveries::delivered_at.eq(now.0)),
            deliveries::retry_requested_at.eq(None::<i64>),
            afresh.then_some((deliveries::tries.eq(0), deliveries::give_up_at.eq(now.plus(longest_schedule()).0))),
            deliveries::maybe_received.eq(row.maybe_received || ended.maybe_received),
            deliveries::last_status_code.eq(ended.status.map(i32::from)),
            deliveries::last_error.eq(ended.error),
            deliveries::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    Ok(())
}

/// When a payload whose delivery ended now is to be destroyed.
pub(super) fn retained_until(retention_hours: i32, now: Timestamp) -> i64 {
    now.plus(Duration::from_secs(u64::try_from(retention_hours).unwrap_or(0) * 60 * 60)).0
}

/// Ends deliveries that an open breaker has held back for as long as their whole schedule takes: their endpoint answered
/// nobody in all that time, and a payload is not to be held for ever.
pub(crate) fn give_up(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let open = endpoint_breakers::table
        .filter(endpoint_breakers::open_until.is_not_null())
        .select(endpoint_breakers::endpoint_id);
    let over = deliveries::table
        .filter(deliveries::status.eq(DeliveryStatus::Pending.as_str()))
        .filter(deliveries::endpoint_id.eq_any(open))
        .filter(deliveries::give_up_at.le(now.0))
        .limit(sql_limit(limit))
        .select((deliveries::id, deliveries::endpoint_id));
    let over: Vec<(String, String)> = lock_free!(over).load(conn)?;
    let endpoints = receivers(conn, over.iter().map(|(_, endpoint)| endpoint.as_str()).collect())?;
    let mut by_retention: BTreeMap<i32, Vec<&str>> = BTreeMap::new();
    for (id, endpoint) in &over {
        let retention = endpoints.get(endpoint).map_or(0, |endpoint| endpoint.retention_hours);
        by_retention.entry(retention).or_default().push(id);
    }
    for (retention, ids) in by_retention {
        diesel::update(deliveries::table.filter(deliveries::id.eq_any(&ids)))
            .set((
                deliveries::status.eq(DeliveryStatus::Failed.as_str()),
                deliveries::reason.eq("schedule_exhausted"),
                deliveries::last_error.eq("breaker_open"),
                deliveries::next_attempt_at.eq(None::<i64>),
                deliveries::payload_expires_at.eq(retained_until(retention, now)),
                deliveries::updated_at.eq(now.0),
            ))
            .execute(conn)?;
    }
    Ok(over.len())
}

pub(crate) fn next_due(conn: &mut Conn) -> Result<Option<Timestamp>, StoreError> {
    let next: Option<i64> = deliveries::table
        .filter(deliveries::status.eq(DeliveryStatus::Pending.as_str()))
        .select(min(deliveries::next_attempt_at))
        .first(conn)?;
    Ok(next.map(Timestamp))
}

pub(crate) fn scrub_payloads(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let over = deliveries::table
        .filter(deliveries::payload.is_not_null())
        .filter(deliveries::payload_expires_at.le(now.0))
        .limit(sql_limit(limit))
        .select(deliveries::id);
    let ids: Vec<String> = lock_free!(over).load(conn)?;
    if ids.is_empty() {
        return Ok(0);
    }
    Ok(diesel::update(deliveries::table.filter(deliveries::id.eq_any(&ids)))
        .set((deliveries::payload.eq(None::<String>), deliveries::payload_expires_at.eq(None::<i64>)))
        .execute(conn)?)
}
