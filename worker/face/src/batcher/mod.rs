//! Batching: which attempts go to which device together, and when.
//!
//! The rules are two state machines without threads or clocks: [`Batcher`] puts attempts
//! together, [`Scheduler`] gives batches to devices and deals with those that fail.
//! [`BatchService`] is the threads around them, [`simulator`] a world that drives them in virtual
//! time.

mod dispatch;
mod engine;
mod report;
mod schedule;
mod service;
#[doc(hidden)]
pub mod simulator;
mod state;
mod trace;

use std::time::Duration;

pub use engine::{BatchEngine, Build, Standby, Weigh};
pub use report::{BatchEvent, BatchReport, DeviceState, DeviceStatus};
pub use schedule::{DeviceRules, ExecutorId, Job, Next, Place, Scheduler, Service};
pub use service::{BatchService, Setup, SubmitError, Ticket};
pub use state::{Batch, Batcher, Refused, Step, bulk_bound, bulk_share, interactive_bound};
pub use trace::{Trace, TraceError, TraceRow};

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

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Bulk, Self::Isolated];

    /// The name in metrics and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
            Self::Isolated => "isolated",
        }
    }
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
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Full, Self::Deadline, Self::Idle, Self::Drain, Self::Isolation];

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
    /// The same for bulk attempts. Bulk attempts that have waited longer are sure of a share of
    /// each batch ([`bulk_share`]) however many interactive ones there are; [`bulk_bound`] and
    /// [`interactive_bound`] say how many batches an attempt waits for at most.
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
