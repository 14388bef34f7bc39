//! PEM (RFC 7468), read as a stream.

use std::io::{self, BufRead};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::lines::{Line, Lines};
use crate::source::MAX_ITEM_BYTES;

const MAX_LINE: usize = MAX_ITEM_BYTES / 3 * 4;
/// Blocks that may hold trust material; others (keys, requests) are passed over.
const LABELS: [&str; 6] = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CRL", "CMS", "PKCS7"];

/// Reads blocks one after another; text between them is passed over.
pub(crate) struct Pem<R> {
    lines: Lines<R>,
    line: Vec<u8>,
}

/// One block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// What it holds.
    pub bytes: Result<Vec<u8>, PemError>,
}

/// Why a PEM file or a block of it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A block begins inside another.
    #[error("a block begins inside another")]
    Nested,
    /// A block ends that never began.
    #[error("a block ends that never began")]
    NeverBegan,
    /// A block begins with one label and ends with another.
    #[error("a block begins with one label and ends with another")]
    Labels,
    /// The last block has no end.
    #[error("the last block has no end")]
    NoEnd,
    /// A block is larger than a list of certificates.
    #[error("a block or line of more than {MAX_LINE} octets")]
    TooLong,
    /// The block is not base64.
    #[error("the block is not base64")]
    Base64,
}

/// Why reading stopped.
pub(crate) enum Stop {
    Io(io::Error),
    At(u64, PemError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

impl<R: BufRead> Pem<R> {
    pub fn new(reader: R) -> Pem<R> {
        Pem { lines: Lines::new(reader, MAX_LINE), line: Vec::new() }
    }

    /// Octets read since this was last asked.
    pub fn progress(&mut self) -> u64 {
        self.lines.progress()
    }

    /// The next block of certificates or lists.
    pub fn next(&mut self) -> Result<Option<Block>, Stop> {
        let mut open: Option<(u64, String, Vec<u8>)> = None;
        loop {
            let stop = |lines: &Lines<R>, error| Err(Stop::At(lines.number(), error));
            match self.lines.next(&mut self.line)? {
                Line::End if open.is_none() => return Ok(None),
                Line::End => return stop(&self.lines, PemError::NoEnd),
                Line::TooLong => return stop(&self.lines, PemError::TooLong),
                Line::Read => {}
            }
            let line = self.line.trim_ascii();
            if let Some(label) = boundary(line, b"-----BEGIN ") {
                if open.is_some() {
                    return stop(&self.lines, PemError::Nested);
                }
                open = Some((self.lines.number(), label, Vec::new()));
            } else if let Some(label) = boundary(line, b"-----END ") {
                let Some((begun, opened, base64)) = open.take() else {
                    return stop(&self.lines, PemError::NeverBegan);
                };
                if label != opened {
                    return stop(&self.lines, PemError::Labels);
                }
                if LABELS.contains(&label.as_str()) {
                    let bytes = STANDARD.decode(base64).map_err(|_| PemError::Base64);
                    let bytes = bytes.map(|bytes| if label == "TRUSTED CERTIFICATE" { first(bytes) } else { bytes });
                    return Ok(Some(Block { line: begun, bytes }));
                }
            } else if let Some((_, label, base64)) = &mut open
                && LABELS.contains(&label.as_str())
            {
                if base64.len() + line.len() > MAX_LINE {
                    return stop(&self.lines, PemError::TooLong);
                }
                base64.extend_from_slice(line);
            }
        }
    }
}

fn boundary(line: &[u8], prefix: &[u8]) -> Option<String> {
    let label = line.strip_prefix(prefix)?.strip_suffix(b"-----")?;
    String::from_utf8(label.to_vec()).ok()
}

/// OpenSSL writes its own remarks behind the certificate in a block of this name.
fn first(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(length) = crate::source::declared_length(&bytes) {
        bytes.truncate(length);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<Block>, (u64, PemError)> {
        let mut pem = Pem::new(text.as_bytes());
        let mut blocks = Vec::new();
        loop {
            match pem.next() {
                Ok(Some(block)) => blocks.push(block),
                Ok(None) => return Ok(blocks),
                Err(Stop::At(line, error)) => return Err((line, error)),
                Err(Stop::Io(error)) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn blocks_are_found_between_other_text() {
        let text = "subject=UTO\r\n-----BEGIN CERTIFICATE-----\r\nAQID\r\nBA==\r\n-----END CERTIFICATE-----\n\
            -----BEGIN PRIVATE KEY-----\nAQ==\n-----END PRIVATE KEY-----\n-----BEGIN X509 CRL-----\nBQ==\n-----END X509 CRL-----\n\
            -----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n\
            -----BEGIN TRUSTED CERTIFICATE-----\nMAEAMAA=\n-----END TRUSTED CERTIFICATE-----";
        assert_eq!(
            all(text).unwrap(),
            [
                Block { line: 2, bytes: Ok(vec![1, 2, 3, 4]) },
                Block { line: 9, bytes: Ok(vec![5]) },
                Block { line: 12, bytes: Err(PemError::Base64) },
                Block { line: 15, bytes: Ok(vec![0x30, 1, 0]) },
            ]
        );
    }

    #[test]
    fn broken_pem_is_an_error_with_its_line() {
        for (text, line, error) in [
            ("-----BEGIN CERTIFICATE-----\nAQID", 2, PemError::NoEnd),
            ("-----END CERTIFICATE-----", 1, PemError::NeverBegan),
            ("-----BEGIN CERTIFICATE-----\nAQ==\n-----END X509 CRL-----", 3, PemError::Labels),
            ("-----BEGIN CERTIFICATE-----\nAQ==\n-----BEGIN CERTIFICATE-----", 3, PemError::Nested),
        ] {
            assert_eq!(all(text), Err((line, error)), "{text}");
        }
    }
}
