//! The work that no verifier can do without: one signature verification by AWS-LC with a parsed
//! key, and the hashes of the same bytes.

use std::hint::black_box;

use aws_lc_rs::digest::digest;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use openssl::pkey::{PKey, Private};
use proofmill_emrtd::crypto::digest::Digest;
use proofmill_emrtd::crypto::key::PublicKey;

use crate::aws_lc;
use crate::mint::{Algorithm, Country, Document};

pub struct Bare {
    key: Key,
    document: Document,
    digest: Digest,
}

enum Key {
    Rsa(ParsedPublicKey),
    Ecdsa(aws_lc::Key),
}

impl Bare {
    pub fn new(algorithm: Algorithm, digest: Digest, key: &PKey<Private>, document: &Document) -> Bare {
        let spki = key.public_key_to_der().unwrap();
        let key = match (algorithm, PublicKey::from_spki(&spki).unwrap()) {
            (Algorithm::Rsa { pss, .. }, _) => {
                let verification: &'static dyn VerificationAlgorithm = match (pss, digest) {
                    (false, Digest::Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
                    (false, Digest::Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
                    (true, Digest::Sha256) => &signature::RSA_PSS_2048_8192_SHA256,
                    _ => panic!("no row of the table has this pair"),
                };
                let public = key.rsa().unwrap().public_key_to_der_pkcs1().unwrap();
                Key::Rsa(ParsedPublicKey::new(verification, public).unwrap())
            }
            (_, PublicKey::Ec { curve, point }) => Key::Ecdsa(aws_lc::Key::new(curve, &point).unwrap()),
            (_, PublicKey::Rsa { .. }) => panic!("an elliptic curve key was minted"),
        };
        Bare { key, document: document.clone(), digest }
    }

    pub fn run(&self, country: &Country) {
        self.signature();
        for bytes in [&self.document.content, &country.dg1, &country.dg2] {
            black_box(self.hash(bytes));
        }
    }

    /// The signature alone, with the hash of what it signs.
    pub fn signature(&self) {
        let Document { attributes, signature, .. } = &self.document;
        match &self.key {
            Key::Rsa(key) => key.verify_sig(attributes, signature).unwrap(),
            Key::Ecdsa(key) => assert!(key.verify_der(self.hash(attributes).as_ref(), signature)),
        }
    }

    fn hash(&self, bytes: &[u8]) -> aws_lc_rs::digest::Digest {
        let algorithm = match self.digest {
            Digest::Sha1 => &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
            Digest::Sha224 => &aws_lc_rs::digest::SHA224,
            Digest::Sha256 => &aws_lc_rs::digest::SHA256,
            Digest::Sha384 => &aws_lc_rs::digest::SHA384,
            Digest::Sha512 => &aws_lc_rs::digest::SHA512,
        };
        digest(algorithm, bytes)
    }
}
