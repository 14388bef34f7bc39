//! What can go wrong with sealed data. No variant carries a byte of it.

use std::io;

/// Why sealing, opening or destroying failed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The storage cannot be reached or refuses: a system fault, to be retried.
    #[error("{what} is unavailable")]
    Unavailable {
        /// Which part.
        what: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object or the key is not there: it was destroyed, or never written.
    #[error("{what} `{name}` does not exist")]
    Missing {
        /// Which kind.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Authentication failed: changed bytes, another key, or another owner's data.
    #[error("{what} does not open: it was changed, or sealed under another key or name")]
    Corrupt {
        /// Which kind.
        what: &'static str,
    },
    /// A key file is not what it must be; the message says what to do.
    #[error("key file {path}: {problem}")]
    KeyFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A key file is already there; creating never replaces one.
    #[error("key file {path} exists already")]
    KeyFileExists {
        /// The file.
        path: String,
    },
    /// The epoch may still seal, or have been used moments ago by a process that has not committed yet.
    #[error("epoch {0} is still in use")]
    EpochInUse(String),
    /// An argument that no caller of ours should pass.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// The cryptographic library failed, for want of randomness for example.
    #[error("cryptographic operation failed")]
    Crypto,
}

impl VaultError {
    /// Whether trying again later can help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, VaultError::Unavailable { .. } | VaultError::Crypto)
    }

    pub(crate) fn io(what: &'static str, source: io::Error) -> Self {
        VaultError::Unavailable { what, source: Box::new(source) }
    }
}

impl From<aws_lc_rs::error::Unspecified> for VaultError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        VaultError::Crypto
    }
}
