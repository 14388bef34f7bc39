//! Trust on disk, with minted states and, where they are at hand, real ones.
#![allow(clippy::unwrap_used)]

mod audits;
mod loading;
mod mint;
mod reference;
mod sources;
mod stores;
