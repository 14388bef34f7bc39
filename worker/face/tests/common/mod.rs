//! What the tests need from outside the repository, and how they say that it is missing.
#![allow(dead_code, clippy::unwrap_used)]

pub mod pictures;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proofmill_face::{DecodeLimits, Device, LoadOptions, Matcher, Pack, RgbImage, decode, discover};

/// The folder of reference data, or `None` after saying why not.
pub fn reference_data() -> Option<PathBuf> {
    let found = std::env::var_os("PROOFMILL_REFERENCE_DATA").map(PathBuf::from);
    if found.is_none() {
        println!("skipped: PROOFMILL_REFERENCE_DATA is not set, so there is no reference data");
    }
    found
}

/// The model packs' folder.
pub fn models() -> PathBuf {
    cached("PROOFMILL_MODELS", "models")
}

/// The folder of photos.
pub fn photos() -> PathBuf {
    cached("PROOFMILL_PHOTOS", "photos")
}

/// A photo that set-up fetched, or `None` after saying why not.
pub fn photo(name: &str) -> Option<Vec<u8>> {
    let path = photos().join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            println!("skipped: {}: {error} (cargo xtask setup fetches it)", path.display());
            None
        }
    }
}

fn cached(variable: &str, folder: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => {
            let home = std::env::var_os("HOME").unwrap_or_default();
            Path::new(&home).join(".cache/proofmill").join(folder)
        }
    }
}

/// The default pack's folder, or `None` after saying why not.
pub fn pack_folder() -> Option<PathBuf> {
    let folder = models().join("proofmill-open-1");
    if folder.join("pack.toml").exists() {
        return Some(folder);
    }
    println!("skipped: no model pack in {} (cargo xtask setup fetches it)", folder.display());
    None
}

/// The default pack on the processor, built once for each test process. One thread: the test
/// processes share the cores among themselves.
pub fn matcher() -> Option<&'static Matcher> {
    static MATCHER: OnceLock<Option<Matcher>> = OnceLock::new();
    MATCHER
        .get_or_init(|| {
            discover();
            let pack = Pack::load(&pack_folder()?, LoadOptions::default()).unwrap();
            Some(Matcher::new(pack, Device::Cpu, 1).unwrap())
        })
        .as_ref()
}

/// A decoded picture.
pub fn picture(path: &Path) -> RgbImage {
    decode(&std::fs::read(path).unwrap(), &DecodeLimits::selfie()).unwrap()
}
