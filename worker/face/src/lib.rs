#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batcher;
#[doc(hidden)]
pub mod bench;
pub mod decode;
mod device;
mod error;
pub mod face;
mod geometry;
mod image;
mod matcher;
mod net;
mod outcome;
mod pack;
mod policy;

pub use batcher::{BatchConfig, BatchReport, BatchService, CloseReason, Lane, SubmitError, Ticket};
pub use decode::decode;
pub use device::{Device, discover};
pub use error::{EngineError, ModelError, ModelFault, PackError};
pub use face::chip::{Chip, chip};
pub use face::detect::Detection;
pub use face::landmarks::Landmarks;
pub use face::quality::{Quality, measure};
pub use geometry::{Bounds, PixelRect, Point};
pub use image::{DecodeLimits, ImageError, ImageFault, RgbImage};
pub use matcher::{Embedding, Matcher, Prepared, distance};
pub use outcome::{FaceFailure, FaceOutcome, FaceReason, FaceVerdict};
pub use pack::{LoadOptions, OperatingPoint, Pack, PackIdentity};
pub use policy::{GatePolicy, MatchPolicy, ReplayPolicy};
