#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod process;
pub mod services;
pub mod setup;
pub mod workspace;
