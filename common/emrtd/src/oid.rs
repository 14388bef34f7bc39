//! Object identifiers, and how one is written for people.

use der::oid::ObjectIdentifier as Oid;

macro_rules! oids {
    ($($(#[$doc:meta])* $name:ident = $dotted:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: Oid = Oid::new_unwrap($dotted);)*
    };
}

oids! {
    // RFC 5652 and PKCS #9.
    ID_DATA = "1.2.840.113549.1.7.1";
    ID_SIGNED_DATA = "1.2.840.113549.1.7.2";
    CONTENT_TYPE = "1.2.840.113549.1.9.3";
    MESSAGE_DIGEST = "1.2.840.113549.1.9.4";
    SIGNING_TIME = "1.2.840.113549.1.9.5";

    // ICAO Doc 9303-10 and 9303-12; the two others are those of documents older than LDS 1.7.
    LDS_SECURITY_OBJECT = "2.23.136.1.1.1";
    CSCA_MASTER_LIST = "2.23.136.1.1.2";
    MASTER_LIST_SIGNING_KEY = "2.23.136.1.1.3";
    ACTIVE_AUTHENTICATION = "2.23.136.1.1.5";
    EF_DIR = "2.23.136.1.1.13";
    /// BSI TR-03110-3: the content of EF.CardSecurity.
    SECURITY_OBJECT = "0.4.0.127.0.7.3.2.1";
    ICAO_SECURITY = "2.23.136.1.1";
    LDS_SECURITY_OBJECT_ICAO_OLD = "1.3.27.1.1.1";
    LDS_SECURITY_OBJECT_NL_OLD = "1.2.528.1.1006.1.20.1";

    // Digests.
    SHA1 = "1.3.14.3.2.26";
    SHA224 = "2.16.840.1.101.3.4.2.4";
    SHA256 = "2.16.840.1.101.3.4.2.1";
    SHA384 = "2.16.840.1.101.3.4.2.2";
    SHA512 = "2.16.840.1.101.3.4.2.3";

    // RSA (RFC 8017).
    RSA_ENCRYPTION = "1.2.840.113549.1.1.1";
    SHA1_WITH_RSA = "1.2.840.113549.1.1.5";
    MGF1 = "1.2.840.113549.1.1.8";
    RSASSA_PSS = "1.2.840.113549.1.1.10";
    SHA256_WITH_RSA = "1.2.840.113549.1.1.11";
    SHA384_WITH_RSA = "1.2.840.113549.1.1.12";
    SHA512_WITH_RSA = "1.2.840.113549.1.1.13";
    SHA224_WITH_RSA = "1.2.840.113549.1.1.14";
    /// OIW sha1WithRSASignature, in certificates of the first years.
    SHA1_WITH_RSA_OIW = "1.3.14.3.2.29";

    // ECDSA (RFC 5758) and BSI TR-03111 plain signatures.
    EC_PUBLIC_KEY = "1.2.840.10045.2.1";
    PRIME_FIELD = "1.2.840.10045.1.1";
    ECDSA_SHA1 = "1.2.840.10045.4.1";
    ECDSA_SPECIFIED = "1.2.840.10045.4.3";
    ECDSA_SHA224 = "1.2.840.10045.4.3.1";
    ECDSA_SHA256 = "1.2.840.10045.4.3.2";
    ECDSA_SHA384 = "1.2.840.10045.4.3.3";
    ECDSA_SHA512 = "1.2.840.10045.4.3.4";
    ECDSA_PLAIN_SHA1 = "0.4.0.127.0.7.1.1.4.1.1";
    ECDSA_PLAIN_SHA224 = "0.4.0.127.0.7.1.1.4.1.2";
    ECDSA_PLAIN_SHA256 = "0.4.0.127.0.7.1.1.4.1.3";
    ECDSA_PLAIN_SHA384 = "0.4.0.127.0.7.1.1.4.1.4";
    ECDSA_PLAIN_SHA512 = "0.4.0.127.0.7.1.1.4.1.5";

    // Diffie-Hellman: PKCS #3, ANSI X9.42 (RFC 3279), and the numbered domains of BSI TR-03110-3.
    DH_KEY_AGREEMENT = "1.2.840.113549.1.3.1";
    DH_PUBLIC_NUMBER = "1.2.840.10046.2.1";
    STANDARDIZED_DOMAIN_PARAMETERS = "0.4.0.127.0.7.1.2";

    // X.509 (RFC 5280).
    COMMON_NAME = "2.5.4.3";
    SERIAL_NUMBER = "2.5.4.5";
    COUNTRY_NAME = "2.5.4.6";
    LOCALITY_NAME = "2.5.4.7";
    STATE_OR_PROVINCE_NAME = "2.5.4.8";
    ORGANIZATION_NAME = "2.5.4.10";
    ORGANIZATIONAL_UNIT_NAME = "2.5.4.11";
    EMAIL_ADDRESS = "1.2.840.113549.1.9.1";
    DOMAIN_COMPONENT = "0.9.2342.19200300.100.1.25";
    SUBJECT_KEY_IDENTIFIER = "2.5.29.14";
    KEY_USAGE = "2.5.29.15";
    PRIVATE_KEY_USAGE_PERIOD = "2.5.29.16";
    SUBJECT_ALT_NAME = "2.5.29.17";
    CERTIFICATE_POLICIES = "2.5.29.32";
    NAME_CHANGE = "2.23.136.1.1.6.1";
    DOCUMENT_TYPE_LIST = "2.23.136.1.1.6.2";
    NETSCAPE_CERTIFICATE_TYPE = "2.16.840.1.113730.1.1";
    ISSUER_ALT_NAME = "2.5.29.18";
    BASIC_CONSTRAINTS = "2.5.29.19";
    CRL_NUMBER = "2.5.29.20";
    CRL_REASON = "2.5.29.21";
    HOLD_INSTRUCTION_CODE = "2.5.29.23";
    INVALIDITY_DATE = "2.5.29.24";
    CRL_DISTRIBUTION_POINTS = "2.5.29.31";
    CERTIFICATE_ISSUER = "2.5.29.29";
    DELTA_CRL_INDICATOR = "2.5.29.27";
    ISSUING_DISTRIBUTION_POINT = "2.5.29.28";
    AUTHORITY_KEY_IDENTIFIER = "2.5.29.35";
    EXTENDED_KEY_USAGE = "2.5.29.37";
}

/// An identifier in dotted decimal; one that is not well formed as `0x` and its octets.
pub(crate) fn dotted(identifier: &[u8]) -> String {
    match Oid::from_bytes(identifier) {
        Ok(known) => known.to_string(),
        Err(_) => format!("0x{}", crate::name::hex(identifier)),
    }
}
