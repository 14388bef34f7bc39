#![doc = include_str!("../README.md")]

mod load;
pub mod loopback;
mod paired;
mod served;
mod verdicts;

pub use load::{Connection, Load, Outcome};
pub use loopback::Receivers;
pub use paired::Paired;
pub use served::Served;
pub use verdicts::Bed;
