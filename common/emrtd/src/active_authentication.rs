//! Active authentication (ICAO Doc 9303-11 section 6.1): the chip signs a challenge.

use crate::{
    asn1::strip_zeros,
    crypto::{
        digest::Digest,
        key::PublicKey,
        provider::{PreparedKey, Scheme, rsa_public_operation},
    },
    deviation::{Deviation, DeviationSet},
    evidence::ActiveAuthentication,
    report::Reason,
    security_options::{NamedDigest, SecurityOptions, active_authentication_key},
};

/// Octets of RND.IFD.
const CHALLENGE: usize = 8;
/// Octets of zeros before a representative: an encoding shorter than the modulus (Australia).
const MAX_ZEROS: usize = 8;

/// Whether an answer holds under a DG15, and for ECDSA the digest that a DG14 names. Neither need be
/// that of a verified document: for looking at one exchange alone. [`verify`](crate::verify())
/// demands that the SOD protects both.
pub fn verify_active_authentication(
    dg15: &[u8],
    answer: &ActiveAuthentication<'_>,
    dg14: Option<&[u8]>,
) -> Result<DeviationSet, Reason> {
    let digest = match dg14 {
        Some(dg14) => {
            SecurityOptions::parse(dg14)
                .map_err(|_| Reason::ActiveAuthenticationAlgorithmUnknown)?
                .active_authentication_digest
        }
        None => NamedDigest::Absent,
    };
    let key = active_authentication_key(dg15).map_err(|_| Reason::ActiveAuthenticationKeyInvalid)?;
    verify(key.key, answer, digest).map(|deviations| deviations.union(key.deviations))
}

/// Verifies the chip's answer. `digest` is the one that DG14 names for ECDSA; RSA answers name theirs.
pub(crate) fn verify(
    key: PublicKey,
    answer: &ActiveAuthentication<'_>,
    digest: NamedDigest,
) -> Result<DeviationSet, Reason> {
    if answer.challenge.len() != CHALLENGE {
        return Err(Reason::ActiveAuthenticationChallenge);
    }
    match &key {
        PublicKey::Rsa { modulus, exponent } => verify_rsa(modulus, exponent, answer),
        PublicKey::Ec { .. } => match digest {
            NamedDigest::Known(digest) => verify_ecdsa(&PreparedKey::new(key), digest, answer),
            NamedDigest::Unknown => Err(Reason::ActiveAuthenticationAlgorithmUnknown),
            // DG14 must name the digest (ICAO Doc 9303-11 section 9.2.4). Identity cards without a DG14
            // sign all the same, with a digest that is not even that of the curve's size (Portugal).
            NamedDigest::Absent => {
                let key = PreparedKey::new(key);
                let found = Digest::ALL.iter().rev().find_map(|digest| verify_ecdsa(&key, *digest, answer).ok());
                found
                    .map(|deviations| deviations.with(Deviation::ActiveAuthenticationDigestUnnamed))
                    .ok_or(Reason::ActiveAuthenticationInvalid)
            }
        },
    }
}

/// r and s side by side (BSI TR-03111 section 5.2.1), or as a DER sequence, which deviates.
fn verify_ecdsa(key: &PreparedKey, digest: Digest, answer: &ActiveAuthentication<'_>) -> Result<DeviationSet, Reason> {
    let message = [answer.challenge];
    if key.verify(Scheme::EcdsaPlain { digest }, &message, answer.signature).is_ok() {
        return Ok(DeviationSet::EMPTY);
    }
    match key.verify(Scheme::Ecdsa { digest }, &message, answer.signature) {
        Ok(_) => Ok(DeviationSet::EMPTY.with(Deviation::ActiveAuthenticationDer)),
        Err(_) => Err(Reason::ActiveAuthenticationInvalid),
    }
}

fn verify_rsa(modulus: &[u8], exponent: &[u8], answer: &ActiveAuthentication<'_>) -> Result<DeviationSet, Reason> {
    let invalid = Reason::ActiveAuthenticationInvalid;
    // Chips send the number with leading zeros or without; only its value counts.
    let signature = strip_zeros(answer.signature);
    let opened = rsa_public_operation(modulus, exponent, signature).ok_or(invalid)?;
    // The signer takes the smaller of a signature and its complement, so what comes out may be
    // n minus the representative (ISO/IEC 9796-2 annex B.6).
    let holds = verify_representative(&opened, answer.challenge).is_some()
        || complement(modulus, &opened).is_some_and(|other| verify_representative(&other, answer.challenge).is_some());
    if holds { Ok(DeviationSet::EMPTY) } else { Err(invalid) }
}

/// Whether a block recovered from an RSA active authentication answer binds the challenge: the
/// part of the verification that is left once signature^e mod n is computed.
pub fn recovered_message_holds(recovered: &[u8], challenge: &[u8]) -> bool {
    verify_representative(recovered, challenge).is_some()
}

/// ISO/IEC 9796-2 digital signature scheme 1. The representative is
/// `6A | M1 | H(M1 M2) | trailer`, or `4A …` when the whole message is recovered. The padding
/// before M1 is `B` nibbles closed by an `A`.
///
/// A representative may be shorter than the modulus, whose size is then no whole number of octets
/// or not used up.
fn verify_representative(representative: &[u8], challenge: &[u8]) -> Option<()> {
    let number = strip_zeros(representative);
    (representative.len() - number.len() <= MAX_ZEROS).then_some(())?;
    let representative = number;
    let (digest, trailer) = match representative {
        [.., 0xbc] => (Digest::Sha1, 1),
        [.., 0x33, 0xcc] => (Digest::Sha1, 2),
        [.., 0x34, 0xcc] => (Digest::Sha256, 2),
        [.., 0x35, 0xcc] => (Digest::Sha512, 2),
        [.., 0x36, 0xcc] => (Digest::Sha384, 2),
        [.., 0x38, 0xcc] => (Digest::Sha224, 2),
        _ => return None,
    };
    let partial = match representative.first()? >> 4 {
        0x6 => true,
        0x4 => false,
        _ => return None,
    };
    let padding = padding_length(representative)?;
    let hash_at = representative.len().checked_sub(trailer + digest.size())?;
    let recovered = representative.get(padding..hash_at)?;
    let hash = representative.get(hash_at..hash_at + digest.size())?;
    let computed = if partial {
        digest.compute(&[recovered, challenge])
    } else {
        // All of the message is inside, so it must be seen to end with our challenge: otherwise
        // any old answer would do.
        recovered.ends_with(challenge).then_some(())?;
        digest.compute(&[recovered])
    };
    (computed.as_ref() == hash).then_some(())
}

/// Octets up to and with the nibble `A`; every nibble between the header's and it is a `B`.
fn padding_length(representative: &[u8]) -> Option<usize> {
    match representative.first()? & 0x0f {
        0x0a => return Some(1),
        0x0b => {}
        _ => return None,
    }
    for (index, octet) in representative.iter().enumerate().skip(1) {
        match octet {
            0xbb => {}
            0xba => return Some(index + 1),
            _ => return None,
        }
    }
    None
}

/// n - m, big-endian of the modulus' length.
fn complement(modulus: &[u8], number: &[u8]) -> Option<Vec<u8>> {
    if modulus.len() != number.len() {
        return None;
    }
    let mut out = vec![0; modulus.len()];
    let mut borrow = 0i16;
    for ((out, n), m) in out.iter_mut().zip(modulus).zip(number).rev() {
        let difference = i16::from(*n) - i16::from(*m) - borrow;
        borrow = i16::from(difference < 0);
        *out = difference.rem_euclid(256) as u8;
    }
    (borrow == 0).then_some(out)
}
