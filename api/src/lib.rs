#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod evidence_form;
mod http;
mod memory_budget;
pub mod openapi;
mod ops;
mod outbox;
mod outbox_age;
pub mod relay;
mod router;
mod routes;
mod serve;
mod service_urls;
pub mod settings;
mod state;
pub mod sweeps;
pub mod tenancy;

pub use http::rate_limit::Quota;
pub use ops::{Check, Ops, ops_router};
pub use outbox::Outbox;
pub use relay::run_relay;
pub use router::router;
pub use serve::{serve, serve_router};
pub use settings::{Mode, Opened, ServeArgs, SettingsError, StorageArgs, open_queue, open_storage};
pub use state::{ApiConfig, AppState};
pub use sweeps::{Sweeps, run_sweeps};
