//! Reasons in sentences, and what to try next.

use proofmill_emrtd::Reason;

use super::context::Context;

/// What a reason means, where its name says too little to somebody who does not know the standards by heart.
pub fn explain(reason: Reason, context: &Context) -> Option<String> {
    use Reason::*;
    let text = match reason {
        PartMalformed(part) => return Some(format!("{part} is not one TLV element with the tag of its file")),
        PartTrailingData(part) => return Some(format!("bytes follow {part}'s TLV element")),
        PartTooLarge(part) => return Some(format!("{part} is larger than any genuine one")),
        SodMalformed => "not a CMS SignedData (RFC 5652) as ICAO Doc 9303-10 has it",
        SodVersionUnsupported => "the SignedData's version is not 3 (ICAO Doc 9303-10 section 4.6.2.2)",
        SodContentTypeUnexpected => "the signed content is not declared as an LDS security object",
        LdsSecurityObjectMalformed => "the LDS security object is malformed or of an unknown version",
        ContentTypeMismatch => "the contentType attribute is not the content's type",
        MessageDigestMismatch => {
            "the messageDigest attribute is not the digest of the content: the hashes were changed after signing"
        }
        SignerCertificateNotFound => "no certificate, embedded or given with --trust, fits the signer identifier",
        UnknownCurve => "the signer's curve parameters are not exactly those of a known curve (CVE-2020-0601)",
        SignatureInvalid => "the signature does not hold under the signer's certificate",
        ChainNotTrusted if !context.has_trust => {
            "nothing is trusted: give country signing certificates, or a master list, with --trust"
        }
        ChainNotTrusted => "no country signing certificate given with --trust issued the signer's certificate",
        SignerCertificateUsage => "the signer's certificate may not sign documents: another usage or role",
        SignedOutsideValidity => "signed outside the validity of the signer's certificate",
        SigningTimeImplausible => "the signing time is after the moment of verification or after the document's expiry",
        CertificateCountryMismatch => "signer and country signing certificate name different countries",
        IssuingStateMismatch => "the signer's country is not the issuing state of the machine readable zone",
        CertificateRevoked => "a revocation list names the signer or its issuer",
        RevocationUnknown => {
            "the policy demands a current revocation list of the signer's issuer; give one with --trust"
        }
        DataGroupHashMismatch(part) => return Some(format!("{part} is not the one that was signed")),
        DataGroupMissing(part) => return Some(format!("the SOD lists {part}, and it was not supplied")),
        DataGroupNotDeclared(part) => return Some(format!("{part} was supplied, and the SOD does not list it")),
        MrzCheckDigit(_) => "a check digit of the machine readable zone is wrong",
        FaceRecordMalformed => {
            "neither a biometric information template nor a facial record (ISO/IEC 19794-5, 39794-5)"
        }
        PortraitFormatUnsupported => "the image is neither JPEG nor JPEG 2000",
        ActiveAuthenticationUnbound => "the SOD protects no DG15 for the chip's answer: its key may be anybody's",
        ActiveAuthenticationInvalid => "the answer does not verify: another challenge, another key, or another digest",
        ChipAuthenticationUnbound => "the SOD protects no DG14 for the transcript: its key may be anybody's",
        ChipAuthenticationInvalid => "the chip's response does not verify under keys that DG14's key leads to",
        ChipAuthenticationTerminalKeyInvalid => "TermPri is out of range, or TermPubKey is not its public key",
        ChipAuthenticationUnsupported => "DG14 has no key and protocol of the transcript's kind that can be verified",
        DeviationRefused(_) => "a departure from the standards that this policy refuses",
        _ => return None,
    };
    Some(text.to_owned())
}
