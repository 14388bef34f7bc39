//! Objects as integrators see them. No document data can be here: the rows hold none.

use std::collections::HashMap;

use proofmill_contract::{SessionId, limits::MAX_TRIES};
use proofmill_store::{Attempt, Session};
use serde_json::{Value, json};

use crate::state::ApiConfig;

/// A session. `webhook_endpoint_id` is an id, an array of ids, or null for every enabled endpoint.
pub fn session(session: &Session, config: &ApiConfig) -> Value {
    let endpoints = match session.webhook_endpoint_ids.as_deref() {
        None => Value::Null,
        Some([one]) => json!(one),
        Some(many) => json!(many),
    };
    json!({
        "id": session.id,
        "status": session.status,
        "contract_version": session.contract_version,
        "share_fields": session.share_fields,
        "redirect_url": session.redirect_url,
        "webhook_endpoint_id": endpoints,
        "verification_url": verification_url(config, &session.id, None),
        "failure_code": session.failure_code.map(|code| code.in_contract(session.contract_version)),
        "nfc_tries_used": session.counters.nfc_tries_used,
        "liveness_tries_used": session.counters.liveness_tries_used,
        "expires_at": session.expires_at,
        "completed_at": session.completed_at,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
    })
}

/// Where the holder goes.
pub fn verification_url(config: &ApiConfig, session: &SessionId, cancel_token: Option<&str>) -> String {
    let base = config.verify_base_url.trim_end_matches('/');
    match cancel_token {
        None => format!("{base}/{session}"),
        Some(token) => format!("{base}/{session}?cancel_token={token}"),
    }
}

/// What anybody who knows a session's id may see of it.
pub fn public_status(session: &Session) -> Value {
    json!({
        "session_id": session.id,
        "status": session.status,
        "is_terminal": session.status.is_terminal(),
        "completed_at": session.completed_at,
        "redirect_url": session.redirect_url,
        "nfc_tries_remaining": MAX_TRIES.saturating_sub(session.counters.nfc_tries_used),
        "liveness_tries_remaining": MAX_TRIES.saturating_sub(session.counters.liveness_tries_used),
    })
}

/// An attempt; its failure code in the words of its session's contract.
pub fn attempt(attempt: &Attempt, session: &Session) -> Value {
    json!({
        "id": attempt.id,
        "session_id": attempt.session_id,
        "status": attempt.status,
        "phase": attempt.phase,
        "failure_code": attempt.failure_code.map(|code| code.in_contract(session.contract_version)),
        "checks": attempt.checks,
        "created_at": attempt.created_at,
        "updated_at": attempt.updated_at,
        "completed_at": attempt.completed_at,
    })
}

/// Adds `attempts`, oldest first, to each of these sessions.
pub fn with_attempts(sessions: &[Session], attempts: Vec<Attempt>, config: &ApiConfig) -> Vec<Value> {
    let mut by_session: HashMap<SessionId, Vec<Attempt>> = HashMap::new();
    for attempt in attempts {
        by_session.entry(attempt.session_id.clone()).or_default().push(attempt);
    }
    sessions
        .iter()
        .map(|row| {
            let mut attempts = by_session.remove(&row.id).unwrap_or_default();
            attempts.sort_by(|a, b| a.id.cmp(&b.id));
            let mut value = session(row, config);
            value["attempts"] = attempts.iter().map(|one| attempt(one, row)).collect();
            value
        })
        .collect()
}
