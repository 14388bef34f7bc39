//! What runs the networks. The processor and a CUDA device do the same: inputs are planned on
//! the processor ([`LetterboxPlan`], [`ChipPlan`]), turned into pixels one by one by the same
//! arithmetic, and go through the same networks in batches. Only who turns them differs.

mod chunks;
mod host;

use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::cuda::engine::Cuda;
use crate::device::Device;
use crate::error::EngineError;
use crate::face::chip::{Chip, ChipPlan};
use crate::face::letterbox::LetterboxPlan;
use crate::matcher::Embedding;
use crate::pack::{DETECTOR_ANCHORS, DETECTOR_VALUES, Embedder, Metric, Output, tflite};

pub(crate) use chunks::Chunks;
pub(crate) use host::{Detector, Host};

/// The networks of a pack on a device.
pub(crate) enum Engine {
    Host(Box<Host>),
    Cuda(Box<Cuda>),
}

/// The detector's raw outputs for one picture.
pub(crate) struct Seen {
    /// DETECTOR_ANCHORS x DETECTOR_VALUES numbers.
    pub(crate) regressors: Vec<f32>,
    pub(crate) scores: Vec<f32>,
}

/// A chip and, where the device made both in one go, its embedding in the device's precision.
pub(crate) struct Aligned {
    pub(crate) chip: Chip,
    pub(crate) embedding: Option<Embedding>,
}

/// What an engine has done since it started; for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EngineStatus {
    /// How long the device computed, in seconds; copies that overlap are not in it. `None` on
    /// the processor, whose time is the batches' own.
    pub busy_seconds: Option<f64>,
    /// How long pictures were on their way to the device, in seconds.
    pub copy_seconds: f64,
    /// How often a batch was halved because the device ran out of memory.
    pub out_of_memory: u64,
    /// Attempts whose distances were so near a threshold that they were computed again in single
    /// precision.
    pub recomputed: u64,
    /// Bytes of memory that the device has, and how many are free.
    pub memory: Option<(u64, u64)>,
}

impl Engine {
    /// On the processor it runs on `threads` cores; 0 takes them all.
    pub(crate) fn build(
        detector: &tflite::Graph,
        embedder: &Embedder,
        device: Device,
        threads: usize,
    ) -> Result<Self, EngineError> {
        Ok(match device {
            Device::Cpu => Self::Host(Box::new(Host::build(detector, embedder, threads)?)),
            Device::Cuda(index) => Self::Cuda(Box::new(Cuda::build(detector, embedder, index)?)),
        })
    }

    /// How many batches may be under way at once: while one is on the device, the processor
    /// prepares the next and judges the last.
    pub(crate) fn lanes(&self) -> usize {
        match self {
            Self::Host(_) => 1,
            Self::Cuda(_) => 3,
        }
    }

    /// Whether embeddings that come with chips are less exact than [`Engine::embed`]'s.
    pub(crate) fn approximates(&self) -> bool {
        match self {
            Self::Host(_) => false,
            Self::Cuda(cuda) => cuda.approximates(),
        }
    }

    pub(crate) fn detect(&self, plans: &[&LetterboxPlan]) -> Result<Vec<Seen>, EngineError> {
        match self {
            Self::Host(host) => host.detect(plans),
            Self::Cuda(cuda) => cuda.detect(plans),
        }
    }

    /// Turns plans into chips and, where that costs nothing more, into embeddings too.
    pub(crate) fn align(&self, plans: &[&ChipPlan]) -> Result<Vec<Aligned>, EngineError> {
        match self {
            Self::Host(host) => Ok(host.align(plans)),
            Self::Cuda(cuda) => cuda.align(plans),
        }
    }

    /// Embeddings in single precision.
    pub(crate) fn embed(&self, chips: &[&Chip]) -> Result<Vec<Embedding>, EngineError> {
        match self {
            Self::Host(host) => host.embed(chips),
            Self::Cuda(cuda) => cuda.embed(chips),
        }
    }

    pub(crate) fn status(&self) -> EngineStatus {
        match self {
            Self::Host(host) => EngineStatus { out_of_memory: host.out_of_memory(), ..EngineStatus::default() },
            Self::Cuda(cuda) => cuda.status(),
        }
    }
}

/// The embedder's output, cut into faces.
pub(crate) fn embeddings(values: &[f32], count: usize, output: Output) -> Result<Vec<Embedding>, EngineError> {
    let Output { dimensions, metric } = output;
    if values.len() != count * dimensions || values.iter().any(|value| !value.is_finite()) {
        return Err(EngineError::Torch("the embedder returned no numbers".to_owned()));
    }
    let faces = values.chunks_exact(dimensions);
    if metric == Metric::Cosine && faces.clone().any(|face| face.iter().all(|value| *value == 0.0)) {
        return Err(EngineError::Torch("the embedder returned nothing but zeros, which have no angle".to_owned()));
    }
    Ok(faces.filter_map(|values| Embedding::measured_by(values.to_vec(), metric)).collect())
}

/// Pictures of faces, one behind the other, as the embedder takes them.
pub(crate) fn inputs(chips: &[&Chip], side: usize) -> Result<Zeroizing<Vec<u8>>, EngineError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(chips.len() * side * side * 3));
    fill(&mut bytes, chips, side)?;
    Ok(bytes)
}

/// The same, into a buffer with room for them.
pub(crate) fn fill(bytes: &mut Vec<u8>, chips: &[&Chip], side: usize) -> Result<(), EngineError> {
    let size = side * side * 3;
    for chip in chips {
        if chip.input().len() != size {
            // Made from landmarks alone, or for another pack.
            return Err(EngineError::Config(format!(
                "a face was not cut out for an embedder of {side} x {side} pixels"
            )));
        }
        bytes.extend_from_slice(chip.input());
    }
    Ok(())
}

/// Makes chips and crops on the processor.
pub(crate) fn render(plans: &[&ChipPlan]) -> Vec<Aligned> {
    plans.par_iter().map(|plan| Aligned { chip: plan.render(), embedding: None }).collect()
}

/// The detector's outputs, cut into pictures.
pub(crate) fn seen(regressors: &[f32], scores: &[f32], count: usize) -> Result<Vec<Seen>, EngineError> {
    let fits = regressors.len() == count * DETECTOR_ANCHORS * DETECTOR_VALUES;
    if !fits || scores.len() != count * DETECTOR_ANCHORS {
        return Err(EngineError::Torch("the detector returned too little".to_owned()));
    }
    let pictures =
        regressors.chunks_exact(DETECTOR_ANCHORS * DETECTOR_VALUES).zip(scores.chunks_exact(DETECTOR_ANCHORS));
    Ok(pictures.map(|(regressors, scores)| Seen { regressors: regressors.to_vec(), scores: scores.to_vec() }).collect())
}
