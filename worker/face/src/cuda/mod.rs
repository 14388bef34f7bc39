//! Everything of CUDA, and every `unsafe` block of this crate.
//!
//! libtorch and this module share the device's primary context and its default stream, so their
//! work is ordered without a word; copies run on two streams of their own, tied in by events.
#![allow(unsafe_code)]

#[cfg(test)]
mod checks;
mod driver;
pub(crate) mod engine;
mod kernels;
mod memory;
mod staging;

pub(crate) use driver::{describe, look};

use cudarc::driver::DriverError;

use crate::error::EngineError;

impl From<DriverError> for EngineError {
    fn from(error: DriverError) -> Self {
        if error.0 == cudarc::driver::sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            Self::OutOfMemory(format!("CUDA: {error:?}"))
        } else {
            Self::Cuda(format!("{error:?}"))
        }
    }
}
