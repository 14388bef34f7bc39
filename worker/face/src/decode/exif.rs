//! The orientation tag of an EXIF block (TIFF 6.0, tag 0x0112), and its effect.

use crate::image::RgbImage;

/// The eight ways in which a camera may have stored an upright picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orientation {
    mirror: bool,
    /// Quarter turns clockwise that make the stored picture upright, after the mirroring.
    turns: u8,
}

impl Orientation {
    pub(super) const UPRIGHT: Self = Self { mirror: false, turns: 0 };

    fn from_tag(value: u16) -> Option<Self> {
        let (mirror, turns) = match value {
            1 => (false, 0),
            2 => (true, 0),
            3 => (false, 2),
            4 => (true, 2),
            5 => (true, 3),
            6 => (false, 1),
            7 => (true, 1),
            8 => (false, 3),
            _ => return None,
        };
        Some(Self { mirror, turns })
    }

    /// Makes the picture upright.
    pub(super) fn apply(self, image: RgbImage) -> RgbImage {
        if self == Self::UPRIGHT {
            return image;
        }
        let (w, h) = (image.width(), image.height());
        let (out_w, out_h) = if self.turns % 2 == 1 { (h, w) } else { (w, h) };
        let mut out = Vec::with_capacity(out_w * out_h * 3);
        for y in 0..out_h {
            for x in 0..out_w {
                let (sx, sy) = match self.turns {
                    0 => (x, y),
                    1 => (y, h - 1 - x),
                    2 => (w - 1 - x, h - 1 - y),
                    _ => (w - 1 - y, x),
                };
                let sx = if self.mirror { w - 1 - sx } else { sx };
                out.extend_from_slice(&image.at(sx, sy));
            }
        }
        RgbImage::new(out_w, out_h, out).unwrap_or(image)
    }
}

/// Reads the orientation from an EXIF block that begins with the TIFF header. A block that does
/// not parse, or has no such tag, is taken as upright: the tag is a hint, not evidence.
pub(super) fn orientation(tiff: &[u8]) -> Orientation {
    read(tiff).unwrap_or(Orientation::UPRIGHT)
}

fn read(tiff: &[u8]) -> Option<Orientation> {
    let little = match tiff.get(..4)? {
        b"II\x2a\x00" => true,
        b"MM\x00\x2a" => false,
        _ => return None,
    };
    let u16_at = |at: usize| -> Option<u16> {
        let raw: [u8; 2] = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(raw) } else { u16::from_be_bytes(raw) })
    };
    let raw: [u8; 4] = tiff.get(4..8)?.try_into().ok()?;
    let directory = if little { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) };
    let directory = usize::try_from(directory).ok()?;
    let entries = usize::from(u16_at(directory)?);
    for entry in 0..entries {
        let at = directory.checked_add(2 + entry * 12)?;
        if u16_at(at)? == 0x0112 {
            // The standard asks for a SHORT; some phones write a LONG.
            const SHORT: u16 = 3;
            const LONG: u16 = 4;
            let value = at + 8;
            return Orientation::from_tag(match u16_at(at + 2)? {
                SHORT => u16_at(value)?,
                LONG => {
                    let (first, second) = (u16_at(value)?, u16_at(value + 2)?);
                    let (low, high) = if little { (first, second) } else { (second, first) };
                    (high == 0).then_some(low)?
                }
                _ => return None,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(tag: u16, little: bool) -> Vec<u8> {
        let short = |v: u16| {
            if little { v.to_le_bytes() } else { v.to_be_bytes() }
        };
        let mut out =
            if little { b"II\x2a\x00\x08\x00\x00\x00".to_vec() } else { b"MM\x00\x2a\x00\x00\x00\x08".to_vec() };
        out.extend(short(1));
        out.extend(short(0x0112));
        out.extend(short(3));
        out.extend(if little { [1, 0, 0, 0] } else { [0, 0, 0, 1] });
        out.extend(short(tag));
        out.extend([0, 0]);
        out
    }

    /// A 2x3 picture whose red values are 0..6 in reading order.
    fn numbered() -> RgbImage {
        let data = (0..6u8).flat_map(|v| [v, 0, 0]).collect();
        RgbImage::new(2, 3, data).unwrap()
    }

    fn reds(image: &RgbImage) -> (usize, usize, Vec<u8>) {
        let reds = image.data().chunks(3).map(|p| p[0]).collect();
        (image.width(), image.height(), reds)
    }

    #[test]
    fn all_eight_orientations_come_out_upright() {
        let expected: [(u16, usize, usize, [u8; 6]); 8] = [
            (1, 2, 3, [0, 1, 2, 3, 4, 5]),
            (2, 2, 3, [1, 0, 3, 2, 5, 4]),
            (3, 2, 3, [5, 4, 3, 2, 1, 0]),
            (4, 2, 3, [4, 5, 2, 3, 0, 1]),
            (5, 3, 2, [0, 2, 4, 1, 3, 5]),
            (6, 3, 2, [4, 2, 0, 5, 3, 1]),
            (7, 3, 2, [5, 3, 1, 4, 2, 0]),
            (8, 3, 2, [1, 3, 5, 0, 2, 4]),
        ];
        for (tag, w, h, order) in expected {
            for little in [true, false] {
                let upright = orientation(&block(tag, little)).apply(numbered());
                assert_eq!(reds(&upright), (w, h, order.to_vec()), "tag {tag}");
            }
        }
    }

    /// The same block with its orientation as a LONG.
    fn long_block(tag: u32, little: bool) -> Vec<u8> {
        let mut out = block(0, little);
        let (kind, value) = (out.len() - 10, out.len() - 4);
        out[kind..kind + 2].copy_from_slice(&if little { 4u16.to_le_bytes() } else { 4u16.to_be_bytes() });
        out[value..].copy_from_slice(&if little { tag.to_le_bytes() } else { tag.to_be_bytes() });
        out
    }

    #[test]
    fn an_orientation_stored_as_a_long_counts_and_as_anything_else_does_not() {
        for little in [true, false] {
            for tag in 1..=8 {
                assert_eq!(orientation(&long_block(tag.into(), little)), orientation(&block(tag, little)), "tag {tag}");
            }
            assert_ne!(orientation(&long_block(6, little)), Orientation::UPRIGHT);
            assert_eq!(orientation(&long_block(0x0001_0006, little)), Orientation::UPRIGHT);
            let mut bytes = block(6, little);
            let kind = bytes.len() - 10;
            bytes[kind..kind + 2].copy_from_slice(&if little { 1u16.to_le_bytes() } else { 1u16.to_be_bytes() });
            assert_eq!(orientation(&bytes), Orientation::UPRIGHT);
        }
    }

    #[test]
    fn a_block_that_is_cut_off_or_absurd_counts_as_upright() {
        let whole = block(6, true);
        for n in 0..whole.len() - 2 {
            let got = orientation(&whole[..n]);
            assert!(got == Orientation::UPRIGHT || n >= 20, "length {n}");
        }
        let mut absurd = whole.clone();
        absurd[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(orientation(&absurd), Orientation::UPRIGHT);
        assert_eq!(orientation(&block(9, true)), Orientation::UPRIGHT);
    }
}
