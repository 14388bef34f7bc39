//! The store's file: NDJSON under a checksum.
//!
//! ```text
//! {"format":"proofmill-trust","version":1,"epoch":7,"created_at":"2026-11-22T07:00:00Z"}
//! {"kind":"csca","der":"MII…","provenance":[{"source":"/lists/XX.ml","list":"master list under …","imported_at":"…"}]}
//! …
//! {"items":1234,"sha256":"…"}
//! ```
//!
//! The last line counts the items and has the SHA-256 of every octet before it, so that a cut or changed file is never
//! taken for a smaller store.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::contents::{Contents, Item};
use crate::item::{Kind, Provenance, fingerprint};
use crate::lines::{Line, Lines};
use crate::source::MAX_ITEM_BYTES;
use crate::store::StoreError;

/// How the file begins.
pub(crate) const MAGIC: &str = "{\"format\":\"proofmill-trust\"";
const FORMAT: &str = "proofmill-trust";
const VERSION: u32 = 1;
/// An item in base64, and its provenance.
const MAX_LINE: usize = MAX_ITEM_BYTES / 3 * 4 + (1 << 20);

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    format: String,
    version: u32,
    /// Rises by one with every change of the store.
    pub epoch: u64,
    /// When this epoch was written, RFC 3339 in UTC.
    pub created_at: String,
}

#[derive(Serialize, Deserialize)]
struct Row {
    kind: Kind,
    der: String,
    #[serde(default)]
    provenance: Vec<Provenance>,
}

#[derive(Serialize, Deserialize)]
struct Trailer {
    items: u64,
    sha256: String,
}

/// Writes a store.
pub(crate) fn write(contents: &Contents, out: impl Write) -> io::Result<()> {
    let mut out = Hashing { inner: out, hash: Sha256::new() };
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        epoch: contents.epoch,
        created_at: contents.created_at.clone(),
    };
    line(&mut out, &header)?;
    for item in contents.items() {
        let row = Row { kind: item.kind, der: STANDARD.encode(&item.der), provenance: item.provenance.clone() };
        line(&mut out, &row)?;
    }
    let Hashing { inner: mut out, hash } = out;
    line(&mut out, &Trailer { items: contents.len() as u64, sha256: hex::encode(hash.finalize()) })
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Reads a store, whole or not at all.
pub(crate) fn read(stream: impl BufRead) -> Result<Contents, StoreError> {
    let mut lines = Lines::new(stream, MAX_LINE);
    let mut text = Vec::new();
    let mut hash = Sha256::new();
    let header = header_line(&mut lines, &mut text)?;
    update(&mut hash, &text);
    let mut items = BTreeMap::new();
    loop {
        match lines.next(&mut text)? {
            Line::Read => {}
            Line::End => return Err(StoreError::Truncated),
            Line::TooLong => return Err(corrupt(&lines, "the line is too long")),
        }
        if text.starts_with(b"{\"items\":") {
            break;
        }
        update(&mut hash, &text);
        let row: Row = serde_json::from_slice(&text).map_err(|error| corrupt(&lines, error))?;
        let der = STANDARD.decode(&row.der).map_err(|error| corrupt(&lines, error))?;
        let key = (row.kind, fingerprint(&der));
        items.insert(key, Item { kind: row.kind, der: der.into(), provenance: row.provenance });
    }
    // A last line without its end is one that was cut, or one that another line was to follow.
    let trailer: Trailer = serde_json::from_slice(&text).map_err(|_| StoreError::Truncated)?;
    if trailer.sha256 != hex::encode(hash.finalize()) || trailer.items != items.len() as u64 {
        return Err(StoreError::Checksum);
    }
    if lines.next(&mut text)? != Line::End {
        return Err(corrupt(&lines, "something follows the last line"));
    }
    Ok(Contents::of(header.epoch, header.created_at, items))
}

/// Reads the first line alone.
pub(crate) fn read_header(stream: impl BufRead) -> Result<Header, StoreError> {
    header_line(&mut Lines::new(stream, MAX_LINE), &mut Vec::new())
}

fn header_line<R: BufRead>(lines: &mut Lines<R>, text: &mut Vec<u8>) -> Result<Header, StoreError> {
    if lines.next(text)? != Line::Read || !text.starts_with(MAGIC.as_bytes()) {
        return Err(StoreError::NotAStore);
    }
    let header: Header = serde_json::from_slice(text).map_err(|error| corrupt(lines, error))?;
    if header.version != VERSION {
        return Err(StoreError::Version(header.version));
    }
    Ok(header)
}

fn update(hash: &mut Sha256, line: &[u8]) {
    hash.update(line);
    hash.update(b"\n");
}

fn corrupt<R: BufRead>(lines: &Lines<R>, problem: impl ToString) -> StoreError {
    StoreError::Corrupt { line: lines.number(), problem: problem.to_string() }
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(octets)?;
        self.hash.update(octets.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
