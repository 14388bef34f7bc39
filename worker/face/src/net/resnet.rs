//! The embedder: 29 convolutions and a projection (He et al., CVPR 2016, in dlib's variant).

use tch::{Device, Kind, Tensor};

use super::channels_last;
use crate::error::EngineError;
use crate::pack::dlib::resnet::{self, FEATURES, INPUT, OUTPUT};

/// The network on a device.
pub(crate) struct ResNet {
    device: Device,
    kind: Kind,
    /// Whether convolution, bias, addition and rectification go to cuDNN as one operation.
    fused: bool,
    /// Of each pixel.
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
    /// The reference: single precision, operation by operation.
    pub(crate) fn build(from: &resnet::ResNet, device: Device) -> Result<Self, EngineError> {
        Self::build_as(from, device, Kind::Float, false)
    }

    /// In the precision given. `fused` needs a CUDA device.
    pub(crate) fn build_as(
        from: &resnet::ResNet,
        device: Device,
        kind: Kind,
        fused: bool,
    ) -> Result<Self, EngineError> {
        let convolution = |from: &resnet::Convolution| Convolution::build(from, device, kind);
        let blocks = from
            .blocks
            .iter()
            .map(|block| {
                let (first, second) = (convolution(&block.first)?, convolution(&block.second)?);
                Ok(Block { halves: block.halves, first, second })
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(Self {
            device,
            kind,
            fused,
            mean: mean(&from.mean)?.f_to_device(device)?,
            stem: convolution(&from.stem)?,
            blocks,
            // The last step stays in single precision: it is small, and distances come from it.
            projection: Tensor::f_from_slice(&from.projection)?
                .f_reshape([FEATURES as i64, OUTPUT as i64])?
                .f_to_device(device)?,
        })
    }

    /// The same network over the same weights, for another thread.
    pub(crate) fn share(&self) -> Self {
        let block =
            |block: &Block| Block { halves: block.halves, first: block.first.share(), second: block.second.share() };
        Self {
            device: self.device,
            kind: self.kind,
            fused: self.fused,
            mean: self.mean.shallow_clone(),
            stem: self.stem.share(),
            blocks: self.blocks.iter().map(block).collect(),
            projection: self.projection.shallow_clone(),
        }
    }

    /// Chips (N x 150 x 150 x 3, bytes) to embeddings (N x 128).
    pub(crate) fn forward(&self, chips: &Tensor) -> Result<Tensor, EngineError> {
        let input = chips.f_to_device(self.device)?.f_to_kind(Kind::Float)?;
        let mut input = input.f_sub(&self.mean)?;
        let input = input.f_divide_scalar_(256.0)?.f_to_kind(self.kind)?;
        // The bytes are channels-last already: the permutation only renames the dimensions.
        self.forward_values(&input.f_permute([0, 3, 1, 2])?)
    }

    /// Normalised values (N x 3 x 150 x 150, in the network's precision) to embeddings
    /// (N x 128, single precision).
    pub(crate) fn forward_values(&self, input: &Tensor) -> Result<Tensor, EngineError> {
        let mut x = self.stem.forward_relu(input, self.fused)?;
        x = x.f_max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false)?;
        for block in &self.blocks {
            x = block.forward(&x, self.fused)?;
        }
        let features = x.f_mean_dim(&[2i64, 3][..], false, Kind::Float)?;
        Ok(features.f_matmul(&self.projection)?)
    }
}

/// What is taken from each channel, written out for a whole face: libtorch would go through three numbers at
/// a time.
fn mean(channels: &[f32; 3]) -> Result<Tensor, EngineError> {
    let side = INPUT as i64;
    Ok(Tensor::f_from_slice(channels)?.f_expand([side, side, 3], false)?.f_contiguous()?)
}

impl Convolution {
    fn build(from: &resnet::Convolution, device: Device, kind: Kind) -> Result<Self, EngineError> {
        let kernel = from.kernel as i64;
        let shape = [from.outputs as i64, from.inputs as i64, kernel, kernel];
        Ok(Self {
            weights: channels_last(&from.weights, shape)?.f_to_device(device)?.f_to_kind(kind)?,
            biases: Tensor::f_from_slice(&from.biases)?.f_to_device(device)?.f_to_kind(kind)?,
            stride: from.stride as i64,
            padding: from.padding as i64,
            outputs: from.outputs as i64,
        })
    }

    fn share(&self) -> Self {
        Self { weights: self.weights.shallow_clone(), biases: self.biases.shallow_clone(), ..*self }
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        Ok(x.f_conv2d(&self.weights, Some(&self.biases), [self.stride; 2], [self.padding; 2], [1, 1], 1)?)
    }

    fn forward_relu(&self, x: &Tensor, fused: bool) -> Result<Tensor, EngineError> {
        if !fused {
            return Ok(self.forward(x)?.f_relu_()?);
        }
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        Ok(x.f_cudnn_convolution_relu(&self.weights, Some(&self.biases), stride, padding, [1, 1], 1)?)
    }

    fn forward_add_relu(&self, x: &Tensor, shortcut: &Tensor, fused: bool) -> Result<Tensor, EngineError> {
        if !fused {
            return Ok(self.forward(x)?.f_add_(shortcut)?.f_relu_()?);
        }
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        let biases = Some(&self.biases);
        Ok(x.f_cudnn_convolution_add_relu(&self.weights, shortcut, 1.0, biases, stride, padding, [1, 1], 1)?)
    }
}

impl Block {
    fn forward(&self, x: &Tensor, fused: bool) -> Result<Tensor, EngineError> {
        let y = self.first.forward_relu(x, fused)?;
        if !self.halves {
            return self.second.forward_add_relu(&y, x, fused);
        }
        let mut y = self.second.forward(&y)?;
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
