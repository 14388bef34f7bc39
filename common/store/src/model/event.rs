use proofmill_contract::events::EventType;
use proofmill_contract::{AttemptId, ContractVersion, EventId, OrganisationId, SessionId, Timestamp};

/// A stored event. It holds no payload: that exists only encrypted, per delivery.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its id, which never changes over retries.
    pub id: EventId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// Of which session.
    pub session_id: SessionId,
    /// Which attempt caused it, if one did.
    pub attempt_id: Option<AttemptId>,
    /// Its type.
    pub event_type: EventType,
    /// The session's contract version.
    pub contract_version: ContractVersion,
    /// Whether it ended the session.
    pub terminal: bool,
    /// When it happened.
    pub created_at: Timestamp,
    /// When a withdrawal replaced it, if one did.
    pub superseded_at: Option<Timestamp>,
}

/// Which events to list.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only this type.
    pub event_type: Option<EventType>,
    /// Only those created at or after this.
    pub created_from: Option<Timestamp>,
    /// Only those created before or at this.
    pub created_to: Option<Timestamp>,
}
