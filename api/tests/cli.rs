//! The command line, run as people run it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn run(folder: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_proofmill-api"))
        .args(words)
        .env_clear()
        .env("PROOFMILL_DATA_DIR", folder)
        .output()
        .unwrap()
}

#[track_caller]
fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stdout)))
}

#[track_caller]
fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn an_organisation_and_its_key_from_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let made = json(&run(&data, &["org", "create", "--name", "Acme", "--sandbox", "--json"]));
    assert_eq!((&made["name"], &made["sandbox"]), (&"Acme".into(), &true.into()));
    assert_eq!(made["policy"]["unknown_revocation"], "accept");
    let org = made["id"].as_str().unwrap();
    let key = json(&run(&data, &["keys", "create", "--org", org, "--scope", "sessions:read", "--json"]));
    assert!(key["api_key"].as_str().unwrap().starts_with("kk_"));
    assert_eq!(key["scopes"], serde_json::json!(["sessions:read"]));

    let listed = json(&run(&data, &["keys", "list", "--org", org, "--json"]));
    assert!(listed.get("api_key").is_none(), "a key is shown once");
    let id = key["id"].as_str().unwrap();
    assert!(run(&data, &["keys", "revoke", "--org", org, id]).status.success());
    assert!(failure(&run(&data, &["keys", "revoke", "--org", org, id])).contains("no valid key"));
    let listed = json(&run(&data, &["keys", "list", "--org", org, "--json"]));
    assert!(listed["revoked_at"].is_string());

    let set =
        json(&run(&data, &["org", "set", org, "--expired-documents", "accept", "--contract-version", "1", "--json"]));
    assert_eq!((&set["policy"]["expired_documents"], &set["default_contract_version"]), (&"accept".into(), &1.into()));
    assert_eq!(set["policy"]["unknown_revocation"], "accept", "what is not named stays");
    assert_eq!(json(&run(&data, &["org", "list", "--json"])), set);
}

#[test]
fn the_deployment_key_is_private_and_is_never_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    json(&run(folder.path(), &["org", "create", "--name", "Acme", "--json"]));
    let path = folder.path().join("keys/deployment.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let key = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let missing = failure(&run(folder.path(), &["org", "create", "--name", "Other", "--json"]));
    assert!(missing.contains("deployment.key") && missing.contains("put the deployment's key back"), "{missing}");
    assert!(!path.exists());
    // Another deployment's key would open nothing of this one's.
    let other = tempfile::tempdir().unwrap();
    json(&run(other.path(), &["org", "create", "--name", "Acme", "--json"]));
    std::fs::copy(other.path().join("keys/deployment.key"), &path).unwrap();
    let wrong = failure(&run(folder.path(), &["org", "create", "--name", "Other", "--json"]));
    assert!(wrong.contains("is not the key"), "{wrong}");
    std::fs::write(&path, key).unwrap();
    json(&run(folder.path(), &["org", "create", "--name", "Other", "--json"]));
}

#[test]
fn mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = format!("org_{}", "0".repeat(32));
    for (words, names) in [
        (vec!["keys", "create", "--org", unknown.as_str()], "there is no organisation"),
        (vec!["org", "create", "--name", " "], "--name"),
        (vec!["org", "set", unknown.as_str(), "--name", "x"], "there is no organisation"),
        (vec!["serve"], "proofmill-worker standalone"),
        (vec!["--log-format", "xml", "org", "list"], "--log-format"),
    ] {
        let message = failure(&run(folder.path(), &words));
        assert!(message.contains(names), "{words:?}: {message}");
    }
    let org = json(&run(folder.path(), &["org", "create", "--name", "Acme", "--json"]));
    let words = ["keys", "create", "--org", org["id"].as_str().unwrap(), "--scope", "admin"];
    assert!(failure(&run(folder.path(), &words)).contains("`admin` is no scope"));
    let nowhere = Command::new(env!("CARGO_BIN_EXE_proofmill-api")).args(["org", "list"]).env_clear().output().unwrap();
    assert!(failure(&nowhere).contains("--data-dir"));
}

#[test]
fn secrets_given_by_the_environment_are_not_shown_by_help() {
    let output = Command::new(env!("CARGO_BIN_EXE_proofmill-api"))
        .arg("--help")
        .env("PROOFMILL_DATABASE_URL", "postgres://user:hunter2@host/db")
        .env("PROOFMILL_AMQP_URI", "amqp://user:hunter2@host")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("--data-dir") && help.contains("keys"), "{help}");
    assert!(!help.contains("hunter2"));
}
