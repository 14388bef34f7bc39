//! The networks, built of libtorch operations.

pub(crate) mod graph;
pub(crate) mod resnet;
pub(crate) mod torchscript;

use tch::{Device, Kind, Tensor};

use crate::error::EngineError;
use crate::pack;

/// The embedder of a pack on a device, in single precision.
pub(crate) enum Embedder {
    ResNet(resnet::ResNet),
    TorchScript(torchscript::TorchScript),
}

impl Embedder {
    pub(crate) fn build(from: &pack::Embedder, device: Device) -> Result<Self, EngineError> {
        Ok(match &from.network {
            pack::Network::Resnet29(network) => Self::ResNet(resnet::ResNet::build(network, device)?),
            pack::Network::TorchScript(script) => {
                Self::TorchScript(torchscript::TorchScript::build(script, from.output.dimensions, device)?)
            }
        })
    }

    /// The same network over the same weights, for another thread.
    pub(crate) fn share(&self) -> Self {
        match self {
            Self::ResNet(network) => Self::ResNet(network.share()),
            Self::TorchScript(network) => Self::TorchScript(network.share()),
        }
    }

    /// Faces (N x side x side x 3, bytes) to embeddings.
    pub(crate) fn forward(&self, faces: &Tensor) -> Result<Tensor, EngineError> {
        match self {
            Self::ResNet(network) => network.forward(faces),
            Self::TorchScript(network) => network.forward(faces),
        }
    }
}

/// A four-dimensional weight in channels-last memory order, which is what the input is in.
fn channels_last(values: &[f32], shape: [i64; 4]) -> Result<Tensor, EngineError> {
    Ok(Tensor::f_from_slice(values)?
        .f_reshape(shape)?
        .f_permute([0, 2, 3, 1])?
        .f_contiguous()?
        .f_permute([0, 3, 1, 2])?)
}

/// Bytes of `count` pictures of `side` x `side` RGB pixels, as a tensor in that order.
pub(crate) fn pixels(bytes: &[u8], count: usize, side: usize) -> Result<Tensor, EngineError> {
    let side = side as i64;
    Ok(Tensor::f_from_data_size(bytes, &[count as i64, side, side, 3], Kind::Uint8)?)
}

/// The values of a tensor, row by row.
pub(crate) fn values(tensor: &Tensor) -> Result<Vec<f32>, EngineError> {
    let tensor = tensor.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut out = vec![0f32; tensor.numel()];
    let count = out.len();
    tensor.f_copy_data(&mut out, count)?;
    Ok(out)
}
