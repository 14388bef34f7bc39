use proofmill_contract::{
    ContractVersion, Counters, EndpointId, FailureCode, OrganisationId, SessionId, SessionStatus, ShareFields,
    Timestamp,
};

/// A session to create.
#[derive(Clone)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// The contract it lives under, for life.
    pub contract_version: ContractVersion,
    /// Which claims it asks for.
    pub share_fields: ShareFields,
    /// Where the holder goes afterwards.
    pub redirect_url: Option<String>,
    /// Which endpoints hear of it; `None`: every enabled one that subscribes to the event's type.
    pub webhook_endpoint_ids: Option<Vec<EndpointId>>,
    /// Keyed hash of the cancel token.
    pub cancel_token_hash: [u8; 32],
    /// When it expires.
    pub expires_at: Timestamp,
}

/// A stored session: no document data, no score.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// The contract it lives under.
    pub contract_version: ContractVersion,
    /// Where it stands.
    pub status: SessionStatus,
    /// Which claims it asks for.
    pub share_fields: ShareFields,
    /// Where the holder goes afterwards.
    pub redirect_url: Option<String>,
    /// Which endpoints hear of it; `None`: every enabled one that subscribes to the event's type.
    pub webhook_endpoint_ids: Option<Vec<EndpointId>>,
    /// Why it ended without an accepted attempt, in contract 2's words.
    pub failure_code: Option<FailureCode>,
    /// How often its holder has tried.
    pub counters: Counters,
    /// Whether chip evidence passed before and is kept, so that selfies alone may follow.
    pub chip_evidence_kept: bool,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Which sessions to list.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// Only those in this status.
    pub status: Option<SessionStatus>,
    /// Only those created at or after this.
    pub created_from: Option<Timestamp>,
    /// Only those created before or at this.
    pub created_to: Option<Timestamp>,
}

/// What a cancel by the organisation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelResult {
    /// The session is now cancelled.
    Cancelled {
        /// Sealed objects that nothing refers to any more; destroy them.
        discarded: Vec<String>,
    },
    /// It had ended already; nothing was changed.
    AlreadyTerminal(SessionStatus),
    /// No such session in this organisation.
    NotFound,
}

/// What a cancel by the holder did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicCancel {
    /// An active session is now cancelled; the token is consumed.
    Cancelled {
        /// Sealed objects that nothing refers to any more; destroy them.
        discarded: Vec<String>,
    },
    /// An ended session was withdrawn: every undelivered payload is destroyed, the token is consumed.
    Withdrawn {
        /// The session's status afterwards: `cancelled` if no endpoint had received the terminal event.
        status: SessionStatus,
    },
    /// Undelivered payloads are destroyed, but a delivery is being sent at this moment: ask again until it has
    /// ended or this time has come, after which its outcome counts as delivered. The token is not consumed yet.
    /// The request is written down: if nobody asks again, the sweep finishes it.
    SendInFlight {
        /// When the wait ends at the latest.
        until: Timestamp,
    },
    /// The session had expired or was cancelled already (or is terminal and the token was used); nothing changed.
    AlreadyTerminal(SessionStatus),
    /// The token was used before and the session is active.
    TokenUsed,
    /// Not this session's token.
    TokenInvalid,
    /// No such session.
    NotFound,
}

impl Session {
    /// Whether it is active past its time. Accepted evidence may still defer its expiry.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        !self.status.is_terminal() && self.expires_at <= now
    }
}
