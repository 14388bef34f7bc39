//! Webhook endpoints.

use diesel::prelude::*;
use proofmill_contract::{EndpointId, OrganisationId, Timestamp};

use super::backend::{Conn, lock, lock_free};
use super::{breakers, secrets};
use crate::error::StoreError;
use crate::limits::{MAX_ENDPOINTS, sql_limit};
use crate::model::{DeliveryStatus, Endpoint, EndpointUpdate, NewEndpoint, Page, PageRequest};
use crate::rows::{EndpointRow, hours, to_json};
use crate::schema::{deliveries, encryption_keys, organisations, signing_secrets, webhook_endpoints};

pub(crate) fn create(conn: &mut Conn, new: &NewEndpoint, now: Timestamp) -> Result<Endpoint, StoreError> {
    // The organisation's row is held until commit, so that two that are made at once cannot both be the last.
    let organisation = organisations::table.find(new.organisation_id.as_str()).select(organisations::id);
    lock!(organisation).first::<String>(conn).optional()?;
    let endpoints: i64 = webhook_endpoints::table
        .filter(webhook_endpoints::organisation_id.eq(new.organisation_id.as_str()))
        .filter(webhook_endpoints::deleted_at.is_null())
        .count()
        .get_result(conn)?;
    if usize::try_from(endpoints).unwrap_or(usize::MAX) >= MAX_ENDPOINTS {
        return Err(StoreError::TooManyEndpoints(MAX_ENDPOINTS));
    }
    let row = EndpointRow::new(new, now)?;
    diesel::insert_into(webhook_endpoints::table).values(&row).execute(conn)?;
    secrets::insert(conn, &row.id, 1, &new.signing_secret_sealed, now)?;
    row.try_into()
}

pub(crate) fn list(
    conn: &mut Conn,
    organisation: &OrganisationId,
    page: &PageRequest,
) -> Result<Page<Endpoint>, StoreError> {
    let mut query = webhook_endpoints::table
        .filter(webhook_endpoints::organisation_id.eq(organisation.as_str()))
        .filter(webhook_endpoints::deleted_at.is_null())
        .order(webhook_endpoints::id.desc())
        .select(EndpointRow::as_select())
        .into_boxed();
    if let Some(cursor) = &page.starting_after {
        let known =
            webhook_endpoints::table.find(cursor).filter(webhook_endpoints::organisation_id.eq(organisation.as_str()));
        if !diesel::select(diesel::dsl::exists(known)).get_result::<bool>(conn)? {
            return Err(StoreError::InvalidCursor);
        }
        query = query.filter(webhook_endpoints::id.lt(cursor));
    }
    let limit = page.clamped();
    let rows = query.limit(limit as i64 + 1).load(conn)?;
    let items = rows.into_iter().map(Endpoint::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(items, limit, |endpoint| endpoint.id.as_str()))
}

pub(crate) fn get(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &EndpointId,
) -> Result<Option<Endpoint>, StoreError> {
    let row = webhook_endpoints::table
        .find(id.as_str())
        .filter(webhook_endpoints::organisation_id.eq(organisation.as_str()))
        .filter(webhook_endpoints::deleted_at.is_null())
        .select(EndpointRow::as_select())
        .first(conn)
        .optional()?;
    row.map(Endpoint::try_from).transpose()
}

pub(crate) fn update(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &EndpointId,
    update: &EndpointUpdate,
    now: Timestamp,
) -> Result<Option<Endpoint>, StoreError> {
    let Some(before) = lock_row(conn, organisation, id)? else { return Ok(None) };
    let labels = update.labels.as_ref().map(|labels| to_json(labels, "webhook_endpoints.labels")).transpose()?;
    let types = update
        .subscribed_event_types
        .as_ref()
        .map(|types| to_json(types, "webhook_endpoints.subscribed_event_types"))
        .transpose()?;
    diesel::update(webhook_endpoints::table.find(id.as_str()))
        .set((
            update.url.as_ref().map(|url| webhook_endpoints::url.eq(url)),
            update.name.as_ref().map(|name| webhook_endpoints::name.eq(name)),
            labels.map(|labels| webhook_endpoints::labels.eq(labels)),
            types.map(|types| webhook_endpoints::subscribed_event_types.eq(types)),
            update
                .undelivered_payload_retention_hours
                .map(|retention| webhook_endpoints::retention_hours.eq(hours(retention))),
            webhook_endpoints::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    match update.enabled {
        Some(true) if !before.enabled => {
            diesel::update(webhook_endpoints::table.find(id.as_str()))
                .set((webhook_endpoints::enabled.eq(true), webhook_endpoints::disabled_at.eq(None::<i64>)))
                .execute(conn)?;
        }
        Some(false) => disable(conn, id.as_str(), "endpoint_disabled", now)?,
        _ => {}
    }
    if update.enabled.is_some() || update.url.is_some() {
        // Whoever enables it or moves it has mended it: what it did before does not count.
        breakers::close(conn, &[id.as_str()])?;
    }
    get(conn, organisation, id)
}

pub(crate) fn delete(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &EndpointId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if lock_row(conn, organisation, id)?.is_none() {
        return Ok(false);
    }
    // What holds a payload is all that is touched, and all that could still be sent: its history may be long. Kept until
    // commit, so that nothing becomes `pending` between the statements.
    let held = deliveries::endpoint_id.eq(id.as_str()).and(deliveries::payload.is_not_null());
    let rows = deliveries::table.filter(held).order(deliveries::id).select(deliveries::id);
    lock!(rows).load::<String>(conn)?;
    disable(conn, id.as_str(), "endpoint_deleted", now)?;
    breakers::close(conn, &[id.as_str()])?;
    // Nothing can be sent there any more, so nothing is kept for it.
    diesel::update(deliveries::table.filter(held))
        .set((deliveries::payload.eq(None::<String>), deliveries::payload_expires_at.eq(None::<i64>)))
        .execute(conn)?;
    diesel::delete(signing_secrets::table.filter(signing_secrets::endpoint_id.eq(id.as_str()))).execute(conn)?;
    diesel::delete(encryption_keys::table.filter(encryption_keys::endpoint_id.eq(id.as_str()))).execute(conn)?;
    diesel::update(webhook_endpoints::table.find(id.as_str()))
        .set((webhook_endpoints::deleted_at.eq(now.0), webhook_endpoints::updated_at.eq(now.0)))
        .execute(conn)?;
    Ok(true)
}

/// Disables an endpoint, whose row the caller has locked, and ends its pending deliveries; their payloads are kept for its
/// retention, so that they can be retried once it is enabled again. Its breaker is the caller's to close.
pub(super) fn disable(conn: &mut Conn, id: &str, reason: &str, now: Timestamp) -> Result<(), StoreError> {
    diesel::update(webhook_endpoints::table.find(id).filter(webhook_endpoints::enabled.eq(true)))
        .set((
            webhook_endpoints::enabled.eq(false),
            webhook_endpoints::disabled_at.eq(now.0),
            webhook_endpoints::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    let pending = deliveries::endpoint_id.eq(id).and(deliveries::status.eq(DeliveryStatus::Pending.as_str()));
    let rows = deliveries::table.filter(pending).order(deliveries::id).select(deliveries::id);
    lock!(rows).load::<String>(conn)?;
    let retention: i32 = webhook_endpoints::table.find(id).select(webhook_endpoints::retention_hours).first(conn)?;
    diesel::update(deliveries::table.filter(pending)).set(ended(reason, retention, now)).execute(conn)?;
    Ok(())
}

/// Ends deliveries that were written to an endpoint by somebody who read it just before it went. Only those that nobody
/// holds: the caller holds others.
pub(super) fn end_late(conn: &mut Conn, endpoint: &EndpointRow, now: Timestamp) -> Result<(), StoreError> {
    let pending = deliveries::table
        .filter(deliveries::endpoint_id.eq(&endpoint.id))
        .filter(deliveries::status.eq(DeliveryStatus::Pending.as_str()))
        .limit(sql_limit(usize::MAX))
        .select(deliveries::id);
    let pending: Vec<String> = lock_free!(pending).load(conn)?;
    let rows = deliveries::table.filter(deliveries::id.eq_any(pending));
    if endpoint.deleted_at.is_none() {
        diesel::update(rows).set(ended("endpoint_disabled", endpoint.retention_hours, now)).execute(conn)?;
    } else {
        let destroyed = (deliveries::payload.eq(None::<String>), deliveries::payload_expires_at.eq(None::<i64>));
        let ended = (
            deliveries::status.eq(DeliveryStatus::Failed.as_str()),
            deliveries::reason.eq("endpoint_deleted"),
            deliveries::next_attempt_at.eq(None::<i64>),
            deliveries::updated_at.eq(now.0),
        );
        diesel::update(rows).set((ended, destroyed)).execute(conn)?;
    }
    Ok(())
}

#[derive(AsChangeset)]
#[diesel(table_name = deliveries)]
#[diesel(treat_none_as_null = true)]
struct EndedPending<'a> {
    status: &'static str,
    reason: &'a str,
    next_attempt_at: Option<i64>,
    payload_expires_at: i64,
    updated_at: i64,
}

fn ended(reason: &str, retention_hours: i32, now: Timestamp) -> EndedPending<'_> {
    EndedPending {
        status: DeliveryStatus::Failed.as_str(),
        reason,
        next_attempt_at: None,
        payload_expires_at: super::deliveries::retained_until(retention_hours, now),
        updated_at: now.0,
    }
}

/// An endpoint's row, kept until commit.
pub(super) fn lock_row(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &EndpointId,
) -> Result<Option<EndpointRow>, StoreError> {
    let query = webhook_endpoints::table
        .find(id.as_str())
        .filter(webhook_endpoints::organisation_id.eq(organisation.as_str()))
        .filter(webhook_endpoints::deleted_at.is_null())
        .select(EndpointRow::as_select());
    Ok(lock!(query).first(conn).optional()?)
}
