//! The document stage: evidence to report, and report to what claims are made from.

use std::borrow::Cow;

use proofmill_contract::claims::{DocumentData, Photo};
use proofmill_contract::evidence::Part;
use proofmill_contract::policy::Tolerance;
use proofmill_contract::{Evidence, OrganisationPolicy};
use proofmill_emrtd as emrtd;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::engine::Case;

/// Runs every document gate over the evidence as received.
pub fn verify<'a>(
    evidence: &'a Evidence,
    transcript: Option<&'a Transcript>,
    case: &'a Case,
    trust: &emrtd::TrustStore,
) -> emrtd::Verification<'a> {
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
        chip_authentication: transcript.map(Transcript::borrow),
    };
    let at = emrtd::UnixTime(case.at.as_secs());
    emrtd::verify(&input, trust, &policy(&case.policy), at)
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
    Ok(DocumentData {
        document_code: mrz.document_code.clone(),
        issuing_state: mrz.issuing_state.clone(),
        primary_identifier: text(&mrz.primary_identifier),
        secondary_identifier: text(&mrz.secondary_identifier),
        document_number: text(&mrz.document_number),
        nationality: text(&mrz.nationality),
        // ICAO Doc 9303-3 allows unknown days and months; age and identity claims cannot be made of them.
        date_of_birth: mrz.date_of_birth.complete().and_then(date).ok_or("date_of_birth_incomplete")?,
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
    // The record's own width and height are often wrong, so the picture is asked. It decodes a second time here, but only
    // for the few who share their photo.
    let decoded = proofmill_face::decode(portrait.image, &proofmill_face::DecodeLimits::portrait()).ok();
    let side = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let (width, height) = decoded
        .map_or((u32::from(portrait.declared_width), u32::from(portrait.declared_height)), |image| {
            (side(image.width()), side(image.height()))
        });
    Photo {
        bytes: Zeroizing::new(portrait.image.to_vec()),
        format: match portrait.image_type {
            emrtd::ImageType::Jpeg => "jpeg",
            emrtd::ImageType::Jp2 | emrtd::ImageType::Jpeg2000Codestream => "jpeg2000",
        },
        width,
        height,
    }
}

/// An organisation's policy in the library's words.
fn policy(policy: &OrganisationPolicy) -> emrtd::Policy {
    emrtd::Policy {
        unknown_revocation_fails: policy.unknown_revocation == Tolerance::Reject,
        ..emrtd::Policy::default()
    }
}

/// A chip-authentication transcript. One that cannot be read is one that does not verify: its members are empty, and its
/// own gate, in its own place in the order, rejects it.
pub struct Transcript {
    terminal: emrtd::Terminal,
    private_key: Zeroizing<Vec<u8>>,
    public_key: Zeroizing<Vec<u8>>,
    response: Zeroizing<Vec<u8>>,
    counter: Zeroizing<Vec<u8>>,
}

impl Transcript {
    /// The transcript that was submitted, if one was.
    pub fn of(evidence: &Evidence) -> Option<Self> {
        evidence.get(Part::ChipAuthentication).map(Self::read)
    }

    fn read(json: &[u8]) -> Self {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire<'a> {
            #[serde(borrow)]
            terminal: Cow<'a, str>,
            #[serde(borrow, default, rename = "TermPri")]
            private_key: Cow<'a, str>,
            #[serde(borrow, rename = "TermPubKey")]
            public_key: Cow<'a, str>,
            #[serde(borrow, rename = "SmRapdu")]
            response: Cow<'a, str>,
            #[serde(borrow, rename = "SmSsc")]
            counter: Cow<'a, str>,
        }
        let bytes = |text: &str| Zeroizing::new(hex::decode(text).unwrap_or_default());
        match serde_json::from_slice::<Wire<'_>>(json) {
            Ok(wire) if wire.terminal == "server" => Self {
                terminal: emrtd::Terminal::Server,
                // Ours alone, and this worker keeps none yet, so the gate fails. Taken from the evidence it would let
                // anybody forge what counts as proof against cloning.
                private_key: Zeroizing::default(),
                public_key: bytes(&wire.public_key),
                response: bytes(&wire.response),
                counter: bytes(&wire.counter),
            },
            Ok(wire) => Self {
                terminal: emrtd::Terminal::Integrator,
                private_key: bytes(&wire.private_key),
                public_key: bytes(&wire.public_key),
                response: bytes(&wire.response),
                counter: bytes(&wire.counter),
            },
            Err(_) => Self {
                terminal: emrtd::Terminal::Integrator,
                private_key: Zeroizing::default(),
                public_key: Zeroizing::default(),
                response: Zeroizing::default(),
                counter: Zeroizing::default(),
            },
        }
    }

    fn borrow(&self) -> emrtd::ChipAuthentication<'_> {
        emrtd::ChipAuthentication {
            terminal: self.terminal,
            terminal_private_key: &self.private_key,
            terminal_public_key: &self.public_key,
            protected_response: &self.response,
            send_sequence_counter: &self.counter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submitted_key_never_passes_for_the_servers() {
        let read = |terminal: &str| {
            let json = format!(
                r#"{{"terminal":"{terminal}","TermPri":"0102","TermPubKey":"03","SmRapdu":"04","SmSsc":"05"}}"#
            );
            Transcript::read(json.as_bytes())
        };
        let server = read("server");
        assert_eq!(server.borrow().terminal, emrtd::Terminal::Server);
        assert!(server.borrow().terminal_private_key.is_empty(), "whoever holds the key can forge the transcript");
        let integrator = read("integrator");
        assert_eq!(integrator.borrow().terminal, emrtd::Terminal::Integrator);
        assert_eq!(integrator.borrow().terminal_private_key, [1, 2]);
    }
}
