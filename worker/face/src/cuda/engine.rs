//! The networks on a CUDA device.
//!
//! One thread for each device makes every call to libtorch and every launch, one
//! batch after another and without waiting for any: the device finds the next batch queued when
//! it is done with one. Whoever hands a batch in packs it into a slot of the staging ring first
//! and waits for the slot's events afterwards.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::JoinHandle;

use cudarc::driver::{CudaContext, CudaStream};
use tch::{Kind, Tensor};
use zeroize::{Zeroize, Zeroizing};

use super::kernels::Kernels;
use super::memory::download;
use super::staging::{Ring, Slot};
use crate::engine::{Aligned, Chunks, Detector, EngineStatus, Seen, embeddings, inputs, render, seen};
use crate::error::EngineError;
use crate::face::chip::{Chip, ChipPlan};
use crate::face::landmarks::Landmarks;
use crate::face::letterbox::LetterboxPlan;
use crate::image::RgbImage;
use crate::matcher::{Embedding, distance};
use crate::net::{self, Embedder, resnet::ResNet};
use crate::pack::dlib::resnet::OUTPUT as EMBEDDING;
use crate::pack::{self, DETECTOR_ANCHORS, DETECTOR_INPUT, DETECTOR_VALUES, Metric, Network, Output, dlib, tflite};

/// Batches are filled up to one of these sizes, so that the device meets few shapes and has met
/// all of them before the first attempt arrives.
const BUCKETS: [usize; 13] = [1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 512];
/// Slots of the staging ring: one on the device, one queued behind it, one being packed, one
/// being read.
const SLOTS: usize = 4;
/// Faces that the exact network takes at once; it is for the few that are near a threshold.
const EXACT_CHUNK: usize = 64;
/// Farthest that half precision may put an embedding from single precision's at start. Measured
/// elsewhere it moves distances by at most 0.0014; more than this is a fault.
const HALF_TOLERANCE: f32 = 0.02;
/// Bytes of a chip.
const CHIP: usize = Chip::SIDE * Chip::SIDE * 3;

/// A device with the networks on it.
pub(crate) struct Cuda {
    context: Arc<CudaContext>,
    copies: Arc<CudaStream>,
    ring: Ring,
    jobs: Option<Sender<Job>>,
    executor: Option<JoinHandle<()>>,
    detections: Chunks,
    faces: Chunks,
    exact: Chunks,
    /// Of the embedder's input.
    side: usize,
    output: Output,
    /// Whether chips come with embeddings in half precision. Networks that somebody else wrote
    /// run in the precision they were written for.
    half: bool,
    busy_micros: AtomicU64,
    copy_micros: AtomicU64,
}

enum Job {
    Batch { pass: Pass, length: usize, count: usize, bucket: usize, slot: Slot, reply: Reply },
    Exact { chips: Zeroizing<Vec<u8>>, count: usize, reply: SyncSender<Result<Vec<f32>, EngineError>> },
}

type Reply = SyncSender<(Slot, Result<(), EngineError>)>;

#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Detect,
    Align,
}

impl Cuda {
    /// Puts the networks on the device, holds them to the processor's results and runs every
    /// batch size once.
    pub(crate) fn build(
        detector: &tflite::Graph,
        embedder: &pack::Embedder,
        index: usize,
    ) -> Result<Self, EngineError> {
        let context = CudaContext::new(index)?;
        // Every dependency between streams is an event of ours.
        // SAFETY: no cudarc slice is ever used on two streams; this module allocates none.
        unsafe { context.disable_event_tracking() };
        let copies = context.new_stream()?;
        let ring = Ring::new(&context, SLOTS)?;
        let (jobs, queue) = mpsc::channel();
        let mut executor = Executor::build(&context, &copies, detector, embedder, index)?;
        let thread = std::thread::Builder::new()
            .name(format!("cuda {index}"))
            .spawn(move || executor.run(&queue))
            .map_err(|error| EngineError::Cuda(format!("cannot start the device's thread: {error}")))?;
        let most = BUCKETS[BUCKETS.len() - 1];
        let cuda = Self {
            context,
            copies,
            ring,
            jobs: Some(jobs),
            executor: Some(thread),
            detections: Chunks::new(most),
            faces: Chunks::new(most),
            exact: Chunks::new(EXACT_CHUNK),
            side: embedder.side(),
            output: embedder.output,
            half: matches!(embedder.network, Network::Resnet29(_)),
            busy_micros: AtomicU64::new(0),
            copy_micros: AtomicU64::new(0),
        };
        cuda.warm_up()?;
        Ok(cuda)
    }

    pub(crate) fn detect(&self, plans: &[&LetterboxPlan]) -> Result<Vec<Seen>, EngineError> {
        self.detections.run(plans, |plans| {
            let bucket = bucket(plans.len());
            let mut slot = self.ring.take();
            let describe = |plan: &LetterboxPlan, offset: usize, out: &mut [u8]| plan.describe(offset, out);
            let packed =
                slot.pack(plans, bucket, LetterboxPlan::DESCRIPTOR, |plan| LetterboxPlan::samples(plan), describe);
            let (boxes, scores) = (plans.len() * DETECTOR_ANCHORS * DETECTOR_VALUES, plans.len() * DETECTOR_ANCHORS);
            self.batch(slot, packed, Pass::Detect, plans.len(), bucket, |results| {
                let values = numbers(&results[..(boxes + scores) * 4]);
                seen(&values[..boxes], &values[boxes..], plans.len())
            })
        })
    }

    /// Whether embeddings that come with chips are in half precision.
    pub(crate) fn approximates(&self) -> bool {
        self.half
    }

    /// Chips, and embeddings in half precision where the network has one.
    pub(crate) fn align(&self, plans: &[&ChipPlan]) -> Result<Vec<Aligned>, EngineError> {
        if !self.half {
            return Ok(render(plans));
        }
        self.faces.run(plans, |plans| {
            let bucket = bucket(plans.len());
            let mut slot = self.ring.take();
            let describe =
                |plan: &ChipPlan, offset: usize, out: &mut [u8]| out.copy_from_slice(&plan.descriptor(offset));
            let packed = slot.pack(plans, bucket, ChipPlan::DESCRIPTOR, |plan| ChipPlan::samples(plan), describe);
            self.batch(slot, packed, Pass::Align, plans.len(), bucket, |results| {
                let (values, chips) = results.split_at(plans.len() * EMBEDDING * 4);
                let embeddings = embeddings(&Zeroizing::new(numbers(values)), plans.len(), self.output)?;
                let chips = chips.chunks_exact(CHIP).filter_map(|pixels| Chip::new(pixels.to_vec()));
                Ok(chips.zip(embeddings).map(|(chip, e)| Aligned { chip, embedding: Some(e) }).collect())
            })
        })
    }

    /// Embeddings in single precision.
    pub(crate) fn embed(&self, chips: &[&Chip]) -> Result<Vec<Embedding>, EngineError> {
        self.exact.run(chips, |chips| {
            let bytes = inputs(chips, self.side)?;
            let (reply, answer) = mpsc::sync_channel(1);
            self.send(Job::Exact { chips: bytes, count: chips.len(), reply })?;
            let values = Zeroizing::new(answer.recv().map_err(|_| EngineError::Stopped)??);
            embeddings(&values, chips.len(), self.output)
        })
    }

    pub(crate) fn status(&self) -> EngineStatus {
        let seconds = |micros: &AtomicU64| micros.load(Ordering::Relaxed) as f64 / 1e6;
        let memory = self.context.mem_get_info().ok().map(|(free, total)| (total as u64, free as u64));
        EngineStatus {
            busy_seconds: Some(seconds(&self.busy_micros)),
            copy_seconds: seconds(&self.copy_micros),
            out_of_memory: self.detections.halvings() + self.faces.halvings() + self.exact.halvings(),
            recomputed: 0,
            memory,
        }
    }

    /// Sends a packed slot through the device and reads the results. The slot goes back wiped.
    fn batch<R>(
        &self,
        slot: Slot,
        packed: Result<usize, EngineError>,
        pass: Pass,
        count: usize,
        bucket: usize,
        read: impl FnOnce(&[u8]) -> Result<R, EngineError>,
    ) -> Result<R, EngineError> {
        let length = match packed {
            Ok(length) => length,
            Err(error) => {
                self.ring.give(slot);
                return Err(error);
            }
        };
        let (reply, answer) = mpsc::sync_channel(1);
        self.send(Job::Batch { pass, length, count, bucket, slot, reply })?;
        // A slot that does not come back was lost with the device's thread, and so is the device.
        let (mut slot, launched) = answer.recv().map_err(|_| EngineError::Stopped)?;
        let result = launched.and_then(|()| self.finish(&mut slot)).and_then(|()| {
            let results = slot.download.bytes(download_length(pass, count));
            let result = read(results);
            results.zeroize();
            result
        });
        slot.upload.bytes(length).zeroize();
        let wiped = slot.device.wipe(length, &self.copies).and(slot.pixels.wipe(bucket * CHIP, &self.copies));
        self.ring.give(slot);
        wiped.and(result)
    }

    fn finish(&self, slot: &mut Slot) -> Result<(), EngineError> {
        let events = &slot.events;
        events.done.synchronize()?;
        events.fetched.synchronize()?;
        let micros = |millis: f32| (f64::from(millis.max(0.0)) * 1e3) as u64;
        let (copied, ran) = (events.copy_began.elapsed_ms(&events.copied)?, events.began.elapsed_ms(&events.done)?);
        self.copy_micros.fetch_add(micros(copied), Ordering::Relaxed);
        self.busy_micros.fetch_add(micros(ran), Ordering::Relaxed);
        Ok(())
    }

    fn send(&self, job: Job) -> Result<(), EngineError> {
        let jobs = self.jobs.as_ref().ok_or(EngineError::Stopped)?;
        jobs.send(job).map_err(|_| EngineError::Stopped)
    }

    /// Every batch size once, each held to the processor's pixels.
    fn warm_up(&self) -> Result<(), EngineError> {
        let picture = texture(640, 480);
        let Some(image) = RgbImage::new(640, 480, picture) else { return Ok(()) };
        let letterbox = LetterboxPlan::new(&image);
        // A face a little turned, and large enough for one pyramid level.
        let face = Landmarks([[420, 190], [370, 195], [250, 200], [300, 200], [338, 290]]);
        let plan = ChipPlan::new(&image, &face);
        let expected = plan.render();
        let mut worst = 0;
        for bucket in BUCKETS {
            match self.detect(&vec![&letterbox; bucket]).and_then(|_| self.align(&vec![&plan; bucket])) {
                Ok(aligned) => {
                    let pixels = aligned.iter().flat_map(|face| face.chip.pixels().iter().zip(expected.pixels()));
                    worst = pixels.map(|(a, b)| a.abs_diff(*b)).fold(worst, u8::max);
                }
                // A smaller device simply never sees its largest batches.
                Err(EngineError::OutOfMemory(_)) if bucket > 1 => break,
                Err(error) => return Err(error),
            }
        }
        if self.half {
            self.embed(&[&expected])?;
        }
        if worst > 1 {
            return Err(EngineError::Cuda(format!(
                "the kernel's faces differ by {worst} grey levels from the processor's"
            )));
        }
        self.busy_micros.store(0, Ordering::Relaxed);
        self.copy_micros.store(0, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(executor) = self.executor.take() {
            let _ = executor.join();
        }
    }
}

/// What lives on the device's thread.
struct Executor {
    index: usize,
    context: Arc<CudaContext>,
    /// libtorch's stream too.
    compute: Arc<CudaStream>,
    uploads: Arc<CudaStream>,
    downloads: Arc<CudaStream>,
    kernels: Kernels,
    detector: Detector,
    /// Half precision, where there is one, and the mean that its chips are taken from.
    embedder: Option<(ResNet, [f32; 3])>,
    /// Single precision.
    exact: Embedder,
    /// Of the embedder's input.
    side: usize,
}

impl Executor {
    fn build(
        context: &Arc<CudaContext>,
        uploads: &Arc<CudaStream>,
        detector: &tflite::Graph,
        embedder: &pack::Embedder,
        index: usize,
    ) -> Result<Self, EngineError> {
        let _no_grad = tch::no_grad_guard();
        let device = tch::Device::Cuda(index);
        let exact = Embedder::build(embedder, device)?;
        let half = match (&embedder.network, &exact) {
            (Network::Resnet29(network), Embedder::ResNet(exact)) => {
                Some((half_precision(network, exact, device)?, network.mean))
            }
            _ => None,
        };
        Ok(Self {
            index,
            compute: context.default_stream(),
            uploads: Arc::clone(uploads),
            downloads: context.new_stream()?,
            kernels: Kernels::load(context)?,
            detector: Detector::build(detector, device)?,
            embedder: half,
            exact,
            side: embedder.side(),
            context: Arc::clone(context),
        })
    }

    fn run(&mut self, queue: &Receiver<Job>) {
        let _no_grad = tch::no_grad_guard();
        if let Err(error) = self.context.bind_to_thread() {
            tracing::error!(?error, device = self.index, "cannot use the CUDA device");
            return;
        }
        for job in queue {
            match job {
                Job::Batch { pass, length, count, bucket, mut slot, reply } => {
                    let launch = AssertUnwindSafe(|| self.launch(pass, length, count, bucket, &mut slot));
                    let launched = catch_unwind(launch).unwrap_or(Err(EngineError::Panicked));
                    if launched.is_err() {
                        // What was queued before the fault may still use the slot.
                        for stream in [&self.uploads, &self.compute, &self.downloads] {
                            let _ = stream.synchronize();
                        }
                    }
                    let _ = reply.send((slot, launched));
                }
                Job::Exact { chips, count, reply } => {
                    let run = AssertUnwindSafe(|| self.run_exact(&chips, count));
                    let _ = reply.send(catch_unwind(run).unwrap_or(Err(EngineError::Panicked)));
                }
            }
        }
    }

    /// Queues a batch, and does not wait for it.
    fn launch(
        &self,
        pass: Pass,
        length: usize,
        count: usize,
        bucket: usize,
        slot: &mut Slot,
    ) -> Result<(), EngineError> {
        slot.device.reserve(length)?;
        slot.download.reserve(download_length(pass, count))?;
        if pass == Pass::Align {
            slot.pixels.reserve(bucket * CHIP)?;
        }
        slot.events.copy_began.record(&self.uploads)?;
        slot.device.upload(&mut slot.upload, length, &self.uploads)?;
        slot.events.copied.record(&self.uploads)?;
        self.compute.wait(&slot.events.copied)?;
        slot.events.began.record(&self.compute)?;
        match pass {
            Pass::Detect => self.launch_detector(count, bucket, slot)?,
            Pass::Align => self.launch_embedder(count, bucket, slot)?,
        }
        slot.events.done.record(&self.compute)?;
        slot.events.fetched.record(&self.downloads)?;
        Ok(())
    }

    fn launch_detector(&self, count: usize, bucket: usize, slot: &mut Slot) -> Result<(), EngineError> {
        let side = DETECTOR_INPUT as i64;
        let mut batch = self.empty([bucket as i64, side, side, 3], Kind::Float)?;
        let plans = slot.device.address();
        let packed = plans + (bucket * LetterboxPlan::DESCRIPTOR) as u64;
        // SAFETY: `Slot::pack` laid `bucket` descriptors at the start and their samples behind
        // them, and the upload comes before this in the stream's order.
        unsafe { self.kernels.letterbox(&self.compute, [packed, plans], &batch) }?;
        let outputs = self.detector.forward(&batch)?;
        let mut to = slot.download.bytes(download_length(Pass::Detect, count));
        for (output, values) in outputs.iter().zip([DETECTOR_ANCHORS * DETECTOR_VALUES, DETECTOR_ANCHORS]) {
            let (now, later) = to.split_at_mut(count * values * 4);
            self.fetch(output, now)?;
            to = later;
        }
        let _ = batch.f_zero_()?;
        Ok(())
    }

    fn launch_embedder(&self, count: usize, bucket: usize, slot: &mut Slot) -> Result<(), EngineError> {
        let Some((embedder, mean)) = &self.embedder else {
            return Err(EngineError::Config("this embedder has no half precision".to_owned()));
        };
        let side = Chip::SIDE as i64;
        let mut batch = self.empty([bucket as i64, side, side, 3], Kind::Half)?;
        let (plans, pixels) = (slot.device.address(), slot.pixels.address());
        let packed = plans + (bucket * ChipPlan::DESCRIPTOR) as u64;
        // SAFETY: as for the detector; `pixels` was reserved for `bucket` chips.
        unsafe { self.kernels.chips(&self.compute, [packed, plans, pixels], *mean, &batch) }?;
        slot.events.made.record(&self.compute)?;
        self.downloads.wait(&slot.events.made)?;
        let (values, chips) =
            slot.download.bytes(download_length(Pass::Align, count)).split_at_mut(count * EMBEDDING * 4);
        // SAFETY: `pixels` belongs to the slot, which is not used again before `fetched`.
        unsafe { download(chips, pixels, &self.downloads) }?;
        let output = embedder.forward_values(&batch.f_permute([0, 3, 1, 2])?)?;
        self.fetch(&output, values)?;
        let _ = batch.f_zero_()?;
        Ok(())
    }

    /// Queues a copy of the first bytes of a tensor of single-precision numbers.
    fn fetch(&self, from: &Tensor, to: &mut [u8]) -> Result<(), EngineError> {
        let from = from.f_contiguous()?;
        if from.kind() != Kind::Float || from.numel() * 4 < to.len() {
            return Err(EngineError::Torch("a network returned another number of results".to_owned()));
        }
        // SAFETY: the length was just checked. libtorch may hand the memory on once the tensor is
        // dropped, but only to work that comes later on this same stream.
        unsafe { download(to, from.data_ptr() as u64, &self.compute) }
    }

    fn run_exact(&self, chips: &[u8], count: usize) -> Result<Vec<f32>, EngineError> {
        let pixels = net::pixels(chips, count, self.side)?;
        net::values(&self.exact.forward(&pixels)?)
    }

    fn empty(&self, shape: [i64; 4], kind: Kind) -> Result<Tensor, EngineError> {
        Ok(Tensor::f_empty(shape, (kind, tch::Device::Cuda(self.index)))?)
    }
}

/// The embedder in half precision, its operations fused where cuDNN does that and gives the same.
fn half_precision(from: &dlib::resnet::ResNet, exact: &ResNet, device: tch::Device) -> Result<ResNet, EngineError> {
    let chips = net::pixels(&texture(Chip::SIDE, 4 * Chip::SIDE), 4, Chip::SIDE)?;
    let reference = net::values(&exact.forward(&chips)?)?;
    let mut worst = f32::NAN;
    for fused in [true, false] {
        let network = ResNet::build_as(from, device, Kind::Half, fused)?;
        let values = match network.forward(&chips).and_then(|output| net::values(&output)) {
            Ok(values) => values,
            Err(error) if fused => {
                tracing::info!(%error, "cuDNN does not fuse here: the embedder runs operation by operation");
                continue;
            }
            Err(error) => return Err(error),
        };
        let output = Output { dimensions: EMBEDDING, metric: Metric::Euclidean };
        let (reference, values) = (embeddings(&reference, 4, output)?, embeddings(&values, 4, output)?);
        worst = reference.iter().zip(&values).map(|(a, b)| distance(a, b)).fold(0.0, f32::max);
        if worst <= HALF_TOLERANCE {
            return Ok(network);
        }
        tracing::warn!(worst, fused, "half precision gives other embeddings");
    }
    Err(EngineError::Cuda(format!("half precision puts an embedding {worst} away from where it belongs")))
}

/// The smallest size that has room for `count`; larger batches were cut before.
fn bucket(count: usize) -> usize {
    BUCKETS.into_iter().find(|bucket| *bucket >= count).unwrap_or(count)
}

fn download_length(pass: Pass, count: usize) -> usize {
    count
        * match pass {
            Pass::Detect => DETECTOR_ANCHORS * (DETECTOR_VALUES + 1) * 4,
            Pass::Align => EMBEDDING * 4 + CHIP,
        }
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Pixels with detail in them, for checks at start.
fn texture(width: usize, height: usize) -> Vec<u8> {
    let value = |x: usize, y: usize, c: usize| {
        let (x, y) = (x as f32, y as f32);
        128.0 + 60.0 * (x * 0.11 + c as f32).sin() * (y * 0.07).cos() + 40.0 * (x * 0.41 - y * 0.23).sin()
    };
    (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| value(x, y, c) as u8))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_goes_into_the_smallest_size_that_holds_it() {
        assert_eq!([1, 2, 3, 33, 128, 129, 257, 512].map(bucket), [1, 2, 4, 48, 128, 192, 512, 512]);
        assert!(BUCKETS.is_sorted());
    }

    #[test]
    fn numbers_come_back_as_they_went() {
        let values = [1.5f32, -0.25, f32::MIN_POSITIVE];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(numbers(&bytes), values);
    }
}
