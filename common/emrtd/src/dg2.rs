//! DG2: the encoded face (ICAO Doc 9303-10 section 4.7.2).
//!
//! The image is found and its type told; nothing is decoded. Only the first image is used.
//! Length fields of the facial record are hints: in the field they are off by some octets.

use crate::{
    asn1::{Asn1Error, Reader, Tag, Tlv},
    deviation::{Deviation, DeviationSet},
    portrait::{ImageType, Portrait},
    report::Reason,
};

/// Finds the portrait in DG2 and tells how the record deviates. Says nothing about whether DG2 is
/// authentic: that is [`verify`](crate::verify)'s to say.
///
/// A bare facial record (ISO/IEC 19794-5) is taken too, as image tools write it.
pub fn parse(dg2: &[u8]) -> Result<(Portrait<'_>, DeviationSet), Reason> {
    if dg2.starts_with(FORMAT_19794) {
        return iso_19794_5(dg2);
    }
    let record = biometric_data(dg2).map_err(|_| Reason::FaceRecordMalformed)?.ok_or(Reason::PortraitAbsent)?;
    match record.tag {
        Tag::BIOMETRIC_DATA_CONSTRUCTED if !record.value.starts_with(FORMAT_19794) => iso_39794_5(record.value),
        _ => iso_19794_5(record.value),
    }
}

/// The first biometric data block of the biometric information group template, if there is one.
fn biometric_data(dg2: &[u8]) -> Result<Option<Tlv<'_>>, Asn1Error> {
    let mut file = Reader::new(dg2);
    let file_content = file.expect(Tag::DG2)?;
    file.finish()?;
    let mut group = file_content.reader().expect(Tag::BIOMETRIC_GROUP)?.reader();
    let count = group.expect(Tag::INTEGER)?.small()?;
    if count == 0 {
        return Ok(None);
    }
    let mut template = group.expect(Tag::BIOMETRIC_TEMPLATE)?.reader();
    while !template.is_empty() {
        let element = template.next()?;
        if matches!(element.tag, Tag::BIOMETRIC_DATA | Tag::BIOMETRIC_DATA_CONSTRUCTED) {
            return Ok(Some(element));
        }
    }
    Ok(None)
}

const FORMAT_19794: &[u8] = b"FAC\0";
const HEADER: usize = 14;
const FACIAL_INFORMATION: usize = 20;
const FEATURE_POINT: usize = 8;
const IMAGE_INFORMATION: usize = 12;

/// ISO/IEC 19794-5:2005 section 5: a record header, then for each image its facial information,
/// feature points, image information and data.
fn iso_19794_5(record: &[u8]) -> Result<(Portrait<'_>, DeviationSet), Reason> {
    let malformed = Reason::FaceRecordMalformed;
    let mut deviations = DeviationSet::EMPTY;
    // ICAO Doc 9303-10 prescribes the edition of 2005; the later ones have another layout.
    if !record.starts_with(FORMAT_19794) || record.get(4..8) != Some(b"010\0") {
        return Err(malformed);
    }
    let declared_length = be32(record, 8).ok_or(malformed)?;
    if declared_length != record.len() {
        deviations.insert(Deviation::FaceRecordLengthOff);
    }
    let image_count = be16(record, 12).ok_or(malformed)?;
    if image_count == 0 {
        return Err(Reason::PortraitAbsent);
    }
    let block = record.get(HEADER..).ok_or(malformed)?;
    let block_length = be32(block, 0).ok_or(malformed)?;
    let points = usize::from(be16(block, 4).ok_or(malformed)?);
    let image_information = FACIAL_INFORMATION + points * FEATURE_POINT;
    let information = block.get(image_information..image_information + IMAGE_INFORMATION).ok_or(malformed)?;
    let declared_type = *information.get(1).ok_or(malformed)?;
    let declared_width = be16(information, 2).ok_or(malformed)?;
    let declared_height = be16(information, 4).ok_or(malformed)?;
    let data = block.get(image_information + IMAGE_INFORMATION..).ok_or(malformed)?;
    // One image has everything that is left. Of several, the first has what its block says,
    // when that leaves room for an image.
    let data = if image_count == 1 {
        if block_length != block.len() {
            deviations.insert(Deviation::FaceRecordLengthOff);
        }
        data
    } else {
        match block_length.checked_sub(image_information + IMAGE_INFORMATION).and_then(|length| data.get(..length)) {
            Some(first) if !first.is_empty() => first,
            _ => {
                deviations.insert(Deviation::FaceRecordLengthOff);
                data
            }
        }
    };
    if data.is_empty() {
        return Err(Reason::PortraitAbsent);
    }
    let image_type = ImageType::sniff(data).ok_or(Reason::PortraitFormatUnsupported)?;
    // 0 is JPEG, 1 is JPEG 2000 in either form.
    if (declared_type == 0) != (image_type == ImageType::Jpeg) {
        deviations.insert(Deviation::FaceImageTypeDiffers);
    }
    Ok((Portrait { image: data, image_type, declared_width, declared_height, image_count }, deviations))
}

/// ISO/IEC 39794-5:2019 as ICAO's application profile uses it, context tags in brackets:
///
/// ```text
/// [1] { [APPLICATION 5] FaceImageDataBlock {
///   [0] version, [1] SEQUENCE OF RepresentationBlock {
///     [0] representationId, [1] imageRepresentation { [0] base { [0] imageRepresentation2D {
///       [0] the image, [1] information { [0] format, … } } } } } }
/// ```
fn iso_39794_5(record: &[u8]) -> Result<(Portrait<'_>, DeviationSet), Reason> {
    let (image, image_count) =
        first_39794_image(record).map_err(|_| Reason::FaceRecordMalformed)?.ok_or(Reason::PortraitAbsent)?;
    if image.is_empty() {
        return Err(Reason::PortraitAbsent);
    }
    let image_type = ImageType::sniff(image).ok_or(Reason::PortraitFormatUnsupported)?;
    Ok((Portrait { image, image_type, declared_width: 0, declared_height: 0, image_count }, DeviationSet::EMPTY))
}

fn first_39794_image(record: &[u8]) -> Result<Option<(&[u8], u16)>, Asn1Error> {
    let mut outer = Reader::new(record);
    if let Some(explicit) = outer.optional(Tag::context(1))? {
        outer = explicit.reader();
    }
    let mut block = outer.expect(Tag::FACE_IMAGE_DATA_BLOCK)?.reader();
    block.expect(Tag::context(0))?;
    let mut representations = block.expect(Tag::context(1))?.reader();
    let mut first = None;
    let mut count = 0u16;
    while !representations.is_empty() {
        let representation = representations.expect(Tag::SEQUENCE)?;
        count = count.saturating_add(1);
        first = first.or(Some(representation));
    }
    let Some(first) = first else {
        return Ok(None);
    };
    let mut fields = first.reader();
    fields.expect(Tag::context_primitive(0))?;
    let mut representation = fields.expect(Tag::context(1))?.reader();
    let mut base = representation.expect(Tag::context(0))?.reader();
    let mut two_dimensional = base.expect(Tag::context(0))?.reader();
    let image = two_dimensional.expect(Tag::context_primitive(0))?;
    Ok(Some((image.value, count)))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok()
}
