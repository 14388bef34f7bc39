//! The one place where an attempt gets its verdict.

use std::collections::{BTreeSet, HashMap};

use diesel::prelude::*;
use proofmill_contract::Timestamp;

use super::backend::{Conn, lock};
use super::emit::{insert, prepare};
use super::sessions::lock_rows;
use super::writes;
use crate::error::StoreError;
use crate::model::{SettleResult, Verdict};
use crate::outgoing::{Happening, Outgoing, Recipients};
use crate::rows::{AttemptRow, SessionRow};
use crate::schema::attempts;
use crate::verdict::{Settling, Step, step};

/// Writes a group of verdicts in the caller's transaction. All together first, with few statements; if the database
/// refuses one of them, that is undone and each is written under a savepoint of its own.
pub(crate) fn settle(conn: &mut Conn, verdicts: &[Verdict], now: Timestamp) -> Result<Vec<SettleResult>, StoreError> {
    let rows = Rows::lock(conn, verdicts)?;
    let mut recipients = Recipients::default();
    if verdicts.len() > 1
        && let Some(results) = together(conn, &mut recipients, rows.clone(), verdicts, now)?
    {
        return Ok(results);
    }
    apart(conn, &mut recipients, rows, verdicts, now)
}

/// `None` if one was refused; nothing is written then.
fn together(
    conn: &mut Conn,
    recipients: &mut Recipients,
    mut rows: Rows,
    verdicts: &[Verdict],
    now: Timestamp,
) -> Result<Option<Vec<SettleResult>>, StoreError> {
    let written = conn.transaction(|conn| {
        let mut results = Vec::with_capacity(verdicts.len());
        let mut outgoing = Vec::with_capacity(verdicts.len());
        let mut settling = Vec::with_capacity(verdicts.len());
        let mut changed = BTreeSet::new();
        for verdict in verdicts {
            let result = match rows.step(verdict, now)? {
                Err(refusal) => refusal,
                Ok(step) => {
                    settling.push(Settling::new(&step, verdict, now));
                    changed.insert(step.session.id.clone());
                    let event = announce(conn, recipients, &step, verdict, now)?;
                    let deliveries = event.as_ref().map_or(0, |event| event.deliveries.len());
                    outgoing.extend(event);
                    rows.apply(step, verdict, deliveries)
                }
            };
            results.push(result);
        }
        let changed: Vec<&SessionRow> = changed.iter().filter_map(|id| rows.sessions.get(id)).collect();
        write(conn, &settling, &changed)?;
        insert(conn, &outgoing)?;
        Ok(results)
    });
    match written {
        Ok(results) => Ok(Some(results)),
        Err(error) if StoreError::breaks_transaction(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn apart(
    conn: &mut Conn,
    recipients: &mut Recipients,
    mut rows: Rows,
    verdicts: &[Verdict],
    now: Timestamp,
) -> Result<Vec<SettleResult>, StoreError> {
    let mut results = Vec::with_capacity(verdicts.len());
    for verdict in verdicts {
        let written = conn.transaction(|conn| {
            let step = match rows.step(verdict, now)? {
                Ok(step) => step,
                Err(refusal) => return Ok(refusal),
            };
            write(conn, &[Settling::new(&step, verdict, now)], &[&step.session])?;
            let event = announce(conn, recipients, &step, verdict, now)?;
            let deliveries = event.as_ref().map_or(0, |event| event.deliveries.len());
            insert(conn, event.as_slice())?;
            Ok(rows.apply(step, verdict, deliveries))
        });
        results.push(match written {
            Ok(result) => result,
            Err(error) if StoreError::breaks_transaction(&error) => return Err(error),
            Err(error) => {
                tracing::error!(attempt = %verdict.attempt_id, %error, "verdict refused by the database");
                SettleResult::Conflict(error.to_string())
            }
        });
    }
    Ok(results)
}

/// The rows of a group, locked, as the database has them after the verdicts written so far.
#[derive(Clone)]
struct Rows {
    sessions: HashMap<String, SessionRow>,
    attempts: HashMap<String, AttemptRow>,
}

impl Rows {
    /// Sessions first, by id, then attempts: the order in which cancel and expiry lock, so that nobody waits in a ring.
    fn lock(conn: &mut Conn, verdicts: &[Verdict]) -> Result<Self, StoreError> {
        let ids: Vec<&str> = verdicts.iter().map(|verdict| verdict.attempt_id.as_str()).collect();
        let session_ids: Vec<String> =
            attempts::table.filter(attempts::id.eq_any(&ids)).select(attempts::session_id).load(conn)?;
        let sessions = lock_rows(conn, &session_ids)?;
        let query =
            attempts::table.filter(attempts::id.eq_any(&ids)).order(attempts::id).select(AttemptRow::as_select());
        let attempts = lock!(query).load(conn)?;
        Ok(Self {
            sessions: sessions.into_iter().map(|row| (row.id.clone(), row)).collect(),
            attempts: attempts.into_iter().map(|row: AttemptRow| (row.id.clone(), row)).collect(),
        })
    }

    /// What the verdict would do; the inner `Err` is one that may not be written.
    fn step(&self, verdict: &Verdict, now: Timestamp) -> Result<Result<Step, SettleResult>, StoreError> {
        let attempt = self.attempts.get(verdict.attempt_id.as_str());
        let rows = attempt.and_then(|attempt| Some((self.sessions.get(&attempt.session_id)?, attempt)));
        match rows {
            Some((session, attempt)) => step(session, attempt, verdict, now.0),
            None => Ok(Err(SettleResult::LostLease)),
        }
    }

    /// Takes over what was written, for a later verdict of the same group.
    fn apply(&mut self, step: Step, verdict: &Verdict, deliveries: usize) -> SettleResult {
        if let Some(attempt) = self.attempts.get_mut(verdict.attempt_id.as_str()) {
            attempt.status = step.attempt_status.as_str().to_owned();
            attempt.lease_token = None;
        }
        self.sessions.insert(step.session.id.clone(), step.session);
        SettleResult::Settled {
            session_status: step.session_status,
            event: step.event.map(|(event_type, _)| event_type),
            deliveries,
            discarded: step.discarded,
        }
    }
}

/// Writes attempts and their sessions. All rows are locked, so a compare-and-set that finds another state is a bug; the
/// savepoint undoes it.
fn write(conn: &mut Conn, attempts: &[Settling], sessions: &[&SessionRow]) -> Result<(), StoreError> {
    let changed = |column: &str| Err(StoreError::Conflict(format!("{column} changed under its lock")));
    if attempts.is_empty() {
        return Ok(());
    }
    if writes::settle_attempts(conn, attempts)? != attempts.len() {
        return changed("attempts.lease_token");
    }
    if writes::settle_sessions(conn, sessions)? != sessions.len() {
        return changed("sessions.status");
    }
    Ok(())
}

/// The verdict's event, if it has one, encrypted to its recipients.
fn announce(
    conn: &mut Conn,
    recipients: &mut Recipients,
    step: &Step,
    verdict: &Verdict,
    now: Timestamp,
) -> Result<Option<Outgoing>, StoreError> {
    let Some((event_type, data)) = &step.event else { return Ok(None) };
    let happening = Happening {
        event_type: *event_type,
        attempt: Some(&verdict.attempt_id),
        data,
        terminal: step.session_status.is_terminal(),
    };
    prepare(conn, recipients, &step.session, &happening, now).map(Some)
}
