//! The offline job as people run it.

use std::process::{Command, Output};

use proofmill_fixtures::{Case, ChipKind};
use serde_json::Value;

use crate::gallery;

fn worker(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_proofmill-worker")).args(arguments).env_remove("PROOFMILL_TRUST").output().unwrap()
}

#[test]
fn what_cannot_run_at_all_ends_with_2_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("evidence.ndjson"), "{}\n").unwrap();
    std::fs::create_dir(path("empty")).unwrap();
    std::fs::create_dir(path("notrust")).unwrap();
    std::fs::write(path("notrust/x.cer"), "no certificate").unwrap();
    let cases = [
        (vec!["verify".to_owned(), path("nowhere.ndjson")], "nowhere.ndjson"),
        (vec!["verify".to_owned(), path("empty")], "no evidence found"),
        (vec!["verify".to_owned(), path("evidence.ndjson")], "--trust"),
        (vec!["verify".to_owned(), path("evidence.ndjson"), "--trust".to_owned(), path("notrust")], "x.cer"),
        (vec!["verify".to_owned(), path("evidence.ndjson"), "--at".to_owned(), "yesterday".to_owned()], "RFC 3339"),
    ];
    for (arguments, expected) in cases {
        let output = worker(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_reader_of_errors_that_went_away_takes_nothing_with_it() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_proofmill-worker"))
        .args(["verify", "nowhere.ndjson"])
        .stderr(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2), "the error cannot be told, but it is no crash");
}

#[test]
fn every_command_explains_itself() {
    for command in ["standalone", "run", "verify", "models", "doctor"] {
        let output = worker(&[command, "--help"]);
        assert!(output.status.success(), "{command}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("Usage:"), "{command}");
    }
    let output = worker(&["run"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standalone"));
}

#[test]
fn minted_evidence_gets_its_expected_verdicts_in_order_and_a_broken_line_is_named() {
    let (Some(minting), Some(pack)) = (gallery::minting(), gallery::pack()) else { return };
    let folder = tempfile::tempdir().unwrap();
    minting.write_trust(&folder.path().join("trust")).unwrap();
    let cases = Case::all();
    let mut text = String::new();
    for (index, case) in cases.iter().enumerate() {
        if index == 2 {
            text.push_str("{\"id\":\"broken\",\"sod\":\n");
        }
        text.push_str(&format!("{}\n", minting.submission(*case, index as u64).evidence_line()));
    }
    let path = folder.path().join("evidence.ndjson");
    std::fs::write(&path, text).unwrap();

    let pack = pack.display().to_string();
    let output = worker(&["verify", &path.display().to_string(), "--json", "--pack", &pack]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("line 3: INVALID_REQUEST"), "{errors}");
    assert!(errors.contains(&format!("{} items in", cases.len() + 1)), "{errors}");
    let rows: Vec<Value> = output
        .stdout
        .split(|&b| b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert_eq!(
        rows.iter().map(|row| row["line"].as_u64().unwrap()).collect::<Vec<_>>(),
        (1..=cases.len() as u64 + 1).collect::<Vec<_>>()
    );
    assert_eq!(rows[2]["verdict"], "error");
    let verdicts = rows.iter().enumerate().filter(|(index, _)| *index != 2).map(|(_, row)| row);
    let mut wrong = Vec::new();
    for (case, row) in cases.iter().zip(verdicts) {
        let got = row["failure_code"].as_str().unwrap_or("accepted");
        if got != case.expected().as_str() {
            wrong.push(format!("{case}: expected {}, got {row}", case.expected().as_str()));
        }
        let has_chip = minting.submission(*case, row["line"].as_u64().unwrap()).passport.chip.is_some();
        assert_eq!(row["challenge"] == "caller_supplied", has_chip, "{case}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Nothing of the holder is in the output: every surname of the minted persons is upper case and none is there.
    let text = String::from_utf8_lossy(&output.stdout);
    for name in ["ERIKSSON", "MUSTERMANN", "NOWAK", "OKAFOR"] {
        assert!(!text.contains(name) && !errors.contains(name));
    }
}

#[test]
fn a_folder_of_genuine_evidence_ends_with_0() {
    let (Some(minting), Some(pack)) = (gallery::minting(), gallery::pack()) else { return };
    let folder = tempfile::tempdir().unwrap();
    minting.write_trust(&folder.path().join("trust")).unwrap();
    let minted = minting.submission(Case::GenuineChip(ChipKind::EcdsaP256), 7);
    let item = folder.path().join("item-1");
    std::fs::create_dir(&item).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(item.join(name), bytes).unwrap();
    write("sod.bin", &minted.passport.sod);
    write("dg1.bin", &minted.passport.dg1);
    write("dg2.bin", &minted.passport.dg2);
    write("dg14.bin", minted.passport.dg14.as_ref().unwrap());
    write("dg15.bin", minted.passport.dg15.as_ref().unwrap());
    write("challenge.bin", &minted.challenge);
    write("active_authentication.bin", &minted.passport.answer_active_authentication(&minted.challenge).unwrap());
    write("selfie.jpg", &minted.selfies[0]);
    let second = minting.submission(Case::GenuineLdsV1, 8).evidence_line();
    std::fs::write(folder.path().join("item-2.json"), second.to_string()).unwrap();

    let pack = pack.display().to_string();
    let output = worker(&["verify", &folder.path().display().to_string(), "--pack", &pack]);
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{table}{errors}");
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert!(rows[1].contains("item-1") && rows[1].contains("accepted"), "{table}");
    assert!(rows[2].contains("genuine_lds_v1-8") && rows[2].contains("accepted"), "{table}");

    // Two years on, the signer's revocation list is no longer current.
    let later = worker(&[
        "verify",
        &folder.path().display().to_string(),
        "--pack",
        &pack,
        "--at",
        "2029-01-01T00:00:00Z",
        "--json",
    ]);
    assert_eq!(later.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&later.stdout).contains("revocation_unknown"));
}

#[test]
fn a_selfie_that_cannot_be_used_is_rejected_by_its_name() {
    let (Some(minting), Some(pack)) = (gallery::minting(), gallery::pack()) else { return };
    let folder = tempfile::tempdir().unwrap();
    minting.write_trust(&folder.path().join("trust")).unwrap();
    let genuine = minting.submission(Case::GenuineLdsV1, 3);
    let whole = genuine.selfies[0].clone();
    let frame = whole.windows(2).position(|w| w[0] == 0xff && (0xc0..=0xc2).contains(&w[1])).unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut other = whole.clone();
        other[at..at + bytes.len()].copy_from_slice(bytes);
        other
    };
    let cut = whole[..whole.len() / 2].to_vec();
    let one_frame = [
        ("image_truncated", cut.clone()),
        ("image_truncated", [&cut[..], &[0xff, 0xd9]].concat()),
        ("image_truncated", changed(frame + 5, &[0x10, 0])),
        ("image_too_many_pixels", changed(frame + 5, &[0x4e, 0x20, 0x4e, 0x20])),
        ("image_unsupported", changed(frame + 1, &[0xc9])),
        ("image_format_unknown", b"GIF89a and so on".to_vec()),
        ("image_format_wrong", b"\x89PNG\r\n\x1a\n and so on".to_vec()),
    ];
    let mut cases: Vec<(&str, Vec<Vec<u8>>)> =
        one_frame.into_iter().map(|(name, selfie)| (name, vec![selfie])).collect();
    cases.push(("frames_identical", vec![whole.clone(), whole.clone()]));
    let mut text = String::new();
    for (_, selfies) in &cases {
        let mut minted = minting.submission(Case::GenuineLdsV1, 3);
        minted.selfies.clone_from(selfies);
        text.push_str(&format!("{}\n", minted.evidence_line()));
    }
    let path = folder.path().join("evidence.ndjson");
    std::fs::write(&path, text).unwrap();
    let output = worker(&["verify", &path.display().to_string(), "--json", "--pack", &pack.display().to_string()]);
    let rows: Vec<Value> =
        output.stdout.split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(rows.len(), cases.len(), "{}", String::from_utf8_lossy(&output.stderr));
    for ((name, _), row) in cases.iter().zip(&rows) {
        assert_eq!(
            (&row["failure_code"], &row["checks"]["reason"]),
            (&"liveness_failed".into(), &(*name).into()),
            "{row}"
        );
        assert_eq!(row["checks"]["presentation_attack_detection"], "not_performed");
    }
}
