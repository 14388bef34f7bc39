//! Which implementation verifies which signature: one table, [`providers`].
//!
//! * `AwsLc` is the fast path for RSA, and for the elliptic curve keys it has that are seldom
//!   used. It parses no explicit curve parameters, so it is handed the point or the modulus, never
//!   the certificate's key structure.
//! * `RustCrypto` is the portable path.
//! * `Native` is this crate's own code: elliptic curve keys that are used again and again, for
//!   which it keeps tables that no library does; the curves no crate has; and RSA encodings
//!   outside what the others accept (mask digest other than the digest, exponents above 33 bits).
//!
//! Every provider can be called explicitly, and a differential test runs all of them on the same
//! valid and corrupted inputs.

mod aws_lc;
mod budget;
mod native;
mod rust_crypto;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering},
};

use super::{
    curve::Curve,
    digest::Digest,
    key::{PublicKey, bit_length},
    weierstrass,
};
use crate::asn1::{Reader, Tag, Tlv, strip_zeros};

use budget::Reservation;
pub use budget::TableBudget;
pub(crate) use native::rsa_public_operation;

/// An implementation of signature verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// aws-lc-rs.
    AwsLc,
    /// The RustCrypto crates.
    RustCrypto,
    /// This crate.
    Native,
}

/// A signature scheme with all its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2).
    RsaPkcs1 {
        /// Digest.
        digest: Digest,
    },
    /// RSASSA-PSS (RFC 8017 section 8.1).
    RsaPss {
        /// Digest of message and encoding.
        digest: Digest,
        /// Digest of the mask generation function MGF1.
        mask_digest: Digest,
        /// Octets of salt.
        salt_length: usize,
    },
    /// ECDSA, the signature an ASN.1 sequence of r and s.
    Ecdsa {
        /// Digest.
        digest: Digest,
    },
    /// ECDSA, the signature r and s side by side (BSI TR-03111 section 5.2.1).
    EcdsaPlain {
        /// Digest.
        digest: Digest,
    },
}

impl Scheme {
    /// The digest of the message.
    pub fn digest(self) -> Digest {
        match self {
            Scheme::RsaPkcs1 { digest }
            | Scheme::RsaPss { digest, .. }
            | Scheme::Ecdsa { digest }
            | Scheme::EcdsaPlain { digest } => digest,
        }
    }

    /// Such as `rsa_pss_sha256`.
    pub fn describe(self) -> String {
        let kind = match self {
            Scheme::RsaPkcs1 { .. } => "rsa_pkcs1",
            Scheme::RsaPss { .. } => "rsa_pss",
            Scheme::Ecdsa { .. } => "ecdsa",
            Scheme::EcdsaPlain { .. } => "ecdsa_plain",
        };
        format!("{kind}_{}", self.digest().name())
    }
}

/// Why a signature was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The scheme is not one for this kind of key, or the provider asked for does not have it.
    #[error("the key and the signature scheme do not go together")]
    Unsupported,
    /// The signature is not encoded as its scheme demands.
    #[error("the signature is malformed")]
    Malformed,
    /// The signature is not one of this message under this key.
    #[error("the signature does not hold")]
    Invalid,
}

/// A signature that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// r or s had leading zeros or was encoded as a negative number.
    pub integers_not_minimal: bool,
}

/// The table: providers of a scheme for a key, the one in use first. One exception: an elliptic
/// curve key that has a table of its own ([`PreparedKey::expand`]) is verified natively, which is
/// then the fastest on every curve.
pub fn providers(key: &PublicKey, scheme: Scheme) -> &'static [Provider] {
    use Provider::{AwsLc, Native, RustCrypto};
    match (key, scheme) {
        (PublicKey::Rsa { exponent, .. }, Scheme::RsaPkcs1 { .. } | Scheme::RsaPss { .. })
            if bit_length(exponent) > 33 =>
        {
            &[Native]
        }
        (PublicKey::Rsa { .. }, Scheme::RsaPkcs1 { digest }) => match digest {
            Digest::Sha1 | Digest::Sha256 | Digest::Sha512 => &[AwsLc, RustCrypto, Native],
            Digest::Sha384 if key.bits() >= 2048 => &[AwsLc, RustCrypto, Native],
            Digest::Sha384 | Digest::Sha224 => &[RustCrypto, Native],
        },
        (PublicKey::Rsa { .. }, Scheme::RsaPss { digest, mask_digest, salt_length }) => {
            if mask_digest != digest {
                &[Native]
            } else if key.bits() >= 2048 && aws_lc::pss_parameters(digest, salt_length).is_some() {
                &[AwsLc, RustCrypto, Native]
            } else {
                &[RustCrypto, Native]
            }
        }
        (PublicKey::Ec { curve, .. }, Scheme::Ecdsa { .. } | Scheme::EcdsaPlain { .. }) => match curve {
            Curve::P256 | Curve::P384 | Curve::P521 => &[AwsLc, Native, RustCrypto],
            Curve::BrainpoolP256r1 | Curve::BrainpoolP256t1 | Curve::BrainpoolP384r1 | Curve::BrainpoolP384t1 => {
                &[Native, RustCrypto]
            }
            _ => &[Native],
        },
        _ => &[],
    }
}

/// A key is expanded at this use of it: a table costs as much as it saves in some five.
const USES_BEFORE_TABLE: u32 = 8;

/// A public key with what its providers have made of it, so that a key that signs thousands of
/// documents is parsed and expanded once.
pub struct PreparedKey {
    key: PublicKey,
    // Filled on first use: which provider a key needs depends on the scheme it is used with, and
    // a store holds many keys that are never used at all. A race computes the same value twice.
    aws_lc: OnceLock<Option<aws_lc::Key>>,
    native: OnceLock<Option<weierstrass::PreparedPoint>>,
    budget: OnceLock<Arc<TableBudget>>,
    /// Verifications while there was no table.
    uses: AtomicU32,
    /// Its memory, once the native key has a table.
    table: OnceLock<Reservation>,
}

impl PreparedKey {
    /// Takes a key; nothing is computed yet.
    pub fn new(key: PublicKey) -> PreparedKey {
        PreparedKey {
            key,
            aws_lc: OnceLock::new(),
            native: OnceLock::new(),
            budget: OnceLock::new(),
            uses: AtomicU32::new(0),
            table: OnceLock::new(),
        }
    }

    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Lets the key have a table once it has been used a few times, if the budget has room then.
    /// Keys that are kept for many verifications are given one; the first budget counts.
    pub fn share_budget(&self, budget: &Arc<TableBudget>) {
        let _ = self.budget.set(budget.clone());
    }

    /// Computes the key's table now. `false` where there is none: for RSA, without a budget, or
    /// with one that is spent.
    pub fn expand(&self) -> bool {
        let PublicKey::Ec { curve, point } = &self.key else {
            return false;
        };
        if self.table.get().is_some() {
            return true;
        }
        let size = weierstrass::PreparedPoint::comb_size(*curve);
        let Some(reservation) = self.budget.get().and_then(|budget| budget.reserve(size)) else {
            return false;
        };
        match self.native.get_or_init(|| weierstrass::PreparedPoint::new(*curve, point)) {
            Some(native) => {
                native.expand();
                // Lost to another thread, the reservation is given back: there is one table.
                let _ = self.table.set(reservation);
                true
            }
            None => false,
        }
    }

    /// Verifies a signature of the parts, one after another, by the provider that the table puts first.
    pub fn verify(&self, scheme: Scheme, message: &[&[u8]], signature: &[u8]) -> Result<Verified, SignatureError> {
        let provider = self.provider(scheme).ok_or(SignatureError::Unsupported)?;
        let digest = scheme.digest().compute(message);
        let verified = self.verify_digest_with(provider, scheme, digest.as_ref(), signature);
        self.count_use();
        verified
    }

    /// The provider that [`PreparedKey::verify`] asks at present.
    pub fn provider(&self, scheme: Scheme) -> Option<Provider> {
        let listed = providers(&self.key, scheme);
        if self.table.get().is_some() && listed.contains(&Provider::Native) {
            return Some(Provider::Native);
        }
        listed.first().copied()
    }

    fn count_use(&self) {
        // Nothing is written for a key with a table or without hope of one: many threads read it.
        if self.budget.get().is_none() || self.table.get().is_some() || !matches!(self.key, PublicKey::Ec { .. }) {
            return;
        }
        let uses = self.uses.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        // One thread at a time; and again, less and less often, when the budget was spent.
        if uses >= USES_BEFORE_TABLE && uses.is_power_of_two() {
            self.expand();
        }
    }

    /// Verifies a signature of a digest by one provider.
    pub fn verify_digest_with(
        &self,
        provider: Provider,
        scheme: Scheme,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<Verified, SignatureError> {
        if !providers(&self.key, scheme).contains(&provider) {
            return Err(SignatureError::Unsupported);
        }
        if digest.len() != scheme.digest().size() {
            return Err(SignatureError::Malformed);
        }
        let (holds, integers_not_minimal) = match &self.key {
            PublicKey::Rsa { modulus, exponent } => {
                if signature.len() != modulus.len() {
                    return Err(SignatureError::Malformed);
                }
                // No provider is asked about a salt that does not fit the modulus.
                if let Scheme::RsaPss { digest, salt_length, .. } = scheme
                    && (self.key.bits() - 1).div_ceil(8) < digest.size() + salt_length + 2
                {
                    return Err(SignatureError::Malformed);
                }
                let holds = match provider {
                    Provider::AwsLc => aws_lc::verify_rsa(&self.aws_lc, modulus, exponent, scheme, digest, signature),
                    Provider::RustCrypto => rust_crypto::verify_rsa(modulus, exponent, scheme, digest, signature),
                    Provider::Native => native::verify_rsa(modulus, exponent, scheme, digest, signature),
                };
                (holds, false)
            }
            PublicKey::Ec { curve, point } => {
                let signature = match scheme {
                    Scheme::EcdsaPlain { .. } => EcdsaSignature::plain(*curve, signature),
                    _ => EcdsaSignature::from_der(signature),
                };
                let signature = signature.ok_or(SignatureError::Malformed)?;
                let holds = match provider {
                    Provider::AwsLc => aws_lc::verify_ecdsa(&self.aws_lc, *curve, point, digest, &signature),
                    Provider::RustCrypto => rust_crypto::verify_ecdsa(*curve, point, digest, &signature),
                    Provider::Native => self
                        .native
                        .get_or_init(|| weierstrass::PreparedPoint::new(*curve, point))
                        .as_ref()
                        .is_some_and(|key| key.verify(digest, signature.r, signature.s)),
                };
                (holds, signature.not_minimal)
            }
        };
        if holds { Ok(Verified { integers_not_minimal }) } else { Err(SignatureError::Invalid) }
    }
}

/// r and s, big-endian without leading zeros.
struct EcdsaSignature<'a> {
    r: &'a [u8],
    s: &'a [u8],
    not_minimal: bool,
}

impl<'a> EcdsaSignature<'a> {
    fn from_der(der: &'a [u8]) -> Option<EcdsaSignature<'a>> {
        let mut reader = Reader::new(der);
        let sequence = reader.expect(Tag::SEQUENCE).ok()?;
        reader.finish().ok()?;
        let mut integers = sequence.reader();
        let (r, r_minimal) = integer(&integers.expect(Tag::INTEGER).ok()?)?;
        let (s, s_minimal) = integer(&integers.expect(Tag::INTEGER).ok()?)?;
        integers.finish().ok()?;
        Some(EcdsaSignature { r, s, not_minimal: !(r_minimal && s_minimal) })
    }

    fn plain(curve: Curve, signature: &'a [u8]) -> Option<EcdsaSignature<'a>> {
        let size = curve.size();
        if signature.len() != 2 * size {
            return None;
        }
        let (r, s) = signature.split_at_checked(size)?;
        Some(EcdsaSignature { r: strip_zeros(r), s: strip_zeros(s), not_minimal: false })
    }

    /// r and s side by side, each of so many octets.
    fn fixed(&self, size: usize) -> Option<Vec<u8>> {
        let mut out = vec![0; size.checked_sub(self.r.len())?];
        out.extend_from_slice(self.r);
        out.resize(out.len() + size.checked_sub(self.s.len())?, 0);
        out.extend_from_slice(self.s);
        Some(out)
    }
}

/// The number and whether it is minimally encoded. Some signers leave out the zero octet that
/// keeps a number positive; r and s are never negative, so it is read as if it were there.
fn integer<'a>(tlv: &Tlv<'a>) -> Option<(&'a [u8], bool)> {
    let minimal = match tlv.value {
        [] => return None,
        [first, ..] if *first >= 0x80 => false,
        [0, second, ..] => *second >= 0x80,
        _ => true,
    };
    Some((strip_zeros(tlv.value), minimal))
}

/// The leftmost octets of a digest, and zeros before it if it is shorter: the same number for
/// ECDSA (FIPS 186-5 section 6.4.2), in the one length that a provider takes.
fn digest_of_length(digest: &[u8], size: usize) -> Vec<u8> {
    let digest = digest.get(..size).unwrap_or(digest);
    let mut out = vec![0; size - digest.len()];
    out.extend_from_slice(digest);
    out
}

#[cfg(test)]
mod tests;
