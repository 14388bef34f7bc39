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
use crate::schema::{deliveries, webhook_endpoints};

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
/// many, are written together. Endpoints are locked first where it matters, then deliveries, then breakers, each by id.
pub(crate) fn record(conn: &mut Conn, ended: &[TryEnded], now: Timestamp) -> Result<Vec<bool>, StoreError> {
    let gone = lock_accused(conn, ended)?;
    let held = lock_sending(conn, ended, &gone)?;
    let endpoints = receivers(conn, held.values().map(|row| row.endpoint_id.as_str()).collect())?;

    let mut delivered: HashMap<Success, Vec<&str>> = HashMap::new();
    let mut health: BTreeMap<&str, Health> = BTreeMap::new();
    let mut recorded = Vec::with_capacity(ended.len());
    for ended in ended {
        let row = held.get(ended.id.as_str()).filter(|row| row.lease_token.as_ref() == Some(&ended.lease_token));
        recorded.push(row.is_some());
        let Some(row) = row else { continue };
        let receiver = receiver(&endpoints, row)?;
        // What was sent to a URL that the endpoint has no more says nothing of the one that it has.
        let there = ended.sent_to.as_ref().is_none_or(|url| *url == receiver.url);
        match ended.endpoint_well.filter(|_| there) {
            Some(true) => health.entry(&row.endpoint_id).or_default().well = true,
            Some(false) => health.entry(&row.endpoint_id).or_default().failures += 1,
            None => {}
        }
        match &ended.outcome {
            DeliveryOutcome::Delivered { status } => {
                let success =
                    Success { status: *status, retention: receiver.retention_hours, payload: row.has_payload };
                delivered.entry(success).or_default().push(&row.id);
            }
            DeliveryOutcome::EndpointGone if !there => write(conn, &endpoints, row, Ended::moved(now), now)?,
            outcome => {
                write(conn, &endpoints, row, Ended::of(outcome), now)?;
                if *outcome == DeliveryOutcome::EndpointGone {
                    health.entry(&row.endpoint_id).or_default().gone = true;
                }
            }
        }
    }
    for (success, ids) in delivered {
        write_delivered(conn, success, &ids, now)?;
    }
    learn(conn, health, now)?;
    Ok(recorded)
}

/// Keeps the rows of endpoints of which these tries say that they are gone or not well: neither their URL nor their state
/// changes before what is said of them is written. Gives back those that are said to be gone.
fn lock_accused(conn: &mut Conn, ended: &[TryEnded]) -> Result<Vec<String>, StoreError> {
    let is_gone = |ended: &TryEnded| ended.outcome == DeliveryOutcome::EndpointGone;
    let accusing = ended.iter().filter(|ended| is_gone(ended) || ended.endpoint_well == Some(false));
    let accusing: HashMap<&str, bool> = accusing.map(|ended| (ended.id.as_str(), is_gone(ended))).collect();
    if accusing.is_empty() {
        return Ok(Vec::new());
    }
    // A delivery never changes its endpoint.
    let of: Vec<(String, String)> = deliveries::table
        .filter(deliveries::id.eq_any(accusing.keys()))
        .select((deliveries::id, deliveries::endpoint_id))
        .load(conn)?;
    let query = webhook_endpoints::table
        .filter(webhook_endpoints::id.eq_any(of.iter().map(|(_, endpoint)| endpoint)))
        .order(webhook_endpoints::id)
        .select(webhook_endpoints::id);
    lock!(query).load::<String>(conn)?;
    let gone = of.into_iter().filter(|(id, _)| accusing.get(id.as_str()) == Some(&true));
    Ok(gone.map(|(_, endpoint)| endpoint).collect())
}

/// Keeps the rows of these tries until commit, and with them what waits for endpoints that are gone: one order for all.
fn lock_sending(conn: &mut Conn, ended: &[TryEnded], gone: &[String]) -> Result<HashMap<String, Sending>, StoreError> {
    let ids: Vec<&str> = ended.iter().map(|ended| ended.id.as_str()).collect();
    let of_these = deliveries::id.eq_any(&ids);
    let columns: Vec<SendingColumns> = if gone.is_empty() {
        lock!(deliveries::table.filter(of_these).order(deliveries::id).select(Sending::columns())).load(conn)?
    } else {
        let pending = deliveries::status.eq(DeliveryStatus::Pending.as_str());
        let waiting = deliveries::endpoint_id.eq_any(gone).and(pending);
        let query = deliveries::table.filter(of_these.or(waiting)).order(deliveries::id).select(Sending::columns());
        lock!(query).load(conn)?
    };
    Ok(columns.into_iter().map(|columns| (columns.0.clone(), Sending::from(columns))).collect())
}

/// Writes what a batch of tries says of endpoints.
fn learn(conn: &mut Conn, health: BTreeMap<&str, Health>, now: Timestamp) -> Result<(), StoreError> {
    for (endpoint, _) in health.iter().filter(|(_, health)| health.gone) {
        disable(conn, endpoint, "endpoint_gone", now)?;
    }
    if health.len() > 1 {
        breakers::lock_all(conn, &health.keys().copied().collect::<Vec<_>>())?;
    }
    let (closing, failing): (Vec<_>, Vec<_>) = health.into_iter().partition(|(_, health)| health.well || health.gone);
    breakers::close(conn, &closing.into_iter().map(|(endpoint, _)| endpoint).collect::<Vec<_>>())?;
    for (endpoint, health) in failing {
        breakers::failed(conn, endpoint, health.failures, now)?;
    }
    Ok(())
}

/// What a batch of tries says of an endpoint. One that answered at all is well: the order within a batch means nothing.
#[derive(Default)]
struct Health {
    well: bool,
    gone: bool,
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
    url: String,
    enabled: bool,
    deleted: bool,
    retention_hours: i32,
}

fn receivers(conn: &mut Conn, mut ids: Vec<&str>) -> Result<HashMap<String, Receiver>, StoreError> {
    ids.sort_unstable();
    ids.dedup();
    let rows: Vec<(String, String, bool, bool, i32)> = webhook_endpoints::table
        .filter(webhook_endpoints::id.eq_any(ids))
        .select((
            webhook_endpoints::id,
            webhook_endpoints::url,
            webhook_endpoints::enabled,
            webhook_endpoints::deleted_at.is_not_null(),
            webhook_endpoints::retention_hours,
        ))
        .load(conn)?;
    let receiver =
        |(id, url, enabled, deleted, retention_hours)| (id, Receiver { url, enabled, deleted, retention_hours });
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
    /// The URL that it was sent to is gone, and the endpoint has another one by now.
    fn moved(now: Timestamp) -> Self {
        let error = Some("former_url_gone".to_owned());
        Self { next: Next::Again { at: now }, status: Some(410), error, maybe_received: false }
    }

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
    now.plus(hours(retention_hours)).0
}

fn hours(hours: i32) -> Duration {
    Duration::from_secs(u64::try_from(hours).unwrap_or(0) * 60 * 60)
}

/// Until when a `give_up_at` of an endpoint's deliveries must lie for their payload's life to be over: after the longest
/// schedule they are held for as long as the endpoint keeps what was not delivered.
pub(super) fn life_over(retention_hours: i32, now: Timestamp) -> i64 {
    now.minus(hours(retention_hours)).0
}

/// Ends deliveries that an open breaker holds back and whose payload's life is over. None ends without a try: those that had
/// none are marked at their endpoint, claimed once, and end after that.
pub(crate) fn give_up(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let open = breakers::not_closed(conn)?;
    let mut by_retention: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for (endpoint, receiver) in receivers(conn, open.iter().map(String::as_str).collect())? {
        by_retention.entry(receiver.retention_hours).or_default().push(endpoint);
    }
    let mut ended = 0;
    let mut untried: Vec<String> = Vec::new();
    for (retention, endpoints) in &by_retention {
        let over = || {
            deliveries::status
                .eq(DeliveryStatus::Pending.as_str())
                .and(deliveries::endpoint_id.eq_any(endpoints))
                .and(deliveries::give_up_at.le(life_over(*retention, now)))
        };
        let tried = deliveries::table
            .filter(over().and(deliveries::tries.gt(0)))
            .limit(sql_limit(limit - ended))
            .select(deliveries::id);
        let tried: Vec<String> = lock_free!(tried).load(conn)?;
        diesel::update(deliveries::table.filter(deliveries::id.eq_any(&tried)))
            .set((
                deliveries::status.eq(DeliveryStatus::Failed.as_str()),
                deliveries::reason.eq("schedule_exhausted"),
                deliveries::last_error.eq("breaker_open"),
                deliveries::next_attempt_at.eq(None::<i64>),
                deliveries::payload_expires_at.eq(retained_until(*retention, now)),
                deliveries::updated_at.eq(now.0),
            ))
            .execute(conn)?;
        ended += tried.len();
        let of: Vec<String> = deliveries::table
            .filter(over().and(deliveries::tries.eq(0)))
            .select(deliveries::endpoint_id)
            .distinct()
            .load(conn)?;
        untried.extend(of);
    }
    breakers::allow_last_tries(conn, &untried)?;
    Ok(ended)
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
