//! Every query, written once. This folder is compiled twice, as a child of `postgres` and of `sqlite`: `backend` is
//! the parent's and gives the connection type and the two locking macros; so is `writes`, which updates many rows.

use super::{backend, writes};

pub(crate) mod attempts;
pub(crate) mod cancel;
pub(crate) mod claims;
pub(crate) mod deliveries;
pub(crate) mod endpoints;
pub(crate) mod events;
pub(crate) mod expiry;
pub(crate) mod id_keys;
pub(crate) mod idempotency;
pub(crate) mod leases;
pub(crate) mod organisations;
pub(crate) mod outbox;
pub(crate) mod reader_keys;
pub(crate) mod secrets;
pub(crate) mod sessions;
pub(crate) mod settle;
pub(crate) mod submit;
pub(crate) mod sweeps;
pub(crate) mod terminal;

mod breakers;
mod close;
mod emit;
