//! aws-lc-rs: RSA from modulus and exponent, ECDSA on the NIST curves from the point.

use std::sync::OnceLock;

use aws_lc_rs::{
    digest as aws_digest,
    signature::{self, ParsedPublicKey, RsaParameters, RsaPssSaltLength, RsaPublicKeyComponents},
};

use super::{EcdsaSignature, Scheme, digest_of_length};
use crate::crypto::{curve::Curve, digest::Digest};

/// A parsed key. RSA keys are parsed for one set of parameters: the first they are used with.
pub(super) struct Key {
    parsed: ParsedPublicKey,
    parameters: Option<&'static RsaParameters>,
}

pub(super) fn verify_rsa(
    cell: &OnceLock<Option<Key>>,
    modulus: &[u8],
    exponent: &[u8],
    scheme: Scheme,
    digest: &[u8],
    signature: &[u8],
) -> bool {
    let Some(parameters) = rsa_parameters(scheme) else {
        return false;
    };
    let Ok(digest) = aws_digest::Digest::import_less_safe(digest, scheme.digest().aws_lc()) else {
        return false;
    };
    let parse = || {
        let components = RsaPublicKeyComponents { n: modulus, e: exponent };
        let parsed = components.to_parsed_public_key(parameters).ok()?;
        Some(Key { parsed, parameters: Some(parameters) })
    };
    let holds = |key: &Key| key.parsed.verify_digest_sig(&digest, signature).is_ok();
    match cell.get_or_init(parse) {
        Some(key) if key.parameters == Some(parameters) => holds(key),
        // A key used with two schemes: parsed anew for the second.
        _ => parse().as_ref().is_some_and(holds),
    }
}

pub(super) fn verify_ecdsa(
    cell: &OnceLock<Option<Key>>,
    curve: Curve,
    point: &[u8],
    digest: &[u8],
    signature: &EcdsaSignature<'_>,
) -> bool {
    // Only the number that the digest stands for enters the computation, so one parsed key with
    // one nominal digest serves every digest.
    let (algorithm, nominal): (&'static dyn signature::VerificationAlgorithm, _) = match curve {
        Curve::P256 => (&signature::ECDSA_P256_SHA256_FIXED, Digest::Sha256),
        Curve::P384 => (&signature::ECDSA_P384_SHA384_FIXED, Digest::Sha384),
        Curve::P521 => (&signature::ECDSA_P521_SHA512_FIXED, Digest::Sha512),
        _ => return false,
    };
    let Some(signature) = signature.fixed(curve.size()) else {
        return false;
    };
    let digest = digest_of_length(digest, nominal.size());
    let Ok(digest) = aws_digest::Digest::import_less_safe(&digest, nominal.aws_lc()) else {
        return false;
    };
    cell.get_or_init(|| {
        let parsed = ParsedPublicKey::new(algorithm, point).ok()?;
        Some(Key { parsed, parameters: None })
    })
    .as_ref()
    .is_some_and(|key| key.parsed.verify_digest_sig(&digest, &signature).is_ok())
}

fn rsa_parameters(scheme: Scheme) -> Option<&'static RsaParameters> {
    match scheme {
        Scheme::RsaPkcs1 { digest } => match digest {
            Digest::Sha1 => Some(&signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY),
            Digest::Sha256 => Some(&signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
            Digest::Sha384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Digest::Sha512 => Some(&signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
            Digest::Sha224 => None,
        },
        Scheme::RsaPss { digest, mask_digest, salt_length } if digest == mask_digest => {
            pss_parameters(digest, salt_length)
        }
        _ => None,
    }
}

/// Parameters must live for ever, so there are some for each salt length in use.
pub(super) fn pss_parameters(digest: Digest, salt_length: usize) -> Option<&'static RsaParameters> {
    macro_rules! with_salt {
        ($parameters:ident: $($length:literal)*) => {
            match salt_length {
                $($length => Some(&const {
                    signature::$parameters.with_pss_salt_length(RsaPssSaltLength::Custom($length))
                }),)*
                _ => None,
            }
        };
    }
    match digest {
        Digest::Sha256 => with_salt!(RSA_PSS_2048_8192_SHA256: 0 20 32 48 64),
        Digest::Sha384 => with_salt!(RSA_PSS_2048_8192_SHA384: 0 20 32 48 64),
        Digest::Sha512 => with_salt!(RSA_PSS_2048_8192_SHA512: 0 20 32 48 64),
        Digest::Sha1 | Digest::Sha224 => None,
    }
}
