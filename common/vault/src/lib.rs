#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod container;
mod deployment_key;
mod directory;
mod epoch_keys;
mod error;
mod kept;
mod secret_file;
mod terminal;
mod vault;

pub use deployment_key::DeploymentKey;
pub use epoch_keys::{EPOCH_GRACE, EpochKeys};
pub use error::VaultError;
pub use kept::KeptChipEvidence;
pub use terminal::TerminalSecret;
pub use vault::{SealedRef, StoredObject, Vault};
