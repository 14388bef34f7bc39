//! SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) to a checked public key.

use super::{
    curve::{self, Curve},
    weierstrass,
};
use crate::{
    asn1::{Asn1Error, Reader, Tag, Tlv, strip_zeros},
    deviation::{Deviation, DeviationSet},
    oid,
};

/// A public key whose numbers are in range and whose point is on its curve.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PublicKey {
    /// RSA: modulus of 1024 to 8192 bits and odd exponent of at most 64 bits, big-endian, no leading zeros.
    Rsa {
        /// Modulus.
        modulus: Vec<u8>,
        /// Public exponent.
        exponent: Vec<u8>,
    },
    /// An elliptic curve key.
    Ec {
        /// The curve, named or recognised by all its explicit parameters.
        curve: Curve,
        /// The point, uncompressed (`04 x y`).
        point: Vec<u8>,
    },
}

/// Why a SubjectPublicKeyInfo is not a usable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the structure it should be.
    #[error("the public key is malformed")]
    Malformed,
    /// Neither RSA nor elliptic curve.
    #[error("the public key's algorithm is not supported")]
    AlgorithmUnsupported,
    /// RSA modulus or exponent outside what is accepted.
    #[error("the RSA modulus or exponent is out of range")]
    RsaOutOfRange,
    /// Domain parameters that are not, in every number, those of a known curve.
    #[error("the curve parameters are not those of a known curve")]
    UnknownCurve,
    /// The point is not on the curve, is at infinity, or is not encoded as it must be.
    #[error("the point is not on its curve")]
    PointInvalid,
}

impl From<Asn1Error> for KeyError {
    fn from(_: Asn1Error) -> KeyError {
        KeyError::Malformed
    }
}

/// A key, and how its encoding deviates.
pub(crate) struct ParsedKey {
    pub key: PublicKey,
    pub deviations: DeviationSet,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    pub fn from_spki(der: &[u8]) -> Result<PublicKey, KeyError> {
        let mut reader = Reader::new(der);
        let spki = reader.expect(Tag::SEQUENCE)?;
        reader.finish()?;
        parse_spki(&spki).map(|parsed| parsed.key)
    }

    /// Bits of the modulus or of the field.
    pub fn bits(&self) -> usize {
        match self {
            PublicKey::Rsa { modulus, .. } => bit_length(modulus),
            PublicKey::Ec { curve, .. } => curve.parameters().bits,
        }
    }

    /// `rsa2048`, `P-256`, `brainpoolP384r1`.
    pub fn describe(&self) -> String {
        match self {
            PublicKey::Rsa { .. } => format!("rsa{}", self.bits()),
            PublicKey::Ec { curve, .. } => curve.name().to_owned(),
        }
    }

    /// An RSA key from its numbers, checked.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, KeyError> {
        let (modulus, exponent) = (strip_zeros(modulus), strip_zeros(exponent));
        let odd = |number: &[u8]| number.last().is_some_and(|octet| octet & 1 == 1);
        let in_range = (1024..=8192).contains(&bit_length(modulus))
            && odd(modulus)
            && odd(exponent)
            && exponent != [1]
            && exponent.len() <= 8;
        if !in_range {
            return Err(KeyError::RsaOutOfRange);
        }
        Ok(PublicKey::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
    }

    /// An elliptic curve key from its encoded point, checked to be on the curve.
    pub fn ec(curve: Curve, point: &[u8]) -> Result<PublicKey, KeyError> {
        let point = weierstrass::decode_point(curve, point).ok_or(KeyError::PointInvalid)?;
        Ok(PublicKey::Ec { curve, point })
    }
}

pub(crate) fn bit_length(number: &[u8]) -> usize {
    match number {
        [] => 0,
        [first, rest @ ..] => rest.len() * 8 + 8 - first.leading_zeros() as usize,
    }
}

pub(crate) fn parse_spki(spki: &Tlv<'_>) -> Result<ParsedKey, KeyError> {
    let mut fields = spki.reader();
    let algorithm = fields.expect(Tag::SEQUENCE)?;
    let bits = fields.expect(Tag::BIT_STRING)?.bit_string()?;
    fields.finish()?;
    let mut algorithm = algorithm.reader();
    let identifier = algorithm.expect(Tag::OID)?.value;
    if identifier == oid::RSA_ENCRYPTION.as_bytes() || identifier == oid::RSASSA_PSS.as_bytes() {
        let mut key = Reader::new(bits);
        let sequence = key.expect(Tag::SEQUENCE)?;
        key.finish()?;
        let mut numbers = sequence.reader();
        // Some issuers leave out the zero octet that keeps the modulus positive.
        let modulus = numbers.expect(Tag::INTEGER)?.value;
        let exponent = numbers.expect(Tag::INTEGER)?.unsigned()?;
        numbers.finish()?;
        let mut deviations = DeviationSet::EMPTY;
        if modulus.first().is_some_and(|first| *first >= 0x80) {
            deviations.insert(Deviation::RsaModulusNegative);
        }
        return Ok(ParsedKey { key: PublicKey::rsa(modulus, exponent)?, deviations });
    }
    if identifier != oid::EC_PUBLIC_KEY.as_bytes() {
        return Err(KeyError::AlgorithmUnsupported);
    }
    let parameters = algorithm.next().map_err(|_| KeyError::UnknownCurve)?;
    algorithm.finish()?;
    let (curve, cofactor_absent) = match parameters.tag {
        Tag::OID => Curve::by_oid(parameters.value).map(|curve| (curve, false)),
        Tag::SEQUENCE => explicit_curve(&parameters),
        _ => None,
    }
    .ok_or(KeyError::UnknownCurve)?;
    let mut deviations = DeviationSet::EMPTY;
    if cofactor_absent {
        deviations.insert(Deviation::EcCofactorAbsent);
    }
    Ok(ParsedKey { key: PublicKey::ec(curve, bits)?, deviations })
}

/// ECParameters (RFC 3279 section 2.3.5), and whether the cofactor is absent. Every number is
/// compared with a known curve: a certificate that brings its own generator could otherwise be
/// signed for any public key (CVE-2020-0601). Whatever else they are, they are no known curve.
fn explicit_curve(parameters: &Tlv<'_>) -> Option<(Curve, bool)> {
    let mut fields = parameters.reader();
    (1..=3).contains(&fields.expect(Tag::INTEGER).ok()?.small().ok()?).then_some(())?;
    let mut field = fields.expect(Tag::SEQUENCE).ok()?.reader();
    (field.expect(Tag::OID).ok()?.value == oid::PRIME_FIELD.as_bytes()).then_some(())?;
    let p = field.expect(Tag::INTEGER).ok()?.unsigned().ok()?;
    field.finish().ok()?;
    let mut coefficients = fields.expect(Tag::SEQUENCE).ok()?.reader();
    let a = strip_zeros(coefficients.expect(Tag::OCTET_STRING).ok()?.value);
    let b = strip_zeros(coefficients.expect(Tag::OCTET_STRING).ok()?.value);
    // The seed is informative: it cannot change the curve.
    coefficients.optional(Tag::BIT_STRING).ok()?;
    coefficients.finish().ok()?;
    let base = fields.expect(Tag::OCTET_STRING).ok()?.value;
    let n = fields.expect(Tag::INTEGER).ok()?.unsigned().ok()?;
    let cofactor = fields.optional(Tag::INTEGER).ok()?;
    fields.finish().ok()?;
    if let Some(cofactor) = cofactor {
        (cofactor.small().ok()? == 1).then_some(())?;
    }
    let known = curve::TABLE.iter().find(|known| {
        same(p, known.p) && same(a, known.a) && same(b, known.b) && same(n, known.n) && is_generator(base, known)
    })?;
    Some((known.curve, cofactor.is_none()))
}

fn same(number: &[u8], known: &str) -> bool {
    number == strip_zeros(&curve::bytes(known))
}

fn is_generator(base: &[u8], known: &curve::Parameters) -> bool {
    let (x, y) = (curve::bytes(known.gx), curve::bytes(known.gy));
    match base {
        [4, point @ ..] => point.len() == x.len() + y.len() && point.starts_with(&x) && point.ends_with(&y),
        [sign @ (2 | 3), point @ ..] => point == x && y.last().is_some_and(|last| last & 1 == sign & 1),
        _ => false,
    }
}
