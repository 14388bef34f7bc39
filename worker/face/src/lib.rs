#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batcher;
#[doc(hidden)]
pub mod bench;
mod compare;
mod cuda;
pub mod decode;
mod device;
mod engine;
mod error;
pub mod face;
mod geometry;
mod image;
mod matcher;
mod net;
mod outcome;
mod pack;
mod policy;
mod presentation;
mod wipe;

pub use batcher::{
    BatchConfig, BatchEngine, BatchEvent, BatchReport, BatchService, CloseReason, DeviceState, DeviceStatus, Lane,
    Setup, Standby, SubmitError, Ticket, TraceRow,
};
pub use decode::decode;
pub use device::{Device, DeviceDescription, Discovery, Fallback, discover, discovery};
pub use engine::EngineStatus;
pub use error::{EngineError, ModelError, ModelFault, PackError};
pub use face::chip::{Chip, ChipPlan, chip};
pub use face::detect::Detection;
pub use face::landmarks::Landmarks;
pub use face::quality::{Quality, Source, measure};
pub use geometry::{Bounds, PixelRect, Point};
pub use image::{DecodeLimits, ImageError, ImageFault, RgbImage};
pub use matcher::{Embedding, Matcher, Prepared, distance};
pub use outcome::{FaceFailure, FaceOutcome, FaceReason, FaceVerdict};
pub use pack::{LoadOptions, Metric, OperatingPoint, Pack, PackIdentity, PackSummary};
pub use policy::{GatePolicy, MatchPolicy, PolicyError, ReplayPolicy, Setting, settings};
pub use presentation::{PresentationAttack, PresentationAttackDetector};
