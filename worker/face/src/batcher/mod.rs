//! Batching: which attempts go to the device together, and when.
//!
//! The rules are a state machine without threads or clocks ([`Batcher`]); [`BatchService`] is
//! the threads around it.

mod service;
mod state;

use std::time::Duration;

pub use service::{BatchReport, BatchService, SubmitError, Ticket};
pub use state::{Batch, Batcher, Refused, Step};

/// Which queue an attempt waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// A person is waiting: short deadline.
    Interactive,
    /// Nobody is waiting: fills the room that interactive attempts leave.
    Bulk,
    /// A redelivered attempt: runs alone, so that it cannot take neighbours down.
    Isolated,
}

/// Why a batch was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// It has as many attempts as a batch may have.
    Full,
    /// Its oldest attempt has waited long enough.
    Deadline,
    /// Nothing more is arriving.
    Idle,
    /// The service is shutting down.
    Drain,
    /// It is one attempt that must run alone.
    Isolation,
}

impl CloseReason {
    /// The name in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Deadline => "deadline",
            Self::Idle => "idle",
            Self::Drain => "drain",
            Self::Isolation => "isolation",
        }
    }
}

/// How batches are formed.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchConfig {
    /// Most attempts in a batch.
    pub max_batch: usize,
    /// A batch closes when its oldest interactive attempt has waited this long.
    pub interactive_deadline: Duration,
    /// The same for bulk attempts. Bulk attempts that have waited longer get a share of each
    /// batch (an eighth, at least one) however many interactive ones there are.
    pub bulk_deadline: Duration,
    /// A batch closes when nothing has arrived for this long.
    pub idle: Duration,
    /// Most attempts that wait or run, of all lanes together.
    pub max_waiting: usize,
    /// Most memory held by pictures of attempts that wait or run, in bytes. An attempt larger
    /// than this is still taken, when nothing else is there.
    pub max_bytes: usize,
}

impl Default for BatchConfig {
    /// For a processor, where a batch of more than a few attempts gains little.
    fn default() -> Self {
        Self {
            max_batch: 16,
            interactive_deadline: Duration::from_millis(50),
            bulk_deadline: Duration::from_millis(500),
            idle: Duration::from_millis(5),
            max_waiting: 256,
            max_bytes: 1 << 30,
        }
    }
}
