//! Claiming deliveries that are due.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use proofmill_contract::Timestamp;

use super::backend::{Conn, lock_free};
use super::endpoints::end_late;
use super::{breakers, deliveries, secrets};
use crate::breaker::{State, latest_end};
use crate::error::StoreError;
use crate::limits::{lease_token, sql_limit};
use crate::model::{ClaimRequest, Claimed, DeliveryStatus, DueDelivery};
use crate::places::Ask;
use crate::rows::{DeliveryRow, EndpointRow, count, parse};
use crate::schema::{deliveries as rows, endpoint_breakers, webhook_endpoints};

/// Endpoints that one claim looks at. The next claim goes on behind the last of them, so that each gets its turn
/// however many there are.
const ENDPOINTS: i64 = 256;

pub(crate) fn claim(conn: &mut Conn, request: &ClaimRequest, now: Timestamp) -> Result<Claimed, StoreError> {
    deliveries::reclaim_lost(conn, now)?;
    let (waiting, next) = waiting(conn, request.after.as_deref().unwrap_or_default(), now)?;
    if waiting.is_empty() || request.limit == 0 {
        return Ok(Claimed { deliveries: Vec::new(), after: next });
    }
    let ids: Vec<&str> = waiting.iter().map(String::as_str).collect();
    // The endpoints' rows are held until commit, so that two senders cannot fill one endpoint's cap twice; a sender skips
    // those that another is just claiming.
    let query = webhook_endpoints::table
        .filter(webhook_endpoints::id.eq_any(&ids))
        .order(webhook_endpoints::id)
        .select(EndpointRow::as_select());
    let mut endpoints: HashMap<String, EndpointRow> =
        lock_free!(query).load(conn)?.into_iter().map(|row: EndpointRow| (row.id.clone(), row)).collect();
    let breakers = breakers::of(conn, &ids)?;
    let mut in_flight = InFlight::load(conn)?;
    let mut probes = Probes::new(request.probes);

    let token = lease_token();
    let mut claimed = Vec::new();
    for id in &waiting {
        let Some(endpoint) = endpoints.remove(id) else { continue };
        if !endpoint.enabled || endpoint.deleted_at.is_some() {
            end_late(conn, &endpoint, now)?;
            continue;
        }
        let room = in_flight.room(request, &endpoint, claimed.len());
        let known = breakers.get(id);
        let state = known.map_or(State::Closed, |known| known.breaker.state(now));
        let batch = Batch { endpoint: &endpoint, token: &token, until: now.plus(request.lease_for), now };
        let taken = match state {
            State::Closed => batch.take(conn, room)?,
            _ if room == 0 => Vec::new(),
            _ => {
                let last = match known {
                    Some(known) if known.last_tries => {
                        let free = probes.up_to(conn, room)?;
                        batch.take_last(conn, free)?
                    }
                    _ => None,
                };
                match last {
                    Some(last) => last,
                    None if state == State::HalfOpen && in_flight.of_endpoint(id) == 0 => {
                        let free = probes.up_to(conn, 1)?;
                        batch.take(conn, free)?
                    }
                    None => Vec::new(),
                }
            }
        };
        if state != State::Closed {
            probes.took(taken.len());
        }
        in_flight.add(endpoint.organisation_id.clone(), taken.len());
        claimed.extend(taken);
        if claimed.len() >= request.limit {
            let after = Some(id.clone());
            return Ok(Claimed { deliveries: with_secrets(conn, claimed, token, now)?, after });
        }
    }
    Ok(Claimed { deliveries: with_secrets(conn, claimed, token, now)?, after: next })
}

/// Deliveries being sent, over all senders: of each endpoint and of each organisation.
#[derive(Default)]
struct InFlight {
    endpoints: HashMap<String, usize>,
    organisations: HashMap<String, usize>,
}

impl InFlight {
    /// The status is written out, for the index that holds nothing but what is being sent is on that condition.
    fn load(conn: &mut Conn) -> Result<Self, StoreError> {
        let found: Vec<Sending> = diesel::sql_query(
            "SELECT endpoint_id, organisation_id, COUNT(*) AS deliveries FROM deliveries \
             WHERE status = 'sending' GROUP BY endpoint_id, organisation_id",
        )
        .load(conn)?;
        let mut in_flight = Self::default();
        for Sending { endpoint_id, organisation_id, deliveries } in found {
            let deliveries = usize::try_from(deliveries).unwrap_or(usize::MAX);
            in_flight.add(organisation_id, deliveries);
            in_flight.endpoints.insert(endpoint_id, deliveries);
        }
        Ok(in_flight)
    }

    fn of_endpoint(&self, endpoint: &str) -> usize {
        self.endpoints.get(endpoint).copied().unwrap_or(0)
    }

    /// How many more the endpoint may get after `claimed` others: as its own pace, its organisation's share and the
    /// sender's room allow.
    fn room(&self, request: &ClaimRequest, endpoint: &EndpointRow, claimed: usize) -> usize {
        let pace = request.paces.get(&endpoint.id);
        let ask = Ask {
            free: request.limit.saturating_sub(claimed),
            reserved: request.reserved,
            slow: pace.is_some_and(|pace| !pace.quick),
            divided: request.divided,
            organisation: self.organisations.get(&endpoint.organisation_id).copied().unwrap_or(0),
            most_of_organisation: request.per_organisation,
            endpoint: self.of_endpoint(&endpoint.id),
            most_of_endpoint: pace.map_or(request.per_new_endpoint, |pace| pace.most).min(request.per_endpoint),
        };
        ask.granted()
    }

    fn add(&mut self, organisation: String, deliveries: usize) {
        let of_organisation = self.organisations.entry(organisation).or_default();
        *of_organisation = of_organisation.saturating_add(deliveries);
    }
}

#[derive(QueryableByName)]
struct Sending {
    #[diesel(sql_type = Text)]
    endpoint_id: String,
    #[diesel(sql_type = Text)]
    organisation_id: String,
    #[diesel(sql_type = BigInt)]
    deliveries: i64,
}

/// Tries that endpoints whose breaker is not closed may have: those that hang must not fill the senders together either.
struct Probes {
    most: i64,
    free: Option<usize>,
}

impl Probes {
    fn new(most: usize) -> Self {
        Self { most: sql_limit(most), free: None }
    }

    /// As many as may begin, of `wanted`.
    fn up_to(&mut self, conn: &mut Conn, wanted: usize) -> Result<usize, StoreError> {
        let free = match self.free {
            Some(free) => free,
            None => usize::try_from(self.most - under_way(conn)?).unwrap_or(0),
        };
        self.free = Some(free);
        Ok(free.min(wanted))
    }

    fn took(&mut self, tries: usize) {
        self.free = self.free.map(|free| free.saturating_sub(tries));
    }
}

/// Deliveries being sent to endpoints whose breaker is not closed.
fn under_way(conn: &mut Conn) -> Result<i64, StoreError> {
    let suspects = endpoint_breakers::table
        .filter(endpoint_breakers::open_until.is_not_null())
        .select(endpoint_breakers::endpoint_id);
    Ok(rows::table
        .filter(rows::status.eq(DeliveryStatus::Sending.as_str()))
        .filter(rows::endpoint_id.eq_any(suspects))
        .count()
        .get_result(conn)?)
}

#[derive(QueryableByName)]
struct Waiting {
    #[diesel(sql_type = Text)]
    endpoint_id: String,
}

/// Endpoints with a delivery that is due, whose breaker is not open or has last tries to let through: by id, from the one behind `after`, then around.
/// And where the next claim should go on.
fn waiting(conn: &mut Conn, after: &str, now: Timestamp) -> Result<(Vec<String>, Option<String>), StoreError> {
    let mut found = scan(conn, after, now)?;
    let full = |found: &[String]| i64::try_from(found.len()).unwrap_or(i64::MAX) >= ENDPOINTS;
    if full(&found) {
        let last = found.last().cloned();
        return Ok((found, last));
    }
    if !after.is_empty() {
        let again = scan(conn, "", now)?;
        found.extend(again.into_iter().take_while(|id| id.as_str() <= after));
    }
    Ok((found, None))
}

/// A loose index scan over `deliveries_due`: one probe for each endpoint that has something waiting, however much it is
/// and however many endpoints have nothing. The status is written out, for an index on a condition is used only
/// where the condition can be seen.
fn scan(conn: &mut Conn, after: &str, now: Timestamp) -> Result<Vec<String>, StoreError> {
    let found: Vec<Waiting> = diesel::sql_query(
        "WITH RECURSIVE waiting (endpoint_id) AS ( \
            SELECT (SELECT endpoint_id FROM deliveries \
                    WHERE status = 'pending' AND endpoint_id > $1 ORDER BY endpoint_id LIMIT 1) \
            UNION ALL \
            SELECT (SELECT d.endpoint_id FROM deliveries d \
                    WHERE d.status = 'pending' AND d.endpoint_id > w.endpoint_id ORDER BY d.endpoint_id LIMIT 1) \
            FROM waiting w WHERE w.endpoint_id IS NOT NULL \
         ) \
         SELECT w.endpoint_id FROM waiting w \
         WHERE w.endpoint_id IS NOT NULL \
           AND EXISTS (SELECT 1 FROM deliveries d \
                       WHERE d.status = 'pending' AND d.endpoint_id = w.endpoint_id AND d.next_attempt_at <= $2) \
           AND NOT EXISTS (SELECT 1 FROM endpoint_breakers b \
                           WHERE b.endpoint_id = w.endpoint_id AND b.open_until > $2 AND b.open_until <= $3 \
                             AND NOT b.last_tries) \
         LIMIT $4",
    )
    .bind::<Text, _>(after)
    .bind::<BigInt, _>(now.0)
    .bind::<BigInt, _>(latest_end(now).0)
    .bind::<BigInt, _>(ENDPOINTS)
    .load(conn)?;
    Ok(found.into_iter().map(|waiting| waiting.endpoint_id).collect())
}

struct Taken {
    row: DeliveryRow,
    url: String,
    due_at: i64,
}

/// Of one endpoint, to be marked as `sending`.
struct Batch<'a> {
    endpoint: &'a EndpointRow,
    token: &'a str,
    until: Timestamp,
    now: Timestamp,
}

impl Batch<'_> {
    /// Up to `free` that are due, the longest due first.
    fn take(&self, conn: &mut Conn, free: usize) -> Result<Vec<Taken>, StoreError> {
        if free == 0 {
            return Ok(Vec::new());
        }
        let due = rows::table
            .filter(rows::endpoint_id.eq(&self.endpoint.id))
            .filter(rows::status.eq(DeliveryStatus::Pending.as_str()))
            .filter(rows::next_attempt_at.le(self.now.0))
            .order(rows::next_attempt_at)
            .limit(sql_limit(free))
            .select((rows::id, rows::next_attempt_at));
        let due = lock_free!(due).load(conn)?;
        self.mark(conn, due)
    }

    /// Up to `free` of those whose time is over and that were never tried; `None` if there are none left.
    fn take_last(&self, conn: &mut Conn, free: usize) -> Result<Option<Vec<Taken>>, StoreError> {
        if free == 0 {
            return Ok(Some(Vec::new()));
        }
        let over = rows::table
            .filter(rows::endpoint_id.eq(&self.endpoint.id))
            .filter(rows::status.eq(DeliveryStatus::Pending.as_str()))
            .filter(rows::next_attempt_at.le(self.now.0))
            .filter(rows::tries.eq(0))
            .filter(rows::give_up_at.le(deliveries::life_over(self.endpoint.retention_hours, self.now)))
            .order(rows::next_attempt_at)
            .limit(sql_limit(free))
            .select((rows::id, rows::next_attempt_at));
        let over: Vec<(String, Option<i64>)> = lock_free!(over).load(conn)?;
        if over.is_empty() {
            breakers::no_last_tries(conn, &self.endpoint.id)?;
            return Ok(None);
        }
        self.mark(conn, over).map(Some)
    }

    fn mark(&self, conn: &mut Conn, due: Vec<(String, Option<i64>)>) -> Result<Vec<Taken>, StoreError> {
        let due: HashMap<String, Option<i64>> = due.into_iter().collect();
        let taken: Vec<DeliveryRow> = diesel::update(rows::table.filter(rows::id.eq_any(due.keys())))
            .set((
                rows::status.eq(DeliveryStatus::Sending.as_str()),
                rows::next_attempt_at.eq(None::<i64>),
                rows::tries.eq(rows::tries + 1),
                rows::lease_token.eq(self.token),
                rows::lease_until.eq(self.until.0),
                rows::updated_at.eq(self.now.0),
            ))
            .returning(DeliveryRow::as_returning())
            .get_results(conn)?;
        let due_at = |row: &DeliveryRow| due.get(&row.id).copied().flatten().unwrap_or(self.now.0);
        Ok(taken.into_iter().map(|row| Taken { due_at: due_at(&row), row, url: self.endpoint.url.clone() }).collect())
    }
}

fn with_secrets(
    conn: &mut Conn,
    claimed: Vec<Taken>,
    token: String,
    now: Timestamp,
) -> Result<Vec<DueDelivery>, StoreError> {
    if claimed.is_empty() {
        return Ok(Vec::new());
    }
    let mut endpoints: Vec<&str> = claimed.iter().map(|taken| taken.row.endpoint_id.as_str()).collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    let mut sealed: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    for secret in secrets::valid(conn, &endpoints, now)? {
        sealed.entry(secret.endpoint_id).or_default().push(secret.sealed);
    }
    claimed
        .into_iter()
        .map(|Taken { row, url, due_at }| {
            Ok(DueDelivery {
                id: parse(&row.id, "deliveries.id")?,
                lease_token: token.clone(),
                event_id: parse(&row.event_id, "deliveries.event_id")?,
                event_type: parse(&row.event_type, "deliveries.event_type")?,
                secrets_sealed: sealed.get(&row.endpoint_id).cloned().unwrap_or_default(),
                endpoint_id: parse(&row.endpoint_id, "deliveries.endpoint_id")?,
                organisation_id: parse(&row.organisation_id, "deliveries.organisation_id")?,
                url,
                payload: row.payload.ok_or(StoreError::Corrupt("deliveries.payload"))?,
                try_number: count(row.tries, "deliveries.tries")?,
                due_at: Timestamp(due_at),
            })
        })
        .collect()
}
