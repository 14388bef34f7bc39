//! The verdict: every gate with its result, one machine-readable reason, every deviation used.
//!
//! Nothing here is personal data: no name, number, date, country or bytes of the document.

use serde::Serialize;

use crate::{
    deviation::Deviation,
    evidence::{Part, Terminal, UnixTime},
    mrz::Mrz,
    portrait::Portrait,
};

/// Everything [`verify`](crate::verify) learnt. The report may be stored and shown; the
/// machine readable zone and the portrait are personal data and borrow from, or are zeroised
/// like, the evidence they came from.
pub struct Verification<'a> {
    /// Gates, reason and deviations; free of personal data.
    pub report: Report,
    /// The holder's data; present only when passive authentication and the content gate passed.
    pub mrz: Option<Mrz>,
    /// The chip portrait; present only when passive authentication and the content gate passed.
    pub portrait: Option<Portrait<'a>>,
    /// Facial images behind the first, in the order of DG2; present only with the portrait.
    pub further_portraits: Vec<Portrait<'a>>,
    /// Who signed the document, to be judged again later by [`verify_again`](crate::verify_again); present only when
    /// passive authentication passed.
    pub signer: Option<DocumentSigner>,
}

/// Who signed a document, and when he says that he did. Of the issuing state's making: nothing in it is the holder's but
/// the day of issue.
#[derive(Clone, PartialEq, Eq)]
pub struct DocumentSigner {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// The signed attribute, where the SOD has one.
    pub signed_at: Option<UnixTime>,
}

/// The outcome of one verification, serialisable, without personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The result of every gate.
    pub gates: Gates,
    /// What the revocation lists say about the signer.
    pub revocation_status: RevocationStatus,
    /// Deviations from the standards that were met, accepted or not.
    pub deviations: Vec<Deviation>,
    /// Why the first failing gate failed; `None` when none failed.
    pub reason: Option<Reason>,
    /// How the time of signing was determined.
    pub signing_time: SigningTimeSource,
    /// The signer certificate at the time of verification, which does not decide.
    pub signer_status: Option<CertificateStatus>,
    /// Whether the document was past its expiry date; the caller's policy decides what follows.
    pub document_expired: Option<bool>,
    /// Version of the LDS security object (0 or 1).
    pub lds_version: Option<u8>,
    /// Digest algorithm of the data group hashes.
    pub digest_algorithm: Option<&'static str>,
    /// Signature algorithm and key of the SOD, such as `rsa_pkcs1_sha256/rsa2048`.
    pub signature_algorithm: Option<String>,
    /// Who held the ephemeral key of the chip authentication, when a transcript was supplied.
    pub chip_authentication_terminal: Option<Terminal>,
}

impl Report {
    /// Whether no gate failed.
    pub fn is_valid(&self) -> bool {
        self.reason.is_none()
    }

    /// The first gate, in gate order, that failed.
    pub fn failed_gate(&self) -> Option<Gate> {
        self.reason.as_ref().map(Reason::gate)
    }
}

/// The gates in the order in which they decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Sizes and outer TLV of every part.
    EvidenceFormat,
    /// SOD signature, chain, revocation and data group hashes.
    PassiveAuthentication,
    /// Content of DG1 and DG2.
    DocumentData,
    /// Active authentication.
    ActiveAuthentication,
    /// Chip authentication.
    ChipAuthentication,
}

/// The result of one gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateResult {
    /// Checked, and it holds.
    Passed,
    /// Checked, and it does not hold.
    Failed,
    /// The document does not have what this gate checks.
    NotApplicable,
    /// Not checked, because an earlier gate failed or nothing was supplied to check.
    NotRun,
}

/// All gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gates {
    /// Sizes and outer TLV.
    pub evidence_format: GateResult,
    /// Passive authentication with its parts.
    pub passive_authentication: PassiveAuthentication,
    /// DG1 and DG2 content.
    pub document_data: GateResult,
    /// Active authentication.
    pub active_authentication: GateResult,
    /// Chip authentication.
    pub chip_authentication: GateResult,
}

/// Passive authentication (ICAO Doc 9303-11 section 5.1) and its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PassiveAuthentication {
    /// All parts together.
    pub result: GateResult,
    /// The SOD is well formed and its signature holds under the signer's key.
    pub signature: GateResult,
    /// The signer chains to a trusted country signing certificate, at signing time, for the right country.
    pub chain: GateResult,
    /// The signer is not revoked. `NotRun` when no usable list exists.
    pub revocation: GateResult,
    /// The supplied data groups are those that were signed.
    pub data_group_hashes: GateResult,
}

impl Gates {
    pub(crate) fn not_run() -> Gates {
        Gates {
            evidence_format: GateResult::NotRun,
            passive_authentication: PassiveAuthentication {
                result: GateResult::NotRun,
                signature: GateResult::NotRun,
                chain: GateResult::NotRun,
                revocation: GateResult::NotRun,
                data_group_hashes: GateResult::NotRun,
            },
            document_data: GateResult::NotRun,
            active_authentication: GateResult::NotRun,
            chip_authentication: GateResult::NotRun,
        }
    }
}

/// What revocation lists say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationStatus {
    /// A list that is current at the verification time does not name the certificates.
    VerifiedNotRevoked,
    /// A list, current or not, names a certificate of the chain.
    Revoked,
    /// No list, or none that is current.
    #[serde(rename = "revocation_unknown")]
    Unknown,
}

/// How the signing time was determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningTimeSource {
    /// The signed signingTime attribute.
    SignedAttribute,
    /// No attribute: the window in which a document with this expiry can have been signed.
    ExpiryWindow,
    /// Neither an attribute nor a DG1.
    NotDetermined,
}

/// A certificate's validity at the verification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateStatus {
    /// Within its validity.
    Valid,
    /// Past it.
    Expired,
    /// Before it.
    NotYetValid,
}

impl CertificateStatus {
    /// At a time, of a certificate with this notBefore and notAfter; both belong to its validity.
    pub(crate) fn of(not_before: UnixTime, not_after: UnixTime, at: UnixTime) -> CertificateStatus {
        if at < not_before {
            CertificateStatus::NotYetValid
        } else if not_after < at {
            CertificateStatus::Expired
        } else {
            CertificateStatus::Valid
        }
    }
}

/// Why a gate failed. Displayed and serialised as a stable machine-readable string, such as
/// `signature_invalid` or `data_group_hash_mismatch(dg1)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    // -- evidence format
    /// A part is larger than any genuine one.
    PartTooLarge(Part),
    /// A part is not one TLV element with the tag of its file.
    PartMalformed(Part),
    /// Bytes follow the part's TLV element.
    PartTrailingData(Part),

    // -- passive authentication: structure and signature
    /// The SOD is not a CMS SignedData as RFC 5652 and ICAO Doc 9303-10 require.
    SodMalformed,
    /// Bytes follow the SignedData.
    SodTrailingData,
    /// A SignedData version other than 3.
    SodVersionUnsupported,
    /// The signed content is not an LDS security object.
    SodContentTypeUnexpected,
    /// The LDS security object is malformed or of an unknown version.
    LdsSecurityObjectMalformed,
    /// No SignerInfo, or more than there may be.
    SignerInfoCount,
    /// A SignerInfo version that does not fit its signer identifier.
    SignerInfoVersion,
    /// Signed attributes are absent, repeated or malformed.
    SignedAttributesMalformed,
    /// The contentType attribute is not the content's type.
    ContentTypeMismatch,
    /// The messageDigest attribute is not the digest of the content.
    MessageDigestMismatch,
    /// A digest algorithm that is not in use for travel documents.
    DigestAlgorithmUnsupported,
    /// A signature algorithm, or parameters of one, that are not in use for travel documents.
    SignatureAlgorithmUnsupported,
    /// No certificate, embedded or stored, fits the signer identifier.
    SignerCertificateNotFound,
    /// The signer's key cannot be used: malformed, out of range, or not on its curve.
    SignerKeyInvalid,
    /// Explicit curve parameters that are not exactly those of a known curve (CVE-2020-0601).
    UnknownCurve,
    /// The signature does not hold.
    SignatureInvalid,
    /// A deviation was met that the policy refuses.
    DeviationRefused(Deviation),

    // -- passive authentication: chain and revocation
    /// No trusted country signing certificate issued the signer's certificate.
    ChainNotTrusted,
    /// The signer's certificate may not sign documents.
    SignerCertificateUsage,
    /// The document was signed outside the validity of the signer's certificate.
    SignedOutsideValidity,
    /// The signing time is after the verification time or the document's expiry.
    SigningTimeImplausible,
    /// Countries of signer and country signing certificate differ.
    CertificateCountryMismatch,
    /// Country of the signer and issuing state of the machine readable zone differ.
    IssuingStateMismatch,
    /// A revocation list names the signer or its issuer.
    CertificateRevoked,
    /// The policy demands a current revocation list and there is none.
    RevocationUnknown,

    // -- passive authentication: data groups
    /// A data group's bytes are not those that were signed.
    DataGroupHashMismatch(Part),
    /// The SOD lists a data group that was not supplied.
    DataGroupMissing(Part),
    /// A data group was supplied that the SOD does not list.
    DataGroupNotDeclared(Part),

    // -- document data
    /// DG1 holds no machine readable zone of a known format.
    MrzMalformed,
    /// A field of the machine readable zone holds what it cannot hold.
    MrzFieldMalformed(MrzField),
    /// A check digit of the machine readable zone is wrong.
    MrzCheckDigit(MrzField),
    /// A date of the machine readable zone does not exist.
    MrzDateImpossible(MrzField),
    /// DG2 is not a biometric information template with a facial record.
    FaceRecordMalformed,
    /// The facial record holds no image.
    PortraitAbsent,
    /// The image is neither JPEG nor JPEG 2000.
    PortraitFormatUnsupported,
    /// The image's own header is cut short or says no size.
    PortraitHeaderMalformed,
    /// The image's own header declares more pixels than a portrait has.
    PortraitTooLarge,

    // -- active authentication
    /// The document can prove itself and no answer was supplied.
    ActiveAuthenticationMissing,
    /// An answer was supplied, and the SOD protects no key for it.
    ActiveAuthenticationUnbound,
    /// The challenge is not 8 bytes.
    ActiveAuthenticationChallenge,
    /// The key in DG15 cannot be used.
    ActiveAuthenticationKeyInvalid,
    /// DG14 names no known signature algorithm for ECDSA, or cannot be read.
    ActiveAuthenticationAlgorithmUnknown,
    /// The answer does not verify.
    ActiveAuthenticationInvalid,

    // -- chip authentication
    /// A transcript was supplied, and the SOD protects no DG14 for it; or none of EF.CardSecurity's
    /// keys is in that DG14, so that they may be another chip's.
    ChipAuthenticationUnbound,
    /// The transcript's response is not one under secure messaging, or its counter not one of a
    /// response; of a server's terminal only the first response counts. Of a token: its length or
    /// the nonce's. Of the chip authentication mapping: the key is not on the curve, or the data are
    /// zero or not below its order.
    ChipAuthenticationTranscriptMalformed,
    /// The chip authentication infos of DG14 are malformed.
    ChipAuthenticationInfoMalformed,
    /// DG14 has no key and protocol of the transcript's kind that can be verified.
    ChipAuthenticationUnsupported,
    /// The chip's key is on no known curve and in no known group.
    ChipAuthenticationGroupUnknown,
    /// The chip's key cannot be used: malformed, not on its curve, or not of the right order.
    ChipAuthenticationKeyInvalid,
    /// The terminal's private key is absent or out of range, or its public key not that key's.
    ChipAuthenticationTerminalKeyInvalid,
    /// The chip's response, token or data do not verify.
    ChipAuthenticationInvalid,
    /// PACE with chip authentication mapping was supplied without EF.CardSecurity.
    CardSecurityMissing,
    /// EF.CardSecurity does not hold.
    CardSecurity(CardSecurityProblem),
}

impl Reason {
    /// The gate that fails for this reason.
    pub fn gate(&self) -> Gate {
        use Reason::*;
        match self {
            PartTooLarge(_) | PartMalformed(_) | PartTrailingData(_) => Gate::EvidenceFormat,
            SodMalformed
            | SodTrailingData
            | SodVersionUnsupported
            | SodContentTypeUnexpected
            | LdsSecurityObjectMalformed
            | SignerInfoCount
            | SignerInfoVersion
            | SignedAttributesMalformed
            | ContentTypeMismatch
            | MessageDigestMismatch
            | DigestAlgorithmUnsupported
            | SignatureAlgorithmUnsupported
            | SignerCertificateNotFound
            | SignerKeyInvalid
            | UnknownCurve
            | SignatureInvalid
            | ChainNotTrusted
            | SignerCertificateUsage
            | SignedOutsideValidity
            | SigningTimeImplausible
            | CertificateCountryMismatch
            | IssuingStateMismatch
            | CertificateRevoked
            | RevocationUnknown
            | DataGroupHashMismatch(_)
            | DataGroupMissing(_)
            | DataGroupNotDeclared(_) => Gate::PassiveAuthentication,
            MrzMalformed
            | MrzFieldMalformed(_)
            | MrzCheckDigit(_)
            | MrzDateImpossible(_)
            | FaceRecordMalformed
            | PortraitAbsent
            | PortraitFormatUnsupported
            | PortraitHeaderMalformed
            | PortraitTooLarge => Gate::DocumentData,
            ActiveAuthenticationMissing
            | ActiveAuthenticationUnbound
            | ActiveAuthenticationChallenge
            | ActiveAuthenticationKeyInvalid
            | ActiveAuthenticationAlgorithmUnknown
            | ActiveAuthenticationInvalid => Gate::ActiveAuthentication,
            ChipAuthenticationUnbound
            | ChipAuthenticationTranscriptMalformed
            | ChipAuthenticationInfoMalformed
            | ChipAuthenticationUnsupported
            | ChipAuthenticationGroupUnknown
            | ChipAuthenticationKeyInvalid
            | ChipAuthenticationTerminalKeyInvalid
            | ChipAuthenticationInvalid
            | CardSecurityMissing
            | CardSecurity(_) => Gate::ChipAuthentication,
            DeviationRefused(deviation) => match deviation {
                Deviation::FaceRecordLengthOff
                | Deviation::FaceImageTypeDiffers
                | Deviation::FaceImageSizeDiffers
                | Deviation::FaceImageUnreadable
                | Deviation::MrzDocumentCodeUnusual
                | Deviation::MrzFieldIrregular
                | Deviation::DataGroupNotDer => Gate::DocumentData,
                Deviation::CardSecurityKeyNotInDg14 => Gate::ChipAuthentication,
                Deviation::ActiveAuthenticationDer | Deviation::ActiveAuthenticationDigestUnnamed => {
                    Gate::ActiveAuthentication
                }
                _ => Gate::PassiveAuthentication,
            },
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The names of the variants, in snake case.
        let name = format!("{self:?}");
        let mut after_word = false;
        for character in name.chars() {
            if character.is_ascii_uppercase() && after_word {
                f.write_str("_")?;
            }
            after_word = character.is_ascii_alphanumeric();
            write!(f, "{}", character.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why EF.CardSecurity does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CardSecurityProblem {
    /// Not a CMS SignedData as RFC 5652 and BSI TR-03110-3 section A.1.2.5 require.
    Malformed,
    /// Bytes follow the SignedData.
    TrailingData,
    /// A SignedData version other than 3.
    VersionUnsupported,
    /// The signed content is not of type id-SecurityObject.
    ContentTypeUnexpected,
    /// The signed content is not a set of SecurityInfos.
    SecurityInfosMalformed,
    /// The contentType or messageDigest attribute is not the content's.
    ContentMismatch,
    /// A digest or signature algorithm that is not in use for travel documents.
    AlgorithmUnsupported,
    /// No certificate, embedded or stored, fits the signer identifier.
    SignerCertificateNotFound,
    /// The signer's key cannot be used.
    SignerKeyInvalid,
    /// The signature does not hold.
    SignatureInvalid,
    /// The signer does not chain to a trusted country signing certificate, or may not sign.
    ChainNotTrusted,
    /// It was signed outside the validity of the signer's certificate.
    SignedOutsideValidity,
    /// The signing time is after the verification time or the document's expiry.
    SigningTimeImplausible,
    /// Its signer's country is not that of the SOD's signer.
    CountryMismatch,
    /// A revocation list names the signer or its issuer.
    CertificateRevoked,
    /// The policy demands a current revocation list and there is none.
    RevocationUnknown,
    /// A deviation was met that the policy refuses.
    DeviationRefused,
}

/// A field of the machine readable zone, to name what is wrong without quoting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MrzField {
    /// Document code.
    DocumentCode,
    /// Issuing state or organisation.
    IssuingState,
    /// Primary and secondary identifier.
    Names,
    /// Nationality.
    Nationality,
    /// Sex.
    Sex,
    /// Document number.
    DocumentNumber,
    /// Date of birth.
    DateOfBirth,
    /// Date of expiry.
    DateOfExpiry,
    /// Personal number or other optional data (TD3).
    OptionalData,
    /// The composite check digit.
    Composite,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_written_in_snake_case() {
        for (reason, text) in [
            (Reason::SignatureInvalid, "signature_invalid"),
            (Reason::DataGroupHashMismatch(Part::Dg1), "data_group_hash_mismatch(dg1)"),
            (Reason::MrzCheckDigit(MrzField::DateOfBirth), "mrz_check_digit(date_of_birth)"),
            (Reason::DeviationRefused(Deviation::SodNotDer), "deviation_refused(sod_not_der)"),
        ] {
            assert_eq!(reason.to_string(), text);
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{text}\""));
        }
    }
}
