//! The sender against receivers that answer, refuse, hang and die, over a store in a temporary file.

#![allow(clippy::unwrap_used)]

mod receivers;
mod sending;
// The README's text, letter for letter: a receiver of its own goes by the system's clock.
#[allow(clippy::disallowed_methods)]
mod snippet;
mod world;
