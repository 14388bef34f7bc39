//! Reader attestation: a registered reader's signed statement of what it read, for which attempt, and when.
//!
//! A compact JWS (RFC 7515) whose payload is `{"attempt_id", "challenge", "iat", "sha256": {"sod": …, "dg1": …}}`, with the
//! SHA-256 of every part but the selfies. It binds bytes to a reader that the organisation trusts; what is in them is for
//! the gates before.

use proofmill_contract::limits::{READER_ATTESTATION_LIFE, READER_CLOCK_SKEW};
use proofmill_contract::{AttemptId, Evidence, Part, ReaderKeyId, Timestamp};
use proofmill_emrtd::crypto::digest::Digest;
use proofmill_jose::{Jws, JwsError, VerifyingKey};
use serde::Deserialize;

use crate::engine::Case;

/// Keys that are tried for a statement that names none.
pub const MAX_UNNAMED_KEYS: usize = 16;

/// By whom an attempt's statement may be signed.
#[derive(Default)]
pub struct Reader {
    /// The attempt that it must name. `None` where there is neither attempt nor register, as offline.
    pub attempt: Option<AttemptId>,
    /// The registered keys that its header may mean.
    pub keys: Vec<RegisteredKey>,
    /// How the key stands under which chip evidence was attested that was kept of an earlier submission.
    pub kept: Standing,
}

/// What the register says of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    #[default]
    Unknown,
    /// It counts.
    Valid,
    /// It was revoked.
    Revoked,
}

/// A key of the organisation's register.
pub struct RegisteredKey {
    /// Its id.
    pub id: ReaderKeyId,
    /// The key.
    pub key: VerifyingKey,
    /// Whether it was revoked: what it signed counts no more, whenever it was signed.
    pub revoked: bool,
}

/// What was found of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attestation {
    /// There is none.
    NotSupplied,
    /// There is one, and no register to verify it by.
    NotVerified,
    /// It holds, under this key.
    Holds(ReaderKeyId),
    /// It does not, for this reason.
    Fails(&'static str),
}

/// Verifies the statement that came with the evidence, if one did.
pub fn check(evidence: &Evidence, case: &Case) -> Attestation {
    let Some(jws) = evidence.reader_attestation() else { return Attestation::NotSupplied };
    let Some(attempt) = &case.reader.attempt else { return Attestation::NotVerified };
    match verify(jws, evidence, attempt, case) {
        Ok(key) => Attestation::Holds(key),
        Err(reason) => Attestation::Fails(reason),
    }
}

fn verify(jws: &[u8], evidence: &Evidence, attempt: &AttemptId, case: &Case) -> Result<ReaderKeyId, &'static str> {
    let text = std::str::from_utf8(jws).map_err(|_| "reader_attestation_malformed")?;
    let jws = Jws::parse(text).map_err(|error| match error {
        JwsError::Algorithm => "reader_attestation_algorithm_not_accepted",
        _ => "reader_attestation_malformed",
    })?;
    let (payload, key) = signed(&jws, &case.reader.keys)?;
    let statement = Statement::read(payload)?;
    if statement.attempt_id != attempt.as_str() {
        return Err("reader_attestation_attempt_mismatch");
    }
    let challenge = hex::decode(&statement.challenge).unwrap_or_default();
    if case.challenge.is_none_or(|expected| expected[..] != challenge[..]) {
        return Err("reader_attestation_challenge_mismatch");
    }
    statement.in_time(case.at)?;
    statement.sha256.cover(evidence)?;
    Ok(key.clone())
}

/// What was signed, and by which key that counts.
fn signed<'a>(jws: &'a Jws<'_>, keys: &'a [RegisteredKey]) -> Result<(&'a [u8], &'a ReaderKeyId), &'static str> {
    let mut failure = "reader_attestation_key_unknown";
    for candidate in keys {
        match jws.verify(&candidate.key) {
            Ok(_) if candidate.revoked => failure = "reader_attestation_key_revoked",
            Ok(payload) => return Ok((payload, &candidate.id)),
            // Of a key that the statement does not name, another algorithm says nothing.
            Err(JwsError::Algorithm) if jws.key_id().is_some() => failure = "reader_attestation_algorithm_not_accepted",
            Err(JwsError::Algorithm) => {}
            Err(_) => failure = "reader_attestation_signature_invalid",
        }
    }
    Err(failure)
}

/// The payload. Members that are not known are ignored, as RFC 7519 has it; `exp` and `nbf` are not.
#[derive(Deserialize)]
struct Statement {
    attempt_id: String,
    challenge: String,
    iat: f64,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
    sha256: Hashes,
}

impl Statement {
    fn read(payload: &[u8]) -> Result<Self, &'static str> {
        let malformed = "reader_attestation_payload_malformed";
        // A struct would also read an array, by position.
        if payload.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(malformed);
        }
        serde_json::from_slice(payload).map_err(|_| malformed)
    }

    /// By the time of submission: how long evidence waits for us is not the reader's failure.
    fn in_time(&self, submitted: Timestamp) -> Result<(), &'static str> {
        let at = submitted.as_micros() as f64 / 1e6;
        let skew = READER_CLOCK_SKEW.as_secs_f64();
        if at - self.iat > READER_ATTESTATION_LIFE.as_secs_f64() || self.exp.is_some_and(|exp| at >= exp) {
            return Err("reader_attestation_expired");
        }
        if self.iat - at > skew || self.nbf.is_some_and(|nbf| nbf - at > skew) {
            return Err("reader_attestation_not_yet_valid");
        }
        Ok(())
    }
}

/// SHA-256 of each part, in hex.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hashes {
    sod: Option<String>,
    dg1: Option<String>,
    dg2: Option<String>,
    dg14: Option<String>,
    dg15: Option<String>,
    active_authentication: Option<String>,
    chip_authentication: Option<String>,
    card_security: Option<String>,
}

impl Hashes {
    fn of(&self, part: Part) -> Option<&str> {
        match part {
            Part::Sod => &self.sod,
            Part::Dg1 => &self.dg1,
            Part::Dg2 => &self.dg2,
            Part::Dg14 => &self.dg14,
            Part::Dg15 => &self.dg15,
            Part::ActiveAuthentication => &self.active_authentication,
            Part::ChipAuthentication => &self.chip_authentication,
            Part::CardSecurity => &self.card_security,
        }
        .as_deref()
    }

    /// Exactly the parts that were submitted: one that the reader did not attest came from elsewhere, and one that it
    /// attested and that is missing was withheld.
    fn cover(&self, evidence: &Evidence) -> Result<(), &'static str> {
        for part in Part::ALL {
            match (self.of(part), evidence.get(part)) {
                (None, None) => {}
                (Some(stated), Some(bytes)) => {
                    let stated = hex::decode(stated).unwrap_or_default();
                    if stated != Digest::Sha256.compute(&[bytes]).as_ref() {
                        return Err("reader_attestation_part_mismatch");
                    }
                }
                (Some(_), None) | (None, Some(_)) => return Err("reader_attestation_parts_differ"),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofmill_contract::OrganisationPolicy;
    use proofmill_jose::SigningKey;
    use serde_json::{Value, json};

    const AT: i64 = 1_795_000_000;
    const CHALLENGE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 0xab];

    fn attempt() -> AttemptId {
        AttemptId::generate(Timestamp::from_secs(AT), &mut rand::rng())
    }

    fn evidence() -> Evidence {
        let mut evidence = Evidence::new();
        for (part, bytes) in [(Part::Sod, "sod"), (Part::Dg1, "dg1"), (Part::Dg2, "dg2"), (Part::Dg15, "dg15")] {
            evidence.insert(part, bytes.as_bytes().to_vec()).unwrap();
        }
        evidence.push_selfie(b"selfie".to_vec()).unwrap();
        evidence
    }

    fn sha256(text: &str) -> String {
        hex::encode(Digest::Sha256.compute(&[text.as_bytes()]).as_ref())
    }

    fn case(attempt: &AttemptId, keys: Vec<RegisteredKey>) -> Case {
        Case {
            policy: OrganisationPolicy::default(),
            selected_field_keys: Vec::new(),
            challenge: Some(CHALLENGE),
            terminal: None,
            reader: Reader { attempt: Some(attempt.clone()), keys, kept: Standing::default() },
            chip: crate::kept::ChipEvidence::default(),
            at: Timestamp::from_secs(AT),
        }
    }

    fn registered(key: &SigningKey) -> Vec<RegisteredKey> {
        vec![entry(key, false)]
    }

    fn entry(key: &SigningKey, revoked: bool) -> RegisteredKey {
        let id = ReaderKeyId::generate(Timestamp::from_secs(AT), &mut rand::rng());
        RegisteredKey { id, key: key.verifying_key().clone(), revoked }
    }

    #[track_caller]
    fn assert_holds(found: Attestation, why: &str) {
        assert!(matches!(found, Attestation::Holds(_)), "{why}: {found:?}");
    }

    fn statement(attempt: &AttemptId) -> Value {
        json!({
            "attempt_id": attempt,
            "challenge": hex::encode(CHALLENGE),
            "iat": AT - 10,
            "sha256": { "sod": sha256("sod"), "dg1": sha256("dg1"), "dg2": sha256("dg2"), "dg15": sha256("dg15") },
        })
    }

    /// The verdict on a statement, signed by a registered key.
    fn judged(change: impl FnOnce(&mut Value)) -> Attestation {
        let (key, attempt) = (SigningKey::ed25519("reader").unwrap(), attempt());
        let mut statement = statement(&attempt);
        change(&mut statement);
        let mut evidence = evidence();
        evidence.attest(key.sign(statement.to_string().as_bytes()).unwrap().into_bytes()).unwrap();
        check(&evidence, &case(&attempt, registered(&key)))
    }

    #[test]
    fn a_statement_about_these_bytes_of_this_attempt_holds() {
        assert_holds(judged(|_| {}), "as it was made");
        assert_holds(judged(|s| s["reader_model"] = json!("X1")), "more may be said");
        assert_holds(judged(|s| s["challenge"] = json!(hex::encode_upper(CHALLENGE))), "in capitals");
        assert_eq!(check(&evidence(), &case(&attempt(), Vec::new())), Attestation::NotSupplied);
    }

    #[test]
    fn a_statement_of_another_attempt_challenge_time_or_bytes_fails() {
        type Change = fn(&mut Value);
        let table: [(&str, Change); 14] = [
            ("attempt_mismatch", |s| s["attempt_id"] = json!(attempt())),
            ("challenge_mismatch", |s| s["challenge"] = json!("0102030405060708")),
            ("challenge_mismatch", |s| s["challenge"] = json!("")),
            ("expired", |s| s["iat"] = json!(AT - 301)),
            ("expired", |s| s["exp"] = json!(AT)),
            ("not_yet_valid", |s| s["iat"] = json!(AT + 61)),
            ("not_yet_valid", |s| s["nbf"] = json!(AT + 61)),
            ("part_mismatch", |s| s["sha256"]["dg1"] = json!(sha256("other"))),
            ("part_mismatch", |s| s["sha256"]["dg2"] = json!("zz")),
            ("parts_differ", |s| s["sha256"]["dg14"] = json!(sha256("dg14"))),
            ("parts_differ", |s| drop(s["sha256"].as_object_mut().unwrap().remove("dg15"))),
            ("payload_malformed", |s| s["sha256"]["dg3"] = json!(sha256("dg3"))),
            ("payload_malformed", |s| drop(s.as_object_mut().unwrap().remove("iat"))),
            ("payload_malformed", |s| *s = json!([])),
        ];
        for (reason, change) in table {
            let Attestation::Fails(found) = judged(change) else { panic!("{reason}") };
            assert_eq!(found, format!("reader_attestation_{reason}"));
        }
        for in_time in [AT - 300, AT + 60] {
            assert_holds(judged(|s| s["iat"] = json!(in_time)), &in_time.to_string());
        }
        assert_holds(judged(|s| s["iat"] = json!(AT as f64 - 299.5)), "of half a second");
    }

    #[test]
    fn only_a_registered_key_that_is_not_revoked_counts() {
        let (key, other) = (SigningKey::es256("reader").unwrap(), SigningKey::es256("reader").unwrap());
        let attempt = attempt();
        let judged = |signed_by: &SigningKey, header: Option<&str>, keys: Vec<RegisteredKey>| {
            let payload = statement(&attempt).to_string();
            let jws = match header {
                None => signed_by.sign(payload.as_bytes()),
                Some(header) => signed_by.sign_under(header, payload.as_bytes()),
            };
            let mut evidence = evidence();
            evidence.attest(jws.unwrap().into_bytes()).unwrap();
            check(&evidence, &case(&attempt, keys))
        };
        let fails = |reason: &str, found: Attestation| {
            let Attestation::Fails(found) = found else { panic!("{reason}: {found:?}") };
            assert_eq!(found, format!("reader_attestation_{reason}"));
        };
        assert_holds(judged(&key, None, registered(&key)), "registered");
        fails("key_unknown", judged(&key, None, Vec::new()));
        fails("signature_invalid", judged(&other, None, registered(&key)));
        fails("key_revoked", judged(&key, None, vec![entry(&key, true)]));
        let ed25519 = SigningKey::ed25519("reader").unwrap();
        fails("algorithm_not_accepted", judged(&ed25519, None, registered(&key)));
        fails("algorithm_not_accepted", judged(&key, Some(r#"{"alg":"none"}"#), registered(&key)));
        fails("malformed", judged(&key, Some(r#"{"alg":"ES256","crit":["exp"]}"#), registered(&key)));
        // A statement that names no key is tried under each.
        let all = [&ed25519, &other, &key].map(|key| entry(key, false));
        let signer = all[2].id.clone();
        let unnamed = judged(&key, Some(r#"{"alg":"ES256"}"#), all.into());
        assert_eq!(unnamed, Attestation::Holds(signer), "it is said whose it was");
        let mut garbled = evidence();
        garbled.attest(vec![0xff; 40]).unwrap();
        fails("malformed", check(&garbled, &case(&attempt, registered(&key))));
    }

    #[test]
    fn without_a_register_nothing_is_claimed() {
        let mut evidence = evidence();
        evidence.attest(b"a.b.c".to_vec()).unwrap();
        let mut case = case(&attempt(), Vec::new());
        case.reader = Reader::default();
        assert_eq!(check(&evidence, &case), Attestation::NotVerified);
    }
}
