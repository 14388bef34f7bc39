//! ECDSA verification on short Weierstrass curves over prime fields, for public data only.
//!
//! Variable time by design: keys, messages and signatures here are public. It exists because no
//! crate has brainpoolP512, P-224 and the others of the small curves that real documents use.
//! Montgomery arithmetic on 64-bit limbs, Jacobian coordinates, interleaved width-w
//! non-adjacent forms with affine tables for the generator (kept for ever) and for the key
//! (kept as long as the prepared key). One field size is one instance of the same code.

use std::sync::OnceLock;

use super::curve::{self, Curve};

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

/// A public key with its table of odd multiples.
pub(super) struct PreparedPoint(Table);

impl PreparedPoint {
    /// Prepares an uncompressed point, if it is on the curve.
    pub fn new(curve: Curve, point: &[u8]) -> Option<PreparedPoint> {
        group(curve).prepare(point).map(PreparedPoint)
    }

    /// Whether (r, s), big-endian, signs the digest.
    pub fn verify(&self, curve: Curve, digest: &[u8], r: &[u8], s: &[u8]) -> bool {
        group(curve).verify(&self.0, digest, r, s)
    }
}

macro_rules! sizes {
    ($($limbs:literal $name:ident),*) => {
        enum Group { $($name(Box<Weierstrass<$limbs>>),)* }
        enum Table { $($name(Vec<Affine<$limbs>>),)* }

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

            fn prepare(&self, point: &[u8]) -> Option<Table> {
                match self {
                    $(Group::$name(curve) => {
                        curve.decode(point).map(|point| Table::$name(curve.odd_multiples(&point, KEY_WINDOW)))
                    })*
                }
            }

            fn verify(&self, table: &Table, digest: &[u8], r: &[u8], s: &[u8]) -> bool {
                match (self, table) {
                    $((Group::$name(curve), Table::$name(table)) => curve.verify(table, digest, r, s),)*
                    _ => false,
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

const KEY_WINDOW: usize = 5;
const GENERATOR_WINDOW: usize = 8;

/// Arithmetic modulo an odd prime in Montgomery form.
struct Modulus<const L: usize> {
    m: [u64; L],
    /// -1/m modulo 2^64.
    negative_inverse: u64,
    /// R modulo m, which is one in Montgomery form.
    one: [u64; L],
    /// R^2 modulo m.
    r_squared: [u64; L],
}

impl<const L: usize> Modulus<L> {
    fn new(m: [u64; L]) -> Modulus<L> {
        let mut inverse = 1u64;
        for _ in 0..6 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(m[0].wrapping_mul(inverse)));
        }
        let mut modulus = Modulus { m, negative_inverse: inverse.wrapping_neg(), one: [0; L], r_squared: [0; L] };
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

    #[inline]
    fn mul(&self, a: &[u64; L], b: &[u64; L]) -> [u64; L] {
        let mut t = [0u64; L];
        let mut top = 0u64;
        for &digit in b {
            let mut carry = 0u128;
            for j in 0..L {
                let sum = u128::from(t[j]) + u128::from(a[j]) * u128::from(digit) + carry;
                t[j] = sum as u64;
                carry = sum >> 64;
            }
            let sum = u128::from(top) + carry;
            let (high, higher) = (sum as u64, (sum >> 64) as u64);
            let factor = t[0].wrapping_mul(self.negative_inverse);
            let mut carry = (u128::from(t[0]) + u128::from(factor) * u128::from(self.m[0])) >> 64;
            for j in 1..L {
                let sum = u128::from(t[j]) + u128::from(factor) * u128::from(self.m[j]) + carry;
                t[j - 1] = sum as u64;
                carry = sum >> 64;
            }
            let sum = u128::from(high) + carry;
            t[L - 1] = sum as u64;
            top = higher + (sum >> 64) as u64;
        }
        self.reduce_once(t, top)
    }

    #[inline]
    fn square(&self, a: &[u64; L]) -> [u64; L] {
        self.mul(a, a)
    }

    #[inline]
    fn reduce_once(&self, t: [u64; L], top: u64) -> [u64; L] {
        let (reduced, borrow) = subtract(&t, &self.m);
        if top != 0 || !borrow { reduced } else { t }
    }

    #[inline]
    fn add(&self, a: &[u64; L], b: &[u64; L]) -> [u64; L] {
        let (sum, carry) = add(a, b);
        self.reduce_once(sum, u64::from(carry))
    }

    #[inline]
    fn sub(&self, a: &[u64; L], b: &[u64; L]) -> [u64; L] {
        let (difference, borrow) = subtract(a, b);
        if borrow { add(&difference, &self.m).0 } else { difference }
    }

    #[inline]
    fn double(&self, a: &[u64; L]) -> [u64; L] {
        self.add(a, a)
    }

    fn negate(&self, a: &[u64; L]) -> [u64; L] {
        self.sub(&[0; L], a)
    }

    /// Into Montgomery form; any value below R is taken modulo m.
    fn enter(&self, a: &[u64; L]) -> [u64; L] {
        self.mul(a, &self.r_squared)
    }

    fn leave(&self, a: &[u64; L]) -> [u64; L] {
        let mut one = [0; L];
        one[0] = 1;
        self.mul(a, &one)
    }

    /// In Montgomery form, with fixed windows of four bits.
    fn pow(&self, base: &[u64; L], exponent: &[u64; L]) -> [u64; L] {
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

    /// The inverse of a non-zero element (Fermat: the modulus is prime).
    fn invert(&self, a: &[u64; L]) -> [u64; L] {
        let mut two = [0; L];
        two[0] = 2;
        self.pow(a, &subtract(&self.m, &two).0)
    }

    /// A number below m from big-endian bytes.
    fn parse(&self, bytes: &[u8]) -> Option<[u64; L]> {
        let number = from_bytes(bytes)?;
        subtract(&number, &self.m).1.then_some(number)
    }
}

#[inline]
fn add<const L: usize>(a: &[u64; L], b: &[u64; L]) -> ([u64; L], bool) {
    let mut out = [0; L];
    let mut carry = false;
    for j in 0..L {
        let (sum, first) = a[j].overflowing_add(b[j]);
        let (sum, second) = sum.overflowing_add(u64::from(carry));
        out[j] = sum;
        carry = first | second;
    }
    (out, carry)
}

#[inline]
fn subtract<const L: usize>(a: &[u64; L], b: &[u64; L]) -> ([u64; L], bool) {
    let mut out = [0; L];
    let mut borrow = false;
    for j in 0..L {
        let (difference, first) = a[j].overflowing_sub(b[j]);
        let (difference, second) = difference.overflowing_sub(u64::from(borrow));
        out[j] = difference;
        borrow = first | second;
    }
    (out, borrow)
}

/// Big-endian bytes of at most L limbs; longer ones only when what is over is zero.
fn from_bytes<const L: usize>(bytes: &[u8]) -> Option<[u64; L]> {
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

#[derive(Clone, Copy)]
struct Affine<const L: usize> {
    x: [u64; L],
    y: [u64; L],
}

/// x/z², y/z³; z is zero at infinity.
#[derive(Clone, Copy)]
struct Jacobian<const L: usize> {
    x: [u64; L],
    y: [u64; L],
    z: [u64; L],
}

struct Weierstrass<const L: usize> {
    size: usize,
    field: Modulus<L>,
    order: Modulus<L>,
    a: [u64; L],
    b: [u64; L],
    a_is_minus_three: bool,
    /// Odd multiples of the generator.
    generator: Vec<Affine<L>>,
}

impl<const L: usize> Weierstrass<L> {
    fn new(parameters: &curve::Parameters) -> Weierstrass<L> {
        let number = |hex: &str| from_bytes(&curve::bytes(hex)).unwrap_or([0; L]);
        let field = Modulus::new(number(parameters.p));
        let a = field.enter(&number(parameters.a));
        let three = field.add(&field.double(&field.one), &field.one);
        let mut curve = Weierstrass {
            size: parameters.bits.div_ceil(8),
            order: Modulus::new(number(parameters.n)),
            a,
            b: field.enter(&number(parameters.b)),
            a_is_minus_three: a == field.negate(&three),
            generator: Vec::new(),
            field,
        };
        let generator =
            Affine { x: curve.field.enter(&number(parameters.gx)), y: curve.field.enter(&number(parameters.gy)) };
        curve.generator = curve.odd_multiples(&generator, GENERATOR_WINDOW);
        curve
    }

    fn verify(&self, key: &[Affine<L>], digest: &[u8], r: &[u8], s: &[u8]) -> bool {
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
        let inverse = self.order.invert(&self.order.enter(&s));
        // One factor in Montgomery form and one not: the product is not.
        let u1 = self.order.leave(&self.order.mul(&self.order.enter(&z), &inverse));
        let u2 = self.order.mul(&r, &inverse);
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

    fn multiply(&self, scalar: &[u8], point: Option<&[u8]>) -> Option<Vec<u8>> {
        let scalar = self.order.parse(scalar).filter(|scalar| *scalar != [0; L])?;
        let product = match point {
            Some(point) => {
                let table = self.odd_multiples(&self.decode(point)?, KEY_WINDOW);
                self.double_multiply(&[0; L], &scalar, &table)
            }
            None => self.double_multiply(&scalar, &[0; L], &[]),
        };
        // Points have the prime order, so no multiple by less is at infinity.
        self.normalise(&[product]).first().map(|product| self.encode(product))
    }

    /// u1·G + u2·Q.
    fn double_multiply(&self, u1: &[u64; L], u2: &[u64; L], key: &[Affine<L>]) -> Jacobian<L> {
        let (first, second) = (wnaf(u1, GENERATOR_WINDOW), wnaf(u2, KEY_WINDOW));
        let mut point = self.infinity();
        for (first, second) in first.iter().zip(&second).rev() {
            point = self.double(&point);
            for (digit, table) in [(*first, &self.generator[..]), (*second, key)] {
                if digit != 0
                    && let Some(entry) = table.get(usize::from(digit.unsigned_abs()) / 2)
                {
                    let y = if digit < 0 { self.field.negate(&entry.y) } else { entry.y };
                    point = self.add_affine(&point, &Affine { x: entry.x, y });
                }
            }
        }
        point
    }

    fn infinity(&self) -> Jacobian<L> {
        Jacobian { x: self.field.one, y: self.field.one, z: [0; L] }
    }

    fn double(&self, p: &Jacobian<L>) -> Jacobian<L> {
        let f = &self.field;
        let zz = f.square(&p.z);
        let yy = f.square(&p.y);
        let slope = if self.a_is_minus_three {
            let product = f.mul(&f.sub(&p.x, &zz), &f.add(&p.x, &zz));
            f.add(&f.double(&product), &product)
        } else {
            let xx = f.square(&p.x);
            f.add(&f.add(&f.double(&xx), &xx), &f.mul(&self.a, &f.square(&zz)))
        };
        let s = f.double(&f.double(&f.mul(&p.x, &yy)));
        let x = f.sub(&f.square(&slope), &f.double(&s));
        let yyyy8 = f.double(&f.double(&f.double(&f.square(&yy))));
        let y = f.sub(&f.mul(&slope, &f.sub(&s, &x)), &yyyy8);
        let z = f.double(&f.mul(&p.y, &p.z));
        Jacobian { x, y, z }
    }

    fn add_affine(&self, p: &Jacobian<L>, q: &Affine<L>) -> Jacobian<L> {
        let f = &self.field;
        if p.z == [0; L] {
            return Jacobian { x: q.x, y: q.y, z: f.one };
        }
        let zz = f.square(&p.z);
        let h = f.sub(&f.mul(&q.x, &zz), &p.x);
        let r = f.sub(&f.mul(&q.y, &f.mul(&zz, &p.z)), &p.y);
        if h == [0; L] {
            return if r == [0; L] { self.double(p) } else { self.infinity() };
        }
        let hh = f.square(&h);
        let hhh = f.mul(&h, &hh);
        let v = f.mul(&p.x, &hh);
        let x = f.sub(&f.sub(&f.square(&r), &hhh), &f.double(&v));
        let y = f.sub(&f.mul(&r, &f.sub(&v, &x)), &f.mul(&p.y, &hhh));
        Jacobian { x, y, z: f.mul(&p.z, &h) }
    }

    /// 1P, 3P, 5P, … for a window of so many bits, all affine after one inversion.
    fn odd_multiples(&self, point: &Affine<L>, window: usize) -> Vec<Affine<L>> {
        let f = &self.field;
        let doubled = self.double(&Jacobian { x: point.x, y: point.y, z: f.one });
        let Some(doubled) = self.normalise(&[doubled]).pop() else {
            return vec![*point];
        };
        let mut multiples = vec![Jacobian { x: point.x, y: point.y, z: f.one }];
        for _ in 1..1usize << (window - 2) {
            if let Some(last) = multiples.last() {
                let next = self.add_affine(last, &doubled);
                multiples.push(next);
            }
        }
        self.normalise(&multiples)
    }

    /// Affine forms of points none of which is at infinity: the order is prime and larger than any multiple asked for.
    fn normalise(&self, points: &[Jacobian<L>]) -> Vec<Affine<L>> {
        let f = &self.field;
        let mut products = Vec::with_capacity(points.len());
        let mut product = f.one;
        for point in points {
            products.push(product);
            product = f.mul(&product, &point.z);
        }
        let mut inverse = f.invert(&product);
        let mut affine: Vec<Affine<L>> = points
            .iter()
            .zip(&products)
            .rev()
            .map(|(point, before)| {
                let z = f.mul(&inverse, before);
                inverse = f.mul(&inverse, &point.z);
                let zz = f.square(&z);
                Affine { x: f.mul(&point.x, &zz), y: f.mul(&point.y, &f.mul(&zz, &z)) }
            })
            .collect();
        affine.reverse();
        affine
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
            2 | 3 if rest.is_empty() => self.root(&right, form & 1)?,
            _ => return None,
        };
        (f.square(&y) == right).then_some(Affine { x, y })
    }

    /// A square root of the given parity, where the prime is 3 modulo 4 (all curves here but P-224).
    fn root(&self, square: &[u64; L], parity: u8) -> Option<[u64; L]> {
        let f = &self.field;
        (f.m[0] & 3 == 3).then_some(())?;
        // (m + 1) / 4 = (m >> 2) + 1
        let mut exponent = [0; L];
        for (j, limb) in exponent.iter_mut().enumerate() {
            *limb = f.m[j] >> 2 | f.m.get(j + 1).map_or(0, |next| next << 62);
        }
        let mut one = [0; L];
        one[0] = 1;
        let y = f.pow(square, &add(&exponent, &one).0);
        Some(if f.leave(&y)[0] as u8 & 1 == parity { y } else { f.negate(&y) })
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
mod tests {
    use super::*;

    /// Made with OpenSSL 3.0: a key, and its signature of SHA-256("proofmill"), for every curve.
    const VECTORS: &str = include_str!("weierstrass_vectors.txt");

    /// Curve, point, digest, r and s.
    type Vector = (Curve, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);

    fn vectors() -> Vec<Vector> {
        VECTORS
            .lines()
            .map(|line| {
                let fields: Vec<&str> = line.split(' ').collect();
                let curve = Curve::all().find(|curve| curve.name() == fields[0]).unwrap();
                let bytes = |hex: &str| hex::decode(hex).unwrap();
                (curve, bytes(fields[1]), bytes(fields[2]), bytes(fields[3]), bytes(fields[4]))
            })
            .collect()
    }

    #[test]
    fn signatures_by_openssl_hold_on_every_curve_and_with_every_digest_length() {
        let vectors = vectors();
        for curve in Curve::all() {
            assert!(vectors.iter().filter(|vector| vector.0 == curve).count() >= 3, "{curve:?}");
        }
        for (curve, point, digest, r, s) in vectors {
            let key = PreparedPoint::new(curve, &point).unwrap();
            assert!(key.verify(curve, &digest, &r, &s), "{curve:?}");
            for at in [0, digest.len().min(curve.size()) - 1] {
                let mut other = digest.clone();
                other[at] ^= 1;
                assert!(!key.verify(curve, &other, &r, &s), "{curve:?}");
            }
            for (wrong_r, wrong_s) in [(&s, &r), (&r, &r), (&vec![0], &s), (&r, &vec![0]), (&vec![], &s)] {
                assert!(!key.verify(curve, &digest, wrong_r, wrong_s), "{curve:?}");
            }
            let n = curve::bytes(curve.parameters().n);
            let mut n_minus_one = n.clone();
            *n_minus_one.last_mut().unwrap() -= 1;
            for edge in [&n, &n_minus_one, &vec![1], &vec![0xff; curve.size() + 1]] {
                assert!(!key.verify(curve, &digest, edge, &s), "{curve:?}");
                assert!(!key.verify(curve, &digest, &r, edge), "{curve:?}");
            }
        }
    }

    #[test]
    fn generators_have_their_order() {
        for curve in Curve::all() {
            let parameters = curve.parameters();
            let (x, y) = (curve::bytes(parameters.gx), curve::bytes(parameters.gy));
            let encoded = [&[4][..], &x, &y].concat();
            assert_eq!(decode_point(curve, &encoded).as_deref(), Some(&encoded[..]), "{curve:?}");
            macro_rules! check {
                ($($name:ident)*) => {
                    match group(curve) {
                        $(Group::$name(curve) => {
                            let order = curve.order.m;
                            let zero = curve.double_multiply(&order, &Default::default(), &curve.generator);
                            assert!(zero.z.iter().all(|limb| *limb == 0));
                            let mut less = order;
                            less[0] -= 1;
                            let last = curve.double_multiply(&less, &Default::default(), &curve.generator);
                            let last = curve.normalise(&[last])[0];
                            assert_eq!(last.x, curve.generator[0].x);
                            assert_eq!(last.y, curve.field.negate(&curve.generator[0].y));
                        })*
                    }
                };
            }
            check!(L3 L4 L5 L6 L8 L9);
        }
    }

    #[test]
    fn compressed_points_are_expanded() {
        for (curve, point, ..) in vectors() {
            let (x, y) = point[1..].split_at(curve.size());
            let compressed = [&[2 + (y.last().unwrap() & 1)][..], x].concat();
            let expanded = decode_point(curve, &compressed);
            if curve == Curve::P224 {
                assert_eq!(expanded, None);
            } else {
                assert_eq!(expanded.as_deref(), Some(&point[..]), "{curve:?}");
            }
        }
    }

    #[test]
    fn points_off_the_curve_at_infinity_or_misencoded_are_refused() {
        for (curve, point, ..) in vectors() {
            let mut off = point.clone();
            *off.last_mut().unwrap() ^= 1;
            let mut hybrid = point.clone();
            hybrid[0] = 6 + (point.last().unwrap() & 1);
            let p = curve::bytes(curve.parameters().p);
            let too_large = [&[4][..], &p, &point[1 + curve.size()..]].concat();
            for bad in
                [&off[..], &hybrid, &too_large, &[0], &[], &point[..point.len() - 1], &[&point[..], &[0]].concat()]
            {
                assert_eq!(decode_point(curve, bad), None, "{curve:?}");
            }
        }
    }
}
