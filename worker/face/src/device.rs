//! Which devices this machine has. One binary serves both: the CUDA half of libtorch is opened
//! at run time, when it is there.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::OnceLock;

/// Where the networks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The CUDA device with this index.
    Cuda(usize),
}

impl Device {
    pub(crate) fn torch(self) -> tch::Device {
        match self {
            Self::Cpu => tch::Device::Cpu,
            Self::Cuda(index) => tch::Device::Cuda(index),
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

/// The devices to use, best first: every CUDA device, or else the processor.
///
/// Must run before anything else touches libtorch: libtorch looks for its CUDA half once, at
/// the first question about it, and remembers the answer. [`Matcher`](crate::Matcher) therefore
/// calls this itself. Without a driver, or with a partial CUDA installation, the answer is the
/// processor and the log says why; it never panics.
pub fn discover() -> Vec<Device> {
    static FOUND: OnceLock<Vec<Device>> = OnceLock::new();
    FOUND.get_or_init(look).clone()
}

fn look() -> Vec<Device> {
    // Asking cudarc anything without a driver panics, so this question comes first.
    // SAFETY: only tries to open the driver library by its usual names.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        tracing::info!("no CUDA driver: the face path runs on the processor");
        return vec![Device::Cpu];
    }
    if let Err(error) = open_cuda_half() {
        tracing::warn!(%error, "CUDA driver found, but libtorch_cuda cannot be opened: the face path runs on the processor");
        return vec![Device::Cpu];
    }
    let count = std::panic::catch_unwind(|| {
        if tch::Cuda::is_available() { usize::try_from(tch::Cuda::device_count()).unwrap_or(0) } else { 0 }
    })
    .unwrap_or(0);
    if count == 0 {
        tracing::warn!("libtorch_cuda opened, but it sees no device: the face path runs on the processor");
        return vec![Device::Cpu];
    }
    (0..count).map(Device::Cuda).collect()
}

fn open_cuda_half() -> Result<(), libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the library's initialisers register the CUDA backend with libtorch_cpu, which is
    // linked and therefore loaded already; the symbols must be global for its own plug-ins.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL)? };
    // It must stay for the life of the process: libtorch keeps pointers into it.
    std::mem::forget(library);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_answers_with_at_least_one_device_and_never_panics() {
        let found = discover();
        assert!(!found.is_empty());
        assert_eq!(found, discover());
    }

    #[test]
    fn devices_print_as_torch_names_them() {
        assert_eq!(Device::Cpu.to_string(), "cpu");
        assert_eq!(Device::Cuda(1).to_string(), "cuda:1");
    }
}
