//! DG2: the encoded face (ICAO Doc 9303-10 section 4.7.2).
//!
//! The images are found, their types told and their sizes read from their headers; nothing is decoded. Length and count
//! fields of the records are hints: in the field they are off by some octets.

mod info;
mod iso_19794_5;
mod iso_39794_5;

pub use info::{Dg2Info, FaceFormat, FaceImageInfo, FaceImageKind};

use crate::{
    asn1::{Asn1Error, Reader, Tag, Tlv},
    deviation::{Deviation, DeviationSet},
    portrait::{ImageType, MAX_PORTRAIT_PIXELS, MAX_PORTRAIT_SIDE, Portrait},
    report::Reason,
};

/// Finds the first portrait in DG2 and tells how the record deviates. Says nothing about whether DG2 is
/// authentic: that is [`verify`](crate::verify)'s to say.
///
/// A bare facial record (ISO/IEC 19794-5 or 39794-5) is taken too, as image tools write it.
pub fn parse(dg2: &[u8]) -> Result<(Portrait<'_>, DeviationSet), Reason> {
    let (mut images, deviations) = parse_all(dg2)?;
    if images.is_empty() { Err(Reason::PortraitAbsent) } else { Ok((images.swap_remove(0), deviations)) }
}

/// Like [`parse`], every image in the order of DG2: at least one. An image behind the first that cannot be read is left
/// out and reported.
pub fn parse_all(dg2: &[u8]) -> Result<(Vec<Portrait<'_>>, DeviationSet), Reason> {
    let found = find(dg2)?;
    let mut deviations = found.deviations;
    let image_count = u16::try_from(found.images.len()).unwrap_or(u16::MAX);
    let mut images = Vec::new();
    for (index, image) in found.images.iter().enumerate() {
        match image.portrait(image_count) {
            Ok((portrait, its_deviations)) => {
                deviations = deviations.union(its_deviations);
                images.push(portrait);
            }
            Err(reason) if index == 0 => return Err(reason),
            Err(_) => deviations.insert(Deviation::FaceImageUnreadable),
        }
    }
    if images.is_empty() { Err(Reason::PortraitAbsent) } else { Ok((images, deviations)) }
}

/// By how many octets length fields are off in real documents.
const SLOPPINESS: usize = 8;

/// What DG2 holds, before the images are looked into.
struct Found<'a> {
    images: Vec<FaceImage<'a>>,
    deviations: DeviationSet,
}

/// One facial image and what its record says about it.
struct FaceImage<'a> {
    format: FaceFormat,
    data: &'a [u8],
    declared_type: DeclaredType,
    declared_width: u16,
    declared_height: u16,
    /// The record's code of the kind of face image, as the standard numbers them.
    kind: Option<FaceImageKind>,
    feature_points: usize,
    /// By how many octets the length field of the record around this image is wrong, and that of its own block.
    record_length_off: i64,
    block_length_off: i64,
}

/// The image type that the record declares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DeclaredType {
    Jpeg,
    Jpeg2000,
    /// Another, or none.
    Other,
}

impl<'a> FaceImage<'a> {
    fn portrait(&self, image_count: u16) -> Result<(Portrait<'a>, DeviationSet), Reason> {
        if self.data.is_empty() {
            return Err(Reason::PortraitAbsent);
        }
        let image_type = ImageType::sniff(self.data).ok_or(Reason::PortraitFormatUnsupported)?;
        let (width, height) = image_type.size(self.data).map_err(|_| Reason::PortraitHeaderMalformed)?;
        if width.max(height) > MAX_PORTRAIT_SIDE || u64::from(width) * u64::from(height) > MAX_PORTRAIT_PIXELS {
            return Err(Reason::PortraitTooLarge);
        }
        let mut deviations = DeviationSet::EMPTY;
        if self.record_length_off != 0 || self.block_length_off != 0 {
            deviations.insert(Deviation::FaceRecordLengthOff);
        }
        let type_differs = match self.declared_type {
            DeclaredType::Jpeg => image_type != ImageType::Jpeg,
            DeclaredType::Jpeg2000 => image_type == ImageType::Jpeg,
            DeclaredType::Other => false,
        };
        if type_differs {
            deviations.insert(Deviation::FaceImageTypeDiffers);
        }
        let differs = |declared: u16, encoded: u32| declared != 0 && u32::from(declared) != encoded;
        if differs(self.declared_width, width) || differs(self.declared_height, height) {
            deviations.insert(Deviation::FaceImageSizeDiffers);
        }
        let portrait = Portrait {
            image: self.data,
            image_type,
            declared_width: self.declared_width,
            declared_height: self.declared_height,
            encoded_width: width,
            encoded_height: height,
            image_count,
        };
        Ok((portrait, deviations))
    }
}

/// Every facial image, in order.
fn find(dg2: &[u8]) -> Result<Found<'_>, Reason> {
    let mut found = Found { images: Vec::new(), deviations: DeviationSet::EMPTY };
    if dg2.is_empty() {
        return Err(Reason::FaceRecordMalformed);
    }
    if Reader::new(dg2).peek() != Some(Tag::DG2) {
        found.block(dg2)?;
        return Ok(found);
    }
    let malformed = |_: Asn1Error| Reason::FaceRecordMalformed;
    let mut file = Reader::new(dg2);
    let content = file.expect(Tag::DG2).map_err(malformed)?;
    file.finish().map_err(malformed)?;
    let (group, mut length_off) = content.reader().next_hinted(SLOPPINESS).map_err(malformed)?;
    if group.tag != Tag::BIOMETRIC_GROUP {
        return Err(Reason::FaceRecordMalformed);
    }
    let mut der = content.der && group.der;
    let mut group = group.reader();
    let declared_count = group.expect(Tag::INTEGER).and_then(|count| count.small()).map_err(malformed)?;
    let mut count = 0;
    while let Some(Tag::BIOMETRIC_TEMPLATE) = group.peek() {
        let (template, off) = match group.next_hinted(SLOPPINESS) {
            Ok(template) => template,
            Err(_) if count > 0 => break,
            Err(error) => return Err(malformed(error)),
        };
        count += 1;
        length_off |= off;
        der &= template.der;
        match found.template(&template, &mut der) {
            Ok(()) => {}
            Err(_) if !found.images.is_empty() => found.deviations.insert(Deviation::FaceImageUnreadable),
            Err(reason) => return Err(reason),
        }
    }
    // Something else where a template should stand, or more or fewer of them than the count says.
    if count == 0 && declared_count > 0 {
        return Err(Reason::FaceRecordMalformed);
    }
    if length_off || !group.is_empty() || count != declared_count {
        found.deviations.insert(Deviation::FaceRecordLengthOff);
    }
    if !der {
        found.deviations.insert(Deviation::DataGroupNotDer);
    }
    Ok(found)
}

impl<'a> Found<'a> {
    /// A biometric information template: a header, then the biometric data, primitive or constructed.
    fn template(&mut self, template: &Tlv<'a>, der: &mut bool) -> Result<(), Reason> {
        let mut elements = template.reader();
        while !elements.is_empty() {
            if !matches!(elements.peek(), Some(Tag::BIOMETRIC_DATA | Tag::BIOMETRIC_DATA_CONSTRUCTED)) {
                *der &= elements.next().map_err(|_| Reason::FaceRecordMalformed)?.der;
                continue;
            }
            let (element, off) = elements.next_hinted(SLOPPINESS).map_err(|_| Reason::FaceRecordMalformed)?;
            *der &= element.der;
            if off {
                self.deviations.insert(Deviation::FaceRecordLengthOff);
            }
            self.block(element.value)?;
        }
        Ok(())
    }

    /// A biometric data block. Its first octets tell its format: the format type of the header is often wrong, and
    /// either tag may hold either.
    fn block(&mut self, block: &'a [u8]) -> Result<(), Reason> {
        if block.is_empty() {
            return Ok(());
        }
        if block.starts_with(iso_19794_5::IDENTIFIER) {
            return iso_19794_5::read(block, self);
        }
        // Constructed data may wrap the primitive object.
        if Reader::new(block).peek() == Some(Tag::BIOMETRIC_DATA) {
            let inner = Reader::new(block).next().map_err(|_| Reason::FaceRecordMalformed)?;
            if inner.value.starts_with(iso_19794_5::IDENTIFIER) {
                return iso_19794_5::read(inner.value, self);
            }
            return iso_39794_5::read(inner.value, self).map_err(|_| Reason::FaceRecordMalformed);
        }
        iso_39794_5::read(block, self).map_err(|_| Reason::FaceRecordMalformed)
    }
}
