//! The networks alone, for benches and checks to measure the rest against. No stable interface.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use tch::{Kind, Tensor};

use crate::device::Device;
use crate::engine::Detector;
use crate::face::letterbox::LetterboxPlan;
use crate::image::RgbImage;
use crate::net::graph::normalise;
use crate::net::resnet::ResNet;
use crate::pack::{DETECTOR_INPUT, LoadOptions, Network, Pack, dlib, tflite};

/// Detector and embedder on the processor, without anything around them: what the networks alone take.
pub struct BareNetworks {
    /// One for each core.
    lanes: Vec<Mutex<(Detector, ResNet)>>,
}

impl BareNetworks {
    /// Builds the networks of the pack in `folder` for `lanes` cores that run side by side.
    pub fn new(folder: &Path, lanes: usize) -> Result<Self, Box<dyn std::error::Error>> {
        crate::discover();
        let pack = Pack::load(folder, LoadOptions::default())?;
        let device = tch::Device::Cpu;
        let (detector, embedder) = (Detector::build(&pack.detector, device)?, ResNet::build(resnet(&pack)?, device)?);
        let lanes = (0..lanes.max(1)).map(|_| Mutex::new((detector.share(), embedder.share()))).collect();
        Ok(Self { lanes })
    }

    /// Looks at `count` pictures, an equal part on each core, at most `most` in one pass.
    pub fn detect(&self, count: usize, most: usize) {
        self.spread(count, most, |(detector, _), part| {
            let side = DETECTOR_INPUT as i64;
            let input = Tensor::full([part as i64, side, side, 3], 128, (Kind::Uint8, tch::Device::Cpu));
            drop(std::hint::black_box(normalise(&input).and_then(|input| detector.forward(&input))));
        });
    }

    /// Embeds `count` faces, an equal part on each core, at most `most` in one pass.
    pub fn embed(&self, count: usize, most: usize) {
        self.spread(count, most, |(_, embedder), part| {
            let input = Tensor::full([part as i64, 150, 150, 3], 128, (Kind::Uint8, tch::Device::Cpu));
            drop(std::hint::black_box(embedder.forward(&input)));
        });
    }

    fn spread(&self, count: usize, most: usize, pass: impl Fn(&(Detector, ResNet), usize) + Sync) {
        let share = count.div_ceil(self.lanes.len());
        let run = |lane: &Mutex<(Detector, ResNet)>, from: usize| {
            let networks = lane.lock().unwrap_or_else(PoisonError::into_inner);
            let _no_grad = tch::no_grad_guard();
            let mut rest = share.min(count.saturating_sub(from));
            while rest > 0 {
                pass(&networks, rest.min(most));
                rest -= rest.min(most);
            }
        };
        match &self.lanes[..] {
            // On this very thread, whose number of libtorch's threads the caller may have set.
            [lane] => run(lane, 0),
            lanes => lanes.par_iter().enumerate().for_each(|(index, lane)| run(lane, index * share)),
        }
    }
}

/// How many threads libtorch uses for one pass that this thread begins.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads).unwrap_or(1));
}

/// The detector's input of one picture: what is taken from the picture, and the pixels made of it.
pub struct Letterbox(LetterboxPlan);

impl Letterbox {
    /// Takes the samples.
    pub fn new(image: &RgbImage) -> Self {
        Self(LetterboxPlan::new(image))
    }

    /// Makes the pixels.
    pub fn render(&self) -> Vec<u8> {
        let mut out = vec![0; DETECTOR_INPUT * DETECTOR_INPUT * 3];
        self.0.render(&mut out);
        out
    }
}

/// What a pack's networks cost at least.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Additions and multiplications of the detector's convolutions for one picture.
    pub detector_flops: u64,
    /// Of the embedder's convolutions for one face.
    pub embedder_flops: u64,
    /// Bytes of the embedder's weights, which each pass reads at least once.
    pub embedder_bytes: u64,
}

impl Cost {
    /// Counts the networks of the pack in `folder`.
    pub fn of(folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let pack = Pack::load(folder, LoadOptions::default())?;
        let network = resnet(&pack)?;
        let mut flops = 0;
        let mut weights = network.projection.len();
        let mut run = |from: &dlib::resnet::Convolution, side: usize| {
            let side = (side + 2 * from.padding - from.kernel) / from.stride + 1;
            weights += from.weights.len() + from.biases.len();
            flops += 2 * (side * side * from.weights.len()) as u64;
            side
        };
        // Behind the first convolution the picture is halved without padding.
        let mut side = (run(&network.stem, dlib::resnet::INPUT) - 3) / 2 + 1;
        for block in &network.blocks {
            let inner = run(&block.first, side);
            let inner = run(&block.second, inner);
            side = if block.halves { inner.max(side / 2) } else { inner };
        }
        Ok(Self {
            detector_flops: pack.detector.operations.iter().filter_map(|step| flops_of(&pack.detector, step)).sum(),
            embedder_flops: flops,
            embedder_bytes: 4 * weights as u64,
        })
    }
}

fn flops_of(graph: &tflite::Graph, step: &tflite::Operation) -> Option<u64> {
    let depthwise = match step.kind {
        tflite::Kind::Convolution { .. } => false,
        tflite::Kind::Depthwise { .. } => true,
        _ => return None,
    };
    let filter = graph.shapes.get(*step.inputs.get(1)?)?;
    let outputs: usize = graph.shapes.get(step.output)?.iter().product();
    // A depthwise filter sees one channel.
    let taps: usize = filter.get(1..if depthwise { 3 } else { 4 })?.iter().product();
    Some(2 * (outputs * taps) as u64)
}

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

/// Writes a small five-point landmarker (N x 3 x H x W to N x 10, places of a usual face whatever it sees), for the same.
pub fn trace_landmarker(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    crate::discover();
    let example = Tensor::f_rand([2, 3, 112, 112], (Kind::Float, tch::Device::Cpu))?;
    let mut network = |inputs: &[Tensor]| {
        let zero = inputs[0].mean_dim(&[1i64, 2, 3][..], false, Kind::Float).reshape([-1, 1]) * 0.0;
        let places = [0.36, 0.40, 0.63, 0.40, 0.50, 0.58, 0.40, 0.74, 0.60, 0.74];
        vec![Tensor::cat(&places.map(|place| &zero + place), 1)]
    };
    Ok(tch::CModule::create_by_tracing("net", "forward", &[example], &mut network)?.save(path)?)
}
