//! The networks on the processor: the reference that every device is held to.
//!
//! A batch is cut into one part for each core, and every core runs its part through a network of its own, alone: no
//! part waits for another between two layers, nothing spins at a barrier, and the same threads that decode and cut out
//! faces run the networks, so that two pools never compete for the cores. libtorch itself runs single-threaded.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::{Aligned, Chunks, Seen, embeddings, fill, render, seen};
use crate::error::EngineError;
use crate::face::chip::{Chip, ChipPlan};
use crate::face::letterbox::LetterboxPlan;
use crate::matcher::Embedding;
use crate::net::{self, Embedder, graph::Graph};
use crate::pack::{self, DETECTOR_INPUT, DETECTOR_VALUES, Output, tflite};
use crate::wipe::Wiped;

/// Pictures that go through the detector at once on one core: more would not stay in its cache.
const PICTURES: usize = 8;

/// Faces that go through the embedder at once on one core. Fewer read the weights too often; more bring nothing and
/// only cost memory.
const FACES: usize = 16;

/// The networks on the processor.
pub(crate) struct Host {
    /// One for each core. The weights are in memory once.
    lanes: Vec<Mutex<Networks>>,
    /// Of the embedder's input.
    side: usize,
    output: Output,
    detections: Chunks,
    faces: Chunks,
}

struct Networks {
    detector: Detector,
    embedder: Embedder,
}

/// The detector, and which of its outputs is which.
pub(crate) struct Detector {
    graph: Graph,
    /// Which output holds boxes and points.
    boxes: usize,
}

impl Detector {
    pub(crate) fn build(from: &tflite::Graph, device: tch::Device) -> Result<Self, EngineError> {
        let boxes = usize::from(from.shapes[from.outputs[0]].last() != Some(&DETECTOR_VALUES));
        Ok(Self { graph: Graph::build(from, device)?, boxes })
    }

    /// Values (N x 128 x 128 x 3) to boxes with points, and scores.
    pub(crate) fn forward(&self, input: &tch::Tensor) -> Result<[tch::Tensor; 2], EngineError> {
        let mut outputs = self.graph.forward(input)?.into_iter();
        match (outputs.next(), outputs.next()) {
            (Some(a), Some(b)) if self.boxes == 0 => Ok([a, b]),
            (Some(a), Some(b)) => Ok([b, a]),
            _ => Err(EngineError::Config("detector graph: two outputs expected".to_owned())),
        }
    }

    /// The same network over the same weights, for another thread.
    pub(crate) fn share(&self) -> Self {
        Self { graph: self.graph.share(), boxes: self.boxes }
    }
}

impl Host {
    /// Runs on `threads` cores; 0 takes them all.
    pub(crate) fn build(
        detector: &tflite::Graph,
        embedder: &pack::Embedder,
        threads: usize,
    ) -> Result<Self, EngineError> {
        let _no_grad = tch::no_grad_guard();
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let first = Networks {
            detector: Detector::build(detector, tch::Device::Cpu)?,
            embedder: Embedder::build(embedder, tch::Device::Cpu)?,
        };
        let share = |_| Mutex::new(Networks { detector: first.detector.share(), embedder: first.embedder.share() });
        Ok(Self {
            lanes: (0..threads).map(share).collect(),
            side: embedder.side(),
            output: embedder.output,
            detections: Chunks::new(PICTURES),
            faces: Chunks::new(FACES),
        })
    }

    pub(crate) fn detect(&self, plans: &[&LetterboxPlan]) -> Result<Vec<Seen>, EngineError> {
        self.spread(plans, &self.detections, detect)
    }

    pub(crate) fn align(&self, plans: &[&ChipPlan]) -> Vec<Aligned> {
        render(plans)
    }

    pub(crate) fn embed(&self, chips: &[&Chip]) -> Result<Vec<Embedding>, EngineError> {
        self.spread(chips, &self.faces, |networks, chips| {
            embed(networks, chips, self.side).and_then(|values| embeddings(&values, chips.len(), self.output))
        })
    }

    pub(crate) fn out_of_memory(&self) -> u64 {
        self.detections.halvings() + self.faces.halvings()
    }

    /// Runs equal parts of `items` on the cores.
    fn spread<I: Sync, O: Send>(
        &self,
        items: &[I],
        chunks: &Chunks,
        work: impl Fn(&Networks, &[I]) -> Result<Vec<O>, EngineError> + Sync,
    ) -> Result<Vec<O>, EngineError> {
        let part = items.len().div_ceil(self.lanes.len()).max(1);
        let parts: Vec<Vec<O>> = items
            .par_chunks(part)
            .zip(&self.lanes)
            .map(|(part, lane)| {
                // Networks are never changed, so a panic elsewhere leaves them whole.
                let networks = lane.lock().unwrap_or_else(PoisonError::into_inner);
                let _no_grad = tch::no_grad_guard();
                chunks.run(part, |part| work(&networks, part))
            })
            .collect::<Result<_, _>>()?;
        Ok(parts.into_iter().flatten().collect())
    }
}

fn detect(networks: &Networks, plans: &[&LetterboxPlan]) -> Result<Vec<Seen>, EngineError> {
    let size = DETECTOR_INPUT * DETECTOR_INPUT * 3;
    let mut bytes = Wiped::<u8>::zeros(plans.len() * size);
    for (plan, out) in plans.iter().zip(bytes.chunks_exact_mut(size)) {
        plan.render(out);
    }
    let pixels = Held(net::pixels(&bytes, plans.len(), DETECTOR_INPUT)?);
    let values = Held(net::graph::normalise(&pixels.0)?);
    let [regressors, scores] = networks.detector.forward(&values.0)?;
    seen(&net::values(&regressors)?, &net::values(&scores)?, plans.len())
}

fn embed(networks: &Networks, chips: &[&Chip], side: usize) -> Result<Wiped<f32>, EngineError> {
    let mut bytes = Wiped::with_capacity(chips.len() * side * side * 3);
    fill(&mut bytes, chips, side)?;
    let pixels = Held(net::pixels(&bytes, chips.len(), side)?);
    let output = Held(networks.embedder.forward(&pixels.0)?);
    Ok(Wiped::new(net::values(&output.0)?))
}

/// A tensor of somebody's picture or embedding that is ours alone: wiped when dropped, on the way out of an error too.
struct Held(tch::Tensor);

impl Drop for Held {
    fn drop(&mut self) {
        // It fails only without memory, which it does not need.
        let _ = self.0.f_zero_();
    }
}
