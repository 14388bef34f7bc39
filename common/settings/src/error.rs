//! Why settings cannot be used.

use std::fmt::Display;
use std::io::Write as _;
use std::process;

/// A configuration that cannot be used. No message holds a secret's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{origin}: {why}")]
    Unreadable {
        /// Which file.
        origin: String,
        /// Why.
        why: String,
    },
    /// The file is not TOML.
    #[error("{origin}, line {line}, column {column}: {why}")]
    Syntax {
        /// Which file.
        origin: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What the parser expected; quotes nothing of the file.
        why: String,
    },
    /// A key that is no setting.
    #[error("{origin}: `{key}` is no setting{}", nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    UnknownKey {
        /// Which file.
        origin: String,
        /// As it stands there.
        key: String,
        /// The setting whose name is most like it.
        nearest: Option<String>,
    },
    /// A setting in the table of a command that does not have it as its own.
    #[error("{origin}: `{key}` stands in the table [{section}], but holds for every command: put it above the tables")]
    NotInSection {
        /// Which file.
        origin: String,
        /// The setting.
        key: String,
        /// The table.
        section: String,
    },
    /// Two settings that exclude each other.
    #[error("{origin}: `{first}` and `{second}` exclude each other: set one of them")]
    Exclusive {
        /// Which file.
        origin: String,
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// A value that the setting cannot have.
    #[error("{origin}: `{key}` = {shown}: {why}")]
    Value {
        /// The file, or the environment variable.
        origin: String,
        /// The setting.
        key: String,
        /// The value, or `[redacted]`.
        shown: String,
        /// What was expected.
        why: String,
    },
}

/// Why a program does not start, or what it shows in place of starting.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The command line; also `--help` and `--version`.
    #[error("{0}")]
    CommandLine(Box<clap::Error>),
    /// A configuration file or an environment variable.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// `--default-config`: the text to print.
    #[error("the defaults were asked for")]
    Defaults(String),
}

impl Refusal {
    /// Tells it and ends the process: 0 for what was asked for, 2 for what is wrong.
    pub fn exit(self) -> ! {
        match self {
            Refusal::CommandLine(error) => error.exit(),
            Refusal::Defaults(text) => {
                show(&text);
                process::exit(0)
            }
            Refusal::Settings(error) => {
                eprintln!("error: {error}");
                process::exit(2)
            }
        }
    }
}

/// Prints to standard output. Unlike `print!` it does not panic when nobody reads any more.
pub(crate) fn show(text: &impl Display) {
    let _ = write!(std::io::stdout().lock(), "{text}");
}
