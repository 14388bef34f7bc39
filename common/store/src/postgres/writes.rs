//! Updates of many rows, one statement for all of them: the values travel as arrays, and each column's array has the rows'
//! order. Written as SQL because Diesel has no `UPDATE … FROM`.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text};

use super::backend::Conn;
use crate::error::StoreError;
use crate::rows::{AttemptRow, SessionRow};
use crate::verdict::Settling;

/// Writes accepted evidence into attempts that await it; gives back how many there were.
pub(crate) fn accept(conn: &mut Conn, rows: &[AttemptRow]) -> Result<usize, StoreError> {
    let accept = diesel::sql_query(
        "UPDATE attempts SET submitted_at = new.now, evidence_fingerprint = new.fingerprint, \
         evidence_object = new.object, evidence_epoch = new.epoch, evidence_wrapped_key = new.wrapped_key, \
         selected_field_keys = new.selected, chip_evidence_kept_used = new.kept_used, lane = new.lane, \
         outbox_at = new.now, queued_at = new.now, updated_at = new.now \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         AS new (id, now, fingerprint, object, epoch, wrapped_key, selected, kept_used, lane) \
         WHERE attempts.id = new.id AND attempts.status = 'in_progress' AND attempts.submitted_at IS NULL",
    );
    Ok(accept
        .bind::<Array<Text>, _>(column(rows, |row| row.id.as_str()))
        .bind::<Array<Nullable<BigInt>>, _>(column(rows, |row| row.submitted_at))
        .bind::<Array<Nullable<Binary>>, _>(column(rows, |row| row.evidence_fingerprint.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.evidence_object.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.evidence_epoch.as_deref()))
        .bind::<Array<Nullable<Binary>>, _>(column(rows, |row| row.evidence_wrapped_key.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.selected_field_keys.as_deref()))
        .bind::<Array<Bool>, _>(column(rows, |row| row.chip_evidence_kept_used))
        .bind::<Array<Text>, _>(column(rows, |row| row.lane.as_str()))
        .execute(conn)?)
}

/// Writes verdicts into attempts that are leased under their tokens; gives back how many there were.
pub(crate) fn settle_attempts(conn: &mut Conn, verdicts: &[Settling]) -> Result<usize, StoreError> {
    let settle = diesel::sql_query(
        "UPDATE attempts SET status = new.status, failure_code = new.failure_code, checks = new.checks, \
         evidence_object = NULL, evidence_epoch = NULL, evidence_wrapped_key = NULL, \
         terminal_object = NULL, terminal_epoch = NULL, terminal_wrapped_key = NULL, \
         outbox_at = NULL, lease_token = NULL, lease_until = NULL, completed_at = new.now, updated_at = new.now \
         FROM unnest($1, $2, $3, $4, $5, $6) AS new (id, token, status, failure_code, checks, now) \
         WHERE attempts.id = new.id AND attempts.status = 'in_progress' AND attempts.lease_token = new.token",
    );
    Ok(settle
        .bind::<Array<Text>, _>(column(verdicts, |one| one.attempt.as_str()))
        .bind::<Array<Text>, _>(column(verdicts, |one| one.lease_token.as_str()))
        .bind::<Array<Text>, _>(column(verdicts, |one| one.status.as_str()))
        .bind::<Array<Nullable<Text>>, _>(column(verdicts, |one| one.failure.map(|code| code.as_str())))
        .bind::<Array<Text>, _>(column(verdicts, |one| one.checks.as_str()))
        .bind::<Array<BigInt>, _>(column(verdicts, |one| one.now.0))
        .execute(conn)?)
}

/// Writes what verdicts made of sessions that are in progress; gives back how many there were.
pub(crate) fn settle_sessions(conn: &mut Conn, rows: &[&SessionRow]) -> Result<usize, StoreError> {
    let settle = diesel::sql_query(
        "UPDATE sessions SET status = new.status, nfc_tries_used = new.nfc, liveness_tries_used = new.liveness, \
         rejected_attempts = new.rejected, failure_code = new.failure_code, kept_object = new.object, \
         kept_epoch = new.epoch, kept_wrapped_key = new.wrapped_key, document_id_key_version = new.document_key, \
         human_id_key_version = new.human_key, completed_at = new.completed_at, updated_at = new.updated_at \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         AS new (id, status, nfc, liveness, rejected, failure_code, object, epoch, wrapped_key, document_key, \
         human_key, completed_at, updated_at) \
         WHERE sessions.id = new.id AND sessions.status = 'in_progress'",
    );
    Ok(settle
        .bind::<Array<Text>, _>(column(rows, |row| row.id.as_str()))
        .bind::<Array<Text>, _>(column(rows, |row| row.status.as_str()))
        .bind::<Array<Integer>, _>(column(rows, |row| row.nfc_tries_used))
        .bind::<Array<Integer>, _>(column(rows, |row| row.liveness_tries_used))
        .bind::<Array<Integer>, _>(column(rows, |row| row.rejected_attempts))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.failure_code.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.kept_object.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.kept_epoch.as_deref()))
        .bind::<Array<Nullable<Binary>>, _>(column(rows, |row| row.kept_wrapped_key.as_deref()))
        .bind::<Array<Nullable<Integer>>, _>(column(rows, |row| row.document_id_key_version))
        .bind::<Array<Nullable<Integer>>, _>(column(rows, |row| row.human_id_key_version))
        .bind::<Array<Nullable<BigInt>>, _>(column(rows, |row| row.completed_at))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.updated_at))
        .execute(conn)?)
}

fn column<'a, R, T>(rows: &'a [R], value: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}
