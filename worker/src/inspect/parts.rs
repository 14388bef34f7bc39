//! The parts of one document, from a folder of files.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::files;
use super::finding::Trouble;

/// A part of a document as readers and specimens store them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PartFile {
    Sod,
    /// EF.DG1 to EF.DG16.
    DataGroup(u8),
    Com,
    CardAccess,
    CardSecurity,
    /// The chip's raw answer to INTERNAL AUTHENTICATE.
    ActiveAuthentication,
    /// 8 octets, or 16 hex digits.
    Challenge,
    /// JSON.
    ChipAuthentication,
}

impl fmt::Display for PartFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PartFile::Sod => "sod",
            PartFile::DataGroup(number) => return write!(f, "dg{number}"),
            PartFile::Com => "com",
            PartFile::CardAccess => "card_access",
            PartFile::CardSecurity => "card_security",
            PartFile::ActiveAuthentication => "active_authentication",
            PartFile::Challenge => "challenge",
            PartFile::ChipAuthentication => "chip_authentication",
        })
    }
}

/// What a folder holds.
#[derive(Default)]
pub struct Parts {
    /// Recognised files with their content.
    pub found: Vec<(PartFile, PathBuf, Zeroizing<Vec<u8>>)>,
    /// Files that were not recognised, or not needed, by name.
    pub ignored: Vec<String>,
}

impl Parts {
    /// Reads what a folder holds; files in folders below it are not looked at.
    ///
    /// # Errors
    /// The folder or a part cannot be read, or two files are the same part.
    pub fn read(folder: &Path) -> Result<Parts, Trouble> {
        let entries = files::entries(folder)
            .map_err(|error| Trouble::new("unreadable", format!("cannot list {}: {error}", folder.display())))?;
        let (mut parts, mut unnamed) = (Parts::default(), Vec::new());
        for path in entries.into_iter().filter(|path| path.is_file()) {
            match by_name(&name_of(&path)) {
                Some(part) => parts.insert(part, path)?,
                None => unnamed.push(path),
            }
        }
        for path in unnamed {
            // A name that says nothing: the tag tells, unless the part is there already.
            match by_tag(&path).filter(|part| parts.get(*part).is_none()) {
                Some(part) => parts.insert(part, path)?,
                None => parts.ignored.push(name_of(&path)),
            }
        }
        Ok(parts)
    }

    /// A part's bytes.
    pub fn get(&self, part: PartFile) -> Option<&[u8]> {
        self.found.iter().find(|(found, ..)| *found == part).map(|(_, _, bytes)| bytes.as_slice())
    }

    /// Whether a folder is a document: an SOD or data group lies in it.
    pub fn are_in(folder: &Path) -> bool {
        let is_part = |path: &PathBuf| {
            path.is_file()
                && matches!(
                    by_name(&name_of(path)).or_else(|| by_tag(path)),
                    Some(PartFile::Sod | PartFile::DataGroup(_))
                )
        };
        files::entries(folder).unwrap_or_default().iter().any(is_part)
    }

    fn insert(&mut self, part: PartFile, path: PathBuf) -> Result<(), Trouble> {
        if let Some((_, other, _)) = self.found.iter().find(|(found, ..)| *found == part) {
            let (one, other) = (name_of(other), name_of(&path));
            return Err(Trouble::new("part_twice", format!("{one} and {other} are the same part of a document")));
        }
        let bytes = files::read(&path, files::MAX_FILE)?;
        self.found.push((part, path, bytes));
        Ok(())
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// `sod.bin`, `EF_SOD.bin`, `XX_EF_SOD.bin`, `EF.SOD`; `dg1.bin`, `DG01.dat`, `EF.DG1`, `Datagroup1.bin`; `ef0101.bin` to
/// `ef0110.bin`, `ef011C.bin`, `ef011D.bin`, `ef011E.bin` by file identifier (ICAO Doc 9303-10 table 38).
fn by_name(name: &str) -> Option<PartFile> {
    let lower = name.to_ascii_lowercase();
    let json = lower.ends_with(".json");
    let stem = [".bin", ".dat", ".der", ".raw", ".efbin", ".json", ".hex", ".cms"]
        .iter()
        .find_map(|extension| lower.strip_suffix(extension))
        .unwrap_or(&lower);
    let plain: String = stem.chars().filter(|c| !matches!(c, '.' | '_' | '-' | ' ')).collect();
    if json {
        return match plain.as_str() {
            "chipauthentication" | "ca" => Some(PartFile::ChipAuthentication),
            _ => None,
        };
    }
    match plain.as_str() {
        "activeauthentication" | "aa" => return Some(PartFile::ActiveAuthentication),
        "challenge" | "rndifd" => return Some(PartFile::Challenge),
        "ef011d" | "sod" | "efsod" => return Some(PartFile::Sod),
        "ef011e" | "com" | "efcom" => return Some(PartFile::Com),
        "ef011c" | "cardaccess" | "efcardaccess" => return Some(PartFile::CardAccess),
        "cardsecurity" | "efcardsecurity" => return Some(PartFile::CardSecurity),
        _ => {}
    }
    if plain.ends_with("efsod") {
        return Some(PartFile::Sod);
    }
    if let Some(identifier) = plain.strip_prefix("ef01") {
        // EF.DG1 to EF.DG16 have the identifiers 0101 to 0110.
        return match u8::from_str_radix(identifier, 16) {
            Ok(number @ 1..=16) if identifier.len() == 2 => Some(PartFile::DataGroup(number)),
            _ => None,
        };
    }
    let plain = plain.strip_prefix("ef").unwrap_or(&plain);
    let number = plain.strip_prefix("datagroup").or_else(|| plain.strip_prefix("dg"))?;
    match number.parse() {
        Ok(number @ 1..=16) if number_is_plain(plain) => Some(PartFile::DataGroup(number)),
        _ => None,
    }
}

/// `+1` parses, too.
fn number_is_plain(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_digit()) && !text.contains('+')
}

/// The outer tag (ICAO Doc 9303-10 table 38). Of those files that may start with a SEQUENCE none is told.
fn by_tag(path: &Path) -> Option<PartFile> {
    let mut first = [0; 1];
    let mut file = std::fs::File::open(path).ok()?;
    std::io::Read::read_exact(&mut file, &mut first).ok()?;
    // A text is no part, although its first letter may be a tag.
    let text = ["txt", "md", "json", "ndjson", "jpg", "png", "pem", "xml", "html", "sh", "py", "csv", "log", "jp2"];
    if path.extension().is_some_and(|extension| text.iter().any(|known| extension.eq_ignore_ascii_case(known))) {
        return None;
    }
    const TAGS: [(u8, PartFile); 18] = [
        (0x60, PartFile::Com),
        (0x77, PartFile::Sod),
        (0x61, PartFile::DataGroup(1)),
        (0x75, PartFile::DataGroup(2)),
        (0x63, PartFile::DataGroup(3)),
        (0x76, PartFile::DataGroup(4)),
        (0x65, PartFile::DataGroup(5)),
        (0x66, PartFile::DataGroup(6)),
        (0x67, PartFile::DataGroup(7)),
        (0x68, PartFile::DataGroup(8)),
        (0x69, PartFile::DataGroup(9)),
        (0x6a, PartFile::DataGroup(10)),
        (0x6b, PartFile::DataGroup(11)),
        (0x6c, PartFile::DataGroup(12)),
        (0x6d, PartFile::DataGroup(13)),
        (0x6e, PartFile::DataGroup(14)),
        (0x6f, PartFile::DataGroup(15)),
        (0x70, PartFile::DataGroup(16)),
    ];
    TAGS.iter().find(|(tag, _)| *tag == first[0]).map(|(_, part)| *part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_names_are_recognised_and_others_are_not() {
        use PartFile::*;
        for (name, expected) in [
            ("EF_SOD.bin", Some(Sod)),
            ("XX_EF_SOD.bin", Some(Sod)),
            ("EF.SOD", Some(Sod)),
            ("sod.bin", Some(Sod)),
            ("ef011D.bin", Some(Sod)),
            ("Datagroup1.bin", Some(DataGroup(1))),
            ("DG1.dat", Some(DataGroup(1))),
            ("dg01.bin", Some(DataGroup(1))),
            ("EF.DG15", Some(DataGroup(15))),
            ("EF_DG2.bin", Some(DataGroup(2))),
            ("ef0101.bin", Some(DataGroup(1))),
            ("ef010E.bin", Some(DataGroup(14))),
            ("ef010F.bin", Some(DataGroup(15))),
            ("ef0110.bin", Some(DataGroup(16))),
            ("ef011C.bin", Some(CardAccess)),
            ("EF_COM.bin", Some(Com)),
            ("active_authentication.bin", Some(ActiveAuthentication)),
            ("challenge.hex", Some(Challenge)),
            ("chip_authentication.json", Some(ChipAuthentication)),
            ("DG15_pk.bin", None),
            ("dg17.bin", None),
            ("dg1.json", None),
            ("selfie.jpg", None),
            ("readme.txt", None),
        ] {
            assert_eq!(by_name(name), expected, "{name}");
        }
    }

    #[test]
    fn a_nameless_file_is_told_by_its_tag_and_a_part_twice_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("first", &[0x61, 0]);
        write("second.bin", &[0x77, 0]);
        write("what.txt", b"a text");
        write("DG15_pk.bin", &[0x30, 0]);
        let parts = Parts::read(folder.path()).unwrap_or_else(|trouble| panic!("{}", trouble.message));
        assert_eq!(parts.get(PartFile::DataGroup(1)), Some(&[0x61, 0][..]));
        assert_eq!(parts.get(PartFile::Sod), Some(&[0x77, 0][..]));
        assert_eq!(parts.ignored, ["DG15_pk.bin", "what.txt"]);
        assert!(Parts::are_in(folder.path()));
        write("EF.DG1", &[0x61, 0]);
        let parts = Parts::read(folder.path()).unwrap_or_else(|trouble| panic!("{}", trouble.message));
        assert_eq!(parts.ignored, ["DG15_pk.bin", "first", "what.txt"], "a name says more than a tag");
        write("dg1.bin", &[0x61, 0]);
        let trouble = Parts::read(folder.path()).err().unwrap();
        assert!(trouble.reason == "part_twice" && trouble.message.contains("dg1.bin"), "{}", trouble.message);
    }
}
