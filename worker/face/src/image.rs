//! Decoded pictures, and the limits and faults of decoding.

use crate::wipe::Wiped;

/// What a picture may be before it is decoded. Checked against the headers, so that a small file
/// that unfolds into gigabytes is refused without unfolding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeLimits {
    /// Largest file, in bytes.
    pub max_bytes: usize,
    /// Largest picture, in pixels. JPEG 2000 decodes through 32-bit floats and costs about four
    /// times the memory and ten times the time of JPEG, so it gets a quarter of this.
    pub max_pixels: u64,
    /// Longest side, in pixels.
    pub max_side: u32,
}

impl DecodeLimits {
    /// Limits for a portrait in data group 2, which is at most 1 MiB.
    pub fn portrait() -> Self {
        Self { max_bytes: 1 << 20, max_pixels: 16_000_000, max_side: 4_096 }
    }

    /// Limits for a selfie frame.
    pub fn selfie() -> Self {
        Self { max_bytes: 4 << 20, max_pixels: 25_000_000, max_side: 8_192 }
    }
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self::selfie()
    }
}

/// A decoded picture: 8-bit RGB, rows from the top, upright. Wiped when dropped; it has no
/// `Debug`, so that it cannot reach a log by accident.
pub struct RgbImage {
    width: usize,
    height: usize,
    data: Wiped<u8>,
}

impl RgbImage {
    /// Takes `width * height * 3` bytes; `None` when the length differs or a side is zero.
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Option<Self> {
        let data = Wiped::new(data);
        let expected = width.checked_mul(height)?.checked_mul(3)?;
        (expected != 0 && data.len() == expected).then_some(Self { width, height, data })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The samples, R, G, B interleaved.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The pixel at (x, y), which must be inside.
    #[inline]
    pub(crate) fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let i = (y * self.width + x) * 3;
        [self.data[i], self.data[i + 1], self.data[i + 2]]
    }
}

/// Why a picture was not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There are no bytes.
    #[error("the image is empty")]
    Empty,
    /// The file is larger than the limit.
    #[error("the image has {bytes} bytes, more than the {limit} allowed")]
    TooManyBytes {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The picture is larger than the limit; found in its header, before decoding.
    #[error("the image is {width}x{height} pixels, more than allowed")]
    TooManyPixels {
        /// Width in its header.
        width: u64,
        /// Height in its header.
        height: u64,
    },
    /// Neither JPEG, JPEG 2000 nor PNG.
    #[error("the image is neither JPEG, JPEG 2000 nor PNG")]
    UnknownFormat,
    /// A known format that has no place there, such as a PNG for a selfie.
    #[error("the image is {found}, expected {expected}")]
    WrongFormat {
        /// What it is.
        found: &'static str,
        /// What is taken.
        expected: String,
    },
    /// A form of a known format that is not taken.
    #[error("unsupported image: {0}")]
    Unsupported(String),
    /// The file ends too early.
    #[error("the image is cut off: {0}")]
    Truncated(&'static str),
    /// The file contradicts itself or its format.
    #[error("the image is corrupt: {0}")]
    Corrupt(String),
}

impl ImageError {
    /// The kind of fault, without particulars.
    pub fn fault(&self) -> ImageFault {
        match self {
            Self::Empty => ImageFault::Empty,
            Self::TooManyBytes { .. } => ImageFault::TooManyBytes,
            Self::TooManyPixels { .. } => ImageFault::TooManyPixels,
            Self::UnknownFormat => ImageFault::UnknownFormat,
            Self::WrongFormat { .. } => ImageFault::WrongFormat,
            Self::Unsupported(_) => ImageFault::Unsupported,
            Self::Truncated(_) => ImageFault::Truncated,
            Self::Corrupt(_) => ImageFault::Corrupt,
        }
    }
}

/// The kinds of [`ImageError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageFault {
    /// No bytes.
    Empty,
    /// The file is too large.
    TooManyBytes,
    /// The picture is too large.
    TooManyPixels,
    /// Not a known format.
    UnknownFormat,
    /// A known format that has no place there.
    WrongFormat,
    /// A form of a known format that is not taken.
    Unsupported,
    /// Cut off.
    Truncated,
    /// Self-contradicting.
    Corrupt,
}

impl ImageFault {
    /// The stable machine-readable name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Empty => "image_empty",
            Self::TooManyBytes => "image_too_many_bytes",
            Self::TooManyPixels => "image_too_many_pixels",
            Self::UnknownFormat => "image_format_unknown",
            Self::WrongFormat => "image_format_wrong",
            Self::Unsupported => "image_unsupported",
            Self::Truncated => "image_truncated",
            Self::Corrupt => "image_corrupt",
        }
    }
}
