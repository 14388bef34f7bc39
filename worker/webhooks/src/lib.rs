#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
mod pace;
mod recorder;
mod resolver;
mod schedule;
mod sender;

pub use client::{Answer, Client, Timeouts};
pub use resolver::{Lookup, system_lookup};
pub use schedule::next_try;
pub use sender::{Sender, SenderConfig};
