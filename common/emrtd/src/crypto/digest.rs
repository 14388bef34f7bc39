//! The digests of travel documents.

use serde::Serialize;

use crate::{
    asn1::{Reader, Tag, Tlv},
    oid,
};

/// A digest algorithm that ICAO Doc 9303-12 allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    /// SHA-1, in documents of the first years.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Digest {
    /// All of them.
    pub const ALL: [Digest; 5] = [Digest::Sha1, Digest::Sha224, Digest::Sha256, Digest::Sha384, Digest::Sha512];

    /// Octets of output.
    pub fn size(self) -> usize {
        match self {
            Digest::Sha1 => 20,
            Digest::Sha224 => 28,
            Digest::Sha256 => 32,
            Digest::Sha384 => 48,
            Digest::Sha512 => 64,
        }
    }

    /// `sha1` to `sha512`.
    pub fn name(self) -> &'static str {
        match self {
            Digest::Sha1 => "sha1",
            Digest::Sha224 => "sha224",
            Digest::Sha256 => "sha256",
            Digest::Sha384 => "sha384",
            Digest::Sha512 => "sha512",
        }
    }

    /// The digest of some parts, one after another.
    pub fn compute(self, parts: &[&[u8]]) -> Hash {
        // In one call it needs no context on the heap.
        if let [whole] = parts {
            return Hash(aws_lc_rs::digest::digest(self.aws_lc(), whole));
        }
        let mut context = aws_lc_rs::digest::Context::new(self.aws_lc());
        for part in parts {
            context.update(part);
        }
        Hash(context.finish())
    }

    pub(crate) fn aws_lc(self) -> &'static aws_lc_rs::digest::Algorithm {
        match self {
            Digest::Sha1 => &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
            Digest::Sha224 => &aws_lc_rs::digest::SHA224,
            Digest::Sha256 => &aws_lc_rs::digest::SHA256,
            Digest::Sha384 => &aws_lc_rs::digest::SHA384,
            Digest::Sha512 => &aws_lc_rs::digest::SHA512,
        }
    }

    pub(crate) fn from_oid(value: &[u8]) -> Option<Digest> {
        [
            (oid::SHA1, Digest::Sha1),
            (oid::SHA224, Digest::Sha224),
            (oid::SHA256, Digest::Sha256),
            (oid::SHA384, Digest::Sha384),
            (oid::SHA512, Digest::Sha512),
        ]
        .iter()
        .find(|(oid, _)| oid.as_bytes() == value)
        .map(|(_, digest)| *digest)
    }

    /// A digest AlgorithmIdentifier, parameters absent or NULL (RFC 5754 section 2).
    pub(crate) fn from_algorithm_identifier(identifier: &Tlv<'_>) -> Option<Digest> {
        let mut fields: Reader<'_> = identifier.reader();
        let digest = Digest::from_oid(fields.expect(Tag::OID).ok()?.value)?;
        if let Some(parameters) = fields.optional(Tag::NULL).ok()? {
            parameters.value.is_empty().then_some(())?;
        }
        fields.finish().ok()?;
        Some(digest)
    }
}

/// The output of a digest.
pub struct Hash(aws_lc_rs::digest::Digest);

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}
