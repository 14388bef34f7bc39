//! Lists of events and deliveries, retry and replay.

use diesel::prelude::*;
use proofmill_contract::{DeliveryId, EventId, OrganisationId, Timestamp};

use super::backend::{Conn, lock};
use crate::error::StoreError;
use crate::limits::longest_schedule;
use crate::model::{
    Delivery, DeliveryFilter, DeliveryStatus, Event, EventFilter, Page, PageRequest, ReplayResult, RetryResult,
};
use crate::rows::{EventRow, ListedDelivery};
use crate::schema::{deliveries, events, webhook_endpoints};

pub(crate) fn list(
    conn: &mut Conn,
    organisation: &OrganisationId,
    filter: &EventFilter,
    page: &PageRequest,
) -> Result<Page<Event>, StoreError> {
    let mut query = events::table
        .filter(events::organisation_id.eq(organisation.as_str()))
        .order(events::id.desc())
        .select(EventRow::as_select())
        .into_boxed();
    if let Some(cursor) = &page.starting_after {
        let known = events::table.find(cursor).filter(events::organisation_id.eq(organisation.as_str()));
        if !diesel::select(diesel::dsl::exists(known)).get_result::<bool>(conn)? {
            return Err(StoreError::InvalidCursor);
        }
        query = query.filter(events::id.lt(cursor));
    }
    if let Some(event_type) = filter.event_type {
        query = query.filter(events::event_type.eq(event_type.as_str()));
    }
    // The bounds of the ids say the same more coarsely, and the index knows them.
    if let Some(from) = filter.created_from {
        query = query.filter(events::created_at.ge(from.0)).filter(events::id.ge(EventId::earliest(from)));
    }
    if let Some(to) = filter.created_to {
        let after = to.next_millisecond();
        query = query.filter(events::created_at.lt(after.0)).filter(events::id.lt(EventId::earliest(after)));
    }
    let limit = page.clamped();
    let rows = query.limit(limit as i64 + 1).load(conn)?;
    let items = rows.into_iter().map(Event::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(items, limit, |event| event.id.as_str()))
}

pub(crate) fn get(conn: &mut Conn, organisation: &OrganisationId, id: &EventId) -> Result<Option<Event>, StoreError> {
    let row = events::table
        .find(id.as_str())
        .filter(events::organisation_id.eq(organisation.as_str()))
        .select(EventRow::as_select())
        .first(conn)
        .optional()?;
    row.map(Event::try_from).transpose()
}

pub(crate) fn list_deliveries(
    conn: &mut Conn,
    organisation: &OrganisationId,
    filter: &DeliveryFilter,
    page: &PageRequest,
) -> Result<Page<Delivery>, StoreError> {
    let mut query = deliveries::table
        .filter(deliveries::organisation_id.eq(organisation.as_str()))
        .order(deliveries::id.desc())
        .select(ListedDelivery::as_select())
        .into_boxed();
    if let Some(cursor) = &page.starting_after {
        let known = deliveries::table.find(cursor).filter(deliveries::organisation_id.eq(organisation.as_str()));
        if !diesel::select(diesel::dsl::exists(known)).get_result::<bool>(conn)? {
            return Err(StoreError::InvalidCursor);
        }
        query = query.filter(deliveries::id.lt(cursor));
    }
    if let Some(status) = filter.status {
        query = query.filter(deliveries::status.eq(status.as_str()));
    }
    if let Some(endpoint) = &filter.endpoint_id {
        query = query.filter(deliveries::endpoint_id.eq(endpoint.as_str()));
    }
    if let Some(event) = &filter.event_id {
        query = query.filter(deliveries::event_id.eq(event.as_str()));
    }
    let limit = page.clamped();
    let rows = query.limit(limit as i64 + 1).load(conn)?;
    let items = rows.into_iter().map(Delivery::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(items, limit, |delivery| delivery.id.as_str()))
}

pub(crate) fn retry_delivery(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &DeliveryId,
    now: Timestamp,
) -> Result<RetryResult, StoreError> {
    let query = deliveries::table
        .find(id.as_str())
        .filter(deliveries::organisation_id.eq(organisation.as_str()))
        .select(ListedDelivery::as_select());
    let Some(row) = lock!(query).first(conn).optional()? else { return Ok(RetryResult::NotFound) };
    if !row.has_payload {
        return Ok(RetryResult::PayloadExpired);
    }
    if !receiving(conn, &[row.endpoint_id.as_str()])?.contains(&row.endpoint_id) {
        return Ok(RetryResult::EndpointUnavailable);
    }
    make_due(conn, &[row.id.as_str()], now)?;
    let row: ListedDelivery = deliveries::table.find(&row.id).select(ListedDelivery::as_select()).first(conn)?;
    row.try_into().map(RetryResult::Retried)
}

pub(crate) fn replay(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &EventId,
    now: Timestamp,
) -> Result<ReplayResult, StoreError> {
    if get(conn, organisation, id)?.is_none() {
        return Ok(ReplayResult::NotFound);
    }
    let query = deliveries::table.filter(deliveries::event_id.eq(id.as_str())).order(deliveries::id).select((
        deliveries::id,
        deliveries::endpoint_id,
        deliveries::payload.is_not_null(),
    ));
    let rows: Vec<(String, String, bool)> = lock!(query).load(conn)?;
    let sendable: Vec<(&str, &str)> =
        rows.iter().filter(|row| row.2).map(|(id, endpoint, _)| (id.as_str(), endpoint.as_str())).collect();
    let receiving = receiving(conn, &sendable.iter().map(|(_, endpoint)| *endpoint).collect::<Vec<_>>())?;
    let receives = |endpoint: &str| receiving.iter().any(|id| id == endpoint);
    let again: Vec<&str> = sendable.iter().filter(|(_, endpoint)| receives(endpoint)).map(|(id, _)| *id).collect();
    if sendable.is_empty() {
        return Ok(ReplayResult::PayloadExpired);
    }
    make_due(conn, &again, now).map(ReplayResult::Replayed)
}

/// A fresh schedule that begins now; the payload is then held until that schedule ends. For those being sent at this
/// moment it begins when that try has failed.
fn make_due(conn: &mut Conn, ids: &[&str], now: Timestamp) -> Result<usize, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let sending = deliveries::status.eq(DeliveryStatus::Sending.as_str());
    let noted = diesel::update(deliveries::table.filter(deliveries::id.eq_any(ids).and(sending)))
        .set((deliveries::retry_requested_at.eq(now.0), deliveries::updated_at.eq(now.0)))
        .execute(conn)?;
    let idle = deliveries::status.ne(DeliveryStatus::Sending.as_str());
    let due = diesel::update(deliveries::table.filter(deliveries::id.eq_any(ids).and(idle)))
        .set((
            deliveries::status.eq(DeliveryStatus::Pending.as_str()),
            deliveries::reason.eq(None::<String>),
            deliveries::tries.eq(0),
            deliveries::next_attempt_at.eq(now.0),
            deliveries::payload_expires_at.eq(None::<i64>),
            deliveries::give_up_at.eq(now.plus(longest_schedule()).0),
            deliveries::retry_requested_at.eq(None::<i64>),
            deliveries::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    Ok(noted + due)
}

/// Of these endpoints, those that receive.
fn receiving(conn: &mut Conn, ids: &[&str]) -> Result<Vec<String>, StoreError> {
    Ok(webhook_endpoints::table
        .filter(webhook_endpoints::id.eq_any(ids))
        .filter(webhook_endpoints::enabled.eq(true))
        .filter(webhook_endpoints::deleted_at.is_null())
        .select(webhook_endpoints::id)
        .load(conn)?)
}
