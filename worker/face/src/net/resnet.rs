//! The embedder: 29 convolutions and a projection (He et al., CVPR 2016, in dlib's variant).

use tch::{Device, Kind, Tensor};

use super::channels_last;
use crate::error::EngineError;
use crate::pack::dlib::resnet::{self, FEATURES, OUTPUT};

/// The network on a device.
pub(crate) struct ResNet {
    device: Device,
    mean: Tensor,
    stem: Convolution,
    blocks: Vec<Block>,
    projection: Tensor,
}

struct Convolution {
    weights: Tensor,
    biases: Tensor,
    stride: i64,
    padding: i64,
    outputs: i64,
}

struct Block {
    halves: bool,
    first: Convolution,
    second: Convolution,
}

impl ResNet {
    pub(crate) fn build(from: &resnet::ResNet, device: Device) -> Result<Self, EngineError> {
        let blocks = from
            .blocks
            .iter()
            .map(|block| {
                Ok(Block {
                    halves: block.halves,
                    first: Convolution::build(&block.first, device)?,
                    second: Convolution::build(&block.second, device)?,
                })
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(Self {
            device,
            mean: Tensor::f_from_slice(&from.mean)?.f_to_device(device)?,
            stem: Convolution::build(&from.stem, device)?,
            blocks,
            projection: Tensor::f_from_slice(&from.projection)?
                .f_reshape([FEATURES as i64, OUTPUT as i64])?
                .f_to_device(device)?,
        })
    }

    /// Chips (N x 150 x 150 x 3, bytes) to embeddings (N x 128).
    pub(crate) fn forward(&self, chips: &Tensor) -> Result<Tensor, EngineError> {
        let input = chips.f_to_device(self.device)?.f_to_kind(Kind::Float)?;
        let mut input = input.f_sub(&self.mean)?;
        let input = input.f_divide_scalar_(256.0)?;
        // The bytes are channels-last already: the permutation only renames the dimensions.
        let mut x = self.stem.forward(&input.f_permute([0, 3, 1, 2])?)?.f_relu_()?;
        x = x.f_max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        let features = x.f_mean_dim(&[2i64, 3][..], false, Kind::Float)?;
        Ok(features.f_matmul(&self.projection)?)
    }
}

impl Convolution {
    fn build(from: &resnet::Convolution, device: Device) -> Result<Self, EngineError> {
        let kernel = from.kernel as i64;
        let shape = [from.outputs as i64, from.inputs as i64, kernel, kernel];
        Ok(Self {
            weights: channels_last(&from.weights, shape)?.f_to_device(device)?,
            biases: Tensor::f_from_slice(&from.biases)?.f_to_device(device)?,
            stride: from.stride as i64,
            padding: from.padding as i64,
            outputs: from.outputs as i64,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        Ok(x.f_conv2d(&self.weights, Some(&self.biases), [self.stride; 2], [self.padding; 2], [1, 1], 1)?)
    }
}

impl Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        let mut y = self.first.forward(x)?;
        let y = y.f_relu_()?;
        let mut y = self.second.forward(&y)?;
        if !self.halves {
            return Ok(y.f_add_(x)?.f_relu_()?);
        }
        // dlib adds tensors of unequal size by extending both with zeros at the end of each
        // dimension: the shortcut has fewer channels, and may have a row and a column more.
        let shortcut = x.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>)?;
        let (ys, zs) = (y.size(), shortcut.size());
        let extra = |dimension: usize| zs[dimension].saturating_sub(ys[dimension]).max(0);
        if extra(2) > 0 || extra(3) > 0 {
            y = y.f_constant_pad_nd([0, extra(3), 0, extra(2)])?;
        }
        debug_assert!(zs[1] <= self.second.outputs);
        let mut shared = y.f_narrow(1, 0, zs[1])?.f_narrow(2, 0, zs[2])?.f_narrow(3, 0, zs[3])?;
        let _ = shared.f_add_(&shortcut)?;
        Ok(y.f_relu_()?)
    }
}
