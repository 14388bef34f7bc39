//! Departures from ICAO Doc 9303 that real documents show.
//!
//! Each is named, reported whenever it was used, and accepted or refused by
//! [`Policy`](crate::Policy) as data: no code path asks which policy is running.

use serde::Serialize;

macro_rules! deviations {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One departure from the letter of the standards.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum Deviation { $($(#[$doc])* $name,)* }

        impl Deviation {
            /// Every deviation there is.
            pub const ALL: &'static [Deviation] = &[$(Deviation::$name,)*];

            /// The stable machine-readable name, the same as in the serialised report.
            pub fn name(self) -> &'static str {
                match self { $(Deviation::$name => $text,)* }
            }
        }
    };
}

deviations! {
    /// The SOD came without its application tag 77.
    SodWithoutWrapper = "sod_without_wrapper",
    /// BER indefinite lengths, non-minimal lengths or constructed strings where DER is required (New Zealand).
    SodNotDer = "sod_not_der",
    /// The signer's digest algorithm is not among those the SignedData lists (no issuer is known; unsigned, so that
    /// anybody can change it). Refused by default.
    DigestAlgorithmNotListed = "digest_algorithm_not_listed",
    /// eContentType is id-data in place of id-icao-mrtd-security-ldsSecurityObject (China).
    ContentTypeIdData = "content_type_id_data",
    /// eContentType is one of the object identifiers used before LDS 1.7: 1.3.27.1.1.1, 1.2.528.1.1006.1.20.1 (Netherlands).
    ContentTypeLegacy = "content_type_legacy",
    /// The signer identifier or issuer name equals the certificate's only after canonicalisation (Malaysia, Ukraine).
    NameEncodingDiffers = "name_encoding_differs",
    /// The signed attributes are not in DER order; the signature holds over them as received.
    SignedAttributesUnsorted = "signed_attributes_unsorted",
    /// The signature holds only over a re-sorted copy of the signed attributes.
    SignedAttributesResorted = "signed_attributes_resorted",
    /// The digest of the signature algorithm, which the signature holds with, is not the digest algorithm of the signer
    /// (Lithuania).
    SignatureDigestDiffers = "signature_digest_differs",
    /// The mask generation of an RSA-PSS signature uses another digest than the signature, as its parameters say.
    PssMaskDigestDiffers = "pss_mask_digest_differs",
    /// r or s of an ECDSA signature is not minimally encoded, or is encoded as a negative number.
    EcdsaIntegerNotMinimal = "ecdsa_integer_not_minimal",
    /// A document signer certificate without keyUsage.
    DscKeyUsageAbsent = "dsc_key_usage_absent",
    /// A document signer certificate without a country in its subject; the issuer's was used. Refused by default.
    DscCountryAbsent = "dsc_country_absent",
    /// The issuer was found by name although the authority key identifier names another key.
    AuthorityKeyIdentifierMismatch = "authority_key_identifier_mismatch",
    /// The issuer was found by its key and has another name than the signer's certificate says.
    IssuerNameDiffers = "issuer_name_differs",
    /// A country signing certificate without keyUsage.
    CscaKeyUsageAbsent = "csca_key_usage_absent",
    /// A country signing certificate without basicConstraints.
    CscaBasicConstraintsAbsent = "csca_basic_constraints_absent",
    /// The document signer certificate was issued outside the validity of its issuer. Refused by default.
    DscIssuedOutsideCscaValidity = "dsc_issued_outside_csca_validity",
    /// Signature algorithms inside and beside the signed part of a certificate differ in their parameters. Refused by default.
    CertificateAlgorithmParametersDiffer = "certificate_algorithm_parameters_differ",
    /// A certificate of the chain has a critical extension that is not understood (RFC 5280 section 4.2). Refused by default.
    CriticalExtensionUnknown = "critical_extension_unknown",
    /// The countries of certificate and machine readable zone are equal only by a known alias (such as GBD for GB).
    CountryAlias = "country_alias",
    /// An RSA modulus is encoded as a negative number, without the zero octet before it. Refused by default.
    RsaModulusNegative = "rsa_modulus_negative",
    /// The explicit EC parameters leave the cofactor out, so that not every number can be compared. Refused by default.
    EcCofactorAbsent = "ec_cofactor_absent",
    /// Length fields of the facial record differ from the data.
    FaceRecordLengthOff = "face_record_length_off",
    /// The image type that the facial record declares is not the type of the image (samples of reader vendors).
    FaceImageTypeDiffers = "face_image_type_differs",
    /// The size that the facial record declares is not the one in the image's own header (the specimens of BSI TR-03105-5).
    FaceImageSizeDiffers = "face_image_size_differs",
    /// A facial image behind the first cannot be read; it was left out.
    FaceImageUnreadable = "face_image_unreadable",
    /// Lengths of DG1 or of DG2's templates are not those of DER.
    DataGroupNotDer = "data_group_not_der",
    /// A document code other than ICAO Doc 9303-4, -5 and -6 provide for the format (travel documents of TD3 size that are no
    /// passports, residence permits).
    MrzDocumentCodeUnusual = "mrz_document_code_unusual",
    /// Digits in a name, a zone that begins its names with a filler, no nationality, or X for an unspecified sex.
    MrzFieldIrregular = "mrz_field_irregular",
    /// An active authentication ECDSA signature in DER in place of plain r and s (Portugal).
    ActiveAuthenticationDer = "active_authentication_der",
    /// The key of PACE with chip authentication mapping is in a trusted EF.CardSecurity of the same country and not in
    /// DG14 (Germany): nothing that is signed says that it is this document's.
    CardSecurityKeyNotInDg14 = "card_security_key_not_in_dg14",
    /// DG14 does not name the digest of ECDSA active authentication, or there is no DG14; the one that holds was taken (Portugal).
    ActiveAuthenticationDigestUnnamed = "active_authentication_digest_unnamed",
}

/// A set of deviations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DeviationSet(u64);

impl DeviationSet {
    /// The empty set.
    pub const EMPTY: DeviationSet = DeviationSet(0);

    /// The set of every deviation.
    pub fn all() -> DeviationSet {
        Deviation::ALL.iter().fold(DeviationSet::EMPTY, |set, deviation| set.with(*deviation))
    }

    /// This set and one deviation more.
    #[must_use]
    pub fn with(self, deviation: Deviation) -> DeviationSet {
        DeviationSet(self.0 | 1 << deviation as u8)
    }

    /// This set less one deviation.
    #[must_use]
    pub fn without(self, deviation: Deviation) -> DeviationSet {
        DeviationSet(self.0 & !(1 << deviation as u8))
    }

    /// Whether the deviation is in the set.
    pub fn contains(self, deviation: Deviation) -> bool {
        self.0 & (1 << deviation as u8) != 0
    }

    /// The deviations in both.
    #[must_use]
    pub fn union(self, other: DeviationSet) -> DeviationSet {
        DeviationSet(self.0 | other.0)
    }

    /// Adds a deviation in place.
    pub fn insert(&mut self, deviation: Deviation) {
        *self = self.with(deviation);
    }

    /// The deviations of the set, in the order of their declaration.
    pub fn iter(self) -> impl Iterator<Item = Deviation> {
        Deviation::ALL.iter().copied().filter(move |deviation| self.contains(*deviation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_serialised_ones_and_all_fit_the_set() {
        assert!(Deviation::ALL.len() <= 64);
        for deviation in Deviation::ALL {
            let json = serde_json::to_string(deviation).unwrap();
            assert_eq!(json, format!("\"{}\"", deviation.name()));
            assert!(DeviationSet::all().contains(*deviation));
            assert!(!DeviationSet::all().without(*deviation).contains(*deviation));
        }
    }
}
