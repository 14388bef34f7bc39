//! What a holder's browser or phone may do, knowing a session's id.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use proofmill_contract::{ErrorCode, SessionId};
use proofmill_store::PublicCancel;
use serde::Deserialize;

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
    loop {
        match ctx.store.public_cancel(&id, hash, ctx.clock.now()).await? {
            PublicCancel::Cancelled { discarded } => destroy(&ctx, discarded).await,
            PublicCancel::Withdrawn { .. } | PublicCancel::AlreadyTerminal(_) => {}
            // Whether the endpoint receives the verdict is being decided at this moment; the withdrawal depends on it.
            PublicCancel::SendInFlight { .. } => {
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
