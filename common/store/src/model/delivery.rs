use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use proofmill_contract::events::EventType;
use proofmill_contract::{DeliveryId, EndpointId, EventId, OrganisationId, SessionId, Timestamp};

/// Where a delivery stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeliveryStatus {
    /// Waiting for its next try.
    Pending,
    /// A sender holds it.
    Sending,
    /// The endpoint answered 2xx.
    Delivered,
    /// Given up; `reason` says why.
    Failed,
}

impl DeliveryStatus {
    /// Every value.
    pub const ALL: [DeliveryStatus; 4] =
        [DeliveryStatus::Pending, DeliveryStatus::Sending, DeliveryStatus::Delivered, DeliveryStatus::Failed];

    /// The value as it is published and stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryStatus::Pending => "pending",
            DeliveryStatus::Sending => "sending",
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Failed => "failed",
        }
    }
}

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no delivery status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a delivery status: expected pending, sending, delivered or failed")]
pub struct UnknownDeliveryStatus;

impl FromStr for DeliveryStatus {
    type Err = UnknownDeliveryStatus;
    fn from_str(text: &str) -> Result<Self, UnknownDeliveryStatus> {
        DeliveryStatus::ALL.into_iter().find(|status| status.as_str() == text).ok_or(UnknownDeliveryStatus)
    }
}

/// One event on its way to one endpoint.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Which event.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: EventType,
    /// To which endpoint.
    pub endpoint_id: EndpointId,
    /// Of which session.
    pub session_id: SessionId,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Why it failed, such as `no_active_key`.
    pub reason: Option<String>,
    /// Tries of the current schedule.
    pub tries: u32,
    /// The last try's HTTP status, if there was an answer.
    pub last_status_code: Option<u16>,
    /// The last try's error, if there was none.
    pub last_error: Option<String>,
    /// When the next try is due.
    pub next_attempt_at: Option<Timestamp>,
    /// Whether the payload still exists.
    pub payload_available: bool,
    /// When it was delivered.
    pub delivered_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Which deliveries to list.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// Only those in this status.
    pub status: Option<DeliveryStatus>,
    /// Only those to this endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// Only those of this event.
    pub event_id: Option<EventId>,
}

/// A delivery to send now, marked `sending`.
#[derive(Clone)]
pub struct DueDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Proof of holding it.
    pub lease_token: String,
    /// Which event.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: EventType,
    /// To which endpoint.
    pub endpoint_id: EndpointId,
    /// Whose endpoint it is.
    pub organisation_id: OrganisationId,
    /// Where to send.
    pub url: String,
    /// Sealed signing secrets, the current one first.
    pub secrets_sealed: Vec<Vec<u8>>,
    /// The compact JWE.
    pub payload: String,
    /// Which try of the schedule this is, from 1.
    pub try_number: u32,
    /// When it fell due.
    pub due_at: Timestamp,
}

/// How much to claim.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// Most deliveries.
    pub limit: usize,
    /// Of `limit`, what is kept from endpoints that are known to be slow.
    pub reserved: usize,
    /// Whether organisations share `limit`: one gets another place only while it holds fewer than half of those that are
    /// free. For a caller that claims once and for itself there is nobody to share with.
    pub divided: bool,
    /// Most deliveries in flight to one endpoint, over all senders.
    pub per_endpoint: usize,
    /// The same for an endpoint of which `paces` says nothing.
    pub per_new_endpoint: usize,
    /// Most deliveries in flight to the endpoints of one organisation, over all senders; what two senders claim at one
    /// moment may pass it.
    pub per_organisation: usize,
    /// What the sender knows of endpoints, by id.
    pub paces: Arc<HashMap<String, Pace>>,
    /// Most deliveries in flight to endpoints whose breaker is half-open, over all senders; each gets one at a time.
    pub probes: usize,
    /// How long what is claimed is held.
    pub lease_for: Duration,
    /// Where the last claim left off: [`Claimed::after`].
    pub after: Option<String>,
}

/// How an endpoint has answered of late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Most deliveries that it should have in flight.
    pub most: usize,
    /// Whether its last answer came quickly and said that it is well.
    pub quick: bool,
}

/// What was claimed.
pub struct Claimed {
    /// To be sent now.
    pub deliveries: Vec<DueDelivery>,
    /// Where the next claim should go on, so that every endpoint gets its turn; `None` at the end of a round.
    pub after: Option<String>,
}

/// A try that ended.
#[derive(Clone, Debug)]
pub struct TryEnded {
    /// Of which delivery.
    pub id: DeliveryId,
    /// Proof of holding it.
    pub lease_token: String,
    /// The URL that it was sent to: what came of it says something of the endpoint only while that is its URL still. `None`:
    /// wherever it is now.
    pub sent_to: Option<String>,
    /// What becomes of the delivery.
    pub outcome: DeliveryOutcome,
    /// What it says of the endpoint, for its circuit breaker: `Some(false)` where it gave no answer, or one that says
    /// that it is not well; `None` where it says nothing.
    pub endpoint_well: Option<bool>,
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// A 2xx answer.
    Delivered {
        /// The HTTP status.
        status: u16,
    },
    /// To be tried again.
    Retry {
        /// When.
        at: Timestamp,
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// What went wrong; no part of the answer's body.
        error: String,
        /// Whether the endpoint may have received it all the same (the request was written, no answer came): a
        /// later withdrawal must then count it as delivered.
        maybe_received: bool,
    },
    /// Given up.
    Failed {
        /// Why, as published: `schedule_exhausted`, `url_rejected`, …
        reason: String,
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// What went wrong at the last try.
        error: Option<String>,
        /// As for [`DeliveryOutcome::Retry`].
        maybe_received: bool,
    },
    /// 410: this delivery fails, the endpoint is disabled and its other deliveries end. If it has another URL by now, the
    /// delivery is due there at once, and nothing else happens.
    EndpointGone,
}

/// What asking for another try did.
// One per request, not stored in bulk: the size of the largest variant costs nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum RetryResult {
    /// It is due now, with a fresh schedule; one that is being sent begins it if this try fails.
    Retried(Delivery),
    /// The payload is destroyed.
    PayloadExpired,
    /// The endpoint is disabled or deleted.
    EndpointUnavailable,
    /// No such delivery.
    NotFound,
}

/// What asking for a replay did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayResult {
    /// So many deliveries are due now, those being sent (which are tried afresh if that fails) included.
    Replayed(usize),
    /// Every payload is destroyed.
    PayloadExpired,
    /// No such event.
    NotFound,
}
