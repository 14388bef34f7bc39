//! Creating, reading and listing sessions.

use diesel::prelude::*;
use proofmill_contract::{OrganisationId, SessionId, Timestamp};

use super::backend::{Conn, lock};
use crate::error::StoreError;
use crate::model::{NewSession, Page, PageRequest, Session, SessionFilter};
use crate::rows::SessionRow;
use crate::schema::{sessions, webhook_endpoints};

pub(crate) fn create(conn: &mut Conn, new: &NewSession, now: Timestamp) -> Result<Session, StoreError> {
    if let Some(ids) = &new.webhook_endpoint_ids {
        let usable: Vec<String> = webhook_endpoints::table
            .filter(webhook_endpoints::id.eq_any(ids.iter().map(|id| id.as_str())))
            .filter(webhook_endpoints::organisation_id.eq(new.organisation_id.as_str()))
            .filter(webhook_endpoints::enabled.eq(true))
            .filter(webhook_endpoints::deleted_at.is_null())
            .select(webhook_endpoints::id)
            .load(conn)?;
        if let Some(id) = ids.iter().find(|id| !usable.iter().any(|usable| usable == id.as_str())) {
            return Err(StoreError::EndpointUnavailable(id.clone()));
        }
    }
    let row = SessionRow::new(new, now)?;
    diesel::insert_into(sessions::table).values(&row).execute(conn)?;
    row.try_into()
}

pub(crate) fn get(
    conn: &mut Conn,
    organisation: Option<&OrganisationId>,
    id: &SessionId,
) -> Result<Option<Session>, StoreError> {
    let row = sessions::table.find(id.as_str()).select(SessionRow::as_select()).first(conn).optional()?;
    row.filter(|row| belongs(row, organisation)).map(Session::try_from).transpose()
}

pub(crate) fn list(
    conn: &mut Conn,
    organisation: &OrganisationId,
    filter: &SessionFilter,
    page: &PageRequest,
) -> Result<Page<Session>, StoreError> {
    let mut query = sessions::table
        .filter(sessions::organisation_id.eq(organisation.as_str()))
        .order(sessions::id.desc())
        .select(SessionRow::as_select())
        .into_boxed();
    if let Some(cursor) = &page.starting_after {
        let known = sessions::table.find(cursor).filter(sessions::organisation_id.eq(organisation.as_str()));
        if !diesel::select(diesel::dsl::exists(known)).get_result::<bool>(conn)? {
            return Err(StoreError::InvalidCursor);
        }
        query = query.filter(sessions::id.lt(cursor));
    }
    if let Some(status) = filter.status {
        query = query.filter(sessions::status.eq(status.as_str()));
    }
    // The bounds of the ids say the same more coarsely, and the index knows them.
    if let Some(from) = filter.created_from {
        query = query.filter(sessions::created_at.ge(from.0)).filter(sessions::id.ge(SessionId::earliest(from)));
    }
    if let Some(to) = filter.created_to {
        let after = to.next_millisecond();
        query = query.filter(sessions::created_at.lt(after.0)).filter(sessions::id.lt(SessionId::earliest(after)));
    }
    let limit = page.clamped();
    let rows = query.limit(limit as i64 + 1).load(conn)?;
    let items = rows.into_iter().map(Session::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(items, limit, |session| session.id.as_str()))
}

/// A session's row, kept until commit. Whatever changes a session or the status of its attempts takes this first.
pub(super) fn lock_row(
    conn: &mut Conn,
    organisation: Option<&OrganisationId>,
    id: &str,
) -> Result<Option<SessionRow>, StoreError> {
    let row = lock!(sessions::table.find(id).select(SessionRow::as_select())).first(conn).optional()?;
    Ok(row.filter(|row| belongs(row, organisation)))
}

/// Several sessions' rows, locked in the order of their ids, so that two groups cannot wait for each other.
pub(super) fn lock_rows(conn: &mut Conn, ids: &[String]) -> Result<Vec<SessionRow>, StoreError> {
    let query = sessions::table.filter(sessions::id.eq_any(ids)).order(sessions::id).select(SessionRow::as_select());
    Ok(lock!(query).load(conn)?)
}

fn belongs(row: &SessionRow, organisation: Option<&OrganisationId>) -> bool {
    organisation.is_none_or(|organisation| row.organisation_id == organisation.as_str())
}
