//! Chip evidence that passed, kept while selfies alone may follow: what of it is judged again, and what stands.
//!
//! What the chip proved once stays proved: signature, hashes, active and chip authentication, the reader's statement. What
//! depends on the day is judged again: whether the signer is still trusted and not revoked, whether the document has
//! expired, whether the reader's key still counts, and what the organisation's policy now demands of those results.

use proofmill_contract::{Checks, Gate, ReaderKeyId, Secret};
use proofmill_emrtd as emrtd;
use proofmill_vault::KeptChipEvidence;
use serde::{Deserialize, Serialize};

/// Where the chip's evidence comes from.
pub enum ChipEvidence {
    /// From the submission.
    Submitted {
        /// Whether it is wanted afterwards, if the selfies fail.
        keep: bool,
    },
    /// From an earlier submission of the session.
    Kept(Box<Kept>),
}

impl Default for ChipEvidence {
    fn default() -> Self {
        ChipEvidence::Submitted { keep: false }
    }
}

/// Chip evidence whose gates held. No `Debug`, no `Clone`.
pub struct Kept {
    dg1: Secret,
    dg2: Secret,
    signer: emrtd::DocumentSigner,
    checks: Checks,
    attested_by: Option<ReaderKeyId>,
}

/// The gate results as they are sealed.
#[derive(Serialize, Deserialize)]
struct Results {
    v: u8,
    /// Seconds since the Unix epoch, where the SOD says.
    signed_at: Option<i64>,
    checks: Checks,
    /// The registered key under which the reader's statement held. What was kept before this was noted has none, and
    /// counts as not attested: whether its key was revoked meanwhile cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attested_by: Option<ReaderKeyId>,
}

const VERSION: u8 = 1;

impl Kept {
    /// What is kept once every gate of the chip held, and the reader's key by which its parts were attested.
    pub fn new(
        dg1: Secret,
        dg2: Secret,
        signer: emrtd::DocumentSigner,
        checks: Checks,
        attested_by: Option<ReaderKeyId>,
    ) -> Self {
        Self { dg1, dg2, signer, checks, attested_by }
    }

    /// In the form in which it is sealed.
    ///
    /// # Errors
    /// A description, if the results cannot be written.
    pub fn into_sealable(self) -> Result<KeptChipEvidence, serde_json::Error> {
        let signed_at = self.signer.signed_at.map(|time| time.0);
        let results = Results { v: VERSION, signed_at, checks: self.checks, attested_by: self.attested_by };
        let results = serde_json::to_vec(&results)?;
        Ok(KeptChipEvidence {
            dg1: self.dg1,
            dg2: self.dg2,
            signer: Secret::new(self.signer.certificate),
            results: Secret::new(results),
        })
    }

    /// From the form in which it was sealed; `None` for one of another version of this program.
    pub fn from_sealed(sealed: KeptChipEvidence) -> Option<Self> {
        let results: Results = serde_json::from_slice(sealed.results.as_bytes()).ok()?;
        let signer = emrtd::DocumentSigner {
            certificate: sealed.signer.as_bytes().to_vec(),
            signed_at: results.signed_at.map(emrtd::UnixTime),
        };
        (results.v == VERSION).then(|| Self {
            dg1: sealed.dg1,
            dg2: sealed.dg2,
            signer,
            checks: results.checks,
            attested_by: results.attested_by,
        })
    }

    /// The document as of now: what can have changed is judged again, the rest is as it was found.
    pub fn verify(
        &self,
        trust: &emrtd::TrustStore,
        policy: &emrtd::Policy,
        at: emrtd::UnixTime,
    ) -> emrtd::Verification<'_> {
        let document = emrtd::KeptDocument { dg1: self.dg1.as_bytes(), dg2: self.dg2.as_bytes(), signer: &self.signer };
        let mut verified = emrtd::verify_again(&document, trust, policy, at);
        let report = &mut verified.report;
        if report.is_valid() {
            report.gates.active_authentication = found(self.checks.active_authentication);
            report.gates.chip_authentication = found(self.checks.chip_authentication);
        }
        report.chip_authentication_terminal = self.checks.chip_authentication_terminal.map(|terminal| match terminal {
            proofmill_contract::Terminal::Server => emrtd::Terminal::Server,
            proofmill_contract::Terminal::Integrator => emrtd::Terminal::Integrator,
        });
        let known = |deviation: &&emrtd::Deviation| self.checks.deviations.iter().any(|name| name == deviation.name());
        let earlier: Vec<_> = emrtd::Deviation::ALL.iter().filter(known).copied().collect();
        let new: Vec<_> = earlier.into_iter().filter(|deviation| !report.deviations.contains(deviation)).collect();
        report.deviations.extend(new);
        verified
    }

    /// The registered reader's key by which the chip's parts were attested, if they were.
    pub fn attested_by(&self) -> Option<&ReaderKeyId> {
        self.attested_by.as_ref()
    }
}

fn found(gate: Gate) -> emrtd::GateResult {
    match gate {
        Gate::Passed => emrtd::GateResult::Passed,
        Gate::Failed => emrtd::GateResult::Failed,
        Gate::NotApplicable => emrtd::GateResult::NotApplicable,
        Gate::NotRun => emrtd::GateResult::NotRun,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofmill_contract::Timestamp;

    fn kept(attested_by: Option<ReaderKeyId>) -> KeptChipEvidence {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        let signer = emrtd::DocumentSigner { certificate: b"dsc".to_vec(), signed_at: Some(emrtd::UnixTime(7)) };
        let checks = Checks { reader_attestation: Gate::Passed, ..Checks::default() };
        Kept::new(secret("dg1"), secret("dg2"), signer, checks, attested_by).into_sealable().unwrap()
    }

    #[test]
    fn the_key_that_vouched_is_kept_with_what_it_vouched_for() {
        let key = ReaderKeyId::generate(Timestamp::from_secs(0), &mut rand::rng());
        let opened = Kept::from_sealed(kept(Some(key.clone()))).unwrap();
        assert_eq!(opened.attested_by(), Some(&key));
        assert_eq!((opened.dg1.as_bytes(), opened.signer.signed_at), (&b"dg1"[..], Some(emrtd::UnixTime(7))));
    }

    #[test]
    fn what_was_kept_before_the_key_was_noted_opens_and_is_not_attested() {
        let sealed = kept(None);
        let results: serde_json::Value = serde_json::from_slice(sealed.results.as_bytes()).unwrap();
        assert!(results.get("attested_by").is_none());
        assert_eq!(results["checks"]["reader_attestation"], "passed");
        assert!(Kept::from_sealed(sealed).unwrap().attested_by().is_none());
    }
}
