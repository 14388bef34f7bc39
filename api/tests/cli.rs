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

/// Runs with these variables and no others.
fn run_in(variables: &[(&str, &str)], words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofmill-api"));
    command.args(words).env_clear().envs(variables.iter().copied()).output().unwrap()
}

#[track_caller]
fn shown(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A refusal before anything is done.
#[track_caller]
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    shown(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
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
    let key = json(&run(
        &data,
        &["keys", "create", "--org", org, "--scope", "sessions:read", "--scope", "sessions:read", "--json"],
    ));
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
    let data = folder.path().join("data");
    json(&run(&data, &["org", "create", "--name", "Acme", "--json"]));
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
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
    let org = json(&run(folder.path(), &["org", "create", "--name", "Acme", "--json"]));
    let unknown = format!("org_{}", "0".repeat(32));
    for (words, names) in [
        (vec!["keys", "create", "--org", unknown.as_str()], "there is no organisation"),
        (vec!["org", "create", "--name", " "], "--name"),
        (vec!["org", "set", unknown.as_str(), "--name", "x"], "there is no organisation"),
        (vec!["serve"], "proofmill-worker standalone"),
        (vec!["org", "set", unknown.as_str()], "nothing to change"),
        (vec!["org", "id-keys", "list", "--org", unknown.as_str()], "there is no organisation"),
        (vec!["org", "id-keys", "rotate", "--org", unknown.as_str(), "--kind", "both"], "there is no organisation"),
    ] {
        let message = failure(&run(folder.path(), &words));
        assert!(message.contains(names), "{words:?}: {message}");
    }
    let words = ["keys", "create", "--org", org["id"].as_str().unwrap(), "--scope", "admin"];
    assert!(failure(&run(folder.path(), &words)).contains("`admin` is no scope"));
    let nowhere = Command::new(env!("CARGO_BIN_EXE_proofmill-api")).args(["org", "list"]).env_clear().output().unwrap();
    assert!(failure(&nowhere).contains("--data-dir"));
}

/// A name, a value and what is allowed, whatever kind of value it is.
#[test]
fn a_bad_value_on_the_command_line_is_refused_with_its_name_and_what_is_allowed() {
    for (words, names) in [
        (&["serve", "--key-rate", "-1"][..], &["'-1'", "--key-rate", "1 to 1000000"][..]),
        (&["serve", "--key-rate=-1"], &["'-1'", "--key-rate", "1 to 1000000"]),
        (&["serve", "--trusted-proxies", "-1.5"], &["'-1.5'", "--trusted-proxies", "0 to 16"]),
        (&["--database-pool", "-3", "org", "list"], &["'-3'", "--database-pool", "1 to 1000"]),
        (&["quarantine", "list", "--limit", "-5"], &["'-5'", "--limit", "1 to 1000"]),
        (&["quarantine", "list", "--limit", "many"], &["'many'", "--limit", "1 to 1000"]),
        (&["org", "create", "--name", "x", "--contract-version", "-2"], &["'-2'", "--contract-version", "1..=2"]),
        (&["--log", "===", "org", "list"], &["'==='", "--log", "expected a level (off, error,"]),
        (&["--log", "proofmill_api=loud", "org", "list"], &["'proofmill_api=loud'", "--log", "debug, trace"]),
    ] {
        let message = refusal(&run_in(&CLUSTER, words));
        for name in names {
            assert!(message.contains(name), "{words:?}: {message}");
        }
    }
    let variables = [&CLUSTER[..], &[("PROOFMILL_LOG", "===")]].concat();
    let message = refusal(&run_in(&variables, &["org", "list"]));
    assert!(message.contains("PROOFMILL_LOG: `log` = \"===\": expected a level"), "{message}");
}

#[test]
fn a_mistyped_variable_is_warned_of_in_one_line_and_one_of_the_worker_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    json(&run(folder.path(), &["org", "create", "--name", "Acme", "--json"]));
    let variables = [("PROOFMILL_DATA_DIR", data), ("PROOFMILL_KEYRATE", "hunter2"), ("PROOFMILL_DEVICE", "cpu")];
    let output = run_in(&variables, &["org", "list", "--json"]);
    assert_eq!(json(&output)["name"], "Acme");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("WARN") && told.contains("PROOFMILL_KEYRATE (did you mean PROOFMILL_KEY_RATE?)"), "{told}");
    assert!(!told.contains("hunter2") && !told.contains("PROOFMILL_DEVICE"), "{told}");
}

#[test]
fn commands_that_look_at_data_make_no_folder_that_was_mistyped() {
    let folder = tempfile::tempdir().unwrap();
    let mistyped = folder.path().join("dtaa");
    let org = format!("org_{}", "0".repeat(32));
    let attempt = format!("va_{}", "0".repeat(64));
    for words in [
        &["org", "list"][..],
        &["org", "set", &org, "--name", "x"],
        &["org", "reader-keys", "list", "--org", &org],
        &["org", "id-keys", "list", "--org", &org],
        &["keys", "list", "--org", &org],
        &["keys", "create", "--org", &org],
        &["quarantine", "list"],
        &["quarantine", "list", "--lost"],
        &["quarantine", "requeue", &attempt],
    ] {
        let message = failure(&run(&mistyped, words));
        assert!(message.contains("--data-dir") && message.contains("dtaa"), "{words:?}: {message}");
        assert!(!mistyped.exists(), "{words:?}");
    }
    json(&run(&mistyped, &["org", "create", "--name", "Acme", "--json"]));
    assert!(shown(&run(&mistyped, &["quarantine", "list"])).is_empty());
    assert!(failure(&run(&mistyped, &["quarantine", "requeue", &attempt])).contains("is not set aside"));
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

#[test]
fn reader_keys_are_registered_listed_and_revoked_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let made = json(&run(&data, &["org", "create", "--name", "Acme", "--reader-attestation", "required", "--json"]));
    assert_eq!(made["policy"]["reader_attestation"], "required");
    let org = made["id"].as_str().unwrap();
    let file = folder.path().join("reader.key");
    let path = file.to_str().unwrap();
    let add = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let words = ["org", "reader-keys", "add", "--org", org, "--key", path, "--json"];
        run(&data, &[&words[..], more].concat())
    };

    let key = proofmill_jose::SigningKey::es256("gate 4").unwrap();
    let jwk = key.verifying_key().to_jwk();
    let added = json(&add(&jwk.to_string(), &["--name", "Front desk"]));
    assert_eq!((&added["kid"], &added["name"], &added["jwk"]), (&"gate 4".into(), &"Front desk".into(), &jwk));
    // RFC 8410 section 10.1.
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let pem = json(&add(pem, &[]));
    assert_eq!((&pem["jwk"]["alg"], pem["kid"].as_str().unwrap().len()), (&"EdDSA".into(), 43));

    let namesake = proofmill_jose::SigningKey::es256("gate 4").unwrap().verifying_key().to_jwk();
    let told = failure(&add(&jwk.to_string(), &["--kid", "gate 5"]));
    assert!(told.contains("this very public key as reader key `gate 4`, which is valid"), "{told}");
    let mut private = jwk.clone();
    private["d"] = "SECRET-SCALAR".into();
    for (text, names) in [
        (private.to_string(), "private member `d`"),
        ("-----BEGIN PRIVATE KEY-----\nSECRET-SCALAR\n-----END PRIVATE KEY-----".to_owned(), "private key"),
        ("{\"kty\": SECRET-SCALAR".to_owned(), "line 1 column 9"),
        ("{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQAB\"}".to_owned(), "`kty`"),
        ("A".repeat(70_000), "larger"),
        (jwk.to_string(), "this very public key as reader key `gate 4`, which is valid"),
        (namesake.to_string(), "has or had a reader key `gate 4`: give this one another --kid"),
    ] {
        let told = failure(&add(&text, &[]));
        assert!(told.contains(names) && !told.contains("SECRET-SCALAR"), "{told}");
    }

    let list = || {
        let output = run(&data, &["org", "reader-keys", "list", "--org", org, "--json"]);
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse::<Value>().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(list().len(), 2);
    let revoke = || run(&data, &["org", "reader-keys", "revoke", "--org", org, "gate 4"]);
    assert!(revoke().status.success());
    assert!(failure(&revoke()).contains("no valid reader key gate 4"));
    assert!(list()[0]["revoked_at"].is_string());
    assert!(failure(&add(&namesake.to_string(), &[])).contains("has or had"), "a revoked name is not given again");
    let told = failure(&add(&jwk.to_string(), &["--kid", "gate 5"]));
    assert!(told.contains("as reader key `gate 4`, which is revoked"), "a revoked key would count again: {told}");
    assert_eq!(list().len(), 2);
    json(&add(&namesake.to_string(), &["--kid", "gate 5"]));
    let unknown = format!("org_{}", "0".repeat(32));
    assert!(
        failure(&run(&data, &["org", "reader-keys", "list", "--org", &unknown])).contains("there is no organisation")
    );
}

#[test]
fn the_openapi_document_is_printed_without_touching_any_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert_eq!(json(&run(&data, &["openapi"])), *proofmill_api::openapi::document());
    assert!(!data.exists());
}

const CLUSTER: [(&str, &str); 4] = [
    ("PROOFMILL_DATABASE_URL", "postgres://user:hunter2@host/db"),
    ("PROOFMILL_AMQP_URI", "amqp://user:hunter2@host"),
    ("PROOFMILL_KEYS_DIR", "/keys"),
    ("PROOFMILL_VAULT_DIR", "/vault"),
];

#[test]
fn settings_come_from_defaults_then_file_then_environment_then_flags() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proofmill.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "key-rate = 2000\naddress-rate = 2001\n[serve]\ntrusted-proxies = 2\n").unwrap();
    let variables =
        [&CLUSTER[..], &[("PROOFMILL_CONFIG", path), ("PROOFMILL_KEY_RATE", "3000"), ("PROOFMILL_KEYRATE", "1")]]
            .concat();
    let text = shown(&run_in(&variables, &["serve", "--check-config", "--evidence-memory", "64"]));
    for line in [
        "listen = \"127.0.0.1:8080\"  # the defaults",
        &format!("address-rate = 2001  # {path}"),
        &format!("trusted-proxies = 2  # {path}"),
        "key-rate = 3000  # PROOFMILL_KEY_RATE",
        "evidence-memory = 64  # --evidence-memory",
        "database-url = \"[redacted]\"  # PROOFMILL_DATABASE_URL",
        "# data-dir is not set",
        "# PROOFMILL_KEYRATE is in the environment and is no setting of this program",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
    }
    assert!(!text.contains("hunter2"));
    let flag = run_in(&variables, &["serve", "--check-config", "--key-rate", "4000"]);
    assert!(shown(&flag).contains("key-rate = 4000  # --key-rate"));
}

#[test]
fn a_bad_setting_is_refused_with_its_source_its_name_its_value_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proofmill.toml");
    let config = format!("--config={}", file.display());
    for (text, names) in [
        ("key-rate = 0", "`key-rate` = 0: expected a number from 1 to 1000000"),
        ("key_rate = 5", "`key_rate` is no setting; did you mean `key-rate`?"),
        ("listen = \"everywhere\"", "`listen` = \"everywhere\": expected ADDRESS:PORT, such as 127.0.0.1:8080"),
        ("verify-base-url = \"https://x.example/?a=b\"", "expected an http or https URL without query"),
        ("docs-url = \"//evil.example\"", "`docs-url`"),
        ("amqp-prefix = \"a b\"", "expected 1 to 64 letters"),
        ("log-format = \"xml\"", "expected one of human, json"),
        ("request-timeout = 10", "`request-timeout` = 10: expected a number from 25 to 600"),
    ] {
        std::fs::write(&file, text).unwrap();
        let message = refusal(&run_in(&CLUSTER, &[&config, "serve", "--check-config"]));
        assert!(message.contains(names) && message.contains("proofmill.toml"), "{text}: {message}");
    }
    let variables = [&CLUSTER[..], &[("PROOFMILL_DATABASE_POOL", "many")]].concat();
    let message = refusal(&run_in(&variables, &["serve"]));
    let expected = "PROOFMILL_DATABASE_POOL: `database-pool` = \"many\": expected a number from 1 to 1000";
    assert!(message.contains(expected), "{message}");
    let message = refusal(&run_in(&CLUSTER, &["serve", "--trusted-proxies", "17"]));
    assert!(
        message.contains("'17'") && message.contains("--trusted-proxies") && message.contains("0 to 16"),
        "{message}"
    );
}

#[test]
fn urls_of_services_are_checked_before_they_are_used_and_their_passwords_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proofmill.toml");
    for (key, variable, wrong, form) in [
        ("amqp-uri", "PROOFMILL_AMQP_URI", "http://u:hunter2@x", "expected amqp://"),
        ("database-url", "PROOFMILL_DATABASE_URL", "mysql://u:hunter2@x", "expected postgres://"),
        ("database-url", "PROOFMILL_DATABASE_URL", "hunter2", "expected postgres://"),
        ("database-url", "PROOFMILL_DATABASE_URL", "postgres://u:hunter2@h:99999/db", "expected postgres://"),
    ] {
        let others: Vec<_> = CLUSTER.into_iter().filter(|(name, _)| *name != variable).collect();
        let flag = format!("--{key}={wrong}");
        std::fs::write(&file, format!("{key} = \"{wrong}\"\n")).unwrap();
        let config = format!("--config={}", file.display());
        for told in [
            refusal(&run_in(&others, &["serve", "--check-config", &flag])),
            refusal(&run_in(&[&others[..], &[(variable, wrong)]].concat(), &["serve", "--check-config"])),
            refusal(&run_in(&others, &["serve", "--check-config", &config])),
        ] {
            assert!(told.contains(key) && told.contains(form) && told.contains("[redacted]"), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
    let told = refusal(&run_in(&CLUSTER, &["serve", "--listen", "foo"]));
    assert!(told.contains("--listen") && told.contains("ADDRESS:PORT, such as 127.0.0.1:8080"), "{told}");
}

#[test]
fn settings_that_do_not_go_together_fail_the_check() {
    for (without, names) in [
        ("PROOFMILL_AMQP_URI", "--amqp-uri"),
        ("PROOFMILL_KEYS_DIR", "--keys-dir"),
        ("PROOFMILL_VAULT_DIR", "--vault-dir"),
    ] {
        let variables: Vec<_> = CLUSTER.into_iter().filter(|(name, _)| *name != without).collect();
        let output = run_in(&variables, &["serve", "--check-config"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(names), "{without}");
    }
    let embedded = run_in(&[("PROOFMILL_DATA_DIR", "/data")], &["serve", "--check-config"]);
    assert!(String::from_utf8_lossy(&embedded.stderr).contains("proofmill-worker standalone"));
    assert!(run_in(&[("PROOFMILL_DATA_DIR", "/data")], &["org", "list", "--check-config"]).status.success());
}

#[test]
fn the_defaults_are_a_configuration_and_so_are_the_samples() {
    let defaults = shown(&run_in(&[], &["--default-config"]));
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.toml");
    std::fs::write(&copy, &defaults).unwrap();
    shown(&run_in(&CLUSTER, &["--config", copy.to_str().unwrap(), "serve", "--check-config"]));
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/serve.toml");
    let text = shown(&run_in(&CLUSTER, &["serve", "--config", sample, "--check-config"]));
    assert!(text.contains("verify-base-url = \"https://verify.example.com/verify\""), "{text}");
}

#[test]
fn an_organisation_changes_what_is_named_and_becomes_a_sandbox_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let made = json(&run(folder.path(), &["org", "create", "--name", "Acme", "--json"]));
    let org = made["id"].as_str().unwrap();
    let set = |words: &[&str]| json(&run(folder.path(), &[&["org", "set", org, "--json"], words].concat()));
    let sandbox = set(&["--sandbox", "true"]);
    assert_eq!((&sandbox["sandbox"], &sandbox["policy"]["unknown_revocation"]), (&true.into(), &"accept".into()));
    assert_eq!(set(&["--sandbox", "true", "--unknown-revocation", "reject"])["policy"]["unknown_revocation"], "reject");
    assert_eq!(set(&["--sandbox", "true"])["policy"]["unknown_revocation"], "reject", "it was one already");
    let live = set(&["--sandbox", "false", "--reader-attestation", "required", "--chip-authentication", "required"]);
    let policy = &live["policy"];
    assert_eq!(
        (&policy["reader_attestation"], &policy["chip_authentication"]),
        (&"required".into(), &"required".into())
    );
    assert_eq!(set(&["--name", " New name "])["name"], "New name");
    let line = shown(&run(folder.path(), &["org", "list"]));
    assert!(line.contains("reader attestation required") && line.contains("New name"), "{line}");
    for name in ["", "a\nb"] {
        assert!(failure(&run(folder.path(), &["org", "set", org, "--name", name])).contains("--name"));
    }
}

#[test]
fn id_keys_have_versions_and_never_leave() {
    let folder = tempfile::tempdir().unwrap();
    let made = json(&run(folder.path(), &["org", "create", "--name", "Acme", "--json"]));
    let org = made["id"].as_str().unwrap();
    let list = || lines(&run(folder.path(), &["org", "id-keys", "list", "--org", org, "--json"]));
    let versions = |rows: &[Value]| {
        rows.iter()
            .map(|row| (row["kind"].clone(), row["version"].clone(), row["retired_at"].is_null()))
            .collect::<Vec<_>>()
    };
    let first = list();
    assert_eq!(versions(&first), [("document".into(), 1.into(), true), ("human".into(), 1.into(), true)]);
    let rotated = lines(&run(folder.path(), &["org", "id-keys", "rotate", "--org", org, "--kind", "both", "--json"]));
    assert_eq!(rotated.iter().map(|row| row["version"].clone()).collect::<Vec<_>>(), [2, 2]);
    json(&run(folder.path(), &["org", "id-keys", "rotate", "--org", org, "--kind", "human", "--json"]));
    let after = list();
    assert_eq!(
        versions(&after),
        [
            ("document".into(), 1.into(), false),
            ("document".into(), 2.into(), true),
            ("human".into(), 1.into(), false),
            ("human".into(), 2.into(), false),
            ("human".into(), 3.into(), true),
        ]
    );
    assert!(after.iter().all(|row| row.as_object().unwrap().len() == 4), "no key is shown: {after:?}");
}
