//! The one place where an attempt gets its verdict.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

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

/// Writes verdicts in the caller's transaction, one at least and then as many as cost no more than `most_bytes` of payloads:
/// the results are those of the first ones. All together first, with few statements; if the database refuses one of them,
/// that is undone and each is written under a savepoint of its own.
pub(crate) fn settle(
    conn: &mut Conn,
    verdicts: &[Arc<Verdict>],
    most_bytes: usize,
    now: Timestamp,
) -> Result<Vec<SettleResult>, StoreError> {
    let rows = Rows::lock(conn, verdicts)?;
    let mut recipients = Recipients::default();
    if verdicts.len() > 1
        && let Some(results) = together(conn, &mut recipients, rows.clone(), verdicts, most_bytes, now)?
    {
        return Ok(results);
    }
    apart(conn, &mut recipients, rows, verdicts, most_bytes, now)
}

/// `None` if one was refused; nothing is written then.
fn together(
    conn: &mut Conn,
    recipients: &mut Recipients,
    mut rows: Rows,
    verdicts: &[Arc<Verdict>],
    most_bytes: usize,
    now: Timestamp,
) -> Result<Option<Vec<SettleResult>>, StoreError> {
    let written = conn.transaction(|conn| {
        let mut results = Vec::with_capacity(verdicts.len());
        let mut outgoing = Vec::with_capacity(verdicts.len());
        let mut settling = Vec::with_capacity(verdicts.len());
        let mut changed = BTreeSet::new();
        let mut budget = Budget::new(most_bytes);
        for verdict in verdicts {
            let result = match rows.step(verdict, now)? {
                Err(refusal) => refusal,
                Ok(step) => {
                    let event = announce(conn, recipients, &step, verdict, now)?;
                    if !budget.has_room_for(event.as_ref()) {
                        break;
                    }
                    settling.push(Settling::new(&step, verdict, now));
                    changed.insert(step.session.id.clone());
                    let deliveries = event.as_ref().map_or(0, Outgoing::deliveries);
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
    verdicts: &[Arc<Verdict>],
    most_bytes: usize,
    now: Timestamp,
) -> Result<Vec<SettleResult>, StoreError> {
    let mut results = Vec::with_capacity(verdicts.len());
    let mut budget = Budget::new(most_bytes);
    for verdict in verdicts {
        let written = conn.transaction(|conn| {
            let step = match rows.step(verdict, now)? {
                Ok(step) => step,
                Err(refusal) => return Ok(Some(refusal)),
            };
            let event = announce(conn, recipients, &step, verdict, now)?;
            if !budget.has_room_for(event.as_ref()) {
                return Ok(None);
            }
            write(conn, &[Settling::new(&step, verdict, now)], &[&step.session])?;
            let deliveries = event.as_ref().map_or(0, Outgoing::deliveries);
            insert(conn, event.as_slice())?;
            Ok(Some(rows.apply(step, verdict, deliveries)))
        });
        results.push(match written {
            Ok(Some(result)) => result,
            Ok(None) => break,
            Err(error) if StoreError::breaks_transaction(&error) => return Err(error),
            Err(error) => {
                tracing::error!(attempt = %verdict.attempt_id, %error, "verdict refused by the database");
                SettleResult::Conflict(error.to_string())
            }
        });
    }
    Ok(results)
}

/// Payloads that a transaction may still write; the first event always may.
struct Budget {
    most: usize,
    spent: Option<usize>,
}

impl Budget {
    fn new(most: usize) -> Self {
        Self { most, spent: None }
    }

    fn has_room_for(&mut self, event: Option<&Outgoing>) -> bool {
        let cost = event.map_or(0, Outgoing::cost);
        let spent = self.spent.map_or(cost, |spent| spent.saturating_add(cost));
        let fits = self.spent.is_none() || spent <= self.most;
        if fits {
            self.spent = Some(spent);
        }
        fits
    }
}

/// The rows of a group, locked, as the database has them after the verdicts written so far.
#[derive(Clone)]
struct Rows {
    sessions: HashMap<String, SessionRow>,
    attempts: HashMap<String, AttemptRow>,
}

impl Rows {
    /// Sessions first, by id, then attempts: the order in which cancel and expiry lock, so that nobody waits in a ring.
    fn lock(conn: &mut Conn, verdicts: &[Arc<Verdict>]) -> Result<Self, StoreError> {
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

/// The verdict's event, if it has one, for its recipients.
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
