//! The size of an image from its header. Reads each byte at most once and allocates nothing.

/// What of an image's header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The data end before the size is said.
    #[error("the image ends before its header says how large it is")]
    Truncated,
    /// A marker or box is not what must stand in its place.
    #[error("the image's header is not well formed")]
    Malformed,
    /// A side of no pixels.
    #[error("the image's header declares a side of zero pixels")]
    Empty,
}

/// The frame header of a JPEG (ISO/IEC 10918-1 annex B).
pub(super) fn jpeg(image: &[u8]) -> Result<(u32, u32), HeaderError> {
    let mut rest = image.get(2..).ok_or(HeaderError::Truncated)?;
    loop {
        let marker;
        (marker, rest) = next_marker(rest)?;
        match marker {
            // TEM and restart markers stand alone; a second start of image is tolerated by decoders.
            0x01 | 0xd0..=0xd8 => {}
            // End of image, or the scan: the frame header would have stood before.
            0xd9 | 0xda => return Err(HeaderError::Malformed),
            _ => {
                let length = usize::from(be16(rest, 0)?);
                let segment = rest.get(2..length.max(2)).ok_or(HeaderError::Truncated)?;
                if length < 2 {
                    return Err(HeaderError::Malformed);
                }
                // Start of frame; C4, C8 and CC are tables and an extension.
                if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                    return size(u32::from(be16(segment, 3)?), u32::from(be16(segment, 1)?));
                }
                rest = rest.get(length..).ok_or(HeaderError::Truncated)?;
            }
        }
    }
}

/// The next marker code; any number of fill octets may stand before it.
fn next_marker(bytes: &[u8]) -> Result<(u8, &[u8]), HeaderError> {
    let fill = bytes.iter().take_while(|byte| **byte == 0xff).count();
    let marker = *bytes.get(fill).ok_or(HeaderError::Truncated)?;
    if fill == 0 || marker == 0 {
        return Err(HeaderError::Malformed);
    }
    Ok((marker, bytes.get(fill + 1..).unwrap_or_default()))
}

/// The SIZ marker segment of a codestream (ISO/IEC 15444-1 annex A.5.1): the image area on the reference grid.
pub(super) fn codestream(codestream: &[u8]) -> Result<(u32, u32), HeaderError> {
    if codestream.len() >= 4 && !codestream.starts_with(&[0xff, 0x4f, 0xff, 0x51]) {
        return Err(HeaderError::Malformed);
    }
    // After SOC, SIZ, Lsiz and Rsiz.
    let field = |number: usize| be32(codestream, 8 + 4 * number);
    let (right, bottom, left, top) = (field(0)?, field(1)?, field(2)?, field(3)?);
    let width = right.checked_sub(left).ok_or(HeaderError::Malformed)?;
    let height = bottom.checked_sub(top).ok_or(HeaderError::Malformed)?;
    size(width, height)
}

/// The contents of the first contiguous codestream box of a JP2 file.
pub(super) fn contiguous_codestream(image: &[u8]) -> Result<&[u8], HeaderError> {
    find_box(image, b"jp2c")
}

/// Width and height of the image header box inside the JP2 header box (annex I.5.3.1).
pub(super) fn image_header_box(image: &[u8]) -> Option<(u32, u32)> {
    let header = find_box(find_box(image, b"jp2h").ok()?, b"ihdr").ok()?;
    Some((be32(header, 4).ok()?, be32(header, 0).ok()?))
}

/// Boxes (annex I.4): length over all, type, contents; a length of 0 reaches to the end, of 1 has 64 bits behind the type.
fn find_box<'a>(mut bytes: &'a [u8], kind: &[u8; 4]) -> Result<&'a [u8], HeaderError> {
    while !bytes.is_empty() {
        let found = bytes.get(4..8).ok_or(HeaderError::Truncated)?;
        let (header, length) = match be32(bytes, 0)? {
            0 => (8, bytes.len()),
            1 => {
                let (high, low) = (be32(bytes, 8)?, be32(bytes, 12)?);
                if high != 0 {
                    return Err(HeaderError::Truncated);
                }
                (16, low as usize)
            }
            length => (8, length as usize),
        };
        if length < header {
            return Err(HeaderError::Malformed);
        }
        if found == kind {
            // The last box may be cut short: what is there decides.
            return Ok(bytes.get(header..length.min(bytes.len())).unwrap_or_default());
        }
        bytes = bytes.get(length..).ok_or(HeaderError::Truncated)?;
    }
    Err(HeaderError::Truncated)
}

fn size(width: u32, height: u32) -> Result<(u32, u32), HeaderError> {
    if width == 0 || height == 0 { Err(HeaderError::Empty) } else { Ok((width, height)) }
}

fn be16(bytes: &[u8], at: usize) -> Result<u16, HeaderError> {
    let octets = bytes.get(at..at + 2).and_then(|octets| octets.try_into().ok()).ok_or(HeaderError::Truncated)?;
    Ok(u16::from_be_bytes(octets))
}

fn be32(bytes: &[u8], at: usize) -> Result<u32, HeaderError> {
    let octets = bytes.get(at..at + 4).and_then(|octets| octets.try_into().ok()).ok_or(HeaderError::Truncated)?;
    Ok(u32::from_be_bytes(octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portrait::ImageType;
    use proptest::prelude::*;

    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\x00\x04JF\xff\xff\xc2\x00\x0b\x08\x02\x13\x01\x9d\x01\x00\x00\x00";

    fn codestream_of(width: u32, height: u32, left: u32, top: u32) -> Vec<u8> {
        let mut out = vec![0xff, 0x4f, 0xff, 0x51, 0, 47, 0, 0];
        for number in [width, height, left, top] {
            out.extend(number.to_be_bytes());
        }
        out
    }

    fn jp2(codestream: &[u8], (width, height): (u32, u32), last_length: u32) -> Vec<u8> {
        let mut out = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x0cftypjp2 ".to_vec();
        out.extend(b"\0\0\0\x18jp2h\0\0\0\x10ihdr");
        out.extend(height.to_be_bytes());
        out.extend(width.to_be_bytes());
        out.extend(last_length.to_be_bytes());
        out.extend(b"jp2c");
        out.extend(codestream);
        out
    }

    #[test]
    fn sizes_are_those_of_the_headers() {
        assert_eq!(jpeg(JPEG), Ok((413, 531)));
        let bare = codestream_of(500, 600, 87, 69);
        assert_eq!(ImageType::Jpeg2000Codestream.size(&bare), Ok((413, 531)));
        for last_length in [0, 8 + bare.len() as u32, 9_999] {
            let file = jp2(&bare, (337, 449), last_length);
            assert_eq!(ImageType::sniff(&file), Some(ImageType::Jp2));
            assert_eq!(ImageType::Jp2.size(&file), Ok((413, 531)), "{last_length}");
            assert_eq!(ImageType::Jp2.container_size(&file), Some((337, 449)));
        }
        assert_eq!(ImageType::Jpeg.container_size(JPEG), None);
    }

    #[test]
    fn headers_that_say_no_size_are_named() {
        for end in 0..19 {
            assert_eq!(jpeg(&JPEG[..end]), Err(HeaderError::Truncated), "{end}");
        }
        for bad in [
            &b"\xff\xd8\xff\xd9"[..],
            b"\xff\xd8\xff\xda\0\x02",
            b"\xff\xd8\xff\xe0\0\x01",
            b"\xff\xd8\0\0",
            b"\xff\xd8\xff\0",
        ] {
            assert_eq!(jpeg(bad), Err(HeaderError::Malformed), "{bad:?}");
        }
        let bare = codestream_of(413, 531, 0, 0);
        for end in 0..bare.len() {
            assert_eq!(codestream(&bare[..end]), Err(HeaderError::Truncated), "{end}");
        }
        assert_eq!(codestream(&codestream_of(5, 5, 6, 0)), Err(HeaderError::Malformed));
        assert_eq!(codestream(&codestream_of(5, 5, 5, 0)), Err(HeaderError::Empty));
        let file = jp2(&bare, (413, 531), 0);
        for end in 0..file.len() {
            assert!(ImageType::Jp2.size(&file[..end]).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..3usize) {
            let kind = [ImageType::Jpeg, ImageType::Jp2, ImageType::Jpeg2000Codestream][kind];
            let _ = (kind.size(&bytes), kind.container_size(&bytes));
        }
    }
}
