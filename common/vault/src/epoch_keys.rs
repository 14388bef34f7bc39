//! Epoch keys: one a day, in a directory outside the database and its backups.
//!
//! They wrap the attempts' keys. Destroying one makes everything sealed under that day unreadable, in
//! every copy of the database and of the bucket.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use proofmill_contract::Timestamp;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::secret_file::{self, KEY_BYTES};

/// How long after its day an epoch cannot be destroyed. A process may have wrapped a key just before
/// midnight and commit its row just after, and clocks differ: destroying at midnight would lose an
/// accepted attempt.
pub const EPOCH_GRACE: Duration = Duration::from_secs(60 * 60);

const FORMAT: u8 = 1;
const PREFIX: &str = "epoch-";
const SUFFIX: &str = ".key";

/// The directory of epoch keys.
///
/// Keys are read from it each time, never cached: a key destroyed by one process is gone for all.
#[derive(Clone, Debug)]
pub struct EpochKeys {
    directory: PathBuf,
}

impl EpochKeys {
    /// Opens the directory, creating it (mode 700) if there is none.
    ///
    /// # Errors
    /// [`VaultError::KeyFile`] if everybody may write to it (and so destroy or replace keys), [`VaultError::Unavailable`] if it cannot be made.
    pub fn open(directory: &Path) -> Result<Self, VaultError> {
        let unavailable = |error| VaultError::io("epoch key directory", error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unavailable)?;
        let metadata = fs::metadata(directory).map_err(unavailable)?;
        if metadata.mode() & 0o002 != 0 {
            return Err(VaultError::KeyFile {
                path: directory.display().to_string(),
                problem: "everybody may write to the directory: chmod 700 it",
            });
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// The epoch of a moment: its UTC day, `YYYYMMDD`.
    pub fn epoch_of(now: Timestamp) -> String {
        let date = now.utc_date();
        format!("{:04}{:02}{:02}", date.year(), date.month(), date.day())
    }

    /// Wraps a key under today's epoch key, creating that if it is the first of the day.
    /// `context` says whose key it is; unwrapping demands the same.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`] if the directory is not there.
    pub fn wrap(
        &self,
        key: &[u8; KEY_BYTES],
        context: &[&[u8]],
        now: Timestamp,
    ) -> Result<(String, Vec<u8>), VaultError> {
        let epoch = Self::epoch_of(now);
        let epoch_key = self.load_or_create(&epoch)?;
        let mut nonce = [0u8; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce)?;
        let mut wrapped = Vec::with_capacity(1 + NONCE_LEN + KEY_BYTES + 16);
        wrapped.push(FORMAT);
        wrapped.extend_from_slice(&nonce);
        let mut body = [0u8; KEY_BYTES];
        let mut tag = [0u8; 16];
        aead(&epoch_key)?.seal_out_of_place_scatter(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated_data(&epoch, context)),
            key,
            &mut body,
            &[],
            &mut tag,
        )?;
        wrapped.extend_from_slice(&body);
        wrapped.extend_from_slice(&tag);
        Ok((epoch, wrapped))
    }

    /// Unwraps a key.
    ///
    /// # Errors
    /// [`VaultError::Missing`] if the epoch key was destroyed, [`VaultError::Corrupt`] for another context
    /// or changed bytes, [`VaultError::Unavailable`] if the directory itself is not there.
    pub fn unwrap(
        &self,
        epoch: &str,
        wrapped: &[u8],
        context: &[&[u8]],
    ) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
        let corrupt = || VaultError::Corrupt { what: "wrapped key" };
        let epoch_key = self.load(epoch)?;
        let (&[format], rest) = wrapped.split_first_chunk::<1>().ok_or_else(corrupt)?;
        let (&nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(corrupt)?;
        if format != FORMAT || body.len() != KEY_BYTES + 16 {
            return Err(corrupt());
        }
        let mut buffer = Zeroizing::new(body.to_vec());
        let opened = aead(&epoch_key)?
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(associated_data(epoch, context)), &mut buffer)
            .map_err(|_| corrupt())?;
        let mut key = Zeroizing::new([0u8; KEY_BYTES]);
        if opened.len() != KEY_BYTES {
            return Err(corrupt());
        }
        key.copy_from_slice(opened);
        Ok(key)
    }

    /// The epochs whose key still exists, oldest first.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`].
    pub fn list(&self) -> Result<Vec<String>, VaultError> {
        let unavailable = |error| VaultError::io("epoch key directory", error);
        let mut epochs = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(unavailable)? {
            let name = entry.map_err(unavailable)?.file_name();
            let epoch = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
            if let Some(epoch) = epoch.filter(|epoch| is_epoch(epoch)) {
                epochs.push(epoch.to_owned());
            }
        }
        epochs.sort_unstable();
        Ok(epochs)
    }

    /// Destroys an epoch's key: everything sealed under it is unreadable from now on. The caller knows
    /// that no unsettled attempt needs it. Nothing to do if it is gone already.
    ///
    /// # Errors
    /// [`VaultError::EpochInUse`] until [`EPOCH_GRACE`] after the end of its day.
    pub fn destroy(&self, epoch: &str, now: Timestamp) -> Result<(), VaultError> {
        let path = self.path(epoch)?;
        if epoch >= Self::epoch_of(now.minus(EPOCH_GRACE)).as_str() {
            return Err(VaultError::EpochInUse(epoch.to_owned()));
        }
        secret_file::destroy(&path)
    }

    /// Whether keys can be listed and today's key read or made.
    ///
    /// # Errors
    /// What keeps it from that.
    pub fn check(&self, now: Timestamp) -> Result<(), VaultError> {
        self.load_or_create(&Self::epoch_of(now)).map(drop)
    }

    fn load_or_create(&self, epoch: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
        let path = self.path(epoch)?;
        if let Some(key) = secret_file::read(&path)? {
            return Ok(key);
        }
        let key = secret_file::random_key()?;
        match secret_file::create(&path, &key) {
            Ok(()) => Ok(key),
            // Another process was first: its key is the key.
            Err(VaultError::KeyFileExists { .. }) => self.load(epoch),
            Err(error) => Err(error),
        }
    }

    fn load(&self, epoch: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, VaultError> {
        if let Some(key) = secret_file::read(&self.path(epoch)?)? {
            return Ok(key);
        }
        // An unmounted volume must look like a fault, not like a destroyed key.
        match fs::metadata(&self.directory) {
            Ok(metadata) if metadata.is_dir() => Err(VaultError::Missing { what: "epoch key", name: epoch.to_owned() }),
            Ok(_) => Err(VaultError::io("epoch key directory", io::Error::from(io::ErrorKind::NotADirectory))),
            Err(error) => Err(VaultError::io("epoch key directory", error)),
        }
    }

    fn path(&self, epoch: &str) -> Result<PathBuf, VaultError> {
        // The epoch comes from a database row and becomes part of a path.
        if !is_epoch(epoch) {
            return Err(VaultError::Invalid("epoch: expected YYYYMMDD"));
        }
        Ok(self.directory.join(format!("{PREFIX}{epoch}{SUFFIX}")))
    }
}

fn is_epoch(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|c| c.is_ascii_digit())
}

fn aead(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, VaultError> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?))
}

fn associated_data(epoch: &str, context: &[&[u8]]) -> Vec<u8> {
    let mut out = b"proofmill epoch wrap v1".to_vec();
    for part in [epoch.as_bytes()].iter().chain(context) {
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}
