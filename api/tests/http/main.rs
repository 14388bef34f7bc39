//! The API over a real SQLite store and a real vault directory, request by request, with a clock that stands still.
#![allow(clippy::unwrap_used, missing_docs)]

mod attempts;
mod auth;
mod background;
mod bulk;
mod chip_authentication;
mod document;
mod envelope;
mod evidence;
mod handoff;
mod idempotency;
mod isolation;
mod openapi;
mod operations;
mod page;
mod sessions;
mod stage;
mod strictness;
mod support;
mod verify;
mod webhooks;
