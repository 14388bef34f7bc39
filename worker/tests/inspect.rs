//! `proofmill-worker inspect` as people run it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use proofmill_fixtures::{
    Algorithm, CaChip, CaKind, ChipKey, ChipKind, Country, DocumentSigner, Exchange, MrzFields, PortraitFormat,
    SigningKey, SodOptions, Validity, der, dg1, dg2, dg14, dg15, plain_ecdsa_sha256_info, sod,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde_json::{Value, json};

const AT: &str = "2026-06-15T12:00:00Z";

// -- running

struct Ran {
    status: i32,
    findings: Vec<Value>,
    stdout: String,
    stderr: String,
}

/// Runs `inspect … --json`, and holds every finding to what all findings promise.
fn inspect<S: AsRef<str>>(arguments: &[S]) -> Ran {
    inspect_with(arguments, &[])
}

fn inspect_with<S: AsRef<str>>(arguments: &[S], input: &[u8]) -> Ran {
    let mut all: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    all.push("--json");
    let ran = run(&all, input);
    let findings: Vec<Value> = ran.1.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for finding in &findings {
        let members = finding.as_object().unwrap();
        for member in ["file", "kind", "valid", "gates", "deviations", "reason"] {
            assert!(members.contains_key(member), "{member}: {finding}");
        }
        let gates = finding["gates"].as_object().unwrap();
        let failed = gates.values().any(|result| result == "failed");
        assert_eq!(finding["valid"], finding["reason"].is_null(), "{finding}");
        assert!(finding["valid"] == false || !failed, "a gate of a valid file failed: {finding}");
        assert!(gates.values().all(Value::is_string), "{finding}");
    }
    if ran.0 != 2 {
        let all_valid = findings.iter().all(|finding| finding["valid"] == true);
        assert_eq!(ran.0, i32::from(!all_valid), "{}", ran.1);
    }
    Ran { status: ran.0, findings, stdout: ran.1, stderr: ran.2 }
}

fn run(arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_proofmill-worker"))
        .arg("inspect")
        .args(arguments)
        .env_remove("PROOFMILL_TRUST")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A process that does not read it has gone by then, which is its right.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

// -- what is inspected

fn at() -> Timestamp {
    AT.parse().unwrap()
}

struct World {
    folder: tempfile::TempDir,
    rng: ChaCha20Rng,
    country: Country,
    signer: DocumentSigner,
}

impl World {
    /// A country with trust in `trust/`, its revocation list included.
    fn new() -> World {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let country = Country::mint("UT", "UTO", Algorithm::ALL[5], at(), &mut rng);
        let signer = country.signer(Validity::days_around(at(), 3 * 365, 7 * 365), &mut rng);
        let world = World { folder: tempfile::tempdir().unwrap(), rng, country, signer };
        world.write("trust/UTO.cer", &world.country.csca);
        world.write("trust/UTO.crl", &world.country.crl);
        world
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    fn sod(&self, groups: &[(u8, &[u8])]) -> Vec<u8> {
        let signed = at() - jiff::SignedDuration::from_hours(24 * 300);
        sod(groups, &self.signer, SodOptions { lds_version: 0, signing_time: Some(signed) })
    }
}

fn changed(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at] ^= 1;
    changed
}

fn zone() -> Vec<u8> {
    let fields = MrzFields {
        issuing_state: "UTO".to_owned(),
        surname: "ERIKSSON".to_owned(),
        given_names: "ANNA MARIA".to_owned(),
        document_number: "L898902C3".to_owned(),
        nationality: "XXA".to_owned(),
        date_of_birth: jiff::civil::date(1974, 8, 12),
        sex: 'F',
        date_of_expiry: jiff::civil::date(2032, 4, 15),
        optional_data: "ZE184226B".to_owned(),
    };
    dg1(&fields.td3())
}

/// What a masked finding must not have: name, number, birth, nationality, optional data.
const PERSONAL: [&str; 7] = ["ERIKSSON", "ANNA", "L898902", "740812", "1974", "XXA", "ZE184226"];

/// A picture of 413 by 531 as far as its header goes.
fn portrait() -> Vec<u8> {
    let mut image = vec![0xff, 0xd8, 0xff, 0xc0, 0, 17, 8, 0x02, 0x13, 0x01, 0x9d, 3];
    image.extend([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    image.extend([0x5a; 600]);
    image.extend([0xff, 0xd9]);
    image
}

fn face() -> Vec<u8> {
    dg2(&portrait(), PortraitFormat::Jpeg, 413, 531)
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

// -- SOD

#[test]
fn a_genuine_sod_is_valid_and_what_was_not_given_is_not_run() {
    let world = World::new();
    let file = world.write("UT_EF_SOD.bin", &world.sod(&[(1, &zone()), (2, &face())]));
    let trust = world.path("trust");
    let ran = inspect(&["sod", &file, "--trust", &trust, "--at", AT]);
    let finding = &ran.findings[0];
    assert_eq!(finding["file"], file.as_str());
    assert_eq!((finding["valid"].clone(), finding["kind"].clone()), (json!(true), json!("sod")));
    let gates = &finding["gates"];
    for (gate, result) in [
        ("passive_authentication", "passed"),
        ("signature", "passed"),
        ("chain", "passed"),
        ("revocation", "passed"),
        ("revocation_status", "verified_not_revoked"),
        ("data_group_hashes", "not_run"),
        ("document_data", "not_run"),
    ] {
        assert_eq!(gates[gate], result, "{gate}");
    }
    assert_eq!(finding["structure"]["lds"]["data_groups"], json!([1, 2]));
    assert_eq!(finding["chain"].as_array().unwrap().len(), 2);
    assert_eq!(finding["chain"][1]["classification"], "self_signed_ok");

    // Without a revocation list nothing is known, which is no reason but under the strict policy.
    let csca = world.path("trust/UTO.cer");
    let ran = inspect(&["sod", &file, "--trust", &csca, "--at", AT]);
    assert_eq!(ran.findings[0]["gates"]["revocation"], "not_run");
    assert_eq!(ran.findings[0]["gates"]["revocation_status"], "revocation_unknown");
    assert_eq!(ran.status, 0);
    let ran = inspect(&["sod", &file, "--trust", &csca, "--at", AT, "--policy", "strict"]);
    assert_eq!((ran.status, ran.findings[0]["reason"].clone()), (1, json!("revocation_unknown")));
    // All of it known, the data groups are still not there.
    let ran = inspect(&["sod", &file, "--trust", &trust, "--at", AT, "--policy", "strict"]);
    assert_eq!((ran.status, ran.findings[0]["reason"].clone()), (1, json!("data_group_missing(dg1)")));
    // Nothing is trusted for having come along.
    let ran = inspect(&["sod", &file, "--at", AT]);
    assert_eq!((ran.status, ran.findings[0]["reason"].clone()), (1, json!("chain_not_trusted")));
    assert!(ran.findings[0]["message"].as_str().unwrap().contains("--trust"));
}

#[test]
fn a_forged_sod_says_why_and_the_rest_still_runs() {
    let mut world = World::new();
    let genuine = world.sod(&[(1, &zone()), (2, &face())]);
    let other = Country::mint("UT", "UTO", Algorithm::ALL[5], at(), &mut world.rng);
    let impostor = other.signer(Validity::days_around(at(), 900, 900), &mut world.rng);
    world.write("in/a.bin", &changed(&genuine, genuine.len() - 1));
    world.write("in/b.bin", &genuine);
    world.write("in/c.bin", &genuine[..genuine.len() / 2]);
    world.write("in/d.bin", &[&genuine[..], &[0]].concat());
    world.write(
        "in/e.bin",
        &sod(&[(1, &zone()), (2, &face())], &impostor, SodOptions { lds_version: 0, signing_time: None }),
    );
    world.write("in/f.bin", b"");
    world.write("in/g.pem", pem("CMS", &genuine).as_bytes());
    let missing = world.path("missing.bin");
    let ran = inspect(&["sod", &world.path("in"), &missing, "--trust", &world.path("trust"), "--at", AT]);
    let reasons: Vec<Value> = ran.findings.iter().map(|finding| finding["reason"].clone()).collect();
    let expected = [
        json!("signature_invalid"),
        json!(null),
        json!("part_malformed(sod)"),
        json!("part_trailing_data(sod)"),
        json!("chain_not_trusted"),
        json!("file_empty"),
        json!(null),
        json!("unreadable"),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(ran.findings[4]["candidates"]["of_the_issuer"][0]["same_name"], true);
    assert_eq!((ran.status, ran.findings.len()), (1, 8));
    assert_eq!(ran.findings[7]["file"], missing.as_str());
    // From a pipe.
    let ran = inspect_with(&["sod", "-", "--trust", &world.path("trust"), "--at", AT], &genuine);
    assert_eq!((ran.status, ran.findings[0]["file"].clone()), (0, json!("-")));
}

#[test]
fn text_begins_with_the_verdict_and_has_no_colour_in_a_pipe() {
    let world = World::new();
    let file = world.write("sod.bin", &world.sod(&[(1, &zone()), (2, &face())]));
    let (status, stdout, _) = run(&["sod", &file, "--trust", &world.path("trust"), "--at", AT], &[]);
    assert_eq!(status, 0);
    assert!(stdout.starts_with(&format!("VALID  {file} (sod)\n")), "{stdout}");
    assert!(stdout.contains("\n    chain                   passed\n") && !stdout.contains('\x1b'), "{stdout}");
    let (status, stdout, _) = run(&["sod", &file, "--at", AT], &[]);
    assert_eq!(status, 1);
    assert!(stdout.starts_with(&format!("NOT VALID  {file} (sod): chain_not_trusted\n")), "{stdout}");
}

#[test]
fn what_cannot_run_ends_with_2_and_says_why() {
    let world = World::new();
    let file = world.write("sod.bin", &world.sod(&[(1, &zone()), (2, &face())]));
    let broken = world.write("broken.cer", b"no certificate");
    for (arguments, expected) in [
        (vec!["sod"], "PATH"),
        (vec!["sods", &file], "sods"),
        (vec!["sod", &file, "--trust", "/nowhere/trust"], "/nowhere/trust"),
        (vec!["sod", &file, "--trust", &broken], "broken.cer"),
        (vec!["sod", &file, "--anchor", &broken], "broken.cer"),
        (vec!["sod", &file, "--at", "yesterday"], "RFC 3339"),
        (vec!["sod", &file, "--policy", "loose"], "loose"),
        (vec!["dg2", &file, "--extract", "/tmp/x"], "--show-personal-data"),
    ] {
        let (status, stdout, stderr) = run(&arguments, &[]);
        assert_eq!(status, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected) && stdout.is_empty(), "{arguments:?}: {stderr}");
    }
    let (status, stdout, _) = run(&["--help"], &[]);
    assert!(status == 0 && stdout.contains("Exit status") && stdout.contains("inspect masterlist"), "{stdout}");
}

// -- documents

#[test]
fn a_folder_is_a_document_and_every_group_is_held_against_the_sod() {
    let world = World::new();
    let (dg1, dg2, dg11) = (zone(), face(), vec![0x6b, 2, 5, 0]);
    let sod = world.sod(&[(1, &dg1), (2, &dg2), (11, &dg11)]);
    let write = |name: &str, sod: &[u8], dg1: &[u8], dg11: &[u8]| {
        world.write(&format!("documents/{name}/EF_SOD.bin"), sod);
        world.write(&format!("documents/{name}/Datagroup1.bin"), dg1);
        world.write(&format!("documents/{name}/EF.DG2"), &dg2);
        world.write(&format!("documents/{name}/nameless"), dg11);
        world.write(&format!("documents/{name}/selfie.jpg"), &[0xff, 0xd8]);
    };
    write("1_genuine", &sod, &dg1, &dg11);
    write("2_dg1", &sod, &changed(&dg1, 12), &dg11);
    write("3_dg11", &sod, &dg1, &changed(&dg11, 3));
    write("4_undeclared", &world.sod(&[(1, &dg1), (2, &dg2)]), &dg1, &dg11);
    world.write("documents/5_no_sod/dg1.bin", &dg1);
    world.write("documents/6_twice/dg1.bin", &dg1);
    world.write("documents/6_twice/EF_DG1.bin", &dg1);
    let ran = inspect(&["document", &world.path("documents"), "--trust", &world.path("trust"), "--at", AT]);
    let reasons: Vec<Value> = ran.findings.iter().map(|finding| finding["reason"].clone()).collect();
    let expected = [
        json!(null),
        json!("data_group_hash_mismatch(dg1)"),
        json!("data_group_hash_mismatch(dg11)"),
        json!("data_group_not_declared(dg11)"),
        json!("sod_missing"),
        json!("part_twice"),
    ];
    assert_eq!(reasons, expected, "{}", ran.stdout);
    let genuine = &ran.findings[0];
    assert_eq!(genuine["data_groups"], json!({"dg1": "matches", "dg2": "matches", "dg11": "matches"}));
    assert_eq!(genuine["gates"]["data_group_hashes"], "passed");
    assert_eq!(genuine["gates"]["document_data"], "passed");
    assert_eq!(genuine["parts"]["dg11"], "nameless");
    assert_eq!(genuine["ignored"], json!(["selfie.jpg"]));
    assert_eq!(
        (genuine["dg1"]["issuing_state"].clone(), genuine["dg2"]["image_count"].clone()),
        (json!("UTO"), json!(1))
    );
    assert_eq!(ran.findings[1]["data_groups"]["dg1"], "differs");
    assert_eq!(ran.findings[3]["data_groups"]["dg11"], "not_declared");
    for personal in PERSONAL {
        assert!(!ran.stdout.contains(personal) && !ran.stderr.contains(personal), "{personal}");
    }
}

#[test]
fn every_line_of_evidence_is_a_document_with_its_chip() {
    let mut world = World::new();
    let (dg1, dg2) = (zone(), face());
    let chip = ChipKey::generate(ChipKind::ALL[0], &mut world.rng);
    let (options, key) = (dg14(vec![plain_ecdsa_sha256_info()]), dg15(&chip.public_key_info()));
    let sod = world.sod(&[(1, &dg1), (2, &dg2), (14, &options), (15, &key)]);
    let challenge = [1, 2, 3, 4, 5, 6, 7, 8];
    let line = |challenge: [u8; 8], answer: &[u8]| {
        let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
        json!({
            "id": "a", "sod": base64(&sod), "dg1": base64(&dg1), "dg2": base64(&dg2), "dg14": base64(&options),
            "dg15": base64(&key), "active_authentication": base64(answer), "challenge": hex::encode(challenge),
        })
    };
    let answer = chip.answer(&challenge);
    let text = format!("{}\n\n{{\"sod\":\n{}\n", line(challenge, &answer), line([9; 8], &answer));
    let file = world.write("evidence.ndjson", text.as_bytes());
    let one = world.write("one.json", serde_json::to_string_pretty(&line(challenge, &answer)).unwrap().as_bytes());
    let ran = inspect(&["document", &file, &one, "--trust", &world.path("trust"), "--at", AT]);
    let seen: Vec<(Value, Value)> =
        ran.findings.iter().map(|finding| (finding["file"].clone(), finding["reason"].clone())).collect();
    assert_eq!(
        seen,
        [
            (json!(format!("{file}:1")), json!(null)),
            (json!(format!("{file}:3")), json!("evidence_malformed")),
            (json!(format!("{file}:4")), json!("active_authentication_invalid")),
            (json!(one), json!(null)),
        ]
    );
    assert_eq!(ran.findings[0]["gates"]["active_authentication"], "passed");
}

// -- data groups

#[test]
fn dg1_is_masked_unless_asked_for_and_errors_quote_nothing() {
    let world = World::new();
    let file = world.write("dg1.bin", &zone());
    let ran = inspect(&["dg1", &file, "--at", AT]);
    let finding = &ran.findings[0];
    assert_eq!((finding["document_type"].clone(), finding["expired"].clone()), (json!("td3"), json!(false)));
    assert!(finding["check_digits"].as_array().unwrap().iter().all(|digit| digit["holds"] == true));
    let mut zone = zone();
    let at_number = zone.windows(4).position(|window| window == b"L898").unwrap();
    zone[at_number] = b'M';
    let wrong = world.write("wrong.bin", &zone);
    let refused = inspect(&["dg1", &wrong, "--at", AT]);
    assert_eq!(refused.findings[0]["reason"], "mrz_check_digit(document_number)");
    let expired = inspect(&["dg1", &file, "--at", "2033-01-01T00:00:00Z"]);
    assert_eq!((expired.status, expired.findings[0]["expired"].clone()), (0, json!(true)));
    for personal in PERSONAL {
        for ran in [&ran, &refused, &expired] {
            assert!(!ran.stdout.contains(personal) && !ran.stderr.contains(personal), "{personal}");
        }
    }
    let shown = inspect(&["dg1", &file, "--at", AT, "--show-personal-data"]);
    assert_eq!(shown.findings[0]["content"]["primary_identifier"], "ERIKSSON");
}

#[test]
fn dg2_is_described_and_its_image_leaves_only_when_asked_for() {
    let world = World::new();
    let file = world.write("dg2.bin", &face());
    let ran = inspect(&["dg2", &file]);
    let image = &ran.findings[0]["images"][0];
    assert_eq!((image["image_type"].clone(), image["declared_width"].clone()), (json!("jpeg"), json!(413)));
    assert_eq!(image["bytes"], portrait().len());
    assert!(!ran.stdout.contains(&STANDARD.encode(&portrait()[20..60])));
    let folder = world.path("images");
    let ran = inspect(&["dg2", &file, "--extract", &folder, "--show-personal-data"]);
    let written = ran.findings[0]["extracted"][0].as_str().unwrap();
    assert_eq!(std::fs::read(written).unwrap(), portrait());
    // Never over a file that is there.
    let ran = inspect(&["dg2", &file, "--extract", &folder, "--show-personal-data"]);
    assert_eq!((ran.status, ran.findings[0]["reason"].clone()), (1, json!("extraction_failed")));
    let bare = world.write("bare.jpg", &portrait());
    let ran = inspect(&["dg2", &bare]);
    assert_eq!((ran.status, ran.findings[0]["bare_image"].clone()), (1, json!("jpeg")));
    let large = world.write("large.bin", &vec![0x75; (1 << 20) + 1]);
    assert_eq!(inspect(&["dg2", &large]).findings[0]["reason"], "part_too_large(dg2)");
}

// -- chips

#[test]
fn answers_of_every_kind_of_chip_hold_for_their_challenge_alone() {
    let mut world = World::new();
    let challenge = [1, 2, 3, 4, 5, 6, 7, 8];
    for kind in ChipKind::ALL {
        let chip = ChipKey::generate(kind, &mut world.rng);
        let mut exchange = json!({
            "dg15": hex::encode(dg15(&chip.public_key_info())), "nonce": hex::encode_upper(challenge),
            "signature": hex::encode(chip.answer(&challenge)), "comment": "made for a test",
            "dg14": hex::encode(dg14(vec![plain_ecdsa_sha256_info()])),
        });
        let write = |name: &str, exchange: &Value| world.write(name, exchange.to_string().as_bytes());
        let genuine = write("aa.json", &exchange);
        exchange["nonce"] = json!("0102030405060709");
        let replayed = write("replayed.json", &exchange);
        let ran = inspect(&["aa", &genuine, &replayed]);
        assert_eq!(ran.findings[0]["gates"]["active_authentication"], "passed", "{}", kind.name());
        assert_eq!(ran.findings[1]["reason"], "active_authentication_invalid", "{}", kind.name());
    }
    let text = |name: &str, text: &str| world.write(name, text.as_bytes());
    let files = [
        text("1.json", "{"),
        text("2.json", r#"{"dg15":"6f00"}"#),
        text("3.json", r#"{"dg15":"6f00","nonce":"ERIKSSON"}"#),
    ];
    let ran = inspect(&["aa", &files[0], &files[1], &files[2]]);
    let reasons: Vec<&str> = ran.findings.iter().map(|finding| finding["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["json_malformed", "member_missing", "member_not_hex"]);
    assert!(!ran.stdout.contains("ERIKSSON"));
}

#[test]
fn transcripts_of_every_kind_hold_one_by_one_and_in_lists() {
    let mut world = World::new();
    let mut list = Vec::new();
    for kind in CaKind::ALL {
        let chip = CaChip::generate(kind, &mut world.rng);
        let offer = chip.offer();
        let options = dg14(offer.infos());
        let exchange = Exchange::run(&offer, &mut chip.session(&options), &mut world.rng);
        list.push(json!({
            "name": kind.name(), "comment": ["read", 1], "dg14": hex::encode(&options),
            "TermPri": hex::encode(&exchange.private_key), "TermPubKey": hex::encode(&exchange.public_key),
            "SmRapdu": hex::encode(&exchange.response), "SmSsc": hex::encode(&exchange.counter),
        }));
    }
    let mut forged = list[0].clone();
    let response = hex::decode(forged["SmRapdu"].as_str().unwrap()).unwrap();
    forged["SmRapdu"] = json!(hex::encode(changed(&response, response.len() - 5)));
    let one = world.write("one.json", list[1].to_string().as_bytes());
    let wrong = world.write("wrong.json", forged.to_string().as_bytes());
    let kinds = list.len();
    list.push(forged);
    let all = world.write("sessions.json", Value::from(list).to_string().as_bytes());
    let ran = inspect(&["ca", &one, &wrong, &all]);
    assert_eq!(ran.findings.len(), 2 + kinds + 1);
    assert_eq!(ran.findings[0]["file"], one.as_str());
    assert_eq!((ran.findings[0]["valid"].clone(), ran.findings[1]["valid"].clone()), (json!(true), json!(false)));
    assert_eq!(ran.findings[1]["reason"], "chip_authentication_invalid");
    for (index, finding) in ran.findings[2..].iter().enumerate() {
        assert_eq!(finding["file"], format!("{all}:{}", index + 1));
        assert_eq!(finding["valid"], index < kinds, "{finding}");
        // Whoever has the terminal's key can forge a transcript, so one in a file is never a server's.
        assert_eq!(finding["terminal"], "integrator");
    }
}

// -- certificates and lists

#[test]
fn certificates_are_described_chained_and_checked_for_revocation() {
    let mut world = World::new();
    let revoked = world.country.signer(Validity::days_around(at(), 900, 900), &mut world.rng);
    let old = world.country.signer(Validity::days_around(at(), 900, -9), &mut world.rng);
    world.country.publish_crl(at(), &[&revoked]);
    world.write("trust/UTO.crl", &world.country.crl);
    let trust = world.path("trust");
    let both = format!("{}{}", pem("CERTIFICATE", &revoked.certificate), pem("CERTIFICATE", &old.certificate));
    let (both, csca) = (world.write("both.pem", both.as_bytes()), world.path("trust/UTO.cer"));
    let ran = inspect(&["cert", &csca, &both, "--trust", &trust, "--at", AT]);
    let names: Vec<&str> = ran.findings.iter().map(|finding| finding["file"].as_str().unwrap()).collect();
    assert_eq!(names, [&csca, &format!("{both}:1"), &format!("{both}:2")]);
    let reasons: Vec<Value> = ran.findings.iter().map(|finding| finding["reason"].clone()).collect();
    assert_eq!(reasons, [json!(null), json!("certificate_revoked"), json!(null)]);
    assert_eq!(ran.findings[1]["gates"]["chain"], "passed");
    assert_eq!(
        (ran.findings[2]["status"].clone(), ran.findings[2]["chain"][1]["role"].clone()),
        (json!("expired"), json!("csca"))
    );
    // Expiry is reported, and fatal to the strict alone.
    let ran = inspect(&["cert", &both, "--trust", &trust, "--at", AT, "--policy", "strict"]);
    assert_eq!(ran.findings[1]["reason"], "certificate_expired");
    let forged = world.write("forged.cer", &changed(&world.country.csca, world.country.csca.len() - 1));
    let malformed = world.write("x.cer", b"\x30\x03\x02\x01\x01");
    let ran = inspect(&["cert", &csca, &malformed, &forged, "--at", AT]);
    assert_eq!(ran.findings[0]["gates"]["signature"], "passed");
    assert_eq!(ran.findings[2]["reason"], "signature_invalid");
    assert_eq!(ran.findings[0]["gates"]["chain"], "not_run");
    assert_eq!(ran.findings[1]["reason"], "certificate_malformed");
}

#[test]
fn revocation_lists_are_described_and_their_age_is_told() {
    let mut world = World::new();
    let revoked = world.country.signer(Validity::days_around(at(), 900, 900), &mut world.rng);
    world.country.publish_crl(at(), &[&revoked]);
    let list = world.write("UTO.crl", &world.country.crl);
    let wrong = world.write("wrong.crl", &changed(&world.country.crl, world.country.crl.len() - 1));
    let csca = world.path("trust/UTO.cer");
    let ran = inspect(&["crl", &list, &wrong, "--trust", &csca, "--at", AT]);
    assert_eq!((ran.findings[0]["entries"].clone(), ran.findings[0]["status"].clone()), (json!(1), json!("current")));
    assert_eq!(ran.findings[0]["gates"]["signature"], "passed");
    assert_eq!(ran.findings[1]["reason"], "signature_invalid");
    let later = "2027-06-15T12:00:00Z";
    let ran = inspect(&["crl", &list, "--at", later]);
    assert_eq!(ran.findings[0]["gates"]["signature"], "not_run");
    assert_eq!((ran.status, ran.findings[0]["status"].clone()), (0, json!("stale")));
    let ran = inspect(&["crl", &list, "--trust", &csca, "--at", later, "--policy", "strict"]);
    assert_eq!(ran.findings[0]["reason"], "crl_stale");
}

/// A country that signs master lists with its own key.
struct Lister {
    key: SigningKey,
    name: Vec<u8>,
    certificate: Vec<u8>,
}

impl Lister {
    fn mint(alpha2: &str, rng: &mut ChaCha20Rng) -> Lister {
        let key = SigningKey::generate(Algorithm::ALL[5], rng);
        let attribute = |oid: &str, value: Vec<u8>| der::set_of(vec![der::sequence(&[&der::oid(oid), &value])]);
        let name =
            der::sequence(&[&attribute("2.5.4.6", der::printable(alpha2)), &attribute("2.5.4.3", der::utf8("Lister"))]);
        let extension = |oid: &str, value: &[u8]| der::sequence(&[&der::oid(oid), &der::yes(), &der::octets(value)]);
        let extensions = [
            extension("2.5.29.15", &der::tlv(&[0x03], &[1, 0x06])),
            extension("2.5.29.19", &der::sequence(&[&der::yes()])),
        ];
        let validity = Validity::days_around(at(), 900, 900);
        let algorithm = key.algorithm().signature_identifier(false);
        let body = der::sequence(&[
            &der::explicit(0, &der::integer(2)),
            &der::integer(1),
            &algorithm,
            &name,
            &der::sequence(&[&der::time(validity.not_before), &der::time(validity.not_after)]),
            &name,
            &key.public_key_info(),
            &der::explicit(3, &der::sequence(&[&extensions.concat()])),
        ]);
        let certificate = der::sequence(&[&body, &algorithm, &der::bits(&key.sign(&body))]);
        Lister { key, name, certificate }
    }

    fn list(&self, certificates: &[&[u8]]) -> Vec<u8> {
        let set = der::set_of(certificates.iter().map(|certificate| certificate.to_vec()).collect());
        let content = der::sequence(&[&der::integer(0), &set]);
        let identifier = [der::integer(1), der::sequence(&[&self.name, &der::integer(1)])].concat();
        signed_data("2.23.136.1.1.2", &content, &self.key, &identifier, &self.certificate)
    }
}

/// A CMS SignedData; `identifier` is the SignerInfo's version and signer identifier.
fn signed_data(kind: &str, content: &[u8], key: &SigningKey, identifier: &[u8], certificate: &[u8]) -> Vec<u8> {
    let hash = key.algorithm().hash();
    let attribute = |oid: &str, value: &[u8]| der::sequence(&[&der::oid(oid), &der::tlv(&[0x31], value)]);
    let kind = der::oid(kind);
    let attributes = der::set_of(vec![
        attribute("1.2.840.113549.1.9.3", &kind),
        attribute("1.2.840.113549.1.9.4", &der::octets(&hash.of(content))),
    ]);
    let signature = key.sign(&attributes);
    // Signed as a SET OF, carried as [0] IMPLICIT.
    let mut carried = attributes;
    carried[0] = 0xa0;
    let signer = der::sequence(&[
        identifier,
        &hash.identifier(),
        &carried,
        &key.algorithm().signature_identifier(true),
        &der::octets(&signature),
    ]);
    let signed = der::sequence(&[
        &der::integer(3),
        &der::set_of(vec![hash.identifier()]),
        &der::sequence(&[&kind, &der::explicit(0, &der::octets(content))]),
        &der::explicit(0, certificate),
        &der::set_of(vec![signer]),
    ]);
    der::sequence(&[&der::oid("1.2.840.113549.1.7.2"), &der::explicit(0, &signed)])
}

#[test]
fn a_master_list_holds_under_its_own_anchor_and_vouches_for_documents() {
    let mut world = World::new();
    let lister = Lister::mint("XL", &mut world.rng);
    let stranger = Lister::mint("XM", &mut world.rng);
    let other = world.write("other.cer", &stranger.certificate);
    let anchor = world.write("anchor.cer", &lister.certificate);
    let bytes = lister.list(&[&world.country.csca, &lister.certificate]);
    let list = world.write("list.ml", &bytes);
    let ran = inspect(&["masterlist", &list, "--anchor", &anchor, "--at", AT]);
    let finding = &ran.findings[0];
    assert_eq!(
        finding["gates"],
        json!({"structure": "passed", "signature": "passed", "integrity": "passed", "certificates": "passed"})
    );
    assert_eq!(finding["classification"], json!({"self_signed_ok": 2, "link_ok": 0, "signer_absent": 0}));
    assert_eq!((finding["total"].clone(), finding["by_country"]["UT"]["total"].clone()), (json!(2), json!(1)));
    let ran = inspect(&["masterlist", &list, "--anchor", &other, "--at", AT, "--list"]);
    assert_eq!(ran.findings[0]["reason"], "signer_not_issued_by_anchor");
    assert_eq!(ran.findings[0]["gates"]["integrity"], "passed");
    assert_eq!(ran.findings[0]["certificates"].as_array().unwrap().len(), 2);
    // Without an anchor nobody vouches for it, but it can still be whole.
    let ran = inspect(&["masterlist", &list, "--at", AT]);
    assert_eq!((ran.status, ran.findings[0]["gates"]["signature"].clone()), (0, json!("not_run")));
    assert_eq!(
        inspect(&["masterlist", &list, "--at", AT, "--policy", "strict"]).findings[0]["reason"],
        "anchor_missing"
    );
    let broken = world.write("broken.ml", &changed(&bytes, bytes.len() - 1));
    for arguments in [vec!["masterlist", &broken], vec!["masterlist", &broken, "--anchor", &anchor]] {
        assert_eq!(inspect(&arguments).findings[0]["gates"]["integrity"], "failed");
    }

    // As trust: under its anchor silently, under its own certificates with a warning, broken not at all.
    let sod = world.write("sod.bin", &world.sod(&[(1, &zone()), (2, &face())]));
    for (trust, warning) in [
        (vec!["--trust", &list, "--anchor", &anchor], ""),
        (vec!["--trust", &list, "--trust", &anchor], ""),
        (vec!["--trust", &list], "no --anchor vouches"),
    ] {
        let ran = inspect(&[&["sod", &sod, "--at", AT][..], &trust].concat());
        assert_eq!(ran.status, 0, "{trust:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(warning) && ran.stderr.is_empty() == warning.is_empty(), "{}", ran.stderr);
    }
    // Nothing on this one is its signer's.
    let alone = world.write("alone.ml", &lister.list(&[&world.country.csca]));
    let ran = inspect(&["sod", &sod, "--at", AT, "--trust", &alone]);
    assert!(ran.status == 0 && ran.stderr.contains("NOTHING VOUCHES"), "{}", ran.stderr);
    for trust in [vec!["--trust", &broken], vec!["--trust", &list, "--anchor", &other], vec!["--trust", &sod]] {
        let ran = inspect(&[&["sod", &sod, "--at", AT][..], &trust].concat());
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{trust:?}: {}", ran.stderr);
    }
    // In a folder lies what is none of it.
    let garbage = world.write("trust/garbage.cer", b"garbage");
    let ran = inspect(&["sod", &sod, "--at", AT, "--trust", &world.path("trust")]);
    assert!(
        ran.status == 0 && ran.stderr.contains("passed over") && ran.stderr.contains("garbage.cer"),
        "{}",
        ran.stderr
    );
    assert_eq!(inspect(&["sod", &sod, "--at", AT, "--trust", &garbage]).status, 2);
}

#[test]
fn card_security_is_judged_like_an_sod_and_shows_what_the_chip_offers() {
    let mut world = World::new();
    let key = SigningKey::generate(Algorithm::ALL[5], &mut world.rng);
    let validity = Validity::days_around(at(), 900, 900);
    let signer = world.country.signer_with(key.clone(), validity, &mut world.rng);
    let info = proofmill_emrtd::CertificateInfo::parse(&signer.certificate).unwrap();
    let identifier = [der::integer(3), der::implicit(0, &hex::decode(info.key_identifier).unwrap())].concat();
    let infos = der::set_of(CaChip::generate(CaKind::P256Aes128, &mut world.rng).offer().infos());
    let file = signed_data("0.4.0.127.0.7.3.2.1", &infos, &key, &identifier, &signer.certificate);
    let genuine = world.write("ef011D.bin", &file);
    let forged = world.write("forged.bin", &changed(&file, file.len() - 1));
    let sod = world.write("sod.bin", &world.sod(&[(1, &zone()), (2, &face())]));
    let ran = inspect(&["cardsecurity", &genuine, &forged, &sod, "--trust", &world.path("trust"), "--at", AT]);
    let reasons: Vec<Value> = ran.findings.iter().map(|finding| finding["reason"].clone()).collect();
    let refused = ["card_security(signature_invalid)", "card_security(malformed)"].map(Value::from);
    assert_eq!(reasons, [&[json!(null)], &refused[..]].concat(), "{}", ran.stdout);
    let protocols = ran.findings[0]["security_infos"].as_array().unwrap();
    assert!(protocols.iter().any(|info| info["protocol"] == "id-CA-ECDH-AES-CBC-CMAC-128"), "{protocols:?}");
    assert_eq!(ran.findings[0]["gates"]["revocation"], "passed");
    let ran = inspect(&["cardsecurity", &genuine, "--at", AT]);
    assert_eq!(ran.findings[0]["reason"], "card_security(chain_not_trusted)");
}

// -- reference data

fn reference() -> Option<PathBuf> {
    let Some(path) = std::env::var_os("PROOFMILL_REFERENCE_DATA") else {
        println!("skipped: PROOFMILL_REFERENCE_DATA is not set, so there are no real files to inspect");
        return None;
    };
    Some(PathBuf::from(path).join("emrtd"))
}

fn lists(data: &Path) -> Vec<String> {
    ["DE_ML_2024-04-10-10-54-13.ml", "NL_ML_2026-07-22.ml"]
        .map(|name| data.join("masterlists").join(name).display().to_string())
        .to_vec()
}

fn trusting(data: &Path, arguments: &[&str]) -> Ran {
    let csca = data.join("sods/GB2010_CSCA.cer").display().to_string();
    let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    for trust in lists(data).into_iter().chain([csca]) {
        all.extend(["--trust".to_owned(), trust]);
    }
    all.extend(["--at".to_owned(), "2026-11-22T00:00:00Z".to_owned()]);
    inspect(&all)
}

#[test]
fn reference_sods_are_valid_and_mutants_are_not() {
    let Some(data) = reference() else { return };
    let file = |country: &str| data.join(format!("sods/{country}_EF_SOD.bin")).display().to_string();
    let countries = ["AT", "CN", "FI", "FR", "GB2010", "MY", "NZ", "RU", "SG", "US"];
    let files: Vec<String> = countries.iter().map(|country| file(country)).collect();
    let ran = trusting(&data, &[&["sod"][..], &files.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    assert_eq!((ran.status, ran.findings.len()), (0, 10), "{}", ran.stdout);
    for finding in &ran.findings {
        assert_eq!(finding["gates"]["revocation_status"], "revocation_unknown");
        assert_eq!(finding["gates"]["data_group_hashes"], "not_run");
    }
    let ran = trusting(&data, &["sod", &data.join("negative").display().to_string()]);
    assert_eq!(ran.findings.len(), 8);
    for finding in &ran.findings {
        assert!(finding["valid"] == false && finding["gates"]["signature"] != "passed", "{finding}");
    }
}

#[test]
fn reference_lists_hold_under_their_own_anchors_alone() {
    let Some(data) = reference() else { return };
    let anchors =
        ["DE_CSCA_048B.cer", "NL_ROOT_CA.cer"].map(|name| data.join("masterlists").join(name).display().to_string());
    let lists = lists(&data);
    for (own, anchor) in anchors.iter().enumerate() {
        let ran = inspect(&["masterlist", &lists[0], &lists[1], "--anchor", anchor]);
        for (index, finding) in ran.findings.iter().enumerate() {
            assert_eq!(finding["valid"], index == own, "{finding}");
            assert_eq!(finding["gates"]["certificates"], "passed");
            let classes = finding["classification"].as_object().unwrap();
            let sum: u64 = classes.values().map(|count| count.as_u64().unwrap()).sum();
            assert_eq!(finding["total"], sum);
        }
        assert_eq!((ran.findings[0]["total"].clone(), ran.findings[1]["total"].clone()), (json!(526), json!(411)));
    }
}

/// One of them names its key and one names none, so that its own signature is known by its name alone.
#[test]
fn reference_authorities_changed_anywhere_do_not_hold() {
    let Some(data) = reference() else { return };
    let world = World::new();
    for name in ["DE_CSCA_048B.cer", "NL_ROOT_CA.cer"] {
        let genuine = std::fs::read(data.join("masterlists").join(name)).unwrap();
        let genuine_path = world.write(name, &genuine);
        let changed: Vec<String> = (40..genuine.len())
            .step_by(97)
            .chain([genuine.len() - 1])
            .map(|at| world.write(&format!("{at}-{name}"), &changed(&genuine, at)))
            .collect();
        let files: Vec<&str> = changed.iter().map(String::as_str).collect();
        let ran = inspect(&[&["cert", &genuine_path][..], &files].concat());
        assert_eq!(
            (ran.findings[0]["valid"].clone(), ran.findings[0]["gates"]["signature"].clone()),
            (json!(true), json!("passed"))
        );
        for finding in &ran.findings[1..] {
            // With another issuer it says of itself that somebody else signed it.
            assert!(finding["valid"] == false || finding["structure"]["self_issued"] == false, "{finding}");
        }
        let refused = ran.findings.iter().filter(|finding| finding["valid"] == false).count();
        assert!(refused * 2 > changed.len(), "{refused} of {}", changed.len());
    }
}

#[test]
fn reference_data_groups_and_exchanges_are_read() {
    let Some(data) = reference() else { return };
    let path = |name: &str| data.join(name).display().to_string();
    for (kind, name, valid) in [
        ("dg2", "dg2/ISO19794_Test1_Data.bin", true),
        ("dg2", "dg2/ISO19794_Test2_Data_InvalidImage.bin", false),
        ("dg2", "dg2/ICAO_39794_5_AP_DG2_MandFields.dat", true),
        ("dg2", "dg2/dg2_silver_mandatory_fields.bin", true),
        ("dg2", "specimen/loes2006/ef0102.bin", true),
        ("dg1", "specimen/bsi2008/Datagroup1.bin", true),
        ("dg14", "dg2/spec_sample_encoded_dg14.bin", true),
        ("dg14", "specimen/bsi2008/Datagroup14.bin", true),
        ("dg15", "specimen/loes2006/ef010F.bin", true),
        ("aa", "aa/icao_9303_11_worked_example.json", true),
        ("ca", "ca/sessions.json", true),
    ] {
        let ran = inspect(&[kind, &path(name)]);
        assert!(ran.findings.iter().all(|finding| finding["valid"] == valid), "{name}: {}", ran.stdout);
        assert_eq!(ran.findings.len(), if kind == "ca" { 2 } else { 1 });
    }
}

#[test]
fn reference_specimens_hold_but_for_trust_and_what_is_not_declared() {
    let Some(data) = reference() else { return };
    let ran = trusting(&data, &["document", &data.join("specimen").display().to_string()]);
    assert_eq!(ran.findings.len(), 3);
    for finding in &ran.findings {
        assert_eq!(finding["gates"]["signature"], "passed");
        assert_eq!(finding["reason"], "chain_not_trusted");
        let groups = finding["data_groups"].as_object().unwrap();
        for group in ["dg1", "dg2"] {
            assert_eq!(groups[group], "matches");
        }
        let dutch = finding["file"].as_str().unwrap().ends_with("loes2006");
        assert_eq!(groups["dg15"], if dutch { "matches" } else { "not_declared" });
        assert_eq!(finding["gates"]["data_group_hashes"], if dutch { "passed" } else { "failed" });
    }
}
