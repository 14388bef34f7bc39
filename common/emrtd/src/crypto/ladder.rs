//! Points times secret scalars, in constant time, on the curves that no crate has.
//!
//! Double and add for every bit, with one formula for every sum: the complete addition law of
//! Renes, Costello and Batina (2016), algorithm 1, which holds for all points of a curve of odd
//! order, also equal ones and the neutral one. So neither the order of operations nor a branch depends
//! on the scalar; the field's arithmetic and the selection are the constant-time ones of
//! crypto-bigint.

use crypto_bigint::{
    Choice, CtLt, CtSelect, Odd, U192, U256, U320, U384, U512, U576, Uint,
    modular::{FixedMontyForm, FixedMontyParams},
};
use zeroize::{Zeroize, Zeroizing};

use super::curve::{Curve, Parameters, bytes};

/// A multiple of a point that was checked to be on the curve (`04 x y`), or of the generator, as
/// `04 x y`; `None` when the scalar is zero or not below the order.
pub(super) fn multiply(curve: Curve, scalar: &[u8], point: Option<&[u8]>) -> Option<Zeroizing<Vec<u8>>> {
    let parameters = curve.parameters();
    match parameters.bits {
        0..=192 => of_size::<{ U192::LIMBS }>(parameters, scalar, point),
        193..=256 => of_size::<{ U256::LIMBS }>(parameters, scalar, point),
        257..=320 => of_size::<{ U320::LIMBS }>(parameters, scalar, point),
        321..=384 => of_size::<{ U384::LIMBS }>(parameters, scalar, point),
        385..=512 => of_size::<{ U512::LIMBS }>(parameters, scalar, point),
        _ => of_size::<{ U576::LIMBS }>(parameters, scalar, point),
    }
}

fn of_size<const L: usize>(parameters: &Parameters, scalar: &[u8], point: Option<&[u8]>) -> Option<Zeroizing<Vec<u8>>> {
    let size = parameters.curve.size();
    let scalar = Zeroizing::new(number::<L>(scalar)?);
    let in_range = !scalar.is_zero() & scalar.ct_lt(&number(&bytes(parameters.n))?);
    // Whether it is, may be known: it is drawn again when it is not.
    in_range.to_bool().then_some(())?;
    let field = FixedMontyParams::<L>::new_vartime(Odd::new(number::<L>(&bytes(parameters.p))?).into_option()?);
    let element = |octets: &[u8]| Some(FixedMontyForm::new(&number(octets)?, &field));
    let (x, y) = match point {
        Some(point) => (element(point.get(1..=size)?)?, element(point.get(1 + size..)?)?),
        None => (element(&bytes(parameters.gx))?, element(&bytes(parameters.gy))?),
    };
    let b = element(&bytes(parameters.b))?;
    let curve = Coefficients { a: element(&bytes(parameters.a))?, b3: b.add(&b).add(&b) };
    let (zero, one) = (FixedMontyForm::zero(&field), FixedMontyForm::one(&field));
    let point = Projective { x, y, z: one };
    let mut product = Projective { x: zero, y: one, z: zero };
    for at in (0..parameters.bits).rev() {
        product = curve.add(&product, &product);
        let sum = curve.add(&product, &point);
        product = product.select(&sum, scalar.bit(u32::try_from(at).ok()?));
    }
    let inverse = product.z.invert().into_option()?;
    let mut out = Zeroizing::new(vec![4]);
    for coordinate in [&product.x, &product.y] {
        let octets = Zeroizing::new(coordinate.mul(&inverse).retrieve().to_be_bytes());
        out.extend_from_slice(octets.as_ref().get(octets.as_ref().len().checked_sub(size)?..)?);
    }
    for coordinate in [&mut product.x, &mut product.y, &mut product.z] {
        coordinate.zeroize();
    }
    Some(out)
}

/// x/z, y/z; z is zero at infinity.
#[derive(Clone, Copy)]
struct Projective<const L: usize> {
    x: FixedMontyForm<L>,
    y: FixedMontyForm<L>,
    z: FixedMontyForm<L>,
}

impl<const L: usize> Projective<L> {
    fn select(&self, other: &Projective<L>, choose_other: Choice) -> Projective<L> {
        Projective {
            x: self.x.ct_select(&other.x, choose_other),
            y: self.y.ct_select(&other.y, choose_other),
            z: self.z.ct_select(&other.z, choose_other),
        }
    }
}

struct Coefficients<const L: usize> {
    a: FixedMontyForm<L>,
    /// 3b
    b3: FixedMontyForm<L>,
}

impl<const L: usize> Coefficients<L> {
    fn add(&self, p: &Projective<L>, q: &Projective<L>) -> Projective<L> {
        let (xx, yy, zz) = (p.x.mul(&q.x), p.y.mul(&q.y), p.z.mul(&q.z));
        let xy = p.x.add(&p.y).mul(&q.x.add(&q.y)).sub(&xx.add(&yy));
        let xz = p.x.add(&p.z).mul(&q.x.add(&q.z)).sub(&xx.add(&zz));
        let yz = p.y.add(&p.z).mul(&q.y.add(&q.z)).sub(&yy.add(&zz));
        let azz = self.a.mul(&zz);
        let bzz = self.b3.mul(&zz).add(&self.a.mul(&xz));
        let (difference, sum) = (yy.sub(&bzz), yy.add(&bzz));
        let slope = xx.add(&xx).add(&xx).add(&azz);
        let rest = self.b3.mul(&xz).add(&self.a.mul(&xx.sub(&azz)));
        Projective {
            x: xy.mul(&difference).sub(&yz.mul(&rest)),
            y: difference.mul(&sum).add(&slope.mul(&rest)),
            z: yz.mul(&sum).add(&xy.mul(&slope)),
        }
    }
}

/// A big-endian number of at most so many limbs; longer ones only when what is over is zero.
fn number<const L: usize>(octets: &[u8]) -> Option<Uint<L>> {
    let size = Uint::<L>::BYTES;
    let (above, octets) = octets.split_at_checked(octets.len().saturating_sub(size))?;
    if above.iter().any(|octet| *octet != 0) {
        return None;
    }
    let mut whole = Zeroizing::new(vec![0; size]);
    whole.get_mut(size - octets.len()..)?.copy_from_slice(octets);
    Some(Uint::from_be_slice(&whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with OpenSSL 3.0: curve, a private key, its point, another point, and the shared x.
    const VECTORS: &str = include_str!("key_agreement_vectors.txt");

    #[test]
    fn products_are_those_of_openssl_on_every_curve() {
        for line in VECTORS.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let curve = Curve::all().find(|curve| curve.name() == fields[0]).unwrap();
            let [private, own, other, shared] = [1, 2, 3, 4].map(|at: usize| hex::decode(fields[at]).unwrap());
            assert_eq!(*multiply(curve, &private, None).unwrap(), own, "{curve:?}");
            let product = multiply(curve, &private, Some(&other)).unwrap();
            assert_eq!(product[1..=curve.size()], shared[..], "{curve:?}");
            assert_eq!(super::super::weierstrass::decode_point(curve, &product).as_ref(), Some(&*product));
        }
    }

    #[test]
    fn edges_of_the_range_are_right_and_beyond_it_is_nothing() {
        for curve in Curve::all() {
            let parameters = curve.parameters();
            let n = bytes(parameters.n);
            let generator = [vec![4], bytes(parameters.gx), bytes(parameters.gy)].concat();
            assert_eq!(*multiply(curve, &[1], None).unwrap(), generator);
            let mut last = n.clone();
            *last.last_mut().unwrap() -= 1;
            let negative = multiply(curve, &last, Some(&generator)).unwrap();
            assert_eq!(negative[..=curve.size()], generator[..=curve.size()]);
            assert_ne!(*negative, generator);
            for bad in [&[][..], &[0], &n, &vec![0xff; n.len()], &[&[1][..], &n].concat()] {
                assert!(multiply(curve, bad, None).is_none(), "{curve:?}");
            }
        }
    }

    #[test]
    fn small_scalars_are_repeated_sums() {
        for curve in Curve::all() {
            for scalar in 2..20u8 {
                let ours = multiply(curve, &[scalar], None).unwrap();
                assert_eq!(super::super::weierstrass::multiply(curve, &[scalar], None), Some(ours.to_vec()));
            }
        }
    }
}
