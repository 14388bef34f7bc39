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
    /// The signer's digest algorithm is not among those the SignedData lists.
    DigestAlgorithmNotListed = "digest_algorithm_not_listed",
    /// eContentType is id-data in place of id-icao-mrtd-security-ldsSecurityObject (China).
    ContentTypeIdData = "content_type_id_data",
    /// eContentType is one of the object identifiers used before LDS 1.7.
    ContentTypeLegacy = "content_type_legacy",
    /// The signer identifier or issuer name equals the certificate's only after canonicalisation (Malaysia, Ukraine).
    NameEncodingDiffers = "name_encoding_differs",
    /// The signed attributes are not in DER order; the signature holds over them as received.
    SignedAttributesUnsorted = "signed_attributes_unsorted",
    /// The signature holds only over a re-sorted copy of the signed attributes.
    SignedAttributesResorted = "signed_attributes_resorted",
    /// The digest of the signature algorithm is not the digest algorithm of the signer.
    SignatureDigestDiffers = "signature_digest_differs",
    /// The mask generation of an RSA-PSS signature uses another digest than the signature.
    PssMaskDigestDiffers = "pss_mask_digest_differs",
    /// r or s of an ECDSA signature is not minimally encoded, or is encoded as a negative number.
    EcdsaIntegerNotMinimal = "ecdsa_integer_not_minimal",
    /// A document signer certificate without keyUsage.
    DscKeyUsageAbsent = "dsc_key_usage_absent",
    /// A document signer certificate without a country in its subject; the issuer's was used.
    DscCountryAbsent = "dsc_country_absent",
    /// The issuer was found by name although the authority key identifier names another key.
    AuthorityKeyIdentifierMismatch = "authority_key_identifier_mismatch",
    /// The issuer was found by its key and has another name than the signer's certificate says.
    IssuerNameDiffers = "issuer_name_differs",
    /// A country signing certificate without keyUsage.
    CscaKeyUsageAbsent = "csca_key_usage_absent",
    /// A country signing certificate without basicConstraints.
    CscaBasicConstraintsAbsent = "csca_basic_constraints_absent",
    /// The document signer certificate was issued outside the validity of its issuer.
    DscIssuedOutsideCscaValidity = "dsc_issued_outside_csca_validity",
    /// Signature algorithms inside and beside the signed part of a certificate differ in their parameters.
    CertificateAlgorithmParametersDiffer = "certificate_algorithm_parameters_differ",
    /// The countries of certificate and machine readable zone are equal only by a known alias (such as GBD for GB).
    CountryAlias = "country_alias",
    /// An RSA modulus is encoded as a negative number, without the zero octet before it.
    RsaModulusNegative = "rsa_modulus_negative",
    /// The explicit EC parameters leave the cofactor out.
    EcCofactorAbsent = "ec_cofactor_absent",
    /// Length fields of the facial record differ from the data.
    FaceRecordLengthOff = "face_record_length_off",
    /// The image type that the facial record declares is not the type of the image.
    FaceImageTypeDiffers = "face_image_type_differs",
    /// An active authentication ECDSA signature in DER in place of plain r and s (Portugal).
    ActiveAuthenticationDer = "active_authentication_der",
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
