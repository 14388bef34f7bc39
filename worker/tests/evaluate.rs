//! `proofmill-worker evaluate` as people run it, on photos that set-up fetched and on reference data.
#![allow(clippy::unwrap_used, missing_docs)]

mod tools;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tools::{jpeg_bomb, photos, worker};

/// A list beside links to the photos it names.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(photos: &Path, names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::os::unix::fs::symlink(photos.join(name), folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn list(&self, text: &str) -> String {
        self.file("pairs.csv", text.as_bytes()).to_str().unwrap().to_owned()
    }
}

const PHOTOS: [&str; 6] = ["obama.jpg", "obama2.jpg", "obama3.jpg", "biden.jpg", "astronaut.png", "chelsea.png"];

#[test]
fn rates_are_counted_by_kind_and_by_group() {
    let Some(photos) = photos() else { return };
    let bench = Bench::new(&photos, &PHOTOS);
    std::fs::rename(bench.folder.path().join("obama3.jpg"), bench.folder.path().join("obama, third.jpg")).unwrap();
    let list = bench.list(
        "same,note,b,a,decade\r\n\
         yes,\"a \"\"note\"\"\",obama2.jpg,obama.jpg,2000s\r\n\
         TRUE,,\"obama, third.jpg\",obama.jpg,2010s\r\n\
         1,,obama2.jpg,\"obama, third.jpg\",2010s\r\n\
         0,,biden.jpg,obama.jpg,2000s\r\n\
         no,,astronaut.png,obama.jpg,2000s\r\n\
         false,,astronaut.png,biden.jpg,2010s\r\n\
         0,again,obama.jpg,biden.jpg,2000s\r\n\
         0,,chelsea.png,obama.jpg,2000s\r\n",
    );
    let out = bench.folder.path().join("out");
    let ran = worker(&[
        "evaluate",
        "--pairs",
        &list,
        "--group",
        "decade",
        "--json",
        "--replay-guard",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let report = ran.json();
    assert_eq!((&report["pictures"], &report["repeated_pairs"]), (&6.into(), &1.into()));
    let counts = json!({ "genuine": 3, "impostor": 4, "genuine_compared": 3, "impostor_compared": 3, "unread": 0 });
    assert_eq!(report["pairs"], counts);

    let point = &report["operating_points"][0];
    assert_eq!((&point["name"], point["threshold"].as_f64().map(|t| t as f32)), (&"author-default".into(), Some(0.6)));
    let (fmr, fnmr) = (&point["false_match_rate"], &point["false_non_match_rate"]);
    assert_eq!((&fmr["count"], &fmr["trials"], &fmr["rate"]), (&0.into(), &3.into(), &0.0.into()));
    assert_eq!((&fnmr["count"], &fnmr["trials"]), (&0.into(), &3.into()));
    // 1 - 0.025^(1/3)
    assert!((fmr["high"].as_f64().unwrap() - 0.7076).abs() < 1e-4, "{fmr}");
    assert_eq!((&point["accuracy"]["count"], &point["accuracy"]["trials"]), (&6.into(), &6.into()));
    assert_eq!(point["false_accept_rate"]["trials"], 4);
    assert_eq!(report["equal_error_rate"]["rate"], 0.0);
    assert_eq!(report["replay_guard"]["genuine"]["count"], 0);
    assert_eq!(report["replay_guard"]["impostor"]["trials"], 3);

    let failed = &report["failure_to_acquire"];
    assert_eq!(failed["reasons"], json!({ "no_face": { "references": 0, "probes": 1 } }));
    assert_eq!((&failed["probes"]["count"], &failed["probes"]["trials"]), (&1.into(), &5.into()));
    assert_eq!((&failed["references"]["count"], &failed["references"]["trials"]), (&0.into(), &3.into()));
    assert_eq!((&failed["pairs"]["count"], &failed["pairs"]["trials"]), (&1.into(), &7.into()));

    for claim in report["thresholds"].as_array().unwrap() {
        assert_eq!(claim["supported"], false, "three pairs support no rate: {claim}");
        assert!((claim["least_supported"].as_f64().unwrap() - 0.6316).abs() < 1e-4);
    }
    let groups = report["groups"].as_array().unwrap();
    let of = |index: usize| {
        (&groups[index]["group"], &groups[index]["pairs"]["genuine"], &groups[index]["pairs"]["impostor"])
    };
    assert_eq!(of(0), (&"2000s".into(), &1.into(), &3.into()));
    assert_eq!(of(1), (&"2010s".into(), &2.into(), &1.into()));

    // The files say the same, and are for their owner alone.
    let read = |name: &str| {
        let path = out.join(name);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        std::fs::read_to_string(path).unwrap()
    };
    assert_eq!(serde_json::from_str::<Value>(&read("report.json")).unwrap(), report);
    for name in ["det.svg", "scores.svg"] {
        let svg = read(name);
        assert!(svg.starts_with("<svg ") && svg.contains("<title") && svg.contains("author-default"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("href"), "{svg}");
    }
    let rows = read("comparisons.csv");
    assert_eq!(rows.lines().count(), 8);
    assert!(rows.contains("obama.jpg,chelsea.png,0,2000s,,,no_face,\n"), "{rows}");
    let row = rows.lines().find(|row| row.starts_with("obama.jpg,\"obama, third.jpg\",1,2010s,")).unwrap();
    let distance: f64 = row.split(',').nth(5).unwrap().parse().unwrap();

    // One pair alone is as far apart as among the others, and the text says what the report says.
    let third = bench.folder.path().join("obama, third.jpg");
    let alone =
        worker(&["face", "compare", photos.join("obama.jpg").to_str().unwrap(), third.to_str().unwrap(), "--json"]);
    assert!((alone.json()["distance"].as_f64().unwrap() - distance).abs() < 1e-5);
    let text = read("report.txt");
    assert!(text.contains("FNMR     0 [0, 0.7076], 0 of 3"), "{text}");
    assert!(text.contains("not supported: 3 impostor pairs support FMR >= 0.6316; it needs 29956"), "{text}");
    assert!(text.contains("== decade = 2010s") && text.contains("By decade, at author-default"), "{text}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_no_result() {
    let Some(photos) = photos() else { return };
    let bench = Bench::new(&photos, &["obama.jpg", "obama2.jpg", "obama_partial_face.jpg"]);
    // Closed with an end marker, as a decoder would take it.
    let cut = [&std::fs::read(photos.join("biden.jpg")).unwrap()[..9000], &[0xff, 0xd9]].concat();
    bench.file("cut.jpg", &cut);
    bench.file("bomb.jpg", &jpeg_bomb());
    let list = bench.list(
        "a,b,same\nobama.jpg,obama2.jpg,1\nobama.jpg,none.jpg,1\nobama.jpg,cut.jpg,0\nobama.jpg,bomb.jpg,0\n\
         obama.jpg,obama_partial_face.jpg,1\n",
    );
    let ran = worker(&["evaluate", "--pairs", &list, "--json"]);
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.starts_with("none.jpg: file_missing: "), "{}", ran.stderr);
    let report = ran.json();
    assert_eq!(report["unread"][0]["code"], "file_missing");
    let counts = json!({ "genuine": 2, "impostor": 2, "genuine_compared": 1, "impostor_compared": 0, "unread": 1 });
    assert_eq!(report["pairs"], counts);
    let reasons = report["failure_to_acquire"]["reasons"].as_object().unwrap();
    assert_eq!(reasons["image_truncated"], json!({ "references": 0, "probes": 1 }));
    assert_eq!(reasons["image_too_many_pixels"], json!({ "references": 0, "probes": 1 }));
    assert_eq!(
        report["failure_to_acquire"]["pairs"],
        json!({ "count": 3, "trials": 4, "rate": 0.75,
        "low": report["failure_to_acquire"]["pairs"]["low"], "high": report["failure_to_acquire"]["pairs"]["high"] })
    );
    let point = &report["operating_points"][0];
    assert_eq!((&point["false_reject_rate"]["count"], &point["false_reject_rate"]["trials"]), (&1.into(), &2.into()));
    assert_eq!(report["equal_error_rate"], Value::Null);

    // Without the gates, half a face is compared; a broken picture still is not.
    let ran = worker(&["evaluate", "--pairs", &list, "--json", "--without-gates"]);
    let report = ran.json();
    assert_eq!((&report["gates"], &report["pairs"]["genuine_compared"]), (&false.into(), &2.into()));
    assert_eq!(report["failure_to_acquire"]["pairs"]["count"], 2);
}

#[test]
fn a_list_that_cannot_be_right_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs.csv");
    for (text, expected) in [
        ("a,b\nx,y\n", "there is no column `same`"),
        ("a,b,same\nx,\"y,1\n", "line 2: a quote is opened and not closed"),
        ("a,b,same\nx,y,1\ny,x,0\n", "line 3: the pair of line 2 again"),
    ] {
        std::fs::write(&path, text).unwrap();
        let ran = worker(&["evaluate", "--pairs", path.to_str().unwrap()]);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{text}");
        assert!(ran.stderr.contains(expected) && ran.stderr.contains("pairs.csv"), "{text}: {}", ran.stderr);
    }
    let ran = worker(&["evaluate", "--pairs", folder.path().join("none.csv").to_str().unwrap()]);
    assert!(ran.status == 2 && ran.stderr.contains("none.csv"), "{}", ran.stderr);
}

/// Decisions at 0.6 are those of the reference implementation (dlib 20.0.1 with its own detector) on every pair of public
/// photographs whose one face it knows by name.
#[test]
fn decisions_on_the_reference_pairs_agree() {
    let Some(photos) = photos() else { return };
    let _ = photos;
    let Some(reference) = std::env::var_os("PROOFMILL_REFERENCE_DATA").map(|root| PathBuf::from(root).join("face"))
    else {
        println!("skipped: PROOFMILL_REFERENCE_DATA is not set, so there is no reference data");
        return;
    };
    let data: Value = serde_json::from_slice(&std::fs::read(reference.join("dlib_reference.json")).unwrap()).unwrap();
    let named: BTreeMap<&str, &str> = data["images"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, image)| image["faces"].as_array().unwrap().len() == 1)
        .filter_map(|(name, image)| Some((name.as_str(), image["identity"].as_str()?)))
        .collect();
    let mut list = String::from("a,b,same,person\n");
    let mut distances = BTreeMap::new();
    for pair in data["pairwise"].as_array().unwrap() {
        let name = |member: &str| pair[member].as_str().unwrap().split('#').next().unwrap().to_owned();
        let (a, b) = (name("a"), name("b"));
        let (Some(first), Some(second)) = (named.get(&*a), named.get(&*b)) else { continue };
        let image = |name: &str| reference.join("images").join(name).display().to_string();
        writeln!(list, "{},{},{},{first}", image(&a), image(&b), u8::from(first == second)).unwrap();
        distances.insert((image(&a), image(&b)), pair["dist"].as_f64().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("pairs.csv"), folder.path().join("out"));
    std::fs::write(&path, list).unwrap();
    for gates in [true, false] {
        let mut arguments =
            vec!["evaluate", "--pairs", path.to_str().unwrap(), "--out", out.to_str().unwrap(), "--json"];
        arguments.push(if gates { "--replay-guard" } else { "--without-gates" });
        let report = worker(&arguments).json();
        let rows = std::fs::read_to_string(out.join("comparisons.csv")).unwrap();
        let (mut compared, mut farthest) = (0, 0f64);
        for row in rows.lines().skip(1) {
            let fields: Vec<&str> = row.split(',').collect();
            let Ok(distance) = fields[4].parse::<f64>() else { continue };
            let expected = distances[&(fields[0].to_owned(), fields[1].to_owned())];
            assert_eq!(distance <= 0.6, expected <= 0.6, "{row}: the reference has {expected}");
            farthest = farthest.max((distance - expected).abs());
            compared += 1;
        }
        println!("{compared} pairs compared, gates {gates}, distances at most {farthest:.3} from the reference's");
        println!("{}", report["operating_points"][0]);
        if gates {
            // Copies of one photograph are among them; two people are never taken for a copy.
            println!("replay guard: {}", report["replay_guard"]);
            assert_eq!(report["replay_guard"]["impostor"]["count"], 0);
        }
        assert!(compared >= if gates { 60 } else { 100 }, "{compared}");
        assert!(farthest < 0.25, "{farthest}");
        // Eighty impostor pairs at most: no claim of one in ten thousand.
        let claim = report["thresholds"].as_array().unwrap().iter().find(|claim| claim["false_match_rate"] == 1e-4);
        assert_eq!(claim.unwrap()["supported"], false);
    }
}
