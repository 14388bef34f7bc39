//! One module per group of routes.

pub mod attempts;
pub mod bulk;
pub mod chip_authentication;
pub mod docs;
pub mod evidence;
pub mod handoff;
pub mod open;
pub mod sessions;
pub mod status_page;
pub mod verify;
pub mod views;
pub mod webhooks;

use proofmill_contract::{AttemptId, ErrorCode, OrganisationId, SessionId};
use proofmill_store::AttemptWithSession;

use crate::http::error::{Error, Result};
use crate::state::AppState;

/// A session id from a path.
pub(crate) fn session_id(text: &str) -> Result<SessionId> {
    SessionId::parse(text).map_err(|error| Error::new(ErrorCode::InvalidSessionId, error.to_string()))
}

/// An attempt id from a path. A malformed one is simply not found.
pub(crate) fn attempt_id(text: &str) -> Result<AttemptId> {
    AttemptId::parse(text).map_err(|_| Error::not_found("attempt"))
}

/// An organisation's own attempt; another's is not found.
pub(crate) async fn attempt_of(
    state: &AppState,
    organisation: &OrganisationId,
    id: &AttemptId,
) -> Result<AttemptWithSession> {
    let found = state.store.attempt(Some(organisation), id, state.clock.now()).await?;
    found.ok_or_else(|| Error::not_found("attempt"))
}

/// Destroys sealed objects that no row refers to any more. What fails here is an orphan, and the sweep's: the caller's
/// request has been done and must not fail for it.
pub(crate) async fn destroy(state: &AppState, objects: Vec<String>) {
    for object in objects {
        match state.vault.destroy(&object).await {
            Ok(()) => state.metrics.evidence_destroyed.inc(),
            Err(error) => tracing::warn!(%error, "a discarded object could not be destroyed now; the sweep will"),
        }
    }
}
