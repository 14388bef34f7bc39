//! A picture file: bounded, read, decoded, or refused by a name.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use proofmill_face::{DecodeLimits, ImageError, RgbImage, decode};
use zeroize::Zeroizing;

/// Why a picture is not there to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// The file cannot be read. That says nothing about the picture.
    #[error("{message}")]
    File {
        /// `file_missing`, `file_not_regular` or `file_unreadable`.
        code: &'static str,
        /// What the operating system said.
        message: String,
    },
    /// The file was read and is no picture that is taken.
    #[error("{0}")]
    Image(ImageError),
}

impl PictureError {
    /// The stable machine-readable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { code, .. } => code,
            Self::Image(error) => error.fault().as_str(),
        }
    }
}

/// Reads and decodes a file whose size, and whose header's dimensions, keep within `limits`.
///
/// # Errors
/// Each by its name; nothing is allocated by a length that the file merely claims.
pub fn read_picture(path: &Path, limits: &DecodeLimits) -> Result<RgbImage, PictureError> {
    let bytes = read(path, limits.max_bytes)?;
    decode(&bytes, limits).map_err(PictureError::Image)
}

fn read(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, PictureError> {
    // A named pipe would keep the process waiting for whoever writes to it.
    let metadata = path.metadata().map_err(of_the_file)?;
    if !metadata.is_file() {
        return Err(PictureError::File { code: "file_not_regular", message: "not a regular file".to_owned() });
    }
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let too_large = |bytes| PictureError::Image(ImageError::TooManyBytes { bytes, limit });
    if size > limit {
        return Err(too_large(size));
    }
    // Of the right size from the start, so that no copy of the content is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    let file = File::open(path).map_err(of_the_file)?;
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(of_the_file)?;
    if bytes.len() > limit {
        return Err(too_large(bytes.len()));
    }
    Ok(bytes)
}

fn of_the_file(error: io::Error) -> PictureError {
    let code = if error.kind() == io::ErrorKind::NotFound { "file_missing" } else { "file_unreadable" };
    PictureError::File { code, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(path: &Path, limits: &DecodeLimits) -> &'static str {
        read_picture(path, limits).err().map_or("decoded", |error| error.code())
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_from_what_is_wrong_with_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        let limits = DecodeLimits { max_bytes: 100, ..DecodeLimits::selfie() };
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        assert_eq!(code(&folder.path().join("none.jpg"), &limits), "file_missing");
        assert_eq!(code(folder.path(), &limits), "file_not_regular");
        assert_eq!(code(&file("empty.jpg", b""), &limits), "image_empty");
        assert_eq!(code(&file("text.jpg", b"no picture"), &limits), "image_format_unknown");
        assert_eq!(code(&file("large.jpg", &[0xff; 101]), &limits), "image_too_many_bytes");
    }
}
