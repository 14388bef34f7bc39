//! Webhook endpoints.

use diesel::prelude::*;
use proofmill_contract::{EndpointId, OrganisationId, Timestamp};

use super::backend::{Conn, lock};
use super::{breakers, secrets};
use crate::error::StoreError;
use crate::limits::MAX_ENDPOINTS;
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
    if update.enabled == Some(true) || update.url.is_some() {
        // Whoever says so has mended it: what it did before does not count.
        breakers::close(conn, &[id.as_str()])?;
    }
    match update.enabled {
        Some(true) if !before.enabled => {
            diesel::update(webhook_endpoints::table.find(id.as_str()))
                .set((webhook_endpoints::enabled.eq(true), webhook_endpoints::disabled_at.eq(None::<i64>)))
                .execute(conn)?;
        }
        Some(false) => disable(conn, id.as_str(), "endpoint_disabled", now)?,
        _ => {}
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
    disable(conn, id.as_str(), "endpoint_deleted", now)?;
    // Nothing can be sent there any more, so nothing is kept for it.
    diesel::update(deliveries::table.filter(deliveries::endpoint_id.eq(id.as_str())))
        .set((deliveries::payload.eq(None::<String>), deliveries::payload_expires_at.eq(None::<i64>)))
        .execute(conn)?;
    diesel::delete(signing_secrets::table.filter(signing_secrets::endpoint_id.eq(id.as_str()))).execute(conn)?;
    diesel::delete(encryption_keys::table.filter(encryption_keys::endpoint_id.eq(id.as_str()))).execute(conn)?;
    diesel::update(webhook_endpoints::table.find(id.as_str()))
        .set((webhook_endpoints::deleted_at.eq(now.0), webhook_endpoints::updated_at.eq(now.0)))
        .execute(conn)?;
    Ok(true)
}

/// Disables an endpoint and ends its pending deliveries; their payloads are kept for its retention, so that they can
/// be retried once it is enabled again.
pub(super) fn disable(conn: &mut Conn, id: &str, reason: &str, now: Timestamp) -> Result<(), StoreError> {
    diesel::update(webhook_endpoints::table.find(id).filter(webhook_endpoints::enabled.eq(true)))
        .set((
            webhook_endpoints::enabled.eq(false),
            webhook_endpoints::disabled_at.eq(now.0),
            webhook_endpoints::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    breakers::close(conn, &[id])?;
    let retention: i32 = webhook_endpoints::table.find(id).select(webhook_endpoints::retention_hours).first(conn)?;
    let pending = deliveries::endpoint_id.eq(id).and(deliveries::status.eq(DeliveryStatus::Pending.as_str()));
    diesel::update(deliveries::table.filter(pending))
        .set((
            deliveries::status.eq(DeliveryStatus::Failed.as_str()),
            deliveries::reason.eq(reason),
            deliveries::next_attempt_at.eq(None::<i64>),
            deliveries::payload_expires_at.eq(super::deliveries::retained_until(retention, now)),
            deliveries::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    Ok(())
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
