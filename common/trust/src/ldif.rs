//! LDIF (RFC 2849), read as a stream: what is in memory at once is one value, whatever the file's size.

use std::io::{self, BufRead};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::lines::{Line, Lines};
use crate::source::MAX_ITEM_BYTES;

/// Longest logical line: an item in base64, and its attribute's name.
const MAX_LINE: usize = MAX_ITEM_BYTES / 3 * 4 + 1024;
/// Of a distinguished name, for people.
const MAX_DN_CHARS: usize = 300;

/// Reads values one after another.
pub(crate) struct Ldif<R> {
    lines: Lines<R>,
    line: Vec<u8>,
    dn: String,
    /// Of the record's `changetype`, where it is not `add`.
    change: bool,
    begun: bool,
}

/// One base64 value, or what is wrong with it.
pub(crate) struct Value {
    /// The attribute's name in lower case, without its options.
    pub attribute: String,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// The record's name.
    pub dn: String,
    /// The value.
    pub bytes: Result<Vec<u8>, LdifError>,
}

/// Why an LDIF file or a value of it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LdifError {
    /// A line that is neither `attribute: value`, a comment, folded nor empty.
    #[error("not a line of LDIF (RFC 2849)")]
    Line,
    /// A logical line of more octets than a list of certificates has.
    #[error("a line of more than {MAX_LINE} octets")]
    LineTooLong,
    /// The format's version is not 1.
    #[error("an LDIF version other than 1")]
    Version,
    /// The value is not base64.
    #[error("the value is not base64")]
    Base64,
    /// The value is named by a URL, which is not followed.
    #[error("the value is named by a URL; values must be in the file")]
    Url,
    /// A record that changes, renames or deletes another.
    #[error("a record that changes an entry; only entries and `changetype: add` are read")]
    Change,
}

/// Why reading stopped.
pub(crate) enum Stop {
    Io(io::Error),
    At(u64, LdifError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

impl<R: BufRead> Ldif<R> {
    pub fn new(reader: R) -> Ldif<R> {
        let lines = Lines::new(reader, MAX_LINE);
        Ldif { lines, line: Vec::new(), dn: String::new(), change: false, begun: false }
    }

    /// The next value that is not text, or a value that names a URL. Text is passed over: certificates and lists are never
    /// text.
    pub fn next(&mut self) -> Result<Option<Value>, Stop> {
        loop {
            match self.lines.next(&mut self.line)? {
                Line::End => return Ok(None),
                Line::TooLong => return Err(Stop::At(self.lines.number(), LdifError::LineTooLong)),
                Line::Read => {}
            }
            let number = self.lines.number();
            loop {
                match self.lines.folded(&mut self.line)? {
                    Line::End => break,
                    Line::Read => {}
                    Line::TooLong => return Err(Stop::At(number, LdifError::LineTooLong)),
                }
            }
            if let Some(value) = self.line(number).map_err(|error| Stop::At(number, error))? {
                return Ok(Some(value));
            }
        }
    }

    /// Octets read since this was last asked.
    pub fn progress(&mut self) -> u64 {
        self.lines.progress()
    }

    fn line(&mut self, number: u64) -> Result<Option<Value>, LdifError> {
        let line = match self.line.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if number == 1 => rest,
            _ => &self.line,
        };
        if line.is_empty() {
            self.dn.clear();
            self.change = false;
            return Ok(None);
        }
        if line.starts_with(b"#") {
            return Ok(None);
        }
        // Between `add` and `-` of a change record.
        if line == b"-" && self.change {
            return Ok(None);
        }
        let (name, value) = split(line).ok_or(LdifError::Line)?;
        let attribute = name.split(';').next().unwrap_or_default().to_ascii_lowercase();
        let begun = std::mem::replace(&mut self.begun, true);
        match (attribute.as_str(), value) {
            ("version", Raw::Text(version)) if !begun => {
                if version == b"1" {
                    Ok(None)
                } else {
                    Err(LdifError::Version)
                }
            }
            ("dn", value) => {
                let name = match value {
                    Raw::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    Raw::Base64(text) => {
                        let name = decode(text).ok_or(LdifError::Base64)?;
                        String::from_utf8_lossy(&name).into_owned()
                    }
                    Raw::Url => return Err(LdifError::Url),
                };
                // It goes into logs.
                self.dn = name.chars().filter(|character| !character.is_control()).take(MAX_DN_CHARS).collect();
                Ok(None)
            }
            ("changetype", Raw::Text(kind)) if kind != b"add" => {
                self.change = true;
                Ok(Some(Value { attribute, line: number, dn: self.dn.clone(), bytes: Err(LdifError::Change) }))
            }
            (_, Raw::Text(_)) => Ok(None),
            // The record was refused above.
            _ if self.change => Ok(None),
            (_, value) => {
                let bytes = match value {
                    Raw::Base64(text) => decode(text).ok_or(LdifError::Base64),
                    _ => Err(LdifError::Url),
                };
                Ok(Some(Value { attribute, line: number, dn: self.dn.clone(), bytes }))
            }
        }
    }
}

enum Raw<'a> {
    Text(&'a [u8]),
    Base64(&'a [u8]),
    Url,
}

/// Attribute description and value specification.
fn split(line: &[u8]) -> Option<(&str, Raw<'_>)> {
    let colon = line.iter().position(|octet| *octet == b':')?;
    let (name, rest) = line.split_at_checked(colon)?;
    let name = std::str::from_utf8(name).ok()?;
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b';' | b'_');
    if name.is_empty() || name.len() > 256 || !name.bytes().all(allowed) {
        return None;
    }
    let value = match rest.get(1) {
        Some(b':') => Raw::Base64(trim(rest.get(2..)?)),
        Some(b'<') => Raw::Url,
        _ => Raw::Text(trim(rest.get(1..)?)),
    };
    Some((name, value))
}

fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<Value>, (u64, LdifError)> {
        let mut ldif = Ldif::new(text);
        let mut values = Vec::new();
        loop {
            match ldif.next() {
                Ok(Some(value)) => values.push(value),
                Ok(None) => return Ok(values),
                Err(Stop::At(line, error)) => return Err((line, error)),
                Err(Stop::Io(error)) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn records_are_read_with_folding_comments_options_and_both_ends() {
        let text = b"# a comment\n  folded: too\nversion: 1\r\n\r\ndn: cn=one,\r\n  o=dsc\r\nobjectClass: top\r\n\
            userCertificate;binary:: AQ\r\n ID\r\n\r\n\r\ndn:: Y249dHdv\nCERTIFICATEREVOCATIONLIST;BINARY::BAUG\n";
        let values = all(text).unwrap();
        let seen: Vec<_> =
            values.iter().map(|v| (v.attribute.as_str(), v.line, v.dn.as_str(), v.bytes.clone().unwrap())).collect();
        assert_eq!(
            seen,
            [
                ("usercertificate", 8, "cn=one, o=dsc", vec![1, 2, 3]),
                ("certificaterevocationlist", 13, "cn=two", vec![4, 5, 6])
            ]
        );
    }

    #[test]
    fn a_bad_value_is_its_own_failure_and_the_next_is_read() {
        let text = b"dn: a\nx:: !!\ny:: AQ==\n\ndn: b\nz:< file:///etc/passwd\n\ndn: c\nchangetype: delete\n\n\
            dn: d\nchangetype: modify\nadd: x\nx:: AQ==\n-\n\ndn: e\nchangetype: add\nx:: Ag==\n";
        let values = all(text).unwrap();
        let seen: Vec<_> = values.into_iter().map(|v| (v.dn, v.bytes)).collect();
        let dn = |name: &str| name.to_owned();
        assert_eq!(
            seen,
            [
                (dn("a"), Err(LdifError::Base64)),
                (dn("a"), Ok(vec![1])),
                (dn("b"), Err(LdifError::Url)),
                (dn("c"), Err(LdifError::Change)),
                (dn("d"), Err(LdifError::Change)),
                (dn("e"), Ok(vec![2])),
            ]
        );
    }

    #[test]
    fn what_is_not_ldif_is_named_with_its_line() {
        assert_eq!(all(b"version: 2\n").err(), Some((1, LdifError::Version)));
        assert_eq!(all(b"dn: a\nno colon here\n").err(), Some((2, LdifError::Line)));
        assert_eq!(all(b"dn: a\n: empty name\n").err(), Some((2, LdifError::Line)));
        assert_eq!(all(b"dn: a\nwith space: x\n").err(), Some((2, LdifError::Line)));
        assert_eq!(all(b"dn:: !\n").err(), Some((1, LdifError::Base64)));
    }

    #[test]
    fn a_line_without_end_ends_the_file_in_bounded_memory() {
        struct Endless(u64);
        impl io::Read for Endless {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let text = if self.0 == 0 { &b"dn: a\nuserCertificate;binary:: "[..] } else { &[b'A'; 4096][..] };
                let count = text.len().min(out.len());
                out[..count].copy_from_slice(&text[..count]);
                self.0 += count as u64;
                assert!(self.0 < 4 * MAX_LINE as u64, "it reads on and on");
                Ok(count)
            }
        }
        let mut ldif = Ldif::new(io::BufReader::new(Endless(0)));
        assert!(matches!(ldif.next(), Err(Stop::At(2, LdifError::LineTooLong))));
        assert!(ldif.line.len() <= MAX_LINE + 2);
        let folded = std::iter::once(&b"dn: a\nx:: "[..]).chain(std::iter::repeat(&b"AAAA\n "[..]));
        let folded: Vec<u8> = folded.take(MAX_LINE / 4 + 10).flatten().copied().collect();
        assert_eq!(all(&folded).err(), Some((2, LdifError::LineTooLong)));
    }
}
