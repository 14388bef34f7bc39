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

impl Default for Policy {
    /// Accepts and reports every known deviation of real documents.
    fn default() -> Policy {
        Policy {
            accepted: DeviationSet::all().without(Deviation::SignedAttributesResorted),
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

    /// The default, and signed attributes that only verify re-sorted.
    pub fn lenient() -> Policy {
        Policy { accepted: DeviationSet::all(), retry_resorted_attributes: true, ..Policy::default() }
    }
}
