//! Idempotency keys: the first request runs under a lease, later ones are answered with its sealed response.

use std::time::Duration;

use diesel::prelude::*;
use proofmill_contract::limits::IDEMPOTENCY_LIFE;
use proofmill_contract::{OrganisationId, Timestamp};
use subtle::ConstantTimeEq;

use super::backend::{Conn, lock};
use crate::error::StoreError;
use crate::limits::lease_token;
use crate::model::{Answer, Begin};
use crate::rows::IdempotencyRow;
use crate::schema::idempotency_keys;

pub(crate) fn begin(
    conn: &mut Conn,
    organisation: &OrganisationId,
    route: &str,
    key: &str,
    fingerprint: &[u8; 32],
    lease: Duration,
    now: Timestamp,
) -> Result<Begin, StoreError> {
    let fresh = IdempotencyRow {
        organisation_id: organisation.to_string(),
        route: route.to_owned(),
        key: key.to_owned(),
        fingerprint: fingerprint.to_vec(),
        lease_token: lease_token(),
        lease_until: now.plus(lease).0,
        response_status: None,
        response_sealed: None,
        created_at: now.0,
        expires_at: now.plus(IDEMPOTENCY_LIFE).0,
    };
    // Of two requests that come at once, PostgreSQL lets the second wait here for the first one's commit.
    let inserted =
        diesel::insert_into(idempotency_keys::table).values(&fresh).on_conflict_do_nothing().execute(conn)?;
    if inserted == 1 {
        return Ok(Begin::Fresh(fresh.lease_token));
    }

    let primary_key = (organisation.as_str(), route, key);
    let query = idempotency_keys::table.find(primary_key).select(IdempotencyRow::as_select());
    // None: abandoned or purged in this moment. The caller's next try finds the key free.
    let Some(row) = lock!(query).first(conn).optional()? else { return Ok(Begin::InProgress) };
    if row.expires_at > now.0 {
        if !bool::from(row.fingerprint.as_slice().ct_eq(fingerprint)) {
            return Ok(Begin::Reused);
        }
        if let (Some(sealed), Some(status)) = (row.response_sealed, row.response_status) {
            let status = u16::try_from(status).map_err(|_| StoreError::Corrupt("idempotency_keys.response_status"))?;
            return Ok(Begin::Replay { sealed, status });
        }
        if row.lease_until > now.0 {
            return Ok(Begin::InProgress);
        }
    }
    diesel::update(idempotency_keys::table.find(primary_key))
        .set((
            idempotency_keys::fingerprint.eq(&fresh.fingerprint),
            idempotency_keys::lease_token.eq(&fresh.lease_token),
            idempotency_keys::lease_until.eq(fresh.lease_until),
            idempotency_keys::response_status.eq(None::<i32>),
            idempotency_keys::response_sealed.eq(None::<Vec<u8>>),
            idempotency_keys::created_at.eq(fresh.created_at),
            idempotency_keys::expires_at.eq(fresh.expires_at),
        ))
        .execute(conn)?;
    Ok(Begin::Fresh(fresh.lease_token))
}

/// Stores the answer to what this transaction has done. A lease that was lost undoes the whole transaction: whoever took
/// the key over does the work, so that it is done once.
pub(crate) fn answer<T>(
    conn: &mut Conn,
    answer: Option<&Answer<T>>,
    done: &T,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(answer) = answer else { return Ok(()) };
    let held = match answer.compose(done).map_err(StoreError::Answer)? {
        Some(stored) => finish(conn, answer.token(), stored.status, &stored.sealed, now)?,
        None => abandon(conn, answer.token())?,
    };
    if held { Ok(()) } else { Err(StoreError::KeyTakenOver) }
}

pub(crate) fn finish(
    conn: &mut Conn,
    token: &str,
    status: u16,
    sealed: &[u8],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let running = idempotency_keys::table
        .filter(idempotency_keys::lease_token.eq(token))
        .filter(idempotency_keys::response_sealed.is_null());
    let finished = diesel::update(running)
        .set((
            idempotency_keys::response_status.eq(i32::from(status)),
            idempotency_keys::response_sealed.eq(sealed),
            idempotency_keys::lease_until.eq(now.0),
        ))
        .execute(conn)?;
    Ok(finished == 1)
}

pub(crate) fn abandon(conn: &mut Conn, token: &str) -> Result<bool, StoreError> {
    let running = idempotency_keys::table
        .filter(idempotency_keys::lease_token.eq(token))
        .filter(idempotency_keys::response_sealed.is_null());
    Ok(diesel::delete(running).execute(conn)? == 1)
}

pub(crate) fn purge(conn: &mut Conn, now: Timestamp) -> Result<usize, StoreError> {
    Ok(diesel::delete(idempotency_keys::table.filter(idempotency_keys::expires_at.le(now.0))).execute(conn)?)
}
