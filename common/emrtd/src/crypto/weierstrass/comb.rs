//! Tables of a fixed point, with which a multiple of it takes additions and hardly a doubling
//! (a comb after Lim and Lee, CRYPTO '94, with digits 1 and -1).
//!
//! An odd scalar of t = teeth · columns bits is Σ ±2^i over all i below t. The bits are dealt to
//! `columns`, each with one bit for every tooth; a column is one of 2^teeth sums of points, of
//! which half are stored, the others being their negatives. Columns stand in blocks of `rows`,
//! each block with a table of its own, so that one doubling serves a row of every block, and of
//! every other comb with the same number of rows.

use super::{Affine, Jacobian, Weierstrass, modulus::subtract};

pub(super) struct Comb<const L: usize> {
    teeth: usize,
    columns: usize,
    rows: usize,
    /// Block after block, each 2^(teeth - 1): the highest tooth added, each lower one added where
    /// its bit of the index is set and subtracted where it is not.
    entries: Box<[Affine<L>]>,
}

impl<const L: usize> Comb<L> {
    pub fn new(curve: &Weierstrass<L>, point: &Affine<L>, teeth: usize, rows: usize) -> Comb<L> {
        let f = &curve.field;
        let columns = curve.bits.div_ceil(teeth);
        let blocks = columns.div_ceil(rows);
        // Each tooth of each block, and its double.
        let mut powers = vec![curve.infinity(); 2 * teeth * blocks];
        let mut power = Jacobian { x: point.x, y: point.y, z: f.one };
        for exponent in 0..=(teeth - 1) * columns + (blocks - 1) * rows {
            let doubled = curve.double(&power);
            for block in 0..blocks {
                let above = exponent.checked_sub(block * rows);
                if let Some(tooth) = above.filter(|above| above % columns == 0).map(|above| above / columns)
                    && tooth < teeth
                {
                    powers[2 * (block * teeth + tooth)] = power;
                    powers[2 * (block * teeth + tooth) + 1] = doubled;
                }
            }
            power = doubled;
        }
        let powers = curve.normalise(&powers);

        let mut entries = Vec::with_capacity(blocks << (teeth - 1));
        for teeth_of_block in powers.chunks_exact(2 * teeth) {
            let single = |tooth: usize| &teeth_of_block[2 * tooth];
            let double = |tooth: usize| &teeth_of_block[2 * tooth + 1];
            let start = entries.len();
            let highest = single(teeth - 1);
            let mut least = Jacobian { x: highest.x, y: highest.y, z: f.one };
            for tooth in 0..teeth - 1 {
                least = curve.add_affine(&least, &curve.negate(single(tooth)));
            }
            entries.push(least);
            for index in 1..1usize << (teeth - 1) {
                let without_lowest = entries[start + (index & (index - 1))];
                entries.push(curve.add_affine(&without_lowest, double(index.trailing_zeros() as usize)));
            }
        }
        Comb { teeth, columns, rows, entries: curve.normalise(&entries).into_boxed_slice() }
    }

    #[cfg(test)]
    pub fn entries(&self) -> &[Affine<L>] {
        &self.entries
    }

    /// Octets that a comb takes.
    pub fn size(bits: usize, teeth: usize, rows: usize) -> usize {
        (bits.div_ceil(teeth).div_ceil(rows) << (teeth - 1)) * size_of::<Affine<L>>()
    }

    /// Adds one row of the scalar's multiple to a sum, which was doubled since the row above.
    pub fn add_row(&self, curve: &Weierstrass<L>, sum: &Jacobian<L>, scalar: &OddScalar<L>, row: usize) -> Jacobian<L> {
        let mut sum = *sum;
        let blocks = self.entries.chunks_exact(1 << (self.teeth - 1));
        for (column, table) in (row..self.columns).step_by(self.rows).zip(blocks) {
            let mut index = 0;
            for tooth in (0..self.teeth).rev() {
                index = index << 1 | self.digit(scalar, tooth * self.columns + column);
            }
            let sign = 1 << (self.teeth - 1);
            let negative = index & sign == 0;
            let index = if negative { !index } else { index } & (sign - 1);
            let entry = &table[index];
            sum = if negative != scalar.negated {
                curve.add_affine(&sum, &curve.negate(entry))
            } else {
                curve.add_affine(&sum, entry)
            };
        }
        sum
    }

    /// Whether the signed digit of this weight is 1 and not -1: half of (scalar + 2^t - 1), bit by bit.
    fn digit(&self, scalar: &OddScalar<L>, weight: usize) -> usize {
        if weight + 1 == self.teeth * self.columns {
            return 1;
        }
        let bit = weight + 1;
        scalar.value.get(bit / 64).map_or(0, |limb| (limb >> (bit % 64)) as usize & 1)
    }
}

/// An odd number, or the order less an even one, whose multiple is then the negative.
pub(super) struct OddScalar<const L: usize> {
    value: [u64; L],
    negated: bool,
}

impl<const L: usize> OddScalar<L> {
    /// For a scalar below the order; `None` for zero, which adds nothing.
    pub fn new(scalar: &[u64; L], order: &[u64; L]) -> Option<OddScalar<L>> {
        if *scalar == [0; L] {
            None
        } else if scalar[0] & 1 == 1 {
            Some(OddScalar { value: *scalar, negated: false })
        } else {
            Some(OddScalar { value: subtract(order, scalar).0, negated: true })
        }
    }
}
