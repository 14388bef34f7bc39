//! Signature verification against other implementations: OpenSSL, AWS-LC and RustCrypto are asked
//! the same as every provider here, on right, wrong and contrived inputs, and all must agree.
#![allow(clippy::unwrap_used)]

mod aws_lc;

use std::sync::Arc;

use openssl::{
    bn::{BigNum, BigNumContext},
    ec::{Asn1Flag, EcGroup, EcKey, EcPoint, PointConversionForm},
    ecdsa::EcdsaSig,
    hash::MessageDigest,
    md::{Md, MdRef},
    nid::Nid,
    pkey::{PKey, Public},
    pkey_ctx::PkeyCtx,
    rsa::{Padding, Rsa},
    sign::RsaPssSaltlen,
};
use proofmill_emrtd::crypto::{
    curve::Curve,
    digest::Digest,
    key::{KeyError, PublicKey},
    provider::{PreparedKey, Provider, Scheme, SignatureError, TableBudget, providers},
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};

// -- elliptic curves

/// The numbers by which OpenSSL knows the curves.
fn openssl_group(curve: Curve) -> EcGroup {
    let nid = match curve {
        Curve::P192 => Nid::X9_62_PRIME192V1,
        Curve::P224 => Nid::SECP224R1,
        Curve::P256 => Nid::X9_62_PRIME256V1,
        Curve::P384 => Nid::SECP384R1,
        Curve::P521 => Nid::SECP521R1,
        // NID_brainpoolP160r1 is 921, and the others follow in the order of RFC 5639.
        brainpool => Nid::from_raw(921 + brainpool as i32 - Curve::BrainpoolP160r1 as i32),
    };
    EcGroup::from_curve_name(nid).unwrap()
}

/// A curve with OpenSSL's arithmetic to contrive keys and signatures with.
struct Lab {
    curve: Curve,
    group: EcGroup,
    p: BigNum,
    n: BigNum,
    context: BigNumContext,
}

impl Lab {
    fn new(curve: Curve) -> Lab {
        let group = openssl_group(curve);
        let mut context = BigNumContext::new().unwrap();
        let (mut p, mut a, mut b, mut n) =
            (BigNum::new().unwrap(), BigNum::new().unwrap(), BigNum::new().unwrap(), BigNum::new().unwrap());
        group.components_gfp(&mut p, &mut a, &mut b, &mut context).unwrap();
        group.order(&mut n, &mut context).unwrap();
        Lab { curve, group, p, n, context }
    }

    fn mul(&mut self, a: &BigNum, b: &BigNum) -> BigNum {
        let mut out = BigNum::new().unwrap();
        out.mod_mul(a, b, &self.n, &mut self.context).unwrap();
        out
    }

    fn divide(&mut self, a: &BigNum, b: &BigNum) -> BigNum {
        let mut inverse = BigNum::new().unwrap();
        inverse.mod_inverse(b, &self.n, &mut self.context).unwrap();
        self.mul(a, &inverse)
    }

    fn negative(&self, a: &BigNum) -> BigNum {
        let mut out = BigNum::new().unwrap();
        out.checked_sub(&self.n, a).unwrap();
        out
    }

    /// g·G + q·Q
    fn sum(&mut self, g: &BigNum, q: Option<(&EcPoint, &BigNum)>) -> EcPoint {
        let mut out = EcPoint::new(&self.group).unwrap();
        match q {
            Some((point, q)) => out.mul_full(&self.group, g, point, q, &mut self.context).unwrap(),
            None => out.mul_generator2(&self.group, g, &mut self.context).unwrap(),
        }
        out
    }

    fn x(&mut self, point: &EcPoint) -> BigNum {
        let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
        point.affine_coordinates_gfp(&self.group, &mut x, &mut y, &mut self.context).unwrap();
        x
    }

    fn encode(&mut self, point: &EcPoint) -> Vec<u8> {
        point.to_bytes(&self.group, PointConversionForm::UNCOMPRESSED, &mut self.context).unwrap()
    }

    fn random(&self, rng: &mut ChaCha20Rng) -> BigNum {
        let mut bytes = vec![0; self.curve.size() + 8];
        rng.fill_bytes(&mut bytes);
        let mut out = BigNum::new().unwrap();
        out.nnmod(&BigNum::from_slice(&bytes).unwrap(), &self.n, &mut BigNumContext::new().unwrap()).unwrap();
        if out.num_bits() == 0 { BigNum::from_u32(1).unwrap() } else { out }
    }

    /// The number that a digest stands for, reduced.
    fn z(&mut self, digest: &[u8]) -> BigNum {
        let digest = digest.get(..self.curve.size()).unwrap_or(digest);
        let mut out = BigNum::new().unwrap();
        out.nnmod(&BigNum::from_slice(digest).unwrap(), &self.n, &mut self.context).unwrap();
        out
    }

    /// A signature with the private key d and the secret k.
    fn sign(&mut self, d: &BigNum, k: &BigNum, digest: &[u8]) -> (BigNum, BigNum) {
        let point = self.sum(k, None);
        let mut r = BigNum::new().unwrap();
        let x = self.x(&point);
        r.nnmod(&x, &self.n, &mut self.context).unwrap();
        let mut sum = BigNum::new().unwrap();
        let (rd, z) = (self.mul(&r, d), self.z(digest));
        sum.mod_add(&rd, &z, &self.n, &mut self.context).unwrap();
        let s = self.divide(&sum, k);
        (r, s)
    }
}

/// One key in every implementation there is.
struct Oracles {
    seldom: PreparedKey,
    busy: PreparedKey,
    openssl: EcKey<Public>,
    aws_lc: aws_lc::Key,
}

impl Oracles {
    fn new(lab: &mut Lab, public: &EcPoint) -> Oracles {
        let encoded = lab.encode(public);
        let key = PublicKey::ec(lab.curve, &encoded).unwrap();
        let busy = PreparedKey::new(key.clone());
        busy.share_budget(&TableBudget::new(1 << 20));
        assert!(busy.expand());
        Oracles {
            seldom: PreparedKey::new(key),
            busy,
            openssl: EcKey::from_public_key(&lab.group, public).unwrap(),
            aws_lc: aws_lc::Key::new(lab.curve, &encoded).unwrap(),
        }
    }

    /// What all of them say.
    fn ask(&self, digest: &[u8], r: &[u8], s: &[u8]) -> bool {
        let algorithm = *Digest::ALL.iter().find(|known| known.size() == digest.len()).unwrap();
        let signature = der_signature(r, s);
        let scheme = Scheme::Ecdsa { digest: algorithm };
        let number = |bytes| BigNum::from_slice(bytes).unwrap();
        let openssl = EcdsaSig::from_private_components(number(r), number(s)).unwrap();
        let mut answers = vec![
            ("openssl", openssl.verify(digest, &self.openssl).unwrap_or(false)),
            ("aws-lc", self.aws_lc.verify(digest, r, s)),
        ];
        for provider in providers(self.seldom.key(), scheme) {
            let name = match provider {
                Provider::AwsLc => "aws-lc-rs",
                Provider::RustCrypto => "rustcrypto",
                Provider::Native => "native",
            };
            let holds = |key: &PreparedKey| key.verify_digest_with(*provider, scheme, digest, &signature).is_ok();
            answers.push((name, holds(&self.seldom)));
            if *provider == Provider::Native {
                answers.push(("native with a table", holds(&self.busy)));
            }
        }
        let first = answers[0].1;
        assert!(
            answers.iter().all(|(_, answer)| *answer == first),
            "{answers:?} on {} for {digest:02x?} {r:02x?} {s:02x?}",
            self.seldom.key().describe()
        );
        first
    }
}

fn der_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|octet| **octet == 0).count();
        let mut value = number[zeros..].to_vec();
        if value.first().is_none_or(|first| *first >= 0x80) {
            value.insert(0, 0);
        }
        tlv(2, &value)
    };
    tlv(0x30, &[integer(r), integer(s)].concat())
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = match value.len() {
        length @ 0..0x80 => vec![length as u8],
        length @ 0x80..0x100 => vec![0x81, length as u8],
        length => vec![0x82, (length >> 8) as u8, length as u8],
    };
    [&[tag][..], &length, value].concat()
}

fn one() -> BigNum {
    BigNum::from_u32(1).unwrap()
}

fn message_digest(rng: &mut ChaCha20Rng, digest: Digest) -> Vec<u8> {
    let mut message = [0; 16];
    rng.fill_bytes(&mut message);
    digest.compute(&[&message]).as_ref().to_vec()
}

#[test]
fn random_signatures_hold_and_their_corruptions_do_not_on_every_curve_with_every_digest() {
    for curve in Curve::all() {
        let mut rng = ChaCha20Rng::seed_from_u64(curve as u64);
        let mut lab = Lab::new(curve);
        for digest in Digest::ALL {
            let (d, k) = (lab.random(&mut rng), lab.random(&mut rng));
            let digest = message_digest(&mut rng, digest);
            let public = lab.sum(&d, None);
            let (r, s) = lab.sign(&d, &k, &digest);
            let oracles = Oracles::new(&mut lab, &public);
            let ask = |r: &BigNum, s: &BigNum| oracles.ask(&digest, &r.to_vec(), &s.to_vec());
            assert!(ask(&r, &s), "{curve:?}");
            // The known symmetry of ECDSA.
            assert!(ask(&r, &lab.negative(&s)), "{curve:?}");
            assert!(!ask(&lab.negative(&r), &s));
            assert!(!ask(&s, &r));

            let zero = BigNum::new().unwrap();
            let last = lab.negative(&one());
            let mut above = BigNum::new().unwrap();
            above.checked_add(&lab.n, &r).unwrap();
            let n = lab.n.to_owned().unwrap();
            for wrong in [&zero, &one(), &last, &n, &above] {
                assert!(!ask(wrong, &s));
                assert!(!ask(&r, wrong));
                assert!(!ask(wrong, wrong));
            }
            for bit in [0, 7, 8 * digest.len().min(curve.size()) - 1] {
                let mut other = digest.clone();
                other[bit / 8] ^= 0x80 >> (bit % 8);
                assert!(!oracles.ask(&other, &r.to_vec(), &s.to_vec()));
            }
            // Beyond the order's length a digest does not count.
            if digest.len() > curve.size() {
                let mut other = digest.clone();
                *other.last_mut().unwrap() ^= 1;
                assert!(oracles.ask(&other, &r.to_vec(), &s.to_vec()));
            }
            let generator = lab.sum(&one(), None);
            assert!(!Oracles::new(&mut lab, &generator).ask(&digest, &r.to_vec(), &s.to_vec()));
        }
    }
}

/// Keys that are the generator, its negative and small multiples, digests that are zero or all
/// ones, secrets that make the sum a small multiple: additions of equal and opposite points.
#[test]
fn exceptional_sums_are_right_on_every_curve() {
    for curve in Curve::all() {
        let mut rng = ChaCha20Rng::seed_from_u64(100 + curve as u64);
        let mut lab = Lab::new(curve);
        let [first, second] = [1, 2].map(|number| BigNum::from_u32(number).unwrap());
        let third = lab.random(&mut rng);
        let interesting = [lab.negative(&first), lab.negative(&second), first, second, third];
        let digests = [vec![0; 32], vec![0xff; 64], message_digest(&mut rng, Digest::Sha1)];
        for d in &interesting {
            let public = lab.sum(d, None);
            let oracles = Oracles::new(&mut lab, &public);
            for k in &interesting {
                for digest in &digests {
                    let (r, s) = lab.sign(d, k, digest);
                    // A secret with which r·d = -z gives no signature.
                    if s.num_bits() > 0 {
                        assert!(oracles.ask(digest, &r.to_vec(), &s.to_vec()), "{curve:?}");
                    }
                }
            }
        }
    }
}

/// u1·G = -u2·Q: with d = -z/r the sum is at infinity whatever s is, and no signature.
#[test]
fn sums_at_infinity_are_refused_on_every_curve() {
    for curve in Curve::all() {
        let mut rng = ChaCha20Rng::seed_from_u64(200 + curve as u64);
        let mut lab = Lab::new(curve);
        for digest in Digest::ALL {
            let digest = message_digest(&mut rng, digest);
            let (r, s) = (lab.random(&mut rng), lab.random(&mut rng));
            let z = lab.z(&digest);
            let quotient = lab.divide(&z, &r);
            let d = lab.negative(&quotient);
            let public = lab.sum(&d, None);
            assert!(!Oracles::new(&mut lab, &public).ask(&digest, &r.to_vec(), &s.to_vec()), "{curve:?}");
        }
    }
}

/// r is x modulo n, and x may be n or more: rarely by chance, here by a key made for such a sum.
#[test]
fn sums_with_an_x_above_the_order_hold_on_every_curve() {
    for curve in Curve::all() {
        let mut rng = ChaCha20Rng::seed_from_u64(300 + curve as u64);
        let mut lab = Lab::new(curve);
        let mut found = 0;
        for above in 1..40u32 {
            let mut x = BigNum::new().unwrap();
            x.checked_add(&lab.n, &BigNum::from_u32(above).unwrap()).unwrap();
            assert!(x < lab.p);
            let compressed = [vec![2], x.to_vec_padded(curve.size() as i32).unwrap()].concat();
            let Ok(point) = EcPoint::from_bytes(&lab.group, &compressed, &mut lab.context) else {
                continue;
            };
            // R = u1·G + u2·Q for any u1 and u2, so Q = (R - u1·G)/u2.
            let digest = message_digest(&mut rng, Digest::Sha256);
            let (r, s) = (BigNum::from_u32(above).unwrap(), lab.random(&mut rng));
            let z = lab.z(&digest);
            let (u1, u2) = (lab.divide(&z, &s), lab.divide(&r, &s));
            let (minus_u1, inverse) = (lab.negative(&u1), lab.divide(&one(), &u2));
            let g = lab.mul(&minus_u1, &inverse);
            let public = lab.sum(&g, Some((&point, &inverse)));
            let oracles = Oracles::new(&mut lab, &public);
            assert!(oracles.ask(&digest, &r.to_vec(), &s.to_vec()), "{curve:?}");
            assert!(!oracles.ask(&digest, &x.to_vec(), &s.to_vec()));
            found += 1;
        }
        assert!(found > 5, "{curve:?}");
    }
}

/// Compressed points, points off the curve and on the twist, at infinity, misencoded, out of range.
#[test]
fn encoded_points_are_taken_or_refused_as_by_openssl_on_every_curve() {
    for curve in Curve::all() {
        let mut rng = ChaCha20Rng::seed_from_u64(400 + curve as u64);
        let mut lab = Lab::new(curve);
        let size = curve.size();
        let mut encodings = vec![vec![0], vec![], vec![4], vec![2; size], vec![0; 1 + 2 * size]];
        let d = lab.random(&mut rng);
        let point = lab.sum(&d, None);
        let encoded = lab.encode(&point);
        for (first, length) in [(4, 1 + 2 * size), (2, 1 + size), (3, 1 + size), (4, 2 * size), (5, 1 + 2 * size)] {
            let mut other = encoded[..length].to_vec();
            other[0] = first;
            encodings.push(other);
        }
        let p = lab.p.to_vec_padded(size as i32).unwrap();
        encodings.push([&[4][..], &p, &encoded[1 + size..]].concat());
        encodings.push([&encoded[..1 + size], &p[..]].concat());
        encodings.push([&[2][..], &p].concat());
        for _ in 0..24 {
            let mut x = vec![0; size];
            rng.fill_bytes(&mut x);
            if curve == Curve::P521 {
                x[0] &= 1;
            }
            encodings.push([&[2][..], &x].concat());
            encodings.push([&[3][..], &x].concat());
            encodings.push([&[4][..], &x, &encoded[1 + size..]].concat());
        }
        let mut taken = 0;
        for encoding in encodings {
            let theirs = EcPoint::from_bytes(&lab.group, &encoding, &mut lab.context)
                .ok()
                .filter(|point| !point.is_infinity(&lab.group))
                .map(|point| lab.encode(&point));
            let ours = match PublicKey::ec(curve, &encoding) {
                Ok(PublicKey::Ec { point, .. }) => Some(point),
                Ok(PublicKey::Rsa { .. }) => panic!("an elliptic curve point is no RSA key"),
                Err(error) => {
                    assert_eq!(error, KeyError::PointInvalid);
                    None
                }
            };
            assert_eq!(ours, theirs, "{curve:?} {encoding:02x?}");
            taken += usize::from(ours.is_some());
        }
        assert!(taken > 12, "{curve:?}");
    }
}

#[test]
fn a_key_of_one_curve_is_none_of_another_of_its_size() {
    for curve in Curve::all() {
        let mut lab = Lab::new(curve);
        let point = lab.sum(&BigNum::from_u32(7).unwrap(), None);
        let encoded = lab.encode(&point);
        for other in Curve::all().filter(|other| *other != curve) {
            assert_eq!(PublicKey::ec(other, &encoded), Err(KeyError::PointInvalid), "{curve:?} {other:?}");
        }
    }
}

/// SubjectPublicKeyInfo as OpenSSL writes it, the curve named and spelled out in full.
#[test]
fn keys_with_named_and_explicit_parameters_are_those_of_openssl_on_every_curve() {
    for curve in Curve::all() {
        let mut lab = Lab::new(curve);
        let point = lab.sum(&BigNum::from_u32(7).unwrap(), None);
        let expected = PublicKey::ec(curve, &lab.encode(&point)).unwrap();
        for flag in [Asn1Flag::NAMED_CURVE, Asn1Flag::EXPLICIT_CURVE] {
            lab.group.set_asn1_flag(flag);
            let key = EcKey::from_public_key(&lab.group, &point).unwrap();
            let spki = PKey::from_ec_key(key).unwrap().public_key_to_der().unwrap();
            assert_eq!(PublicKey::from_spki(&spki), Ok(expected.clone()), "{curve:?} {flag:?}");
        }
    }
}

/// ECParameters, each field at hand.
#[derive(Clone)]
struct Explicit {
    version: Vec<u8>,
    field: Vec<u8>,
    p: Vec<u8>,
    a: Vec<u8>,
    b: Vec<u8>,
    seed: Option<Vec<u8>>,
    g: Vec<u8>,
    n: Vec<u8>,
    h: Option<Vec<u8>>,
    more: Vec<u8>,
}

impl Explicit {
    fn of(curve: Curve) -> Explicit {
        let parameters = curve.parameters();
        let bytes = |hex: &str| hex::decode(hex).unwrap();
        Explicit {
            version: vec![1],
            // prime-field, 1.2.840.10045.1.1
            field: vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 1, 1],
            p: bytes(parameters.p),
            a: bytes(parameters.a),
            b: bytes(parameters.b),
            seed: None,
            g: [vec![4], bytes(parameters.gx), bytes(parameters.gy)].concat(),
            n: bytes(parameters.n),
            h: Some(vec![1]),
            more: vec![],
        }
    }

    fn der(&self) -> Vec<u8> {
        let integer = |number: &[u8]| {
            tlv(2, &[&[0][..usize::from(number.first().is_some_and(|first| *first >= 0x80))], number].concat())
        };
        let mut curve = [tlv(4, &self.a), tlv(4, &self.b)].concat();
        if let Some(seed) = &self.seed {
            curve.extend(tlv(3, &[&[0], &seed[..]].concat()));
        }
        let parts = [
            integer(&self.version),
            tlv(0x30, &[tlv(6, &self.field), integer(&self.p)].concat()),
            tlv(0x30, &curve),
            tlv(4, &self.g),
            integer(&self.n),
            self.h.as_ref().map(|h| integer(h)).unwrap_or_default(),
            self.more.clone(),
        ];
        tlv(0x30, &parts.concat())
    }
}

/// A SubjectPublicKeyInfo of a generator under some parameters.
fn spki(curve: Curve, parameters: &[u8]) -> Vec<u8> {
    let algorithm = [&tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1])[..], parameters].concat();
    let point = [&[0], &Explicit::of(curve).g[..]].concat();
    tlv(0x30, &[tlv(0x30, &algorithm), tlv(3, &point)].concat())
}

#[test]
fn explicit_parameters_are_a_known_curve_in_every_number_or_none() {
    for curve in Curve::all() {
        let right = Explicit::of(curve);
        let size = curve.size();
        let compressed = [&[2 + (right.g[2 * size] & 1)], &right.g[1..=size]].concat();
        let accepted = [
            right.clone(),
            Explicit { version: vec![2], ..right.clone() },
            Explicit { seed: Some(vec![7; 20]), version: vec![3], ..right.clone() },
            Explicit { g: compressed.clone(), ..right.clone() },
            Explicit { h: None, ..right.clone() },
            // Octets of a field element without their leading zeros, and with more of them.
            Explicit { a: [&[0], &right.a[..]].concat(), ..right.clone() },
        ];
        let expected = PublicKey::ec(curve, &right.g).unwrap();
        for parameters in accepted {
            assert_eq!(PublicKey::from_spki(&spki(curve, &parameters.der())), Ok(expected.clone()), "{curve:?}");
        }

        let off = |number: &[u8]| {
            let mut other = number.to_vec();
            *other.last_mut().unwrap() ^= 2;
            other
        };
        let longer = |number: &[u8]| [&[1], number].concat();
        let mut other_sign = compressed.clone();
        other_sign[0] ^= 1;
        let mut negative_g = Lab::new(curve);
        let minus_one = negative_g.negative(&one());
        let minus_g = negative_g.sum(&minus_one, None);
        let refused = [
            Explicit { version: vec![0], ..right.clone() },
            Explicit { version: vec![4], ..right.clone() },
            // characteristic-two-field
            Explicit { field: vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 1, 2], ..right.clone() },
            Explicit { p: off(&right.p), ..right.clone() },
            Explicit { p: longer(&right.p), ..right.clone() },
            Explicit { a: off(&right.a), ..right.clone() },
            Explicit { a: vec![], ..right.clone() },
            Explicit { b: off(&right.b), ..right.clone() },
            Explicit { a: right.b.clone(), b: right.a.clone(), ..right.clone() },
            Explicit { g: off(&right.g), ..right.clone() },
            Explicit { g: negative_g.encode(&minus_g), ..right.clone() },
            Explicit { g: other_sign, ..right.clone() },
            Explicit { g: right.g[..2 * size].to_vec(), ..right.clone() },
            Explicit { g: vec![0], ..right.clone() },
            Explicit { g: [&[6 + (right.g[2 * size] & 1)], &right.g[1..]].concat(), ..right.clone() },
            Explicit { n: off(&right.n), ..right.clone() },
            Explicit { n: longer(&right.n), ..right.clone() },
            Explicit { n: vec![1], ..right.clone() },
            Explicit { h: Some(vec![0]), ..right.clone() },
            Explicit { h: Some(vec![2]), ..right.clone() },
            Explicit { h: Some(vec![1; 20]), ..right.clone() },
            Explicit { more: tlv(2, &[1]), ..right.clone() },
            Explicit { more: vec![0xff], ..right.clone() },
        ];
        for (index, parameters) in refused.iter().enumerate() {
            let found = PublicKey::from_spki(&spki(curve, &parameters.der()));
            assert_eq!(found, Err(KeyError::UnknownCurve), "{curve:?} {index}");
        }
        for parameters in [&[5, 0][..], &[6, 3, 42, 3, 4], &[0x30, 0], &[]] {
            assert_eq!(PublicKey::from_spki(&spki(curve, parameters)), Err(KeyError::UnknownCurve));
        }
    }
}

// -- RSA

/// An RSA key of primes enough for its length, which makes even the longest in no time.
struct RsaLab {
    n: BigNum,
    e: BigNum,
    d: BigNum,
    context: BigNumContext,
}

impl RsaLab {
    /// The exponent is big-endian. Primes come from OpenSSL and are not repeatable: a failure prints the key.
    fn new(bits: i32, exponent: &[u8]) -> RsaLab {
        let e = BigNum::from_slice(exponent).unwrap();
        let mut context = BigNumContext::new().unwrap();
        let count = if bits <= 2048 { 2 } else { bits / 512 };
        loop {
            let (mut n, mut order) = (one(), one());
            for prime_number in 0..count {
                // The first makes up for what the length of the others does not divide.
                let length = if prime_number == 0 { bits - bits / count * (count - 1) } else { bits / count };
                let (mut prime, mut less, mut inverse) =
                    (BigNum::new().unwrap(), BigNum::new().unwrap(), BigNum::new().unwrap());
                loop {
                    prime.generate_prime(length, false, None, None).unwrap();
                    less.checked_sub(&prime, &one()).unwrap();
                    if inverse.mod_inverse(&e, &less, &mut context).is_ok() {
                        break;
                    }
                }
                let (mut product, mut product_less) = (BigNum::new().unwrap(), BigNum::new().unwrap());
                product.checked_mul(&n, &prime, &mut context).unwrap();
                product_less.checked_mul(&order, &less, &mut context).unwrap();
                (n, order) = (product, product_less);
            }
            let mut d = BigNum::new().unwrap();
            // Two primes make up the length; of many the product may be a little shorter.
            if n.num_bits() > bits - if count == 2 { 1 } else { 8 } && d.mod_inverse(&e, &order, &mut context).is_ok() {
                return RsaLab { n, e, d, context };
            }
        }
    }

    fn size(&self) -> usize {
        self.n.num_bytes() as usize
    }

    fn key(&self) -> PublicKey {
        PublicKey::rsa(&self.n.to_vec(), &self.e.to_vec()).unwrap()
    }

    fn openssl(&self) -> PKey<Public> {
        let rsa = Rsa::from_public_components(self.n.to_owned().unwrap(), self.e.to_owned().unwrap()).unwrap();
        PKey::from_rsa(rsa).unwrap()
    }

    /// The private operation on an encoded message.
    fn power(&mut self, encoded: &[u8]) -> Vec<u8> {
        let mut out = BigNum::new().unwrap();
        out.mod_exp(&BigNum::from_slice(encoded).unwrap(), &self.d, &self.n, &mut self.context).unwrap();
        out.to_vec_padded(self.size() as i32).unwrap()
    }

    /// RFC 8017 section 9.2, with what comes before, within and after it to be chosen.
    fn pkcs1(&self, digest: Digest, hash: &[u8], null: bool, garbage: usize) -> Vec<u8> {
        let oid: &[u8] = match digest {
            Digest::Sha1 => &[0x2b, 0x0e, 3, 2, 0x1a],
            Digest::Sha224 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4],
            Digest::Sha256 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1],
            Digest::Sha384 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2],
            Digest::Sha512 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3],
        };
        let null: &[u8] = if null { &[5, 0] } else { &[] };
        let algorithm = tlv(0x30, &[&tlv(6, oid)[..], null].concat());
        let info = tlv(0x30, &[algorithm, tlv(4, hash)].concat());
        let padding = self.size() - 3 - info.len() - garbage;
        [&[0, 1][..], &vec![0xff; padding], &[0], &info, &vec![0xa5; garbage]].concat()
    }

    /// RFC 8017 section 9.1.1.
    fn pss(&self, digest: Digest, mask_digest: Digest, salt: &[u8], hash: &[u8]) -> Vec<u8> {
        let bits = self.n.num_bits() as usize - 1;
        let length = bits.div_ceil(8);
        let inner = digest.compute(&[&[0; 8], hash, salt]);
        let inner = inner.as_ref();
        let mut block = vec![0; length - inner.len() - salt.len() - 2];
        block.push(1);
        block.extend_from_slice(salt);
        for (counter, chunk) in block.chunks_mut(mask_digest.size()).enumerate() {
            let mask = mask_digest.compute(&[inner, &(counter as u32).to_be_bytes()]);
            chunk.iter_mut().zip(mask.as_ref()).for_each(|(octet, mask)| *octet ^= mask);
        }
        block[0] &= 0xff >> (8 * length - bits);
        [&vec![0; self.size() - length][..], &block, inner, &[0xbc]].concat()
    }
}

fn message_md(digest: Digest) -> (MessageDigest, &'static MdRef) {
    match digest {
        Digest::Sha1 => (MessageDigest::sha1(), Md::sha1()),
        Digest::Sha224 => (MessageDigest::sha224(), Md::sha224()),
        Digest::Sha256 => (MessageDigest::sha256(), Md::sha256()),
        Digest::Sha384 => (MessageDigest::sha384(), Md::sha384()),
        Digest::Sha512 => (MessageDigest::sha512(), Md::sha512()),
    }
}

fn openssl_rsa(key: &PKey<Public>, scheme: Scheme, hash: &[u8], signature: &[u8]) -> bool {
    let verify = || {
        let mut context = PkeyCtx::new(key)?;
        context.verify_init()?;
        match scheme {
            Scheme::RsaPkcs1 { digest } => {
                context.set_rsa_padding(Padding::PKCS1)?;
                context.set_signature_md(message_md(digest).1)?;
            }
            Scheme::RsaPss { digest, mask_digest, salt_length } => {
                context.set_rsa_padding(Padding::PKCS1_PSS)?;
                context.set_signature_md(message_md(digest).1)?;
                context.set_rsa_mgf1_md(message_md(mask_digest).1)?;
                context.set_rsa_pss_saltlen(RsaPssSaltlen::custom(salt_length as i32))?;
            }
            Scheme::Ecdsa { .. } | Scheme::EcdsaPlain { .. } => panic!("no RSA scheme"),
        }
        context.verify(hash, signature)
    };
    verify().unwrap_or(false)
}

/// What all providers and OpenSSL say.
fn ask_rsa(
    lab: &RsaLab,
    key: &PreparedKey,
    openssl: &PKey<Public>,
    scheme: Scheme,
    hash: &[u8],
    signature: &[u8],
) -> bool {
    let expected = openssl_rsa(openssl, scheme, hash, signature);
    let listed = providers(key.key(), scheme);
    assert!(!listed.is_empty());
    for provider in listed {
        let answer = key.verify_digest_with(*provider, scheme, hash, signature);
        assert_ne!(answer, Err(SignatureError::Unsupported));
        assert_eq!(
            answer.is_ok(),
            expected,
            "{provider:?} {scheme:?} n {} e {} hash {hash:02x?} signature {signature:02x?}",
            lab.n.to_hex_str().unwrap(),
            lab.e.to_hex_str().unwrap()
        );
    }
    expected
}

/// A signature that holds, and what must not.
fn rsa_differential(lab: &mut RsaLab, scheme: Scheme, hash: &[u8], encoded: &[u8]) {
    let (key, openssl) = (PreparedKey::new(lab.key()), lab.openssl());
    let signature = lab.power(encoded);
    let ask = |hash: &[u8], signature: &[u8]| ask_rsa(lab, &key, &openssl, scheme, hash, signature);
    assert!(ask(hash, &signature), "{scheme:?} {} bits", key.key().bits());
    let mut other = hash.to_vec();
    other[0] ^= 1;
    assert!(!ask(&other, &signature));
    for at in [0, signature.len() / 2, signature.len() - 1] {
        let mut other = signature.clone();
        other[at] ^= 4;
        assert!(!ask(hash, &other));
    }
    // RFC 8017 sections 8.1.2 and 8.2.2 begin with the length; OpenSSL lets a leading zero be left out.
    for length_off in [&signature[1..], &[&signature[..], &[0]].concat(), &[&[0], &signature[..]].concat(), &[]] {
        for provider in providers(key.key(), scheme) {
            let answer = key.verify_digest_with(*provider, scheme, hash, length_off);
            assert_eq!(answer, Err(SignatureError::Malformed));
        }
    }
    let size = lab.size();
    let padded = |number: &BigNum| number.to_vec_padded(size as i32).unwrap();
    let mut last = lab.n.to_owned().unwrap();
    last.sub_word(1).unwrap();
    let mut contrived = vec![vec![0; size], padded(&one()), padded(&last), padded(&lab.n), vec![0xff; size]];
    // The same number modulo n: a second encoding of the signature.
    let mut above = BigNum::new().unwrap();
    above.checked_add(&BigNum::from_slice(&signature).unwrap(), &lab.n).unwrap();
    contrived.extend(above.to_vec_padded(size as i32));
    for wrong in contrived {
        assert!(!ask(hash, &wrong), "{scheme:?}");
    }
}

#[test]
fn pkcs1_signatures_hold_with_every_length_exponent_and_digest_and_their_forgeries_do_not() {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let cases: [(i32, &[u8], &[Digest]); 11] = [
        (1024, &[1, 0, 1], &Digest::ALL),
        (1024, &[3], &Digest::ALL),
        (1029, &[1, 0, 1], &[Digest::Sha256]),
        (1536, &[1, 0, 1], &[Digest::Sha1, Digest::Sha384]),
        (1792, &[1, 0, 1], &[Digest::Sha224]),
        (2048, &[3], &Digest::ALL),
        (2048, &[1, 0xfe, 0x81], &[Digest::Sha256]),
        (2048, &[1, 0, 0, 0, 1], &[Digest::Sha256]),
        (2048, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc5], &[Digest::Sha256, Digest::Sha512]),
        (4096, &[1, 0, 1], &[Digest::Sha512]),
        (8192, &[3], &[Digest::Sha256]),
    ];
    for (bits, exponent, digests) in cases {
        let mut lab = RsaLab::new(bits, exponent);
        for digest in digests.iter().copied() {
            let scheme = Scheme::RsaPkcs1 { digest };
            let hash = message_digest(&mut rng, digest);
            let encoded = lab.pkcs1(digest, &hash, true, 0);
            rsa_differential(&mut lab, scheme, &hash, &encoded);
            if bits > 2048 {
                continue;
            }

            // Encodings that careless verifiers take: CVE-2006-4339 and its kin.
            let (key, openssl) = (PreparedKey::new(lab.key()), lab.openssl());
            let mut short_padding = encoded.clone();
            short_padding[10] = 0;
            let mut type_two = encoded.clone();
            type_two[1] = 2;
            let mut first_octet = encoded.clone();
            first_octet[0] = 1;
            let other = Digest::ALL[(digest as usize + 1) % Digest::ALL.len()];
            let forged = [
                lab.pkcs1(digest, &hash, true, 8),
                lab.pkcs1(digest, &hash, false, 0),
                lab.pkcs1(other, &hash, true, 0),
                short_padding,
                type_two,
                first_octet,
                [&vec![0; lab.size() - hash.len()][..], &hash].concat(),
            ];
            for encoded in forged {
                let signature = lab.power(&encoded);
                assert!(!ask_rsa(&lab, &key, &openssl, scheme, &hash, &signature), "{bits} {digest:?} {encoded:02x?}");
            }
        }
    }
}

#[test]
fn pss_signatures_hold_with_their_own_salt_and_mask_and_no_other() {
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    // Of every length modulo 8: the leftmost bits of the encoded message depend on it, and for 1025
    // it is an octet shorter than the modulus.
    let lengths = (1024..1032).map(|bits| (bits, &[1, 0, 1][..]));
    for (bits, exponent) in lengths.chain([(2048, &[1, 0, 1][..]), (2048, &[3])]) {
        let mut lab = RsaLab::new(bits, exponent);
        for digest in Digest::ALL {
            for (mask_digest, salt_length) in [
                (digest, digest.size()),
                (digest, 0),
                (digest, 20),
                (digest, 33),
                (digest, 64),
                (Digest::Sha1, 20),
                (Digest::Sha512, digest.size()),
            ] {
                if digest.size() + salt_length + 2 > (lab.n.num_bits() as usize - 1).div_ceil(8) {
                    continue;
                }
                let scheme = Scheme::RsaPss { digest, mask_digest, salt_length };
                let hash = message_digest(&mut rng, digest);
                let mut salt = vec![0; salt_length];
                rng.fill_bytes(&mut salt);
                let encoded = lab.pss(digest, mask_digest, &salt, &hash);
                rsa_differential(&mut lab, scheme, &hash, &encoded);

                let (key, openssl) = (PreparedKey::new(lab.key()), lab.openssl());
                let signature = lab.power(&encoded);
                for other in [salt_length + 1, salt_length.saturating_sub(1)] {
                    let other = Scheme::RsaPss { digest, mask_digest, salt_length: other };
                    if other != scheme {
                        assert!(!ask_rsa(&lab, &key, &openssl, other, &hash, &signature), "{scheme:?}");
                    }
                }
                let other = Digest::ALL[(mask_digest as usize + 1) % Digest::ALL.len()];
                let other = Scheme::RsaPss { digest, mask_digest: other, salt_length };
                assert!(!ask_rsa(&lab, &key, &openssl, other, &hash, &signature));
                let mut trailer = encoded.clone();
                *trailer.last_mut().unwrap() = 0xcc;
                let mut set_bit = encoded.clone();
                set_bit[0] |= 0x80;
                for wrong in [trailer, set_bit] {
                    let signature = lab.power(&wrong);
                    assert!(!ask_rsa(&lab, &key, &openssl, scheme, &hash, &signature));
                }
            }
        }
    }
}

#[test]
fn rsa_keys_out_of_range_are_refused() {
    let lab = RsaLab::new(1024, &[3]);
    let n = lab.n.to_vec();
    for exponent in [&[][..], &[0], &[1], &[2], &[4], &[1, 0, 0], &[1, 0, 0, 0, 0, 0, 0, 0, 1], &[0xff; 128]] {
        assert_eq!(PublicKey::rsa(&n, exponent), Err(KeyError::RsaOutOfRange), "{exponent:02x?}");
    }
    let mut even = n.clone();
    *even.last_mut().unwrap() &= 0xfe;
    for modulus in [&even[..], &n[1..], &[], &[0], &[1], &[0xff; 1025]] {
        assert_eq!(PublicKey::rsa(modulus, &[3]), Err(KeyError::RsaOutOfRange));
    }
}

// -- which provider

#[test]
fn a_key_used_again_and_again_gets_a_table_within_its_budget_and_gives_it_back() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let budget: Arc<TableBudget> = TableBudget::new(40_000);
    let scheme = Scheme::Ecdsa { digest: Digest::Sha256 };
    let mut keys = Vec::new();
    for curve in [Curve::P256, Curve::BrainpoolP256r1] {
        let mut lab = Lab::new(curve);
        let (d, k) = (lab.random(&mut rng), lab.random(&mut rng));
        let hash = Digest::Sha256.compute(&[b"message"]);
        let public = lab.sum(&d, None);
        let (r, s) = lab.sign(&d, &k, hash.as_ref());
        let key = PreparedKey::new(PublicKey::ec(curve, &lab.encode(&public)).unwrap());
        let signature = der_signature(&r.to_vec(), &s.to_vec());
        keys.push((key, signature));
    }
    let first = |key: &PreparedKey| providers(key.key(), scheme)[0];
    let verify = |(key, signature): &(PreparedKey, Vec<u8>), times: usize| {
        for _ in 0..times {
            assert!(key.verify(scheme, &[b"mess", b"age"], signature).is_ok());
            assert_eq!(key.verify(scheme, &[b"massage"], signature), Err(SignatureError::Invalid));
        }
    };
    // Without a budget nothing is spent.
    verify(&keys[0], 20);
    assert_eq!((keys[0].0.provider(scheme), budget.used()), (Some(Provider::AwsLc), 0));
    for (key, _) in &keys {
        key.share_budget(&budget);
    }
    verify(&keys[0], 20);
    assert_eq!(keys[0].0.provider(scheme), Some(Provider::Native));
    let used = budget.used();
    assert!(used > 20_000);
    // No room for a second: it goes on as before, and right.
    verify(&keys[1], 40);
    assert!(!keys[1].0.expand());
    assert_eq!(keys[1].0.provider(scheme), Some(first(&keys[1].0)));
    assert_eq!(budget.used(), used);
    keys.remove(0);
    assert_eq!(budget.used(), 0);
    assert!(keys[0].0.expand());
    verify(&keys[0], 2);
    drop(keys);
    assert_eq!(budget.used(), 0);
}
