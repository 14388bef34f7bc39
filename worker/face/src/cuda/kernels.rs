//! The two kernels of `chips.cu`: a whole batch of inputs in one launch.

use std::sync::Arc;

use cudarc::driver::sys::CUdeviceptr;
use cudarc::driver::{CudaContext, CudaFunction, CudaStream, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use tch::{Kind, Tensor};

use crate::error::EngineError;
use crate::face::chip::Chip;
use crate::pack::DETECTOR_INPUT;

/// The driver compiles this for whatever device it finds.
const PTX: &str = include_str!("chips.ptx");
const THREADS: u32 = 256;

pub(super) struct Kernels {
    chips: CudaFunction,
    letterbox: CudaFunction,
}

impl Kernels {
    pub(super) fn load(context: &Arc<CudaContext>) -> Result<Self, EngineError> {
        let module = context.load_module(Ptx::from_src(PTX))?;
        Ok(Self {
            chips: module.load_function("proofmill_chips")?,
            letterbox: module.load_function("proofmill_letterbox")?,
        })
    }

    /// Plans at `plans`, their samples at `packed`, to the embedder's input `batch` (N x 150 x
    /// 150 x 3, half precision) and to 8-bit pixels at `pixels`.
    ///
    /// # Safety
    /// At `plans` lie as many descriptors of `ChipPlan` as `batch` has images, each with its
    /// samples inside what lies at `packed`; at `pixels` there is room for all chips. All of it
    /// stays until the stream has passed this launch.
    pub(super) unsafe fn chips(
        &self,
        stream: &CudaStream,
        [packed, plans, pixels]: [CUdeviceptr; 3],
        mean: [f32; 3],
        batch: &Tensor,
    ) -> Result<(), EngineError> {
        let Layout { images, target, image_stride, channel_stride, pixel_stride, half } =
            Layout::of(batch, Chip::SIDE)?;
        let [r, g, b] = mean;
        let mut launch = stream.launch_builder(&self.chips);
        launch.arg(&packed).arg(&plans).arg(&r).arg(&g).arg(&b).arg(&target);
        launch.arg(&image_stride).arg(&channel_stride).arg(&pixel_stride).arg(&half).arg(&pixels);
        // SAFETY: the arguments are those of `proofmill_chips`, in order and type; each thread
        // writes its own pixel of `batch`, whose shape was checked, and of `pixels`.
        unsafe { launch.launch(grid(Chip::SIDE, images)) }?;
        Ok(())
    }

    /// The same for the detector's input `batch` (N x 128 x 128 x 3, single precision).
    ///
    /// # Safety
    /// As for [`Self::chips`], with descriptors of `LetterboxPlan`.
    pub(super) unsafe fn letterbox(
        &self,
        stream: &CudaStream,
        [packed, plans]: [CUdeviceptr; 2],
        batch: &Tensor,
    ) -> Result<(), EngineError> {
        let Layout { images, target, image_stride, channel_stride, pixel_stride, half } =
            Layout::of(batch, DETECTOR_INPUT)?;
        let mut launch = stream.launch_builder(&self.letterbox);
        launch.arg(&packed).arg(&plans).arg(&target);
        launch.arg(&image_stride).arg(&channel_stride).arg(&pixel_stride).arg(&half);
        // SAFETY: as above, for `proofmill_letterbox`.
        unsafe { launch.launch(grid(DETECTOR_INPUT, images)) }?;
        Ok(())
    }
}

/// A tensor of the shape N x side x side x 3 as the kernels write to it.
struct Layout {
    images: u32,
    target: CUdeviceptr,
    image_stride: i64,
    channel_stride: i32,
    pixel_stride: i32,
    half: i32,
}

impl Layout {
    fn of(batch: &Tensor, side: usize) -> Result<Self, EngineError> {
        let side = side as i64;
        let half = match batch.kind() {
            Kind::Half => 1,
            Kind::Float => 0,
            other => return Err(EngineError::Config(format!("a batch of {other:?}"))),
        };
        let images = match batch.size()[..] {
            [images, h, w, 3] if h == side && w == side && batch.is_contiguous() => images,
            _ => return Err(EngineError::Config("a batch of another shape".to_owned())),
        };
        Ok(Self {
            images: u32::try_from(images).map_err(|_| EngineError::Config("a batch too large".to_owned()))?,
            target: batch.data_ptr() as CUdeviceptr,
            image_stride: side * side * 3,
            channel_stride: 1,
            pixel_stride: 3,
            half,
        })
    }
}

fn grid(side: usize, images: u32) -> LaunchConfig {
    let pixels = (side * side) as u32;
    LaunchConfig { grid_dim: (pixels.div_ceil(THREADS), images, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}
