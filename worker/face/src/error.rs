//! Faults of the engine and of a model pack. Neither is ever a user's failure.

use std::path::PathBuf;

/// The engine could not do its work; the attempt must be tried again and costs the user nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(String),
    /// The CUDA driver refused an operation.
    #[error("CUDA: {0}")]
    Cuda(String),
    /// The device ran out of memory even for the smallest batch.
    #[error("out of memory on {0}")]
    OutOfMemory(String),
    /// The device is not there.
    #[error("device {0} is not available")]
    NoDevice(String),
    /// The device failed its check while it had this attempt, and no other is left to take it.
    #[error("out of service: {0}")]
    OutOfService(String),
    /// The code that ran the batch panicked; the other batches go on.
    #[error("the face engine panicked")]
    Panicked,
    /// The service stopped before the work was done.
    #[error("the face service has stopped")]
    Stopped,
    /// The pack's own network does not do what its description says.
    #[error("network {file}: {what}")]
    Network {
        /// The network's file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The configuration names something that the pack lacks.
    #[error("configuration: {0}")]
    Config(String),
}

impl From<tch::TchError> for EngineError {
    fn from(error: tch::TchError) -> Self {
        // libtorch appends a C++ stack trace: the first line says what happened.
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default().trim().to_owned();
        if text.contains("out of memory") || text.contains("can't allocate memory") {
            Self::OutOfMemory(line)
        } else {
            Self::Torch(line)
        }
    }
}

/// A model pack was refused. Every variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file could not be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// What should be a file is a folder, a pipe or a device.
    #[error("{}: not a regular file", path.display())]
    NotRegular {
        /// Where it lies.
        path: PathBuf,
    },
    /// A file is larger than any file of a pack may be.
    #[error("{}: {bytes} bytes, more than the {limit} allowed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// `pack.toml` does not parse or contradicts itself.
    #[error("{}: {error}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// A weights file is not the one that `pack.toml` pins.
    #[error("{}: sha256 is {found}, pack.toml says {expected}", path.display())]
    WrongHash {
        /// The file.
        path: PathBuf,
        /// The digest in `pack.toml`.
        expected: String,
        /// The digest of the file.
        found: String,
    },
    /// The pack's licence forbids commercial use and the caller did not allow that.
    #[error(
        "pack {name} is not marked for commercial use (licence: {licence}); \
         --allow-non-commercial takes it all the same"
    )]
    NonCommercial {
        /// The pack.
        name: String,
        /// Its licence.
        licence: String,
    },
    /// No operating point of the pack was measured to keep the rate that was asked for.
    #[error("pack {name} has no operating point for a false-match rate of {asked:e}; it has {known}")]
    UnsupportedRate {
        /// The pack.
        name: String,
        /// The rate.
        asked: f64,
        /// The operating points that there are.
        known: String,
    },
    /// A weights file does not parse.
    #[error("{}: {error}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: ModelError,
    },
}

/// Where and why a weights file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {fault}")]
pub struct ModelError {
    /// Offset of the item in the file.
    pub offset: usize,
    /// What is wrong with it.
    pub fault: ModelFault,
}

/// What is wrong with a weights file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelFault {
    /// The file ends inside an item.
    #[error("the file ends inside {0}")]
    Truncated(&'static str),
    /// Bytes follow the last item.
    #[error("{0} bytes follow the end of the model")]
    Trailing(usize),
    /// A count, size or name is not the one that this kind of model has.
    #[error("{what} is {found}, expected {expected}")]
    Unexpected {
        /// The item.
        what: &'static str,
        /// What the file says.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A count cannot fit into what is left of the file.
    #[error("{what} counts {count} items, more than the file can hold")]
    Count {
        /// The item.
        what: &'static str,
        /// What the file says.
        count: u64,
    },
    /// An item is malformed.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// An operator, type or option that this reader does not know.
    #[error("unsupported {0}")]
    Unsupported(String),
}
