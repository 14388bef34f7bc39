use std::time::Duration;

use proofmill_contract::Lane;

/// What is waiting, for metrics and health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Per lane.
    pub lanes: Vec<LaneBacklog>,
    /// Attempts that wait for the relay.
    pub outbox: u64,
    /// Attempts set aside.
    pub quarantined: u64,
    /// Deliveries that wait for a try (due or not).
    pub deliveries_pending: u64,
    /// Deliveries that are due.
    pub deliveries_due: u64,
    /// Endpoints whose circuit breaker is not closed.
    pub breakers_open: u64,
    /// How long the most overdue delivery has been due.
    pub oldest_due_delivery: Option<Duration>,
}

/// Accepted and unsettled attempts of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneBacklog {
    /// Which lane.
    pub lane: Lane,
    /// Waiting for a worker.
    pub queued: u64,
    /// Held by a worker.
    pub verifying: u64,
    /// How long ago the oldest unsettled evidence was accepted.
    pub oldest: Option<Duration>,
}
