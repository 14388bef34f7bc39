//! The networks on the processor: the reference that every device is held to.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::{Aligned, Chunks, Seen, embeddings, inputs, render, seen};
use crate::error::EngineError;
use crate::face::chip::{Chip, ChipPlan};
use crate::face::letterbox::LetterboxPlan;
use crate::matcher::Embedding;
use crate::net::{self, Embedder, graph::Graph};
use crate::pack::{self, DETECTOR_INPUT, DETECTOR_VALUES, Output, tflite};

/// Pictures that go through a network at once. Larger batches bring nothing on a processor and
/// only cost memory.
const CHUNK: usize = 32;

/// The networks on the processor.
pub(crate) struct Host {
    /// One forward pass at a time: a second one would only compete for the same cores.
    networks: Mutex<Networks>,
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
}

impl Host {
    pub(crate) fn build(detector: &tflite::Graph, embedder: &pack::Embedder) -> Result<Self, EngineError> {
        let _no_grad = tch::no_grad_guard();
        let networks = Networks {
            detector: Detector::build(detector, tch::Device::Cpu)?,
            embedder: Embedder::build(embedder, tch::Device::Cpu)?,
        };
        Ok(Self {
            networks: Mutex::new(networks),
            side: embedder.side(),
            output: embedder.output,
            detections: Chunks::new(CHUNK),
            faces: Chunks::new(CHUNK),
        })
    }

    pub(crate) fn detect(&self, plans: &[&LetterboxPlan]) -> Result<Vec<Seen>, EngineError> {
        self.detections.run(plans, |plans| self.detect_chunk(plans))
    }

    pub(crate) fn align(&self, plans: &[&ChipPlan]) -> Vec<Aligned> {
        render(plans)
    }

    pub(crate) fn embed(&self, chips: &[&Chip]) -> Result<Vec<Embedding>, EngineError> {
        self.faces.run(chips, |chips| self.embed_chunk(chips))
    }

    pub(crate) fn out_of_memory(&self) -> u64 {
        self.detections.halvings() + self.faces.halvings()
    }

    fn detect_chunk(&self, plans: &[&LetterboxPlan]) -> Result<Vec<Seen>, EngineError> {
        let size = DETECTOR_INPUT * DETECTOR_INPUT * 3;
        let mut bytes = Zeroizing::new(vec![0u8; plans.len() * size]);
        plans.par_iter().zip(bytes.par_chunks_exact_mut(size)).for_each(|(plan, out)| plan.render(out));
        let _no_grad = tch::no_grad_guard();
        let mut pixels = net::pixels(&bytes, plans.len(), DETECTOR_INPUT)?;
        let (regressors, scores) = {
            let networks = self.networks();
            let [regressors, scores] = networks.detector.forward(&net::graph::normalise(&pixels)?)?;
            (net::values(&regressors)?, net::values(&scores)?)
        };
        let _ = pixels.f_zero_()?;
        seen(&regressors, &scores, plans.len())
    }

    fn embed_chunk(&self, chips: &[&Chip]) -> Result<Vec<Embedding>, EngineError> {
        let bytes = inputs(chips, self.side)?;
        let _no_grad = tch::no_grad_guard();
        let mut input = net::pixels(&bytes, chips.len(), self.side)?;
        let values = {
            let networks = self.networks();
            let output = networks.embedder.forward(&input)?;
            Zeroizing::new(net::values(&output)?)
        };
        let _ = input.f_zero_()?;
        embeddings(&values, chips.len(), self.output)
    }

    fn networks(&self) -> MutexGuard<'_, Networks> {
        // The networks are never changed, so a panic elsewhere leaves them whole.
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
