#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod effective;
mod error;
mod layer;
mod load;
mod manual;
mod number;
mod schema;
mod variables;

pub use address::address;
pub use effective::Effective;
pub use error::{Refusal, SettingsError};
pub use load::{ConfigArgs, Loaded, load};
pub use manual::check_manual;
pub use number::number;
pub use variables::{UnknownVariables, unlisted_variables};
