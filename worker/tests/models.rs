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

#[test]
fn a_landmarker_of_ones_own_comes_with_the_network_or_nothing_does() {
    let Some((folder, network)) = setting() else { return };
    let models = folder.path().join("models");
    let points = folder.path().join("points.pt");
    proofmill_face::bench::trace_landmarker(&points).unwrap();
    let more = ["--commercial-use", "true", "--dimensions", "96", "--landmarker", points.to_str().unwrap()];
    let ran = import(&models, &network, "pointed", &more);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("arcface4 with a landmarker of its own"), "{}", ran.stdout);
    let pack = models.join("pointed");
    let photos = photos().unwrap();
    let photo = |name: &str| photos.join(name).to_str().unwrap().to_owned();
    let arguments =
        ["face", "compare", &photo("obama.jpg"), &photo("obama2.jpg"), "--json", "--pack", pack.to_str().unwrap()];
    assert!(worker(&arguments).json()["distance"].as_f64().is_some());

    // The embedder returns 96 numbers, which are no points.
    let wrong = import(&models, &network, "mistaken", &[&more[..5], &[network.to_str().unwrap()]].concat());
    assert_eq!(wrong.status, 2, "{}", wrong.stdout);
    assert!(wrong.stderr.contains("landmarker.pt") && !models.join("mistaken").exists(), "{}", wrong.stderr);
}

#[test]
fn a_check_shows_what_is_known_of_accuracy_and_measures_throughput() {
    if photos().is_none() {
        return;
    }
    let ran = worker(&["models", "check", "--device", "cpu"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    for named in [
        "proofmill-open-1 1.0.0",
        "every one is the one that pack.toml pins",
        "author's default, not calibrated at 1e-4",
        "no false-match rate measured",
        "self-test passed",
        "embedder, faces/s",
    ] {
        assert!(ran.stdout.contains(named), "{named}: {}", ran.stdout);
    }
    let rates: Vec<f64> = ran
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>().ok())
        .filter(|row| row.len() == 3)
        .flat_map(|row| row[1..].to_vec())
        .collect();
    assert!(rates.len() == 6 && rates.iter().all(|rate| *rate > 0.0), "{}", ran.stdout);
}
