#![doc = include_str!("../README.md")]

pub mod loopback;
mod load;
mod paired;
mod served;
mod verdicts;

pub use loopback::Receivers;
pub use load::{Connection, Load, Outcome};
pub use paired::Paired;
pub use served::Served;
pub use verdicts::Bed;
