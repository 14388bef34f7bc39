//! Packages of the Python package index, fetched by pip under name, version and sha256.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::hash;
use crate::process;
use crate::workspace::Workspace;

/// One file of the package index.
pub struct Package {
    /// Name and version as pip takes them.
    pub requirement: &'static str,
    /// The file's name.
    pub file: &'static str,
    /// Lower-case hex sha256 of the file.
    pub sha256: &'static str,
    /// Size in units of 10^6 bytes, to say how long it may take.
    pub megabytes: u32,
    /// Which of the version's files it is.
    pub kind: Kind,
    /// Whether the file stays once its contents are unpacked and checked.
    pub keep: bool,
}

/// Which of a version's files is meant. Named in full, so that it is the same one whatever the
/// machine's own Python is.
pub enum Kind {
    /// A built one, for this Python and these platforms.
    Wheel {
        /// Python version, such as `3.12`.
        python: &'static str,
        /// Platform tags.
        platforms: &'static [&'static str],
    },
    /// The source distribution.
    Source,
}

/// The package's file, fetched now unless a checked one is there.
pub fn ensure(workspace: &Workspace, package: &Package) -> Result<PathBuf> {
    let path = workspace.packages().join(package.file);
    if path.exists() {
        if hash::of_file(&path)? == package.sha256 {
            return Ok(path);
        }
        eprintln!("set-up: {} is not what it was when it was fetched; fetching it again", path.display());
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    fetch(&workspace.packages(), package)?;
    Ok(path)
}

fn fetch(packages: &Path, package: &Package) -> Result<()> {
    process::check_interrupted()?;
    eprintln!("set-up: fetching {} ({} MB)", package.requirement.replace("==", " "), package.megabytes);
    let partial = packages.join(format!(".partial-{}", package.file));
    // What an interrupted run left behind.
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;

    let requirements = partial.join("requirements.txt");
    fs::write(&requirements, format!("{} --hash=sha256:{}\n", package.requirement, package.sha256))
        .with_context(|| format!("cannot write {}", requirements.display()))?;
    process::check(&mut pip(package, &requirements, &partial)).with_context(|| {
        format!("cannot fetch {}; run the command again, and only what is missing is fetched", package.requirement)
    })?;

    let fetched = partial.join(package.file);
    if !fetched.exists() {
        bail!("pip fetched {} but left no {}", package.requirement, package.file);
    }
    let found = hash::of_file(&fetched)?;
    if found != package.sha256 {
        bail!("{} has the sha256 {found}, not {}", package.file, package.sha256);
    }
    let path = packages.join(package.file);
    fs::rename(&fetched, &path).with_context(|| format!("cannot write {}", path.display()))?;
    fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))
}

/// With `--require-hashes` pip compares the bytes before it looks inside, which matters for a
/// source distribution: pip runs its metadata script.
fn pip(package: &Package, requirements: &Path, destination: &Path) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-cache-dir", "--no-deps"]);
    pip.args(["--require-hashes", "--dest"]).arg(destination);
    match &package.kind {
        Kind::Wheel { python, platforms } => {
            pip.args(["--only-binary=:all:", "--python-version", python]);
            for platform in *platforms {
                pip.args(["--platform", platform]);
            }
        }
        Kind::Source => {
            let name = package.requirement.split("==").next().unwrap_or(package.requirement);
            pip.args(["--no-binary", name]);
        }
    }
    pip.arg("--requirement").arg(requirements);
    pip
}
