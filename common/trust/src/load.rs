//! From paths to the verifier's store: plain files and folders, stores, or both.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use proofmill_emrtd::{TrustStore, TrustStoreBuilder};

use crate::anchors::Anchors;
use crate::item::Kind;
use crate::source::{self, Above, Entered, Found, Refusal, Visitor};
use crate::store::{StoreError, TrustFolder};

/// Where a verifier's trust comes from.
#[derive(Clone, Debug, Default)]
pub struct TrustSource {
    /// Files, folders and stores.
    pub paths: Vec<PathBuf>,
    /// Certificates under which master lists among the files count.
    pub anchors: Vec<PathBuf>,
}

/// A store, ready.
pub struct Loaded {
    /// The store.
    pub store: TrustStore,
    /// What was passed over, for the log: entries of collections, each with its place and why.
    pub refused: Vec<String>,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No path was named.
    #[error("no trust store was named: --trust takes a store, or files and folders of certificates")]
    NoPath,
    /// Something named, or in a named folder, cannot be taken.
    #[error("{0}")]
    Refused(Refusal),
    /// A store cannot be read.
    #[error("{path}: {error}")]
    Store {
        /// Its file.
        path: String,
        /// Why.
        error: StoreError,
    },
    /// There is nothing to verify anything under.
    #[error("no country signing certificate was found in {0}")]
    NoAuthority(String),
}

impl TrustSource {
    /// Reads everything. A file of a folder that is not right is an error; an entry of a collection (LDIF, a verified master
    /// list, a store) is passed over and named. `epoch` is the store's number unless the one path is a store, which has
    /// its own.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, epoch: u64) -> Result<Loaded, LoadError> {
        if self.paths.is_empty() {
            return Err(LoadError::NoPath);
        }
        let anchors = Anchors::read(&self.anchors).map_err(LoadError::Refused)?;
        if let [path] = self.paths.as_slice()
            && let Some(folder) = TrustFolder::at(path)
        {
            let contents = read(&folder)?;
            let (store, refused) = contents.build(contents.epoch());
            return self.checked(Loaded { store, refused });
        }
        let mut building = Building::default();
        for path in &self.paths {
            match TrustFolder::at(path) {
                Some(folder) => {
                    for item in read(&folder)?.into_items() {
                        let source = item.provenance.first().map_or_else(String::new, |place| place.source.clone());
                        let list = item.provenance.first().and_then(|place| place.list.clone());
                        let earlier = Vec::new();
                        building.found(Found { kind: item.kind, der: item.der.into_vec(), source, list, earlier });
                    }
                }
                None => {
                    source::read(std::slice::from_ref(path), &anchors, &mut building).map_err(LoadError::Refused)?
                }
            }
        }
        if let Some(refusal) = building.failure {
            return Err(LoadError::Refused(refusal));
        }
        self.checked(Loaded { store: building.builder.build(epoch), refused: building.refused })
    }

    fn checked(&self, loaded: Loaded) -> Result<Loaded, LoadError> {
        if loaded.store.counts().cscas == 0 {
            let paths: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
            return Err(LoadError::NoAuthority(paths.join(", ")));
        }
        Ok(loaded)
    }

    /// Whether anything can have changed: names, lengths and times of all files, without reading them. Cheap enough for a timer.
    pub fn state(&self) -> State {
        let mut files = Vec::new();
        for path in self.paths.iter().chain(&self.anchors) {
            match TrustFolder::at(path) {
                Some(folder) => note(&folder.file(), &mut Above::default(), &mut files),
                None => note(path, &mut Above::default(), &mut files),
            }
        }
        State(files)
    }
}

/// See [`TrustSource::state`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(Vec<(PathBuf, Option<Stamp>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// Seconds and nanoseconds of the last change of the file or of what is known of it: the time of modification can be set.
    changed: (i64, i64),
    /// A file that replaces another may have its length and, in a coarse clock, its time.
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        #[cfg(unix)]
        let (changed, inode) = {
            use std::os::unix::fs::MetadataExt as _;
            ((metadata.ctime(), metadata.ctime_nsec()), metadata.ino())
        };
        #[cfg(not(unix))]
        let (changed, inode) = ((0, 0), 0);
        Stamp { length: metadata.len(), modified: metadata.modified().ok(), changed, inode }
    }
}

fn note(path: &Path, above: &mut Above, files: &mut Vec<(PathBuf, Option<Stamp>)>) {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            if let Ok(Entered::Anew) = above.enter(path) {
                for entry in source::entries(path).unwrap_or_default() {
                    note(&entry, above, files);
                }
                above.leave();
            }
            // An empty folder and an absent one are two states.
            files.push((path.to_owned(), Some(Stamp { length: 0, modified: None, changed: (0, 0), inode: 0 })));
        }
        metadata => files.push((path.to_owned(), metadata.ok().map(|metadata| Stamp::of(&metadata)))),
    }
}

fn read(folder: &TrustFolder) -> Result<crate::Contents, LoadError> {
    folder.read().map_err(|error| LoadError::Store { path: folder.file().display().to_string(), error })
}

#[derive(Default)]
struct Building {
    builder: TrustStoreBuilder,
    refused: Vec<String>,
    failure: Option<Refusal>,
}

impl Visitor for Building {
    fn found(&mut self, found: Found) {
        let place = match &found.list {
            Some(list) => format!("{} ({list})", found.source),
            None => found.source.clone(),
        };
        let added = match found.kind {
            Kind::Csca => self.builder.add_csca(&found.der, &place),
            Kind::Dsc => self.builder.add_dsc(&found.der, &place),
            Kind::Crl => self.builder.add_crl(&found.der, &place),
        };
        if let Err(error) = added {
            self.refused.push(format!("{place}: {error}"));
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        if refusal.in_collection {
            self.refused.push(refusal.to_string());
        } else {
            self.failure.get_or_insert(refusal);
        }
    }
}
