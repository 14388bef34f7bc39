//! What an attempt reports of its gates: results only, no score, no document data.

use serde::{Deserialize, Serialize};

/// The result of one gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// It held.
    Passed,
    /// It did not hold.
    Failed,
    /// The document or the policy has no such check.
    NotApplicable,
    /// An earlier gate decided, or its input was not given.
    #[default]
    NotRun,
}

/// What the revocation lists said of the document signer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationStatus {
    /// A current list was verified and does not name it.
    VerifiedNotRevoked,
    /// A verified list names it.
    Revoked,
    /// No current list could be verified.
    #[default]
    RevocationUnknown,
}

/// Whose terminal ran chip authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Terminal {
    /// Ours: the ephemeral key never left the server, so this is anti-cloning proof.
    Server,
    /// The integrator's: whoever holds the terminal key could forge the transcript.
    Integrator,
}

/// What a detector of presentation attacks (ISO/IEC 30107-3) said of the selfie frames, if there was one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresentationAttackDetection {
    /// Nobody looked.
    #[default]
    NotPerformed,
    /// It found a bona fide presentation.
    Passed,
    /// It found an attack.
    Failed,
}

/// An attempt's gates, in the order in which they decide.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Checks {
    /// Sizes and outer TLV.
    pub evidence_format: Gate,
    /// SOD signature, chain, revocation, data-group hashes (ICAO 9303-11 §5.1).
    pub passive_authentication: Gate,
    /// DG1 and DG2 content, dates, expiry, portrait.
    pub document_data: Gate,
    /// ICAO 9303-11 §6.1.
    pub active_authentication: Gate,
    /// ICAO 9303-11 §6.2.
    pub chip_authentication: Gate,
    /// The reader's signed statement.
    pub reader_attestation: Gate,
    /// Selfie quality, single face, replay guard.
    pub liveness: Gate,
    /// Portrait against selfie.
    pub face_match: Gate,
    /// Whether the frames were judged to be of a living person.
    #[serde(default)]
    pub presentation_attack_detection: PresentationAttackDetection,
    /// Of the document signer.
    pub revocation_status: RevocationStatus,
    /// Whose terminal ran chip authentication, if any did.
    pub chip_authentication_terminal: Option<Terminal>,
    /// Machine-readable reason of the failing gate, such as `data_group_hash_mismatch`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Accepted deviations from the standards, such as `id_data_content_type`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub deviations: Vec<String>,
    /// Which model pack and operating point judged the faces.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub face_model: Option<String>,
}
