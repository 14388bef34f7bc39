//! Files that hold one 32-byte key: created whole or not at all, readable by their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::VaultError;

/// Bytes of every key in this crate.
pub(crate) const KEY_BYTES: usize = 32;
/// 64 hexadecimal digits and some white space.
const MAX_FILE_BYTES: u64 = 256;

/// Reads a key: 64 hexadecimal digits, or 32 raw bytes. `None` if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<[u8; KEY_BYTES]>>, VaultError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(VaultError::io("key file", error)),
    };
    // Asked of the open file, not of the path, so that it cannot be swapped in between.
    let metadata = file.metadata().map_err(|error| VaultError::io("key file", error))?;
    if !metadata.is_file() {
        return Err(problem(path, "is not a regular file"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(problem(path, "is accessible to others than its owner: chmod 600 it"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES as usize + 1));
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| VaultError::io("key file", error))?;
    decode(&bytes).map(Some).ok_or_else(|| problem(path, "must hold 32 raw bytes or 64 hexadecimal digits"))
}

/// Writes a key; refuses to replace one. Other processes see the whole file or none.
pub(crate) fn create(path: &Path, key: &[u8; KEY_BYTES]) -> Result<(), VaultError> {
    let unavailable = |error| VaultError::io("key directory", error);
    let staged = staging_path(path)?;
    let mut text = Zeroizing::new([0u8; KEY_BYTES * 2]);
    hex::encode_to_slice(key, text.as_mut()).map_err(|_| VaultError::Crypto)?;

    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
        file.write_all(text.as_ref())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        // Unlike a rename, a link fails when somebody else was first.
        fs::hard_link(&staged, path)
    })();
    let removed = fs::remove_file(&staged);
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(VaultError::KeyFileExists { path: path.display().to_string() });
        }
        Err(error) => return Err(unavailable(error)),
    }
    removed.map_err(unavailable)?;
    sync_parent(path).map_err(unavailable)
}

/// Overwrites and removes a key file. Nothing to do if it is gone.
pub(crate) fn destroy(path: &Path) -> Result<(), VaultError> {
    let unavailable = |error| VaultError::io("key directory", error);
    match OpenOptions::new().write(true).open(path) {
        Ok(mut file) => {
            let length = file.metadata().map_err(unavailable)?.len().min(MAX_FILE_BYTES);
            file.write_all(&vec![0u8; length as usize]).map_err(unavailable)?;
            file.sync_all().map_err(unavailable)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unavailable(error)),
    }
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unavailable(error)),
    }
    sync_parent(path).map_err(unavailable)
}

pub(crate) fn random_key() -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
    let mut key = Zeroizing::new([0u8; KEY_BYTES]);
    aws_lc_rs::rand::fill(key.as_mut())?;
    Ok(key)
}

pub(crate) fn random_suffix() -> Result<String, VaultError> {
    let mut bytes = [0u8; 8];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

fn staging_path(path: &Path) -> Result<PathBuf, VaultError> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(VaultError::Invalid("key file name"))?;
    Ok(path.with_file_name(format!(".{name}.{}", random_suffix()?)))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn decode(bytes: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0u8; KEY_BYTES]);
    if bytes.len() == KEY_BYTES {
        key.copy_from_slice(bytes);
        return Some(key);
    }
    hex::decode_to_slice(bytes.trim_ascii(), key.as_mut()).ok()?;
    Some(key)
}

fn problem(path: &Path, problem: &'static str) -> VaultError {
    VaultError::KeyFile { path: path.display().to_string(), problem }
}
