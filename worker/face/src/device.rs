//! Which devices this machine has. One binary serves both: the CUDA half of libtorch is opened
//! at run time, when it is there.

use std::fmt;
use std::sync::OnceLock;

use crate::cuda;

/// Where the networks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The CUDA device with this index.
    Cuda(usize),
}

/// What there is to run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// The devices to use, best first: every CUDA device, or else the processor.
    pub devices: Vec<Device>,
    /// Why it is the processor, when it is; for readiness texts and metrics.
    pub fallback: Option<Fallback>,
}

/// Why the face path runs on the processor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fallback {
    /// The machine has no CUDA driver.
    #[error("no CUDA driver")]
    NoDriver,
    /// There is a driver, but libtorch's CUDA half cannot be opened.
    #[error("CUDA driver found, but libtorch_cuda cannot be opened: {0}")]
    NoLibtorchCuda(String),
    /// Both are there, but no device is.
    #[error("libtorch_cuda opened, but it sees no device")]
    NoDevice,
}

/// What the driver says about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceDescription {
    /// Its name.
    pub name: String,
    /// Its memory, in bytes.
    pub memory: u64,
    /// Major and minor number of what it can compute.
    pub compute_capability: (i32, i32),
}

impl Device {
    /// What the driver says about it; `None` for the processor.
    pub fn describe(self) -> Option<DeviceDescription> {
        match self {
            Self::Cpu => None,
            Self::Cuda(index) => cuda::describe(index),
        }
    }
}

impl Fallback {
    /// The name in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NoDriver => "no_driver",
            Self::NoLibtorchCuda(_) => "no_libtorch_cuda",
            Self::NoDevice => "no_device",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl fmt::Display for Discovery {
    /// `cuda:0, cuda:1`, or `cpu (no CUDA driver)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, device) in self.devices.iter().enumerate() {
            write!(f, "{}{device}", if index > 0 { ", " } else { "" })?;
        }
        match &self.fallback {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// The devices to use, best first: every CUDA device, or else the processor.
///
/// Must run before anything else touches libtorch: libtorch looks for its CUDA half once, at
/// the first question about it, and remembers the answer. [`Matcher`](crate::Matcher) therefore
/// calls this itself. Without a driver, or with a partial CUDA installation, the answer is the
/// processor and [`discovery`] says why; it never panics.
pub fn discover() -> Vec<Device> {
    discovery().devices.clone()
}

/// The same, and why it is the processor when it is.
pub fn discovery() -> &'static Discovery {
    static FOUND: OnceLock<Discovery> = OnceLock::new();
    FOUND.get_or_init(|| {
        let found = cuda::look();
        match &found.fallback {
            // The usual case on a machine without a GPU; the others are installations gone wrong.
            Some(Fallback::NoDriver) | None => tracing::info!(devices = %found, "the face path's devices"),
            Some(_) => tracing::warn!(devices = %found, "the face path runs on the processor"),
        }
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_answers_with_at_least_one_device_and_never_panics() {
        let found = discover();
        assert!(!found.is_empty());
        assert_eq!(found, discover());
        // The processor stands alone and says why; devices need no excuse.
        assert_eq!(discovery().fallback.is_some(), found == [Device::Cpu]);
        assert_eq!(Device::Cpu.describe(), None);
    }

    #[test]
    fn devices_print_as_torch_names_them() {
        assert_eq!(Device::Cpu.to_string(), "cpu");
        assert_eq!(Device::Cuda(1).to_string(), "cuda:1");
        let two = Discovery { devices: vec![Device::Cuda(0), Device::Cuda(1)], fallback: None };
        assert_eq!(two.to_string(), "cuda:0, cuda:1");
        let none = Discovery { devices: vec![Device::Cpu], fallback: Some(Fallback::NoDriver) };
        assert_eq!(none.to_string(), "cpu (no CUDA driver)");
    }
}
