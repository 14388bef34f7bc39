//! The networks alone, for benches and checks to measure the rest against. No stable interface.

use std::path::Path;
use std::time::{Duration, Instant};

use tch::{Kind, Tensor};

use crate::device::Device;
use crate::net::resnet::ResNet;
use crate::pack::{LoadOptions, Network, Pack, dlib};

/// A forward pass of the embedder without anything around it.
pub struct BareForward {
    network: ResNet,
    device: tch::Device,
}

impl BareForward {
    /// Builds the embedder of the pack in `folder` on the processor.
    pub fn new(folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let pack = Pack::load(folder, LoadOptions::default())?;
        let device = tch::Device::Cpu;
        Ok(Self { network: ResNet::build(resnet(&pack)?, device)?, device })
    }

    /// Builds it on any device, in half precision if asked, its operations fused if asked.
    pub fn on(folder: &Path, device: Device, half: bool, fused: bool) -> Result<Self, Box<dyn std::error::Error>> {
        let pack = Pack::load(folder, LoadOptions::default())?;
        let device = match device {
            Device::Cpu => tch::Device::Cpu,
            Device::Cuda(index) => tch::Device::Cuda(index),
        };
        let kind = if half { Kind::Half } else { Kind::Float };
        Ok(Self { network: ResNet::build_as(resnet(&pack)?, device, kind, fused)?, device })
    }

    /// `count` chips, as the network takes them.
    pub fn input(&self, count: usize) -> Tensor {
        Tensor::full([count as i64, 150, 150, 3], 128, (Kind::Uint8, self.device))
    }

    /// One pass.
    pub fn forward(&self, input: &Tensor) {
        let _no_grad = tch::no_grad_guard();
        drop(std::hint::black_box(self.network.forward(input)));
    }

    /// Passes over `count` normalised chips that are on the device, for at least `time`: how many
    /// and how long they took.
    pub fn run(
        &self,
        count: usize,
        half: bool,
        time: Duration,
    ) -> Result<(usize, Duration), Box<dyn std::error::Error>> {
        let _no_grad = tch::no_grad_guard();
        let kind = if half { Kind::Half } else { Kind::Float };
        // Channels last in memory, as the kernel writes them.
        let input = Tensor::f_rand([count as i64, 150, 150, 3], (kind, self.device))?.f_permute([0, 3, 1, 2])?;
        let wait = || {
            if let tch::Device::Cuda(index) = self.device {
                tch::Cuda::synchronize(index as i64);
            }
        };
        for _ in 0..3 {
            drop(self.network.forward_values(&input)?);
        }
        wait();
        let (mut passes, start) = (0, Instant::now());
        while start.elapsed() < time {
            // A few between looks at the clock, so that the device has a queue.
            for _ in 0..4 {
                drop(self.network.forward_values(&input)?);
                passes += 1;
            }
            wait();
        }
        Ok((passes, start.elapsed()))
    }
}

fn resnet(pack: &Pack) -> Result<&dlib::resnet::ResNet, Box<dyn std::error::Error>> {
    match &pack.embedder.network {
        Network::Resnet29(network) => Ok(network),
        Network::TorchScript(_) => Err("only the network that is built here can be measured alone".into()),
    }
}

/// Writes a small TorchScript network (N x 3 x H x W to N x 96) to `path`, for tests of what imports one.
pub fn trace_network(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    crate::discover();
    let values: Vec<f32> = (0..432 * 96).map(|i| ((i * 7919 % 1009) as f32 / 1009.0 - 0.5) / 20.0).collect();
    let weights = Tensor::f_from_slice(&values)?.f_reshape([432, 96])?;
    let example = Tensor::f_rand([2, 3, 112, 112], (Kind::Float, tch::Device::Cpu))?;
    let mut network = |inputs: &[Tensor]| vec![inputs[0].adaptive_avg_pool2d([12, 12]).flatten(1, -1).matmul(&weights)];
    Ok(tch::CModule::create_by_tracing("net", "forward", &[example], &mut network)?.save(path)?)
}
