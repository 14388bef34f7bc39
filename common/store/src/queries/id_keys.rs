//! Keys of derived ids: the current ones stand in the organisation's row, those before in a table of their own.

use diesel::prelude::*;
use proofmill_contract::{OrganisationId, Timestamp};

use super::backend::{Conn, lock};
use crate::error::StoreError;
use crate::model::{IdKey, IdKind};
use crate::rows::{OrganisationRow, count};
use crate::schema::{organisations, retired_id_keys};

/// Puts a key in the current one's place if that is still `version`; gives back the new version. `None` if there is no such
/// organisation.
pub(crate) fn rotate(
    conn: &mut Conn,
    organisation: &OrganisationId,
    kind: IdKind,
    version: u32,
    sealed: &[u8],
    now: Timestamp,
) -> Result<Option<u32>, StoreError> {
    let row = organisations::table.find(organisation.as_str()).select(OrganisationRow::as_select());
    let Some(row) = lock!(row).first(conn).optional()? else { return Ok(None) };
    let (current, current_sealed) = current(&row, kind);
    if count(current, "organisations.id_key_version")? != version {
        return Err(StoreError::Conflict(format!("the {kind} id key is at version {current} by now")));
    }
    diesel::insert_into(retired_id_keys::table)
        .values((
            retired_id_keys::organisation_id.eq(organisation.as_str()),
            retired_id_keys::kind.eq(kind.as_str()),
            retired_id_keys::version.eq(current),
            retired_id_keys::sealed.eq(current_sealed),
            retired_id_keys::retired_at.eq(now.0),
        ))
        .execute(conn)?;
    let next = current + 1;
    let target = organisations::table.find(organisation.as_str());
    match kind {
        IdKind::Document => diesel::update(target)
            .set((
                organisations::document_id_key_sealed.eq(sealed),
                organisations::document_id_key_version.eq(next),
                organisations::updated_at.eq(now.0),
            ))
            .execute(conn)?,
        IdKind::Human => diesel::update(target)
            .set((
                organisations::human_id_key_sealed.eq(sealed),
                organisations::human_id_key_version.eq(next),
                organisations::updated_at.eq(now.0),
            ))
            .execute(conn)?,
    };
    count(next, "organisations.id_key_version").map(Some)
}

/// Every version of an organisation's keys, by kind, oldest first.
pub(crate) fn list(conn: &mut Conn, organisation: &OrganisationId) -> Result<Vec<IdKey>, StoreError> {
    let row = organisations::table.find(organisation.as_str()).select(OrganisationRow::as_select());
    let Some(row) = row.first(conn).optional()? else { return Ok(Vec::new()) };
    let mut keys = Vec::new();
    for kind in IdKind::ALL {
        let retired: Vec<(i32, Vec<u8>, i64)> = retired_id_keys::table
            .filter(retired_id_keys::organisation_id.eq(organisation.as_str()))
            .filter(retired_id_keys::kind.eq(kind.as_str()))
            .order(retired_id_keys::version)
            .select((retired_id_keys::version, retired_id_keys::sealed, retired_id_keys::retired_at))
            .load(conn)?;
        let mut since = Timestamp(row.created_at);
        for (version, sealed, until) in retired {
            let version = count(version, "retired_id_keys.version")?;
            keys.push(IdKey { kind, version, sealed, since, retired_at: Some(Timestamp(until)) });
            since = Timestamp(until);
        }
        let (version, sealed) = current(&row, kind);
        let version = count(version, "organisations.id_key_version")?;
        keys.push(IdKey { kind, version, sealed: sealed.to_vec(), since, retired_at: None });
    }
    Ok(keys)
}

fn current(row: &OrganisationRow, kind: IdKind) -> (i32, &[u8]) {
    match kind {
        IdKind::Document => (row.document_id_key_version, &row.document_id_key_sealed),
        IdKind::Human => (row.human_id_key_version, &row.human_id_key_sealed),
    }
}
