//! An embedder that somebody else wrote: a TorchScript module.

use std::sync::Arc;

use tch::{CModule, Device, Kind, TchError, Tensor};

use crate::error::EngineError;
use crate::pack::Channels;
use crate::pack::torchscript::Script;

/// What a landmarker returns for a face.
const POINTS: i64 = crate::face::landmarker::VALUES as i64;

/// The module on a device, in single precision.
pub(crate) struct TorchScript {
    module: Arc<CModule>,
    device: Device,
    bgr: bool,
    mean: Tensor,
    scale: Tensor,
    dimensions: i64,
    file: String,
}

impl TorchScript {
    pub(crate) fn build(from: &Script, dimensions: usize, device: Device) -> Result<Self, EngineError> {
        let fault = |error| explain(&from.file, "cannot be loaded", error);
        let mut module = CModule::load_data_on_device(&mut from.bytes.as_slice(), device).map_err(fault)?;
        // Dropout and batch statistics are for training: here they would make a face's numbers
        // depend on chance and on its neighbours.
        module.f_set_eval().map_err(fault)?;
        Ok(Self {
            module: Arc::new(module),
            device,
            bgr: from.input.channels == Channels::Bgr,
            mean: Tensor::f_from_slice(&from.input.mean)?.f_to_device(device)?,
            scale: Tensor::f_from_slice(&from.input.scale)?.f_to_device(device)?,
            dimensions: dimensions as i64,
            file: from.file.clone(),
        })
    }

    /// The same network over the same weights, for another thread.
    pub(crate) fn share(&self) -> Self {
        Self {
            module: Arc::clone(&self.module),
            mean: self.mean.shallow_clone(),
            scale: self.scale.shallow_clone(),
            file: self.file.clone(),
            ..*self
        }
    }

    /// Crops (N x side x side x 3, bytes, RGB) to embeddings (N x dimensions).
    pub(crate) fn forward(&self, crops: &Tensor) -> Result<Tensor, EngineError> {
        let count = crops.size().first().copied().unwrap_or(0);
        let mut input = crops.f_to_device(self.device)?.f_to_kind(Kind::Float)?;
        if self.bgr {
            input = input.f_flip([3])?;
        }
        let mut input = input.f_sub_(&self.mean)?;
        let input = input.f_divide_(&self.scale)?.f_permute([0, 3, 1, 2])?.f_contiguous()?;
        // The optimiser recompiles for each new size of a batch, of which there are many.
        tch::jit::f_set_graph_executor_optimize(false)?;
        let output = self.module.forward_ts(&[&input]).map_err(|error| explain(&self.file, "failed", error))?;
        // Points come as rows of two, too.
        let output = if output.size() == [count, 5, 2] && self.dimensions == POINTS {
            output.f_reshape([count, POINTS])?
        } else {
            output
        };
        if output.size() != [count, self.dimensions] {
            return Err(self.fault(format!(
                "returns {:?} for {count} faces, pack.toml says {count} x {}",
                output.size(),
                self.dimensions
            )));
        }
        if !matches!(output.kind(), Kind::Float | Kind::Half | Kind::BFloat16 | Kind::Double) {
            return Err(self.fault(format!("returns numbers of kind {:?}", output.kind())));
        }
        Ok(output.f_to_kind(Kind::Float)?)
    }

    pub(crate) fn fault(&self, what: String) -> EngineError {
        EngineError::Network { file: self.file.clone(), what }
    }
}

/// What libtorch's interpreter says, without its stack traces.
fn explain(file: &str, what: &str, error: TchError) -> EngineError {
    let text = error.to_string();
    match EngineError::from(error) {
        EngineError::Torch(first) => {
            let line = text.lines().map(str::trim).find(|line| line.starts_with("RuntimeError:"));
            let line = line.map_or(first, str::to_owned);
            EngineError::Network { file: file.to_owned(), what: format!("{what}: {line}") }
        }
        other => other,
    }
}
