//! Reading attempts.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use proofmill_contract::limits::MAX_LONG_POLL;
use proofmill_contract::{ApiError, Phase};

use super::{attempt_id, attempt_of, session_id, views};
use crate::http::auth::{Authorised, SessionsRead};
use crate::http::envelope;
use crate::http::error::{Error, Result};
use crate::http::page;
use crate::http::query::Query;
use crate::state::Ctx;

/// First and longest pause between two looks of a long poll. The verdict of one attempt takes a fraction of a second, the
/// wait for a crowded queue much longer.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// `GET /v1/attempts/{id}[?wait=20]`
pub async fn get(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<SessionsRead>,
    Path(id): Path<String>,
    mut query: Query,
) -> Result<Response> {
    let wait = wait(&mut query)?;
    query.finish()?;
    let id = attempt_id(&id)?;
    let deadline = tokio::time::Instant::now() + wait;
    let mut pause = FIRST_PAUSE;
    loop {
        let found = attempt_of(&ctx, &caller.organisation, &id).await?;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if found.attempt.phase == Phase::Settled || left.is_zero() || ctx.shutdown.is_cancelled() {
            return Ok(envelope::data(StatusCode::OK, &views::attempt(&found.attempt, &found.session)));
        }
        tokio::select! {
            () = tokio::time::sleep(pause.min(left)) => {}
            () = ctx.shutdown.cancelled() => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// `GET /v1/sessions/{id}/attempts`
pub async fn of_session(
    State(ctx): State<Ctx>,
    Authorised { caller, .. }: Authorised<SessionsRead>,
    Path(id): Path<String>,
    mut query: Query,
) -> Result<Response> {
    let request = page::request(&mut query)?;
    query.finish()?;
    let limit = request.limit;
    let id = session_id(&id)?;
    let now = ctx.clock.now();
    let session =
        ctx.store.session(Some(&caller.organisation), &id, now).await?.ok_or_else(Error::session_not_found)?;
    let rows = ctx.store.list_attempts(&session.id, request, now).await?;
    let items = rows.items.iter().map(|attempt| views::attempt(attempt, &session)).collect();
    Ok(page::response(limit, &rows, items))
}

fn wait(query: &mut Query) -> Result<Duration> {
    let most = MAX_LONG_POLL.as_secs();
    let expected = format!("seconds from 0 to {most}");
    match query.take::<u64>("wait", &expected)? {
        None => Ok(Duration::ZERO),
        Some(seconds) if seconds <= most => Ok(Duration::from_secs(seconds)),
        Some(_) => Err(ApiError::invalid_field("wait", format!("expected {expected}")).into()),
    }
}
