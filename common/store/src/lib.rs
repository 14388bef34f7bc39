#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]
// The queries are written once and compiled per database on purpose: see `queries`.
#![allow(clippy::duplicate_mod)]

mod breaker;
mod error;
mod limits;
mod model;
mod outgoing;
mod places;
mod postgres;
mod rows;
mod schema;
mod sqlite;
mod store;
mod verdict;

pub use error::StoreError;
pub use limits::{MAX_ENDPOINTS, MAX_SIGNING_SECRETS};
pub use model::*;
pub use store::{Store, StoreConfig, StoreKind};

#[cfg(test)]
mod tests;
