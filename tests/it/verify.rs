//! The offline job: no server, a file of evidence in, a verdict for each line out.

use std::path::Path;
use std::process::{Command, Output};

use proofmill_fixtures::Case;
use proofmill_tests::environment;
use proofmill_tests::minted::{Specimen, World};
use serde_json::Value;

#[test]
fn every_line_gets_the_verdict_it_was_minted_for_and_a_broken_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::mint(11).unwrap();
    world.write_trust(&folder.path().join("trust")).unwrap();
    // Which readers an organisation trusts is in a server's database, so their statements mean nothing offline.
    let specimens = world.specimens(Case::all().len());
    let mut lines: Vec<String> = specimens.iter().map(Specimen::evidence_line).collect();
    lines.insert(3, "{ this is no JSON".to_owned());
    let file = folder.path().join("evidence.ndjson");
    std::fs::write(&file, lines.join("\n")).unwrap();

    let output = verify(&file, &["--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let mut rows: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let broken = rows.remove(3);
    assert_eq!((&broken["line"], &broken["verdict"]), (&Value::from(4), &Value::from("error")), "{broken}");
    assert!(broken["error"]["code"].is_string());
    assert_eq!(rows.len(), specimens.len());
    let wrong: Vec<String> = rows
        .iter()
        .zip(&specimens)
        .filter(|(row, specimen)| row["failure_code"].as_str() != specimen.expected)
        .map(|(row, specimen)| format!("{}: expected {:?}, got {row}", specimen.name, specimen.expected))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_exit_status_tells_all_passed_from_could_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::mint(12).unwrap();
    world.write_trust(&folder.path().join("trust")).unwrap();
    let file = folder.path().join("evidence.ndjson");
    std::fs::write(&file, world.genuine().evidence_line()).unwrap();
    let output = verify(&file, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));

    let output = verify(&folder.path().join("missing.ndjson"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("missing.ndjson"));
}

/// With the trust store that lies beside the file.
fn verify(file: &Path, options: &[&str]) -> Output {
    let mut command: Command = environment::command("proofmill-worker").unwrap();
    command.arg("verify").arg(file).args(options);
    command.arg("--pack").arg(environment::pack().unwrap());
    command.arg("--trust").arg(file.parent().unwrap().join("trust"));
    command.output().unwrap()
}
