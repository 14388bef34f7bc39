#![doc = include_str!("../README.md")]

pub mod client;
pub mod database;
pub mod environment;
pub mod integrator;
pub mod minted;
pub mod process;
pub mod receiver;
pub mod server;
pub mod wait;

pub use client::{Answer, ApiClient, Opened, Submission};
pub use integrator::Integrator;
pub use receiver::{Received, Receiver};
pub use server::{Mode, Options, Server};
