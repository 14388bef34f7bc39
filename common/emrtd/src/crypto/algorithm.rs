//! Signature AlgorithmIdentifiers: RFC 8017 appendix A, RFC 5758, BSI TR-03111.

use super::{digest::Digest, key::PublicKey, provider::Scheme};
use crate::{
    asn1::{Reader, Tag, Tlv},
    oid,
};

/// What an AlgorithmIdentifier says; the digest may be left to the SignerInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureAlgorithm {
    RsaPkcs1(Option<Digest>),
    RsaPss { digest: Digest, mask_digest: Digest, salt_length: usize },
    Ecdsa(Option<Digest>),
    EcdsaPlain(Digest),
}

impl SignatureAlgorithm {
    pub fn parse(identifier: &Tlv<'_>) -> Option<SignatureAlgorithm> {
        let mut fields = identifier.reader();
        let value = fields.expect(Tag::OID).ok()?.value;
        if value == oid::RSASSA_PSS.as_bytes() {
            return pss(fields);
        }
        if value == oid::ECDSA_SPECIFIED.as_bytes() {
            let digest = Digest::from_algorithm_identifier(&fields.expect(Tag::SEQUENCE).ok()?)?;
            fields.finish().ok()?;
            return Some(SignatureAlgorithm::Ecdsa(Some(digest)));
        }
        let algorithm = SIMPLE.iter().find(|(oid, _)| oid.as_bytes() == value).map(|(_, algorithm)| *algorithm)?;
        // NULL or nothing. After id-ecPublicKey, which some signers write here, the curve may stand.
        if value != oid::EC_PUBLIC_KEY.as_bytes() {
            if let Some(null) = fields.optional(Tag::NULL).ok()? {
                null.value.is_empty().then_some(())?;
            }
            fields.finish().ok()?;
        }
        Some(algorithm)
    }

    /// The digest, where the identifier itself names one.
    pub fn digest(self) -> Option<Digest> {
        match self {
            SignatureAlgorithm::RsaPkcs1(digest) | SignatureAlgorithm::Ecdsa(digest) => digest,
            SignatureAlgorithm::RsaPss { digest, .. } | SignatureAlgorithm::EcdsaPlain(digest) => Some(digest),
        }
    }

    /// The whole scheme for a key, if it is of the right kind.
    pub fn scheme(self, signer_digest: Option<Digest>, key: &PublicKey) -> Option<Scheme> {
        let digest = self.digest().or(signer_digest)?;
        match (self, key) {
            (SignatureAlgorithm::RsaPkcs1(_), PublicKey::Rsa { .. }) => Some(Scheme::RsaPkcs1 { digest }),
            (SignatureAlgorithm::RsaPss { mask_digest, salt_length, .. }, PublicKey::Rsa { .. }) => {
                Some(Scheme::RsaPss { digest, mask_digest, salt_length })
            }
            (SignatureAlgorithm::Ecdsa(_), PublicKey::Ec { .. }) => Some(Scheme::Ecdsa { digest }),
            (SignatureAlgorithm::EcdsaPlain(_), PublicKey::Ec { .. }) => Some(Scheme::EcdsaPlain { digest }),
            _ => None,
        }
    }
}

const SIMPLE: &[(der::oid::ObjectIdentifier, SignatureAlgorithm)] = &[
    (oid::RSA_ENCRYPTION, SignatureAlgorithm::RsaPkcs1(None)),
    (oid::SHA1_WITH_RSA, SignatureAlgorithm::RsaPkcs1(Some(Digest::Sha1))),
    (oid::SHA1_WITH_RSA_OIW, SignatureAlgorithm::RsaPkcs1(Some(Digest::Sha1))),
    (oid::SHA224_WITH_RSA, SignatureAlgorithm::RsaPkcs1(Some(Digest::Sha224))),
    (oid::SHA256_WITH_RSA, SignatureAlgorithm::RsaPkcs1(Some(Digest::Sha256))),
    (oid::SHA384_WITH_RSA, SignatureAlgorithm::RsaPkcs1(Some(Digest::Sha384))),
    (oid::SHA512_WITH_RSA, SignatureAlgorithm::RsaPkcs1(Some(Digest::Sha512))),
    (oid::EC_PUBLIC_KEY, SignatureAlgorithm::Ecdsa(None)),
    (oid::ECDSA_SHA1, SignatureAlgorithm::Ecdsa(Some(Digest::Sha1))),
    (oid::ECDSA_SHA224, SignatureAlgorithm::Ecdsa(Some(Digest::Sha224))),
    (oid::ECDSA_SHA256, SignatureAlgorithm::Ecdsa(Some(Digest::Sha256))),
    (oid::ECDSA_SHA384, SignatureAlgorithm::Ecdsa(Some(Digest::Sha384))),
    (oid::ECDSA_SHA512, SignatureAlgorithm::Ecdsa(Some(Digest::Sha512))),
    (oid::ECDSA_PLAIN_SHA1, SignatureAlgorithm::EcdsaPlain(Digest::Sha1)),
    (oid::ECDSA_PLAIN_SHA224, SignatureAlgorithm::EcdsaPlain(Digest::Sha224)),
    (oid::ECDSA_PLAIN_SHA256, SignatureAlgorithm::EcdsaPlain(Digest::Sha256)),
    (oid::ECDSA_PLAIN_SHA384, SignatureAlgorithm::EcdsaPlain(Digest::Sha384)),
    (oid::ECDSA_PLAIN_SHA512, SignatureAlgorithm::EcdsaPlain(Digest::Sha512)),
];

/// RSASSA-PSS-params; absent fields have the defaults of RFC 8017 appendix A.2.3.
fn pss(mut fields: Reader<'_>) -> Option<SignatureAlgorithm> {
    let mut parameters = fields.expect(Tag::SEQUENCE).ok()?.reader();
    fields.finish().ok()?;
    let digest = match parameters.optional(Tag::context(0)).ok()? {
        Some(explicit) => Digest::from_algorithm_identifier(&only(&explicit, Tag::SEQUENCE)?)?,
        None => Digest::Sha1,
    };
    let mask_digest = match parameters.optional(Tag::context(1)).ok()? {
        Some(explicit) => {
            let mut mask = only(&explicit, Tag::SEQUENCE)?.reader();
            (mask.expect(Tag::OID).ok()?.value == oid::MGF1.as_bytes()).then_some(())?;
            let digest = Digest::from_algorithm_identifier(&mask.expect(Tag::SEQUENCE).ok()?)?;
            mask.finish().ok()?;
            digest
        }
        None => Digest::Sha1,
    };
    let salt_length = match parameters.optional(Tag::context(2)).ok()? {
        Some(explicit) => {
            usize::try_from(only(&explicit, Tag::INTEGER)?.small().ok()?).ok().filter(|length| *length <= 1024)?
        }
        None => 20,
    };
    if let Some(explicit) = parameters.optional(Tag::context(3)).ok()? {
        (only(&explicit, Tag::INTEGER)?.small().ok()? == 1).then_some(())?;
    }
    parameters.finish().ok()?;
    Some(SignatureAlgorithm::RsaPss { digest, mask_digest, salt_length })
}

/// The one element of an explicitly tagged field.
fn only<'a>(explicit: &Tlv<'a>, tag: Tag) -> Option<Tlv<'a>> {
    let mut reader = explicit.reader();
    let inner = reader.expect(tag).ok()?;
    reader.finish().ok()?;
    Some(inner)
}
