//! A TorchScript archive: a ZIP file of weights and code, checked before libtorch reads it.
//!
//! libtorch trusts the sizes in the archive's directory. Here every entry has to lie inside the
//! file, weights have to be stored as they are, and what is compressed (code) may not unfold to much.

use super::NetworkInput;
use crate::error::{ModelError, ModelFault};

/// A TorchScript network, read and not yet loaded.
pub(crate) struct Script {
    /// The file's name; for messages.
    pub(crate) file: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) input: NetworkInput,
}

const ARCHIVE: &str = "TorchScript archive";
/// More entries than any network has.
const MAX_ENTRIES: u64 = 100_000;
/// Most bytes that all compressed entries may unfold to.
const MAX_UNFOLDED: u64 = 64 << 20;
/// The end record, without its comment.
const END: usize = 22;
const END_64: usize = 56;
const LOCATOR_64: usize = 20;
const ENTRY: usize = 46;

/// Checks the archive's frame (APPNOTE.TXT 4.3, 4.5.3).
pub(super) fn check(bytes: &[u8]) -> Result<(), ModelError> {
    let file = Archive(bytes);
    if !bytes.starts_with(b"PK\x03\x04") {
        return Err(fault(0, ModelFault::Malformed(ARCHIVE)));
    }
    let end = file.end()?;
    let directory = file.directory(end)?;
    let mut at = directory.offset;
    let (mut program, mut unfolded) = (false, 0u64);
    for _ in 0..directory.entries {
        let entry = file.entry(at, end)?;
        program |= entry.program;
        unfolded = unfolded.saturating_add(entry.unfolds);
        if unfolded > MAX_UNFOLDED {
            return Err(fault(
                at,
                ModelFault::Count { what: "compressed part of the TorchScript archive", count: unfolded },
            ));
        }
        at = entry.next;
    }
    if at != directory.offset + directory.length {
        return Err(fault(at, ModelFault::Malformed("directory of the TorchScript archive")));
    }
    if !program {
        return Err(fault(directory.offset, ModelFault::Malformed("TorchScript archive: it holds no program")));
    }
    Ok(())
}

struct Archive<'a>(&'a [u8]);

struct Directory {
    offset: usize,
    length: usize,
    entries: u64,
}

struct Entry {
    next: usize,
    /// A module's code or data, by its name.
    program: bool,
    /// Bytes that it makes of compressed ones.
    unfolds: u64,
}

impl Archive<'_> {
    fn number(&self, at: usize, length: usize) -> Result<u64, ModelError> {
        let bytes = at.checked_add(length).and_then(|end| self.0.get(at..end));
        let bytes = bytes.ok_or_else(|| fault(at, ModelFault::Truncated(ARCHIVE)))?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// The end record: the last thing in the file but for a comment.
    fn end(&self) -> Result<usize, ModelError> {
        let last = self.0.len().saturating_sub(END);
        let first = last.saturating_sub(usize::from(u16::MAX));
        (first..=last)
            .rev()
            .find(|at| self.0[*at..].starts_with(b"PK\x05\x06"))
            .ok_or_else(|| fault(self.0.len(), ModelFault::Truncated(ARCHIVE)))
    }

    fn directory(&self, end: usize) -> Result<Directory, ModelError> {
        let mut found = (self.number(end + 10, 2)?, self.number(end + 12, 4)?, self.number(end + 16, 4)?);
        let mut limit = end;
        let locator = end.checked_sub(LOCATOR_64).filter(|at| self.0[*at..].starts_with(b"PK\x06\x07"));
        if let Some(locator) = locator {
            let record = self.number(locator + 8, 8)?;
            let record = usize::try_from(record).ok().filter(|at| *at <= locator.saturating_sub(END_64));
            let record =
                record.ok_or_else(|| fault(locator, ModelFault::Malformed("end of the TorchScript archive")))?;
            if !self.0[record..].starts_with(b"PK\x06\x06") {
                return Err(fault(record, ModelFault::Malformed("end of the TorchScript archive")));
            }
            found = (self.number(record + 32, 8)?, self.number(record + 40, 8)?, self.number(record + 48, 8)?);
            limit = record;
        }
        let (entries, length, offset) = found;
        if entries > MAX_ENTRIES || entries.saturating_mul(ENTRY as u64) > length {
            return Err(fault(end, ModelFault::Count { what: ARCHIVE, count: entries }));
        }
        match (usize::try_from(offset), usize::try_from(length)) {
            (Ok(offset), Ok(length)) if offset.checked_add(length).is_some_and(|past| past <= limit) => {
                Ok(Directory { offset, length, entries })
            }
            _ => Err(fault(end, ModelFault::Count { what: "TorchScript archive's directory", count: length })),
        }
    }

    fn entry(&self, at: usize, end: usize) -> Result<Entry, ModelError> {
        let malformed = |what| fault(at, ModelFault::Malformed(what));
        if self.number(at, 4)? != 0x0201_4b50 {
            return Err(malformed("entry of the TorchScript archive"));
        }
        let method = self.number(at + 10, 2)?;
        let (mut packed, mut unpacked) = (self.number(at + 20, 4)?, self.number(at + 24, 4)?);
        let name = self.number(at + 28, 2)? as usize;
        let extra = self.number(at + 30, 2)? as usize;
        let comment = self.number(at + 32, 2)? as usize;
        let mut local = self.number(at + 42, 4)?;
        let extra_at = at + ENTRY + name;
        let next = extra_at + extra + comment;
        if next > end {
            return Err(fault(at, ModelFault::Truncated("entry of the TorchScript archive")));
        }
        // Values that do not fit into 32 bits stand in the ZIP64 field, in this order.
        let mut wide = self.wide(extra_at, extra)?;
        for value in [&mut unpacked, &mut packed, &mut local] {
            if *value == u64::from(u32::MAX) {
                let (at, left) = wide.ok_or_else(|| malformed("entry of the TorchScript archive"))?;
                if left < 8 {
                    return Err(malformed("entry of the TorchScript archive"));
                }
                *value = self.number(at, 8)?;
                wide = Some((at + 8, left - 8));
            }
        }
        let unfolds = match method {
            0 if packed == unpacked => 0,
            0 => {
                return Err(fault(at, ModelFault::Count { what: "entry of the TorchScript archive", count: unpacked }));
            }
            8 => unpacked,
            other => {
                let what = format!("compression method {other} in a TorchScript archive");
                return Err(fault(at, ModelFault::Unsupported(what)));
            }
        };
        if local.checked_add(packed).is_none_or(|past| past > end as u64) {
            return Err(fault(at, ModelFault::Count { what: "entry of the TorchScript archive", count: unpacked }));
        }
        let name = &self.0[at + ENTRY..extra_at];
        let program = name.windows(6).any(|part| part == b"/code/") || name.ends_with(b"/constants.pkl");
        Ok(Entry { next, program, unfolds })
    }

    /// Where the ZIP64 field of an entry begins, and its length.
    fn wide(&self, mut at: usize, length: usize) -> Result<Option<(usize, usize)>, ModelError> {
        let end = at + length;
        while at + 4 <= end {
            let (id, size) = (self.number(at, 2)?, self.number(at + 2, 2)? as usize);
            if at + 4 + size > end {
                return Err(fault(at, ModelFault::Malformed("entry of the TorchScript archive")));
            }
            if id == 1 {
                return Ok(Some((at + 4, size)));
            }
            at += 4 + size;
        }
        Ok(None)
    }
}

fn fault(offset: usize, fault: ModelFault) -> ModelError {
    ModelError { offset, fault }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An archive of stored entries, as 32-bit ZIP.
    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (name, data) in entries {
            let (offset, size) = (out.len() as u32, data.len() as u32);
            out.extend(b"PK\x03\x04");
            out.extend([0; 26]);
            out.extend(*data);
            directory.extend(b"PK\x01\x02");
            directory.extend([0; 16]);
            directory.extend(size.to_le_bytes());
            directory.extend(size.to_le_bytes());
            directory.extend((name.len() as u16).to_le_bytes());
            directory.extend([0; 12]);
            directory.extend(offset.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let offset = out.len() as u32;
        out.extend(&directory);
        out.extend(b"PK\x05\x06");
        out.extend([0; 4]);
        for _ in 0..2 {
            out.extend((entries.len() as u16).to_le_bytes());
        }
        out.extend((directory.len() as u32).to_le_bytes());
        out.extend(offset.to_le_bytes());
        out.extend([0; 2]);
        out
    }

    fn directory_at(bytes: &[u8]) -> usize {
        bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap()
    }

    #[test]
    fn an_archive_with_a_program_is_taken_and_one_without_is_not() {
        let good = archive(&[("net/code/__torch__.py", b"def forward"), ("net/constants.pkl", b"x")]);
        assert_eq!(check(&good), Ok(()));
        assert!(check(&archive(&[("photo.jpg", b"x")])).is_err());
        assert!(check(&archive(&[])).is_err());
        assert_eq!(check(b"\x80\x02}q").unwrap_err().fault, ModelFault::Malformed(ARCHIVE));
    }

    #[test]
    fn an_archive_cut_anywhere_is_refused() {
        let good = archive(&[("net/code/__torch__.py", b"def forward"), ("net/constants.pkl", b"x")]);
        for cut in 0..good.len() {
            assert!(check(&good[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn hostile_counts_and_bombs_are_refused_by_name() {
        let good = archive(&[("net/constants.pkl", b"payload")]);
        let at = directory_at(&good);
        let set = |offset: usize, bytes: &[u8]| {
            let mut changed = good.clone();
            changed[offset..offset + bytes.len()].copy_from_slice(bytes);
            check(&changed).unwrap_err().fault
        };
        assert!(matches!(set(at + 10, &[12, 0]), ModelFault::Unsupported(_)));
        assert!(matches!(set(at + 24, &[0, 0, 0, 0xf0]), ModelFault::Count { count: 0xf000_0000, .. }));
        // A bomb: seven compressed bytes that unfold to gigabytes.
        let mut bomb = good.clone();
        bomb[at + 10] = 8;
        assert_eq!(check(&bomb), Ok(()));
        bomb[at + 24..at + 28].copy_from_slice(&[0, 0, 0, 0xf0]);
        assert!(matches!(check(&bomb).unwrap_err().fault, ModelFault::Count { count: 0xf000_0000, .. }));
        assert!(matches!(set(at + 20, &[0, 0, 0, 0xf0, 0, 0, 0, 0xf0]), ModelFault::Count { .. }));
        let end = good.len() - END;
        assert!(matches!(set(end + 10, &[0xff, 0xff]), ModelFault::Count { count: 0xffff, .. }));
        assert!(matches!(set(end + 12, &[0xff, 0xff, 0xff, 0x7f]), ModelFault::Count { .. }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_check_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
            cut in 0usize..8,
        ) {
            let mut bytes = archive(&[("net/code/a.py", b"abc"), ("net/constants.pkl", b"payload")]);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(bytes.len() - cut);
            let _ = check(&bytes);
        }
    }
}
