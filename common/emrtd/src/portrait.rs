//! The chip portrait: encoded image bytes, not decoded here.

mod header;

pub use header::HeaderError;

use serde::Serialize;

/// Largest side of a portrait in pixels. ICAO Doc 9303-9 asks for some 420 by 525; beyond this a small file would
/// decode to a large picture.
pub const MAX_PORTRAIT_SIDE: u32 = 4_096;
/// Most pixels of a portrait.
pub const MAX_PORTRAIT_PIXELS: u64 = 16_000_000;

/// A facial image of DG2, still encoded. No `Debug`: it is biometric data.
pub struct Portrait<'a> {
    /// The encoded image, borrowed from DG2.
    pub image: &'a [u8],
    /// What the bytes are, by their signature and not by what the record says.
    pub image_type: ImageType,
    /// Width in pixels that the facial record declares; 0 when it says nothing. Often wrong.
    pub declared_width: u16,
    /// Height in pixels that the facial record declares; 0 when it says nothing. Often wrong.
    pub declared_height: u16,
    /// Width in pixels that the image's own header declares, and a decoder will allocate.
    pub encoded_width: u32,
    /// Height in pixels that the image's own header declares, and a decoder will allocate.
    pub encoded_height: u32,
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

    /// Width and height from the image's own header: SOF of JPEG, SIZ of JPEG 2000. Nothing is decoded.
    ///
    /// # Errors
    /// What is missing of the header, or that a side is zero.
    pub fn size(self, image: &[u8]) -> Result<(u32, u32), HeaderError> {
        match self {
            ImageType::Jpeg => header::jpeg(image),
            ImageType::Jp2 => header::codestream(header::contiguous_codestream(image)?),
            ImageType::Jpeg2000Codestream => header::codestream(image),
        }
    }

    /// Width and height that the image header box of a JP2 file declares beside the codestream's.
    pub fn container_size(self, image: &[u8]) -> Option<(u32, u32)> {
        if self == ImageType::Jp2 { header::image_header_box(image) } else { None }
    }
}
