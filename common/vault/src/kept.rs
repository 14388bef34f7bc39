//! Chip evidence that passed, kept with its session for a later attempt with selfies alone.

use proofmill_contract::{Secret, SessionId, Timestamp};

use crate::error::VaultError;
use crate::vault::{SealedRef, Vault};

// None of these is the name of a part of the evidence, so that an object of one kind never opens as the other.
const DG1: &str = "kept.dg1";
const DG2: &str = "kept.dg2";
const SIGNER: &str = "kept.signer";
const RESULTS: &str = "kept.results";

/// What is kept of a document whose gates held. Its SOD, its transcripts and the selfies are not. No `Debug`, no `Clone`.
pub struct KeptChipEvidence {
    /// EF.DG1.
    pub dg1: Secret,
    /// EF.DG2.
    pub dg2: Secret,
    /// The document signer's certificate, so that its revocation can be looked up again.
    pub signer: Secret,
    /// What the gates found; the caller's format.
    pub results: Secret,
}

impl Vault {
    /// Seals chip evidence for a session, under a key of its own.
    ///
    /// Nothing refers to the object until the returned reference is committed with the verdict: if it is not, the object is
    /// an orphan for the sweep.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`] if it could not be stored.
    pub async fn seal_kept(
        &self,
        session: &SessionId,
        kept: &KeptChipEvidence,
        now: Timestamp,
    ) -> Result<SealedRef, VaultError> {
        let parts = [
            (DG1, kept.dg1.as_bytes()),
            (DG2, kept.dg2.as_bytes()),
            (SIGNER, kept.signer.as_bytes()),
            (RESULTS, kept.results.as_bytes()),
        ];
        self.seal_parts(session.as_str(), &parts, now).await
    }

    /// Opens a session's kept chip evidence.
    ///
    /// # Errors
    /// As [`Vault::open`]; [`VaultError::Corrupt`] also for an object of another kind.
    pub async fn open_kept(&self, session: &SessionId, sealed: &SealedRef) -> Result<KeptChipEvidence, VaultError> {
        let parts = self.open_parts(session.as_str(), sealed).await?;
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        if names != [DG1, DG2, SIGNER, RESULTS] {
            return Err(VaultError::Corrupt { what: "kept chip evidence" });
        }
        let mut secrets = parts.into_iter().map(|(_, secret)| secret);
        match (secrets.next(), secrets.next(), secrets.next(), secrets.next()) {
            (Some(dg1), Some(dg2), Some(signer), Some(results)) => Ok(KeptChipEvidence { dg1, dg2, signer, results }),
            _ => Err(VaultError::Corrupt { what: "kept chip evidence" }),
        }
    }
}
