//! The chip portrait: encoded image bytes, not decoded here.

use serde::Serialize;

/// The first facial image of DG2, still encoded. No `Debug`: it is biometric data.
pub struct Portrait<'a> {
    /// The encoded image, borrowed from DG2.
    pub image: &'a [u8],
    /// What the bytes are, by their signature and not by what the record says.
    pub image_type: ImageType,
    /// Width in pixels that the facial record declares; 0 when it says nothing.
    pub declared_width: u16,
    /// Height in pixels that the facial record declares; 0 when it says nothing.
    pub declared_height: u16,
    /// How many facial images DG2 holds.
    pub image_count: u16,
}

/// Encodings of facial images in travel documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageType {
    /// JPEG (ISO/IEC 10918-1).
    Jpeg,
    /// JPEG 2000 in a JP2 file (ISO/IEC 15444-1 annex I).
    Jp2,
    /// A bare JPEG 2000 codestream (ISO/IEC 15444-1 annex A).
    Jpeg2000Codestream,
}

impl ImageType {
    /// Tells the type from the first bytes.
    pub fn sniff(image: &[u8]) -> Option<ImageType> {
        const JP2_SIGNATURE_BOX: &[u8] = b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a";
        if image.starts_with(&[0xff, 0xd8, 0xff]) {
            Some(ImageType::Jpeg)
        } else if image.starts_with(JP2_SIGNATURE_BOX) {
            Some(ImageType::Jp2)
        } else if image.starts_with(&[0xff, 0x4f, 0xff, 0x51]) {
            Some(ImageType::Jpeg2000Codestream)
        } else {
            None
        }
    }
}
