//! The trust store as people look after it: the real program.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use proofmill_fixtures::{Algorithm, Country, Validity};
use proofmill_trust::{Kind, TrustFolder};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde_json::Value;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn store(&self) -> TrustFolder {
        TrustFolder::new(self.path("store"))
    }

    /// `trust …` over the place's store.
    fn trust(&self, arguments: &[&str]) -> Run {
        let output = command(arguments).env("PROOFMILL_TRUST_STORE", self.path("store")).output().unwrap();
        Run::of(output)
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofmill-worker"));
    command.arg("trust").args(arguments);
    for variable in ["PROOFMILL_TRUST", "PROOFMILL_TRUST_STORE", "PROOFMILL_TRUST_ANCHOR", "PROOFMILL_DATA_DIR"] {
        command.env_remove(variable);
    }
    command
}

struct Run {
    status: Option<i32>,
    out: String,
    errors: String,
}

impl Run {
    fn of(output: Output) -> Run {
        Run {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn ends(self, status: i32) -> Run {
        assert_eq!(self.status, Some(status), "{}{}", self.out, self.errors);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the programs under test go by the clock")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn country(alpha2: &'static str, alpha3: &'static str, seed: u64) -> Country {
    Country::mint(alpha2, alpha3, Algorithm::EcdsaP256, now(), &mut ChaCha20Rng::seed_from_u64(seed))
}

fn signer(country: &Country) -> Vec<u8> {
    country.signer(Validity::days_around(now(), 100, 100), &mut ChaCha20Rng::seed_from_u64(9)).certificate
}

#[test]
fn a_store_is_filled_looked_at_exported_and_emptied() {
    let place = Place::new();
    let (utopia, other) = (country("UT", "UTO", 1), country("XA", "XAA", 2));
    place.write("in/utopia.cer", &utopia.csca);
    place.write("in/utopia.crl", &utopia.crl);
    place.write("in/deep/other.der", &other.csca);
    place.write("in/signer.bin", &signer(&utopia));
    let input = place.path("in");

    let run = place.trust(&["import", text(&input), "--json"]).ends(0);
    let report = run.json();
    assert_eq!(
        (&report["epoch"], &report["taken"]),
        (&1.into(), &serde_json::json!({ "csca": 2, "dsc": 1, "crl": 1 }))
    );
    assert!(place.trust(&["import", text(&input)]).ends(0).out.contains("epoch 1: 0 new"));

    let rows: Vec<Value> =
        place.trust(&["list", "--json"]).ends(0).out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row["provenance"][0]["source"].as_str().unwrap().starts_with(text(&input))));
    let listed = |arguments: &[&str]| place.trust(&[&["list"], arguments].concat()).ends(0).out.lines().count() - 1;
    assert_eq!((listed(&[]), listed(&["--country", "ut"]), listed(&["--kind", "csca"])), (4, 3, 2));
    assert_eq!(listed(&["--country", "UT", "--kind", "dsc"]), 1);

    let check = place.trust(&["check", "--json"]).ends(0).json();
    assert_eq!(check["ok"], true);
    assert_eq!(check["classes"], serde_json::json!({ "self_signed_ok": 2, "link_ok": 0, "signer_absent": 0 }));
    assert_eq!(check["signers"]["trusted"], 1);
    assert_eq!(check["warnings"][0]["topic"], "crl_absent", "{check}");
    place.trust(&["check", "--strict"]).ends(1);
    let later = place.trust(&["check", "--at", "2999-01-01T00:00:00Z"]).ends(1).out;
    assert!(later.contains("problem crl_stale: UT"), "{later}");
    let ending = place.trust(&["check", "--expiring-within", "3700d", "--json"]).ends(0).json();
    assert_eq!(ending["countries"]["UT"]["expiring"], 1);
    place.trust(&["check", "--expiring-within", "soon"]).ends(2);

    for (format, to, same_kinds) in [("ndjson", "out.ndjson", true), ("pem", "out.pem", true), ("der", "out", true)] {
        let to = place.path(to);
        place.trust(&["export", text(&to), "--format", format]).ends(0);
        place.trust(&["export", text(&to), "--format", format]).ends(2);
        let copy = TrustFolder::new(place.path(&format!("copy-{format}")));
        Run::of(command(&["import", text(&to), "--store", text(copy.path())]).output().unwrap()).ends(0);
        let kinds = |store: &TrustFolder| Kind::ALL.map(|kind| store.read().unwrap().count(kind));
        assert_eq!(kinds(&copy) == kinds(&place.store()), same_kinds, "{format}");
    }
    place.trust(&["export", text(&place.path("xa.pem")), "--format", "pem", "--country", "XA"]).ends(0);
    assert_eq!(fs::read_to_string(place.path("xa.pem")).unwrap().matches("BEGIN").count(), 1);

    let name = hex::encode(proofmill_trust::fingerprint(&other.csca));
    let removed = place.trust(&["remove", &name[..16]]).ends(0);
    assert!(removed.out.contains("epoch 2: 1 removed"), "{}", removed.out);
    assert!(place.trust(&["remove", &name]).ends(2).errors.contains("not in the store"));
    assert!(place.trust(&["remove", "abc"]).ends(2).errors.contains("SHA-256"));
    assert_eq!(listed(&["--country", "XA"]), 0);
}

#[test]
fn every_command_explains_itself() {
    for name in ["import", "list", "check", "export", "refresh", "remove"] {
        let run = Run::of(command(&[name, "--help"]).output().unwrap()).ends(0);
        assert!(run.out.contains("Usage:") && run.out.contains("--store"), "{name}: {}", run.out);
    }
}

#[test]
fn what_cannot_be_done_changes_nothing_and_says_why() {
    let place = Place::new();
    let utopia = country("UT", "UTO", 1);
    let good = place.write("good.cer", &utopia.csca);
    let bad = place.write("bad.cer", b"garbage");
    let plain = place.write("plain/utopia.cer", &utopia.csca);
    let without_store = Run::of(command(&["list"]).output().unwrap()).ends(2);
    assert!(without_store.errors.contains("--store") && without_store.errors.contains("--data-dir"));
    for (arguments, expected) in [
        (vec!["list"], "there is no trust store"),
        (vec!["check"], "there is no trust store"),
        (vec!["import"], "PATH"),
        (vec!["import", text(&good), text(&bad)], "bad.cer"),
        (vec!["import", text(&good), "/nowhere"], "/nowhere"),
        (vec!["import", text(&good), "--anchor", text(&bad)], "anchor"),
        (vec!["import", text(&good), "--store", text(plain.parent().unwrap())], "utopia.cer"),
        (vec!["refresh", "--from", "/nowhere"], "/nowhere"),
        (vec!["refresh", "--from", "/usr", "--store", text(plain.parent().unwrap())], "utopia.cer"),
    ] {
        let run = place.trust(&arguments).ends(2);
        assert!(run.errors.contains(expected), "{arguments:?}: {}", run.errors);
        assert!(!place.store().file().exists(), "{arguments:?}");
    }
    // In a folder the rest is taken, and the exit status tells.
    let folder = place.path("mixed");
    place.write("mixed/good.cer", &utopia.csca);
    place.write("mixed/bad.cer", b"garbage");
    let run = place.trust(&["import", text(&folder)]).ends(1);
    assert!(run.out.contains("1 new") && run.out.contains("1 refused"), "{}", run.out);
    assert!(run.errors.contains("mixed/bad.cer"), "{}", run.errors);
    // A store that is cut short is named, and not mended by forgetting what it held.
    let file = place.store().file();
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    for arguments in [vec!["list"], vec!["import", text(&good)]] {
        let run = place.trust(&arguments).ends(2);
        assert!(run.errors.contains("store"), "{}", run.errors);
    }
    assert_eq!(fs::read(&file).unwrap().len(), whole.len() / 2);
}

#[test]
fn real_master_lists_are_taken_under_their_own_anchors_only() {
    let Some(data) = std::env::var_os("PROOFMILL_REFERENCE_DATA") else {
        println!("skipped: PROOFMILL_REFERENCE_DATA is not set, so there are no real master lists");
        return;
    };
    let lists = PathBuf::from(data).join("emrtd/masterlists");
    let path = |name: &str| text(&lists.join(name)).to_owned();
    let german = (path("DE_ML_2024-04-10-10-54-13.ml"), path("DE_CSCA_048B.cer"), 526);
    let dutch = (path("NL_ML_2026-07-22.ml"), path("NL_ROOT_CA.cer"), 411);
    let place = Place::new();
    for (list, anchor) in [(&german.0, &dutch.1), (&dutch.0, &german.1)] {
        let run = place.trust(&["import", list, "--anchor", anchor]).ends(2);
        assert!(run.errors.contains(list.as_str()), "{}", run.errors);
    }
    assert!(place.trust(&["import", &german.0]).ends(2).errors.contains("--anchor"));
    assert!(!place.store().file().exists());
    let mut total = 0;
    for (list, anchor, count) in [&german, &dutch] {
        let report = place.trust(&["import", list, "--anchor", anchor, "--json"]).ends(0).json();
        let taken = report["taken"]["csca"].as_u64().unwrap();
        assert_eq!((taken + report["known"].as_u64().unwrap(), &report["refusals"]), (*count, &0.into()));
        total += taken;
    }
    let check = place.trust(&["check", "--json"]);
    let check = check.json();
    println!("{} {}", check["classes"], check["counts"]);
    let classes = check["classes"].as_object().unwrap();
    assert_eq!(classes.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), total);
    assert_eq!(check["authorities"].as_array().unwrap().len() as u64, total);
}

/// A program that runs until it is told to stop.
struct Refreshing(Child);

impl Refreshing {
    fn terminate(&mut self) -> (Option<i32>, String) {
        let status = Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
        let status = self.0.wait().unwrap().code();
        let mut errors = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (status, errors)
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "polls another process, with a deadline")]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_watched_folder_is_followed_past_broken_files_until_a_signal() {
    let place = Place::new();
    let (utopia, other, third) = (country("UT", "UTO", 1), country("XA", "XAA", 2), country("XB", "XBB", 3));
    place.write("watched/utopia.cer", &utopia.csca);
    let other_path = place.write("watched/other.cer", &other.csca);
    let mut refreshing = Refreshing(
        command(&["refresh", "--from", text(&place.path("watched")), "--every", "1s", "--mirror"])
            .env("PROOFMILL_TRUST_STORE", place.path("store"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let epoch = || place.store().header().map_or(0, |header| header.epoch);
    let holds = |der: &[u8]| place.store().read().is_ok_and(|contents| contents.items().any(|item| *item.der == *der));
    eventually("the first import", || epoch() == 1);
    assert!(holds(&utopia.csca) && holds(&other.csca));
    // A broken file is retried, keeps what it had brought, and does not stop the others.
    fs::write(&other_path, b"half a cert").unwrap();
    place.write("watched/third.cer", &third.csca);
    eventually("the third state", || holds(&third.csca));
    assert!(holds(&other.csca));
    // What is taken away goes.
    fs::write(&other_path, &other.csca).unwrap();
    fs::remove_file(place.path("watched/third.cer")).unwrap();
    eventually("the third state has gone", || !holds(&third.csca));
    assert!(holds(&other.csca) && holds(&utopia.csca));
    let (status, errors) = refreshing.terminate();
    assert_eq!(status, Some(0), "{errors}");
    assert!(errors.contains("other.cer"), "the broken file is named: {errors}");

    let once = place.trust(&["refresh", "--from", text(&place.path("watched")), "--once"]).ends(0);
    assert!(once.errors.is_empty() || !once.errors.contains("refused"), "{}", once.errors);
}
