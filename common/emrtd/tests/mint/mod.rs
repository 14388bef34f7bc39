//! A small minter of countries and documents: every field is a public knob, so that a test can
//! turn exactly one. Deterministic: keys come from seeds.
#![allow(dead_code)]

use std::sync::OnceLock;

use der::oid::ObjectIdentifier;
use ecdsa::hazmat::sign_prehashed_rfc6979;
use proofmill_emrtd::crypto::{curve::Curve, digest::Digest, provider::Scheme};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use rsa::{RsaPrivateKey, pkcs1v15, pss, traits::PublicKeyParts};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use signature::{
    SignatureEncoding,
    hazmat::{PrehashSigner, RandomizedPrehashSigner},
};

// -- DER

pub fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match body.len() {
        length @ 0..=0x7f => out.push(length as u8),
        length @ 0x80..=0xff => out.extend([0x81, length as u8]),
        length @ 0x100..=0xffff => out.extend([0x82, (length >> 8) as u8, length as u8]),
        length => out.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(body);
    out
}

pub fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub fn set(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x31, &parts.concat())
}

pub fn int(value: u64) -> Vec<u8> {
    big(&value.to_be_bytes())
}

pub fn big(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut body = bytes[zeros..].to_vec();
    if body.first().is_none_or(|first| *first >= 0x80) {
        body.insert(0, 0);
    }
    tlv(2, &body)
}

pub fn oid(dotted: &str) -> Vec<u8> {
    tlv(6, ObjectIdentifier::new_unwrap(dotted).as_bytes())
}

pub fn octets(bytes: &[u8]) -> Vec<u8> {
    tlv(4, bytes)
}

pub fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], bytes].concat())
}

pub const NULL: &[u8] = &[5, 0];

/// `YYMMDDHHMMSSZ`
pub fn utc(text: &str) -> Vec<u8> {
    tlv(0x17, text.as_bytes())
}

// -- keys

#[derive(Clone)]
pub enum Secret {
    Rsa(Box<RsaPrivateKey>),
    P256(u8),
    P384(u8),
    P521(u8),
    Bp256(u8),
    Bp384(u8),
}

#[derive(Clone)]
pub struct Signer {
    pub secret: Secret,
    pub scheme: Scheme,
    /// rsaEncryption in place of an identifier that names the digest.
    pub bare_rsa_identifier: bool,
    /// Explicit curve parameters, with this change made to them.
    pub explicit: Option<Parameters>,
}

/// ECParameters; `None` fields are the curve's own.
#[derive(Clone, Default)]
pub struct Parameters {
    pub p: Option<Vec<u8>>,
    pub a: Option<Vec<u8>>,
    pub b: Option<Vec<u8>>,
    pub g: Option<Vec<u8>>,
    pub n: Option<Vec<u8>>,
    pub h: Option<u64>,
    pub leave_out_cofactor: bool,
    pub compressed: bool,
}

pub fn rsa(seed: u64, scheme: Scheme) -> Signer {
    static KEYS: [OnceLock<RsaPrivateKey>; 8] = [const { OnceLock::new() }; 8];
    let key =
        KEYS[seed as usize].get_or_init(|| RsaPrivateKey::new(&mut ChaCha20Rng::seed_from_u64(seed), 2048).unwrap());
    Signer { secret: Secret::Rsa(Box::new(key.clone())), scheme, bare_rsa_identifier: false, explicit: None }
}

pub fn ec(secret: Secret, digest: Digest) -> Signer {
    Signer { secret, scheme: Scheme::Ecdsa { digest }, bare_rsa_identifier: false, explicit: None }
}

pub fn p256(seed: u8) -> Signer {
    ec(Secret::P256(seed), Digest::Sha256)
}

macro_rules! with_curve {
    ($signer:expr, $curve:ident, $key:ident => $body:expr, rsa($rsa:ident) => $rsa_body:expr) => {
        match &$signer.secret {
            Secret::Rsa($rsa) => $rsa_body,
            Secret::P256(seed) => {
                let ($curve, $key) =
                    (Curve::P256, ecdsa::SigningKey::<p256::NistP256>::from_slice(&[*seed; 32]).unwrap());
                $body
            }
            Secret::P384(seed) => {
                let ($curve, $key) =
                    (Curve::P384, ecdsa::SigningKey::<p384::NistP384>::from_slice(&[*seed; 48]).unwrap());
                $body
            }
            Secret::P521(seed) => {
                let ($curve, $key) = (
                    Curve::P521,
                    ecdsa::SigningKey::<p521::NistP521>::from_slice(&[&[0, 0][..], &[*seed; 64]].concat()).unwrap(),
                );
                $body
            }
            Secret::Bp256(seed) => {
                let ($curve, $key) = (
                    Curve::BrainpoolP256r1,
                    ecdsa::SigningKey::<bp256::BrainpoolP256r1>::from_slice(&[*seed; 32]).unwrap(),
                );
                $body
            }
            Secret::Bp384(seed) => {
                let ($curve, $key) = (
                    Curve::BrainpoolP384r1,
                    ecdsa::SigningKey::<bp384::BrainpoolP384r1>::from_slice(&[*seed; 48]).unwrap(),
                );
                $body
            }
        }
    };
}

impl Signer {
    pub fn spki(&self) -> Vec<u8> {
        with_curve!(self, curve, key => {
            let point = ecdsa::VerifyingKey::from(&key).to_sec1_point(false).as_bytes().to_vec();
            let parameters = match &self.explicit {
                None => oid(named(curve)),
                Some(change) => explicit(curve, change),
            };
            seq(&[&seq(&[&oid("1.2.840.10045.2.1"), &parameters]), &bits(&point)])
        }, rsa(key) => {
            let numbers = seq(&[&big(&key.n().to_be_bytes()), &big(&key.e().to_be_bytes())]);
            seq(&[&seq(&[&oid("1.2.840.113549.1.1.1"), NULL]), &bits(&numbers)])
        })
    }

    pub fn algorithm(&self) -> Vec<u8> {
        let digest = self.scheme.digest();
        match self.scheme {
            Scheme::RsaPkcs1 { .. } if self.bare_rsa_identifier => seq(&[&oid("1.2.840.113549.1.1.1"), NULL]),
            Scheme::RsaPkcs1 { .. } => {
                let last = match digest {
                    Digest::Sha1 => 5,
                    Digest::Sha224 => 14,
                    Digest::Sha256 => 11,
                    Digest::Sha384 => 12,
                    Digest::Sha512 => 13,
                };
                seq(&[&oid(&format!("1.2.840.113549.1.1.{last}")), NULL])
            }
            Scheme::RsaPss { digest, mask_digest, salt_length } => {
                let mask = seq(&[&oid("1.2.840.113549.1.1.8"), &digest_identifier(mask_digest)]);
                let parameters = seq(&[
                    &tlv(0xa0, &digest_identifier(digest)),
                    &tlv(0xa1, &mask),
                    &tlv(0xa2, &int(salt_length as u64)),
                ]);
                seq(&[&oid("1.2.840.113549.1.1.10"), &parameters])
            }
            Scheme::Ecdsa { .. } => seq(&[&oid(match digest {
                Digest::Sha1 => "1.2.840.10045.4.1",
                Digest::Sha224 => "1.2.840.10045.4.3.1",
                Digest::Sha256 => "1.2.840.10045.4.3.2",
                Digest::Sha384 => "1.2.840.10045.4.3.3",
                Digest::Sha512 => "1.2.840.10045.4.3.4",
            })]),
            Scheme::EcdsaPlain { .. } => seq(&[&oid(plain_oid(digest))]),
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let digest = self.scheme.digest();
        let hash = digest.compute(&[message]).as_ref().to_vec();
        with_curve!(self, curve, key => {
            let mut z = hash.clone();
            z.truncate(curve.size());
            let z = [vec![0; curve.size() - z.len()], z].concat();
            let (signature, _) = sign_prehashed_rfc6979::<_, Sha256>(key.as_nonzero_scalar(), &z, &[]);
            let plain = signature.to_bytes().to_vec();
            match self.scheme {
                Scheme::EcdsaPlain { .. } => plain,
                _ => seq(&[&big(&plain[..curve.size()]), &big(&plain[curve.size()..])]),
            }
        }, rsa(key) => {
            let key = key.as_ref().clone();
            let mut rng = ChaCha20Rng::seed_from_u64(9);
            macro_rules! with {
                ($hash:ty) => {
                    match self.scheme {
                        Scheme::RsaPss { salt_length, .. } => pss::SigningKey::<$hash>::new_with_salt_len(key, salt_length)
                            .sign_prehash_with_rng(&mut rng, &hash).unwrap().to_vec(),
                        _ => pkcs1v15::SigningKey::<$hash>::new(key).sign_prehash(&hash).unwrap().to_vec(),
                    }
                };
            }
            match digest {
                Digest::Sha1 => with!(Sha1),
                Digest::Sha224 => with!(Sha224),
                Digest::Sha256 => with!(Sha256),
                Digest::Sha384 => with!(Sha384),
                Digest::Sha512 => with!(Sha512),
            }
        })
    }

    pub fn key_identifier(&self) -> Vec<u8> {
        Digest::Sha1.compute(&[&self.spki()]).as_ref().to_vec()
    }
}

pub fn plain_oid(digest: Digest) -> &'static str {
    match digest {
        Digest::Sha1 => "0.4.0.127.0.7.1.1.4.1.1",
        Digest::Sha224 => "0.4.0.127.0.7.1.1.4.1.2",
        Digest::Sha256 => "0.4.0.127.0.7.1.1.4.1.3",
        Digest::Sha384 => "0.4.0.127.0.7.1.1.4.1.4",
        Digest::Sha512 => "0.4.0.127.0.7.1.1.4.1.5",
    }
}

fn named(curve: Curve) -> &'static str {
    match curve {
        Curve::P256 => "1.2.840.10045.3.1.7",
        Curve::P384 => "1.3.132.0.34",
        Curve::P521 => "1.3.132.0.35",
        Curve::BrainpoolP256r1 => "1.3.36.3.3.2.8.1.1.7",
        Curve::BrainpoolP384r1 => "1.3.36.3.3.2.8.1.1.11",
        _ => unreachable!(),
    }
}

/// Domain parameters as OpenSSL prints them, independent of the library's own table.
fn explicit(curve: Curve, change: &Parameters) -> Vec<u8> {
    let [p, a, b, x, y, n] = match curve {
        Curve::P256 => [
            "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
            "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc",
            "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
            "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
            "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
            "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        ],
        Curve::BrainpoolP256r1 => [
            "a9fb57dba1eea9bc3e660a909d838d726e3bf623d52620282013481d1f6e5377",
            "7d5a0975fc2c3057eef67530417affe7fb8055c126dc5c6ce94a4b44f330b5d9",
            "26dc5c6ce94a4b44f330b5d9bbd77cbf958416295cf7e1ce6bccdc18ff8c07b6",
            "8bd2aeb9cb7e57cb2c4b482ffc81b7afb9de27e1e3bd23c23a4453bd9ace3262",
            "547ef835c3dac4fd97f8461a14611dc9c27745132ded8e545c1d54c72f046997",
            "a9fb57dba1eea9bc3e660a909d838d718c397aa3b561a6f7901e0e82974856a7",
        ],
        _ => unreachable!(),
    }
    .map(|number| hex::decode(number).unwrap());
    let generator = match (&change.g, change.compressed) {
        (Some(other), _) => other.clone(),
        (None, true) => [&[2 + (y.last().unwrap() & 1)][..], &x].concat(),
        (None, false) => [&[4][..], &x, &y].concat(),
    };
    let field = seq(&[&oid("1.2.840.10045.1.1"), &big(change.p.as_ref().unwrap_or(&p))]);
    let coefficients = seq(&[&octets(change.a.as_ref().unwrap_or(&a)), &octets(change.b.as_ref().unwrap_or(&b))]);
    let cofactor = if change.leave_out_cofactor { vec![] } else { int(change.h.unwrap_or(1)) };
    seq(&[&int(1), &field, &coefficients, &octets(&generator), &big(change.n.as_ref().unwrap_or(&n)), &cofactor])
}

pub fn digest_identifier(digest: Digest) -> Vec<u8> {
    seq(&[&oid(match digest {
        Digest::Sha1 => "1.3.14.3.2.26",
        Digest::Sha224 => "2.16.840.1.101.3.4.2.4",
        Digest::Sha256 => "2.16.840.1.101.3.4.2.1",
        Digest::Sha384 => "2.16.840.1.101.3.4.2.2",
        Digest::Sha512 => "2.16.840.1.101.3.4.2.3",
    })])
}

// -- certificates and lists

pub fn attribute(kind: &str, tag: u8, text: &str) -> Vec<u8> {
    set(&[&seq(&[&oid(kind), &tlv(tag, text.as_bytes())])])
}

pub fn name(country: &str, common: &str) -> Vec<u8> {
    seq(&[&attribute("2.5.4.6", 0x13, country), &attribute("2.5.4.3", 0x0c, common)])
}

pub fn extension(kind: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    seq(&[&oid(kind), flag, &octets(value)])
}

pub fn key_usage(octet: u8) -> Vec<u8> {
    extension("2.5.29.15", true, &tlv(3, &[octet.trailing_zeros() as u8, octet]))
}

pub fn basic_constraints(authority: bool) -> Vec<u8> {
    let body: &[u8] = if authority { &[1, 1, 0xff, 2, 1, 0] } else { &[] };
    extension("2.5.29.19", true, &tlv(0x30, body))
}

pub fn subject_key_identifier(identifier: &[u8]) -> Vec<u8> {
    extension("2.5.29.14", false, &octets(identifier))
}

pub fn authority_key_identifier(identifier: &[u8]) -> Vec<u8> {
    extension("2.5.29.35", false, &seq(&[&tlv(0x80, identifier)]))
}

#[derive(Clone)]
pub struct Certificate {
    pub serial: Vec<u8>,
    pub issuer: Vec<u8>,
    pub subject: Vec<u8>,
    pub not_before: String,
    pub not_after: String,
    pub key: Signer,
    pub issuer_key: Signer,
    pub extensions: Vec<Vec<u8>>,
}

impl Certificate {
    pub fn csca(country: &str, key: &Signer) -> Certificate {
        Certificate {
            serial: vec![1],
            issuer: name(country, "CSCA"),
            subject: name(country, "CSCA"),
            not_before: "200101000000Z".into(),
            not_after: "400101000000Z".into(),
            key: key.clone(),
            issuer_key: key.clone(),
            extensions: vec![key_usage(0x06), basic_constraints(true), subject_key_identifier(&key.key_identifier())],
        }
    }

    pub fn dsc(country: &str, key: &Signer, csca: &Signer) -> Certificate {
        Certificate {
            serial: vec![0x10, 0x01],
            issuer: name(country, "CSCA"),
            subject: name(country, "Document Signer"),
            not_before: "230101000000Z".into(),
            not_after: "330401000000Z".into(),
            key: key.clone(),
            issuer_key: csca.clone(),
            extensions: vec![
                key_usage(0x80),
                subject_key_identifier(&key.key_identifier()),
                authority_key_identifier(&csca.key_identifier()),
            ],
        }
    }

    pub fn der(&self) -> Vec<u8> {
        let extensions: Vec<&[u8]> = self.extensions.iter().map(Vec::as_slice).collect();
        let extensions = if extensions.is_empty() { vec![] } else { tlv(0xa3, &seq(&extensions)) };
        let tbs = seq(&[
            &tlv(0xa0, &int(2)),
            &big(&self.serial),
            &self.issuer_key.algorithm(),
            &self.issuer,
            &seq(&[&utc(&self.not_before), &utc(&self.not_after)]),
            &self.subject,
            &self.key.spki(),
            &extensions,
        ]);
        seq(&[&tbs, &self.issuer_key.algorithm(), &bits(&self.issuer_key.sign(&tbs))])
    }
}

#[derive(Clone)]
pub struct Crl {
    pub version: Option<u64>,
    pub issuer: Vec<u8>,
    pub key: Signer,
    pub this_update: String,
    pub next_update: Option<String>,
    pub revoked: Vec<Vec<u8>>,
    pub extensions: Vec<Vec<u8>>,
}

impl Crl {
    pub fn der(&self) -> Vec<u8> {
        let entries: Vec<Vec<u8>> =
            self.revoked.iter().map(|serial| seq(&[&big(serial), &utc("250101000000Z")])).collect();
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let extensions: Vec<&[u8]> = self.extensions.iter().map(Vec::as_slice).collect();
        let tbs = seq(&[
            &self.version.map(int).unwrap_or_default(),
            &self.key.algorithm(),
            &self.issuer,
            &utc(&self.this_update),
            &self.next_update.as_deref().map(utc).unwrap_or_default(),
            &if entries.is_empty() { vec![] } else { seq(&entries) },
            &if extensions.is_empty() { vec![] } else { tlv(0xa0, &seq(&extensions)) },
        ]);
        seq(&[&tbs, &self.key.algorithm(), &bits(&self.key.sign(&tbs))])
    }
}

// -- SOD

pub const LDS: &str = "2.23.136.1.1.1";
pub const MASTER_LIST: &str = "2.23.136.1.1.2";
pub const DATA: &str = "1.2.840.113549.1.7.1";

#[derive(Clone)]
pub struct Sod {
    pub wrapped: bool,
    pub version: u64,
    pub digest: Digest,
    pub content_type: String,
    pub content_type_attribute: String,
    pub lds_version: u64,
    pub lds_version_info: bool,
    pub lds_digest: Digest,
    pub hashes: Vec<(u8, Vec<u8>)>,
    pub message_digest: Option<Vec<u8>>,
    pub signing_time: Option<String>,
    pub more_attributes: Vec<Vec<u8>>,
    pub attribute_order: AttributeOrder,
    pub signer_version: u64,
    pub signer_identifier: Vec<u8>,
    pub key: Signer,
    pub certificates: Vec<Vec<u8>>,
    pub encoding: Encoding,
    /// Signed in place of the LDS security object.
    pub other_content: Option<Vec<u8>>,
    /// In place of the digest algorithm of the signer.
    pub listed_digest: Option<Vec<u8>>,
    /// In place of the algorithm that was signed with.
    pub algorithm: Option<Vec<u8>>,
    pub without_attributes: bool,
    /// Behind the signature.
    pub unsigned_attributes: Vec<u8>,
    /// SignerInfos before the own one.
    pub other_signers: Vec<Vec<u8>>,
    pub without_own_signer: bool,
    /// Octets too many, and where.
    pub trailing: Option<(Level, Vec<u8>)>,
}

/// A place where something may stand that does not belong there.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Level {
    Wrapper,
    ContentInfo,
    Explicit,
    SignedData,
    EncapsulatedContentInfo,
    EncapsulatedContent,
    Lds,
    LdsContent,
    SignerInfos,
    SignerInfo,
    Attribute,
    DigestAlgorithm,
}

#[derive(Clone, Copy, PartialEq)]
pub enum AttributeOrder {
    /// In DER order.
    Sorted,
    /// In another order, and signed so.
    Unsorted,
    /// Sent in another order than signed.
    UnsortedAfterSigning,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Encoding {
    Der,
    /// Indefinite lengths, and the content in two pieces.
    Ber,
}

pub fn issuer_and_serial(certificate: &Certificate) -> Vec<u8> {
    seq(&[&certificate.issuer, &big(&certificate.serial)])
}

impl Sod {
    pub fn new(certificate: &Certificate, groups: &[(u8, &[u8])]) -> Sod {
        let digest = certificate.key.scheme.digest();
        Sod {
            wrapped: true,
            version: 3,
            digest,
            content_type: LDS.into(),
            content_type_attribute: LDS.into(),
            lds_version: 0,
            lds_version_info: false,
            lds_digest: digest,
            hashes: groups
                .iter()
                .map(|(number, bytes)| (*number, digest.compute(&[bytes]).as_ref().to_vec()))
                .collect(),
            message_digest: None,
            signing_time: Some("250601120000Z".into()),
            more_attributes: vec![],
            attribute_order: AttributeOrder::Sorted,
            signer_version: 1,
            signer_identifier: issuer_and_serial(certificate),
            key: certificate.key.clone(),
            certificates: vec![certificate.der()],
            encoding: Encoding::Der,
            other_content: None,
            listed_digest: None,
            algorithm: None,
            without_attributes: false,
            unsigned_attributes: vec![],
            other_signers: vec![],
            without_own_signer: false,
            trailing: None,
        }
    }

    fn trailing(&self, level: Level) -> &[u8] {
        match &self.trailing {
            Some((at, octets)) if *at == level => octets,
            _ => &[],
        }
    }

    pub fn content(&self) -> Vec<u8> {
        if let Some(content) = &self.other_content {
            return content.clone();
        }
        let hashes: Vec<Vec<u8>> =
            self.hashes.iter().map(|(number, hash)| seq(&[&int(u64::from(*number)), &octets(hash)])).collect();
        let hashes: Vec<&[u8]> = hashes.iter().map(Vec::as_slice).collect();
        let info = seq(&[&tlv(0x13, b"0108"), &tlv(0x13, b"040000")]);
        let info: &[u8] = if self.lds_version_info { &info } else { &[] };
        let object = seq(&[
            &int(self.lds_version),
            &digest_identifier(self.lds_digest),
            &seq(&hashes),
            info,
            self.trailing(Level::Lds),
        ]);
        [&object, self.trailing(Level::LdsContent)].concat()
    }

    /// The SignerInfo.
    pub fn signer(&self) -> Vec<u8> {
        let content = self.content();
        let hash = self.message_digest.clone().unwrap_or_else(|| self.digest.compute(&[&content]).as_ref().to_vec());
        let mut attributes = vec![
            seq(&[&oid("1.2.840.113549.1.9.3"), &set(&[&oid(&self.content_type_attribute)])]),
            seq(&[&oid("1.2.840.113549.1.9.4"), &set(&[&octets(&hash)]), self.trailing(Level::Attribute)]),
        ];
        if let Some(time) = &self.signing_time {
            attributes.push(seq(&[&oid("1.2.840.113549.1.9.5"), &set(&[&utc(time)])]));
        }
        attributes.extend(self.more_attributes.iter().cloned());
        attributes.sort();
        let sorted = attributes.concat();
        attributes.reverse();
        let reversed = attributes.concat();
        let (signed, sent) = match self.attribute_order {
            AttributeOrder::Sorted => (&sorted, &sorted),
            AttributeOrder::Unsorted => (&reversed, &reversed),
            AttributeOrder::UnsortedAfterSigning => (&sorted, &reversed),
        };
        let signature =
            if self.without_attributes { self.key.sign(&content) } else { self.key.sign(&tlv(0x31, signed)) };
        let unsigned = &self.unsigned_attributes;
        seq(&[
            &int(self.signer_version),
            &self.signer_identifier,
            &digest_identifier(self.digest),
            &if self.without_attributes { vec![] } else { tlv(0xa0, sent) },
            &self.algorithm.clone().unwrap_or_else(|| self.key.algorithm()),
            &octets(&signature),
            &if unsigned.is_empty() { vec![] } else { tlv(0xa1, unsigned) },
            self.trailing(Level::SignerInfo),
        ])
    }

    pub fn der(&self) -> Vec<u8> {
        let content = self.content();
        let own = if self.without_own_signer { vec![] } else { self.signer() };
        let signers = [&self.other_signers.concat(), &own, self.trailing(Level::SignerInfos)].concat();
        let ber = self.encoding == Encoding::Ber;
        let wrap = |tag: u8, parts: &[&[u8]]| {
            if ber { [&[tag, 0x80][..], &parts.concat(), &[0, 0]].concat() } else { tlv(tag, &parts.concat()) }
        };
        let content = if ber {
            let (first, second) = content.split_at(10);
            wrap(0x24, &[&octets(first), &wrap(0x24, &[&octets(second)])])
        } else {
            octets(&content)
        };
        let certificates: Vec<&[u8]> = self.certificates.iter().map(Vec::as_slice).collect();
        let certificates = if certificates.is_empty() { vec![] } else { wrap(0xa0, &certificates) };
        let listed = self.listed_digest.clone().unwrap_or_else(|| digest_identifier(self.digest));
        let encapsulated = wrap(0xa0, &[&content, self.trailing(Level::EncapsulatedContent)]);
        let signed_data = wrap(
            0x30,
            &[
                &int(self.version),
                &set(&[&listed, self.trailing(Level::DigestAlgorithm)]),
                &wrap(0x30, &[&oid(&self.content_type), &encapsulated, self.trailing(Level::EncapsulatedContentInfo)]),
                &certificates,
                &wrap(0x31, &[&signers]),
                self.trailing(Level::SignedData),
            ],
        );
        let explicit = wrap(0xa0, &[&signed_data, self.trailing(Level::Explicit)]);
        let content_info = wrap(0x30, &[&oid("1.2.840.113549.1.7.2"), &explicit, self.trailing(Level::ContentInfo)]);
        let content_info = [&content_info, self.trailing(Level::Wrapper)].concat();
        if self.wrapped { tlv(0x77, &content_info) } else { content_info }
    }
}

// -- data groups

fn check_digit(text: &[u8]) -> char {
    let value = |byte: &u8| match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        b'A'..=b'Z' => u32::from(byte - b'A') + 10,
        _ => 0,
    };
    let sum: u32 = text.iter().enumerate().map(|(index, byte)| value(byte) * [7, 3, 1][index % 3]).sum();
    char::from(b'0' + (sum % 10) as u8)
}

pub fn dg1(state: &str, birth: &str, expiry: &str) -> Vec<u8> {
    let number = format!("{:<<9}", "C01X0006H");
    let optional = "<".repeat(14);
    let d = |text: &str| check_digit(text.as_bytes());
    let first = format!("{:<<44}", format!("P<{state:<<3}ERIKSSON<<ANNA<MARIA"));
    let middle = format!("{birth}{}", d(birth));
    let last = format!("{expiry}{}{optional}{}", d(expiry), d(&optional));
    let composite = d(&format!("{number}{}{middle}{last}", d(&number)));
    let mrz = format!("{first}{number}{}{state:<<3}{middle}F{last}{composite}", d(&number));
    assert_eq!(mrz.len(), 88);
    tlv(0x61, &[&[0x5f, 0x1f, 88][..], mrz.as_bytes()].concat())
}

pub fn dg2(image: &[u8]) -> Vec<u8> {
    facial(0, image, 0)
}

/// A facial record whose length fields are off by so much.
pub fn facial(declared_type: u8, image: &[u8], off: i32) -> Vec<u8> {
    let length = |true_length: usize| ((true_length as i32 + off) as u32).to_be_bytes();
    let mut record = b"FAC\x00010\x00".to_vec();
    record.extend(length(14 + 20 + 12 + image.len()));
    record.extend([0, 1]);
    record.extend(length(20 + 12 + image.len()));
    record.extend([0; 16]);
    record.extend([1, declared_type, 1, 0x9d, 2, 0x13, 1, 2, 0, 0, 0, 0]);
    record.extend_from_slice(image);
    let two = |first: u8, second: u8, body: &[u8]| {
        let inner = tlv(second, body);
        [&[first][..], &inner].concat()
    };
    let header = tlv(0xa1, &[&[0x87, 2, 1, 1][..], &[0x88, 2, 0, 8]].concat());
    let template = two(0x7f, 0x60, &[header, two(0x5f, 0x2e, &record)].concat());
    tlv(0x75, &two(0x7f, 0x61, &[int(1), template].concat()))
}

/// DG2 as ISO/IEC 39794-5 has it, in ICAO's profile: one image and its declared size.
pub fn facial_39794(format: u8, image: &[u8]) -> Vec<u8> {
    let size = tlv(0xa7, &[0x80, 2, 1, 0x9d, 0x81, 2, 2, 0x13]);
    let information = tlv(0xa1, &[tlv(0xa0, &[0x80, 1, format]), tlv(0xa1, &[0x80, 1, 0]), size].concat());
    let image = tlv(0xa0, &[tlv(0x80, image), information].concat());
    let representation = seq(&[&[0x80, 1, 0], &tlv(0xa1, &tlv(0xa0, &image))]);
    let version = tlv(0xa0, &[0x80, 1, 3, 0x81, 2, 7, 0xe3]);
    let block = tlv(0x65, &[version, tlv(0xa1, &representation)].concat());
    let two = |first: u8, second: u8, body: &[u8]| [&[first][..], &tlv(second, body)].concat();
    let header = tlv(0xa1, &[0x87, 2, 1, 1, 0x88, 2, 0, 0x2a]);
    let template = two(0x7f, 0x60, &[header, two(0x7f, 0x2e, &tlv(0xa1, &block))].concat());
    tlv(0x75, &two(0x7f, 0x61, &[int(1), template].concat()))
}

/// The headers of a JPEG of 413 by 531 pixels: all that is read of one here.
pub const JPEG: &[u8] = b"\xff\xd8\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\
\xff\xc0\x00\x11\x08\x02\x13\x01\x9d\x03\x01\x22\0\x02\x11\x01\x03\x11\x01 and so on";

/// The header of a JPEG 2000 codestream of 413 by 531 pixels.
pub const CODESTREAM: &[u8] = b"\xff\x4f\xff\x51\0\x2f\0\0\0\0\x01\x9d\0\0\x02\x13\0\0\0\0\0\0\0\0 and so on";

/// A JP2 file around that codestream.
pub fn jp2() -> Vec<u8> {
    let header = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 \0\0\0\x1ejp2h\0\0\0\x16ihdr\0\0\x02\x13\0\0\x01\x9d\0\x03\x07\x07\0\0";
    [&header[..], b"\0\0\0\0jp2c", CODESTREAM].concat()
}

// -- chip authentication

impl Signer {
    /// The public point, uncompressed.
    pub fn point(&self) -> Vec<u8> {
        with_curve!(self, _curve, key => ecdsa::VerifyingKey::from(&key).to_sec1_point(false).as_bytes().to_vec(),
            rsa(_key) => unreachable!())
    }
}

/// The x that the P-256 key of a seed shares with a point.
pub fn p256_shared(seed: u8, point: &[u8]) -> Vec<u8> {
    use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
    let key = PrivateKey::from_private_key(&ECDH_P256, &[seed; 32]).unwrap();
    agree(&key, UnparsedPublicKey::new(&ECDH_P256, point), (), |x| Ok(x.to_vec())).unwrap()
}

/// ECParameters of P-256, written out.
pub fn explicit_parameters() -> Vec<u8> {
    explicit(Curve::P256, &Parameters::default())
}

/// SecurityInfos of DG14.
pub fn security_infos(infos: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x6e, &tlv(0x31, &infos.concat()))
}

/// ChipAuthenticationPublicKeyInfo; kind 1 is DH and 2 ECDH.
pub fn chip_key_info(kind: u8, spki: &[u8], identifier: Option<u64>) -> Vec<u8> {
    seq(&[&oid(&format!("0.4.0.127.0.7.2.2.1.{kind}")), spki, &identifier.map(int).unwrap_or_default()])
}

/// ChipAuthenticationInfo; cipher 1 is triple DES, and 2, 3 and 4 are AES with 128, 192 and 256 bits.
pub fn chip_protocol_info(kind: u8, cipher: u8, version: u64, identifier: Option<u64>) -> Vec<u8> {
    let protocol = oid(&format!("0.4.0.127.0.7.2.2.3.{kind}.{cipher}"));
    seq(&[&protocol, &int(version), &identifier.map(int).unwrap_or_default()])
}

/// A response of the chip to its first command under new keys, whose encryption is for the
/// terminal to open and plays no part.
pub fn protected_response(cipher: u8, shared_secret: &[u8], counter: &[u8]) -> Vec<u8> {
    use des::cipher::{Block, BlockCipherEncrypt, KeyInit};
    use sha1::Digest as _;
    let objects = [&[0x87, 9, 1][..], &[0xa5; 8], &[0x99, 2, 0x90, 0]].concat();
    let block = if cipher == 1 { 8 } else { 16 };
    let mut message = [counter, &objects, &[0x80]].concat();
    while message.len() % block != 0 {
        message.push(0);
    }
    let seed = [shared_secret, &[0, 0, 0, 2]].concat();
    let code = if cipher == 1 {
        let key = Sha1::digest(&seed)[..16].to_vec();
        let (last, before) = message.chunks(8).collect::<Vec<_>>().split_last().map(|(l, b)| (*l, b.to_vec())).unwrap();
        let single = des::Des::new_from_slice(&key[..8]).unwrap();
        let triple = des::TdesEde2::new_from_slice(&key).unwrap();
        let mut state = [0u8; 8];
        let xor = |state: [u8; 8], block: &[u8]| std::array::from_fn::<u8, 8, _>(|at| state[at] ^ block[at]);
        for part in before {
            let mut array = Block::<des::Des>::from(xor(state, part));
            single.encrypt_block(&mut array);
            state = array.into();
        }
        let mut array = Block::<des::Des>::from(xor(state, last));
        triple.encrypt_block(&mut array);
        array.to_vec()
    } else {
        use aws_lc_rs::cmac;
        let (algorithm, key) = match cipher {
            2 => (cmac::AES_128, Sha1::digest(&seed)[..16].to_vec()),
            3 => (cmac::AES_192, Sha256::digest(&seed)[..24].to_vec()),
            _ => (cmac::AES_256, Sha256::digest(&seed).to_vec()),
        };
        cmac::sign(&cmac::Key::new(algorithm, &key).unwrap(), &message).unwrap().as_ref()[..8].to_vec()
    };
    [&objects[..], &[0x8e, 8], &code, &[0x90, 0]].concat()
}

/// The revocation list of the authority of key 1, in June 2026.
pub fn crl(revoked: &[&[u8]]) -> Crl {
    Crl {
        version: Some(1),
        issuer: name("UT", "CSCA"),
        key: p256(1),
        this_update: "260601000000Z".into(),
        next_update: Some("260701000000Z".into()),
        revoked: revoked.iter().map(|serial| serial.to_vec()).collect(),
        extensions: vec![authority_key_identifier(&p256(1).key_identifier())],
    }
}
