//! The product from outside, in both modes.
#![allow(clippy::unwrap_used)]

mod accepted;
mod attestation;
mod bad_input;
mod bulk;
mod chip_authentication;
mod crashes;
mod expiry;
mod idempotency;
mod receiver;
mod rejected;
mod selfies_only;
mod support;
mod trust_reload;
mod verify;
mod webhooks;
