//! ISO/IEC 19794-5:2005 section 5: a record header, then for each image its facial information, feature points, image
//! information and data. ICAO Doc 9303-10 prescribes this edition; the later ones have another layout.

use super::{DeclaredType, FaceFormat, FaceImage, FaceImageKind, Found, SLOPPINESS};
use crate::{deviation::Deviation, portrait::ImageType, report::Reason};

pub(super) const IDENTIFIER: &[u8] = b"FAC\0";
const VERSION: &[u8] = b"010\0";
const HEADER: usize = 14;
const FACIAL_INFORMATION: usize = 20;
const FEATURE_POINT: usize = 8;
const IMAGE_INFORMATION: usize = 12;

pub(super) fn read<'a>(record: &'a [u8], found: &mut Found<'a>) -> Result<(), Reason> {
    let malformed = Reason::FaceRecordMalformed;
    if !record.starts_with(IDENTIFIER) || record.get(4..8) != Some(VERSION) {
        return Err(malformed);
    }
    let record_length_off = difference(be32(record, 8).ok_or(malformed)?, record.len());
    let count = be16(record, 12).ok_or(malformed)?;
    let mut rest = record.get(HEADER..).ok_or(malformed)?;
    for number in 0..count {
        let last = number + 1 == count;
        let block = match Block::read(rest) {
            Some(block) => block,
            None if number == 0 => return Err(malformed),
            // Fewer images than the count says.
            None => {
                found.deviations.insert(Deviation::FaceRecordLengthOff);
                break;
            }
        };
        // What is left belongs to the last image, whatever the lengths say.
        let end = if last { rest.len() } else { block.end(rest) };
        let data = rest.get(block.data..end).unwrap_or_default();
        found.images.push(FaceImage {
            format: FaceFormat::Iso19794_5,
            data,
            declared_type: block.declared_type,
            declared_width: block.width,
            declared_height: block.height,
            kind: Some(block.kind),
            feature_points: block.feature_points,
            record_length_off,
            block_length_off: difference(block.length, end),
        });
        rest = rest.get(end..).unwrap_or_default();
    }
    Ok(())
}

/// The fixed fields of one image's block.
struct Block {
    length: usize,
    feature_points: usize,
    kind: FaceImageKind,
    declared_type: DeclaredType,
    width: u16,
    height: u16,
    /// Where the image begins.
    data: usize,
}

impl Block {
    fn read(bytes: &[u8]) -> Option<Block> {
        let length = be32(bytes, 0)?;
        let feature_points = usize::from(be16(bytes, 4)?);
        let start = FACIAL_INFORMATION + feature_points * FEATURE_POINT;
        let information = bytes.get(start..start + IMAGE_INFORMATION)?;
        let [kind, declared_type, ..] = information else { return None };
        Some(Block {
            length,
            feature_points,
            kind: FaceImageKind::iso_19794_5(*kind),
            declared_type: match declared_type {
                0 => DeclaredType::Jpeg,
                1 => DeclaredType::Jpeg2000,
                _ => DeclaredType::Other,
            },
            width: be16(information, 2)?,
            height: be16(information, 4)?,
            data: start + IMAGE_INFORMATION,
        })
    }

    /// Where this block ends when another follows: where its length says, or as near to it as there is a block with an
    /// image; without one, at the end of the data.
    fn end(&self, bytes: &[u8]) -> usize {
        let follows = |end: &usize| {
            *end >= self.data
                && bytes.get(*end..).is_some_and(|next| {
                    Block::read(next)
                        .and_then(|block| next.get(block.data..))
                        .is_some_and(|image| ImageType::sniff(image).is_some())
                })
        };
        let nearest = (0..=SLOPPINESS).flat_map(|off| [self.length.checked_add(off), self.length.checked_sub(off)]);
        nearest.flatten().find(follows).unwrap_or(bytes.len())
    }
}

fn difference(declared: usize, actual: usize) -> i64 {
    i64::try_from(declared).unwrap_or(i64::MAX).saturating_sub(i64::try_from(actual).unwrap_or(i64::MAX))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok()
}
