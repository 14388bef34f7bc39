//! The document stage: evidence to report, and report to what claims are made from.

use proofmill_contract::claims::{DocumentData, Photo, needs_date_of_birth};
use proofmill_contract::evidence::Part;
use proofmill_contract::policy::Tolerance;
use proofmill_contract::{Evidence, OrganisationPolicy};
use proofmill_emrtd as emrtd;
use zeroize::Zeroizing;

use crate::attestation::{self, Attestation, Standing};
use crate::decide::TerminalBinding;
use crate::engine::Case;
use crate::kept::ChipEvidence;

/// Runs every document gate over the evidence as received, or judges again what was kept of an earlier submission.
pub fn verify<'a>(
    evidence: &'a Evidence,
    transcript: Option<&'a Transcript>,
    case: &'a Case,
    trust: &emrtd::TrustStore,
) -> emrtd::Verification<'a> {
    let at = emrtd::UnixTime(case.at.as_secs());
    if let ChipEvidence::Kept(kept) = &case.chip {
        return kept.verify(trust, &policy(&case.policy), at);
    }
    // Without a challenge of a known origin a signature proves nothing: an empty one fails its gate by name.
    let challenge = case.challenge.as_ref().map_or(&[][..], |challenge| &challenge[..]);
    let input = emrtd::DocumentEvidence {
        sod: evidence.get(Part::Sod).unwrap_or_default(),
        dg1: evidence.get(Part::Dg1),
        dg2: evidence.get(Part::Dg2),
        dg14: evidence.get(Part::Dg14),
        dg15: evidence.get(Part::Dg15),
        active_authentication: evidence
            .get(Part::ActiveAuthentication)
            .map(|signature| emrtd::ActiveAuthentication { challenge, signature }),
        chip_authentication: transcript.map(|transcript| transcript.borrow(server_key(evidence, case))),
        card_security: evidence.get(Part::CardSecurity),
    };
    emrtd::verify(&input, trust, &policy(&case.policy), at)
}

/// What is found of the reader's statement. With selfies alone the one over the chip's parts came before, and what was
/// found of it stands while its key does; a statement that comes with the selfies is about no part and makes nothing of it.
pub fn attestation(evidence: &Evidence, case: &Case) -> Attestation {
    match (attestation::check(evidence, case), &case.chip) {
        (Attestation::NotSupplied | Attestation::Holds(_), ChipEvidence::Kept(kept)) => {
            match (kept.attested_by(), case.reader.kept) {
                (None, _) => Attestation::NotSupplied,
                (Some(key), Standing::Valid) => Attestation::Holds(key.clone()),
                (Some(_), Standing::Revoked) => Attestation::Fails("reader_attestation_key_revoked"),
                (Some(_), Standing::Unknown) => Attestation::Fails("reader_attestation_key_unknown"),
            }
        }
        (found, _) => found,
    }
}

/// Whether the chip that was submitted is the one with which our terminal began. Otherwise a clone could be asked, fail,
/// and be replaced in the submission by a document that is asked nothing. With selfies alone no chip is submitted.
pub fn terminal_binding(evidence: &Evidence, case: &Case) -> TerminalBinding {
    match (&case.terminal, &case.chip) {
        (Some(terminal), ChipEvidence::Submitted { .. })
            if evidence.get(Part::Dg14) != Some(terminal.dg14.as_bytes()) =>
        {
            TerminalBinding::Broken
        }
        _ => TerminalBinding::Holds,
    }
}

/// The private key of our terminal, if it is bound to the DG14 that was submitted. A transcript that claims our terminal
/// without it fails its gate: a key that did not come from our own seal would let anybody forge the proof.
fn server_key<'a>(evidence: &Evidence, case: &'a Case) -> Option<&'a [u8]> {
    let terminal = case.terminal.as_ref()?;
    (evidence.get(Part::Dg14) == Some(terminal.dg14.as_bytes())).then(|| terminal.private_key.as_bytes())
}

/// What claims are made from.
///
/// # Errors
/// The name of what is missing, when the document says less than the claims need.
pub fn data(
    mrz: &emrtd::Mrz,
    portrait: &emrtd::Portrait<'_>,
    selected_field_keys: &[String],
) -> Result<DocumentData, &'static str> {
    let date = |date: emrtd::Date| {
        let year = i16::try_from(date.year).ok()?;
        jiff::civil::Date::new(year, i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?).ok()
    };
    let text = |text: &str| Zeroizing::new(text.to_owned());
    let photo = match selected_field_keys.iter().any(|key| key == "document_photo") {
        true => Some(photo(portrait)),
        false => None,
    };
    // ICAO Doc 9303-3 allows unknown days and months: they cost the holder only what is made from them.
    let date_of_birth = mrz.date_of_birth.complete().and_then(date);
    if date_of_birth.is_none() && selected_field_keys.iter().any(|key| needs_date_of_birth(key)) {
        return Err("date_of_birth_incomplete");
    }
    Ok(DocumentData {
        document_code: mrz.document_code.clone(),
        issuing_state: mrz.issuing_state.clone(),
        primary_identifier: text(&mrz.primary_identifier),
        secondary_identifier: text(&mrz.secondary_identifier),
        document_number: text(&mrz.document_number),
        nationality: text(&mrz.nationality),
        date_of_birth,
        sex_marker: match mrz.sex {
            emrtd::Sex::Male => 'M',
            emrtd::Sex::Female => 'F',
            emrtd::Sex::Unspecified => 'X',
        },
        date_of_expiry: date(mrz.date_of_expiry).ok_or("date_of_expiry_out_of_range")?,
        optional_data: text(&mrz.optional_data),
        photo,
    })
}

fn photo(portrait: &emrtd::Portrait<'_>) -> Photo {
    Photo {
        bytes: Zeroizing::new(portrait.image.to_vec()),
        format: match portrait.image_type {
            emrtd::ImageType::Jpeg => "jpeg",
            emrtd::ImageType::Jp2 | emrtd::ImageType::Jpeg2000Codestream => "jpeg2000",
        },
        // The picture's own: the record's are often wrong.
        width: portrait.encoded_width,
        height: portrait.encoded_height,
    }
}

/// An organisation's policy in the library's words.
fn policy(policy: &OrganisationPolicy) -> emrtd::Policy {
    emrtd::Policy {
        unknown_revocation_fails: policy.unknown_revocation == Tolerance::Reject,
        ..emrtd::Policy::default()
    }
}

/// A chip-authentication transcript. One that cannot be read is one that does not verify: its own gate, in its own place in
/// the order, rejects it.
pub struct Transcript(Option<emrtd::Transcript>);

impl Transcript {
    /// The transcript that was submitted, if one was.
    pub fn of(evidence: &Evidence) -> Option<Self> {
        let json = evidence.get(Part::ChipAuthentication)?;
        Some(Self(serde_json::from_slice(json).ok()))
    }

    fn borrow<'a>(&'a self, server_key: Option<&'a [u8]>) -> emrtd::ChipTranscript<'a> {
        match &self.0 {
            Some(transcript) => transcript.evidence(server_key),
            None => emrtd::ChipTranscript::Version1(emrtd::ChipAuthentication {
                terminal: emrtd::Terminal::Integrator,
                terminal_private_key: &[],
                terminal_public_key: &[],
                protected_response: &[],
                send_sequence_counter: &[],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::Kept;
    use proofmill_contract::{AttemptId, Checks, ReaderKeyId, Secret, Timestamp};
    use proofmill_vault::TerminalSecret;

    fn evidence(transcript: &str) -> Evidence {
        let mut evidence = Evidence::new();
        evidence.insert(Part::Dg14, b"dg14".to_vec()).unwrap();
        evidence.insert(Part::ChipAuthentication, transcript.as_bytes().to_vec()).unwrap();
        evidence
    }

    /// Sealed for a DG14.
    fn case(dg14: Option<&str>) -> Case {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        Case {
            policy: OrganisationPolicy::default(),
            selected_field_keys: Vec::new(),
            challenge: None,
            terminal: dg14.map(|dg14| TerminalSecret {
                private_key: secret("ours"),
                public_key: secret("public"),
                dg14: secret(dg14),
                answer: secret("{}"),
            }),
            reader: crate::attestation::Reader::default(),
            chip: ChipEvidence::default(),
            at: Timestamp::from_secs(0),
        }
    }

    /// The terminal and private key that the verifier is given.
    fn given(transcript: &str, dg14: Option<&str>) -> (emrtd::Terminal, Vec<u8>) {
        let (evidence, case) = (evidence(transcript), case(dg14));
        let transcript = Transcript::of(&evidence).unwrap();
        match transcript.borrow(server_key(&evidence, &case)) {
            emrtd::ChipTranscript::Version1(given) => (given.terminal, given.terminal_private_key.to_vec()),
            _ => panic!("another kind"),
        }
    }

    #[test]
    fn a_servers_key_comes_from_its_own_seal_and_for_its_own_dg14_alone() {
        use emrtd::Terminal::{Integrator, Server};
        let server = r#"{"terminal":"server","TermPubKey":"03","SmRapdu":"04","SmSsc":"05"}"#;
        assert_eq!(given(server, Some("dg14")), (Server, b"ours".to_vec()));
        assert_eq!(given(server, None), (Server, Vec::new()), "nothing was started");
        assert_eq!(given(server, Some("another")), (Server, Vec::new()), "it is bound to another DG14");
        // Whoever holds the key can forge the transcript: one that brings it is not read as the server's.
        let submitted = r#"{"terminal":"server","TermPri":"0102","TermPubKey":"03","SmRapdu":"04","SmSsc":"05"}"#;
        assert!(given(submitted, None).1.is_empty());
        assert!(given(submitted, Some("dg14")).1.is_empty());
        let integrator = r#"{"terminal":"integrator","TermPri":"0102","TermPubKey":"03","SmRapdu":"04","SmSsc":"05"}"#;
        assert_eq!(given(integrator, Some("dg14")), (Integrator, vec![1, 2]), "ours is never lent");
        assert_eq!(given("no transcript", Some("dg14")), (Integrator, Vec::new()));
    }

    #[test]
    fn where_our_terminal_began_its_own_dg14_must_come_with_or_without_a_transcript() {
        use TerminalBinding::{Broken, Holds};
        let integrator = r#"{"terminal":"integrator","TermPri":"01","TermPubKey":"03","SmRapdu":"04","SmSsc":"05"}"#;
        let mut without_transcript = Evidence::new();
        without_transcript.insert(Part::Dg14, b"dg14".to_vec()).unwrap();
        for evidence in [evidence(integrator), without_transcript] {
            assert_eq!(terminal_binding(&evidence, &case(None)), Holds, "nothing began");
            assert_eq!(terminal_binding(&evidence, &case(Some("dg14"))), Holds);
            assert_eq!(terminal_binding(&evidence, &case(Some("another"))), Broken);
            assert_eq!(terminal_binding(&evidence, &case(Some("dg14 and more"))), Broken);
        }
        let mut without_dg14 = Evidence::new();
        without_dg14.insert(Part::Dg1, b"dg1".to_vec()).unwrap();
        assert_eq!(terminal_binding(&without_dg14, &case(None)), Holds);
        assert_eq!(terminal_binding(&without_dg14, &case(Some("dg14"))), Broken);
        // Nothing of a chip is submitted with selfies alone.
        let selfies_alone = Case { chip: kept(None), ..case(Some("dg14")) };
        assert_eq!(terminal_binding(&Evidence::new(), &selfies_alone), Holds);
    }

    /// What was kept of a chip whose parts were attested by this key.
    fn kept(attested_by: Option<ReaderKeyId>) -> ChipEvidence {
        let part = || Secret::new(b"part".to_vec());
        let signer = emrtd::DocumentSigner { certificate: Vec::new(), signed_at: None };
        ChipEvidence::Kept(Box::new(Kept::new(part(), part(), signer, Checks::default(), attested_by)))
    }

    #[test]
    fn what_was_attested_before_stands_while_the_readers_key_does() {
        let key = ReaderKeyId::generate(Timestamp::from_secs(0), &mut rand::rng());
        let found = |attested_by: Option<&ReaderKeyId>, standing, evidence: &Evidence| {
            let mut case = Case { chip: kept(attested_by.cloned()), ..case(None) };
            case.reader.kept = standing;
            case.reader.attempt = Some(AttemptId::generate(Timestamp::from_secs(0), &mut rand::rng()));
            attestation(evidence, &case)
        };
        let selfies = Evidence::new();
        let revoked = Attestation::Fails("reader_attestation_key_revoked");
        assert_eq!(found(Some(&key), Standing::Valid, &selfies), Attestation::Holds(key.clone()));
        assert_eq!(found(Some(&key), Standing::Revoked, &selfies), revoked);
        let unknown = Attestation::Fails("reader_attestation_key_unknown");
        assert_eq!(found(Some(&key), Standing::Unknown, &selfies), unknown, "what is not known vouches for nothing");
        for standing in [Standing::Valid, Standing::Revoked, Standing::Unknown] {
            assert_eq!(found(None, standing, &selfies), Attestation::NotSupplied, "{standing:?}");
        }
        let mut with_statement = Evidence::new();
        with_statement.attest(b"no statement".to_vec()).unwrap();
        let malformed = Attestation::Fails("reader_attestation_malformed");
        assert_eq!(found(Some(&key), Standing::Valid, &with_statement), malformed);
    }
}
