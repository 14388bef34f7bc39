//! Public keys of readers.

use diesel::prelude::*;
use proofmill_contract::{OrganisationId, ReaderKeyId, Timestamp};
use serde_json::Value;

use super::backend::{Conn, lock};
use crate::error::StoreError;
use crate::limits::sql_limit;
use crate::model::{NewReaderKey, ReaderKey, RegisterReaderKey};
use crate::rows::ReaderKeyRow;
use crate::schema::{organisations, reader_keys};

pub(crate) fn create(conn: &mut Conn, new: &NewReaderKey, now: Timestamp) -> Result<RegisterReaderKey, StoreError> {
    // Locked, so that of two registrations at once the second sees the first's key.
    let organisation = organisations::table.find(new.organisation_id.as_str()).select(organisations::id);
    let _: Option<String> = lock!(organisation).first(conn).optional()?;
    // Under another name a key that was revoked would count again.
    let same = list(conn, &new.organisation_id)?.into_iter().find(|key| is_same_key(&key.jwk, &new.jwk));
    if let Some(key) = same {
        return Ok(RegisterReaderKey::SameKey(key));
    }
    let row = ReaderKeyRow::new(new, now)?;
    diesel::insert_into(reader_keys::table).values(&row).execute(conn)?;
    row.try_into().map(RegisterReaderKey::Registered)
}

/// By the members that a thumbprint is made of (RFC 7638 section 3.2), whatever the keys are called and used for.
fn is_same_key(one: &Value, other: &Value) -> bool {
    ["kty", "crv", "x", "y"].into_iter().all(|member| one.get(member) == other.get(member))
}

pub(crate) fn list(conn: &mut Conn, organisation: &OrganisationId) -> Result<Vec<ReaderKey>, StoreError> {
    let query = reader_keys::table
        .filter(reader_keys::organisation_id.eq(organisation.as_str()))
        .order(reader_keys::id)
        .select(ReaderKeyRow::as_select());
    query.load(conn)?.into_iter().map(ReaderKey::try_from).collect()
}

pub(crate) fn by_kid(
    conn: &mut Conn,
    organisation: &OrganisationId,
    kid: &str,
) -> Result<Option<ReaderKey>, StoreError> {
    let row = reader_keys::table
        .filter(reader_keys::organisation_id.eq(organisation.as_str()))
        .filter(reader_keys::kid.eq(kid))
        .select(ReaderKeyRow::as_select())
        .first(conn)
        .optional()?;
    row.map(ReaderKey::try_from).transpose()
}

pub(crate) fn by_id(
    conn: &mut Conn,
    organisation: &OrganisationId,
    id: &ReaderKeyId,
) -> Result<Option<ReaderKey>, StoreError> {
    let row = reader_keys::table
        .filter(reader_keys::organisation_id.eq(organisation.as_str()))
        .filter(reader_keys::id.eq(id.as_str()))
        .select(ReaderKeyRow::as_select())
        .first(conn)
        .optional()?;
    row.map(ReaderKey::try_from).transpose()
}

pub(crate) fn active(
    conn: &mut Conn,
    organisation: &OrganisationId,
    limit: usize,
) -> Result<Vec<ReaderKey>, StoreError> {
    let query = reader_keys::table
        .filter(reader_keys::organisation_id.eq(organisation.as_str()))
        .filter(reader_keys::revoked_at.is_null())
        .order(reader_keys::id)
        .limit(sql_limit(limit))
        .select(ReaderKeyRow::as_select());
    query.load(conn)?.into_iter().map(ReaderKey::try_from).collect()
}

pub(crate) fn revoke(
    conn: &mut Conn,
    organisation: &OrganisationId,
    key: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let valid = reader_keys::table
        .filter(reader_keys::organisation_id.eq(organisation.as_str()))
        .filter(reader_keys::id.eq(key).or(reader_keys::kid.eq(key)))
        .filter(reader_keys::revoked_at.is_null());
    let revoked = diesel::update(valid).set(reader_keys::revoked_at.eq(now.0)).execute(conn)?;
    Ok(revoked > 0)
}
