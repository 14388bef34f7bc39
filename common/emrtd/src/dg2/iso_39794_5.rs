//! ISO/IEC 39794-5:2019 as ICAO's application profile uses it: context tags, fields in ascending order, unknown ones
//! passed over as the extension markers of the schema ask.
//!
//! ```text
//! [APPLICATION 5] FaceImageDataBlock {
//!   [0] versionBlock, [1] representationBlocks SEQUENCE OF {
//!     [0] representationId
//!     [1] imageRepresentation { [0] base { [0] imageRepresentation2DBlock {
//!           [0] representationData2D, the image
//!           [1] imageInformation2DBlock {
//!                 [0] imageDataFormat { [0] code }, [1] faceImageKind2D { [0] code },
//!                 [7] imageSizeBlock { [0] width, [1] height } } } } }
//!     [9] landmarkBlocks SEQUENCE OF } }
//! ```

use super::{DeclaredType, FaceFormat, FaceImage, FaceImageKind, Found};
use crate::asn1::{Asn1Error, Reader, Tag, Tlv};

/// Reads a data block, with or without the `[1]` that ICAO's profile puts around it.
pub(super) fn read<'a>(block: &'a [u8], found: &mut Found<'a>) -> Result<(), Asn1Error> {
    let mut outer = Reader::new(block);
    let wrapped = outer.optional(Tag::context(1))?;
    let mut inner = wrapped.map_or(outer, |explicit| explicit.reader());
    let fields = Fields::of(&inner.expect(Tag::FACE_IMAGE_DATA_BLOCK)?)?;
    fields.get(Tag::context(0)).ok_or(Asn1Error::Unexpected)?;
    let mut representations = fields.get(Tag::context(1)).ok_or(Asn1Error::Unexpected)?.reader();
    while !representations.is_empty() {
        let representation = Fields::of(&representations.expect(Tag::SEQUENCE)?)?;
        found.images.push(image(&representation)?);
    }
    Ok(())
}

fn image<'a>(representation: &Fields<'a>) -> Result<FaceImage<'a>, Asn1Error> {
    let inside = |fields: &Fields<'a>, tag: Tag| Fields::of(&fields.get(tag).ok_or(Asn1Error::Unexpected)?);
    let base = inside(representation, Tag::context(1))?;
    let base = inside(&base, Tag::context(0))?;
    let two_dimensional = inside(&base, Tag::context(0))?;
    let data = two_dimensional.get(Tag::context_primitive(0)).ok_or(Asn1Error::Unexpected)?.value;
    let information = inside(&two_dimensional, Tag::context(1))?;
    // A choice: the code, or an extension block with a fallback code of its own.
    let code = |tag: Tag| information.get(tag).and_then(|choice| code_in(&choice));
    let side = |size: &Fields<'a>, number: u8| {
        let side = size.get(Tag::context_primitive(number)).and_then(|side| side.small().ok());
        side.and_then(|side| u16::try_from(side).ok()).unwrap_or(0)
    };
    let size = information.get(Tag::context(7)).map(|size| Fields::of(&size)).transpose()?;
    let (declared_width, declared_height) = size.map_or((0, 0), |size| (side(&size, 0), side(&size, 1)));
    let landmarks = representation.get(Tag::context(9)).map_or(Ok(0), |blocks| count(&blocks))?;
    Ok(FaceImage {
        format: FaceFormat::Iso39794_5,
        data,
        declared_type: match code(Tag::context(0)) {
            Some(2) => DeclaredType::Jpeg,
            Some(3 | 4) => DeclaredType::Jpeg2000,
            _ => DeclaredType::Other,
        },
        declared_width,
        declared_height,
        kind: code(Tag::context(1)).map(FaceImageKind::iso_39794_5),
        feature_points: landmarks,
        record_length_off: 0,
        block_length_off: 0,
    })
}

fn code_in(choice: &Tlv<'_>) -> Option<u64> {
    let fields = Fields::of(choice).ok()?;
    match fields.get(Tag::context_primitive(0)) {
        Some(code) => code.small().ok(),
        None => Fields::of(&fields.get(Tag::context(1))?).ok()?.get(Tag::context_primitive(0))?.small().ok(),
    }
}

fn count(list: &Tlv<'_>) -> Result<usize, Asn1Error> {
    let mut list = list.reader();
    let mut count = 0;
    while !list.is_empty() {
        list.next()?;
        count += 1;
    }
    Ok(count)
}

/// The fields of a sequence by their tags: what is not known is passed over. At most the sixteen first are kept, more
/// than any of these sequences has.
struct Fields<'a>([Option<Tlv<'a>>; 16]);

impl<'a> Fields<'a> {
    fn of(sequence: &Tlv<'a>) -> Result<Fields<'a>, Asn1Error> {
        let mut fields = Fields([None; 16]);
        let mut reader = sequence.reader();
        for slot in &mut fields.0 {
            if reader.is_empty() {
                break;
            }
            *slot = Some(reader.next()?);
        }
        Ok(fields)
    }

    fn get(&self, tag: Tag) -> Option<Tlv<'a>> {
        self.0.iter().flatten().find(|field| field.tag == tag).copied()
    }
}
