//! The RustCrypto crates: portable, and the only ones with some pairs of digest and curve.

use rsa::{BoxedUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use signature::hazmat::PrehashVerifier;

use super::{EcdsaSignature, Scheme, digest_of_length};
use crate::crypto::{curve::Curve, digest::Digest};

pub(super) fn verify_rsa(modulus: &[u8], exponent: &[u8], scheme: Scheme, digest: &[u8], signature: &[u8]) -> bool {
    let number = BoxedUint::from_be_slice_vartime;
    let Ok(key) = RsaPublicKey::new(number(modulus), number(exponent)) else {
        return false;
    };
    match scheme {
        Scheme::RsaPkcs1 { digest: algorithm } => {
            let padding = match algorithm {
                Digest::Sha1 => Pkcs1v15Sign::new::<Sha1>(),
                Digest::Sha224 => Pkcs1v15Sign::new::<Sha224>(),
                Digest::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
                Digest::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
                Digest::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
            };
            key.verify(padding, digest, signature).is_ok()
        }
        Scheme::RsaPss { digest: algorithm, salt_length, .. } => match algorithm {
            Digest::Sha1 => key.verify(Pss::<Sha1>::new_with_salt(salt_length), digest, signature).is_ok(),
            Digest::Sha224 => key.verify(Pss::<Sha224>::new_with_salt(salt_length), digest, signature).is_ok(),
            Digest::Sha256 => key.verify(Pss::<Sha256>::new_with_salt(salt_length), digest, signature).is_ok(),
            Digest::Sha384 => key.verify(Pss::<Sha384>::new_with_salt(salt_length), digest, signature).is_ok(),
            Digest::Sha512 => key.verify(Pss::<Sha512>::new_with_salt(salt_length), digest, signature).is_ok(),
        },
        Scheme::Ecdsa { .. } | Scheme::EcdsaPlain { .. } => false,
    }
}

pub(super) fn verify_ecdsa(curve: Curve, point: &[u8], digest: &[u8], signature: &EcdsaSignature<'_>) -> bool {
    let Some(fixed) = signature.fixed(curve.size()) else {
        return false;
    };
    let digest = digest_of_length(digest, curve.size());
    macro_rules! verify {
        ($curve:ty) => {{
            let key = ecdsa::VerifyingKey::<$curve>::from_sec1_bytes(point);
            let signature = ecdsa::Signature::<$curve>::from_slice(&fixed);
            match (key, signature) {
                (Ok(key), Ok(signature)) => key.verify_prehash(&digest, &signature).is_ok(),
                _ => false,
            }
        }};
    }
    match curve {
        Curve::P256 => verify!(p256::NistP256),
        Curve::P384 => verify!(p384::NistP384),
        Curve::P521 => verify!(p521::NistP521),
        Curve::BrainpoolP256r1 => verify!(bp256::BrainpoolP256r1),
        Curve::BrainpoolP256t1 => verify!(bp256::BrainpoolP256t1),
        Curve::BrainpoolP384r1 => verify!(bp384::BrainpoolP384r1),
        Curve::BrainpoolP384t1 => verify!(bp384::BrainpoolP384t1),
        _ => false,
    }
}
