//! Organisations and their API keys.

use diesel::prelude::*;
use proofmill_contract::{ApiKeyId, OrganisationId, Timestamp};

use super::backend::{Conn, lock};
use crate::error::StoreError;
use crate::model::{ApiKey, NewApiKey, NewOrganisation, Organisation, OrganisationUpdate};
use crate::rows::{ApiKeyRow, OrganisationRow, to_json};
use crate::schema::{api_keys, organisations};

pub(crate) fn create(conn: &mut Conn, new: &NewOrganisation, now: Timestamp) -> Result<Organisation, StoreError> {
    let row = OrganisationRow::new(new, now)?;
    diesel::insert_into(organisations::table).values(&row).execute(conn)?;
    row.try_into()
}

pub(crate) fn get(conn: &mut Conn, id: &OrganisationId) -> Result<Option<Organisation>, StoreError> {
    let row = organisations::table.find(id.as_str()).select(OrganisationRow::as_select()).first(conn).optional()?;
    row.map(Organisation::try_from).transpose()
}

pub(crate) fn list(conn: &mut Conn) -> Result<Vec<Organisation>, StoreError> {
    let rows = organisations::table.order(organisations::id).select(OrganisationRow::as_select()).load(conn)?;
    rows.into_iter().map(Organisation::try_from).collect()
}

pub(crate) fn update(
    conn: &mut Conn,
    id: &OrganisationId,
    update: &OrganisationUpdate,
    now: Timestamp,
) -> Result<Option<Organisation>, StoreError> {
    let row = organisations::table.find(id.as_str()).select(OrganisationRow::as_select());
    let Some(row) = lock!(row).first(conn).optional()? else { return Ok(None) };
    if update.if_unchanged_since.is_some_and(|read| read.0 != row.updated_at) {
        return Err(StoreError::Conflict("the organisation has changed meanwhile".into()));
    }
    let policy = update.policy.as_ref().map(|policy| to_json(policy, "organisations.policy")).transpose()?;
    diesel::update(organisations::table.find(id.as_str()))
        .set((
            update.name.as_ref().map(|name| organisations::name.eq(name)),
            update
                .default_contract_version
                .map(|version| organisations::default_contract_version.eq(i32::from(u8::from(version)))),
            policy.map(|policy| organisations::policy.eq(policy)),
            update.sandbox.map(|sandbox| organisations::sandbox.eq(sandbox)),
            organisations::updated_at.eq(now.0),
        ))
        .execute(conn)?;
    get(conn, id)
}

pub(crate) fn create_api_key(conn: &mut Conn, new: &NewApiKey, now: Timestamp) -> Result<ApiKey, StoreError> {
    let row = ApiKeyRow::new(new, now)?;
    diesel::insert_into(api_keys::table).values(&row).execute(conn)?;
    row.try_into()
}

/// The keys with each of these prefixes, in order. A row that cannot be read fails only those who look for it.
pub(crate) fn api_keys_by_prefixes(
    conn: &mut Conn,
    prefixes: &[String],
) -> Result<Vec<Result<Vec<ApiKey>, StoreError>>, StoreError> {
    let query = api_keys::table.filter(api_keys::prefix.eq_any(prefixes)).select(ApiKeyRow::as_select());
    let rows: Vec<ApiKeyRow> = query.load(conn)?;
    let keys =
        |prefix: &String| rows.iter().filter(|row| row.prefix == *prefix).cloned().map(ApiKey::try_from).collect();
    Ok(prefixes.iter().map(keys).collect())
}

pub(crate) fn list_api_keys(conn: &mut Conn, organisation: &OrganisationId) -> Result<Vec<ApiKey>, StoreError> {
    let query = api_keys::table
        .filter(api_keys::organisation_id.eq(organisation.as_str()))
        .order(api_keys::id)
        .select(ApiKeyRow::as_select());
    query.load(conn)?.into_iter().map(ApiKey::try_from).collect()
}

pub(crate) fn revoke_api_key(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &ApiKeyId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let valid = api_keys::table
        .find(id.as_str())
        .filter(api_keys::organisation_id.eq(organisation.as_str()))
        .filter(api_keys::revoked_at.is_null());
    let revoked = diesel::update(valid).set(api_keys::revoked_at.eq(now.0)).execute(conn)?;
    Ok(revoked == 1)
}
