//! What a store of trust holds.

use std::fmt;

use proofmill_emrtd::{CertificateInfo, TrustError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A country signing certificate (ICAO Doc 9303-12), link certificates among them.
    Csca,
    /// A document signer certificate.
    Dsc,
    /// A certificate revocation list.
    Crl,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 3] = [Kind::Csca, Kind::Dsc, Kind::Crl];

    /// As in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Csca => "csca",
            Kind::Dsc => "dsc",
            Kind::Crl => "crl",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The SHA-256 of an item's DER: its name.
pub type Fingerprint = [u8; 32];

/// The SHA-256 of some DER.
pub fn fingerprint(der: &[u8]) -> Fingerprint {
    Sha256::digest(der).into()
}

/// Where an item came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The file.
    pub source: String,
    /// The list within the file: a master list and the anchor that vouches for it, or an entry's distinguished name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// When, RFC 3339 in UTC.
    pub imported_at: String,
}

/// What a certificate is by its own words: an authority by basicConstraints (RFC 5280 section 4.2.1.9) or, in old
/// certificates that lack them, by keyUsage or by having issued itself.
///
/// # Errors
/// It does not parse.
pub fn kind_of_certificate(der: &[u8]) -> Result<Kind, TrustError> {
    let certificate = CertificateInfo::parse(der)?;
    let authority = certificate.certification_authority.unwrap_or_else(|| {
        certificate.self_issued || certificate.key_usage.is_some_and(|usage| usage.contains(&"keyCertSign"))
    });
    Ok(if authority { Kind::Csca } else { Kind::Dsc })
}
