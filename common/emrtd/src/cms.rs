//! CMS SignedData (RFC 5652), as much of it as SODs and master lists use, tolerant of BER.

use std::borrow::Cow;

use crate::{
    asn1::{Asn1Error, Reader, Tag, Tlv, encode_length, strip_zeros},
    certificate::Certificate,
    crypto::{
        algorithm::SignatureAlgorithm,
        digest::Digest,
        provider::{PreparedKey, Scheme, SignatureError},
    },
    deviation::{Deviation, DeviationSet},
    evidence::UnixTime,
    name::{self, CanonicalName},
    oid,
    report::Reason,
    time,
};

/// SignerInfos that are looked at; one is what ICAO recommends and all documents have.
const MAX_SIGNERS: usize = 4;
/// Certificates that are tried for one SignerInfo.
pub(crate) const MAX_CANDIDATES: usize = 8;
/// Certificates that are embedded; real files have one or two.
const MAX_CERTIFICATES: usize = 64;

pub(crate) struct SignedData<'a> {
    pub content_type: &'a [u8],
    pub content: Cow<'a, [u8]>,
    /// The embedded certificates, as received.
    pub certificates: Vec<&'a [u8]>,
    /// Those whose algorithms are known: at least one.
    pub signers: Vec<SignerInfo<'a>>,
    pub deviations: DeviationSet,
}

pub(crate) struct SignerInfo<'a> {
    pub identifier: SignerIdentifier<'a>,
    digest: Digest,
    algorithm: SignatureAlgorithm,
    signature: Cow<'a, [u8]>,
    attributes: Tlv<'a>,
    /// Whether the attributes are in DER order (X.690 section 11.6).
    attributes_sorted: bool,
    content_type: &'a [u8],
    message_digest: Cow<'a, [u8]>,
    pub signing_time: Option<UnixTime>,
    /// Whether every header is as DER has it.
    der: bool,
}

pub(crate) enum SignerIdentifier<'a> {
    IssuerAndSerial { issuer_raw: &'a [u8], issuer: CanonicalName, serial: &'a [u8] },
    KeyIdentifier(&'a [u8]),
}

impl<'a> SignerIdentifier<'a> {
    /// Whether the certificate is the one meant; the deviation tells a match of names that are not the same bytes.
    pub fn matches(&self, certificate: &Certificate) -> Option<DeviationSet> {
        match self {
            SignerIdentifier::KeyIdentifier(identifier) => {
                (*certificate.key_identifier == **identifier).then_some(DeviationSet::EMPTY)
            }
            SignerIdentifier::IssuerAndSerial { issuer_raw, issuer, serial } => {
                if *certificate.serial != **serial {
                    None
                } else if certificate.issuer_raw() == *issuer_raw {
                    Some(DeviationSet::EMPTY)
                } else if certificate.issuer == *issuer {
                    Some(DeviationSet::EMPTY.with(Deviation::NameEncodingDiffers))
                } else {
                    None
                }
            }
        }
    }
}

impl<'a> SignedData<'a> {
    /// Parses a ContentInfo that must hold nothing but SignedData version 3.
    pub fn parse(content_info: &'a [u8]) -> Result<SignedData<'a>, Reason> {
        let mut file = Reader::new(content_info);
        let content_info = file.expect(Tag::SEQUENCE).map_err(malformed)?;
        if !file.is_empty() {
            return Err(Reason::SodTrailingData);
        }
        let mut fields = content_info.reader();
        let kind = fields.expect(Tag::OID).map_err(malformed)?;
        if kind.value != oid::ID_SIGNED_DATA.as_bytes() {
            return Err(Reason::SodMalformed);
        }
        let explicit = fields.expect(Tag::context(0)).map_err(malformed)?;
        fields.finish().map_err(trailing)?;
        let mut explicit_fields = explicit.reader();
        let signed_data = explicit_fields.expect(Tag::SEQUENCE).map_err(malformed)?;
        explicit_fields.finish().map_err(trailing)?;
        let mut der = content_info.der && explicit.der && signed_data.der;

        let mut fields = signed_data.reader();
        let version = fields.expect(Tag::INTEGER).map_err(malformed)?;
        if version.small().map_err(malformed)? != 3 {
            return Err(Reason::SodVersionUnsupported);
        }
        let digests = fields.expect(Tag::SET).map_err(malformed)?;
        der &= version.der && digests.der;
        let content_info = fields.expect(Tag::SEQUENCE).map_err(malformed)?;
        let mut content_fields = content_info.reader();
        let content_type = content_fields.expect(Tag::OID).map_err(malformed)?;
        der &= kind.der && content_type.der;
        let content_type = content_type.value;
        let explicit = content_fields.expect(Tag::context(0)).map_err(malformed)?;
        content_fields.finish().map_err(trailing)?;
        let mut explicit_fields = explicit.reader();
        let content = explicit_fields.expect_octets().map_err(malformed)?;
        explicit_fields.finish().map_err(trailing)?;
        let digests = digest_algorithms(&digests).map_err(malformed)?;
        der &= content_info.der && explicit.der && content.der && content.tag == Tag::OCTET_STRING;

        let mut certificates = Vec::new();
        if let Some(set) = fields.optional(Tag::context(0)).map_err(malformed)? {
            der &= set.der;
            let mut set = set.reader();
            while !set.is_empty() {
                let certificate = set.next().map_err(malformed)?;
                if certificates.len() == MAX_CERTIFICATES {
                    return Err(Reason::SodMalformed);
                }
                // Attribute certificates and other formats are not signers.
                if certificate.tag == Tag::SEQUENCE {
                    certificates.push(certificate.raw);
                }
            }
        }
        // Lists inside the SOD are the signer's own word; only the trust store's count.
        fields.optional(Tag::context(1)).map_err(malformed)?;
        let set = fields.expect(Tag::SET).map_err(malformed)?;
        fields.finish().map_err(trailing)?;
        der &= set.der;
        let mut signers = Vec::new();
        let mut unsupported = None;
        let mut set = set.reader();
        for count in 0.. {
            if set.is_empty() {
                break;
            }
            if count == MAX_SIGNERS {
                return Err(Reason::SignerInfoCount);
            }
            let signer = set.expect(Tag::SEQUENCE).map_err(malformed)?;
            match SignerInfo::parse(&signer) {
                Ok(signer) => {
                    der &= signer.der;
                    signers.push(signer);
                }
                // Another signer may have signed with an algorithm that is known here.
                Err(reason @ (Reason::DigestAlgorithmUnsupported | Reason::SignatureAlgorithmUnsupported)) => {
                    unsupported = unsupported.or(Some(reason));
                }
                Err(reason) => return Err(reason),
            }
        }
        if signers.is_empty() {
            return Err(unsupported.unwrap_or(Reason::SignerInfoCount));
        }
        let mut deviations = DeviationSet::EMPTY;
        if !der {
            deviations.insert(Deviation::SodNotDer);
        }
        if signers.iter().any(|signer| !digests.contains(&Some(signer.digest))) {
            deviations.insert(Deviation::DigestAlgorithmNotListed);
        }
        let content = content.octets().map_err(malformed)?;
        Ok(SignedData { content_type, content, certificates, signers, deviations })
    }
}

/// A signature that holds, and how.
pub(crate) struct VerifiedSigner {
    pub scheme: Scheme,
    pub deviations: DeviationSet,
}

impl<'a> SignerInfo<'a> {
    fn parse(signer: &Tlv<'a>) -> Result<SignerInfo<'a>, Reason> {
        let mut fields = signer.reader();
        let version = fields.expect(Tag::INTEGER).map_err(malformed)?.small().map_err(malformed)?;
        // RFC 5652 section 5.3: version 1 with issuer and serial number, 3 with a key identifier.
        let (identifier, expected) = match fields.peek() {
            Some(Tag::SEQUENCE) => {
                let mut both = fields.next().map_err(malformed)?.reader();
                let issuer = both.expect(Tag::SEQUENCE).map_err(malformed)?;
                let serial = strip_zeros(both.expect(Tag::INTEGER).map_err(malformed)?.value);
                both.finish().map_err(malformed)?;
                let canonical = name::parse(&issuer).map_err(malformed)?.canonical;
                (SignerIdentifier::IssuerAndSerial { issuer_raw: issuer.raw, issuer: canonical, serial }, 1)
            }
            _ => {
                let identifier = fields.expect(Tag::context_primitive(0)).map_err(malformed)?;
                (SignerIdentifier::KeyIdentifier(identifier.value), 3)
            }
        };
        if version != expected {
            return Err(Reason::SignerInfoVersion);
        }
        let digest_identifier = fields.expect(Tag::SEQUENCE).map_err(malformed)?;
        // ICAO Doc 9303-10 section 4.6.2.2 demands them, also where RFC 5652 does not.
        let attributes =
            fields.optional(Tag::context(0)).map_err(malformed)?.ok_or(Reason::SignedAttributesMalformed)?;
        let algorithm_identifier = fields.expect(Tag::SEQUENCE).map_err(malformed)?;
        let signature = fields.expect_octets().map_err(malformed)?;
        // Unsigned attributes are nobody's word.
        fields.optional(Tag::context(1)).map_err(malformed)?;
        fields.finish().map_err(trailing)?;
        let parsed = Attributes::parse(&attributes).ok_or(Reason::SignedAttributesMalformed)?;
        let der =
            [&digest_identifier, &attributes, &algorithm_identifier, &signature, signer].iter().all(|tlv| tlv.der)
                && signature.tag == Tag::OCTET_STRING
                && parsed.der;
        Ok(SignerInfo {
            identifier,
            digest: Digest::from_algorithm_identifier(&digest_identifier).ok_or(Reason::DigestAlgorithmUnsupported)?,
            algorithm: SignatureAlgorithm::parse(&algorithm_identifier).ok_or(Reason::SignatureAlgorithmUnsupported)?,
            signature: signature.octets().map_err(malformed)?,
            attributes,
            attributes_sorted: parsed.sorted,
            content_type: parsed.content_type,
            message_digest: parsed.message_digest,
            signing_time: parsed.signing_time,
            der,
        })
    }

    /// The digest algorithm of the content.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The signature algorithm.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Checks what the attributes say about the content, by value.
    pub fn check_content(&self, data: &SignedData<'_>) -> Result<(), Reason> {
        if self.content_type != data.content_type {
            return Err(Reason::ContentTypeMismatch);
        }
        if self.digest.compute(&[&data.content]).as_ref() != self.message_digest.as_ref() {
            return Err(Reason::MessageDigestMismatch);
        }
        Ok(())
    }

    /// Verifies the signature over the attributes as received; `retry_resorted` allows a second
    /// try over a copy in DER order.
    pub fn verify(&self, key: &PreparedKey, retry_resorted: bool) -> Result<VerifiedSigner, Reason> {
        // A digest that the signature algorithm names is taken at its word, also where the signer's digest algorithm is
        // another: to try both would let anybody change the identifier, which is not signed.
        let scheme =
            self.algorithm.scheme(Some(self.digest), key.key()).ok_or(Reason::SignatureAlgorithmUnsupported)?;
        let length = encode_length(self.attributes.value.len());
        // RFC 5652 section 5.4: the tag of the SET in place of the implicit one.
        let received: [&[u8]; 3] = if self.attributes.der {
            [&[0x31], self.attributes.raw.get(1..).unwrap_or_default(), &[]]
        } else {
            [&[0x31], &length, self.attributes.value]
        };
        let mut deviations = DeviationSet::EMPTY;
        let mut verified = key.verify(scheme, &received, &self.signature);
        match verified {
            Ok(_) if !self.attributes_sorted => deviations.insert(Deviation::SignedAttributesUnsorted),
            Err(_) if !self.attributes_sorted && retry_resorted => {
                deviations.insert(Deviation::SignedAttributesResorted);
                verified = key.verify(scheme, &[&[0x31], &length, &self.sorted_attributes()], &self.signature);
            }
            _ => {}
        }
        if scheme.digest() != self.digest {
            deviations.insert(Deviation::SignatureDigestDiffers);
        }
        if let Scheme::RsaPss { digest, mask_digest, .. } = scheme
            && digest != mask_digest
        {
            deviations.insert(Deviation::PssMaskDigestDiffers);
        }
        match verified {
            Ok(verified) => {
                if verified.integers_not_minimal {
                    deviations.insert(Deviation::EcdsaIntegerNotMinimal);
                }
                Ok(VerifiedSigner { scheme, deviations })
            }
            Err(SignatureError::Unsupported) => Err(Reason::SignatureAlgorithmUnsupported),
            Err(SignatureError::Malformed | SignatureError::Invalid) => Err(Reason::SignatureInvalid),
        }
    }

    /// The attributes in DER order.
    fn sorted_attributes(&self) -> Vec<u8> {
        let mut reader = self.attributes.reader();
        let mut attributes = Vec::new();
        while let Ok(attribute) = reader.next() {
            attributes.push(attribute.raw);
        }
        attributes.sort_unstable();
        attributes.concat()
    }
}

/// The digest algorithms that are said to be used; unknown ones are `None`. A SET whose elements
/// are no algorithm identifiers is malformed, although nothing signed depends on it.
fn digest_algorithms(set: &Tlv<'_>) -> Result<Vec<Option<Digest>>, Asn1Error> {
    let mut list = set.reader();
    let mut digests = Vec::new();
    while !list.is_empty() {
        let identifier = list.expect(Tag::SEQUENCE)?;
        let mut fields = identifier.reader();
        fields.expect(Tag::OID)?;
        fields.optional(Tag::NULL)?;
        fields.finish()?;
        digests.push(Digest::from_algorithm_identifier(&identifier));
    }
    Ok(digests)
}

struct Attributes<'a> {
    /// Whether they are in DER order, and their headers as DER has them.
    sorted: bool,
    der: bool,
    content_type: &'a [u8],
    message_digest: Cow<'a, [u8]>,
    signing_time: Option<UnixTime>,
}

impl<'a> Attributes<'a> {
    /// contentType and messageDigest once each with one value; others are passed over.
    fn parse(set: &Tlv<'a>) -> Option<Attributes<'a>> {
        let (mut content_type, mut message_digest, mut signing_time) = (None, None, None);
        let (mut sorted, mut der) = (true, true);
        let mut before: &[u8] = &[];
        let mut list = set.reader();
        while !list.is_empty() {
            let whole = list.expect(Tag::SEQUENCE).ok()?;
            sorted &= before <= whole.raw;
            before = whole.raw;
            let mut attribute = whole.reader();
            let kind = attribute.expect(Tag::OID).ok()?;
            let values = attribute.expect(Tag::SET).ok()?;
            attribute.finish().ok()?;
            der &= whole.der && kind.der && values.der;
            let kind = kind.value;
            let mut values = values.reader();
            let slot = if kind == oid::CONTENT_TYPE.as_bytes() {
                &mut content_type
            } else if kind == oid::MESSAGE_DIGEST.as_bytes() {
                &mut message_digest
            } else if kind == oid::SIGNING_TIME.as_bytes() {
                &mut signing_time
            } else {
                continue;
            };
            let value = values.next().ok()?;
            values.finish().ok()?;
            der &= value.der;
            if slot.replace(value).is_some() {
                return None;
            }
        }
        let content_type = content_type.filter(|value| value.tag == Tag::OID)?.value;
        let message_digest = message_digest
            .filter(|value| matches!(value.tag, Tag::OCTET_STRING | Tag::CONSTRUCTED_OCTET_STRING))?
            .octets()
            .ok()?;
        let signing_time = match signing_time {
            Some(value) => Some(time::parse_asn1(&value)?),
            None => None,
        };
        Some(Attributes { sorted, der, content_type, message_digest, signing_time })
    }
}

fn malformed(_: Asn1Error) -> Reason {
    Reason::SodMalformed
}

fn trailing(error: Asn1Error) -> Reason {
    if error == Asn1Error::Trailing { Reason::SodTrailingData } else { Reason::SodMalformed }
}
