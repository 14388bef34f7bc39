//! The worker against a real SQLite store, the in-process queue and a directory vault.
#![allow(clippy::unwrap_used, missing_docs)]

mod chip;
mod faces;
mod gallery;
mod operations;
mod pipeline;
mod support;
mod trust;
mod verify;
