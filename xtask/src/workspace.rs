//! Where things are: the checkout, the per-user cache that clones share, the built programs.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The folders that every command works with.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Root of the checkout.
    pub root: PathBuf,
    /// The per-user cache: `$XDG_CACHE_HOME/proofmill`, else `~/.cache/proofmill`.
    pub cache: PathBuf,
}

impl Workspace {
    /// Finds the checkout that this program was started from.
    pub fn find() -> Result<Self> {
        // Cargo sets the variable for `cargo run`; clones may share one target folder, so what
        // was compiled in can name another clone.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .filter(|dir| Path::new(dir).ends_with("xtask"))
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().context("the xtask folder has no parent")?.to_path_buf();
        Ok(Self { root, cache: user_cache()?.join("proofmill") })
    }

    /// Fetched packages, whole and checked.
    pub fn packages(&self) -> PathBuf {
        self.cache.join("packages")
    }

    /// Model packs, one folder each.
    pub fn models(&self) -> PathBuf {
        self.cache.join("models")
    }

    /// Photos for tests and demonstration.
    pub fn photos(&self) -> PathBuf {
        self.cache.join("photos")
    }

    /// The folder of NVRTC's libraries, for the test that makes the kernels' PTX anew.
    pub fn nvrtc(&self) -> PathBuf {
        self.cache.join("nvrtc-13.0.88/lib")
    }

    /// A built program of the profile `debug` or `release`, beside this one.
    pub fn program(&self, profile: &str, name: &str) -> Result<PathBuf> {
        let own = env::current_exe().context("where this program is")?;
        let target = own.parent().and_then(Path::parent).context("this program is in no target folder")?;
        Ok(target.join(profile).join(name))
    }

    /// Cargo, to be run in this checkout as from a plain shell.
    pub fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        // What `cargo run` set for this program would otherwise reach build scripts, make their
        // fingerprints differ from a plain `cargo build`, and build things twice.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            let inherited = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
            if inherited.iter().any(|prefix| text.starts_with(prefix)) || text == "LD_LIBRARY_PATH" {
                cargo.env_remove(&name);
            }
        }
        cargo
    }
}

fn user_cache() -> Result<PathBuf> {
    // The XDG base directory specification: a relative path is to be ignored.
    if let Some(dir) = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()) {
        return Ok(dir);
    }
    let home = env::var_os("HOME").filter(|home| !home.is_empty()).context("HOME is not set")?;
    Ok(PathBuf::from(home).join(".cache"))
}
