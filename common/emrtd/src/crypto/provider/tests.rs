//! All providers on the same inputs, right and corrupted.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use rsa::{RsaPrivateKey, pkcs1v15, pss, traits::PublicKeyParts};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use signature::SignatureEncoding;
use signature::hazmat::{PrehashSigner, RandomizedPrehashSigner};

use super::*;

/// Asks every provider that the table lists, and demands one answer.
fn unanimous(key: &PreparedKey, scheme: Scheme, digest: &[u8], signature: &[u8]) -> Result<Verified, SignatureError> {
    let listed = providers(key.key(), scheme);
    assert!(!listed.is_empty());
    let answers: Vec<_> =
        listed.iter().map(|provider| key.verify_digest_with(*provider, scheme, digest, signature)).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{scheme:?} {listed:?} {answers:?}");
    answers[0]
}

/// The right signature holds; each corruption is refused by all alike.
fn differential(key: &PreparedKey, scheme: Scheme, digest: &[u8], signature: &[u8]) {
    assert!(unanimous(key, scheme, digest, signature).is_ok(), "{scheme:?}");
    for at in (0..signature.len()).step_by(7).chain([signature.len() - 1]) {
        let mut wrong = signature.to_vec();
        wrong[at] ^= 0x10;
        assert!(unanimous(key, scheme, digest, &wrong).is_err(), "{scheme:?} at {at}");
    }
    let mut wrong = digest.to_vec();
    wrong[0] ^= 1;
    assert!(unanimous(key, scheme, &wrong, signature).is_err());
    for wrong in [
        &signature[..signature.len() - 1],
        &[],
        &[&[0], signature].concat(),
        &vec![0; signature.len()],
        &vec![0xff; signature.len()],
    ] {
        assert!(unanimous(key, scheme, digest, wrong).is_err());
    }
}

fn hash(digest: Digest) -> Vec<u8> {
    digest.compute(&[b"some ", b"message"]).as_ref().to_vec()
}

#[test]
fn rsa_providers_agree() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for bits in [1024, 2048] {
        let private = RsaPrivateKey::new(&mut rng, bits).unwrap();
        let key = PublicKey::rsa(&private.n().to_be_bytes(), &private.e().to_be_bytes()).unwrap();
        assert_eq!(key.bits(), bits);
        let prepared = PreparedKey::new(key);
        macro_rules! both {
            ($($hash:ty = $digest:expr),*) => {$({
                let digest = $digest;
                let message = hash(digest);
                let signature = pkcs1v15::SigningKey::<$hash>::new(private.clone()).sign_prehash(&message).unwrap().to_vec();
                differential(&prepared, Scheme::RsaPkcs1 { digest }, &message, &signature);
                for salt_length in [digest.size(), 20, 0, 33] {
                    if bits == 1024 && digest == Digest::Sha512 && salt_length > 33 {
                        continue;
                    }
                    let signer = pss::SigningKey::<$hash>::new_with_salt_len(private.clone(), salt_length);
                    let signature = signer.sign_prehash_with_rng(&mut rng, &message).unwrap().to_vec();
                    let scheme = Scheme::RsaPss { digest, mask_digest: digest, salt_length };
                    differential(&prepared, scheme, &message, &signature);
                    let other = Scheme::RsaPss { digest, mask_digest: digest, salt_length: salt_length + 1 };
                    assert!(unanimous(&prepared, other, &message, &signature).is_err());
                }
            })*};
        }
        both!(
            Sha1 = Digest::Sha1,
            Sha224 = Digest::Sha224,
            Sha256 = Digest::Sha256,
            Sha384 = Digest::Sha384,
            Sha512 = Digest::Sha512
        );
    }
}

#[test]
fn ecdsa_providers_agree() {
    macro_rules! curves {
        ($($curve:ty = $name:expr),*) => {$({
            let curve = $name;
            let secret = ecdsa::SigningKey::<$curve>::from_slice(&vec![0x2a; curve.size()][..]).unwrap();
            let point = ecdsa::VerifyingKey::from(&secret).to_sec1_point(false);
            let prepared = PreparedKey::new(PublicKey::ec(curve, point.as_bytes()).unwrap());
            for digest in Digest::ALL {
                let message = hash(digest);
                let z = digest_of_length(&message, curve.size());
                let (signature, _) = ecdsa::hazmat::sign_prehashed_rfc6979::<$curve, Sha256>(secret.as_nonzero_scalar(), &z, &[]);
                differential(&prepared, Scheme::EcdsaPlain { digest }, &message, &signature.to_bytes());
                let der = to_der(&signature.to_bytes());
                differential(&prepared, Scheme::Ecdsa { digest }, &message, &der);
            }
            let n = crate::crypto::curve::bytes(curve.parameters().n);
            let mut below = n.clone();
            *below.last_mut().unwrap() -= 1;
            let zero = vec![0; curve.size()];
            let mut one = zero.clone();
            *one.last_mut().unwrap() = 1;
            for r in [&zero, &one, &below, &n] {
                for s in [&zero, &one, &below, &n] {
                    let digest = Digest::Sha256;
                    assert!(unanimous(&prepared, Scheme::EcdsaPlain { digest }, &hash(digest), &[&r[..], s].concat()).is_err());
                }
            }
        })*};
    }
    curves!(
        p256::NistP256 = Curve::P256,
        p384::NistP384 = Curve::P384,
        bp256::BrainpoolP256r1 = Curve::BrainpoolP256r1,
        bp256::BrainpoolP256t1 = Curve::BrainpoolP256t1,
        bp384::BrainpoolP384r1 = Curve::BrainpoolP384r1,
        bp384::BrainpoolP384t1 = Curve::BrainpoolP384t1
    );
}

#[test]
fn p521_providers_agree_on_openssl_signatures() {
    let vectors = include_str!("../weierstrass_vectors.txt");
    for line in vectors.lines().filter(|line| line.starts_with("P-521")) {
        let fields: Vec<Vec<u8>> = line.split(' ').skip(1).map(|hex| hex::decode(hex).unwrap()).collect();
        let prepared = PreparedKey::new(PublicKey::ec(Curve::P521, &fields[0]).unwrap());
        let digest = *Digest::ALL.iter().find(|digest| digest.size() == fields[1].len()).unwrap();
        let signature = EcdsaSignature { r: &fields[2], s: &fields[3], not_minimal: false }.fixed(66).unwrap();
        differential(&prepared, Scheme::EcdsaPlain { digest }, &fields[1], &signature);
    }
}

#[test]
fn sloppy_integers_hold_and_are_flagged() {
    let secret = ecdsa::SigningKey::<p256::NistP256>::from_slice(&[7; 32]).unwrap();
    let point = ecdsa::VerifyingKey::from(&secret).to_sec1_point(false);
    let prepared = PreparedKey::new(PublicKey::ec(Curve::P256, point.as_bytes()).unwrap());
    let digest = Digest::Sha256;
    let message = hash(digest);
    let signature: ecdsa::Signature<p256::NistP256> = secret.sign_prehash(&message).unwrap();
    let fixed = signature.to_bytes();
    let der = to_der(&fixed);
    assert!(!unanimous(&prepared, Scheme::Ecdsa { digest }, &message, &der).unwrap().integers_not_minimal);
    let raw = |prefix: &[u8]| {
        let number = |half: &[u8]| {
            let mut out = vec![2, (half.len() + prefix.len()) as u8];
            out.extend_from_slice(prefix);
            out.extend_from_slice(half);
            out
        };
        let body = [number(&fixed[..32]), number(&fixed[32..])].concat();
        [&[0x30, body.len() as u8][..], &body].concat()
    };
    for sloppy in [raw(&[0, 0]), raw(&[0, 0, 0])] {
        assert!(unanimous(&prepared, Scheme::Ecdsa { digest }, &message, &sloppy).unwrap().integers_not_minimal);
    }
    assert!(unanimous(&prepared, Scheme::Ecdsa { digest }, &message, &[&der[..], &[0]].concat()).is_err());
}

#[test]
fn odd_rsa_keys_are_refused_or_served() {
    let modulus = {
        let mut modulus = vec![0xff; 256];
        modulus[255] = 0xfd;
        modulus
    };
    assert!(PublicKey::rsa(&modulus, &[3]).is_ok());
    assert!(PublicKey::rsa(&modulus, &[1, 0xfe, 0x81]).is_ok(), "130689 is in use");
    for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 0, 0, 0, 0, 1]] {
        assert_eq!(PublicKey::rsa(&modulus, exponent), Err(KeyError::RsaOutOfRange));
    }
    assert_eq!(PublicKey::rsa(&[&[0xff; 255][..], &[0xfe]].concat(), &[3]), Err(KeyError::RsaOutOfRange));
    assert_eq!(PublicKey::rsa(&[0xff; 127], &[3]), Err(KeyError::RsaOutOfRange));
    assert_eq!(PublicKey::rsa(&[0xff; 1025], &[3]), Err(KeyError::RsaOutOfRange));
    // An exponent of 64 bits is beyond the libraries and served here.
    let key = PreparedKey::new(PublicKey::rsa(&modulus, &[0xff; 8]).unwrap());
    let scheme = Scheme::RsaPkcs1 { digest: Digest::Sha256 };
    assert_eq!(providers(key.key(), scheme), &[Provider::Native]);
    assert_eq!(key.verify(scheme, &[b"x"], &[1; 256]), Err(SignatureError::Invalid));
}

fn to_der(fixed: &[u8]) -> Vec<u8> {
    let number = |half: &[u8]| {
        let stripped = strip_zeros(half);
        let mut value = if stripped.first().is_none_or(|first| *first >= 0x80) { vec![0] } else { vec![] };
        value.extend_from_slice(stripped);
        [&[2, value.len() as u8][..], &value].concat()
    };
    let body = [number(&fixed[..fixed.len() / 2]), number(&fixed[fixed.len() / 2..])].concat();
    [&[0x30][..], &crate::asn1::encode_length(body.len()), &body].concat()
}

use crate::crypto::key::KeyError;
