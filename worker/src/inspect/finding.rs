//! The answer for one file.

use proofmill_emrtd::{Deviation, GateResult, Reason, Report, RevocationStatus};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::context::Context;
use super::detail::{Detail, Details};
use super::explain::explain;

/// Verdict, gates and what else there is to see. Valid is what has no reason not to be; then no gate failed.
pub struct Finding {
    /// The file as named, with `:n` for one object of several in it.
    pub file: String,
    /// What it was taken for, as in the command.
    pub kind: &'static str,
    /// `passed`, `failed`, `not_run` or `not_applicable` by gate, and `revocation_status`.
    pub gates: Vec<(&'static str, &'static str)>,
    /// Departures from the standards that were met, accepted or not.
    pub deviations: Vec<String>,
    /// Why it is not valid, machine-readable.
    pub reason: Option<String>,
    /// The reason in a sentence, where there is more to say.
    pub message: Option<String>,
    /// Structure, algorithms, signer, chain …
    pub details: Details,
}

/// Why a file cannot be judged.
#[derive(Debug)]
pub struct Trouble {
    /// Machine-readable.
    pub reason: &'static str,
    /// In a sentence; names what and where, never quotes content.
    pub message: String,
}

impl Trouble {
    /// A trouble of that name.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Trouble {
        Trouble { reason, message: message.into() }
    }
}

impl Finding {
    /// Nothing checked yet, nothing wrong yet.
    pub fn new(file: &str, kind: &'static str) -> Finding {
        Finding {
            file: file.to_owned(),
            kind,
            gates: Vec::new(),
            deviations: Vec::new(),
            reason: None,
            message: None,
            details: Details::default(),
        }
    }

    /// A file that cannot be judged.
    pub fn broken(file: &str, kind: &'static str, trouble: Trouble) -> Finding {
        let mut finding = Finding::new(file, kind);
        finding.fail(trouble.reason, Some(trouble.message));
        finding
    }

    /// Whether nothing failed.
    pub fn is_valid(&self) -> bool {
        self.reason.is_none()
    }

    /// Says why the file is not valid; the first reason stands.
    pub fn fail(&mut self, reason: impl ToString, message: Option<String>) {
        if self.reason.is_none() {
            self.reason = Some(reason.to_string());
            self.message = message;
        }
    }

    /// Says why in the library's words, and what they mean.
    pub fn because(&mut self, reason: Reason, context: &Context) {
        self.fail(reason, explain(reason, context));
    }

    /// Adds a gate.
    pub fn gate(&mut self, name: &'static str, result: GateResult) {
        self.gates.push((name, gate_text(result)));
    }

    /// Adds a gate that passed or failed; a failure gives its reason.
    pub fn check(&mut self, name: &'static str, result: Result<(), Reason>, context: &Context) {
        match result {
            Ok(()) => self.gate(name, GateResult::Passed),
            Err(reason) => {
                self.gate(name, GateResult::Failed);
                self.because(reason, context);
            }
        }
    }

    /// Adds a gate that passed or failed for a reason that only inspecting knows.
    pub fn demand(&mut self, name: &'static str, holds: bool, reason: &str, message: &str) {
        self.gate(name, if holds { GateResult::Passed } else { GateResult::Failed });
        if !holds {
            self.fail(reason, Some(message.to_owned()));
        }
    }

    /// Adds what the revocation lists said.
    pub fn revocation_status(&mut self, status: RevocationStatus) {
        self.gates.push(("revocation_status", revocation_text(status)));
        self.details.add("revocation_status", revocation_text(status));
    }

    /// Notes deviations, and fails for the first that the policy refuses.
    pub fn accept(&mut self, deviations: &[Deviation], context: &Context) {
        self.note(deviations.iter().copied());
        if let Some(refused) = refused(deviations, context) {
            self.check("deviations", Err(refused), context);
        }
    }

    /// Notes deviations, each once.
    pub fn note(&mut self, deviations: impl IntoIterator<Item = Deviation>) {
        for deviation in deviations {
            if !self.deviations.iter().any(|known| known == deviation.name()) {
                self.deviations.push(deviation.name().to_owned());
            }
        }
    }

    /// Takes over a document's report.
    pub fn report(&mut self, report: &Report, context: &Context) {
        let gates = &report.gates;
        let passive = &gates.passive_authentication;
        for (name, result) in [
            ("evidence_format", gates.evidence_format),
            ("passive_authentication", passive.result),
            ("signature", passive.signature),
            ("chain", passive.chain),
            ("revocation", passive.revocation),
            ("data_group_hashes", passive.data_group_hashes),
            ("document_data", gates.document_data),
            ("active_authentication", gates.active_authentication),
            ("chip_authentication", gates.chip_authentication),
        ] {
            self.gate(name, result);
        }
        self.revocation_status(report.revocation_status);
        self.note(report.deviations.iter().copied());
        if let Some(reason) = report.reason {
            self.because(reason, context);
        }
    }
}

/// The reason of the first deviation that the policy refuses.
pub fn refused(deviations: &[Deviation], context: &Context) -> Option<Reason> {
    let refused = deviations.iter().find(|deviation| !context.policy.accepted.contains(**deviation));
    refused.map(|deviation| Reason::DeviationRefused(*deviation))
}

/// As in a serialised report.
pub fn gate_text(result: GateResult) -> &'static str {
    match result {
        GateResult::Passed => "passed",
        GateResult::Failed => "failed",
        GateResult::NotApplicable => "not_applicable",
        GateResult::NotRun => "not_run",
    }
}

fn revocation_text(status: RevocationStatus) -> &'static str {
    match status {
        RevocationStatus::VerifiedNotRevoked => "verified_not_revoked",
        RevocationStatus::Revoked => "revoked",
        RevocationStatus::Unknown => "revocation_unknown",
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let gates = self.gates.iter().map(|(name, result)| ((*name).to_owned(), Detail::from(*result)));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("file", &self.file)?;
        map.serialize_entry("kind", self.kind)?;
        map.serialize_entry("valid", &self.is_valid())?;
        map.serialize_entry("gates", &Details(gates.collect()))?;
        map.serialize_entry("deviations", &self.deviations)?;
        map.serialize_entry("reason", &self.reason)?;
        if let Some(message) = &self.message {
            map.serialize_entry("message", message)?;
        }
        self.details.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}
