//! Reading trust material from files and folders: what a file is, is told by its content.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use proofmill_emrtd::{CrlInfo, MasterList, MasterListError, TrustError};

use crate::anchors::Anchors;
use crate::file;
use crate::item::{Kind, Provenance, kind_of_certificate};
use crate::ldif::{self, Ldif, LdifError};
use crate::pem::{self, Pem, PemError};
use crate::store::StoreError;

/// No certificate or list of a national authority comes near this; something larger is something else.
pub(crate) const MAX_ITEM_BYTES: usize = 32 << 20;
/// Folders inside folders, at most.
const MAX_DEPTH: usize = 8;
/// Octets by which a file's format is told.
const HEAD_BYTES: u64 = 4096;
/// Extensions that promise trust material; in a folder, files that are nothing known and do not promise it are passed over.
const EXTENSIONS: [&str; 9] = ["cer", "crt", "der", "pem", "crl", "ml", "ldif", "ldi", "p7c"];

/// A certificate or list as it was found. It parses; a certificate from a master list comes from one whose signature holds.
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// As received.
    pub der: Vec<u8>,
    /// The file.
    pub source: String,
    /// The list within the file, if it is one of several.
    pub list: Option<String>,
    /// Where it had come from before, when the file is an exported store.
    pub earlier: Vec<Provenance>,
}

/// Something that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The file.
    pub source: String,
    /// Where in the file, such as `line 17, cn=…`; empty for the whole.
    pub place: String,
    /// Why.
    pub reason: Reason,
    /// Whether it is an entry of a collection, whose other entries stand for themselves.
    pub in_collection: bool,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source)?;
        if !self.place.is_empty() {
            write!(f, " ({})", self.place)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Why something is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Neither of the known formats.
    #[error("neither a certificate, a revocation list, a master list, PEM, LDIF nor an exported store")]
    Unknown,
    /// A text without a certificate or list in it.
    #[error("no certificate and no revocation list inside")]
    Empty,
    /// Too large.
    #[error("more than {MAX_ITEM_BYTES} octets, which no certificate or list has")]
    TooLarge,
    /// Folders are nested too deeply.
    #[error("folders are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// A device, pipe or socket.
    #[error("neither a file nor a folder")]
    NotAFile,
    /// The file system refuses.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// See [`PemError`].
    #[error("{0}")]
    Pem(PemError),
    /// See [`LdifError`].
    #[error("{0}")]
    Ldif(LdifError),
    /// A certificate or revocation list that does not parse.
    #[error("{0}")]
    Malformed(TrustError),
    /// A master list's signature holds under no anchor that was given.
    #[error("{0}")]
    MasterList(MasterListError),
    /// A master list, and nothing to verify it under.
    #[error("a master list counts only under an anchor, and none was given ({ANCHOR_HINT})")]
    NoAnchor,
    /// A certification authority's certificate in a directory of document signers, which nobody signs as a whole.
    #[error(
        "a certification authority in an unsigned directory: authorities come from master lists and from certificate files"
    )]
    AuthorityInDirectory,
    /// An exported store that is cut or changed.
    #[error("{0}")]
    Store(String),
}

const ANCHOR_HINT: &str = "give the certificate that vouches for it: --anchor for `trust import` and `trust refresh`, --trust-anchor elsewhere";

/// What reading hands over.
pub trait Visitor {
    /// Something that counts.
    fn found(&mut self, found: Found);
    /// Something that does not.
    fn refused(&mut self, refusal: Refusal);
    /// So many octets of the paths were read.
    fn progress(&mut self, _octets: u64) {}
}

/// Reads files and, recursively, folders. What is named must be right: a named file that cannot be taken is an error, and
/// then nothing should be taken. In a folder a file is refused and the others are read; in a collection (LDIF) an entry is.
///
/// Hidden files of folders are passed over, and those that are nothing known and whose name promises nothing.
///
/// # Errors
/// The refusal of a named path.
pub fn read(paths: &[PathBuf], anchors: &Anchors, visitor: &mut dyn Visitor) -> Result<(), Refusal> {
    for path in paths {
        let source = label(path);
        let metadata = path.metadata().map_err(|error| whole(&source, unreadable(&error)))?;
        if metadata.is_dir() {
            walk(path, &mut Above::default(), anchors, visitor)?;
        } else {
            let mut named = Strict { visitor: &mut *visitor, failure: None };
            read_file(path, anchors, true, &mut named);
            if let Some(refusal) = named.failure {
                return Err(refusal);
            }
        }
    }
    Ok(())
}

/// Reads one stream of any known format, whatever its length; `source` names it. Memory is bounded by the largest item, but for an
/// exported store, whose checksum is at its end.
pub fn read_stream(stream: impl Read, source: &str, anchors: &Anchors, visitor: &mut dyn Visitor) {
    stream_of(stream, source, anchors, true, visitor);
}

/// The octets of all files that [`read`] would read.
pub fn size(paths: &[PathBuf]) -> u64 {
    fn of(path: &Path, above: &mut Above) -> u64 {
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let Ok(Entered::Anew) = above.enter(path) else { return 0 };
                let size = entries(path).unwrap_or_default().iter().map(|path| of(path, above)).sum();
                above.leave();
                size
            }
            Ok(metadata) if metadata.is_file() => metadata.len(),
            _ => 0,
        }
    }
    paths.iter().map(|path| of(path, &mut Above::default())).sum()
}

/// The visible entries of a folder in a fixed order, so that two reads of one folder give the same.
pub(crate) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name()))
        .filter(|name| !matches!(name, Ok(name) if name.as_encoded_bytes().starts_with(b".")))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// The folders above, by what they are and not by name: a link to one of them would be walked for ever.
#[derive(Default)]
pub(crate) struct Above(Vec<PathBuf>);

impl Above {
    /// Enters a folder, unless it is among those above or they are too many.
    pub fn enter(&mut self, folder: &Path) -> io::Result<Entered> {
        let real = folder.canonicalize()?;
        if self.0.contains(&real) {
            return Ok(Entered::Before);
        }
        if self.0.len() > MAX_DEPTH {
            return Ok(Entered::TooDeep);
        }
        self.0.push(real);
        Ok(Entered::Anew)
    }

    /// Leaves the folder entered last.
    pub fn leave(&mut self) {
        self.0.pop();
    }
}

/// See [`Above::enter`].
pub(crate) enum Entered {
    /// To be left again.
    Anew,
    /// It is one of the folders above.
    Before,
    /// Too many folders are above.
    TooDeep,
}

fn walk(folder: &Path, above: &mut Above, anchors: &Anchors, visitor: &mut dyn Visitor) -> Result<(), Refusal> {
    let source = label(folder);
    match above.enter(folder).map_err(|error| whole(&source, unreadable(&error)))? {
        Entered::Anew => {}
        Entered::Before => return Ok(()),
        Entered::TooDeep => return Err(whole(&source, Reason::TooDeep)),
    }
    let walked = walk_entries(folder, &source, above, anchors, visitor);
    above.leave();
    walked
}

fn walk_entries(
    folder: &Path,
    source: &str,
    above: &mut Above,
    anchors: &Anchors,
    visitor: &mut dyn Visitor,
) -> Result<(), Refusal> {
    for path in entries(folder).map_err(|error| whole(source, unreadable(&error)))? {
        if path.is_dir() {
            if let Err(refusal) = walk(&path, above, anchors, visitor) {
                visitor.refused(refusal);
            }
        } else {
            read_file(&path, anchors, false, visitor);
        }
    }
    Ok(())
}

fn read_file(path: &Path, anchors: &Anchors, named: bool, visitor: &mut dyn Visitor) {
    let source = label(path);
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let promising = named || extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()));
    // Opening a pipe would wait for its writer.
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => {
            if promising {
                visitor.refused(whole(&source, Reason::NotAFile));
            }
        }
        Ok(_) => match File::open(path) {
            Ok(file) => stream_of(file, &source, anchors, promising, visitor),
            Err(error) => visitor.refused(whole(&source, unreadable(&error))),
        },
        Err(error) => visitor.refused(whole(&source, unreadable(&error))),
    }
}

fn stream_of(mut stream: impl Read, source: &str, anchors: &Anchors, promising: bool, visitor: &mut dyn Visitor) {
    let mut head = Vec::new();
    if let Err(error) = stream.by_ref().take(HEAD_BYTES).read_to_end(&mut head) {
        return visitor.refused(whole(source, unreadable(&error)));
    }
    let format = Format::of(&head);
    let mut reading = Reading { source, anchors, visitor };
    let mut stream = BufReader::with_capacity(64 << 10, Cursor::new(head).chain(stream));
    match format {
        Format::Der => reading.der_file(&mut stream),
        Format::Ldif => reading.ldif(&mut stream),
        Format::Store => reading.store(&mut stream),
        Format::Text => reading.pem(&mut stream, promising),
        Format::Unknown if promising => reading.refuse(String::new(), Reason::Unknown, false),
        Format::Unknown => {}
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Der,
    Ldif,
    Store,
    Text,
    Unknown,
}

impl Format {
    fn of(head: &[u8]) -> Format {
        // A SEQUENCE of more than 127 octets or of indefinite length; text may begin with the digit zero, too.
        if head.first() == Some(&0x30) && head.get(1).is_some_and(|length| (0x80..=0x84).contains(length)) {
            return Format::Der;
        }
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        if text.starts_with(file::MAGIC.as_bytes()) {
            return Format::Store;
        }
        if text.iter().any(|octet| *octet < b' ' && !octet.is_ascii_whitespace()) {
            return Format::Unknown;
        }
        let first = text
            .split(|octet| *octet == b'\n')
            .map(<[u8]>::trim_ascii_end)
            .find(|line| !line.is_empty() && !line.starts_with(b"#") && !line.starts_with(b" "));
        let begins = |line: &[u8], prefix: &[u8]| {
            line.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        match first {
            Some(line) if begins(line, b"version:") || begins(line, b"dn:") => Format::Ldif,
            Some(_) => Format::Text,
            None => Format::Unknown,
        }
    }
}

struct Reading<'a> {
    source: &'a str,
    anchors: &'a Anchors,
    visitor: &'a mut dyn Visitor,
}

impl Reading<'_> {
    fn der_file(&mut self, stream: &mut impl BufRead) {
        let mut der = Vec::new();
        match stream.take(MAX_ITEM_BYTES as u64 + 1).read_to_end(&mut der) {
            Err(error) => self.refuse(String::new(), unreadable(&error), false),
            Ok(read) if read > MAX_ITEM_BYTES => self.refuse(String::new(), Reason::TooLarge, false),
            Ok(read) => {
                self.visitor.progress(read as u64);
                self.item(der, String::new(), None, false);
            }
        }
    }

    fn pem(&mut self, stream: &mut impl BufRead, promising: bool) {
        let mut pem = Pem::new(stream);
        let mut blocks = 0;
        loop {
            let block = pem.next();
            self.visitor.progress(pem.progress());
            match block {
                Ok(Some(block)) => {
                    blocks += 1;
                    let place = format!("line {}", block.line);
                    match block.bytes {
                        Ok(der) => self.item(der, place, None, false),
                        Err(error) => self.refuse(place, Reason::Pem(error), false),
                    }
                }
                Ok(None) if blocks == 0 && promising => return self.refuse(String::new(), Reason::Empty, false),
                Ok(None) => return,
                // A text that is not PEM at all has no long lines to apologise for.
                Err(pem::Stop::At(..)) if blocks == 0 && !promising => return,
                Err(pem::Stop::At(line, error)) => {
                    return self.refuse(format!("line {line}"), Reason::Pem(error), false);
                }
                Err(pem::Stop::Io(error)) => return self.refuse(String::new(), unreadable(&error), false),
            }
        }
    }

    fn ldif(&mut self, stream: &mut impl BufRead) {
        let mut ldif = Ldif::new(stream);
        loop {
            let value = ldif.next();
            self.visitor.progress(ldif.progress());
            match value {
                Ok(Some(value)) => {
                    let place = format!("line {}, {}", value.line, value.dn);
                    match value.bytes {
                        Err(error) => self.refuse(place, Reason::Ldif(error), true),
                        Ok(der) => match entry(&value.attribute, &der) {
                            Entry::Item => self.item(der, place, Some(value.dn), true),
                            Entry::Other => {}
                            Entry::Unknown => self.refuse(place, Reason::Unknown, true),
                        },
                    }
                }
                Ok(None) => return,
                Err(ldif::Stop::At(line, error)) => {
                    return self.refuse(format!("line {line}"), Reason::Ldif(error), false);
                }
                Err(ldif::Stop::Io(error)) => return self.refuse(String::new(), unreadable(&error), false),
            }
        }
    }

    fn store(&mut self, stream: &mut impl BufRead) {
        match file::read(stream) {
            Ok(contents) => {
                for item in contents.into_items() {
                    self.visitor.found(Found {
                        kind: item.kind,
                        der: item.der.into_vec(),
                        source: self.source.to_owned(),
                        list: None,
                        earlier: item.provenance,
                    });
                }
            }
            Err(StoreError::Io(error)) => self.refuse(String::new(), unreadable(&error), false),
            Err(error) => self.refuse(String::new(), Reason::Store(error.to_string()), false),
        }
    }

    /// One certificate, revocation list or master list; `list` is the entry of a directory it is in.
    fn item(&mut self, der: Vec<u8>, place: String, list: Option<String>, in_directory: bool) {
        let kind = match Shape::of(&der) {
            Shape::SignedData => return self.master_list(&der, place, list, in_directory),
            Shape::Certificate => kind_of_certificate(&der),
            Shape::Crl => CrlInfo::parse(&der).map(|_| Kind::Crl),
            Shape::Unknown => return self.refuse(place, Reason::Unknown, in_directory),
        };
        match kind {
            Ok(Kind::Csca) if in_directory => self.refuse(place, Reason::AuthorityInDirectory, true),
            Ok(kind) => {
                let earlier = Vec::new();
                self.visitor.found(Found { kind, der, source: self.source.to_owned(), list, earlier });
            }
            Err(error) => self.refuse(place, Reason::Malformed(error), in_directory),
        }
    }

    /// Verified whole before one certificate is taken.
    fn master_list(&mut self, list: &[u8], place: String, entry: Option<String>, in_directory: bool) {
        if self.anchors.is_empty() {
            return self.refuse(place, Reason::NoAnchor, in_directory);
        }
        let (verified, anchor) = match self.anchors.verify(list) {
            Ok(verified) => verified,
            Err(error) => return self.refuse(place, Reason::MasterList(error), in_directory),
        };
        let under = format!("master list under {anchor}");
        let name = entry.map_or_else(|| under.clone(), |entry| format!("{under}, {entry}"));
        for (index, der) in MasterList::certificates(&verified).enumerate() {
            match kind_of_certificate(der) {
                Ok(_) => self.visitor.found(Found {
                    // Trusted by the list it came in, whatever it says of itself.
                    kind: Kind::Csca,
                    der: der.to_vec(),
                    source: self.source.to_owned(),
                    list: Some(name.clone()),
                    earlier: Vec::new(),
                }),
                Err(error) => {
                    let number = format!("certificate {}", index + 1);
                    let place = if place.is_empty() { number } else { format!("{place}, {number}") };
                    self.refuse(place, Reason::Malformed(error), true);
                }
            }
        }
    }

    fn refuse(&mut self, place: String, reason: Reason, in_collection: bool) {
        self.visitor.refused(Refusal { source: self.source.to_owned(), place, reason, in_collection });
    }
}

enum Entry {
    Item,
    Other,
    Unknown,
}

/// What an LDIF value is: by its content, so that no spelling of an attribute hides one. Under the names of trust material
/// it must be some; under others it may be anything.
fn entry(attribute: &str, value: &[u8]) -> Entry {
    const NAMES: [&str; 8] = [
        "usercertificate",
        "cacertificate",
        "certificaterevocationlist",
        "authorityrevocationlist",
        "deltarevocationlist",
        "pkdmasterlistcontent",
        "cscamasterlistdata",
        "cscamasterlist",
    ];
    match Shape::of(value) {
        Shape::Unknown if NAMES.contains(&attribute) => Entry::Unknown,
        Shape::Unknown => Entry::Other,
        // A list of deviations is signed data, too.
        Shape::SignedData if !NAMES.contains(&attribute) && !has_master_list_type(value) => Entry::Other,
        Shape::SignedData | Shape::Certificate | Shape::Crl => Entry::Item,
    }
}

/// What some DER or BER looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// CMS SignedData (RFC 5652).
    SignedData,
    Certificate,
    Crl,
    Unknown,
}

/// id-signedData, 1.2.840.113549.1.7.2.
const SIGNED_DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// id-icao-cscaMasterList, 2.23.136.1.1.2.
const CSCA_MASTER_LIST: &[u8] = &[0x06, 0x06, 0x67, 0x81, 0x08, 0x01, 0x01, 0x02];

impl Shape {
    fn of(bytes: &[u8]) -> Shape {
        let Some((0x30, body)) = open(bytes) else { return Shape::Unknown };
        if body.starts_with(SIGNED_DATA) {
            return Shape::SignedData;
        }
        let Some((0x30, tbs)) = open(body) else { return Shape::Unknown };
        // TBSCertificate: [0] version, INTEGER serial, SEQUENCE algorithm, SEQUENCE issuer, SEQUENCE validity.
        // TBSCertList: INTEGER version, SEQUENCE algorithm, SEQUENCE issuer, Time. (Version 1 of either lacks the first.)
        let tags: Vec<u8> = tags(tbs).take(5).collect();
        match tags.as_slice() {
            [0xa0, 0x02, ..] | [0x02, 0x30, 0x30, 0x30, ..] => Shape::Certificate,
            [0x02, 0x30, 0x30, 0x17 | 0x18, ..] | [0x30, 0x30, 0x17 | 0x18, ..] => Shape::Crl,
            _ => Shape::Unknown,
        }
    }
}

/// Whether the content type of a master list stands near the beginning, where EncapsulatedContentInfo is.
fn has_master_list_type(bytes: &[u8]) -> bool {
    let near = bytes.get(..bytes.len().min(256)).unwrap_or_default();
    near.windows(CSCA_MASTER_LIST.len()).any(|window| window == CSCA_MASTER_LIST)
}

/// Tag and what follows the length of the first element; what follows is not cut to the length.
fn open(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (header, _) = header(bytes)?;
    Some((*bytes.first()?, bytes.get(header..)?))
}

/// The tags of elements of definite length that follow one another.
fn tags(mut bytes: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let tag = *bytes.first()?;
        let (header, length) = header(bytes)?;
        bytes = bytes.get(header.checked_add(length?)?..).unwrap_or_default();
        Some(tag)
    })
}

/// Octets of identifier and length, and the length unless it is indefinite.
fn header(bytes: &[u8]) -> Option<(usize, Option<usize>)> {
    match *bytes.get(1)? {
        short @ 0..=0x7f => Some((2, Some(usize::from(short)))),
        0x80 => Some((2, None)),
        long @ 0x81..=0x84 => {
            let octets = usize::from(long & 0x7f);
            let length = bytes.get(2..2 + octets)?.iter().fold(0_usize, |sum, octet| sum << 8 | usize::from(*octet));
            Some((2 + octets, Some(length)))
        }
        _ => None,
    }
}

/// How long the first element says it is, header included.
pub(crate) fn declared_length(bytes: &[u8]) -> Option<usize> {
    let (header, length) = header(bytes)?;
    header.checked_add(length?)
}

/// Passes everything on but the first refusal of a file as a whole, which becomes the error.
struct Strict<'a> {
    visitor: &'a mut dyn Visitor,
    failure: Option<Refusal>,
}

impl Visitor for Strict<'_> {
    fn found(&mut self, found: Found) {
        self.visitor.found(found);
    }

    fn refused(&mut self, refusal: Refusal) {
        if refusal.in_collection {
            self.visitor.refused(refusal);
        } else {
            self.failure.get_or_insert(refusal);
        }
    }

    fn progress(&mut self, octets: u64) {
        self.visitor.progress(octets);
    }
}

fn whole(source: &str, reason: Reason) -> Refusal {
    Refusal { source: source.to_owned(), place: String::new(), reason, in_collection: false }
}

fn unreadable(error: &io::Error) -> Reason {
    Reason::Unreadable(error.to_string())
}

/// A path as provenance: absolute, so that it means the same to the next import.
pub(crate) fn label(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.to_string_lossy().chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}
