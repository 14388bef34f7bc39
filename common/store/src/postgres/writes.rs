//! Updates of many rows, one statement for all of them: the values travel as arrays, and each column's array has the rows'
//! order. Written as SQL because Diesel has no `UPDATE … FROM`.
//!
//! The rows were locked before, so that the conditions beside the keys hold; they are there against our own mistakes. They
//! stand in `coalesce` so that no index answers to them: the planner is to find the rows by their keys, not to compare each
//! row that is waiting with each of ours.

use diesel::expression::IntoSql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text};

use proofmill_contract::{AttemptId, Timestamp};

use super::backend::Conn;
use crate::error::StoreError;
use crate::rows::{AttemptRow, SessionRow, attempt_end};
use crate::verdict::Settling;

/// Writes accepted evidence into attempts that await it; gives back how many there were.
pub(crate) fn accept(conn: &mut Conn, rows: &[AttemptRow]) -> Result<usize, StoreError> {
    let accept = OverArrays::new(
        "UPDATE attempts SET submitted_at = new.now, evidence_fingerprint = new.fingerprint, \
         evidence_object = new.object, evidence_epoch = new.epoch, evidence_wrapped_key = new.wrapped_key, \
         selected_field_keys = new.selected, chip_evidence_kept_used = new.kept_used, lane = new.lane, \
         outbox_at = new.outbox, queued_at = new.now, updated_at = new.now FROM unnest(",
        ") AS new (id, now, outbox, fingerprint, object, epoch, wrapped_key, selected, kept_used, lane) \
         WHERE attempts.id = new.id AND coalesce(attempts.status, '') = 'in_progress' \
         AND coalesce(attempts.submitted_at, 0) = 0",
    );
    Ok(accept
        .array(column(rows, |row| row.id.as_str()).into_sql::<Array<Text>>())
        .array(column(rows, |row| row.submitted_at).into_sql::<Array<Nullable<BigInt>>>())
        .array(column(rows, |row| row.outbox_at).into_sql::<Array<Nullable<BigInt>>>())
        .array(column(rows, |row| row.evidence_fingerprint.as_deref()).into_sql::<Array<Nullable<Binary>>>())
        .array(column(rows, |row| row.evidence_object.as_deref()).into_sql::<Array<Nullable<Text>>>())
        .array(column(rows, |row| row.evidence_epoch.as_deref()).into_sql::<Array<Nullable<Text>>>())
        .array(column(rows, |row| row.evidence_wrapped_key.as_deref()).into_sql::<Array<Nullable<Binary>>>())
        .array(column(rows, |row| row.selected_field_keys.as_deref()).into_sql::<Array<Nullable<Text>>>())
        .array(column(rows, |row| row.chip_evidence_kept_used).into_sql::<Array<Bool>>())
        .array(column(rows, |row| row.lane.as_str()).into_sql::<Array<Text>>())
        .execute(conn)?)
}

/// `created → in_progress`; a session that is further on stays where it is.
pub(crate) fn begin_sessions(conn: &mut Conn, ids: &[&str], now: Timestamp) -> Result<(), StoreError> {
    let begin = OverArrays::new(
        "UPDATE sessions SET status = 'in_progress', updated_at = new.now FROM unnest(",
        ") AS new (id, now) WHERE sessions.id = new.id AND coalesce(sessions.status, '') = 'created'",
    );
    begin
        .array(ids.to_vec().into_sql::<Array<Text>>())
        .array(vec![now.0; ids.len()].into_sql::<Array<BigInt>>())
        .execute(conn)?;
    Ok(())
}

/// Takes published attempts out of the outbox; gives back how many were in it.
pub(crate) fn mark_published(conn: &mut Conn, ids: &[AttemptId], now: Timestamp) -> Result<usize, StoreError> {
    let mark = OverArrays::new(
        "UPDATE attempts SET outbox_at = NULL, published_at = new.now FROM unnest(",
        ") AS new (id, now) WHERE attempts.id = new.id AND coalesce(attempts.outbox_at, -1) >= 0",
    );
    Ok(mark
        .array(column(ids, |id| id.as_str()).into_sql::<Array<Text>>())
        .array(vec![now.0; ids.len()].into_sql::<Array<BigInt>>())
        .execute(conn)?)
}

/// Writes verdicts into attempts that are leased under their tokens; gives back how many there were.
pub(crate) fn settle_attempts(conn: &mut Conn, verdicts: &[Settling]) -> Result<usize, StoreError> {
    let settle = OverArrays::new(
        concat!(
            "UPDATE attempts SET failure_code = new.failure_code, checks = new.checks, ",
            attempt_end!(),
            " FROM unnest("
        ),
        ") AS new (id, token, status, failure_code, checks, now) \
         WHERE attempts.id = new.id AND coalesce(attempts.status, '') = 'in_progress' \
         AND attempts.lease_token = new.token",
    );
    Ok(settle
        .array(column(verdicts, |one| one.attempt.as_str()).into_sql::<Array<Text>>())
        .array(column(verdicts, |one| one.lease_token.as_str()).into_sql::<Array<Text>>())
        .array(column(verdicts, |one| one.status.as_str()).into_sql::<Array<Text>>())
        .array(column(verdicts, |one| one.failure.map(|code| code.as_str())).into_sql::<Array<Nullable<Text>>>())
        .array(column(verdicts, |one| one.checks.as_str()).into_sql::<Array<Text>>())
        .array(column(verdicts, |one| one.now.0).into_sql::<Array<BigInt>>())
        .execute(conn)?)
}

/// Writes what verdicts made of sessions that are in progress; gives back how many there were.
pub(crate) fn settle_sessions(conn: &mut Conn, rows: &[&SessionRow]) -> Result<usize, StoreError> {
    let settle = OverArrays::new(
        "UPDATE sessions SET status = new.status, nfc_tries_used = new.nfc, liveness_tries_used = new.liveness, \
         rejected_attempts = new.rejected, failure_code = new.failure_code, kept_object = new.object, \
         kept_epoch = new.epoch, kept_wrapped_key = new.wrapped_key, document_id_key_version = new.document_key, \
         human_id_key_version = new.human_key, completed_at = new.completed_at, updated_at = new.updated_at \
         FROM unnest(",
        ") AS new (id, status, nfc, liveness, rejected, failure_code, object, epoch, wrapped_key, document_key, \
         human_key, completed_at, updated_at) \
         WHERE sessions.id = new.id AND coalesce(sessions.status, '') = 'in_progress'",
    );
    Ok(settle
        .array(column(rows, |row| row.id.as_str()).into_sql::<Array<Text>>())
        .array(column(rows, |row| row.status.as_str()).into_sql::<Array<Text>>())
        .array(column(rows, |row| row.nfc_tries_used).into_sql::<Array<Integer>>())
        .array(column(rows, |row| row.liveness_tries_used).into_sql::<Array<Integer>>())
        .array(column(rows, |row| row.rejected_attempts).into_sql::<Array<Integer>>())
        .array(column(rows, |row| row.failure_code.as_deref()).into_sql::<Array<Nullable<Text>>>())
        .array(column(rows, |row| row.kept_object.as_deref()).into_sql::<Array<Nullable<Text>>>())
        .array(column(rows, |row| row.kept_epoch.as_deref()).into_sql::<Array<Nullable<Text>>>())
        .array(column(rows, |row| row.kept_wrapped_key.as_deref()).into_sql::<Array<Nullable<Binary>>>())
        .array(column(rows, |row| row.document_id_key_version).into_sql::<Array<Nullable<Integer>>>())
        .array(column(rows, |row| row.human_id_key_version).into_sql::<Array<Nullable<Integer>>>())
        .array(column(rows, |row| row.completed_at).into_sql::<Array<Nullable<BigInt>>>())
        .array(column(rows, |row| row.updated_at).into_sql::<Array<BigInt>>())
        .execute(conn)?)
}

fn column<'a, R, T>(rows: &'a [R], value: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// SQL with arrays in the middle of it, which PostgreSQL reads and plans once a connection. Diesel's own `sql_query` is read
/// and planned each time.
struct OverArrays<'a> {
    before: &'static str,
    arrays: Vec<Box<dyn QueryFragment<Pg> + 'a>>,
    after: &'static str,
}

impl<'a> OverArrays<'a> {
    fn new(before: &'static str, after: &'static str) -> Self {
        Self { before, arrays: Vec::new(), after }
    }

    fn array(mut self, array: impl QueryFragment<Pg> + 'a) -> Self {
        self.arrays.push(Box::new(array));
        self
    }
}

impl QueryFragment<Pg> for OverArrays<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.before);
        for (index, array) in self.arrays.iter().enumerate() {
            if index > 0 {
                out.push_sql(", ");
            }
            array.walk_ast(out.reborrow())?;
        }
        out.push_sql(self.after);
        Ok(())
    }
}

/// Known by its text.
impl QueryId for OverArrays<'_> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl RunQueryDsl<Conn> for OverArrays<'_> {}
