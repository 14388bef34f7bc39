//! Minted passports as these tests and the demonstration use them.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use proofmill_fixtures::{
    AttestationKind, Attested, Case, ChipKind, Expected, Minted, Photos, Readers, ServerTerminal, TerminalKind,
};
use serde_json::Value;

use crate::client::{ApiClient, Opened, Submission};
use crate::environment;
use crate::server::Server;

/// What the demonstration asks to share, sorted.
pub const SELECTED: [&str; 3] = ["age_over_18", "kayle_document_id", "nationality_code"];

/// Countries that do not exist, and whatever they are asked to issue.
pub struct World {
    inner: proofmill_fixtures::World,
    readers: Arc<Readers>,
}

/// One passport with a selfie, genuine or not.
#[derive(Clone)]
pub struct Specimen {
    /// What it is, for people.
    pub name: String,
    /// Contract 2's failure code; none when it is to be accepted.
    pub expected: Option<&'static str>,
    minted: Arc<Minted>,
    readers: Arc<Readers>,
}

impl World {
    /// Mints the countries, as of now: passports are looked at by programs that go by the clock.
    pub fn mint(seed: u64) -> Result<Self> {
        #[allow(clippy::disallowed_methods)]
        let now = jiff::Timestamp::now();
        let photos = Photos::load(&environment::photos()?)?;
        let readers = Arc::new(Readers::generate().context("no reader keys")?);
        Ok(Self { inner: proofmill_fixtures::World::mint(seed, now, photos), readers })
    }

    /// Registers the readers with an organisation, and revokes the one that was lost. How many were registered.
    pub fn register_readers(&self, server: &Server, organisation: &str) -> Result<usize> {
        let registered = self.readers.registered();
        for (_, jwk) in &registered {
            server.add_reader_key(organisation, jwk)?;
        }
        server.revoke_reader_key(organisation, self.readers.revoked())?;
        Ok(registered.len())
    }

    /// Every trusted country revokes its document signer; to be written out again.
    pub fn revoke_signers(&mut self) {
        self.inner.revoke_signers();
    }

    /// How many countries are trusted.
    pub fn countries(&self) -> usize {
        self.inner.countries().count()
    }

    /// Writes the certificates and revocation lists of those that are trusted.
    pub fn write_trust(&self, folder: &Path) -> Result<()> {
        self.inner.write_trust(folder).with_context(|| format!("cannot write {}", folder.display()))
    }

    /// `count` specimens; the cases take turns.
    pub fn specimens(&self, count: usize) -> Vec<Specimen> {
        let cases: Vec<Case> = Case::all().into_iter().chain(Case::attested()).collect();
        (0..).zip(cases.into_iter().cycle()).take(count).map(|(index, case)| self.specimen(case, index)).collect()
    }

    /// How many cases there are.
    pub fn cases() -> usize {
        Case::all().len() + Case::attested().len()
    }

    /// The specimen of a case, by its name.
    pub fn case(&self, name: &str) -> Result<Specimen> {
        Ok(self.specimen(name.parse()?, 0))
    }

    /// A genuine passport without active authentication.
    pub fn genuine(&self) -> Specimen {
        self.specimen(Case::GenuineLdsV1, 0)
    }

    /// A genuine passport whose chip proves itself.
    pub fn genuine_with_chip_key(&self) -> Specimen {
        self.specimen(Case::GenuineChip(ChipKind::EcdsaP256), 0)
    }

    fn specimen(&self, case: Case, index: u64) -> Specimen {
        let minted = self.inner.submission(case, index);
        let portrait = if is_jpeg_2000(&minted.passport.dg2) { "JPEG 2000" } else { "JPEG" };
        Specimen {
            name: format!("{}, {portrait}", case.name().replace('_', " ")),
            expected: match minted.expected {
                Expected::Accepted => None,
                Expected::Rejected(code) => Some(code.as_str()),
            },
            minted: Arc::new(minted),
            readers: self.readers.clone(),
        }
    }
}

impl Specimen {
    /// What a reader submits: the chip's answer to the challenge, and a transcript of chip authentication with whoever's
    /// terminal the specimen is about.
    pub async fn evidence(&self, api: &ApiClient, opened: &Opened) -> Result<Submission> {
        let submission = self.submission(&opened.challenge);
        if let Case::Attested(kind) = self.minted.case {
            return self.attested(kind, opened, submission);
        }
        if self.minted.case.terminal() != Some(TerminalKind::Server) {
            return Ok(submission);
        }
        let dg14 = self.minted.passport.dg14.as_ref().context("a chip with chip authentication has DG14")?;
        let terminal = api.start_chip_authentication(opened, dg14).await?.data()?;
        let transcript = self.server_transcript(&terminal)?;
        Ok(submission.with("chip_authentication", transcript.to_string().into_bytes()))
    }

    /// With the reader's statement about it.
    pub fn attested(&self, kind: AttestationKind, opened: &Opened, mut submission: Submission) -> Result<Submission> {
        #[allow(clippy::disallowed_methods)]
        let at = jiff::Timestamp::now().as_second();
        let parts: Vec<(&str, &[u8])> =
            submission.parts.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        let about = Attested { attempt: &opened.attempt_id, challenge: opened.challenge, parts: &parts, at };
        submission.reader_attestation = Some(self.readers.attest(kind, &about).context("no statement")?);
        Ok(submission)
    }

    /// Takes the commands of the server's terminal to the chip; the transcript to submit.
    pub fn server_transcript(&self, terminal: &Value) -> Result<Value> {
        let octets = |value: &Value| hex::decode(value.as_str().unwrap_or_default()).context("hex");
        let asked = ServerTerminal {
            public_key: octets(&terminal["terminal_public_key"])?,
            commands: terminal["commands"]
                .as_array()
                .context("the commands are an array")?
                .iter()
                .map(octets)
                .collect::<Result<_>>()?,
            protected_command: octets(&terminal["protected_command"])?,
            response_counter: octets(&terminal["transcript"]["SmSsc"])?,
        };
        self.minted.server_transcript(&asked).context("the specimen's chip has chip authentication")
    }

    /// DG14, if there is one.
    pub fn dg14(&self) -> Option<&[u8]> {
        self.minted.passport.dg14.as_deref()
    }

    /// What to submit without asking the server first: the chip's answer to the challenge, if it has a key, and the
    /// transcript of an integrator's own terminal, if the specimen is about one.
    pub fn submission(&self, challenge: &[u8; 8]) -> Submission {
        let passport = &self.minted.passport;
        let mut parts =
            vec![("sod", passport.sod.clone()), ("dg1", passport.dg1.clone()), ("dg2", passport.dg2.clone())];
        parts.extend(passport.dg14.clone().map(|bytes| ("dg14", bytes)));
        parts.extend(passport.dg15.clone().map(|bytes| ("dg15", bytes)));
        parts.extend(passport.card_security.clone().map(|bytes| ("card_security", bytes)));
        parts.extend(self.minted.active_authentication(challenge).map(|bytes| ("active_authentication", bytes)));
        if self.minted.case.terminal() == Some(TerminalKind::Integrator) {
            let transcript = self.minted.integrator_transcript().map(|json| json.to_string().into_bytes());
            parts.extend(transcript.map(|bytes| ("chip_authentication", bytes)));
        }
        Submission {
            parts,
            selfies: self.minted.selfies.clone(),
            selected: SELECTED.map(str::to_owned).to_vec(),
            reader_attestation: None,
        }
    }

    /// One line of evidence for the offline job, with a challenge of its own and the chip's answer to it.
    pub fn evidence_line(&self) -> String {
        self.minted.evidence_line().to_string()
    }

    /// Whether the chip answers challenges.
    pub fn has_chip_key(&self) -> bool {
        self.minted.passport.chip.is_some()
    }
}

/// The code under which contract 1 tells of a failure.
pub fn in_contract_1(code: &str) -> &str {
    match code {
        "document_authenticity_failed" | "document_data_invalid" | "document_anti_cloning_attestation_failed" => {
            "passport_authenticity_failed"
        }
        "document_active_authentication_failed" => "passport_active_authentication_failed",
        "document_chip_authentication_failed" => "passport_chip_authentication_failed",
        "liveness_failed" => "selfie_face_mismatch",
        other => other,
    }
}

/// By the signature box of a JP2 file (ISO/IEC 15444-1 annex I) or the marker of a bare codestream (annex A).
fn is_jpeg_2000(dg2: &[u8]) -> bool {
    [&b"\x00\x00\x00\x0cjP  "[..], &b"\xff\x4f\xff\x51"[..]]
        .iter()
        .any(|magic| dg2.windows(magic.len()).any(|window| window == *magic))
}
