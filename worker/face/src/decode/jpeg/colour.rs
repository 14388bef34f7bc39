//! From a row of components to a row of RGB.

use super::lanes::Lanes;

/// What the components are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Grey,
    YCbCr,
    Rgb,
    /// Inverted, as every program writes it.
    Cmyk,
    Ycck,
}

/// One row; each component's has at least as many samples as the row has pixels.
#[inline(always)]
pub(super) fn row<L: Lanes>(lanes: L, colour: Colour, from: [&[u8]; 4], out: &mut [u8]) {
    let pixels = out.as_chunks_mut::<3>().0;
    let [a, b, c, k] = from;
    let key = |pixels: &mut [[u8; 3]]| {
        for (pixel, k) in pixels.iter_mut().zip(k) {
            *pixel = pixel.map(|value| product(value, *k));
        }
    };
    match colour {
        Colour::Grey => {
            for (pixel, grey) in pixels.iter_mut().zip(a) {
                *pixel = [*grey; 3];
            }
        }
        Colour::Rgb | Colour::Cmyk => {
            for (((pixel, r), g), b) in pixels.iter_mut().zip(a).zip(b).zip(c) {
                *pixel = [*r, *g, *b];
            }
            if colour == Colour::Cmyk {
                key(pixels);
            }
        }
        Colour::YCbCr => ycbcr(lanes, a, b, c, out),
        Colour::Ycck => {
            ycbcr(lanes, a, b, c, out);
            let pixels = out.as_chunks_mut::<3>().0;
            for pixel in pixels.iter_mut() {
                *pixel = pixel.map(|value| 255 - value);
            }
            key(pixels);
        }
    }
}

/// The product of two shares of 255, rounded.
fn product(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    ((product + (product >> 8)) >> 8) as u8
}

/// ITU-R BT.601 as JFIF has it, in 16 bits behind the point, rounded as libjpeg does.
#[inline(always)]
fn ycbcr<L: Lanes>(lanes: L, y: &[u8], cb: &[u8], cr: &[u8], out: &mut [u8]) {
    const AT_ONCE: usize = 16;
    let (pixels, rest) = out.as_chunks_mut::<{ 3 * AT_ONCE }>();
    let (y, cb, cr) = (y.as_chunks::<AT_ONCE>(), cb.as_chunks::<AT_ONCE>(), cr.as_chunks::<AT_ONCE>());
    let whole = pixels.len();
    for (((pixels, y), cb), cr) in pixels.iter_mut().zip(y.0).zip(cb.0).zip(cr.0) {
        let [mut r, mut g, mut b] = [[0; AT_ONCE]; 3];
        for at in 0..AT_ONCE {
            [r[at], g[at], b[at]] = pixel(y[at], cb[at], cr[at]);
        }
        *pixels = lanes.interleave(&r, &g, &b);
    }
    // The last ones: what follows the whole ones, or the remainder.
    let tail = |chunks: (&[[u8; AT_ONCE]], &[u8]), at: usize| -> u8 {
        chunks.0.get(whole).map_or_else(|| chunks.1.get(at), |chunk| chunk.get(at)).copied().unwrap_or(0)
    };
    for (at, out) in rest.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        *out = pixel(tail(y, at), tail(cb, at), tail(cr, at));
    }
}

/// The factors 1.402, 0.344, 0.714 and 1.772 times 2^16, less a whole number where they would not fit 16 bits; twice the
/// half and one more is rounded as libjpeg rounds.
#[inline(always)]
fn pixel(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i16::from(y), i16::from(cb) - 128, i16::from(cr) - 128);
    let high = |value: i16, factor: i16| ((i32::from(2 * value) * i32::from(factor)) >> 16) as i16;
    let red = cr + ((high(cr, 26_345) + 1) >> 1);
    let blue = 2 * cb + ((high(cb, -14_942) + 1) >> 1);
    let green = ((i32::from(cb) * -22_554 + i32::from(cr) * 18_734 + 32_768) >> 16) as i16 - cr;
    [red, green, blue].map(|offset| (y + offset).clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_the_one_of_the_definition() {
        for cb in 0..=255u8 {
            for cr in 0..=255u8 {
                let (x, z) = (i64::from(cb) - 128, i64::from(cr) - 128);
                let offsets = [
                    (91_881 * z + 32_768) >> 16,
                    (-22_554 * x - 46_802 * z + 32_768) >> 16,
                    (116_130 * x + 32_768) >> 16,
                ];
                for y in [0, 1, 77, 128, 200, 255] {
                    assert_eq!(pixel(y, cb, cr), offsets.map(|o| (i64::from(y) + o).clamp(0, 255) as u8));
                }
            }
        }
    }
}
