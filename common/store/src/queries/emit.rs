//! Writing an event and its encrypted deliveries: in the transaction of what happened, or not at all.

use diesel::prelude::*;
use proofmill_contract::Timestamp;

use super::backend::Conn;
use crate::error::StoreError;
use crate::limits::{MAX_BATCH, STATEMENT_BYTES};
use crate::outgoing::{Happening, Outgoing, Recipients, compose};
use crate::rows::{DeliveryRow, EndpointRow, EventRow, SessionRow, WebhookKeyRow};
use crate::schema::{deliveries, encryption_keys, events, webhook_endpoints};

/// Emits an event of a session; gives back how many deliveries it has.
pub(super) fn emit(
    conn: &mut Conn,
    recipients: &mut Recipients,
    session: &SessionRow,
    happening: &Happening<'_>,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let outgoing = prepare(conn, recipients, session, happening, now)?;
    let deliveries = outgoing.deliveries();
    insert(conn, &[outgoing])?;
    Ok(deliveries)
}

/// Composes an event, to be encrypted and inserted later in the same transaction.
pub(super) fn prepare(
    conn: &mut Conn,
    recipients: &mut Recipients,
    session: &SessionRow,
    happening: &Happening<'_>,
    now: Timestamp,
) -> Result<Outgoing, StoreError> {
    let recipients = recipients.of(&session.organisation_id, || load(conn, &session.organisation_id))?;
    compose(session, recipients, happening, now)
}

/// Inserts events and their deliveries, many to a statement. Payloads are encrypted as they are written, a few at a time:
/// an event with a portrait in it has one of a megabyte and more for each endpoint.
pub(super) fn insert(conn: &mut Conn, outgoing: &[Outgoing]) -> Result<(), StoreError> {
    let rows: Vec<&EventRow> = outgoing.iter().map(|outgoing| &outgoing.event).collect();
    for rows in rows.chunks(MAX_BATCH) {
        diesel::insert_into(events::table).values(rows.to_vec()).execute(conn)?;
    }
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for row in outgoing.iter().flat_map(Outgoing::encrypted) {
        bytes += row.payload.as_ref().map_or(0, String::len);
        rows.push(row);
        if rows.len() >= MAX_BATCH || bytes >= STATEMENT_BYTES {
            insert_deliveries(conn, &mut rows)?;
            bytes = 0;
        }
    }
    insert_deliveries(conn, &mut rows)
}

fn insert_deliveries(conn: &mut Conn, rows: &mut Vec<DeliveryRow>) -> Result<(), StoreError> {
    if !rows.is_empty() {
        diesel::insert_into(deliveries::table).values(&*rows).execute(conn)?;
        rows.clear();
    }
    Ok(())
}

/// An organisation's enabled endpoints, each with its active key.
fn load(conn: &mut Conn, organisation: &str) -> Result<Vec<(EndpointRow, Option<WebhookKeyRow>)>, StoreError> {
    let active = encryption_keys::endpoint_id.eq(webhook_endpoints::id).and(encryption_keys::active.eq(true));
    Ok(webhook_endpoints::table
        .left_join(encryption_keys::table.on(active))
        .filter(webhook_endpoints::organisation_id.eq(organisation))
        .filter(webhook_endpoints::enabled.eq(true))
        .filter(webhook_endpoints::deleted_at.is_null())
        .order(webhook_endpoints::id)
        .select((EndpointRow::as_select(), Option::<WebhookKeyRow>::as_select()))
        .load(conn)?)
}
