//! Files to inspect: found, bounded, read, and freed of their PEM armour.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::finding::Trouble;

/// Folders inside folders, at most.
const MAX_DEPTH: usize = 8;
/// Certificates and lists of national authorities, and everything that holds many objects.
pub const MAX_LIST: usize = 32 << 20;
/// Everything else: whatever the library's own limits are, they are reported by the library.
pub const MAX_FILE: usize = 2 << 20;

/// The files that `paths` name: folders are replaced by every file below them, in order of name. An entry that names
/// nothing readable stays, and fails when it is read.
pub fn expand(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            below(path, 0, &mut files);
            if files.len() == before {
                files.push(path.clone());
            }
        } else {
            files.push(path.clone());
        }
    }
    files
}

fn below(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    for path in entries(folder).unwrap_or_default() {
        if path.is_dir() {
            if depth < MAX_DEPTH {
                below(&path, depth + 1, files);
            }
        } else if path.is_file() {
            files.push(path);
        }
    }
}

/// What lies in a folder, by name, less what is hidden.
///
/// # Errors
/// The folder cannot be listed.
pub fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.retain(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    entries.sort_by_key(std::fs::DirEntry::file_name);
    Ok(entries.into_iter().map(|entry| entry.path()).collect())
}

/// Reads a file, or standard input for `-`, if it has at most `limit` bytes. Wiped when dropped.
///
/// # Errors
/// `unreadable`, `file_too_large`, `file_empty`, `no_files` for a folder without any.
pub fn read(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let unreadable = |error: io::Error| Trouble::new("unreadable", format!("cannot read {}: {error}", path.display()));
    if path.is_dir() {
        return Err(Trouble::new("no_files", format!("there is no file in {}", path.display())));
    }
    let (input, size): (Box<dyn Read>, usize) = if path == Path::new("-") {
        (Box::new(io::stdin()), 0)
    } else {
        let file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(usize::MAX));
        (Box::new(file), size)
    };
    let too_large = || Trouble::new("file_too_large", format!("{} has more than {limit} bytes", path.display()));
    if size > limit {
        return Err(too_large());
    }
    // Of the right size from the start, so that no copy of the content is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    input.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > limit {
        return Err(too_large());
    }
    if bytes.is_empty() {
        return Err(Trouble::new("file_empty", format!("{} is empty", path.display())));
    }
    Ok(bytes)
}

/// The file's objects: what its PEM blocks hold (RFC 7468), or else its bytes.
///
/// # Errors
/// `pem_malformed`.
pub fn objects(bytes: Zeroizing<Vec<u8>>) -> Result<Vec<Zeroizing<Vec<u8>>>, Trouble> {
    // No object in binary is text: lengths above 127 are not UTF-8.
    let armoured = std::str::from_utf8(&bytes).is_ok_and(|text| text.contains("-----BEGIN "));
    if !armoured {
        return Ok(vec![bytes]);
    }
    let malformed = |message: &str| Trouble::new("pem_malformed", message);
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed("not PEM: not text"))?;
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Zeroizing<String>)> = None;
    for line in text.lines().map(str::trim) {
        if let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) {
            if open.is_some() {
                return Err(malformed("not PEM: a block begins inside another"));
            }
            open = Some((label, Zeroizing::new(String::new())));
        } else if let Some(label) = line.strip_prefix("-----END ").and_then(|rest| rest.strip_suffix("-----")) {
            let (opened, body) = open.take().ok_or_else(|| malformed("not PEM: a block ends that never began"))?;
            if label != opened {
                return Err(malformed("not PEM: a block begins with one label and ends with another"));
            }
            // A key beside a certificate is not looked at.
            if !label.ends_with("PRIVATE KEY") {
                let der = STANDARD.decode(&*body).map_err(|_| malformed("not PEM: a block is not base64"))?;
                blocks.push(Zeroizing::new(der));
            }
        } else if let Some((_, body)) = &mut open {
            body.push_str(line);
        }
    }
    if open.is_some() {
        return Err(malformed("not PEM: the last block has no end"));
    }
    if blocks.is_empty() {
        return Err(malformed("not PEM: no block inside"));
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
        let objects = objects(Zeroizing::new(text.to_vec())).map_err(|trouble| trouble.reason)?;
        Ok(objects.iter().map(|object| object.to_vec()).collect())
    }

    #[test]
    fn armour_is_taken_off_and_binary_is_left_alone() {
        let pem = b"subject=x\n-----BEGIN CMS-----\nAQID\nBA==\n-----END CMS-----\n-----BEGIN PRIVATE KEY-----\nAQ==\n\
            -----END PRIVATE KEY-----\n-----BEGIN X509 CRL-----\nBQ==\n-----END X509 CRL-----\n";
        assert_eq!(blocks(pem).unwrap(), vec![vec![1, 2, 3, 4], vec![5]]);
        assert_eq!(blocks(&[0x77, 2, 5, 0]).unwrap(), vec![vec![0x77, 2, 5, 0]]);
        assert_eq!(blocks(&[0x30, 0]).unwrap(), vec![vec![0x30, 0]]);
        for broken in
            ["-----BEGIN A-----\nAQID", "-----BEGIN A-----\n!!\n-----END A-----", "-----BEGIN A-----\n-----END B-----"]
        {
            assert_eq!(blocks(broken.as_bytes()), Err("pem_malformed"));
        }
    }

    #[test]
    fn folders_become_their_files_in_order_and_sizes_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("b")).unwrap();
        for name in ["c", "b/2", "b/1", "a", ".hidden"] {
            std::fs::write(path(name), name).unwrap();
        }
        let missing = path("missing");
        assert_eq!(
            expand(&[folder.path().to_owned(), missing.clone()]),
            vec![path("a"), path("b/1"), path("b/2"), path("c"), missing.clone()]
        );
        assert_eq!(read(&missing, 9).unwrap_err().reason, "unreadable");
        assert_eq!(read(&path("b/2"), 2).unwrap_err().reason, "file_too_large");
        assert_eq!(read(&path("b/2"), 3).unwrap().as_slice(), b"b/2");
        std::fs::create_dir(path("empty")).unwrap();
        assert_eq!(read(&path("empty"), 9).unwrap_err().reason, "no_files");
    }
}
