//! The API over a real SQLite store and a real vault directory, request by request, with a clock that stands still.
#![allow(clippy::unwrap_used, missing_docs)]

mod attempts;
mod auth;
mod background;
mod chip_authentication;
mod envelope;
mod evidence;
mod handoff;
mod idempotency;
mod operations;
mod page;
mod sessions;
mod support;
mod verify;
mod webhooks;
