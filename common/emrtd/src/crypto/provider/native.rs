//! RSA encodings of our own over a raw modular exponentiation.

use rsa::{BoxedUint, RsaPublicKey, hazmat::rsa_encrypt};

use super::Scheme;
use crate::crypto::{digest::Digest, key::bit_length};

/// s^e mod n, as many octets as the modulus; `None` when the input is not below the modulus.
/// The modulus and exponent must be those of a checked [`PublicKey`](crate::crypto::key::PublicKey).
pub(crate) fn rsa_public_operation(modulus: &[u8], exponent: &[u8], input: &[u8]) -> Option<Vec<u8>> {
    let precision = u32::try_from(modulus.len() * 8).ok()?;
    let n = BoxedUint::from_be_slice(modulus, precision).ok()?;
    let s = BoxedUint::from_be_slice(input, precision).ok()?;
    // The crate's constructor for large exponents panics on an even modulus.
    if s >= n || modulus.last().is_none_or(|octet| octet & 1 == 0) {
        return None;
    }
    let key = RsaPublicKey::new_unchecked(n, BoxedUint::from_be_slice_vartime(exponent));
    let m = rsa_encrypt(&key, &s).ok()?.to_be_bytes();
    m.get(m.len().checked_sub(modulus.len())?..).map(<[u8]>::to_vec)
}

pub(super) fn verify_rsa(modulus: &[u8], exponent: &[u8], scheme: Scheme, digest: &[u8], signature: &[u8]) -> bool {
    let Some(encoded) = rsa_public_operation(modulus, exponent, signature) else {
        return false;
    };
    match scheme {
        Scheme::RsaPkcs1 { digest: algorithm } => {
            pkcs1(algorithm, digest, modulus.len()).is_some_and(|expected| expected == encoded)
        }
        Scheme::RsaPss { digest: algorithm, mask_digest, salt_length } => {
            pss(&encoded, bit_length(modulus) - 1, algorithm, mask_digest, salt_length, digest).is_some()
        }
        Scheme::Ecdsa { .. } | Scheme::EcdsaPlain { .. } => false,
    }
}

/// EMSA-PKCS1-v1_5 (RFC 8017 section 9.2): the one right encoding, to be compared whole.
fn pkcs1(algorithm: Digest, digest: &[u8], size: usize) -> Option<Vec<u8>> {
    let info: &[u8] = match algorithm {
        Digest::Sha1 => b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
        Digest::Sha224 => b"\x30\x2d\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x04\x05\x00\x04\x1c",
        Digest::Sha256 => b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
        Digest::Sha384 => b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
        Digest::Sha512 => b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
    };
    let padding = size.checked_sub(3 + info.len() + digest.len()).filter(|padding| *padding >= 8)?;
    let mut out = vec![0, 1];
    out.resize(2 + padding, 0xff);
    out.push(0);
    out.extend_from_slice(info);
    out.extend_from_slice(digest);
    Some(out)
}

/// EMSA-PSS-VERIFY (RFC 8017 section 9.1.2).
fn pss(
    encoded: &[u8],
    bits: usize,
    algorithm: Digest,
    mask_digest: Digest,
    salt_length: usize,
    digest: &[u8],
) -> Option<()> {
    let length = bits.div_ceil(8);
    let (above, encoded) = encoded.split_at_checked(encoded.len().checked_sub(length)?)?;
    let size = algorithm.size();
    let padding = length.checked_sub(size + salt_length + 2)?;
    let (trailer, rest) = encoded.split_last()?;
    let (masked, hash) = rest.split_at_checked(rest.len().checked_sub(size)?)?;
    let unused = 8 * length - bits;
    let allowed = 0xffu8 >> unused;
    if above.iter().any(|octet| *octet != 0) || *trailer != 0xbc || masked.first()? & !allowed != 0 {
        return None;
    }
    let mut block = masked.to_vec();
    for (counter, chunk) in block.chunks_mut(mask_digest.size()).enumerate() {
        let mask = mask_digest.compute(&[hash, &u32::try_from(counter).ok()?.to_be_bytes()]);
        for (octet, mask) in chunk.iter_mut().zip(mask.as_ref()) {
            *octet ^= mask;
        }
    }
    *block.first_mut()? &= allowed;
    let (zeros, rest) = block.split_at_checked(padding)?;
    let (one, salt) = rest.split_first()?;
    if zeros.iter().any(|octet| *octet != 0) || *one != 1 {
        return None;
    }
    (algorithm.compute(&[&[0; 8], digest, salt]).as_ref() == hash).then_some(())
}
