//! Signing secrets and encryption keys of endpoints.

use diesel::dsl::max;
use diesel::prelude::*;
use proofmill_contract::limits::SECRET_OVERLAP;
use proofmill_contract::{EncryptionKeyId, EndpointId, OrganisationId, Timestamp};

use super::backend::Conn;
use super::endpoints;
use crate::error::StoreError;
use crate::limits::MAX_SIGNING_SECRETS;
use crate::model::{NewWebhookKey, Page, PageRequest, SigningSecrets, WebhookKey};
use crate::rows::{SecretRow, WebhookKeyRow, parse, time};
use crate::schema::{encryption_keys, signing_secrets};

pub(crate) fn get(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &EndpointId,
    now: Timestamp,
) -> Result<Option<SigningSecrets>, StoreError> {
    if endpoints::get(conn, organisation, id)?.is_none() {
        return Ok(None);
    }
    let mut secrets = valid(conn, &[id.as_str()], now)?.into_iter();
    let Some(current) = secrets.next() else { return Err(StoreError::Corrupt("signing_secrets.generation")) };
    let previous = secrets.next();
    Ok(Some(SigningSecrets {
        current_sealed: current.sealed,
        previous_expires_at: previous.as_ref().and_then(|previous| time(previous.expires_at)),
        previous_sealed: previous.map(|previous| previous.sealed),
    }))
}

fn rotate(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &EndpointId,
    sealed: &[u8],
    now: Timestamp,
) -> Result<bool, StoreError> {
    if endpoints::lock_row(conn, organisation, id)?.is_none() {
        return Ok(false);
    }
    let of_endpoint = signing_secrets::endpoint_id.eq(id.as_str());
    let over = of_endpoint.and(signing_secrets::expires_at.le(now.0));
    diesel::delete(signing_secrets::table.filter(over)).execute(conn)?;
    // Each was promised its whole day: rather no new one than an old one less.
    let signing: i64 = signing_secrets::table.filter(of_endpoint).count().get_result(conn)?;
    if usize::try_from(signing).unwrap_or(usize::MAX) >= MAX_SIGNING_SECRETS {
        return Err(StoreError::TooManySigningSecrets(MAX_SIGNING_SECRETS));
    }
    diesel::update(signing_secrets::table.filter(of_endpoint.and(signing_secrets::expires_at.is_null())))
        .set(signing_secrets::expires_at.eq(now.plus(SECRET_OVERLAP).0))
        .execute(conn)?;
    let last: Option<i32> =
        signing_secrets::table.filter(of_endpoint).select(max(signing_secrets::generation)).first(conn)?;
    insert(conn, id.as_str(), last.unwrap_or(0).saturating_add(1), sealed, now)?;
    Ok(true)
}

/// As [`rotate`]; the endpoint's secrets afterwards, `None` if there is no such endpoint.
pub(crate) fn rotate_and_get(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &EndpointId,
    sealed: &[u8],
    now: Timestamp,
) -> Result<Option<SigningSecrets>, StoreError> {
    if !rotate(conn, organisation, id, sealed, now)? {
        return Ok(None);
    }
    get(conn, organisation, id, now)
}

/// The secrets that sign now, per endpoint the current one first.
pub(super) fn valid(conn: &mut Conn, endpoints: &[&str], now: Timestamp) -> Result<Vec<SecretRow>, StoreError> {
    let unexpired = signing_secrets::expires_at.is_null().or(signing_secrets::expires_at.gt(now.0));
    Ok(signing_secrets::table
        .filter(signing_secrets::endpoint_id.eq_any(endpoints))
        .filter(unexpired)
        .order((signing_secrets::endpoint_id, signing_secrets::generation.desc()))
        .select(SecretRow::as_select())
        .load(conn)?)
}

pub(super) fn insert(
    conn: &mut Conn,
    endpoint: &str,
    generation: i32,
    sealed: &[u8],
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = SecretRow {
        endpoint_id: endpoint.to_owned(),
        generation,
        sealed: sealed.to_vec(),
        created_at: now.0,
        expires_at: None,
    };
    diesel::insert_into(signing_secrets::table).values(&row).execute(conn)?;
    Ok(())
}

pub(crate) fn add_key(conn: &mut Conn, new: &NewWebhookKey, now: Timestamp) -> Result<Option<WebhookKey>, StoreError> {
    if endpoints::lock_row(conn, &new.organisation_id, &new.endpoint_id)?.is_none() {
        return Ok(None);
    }
    deactivate(conn, new.endpoint_id.as_str(), now)?;
    let row = WebhookKeyRow::new(new, now);
    diesel::insert_into(encryption_keys::table).values(&row).execute(conn)?;
    row.try_into().map(Some)
}

pub(crate) fn list_keys(
    conn: &mut Conn,
    organisation: &OrganisationId,
    endpoint: &EndpointId,
    page: &PageRequest,
) -> Result<Option<Page<WebhookKey>>, StoreError> {
    if endpoints::get(conn, organisation, endpoint)?.is_none() {
        return Ok(None);
    }
    let mut query = encryption_keys::table
        .filter(encryption_keys::endpoint_id.eq(endpoint.as_str()))
        .order(encryption_keys::id.desc())
        .select(WebhookKeyRow::as_select())
        .into_boxed();
    if let Some(cursor) = &page.starting_after {
        let known = encryption_keys::table.find(cursor).filter(encryption_keys::endpoint_id.eq(endpoint.as_str()));
        if !diesel::select(diesel::dsl::exists(known)).get_result::<bool>(conn)? {
            return Err(StoreError::InvalidCursor);
        }
        query = query.filter(encryption_keys::id.lt(cursor));
    }
    let limit = page.clamped();
    let rows = query.limit(limit as i64 + 1).load(conn)?;
    let items = rows.into_iter().map(WebhookKey::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Page::cut(items, limit, |key| key.id.as_str())))
}

pub(crate) fn set_key_active(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &EncryptionKeyId,
    active: bool,
    now: Timestamp,
) -> Result<Option<WebhookKey>, StoreError> {
    let endpoint: Option<String> =
        encryption_keys::table.find(id.as_str()).select(encryption_keys::endpoint_id).first(conn).optional()?;
    let Some(endpoint) = endpoint else { return Ok(None) };
    let endpoint: EndpointId = parse(&endpoint, "encryption_keys.endpoint_id")?;
    // Locking the endpoint keeps two callers from activating two keys at once.
    if endpoints::lock_row(conn, organisation, &endpoint)?.is_none() {
        return Ok(None);
    }
    let before: WebhookKeyRow =
        encryption_keys::table.find(id.as_str()).select(WebhookKeyRow::as_select()).first(conn)?;
    if before.active != active {
        if active {
            deactivate(conn, endpoint.as_str(), now)?;
        }
        diesel::update(encryption_keys::table.find(id.as_str()))
            .set((encryption_keys::active.eq(active), encryption_keys::deactivated_at.eq((!active).then_some(now.0))))
            .execute(conn)?;
    }
    let after: WebhookKeyRow =
        encryption_keys::table.find(id.as_str()).select(WebhookKeyRow::as_select()).first(conn)?;
    after.try_into().map(Some)
}

/// Takes the endpoint's active key out of use.
fn deactivate(conn: &mut Conn, endpoint: &str, now: Timestamp) -> Result<(), StoreError> {
    let active = encryption_keys::endpoint_id.eq(endpoint).and(encryption_keys::active.eq(true));
    diesel::update(encryption_keys::table.filter(active))
        .set((encryption_keys::active.eq(false), encryption_keys::deactivated_at.eq(now.0)))
        .execute(conn)?;
    Ok(())
}
