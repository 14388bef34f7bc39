//! What a holder's browser or phone may do, knowing a session's id.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use proofmill_contract::{ErrorCode, SessionId};
use proofmill_store::PublicCancel;
use serde::Deserialize;
use tracing::Instrument as _;

use super::{destroy, session_id, views};
use crate::http::body::JsonBytes;
use crate::http::envelope;
use crate::http::error::{Error, Result};
use crate::state::{AppState, Ctx};

/// Pause between two looks at a delivery in flight.
const SEND_POLL: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelRequest {
    cancel_token: String,
}

/// `POST /v1/verify/session/{id}/cancel`
pub async fn cancel(State(ctx): State<Ctx>, Path(id): Path<String>, body: JsonBytes) -> Result<Response> {
    let id = session_id(&id)?;
    let request: CancelRequest = body.parse()?;
    let hash = cancel_token_hash(&ctx, &id, &request.cancel_token)?;
    // In a task of its own: a holder who closes the browser does not stop what they asked for.
    let task = async move { cancel_or_withdraw(&ctx, &id, hash).await };
    match tokio::spawn(task.in_current_span()).await {
        Ok(cancelled) => cancelled,
        Err(error) => Err(Error::internal(&error)),
    }
}

/// Waits, where a withdrawal has to, for the delivery in flight. Should this process end meanwhile, a sweep finishes it.
async fn cancel_or_withdraw(ctx: &Ctx, id: &SessionId, hash: [u8; 32]) -> Result<Response> {
    let mut destroyed = false;
    loop {
        match ctx.store.public_cancel(id, hash, ctx.clock.now()).await? {
            PublicCancel::Cancelled { discarded } => destroy(ctx, discarded).await,
            PublicCancel::Withdrawn { .. } => destroyed = true,
            PublicCancel::AlreadyTerminal(_) => {}
            // Whether the endpoint receives the verdict is being decided at this moment; the withdrawal depends on it.
            PublicCancel::SendInFlight { .. } => {
                destroyed = true;
                tokio::time::sleep(SEND_POLL).await;
                continue;
            }
            PublicCancel::NotFound => return Err(Error::session_not_found()),
            PublicCancel::TokenInvalid => {
                return Err(Error::new(ErrorCode::CancelTokenInvalid, "wrong cancel token"));
            }
            PublicCancel::TokenUsed => {
                return Err(Error::new(ErrorCode::CancelTokenUsed, "this cancel token was used"));
            }
        }
        if destroyed && let Err(error) = ctx.store.empty_log().await {
            // Done either way; the sweep empties it within seconds.
            tracing::warn!(%error, "the database's log is not emptied yet after a withdrawal");
        }
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
}

/// `GET /v1/verify/session/{id}/status`
pub async fn status(State(ctx): State<Ctx>, Path(id): Path<String>) -> Result<Response> {
    let id = session_id(&id)?;
    let session = ctx.store.session(None, &id, ctx.clock.now()).await?.ok_or_else(Error::session_not_found)?;
    Ok(envelope::data(StatusCode::OK, &views::public_status(&session)))
}

/// Keyed and bound to the session: a copy of the database yields no token and no token serves another session.
pub(crate) fn cancel_token_hash(state: &AppState, session: &SessionId, token: &str) -> Result<[u8; 32]> {
    Ok(state.deployment.hmac("token.cancel", &[session.as_str().as_bytes(), token.as_bytes()])?)
}
