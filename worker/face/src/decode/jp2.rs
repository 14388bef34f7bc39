//! JPEG 2000 (ISO/IEC 15444-1): a JP2 file or a raw codestream, up to 16 bits a sample.

use hayro_jpeg2000::{ColorSpace, DecodeError, DecodeSettings, DecoderContext, Image, TileError};
use zeroize::Zeroizing;

use super::{big_endian_16, big_endian_32, check_size};
use crate::image::{DecodeLimits, ImageError, RgbImage};

pub(super) const FILE_SIGNATURE: &[u8] = b"\x00\x00\x00\x0cjP  \r\n\x87\n";
pub(super) const CODESTREAM_SIGNATURE: &[u8] = b"\xff\x4f\xff\x51";

/// JPEG 2000 decodes through 32-bit floats: it gets a quarter of the pixels that JPEG gets.
const PIXEL_SHARE: u64 = 4;

/// Real portraits have one tile; each tile costs memory whatever its size.
const MAX_TILES: u64 = 1_024;

pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<RgbImage, ImageError> {
    let found = Codestream::find(bytes)?;
    let size = ImageSize::read(found.bytes)?;
    check_size(size.width, size.height, limits, PIXEL_SHARE)?;
    if size.tiles > MAX_TILES {
        return Err(ImageError::Unsupported(format!("JPEG 2000 of more than {MAX_TILES} tiles")));
    }
    let parts = check_tile_parts(found.bytes, size.tiles)?;
    match decode_file(&found.closed(parts), &size, true) {
        Err(Fault::Decoder(DecodeError::Tile(TileError::Invalid))) => {
            Err(ImageError::Truncated("JPEG 2000 whose tiles end inside a packet, or hold more than its packets"))
        }
        // What else a strict decoder minds, encoders do; the picture is there.
        Err(_) => decode_file(bytes, &size, false).map_err(Fault::named),
        Ok(image) => Ok(image),
    }
}

/// Why a file gives no picture.
enum Fault {
    Decoder(DecodeError),
    Image(ImageError),
}

impl Fault {
    fn named(self) -> ImageError {
        match self {
            Self::Decoder(error) => ImageError::Corrupt(error.to_string()),
            Self::Image(error) => error,
        }
    }
}

impl From<ImageError> for Fault {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

/// `strict`: every packet of every tile must be there.
fn decode_file(bytes: &[u8], size: &ImageSize, strict: bool) -> Result<RgbImage, Fault> {
    let settings = DecodeSettings { strict, ..DecodeSettings::default() };
    let image = Image::new(bytes, &settings).map_err(Fault::Decoder)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    if (width as u64, height as u64) != (size.width, size.height) {
        return Err(ImageError::Corrupt("two picture headers".to_owned()).into());
    }
    let colours = match image.color_space() {
        ColorSpace::Gray => 1,
        ColorSpace::RGB => 3,
        ColorSpace::Icc { num_channels: n @ (1 | 3), .. } => usize::from(*n),
        other => {
            let channels = other.num_channels();
            return Err(ImageError::Unsupported(format!("JPEG 2000 of {channels} colour channels")).into());
        }
    };
    let channels = colours + usize::from(image.has_alpha());
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(Fault::Decoder)?;
    let components = decoded.components();
    if components.len() != channels || components.iter().any(|c| c.samples().len() != width * height) {
        return Err(ImageError::Unsupported("JPEG 2000 whose components differ in size".to_owned()).into());
    }
    let raw = Zeroizing::new(decoded.data_u8());
    let data: Vec<u8> = match (colours, channels) {
        (3, 3) => raw.to_vec(),
        (3, _) => raw.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        (_, n) => raw.chunks_exact(n).flat_map(|p| [p[0]; 3]).collect(),
    };
    RgbImage::new(width, height, data)
        .ok_or_else(|| ImageError::Corrupt("the decoder returned another size".to_owned()).into())
}

/// Width, height and number of components that the codestream declares.
pub(super) fn size(bytes: &[u8]) -> Option<(u64, u64, u64)> {
    let size = ImageSize::read(Codestream::find(bytes).ok()?.bytes).ok()?;
    Some((size.width, size.height, size.components))
}

/// A codestream, and what lies ahead of its box where it is in a JP2 file.
struct Codestream<'a> {
    file_header: Option<&'a [u8]>,
    bytes: &'a [u8],
}

impl<'a> Codestream<'a> {
    fn find(bytes: &'a [u8]) -> Result<Self, ImageError> {
        if bytes.starts_with(CODESTREAM_SIGNATURE) {
            return Ok(Self { file_header: None, bytes });
        }
        find_codestream(bytes)
    }

    /// The file as a strict decoder wants it: the last tile-part with its length, the end marker
    /// behind it, and nothing else.
    fn closed(&self, parts: TileParts) -> Zeroizing<Vec<u8>> {
        let header = self.file_header.unwrap_or_default();
        let mut out = Zeroizing::new(Vec::with_capacity(header.len() + 8 + parts.end + 2));
        if self.file_header.is_some() {
            out.extend_from_slice(header);
            // A box that goes on to the end of the file.
            out.extend_from_slice(b"\0\0\0\0jp2c");
        }
        let start = out.len();
        out.extend_from_slice(&self.bytes[..parts.end]);
        if let (Some(at), Ok(length)) = (parts.unmeasured, u32::try_from(parts.end - parts.unmeasured.unwrap_or(0)))
            && let Some(field) = out.get_mut(start + at + 6..start + at + 10)
        {
            field.copy_from_slice(&length.to_be_bytes());
        }
        out.extend_from_slice(&EOC.to_be_bytes());
        out
    }
}

/// The contiguous codestream box of a JP2 file (15444-1 annex I), after checking that the image
/// header box tells the same size as the codestream.
fn find_codestream(bytes: &[u8]) -> Result<Codestream<'_>, ImageError> {
    const CUT: ImageError = ImageError::Truncated("JP2 ends inside a box");
    let mut told: Option<(u64, u64)> = None;
    let mut at = 0;
    while at < bytes.len() {
        let (kind, body, end) = read_box(bytes, at).ok_or(CUT)?;
        match kind {
            b"jp2h" => {
                let (inner, header, _) = read_box(body, 0).ok_or(CUT)?;
                if inner == b"ihdr" {
                    let height = big_endian_32(header, 0).ok_or(CUT)?;
                    let width = big_endian_32(header, 4).ok_or(CUT)?;
                    told = Some((width.into(), height.into()));
                }
            }
            b"jp2c" => {
                let size = ImageSize::read(body)?;
                if told.is_some_and(|told| told != (size.width, size.height)) {
                    return Err(ImageError::Corrupt(
                        "the JP2 header and its codestream tell different sizes".to_owned(),
                    ));
                }
                return Ok(Codestream { file_header: bytes.get(..at), bytes: body });
            }
            _ => {}
        }
        at = end;
    }
    Err(ImageError::Truncated("JP2 without a codestream"))
}

/// One box: its type, its contents and where the next one starts.
fn read_box(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8], usize)> {
    let length = big_endian_32(bytes, at)?;
    let kind = bytes.get(at + 4..at + 8)?;
    let (start, end) = match length {
        0 => (at + 8, bytes.len()),
        1 => {
            let long = (u64::from(big_endian_32(bytes, at + 8)?) << 32) | u64::from(big_endian_32(bytes, at + 12)?);
            (at + 16, at.checked_add(usize::try_from(long).ok()?)?)
        }
        short => (at + 8, at.checked_add(short as usize)?),
    };
    (start <= end).then_some(())?;
    Some((kind, bytes.get(start..end)?, end))
}

/// The SIZ marker segment (15444-1 A.5.1).
struct ImageSize {
    width: u64,
    height: u64,
    components: u64,
    tiles: u64,
}

impl ImageSize {
    fn read(codestream: &[u8]) -> Result<Self, ImageError> {
        const CUT: ImageError = ImageError::Truncated("JPEG 2000 ends inside its header");
        if !codestream.starts_with(CODESTREAM_SIGNATURE) {
            return Err(if codestream.len() < 4 {
                CUT
            } else {
                ImageError::Corrupt("a JPEG 2000 codestream without a size".to_owned())
            });
        }
        let word = |index: usize| big_endian_32(codestream, 8 + index * 4).map(u64::from).ok_or(CUT);
        let (x1, y1, x0, y0) = (word(0)?, word(1)?, word(2)?, word(3)?);
        let (tile_w, tile_h, tile_x0, tile_y0) = (word(4)?, word(5)?, word(6)?, word(7)?);
        let components = big_endian_16(codestream, 40).ok_or(CUT)?;
        if !(1..=4).contains(&components) {
            return Err(ImageError::Unsupported(format!("JPEG 2000 of {components} components")));
        }
        for component in 0..usize::from(components) {
            let at = 42 + component * 3;
            let &[depth, dx, dy] = codestream.get(at..at + 3).ok_or(CUT)? else {
                return Err(CUT);
            };
            if depth & 0x80 != 0 || depth & 0x7f > 15 {
                return Err(ImageError::Unsupported("JPEG 2000 of signed samples or more than 16 bits".to_owned()));
            }
            if component == 0 && (dx != 1 || dy != 1) {
                return Err(ImageError::Unsupported("JPEG 2000 whose first component is subsampled".to_owned()));
            }
        }
        if x1 <= x0 || y1 <= y0 || tile_w == 0 || tile_h == 0 {
            return Err(ImageError::Corrupt("a JPEG 2000 picture without an area".to_owned()));
        }
        let tiles_x = x1.saturating_sub(tile_x0).div_ceil(tile_w);
        let tiles_y = y1.saturating_sub(tile_y0).div_ceil(tile_h);
        Ok(Self {
            width: x1 - x0,
            height: y1 - y0,
            components: components.into(),
            tiles: tiles_x.saturating_mul(tiles_y),
        })
    }
}

/// Walks the tile-parts (15444-1 A.4.2): each must lie wholly inside the file, and each tile of the
/// picture must have one, for a decoder leaves black what has none.
fn check_tile_parts(codestream: &[u8], tiles: u64) -> Result<TileParts, ImageError> {
    let mut seen = std::collections::BTreeSet::new();
    let parts = walk_tile_parts(codestream, |tile| {
        seen.insert(tile);
    })?;
    if seen.iter().any(|tile| u64::from(*tile) >= tiles) {
        return Err(ImageError::Corrupt("a tile outside of the picture".to_owned()));
    }
    if (seen.len() as u64) < tiles {
        Err(ImageError::Truncated("JPEG 2000 without all of its tiles"))
    } else {
        Ok(parts)
    }
}

const EOC: u16 = 0xffd9;

/// Where the tile-parts of a codestream are.
struct TileParts {
    /// Behind the last.
    end: usize,
    /// The last, if it does not tell its length.
    unmeasured: Option<usize>,
}

fn walk_tile_parts(codestream: &[u8], mut met: impl FnMut(u16)) -> Result<TileParts, ImageError> {
    const CUT: ImageError = ImageError::Truncated("JPEG 2000 ends inside a tile");
    const SOT: u16 = 0xff90;
    // The header before the first tile-part is left to the decoder: there are encoders that
    // miscount its segments, and decoders that do not mind.
    let mut at = codestream.windows(4).position(|window| window == [0xff, 0x90, 0, 10]).ok_or(CUT)?;
    let mut parts = 0;
    loop {
        let marker = match big_endian_16(codestream, at) {
            Some(marker) => marker,
            // Some encoders leave the end marker out; the tile-parts before it were whole.
            None if parts > 0 && at == codestream.len() => return Ok(TileParts { end: at, unmeasured: None }),
            None => return Err(CUT),
        };
        match marker {
            EOC if parts > 0 => return Ok(TileParts { end: at, unmeasured: None }),
            SOT => {
                let length = big_endian_32(codestream, at + 6).ok_or(CUT)? as usize;
                parts += 1;
                met(big_endian_16(codestream, at + 4).ok_or(CUT)?);
                if length == 0 {
                    // This last tile-part runs to the end marker.
                    let end = codestream.strip_suffix(&EOC.to_be_bytes()).ok_or(CUT)?.len();
                    return if end >= at + 14 { Ok(TileParts { end, unmeasured: Some(at) }) } else { Err(CUT) };
                }
                if length < 14 {
                    return Err(ImageError::Corrupt("a tile shorter than its header".to_owned()));
                }
                at = at.checked_add(length).filter(|end| *end <= codestream.len()).ok_or(CUT)?;
            }
            // Bytes that pad the file after its last tile-part.
            _ if parts > 0 => return Ok(TileParts { end: at, unmeasured: None }),
            _ => {
                return Err(ImageError::Corrupt(format!("marker {marker:04x} instead of a tile")));
            }
        }
    }
}
