//! What is in a SOD, for people who need to see why a document fails. Nothing here decides:
//! a description is made as far as the bytes can be read, also of a SOD that every rule refuses.

use serde::Serialize;

use crate::{
    asn1::{Reader, Tag, Tlv, has_der_headers},
    certificate::Certificate,
    crypto::{algorithm::SignatureAlgorithm, digest::Digest},
    deviation::Deviation,
    evidence::{Part, UnixTime},
    info::CertificateInfo,
    lds::LdsSecurityObject,
    name::{self, hex},
    oid,
    report::Reason,
    sod, time,
    verify::MAX_PART,
};

/// Elements of a kind that are described; the counts beside them say how many there are.
const MAX_DESCRIBED: usize = 16;

/// A description of EF.SOD. Holds no data group hashes, which would identify the holder, and no
/// signature: a document's structure and whose key signed it, not whose document it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SodInfo {
    /// Whether the application tag 77 of EF.SOD is around the SignedData.
    pub wrapper: bool,
    /// How the file is encoded.
    pub encoding: Encoding,
    /// Version of the SignedData; 3 is right.
    pub signed_data_version: Option<u64>,
    /// The digest algorithms that the SignedData lists.
    pub digest_algorithms: Vec<String>,
    /// eContentType.
    pub content_type: Option<ObjectIdentifierInfo>,
    /// The LDS security object, if the content is one.
    pub lds: Option<LdsInfo>,
    /// SignerInfos, the first few.
    pub signers: Vec<SignerInfoDescription>,
    /// How many SignerInfos there are.
    pub signer_count: usize,
    /// Embedded certificates, the first few that can be read.
    pub certificates: Vec<CertificateInfo>,
    /// How many certificates are embedded, readable or not.
    pub certificate_count: usize,
    /// Revocation lists that are embedded; they count for nothing.
    pub revocation_list_count: usize,
    /// Deviations of the container and its content. Those of the signature show once it is verified.
    pub deviations: Vec<Deviation>,
    /// The rule that the structure breaks, if it breaks one.
    pub problem: Option<Reason>,
}

/// The encoding of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Definite, minimal lengths and primitive strings everywhere.
    Der,
    /// Something that only BER allows.
    Ber,
}

/// An object identifier and what it is called, if it is known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectIdentifierInfo {
    /// Dotted decimal, such as `2.23.136.1.1.1`.
    pub oid: String,
    /// The name in its standard, such as `id-icao-mrtd-security-ldsSecurityObject`.
    pub name: Option<&'static str>,
}

/// The LDS security object (ICAO Doc 9303-10 section 4.6.2.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LdsInfo {
    /// 0 or 1.
    pub version: u64,
    /// ldsVersion of LDSVersionInfo, such as `0108`; version 1 alone may have it.
    pub lds_version: Option<String>,
    /// unicodeVersion of LDSVersionInfo, such as `040000`.
    pub unicode_version: Option<String>,
    /// Digest algorithm of the data group hashes.
    pub digest_algorithm: String,
    /// Numbers of the data groups that are hashed, in the order of the list.
    pub data_groups: Vec<u64>,
}

/// One SignerInfo (RFC 5652 section 5.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignerInfoDescription {
    /// 1 with issuer and serial number, 3 with a key identifier.
    pub version: Option<u64>,
    /// Whom it names.
    pub identifier: Option<SignerIdentifierInfo>,
    /// Digest algorithm of the content and the attributes.
    pub digest_algorithm: Option<String>,
    /// Signature algorithm with its parameters, such as `rsa_pss_sha256_mgf1_sha256_salt_32`.
    pub signature_algorithm: Option<String>,
    /// The signed attributes, in the order received.
    pub signed_attributes: Vec<ObjectIdentifierInfo>,
    /// Whether the signed attributes are in the order that DER demands.
    pub signed_attributes_sorted: bool,
    /// signingTime; serialised as RFC 3339 in UTC.
    pub signing_time: Option<UnixTime>,
    /// Octets of the signature.
    pub signature_octets: Option<usize>,
    /// Whether there are unsigned attributes; they count for nothing.
    pub unsigned_attributes: bool,
}

/// How a SignerInfo names the signer's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SignerIdentifierInfo {
    /// By the certificate's issuer and serial number.
    IssuerAndSerialNumber {
        /// The name (RFC 4514).
        issuer: String,
        /// Hexadecimal.
        serial_number: String,
    },
    /// By the certificate's subject key identifier.
    SubjectKeyIdentifier {
        /// Hexadecimal.
        key_identifier: String,
    },
}

impl SodInfo {
    /// Describes a SOD as far as it can be read; one that is larger than any may be is not.
    pub fn read(sod: &[u8]) -> SodInfo {
        let mut info = SodInfo {
            wrapper: Reader::new(sod).peek() == Some(Tag::SOD),
            encoding: if sod.len() <= MAX_PART && has_der_headers(sod) { Encoding::Der } else { Encoding::Ber },
            signed_data_version: None,
            digest_algorithms: Vec::new(),
            content_type: None,
            lds: None,
            signers: Vec::new(),
            signer_count: 0,
            certificates: Vec::new(),
            certificate_count: 0,
            revocation_list_count: 0,
            deviations: Vec::new(),
            problem: None,
        };
        if sod.len() > MAX_PART {
            info.problem = Some(Reason::PartTooLarge(Part::Sod));
            return info;
        }
        match sod::parse(sod) {
            Ok(data) => {
                info.deviations = data.deviations.iter().collect();
                info.problem = LdsSecurityObject::parse(&data.content).err();
            }
            Err(reason) => info.problem = Some(reason),
        }
        // What cannot be read leaves the rest undescribed; the problem says why.
        let _ = info.walk(sod);
        info
    }

    fn walk(&mut self, sod: &[u8]) -> Option<()> {
        let mut file = Reader::new(sod);
        if self.wrapper {
            file = file.next().ok()?.reader();
        }
        let mut content_info = file.expect(Tag::SEQUENCE).ok()?.reader();
        content_info.expect(Tag::OID).ok()?;
        let mut explicit = content_info.expect(Tag::context(0)).ok()?.reader();
        let mut fields = explicit.expect(Tag::SEQUENCE).ok()?.reader();
        self.signed_data_version = fields.expect(Tag::INTEGER).ok()?.small().ok();
        let mut digests = fields.expect(Tag::SET).ok()?.reader();
        while let (Ok(identifier), true) = (digests.next(), self.digest_algorithms.len() < MAX_DESCRIBED) {
            self.digest_algorithms.push(digest_name(&identifier));
        }
        self.content(&fields.expect(Tag::SEQUENCE).ok()?);
        if let Some(set) = fields.optional(Tag::context(0)).ok()? {
            let mut set = set.reader();
            while let Ok(certificate) = set.next() {
                self.certificate_count += 1;
                if self.certificates.len() < MAX_DESCRIBED
                    && self.certificate_count <= MAX_DESCRIBED
                    && let Ok(certificate) = Certificate::parse(certificate.raw)
                {
                    self.certificates.push(CertificateInfo::of(&certificate));
                }
            }
        }
        if let Some(set) = fields.optional(Tag::context(1)).ok()? {
            let mut set = set.reader();
            while set.next().is_ok() {
                self.revocation_list_count += 1;
            }
        }
        let mut set = fields.expect(Tag::SET).ok()?.reader();
        while let Ok(signer) = set.next() {
            self.signer_count += 1;
            if self.signers.len() < MAX_DESCRIBED {
                let mut description = SignerInfoDescription::nothing();
                let _ = description.walk(&signer);
                self.signers.push(description);
            }
        }
        Some(())
    }

    fn content(&mut self, encapsulated: &Tlv<'_>) -> Option<()> {
        let mut fields = encapsulated.reader();
        self.content_type = Some(ObjectIdentifierInfo::of(fields.expect(Tag::OID).ok()?.value));
        let mut explicit = fields.expect(Tag::context(0)).ok()?.reader();
        let content = explicit.expect_octets().ok()?.octets().ok()?;
        self.lds = LdsInfo::read(&content);
        Some(())
    }
}

impl LdsInfo {
    fn read(content: &[u8]) -> Option<LdsInfo> {
        let mut fields = Reader::new(content).expect(Tag::SEQUENCE).ok()?.reader();
        let version = fields.expect(Tag::INTEGER).ok()?.small().ok()?;
        let digest_algorithm = digest_name(&fields.expect(Tag::SEQUENCE).ok()?);
        let mut list = fields.expect(Tag::SEQUENCE).ok()?.reader();
        let mut data_groups = Vec::new();
        while let (Ok(entry), true) = (list.next(), data_groups.len() < MAX_DESCRIBED) {
            data_groups.push(entry.reader().expect(Tag::INTEGER).ok()?.small().ok()?);
        }
        let info = fields.optional(Tag::SEQUENCE).ok().flatten();
        let mut info = info.map(|info| info.reader());
        let mut next = || info.as_mut().and_then(|info| short_text(info.expect(Tag::PRINTABLE_STRING).ok()?.value));
        let (lds_version, unicode_version) = (next(), next());
        Some(LdsInfo { version, lds_version, unicode_version, digest_algorithm, data_groups })
    }
}

impl SignerInfoDescription {
    fn nothing() -> SignerInfoDescription {
        SignerInfoDescription {
            version: None,
            identifier: None,
            digest_algorithm: None,
            signature_algorithm: None,
            signed_attributes: Vec::new(),
            signed_attributes_sorted: true,
            signing_time: None,
            signature_octets: None,
            unsigned_attributes: false,
        }
    }

    fn walk(&mut self, signer: &Tlv<'_>) -> Option<()> {
        let mut fields = signer.reader();
        self.version = fields.expect(Tag::INTEGER).ok()?.small().ok();
        let identifier = fields.next().ok()?;
        self.identifier = identify(&identifier);
        self.digest_algorithm = Some(digest_name(&fields.expect(Tag::SEQUENCE).ok()?));
        if let Some(attributes) = fields.optional(Tag::context(0)).ok()? {
            self.attributes(&attributes);
        }
        self.signature_algorithm = Some(signature_name(&fields.expect(Tag::SEQUENCE).ok()?));
        self.signature_octets = Some(fields.expect_octets().ok()?.octets().ok()?.len());
        self.unsigned_attributes = fields.peek() == Some(Tag::context(1));
        Some(())
    }

    fn attributes(&mut self, set: &Tlv<'_>) {
        let mut list = set.reader();
        let mut before: &[u8] = &[];
        while let Ok(attribute) = list.next() {
            self.signed_attributes_sorted &= before <= attribute.raw;
            before = attribute.raw;
            let mut fields = attribute.reader();
            let Ok(kind) = fields.expect(Tag::OID) else { continue };
            if self.signed_attributes.len() < MAX_DESCRIBED {
                self.signed_attributes.push(ObjectIdentifierInfo::of(kind.value));
            }
            if kind.value == oid::SIGNING_TIME.as_bytes() {
                let value = fields.expect(Tag::SET).ok().and_then(|set| set.reader().next().ok());
                self.signing_time = value.and_then(|value| time::parse_asn1(&value));
            }
        }
    }
}

fn identify(identifier: &Tlv<'_>) -> Option<SignerIdentifierInfo> {
    if identifier.tag == Tag::context_primitive(0) {
        return Some(SignerIdentifierInfo::SubjectKeyIdentifier { key_identifier: short_hex(identifier.value) });
    }
    let mut fields = identifier.reader();
    let issuer = name::text(fields.expect(Tag::SEQUENCE).ok()?.raw);
    let serial_number = short_hex(fields.expect(Tag::INTEGER).ok()?.value);
    Some(SignerIdentifierInfo::IssuerAndSerialNumber { issuer, serial_number })
}

impl ObjectIdentifierInfo {
    pub(crate) fn of(value: &[u8]) -> ObjectIdentifierInfo {
        let name = NAMES.iter().find(|(oid, _)| oid.as_bytes() == value).map(|(_, name)| *name);
        ObjectIdentifierInfo { oid: oid::dotted(value), name }
    }
}

const NAMES: &[(der::oid::ObjectIdentifier, &str)] = &[
    (oid::LDS_SECURITY_OBJECT, "id-icao-mrtd-security-ldsSecurityObject"),
    (oid::LDS_SECURITY_OBJECT_ICAO_OLD, "id-icao-ldsSecurityObject (before LDS 1.7)"),
    (oid::LDS_SECURITY_OBJECT_NL_OLD, "id-icao-ldsSecurityObject (Netherlands, before LDS 1.7)"),
    (oid::CSCA_MASTER_LIST, "id-icao-cscaMasterList"),
    (oid::ID_DATA, "id-data"),
    (oid::ID_SIGNED_DATA, "id-signedData"),
    (oid::CONTENT_TYPE, "contentType"),
    (oid::MESSAGE_DIGEST, "messageDigest"),
    (oid::SIGNING_TIME, "signingTime"),
];

/// The digest's name, or the object identifier of one that is not known.
fn digest_name(identifier: &Tlv<'_>) -> String {
    match Digest::from_algorithm_identifier(identifier) {
        Some(digest) => digest.name().to_owned(),
        None => {
            identifier.reader().expect(Tag::OID).map_or_else(|_| "malformed".to_owned(), |tlv| oid::dotted(tlv.value))
        }
    }
}

fn signature_name(identifier: &Tlv<'_>) -> String {
    let with = |kind: &str, digest: Option<Digest>| match digest {
        Some(digest) => format!("{kind}_{}", digest.name()),
        None => kind.to_owned(),
    };
    match SignatureAlgorithm::parse(identifier) {
        Some(SignatureAlgorithm::RsaPkcs1(digest)) => with("rsa_pkcs1", digest),
        Some(SignatureAlgorithm::Ecdsa(digest)) => with("ecdsa", digest),
        Some(SignatureAlgorithm::EcdsaPlain(digest)) => with("ecdsa_plain", Some(digest)),
        Some(SignatureAlgorithm::RsaPss { digest, mask_digest, salt_length }) => {
            format!("rsa_pss_{}_mgf1_{}_salt_{salt_length}", digest.name(), mask_digest.name())
        }
        None => {
            identifier.reader().expect(Tag::OID).map_or_else(|_| "malformed".to_owned(), |tlv| oid::dotted(tlv.value))
        }
    }
}

/// Hexadecimal, cut where no genuine value is longer.
fn short_hex(bytes: &[u8]) -> String {
    hex(bytes.get(..64).unwrap_or(bytes))
}

/// A version string; anything longer than one is none.
fn short_text(bytes: &[u8]) -> Option<String> {
    (bytes.len() <= 16 && bytes.iter().all(u8::is_ascii_alphanumeric))
        .then(|| bytes.iter().map(|byte| char::from(*byte)).collect())
}
