//! What a verifier accepts, as data.

use crate::deviation::{Deviation, DeviationSet};

/// Which deviations are fatal and which unknowns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Deviations that are reported but do not fail a gate.
    pub accepted: DeviationSet,
    /// Try the signature over a DER re-sorted copy of the signed attributes when it does not hold as received.
    pub retry_resorted_attributes: bool,
    /// Treat a revocation status of unknown as a failed gate.
    pub unknown_revocation_fails: bool,
    /// Treat data groups that are absent in an inspection as a failed gate.
    pub absent_data_groups_fail: bool,
}

/// What the default refuses: no issuer is known to need it, and the standards do not leave it open. None of the 937
/// certificates of the German list of 2024 and the Dutch one of 2026 shows any of these.
const REFUSED_BY_DEFAULT: [Deviation; 6] = [
    Deviation::SignedAttributesResorted,
    // RFC 5652 section 5.1 lets a verifier refuse it.
    Deviation::DigestAlgorithmNotListed,
    Deviation::DscCountryAbsent,
    Deviation::CertificateAlgorithmParametersDiffer,
    Deviation::CriticalExtensionUnknown,
    // Explicit parameters are to be compared in every number.
    Deviation::EcCofactorAbsent,
];

impl Default for Policy {
    /// Accepts and reports the deviations that genuine documents show.
    fn default() -> Policy {
        let refused = REFUSED_BY_DEFAULT.into_iter();
        Policy {
            accepted: refused.fold(DeviationSet::all(), DeviationSet::without),
            retry_resorted_attributes: false,
            unknown_revocation_fails: false,
            absent_data_groups_fail: false,
        }
    }
}

impl Policy {
    /// Refuses every deviation and every unknown.
    pub fn strict() -> Policy {
        Policy {
            accepted: DeviationSet::EMPTY,
            retry_resorted_attributes: false,
            unknown_revocation_fails: true,
            absent_data_groups_fail: true,
        }
    }

    /// Accepts and reports every deviation there is, and tries signed attributes that only verify re-sorted. Checks are
    /// not weaker: every signature, chain and hash must hold.
    pub fn lenient() -> Policy {
        Policy { accepted: DeviationSet::all(), retry_resorted_attributes: true, ..Policy::default() }
    }
}
