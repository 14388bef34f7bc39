#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod delivery;
mod error;
mod in_process;
mod job;
mod queue;
mod rabbit;

pub use delivery::{Consumer, Delivery};
pub use error::{PublishError, QueueError};
pub use in_process::InProcessQueue;
pub use job::{JobRef, MAX_JOB_BYTES, MalformedJob};
pub use queue::{Queue, QueueStats};
pub use rabbit::{RabbitConfig, RabbitQueue, Topology};
