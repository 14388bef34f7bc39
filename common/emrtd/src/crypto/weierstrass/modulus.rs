//! Arithmetic modulo an odd prime, in Montgomery form on 64-bit limbs.
//!
//! The number of limbs is a constant of the type, so that every loop is unrolled and every
//! intermediate lives in registers. What depends on a carry is selected by masks: such a carry
//! is set half the time, and a branch on it would be mispredicted as often.

use super::inverse::Inverter;

pub(super) struct Modulus<const L: usize> {
    pub m: [u64; L],
    /// R modulo m, which is one in Montgomery form.
    pub one: [u64; L],
    /// -1/m modulo 2^64.
    negative_inverse: u64,
    /// R^2 modulo m.
    r_squared: [u64; L],
    inverter: Inverter,
}

impl<const L: usize> Modulus<L> {
    pub fn new(m: [u64; L]) -> Modulus<L> {
        let mut inverse = 1u64;
        for _ in 0..6 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(m[0].wrapping_mul(inverse)));
        }
        let mut modulus = Modulus {
            m,
            one: [0; L],
            negative_inverse: inverse.wrapping_neg(),
            r_squared: [0; L],
            inverter: Inverter::new(&m, inverse),
        };
        // Doubling 1 once for every bit of R, then of R again.
        let mut power = [0; L];
        power[0] = 1;
        for bit in 0..128 * L {
            power = modulus.add(&power, &power);
            if bit + 1 == 64 * L {
                modulus.one = power;
            }
        }
        modulus.r_squared = power;
        modulus
    }

    /// a·b/R. One factor must be below m, the other below R.
    ///
    /// Row by row, the low halves of the products in one carry chain and the high halves in
    /// another: measured 1.1 (6 limbs) to 1.15 times (9 limbs) the speed of one chain of both.
    #[inline]
    pub fn mul(&self, a: &[u64; L], b: &[u64; L]) -> [u64; L] {
        let mut t = [0u64; L];
        let mut top = false;
        for &digit in b {
            let (low, high) = row(a, digit);
            let (sum, first) = add(&t, &low);
            let (shifted, second) = add_shifted(&sum, &high);
            // Below 2^64: a row's sum has one limb more than its factor.
            let above = high[L - 1] + u64::from(first) + u64::from(second);

            let (low, high) = row(&self.m, shifted[0].wrapping_mul(self.negative_inverse));
            let (sum, first) = add(&shifted, &low);
            let (above, overflow) = above.carrying_add(u64::from(top), first);
            let (sum, second) = add_shifted(&sum, &high);
            // The lowest limb is zero by now, and leaves.
            t[..L - 1].copy_from_slice(&sum[1..]);
            (t[L - 1], top) = above.carrying_add(high[L - 1], second);
            top |= overflow;
        }
        self.reduce_once(t, top)
    }

    /// a·a/R.
    #[inline]
    pub fn square(&self, a: &[u64; L]) -> [u64; L] {
        // Below eight limbs the products that are saved cost less than the doubling.
        if L < 8 { self.mul(a, a) } else { self.square_by_columns(a) }
    }

    /// The cross products once and doubled, column by column, each column reduced as it is reached.
    #[inline]
    fn square_by_columns(&self, a: &[u64; L]) -> [u64; L] {
        let mut factors = [0u64; L];
        let mut out = [0u64; L];
        let mut sum = Accumulator::default();
        for column in 0..2 * L - 1 {
            let first = column.saturating_sub(L - 1);
            let mut cross = Accumulator::default();
            let mut j = first;
            while j < column - j {
                cross.add_product(a[j], a[column - j]);
                j += 1;
            }
            cross.double();
            if column % 2 == 0 {
                cross.add_product(a[column / 2], a[column / 2]);
            }
            sum.add(&cross);
            for (j, factor) in factors.iter().enumerate().take(column.min(L)).skip(first) {
                sum.add_product(*factor, self.m[column - j]);
            }
            if column < L {
                factors[column] = sum.0[0].wrapping_mul(self.negative_inverse);
                sum.add_product(factors[column], self.m[0]);
                sum.shift();
            } else {
                out[column - L] = sum.shift();
            }
        }
        out[L - 1] = sum.0[0];
        self.reduce_once(out, sum.0[1] != 0)
    }

    #[inline]
    fn reduce_once(&self, t: [u64; L], top: bool) -> [u64; L] {
        let (reduced, borrow) = subtract(&t, &self.m);
        select(borrow & !top, &t, &reduced)
    }

    #[inline]
    pub fn add(&self, a: &[u64; L], b: &[u64; L]) -> [u64; L] {
        let (sum, carry) = add(a, b);
        self.reduce_once(sum, carry)
    }

    #[inline]
    pub fn sub(&self, a: &[u64; L], b: &[u64; L]) -> [u64; L] {
        let (difference, borrow) = subtract(a, b);
        add(&difference, &select(borrow, &self.m, &[0; L])).0
    }

    #[inline]
    pub fn double(&self, a: &[u64; L]) -> [u64; L] {
        self.add(a, a)
    }

    pub fn negate(&self, a: &[u64; L]) -> [u64; L] {
        self.sub(&[0; L], a)
    }

    /// Into Montgomery form; any value below R is taken modulo m.
    pub fn enter(&self, a: &[u64; L]) -> [u64; L] {
        self.mul(&self.r_squared, a)
    }

    pub fn leave(&self, a: &[u64; L]) -> [u64; L] {
        let mut one = [0; L];
        one[0] = 1;
        self.mul(a, &one)
    }

    /// In Montgomery form, with fixed windows of four bits.
    pub fn pow(&self, base: &[u64; L], exponent: &[u64; L]) -> [u64; L] {
        let mut powers = [self.one; 16];
        for index in 1..16 {
            powers[index] = self.mul(&powers[index - 1], base);
        }
        let mut result = self.one;
        for limb in exponent.iter().rev() {
            for shift in (0..64).step_by(4).rev() {
                for _ in 0..4 {
                    result = self.square(&result);
                }
                result = self.mul(&result, &powers[(limb >> shift & 15) as usize]);
            }
        }
        result
    }

    /// The inverse of a number below m, neither in Montgomery form; zero for zero.
    pub fn invert(&self, a: &[u64; L]) -> [u64; L] {
        self.inverter.invert(a)
    }

    /// The inverse of a number in Montgomery form, in that form; zero for zero.
    pub fn invert_entered(&self, a: &[u64; L]) -> [u64; L] {
        // a is x·R, and its inverse 1/x/R: two factors of R short.
        self.enter(&self.enter(&self.invert(a)))
    }

    /// A square root in Montgomery form, if there is one (Tonelli and Shanks; for a prime that is
    /// 3 modulo 4, which all fields here but P-224's are, it ends with the first power).
    pub fn root(&self, square: &[u64; L]) -> Option<[u64; L]> {
        let zero = [0; L];
        if *square == zero {
            return Some(zero);
        }
        // m - 1 = odd · 2^twos
        let mut odd = self.m;
        odd[0] -= 1;
        let mut twos = 0;
        while odd[0] & 1 == 0 {
            odd = halve(&odd);
            twos += 1;
        }
        let power = self.pow(square, &halve(&odd));
        let mut root = self.mul(&power, square);
        // The root is right up to a factor whose order is a power of two.
        let mut rest = self.mul(&power, &root);
        let mut generator = None;
        while rest != self.one {
            let mut order = 0;
            let mut probe = rest;
            while probe != self.one {
                probe = self.square(&probe);
                order += 1;
                if order == twos {
                    return None;
                }
            }
            let (mut factor, of) = generator.take().unwrap_or_else(|| (self.non_residue_power(&odd), twos));
            for _ in 0..of - order - 1 {
                factor = self.square(&factor);
            }
            root = self.mul(&root, &factor);
            let factor = self.square(&factor);
            rest = self.mul(&rest, &factor);
            generator = Some((factor, order));
        }
        Some(root)
    }

    /// The power of a quadratic non-residue, of which half the numbers are one.
    fn non_residue_power(&self, odd: &[u64; L]) -> [u64; L] {
        let minus_one = self.negate(&self.one);
        let mut half = self.m;
        half[0] -= 1;
        let half = halve(&half);
        let mut candidate = self.double(&self.one);
        while self.pow(&candidate, &half) != minus_one {
            candidate = self.add(&candidate, &self.one);
        }
        self.pow(&candidate, odd)
    }

    /// A number below m from big-endian bytes.
    pub fn parse(&self, bytes: &[u8]) -> Option<[u64; L]> {
        let number = from_bytes(bytes)?;
        subtract(&number, &self.m).1.then_some(number)
    }
}

/// Three limbs: room for any number of products that a column has here.
#[derive(Default)]
struct Accumulator([u64; 3]);

impl Accumulator {
    #[inline]
    fn add_product(&mut self, a: u64, b: u64) {
        let (low, high) = a.carrying_mul(b, 0);
        self.add(&Accumulator([low, high, 0]));
    }

    #[inline]
    fn add(&mut self, other: &Accumulator) {
        let (low, carry) = self.0[0].overflowing_add(other.0[0]);
        let (middle, carry) = self.0[1].carrying_add(other.0[1], carry);
        self.0 = [low, middle, self.0[2] + other.0[2] + u64::from(carry)];
    }

    #[inline]
    fn double(&mut self) {
        let [low, middle, high] = self.0;
        self.0 = [low << 1, middle << 1 | low >> 63, high << 1 | middle >> 63];
    }

    /// Takes the lowest limb off.
    #[inline]
    fn shift(&mut self) -> u64 {
        let [low, middle, high] = self.0;
        self.0 = [middle, high, 0];
        low
    }
}

/// a·digit, as low and high halves of each limb's product.
#[inline]
fn row<const L: usize>(a: &[u64; L], digit: u64) -> ([u64; L], [u64; L]) {
    let (mut low, mut high) = ([0; L], [0; L]);
    for j in 0..L {
        (low[j], high[j]) = a[j].carrying_mul(digit, 0);
    }
    (low, high)
}

/// Adds b one limb higher, without its highest.
#[inline]
fn add_shifted<const L: usize>(a: &[u64; L], b: &[u64; L]) -> ([u64; L], bool) {
    let mut out = *a;
    let mut carry = false;
    for j in 1..L {
        (out[j], carry) = a[j].carrying_add(b[j - 1], carry);
    }
    (out, carry)
}

#[inline]
fn select<const L: usize>(first: bool, a: &[u64; L], b: &[u64; L]) -> [u64; L] {
    let mask = u64::from(first).wrapping_neg();
    std::array::from_fn(|j| b[j] ^ (mask & (a[j] ^ b[j])))
}

#[inline]
pub(super) fn add<const L: usize>(a: &[u64; L], b: &[u64; L]) -> ([u64; L], bool) {
    let mut out = [0; L];
    let mut carry = false;
    for j in 0..L {
        (out[j], carry) = a[j].carrying_add(b[j], carry);
    }
    (out, carry)
}

#[inline]
pub(super) fn subtract<const L: usize>(a: &[u64; L], b: &[u64; L]) -> ([u64; L], bool) {
    let mut out = [0; L];
    let mut borrow = false;
    for j in 0..L {
        (out[j], borrow) = a[j].borrowing_sub(b[j], borrow);
    }
    (out, borrow)
}

fn halve<const L: usize>(a: &[u64; L]) -> [u64; L] {
    std::array::from_fn(|j| a[j] >> 1 | a.get(j + 1).map_or(0, |next| next << 63))
}

/// Big-endian bytes of at most L limbs; longer ones only when what is over is zero.
pub(super) fn from_bytes<const L: usize>(bytes: &[u8]) -> Option<[u64; L]> {
    let mut out = [0; L];
    for (index, byte) in bytes.iter().rev().enumerate() {
        match out.get_mut(index / 8) {
            Some(limb) => *limb |= u64::from(*byte) << (index % 8 * 8),
            None if *byte == 0 => {}
            None => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::curve;

    /// Operands at the ends of their range, where carries run through.
    fn operands<const L: usize>(modulus: &Modulus<L>) -> Vec<[u64; L]> {
        let small = |value: u64| {
            let mut out = [0; L];
            out[0] = value;
            out
        };
        let below = |value| subtract(&modulus.m, &small(value)).0;
        let half = halve(&modulus.m);
        vec![[0; L], small(1), small(2), below(1), below(2), half, add(&half, &small(1)).0, modulus.one]
    }

    fn check<const L: usize>(parameters: &curve::Parameters) {
        for number in [parameters.p, parameters.n] {
            let modulus = Modulus::<L>::new(from_bytes(&curve::bytes(number)).unwrap());
            for a in operands(&modulus) {
                assert_eq!(modulus.square_by_columns(&a), modulus.mul(&a, &a));
                assert_eq!(modulus.leave(&modulus.enter(&a)), a);
                let inverse = modulus.invert_entered(&a);
                let product = modulus.mul(&inverse, &a);
                assert_eq!(product, if a == [0; L] { a } else { modulus.one });
                let square = modulus.square(&a);
                let root = modulus.root(&square).unwrap();
                assert!(root == a || root == modulus.negate(&a));
                for b in operands(&modulus) {
                    assert_eq!(modulus.mul(&a, &b), modulus.mul(&b, &a));
                    assert_eq!(modulus.sub(&modulus.add(&a, &b), &b), a);
                    let distributed = modulus.add(&modulus.mul(&a, &b), &modulus.square(&a));
                    assert_eq!(modulus.mul(&a, &modulus.add(&a, &b)), distributed);
                }
            }
        }
    }

    #[test]
    fn the_field_axioms_hold_at_the_ends_of_every_range() {
        for parameters in &curve::TABLE {
            match parameters.bits.div_ceil(64) {
                3 => check::<3>(parameters),
                4 => check::<4>(parameters),
                5 => check::<5>(parameters),
                6 => check::<6>(parameters),
                8 => check::<8>(parameters),
                _ => check::<9>(parameters),
            }
        }
    }

    #[test]
    fn numbers_that_are_no_squares_have_no_root() {
        for parameters in &curve::TABLE {
            if parameters.bits.div_ceil(64) == 4 {
                let modulus = Modulus::<4>::new(from_bytes(&curve::bytes(parameters.p)).unwrap());
                let mut odd = modulus.m;
                odd[0] -= 1;
                while odd[0] & 1 == 0 {
                    odd = halve(&odd);
                }
                assert_eq!(modulus.root(&modulus.non_residue_power(&odd)), None, "{}", parameters.name);
            }
        }
    }

    proptest! {
        /// Against another implementation of the same numbers.
        #[test]
        fn products_and_inverses_are_those_of_crypto_bigint(a in any::<[u64; 4]>(), b in any::<[u64; 4]>()) {
            use crypto_bigint::{U256, modular::{FixedMontyForm, FixedMontyParams}, Odd};
            let p = curve::bytes(curve::Curve::BrainpoolP256r1.parameters().p);
            let modulus = Modulus::<4>::new(from_bytes(&p).unwrap());
            let theirs = FixedMontyParams::new(Odd::new(U256::from_be_slice(&p)).unwrap());
            let number = |limbs: &[u64; 4]| {
                let bytes: Vec<u8> = limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
                FixedMontyForm::new(&U256::from_be_slice(&bytes), &theirs)
            };
            let (x, y) = (number(&a), number(&b));
            let ours = |limbs: &[u64; 4]| number(&modulus.leave(limbs)).retrieve();
            let (a, b) = (modulus.enter(&a), modulus.enter(&b));
            prop_assert_eq!(ours(&modulus.mul(&a, &b)), (x * y).retrieve());
            prop_assert_eq!(ours(&modulus.add(&a, &b)), (x + y).retrieve());
            prop_assert_eq!(ours(&modulus.sub(&a, &b)), (x - y).retrieve());
            if a != [0; 4] {
                prop_assert_eq!(ours(&modulus.invert_entered(&a)), x.invert().unwrap().retrieve());
            }
        }
    }
}
