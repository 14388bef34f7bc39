//! Everything a fresh machine lacks, fetched once into a cache that clones share.
//!
//! Each file is fetched whole, checked against a pinned sha256 and only then renamed into
//! place, so an interrupted run leaves nothing half-done that a later one could take for done.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::Workspace;

mod artifact;
mod debian;
mod hash;
mod packages;
mod pins;

pub use artifact::Artifact;
pub use debian::Need;

/// What the set-up is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Building and running the product and its demonstration.
    Run,
    /// Running every test: PostgreSQL, RabbitMQ and cargo-nextest as well.
    Tests,
}

/// Brings this machine to where `purpose` can begin. Silent and quick when nothing is missing.
pub fn run(workspace: &Workspace, purpose: Purpose) -> Result<()> {
    debian::ensure(match purpose {
        Purpose::Run => debian::FOR_BUILDING,
        Purpose::Tests => debian::FOR_TESTS,
    })?;
    if purpose == Purpose::Tests {
        ensure_nextest(workspace)?;
    }
    fetch_artifacts(workspace, purpose)?;
    copy_pack_description(workspace)?;
    link(&workspace.root.join(".libtorch"), &workspace.cache.join(pins::LIBTORCH.folder))?;
    link(&workspace.root.join(".models"), &workspace.models())
}

fn fetch_artifacts(workspace: &Workspace, purpose: Purpose) -> Result<()> {
    let artifacts = || pins::ALL.iter().chain(if purpose == Purpose::Tests { pins::FOR_TESTS } else { &[] });
    if artifacts().all(|artifact| artifact.is_complete(&workspace.cache)) {
        return Ok(());
    }
    fs::create_dir_all(workspace.packages())
        .with_context(|| format!("cannot make {}", workspace.packages().display()))?;
    let _lock = lock(&workspace.cache)?;
    for artifact in artifacts() {
        process::check_interrupted()?;
        artifact.ensure(workspace)?;
    }
    Ok(())
}

/// Two set-ups at once would fetch everything twice and step on each other's temporary folders.
fn lock(cache: &Path) -> Result<File> {
    let path = cache.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("set-up: another one is running; waiting for it");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    Ok(file)
}

/// The weights come from packages; what describes them is part of the checkout.
fn copy_pack_description(workspace: &Workspace) -> Result<()> {
    let from = workspace.root.join("models").join(pins::PACK_NAME).join("pack.toml");
    let to = workspace.models().join(pins::PACK_NAME).join("pack.toml");
    let wanted = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(&to).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    let partial = to.with_extension(format!("partial-{}", std::process::id()));
    fs::write(&partial, wanted).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, &to).with_context(|| format!("cannot write {}", to.display()))
}

fn link(link: &Path, target: &Path) -> Result<()> {
    match fs::symlink_metadata(link) {
        Ok(found) if !found.is_symlink() => {
            bail!("{} is in the way: it should be a link to {}", link.display(), target.display())
        }
        Ok(_) if fs::read_link(link)? == target => return Ok(()),
        Ok(_) | Err(_) => {}
    }
    // Made aside and renamed: another command may be reading through the old link.
    let aside = link.with_extension(format!("partial-{}", std::process::id()));
    let _ = fs::remove_file(&aside);
    symlink(target, &aside)
        .and_then(|()| fs::rename(&aside, link))
        .with_context(|| format!("cannot make the link {}", link.display()))
}

fn ensure_nextest(workspace: &Workspace) -> Result<()> {
    let present = workspace
        .cargo()
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if present {
        return Ok(());
    }
    eprintln!("set-up: building cargo-nextest (once)");
    let mut install: Command = workspace.cargo();
    // Outside the checkout: its configuration must not apply to a foreign build.
    install.current_dir("/").args(["install", "cargo-nextest", "--locked"]);
    process::check(&mut install)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_made_corrected_and_left_alone_but_a_real_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, at) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("link"));
        link(&at, &a).unwrap();
        link(&at, &b).unwrap();
        assert_eq!(fs::read_link(&at).unwrap(), b);
        link(&at, &b).unwrap();

        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        assert!(link(&real, &a).unwrap_err().to_string().contains("in the way"));
    }
}
