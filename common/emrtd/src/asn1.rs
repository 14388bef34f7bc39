//! A zero-copy, bounds-checked reader of BER-TLV.
//!
//! Written here rather than taken from a DER crate for two reasons: real documents use BER
//! (indefinite lengths and constructed strings in New Zealand's SODs, sloppy lengths in data
//! groups), and everything that is hashed or compared must be the received bytes, never a
//! re-encoding (one real country signing certificate does not survive one).
//!
//! No function panics, allocates by a length it has read, or recurses deeper than
//! [`MAX_DEPTH`]. Scanning an element costs time linear in its size per level of nesting.

use std::borrow::Cow;

/// Nesting of indefinite lengths and constructed strings; real documents need 5.
const MAX_DEPTH: u8 = 12;

/// An identifier: its octets, big-endian. `0x30` is SEQUENCE, `0x5f1f` the two-octet MRZ tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tag(pub u32);

impl Tag {
    pub const BOOLEAN: Tag = Tag(0x01);
    pub const INTEGER: Tag = Tag(0x02);
    pub const BIT_STRING: Tag = Tag(0x03);
    pub const OCTET_STRING: Tag = Tag(0x04);
    pub const NULL: Tag = Tag(0x05);
    pub const OID: Tag = Tag(0x06);
    pub const UTF8_STRING: Tag = Tag(0x0c);
    pub const NUMERIC_STRING: Tag = Tag(0x12);
    pub const PRINTABLE_STRING: Tag = Tag(0x13);
    pub const TELETEX_STRING: Tag = Tag(0x14);
    pub const IA5_STRING: Tag = Tag(0x16);
    pub const UTC_TIME: Tag = Tag(0x17);
    pub const GENERALIZED_TIME: Tag = Tag(0x18);
    pub const VISIBLE_STRING: Tag = Tag(0x1a);
    pub const UNIVERSAL_STRING: Tag = Tag(0x1c);
    pub const BMP_STRING: Tag = Tag(0x1e);
    pub const CONSTRUCTED_OCTET_STRING: Tag = Tag(0x24);
    pub const SEQUENCE: Tag = Tag(0x30);
    pub const SET: Tag = Tag(0x31);

    /// `[n]` constructed, context-specific.
    pub const fn context(number: u8) -> Tag {
        Tag(0xa0 | number as u32)
    }

    /// `[n]` primitive, context-specific.
    pub const fn context_primitive(number: u8) -> Tag {
        Tag(0x80 | number as u32)
    }

    // Files and templates of ICAO Doc 9303-10 and ISO/IEC 19785-3.
    pub const DG1: Tag = Tag(0x61);
    pub const FACE_IMAGE_DATA_BLOCK: Tag = Tag(0x65);
    pub const DG14: Tag = Tag(0x6e);
    pub const DG15: Tag = Tag(0x6f);
    pub const DG2: Tag = Tag(0x75);
    pub const SOD: Tag = Tag(0x77);
    pub const MRZ: Tag = Tag(0x5f1f);
    pub const BIOMETRIC_GROUP: Tag = Tag(0x7f61);
    pub const BIOMETRIC_TEMPLATE: Tag = Tag(0x7f60);
    pub const BIOMETRIC_DATA: Tag = Tag(0x5f2e);
    pub const BIOMETRIC_DATA_CONSTRUCTED: Tag = Tag(0x7f2e);
}

/// Why bytes are not the element that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Asn1Error {
    #[error("the data end inside an element")]
    Truncated,
    #[error("a tag of more than three octets")]
    Tag,
    #[error("a length that is reserved, too long, or indefinite on a primitive")]
    Length,
    #[error("nested too deeply")]
    Depth,
    #[error("an element with another tag than expected")]
    Unexpected,
    #[error("data after the last element")]
    Trailing,
    #[error("a value outside its type")]
    Value,
}

/// One element: tag, contents, and the bytes it was read from.
#[derive(Clone, Copy)]
pub(crate) struct Tlv<'a> {
    pub tag: Tag,
    /// The contents octets, without end-of-contents octets.
    pub value: &'a [u8],
    /// Identifier, length and contents as received.
    pub raw: &'a [u8],
    /// Definite, minimal length: what DER requires of the header.
    pub der: bool,
}

impl<'a> Tlv<'a> {
    /// A reader of the contents.
    pub fn reader(&self) -> Reader<'a> {
        Reader { rest: self.value }
    }

    /// The contents of a string type, joined when BER splits them.
    pub fn octets(&self) -> Result<Cow<'a, [u8]>, Asn1Error> {
        if self.tag == Tag::CONSTRUCTED_OCTET_STRING {
            let mut joined = Vec::new();
            self.join(&mut joined, MAX_DEPTH)?;
            Ok(Cow::Owned(joined))
        } else {
            Ok(Cow::Borrowed(self.value))
        }
    }

    fn join(&self, out: &mut Vec<u8>, depth: u8) -> Result<(), Asn1Error> {
        let depth = depth.checked_sub(1).ok_or(Asn1Error::Depth)?;
        let mut parts = self.reader();
        while !parts.is_empty() {
            let part = parts.next()?;
            match part.tag {
                Tag::OCTET_STRING => out.extend_from_slice(part.value),
                Tag::CONSTRUCTED_OCTET_STRING => part.join(out, depth)?,
                _ => return Err(Asn1Error::Unexpected),
            }
        }
        Ok(())
    }

    /// A non-negative INTEGER, big-endian without leading zeros (empty for zero).
    pub fn unsigned(&self) -> Result<&'a [u8], Asn1Error> {
        match self.value {
            [] => Err(Asn1Error::Value),
            [first, ..] if *first >= 0x80 => Err(Asn1Error::Value),
            value => Ok(strip_zeros(value)),
        }
    }

    /// A small non-negative INTEGER.
    pub fn small(&self) -> Result<u64, Asn1Error> {
        let bytes = self.unsigned()?;
        if bytes.len() > 8 {
            return Err(Asn1Error::Value);
        }
        Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// A BIT STRING of whole octets.
    pub fn bit_string(&self) -> Result<&'a [u8], Asn1Error> {
        match self.value {
            [0, bits @ ..] => Ok(bits),
            _ => Err(Asn1Error::Value),
        }
    }

    #[cfg(test)]
    pub fn synthetic(tag: Tag, value: &'a [u8]) -> Tlv<'a> {
        Tlv { tag, value, raw: value, der: true }
    }
}

/// The bytes of a big-endian number without leading zeros.
pub(crate) fn strip_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// Reads elements one after another.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The tag of the next element, if its identifier is whole.
    pub fn peek(&self) -> Option<Tag> {
        read_tag(self.rest).ok().map(|(tag, _)| tag)
    }

    /// The next element whatever it is.
    pub fn next(&mut self) -> Result<Tlv<'a>, Asn1Error> {
        let tlv = read(self.rest, MAX_DEPTH)?;
        self.rest = self.rest.get(tlv.raw.len()..).unwrap_or_default();
        Ok(tlv)
    }

    /// The next element where lengths are hints: one that claims up to so many octets more than there are, or leaves no
    /// more behind it, too few for an element of use, gets all there is. The second tells that its length was wrong.
    pub fn next_hinted(&mut self, slack: usize) -> Result<(Tlv<'a>, bool), Asn1Error> {
        let (tlv, off) = match read(self.rest, MAX_DEPTH) {
            Ok(tlv) => {
                let left = self.rest.get(tlv.raw.len()..).unwrap_or_default();
                if left.is_empty() || left.len() > slack {
                    self.rest = left;
                    return Ok((tlv, false));
                }
                let header_len = tlv.raw.len() - tlv.value.len();
                (Tlv { value: self.rest.get(header_len..).unwrap_or_default(), raw: self.rest, ..tlv }, true)
            }
            Err(Asn1Error::Truncated) => {
                let Header { tag, len, length, der } = read_header(self.rest)?;
                let missing = length.and_then(|length| len.checked_add(length)?.checked_sub(self.rest.len()));
                if missing.is_none_or(|missing| missing > slack) {
                    return Err(Asn1Error::Truncated);
                }
                (Tlv { tag, value: self.rest.get(len..).unwrap_or_default(), raw: self.rest, der }, true)
            }
            Err(error) => return Err(error),
        };
        self.rest = &[];
        Ok((tlv, off))
    }

    /// The next element, which must have this tag.
    pub fn expect(&mut self, tag: Tag) -> Result<Tlv<'a>, Asn1Error> {
        match self.peek() {
            Some(found) if found == tag => self.next(),
            Some(_) => Err(Asn1Error::Unexpected),
            None if self.is_empty() => Err(Asn1Error::Truncated),
            None => Err(Asn1Error::Tag),
        }
    }

    /// The next element if it has this tag.
    pub fn optional(&mut self, tag: Tag) -> Result<Option<Tlv<'a>>, Asn1Error> {
        if self.peek() == Some(tag) { self.next().map(Some) } else { Ok(None) }
    }

    /// An OCTET STRING, primitive or constructed.
    pub fn expect_octets(&mut self) -> Result<Tlv<'a>, Asn1Error> {
        match self.peek() {
            Some(Tag::CONSTRUCTED_OCTET_STRING) => self.next(),
            _ => self.expect(Tag::OCTET_STRING),
        }
    }

    /// Refuses anything left over.
    pub fn finish(&self) -> Result<(), Asn1Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(Asn1Error::Trailing) }
    }
}

fn read_tag(bytes: &[u8]) -> Result<(Tag, usize), Asn1Error> {
    let first = *bytes.first().ok_or(Asn1Error::Truncated)?;
    if first & 0x1f != 0x1f {
        return Ok((Tag(u32::from(first)), 1));
    }
    let mut tag = u32::from(first);
    for at in 1..=2 {
        let octet = *bytes.get(at).ok_or(Asn1Error::Truncated)?;
        tag = tag << 8 | u32::from(octet);
        if octet & 0x80 == 0 {
            return Ok((Tag(tag), at + 1));
        }
    }
    Err(Asn1Error::Tag)
}

pub(crate) fn is_constructed(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0x20 != 0)
}

/// Identifier and length.
struct Header {
    tag: Tag,
    /// Octets of both.
    len: usize,
    /// Octets of the contents; `None` for an indefinite length.
    length: Option<usize>,
    der: bool,
}

fn read(bytes: &[u8], depth: u8) -> Result<Tlv<'_>, Asn1Error> {
    let Header { tag, len, length, der } = read_header(bytes)?;
    let Some(length) = length else {
        return read_indefinite(bytes, tag, len, depth);
    };
    let end = len.checked_add(length).ok_or(Asn1Error::Length)?;
    let raw = bytes.get(..end).ok_or(Asn1Error::Truncated)?;
    let value = raw.get(len..).ok_or(Asn1Error::Truncated)?;
    Ok(Tlv { tag, value, raw, der })
}

fn read_header(bytes: &[u8]) -> Result<Header, Asn1Error> {
    let (tag, tag_len) = read_tag(bytes)?;
    let first = *bytes.get(tag_len).ok_or(Asn1Error::Truncated)?;
    if first == 0x80 {
        return Ok(Header { tag, len: tag_len + 1, length: None, der: false });
    }
    let (length, len, der) = if first < 0x80 {
        (usize::from(first), tag_len + 1, true)
    } else {
        let count = usize::from(first & 0x7f);
        // Four octets of length is 4 GiB: more than any file of a chip, and no overflow below.
        let octets = bytes.get(tag_len + 1..tag_len + 1 + count).ok_or(Asn1Error::Truncated)?;
        let significant = strip_zeros(octets);
        if significant.len() > 4 {
            return Err(Asn1Error::Length);
        }
        let length = significant.iter().fold(0u64, |sum, octet| sum << 8 | u64::from(*octet));
        let minimal = significant.len() == count && length >= 0x80;
        (usize::try_from(length).map_err(|_| Asn1Error::Length)?, tag_len + 1 + count, minimal)
    };
    Ok(Header { tag, len, length: Some(length), der })
}

fn read_indefinite(bytes: &[u8], tag: Tag, header_len: usize, depth: u8) -> Result<Tlv<'_>, Asn1Error> {
    if !is_constructed(bytes) {
        return Err(Asn1Error::Length);
    }
    let depth = depth.checked_sub(1).ok_or(Asn1Error::Depth)?;
    let mut at = header_len;
    loop {
        let rest = bytes.get(at..).ok_or(Asn1Error::Truncated)?;
        if rest.starts_with(&[0, 0]) {
            let raw = bytes.get(..at + 2).ok_or(Asn1Error::Truncated)?;
            let value = bytes.get(header_len..at).ok_or(Asn1Error::Truncated)?;
            return Ok(Tlv { tag, value, raw, der: false });
        }
        at += read(rest, depth)?.raw.len();
    }
}

/// Whether the headers of the elements, at every depth, are as DER has them: definite, minimal lengths and no
/// constructed strings. For descriptions; linear in the bytes for each level, and false below [`MAX_DEPTH`] levels of
/// indefinite lengths.
pub(crate) fn has_der_headers(bytes: &[u8]) -> bool {
    let mut unread = vec![Reader::new(bytes)];
    while let Some(mut reader) = unread.pop() {
        while !reader.is_empty() {
            match reader.next() {
                Ok(tlv) if tlv.der && tlv.tag != Tag::CONSTRUCTED_OCTET_STRING => {
                    if is_constructed(tlv.raw) {
                        unread.push(tlv.reader());
                    }
                }
                _ => return false,
            }
        }
    }
    true
}

/// A DER length field.
pub(crate) fn encode_length(length: usize) -> Vec<u8> {
    if length < 0x80 {
        return vec![length as u8];
    }
    let bytes = length.to_be_bytes();
    let significant = strip_zeros(&bytes);
    let mut out = vec![0x80 | significant.len() as u8];
    out.extend_from_slice(significant);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(bytes: &[u8]) -> Result<Tlv<'_>, Asn1Error> {
        let mut reader = Reader::new(bytes);
        let tlv = reader.next()?;
        reader.finish()?;
        Ok(tlv)
    }

    #[test]
    fn reads_tags_of_one_to_three_octets() {
        assert_eq!(one(&[0x30, 0]).unwrap().tag, Tag::SEQUENCE);
        assert_eq!(one(&[0x5f, 0x1f, 0]).unwrap().tag, Tag::MRZ);
        assert_eq!(one(&[0x5f, 0x81, 0x01, 0]).unwrap().tag, Tag(0x5f8101));
        assert_eq!(one(&[0x5f, 0x81, 0x81, 0x01, 0]).err(), Some(Asn1Error::Tag));
    }

    #[test]
    fn lengths_may_be_longer_than_needed_and_are_flagged() {
        let minimal = one(&[4, 2, 1, 2]).unwrap();
        let sloppy = one(&[4, 0x84, 0, 0, 0, 2, 1, 2]).unwrap();
        assert!(minimal.der && !sloppy.der);
        assert_eq!(minimal.value, sloppy.value);
        assert_eq!(one(&[4, 0x85, 1, 0, 0, 0, 0]).err(), Some(Asn1Error::Length));
        assert_eq!(one(&[4, 0x84, 0xff, 0xff, 0xff, 0xff]).err(), Some(Asn1Error::Truncated));
        assert_eq!(one(&[4, 3, 1, 2]).err(), Some(Asn1Error::Truncated));
        assert_eq!(one(&[4, 2, 1, 2, 3]).err(), Some(Asn1Error::Trailing));
    }

    #[test]
    fn indefinite_lengths_and_split_strings_are_joined() {
        let bytes = [0x24, 0x80, 4, 2, 1, 2, 0x24, 0x80, 4, 1, 3, 0, 0, 0, 0];
        let string = one(&bytes).unwrap();
        assert_eq!(string.octets().unwrap().as_ref(), &[1, 2, 3]);
        assert_eq!(string.raw, &bytes);
        assert_eq!(one(&[4, 0x80, 0, 0]).err(), Some(Asn1Error::Length));
        assert_eq!(one(&bytes[..13]).err(), Some(Asn1Error::Truncated));
        let deep: Vec<u8> = [0x30, 0x80].repeat(100_000);
        assert_eq!(one(&deep).err(), Some(Asn1Error::Depth));
    }

    #[test]
    fn hinted_lengths_give_way_to_what_is_there() {
        let hinted = |bytes: &'static [u8], slack| {
            let mut reader = Reader::new(bytes);
            reader.next_hinted(slack).map(|(tlv, off)| (tlv.value.to_vec(), off, reader.is_empty()))
        };
        assert_eq!(hinted(&[4, 2, 1, 2], 8), Ok((vec![1, 2], false, true)));
        assert_eq!(hinted(&[4, 4, 1, 2], 8), Ok((vec![1, 2], true, true)));
        assert_eq!(hinted(&[4, 4, 1, 2], 1), Err(Asn1Error::Truncated));
        assert_eq!(hinted(&[4, 1, 1, 0xff], 8), Ok((vec![1, 0xff], true, true)));
        assert_eq!(hinted(&[4, 1, 1, 5, 0], 8), Ok((vec![1, 5, 0], true, true)), "too little for an element of use");
        assert_eq!(hinted(&[4, 1, 1, 0xff, 0xff], 1), Ok((vec![1], false, false)), "too much to belong to it");
        assert_eq!(hinted(&[4, 0x84, 0xff, 0xff, 0xff, 0xff], 8), Err(Asn1Error::Truncated));
        assert_eq!(hinted(&[], 8), Err(Asn1Error::Truncated));
        assert_eq!(hinted(&[0x24, 0x80, 4, 1, 1], 8), Err(Asn1Error::Truncated));
    }

    #[test]
    fn integers_are_unsigned_and_bounded() {
        assert_eq!(one(&[2, 2, 0, 0x80]).unwrap().small(), Ok(0x80));
        assert_eq!(one(&[2, 1, 0x80]).unwrap().unsigned(), Err(Asn1Error::Value));
        assert_eq!(one(&[2, 0]).unwrap().unsigned(), Err(Asn1Error::Value));
        assert_eq!(one(&[2, 1, 0]).unwrap().unsigned(), Ok(&[][..]));
        assert_eq!(one(&[2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap().small(), Err(Asn1Error::Value));
    }

    #[test]
    fn encoded_lengths_are_read_back_as_minimal() {
        for length in [0usize, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000] {
            let mut bytes = vec![4];
            bytes.extend(encode_length(length));
            bytes.resize(bytes.len() + length, 0);
            let tlv = one(&bytes).unwrap();
            assert!(tlv.der);
            assert_eq!(tlv.value.len(), length);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_within_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let mut stack = vec![Reader::new(&bytes)];
            let mut seen = 0;
            while let Some(mut reader) = stack.pop() {
                while let Ok(tlv) = reader.next() {
                    seen += 1;
                    prop_assert!(tlv.raw.len() >= tlv.value.len());
                    let _ = (tlv.octets(), tlv.small(), tlv.bit_string());
                    if stack.len() < 32 && is_constructed(tlv.raw) {
                        stack.push(tlv.reader());
                    }
                    if seen > 10_000 {
                        return Ok(());
                    }
                }
            }
        }
    }
}
