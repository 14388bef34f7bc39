//! Sealed evidence in an object store.

use std::fmt;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use proofmill_contract::evidence::READER_ATTESTATION;
use proofmill_contract::{AttemptId, Evidence, Part, Secret, Timestamp};

use crate::container::{self, MAX_OBJECT_BYTES, OpenedPart, Owner};
use crate::directory::{Directory, Folders};
use crate::epoch_keys::EpochKeys;
use crate::error::VaultError;
use crate::secret_file::{random_key, random_suffix};

/// Everything of this vault lies under this folder of the bucket or directory.
const FOLDER: &str = "evidence";
const SELFIE: &str = "selfie";
const MAX_ID_BYTES: usize = 100;

/// Where a sealed object lies and how its key is wrapped. Goes into the owner's database row; the
/// wrapped key leaves it in the transaction that settles.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedRef {
    /// Name of the object.
    pub object: String,
    /// Day of the epoch key, `YYYYMMDD`.
    pub epoch: String,
    /// The object's key, wrapped under the epoch key.
    pub wrapped_key: Vec<u8>,
}

impl fmt::Debug for SealedRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedRef").field("object", &self.object).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// A stored object, for the sweep that removes what no row refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Name of the object, as in [`SealedRef::object`].
    pub object: String,
    /// The id it was sealed for.
    pub id: String,
    /// When it was written.
    pub written: Timestamp,
    /// Bytes.
    pub bytes: u64,
}

/// Sealed evidence: every object under a fresh key of its own, that key wrapped under the day's epoch key.
#[derive(Clone)]
pub struct Vault {
    store: Arc<dyn ObjectStore>,
    /// Who writes, if the store is a directory.
    directory: Option<(Arc<LocalFileSystem>, Directory)>,
    folders: Folders,
    epochs: EpochKeys,
}

impl Vault {
    /// Over any object store.
    pub fn new(store: Arc<dyn ObjectStore>, epochs: EpochKeys) -> Self {
        // Without randomness nothing could be sealed either; where the folders begin is no secret.
        let begin = random_suffix().ok().and_then(|suffix| u64::from_str_radix(&suffix, 16).ok()).unwrap_or(0);
        Self { store, directory: None, folders: Folders::beginning_at(begin), epochs }
    }

    /// In a directory, created if needed. Writes reach the disk before they count.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`] if it cannot be made.
    pub fn in_directory(directory: &Path, epochs: EpochKeys) -> Result<Self, VaultError> {
        // Names and times of evidence are nobody else's to see.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| VaultError::io("evidence directory", error))?;
        // As the store names it, so that its paths begin with it.
        let root = directory.canonicalize().map_err(|error| VaultError::io("evidence directory", error))?;
        let store = Arc::new(LocalFileSystem::new_with_prefix(&root).map_err(unavailable)?);
        Ok(Self { directory: Some((store.clone(), Directory::new(&root))), ..Self::new(store, epochs) })
    }

    /// In memory, for tests and offline jobs.
    pub fn in_memory(epochs: EpochKeys) -> Self {
        Self::new(Arc::new(InMemory::new()), epochs)
    }

    /// The epoch keys, for the sweep that destroys old ones.
    pub fn epochs(&self) -> &EpochKeys {
        &self.epochs
    }

    /// Seals an attempt's evidence.
    ///
    /// Sealing twice writes two objects; the one whose reference is not committed is an orphan for the sweep.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`] if it could not be stored.
    pub async fn seal(
        &self,
        attempt: &AttemptId,
        evidence: &Evidence,
        now: Timestamp,
    ) -> Result<SealedRef, VaultError> {
        let mut parts: Vec<(&str, &[u8])> = evidence.parts().map(|(part, bytes)| (part.name(), bytes)).collect();
        parts.extend(evidence.selfies().map(|frame| (SELFIE, frame)));
        parts.extend(evidence.reader_attestation().map(|jws| (READER_ATTESTATION, jws)));
        self.seal_parts(attempt.as_str(), &parts, now).await
    }

    /// Opens an attempt's evidence.
    ///
    /// # Errors
    /// [`VaultError::Missing`] if it was destroyed, [`VaultError::Corrupt`] if it is not what was sealed for this
    /// attempt, [`VaultError::Unavailable`] for a system fault.
    pub async fn open(&self, attempt: &AttemptId, sealed: &SealedRef) -> Result<Evidence, VaultError> {
        let corrupt = |_| VaultError::Corrupt { what: "sealed evidence" };
        let mut evidence = Evidence::new();
        for (name, mut bytes) in self.read(attempt.as_str(), sealed).await? {
            let bytes = std::mem::take(&mut *bytes);
            match Part::from_name(&name) {
                Some(part) => evidence.insert(part, bytes).map_err(corrupt)?,
                None if name == SELFIE => evidence.push_selfie(bytes).map_err(corrupt)?,
                None if name == READER_ATTESTATION => evidence.attest(bytes).map_err(corrupt)?,
                None => return Err(VaultError::Corrupt { what: "sealed evidence" }),
            }
        }
        Ok(evidence)
    }

    /// Seals named parts for any owner: a session's kept chip evidence, for example.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for an id or parts that cannot be sealed, [`VaultError::Unavailable`] if they could
    /// not be stored.
    pub async fn seal_parts(&self, id: &str, parts: &[(&str, &[u8])], now: Timestamp) -> Result<SealedRef, VaultError> {
        let object = object_name(&self.folders, id)?;
        let key = random_key()?;
        let bytes = container::seal(&key, &Owner { id, object: &object }, parts)?;
        let (epoch, wrapped_key) = self.epochs.wrap(&key, &[id.as_bytes(), object.as_bytes()], now)?;
        let path = object_path(&object)?;
        self.put(&path, bytes).await?;
        Ok(SealedRef { object, epoch, wrapped_key })
    }

    /// Opens named parts, in the order in which they were sealed.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub async fn open_parts(&self, id: &str, sealed: &SealedRef) -> Result<Vec<(String, Secret)>, VaultError> {
        let parts = self.read(id, sealed).await?;
        Ok(parts.into_iter().map(|(name, mut bytes)| (name, Secret::new(std::mem::take(&mut *bytes)))).collect())
    }

    /// Writes a new object.
    async fn put(&self, path: &ObjectPath, bytes: Vec<u8>) -> Result<(), VaultError> {
        match &self.directory {
            Some((store, directory)) => {
                let file = store.path_to_filesystem(path).map_err(unavailable)?;
                directory.create(file, bytes).await
            }
            None => self.store.put(path, PutPayload::from(bytes)).await.map(drop).map_err(unavailable),
        }
    }

    async fn read(&self, id: &str, sealed: &SealedRef) -> Result<Vec<OpenedPart>, VaultError> {
        let context: [&[u8]; 2] = [id.as_bytes(), sealed.object.as_bytes()];
        let key = self.epochs.unwrap(&sealed.epoch, &sealed.wrapped_key, &context)?;
        let bytes = match self.store.get(&object_path(&sealed.object)?).await {
            Ok(found) if found.meta.size > MAX_OBJECT_BYTES as u64 => {
                return Err(VaultError::Corrupt { what: "sealed object" });
            }
            Ok(found) => found.bytes().await.map_err(unavailable)?,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(VaultError::Missing { what: "sealed object", name: sealed.object.clone() });
            }
            Err(error) => return Err(unavailable(error)),
        };
        container::open(&key, &Owner { id, object: &sealed.object }, &bytes)
    }

    /// Deletes an object. Nothing to do if it is gone.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`].
    pub async fn destroy(&self, object: &str) -> Result<(), VaultError> {
        match self.store.delete(&object_path(object)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Up to `limit` objects written before a moment. The caller removes those that no row refers to.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`].
    pub async fn list_older_than(&self, moment: Timestamp, limit: usize) -> Result<Vec<StoredObject>, VaultError> {
        let folder = ObjectPath::from(FOLDER);
        let mut found = Vec::new();
        let mut listing = self.store.list(Some(&folder));
        while found.len() < limit
            && let Some(meta) = listing.next().await
        {
            let meta = match meta {
                Ok(meta) => meta,
                // Deleted between the listing and the look at it.
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(unavailable(error)),
            };
            let written = Timestamp::from_micros(meta.last_modified.timestamp_micros());
            let object = meta.location.to_string();
            if written < moment
                && let Some(id) = id_of(&object)
            {
                found.push(StoredObject { id: id.to_owned(), object, written, bytes: meta.size });
            }
        }
        Ok(found)
    }

    /// Whether an object can be written, read back and deleted, and today's epoch key used.
    ///
    /// # Errors
    /// What keeps it from that.
    pub async fn check(&self, now: Timestamp) -> Result<(), VaultError> {
        self.epochs.check(now)?;
        let path = ObjectPath::from(format!("probe/{}", random_suffix()?));
        self.put(&path, b"probe".to_vec()).await?;
        let read = match self.store.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        self.store.delete(&path).await.map_err(unavailable)?;
        if read.map_err(unavailable)?.as_ref() == b"probe" {
            Ok(())
        } else {
            Err(VaultError::Corrupt { what: "probe object" })
        }
    }
}

/// `evidence/<2 hex>/<id>.<16 hex>`. The random suffix lets a retried submission write beside an uncommitted
/// one without touching it; the digits before it spread the objects over folders.
fn object_name(folders: &Folders, id: &str) -> Result<String, VaultError> {
    let safe = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    if id.is_empty() || id.len() > MAX_ID_BYTES || !id.bytes().all(safe) {
        return Err(VaultError::Invalid("owner id"));
    }
    let suffix = random_suffix()?;
    Ok(format!("{FOLDER}/{}/{id}.{suffix}", folders.next()))
}

fn id_of(object: &str) -> Option<&str> {
    let (_, name) = object.rsplit_once('/')?;
    Some(name.rsplit_once('.')?.0)
}

fn object_path(object: &str) -> Result<ObjectPath, VaultError> {
    // The name comes from a database row: it must stay inside our folder.
    let path = ObjectPath::parse(object).map_err(|_| VaultError::Invalid("object name"))?;
    if object.starts_with("evidence/") { Ok(path) } else { Err(VaultError::Invalid("object name")) }
}

fn unavailable(error: object_store::Error) -> VaultError {
    VaultError::Unavailable { what: "object store", source: Box::new(error) }
}
