//! What DG14 offers: keys, and the protocols they are for (ICAO Doc 9303-11 section 9.2,
//! BSI TR-03110-3 section A.1.1).

use super::secure_messaging::Cipher;
use crate::{
    asn1::{Asn1Error, Reader, Tag, Tlv},
    crypto::{
        curve::Curve,
        diffie_hellman::Group,
        key::{KeyError, PublicKey, parse_spki},
        key_agreement::{Domain, PublicValue},
    },
    deviation::DeviationSet,
    oid,
    report::Reason,
    security_options,
};

/// More keys than any chip has; every one is a key agreement to try.
const MAX_KEYS: usize = 8;
/// Octets of all keys in groups of integers, parameters included: two in the largest group, or four of
/// 4096 bits. A key that nobody has signed yet must not cost more than that to check.
const MAX_GROUP_KEYS: usize = 4_400;

/// id-PK and id-CA.
const PUBLIC_KEY: &[u8] = &[0x04, 0x00, 0x7f, 0x00, 0x07, 0x02, 0x02, 0x01];
const PROTOCOL: &[u8] = &[0x04, 0x00, 0x7f, 0x00, 0x07, 0x02, 0x02, 0x03];

/// A static key of the chip, and the ciphers it may be used with.
pub(crate) struct Offer {
    /// The checked public value, or why it cannot be used.
    pub key: Result<PublicValue, Reason>,
    /// Of version 1; empty when the chip offers others only.
    pub ciphers: Vec<Cipher>,
    /// Of version 2.
    pub token_ciphers: Vec<Cipher>,
    pub deviations: DeviationSet,
    /// The identifier that tells this key from the chip's others.
    pub identifier: Option<Vec<u8>>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    DiffieHellman,
    EllipticCurve,
}

/// ChipAuthenticationPublicKeyInfo.
struct KeyInfo<'a> {
    kind: Kind,
    key: Tlv<'a>,
    identifier: Option<&'a [u8]>,
}

/// ChipAuthenticationInfo.
struct ProtocolInfo<'a> {
    kind: Kind,
    version: u64,
    /// `None` for a cipher that is not known.
    cipher: Option<Cipher>,
    identifier: Option<&'a [u8]>,
}

impl Offer {
    /// Reads the chip authentication infos of DG14.
    pub fn read(dg14: &[u8]) -> Result<Vec<Offer>, Asn1Error> {
        Offer::among(&security_options::security_infos(dg14)?)
    }

    /// Reads the chip authentication infos among SecurityInfos.
    pub fn among(infos: &Tlv<'_>) -> Result<Vec<Offer>, Asn1Error> {
        let (mut keys, mut protocols) = (Vec::new(), Vec::new());
        let mut in_groups = 0;
        let mut infos = infos.reader();
        while !infos.is_empty() {
            let mut info = infos.expect(Tag::SEQUENCE)?.reader();
            let protocol = info.expect(Tag::OID)?.value;
            if let Some(arcs) = protocol.strip_prefix(PUBLIC_KEY) {
                let Some(kind) = Kind::of(arcs) else { continue };
                let key = info.expect(Tag::SEQUENCE)?;
                keys.push(KeyInfo { kind, key, identifier: key_identifier(&mut info)? });
                if kind == Kind::DiffieHellman {
                    in_groups += key.raw.len();
                }
                if keys.len() > MAX_KEYS || in_groups > MAX_GROUP_KEYS {
                    return Err(Asn1Error::Value);
                }
            } else if let Some(arcs) = protocol.strip_prefix(PROTOCOL) {
                // Without a cipher it names domain parameters, which every key here brings itself.
                let (Some(kind), 2..) = (Kind::of(arcs), arcs.len()) else { continue };
                let version = info.expect(Tag::INTEGER)?.small()?;
                protocols.push(ProtocolInfo {
                    kind,
                    version,
                    cipher: cipher(arcs),
                    identifier: key_identifier(&mut info)?,
                });
            }
        }
        Ok(keys
            .iter()
            .map(|info| {
                let single = keys.iter().filter(|other| other.kind == info.kind).count() == 1;
                let (key, deviations) = match info.public_value() {
                    Ok((value, deviations)) => (Ok(value), deviations),
                    Err(reason) => (Err(reason), DeviationSet::EMPTY),
                };
                Offer {
                    key,
                    ciphers: info.ciphers(&protocols, 1, single),
                    token_ciphers: info.ciphers(&protocols, 2, single),
                    deviations,
                    identifier: info.identifier.map(<[u8]>::to_vec),
                    kind: info.kind,
                }
            })
            .collect())
    }

    /// Whether this is a key that can be used, and the very same one as the other's.
    pub fn has_key_of(&self, other: &Offer) -> bool {
        matches!((&self.key, &other.key), (Ok(key), Ok(others)) if key == others)
    }

    /// The object identifier of the protocol with a cipher, as MSE:Set AT names it.
    pub fn protocol(&self, cipher: Cipher) -> Vec<u8> {
        let kind = match self.kind {
            Kind::DiffieHellman => 1,
            Kind::EllipticCurve => 2,
        };
        let cipher = match cipher {
            Cipher::TripleDes => 1,
            Cipher::Aes128 => 2,
            Cipher::Aes192 => 3,
            Cipher::Aes256 => 4,
        };
        [PROTOCOL, &[kind, cipher]].concat()
    }
}

impl Kind {
    fn of(arcs: &[u8]) -> Option<Kind> {
        match arcs.first()? {
            1 => Some(Kind::DiffieHellman),
            2 => Some(Kind::EllipticCurve),
            _ => None,
        }
    }
}

fn cipher(arcs: &[u8]) -> Option<Cipher> {
    match arcs {
        [_, 1] => Some(Cipher::TripleDes),
        [_, 2] => Some(Cipher::Aes128),
        [_, 3] => Some(Cipher::Aes192),
        [_, 4] => Some(Cipher::Aes256),
        _ => None,
    }
}

fn key_identifier<'a>(info: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Asn1Error> {
    let identifier = info.optional(Tag::INTEGER)?.map(|identifier| identifier.unsigned()).transpose()?;
    info.finish()?;
    Ok(identifier)
}

impl KeyInfo<'_> {
    /// The ciphers of the protocols of a version that this key is for.
    fn ciphers(&self, protocols: &[ProtocolInfo<'_>], version: u64, single: bool) -> Vec<Cipher> {
        let mut same_kind = protocols.iter().filter(|protocol| protocol.kind == self.kind).peekable();
        if same_kind.peek().is_none() {
            // A key without a protocol: triple DES of version 1 is the one every chip has, and
            // France's leave it unsaid.
            return if version == 1 { vec![Cipher::TripleDes] } else { Vec::new() };
        }
        let mut ciphers: Vec<Cipher> = same_kind
            // The identifier is there to tell keys apart: with one key it says nothing.
            .filter(|protocol| match (self.identifier, protocol.identifier) {
                (Some(key), Some(protocol)) => key == protocol,
                (None, None) => true,
                _ => single,
            })
            .filter(|protocol| protocol.version == version)
            .filter_map(|protocol| protocol.cipher)
            .collect();
        ciphers.sort_unstable();
        ciphers.dedup();
        ciphers
    }

    fn public_value(&self) -> Result<(PublicValue, DeviationSet), Reason> {
        let malformed = |_: Asn1Error| Reason::ChipAuthenticationKeyInvalid;
        let mut fields = self.key.reader();
        let mut algorithm = fields.expect(Tag::SEQUENCE).map_err(malformed)?.reader();
        let bits = fields.expect(Tag::BIT_STRING).and_then(|bits| bits.bit_string()).map_err(malformed)?;
        fields.finish().map_err(malformed)?;
        let identifier = algorithm.expect(Tag::OID).map_err(malformed)?.value;
        if identifier == oid::EC_PUBLIC_KEY.as_bytes() && self.kind == Kind::EllipticCurve {
            return elliptic_curve(&self.key);
        }
        let parameters = algorithm.next().map_err(malformed)?;
        algorithm.finish().map_err(malformed)?;
        let unknown = Reason::ChipAuthenticationGroupUnknown;
        let domain = if identifier == oid::STANDARDIZED_DOMAIN_PARAMETERS.as_bytes() {
            standardised(&parameters).ok_or(unknown)?
        } else if identifier == oid::DH_KEY_AGREEMENT.as_bytes() {
            Domain::Group(pkcs3_group(&parameters).map_err(malformed)?.ok_or(unknown)?)
        } else if identifier == oid::DH_PUBLIC_NUMBER.as_bytes() {
            Domain::Group(x942_group(&parameters).map_err(malformed)?.ok_or(unknown)?)
        } else {
            return Err(Reason::ChipAuthenticationUnsupported);
        };
        let value = match (domain, self.kind) {
            (Domain::Curve(_), Kind::EllipticCurve) => PublicValue::new(domain, bits),
            (Domain::Group(_), Kind::DiffieHellman) => {
                let mut number = Reader::new(bits);
                let integer = number.expect(Tag::INTEGER).and_then(|integer| integer.unsigned()).map_err(malformed)?;
                number.finish().map_err(malformed)?;
                PublicValue::new(domain, integer)
            }
            _ => None,
        };
        value.map(|value| (value, DeviationSet::EMPTY)).ok_or(Reason::ChipAuthenticationKeyInvalid)
    }
}

fn elliptic_curve(key: &Tlv<'_>) -> Result<(PublicValue, DeviationSet), Reason> {
    let parsed = parse_spki(key).map_err(|error| match error {
        KeyError::UnknownCurve => Reason::ChipAuthenticationGroupUnknown,
        _ => Reason::ChipAuthenticationKeyInvalid,
    })?;
    let PublicKey::Ec { curve, point } = &parsed.key else {
        return Err(Reason::ChipAuthenticationKeyInvalid);
    };
    let value = PublicValue::new(Domain::Curve(*curve), point).ok_or(Reason::ChipAuthenticationKeyInvalid)?;
    Ok((value, parsed.deviations))
}

/// Curve or group of an AlgorithmIdentifier.
pub(crate) fn describe_domain(algorithm: &Tlv<'_>) -> String {
    let mut fields = algorithm.reader();
    let domain = match (fields.expect(Tag::OID), fields.next()) {
        (Ok(identifier), Ok(parameters)) if identifier.value == oid::STANDARDIZED_DOMAIN_PARAMETERS.as_bytes() => {
            standardised(&parameters)
        }
        (Ok(_), Ok(parameters)) if parameters.tag == Tag::OID => Curve::by_oid(parameters.value).map(Domain::Curve),
        _ => None,
    };
    // Explicit parameters are described with the keys that have them.
    domain.map_or("explicit", Domain::name).to_owned()
}

fn standardised(identifier: &Tlv<'_>) -> Option<Domain> {
    if identifier.tag != Tag::INTEGER {
        return None;
    }
    standardised_domain(identifier.small().ok()?)
}

/// BSI TR-03110-3 section A.2.1.1.
pub(crate) fn standardised_domain(identifier: u64) -> Option<Domain> {
    Some(match identifier {
        0 => Domain::Group(Group::Modp1024Subgroup160),
        1 => Domain::Group(Group::Modp2048Subgroup224),
        2 => Domain::Group(Group::Modp2048Subgroup256),
        8 => Domain::Curve(Curve::P192),
        9 => Domain::Curve(Curve::BrainpoolP192r1),
        10 => Domain::Curve(Curve::P224),
        11 => Domain::Curve(Curve::BrainpoolP224r1),
        12 => Domain::Curve(Curve::P256),
        13 => Domain::Curve(Curve::BrainpoolP256r1),
        14 => Domain::Curve(Curve::BrainpoolP320r1),
        15 => Domain::Curve(Curve::P384),
        16 => Domain::Curve(Curve::BrainpoolP384r1),
        17 => Domain::Curve(Curve::BrainpoolP512r1),
        18 => Domain::Curve(Curve::P521),
        _ => return None,
    })
}

/// DHParameter of PKCS #3: p, g and perhaps the length of private values.
fn pkcs3_group(parameters: &Tlv<'_>) -> Result<Option<Group>, Asn1Error> {
    if parameters.tag != Tag::SEQUENCE {
        return Err(Asn1Error::Unexpected);
    }
    let mut numbers = parameters.reader();
    let p = numbers.expect(Tag::INTEGER)?.unsigned()?;
    let g = numbers.expect(Tag::INTEGER)?.unsigned()?;
    numbers.optional(Tag::INTEGER)?;
    numbers.finish()?;
    Ok(Group::by_numbers(p, g, None))
}

/// DomainParameters of ANSI X9.42 (RFC 3279 section 2.3.3): p, g, q, and what they were made of.
fn x942_group(parameters: &Tlv<'_>) -> Result<Option<Group>, Asn1Error> {
    if parameters.tag != Tag::SEQUENCE {
        return Err(Asn1Error::Unexpected);
    }
    let mut numbers = parameters.reader();
    let p = numbers.expect(Tag::INTEGER)?.unsigned()?;
    let g = numbers.expect(Tag::INTEGER)?.unsigned()?;
    let q = numbers.expect(Tag::INTEGER)?.unsigned()?;
    numbers.optional(Tag::INTEGER)?;
    numbers.optional(Tag::SEQUENCE)?;
    numbers.finish()?;
    Ok(Group::by_numbers(p, g, Some(q)))
}
