//! Against vectors of another implementation, and against arithmetic as plain as it can be.

use super::*;

/// Made with OpenSSL 3.0: a key, and its signature of SHA-256("proofmill"), for every curve.
const VECTORS: &str = include_str!("../weierstrass_vectors.txt");

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
        let (key, busy) = (PreparedPoint::new(curve, &point).unwrap(), PreparedPoint::new(curve, &point).unwrap());
        busy.expand();
        for key in [&key, &busy] {
            assert!(key.verify(&digest, &r, &s), "{curve:?}");
            for at in [0, digest.len().min(curve.size()) - 1] {
                let mut other = digest.clone();
                other[at] ^= 1;
                assert!(!key.verify(&other, &r, &s), "{curve:?}");
            }
            for (wrong_r, wrong_s) in [(&s, &r), (&r, &r), (&vec![0], &s), (&r, &vec![0]), (&vec![], &s)] {
                assert!(!key.verify(&digest, wrong_r, wrong_s), "{curve:?}");
            }
            let n = curve::bytes(curve.parameters().n);
            let mut n_minus_one = n.clone();
            *n_minus_one.last_mut().unwrap() -= 1;
            for edge in [&n, &n_minus_one, &vec![1], &vec![0xff; curve.size() + 1]] {
                assert!(!key.verify(&digest, edge, &s), "{curve:?}");
                assert!(!key.verify(&digest, &r, edge), "{curve:?}");
            }
        }
    }
}

/// Runs a check for the arithmetic of every curve.
macro_rules! on_every_curve {
    ($check:ident) => {
        for curve in Curve::all() {
            match group(curve) {
                Group::L3(curve) => $check(curve),
                Group::L4(curve) => $check(curve),
                Group::L5(curve) => $check(curve),
                Group::L6(curve) => $check(curve),
                Group::L8(curve) => $check(curve),
                Group::L9(curve) => $check(curve),
            }
        }
    };
}

/// By doubling and adding one bit at a time, in affine steps: as plain as it can be.
fn plain_multiple<const L: usize>(curve: &Weierstrass<L>, scalar: &[u64; L], point: &Affine<L>) -> Jacobian<L> {
    let mut sum = curve.infinity();
    for bit in (0..64 * L).rev() {
        sum = curve.double(&sum);
        if scalar[bit / 64] >> (bit % 64) & 1 == 1 {
            sum = curve.add_affine(&sum, point);
        }
    }
    sum
}

fn same<const L: usize>(curve: &Weierstrass<L>, a: &Jacobian<L>, b: &Jacobian<L>) -> bool {
    let f = &curve.field;
    if a.z == [0; L] || b.z == [0; L] {
        return a.z == b.z;
    }
    let (azz, bzz) = (f.square(&a.z), f.square(&b.z));
    f.mul(&a.x, &bzz) == f.mul(&b.x, &azz) && f.mul(&a.y, &f.mul(&bzz, &b.z)) == f.mul(&b.y, &f.mul(&azz, &a.z))
}

/// Deterministic scalars with no pattern.
fn scalars<const L: usize>(curve: &Weierstrass<L>, count: usize) -> Vec<[u64; L]> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count)
        .map(|_| {
            let limbs = [(); L].map(|()| next());
            // Below the order, as a product always is.
            curve.order.enter(&limbs)
        })
        .collect()
}

fn small<const L: usize>(value: u64) -> [u64; L] {
    let mut out = [0; L];
    out[0] = value;
    out
}

fn generator_has_its_order<const L: usize>(curve: &Weierstrass<L>) {
    let zero = plain_multiple(curve, &curve.order.m, &curve.generator);
    assert_eq!(zero.z, [0; L]);
    let last = plain_multiple(curve, &subtract(&curve.order.m, &small(1)).0, &curve.generator);
    let last = curve.normalise(&[last])[0];
    assert_eq!(last.x, curve.generator.x);
    assert_eq!(last.y, curve.field.negate(&curve.generator.y));
}

#[test]
fn generators_have_their_order() {
    for curve in Curve::all() {
        let parameters = curve.parameters();
        let (x, y) = (curve::bytes(parameters.gx), curve::bytes(parameters.gy));
        let encoded = [&[4][..], &x, &y].concat();
        assert_eq!(decode_point(curve, &encoded).as_deref(), Some(&encoded[..]), "{curve:?}");
    }
    on_every_curve!(generator_has_its_order);
}

/// Which multiple of its point an entry is does not depend on the point, so what holds for the
/// generator holds for every key: in particular that none is at infinity.
fn tables_lie_on_the_curve<const L: usize>(curve: &Weierstrass<L>) {
    let key = Key::new(curve.generator);
    curve.expand(&key);
    let f = &curve.field;
    for comb in [curve.generator_comb(), key.comb.get().unwrap()] {
        for point in comb.entries() {
            let right = f.add(&f.mul(&f.add(&f.square(&point.x), &curve.a), &point.x), &curve.b);
            assert_eq!(f.square(&point.y), right);
        }
    }
    assert_eq!(std::mem::size_of_val(key.comb.get().unwrap().entries()), {
        Comb::<L>::size(curve.bits, KEY_TEETH, curve.rows())
    });
}

#[test]
fn every_entry_of_every_table_lies_on_its_curve() {
    on_every_curve!(tables_lie_on_the_curve);
}

/// Sums whose parts are equal, opposite, or nothing, with keys that are small multiples of the
/// generator or of its negative, so that additions meet doublings and infinity on the way.
fn sums_are_those_of_plain_arithmetic<const L: usize>(curve: &Weierstrass<L>) {
    let last = subtract(&curve.order.m, &small(1)).0;
    let half = curve.order.leave(&curve.order.invert_entered(&curve.order.enter(&small(2))));
    let [first, second] = scalars(curve, 2).try_into().unwrap();
    let interesting = [[0; L], small(1), small(2), half, last, first];
    let keys = [small(1), small(2), last, second];
    for multiple in keys {
        let point = curve.normalise(&[plain_multiple(curve, &multiple, &curve.generator)])[0];
        let (seldom, busy) = (Key::new(point), Key::new(point));
        curve.expand(&busy);
        for u1 in &interesting {
            for u2 in &interesting {
                // u1·G + u2·k·G = (u1 + u2·k)·G
                let product = curve.order.mul(&curve.order.enter(u2), &multiple);
                let expected = plain_multiple(curve, &curve.order.add(u1, &product), &curve.generator);
                for key in [&seldom, &busy] {
                    assert!(same(curve, &curve.double_multiply(u1, u2, key), &expected));
                }
            }
        }
    }
}

#[test]
fn both_ways_of_summing_multiples_are_right_on_every_curve_in_exceptional_cases_too() {
    on_every_curve!(sums_are_those_of_plain_arithmetic);
}

#[test]
fn compressed_points_are_expanded() {
    for (curve, point, ..) in vectors() {
        let (x, y) = point[1..].split_at(curve.size());
        let compressed = [&[2 + (y.last().unwrap() & 1)][..], x].concat();
        assert_eq!(decode_point(curve, &compressed).as_deref(), Some(&point[..]), "{curve:?}");
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
        for bad in [&off[..], &hybrid, &too_large, &[0], &[], &point[..point.len() - 1], &[&point[..], &[0]].concat()] {
            assert_eq!(decode_point(curve, bad), None, "{curve:?}");
        }
    }
}
