#![doc = include_str!("../README.md")]

mod load;
pub mod loopback;
pub mod meter;
mod paired;
mod served;
mod verdicts;

pub use load::{Connection, Load, Outcome};
pub use loopback::Receivers;
pub use meter::{Metered, Spent};
pub use paired::Paired;
pub use served::Served;
pub use verdicts::Bed;
