//! ECDSA verification on short Weierstrass curves over prime fields, for public data only.
//!
//! Variable time by design: keys, messages and signatures here are public. It exists because no
//! crate has brainpoolP512, P-224 and the others of the small curves that real documents use, and
//! because a document signer's key verifies tens of thousands of signatures: with a table of its
//! own, as no library keeps one, a verification takes additions and hardly a doubling.
//!
//! Montgomery arithmetic on 64-bit limbs; Jacobian coordinates with affine tables. The generator
//! of each curve has a comb, kept for ever; a key has its first odd multiples, for interleaved
//! non-adjacent forms, and a comb once [`PreparedPoint::expand`] is called. One field size is one
//! instance of the same code.

mod comb;
mod inverse;
mod modulus;
mod point;

use std::sync::OnceLock;

use super::curve::{self, Curve};
use comb::{Comb, OddScalar};
use modulus::{Modulus, add, from_bytes, subtract};
use point::{Affine, Jacobian};

/// A point in encoded form (compressed or not) as `04 x y`, if it is on the curve.
pub(super) fn decode_point(curve: Curve, encoded: &[u8]) -> Option<Vec<u8>> {
    group(curve).decode_point(encoded)
}

/// A multiple of an encoded point, or of the generator, as `04 x y`; `None` when the scalar is zero
/// or not below the order, or the point not on the curve.
///
/// Variable time in the scalar: it may only be one that is no secret of ours, such as a terminal
/// key that its owner has handed in.
pub(super) fn multiply(curve: Curve, scalar: &[u8], point: Option<&[u8]>) -> Option<Vec<u8>> {
    group(curve).multiply(scalar, point)
}

/// A public key with what was computed of it.
pub(super) struct PreparedPoint(Prepared);

impl PreparedPoint {
    /// Prepares an encoded point, if it is on the curve.
    pub fn new(curve: Curve, point: &[u8]) -> Option<PreparedPoint> {
        group(curve).prepare(point).map(PreparedPoint)
    }

    /// Whether (r, s), big-endian, signs the digest.
    pub fn verify(&self, digest: &[u8], r: &[u8], s: &[u8]) -> bool {
        self.0.verify(digest, r, s)
    }

    /// Computes the key's comb, which costs as much as some fifteen verifications with it.
    pub fn expand(&self) {
        self.0.expand();
    }

    /// Octets that the comb of a key takes, 24 to 74 thousand.
    pub fn comb_size(curve: Curve) -> usize {
        group(curve).comb_size()
    }
}

macro_rules! sizes {
    ($($limbs:literal $name:ident),*) => {
        enum Group { $($name(Box<Weierstrass<$limbs>>),)* }
        enum Prepared { $($name(&'static Weierstrass<$limbs>, Key<$limbs>),)* }

        impl Group {
            fn new(parameters: &curve::Parameters) -> Group {
                match parameters.bits.div_ceil(64) {
                    $($limbs => Group::$name(Box::new(Weierstrass::new(parameters))),)*
                    _ => unreachable!("the table of curves has no such field size"),
                }
            }

            fn decode_point(&self, encoded: &[u8]) -> Option<Vec<u8>> {
                match self {
                    $(Group::$name(curve) => curve.decode(encoded).map(|point| curve.encode(&point)),)*
                }
            }

            fn multiply(&self, scalar: &[u8], point: Option<&[u8]>) -> Option<Vec<u8>> {
                match self {
                    $(Group::$name(curve) => curve.multiply(scalar, point),)*
                }
            }

            fn prepare(&'static self, point: &[u8]) -> Option<Prepared> {
                match self {
                    $(Group::$name(curve) => curve.decode(point).map(|point| Prepared::$name(curve, Key::new(point))),)*
                }
            }

            fn comb_size(&self) -> usize {
                match self {
                    $(Group::$name(curve) => Comb::<$limbs>::size(curve.bits, KEY_TEETH, curve.rows()),)*
                }
            }
        }

        impl Prepared {
            fn verify(&self, digest: &[u8], r: &[u8], s: &[u8]) -> bool {
                match self {
                    $(Prepared::$name(curve, key) => curve.verify(key, digest, r, s),)*
                }
            }

            fn expand(&self) {
                match self {
                    $(Prepared::$name(curve, key) => curve.expand(key),)*
                }
            }
        }
    };
}

sizes!(3 L3, 4 L4, 5 L5, 6 L6, 8 L8, 9 L9);

fn group(curve: Curve) -> &'static Group {
    static GROUPS: [OnceLock<Group>; curve::TABLE.len()] = [const { OnceLock::new() }; curve::TABLE.len()];
    GROUPS[curve as usize].get_or_init(|| Group::new(curve.parameters()))
}

/// Width of the non-adjacent form of a key's scalar.
const KEY_WINDOW: usize = 5;
/// Measured: half the memory (seven teeth, or two blocks) costs a tenth to a fifth of the speed,
/// twice as much (nine teeth, or eight blocks) gains nothing.
const KEY_TEETH: usize = 8;
const KEY_BLOCKS: usize = 4;
const GENERATOR_TEETH: usize = 10;

struct Weierstrass<const L: usize> {
    bits: usize,
    /// Octets of a field element.
    size: usize,
    field: Modulus<L>,
    order: Modulus<L>,
    a: [u64; L],
    b: [u64; L],
    a_is_minus_three: bool,
    generator: Affine<L>,
    /// Computed on first use: most curves are named in certificates and never used.
    generator_comb: OnceLock<Comb<L>>,
}

/// A point and its tables, each computed on first use.
struct Key<const L: usize> {
    point: Affine<L>,
    odd_multiples: OnceLock<Vec<Affine<L>>>,
    comb: OnceLock<Comb<L>>,
}

impl<const L: usize> Key<L> {
    fn new(point: Affine<L>) -> Key<L> {
        Key { point, odd_multiples: OnceLock::new(), comb: OnceLock::new() }
    }
}

impl<const L: usize> Weierstrass<L> {
    fn new(parameters: &curve::Parameters) -> Weierstrass<L> {
        let number = |hex: &str| from_bytes(&curve::bytes(hex)).unwrap_or([0; L]);
        let field = Modulus::new(number(parameters.p));
        let a = field.enter(&number(parameters.a));
        let three = field.add(&field.double(&field.one), &field.one);
        Weierstrass {
            bits: parameters.bits,
            size: parameters.bits.div_ceil(8),
            order: Modulus::new(number(parameters.n)),
            a,
            b: field.enter(&number(parameters.b)),
            a_is_minus_three: a == field.negate(&three),
            generator: Affine { x: field.enter(&number(parameters.gx)), y: field.enter(&number(parameters.gy)) },
            generator_comb: OnceLock::new(),
            field,
        }
    }

    fn verify(&self, key: &Key<L>, digest: &[u8], r: &[u8], s: &[u8]) -> bool {
        let (Some(r), Some(s)) = (self.order.parse(r), self.order.parse(s)) else {
            return false;
        };
        if r == [0; L] || s == [0; L] {
            return false;
        }
        // FIPS 186-5 section 6.4.2: the leftmost bits of the digest. Every order here is a whole
        // number of octets long, except P-521's, which is longer than every digest.
        let digest = digest.get(..self.size).unwrap_or(digest);
        let Some(z) = from_bytes(digest) else {
            return false;
        };
        // One factor in Montgomery form and one not: the product is not.
        let inverse = self.order.enter(&self.order.invert(&s));
        let u1 = self.order.mul(&inverse, &z);
        let u2 = self.order.mul(&inverse, &r);
        let point = self.double_multiply(&u1, &u2, key);
        if point.z == [0; L] {
            return false;
        }
        // x mod n = r, without dividing by z²: x is r or, where it fits the field, r + n.
        let z_squared = self.field.square(&point.z);
        let matches = |x: &[u64; L]| self.field.mul(&self.field.enter(x), &z_squared) == point.x;
        let in_field = |x: &[u64; L]| subtract(x, &self.field.m).1;
        if in_field(&r) && matches(&r) {
            return true;
        }
        let (sum, carry) = add(&r, &self.order.m);
        !carry && in_field(&sum) && matches(&sum)
    }

    fn expand(&self, key: &Key<L>) {
        key.comb.get_or_init(|| Comb::new(self, &key.point, KEY_TEETH, self.rows()));
    }

    fn multiply(&self, scalar: &[u8], point: Option<&[u8]>) -> Option<Vec<u8>> {
        let scalar = self.order.parse(scalar).filter(|scalar| *scalar != [0; L])?;
        let product = match point {
            Some(point) => self.double_multiply(&[0; L], &scalar, &Key::new(self.decode(point)?)),
            None => self.double_multiply(&scalar, &[0; L], &Key::new(self.generator)),
        };
        // Points have the prime order, so no multiple by less is at infinity.
        self.normalise(&[product]).first().map(|product| self.encode(product))
    }

    /// u1·G + u2·Q.
    fn double_multiply(&self, u1: &[u64; L], u2: &[u64; L], key: &Key<L>) -> Jacobian<L> {
        let first = OddScalar::new(u1, &self.order.m).map(|scalar| (self.generator_comb(), scalar));
        let (second, digits) = match key.comb.get() {
            Some(comb) => (OddScalar::new(u2, &self.order.m).map(|scalar| (comb, scalar)), Vec::new()),
            None if *u2 == [0; L] => (None, Vec::new()),
            None => (None, wnaf(u2, KEY_WINDOW)),
        };
        let odd_multiples = match digits.is_empty() {
            true => &[][..],
            false => key.odd_multiples.get_or_init(|| self.odd_multiples(&key.point, KEY_WINDOW)),
        };
        let mut point = self.infinity();
        for row in (0..digits.len().max(self.rows())).rev() {
            point = self.double(&point);
            let digit = digits.get(row).copied().unwrap_or(0);
            if digit != 0
                && let Some(entry) = odd_multiples.get(usize::from(digit.unsigned_abs()) / 2)
            {
                let entry = if digit < 0 { self.negate(entry) } else { *entry };
                point = self.add_affine(&point, &entry);
            }
            if row < self.rows() {
                for (comb, scalar) in first.iter().chain(&second) {
                    point = comb.add_row(self, &point, scalar, row);
                }
            }
        }
        point
    }

    fn generator_comb(&self) -> &Comb<L> {
        self.generator_comb.get_or_init(|| Comb::new(self, &self.generator, GENERATOR_TEETH, self.rows()))
    }

    /// Rows of every comb of the curve, which is one more than the doublings of a verification.
    fn rows(&self) -> usize {
        self.bits.div_ceil(KEY_TEETH).div_ceil(KEY_BLOCKS)
    }

    /// SEC 1 section 2.3.4, without the point at infinity and without hybrid forms.
    fn decode(&self, encoded: &[u8]) -> Option<Affine<L>> {
        let f = &self.field;
        let (form, rest) = encoded.split_first()?;
        let x = f.enter(&f.parse(rest.get(..self.size)?)?);
        let right = f.add(&f.mul(&f.add(&f.square(&x), &self.a), &x), &self.b);
        let rest = rest.get(self.size..)?;
        let y = match form {
            4 if rest.len() == self.size => f.enter(&f.parse(rest)?),
            2 | 3 if rest.is_empty() => {
                let y = f.root(&right)?;
                if f.leave(&y)[0] as u8 & 1 == form & 1 { y } else { f.negate(&y) }
            }
            _ => return None,
        };
        (f.square(&y) == right).then_some(Affine { x, y })
    }

    fn encode(&self, point: &Affine<L>) -> Vec<u8> {
        let mut out = vec![4];
        for coordinate in [&point.x, &point.y] {
            let limbs = self.field.leave(coordinate);
            let bytes: Vec<u8> = limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
            out.extend_from_slice(bytes.get(bytes.len() - self.size..).unwrap_or_default());
        }
        out
    }
}

/// The width-w non-adjacent form, least significant digit first, one digit longer than the limbs.
fn wnaf<const L: usize>(scalar: &[u64; L], window: usize) -> Vec<i16> {
    let length = 64 * L + 1;
    let bit = |at: usize| scalar.get(at / 64).map_or(0, |limb| limb >> (at % 64) & 1);
    let mut digits = vec![0i16; length];
    let mut carry = 0;
    let mut at = 0;
    while at < length {
        if bit(at) == carry {
            at += 1;
            continue;
        }
        let width = window.min(length - at);
        let word = (0..width).fold(0, |word, offset| word | bit(at + offset) << offset) + carry;
        carry = word >> (window - 1) & 1;
        digits[at] = word as i16 - ((carry as i16) << window);
        at += width;
    }
    digits
}

#[cfg(test)]
mod tests;
