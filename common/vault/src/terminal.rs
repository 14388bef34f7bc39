//! What the server's terminal of chip authentication must remember until the transcript is verified.

use proofmill_contract::{AttemptId, Secret, Timestamp};

use crate::error::VaultError;
use crate::vault::{SealedRef, Vault};

// None of these is the name of a part of the evidence, so that an object of one kind never opens as the other.
const PRIVATE_KEY: &str = "terminal.private_key";
const PUBLIC_KEY: &str = "terminal.public_key";
const DG14: &str = "terminal.dg14";
const ANSWER: &str = "terminal.answer";

/// A terminal's ephemeral key and what it is bound to. No `Debug`, no `Clone`: who has the private key can forge the
/// transcript.
pub struct TerminalSecret {
    /// The ephemeral private key.
    pub private_key: Secret,
    /// Its public key, as the chip was to be given it.
    pub public_key: Secret,
    /// The DG14 that named the chip's key: the one that must be submitted.
    pub dg14: Secret,
    /// What the reader was answered, to be answered again.
    pub answer: Secret,
}

impl Vault {
    /// Seals a terminal's key for an attempt, under a key of its own.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`] if it could not be stored.
    pub async fn seal_terminal(
        &self,
        attempt: &AttemptId,
        terminal: &TerminalSecret,
        now: Timestamp,
    ) -> Result<SealedRef, VaultError> {
        let parts = [
            (PRIVATE_KEY, terminal.private_key.as_bytes()),
            (PUBLIC_KEY, terminal.public_key.as_bytes()),
            (DG14, terminal.dg14.as_bytes()),
            (ANSWER, terminal.answer.as_bytes()),
        ];
        self.seal_parts(attempt.as_str(), &parts, now).await
    }

    /// Opens an attempt's terminal key.
    ///
    /// # Errors
    /// As [`Vault::open`]; [`VaultError::Corrupt`] also for an object of another kind.
    pub async fn open_terminal(&self, attempt: &AttemptId, sealed: &SealedRef) -> Result<TerminalSecret, VaultError> {
        let parts = self.open_parts(attempt.as_str(), sealed).await?;
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        if names != [PRIVATE_KEY, PUBLIC_KEY, DG14, ANSWER] {
            return Err(VaultError::Corrupt { what: "sealed terminal key" });
        }
        let mut secrets = parts.into_iter().map(|(_, secret)| secret);
        match (secrets.next(), secrets.next(), secrets.next(), secrets.next()) {
            (Some(private_key), Some(public_key), Some(dg14), Some(answer)) => {
                Ok(TerminalSecret { private_key, public_key, dg14, answer })
            }
            _ => Err(VaultError::Corrupt { what: "sealed terminal key" }),
        }
    }
}
