//! Loading the trust store from files: country signing certificates, document signers and revocation lists.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proofmill_emrtd::{TrustStore, TrustStoreBuilder};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::BasicConstraints;

/// No certificate or list of a national authority comes near this; a larger file is something else.
const MAX_FILE_BYTES: u64 = 32 << 20;
/// Folders inside folders, at most.
const MAX_DEPTH: usize = 8;

/// Loads every certificate and list below `paths`. A named file must be one; in a folder, files without a known extension
/// (`.cer .crt .der .pem .crl`) are passed over. Revocation lists that no certificate of the store vouches for do not
/// count, and are named in the log.
///
/// # Errors
/// A path is absent, a file is not what its extension says, or there is no country signing certificate at all.
pub fn load(paths: &[PathBuf], epoch: u64) -> anyhow::Result<TrustStore> {
    ensure!(!paths.is_empty(), "no trust store was named: --trust takes files and folders of certificates");
    let mut loader = Loader(TrustStoreBuilder::new());
    for path in paths {
        let metadata = path.metadata().with_context(|| format!("cannot read the trust store {}", path.display()))?;
        if metadata.is_dir() { loader.folder(path, 0)? } else { loader.file(path)? }
    }
    let store = loader.0.build(epoch);
    for list in store.rejected_crls() {
        tracing::warn!(list = list.provenance, problem = ?list.problem, "a revocation list does not count");
    }
    ensure!(
        store.counts().cscas > 0,
        "no country signing certificate was found in {}",
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    Ok(store)
}

/// What a store holds, for people.
pub fn describe(store: &TrustStore) -> String {
    let counts = store.counts();
    format!(
        "{} country signing certificates, {} stored signers, {} revocation lists ({} do not count)",
        counts.cscas, counts.document_signers, counts.crls, counts.rejected_crls
    )
}

struct Loader(TrustStoreBuilder);

impl Loader {
    fn folder(&mut self, folder: &Path, depth: usize) -> anyhow::Result<()> {
        ensure!(depth <= MAX_DEPTH, "folders are nested too deeply at {}", folder.display());
        let mut entries = std::fs::read_dir(folder)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("cannot list {}", folder.display()))?;
        // A fixed order, so that two loads of one folder are the same store.
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if path.is_dir() {
                self.folder(&path, depth + 1)?;
            } else if extension(&path).is_some_and(|known| ["cer", "crt", "der", "pem", "crl"].contains(&&*known)) {
                self.file(&path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let bytes = read(path)?;
        let place = path.display().to_string();
        if extension(path).as_deref() == Some("ml") {
            bail!("{place}: master lists are not read yet; give their certificates as files");
        }
        if !contains(&bytes, b"-----BEGIN ") {
            return self.der(&bytes, &place);
        }
        let blocks = pem_blocks(&bytes).with_context(|| format!("{place}: not PEM"))?;
        ensure!(!blocks.is_empty(), "{place}: no certificate and no revocation list inside");
        blocks.iter().enumerate().try_for_each(|(index, der)| self.der(der, &format!("{place} (block {})", index + 1)))
    }

    fn der(&mut self, der: &[u8], place: &str) -> anyhow::Result<()> {
        match Certificate::from_der(der) {
            Ok(certificate) if is_authority(&certificate) => self.0.add_csca(der, place),
            Ok(_) => self.0.add_dsc(der, place),
            // Not what the strict parser takes: the library, which knows how real ones deviate, has the last word.
            Err(_) => self.0.add_crl(der, place).or_else(|_| self.0.add_csca(der, place)),
        }
        .with_context(|| format!("{place}: neither a certificate nor a revocation list"))
    }
}

/// A certification authority: it says so (RFC 5280 §4.2.1.9) or, in old country signing certificates that lack
/// the extension, issued itself.
fn is_authority(certificate: &Certificate) -> bool {
    let tbs = certificate.tbs_certificate();
    match tbs.get_extension::<BasicConstraints>() {
        Ok(Some((_, constraints))) => constraints.ca,
        _ => tbs.subject() == tbs.issuer(),
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let context = || format!("cannot read {}", path.display());
    let length = path.metadata().with_context(context)?.len();
    ensure!(length <= MAX_FILE_BYTES, "{}: {length} bytes is too large for a certificate or list", path.display());
    std::fs::read(path).with_context(context)
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

fn contains(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.windows(pattern.len()).any(|window| window == pattern)
}

/// The certificates and lists of a PEM text (RFC 7468); other blocks are passed over.
fn pem_blocks(bytes: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    let text = std::str::from_utf8(bytes).context("not text")?;
    let mut blocks = Vec::new();
    let mut body: Option<(String, &str)> = None;
    for line in text.lines().map(str::trim) {
        if let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) {
            ensure!(body.is_none(), "a block begins inside another");
            body = Some((String::new(), label));
        } else if let Some(label) = line.strip_prefix("-----END ").and_then(|rest| rest.strip_suffix("-----")) {
            let (base64, opened) = body.take().context("a block ends that never began")?;
            ensure!(label == opened, "a block begins with one label and ends with another");
            if ["CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CRL"].contains(&label) {
                blocks.push(STANDARD.decode(base64).context("a block is not base64")?);
            }
        } else if let Some((base64, _)) = &mut body {
            base64.push_str(line);
        }
    }
    ensure!(body.is_none(), "the last block has no end");
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_blocks_are_found_between_other_text() {
        let text = b"subject=UTO\n-----BEGIN CERTIFICATE-----\nAQID\nBA==\n-----END CERTIFICATE-----\n\
            -----BEGIN PRIVATE KEY-----\nAQ==\n-----END PRIVATE KEY-----\n-----BEGIN X509 CRL-----\nBQ==\n-----END X509 CRL-----\n";
        assert_eq!(pem_blocks(text).unwrap(), vec![vec![1, 2, 3, 4], vec![5]]);
    }

    #[test]
    fn broken_pem_is_an_error_and_not_an_empty_store() {
        for text in [
            "-----BEGIN CERTIFICATE-----\nAQID",
            "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----",
            "-----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\nAQ==\n-----END X509 CRL-----",
        ] {
            assert!(pem_blocks(text.as_bytes()).is_err(), "{text}");
        }
    }

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
