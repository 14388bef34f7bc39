//! Public keys of readers.

use diesel::prelude::*;
use proofmill_contract::{OrganisationId, Timestamp};

use super::backend::Conn;
use crate::error::StoreError;
use crate::limits::sql_limit;
use crate::model::{NewReaderKey, ReaderKey};
use crate::rows::ReaderKeyRow;
use crate::schema::reader_keys;

pub(crate) fn create(conn: &mut Conn, new: &NewReaderKey, now: Timestamp) -> Result<ReaderKey, StoreError> {
    let row = ReaderKeyRow::new(new, now)?;
    diesel::insert_into(reader_keys::table).values(&row).execute(conn)?;
    row.try_into()
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
