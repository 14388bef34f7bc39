#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod attestation;
pub mod decide;
pub mod doctor;
pub mod document;
pub mod engine;
pub mod evaluate;
pub mod face;
pub mod face_tools;
pub mod inspect;
pub mod kept;
pub mod models;
pub mod pipeline;
pub mod serve;
pub mod settings;
pub mod shutdown;
pub mod trust;
pub mod verify;

pub use engine::{Case, Engine, Fault, Judgement};
pub use pipeline::{Parts, Pipeline, PipelineConfig};

use proofmill_telemetry::BuildInfo;

/// What is running, for metrics.
pub fn build_info(role: &'static str) -> BuildInfo {
    BuildInfo { version: env!("CARGO_PKG_VERSION"), commit: option_env!("PROOFMILL_COMMIT").unwrap_or("unknown"), role }
}
