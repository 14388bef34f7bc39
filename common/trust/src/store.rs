//! The store's folder: one file, replaced as a whole.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use proofmill_emrtd::UnixTime;
use serde::Serialize;

use crate::contents::{Collected, Contents, Merged};
use crate::file::{self, Header};
use crate::item::{Fingerprint, Kind};
use crate::source::{entries, label};

const FILE: &str = "trust-store.ndjson";
const LOCK: &str = "trust-store.lock";
const TEMPORARY: &str = ".trust-store.";

/// A folder that holds a store, or is to hold one.
#[derive(Clone, Debug)]
pub struct TrustFolder {
    folder: PathBuf,
}

/// Why a store cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// There is no store.
    #[error("there is no trust store; `trust import` makes one")]
    Absent,
    /// The file is something else.
    #[error("not a trust store")]
    NotAStore,
    /// Written by a later version of this program.
    #[error("a trust store of format version {0}; this program knows version 1")]
    Version(u32),
    /// The file ends early.
    #[error("the trust store's file is cut short; restore it, or remove it and import again")]
    Truncated,
    /// The file was changed.
    #[error("the trust store's checksum does not hold; restore it, or remove it and import again")]
    Checksum,
    /// A line is not what it should be.
    #[error("the trust store's file is damaged at line {line}: {problem}")]
    Corrupt {
        /// From 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// The folder has other files, which a store there would hide.
    #[error(
        "the folder has files of its own, such as {0}, which would no longer be read; name an empty folder, or import this one into itself as well"
    )]
    Occupied(String),
    /// Every country signing certificate would go.
    #[error("no country signing certificate would be left; nothing was changed")]
    NothingLeft,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Import {
    /// The store's epoch after it.
    pub epoch: u64,
    /// Whether it is a new one.
    pub changed: bool,
    /// New items.
    pub taken: Counts,
    /// Items that were there before.
    pub known: usize,
    /// Revocation lists that a later one replaces.
    pub superseded: usize,
    /// Items that went because their source did.
    pub removed: usize,
    /// Revocation lists of the store that no certificate of it vouches for. They wait for one, and a list that is verified
    /// replaces none of them.
    pub crls_not_counting: usize,
    /// New revocation lists that were not taken, because nothing vouches for them and too many of their issuer wait already.
    pub crls_turned_away: usize,
}

/// Items by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Country signing certificates.
    pub csca: usize,
    /// Document signers.
    pub dsc: usize,
    /// Revocation lists.
    pub crl: usize,
}

impl Counts {
    /// Of all kinds.
    pub fn all(self) -> usize {
        self.csca + self.dsc + self.crl
    }

    fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Csca => self.csca += 1,
            Kind::Dsc => self.dsc += 1,
            Kind::Crl => self.crl += 1,
        }
    }
}

impl TrustFolder {
    /// A store in a folder, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> TrustFolder {
        TrustFolder { folder: folder.into() }
    }

    /// Whether a path is a store: its folder or its file.
    pub fn at(path: &Path) -> Option<TrustFolder> {
        if path.join(FILE).is_file() {
            return Some(TrustFolder::new(path));
        }
        let named = path.file_name().is_some_and(|name| name == FILE) && path.is_file();
        named.then(|| TrustFolder::new(path.parent().unwrap_or(Path::new(""))))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// The store's file.
    pub fn file(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Reads the store, whole.
    ///
    /// # Errors
    /// It is absent, or its file is cut, changed or unreadable.
    pub fn read(&self) -> Result<Contents, StoreError> {
        file::read(self.open()?)
    }

    /// Reads the epoch alone.
    ///
    /// # Errors
    /// As [`TrustFolder::read`], as far as the first line tells.
    pub fn header(&self) -> Result<Header, StoreError> {
        file::read_header(self.open()?)
    }

    fn open(&self) -> Result<BufReader<File>, StoreError> {
        match File::open(self.file()) {
            Ok(file) => Ok(BufReader::with_capacity(256 << 10, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::Absent),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses to make a store of a folder with other visible files in it: they would no longer be read. `imported` are the
    /// paths whose content is going into the store.
    ///
    /// # Errors
    /// [`StoreError::Occupied`].
    pub fn check_unoccupied(&self, imported: &[PathBuf]) -> Result<(), StoreError> {
        let itself = |path: &PathBuf| path.canonicalize().ok() == self.folder.canonicalize().ok();
        if self.file().exists() || !self.folder.exists() || imported.iter().any(itself) {
            return Ok(());
        }
        let other = entries(&self.folder)?.into_iter().find(|path| path.file_name().is_some_and(|name| name != LOCK));
        other.map_or(Ok(()), |path| Err(StoreError::Occupied(label(&path))))
    }

    /// Merges what was collected. Items that are known gain a provenance; what is in the store already stays, unless `mirror`
    /// names the folder that was read: then items that came from it alone and are there no longer go.
    ///
    /// # Errors
    /// The store cannot be read or written, or the mirror would leave no country signing certificate. Nothing was changed
    /// then.
    pub fn import(&self, collected: Collected, mirror: Option<&Path>, now: UnixTime) -> Result<Import, StoreError> {
        let time = now.to_string();
        self.update(now, |contents| {
            let had_authorities = contents.count(Kind::Csca) > 0;
            let mut import = Import::default();
            let mut collected = collected;
            for (key, found) in std::mem::take(&mut collected.found) {
                if contents.merge(key, found, &time) == Merged::Known {
                    import.known += 1;
                }
            }
            if let Some(root) = mirror {
                import.removed = contents.mirror(&label(root), &collected);
                if had_authorities && contents.count(Kind::Csca) == 0 {
                    return Err(StoreError::NothingLeft);
                }
            }
            if contents.changed() {
                let tidied = contents.tidy();
                import.superseded = tidied.superseded;
                import.crls_turned_away = tidied.turned_away;
            }
            contents.added().for_each(|kind| import.taken.count(kind));
            import.crls_not_counting = contents.waiting_crls().len();
            Ok(import)
        })
        .map(|(mut import, epoch, changed)| {
            import.epoch = epoch;
            import.changed = changed;
            import
        })
    }

    /// Removes items by their SHA-256; those that were not there are returned.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn remove(&self, names: &[Fingerprint], now: UnixTime) -> Result<(u64, Vec<Fingerprint>), StoreError> {
        let absent = |contents: &mut Contents| {
            Ok(names.iter().filter(|name| !contents.remove(name)).copied().collect::<Vec<Fingerprint>>())
        };
        if !self.file().exists() {
            return Err(StoreError::Absent);
        }
        self.update(now, absent).map(|(absent, epoch, _)| (epoch, absent))
    }

    /// One change at a time: whoever else changes the store waits, and sees this one. Readers never wait.
    fn update<T>(
        &self,
        now: UnixTime,
        edit: impl FnOnce(&mut Contents) -> Result<T, StoreError>,
    ) -> Result<(T, u64, bool), StoreError> {
        std::fs::create_dir_all(&self.folder)?;
        let lock = File::options().create(true).truncate(false).write(true).open(self.folder.join(LOCK))?;
        lock.lock()?;
        // Left by a process that died while writing: nobody else writes now.
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
                std::fs::remove_file(entry.path())?;
            }
        }
        let mut contents = match self.read() {
            Err(StoreError::Absent) => Contents::default(),
            read => read?,
        };
        let result = edit(&mut contents)?;
        let changed = contents.changed();
        if changed {
            contents.epoch += 1;
            contents.created_at = now.to_string();
            self.write(&contents)?.commit()?;
        }
        Ok((result, contents.epoch, changed))
    }

    /// Writes the contents beside the store's file; they are not the store's until committed.
    fn write(&self, contents: &Contents) -> Result<Written, StoreError> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY).suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // Certificates are public, and the workers that read them may be other users than the one who imports.
            builder.permissions(std::fs::Permissions::from_mode(0o644));
        }
        let temporary = builder.tempfile_in(&self.folder)?;
        let mut out = BufWriter::with_capacity(256 << 10, temporary.as_file());
        file::write(contents, &mut out)?;
        out.flush()?;
        drop(out);
        temporary.as_file().sync_all()?;
        Ok(Written { temporary, file: self.file(), folder: self.folder.clone() })
    }
}

struct Written {
    temporary: tempfile::NamedTempFile,
    file: PathBuf,
    folder: PathBuf,
}

impl Written {
    fn commit(self) -> Result<(), StoreError> {
        self.temporary.persist(&self.file).map_err(|error| error.error)?;
        // The rename itself must survive a crash of the machine.
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }
}

/// Writes contents in the store's own format, to be imported elsewhere.
///
/// # Errors
/// Of the output.
pub fn export(contents: &Contents, out: impl io::Write) -> io::Result<()> {
    file::write(contents, out)
}
