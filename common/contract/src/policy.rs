//! What an organisation decides about borderline documents.

use serde::{Deserialize, Serialize};

/// Whether something borderline is let through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// It rejects the attempt.
    #[default]
    Reject,
    /// It is reported and let through.
    Accept,
}

/// Whether an optional check must be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// Its absence is fine; what is supplied is still verified.
    #[default]
    Off,
    /// Its absence rejects the attempt where the document declares it.
    Required,
}

/// An organisation's policy. The default is the careful one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrganisationPolicy {
    /// Documents past their date of expiry.
    pub expired_documents: Tolerance,
    /// Documents whose signer's revocation status cannot be known.
    pub unknown_revocation: Tolerance,
    /// Chip authentication where DG14 declares it. A transcript of the integrator's own terminal meets the demand: it is
    /// there and it is verified. That it is no proof against cloning is what `chip_authentication_terminal` reports.
    pub chip_authentication: Demand,
    /// The reader's signed statement.
    pub reader_attestation: Demand,
}

impl OrganisationPolicy {
    /// Sandbox organisations work with specimen documents, for which no revocation list exists.
    pub fn sandbox() -> Self {
        Self { unknown_revocation: Tolerance::Accept, ..Self::default() }
    }
}
