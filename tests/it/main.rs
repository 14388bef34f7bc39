//! The product from outside, in both modes.
#![allow(clippy::unwrap_used)]

mod accepted;
mod bad_input;
mod chip_authentication;
mod crashes;
mod expiry;
mod receiver;
mod rejected;
mod support;
mod trust_reload;
mod verify;
mod webhooks;
