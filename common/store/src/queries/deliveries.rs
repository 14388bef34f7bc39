//! Claiming deliveries that are due, and recording how each try ended.

use std::collections::HashMap;
use std::time::Duration;

use diesel::dsl::{count_star, exists, min};
use diesel::prelude::*;
use proofmill_contract::{DeliveryId, Timestamp};
use rand::seq::SliceRandom;

use super::backend::{Conn, lock, lock_free};
use super::cancel::WITHDRAWN;
use super::endpoints::disable;
use super::secrets;
use crate::error::StoreError;
use crate::limits::{DELIVERY_TRIES, lease_token, shorten, sql_limit};
use crate::model::{DeliveryOutcome, DeliveryStatus, DueDelivery};
use crate::rows::{DeliveryRow, EndpointRow, count, parse};
use crate::schema::{deliveries, webhook_endpoints};

pub(crate) fn claim_due(
    conn: &mut Conn,
    limit: usize,
    per_endpoint_cap: usize,
    lease_for: Duration,
    now: Timestamp,
) -> Result<Vec<DueDelivery>, StoreError> {
    reclaim_lost(conn, now)?;

    // Endpoints, not deliveries: however many a slow endpoint has waiting, it costs one probe of an index.
    let due = deliveries::table
        .filter(deliveries::endpoint_id.eq(webhook_endpoints::id))
        .filter(deliveries::status.eq(DeliveryStatus::Pending.as_str()))
        .filter(deliveries::next_attempt_at.le(now.0));
    let query = webhook_endpoints::table
        .filter(webhook_endpoints::enabled.eq(true))
        .filter(webhook_endpoints::deleted_at.is_null())
        .filter(exists(due))
        .select(EndpointRow::as_select());
    // Their rows are held until commit, so that two senders cannot fill one endpoint's cap twice; a sender skips
    // those that another is just claiming.
    let mut endpoints: Vec<EndpointRow> = lock_free!(query).load(conn)?;
    if endpoints.is_empty() {
        return Ok(Vec::new());
    }
    // A random order: with a fixed one the last endpoints would starve whenever the limit is reached.
    endpoints.shuffle(&mut rand::rng());
    let in_flight: HashMap<String, i64> = deliveries::table
        .filter(deliveries::status.eq(DeliveryStatus::Sending.as_str()))
        .group_by(deliveries::endpoint_id)
        .select((deliveries::endpoint_id, count_star()))
        .load::<(String, i64)>(conn)?
        .into_iter()
        .collect();

    let token = lease_token();
    let mut claimed = Vec::new();
    for endpoint in endpoints {
        let busy = in_flight.get(&endpoint.id).copied().unwrap_or(0);
        let free = sql_limit(per_endpoint_cap).saturating_sub(busy).min(sql_limit(limit - claimed.len()));
        if free > 0 {
            claimed.extend(claim(conn, &endpoint, free, &token, now.plus(lease_for), now)?);
        }
        if claimed.len() >= limit {
            break;
        }
    }
    with_secrets(conn, claimed, token, now)
}

/// Marks up to `free` due deliveries of one endpoint as `sending`.
fn claim(
    conn: &mut Conn,
    endpoint: &EndpointRow,
    free: i64,
    token: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<Vec<(DeliveryRow, String)>, StoreError> {
    let due = deliveries::table
        .filter(deliveries::endpoint_id.eq(&endpoint.id))
        .filter(deliveries::status.eq(DeliveryStatus::Pending.as_str()))
        .filter(deliveries::next_attempt_at.le(now.0))
        .order(deliveries::next_attempt_at)
        .limit(free)
        .select(deliveries::id);
    let ids: Vec<String> = lock_free!(due).load(conn)?;
    let rows: Vec<DeliveryRow> = diesel::update(deliveries::table.filter(deliveries::id.eq_any(&ids)))
        .set((
            deliveries::status.eq(DeliveryStatus::Sending.as_str()),
            deliveries::next_attempt_at.eq(None::<i64>),
            deliveries::tries.eq(deliveries::tries + 1),
            deliveries::lease_token.eq(token),
            deliveries::lease_until.eq(until.0),
            deliveries::updated_at.eq(now.0),
        ))
        .returning(DeliveryRow::as_returning())
        .get_results(conn)?;
    Ok(rows.into_iter().map(|row| (row, endpoint.url.clone())).collect())
}

fn with_secrets(
    conn: &mut Conn,
    claimed: Vec<(DeliveryRow, String)>,
    token: String,
    now: Timestamp,
) -> Result<Vec<DueDelivery>, StoreError> {
    let mut endpoints: Vec<&str> = claimed.iter().map(|(row, _)| row.endpoint_id.as_str()).collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    let mut sealed: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    for secret in secrets::valid(conn, &endpoints, now)? {
        sealed.entry(secret.endpoint_id).or_default().push(secret.sealed);
    }
    claimed
        .into_iter()
        .map(|(row, url)| {
            Ok(DueDelivery {
                id: parse(&row.id, "deliveries.id")?,
                lease_token: token.clone(),
                event_id: parse(&row.event_id, "deliveries.event_id")?,
                event_type: parse(&row.event_type, "deliveries.event_type")?,
                secrets_sealed: sealed.get(&row.endpoint_id).cloned().unwrap_or_default(),
                endpoint_id: parse(&row.endpoint_id, "deliveries.endpoint_id")?,
                organisation_id: parse(&row.organisation_id, "deliveries.organisation_id")?,
                url,
                payload: row.payload.ok_or(StoreError::Corrupt("deliveries.payload"))?,
                try_number: count(row.tries, "deliveries.tries")?,
            })
        })
        .collect()
}

/// Deliveries whose sender died: tried again unless that was the last try or the payload is gone. Either way the
/// endpoint may have received it.
fn reclaim_lost(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    let lost = deliveries::table
        .filter(deliveries::status.eq(DeliveryStatus::Sending.as_str()))
        .filter(deliveries::lease_until.le(now.0))
        .limit(sql_limit(usize::MAX))
        .select(DeliveryRow::as_select());
    let rows: Vec<DeliveryRow> = lock_free!(lost).load(conn)?;
    for row in rows {
        let next = if row.tries < DELIVERY_TRIES {
            Next::Again { at: now }
        } else {
            Next::GiveUp { reason: "outcome_unknown".to_owned() }
        };
        let ended = Ended { next, status: None, error: Some("sender_lost".to_owned()), maybe_received: true };
        write(conn, &row, ended, now)?;
    }
    Ok(())
}

pub(crate) fn record(
    conn: &mut Conn,
    id: &DeliveryId,
    token: &str,
    outcome: &DeliveryOutcome,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let query =
        deliveries::table.find(id.as_str()).filter(deliveries::lease_token.eq(token)).select(DeliveryRow::as_select());
    let Some(row) = lock!(query).first(conn).optional()? else { return Ok(false) };
    let ended = match outcome {
        DeliveryOutcome::Delivered { status } => {
            Ended { next: Next::Done, status: Some(*status), error: None, maybe_received: false }
        }
        DeliveryOutcome::Retry { at, status, error, maybe_received } => Ended {
            next: Next::Again { at: *at },
            status: *status,
            error: Some(shorten(error)),
            maybe_received: *maybe_received,
        },
        DeliveryOutcome::Failed { reason, status, maybe_received } => Ended {
            next: Next::GiveUp { reason: shorten(reason) },
            status: *status,
            error: None,
            maybe_received: *maybe_received,
        },
        DeliveryOutcome::EndpointGone => Ended {
            next: Next::GiveUp { reason: "endpoint_gone".to_owned() },
            status: Some(410),
            error: None,
            maybe_received: false,
        },
    };
    write(conn, &row, ended, now)?;
    if *outcome == DeliveryOutcome::EndpointGone {
        disable(conn, &row.endpoint_id, "endpoint_gone", now)?;
    }
    Ok(true)
}

struct Ended {
    next: Next,
    status: Option<u16>,
    error: Option<String>,
    maybe_received: bool,
}

enum Next {
    Done,
    Again { at: Timestamp },
    GiveUp { reason: String },
}

/// Writes how a try ended to a row that is `sending` and locked.
fn write(conn: &mut Conn, row: &DeliveryRow, ended: Ended, now: Timestamp) -> Result<(), StoreError> {
    let next = match ended.next {
        // A withdrawal came in between: there is nothing left to send.
        Next::Again { .. } if row.payload.is_none() => Next::GiveUp { reason: WITHDRAWN.to_owned() },
        // As the endpoint was disabled while this was under way, no sender would ever claim it.
        Next::Again { .. } if !endpoint_receives(conn, &row.endpoint_id)? => {
            Next::GiveUp { reason: "endpoint_disabled".to_owned() }
        }
        next => next,
    };
    let (status, reason, at) = match next {
        Next::Done => (DeliveryStatus::Delivered, None, None),
        Next::Again { at } => (DeliveryStatus::Pending, None, Some(at.0)),
        Next::GiveUp { reason } => (DeliveryStatus::Failed, Some(reason), None),
    };
    let delivered_at = if status == DeliveryStatus::Delivered { Some(now.0) } else { row.delivered_at };
    let (payload, payload_expires_at) = match (&row.payload, at) {
        (None, _) => (None, None),
        (Some(payload), Some(_)) => (Some(payload), None),
        (Some(payload), None) => {
            let retention: i32 = webhook_endpoints::table
                .find(&row.endpoint_id)
                .select(webhook_endpoints::retention_hours)
                .first(conn)?;
            if retention == 0 { (None, None) } else { (Some(payload), Some(retained_until(retention, now))) }
        }
    };
    diesel::update(deliveries::table.find(&row.id))
        .set((
            deliveries::status.eq(status.as_str()),
            deliveries::reason.eq(reason),
            deliveries::next_attempt_at.eq(at),
            deliveries::lease_token.eq(None::<String>),
            deliveries::lease_until.eq(None::<i64>),
            deliveries::payload.eq(payload),
            deliveries::payload_expires_at.eq(payload_expires_at),
            deliveries::delivered_at.eq(delivered_at),
            deliveries::maybe_received.eq(row.maybe_received || ended.maybe_received),
            deliveries::last_status_code.eq(ended.status.map(i32::from)),
            deliveries::last_error.eq(ended.error),
            deliveries::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    Ok(())
}

fn endpoint_receives(conn: &mut Conn, id: &str) -> Result<bool, StoreError> {
    let receiving = webhook_endpoints::table
        .find(id)
        .filter(webhook_endpoints::enabled.eq(true))
        .filter(webhook_endpoints::deleted_at.is_null());
    Ok(diesel::select(exists(receiving)).get_result(conn)?)
}

/// When a payload whose delivery ended now is to be destroyed.
pub(super) fn retained_until(retention_hours: i32, now: Timestamp) -> i64 {
    now.plus(Duration::from_secs(u64::try_from(retention_hours).unwrap_or(0) * 60 * 60)).0
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
