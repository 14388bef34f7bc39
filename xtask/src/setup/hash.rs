//! sha256 of files and of folders.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Lower-case hex sha256 of a file's bytes.
pub fn of_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let read = file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))?;
        if read == 0 {
            return Ok(hex::encode(digest.finalize()));
        }
        digest.update(buffer.get(..read).unwrap_or_default());
    }
}

/// Lower-case hex sha256 of a folder: over its files' relative paths and sha256, one line
/// each, sorted by path. A missing, additional or changed file changes it.
pub fn of_tree(root: &Path) -> Result<String> {
    let mut files = Vec::new();
    walk(root, &mut files)?;
    let mut lines = Vec::with_capacity(files.len());
    for file in files {
        let relative = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        lines.push(format!("{relative} {}\n", of_file(&file)?));
    }
    lines.sort();
    let mut digest = Sha256::new();
    for line in lines {
        digest.update(line.as_bytes());
    }
    Ok(hex::encode(digest.finalize()))
}

/// Lower-case hex sha256 of a text.
pub fn of_text(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_another_hash_when_any_file_is_changed_added_moved_or_gone() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("a", "1");
        put("b/c", "2");
        let first = of_tree(dir.path()).unwrap();
        assert_eq!(first, of_tree(dir.path()).unwrap());
        put("b/c", "3");
        let changed = of_tree(dir.path()).unwrap();
        put("b/c", "2");
        assert_eq!(first, of_tree(dir.path()).unwrap());
        put("d", "");
        let added = of_tree(dir.path()).unwrap();
        fs::rename(dir.path().join("d"), dir.path().join("e")).unwrap();
        let moved = of_tree(dir.path()).unwrap();
        fs::remove_file(dir.path().join("e")).unwrap();
        fs::remove_file(dir.path().join("a")).unwrap();
        let gone = of_tree(dir.path()).unwrap();
        let mut all = vec![first, changed, added, moved, gone];
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn known_answer_of_an_empty_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty");
        fs::write(&path, "").unwrap();
        assert_eq!(of_file(&path).unwrap(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
