//! The inverse cosine transform of a block: the accurate integer one of libjpeg ("islow"; Loeffler, Ligtenberg and
//! Moschytz, ICASSP 1989), bit for bit.

use super::lanes::Lanes;

/// Where the coefficients of a block come in natural order, by their place in the zigzag (ISO/IEC 10918-1 figure A.6).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// Where coefficients are kept, by their place in the zigzag: each with the one that is four rows below, as
/// [`Lanes::weigh`] wants them.
pub(super) const PLACES: [u8; 64] = {
    let mut places = [0; 64];
    let mut at = 0;
    while at < 64 {
        let (row, column) = (ZIGZAG[at] / 8, ZIGZAG[at] % 8);
        places[at] = row % 4 * 16 + column * 2 + row / 4;
        at += 1;
    }
    places
};

/// The samples of a block, from its coefficients and its quantization table, both by [`PLACES`]. Of `nonzero`, by place in
/// the zigzag, bits may be set for coefficients that are zero, but not the other way round.
#[inline(always)]
pub(super) fn block<L: Lanes>(lanes: L, block: &[i16; 64], nonzero: u64, quantization: &[i16; 64]) -> [[u8; 8]; 8] {
    if nonzero <= 1 {
        let once = block[0].wrapping_mul(quantization[0]).wrapping_mul(4);
        let sample = (i32::from(once) + 16) >> 5;
        return [[(sample + 128).clamp(0, 255) as u8; 8]; 8];
    }
    let (values, steps) = (block.as_chunks::<16>().0, quantization.as_chunks::<16>().0);
    // Written out, here and below: what is handed to `map` is not compiled for the machine it runs on.
    let rows = [
        lanes.pairs(&values[0], &steps[0]),
        lanes.pairs(&values[1], &steps[1]),
        lanes.pairs(&values[2], &steps[2]),
        lanes.pairs(&values[3], &steps[3]),
    ];
    let rows = columns::<L, 11>(lanes, rows, 0);
    // Samples are above 128 and below.
    lanes.bytes(columns::<L, 18>(lanes, lanes.turn(rows), 128))
}

/// The transform of each column, rounded and shifted right, `above` some number. Whole numbers all the way, so that
/// libjpeg's products of sums may be taken apart.
#[inline(always)]
fn columns<L: Lanes, const SHIFT: i32>(lanes: L, x: [L::Pairs; 4], above: i32) -> [L::Eight; 8] {
    // Rows 0 and 4, 1 and 5, 2 and 6, 3 and 7; cosines and sums of them, times 2^13.
    let half = lanes.all((above << SHIFT) + (1 << (SHIFT - 1)));
    let a = lanes.sum(lanes.weigh(x[0], [8192, 8192]), half);
    let b = lanes.sum(lanes.weigh(x[0], [8192, -8192]), half);
    let c = lanes.weigh(x[2], [4433, -10704]);
    let d = lanes.weigh(x[2], [10703, 4433]);
    let even = [lanes.sum(a, d), lanes.sum(b, c), lanes.difference(b, c), lanes.difference(a, d)];
    let odd = [
        lanes.sum(lanes.weigh(x[1], [11363, 6437]), lanes.weigh(x[3], [9633, 2260])),
        lanes.sum(lanes.weigh(x[1], [9633, -11362]), lanes.weigh(x[3], [-2259, -6436])),
        lanes.sum(lanes.weigh(x[1], [6437, 2261]), lanes.weigh(x[3], [-11362, 9633])),
        lanes.sum(lanes.weigh(x[1], [2260, 9633]), lanes.weigh(x[3], [-6436, -11363])),
    ];
    [
        lanes.right::<SHIFT>(lanes.sum(even[0], odd[0])),
        lanes.right::<SHIFT>(lanes.sum(even[1], odd[1])),
        lanes.right::<SHIFT>(lanes.sum(even[2], odd[2])),
        lanes.right::<SHIFT>(lanes.sum(even[3], odd[3])),
        lanes.right::<SHIFT>(lanes.difference(even[3], odd[3])),
        lanes.right::<SHIFT>(lanes.difference(even[2], odd[2])),
        lanes.right::<SHIFT>(lanes.difference(even[1], odd[1])),
        lanes.right::<SHIFT>(lanes.difference(even[0], odd[0])),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::lanes::{Plain, Work, vectorised};
    use super::*;

    struct Transform<'a>(&'a [i16; 64], u64, &'a [i16; 64]);

    impl Work for Transform<'_> {
        type Output = [[u8; 8]; 8];

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> Self::Output {
            block(lanes, self.0, self.1, self.2)
        }
    }

    #[test]
    fn shortcuts_and_wide_instructions_give_what_the_whole_transform_gives() {
        let mut state = 99u32;
        let mut dice = |below: i32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as i32 % below
        };
        for round in 0..4_000 {
            let known = [1, 2, 10, 11, 64][round % 5];
            let largest = [3, 40, 1_000, 32_767][round / 5 % 4];
            let mut coefficients = [0i16; 64];
            for place in PLACES.iter().take(known) {
                coefficients[usize::from(*place)] = (dice(2 * largest + 1) - largest) as i16;
            }
            let most = if round % 3 == 0 { 65_535 } else { 60 };
            let quantization: [i16; 64] = std::array::from_fn(|_| (dice(most) + 1) as u16 as i16);
            let nonzero = u64::MAX >> (64 - known);
            let whole = block(Plain, &coefficients, u64::MAX, &quantization);
            assert_eq!(block(Plain, &coefficients, nonzero, &quantization), whole);
            assert_eq!(vectorised(Transform(&coefficients, nonzero, &quantization)), whole);
            assert_eq!(vectorised(Transform(&coefficients, u64::MAX, &quantization)), whole);
        }
    }

    #[test]
    fn samples_are_those_of_the_cosines() {
        let mut state = 5u32;
        for _ in 0..200 {
            let mut coefficients = [0i16; 64];
            let mut natural = [0f64; 64];
            for at in 0..12 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let value = (state >> 16) as i16 % 60;
                coefficients[usize::from(PLACES[at])] = value;
                natural[usize::from(ZIGZAG[at])] = f64::from(value);
            }
            let got = block(Plain, &coefficients, u64::MAX, &[1; 64]);
            for (y, row) in got.iter().enumerate() {
                for (x, sample) in row.iter().enumerate() {
                    let cosine = |at: usize, k: usize| {
                        let scale = if k == 0 { 0.5f64.sqrt() } else { 1.0 };
                        scale * ((2 * at + 1) as f64 * k as f64 * std::f64::consts::PI / 16.0).cos()
                    };
                    let sum: f64 = (0..64).map(|n| natural[n] * cosine(y, n / 8) * cosine(x, n % 8)).sum();
                    let exact = (sum / 4.0 + 128.0).clamp(0.0, 255.0);
                    assert!((f64::from(*sample) - exact).abs() < 0.75, "{sample} {exact}");
                }
            }
        }
    }
}
