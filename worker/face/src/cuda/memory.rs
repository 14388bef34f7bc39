//! Page-locked memory and device memory that grow and are never shrunk.

use std::sync::Arc;

use cudarc::driver::sys::CUdeviceptr;
use cudarc::driver::{CudaContext, CudaStream, result};

use crate::error::EngineError;

/// Page-locked host memory: the device copies from and to it by itself.
pub(super) struct Pinned {
    context: Arc<CudaContext>,
    at: *mut u8,
    capacity: usize,
}

// SAFETY: the memory belongs to this value alone, and any thread may use or free it.
unsafe impl Send for Pinned {}

impl Pinned {
    pub(super) fn new(context: &Arc<CudaContext>) -> Self {
        Self { context: Arc::clone(context), at: std::ptr::null_mut(), capacity: 0 }
    }

    /// Makes room for `bytes`; what was in it is lost when it grows.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), EngineError> {
        if bytes <= self.capacity {
            return Ok(());
        }
        self.free();
        let capacity = bytes.next_power_of_two();
        self.context.bind_to_thread()?;
        // SAFETY: a plain allocation; the flags ask for nothing special.
        let at = unsafe { result::malloc_host(capacity, 0) }?.cast::<u8>();
        // SAFETY: `capacity` bytes were just allocated there. Written once, so that slices of it
        // never show memory without a value.
        unsafe { at.write_bytes(0, capacity) };
        (self.at, self.capacity) = (at, capacity);
        Ok(())
    }

    /// The first `length` bytes, which were reserved. No copy to or from them may be under way.
    pub(super) fn bytes(&mut self, length: usize) -> &mut [u8] {
        assert!(length <= self.capacity, "more than was reserved");
        if length == 0 {
            return &mut [];
        }
        // SAFETY: within the allocation, which is exclusively ours while `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.at, length) }
    }

    fn free(&mut self) {
        if self.capacity > 0 {
            let _ = self.context.bind_to_thread();
            // SAFETY: from `malloc_host`, freed once: the capacity is set to zero below.
            let _ = unsafe { result::free_host(self.at.cast()) };
        }
        (self.at, self.capacity) = (std::ptr::null_mut(), 0);
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.free();
    }
}

/// Device memory.
pub(super) struct OnDevice {
    context: Arc<CudaContext>,
    at: CUdeviceptr,
    capacity: usize,
}

impl OnDevice {
    pub(super) fn new(context: &Arc<CudaContext>) -> Self {
        Self { context: Arc::clone(context), at: 0, capacity: 0 }
    }

    /// Makes room for `bytes`; what was in it is lost when it grows. Waits for the device then.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), EngineError> {
        if bytes <= self.capacity {
            return Ok(());
        }
        self.free();
        let capacity = bytes.next_power_of_two();
        self.context.bind_to_thread()?;
        // SAFETY: a plain allocation.
        self.at = unsafe { result::malloc_sync(capacity) }?;
        self.capacity = capacity;
        Ok(())
    }

    /// Its address on the device.
    pub(super) fn address(&self) -> CUdeviceptr {
        self.at
    }

    /// Queues a copy of the first `length` bytes of `from`.
    pub(super) fn upload(&mut self, from: &mut Pinned, length: usize, stream: &CudaStream) -> Result<(), EngineError> {
        assert!(length <= self.capacity, "more than was reserved");
        stream.context().bind_to_thread()?;
        // SAFETY: both lie within their allocations, which live in the same slot; the slot's
        // events are waited for before either is touched again.
        unsafe { result::memcpy_htod_async(self.at, from.bytes(length), stream.cu_stream()) }?;
        Ok(())
    }

    /// Queues zeros over the first `length` bytes.
    pub(super) fn wipe(&mut self, length: usize, stream: &CudaStream) -> Result<(), EngineError> {
        let length = length.min(self.capacity);
        if length > 0 {
            stream.context().bind_to_thread()?;
            // SAFETY: within the allocation; work that comes after on this stream sees the zeros.
            unsafe { result::memset_d8_async(self.at, 0, length, stream.cu_stream()) }?;
        }
        Ok(())
    }

    fn free(&mut self) {
        if self.capacity > 0 {
            let _ = self.context.bind_to_thread();
            // SAFETY: from `malloc_sync`, freed once; the driver waits for work that uses it.
            let _ = unsafe { result::free_sync(self.at) };
        }
        (self.at, self.capacity) = (0, 0);
    }
}

impl Drop for OnDevice {
    fn drop(&mut self) {
        self.free();
    }
}

/// Queues a copy of `to.len()` bytes from the device. `to` is page-locked memory that nobody
/// touches until an event recorded after this on `stream` has come to pass.
///
/// # Safety
/// `from` must be device memory of at least that length that stays until then.
pub(super) unsafe fn download(to: &mut [u8], from: CUdeviceptr, stream: &CudaStream) -> Result<(), EngineError> {
    stream.context().bind_to_thread()?;
    // SAFETY: the caller's promise.
    unsafe { result::memcpy_dtoh_async(to, from, stream.cu_stream()) }?;
    Ok(())
}
