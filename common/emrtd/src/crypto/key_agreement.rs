//! Diffie-Hellman between a chip's static key and a terminal's ephemeral one (BSI TR-03111
//! section 4.3, RFC 2631 section 2.1).

use ecdsa::elliptic_curve::{
    AffinePoint, CurveArithmetic, FieldBytesSize, ProjectivePoint, PublicKey as EcPublicKey, SecretKey,
    group::Group as _,
    sec1::{FromSec1Point, ModulusSize, ToSec1Point},
};
use zeroize::Zeroizing;

use super::{curve::Curve, diffie_hellman::Group, key::PublicKey, ladder, weierstrass};

/// What is computed in: a curve or a group, and always a known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    Curve(Curve),
    Group(Group),
}

/// How to draw a secret private key: so many random octets, the first of them under a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SecretKeySize {
    pub octets: usize,
    pub first_octet: u8,
}

impl Domain {
    /// `P-256`, `brainpoolP256r1`, `RFC 5114 section 2.3`, `RFC 3526 group 15`.
    pub fn name(self) -> &'static str {
        match self {
            Domain::Curve(curve) => curve.name(),
            Domain::Group(group) => group.name(),
        }
    }

    /// How to draw a private key.
    pub fn secret_key_size(self) -> SecretKeySize {
        match self {
            Domain::Curve(curve) => {
                let excess = 8 * curve.size() - curve.parameters().bits;
                SecretKeySize { octets: curve.size(), first_octet: 0xff >> excess }
            }
            // 64 bits more than the order make the exponent uniform modulo the order; for the
            // long orders of RFC 3526 its section 8 asks for 480 bits at the most.
            Domain::Group(group) => SecretKeySize { octets: (group.order_size() + 8).min(64), first_octet: 0xff },
        }
    }
}

/// A public value that was checked: on the curve or in the subgroup, and not neutral. Every curve
/// of the table has cofactor 1, so a point on it has the right order; small orders exist only
/// off the curve or outside the subgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicValue {
    domain: Domain,
    /// `04 x y`, or an element of the group's size.
    encoded: Vec<u8>,
}

impl PublicValue {
    pub fn new(domain: Domain, encoded: &[u8]) -> Option<PublicValue> {
        let encoded = match domain {
            Domain::Curve(curve) => match PublicKey::ec(curve, encoded).ok()? {
                PublicKey::Ec { point, .. } => point,
                PublicKey::Rsa { .. } => return None,
            },
            Domain::Group(group) => group.element(encoded)?,
        };
        Some(PublicValue { domain, encoded })
    }

    pub fn domain(&self) -> Domain {
        self.domain
    }

    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

/// A private key, and whether it may show in the time a computation takes.
#[derive(Clone, Copy)]
pub(crate) enum PrivateKey<'a> {
    /// Somebody else chose it and handed it in: it is no secret of ours, and whoever measures us
    /// learns what its owner knows. Variable time is fine.
    Disclosed(&'a [u8]),
    /// Ours, and never disclosed: constant time.
    Secret(&'a [u8]),
}

/// What comes of a private key and the other side's public value.
pub(crate) struct Agreement {
    /// The public value of the private key.
    pub own: PublicValue,
    /// The shared secret: x, or the element, in the field's size.
    pub shared: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AgreementError {
    #[error("the private key is zero or not below the order")]
    PrivateKeyOutOfRange,
    #[error("points have multiples, elements of a group do not")]
    NoCurve,
}

pub(crate) fn agree(private: PrivateKey<'_>, other: &PublicValue) -> Result<Agreement, AgreementError> {
    let (own, shared) = match other.domain {
        Domain::Curve(curve) => {
            let own = multiply(curve, private, None)?;
            let point = multiply(curve, private, Some(&other.encoded))?;
            // 04 x y
            let x = point.get(1..=curve.size()).unwrap_or_default();
            (own, Zeroizing::new(x.to_vec()))
        }
        Domain::Group(group) => {
            let (PrivateKey::Disclosed(exponent) | PrivateKey::Secret(exponent)) = private;
            let power = |element| {
                let exponent = fit(exponent, group.size().min(exponent.len()))?;
                group.power(element, &exponent)
            };
            let out_of_range = AgreementError::PrivateKeyOutOfRange;
            (power(None).ok_or(out_of_range)?, power(Some(&other.encoded)).ok_or(out_of_range)?)
        }
    };
    Ok(Agreement { own: PublicValue { domain: other.domain, encoded: own.to_vec() }, shared })
}

/// A checked point to a disclosed scalar between 1 and the order.
pub(crate) fn multiple(scalar: &[u8], point: &PublicValue) -> Result<PublicValue, AgreementError> {
    let Domain::Curve(curve) = point.domain else { return Err(AgreementError::NoCurve) };
    let product = multiply(curve, PrivateKey::Disclosed(scalar), Some(&point.encoded))?;
    Ok(PublicValue { domain: point.domain, encoded: product.to_vec() })
}

/// A multiple of a point, or of the generator, as `04 x y`.
fn multiply(curve: Curve, private: PrivateKey<'_>, point: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, AgreementError> {
    let (PrivateKey::Disclosed(scalar) | PrivateKey::Secret(scalar)) = private;
    let scalar = fit(scalar, curve.size()).ok_or(AgreementError::PrivateKeyOutOfRange)?;
    let product = match curve {
        Curve::P256 => constant_time::<p256::NistP256>(&scalar, point),
        Curve::P384 => constant_time::<p384::NistP384>(&scalar, point),
        Curve::P521 => constant_time::<p521::NistP521>(&scalar, point),
        Curve::BrainpoolP256r1 => constant_time::<bp256::BrainpoolP256r1>(&scalar, point),
        Curve::BrainpoolP256t1 => constant_time::<bp256::BrainpoolP256t1>(&scalar, point),
        Curve::BrainpoolP384r1 => constant_time::<bp384::BrainpoolP384r1>(&scalar, point),
        Curve::BrainpoolP384t1 => constant_time::<bp384::BrainpoolP384t1>(&scalar, point),
        // What verifies signatures is variable time: for keys that are no secret only.
        _ => match private {
            PrivateKey::Disclosed(_) => weierstrass::multiply(curve, &scalar, point).map(Zeroizing::new),
            PrivateKey::Secret(_) => ladder::multiply(curve, &scalar, point),
        },
    };
    product.ok_or(AgreementError::PrivateKeyOutOfRange)
}

/// RustCrypto's arithmetic, whose scalar multiplication takes the same time for every scalar.
fn constant_time<C>(scalar: &[u8], point: Option<&[u8]>) -> Option<Zeroizing<Vec<u8>>>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let secret = SecretKey::<C>::from_slice(scalar).ok()?;
    let scalar = Zeroizing::new(secret.to_nonzero_scalar());
    let base = match point {
        Some(point) => EcPublicKey::<C>::from_sec1_bytes(point).ok()?.to_projective(),
        None => ProjectivePoint::<C>::generator(),
    };
    let product: ProjectivePoint<C> = base * scalar.as_ref();
    let product = EcPublicKey::<C>::from_affine(product.into()).ok()?;
    Some(Zeroizing::new(product.to_sec1_point(false).as_bytes().to_vec()))
}

/// A number in so many octets: shorter ones are filled, longer ones lose zeros only. Numbers come
/// with the sign octet of an INTEGER, and from careless writers without leading zeros.
fn fit(number: &[u8], size: usize) -> Option<Zeroizing<Vec<u8>>> {
    let excess = number.len().saturating_sub(size);
    let (above, number) = number.split_at_checked(excess)?;
    if above.iter().any(|octet| *octet != 0) {
        return None;
    }
    let mut out = Zeroizing::new(vec![0; size]);
    out.get_mut(size - number.len()..)?.copy_from_slice(number);
    Some(out)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::agreement::{self as aws, UnparsedPublicKey};

    use super::*;

    /// Made with OpenSSL 3.0: curve, a private key, its point, another point, and the shared x.
    const VECTORS: &str = include_str!("key_agreement_vectors.txt");

    fn vectors() -> Vec<(Curve, [Vec<u8>; 4])> {
        VECTORS
            .lines()
            .map(|line| {
                let fields: Vec<&str> = line.split(' ').collect();
                let curve = Curve::all().find(|curve| curve.name() == fields[0]).unwrap();
                (curve, [1, 2, 3, 4].map(|index: usize| hex::decode(fields[index]).unwrap()))
            })
            .collect()
    }

    #[test]
    fn agreements_are_those_of_openssl_on_every_curve() {
        assert!(Curve::all().all(|curve| vectors().iter().any(|(of, _)| *of == curve)));
        for (curve, [private, own, other, shared]) in vectors() {
            let value = PublicValue::new(Domain::Curve(curve), &other).unwrap();
            let agreed = agree(PrivateKey::Disclosed(&private), &value).unwrap();
            assert_eq!((&agreed.own.encoded, &*agreed.shared), (&own, &shared), "{curve:?}");
            assert_eq!(agreed.own, PublicValue::new(Domain::Curve(curve), &own).unwrap());
            let padded = [&[0, 0][..], &private].concat();
            assert_eq!(*agree(PrivateKey::Disclosed(&padded), &value).unwrap().shared, shared);
            let agreed = agree(PrivateKey::Secret(&private), &value).unwrap();
            assert_eq!((&agreed.own.encoded, &*agreed.shared), (&own, &shared), "{curve:?}");
        }
    }

    #[test]
    fn our_arithmetic_and_the_crates_agree() {
        for (curve, [private, own, other, shared]) in vectors() {
            assert_eq!(weierstrass::multiply(curve, &private, None).unwrap(), own, "{curve:?}");
            let point = weierstrass::multiply(curve, &private, Some(&other)).unwrap();
            assert_eq!(point[1..=curve.size()], shared[..], "{curve:?}");
            let algorithm = match curve {
                Curve::P256 => &aws::ECDH_P256,
                Curve::P384 => &aws::ECDH_P384,
                Curve::P521 => &aws::ECDH_P521,
                _ => continue,
            };
            let key = aws::PrivateKey::from_private_key(algorithm, &private).unwrap();
            aws::agree(&key, UnparsedPublicKey::new(algorithm, &other), (), |secret| {
                assert_eq!(secret, shared, "{curve:?}");
                Ok(())
            })
            .unwrap();
        }
    }

    #[test]
    fn private_keys_of_zero_or_the_order_or_more_are_refused() {
        for (curve, [_, _, other, _]) in vectors() {
            let value = PublicValue::new(Domain::Curve(curve), &other).unwrap();
            let n = super::super::curve::bytes(curve.parameters().n);
            let mut last = n.clone();
            *last.last_mut().unwrap() -= 1;
            for bad in [&[][..], &[0], &vec![0; curve.size()], &n, &vec![0xff; curve.size()], &[&[1][..], &n].concat()]
            {
                for private in [PrivateKey::Disclosed(bad), PrivateKey::Secret(bad)] {
                    let refused = agree(private, &value).err();
                    assert_eq!(refused, Some(AgreementError::PrivateKeyOutOfRange), "{curve:?}");
                }
            }
            // (n - 1)Q = -Q has the same x, and 1·Q is Q.
            for edge in [&last[..], &[1]] {
                for private in [PrivateKey::Disclosed(edge), PrivateKey::Secret(edge)] {
                    let agreed = agree(private, &value).unwrap();
                    assert_eq!(agreed.shared[..], other[1..=curve.size()], "{curve:?}");
                }
            }
        }
    }

    #[test]
    fn a_private_key_of_a_group_may_be_as_long_as_an_element() {
        let group = Group::Modp1024Subgroup160;
        let value = PublicValue::new(Domain::Group(group), &group.power(None, &[3]).unwrap()).unwrap();
        let agreed = |private: &[u8]| agree(PrivateKey::Secret(private), &value).map(|agreed| agreed.shared.to_vec());
        assert_eq!(agreed(&[2]), agreed(&[&[0; 140][..], &[2]].concat()));
        assert_eq!(agreed(&[2]).unwrap(), *group.power(None, &[6]).unwrap());
        for bad in [&[][..], &[0], &[1; 129]] {
            assert_eq!(agreed(bad), Err(AgreementError::PrivateKeyOutOfRange));
        }
    }
}
