//! `proofmill-worker models` as people run it: a network of their own becomes a pack, and what is not one is refused.
#![allow(clippy::unwrap_used, missing_docs)]

mod tools;

use std::path::Path;

use tools::{Ran, photos, worker};

/// Imports a traced network into `models`.
fn import(models: &Path, network: &Path, name: &str, more: &[&str]) -> Ran {
    let paths = [network, models].map(|path| path.to_str().unwrap().to_owned());
    let mut arguments = vec!["models", "import", &paths[0], "--models", &paths[1], "--name", name];
    arguments.extend(["--licence", "Apache-2.0", "--threshold", "0.35"]);
    arguments.extend(more);
    worker(&arguments)
}

fn setting() -> Option<(tempfile::TempDir, std::path::PathBuf)> {
    photos()?;
    let folder = tempfile::tempdir().unwrap();
    let network = folder.path().join("mine.pt");
    proofmill_face::bench::trace_network(&network).unwrap();
    Some((folder, network))
}

#[test]
fn an_imported_network_is_listed_checked_measured_and_used() {
    let Some((folder, network)) = setting() else { return };
    let models = folder.path().join("models");
    let ran = import(&models, &network, "mine", &["--commercial-use", "true", "--dimensions", "96"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let pack = models.join("mine");
    let names: Vec<String> =
        std::fs::read_dir(&models).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, ["mine"], "nothing half-done stays");

    let list = worker(&["models", "list", "--models", models.to_str().unwrap()]);
    for named in ["mine 1", "Apache-2.0", "commercial use allowed", "arcface4", "torchscript", "0.35", "not calibrated"]
    {
        assert!(list.stdout.contains(named), "{named}: {}", list.stdout);
    }
    let bench = worker(&["models", "bench", "--pack", pack.to_str().unwrap(), "--batch", "1,4"]);
    assert_eq!((bench.status, bench.stdout.lines().count()), (0, 4), "{}{}", bench.stdout, bench.stderr);

    let photos = photos().unwrap();
    let photo = |name: &str| photos.join(name).to_str().unwrap().to_owned();
    let compared = worker(&[
        "face",
        "compare",
        &photo("obama.jpg"),
        &photo("biden.jpg"),
        "--json",
        "--pack",
        pack.to_str().unwrap(),
    ]);
    let answer = compared.json();
    assert_eq!(answer["pack"]["name"], "mine");
    assert!(answer["distance"].as_f64().is_some_and(|distance| distance > 0.0 && distance <= 2.0), "{answer}");
}

#[test]
fn what_does_not_work_as_described_leaves_no_pack_behind() {
    let Some((folder, network)) = setting() else { return };
    let models = folder.path().join("models");
    let text = folder.path().join("text.pt");
    std::fs::write(&text, "no network").unwrap();
    let commercial = ["--commercial-use", "true"];
    let claim = ["--false-match-rate", "1e-4", "--impostor-comparisons", "300", "--false-matches", "0"];
    let cases: [(&Path, &[&str], &str); 3] = [
        (&text, &[], "TorchScript archive"),
        (&network, &["--dimensions", "512"], "pack.toml says"),
        (&network, &[&["--dimensions", "96"], &claim[..]].concat(), "do not support"),
    ];
    for (file, more, named) in cases {
        let ran = import(&models, file, "mine", &[&commercial[..], more].concat());
        assert_eq!(ran.status, 2, "{named}");
        assert!(ran.stderr.contains(named), "{named}: {}", ran.stderr);
        assert_eq!(std::fs::read_dir(&models).unwrap().count(), 0, "{named}");
    }
    let unnamed = import(&models, &network, "../mine", &commercial);
    assert_eq!(unnamed.status, 2, "{}", unnamed.stderr);
}

#[test]
fn commands_that_verify_refuse_a_pack_without_a_commercial_licence_and_rates_that_nobody_measured() {
    let Some((folder, network)) = setting() else { return };
    let models = folder.path().join("models");
    let ran = import(&models, &network, "research", &["--commercial-use", "false", "--dimensions", "96"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("NOT allowed"), "{}", ran.stdout);
    let pack = models.join("research");
    // What every command that verifies goes through, without what else it needs.
    let doctor = |more: &[&str]| {
        let ran = worker(&[&["doctor", "--pack", pack.to_str().unwrap()][..], more].concat());
        let line = ran.stdout.lines().find(|line| line.starts_with("model")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{}{}", ran.stdout, ran.stderr))
    };
    let refused = doctor(&[]);
    assert!(refused.contains("not marked for commercial use"), "{refused}");
    let taken = doctor(&["--allow-non-commercial"]);
    assert!(taken.contains("research@1+") && taken.contains("/imported"), "{taken}");
    let rate = doctor(&["--allow-non-commercial", "--false-match-rate", "1e-4"]);
    assert!(rate.contains("1e-4") && rate.contains("imported (no rate measured)"), "{rate}");
    let unknown = doctor(&["--allow-non-commercial", "--operating-point", "strict"]);
    assert!(unknown.contains("strict") && unknown.contains("it has imported"), "{unknown}");
}
