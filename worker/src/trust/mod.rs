//! Trust: loading it, replacing it while the process runs, and the commands that look after a store.

mod check;
mod command;
mod export;
mod import;
mod list;
mod live;
mod refresh;

use std::collections::HashMap;
use std::path::PathBuf;

use proofmill_emrtd::{CrlInfo, TrustStore};
use proofmill_trust::TrustSource;

pub use command::{TrustCommand, run};
pub use live::{LiveTrust, Reloader};

/// Loads every certificate and list below `paths`, which may be stores. See [`load_source`].
///
/// # Errors
/// As [`load_source`].
pub fn load(paths: &[PathBuf], epoch: u64) -> anyhow::Result<TrustStore> {
    load_source(&TrustSource { paths: paths.to_vec(), anchors: Vec::new() }, epoch)
}

/// Loads a store. Revocation lists that no certificate vouches for do not count, and are named in the log as are entries of
/// collections that cannot be read. `epoch` is its number, unless the one path is a store with a number of its own.
///
/// # Errors
/// A path is absent, a file is not what it should be, a master list's signature does not hold under an anchor, or
/// there is no country signing certificate at all.
pub fn load_source(source: &TrustSource, epoch: u64) -> anyhow::Result<TrustStore> {
    let loaded = source.load(epoch)?;
    for item in &loaded.refused {
        tracing::warn!(item, "passed over in the trust store");
    }
    for list in loaded.store.rejected_crls() {
        tracing::warn!(list = list.provenance, problem = ?list.problem, "a revocation list does not count");
    }
    Ok(loaded.store)
}

/// What a store holds, for people.
pub fn describe(store: &TrustStore) -> String {
    let counts = store.counts();
    format!(
        "{} country signing certificates, {} stored signers, {} revocation lists ({} do not count)",
        counts.cscas, counts.document_signers, counts.crls, counts.rejected_crls
    )
}

/// The newest list of each issuer, of those that count.
fn newest_crls(store: &TrustStore) -> Vec<CrlInfo> {
    let mut newest: HashMap<String, CrlInfo> = HashMap::new();
    for list in store.crls().map(|list| list.info()) {
        match newest.get(&list.issuer) {
            Some(known) if known.this_update >= list.this_update => {}
            _ => {
                newest.insert(list.issuer.clone(), list);
            }
        }
    }
    newest.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_paths_and_empty_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("nowhere");
        let error = load(&[missing], 1).err().unwrap();
        assert!(format!("{error:#}").contains("nowhere"), "{error:#}");
        let error = load(&[folder.path().to_owned()], 1).err().unwrap();
        assert!(format!("{error:#}").contains("no country signing certificate"), "{error:#}");
        let garbage = folder.path().join("x.cer");
        std::fs::write(&garbage, b"not a certificate").unwrap();
        let error = load(&[garbage], 1).err().unwrap();
        assert!(format!("{error:#}").contains("x.cer"), "{error:#}");
    }
}
