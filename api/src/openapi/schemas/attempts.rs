//! Attempts, evidence, and chip authentication by the server's terminal.

use proofmill_contract::limits::{MAX_SELFIE_BYTES, MAX_SELFIES, MAX_SHARE_FIELDS};
use proofmill_contract::{AttemptStatus, Part, Phase};
use serde_json::{Value, json};

use super::{Named, closed, nullable, one_of, open, reference, text, time};

pub fn schemas() -> Named {
    let statuses: Vec<&str> = AttemptStatus::ALL.iter().map(|status| status.as_str()).collect();
    let phases: Vec<&str> = Phase::ALL.iter().map(|phase| phase.as_str()).collect();
    vec![
        (
            "AttemptStatus",
            one_of(
                &statuses,
                "`cancelled`: never decided, because its handoff or its session ended first; not charged.",
            ),
        ),
        ("AttemptPhase", one_of(&phases, "How far it has come.")),
        (
            "Gate",
            one_of(
                &["passed", "failed", "not_applicable", "not_run"],
                "`not_applicable`: the document or the policy has no such check; `not_run`: an earlier gate decided, or its input was not given.",
            ),
        ),
        ("Checks", checks()),
        (
            "Attempt",
            closed(
                json!({
                    "id": reference("AttemptId"),
                    "session_id": reference("SessionId"),
                    "status": reference("AttemptStatus"),
                    "phase": reference("AttemptPhase"),
                    "failure_code": { "anyOf": [{ "type": "null" }, reference("FailureCode")] },
                    "checks": { "anyOf": [reference("Checks"), { "type": "null" }], "description": "Null until it has settled." },
                    "created_at": time(),
                    "updated_at": time(),
                    "completed_at": { "anyOf": [{ "type": "null" }, time()] },
                }),
                "One try of a session. It holds results only: no score, no document data.",
            ),
        ),
        (
            "SubmittedAttempt",
            closed(
                json!({
                    "attempt_id": reference("AttemptId"),
                    "status": reference("AttemptStatus"),
                    "phase": one_of(&["queued", "verifying", "settled"], "How far it has come; a repeated submission may find it further."),
                }),
                "Evidence that was accepted for verification.",
            ),
        ),
        ("Handoff", handoff()),
        ("EvidenceForm", form()),
        ("EvidenceManifest", manifest()),
        (
            "StartChipAuthentication",
            closed(
                json!({ "dg14": { "type": "string", "contentEncoding": "base64", "minLength": 1, "description": "EF.DG14, standard base64." } }),
                "The chip's DG14.",
            ),
        ),
        ("ChipAuthentication", chip_authentication()),
        ("ChipAuthenticationTranscript", transcript()),
    ]
}

fn checks() -> Value {
    let gate = || reference("Gate");
    open(
        json!({
            "evidence_format": gate(),
            "passive_authentication": gate(),
            "document_data": gate(),
            "active_authentication": gate(),
            "chip_authentication": gate(),
            "reader_attestation": gate(),
            "liveness": gate(),
            "face_match": gate(),
            "presentation_attack_detection": one_of(&["not_performed", "passed", "failed"], "What a detector of presentation attacks said of the selfies, where the model pack has one."),
            "revocation_status": one_of(&["revocation_unknown", "verified_not_revoked", "revoked"], "Of the document signer's certificate."),
            "chip_authentication_terminal": {
                "enum": [null, "server", "integrator"],
                "description": "Whose terminal ran chip authentication. An integrator's own is no proof against cloning.",
            },
            "reason": text("Why the failing gate failed.", "data_group_hash_mismatch"),
            "deviations": {
                "type": "array",
                "items": { "type": "string", "examples": ["id_data_content_type"] },
                "description": "Departures from the standards that were accepted.",
            },
            "face_model": text("Which model pack and operating point judged the faces.", "reference@1"),
        }),
        &[
            "evidence_format",
            "passive_authentication",
            "document_data",
            "active_authentication",
            "chip_authentication",
            "reader_attestation",
            "liveness",
            "face_match",
            "presentation_attack_detection",
            "revocation_status",
            "chip_authentication_terminal",
        ],
        "The gates, in the order in which they decide; the first that fails decides.",
    )
}

pub(super) fn handoff() -> Value {
    closed(
        json!({
            "v": { "type": "integer", "const": 1 },
            "session_id": reference("SessionId"),
            "attempt_id": reference("AttemptId"),
            "mobile_write_token": {
                "type": "string",
                "pattern": "^[0-9a-f]{64}$",
                "description": "The bearer token that may write this attempt's evidence.",
                "examples": ["0000000000000000000000000000000000000000000000000000000000000000"],
            },
            "expires_at": time(),
            "active_authentication_challenge": {
                "type": "string",
                "pattern": "^[0-9a-f]{16}$",
                "description": "Eight octets for the chip to sign (ICAO Doc 9303-11 section 6.1), good for this attempt only.",
                "examples": ["5d1f0c2ab9e84736"],
            },
            "contract_version": reference("ContractVersion"),
            "share_fields": reference("ShareFields"),
            "redirect_url": nullable(text("Where the holder goes afterwards.", "https://shop.example.com/done")),
            "organisation_name": text("Who asks.", "Example Shop"),
            "chip_evidence": one_of(&["required", "already_passed"], "`already_passed`: selfies alone are enough."),
        }),
        "What a phone needs to read the chip and send the evidence.",
    )
}

fn form() -> Value {
    let octets = |limit: usize, description: &str| {
        json!({
            "type": "string",
            "format": "binary",
            "contentMediaType": "application/octet-stream",
            "minLength": 1,
            "maxLength": limit,
            "description": description,
        })
    };
    let mut members = json!({
        "manifest": reference("EvidenceManifest"),
        "selfie": {
            "type": "array",
            "items": {
                "type": "string",
                "format": "binary",
                "contentMediaType": "image/jpeg",
                "minLength": 1,
                "maxLength": MAX_SELFIE_BYTES,
            },
            "minItems": 1,
            "maxItems": MAX_SELFIES,
            "description": "JPEG frames of the holder, one part each.",
        },
    });
    for part in Part::ALL {
        members[part.name()] = match part {
            Part::ChipAuthentication => reference("ChipAuthenticationTranscript"),
            part => octets(part.limit(), part_description(part)),
        };
    }
    open(
        members,
        &["manifest", "selfie"],
        "The evidence as read from the chip, octet for octet. `sod`, `dg1` and `dg2` are needed unless the handoff said `already_passed`; every data group of 1, 2, 14 and 15 that the SOD declares must be there.",
    )
}

pub(super) fn part_description(part: Part) -> &'static str {
    match part {
        Part::Sod => "EF.SOD: the document security object.",
        Part::Dg1 => "EF.DG1: the machine-readable zone.",
        Part::Dg2 => "EF.DG2: the portrait.",
        Part::Dg14 => "EF.DG14: security infos for chip authentication.",
        Part::Dg15 => "EF.DG15: the active-authentication public key.",
        Part::ActiveAuthentication => "The chip's answer to INTERNAL AUTHENTICATE over the handoff's challenge.",
        Part::ChipAuthentication => "The transcript of chip authentication.",
        Part::CardSecurity => "EF.CardSecurity, for PACE with chip authentication mapping.",
        #[allow(unreachable_patterns)]
        _ => "Another part of the evidence.",
    }
}

fn manifest() -> Value {
    open(
        json!({
            "selected_field_keys": {
                "type": "array",
                "items": reference("ClaimKey"),
                "minItems": 1,
                "maxItems": MAX_SHARE_FIELDS,
                "description": "The claims that the holder agreed to share, each required one among them.",
            },
            "reader_attestation": {
                "type": "string",
                "maxLength": proofmill_contract::limits::MAX_READER_ATTESTATION_BYTES,
                "description": "Compact JWS (ES256 or EdDSA) of a registered reader key over `{\"attempt_id\", \"challenge\", \"iat\", \"sha256\": {\"sod\": hex, …}}`: the attempt, its challenge, seconds since the Unix epoch at most five minutes ago, and the SHA-256 of every part but the selfies, by name.",
            },
        }),
        &["selected_field_keys"],
        "What goes with the evidence.",
    )
}

fn hex(description: &str) -> Value {
    json!({ "type": "string", "pattern": "^([0-9a-fA-F]{2})*$", "description": description, "examples": ["00"] })
}

fn transcript() -> Value {
    let mut members = json!({
        "terminal": one_of(&["server", "integrator"], "Who held the terminal's private key."),
        "TermPri": hex("The terminal's private key; an integrator's only."),
        "TermPubKey": hex("The terminal's public key."),
        "SmRapdu": hex("The chip's protected answer."),
        "SmSsc": hex("The send sequence counter of that answer."),
    });
    for name in proofmill_emrtd::Transcript::MEMBERS {
        if members.get(name).is_none() {
            members[name] = hex("Of version 2, or of PACE with chip authentication mapping.");
        }
    }
    open(members, &["terminal"], "A transcript of chip authentication (ICAO Doc 9303-11 section 6.2), octets in hex.")
}

fn chip_authentication() -> Value {
    closed(
        json!({
            "v": { "type": "integer", "const": 1 },
            "attempt_id": reference("AttemptId"),
            "terminal_public_key": hex("The terminal's ephemeral public key."),
            "commands": {
                "type": "array",
                "items": hex("A plain command APDU."),
                "minItems": 1,
                "description": "For the reader to send inside its running secure messaging; the chip answers each with 9000.",
            },
            "protected_command": hex("READ BINARY under the new session keys, to be sent as it is."),
            "transcript": closed(
                json!({
                    "terminal": { "type": "string", "const": "server" },
                    "TermPubKey": hex("The terminal's public key."),
                    "SmRapdu": { "type": "null", "description": "To be filled with the chip's answer, in hex." },
                    "SmSsc": hex("The send sequence counter of that answer."),
                }),
                "The part `chip_authentication` of the submission, but for the chip's answer.",
            ),
        }),
        "What the reader sends to the chip.",
    )
}
