//! What is in DG2, for people: formats, sizes and lengths, never the images.

use serde::Serialize;

use super::{DeclaredType, find};
use crate::{deviation::Deviation, portrait::ImageType, report::Reason};

/// Images that are described.
const MAX_DESCRIBED: usize = 64;

/// A description of DG2 without its images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dg2Info {
    /// The format of the facial records, when one can be told.
    pub format: Option<FaceFormat>,
    /// How many images were found.
    pub image_count: usize,
    /// The images, the first few.
    pub images: Vec<FaceImageInfo>,
    /// How the records deviate.
    pub deviations: Vec<Deviation>,
    /// Why no portrait can be taken from it, if none can.
    pub problem: Option<Reason>,
}

/// The format of facial records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum FaceFormat {
    /// ISO/IEC 19794-5:2005.
    #[serde(rename = "iso19794_5")]
    Iso19794_5,
    /// ISO/IEC 39794-5:2019.
    #[serde(rename = "iso39794_5")]
    Iso39794_5,
}

/// What a record says its picture shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaceImageKind {
    /// Not said (19794-5), or of no special kind (39794-5).
    General,
    /// A full frontal image.
    FullFrontal,
    /// A token frontal image: eyes at fixed places.
    TokenFrontal,
    /// As ISO/IEC 39794-5 annex D.1 asks of travel documents.
    TravelDocument,
    /// A code that has no meaning here.
    Other,
}

impl FaceImageKind {
    /// ISO/IEC 19794-5:2005 table 8.
    pub(super) fn iso_19794_5(code: u8) -> FaceImageKind {
        match code {
            0 => FaceImageKind::General,
            1 => FaceImageKind::FullFrontal,
            2 => FaceImageKind::TokenFrontal,
            _ => FaceImageKind::Other,
        }
    }

    /// FaceImageKind2DCode of ISO/IEC 39794-5.
    pub(super) fn iso_39794_5(code: u64) -> FaceImageKind {
        match code {
            0 => FaceImageKind::TravelDocument,
            1 => FaceImageKind::General,
            _ => FaceImageKind::Other,
        }
    }
}

/// One facial image and its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaceImageInfo {
    /// What the bytes are; `None` for a signature that is not known.
    pub image_type: Option<ImageType>,
    /// What the record says they are, `jpeg` or `jpeg2000`.
    pub declared_type: Option<&'static str>,
    /// Octets of the image.
    pub bytes: usize,
    /// Width in pixels by the facial record; `None` when it says nothing.
    pub declared_width: Option<u16>,
    /// Height in pixels by the facial record.
    pub declared_height: Option<u16>,
    /// Width in pixels by the image's own header: what a decoder makes of it.
    pub encoded_width: Option<u32>,
    /// Height in pixels by the image's own header.
    pub encoded_height: Option<u32>,
    /// Width in pixels by the image header box around a JPEG 2000 codestream.
    pub container_width: Option<u32>,
    /// Height in pixels by that box.
    pub container_height: Option<u32>,
    /// What the picture is said to show.
    pub face_image_kind: Option<FaceImageKind>,
    /// Feature points or landmarks that the record gives.
    pub feature_points: usize,
    /// What the record's length field says, less what is there.
    pub record_length_off: i64,
    /// What the length field of this image's block says, less what is there.
    pub block_length_off: i64,
    /// Why this image cannot be used, if it cannot.
    pub problem: Option<Reason>,
}

impl Dg2Info {
    /// Describes EF.DG2, or a bare facial record.
    pub fn read(dg2: &[u8]) -> Dg2Info {
        let mut info =
            Dg2Info { format: None, image_count: 0, images: Vec::new(), deviations: Vec::new(), problem: None };
        match super::parse_all(dg2) {
            Ok((_, deviations)) => info.deviations = deviations.iter().collect(),
            Err(reason) => info.problem = Some(reason),
        }
        let Ok(found) = find(dg2) else {
            return info;
        };
        info.format = found.images.first().map(|image| image.format);
        info.image_count = found.images.len();
        for image in found.images.iter().take(MAX_DESCRIBED) {
            let image_type = ImageType::sniff(image.data);
            let encoded = image_type.and_then(|kind| kind.size(image.data).ok());
            let container = image_type.and_then(|kind| kind.container_size(image.data));
            let declared = |side: u16| (side != 0).then_some(side);
            info.images.push(FaceImageInfo {
                image_type,
                declared_type: match image.declared_type {
                    DeclaredType::Jpeg => Some("jpeg"),
                    DeclaredType::Jpeg2000 => Some("jpeg2000"),
                    DeclaredType::Other => None,
                },
                bytes: image.data.len(),
                declared_width: declared(image.declared_width),
                declared_height: declared(image.declared_height),
                encoded_width: encoded.map(|(width, _)| width),
                encoded_height: encoded.map(|(_, height)| height),
                container_width: container.map(|(width, _)| width),
                container_height: container.map(|(_, height)| height),
                face_image_kind: image.kind,
                feature_points: image.feature_points,
                record_length_off: image.record_length_off,
                block_length_off: image.block_length_off,
                problem: image.portrait(1).err(),
            });
        }
        info
    }
}
