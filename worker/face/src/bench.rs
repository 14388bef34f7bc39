//! The embedder's network alone, for benches to measure the rest against. No stable interface.

use std::path::Path;

use tch::{Kind, Tensor};

use crate::device::Device;
use crate::net::resnet::ResNet;
use crate::pack::{LoadOptions, Pack};

/// A forward pass without anything around it.
pub struct BareForward(ResNet);

impl BareForward {
    /// Builds the embedder of the pack in `folder` on the processor.
    pub fn new(folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let pack = Pack::load(folder, LoadOptions::default())?;
        Ok(Self(ResNet::build(&pack.embedder, Device::Cpu.torch())?))
    }

    /// `count` chips, as the network takes them.
    pub fn input(&self, count: usize) -> Tensor {
        Tensor::full([count as i64, 150, 150, 3], 128, (Kind::Uint8, tch::Device::Cpu))
    }

    /// One pass.
    pub fn forward(&self, input: &Tensor) {
        let _no_grad = tch::no_grad_guard();
        drop(std::hint::black_box(self.0.forward(input)));
    }
}
