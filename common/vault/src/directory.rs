//! Objects in a directory, written to be there after a power cut: those that come at the same time reach the disk together.
//!
//! What makes writing safe is dear: each sync of a file or a folder is a transaction of the file system's own. So a group of
//! files is written first and sent on its way, and then waited for, so that one transaction holds them all; and the folder
//! that holds their names, mostly the same one, is synced once.
//!
//! A file has its final name from the start, because nobody looks for it before its name stands in a database row. One
//! that a crash left half written is an orphan like any other.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proofmill_gather::Gathered;
use rustix::fs::{Advice, fadvise};

use crate::error::VaultError;

/// Files written together.
const GROUP: usize = 64;
/// Objects in a row that share a folder: so many that a group mostly does, so few that folders fill evenly.
const IN_A_ROW: u64 = 64;
const FOLDERS: u64 = 256;

/// Writes files. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Directory {
    /// It was there at the start. One that has gone since is not mounted any more: what was written in its place would be
    /// hidden by it when it comes back.
    root: Arc<Path>,
    // One group at a time: while it is waited for, the next one grows.
    writes: Gathered<New, io::Result<()>>,
}

/// A file to be.
struct New {
    root: Arc<Path>,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl New {
    /// Half-made files are nobody's. If this fails too, it is an orphan.
    fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Directory {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.into(), writes: Gathered::new(GROUP, 1) }
    }

    /// Creates a file, which must not be there, and the folders above it in the directory. Once this returns it outlasts a power cut.
    pub(crate) async fn create(&self, path: PathBuf, bytes: Vec<u8>) -> Result<(), VaultError> {
        let written =
            self.writes.call(New { root: self.root.clone(), path, bytes }, |group| create_together(&group)).await;
        let written = written.unwrap_or_else(|unfinished| Err(io::Error::other(unfinished)));
        written.map_err(|error| VaultError::io("object store", error))
    }
}

/// Which folder the next object goes into. Counted, so that those that come together lie together.
#[derive(Clone)]
pub(crate) struct Folders(Arc<AtomicU64>);

impl Folders {
    /// Processes that begin at different places fill the folders evenly.
    pub(crate) fn beginning_at(random: u64) -> Self {
        Self(Arc::new(AtomicU64::new(random % FOLDERS * IN_A_ROW)))
    }

    /// Two hexadecimal digits.
    pub(crate) fn next(&self) -> String {
        let object = self.0.fetch_add(1, Ordering::Relaxed);
        format!("{:02x}", object / IN_A_ROW % FOLDERS)
    }
}

fn create_together(group: &[New]) -> Vec<io::Result<()>> {
    let begun: Vec<io::Result<File>> = group.iter().map(begin).collect();
    let waited_for = |(file, new): (io::Result<File>, &New)| file?.sync_all().inspect_err(|_| new.remove());
    let mut results: Vec<io::Result<()>> = begun.into_iter().zip(group).map(waited_for).collect();
    let mut folders: BTreeMap<&Path, io::Result<()>> = BTreeMap::new();
    for (new, result) in group.iter().zip(&mut results) {
        if result.is_ok()
            && let Some(folder) = new.path.parent()
        {
            let synced = folders.entry(folder).or_insert_with(|| sync_folder(folder));
            // An error belongs to one call; each of those it concerns gets its like.
            if let Err(error) = synced {
                new.remove();
                *result = Err(io::Error::new(error.kind(), error.to_string()));
            }
        }
    }
    results
}

/// Writes a file and sends it on its way to the disk.
fn begin(new: &New) -> io::Result<File> {
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new.path);
    let mut file = match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_folders(&new.root, &new.path)?;
            create()?
        }
        file => file?,
    };
    file.write_all(&new.bytes).inspect_err(|_| new.remove())?;
    // "Not needed soon" makes the kernel begin to write what is not on the disk yet, and keep it. A hint: without it the
    // sync only takes longer.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    Ok(file)
}

/// The folders above a file and below the root: for its owner alone, and there after a power cut.
fn create_folders(root: &Path, path: &Path) -> io::Result<()> {
    let absent = |folder: &&Path| *folder != root && !folder.exists();
    let missing: Vec<&Path> = path.ancestors().skip(1).take_while(absent).collect();
    for folder in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(folder) {
            // Another process was first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created?,
        }
        if let Some(above) = folder.parent() {
            sync_folder(above)?;
        }
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(folder: &Path, name: &str, bytes: &[u8]) -> New {
        New { root: folder.into(), path: folder.join(name), bytes: bytes.to_vec() }
    }

    #[test]
    fn a_directory_that_has_gone_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("vault");
        std::fs::create_dir(&root).unwrap();
        assert!(create_together(&[new(&root, "a/1", b"1")])[0].is_ok());
        std::fs::rename(&root, folder.path().join("away")).unwrap();
        let error = create_together(&[new(&root, "a/2", b"2")]).remove(0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!root.exists());
    }

    #[test]
    fn one_that_cannot_be_written_harms_no_neighbour_and_none_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| new(folder.path(), name, name.as_bytes());
        std::fs::write(folder.path().join("file"), b"in the way").unwrap();
        let group = [at("a/1"), at("file/2"), at("b/c/3"), at("a/4"), new(folder.path(), "a/1", b"again")];
        let results = create_together(&group);
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, true, false]);
        assert_eq!(results[4].as_ref().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        for name in ["a/1", "b/c/3", "a/4"] {
            assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), name.as_bytes());
        }
    }

    #[test]
    fn objects_in_a_row_share_a_folder_and_all_folders_are_used() {
        let folders = Folders::beginning_at(300);
        let names: Vec<String> = (0..FOLDERS * IN_A_ROW).map(|_| folders.next()).collect();
        assert_eq!((names[0].as_str(), names[63].as_str(), names[64].as_str()), ("2c", "2c", "2d"));
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 256);
    }
}
