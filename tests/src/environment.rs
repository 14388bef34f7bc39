//! What the surroundings provide: built programs, models, photos, and the servers of the cluster mode.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A built program of the product, beside this one.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("where this program is")?;
    let folder = own.parent().context("this program is in no folder")?;
    // Test programs are one folder deeper than the others.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = folder.join(name);
    if !path.exists() {
        bail!("{} is not built; `cargo xtask test` and `cargo xtask demo` build what they need", path.display());
    }
    Ok(path)
}

/// A command of a built program that takes nothing from this process's environment: the servers named there for the
/// tests would reach programs that are to run without them.
pub fn command(name: &str) -> Result<Command> {
    let mut command = Command::new(program(name)?);
    for (variable, _) in env::vars_os() {
        if variable.to_string_lossy().starts_with("PROOFMILL_") {
            command.env_remove(variable);
        }
    }
    Ok(command)
}

/// The default model pack.
pub fn pack() -> Result<PathBuf> {
    Ok(folder("PROOFMILL_MODELS", "models")?.join("proofmill-open-1"))
}

/// The folder of photos.
pub fn photos() -> Result<PathBuf> {
    folder("PROOFMILL_PHOTOS", "photos")
}

/// Where the cluster mode finds its servers, when `cargo xtask test` has started them.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// PostgreSQL, as its superuser.
    pub database_url: String,
    /// RabbitMQ.
    pub amqp_uri: String,
}

/// The servers, or nothing and a printed line that says what is skipped and why.
pub fn cluster() -> Option<Cluster> {
    match (env::var("PROOFMILL_TEST_DATABASE_URL"), env::var("PROOFMILL_AMQP_URI")) {
        (Ok(database_url), Ok(amqp_uri)) => Some(Cluster { database_url, amqp_uri }),
        _ => {
            println!(
                "skipped: PROOFMILL_TEST_DATABASE_URL and PROOFMILL_AMQP_URI are not set; `cargo xtask test` starts both servers"
            );
            None
        }
    }
}

fn folder(variable: &str, name: &str) -> Result<PathBuf> {
    let path = match env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => cache()?.join(name),
    };
    if !path.is_dir() {
        bail!("{} is missing; `cargo xtask setup` fetches it", path.display());
    }
    Ok(path)
}

fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|dir| Path::new(dir).is_absolute()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("proofmill"))
}
