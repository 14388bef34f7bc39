//! Opening and reading attempts.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use proofmill_contract::{AttemptId, AttemptStatus, OrganisationId, SessionId, Timestamp};

use super::backend::{Conn, lock};
use super::expiry::{cancel_unsubmitted, expire_if_due};
use super::sessions::{lock_row, lock_rows};
use super::writes;
use crate::error::StoreError;
use crate::limits::MAX_BATCH;
use crate::model::{Attempt, AttemptWithSession, NewAttempt, OpenAttempt, Opening, Page, PageRequest, Session};
use crate::outgoing::Recipients;
use crate::rows::{AttemptRow, SessionRow};
use crate::schema::{attempts, sessions};

pub(crate) fn open(conn: &mut Conn, new: &NewAttempt, now: Timestamp) -> Result<OpenAttempt, StoreError> {
    let Some(mut session) = lock_row(conn, new.organisation_id.as_ref(), new.session_id.as_str())? else {
        return Ok(OpenAttempt::NotFound);
    };
    expire_if_due(conn, &mut Recipients::default(), &mut session, now)?;
    let status = session.status()?;
    if status.is_terminal() {
        return Ok(OpenAttempt::Terminal(status));
    }
    let open = attempts::table
        .filter(attempts::session_id.eq(&session.id))
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .select(AttemptRow::as_select());
    if let Some(row) = lock!(open).first(conn).optional()? {
        if row.submitted_at.is_some() {
            return Ok(OpenAttempt::InProgress);
        }
        if row.handoff_expires_at > now.0 {
            return row.try_into().map(OpenAttempt::Existing);
        }
        cancel_unsubmitted(conn, &[row.id], now)?;
    }
    let row = AttemptRow::new(new, now);
    diesel::insert_into(attempts::table).values(&row).execute(conn)?;
    row.try_into().map(OpenAttempt::Opened)
}

/// As [`open`] for many sessions: a few statements, however many there are.
pub(crate) fn open_many(
    conn: &mut Conn,
    organisation: &OrganisationId,
    new: &[NewAttempt],
    now: Timestamp,
) -> Result<Vec<Opening>, StoreError> {
    let ids: Vec<String> = new.iter().map(|one| one.session_id.to_string()).collect();
    let mut known: BTreeMap<String, SessionRow> = BTreeMap::new();
    let mut recipients = Recipients::default();
    for mut session in lock_rows(conn, &ids)? {
        // Another organisation's session is not found.
        if session.organisation_id == organisation.as_str() {
            expire_if_due(conn, &mut recipients, &mut session, now)?;
            known.insert(session.id.clone(), session);
        }
    }
    let open = attempts::table
        .filter(attempts::session_id.eq_any(known.keys()))
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .order(attempts::id)
        .select(AttemptRow::as_select());
    let mut current: BTreeMap<String, AttemptRow> =
        lock!(open).load(conn)?.into_iter().map(|row: AttemptRow| (row.session_id.clone(), row)).collect();
    let stale: Vec<String> = current
        .values()
        .filter(|row| row.submitted_at.is_none() && row.handoff_expires_at <= now.0)
        .map(|row| row.id.clone())
        .collect();
    cancel_unsubmitted(conn, &stale, now)?;
    current.retain(|_, row| !stale.contains(&row.id));

    let mut fresh: BTreeMap<String, AttemptRow> = BTreeMap::new();
    for one in new {
        let id = one.session_id.as_str();
        let Some(session) = known.get(id) else { continue };
        if !session.status()?.is_terminal() && !current.contains_key(id) {
            let row = fresh.entry(id.to_owned()).or_insert_with(|| AttemptRow::new(one, now));
            // A handoff never promises more time than its session has.
            row.handoff_expires_at = row.handoff_expires_at.min(session.expires_at);
        }
    }
    for rows in fresh.values().collect::<Vec<_>>().chunks(MAX_BATCH) {
        diesel::insert_into(attempts::table).values(rows.to_vec()).execute(conn)?;
    }
    let opening = |one: &NewAttempt| {
        let session = known.get(one.session_id.as_str());
        let outcome = match session {
            None => OpenAttempt::NotFound,
            Some(session) => match (fresh.get(&session.id), current.get(&session.id)) {
                (Some(row), _) => OpenAttempt::Opened(row.clone().try_into()?),
                (None, Some(row)) if row.submitted_at.is_some() => OpenAttempt::InProgress,
                (None, Some(row)) => OpenAttempt::Existing(row.clone().try_into()?),
                (None, None) => OpenAttempt::Terminal(session.status()?),
            },
        };
        let session = session.cloned().map(Session::try_from).transpose()?;
        Ok(Opening { session_id: one.session_id.clone(), session, outcome })
    };
    new.iter().map(opening).collect()
}

/// Each of these attempts with its session, in order; only if it is the organisation's, where one is named. A row that
/// cannot be read fails only those who ask for it.
#[allow(clippy::type_complexity)]
pub(crate) fn get_many(
    conn: &mut Conn,
    wanted: &[(AttemptId, Option<OrganisationId>)],
) -> Result<Vec<Result<Option<AttemptWithSession>, StoreError>>, StoreError> {
    let rows: Vec<(AttemptRow, SessionRow)> = attempts::table
        .inner_join(sessions::table)
        .filter(attempts::id.eq_any(wanted.iter().map(|(id, _)| id.as_str())))
        .select((AttemptRow::as_select(), SessionRow::as_select()))
        .load(conn)?;
    let rows: HashMap<&str, &(AttemptRow, SessionRow)> = rows.iter().map(|row| (row.0.id.as_str(), row)).collect();
    let found = |(id, organisation): &(AttemptId, Option<OrganisationId>)| {
        let row = rows.get(id.as_str()).copied().cloned();
        let own = |session: &SessionRow| organisation.as_ref().is_none_or(|id| session.organisation_id == id.as_str());
        row.filter(|(_, session)| own(session))
            .map(|(attempt, session)| {
                Ok(AttemptWithSession { attempt: attempt.try_into()?, session: session.try_into()? })
            })
            .transpose()
    };
    Ok(wanted.iter().map(found).collect())
}

pub(crate) fn of_sessions(conn: &mut Conn, ids: &[SessionId]) -> Result<Vec<Attempt>, StoreError> {
    let query = attempts::table
        .filter(attempts::session_id.eq_any(ids.iter().map(|id| id.as_str())))
        .order((attempts::created_at, attempts::id))
        .select(AttemptRow::as_select());
    query.load(conn)?.into_iter().map(Attempt::try_from).collect()
}

pub(crate) fn list(conn: &mut Conn, session: &SessionId, page: &PageRequest) -> Result<Page<Attempt>, StoreError> {
    let mut query = attempts::table
        .filter(attempts::session_id.eq(session.as_str()))
        .order(attempts::id.desc())
        .select(AttemptRow::as_select())
        .into_boxed();
    if let Some(cursor) = &page.starting_after {
        let known = attempts::table.find(cursor).filter(attempts::session_id.eq(session.as_str()));
        if !diesel::select(diesel::dsl::exists(known)).get_result::<bool>(conn)? {
            return Err(StoreError::InvalidCursor);
        }
        query = query.filter(attempts::id.lt(cursor));
    }
    let limit = page.clamped();
    let rows = query.limit(limit as i64 + 1).load(conn)?;
    let items = rows.into_iter().map(Attempt::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(items, limit, |attempt| attempt.id.as_str()))
}

pub(crate) fn write_token_used(conn: &mut Conn, id: &AttemptId, now: Timestamp) -> Result<bool, StoreError> {
    let session = attempts::table
        .find(id.as_str())
        .filter(attempts::status.eq(AttemptStatus::InProgress.as_str()))
        .select(attempts::session_id)
        .first::<String>(conn)
        .optional()?;
    let Some(session) = session else { return Ok(false) };
    writes::begin_sessions(conn, &[&session], now)?;
    Ok(true)
}

/// An attempt's row, kept until commit. The session's row must be locked before, or not at all.
pub(super) fn lock_row_of(conn: &mut Conn, id: &str) -> Result<Option<AttemptRow>, StoreError> {
    Ok(lock!(attempts::table.find(id).select(AttemptRow::as_select())).first(conn).optional()?)
}
