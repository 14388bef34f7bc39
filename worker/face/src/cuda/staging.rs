//! The staging ring: a few slots of page-locked and device memory, each good for one batch.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use cudarc::driver::sys::CUevent_flags;
use cudarc::driver::{CudaContext, CudaEvent};
use rayon::prelude::*;

use super::memory::{OnDevice, Pinned};
use crate::error::EngineError;

/// What one batch needs on its way to the device and back.
pub(super) struct Slot {
    /// Plans, then samples.
    pub(super) upload: Pinned,
    pub(super) device: OnDevice,
    /// Chips that the kernel made.
    pub(super) pixels: OnDevice,
    /// Results.
    pub(super) download: Pinned,
    pub(super) events: Events,
}

/// When what began and ended, on the device's clock.
pub(super) struct Events {
    pub(super) copy_began: CudaEvent,
    pub(super) copied: CudaEvent,
    pub(super) began: CudaEvent,
    /// The 8-bit chips are there to be fetched.
    pub(super) made: CudaEvent,
    pub(super) done: CudaEvent,
    pub(super) fetched: CudaEvent,
}

impl Slot {
    pub(super) fn new(context: &Arc<CudaContext>) -> Result<Self, EngineError> {
        // Threads that wait for it sleep: the processor has faces to cut out meanwhile.
        let event = || context.new_event(Some(CUevent_flags::CU_EVENT_BLOCKING_SYNC));
        Ok(Self {
            upload: Pinned::new(context),
            device: OnDevice::new(context),
            pixels: OnDevice::new(context),
            download: Pinned::new(context),
            events: Events {
                copy_began: event()?,
                copied: event()?,
                began: event()?,
                made: event()?,
                done: event()?,
                fetched: event()?,
            },
        })
    }

    /// Lays plans and samples out for the upload; unused plans up to `bucket` are all zeros,
    /// which makes black. Gives the length.
    pub(super) fn pack<P: Sync>(
        &mut self,
        plans: &[&P],
        bucket: usize,
        descriptor: usize,
        samples: impl Fn(&P) -> &[u8] + Sync,
        describe: impl Fn(&P, usize, &mut [u8]) + Sync,
    ) -> Result<usize, EngineError> {
        let lengths: Vec<usize> = plans.iter().map(|plan| samples(plan).len()).collect();
        let length = bucket * descriptor + lengths.iter().sum::<usize>();
        self.upload.reserve(length)?;
        layout(self.upload.bytes(length), plans, &lengths, bucket * descriptor, descriptor, samples, describe);
        Ok(length)
    }
}

fn layout<P: Sync>(
    out: &mut [u8],
    plans: &[&P],
    lengths: &[usize],
    head: usize,
    descriptor: usize,
    samples: impl Fn(&P) -> &[u8] + Sync,
    describe: impl Fn(&P, usize, &mut [u8]) + Sync,
) {
    let (descriptors, mut rest) = out.split_at_mut(head);
    let (used, unused) = descriptors.split_at_mut(plans.len() * descriptor);
    unused.fill(0);
    let mut places = Vec::with_capacity(plans.len());
    let mut offset = 0;
    for ((plan, length), out) in plans.iter().zip(lengths).zip(used.chunks_exact_mut(descriptor)) {
        describe(plan, offset, out);
        let (place, later) = rest.split_at_mut(*length);
        places.push(place);
        rest = later;
        offset += length;
    }
    let copy = |(plan, place): (&&P, &mut [u8])| place.copy_from_slice(samples(plan));
    // A worker of the pool that waited for its own pool here could take up another batch, and
    // that one wait for the slot which this one holds.
    if rayon::current_thread_index().is_some() {
        plans.iter().zip(places).for_each(copy);
    } else {
        plans.par_iter().zip(places).for_each(copy);
    }
}

/// The slots that no batch uses now.
pub(super) struct Ring {
    free: Mutex<Vec<Slot>>,
    returned: Condvar,
}

impl Ring {
    pub(super) fn new(context: &Arc<CudaContext>, slots: usize) -> Result<Self, EngineError> {
        let free = (0..slots).map(|_| Slot::new(context)).collect::<Result<_, _>>()?;
        Ok(Self { free: Mutex::new(free), returned: Condvar::new() })
    }

    /// Waits for a free slot.
    pub(super) fn take(&self) -> Slot {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match free.pop() {
                Some(slot) => return slot,
                None => free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Takes a slot back whose work is done.
    pub(super) fn give(&self, slot: Slot) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        self.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Plan(Vec<u8>);

    proptest! {
        /// Each plan's samples lie where its descriptor says, and nowhere else.
        #[test]
        fn packing_puts_every_sample_where_its_plan_points(
            plans in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..9),
            padding in 0usize..4,
        ) {
            let plans: Vec<Plan> = plans.into_iter().map(Plan).collect();
            let plans: Vec<&Plan> = plans.iter().collect();
            let bucket = plans.len() + padding;
            let lengths: Vec<usize> = plans.iter().map(|plan| plan.0.len()).collect();
            let mut out = vec![0xaa; bucket * 8 + lengths.iter().sum::<usize>()];
            let describe = |_: &Plan, offset: usize, out: &mut [u8]| out.copy_from_slice(&(offset as u64).to_le_bytes());
            layout(&mut out, &plans, &lengths, bucket * 8, 8, |plan| &plan.0, describe);
            let (descriptors, samples) = out.split_at(bucket * 8);
            for (index, descriptor) in descriptors.chunks_exact(8).enumerate() {
                let offset = u64::from_le_bytes(descriptor.try_into().unwrap()) as usize;
                match plans.get(index) {
                    Some(plan) => prop_assert_eq!(&samples[offset..offset + plan.0.len()], &plan.0[..]),
                    None => prop_assert_eq!(offset, 0),
                }
            }
        }
    }
}
