//! What the service tells about its work; for metrics, readiness texts and traces.

use std::time::Duration;

use super::{CloseReason, Lane, Service};
use crate::device::Device;
use crate::engine::EngineStatus;

/// What one batch did.
#[derive(Debug, Clone, Copy)]
pub struct BatchReport {
    /// Where it ran.
    pub device: Device,
    /// Attempts in it.
    pub size: usize,
    /// Most attempts that it could have had.
    pub capacity: usize,
    /// Why it was closed.
    pub reason: CloseReason,
    /// How long its oldest attempt had waited.
    pub waited: Duration,
    /// When it began, since the service's start.
    pub began: Duration,
    /// How long it ran, on processor and device together.
    pub ran: Duration,
    /// How long the device has been busy since its last report. On a CUDA device several batches
    /// are under way at once, so that this is not what `ran` adds up to.
    pub busy: Duration,
    /// How long the device had nothing to do while an attempt of this batch waited for company.
    pub starved: Duration,
    /// Attempts that wait at its end, in the order of [`Lane::ALL`].
    pub waiting: [usize; 3],
    /// What the device has done since its start.
    pub status: EngineStatus,
    /// Whether the engine failed on it.
    pub failed: bool,
}

/// Something that happened in the service.
#[derive(Debug, Clone)]
pub enum BatchEvent {
    /// An attempt was taken.
    Arrived {
        /// Its lane.
        lane: Lane,
        /// When, since the service's start.
        at: Duration,
        /// Attempts that wait now, in the order of [`Lane::ALL`].
        waiting: [usize; 3],
    },
    /// A batch ran.
    Ran(BatchReport),
    /// A device failed under this many attempts, which run again elsewhere.
    Returned {
        /// The device.
        device: Device,
        /// How many.
        attempts: usize,
    },
    /// A device is in service now, or is not any more.
    Changed(DeviceStatus),
}

/// Whether a device works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStatus {
    /// The device.
    pub device: Device,
    /// Whether it serves only while no other does.
    pub standby: bool,
    /// Whether it works.
    pub state: DeviceState,
}

/// Whether a device works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceState {
    /// It takes batches.
    Serving,
    /// It is being built or checked.
    Checking,
    /// It stands by.
    Reserve,
    /// It failed its check with this error, and is checked again from time to time.
    OutOfService(String),
}

impl DeviceState {
    /// The name in readiness texts.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Checking => "checking",
            Self::Reserve => "standby",
            Self::OutOfService(_) => "out_of_service",
        }
    }
}

impl From<&Service> for DeviceState {
    fn from(service: &Service) -> Self {
        match service {
            Service::Serving => Self::Serving,
            Service::Probing => Self::Checking,
            Service::Reserve => Self::Reserve,
            Service::Out { reason, .. } => Self::OutOfService(reason.clone()),
        }
    }
}
