//! What `--trust` and `--anchor` name.
//!
//! An engineer names a master list to see what follows from it, and its anchor is not always at hand. So, other than a
//! server, this takes a list that nobody vouches for, and says so; but never one whose signature does not hold.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use proofmill_emrtd::{
    CertificateInfo, CrlInfo, CrlProblem, MasterList, MasterListAnchor, MasterListError, TrustStore, TrustStoreBuilder,
};
use proofmill_telemetry::tell;
use proofmill_trust::{Anchors, Found, Kind, Reason, Refusal, TrustFolder, Visitor};

use super::files;

/// The store, and the certificates in it that stood for themselves and came from no list.
pub struct Loaded {
    pub store: TrustStore,
    pub certificates: Vec<Vec<u8>>,
}

/// The certificates that `--anchor` names, DER.
///
/// # Errors
/// A file cannot be read, or holds something else.
pub fn anchors(paths: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut anchors = Vec::new();
    for path in files::expand(paths) {
        let read = files::read(&path, files::MAX_LIST).and_then(files::objects);
        for der in read.map_err(|trouble| anyhow!("anchor {}: {}", path.display(), trouble.message))? {
            CertificateInfo::parse(&der).with_context(|| format!("anchor {}", path.display()))?;
            anchors.push(der.to_vec());
        }
    }
    Ok(anchors)
}

/// Loads everything that the paths name; without any the store is empty.
///
/// # Errors
/// Something named cannot be read or is not trust material, or a master list is refused.
pub fn load(paths: &[PathBuf], anchors: &[Vec<u8>]) -> anyhow::Result<Loaded> {
    let mut loading = Loading::default();
    for path in paths {
        loading.path(path, &known(anchors))?;
    }
    let certificates: Vec<Vec<u8>> = loading
        .found
        .iter()
        .filter(|found| found.kind != Kind::Crl && found.list.is_none())
        .map(|found| found.der.clone())
        .collect();
    for path in std::mem::take(&mut loading.lists) {
        let trusted = if anchors.is_empty() { certificates.as_slice() } else { anchors };
        loading.master_lists(&path, trusted, anchors.is_empty())?;
    }
    for path in std::mem::take(&mut loading.directories) {
        loading.directory(&path, &known(&certificates))?;
    }
    let store = loading.build();
    for list in store.rejected_crls() {
        let why = match list.problem {
            CrlProblem::IssuerUnknown => "its issuer is not among the certificates",
            CrlProblem::IssuerKeyUnknown => "no certificate of its issuer has the key that it names",
            CrlProblem::SignatureInvalid => "its signature holds under no key of its issuer",
        };
        tell(format_args!("warning: {}: this revocation list does not count: {why}", list.provenance));
    }
    if !paths.is_empty() && store.counts().cscas == 0 {
        tell("warning: --trust names no country signing certificate, so no chain can hold");
    }
    Ok(Loaded { store, certificates })
}

fn known(certificates: &[Vec<u8>]) -> Anchors {
    let mut anchors = Anchors::default();
    certificates.iter().for_each(|der| anchors.add(der.clone()));
    anchors
}

#[derive(Default)]
struct Loading {
    found: Vec<Found>,
    /// Files with master lists that no anchor vouched for.
    lists: Vec<PathBuf>,
    /// Collections with such lists.
    directories: Vec<PathBuf>,
    /// The first refusal that ends it.
    failure: Option<Refusal>,
    /// What `--trust` names just now.
    named: PathBuf,
    /// Entries of collections and files of folders that were passed over.
    skipped: usize,
}

impl Visitor for Loading {
    fn found(&mut self, found: Found) {
        self.found.push(found);
    }

    fn refused(&mut self, refusal: Refusal) {
        let path = PathBuf::from(&refusal.source);
        match (&refusal.reason, refusal.in_collection) {
            // Without `--anchor`, every list comes here first.
            (Reason::NoAnchor, false) if !self.lists.contains(&path) => self.lists.push(path),
            (Reason::NoAnchor, true) if !self.directories.contains(&path) => self.directories.push(path),
            (Reason::NoAnchor, _) => {}
            // Folders hold other things, and collections broken ones.
            (reason, collected) if collected || (path != self.named && !matches!(reason, Reason::MasterList(_))) => {
                self.skipped += 1;
                if self.skipped <= 10 {
                    tell(format_args!("warning: passed over {refusal}"));
                }
            }
            _ => {
                self.failure.get_or_insert(refusal);
            }
        }
    }
}

impl Loading {
    fn path(&mut self, path: &Path, anchors: &Anchors) -> anyhow::Result<()> {
        if let Some(folder) = TrustFolder::at(path) {
            let contents = folder.read().with_context(|| format!("trust store {}", path.display()))?;
            for item in contents.items() {
                let place = item.provenance.first();
                self.found.push(Found {
                    kind: item.kind,
                    der: item.der.to_vec(),
                    source: place.map_or_else(|| path.display().to_string(), |place| place.source.clone()),
                    list: place.and_then(|place| place.list.clone()),
                    earlier: Vec::new(),
                });
            }
            return Ok(());
        }
        self.named = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        // The refusal of a named file comes as an error; what follows from it is the same.
        if let Err(refusal) = proofmill_trust::read(&[path.to_owned()], anchors, self) {
            self.refused(refusal);
        }
        self.failed()
    }

    fn failed(&mut self) -> anyhow::Result<()> {
        match self.failure.take() {
            Some(refusal) => bail!("trust: {refusal}"),
            None => Ok(()),
        }
    }

    /// Every master list in a file, under the certificates given or else under its own.
    fn master_lists(&mut self, path: &Path, trusted: &[Vec<u8>], own: bool) -> anyhow::Result<()> {
        let name = path.display().to_string();
        let objects = files::read(path, files::MAX_LIST).and_then(files::objects);
        for bytes in objects.map_err(|trouble| anyhow!("trust: {name}: {}", trouble.message))? {
            if CertificateInfo::parse(&bytes).is_ok() || CrlInfo::parse(&bytes).is_ok() {
                continue;
            }
            let trusted: Vec<&[u8]> = trusted.iter().map(Vec::as_slice).collect();
            let verified = match MasterList::verify_with_any(&bytes, &trusted) {
                Err(MasterListError::SignerNotIssuedByAnchor | MasterListError::AnchorUnusable) if own => {
                    without_anchor(&name, &bytes)
                }
                verified => verified,
            };
            let list = verified.with_context(|| format!("trust: {name}: refused whole"))?;
            let under = match list.anchor() {
                MasterListAnchor::WithinList { .. } => "master list that vouches for itself",
                MasterListAnchor::Given { sha256 } if trusted.iter().any(|der| names(sha256, der)) => "master list",
                MasterListAnchor::Given { .. } => "master list that nothing vouches for",
            };
            for der in list.certificates() {
                self.found.push(Found {
                    kind: Kind::Csca,
                    der: der.to_vec(),
                    source: name.clone(),
                    list: Some(under.to_owned()),
                    earlier: Vec::new(),
                });
            }
        }
        Ok(())
    }

    /// The lists of a directory count under certificates that were given beside it, or not at all.
    fn directory(&mut self, path: &Path, anchors: &Anchors) -> anyhow::Result<()> {
        if anchors.is_empty() {
            let name = path.display();
            tell(format_args!("warning: {name}: its master lists are passed over, because no anchor is given"));
            return Ok(());
        }
        let mut again = Loading::default();
        again.path(path, anchors)?;
        self.found.extend(again.found.into_iter().filter(|found| found.kind == Kind::Csca));
        Ok(())
    }

    fn build(self) -> TrustStore {
        let mut builder = TrustStoreBuilder::new();
        for found in self.found {
            let place = match &found.list {
                Some(list) => format!("{} ({list})", found.source),
                None => found.source.clone(),
            };
            let added = match found.kind {
                Kind::Csca => builder.add_csca(&found.der, &place),
                Kind::Dsc => builder.add_dsc(&found.der, &place),
                Kind::Crl => builder.add_crl(&found.der, &place),
            };
            if let Err(error) = added {
                tell(format_args!("warning: passed over {place}: {error}"));
            }
        }
        builder.build(1)
    }
}

fn names(sha256: &str, der: &[u8]) -> bool {
    CertificateInfo::parse(der).is_ok_and(|info| info.sha256 == sha256)
}

/// A list that is whole, but that only its own certificates vouch for.
fn without_anchor(name: &str, list: &[u8]) -> Result<MasterList, MasterListError> {
    match MasterList::verify_self_anchored(list) {
        Ok(verified) => {
            tell(format_args!(
                "warning: {name}: no --anchor vouches for this master list; its signer chains to a certificate of the \
                 list itself"
            ));
            Ok(verified)
        }
        Err(_) => {
            let unverified = MasterList::read_unverified(list)?;
            let embedded: Vec<&[u8]> = unverified.embedded_certificates().collect();
            let verified = MasterList::verify_with_any(list, &embedded)?;
            tell(format_args!(
                "WARNING: {name}: NOTHING VOUCHES FOR THIS MASTER LIST but the certificates that came with it; taken \
                 because it was named. Whoever could change the file chose whom it trusts: give --anchor"
            ));
            Ok(verified)
        }
    }
}
