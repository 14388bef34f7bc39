//! What runs batches: a matcher, or in tests something that fails on demand.

use std::sync::Arc;

use crate::device::Device;
use crate::engine::EngineStatus;
use crate::error::EngineError;
use crate::matcher::{Matcher, Prepared};
use crate::outcome::FaceOutcome;

/// Matches batches of attempts on one device.
pub trait BatchEngine<A>: Send + Sync + 'static {
    /// Where.
    fn device(&self) -> Device;

    /// How many batches may be under way at once.
    fn lanes(&self) -> usize {
        1
    }

    /// One outcome for each attempt, in order.
    ///
    /// # Errors
    /// [`EngineError`]; the attempts then run one by one.
    fn run(&self, batch: &[A]) -> Result<Vec<FaceOutcome>, EngineError>;

    /// Whether the device still works, on inputs that are known to be harmless. It is asked when a
    /// batch has failed, to tell a device that fails from an attempt that breaks it.
    ///
    /// # Errors
    /// [`EngineError`]: it does not, and is taken out of service.
    fn probe(&self) -> Result<(), EngineError>;

    /// What it has done since its start; for metrics.
    fn status(&self) -> EngineStatus {
        EngineStatus::default()
    }
}

/// An attempt that takes room in memory.
pub trait Weigh {
    /// Bytes that it holds.
    fn bytes(&self) -> usize;
}

/// A device that serves only while no other does, and is built when that happens first.
pub struct Standby<A> {
    /// Where.
    pub device: Device,
    /// Most attempts in one of its batches.
    pub max_batch: usize,
    /// Builds it.
    pub build: Build<A>,
}

/// Builds an engine when it is needed.
pub type Build<A> = Box<dyn Fn() -> Result<Arc<dyn BatchEngine<A>>, EngineError> + Send + Sync>;

impl BatchEngine<Prepared> for Matcher {
    fn device(&self) -> Device {
        Self::device(self)
    }

    fn lanes(&self) -> usize {
        Self::lanes(self)
    }

    fn run(&self, batch: &[Prepared]) -> Result<Vec<FaceOutcome>, EngineError> {
        self.match_batch(batch)
    }

    fn probe(&self) -> Result<(), EngineError> {
        Self::probe(self)
    }

    fn status(&self) -> EngineStatus {
        Self::status(self)
    }
}

impl Weigh for Prepared {
    fn bytes(&self) -> usize {
        Self::bytes(self)
    }
}
