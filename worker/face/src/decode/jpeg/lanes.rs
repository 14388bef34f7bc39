//! Eight numbers at once, and the dispatch to the widest instructions that the machine has: 256-bit vectors where there
//! are some, plain arrays elsewhere. Both give the same numbers. Most loops the compiler makes wide by itself; what is
//! named here it does not.

/// A piece of work that is compiled for the machine that it runs on. `run` must be inlined.
pub(super) trait Work {
    type Output;
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Does a piece of work with the widest instructions there are.
#[inline]
pub(super) fn vectorised<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(lanes) = pulp::x86::V3::try_new() {
        return lanes.vectorize(
            #[inline(always)]
            || work.run(lanes),
        );
    }
    work.run(Plain)
}

/// Arithmetic of eight numbers of 32 bits or eight pairs of 16 bits, all of which wraps, and operations that move bytes
/// about.
pub(super) trait Lanes: Copy {
    type Pairs: Copy;
    type Eight: Copy;

    /// The products of numbers, as pairs.
    fn pairs(self, values: &[i16; 16], factors: &[i16; 16]) -> Self::Pairs;

    /// For each pair the sum of its numbers, weighed.
    fn weigh(self, pairs: Self::Pairs, weights: [i16; 2]) -> Self::Eight;

    fn all(self, value: i32) -> Self::Eight;
    fn sum(self, a: Self::Eight, b: Self::Eight) -> Self::Eight;
    fn difference(self, a: Self::Eight, b: Self::Eight) -> Self::Eight;
    fn right<const BITS: i32>(self, value: Self::Eight) -> Self::Eight;

    /// Rows of numbers, cut to 16 bits, as columns: paired with the one four further on.
    fn turn(self, rows: [Self::Eight; 8]) -> [Self::Pairs; 4];

    /// Rows of bytes, from columns of numbers of at most 16 bits; what no byte holds becomes the nearest that one does.
    fn bytes(self, columns: [Self::Eight; 8]) -> [[u8; 8]; 8];

    /// Puts three colours of 16 pixels one behind the other.
    fn interleave(self, red: &[u8; 16], green: &[u8; 16], blue: &[u8; 16]) -> [u8; 48];
}

/// Any machine.
#[derive(Clone, Copy)]
pub(super) struct Plain;

impl Lanes for Plain {
    type Pairs = [i16; 16];
    type Eight = [i32; 8];

    #[inline(always)]
    fn pairs(self, values: &[i16; 16], factors: &[i16; 16]) -> [i16; 16] {
        std::array::from_fn(|at| values[at].wrapping_mul(factors[at]))
    }

    #[inline(always)]
    fn weigh(self, pairs: [i16; 16], weights: [i16; 2]) -> [i32; 8] {
        let weighed = |at: usize, half: usize| i32::from(pairs[2 * at + half]) * i32::from(weights[half]);
        std::array::from_fn(|at| weighed(at, 0).wrapping_add(weighed(at, 1)))
    }

    #[inline(always)]
    fn all(self, value: i32) -> [i32; 8] {
        [value; 8]
    }

    #[inline(always)]
    fn sum(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|at| a[at].wrapping_add(b[at]))
    }

    #[inline(always)]
    fn difference(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|at| a[at].wrapping_sub(b[at]))
    }

    #[inline(always)]
    fn right<const BITS: i32>(self, value: [i32; 8]) -> [i32; 8] {
        value.map(|value| value >> BITS)
    }

    #[inline(always)]
    fn turn(self, rows: [[i32; 8]; 8]) -> [[i16; 16]; 4] {
        std::array::from_fn(|column| std::array::from_fn(|at| rows[at / 2][column + at % 2 * 4] as i16))
    }

    #[inline(always)]
    fn bytes(self, columns: [[i32; 8]; 8]) -> [[u8; 8]; 8] {
        std::array::from_fn(|row| std::array::from_fn(|column| (columns[column][row] as i16).clamp(0, 255) as u8))
    }

    #[inline(always)]
    fn interleave(self, red: &[u8; 16], green: &[u8; 16], blue: &[u8; 16]) -> [u8; 48] {
        std::array::from_fn(|at| [red, green, blue][at % 3][at / 3])
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::__m256i;

    use pulp::cast;
    use pulp::x86::V3;

    use super::Lanes;

    impl Lanes for V3 {
        type Pairs = __m256i;
        type Eight = __m256i;

        #[inline(always)]
        fn pairs(self, values: &[i16; 16], factors: &[i16; 16]) -> __m256i {
            self.avx2._mm256_mullo_epi16(cast(*values), cast(*factors))
        }

        #[inline(always)]
        fn weigh(self, pairs: __m256i, [first, second]: [i16; 2]) -> __m256i {
            let weights = i32::from(first as u16) | i32::from(second) << 16;
            self.avx2._mm256_madd_epi16(pairs, self.avx._mm256_set1_epi32(weights))
        }

        #[inline(always)]
        fn all(self, value: i32) -> __m256i {
            self.avx._mm256_set1_epi32(value)
        }

        #[inline(always)]
        fn sum(self, a: __m256i, b: __m256i) -> __m256i {
            self.avx2._mm256_add_epi32(a, b)
        }

        #[inline(always)]
        fn difference(self, a: __m256i, b: __m256i) -> __m256i {
            self.avx2._mm256_sub_epi32(a, b)
        }

        #[inline(always)]
        fn right<const BITS: i32>(self, value: __m256i) -> __m256i {
            self.avx2._mm256_srai_epi32::<BITS>(value)
        }

        #[inline(always)]
        fn turn(self, rows: [__m256i; 8]) -> [__m256i; 4] {
            // The pairs of two rows; then rows become columns within each half.
            let pairs = [
                pairs_of_rows(self, rows[0], rows[4]),
                pairs_of_rows(self, rows[1], rows[5]),
                pairs_of_rows(self, rows[2], rows[6]),
                pairs_of_rows(self, rows[3], rows[7]),
            ];
            let [a, b] = [
                self.avx2._mm256_unpacklo_epi32(pairs[0], pairs[1]),
                self.avx2._mm256_unpacklo_epi32(pairs[2], pairs[3]),
            ];
            let [c, d] = [
                self.avx2._mm256_unpackhi_epi32(pairs[0], pairs[1]),
                self.avx2._mm256_unpackhi_epi32(pairs[2], pairs[3]),
            ];
            [
                self.avx2._mm256_unpacklo_epi64(a, b),
                self.avx2._mm256_unpackhi_epi64(a, b),
                self.avx2._mm256_unpacklo_epi64(c, d),
                self.avx2._mm256_unpackhi_epi64(c, d),
            ]
        }

        #[inline(always)]
        fn bytes(self, columns: [__m256i; 8]) -> [[u8; 8]; 8] {
            let left = four_columns(self, columns[0], columns[1], columns[2], columns[3]);
            let right = four_columns(self, columns[4], columns[5], columns[6], columns[7]);
            let first: [[u8; 8]; 4] = cast(self.avx2._mm256_unpacklo_epi32(left, right));
            let second: [[u8; 8]; 4] = cast(self.avx2._mm256_unpackhi_epi32(left, right));
            [first[0], first[1], second[0], second[1], first[2], first[3], second[2], second[3]]
        }

        #[inline(always)]
        fn interleave(self, red: &[u8; 16], green: &[u8; 16], blue: &[u8; 16]) -> [u8; 48] {
            let (red, green, blue) = (cast(*red), cast(*green), cast(*blue));
            let mut out = [0; 48];
            for (out, places) in out.as_chunks_mut::<16>().0.iter_mut().zip(&PLACES) {
                let red = self.ssse3._mm_shuffle_epi8(red, cast(places[0]));
                let green = self.ssse3._mm_shuffle_epi8(green, cast(places[1]));
                let blue = self.ssse3._mm_shuffle_epi8(blue, cast(places[2]));
                *out = cast(self.sse2._mm_or_si128(self.sse2._mm_or_si128(red, green), blue));
            }
            out
        }
    }

    /// Two rows: pairs of their first four numbers and their last four.
    #[inline(always)]
    fn pairs_of_rows(lanes: V3, a: __m256i, b: __m256i) -> __m256i {
        let first = lanes.avx2._mm256_permute2x128_si256::<0x20>(a, b);
        let last = lanes.avx2._mm256_permute2x128_si256::<0x31>(a, b);
        lanes.avx2._mm256_blend_epi16::<0b1010_1010>(first, lanes.avx2._mm256_slli_epi32::<16>(last))
    }

    /// Columns of numbers as rows of four bytes.
    #[inline(always)]
    fn four_columns(lanes: V3, a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        // Two columns in the halves of each number, then bytes, then those of a row together.
        let ab = lanes.avx2._mm256_blend_epi16::<0b1010_1010>(a, lanes.avx2._mm256_slli_epi32::<16>(b));
        let cd = lanes.avx2._mm256_blend_epi16::<0b1010_1010>(c, lanes.avx2._mm256_slli_epi32::<16>(d));
        lanes.avx2._mm256_shuffle_epi8(lanes.avx2._mm256_packus_epi16(ab, cd), cast([ROWS; 2]))
    }

    /// Four rows of a pair, then four of the next one: each row's together.
    const ROWS: [u8; 16] = [0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15];

    /// By sixteen bytes of the output and by colour: which pixel each byte is of; 0x80 where it is another colour's.
    const PLACES: [[[u8; 16]; 3]; 3] = {
        let mut places = [[[0x80; 16]; 3]; 3];
        let mut at = 0;
        while at < 48 {
            places[at / 16][at % 3][at % 16] = (at / 3) as u8;
            at += 1;
        }
        places
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Moving;

    impl Work for Moving {
        type Output = ([[u8; 8]; 8], [[u8; 8]; 8], [u8; 48]);

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> Self::Output {
            let values: [[i16; 16]; 8] =
                std::array::from_fn(|row| std::array::from_fn(|at| (40 * row + at) as i16 - 30));
            let rows = values.map(|row| lanes.weigh(lanes.pairs(&row, &[1; 16]), [1, 0]));
            let columns = lanes.turn(rows);
            let columns = std::array::from_fn(|at| lanes.weigh(columns[at % 4], [[1, 0], [0, 1]][at / 4]));
            let colours: [[u8; 16]; 3] = std::array::from_fn(|c| std::array::from_fn(|at| (80 * c + at) as u8));
            let pixels = lanes.interleave(&colours[0], &colours[1], &colours[2]);
            (lanes.bytes(rows), lanes.bytes(columns), pixels)
        }
    }

    #[test]
    fn wide_instructions_move_numbers_as_plain_ones_do() {
        let (columns, rows, pixels) = Moving.run(Plain);
        assert!(vectorised(Moving) == (columns, rows, pixels));
        assert_eq!((rows[3][5], columns[5][3], rows[0][7], rows[7][7], pixels[7]), (100, 100, 0, 255, 82));
    }
}
