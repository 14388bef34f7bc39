//! Documents of every algorithm, minted with OpenSSL: it knows every curve and any key length.

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{Asn1Flag, EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use openssl::x509::extension::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, SubjectKeyIdentifier};
use openssl::x509::{X509, X509Name};
use proofmill_emrtd::crypto::{curve::Curve, digest::Digest};

/// How a signer signs.
#[derive(Clone, Copy)]
pub enum Algorithm {
    Rsa { bits: u32, pss: bool },
    Ecdsa { curve: Curve, explicit: bool },
}

impl Algorithm {
    pub fn name(self, digest: Digest) -> String {
        match self {
            Algorithm::Rsa { bits, pss } => {
                format!("rsa{bits} {} {}", if pss { "pss" } else { "pkcs1" }, digest.name())
            }
            Algorithm::Ecdsa { curve, explicit } => {
                format!("{}{} {}", curve.name(), if explicit { " explicit" } else { "" }, digest.name())
            }
        }
    }

    pub fn generate(self) -> PKey<Private> {
        match self {
            Algorithm::Rsa { bits, .. } => PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap(),
            Algorithm::Ecdsa { curve, explicit } => {
                let nid = match curve {
                    Curve::P192 => Nid::X9_62_PRIME192V1,
                    Curve::P224 => Nid::SECP224R1,
                    Curve::P256 => Nid::X9_62_PRIME256V1,
                    Curve::P384 => Nid::SECP384R1,
                    Curve::P521 => Nid::SECP521R1,
                    // NID_brainpoolP160r1 is 921, and the others follow in the order of RFC 5639.
                    brainpool => Nid::from_raw(921 + brainpool as i32 - Curve::BrainpoolP160r1 as i32),
                };
                let mut group = EcGroup::from_curve_name(nid).unwrap();
                group.set_asn1_flag(if explicit { Asn1Flag::EXPLICIT_CURVE } else { Asn1Flag::NAMED_CURVE });
                PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
            }
        }
    }

    /// The SignerInfo's signatureAlgorithm.
    fn identifier(self, digest: Digest) -> Vec<u8> {
        let rsa = |last: u8| tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last]);
        let last = |of: [u8; 5]| of[digest as usize];
        match self {
            Algorithm::Rsa { pss: false, .. } => seq(&[&rsa(last([5, 14, 11, 12, 13])), NULL]),
            Algorithm::Rsa { pss: true, .. } => {
                let mask = seq(&[&rsa(8), &digest_identifier(digest)]);
                let salt = tlv(2, &[digest.size() as u8]);
                let parameters = [tlv(0xa0, &digest_identifier(digest)), tlv(0xa1, &mask), tlv(0xa2, &salt)].concat();
                seq(&[&rsa(10), &tlv(0x30, &parameters)])
            }
            Algorithm::Ecdsa { .. } if digest == Digest::Sha1 => seq(&[&tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1])]),
            Algorithm::Ecdsa { .. } => seq(&[&tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last([0, 1, 2, 3, 4])])]),
        }
    }

    fn sign(self, key: &PKey<Private>, digest: Digest, message: &[u8]) -> Vec<u8> {
        let mut signer = Signer::new(message_digest(digest), key).unwrap();
        if let Algorithm::Rsa { pss: true, .. } = self {
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
        }
        signer.sign_oneshot_to_vec(message).unwrap()
    }
}

/// A country signing authority and what all its documents share.
pub struct Country {
    key: PKey<Private>,
    certificate: X509,
    pub dg1: Vec<u8>,
    pub dg2: Vec<u8>,
}

/// What one SOD is made of, for whoever wants to check its signature alone.
#[derive(Clone)]
pub struct Document {
    pub sod: Vec<u8>,
    /// The eContent.
    pub content: Vec<u8>,
    /// The signed attributes as they are hashed.
    pub attributes: Vec<u8>,
    pub signature: Vec<u8>,
}

impl Country {
    /// An authority that signs with RSA-2048, and a DG2 of about so many octets.
    pub fn mint(dg2_octets: usize) -> Country {
        let key = Algorithm::Rsa { bits: 2048, pss: false }.generate();
        let mut builder = certificate(1, &name("Bench authority"), &name("Bench authority"), &key);
        builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build().unwrap()).unwrap();
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap()).unwrap();
        let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(identifier).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Country { key, certificate: builder.build(), dg1: dg1(), dg2: dg2(dg2_octets) }
    }

    pub fn csca(&self) -> Vec<u8> {
        self.certificate.to_der().unwrap()
    }

    /// A document signed by a new document signer's certificate with this key and serial number.
    pub fn document(&self, algorithm: Algorithm, digest: Digest, key: &PKey<Private>, serial: u32) -> Document {
        let issuer = name("Bench authority");
        let mut builder = certificate(serial, &name("Bench signer"), &issuer, key);
        builder.append_extension(KeyUsage::new().critical().digital_signature().build().unwrap()).unwrap();
        let context = builder.x509v3_context(Some(&self.certificate), None);
        let identifier = AuthorityKeyIdentifier::new().keyid(true).build(&context).unwrap();
        builder.append_extension(identifier).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();

        let groups = [(1, &self.dg1), (2, &self.dg2)]
            .map(|(number, group)| seq(&[&tlv(2, &[number]), &tlv(4, digest.compute(&[group]).as_ref())]));
        let content = seq(&[&tlv(2, &[0]), &digest_identifier(digest), &tlv(0x30, &groups.concat())]);
        let attribute = |kind: u8, value: &[u8]| {
            seq(&[&tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, kind]), &tlv(0x31, value)])
        };
        // ldsSecurityObject, 2.23.136.1.1.1
        let kind = tlv(6, &[0x67, 0x81, 8, 1, 1, 1]);
        let hash = tlv(4, digest.compute(&[&content]).as_ref());
        let attributes = [attribute(3, &kind), attribute(4, &hash)].concat();
        let signed = tlv(0x31, &attributes);
        let signature = algorithm.sign(key, digest, &signed);
        let signer = seq(&[
            &tlv(2, &[1]),
            &seq(&[&issuer.to_der().unwrap(), &integer(&certificate.serial_number().to_bn().unwrap().to_vec())]),
            &digest_identifier(digest),
            &tlv(0xa0, &attributes),
            &algorithm.identifier(digest),
            &tlv(4, &signature),
        ]);
        let signed_data = seq(&[
            &tlv(2, &[3]),
            &tlv(0x31, &digest_identifier(digest)),
            &seq(&[&kind, &tlv(0xa0, &tlv(4, &content))]),
            &tlv(0xa0, &certificate.to_der().unwrap()),
            &tlv(0x31, &signer),
        ]);
        // signedData, 1.2.840.113549.1.7.2
        let signed_data_kind = tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2]);
        let sod = tlv(0x77, &seq(&[&signed_data_kind, &tlv(0xa0, &signed_data)]));
        Document { sod, content, attributes: signed, signature }
    }
}

/// Valid from 2016 to 2036, of Germany.
fn certificate(serial: u32, subject: &X509Name, issuer: &X509Name, key: &PKey<Private>) -> openssl::x509::X509Builder {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = Asn1Integer::from_bn(&BigNum::from_u32(serial).unwrap()).unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(subject).unwrap();
    builder.set_issuer_name(issuer).unwrap();
    builder.set_not_before(&Asn1Time::from_str("20160101000000Z").unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_str("20360101000000Z").unwrap()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder
}

fn name(common: &str) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("C", "DE").unwrap();
    name.append_entry_by_text("O", "Proofmill benches").unwrap();
    name.append_entry_by_text("CN", common).unwrap();
    name.build()
}

/// TD3, of Germany, valid until 2030.
fn dg1() -> Vec<u8> {
    let number = "C01X00T47";
    let (birth, expiry, optional) = ("640812", "301231", "<<<<<<<<<<<<<<");
    let composite = format!(
        "{number}{}{birth}{}{expiry}{}{optional}{}",
        check_digit(number),
        check_digit(birth),
        check_digit(expiry),
        check_digit(optional)
    );
    let mrz = format!(
        "{:<<44}{number}{}D<<{birth}{}F{expiry}{}{optional}{}{}",
        "P<D<<MUSTERMANN<<ERIKA",
        check_digit(number),
        check_digit(birth),
        check_digit(expiry),
        check_digit(optional),
        check_digit(&composite)
    );
    tlv(0x61, &[&[0x5f, 0x1f, 88][..], mrz.as_bytes()].concat())
}

/// ICAO Doc 9303-3 section 4.9.
fn check_digit(text: &str) -> u32 {
    let value = |character: char| match character {
        '<' => 0,
        character => character.to_digit(36).unwrap(),
    };
    text.chars().zip([7, 3, 1].into_iter().cycle()).map(|(character, weight)| value(character) * weight).sum::<u32>()
        % 10
}

/// ISO/IEC 19794-5 with a JPEG header and noise for an image: nothing here decodes it.
fn dg2(octets: usize) -> Vec<u8> {
    // SOI, JFIF, and a frame header of 413 × 531 pixels of three components.
    let mut image = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00".to_vec();
    image.extend(b"\xff\xc0\x00\x11\x08\x02\x13\x01\x9d\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01");
    image.extend(b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00");
    let mut state = 1u32;
    image.resize_with(octets.max(image.len() + 2), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 25) as u8
    });
    image.extend(b"\xff\xd9");
    let length = |body: usize| (body as u32).to_be_bytes();
    let mut record = b"FAC\x00010\x00".to_vec();
    record.extend(length(14 + 32 + image.len()));
    record.extend([0, 1]);
    record.extend(length(32 + image.len()));
    record.extend([0; 16]);
    record.extend([1, 0, 1, 0x9d, 2, 0x13, 1, 2, 0, 0, 0, 0]);
    record.extend(&image);
    let two = |first: u8, second: u8, body: &[u8]| [&[first][..], &tlv(second, body)].concat();
    let header = tlv(0xa1, &[0x87, 2, 1, 1, 0x88, 2, 0, 8]);
    let template = two(0x7f, 0x60, &[header, two(0x5f, 0x2e, &record)].concat());
    tlv(0x75, &two(0x7f, 0x61, &[tlv(2, &[1]), template].concat()))
}

fn message_digest(digest: Digest) -> MessageDigest {
    match digest {
        Digest::Sha1 => MessageDigest::sha1(),
        Digest::Sha224 => MessageDigest::sha224(),
        Digest::Sha256 => MessageDigest::sha256(),
        Digest::Sha384 => MessageDigest::sha384(),
        Digest::Sha512 => MessageDigest::sha512(),
    }
}

// -- DER

const NULL: &[u8] = &[5, 0];

fn digest_identifier(digest: Digest) -> Vec<u8> {
    match digest {
        Digest::Sha1 => seq(&[&tlv(6, &[0x2b, 0x0e, 3, 2, 0x1a]), NULL]),
        sha2 => seq(&[&tlv(6, &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, [0, 4, 1, 2, 3][sha2 as usize]]), NULL]),
    }
}

fn integer(number: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if number.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    tlv(2, &[sign, number].concat())
}

fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let length = match length {
        0..0x80 => vec![length as u8],
        0x80..0x100 => vec![0x81, length as u8],
        0x100..0x1_0000 => vec![0x82, (length >> 8) as u8, length as u8],
        _ => vec![0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8],
    };
    [&[tag][..], &length, body].concat()
}
