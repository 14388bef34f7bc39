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

/// RSASSA-PSS-params; absent fields have the defaults of RFC 8017 appendix A.2.3, and so have
/// absent parameters, which RFC 4055 section 3.1 forbids and which can mean nothing else.
fn pss(mut fields: Reader<'_>) -> Option<SignatureAlgorithm> {
    let mut parameters = match fields.optional(Tag::SEQUENCE).ok()? {
        Some(parameters) => parameters.reader(),
        None => Reader::new(&[]),
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&[tag][..], &crate::asn1::encode_length(body.len()), &body].concat()
    }

    fn oid(oid: der::oid::ObjectIdentifier) -> Vec<u8> {
        tlv(6, &[oid.as_bytes()])
    }

    fn parsed(parts: &[&[u8]]) -> Option<SignatureAlgorithm> {
        let der = tlv(0x30, parts);
        SignatureAlgorithm::parse(&Reader::new(&der).next().unwrap())
    }

    const NULL: &[u8] = &[5, 0];

    fn digests() -> [(der::oid::ObjectIdentifier, Digest); 5] {
        [
            (oid::SHA1, Digest::Sha1),
            (oid::SHA224, Digest::Sha224),
            (oid::SHA256, Digest::Sha256),
            (oid::SHA384, Digest::Sha384),
            (oid::SHA512, Digest::Sha512),
        ]
    }

    #[test]
    fn parameters_are_absent_or_null_and_nothing_else() {
        for (identifier, expected) in SIMPLE {
            let identifier_der = oid(*identifier);
            assert_eq!(parsed(&[&identifier_der]), Some(*expected), "{identifier}");
            assert_eq!(parsed(&[&identifier_der, NULL]), Some(*expected), "{identifier}");
            if *identifier != oid::EC_PUBLIC_KEY {
                for wrong in [&[5, 1, 0][..], &[4, 0], &[5, 0, 5, 0], &[2, 1, 0]] {
                    assert_eq!(parsed(&[&identifier_der, wrong]), None, "{identifier}");
                }
            }
        }
        for (identifier, digest) in digests() {
            for parameters in [&[][..], NULL] {
                let der = tlv(0x30, &[&oid(identifier), parameters]);
                let found = Digest::from_algorithm_identifier(&Reader::new(&der).next().unwrap());
                assert_eq!(found, Some(digest));
                // ecdsa-with-Specified names it in its parameters.
                assert_eq!(parsed(&[&oid(oid::ECDSA_SPECIFIED), &der]), Some(SignatureAlgorithm::Ecdsa(Some(digest))));
            }
            for wrong in [&[5, 1, 0][..], &[0x30, 0], &[5, 0, 5, 0]] {
                let der = tlv(0x30, &[&oid(identifier), wrong]);
                assert_eq!(Digest::from_algorithm_identifier(&Reader::new(&der).next().unwrap()), None);
            }
        }
    }

    #[test]
    fn a_digest_that_the_identifier_leaves_open_is_the_signers_and_never_overrides_one_it_names() {
        let rsa = PublicKey::rsa(&[0xff; 128], &[3]).unwrap();
        let scheme = |algorithm: SignatureAlgorithm| algorithm.scheme(Some(Digest::Sha384), &rsa);
        assert_eq!(scheme(SignatureAlgorithm::RsaPkcs1(None)), Some(Scheme::RsaPkcs1 { digest: Digest::Sha384 }));
        let named = SignatureAlgorithm::RsaPkcs1(Some(Digest::Sha256));
        assert_eq!(scheme(named), Some(Scheme::RsaPkcs1 { digest: Digest::Sha256 }));
        // Without a signer, as in a certificate, it stays open; and keys of the other kind do not fit.
        assert_eq!(SignatureAlgorithm::RsaPkcs1(None).scheme(None, &rsa), None);
        assert_eq!(scheme(SignatureAlgorithm::Ecdsa(None)), None);
    }

    #[test]
    fn pss_parameters_are_taken_as_given_and_absent_ones_are_the_defaults() {
        let default = SignatureAlgorithm::RsaPss { digest: Digest::Sha1, mask_digest: Digest::Sha1, salt_length: 20 };
        let pss = oid(oid::RSASSA_PSS);
        assert_eq!(parsed(&[&pss]), Some(default));
        assert_eq!(parsed(&[&pss, &[0x30, 0]]), Some(default));
        for (identifier, digest) in digests() {
            let hash = tlv(0x30, &[&oid(identifier)]);
            for (mask_identifier, mask_digest) in digests() {
                let mask = tlv(0x30, &[&oid(oid::MGF1), &tlv(0x30, &[&oid(mask_identifier), NULL])]);
                for salt_length in [0u8, 20, 32, 64, 127] {
                    let fields = [
                        tlv(0xa0, &[&hash]),
                        tlv(0xa1, &[&mask]),
                        tlv(0xa2, &[&[2, 1, salt_length]]),
                        tlv(0xa3, &[&[2, 1, 1]]),
                    ];
                    let salt_length = usize::from(salt_length);
                    let expected = SignatureAlgorithm::RsaPss { digest, mask_digest, salt_length };
                    assert_eq!(parsed(&[&pss, &tlv(0x30, &[&fields.concat()])]), Some(expected));
                    assert_eq!(parsed(&[&pss, &tlv(0x30, &[&fields[..3].concat()])]), Some(expected));
                }
            }
            let only_hash = tlv(0x30, &[&tlv(0xa0, &[&hash])]);
            let expected = SignatureAlgorithm::RsaPss { digest, mask_digest: Digest::Sha1, salt_length: 20 };
            assert_eq!(parsed(&[&pss, &only_hash]), Some(expected));
        }
        let refused = [
            NULL.to_vec(),
            // Another trailer, a negative and an enormous salt, an unknown mask, fields out of order.
            tlv(0x30, &[&tlv(0xa3, &[&[2, 1, 2]])]),
            tlv(0x30, &[&tlv(0xa2, &[&[2, 1, 0xff]])]),
            tlv(0x30, &[&tlv(0xa2, &[&[2, 3, 1, 0, 0]])]),
            tlv(0x30, &[&tlv(0xa1, &[&tlv(0x30, &[&oid(oid::SHA1), &tlv(0x30, &[&oid(oid::SHA1)])])])]),
            tlv(0x30, &[&tlv(0xa2, &[&[2, 1, 20]]), &tlv(0xa0, &[&tlv(0x30, &[&oid(oid::SHA1)])])]),
            [&[0x30, 0][..], NULL].concat(),
        ];
        for parameters in refused {
            assert_eq!(parsed(&[&pss, &parameters]), None, "{parameters:02x?}");
        }
    }
}
