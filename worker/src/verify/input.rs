//! The offline job's input: an NDJSON file, standard input, or a folder of items. Read item by item, never whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use proofmill_contract::evidence::Part;
use proofmill_contract::evidence_line::{EvidenceLine, Names};
use proofmill_contract::limits::{MAX_BULK_LINE_BYTES, MAX_SELFIE_BYTES};
use proofmill_contract::{ApiError, ErrorCode, Evidence};
use proofmill_emrtd::{Terminal, Transcript};
use zeroize::Zeroizing;

/// One item as read: where it stood, and its evidence or what is wrong with it.
pub struct Item {
    /// The caller's name for it, if it could be read.
    pub id: Option<String>,
    /// Line of the file, or number of the item in a folder; from 1.
    pub line: u64,
    /// The evidence, or a sentence that names what and where.
    pub content: Result<Content, ApiError>,
    /// Bytes read for it, line ends included.
    pub bytes: u64,
}

/// What can be verified.
pub struct Content {
    /// The evidence, complete.
    pub evidence: Evidence,
    /// The challenge that the caller says was sent to the chip.
    pub challenge: Option<[u8; 8]>,
}

/// Where items come from.
pub enum Source {
    /// One item a line.
    Lines(Lines),
    /// One item a sub-folder or `.json` file, by name.
    Folder(Folder),
}

impl Source {
    /// Opens a path; `-` is standard input.
    ///
    /// # Errors
    /// The path is absent, or is a folder without items.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::reading(BufReader::new(io::stdin())));
        }
        let context = || format!("cannot read {}", path.display());
        let metadata = path.metadata().with_context(context)?;
        if metadata.is_dir() {
            // What the minter writes: the evidence lies beside its trust store.
            let minted = path.join("evidence.ndjson");
            return if minted.is_file() { Self::open(&minted) } else { Folder::open(path).map(Source::Folder) };
        }
        let file = File::open(path).with_context(context)?;
        Ok(Source::Lines(Lines::new(Box::new(BufReader::with_capacity(1 << 20, file)), Some(metadata.len()))))
    }

    /// Lines of a stream.
    pub fn reading(input: impl BufRead + Send + 'static) -> Self {
        Source::Lines(Lines::new(Box::new(input), None))
    }

    /// How much there is, if that is known: bytes of a file, items of a folder.
    pub fn size(&self) -> Size {
        match self {
            Source::Lines(lines) => lines.size.map_or(Size::Unknown, Size::Bytes),
            Source::Folder(folder) => Size::Items(folder.entries.len() as u64),
        }
    }

    /// The next item. Blank lines are passed over.
    ///
    /// # Errors
    /// The input itself cannot be read any further; a broken item is not such an error.
    pub fn next(&mut self) -> io::Result<Option<Item>> {
        match self {
            Source::Lines(lines) => lines.next(),
            Source::Folder(folder) => Ok(folder.next()),
        }
    }
}

/// How much input there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Bytes of a file.
    Bytes(u64),
    /// Items of a folder.
    Items(u64),
    /// A pipe.
    Unknown,
}

/// Lines of NDJSON.
pub struct Lines {
    input: Box<dyn BufRead + Send>,
    size: Option<u64>,
    line: u64,
}

impl Lines {
    fn new(input: Box<dyn BufRead + Send>, size: Option<u64>) -> Self {
        Self { input, size, line: 0 }
    }

    fn next(&mut self) -> io::Result<Option<Item>> {
        loop {
            let Some((line, bytes)) = read_line(&mut *self.input, MAX_BULK_LINE_BYTES)? else { return Ok(None) };
            self.line += 1;
            let (id, content) = match line {
                Line::Whole(text) if text.iter().all(u8::is_ascii_whitespace) => continue,
                Line::Whole(text) => read_evidence(&text),
                Line::TooLong => (None, Err(ApiError::too_large("line", MAX_BULK_LINE_BYTES))),
            };
            return Ok(Some(Item { id, line: self.line, content, bytes }));
        }
    }
}

enum Line {
    Whole(Zeroizing<Vec<u8>>),
    /// Longer than the limit; skipped to its end without being held.
    TooLong,
}

/// One line without its end, and how many bytes it took. Never holds more than `limit` bytes.
fn read_line(input: &mut dyn BufRead, limit: usize) -> io::Result<Option<(Line, u64)>> {
    let mut line = Zeroizing::new(Vec::new());
    let (mut taken, mut too_long) = (0u64, false);
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() {
            break;
        }
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let body = end.map_or(chunk, |end| &chunk[..end]);
        if line.len() + body.len() > limit {
            too_long = true;
            line.clear();
        } else if !too_long {
            line.extend_from_slice(body);
        }
        let used = body.len() + usize::from(end.is_some());
        taken += used as u64;
        input.consume(used);
        if end.is_some() {
            break;
        }
    }
    Ok((taken > 0).then_some((if too_long { Line::TooLong } else { Line::Whole(line) }, taken)))
}

fn read_evidence(text: &[u8]) -> (Option<String>, Result<Content, ApiError>) {
    match EvidenceLine::parse(text) {
        Ok(line) => {
            let content = line
                .evidence
                .require_complete()
                .and_then(|()| own_terminal(&line.evidence))
                .map(|()| Content { evidence: line.evidence, challenge: line.challenge });
            (line.id.or(line.attempt_id), content)
        }
        Err(error) => {
            let names = Names::of(text);
            (names.id.or(names.attempt_id), Err(error))
        }
    }
}

/// A folder of items.
pub struct Folder {
    entries: std::vec::IntoIter<PathBuf>,
    number: u64,
}

impl Folder {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))? {
            let entry = entry.with_context(|| format!("cannot list {}", path.display()))?.path();
            let is_item = if entry.is_dir() {
                // The trust store may lie beside the items.
                entry.file_name().is_some_and(|name| name != "trust") && !hidden(&entry)
            } else {
                entry.extension().is_some_and(|extension| extension == "json") && !hidden(&entry)
            };
            if is_item {
                entries.push(entry);
            }
        }
        ensure!(
            !entries.is_empty(),
            "{}: no evidence found: expected a sub-folder per item (sod.bin, dg1.bin, dg2.bin, selfie.jpg …) or .json files",
            path.display()
        );
        entries.sort();
        Ok(Self { entries: entries.into_iter(), number: 0 })
    }

    fn next(&mut self) -> Option<Item> {
        let path = self.entries.next()?;
        self.number += 1;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let (id, content) = if path.is_dir() {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            (name, read_item_folder(&path))
        } else {
            match read_file(&path, "evidence", MAX_BULK_LINE_BYTES) {
                Ok(Some(text)) => {
                    let (id, content) = read_evidence(&text);
                    (id.or(name), content)
                }
                Ok(None) => (name, Err(unreadable(&path, "it is gone"))),
                Err(error) => (name, Err(error)),
            }
        };
        let bytes = content.as_ref().map_or(0, |content| content.evidence.total_bytes() as u64);
        Some(Item { id, line: self.number, content, bytes })
    }
}

/// `sod.bin`, `dg1.bin`, … by part name, `selfie*.jpg|jpeg|png` by name, `challenge.bin` (8 bytes) or `challenge.hex`.
fn read_item_folder(folder: &Path) -> Result<Content, ApiError> {
    let mut evidence = Evidence::new();
    for part in Part::ALL {
        let extension = if part == Part::ChipAuthentication { "json" } else { "bin" };
        let path = folder.join(format!("{}.{extension}", part.name()));
        if let Some(mut bytes) = read_file(&path, part.name(), part.limit())? {
            evidence.insert(part, std::mem::take(&mut bytes))?;
        }
    }
    for path in selfies(folder)? {
        if let Some(mut bytes) = read_file(&path, "selfie", MAX_SELFIE_BYTES)? {
            evidence.push_selfie(std::mem::take(&mut bytes))?;
        }
    }
    evidence.require_complete()?;
    own_terminal(&evidence)?;
    Ok(Content { evidence, challenge: challenge(folder)? })
}

/// Only the server that made a terminal's key can verify what a chip answered to it. A transcript that cannot be read is
/// left to its gate.
fn own_terminal(evidence: &Evidence) -> Result<(), ApiError> {
    let transcript = evidence.get(Part::ChipAuthentication).map(serde_json::from_slice::<Transcript>);
    match transcript {
        Some(Ok(transcript)) if transcript.terminal() == Terminal::Server => Err(ApiError::new(
            ErrorCode::EvidencePartInvalid,
            "evidence part `chip_authentication`: `terminal` is `server`, and only the server that keeps its key can verify that",
        )
        .with_hint("submit it to that server, or bring the transcript of a terminal of your own")),
        _ => Ok(()),
    }
}

fn selfies(folder: &Path) -> Result<Vec<PathBuf>, ApiError> {
    let entries = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(folder, error))?;
    let mut selfies: Vec<_> = entries
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
            name.starts_with("selfie") && [".jpg", ".jpeg", ".png"].iter().any(|end| name.ends_with(end))
        })
        .collect();
    selfies.sort();
    Ok(selfies)
}

fn challenge(folder: &Path) -> Result<Option<[u8; 8]>, ApiError> {
    let wrong = |name: &str| {
        ApiError::invalid_field("challenge", format_args!("{name} must hold 8 bytes (`.hex`: 16 hex digits)"))
    };
    if let Some(bytes) = read_file(&folder.join("challenge.bin"), "challenge", 8)? {
        return <[u8; 8]>::try_from(bytes.as_slice()).map(Some).map_err(|_| wrong("challenge.bin"));
    }
    if let Some(text) = read_file(&folder.join("challenge.hex"), "challenge", 32)? {
        let mut challenge = [0; 8];
        let digits = text.trim_ascii();
        hex::decode_to_slice(digits, &mut challenge).map_err(|_| wrong("challenge.hex"))?;
        return Ok(Some(challenge));
    }
    Ok(None)
}

/// A file's bytes; `None` if there is no such file. The size is checked before anything is read.
fn read_file(path: &Path, part: &str, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, ApiError> {
    // Before it is opened: opening a named pipe would wait for ever.
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(unreadable(path, "it is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, error)),
    }
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    let length = file.metadata().map_err(|error| unreadable(path, error))?.len();
    if length > limit as u64 {
        return Err(ApiError::too_large(part, limit));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(length as usize));
    // One byte more than allowed: a file that grew, or a device that claims no length, is seen as too large.
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    if bytes.len() > limit {
        return Err(ApiError::too_large(part, limit));
    }
    Ok(Some(bytes))
}

fn unreadable(path: &Path, why: impl std::fmt::Display) -> ApiError {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    ApiError::new(ErrorCode::EvidencePartInvalid, format!("cannot read `{name}`: {why}"))
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        r#"{"id":"a","sod":"AQ==","dg1":"AQ==","dg2":"AQ==","challenge":"0102030405060708","selfie":["/9g="]}"#;

    fn lines(text: &[u8]) -> Lines {
        Lines::new(Box::new(BufReader::with_capacity(7, io::Cursor::new(text.to_vec()))), None)
    }

    #[test]
    fn broken_lines_keep_their_number_and_the_rest_still_reads() {
        let text = format!("{GOOD}\n\nnot json\n{GOOD}\r\n{{\"id\":\"b\",\"sod\":\"AQ==\"}}\n{GOOD}");
        let mut lines = lines(text.as_bytes());
        let mut seen = Vec::new();
        while let Some(item) = lines.next().unwrap() {
            seen.push((item.line, item.content.map(|content| content.challenge).map_err(|error| error.code)));
        }
        let challenge = Some([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(
            seen,
            vec![
                (1, Ok(challenge)),
                (3, Err(ErrorCode::InvalidRequest)),
                (4, Ok(challenge)),
                (5, Err(ErrorCode::EvidencePartMissing)),
                (6, Ok(challenge)),
            ]
        );
    }

    #[test]
    fn a_transcript_of_a_servers_terminal_is_for_that_server_alone() {
        let line = |transcript: &str| {
            let text = GOOD.replace(r#""id":"a""#, &format!(r#""id":"a","chip_authentication":{transcript}"#));
            lines(text.as_bytes()).next().unwrap().unwrap()
        };
        let server = line(r#"{"terminal":"server","TermPubKey":"04","SmRapdu":"9000","SmSsc":"02"}"#);
        let error = server.content.err().unwrap();
        assert_eq!((server.id.as_deref(), error.code), (Some("a"), ErrorCode::EvidencePartInvalid));
        assert!(error.message.contains("`terminal` is `server`"), "{}", error.message);
        let integrator = r#"{"terminal":"integrator","TermPri":"01","TermPubKey":"04","SmRapdu":"9000","SmSsc":"02"}"#;
        assert!(line(integrator).content.is_ok());
        assert!(line(r#"{"terminal":"nobody"}"#).content.is_ok(), "its gate rejects what cannot be read");
    }

    #[test]
    fn an_over_long_line_is_skipped_without_being_held() {
        let mut text = vec![b'x'; 100];
        text.extend_from_slice(b"\nshort\n");
        let mut input = BufReader::with_capacity(16, io::Cursor::new(text));
        let (line, taken) = read_line(&mut input, 64).unwrap().unwrap();
        assert!(matches!(line, Line::TooLong));
        assert_eq!(taken, 101);
        let (line, _) = read_line(&mut input, 64).unwrap().unwrap();
        assert!(matches!(line, Line::Whole(text) if text.as_slice() == b"short"));
        assert!(read_line(&mut input, 64).unwrap().is_none());
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let mut input = BufReader::with_capacity(5, io::Cursor::new([vec![b'x'; 64], vec![b'\n']].concat()));
        assert!(matches!(read_line(&mut input, 64).unwrap().unwrap().0, Line::Whole(text) if text.len() == 64));
        let mut input = BufReader::with_capacity(5, io::Cursor::new(vec![b'x'; 65]));
        assert!(matches!(read_line(&mut input, 64).unwrap().unwrap().0, Line::TooLong));
    }

    #[test]
    fn folders_and_json_files_are_items_in_order_of_their_names() {
        let root = tempfile::tempdir().unwrap();
        let item = root.path().join("b");
        std::fs::create_dir_all(&item).unwrap();
        std::fs::create_dir_all(root.path().join("trust")).unwrap();
        for name in ["sod.bin", "dg1.bin", "dg2.bin", "selfie-2.jpg", "selfie-1.JPG"] {
            std::fs::write(item.join(name), name.as_bytes()).unwrap();
        }
        std::fs::write(item.join("challenge.hex"), "0102030405060708\n").unwrap();
        std::fs::write(root.path().join("a.json"), GOOD.replace(r#""id":"a","#, "")).unwrap();
        std::fs::create_dir_all(root.path().join("c")).unwrap();
        let mut source = Source::open(root.path()).unwrap();
        assert_eq!(source.size(), Size::Items(3));
        let a = source.next().unwrap().unwrap();
        assert_eq!((a.id.as_deref(), a.line), (Some("a"), 1));
        let b = source.next().unwrap().unwrap();
        assert_eq!((b.id.as_deref(), b.line), (Some("b"), 2));
        let content = b.content.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(content.challenge, Some([1, 2, 3, 4, 5, 6, 7, 8]));
        let selfies: Vec<_> = content.evidence.selfies().map(<[u8]>::to_vec).collect();
        assert_eq!(selfies, vec![b"selfie-1.JPG".to_vec(), b"selfie-2.jpg".to_vec()]);
        let c = source.next().unwrap().unwrap();
        assert!(
            c.content.is_err_and(|error| error.code == ErrorCode::EvidencePartMissing && error.message.contains("sod"))
        );
        assert!(source.next().unwrap().is_none());
    }

    #[test]
    fn a_part_too_large_is_named_before_it_is_read() {
        let root = tempfile::tempdir().unwrap();
        let item = root.path().join("a");
        std::fs::create_dir_all(&item).unwrap();
        let file = File::create(item.join("dg1.bin")).unwrap();
        file.set_len(1 << 40).unwrap();
        let item = Source::open(root.path()).unwrap().next().unwrap().unwrap();
        let error = item.content.err().unwrap();
        assert_eq!(error.code, ErrorCode::PayloadTooLarge);
        assert!(error.message.contains("`dg1`"), "{}", error.message);
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/dg1.bin")).unwrap();
        let item = Source::open(root.path()).unwrap().next().unwrap().unwrap();
        let error = item.content.err().unwrap();
        assert!(error.message.contains("`dg1.bin`") && error.message.contains("regular file"), "{}", error.message);
    }

    #[test]
    fn the_minters_folder_is_read_by_its_evidence_file() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("trust")).unwrap();
        std::fs::write(root.path().join("evidence.ndjson"), GOOD).unwrap();
        let mut source = Source::open(root.path()).unwrap();
        assert!(matches!(source.size(), Size::Bytes(_)));
        assert_eq!(source.next().unwrap().unwrap().id.as_deref(), Some("a"));
    }

    #[test]
    fn an_empty_folder_cannot_be_run() {
        let root = tempfile::tempdir().unwrap();
        assert!(Source::open(root.path()).is_err());
        assert!(Source::open(&root.path().join("nowhere")).is_err());
    }
}
