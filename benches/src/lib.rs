#![doc = include_str!("../README.md")]

mod paired;

pub use paired::Paired;
