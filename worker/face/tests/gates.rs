//! Every gate on real photographs: each trips on the one thing that it measures, and on nothing
//! that a camera does to a good picture.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::pictures::{blurred, cropped, jpeg, mirrored, on_canvas, photo, remap, scaled, shifted, toned, turned};
use proofmill_face::face::gate::{self, GATES};
use proofmill_face::{
    FaceReason, FaceVerdict, GatePolicy, LoadOptions, MatchPolicy, Matcher, Pack, Quality, RgbImage, Source, measure,
    settings,
};

/// What is measured of the widest face.
fn measured(matcher: &Matcher, image: &RgbImage) -> Option<Quality> {
    let found = matcher.detect(&[image]).unwrap().remove(0);
    let seen = found.into_iter().filter(|face| face.score >= 0.7);
    let face = seen.max_by(|a, b| a.bounds.width.total_cmp(&b.bounds.width))?;
    let chip = matcher.plan_chip(image, &face).unwrap().render();
    Some(measure(&Source::of(image, &face), &face, &chip))
}

/// The gates that a picture fails, with their reasons.
fn failing(matcher: &Matcher, image: &RgbImage, policy: &GatePolicy) -> Vec<(&'static str, FaceReason)> {
    match measured(matcher, image) {
        Some(quality) => gate::results(&quality, policy).filter_map(|r| Some((r.gate, r.reason?))).collect(),
        None => vec![(gate::SINGLE_FACE, FaceReason::NoFace)],
    }
}

fn decoded(bytes: &[u8]) -> RgbImage {
    proofmill_face::decode(bytes, &proofmill_face::DecodeLimits::selfie()).unwrap()
}

/// As a head that turns or bends looks: one side of `centre` squeezed, the other stretched, by these
/// factors before and behind it.
fn skewed(image: &RgbImage, centre: (f64, f64), across: (f64, f64), down: (f64, f64)) -> RgbImage {
    let skew = |at: f64, centre: f64, factors: (f64, f64)| {
        centre + (at - centre) / if at < centre { factors.0 } else { factors.1 }
    };
    remap(image, image.width(), image.height(), |x, y| (skew(x, centre.0, across), skew(y, centre.1, down)))
}

#[test]
fn every_gate_trips_on_a_real_photo_and_passes_it_unmodified() {
    let Some(matcher) = common::matcher() else { return };
    let Some(selfie) = photo("obama2.jpg") else { return };
    // The detector hardly sees faces smaller than the default, and draws the points of a turned or bent head towards
    // those of an upright one: these three limits are set nearer to the photo.
    let policy = GatePolicy { min_head_size: 0.2, max_yaw_ratio: 0.32, max_nose_height: 0.6, ..GatePolicy::selfie() };
    assert_eq!(failing(matcher, &selfie, &policy), []);

    let face = matcher.detect(&[&selfie]).unwrap().remove(0).remove(0);
    let nose = (f64::from(face.points[2].x), f64::from(face.points[2].y));
    let bounds = [face.bounds.x, face.bounds.y, face.bounds.width, face.bounds.height].map(f64::from);
    let [x, y, width, height] = bounds;
    let tight = shifted(&selfie, (x - 0.1 * width, y + 0.01 * height), (1.2 * width, 0.98 * height));
    // How far it takes depends on where the detector sees the points: a few strengths are tried.
    let small = [0.14, 0.13, 0.12, 0.11].map(|share| on_canvas(&selfie, (face.bounds.height / share) as usize));
    let strengths = [1.6, 2.0, 2.4, 2.8, 3.4];
    let aside = strengths.map(|factor| skewed(&selfie, nose, (1.0 / factor, 1.4), (1.0, 1.0)));
    let bent = strengths.map(|factor| skewed(&selfie, nose, (1.0, 1.0), (1.4, 1.0 / factor)));
    let back = strengths.map(|factor| skewed(&selfie, nose, (1.0, 1.0), (1.0 / factor, 1.4)));

    use FaceReason as Reason;
    let cases = [
        ("inter_eye_distance", Reason::TooSmall, scaled(&selfie, 120)),
        ("head_size", Reason::TooLarge, tight),
        ("leftward_crop", Reason::Cropped, shifted(&selfie, (x + 0.25 * width, 0.0), (width * 1.5, y + height * 2.0))),
        ("rightward_crop", Reason::Cropped, shifted(&selfie, (0.0, 0.0), (x + 0.75 * width, y + height * 2.0))),
        ("margin_above", Reason::Cropped, shifted(&selfie, (0.0, y + 0.3 * height), (626.0, height * 3.0))),
        ("margin_below", Reason::Cropped, shifted(&selfie, (0.0, 0.0), (626.0, y + 0.78 * height))),
        ("head_pose_roll", Reason::Rolled, turned(&selfie, 28.0)),
        ("over_exposure", Reason::Overexposed, toned(&selfie, |v| v * 1.6 + 120.0)),
        ("under_exposure", Reason::Underexposed, toned(&selfie, |v| v * 0.1)),
        ("luminance_mean", Reason::Underexposed, toned(&selfie, |v| v * 0.06)),
        ("luminance_mean", Reason::Overexposed, toned(&selfie, |v| 225.0 + v * 0.11)),
        ("dynamic_range", Reason::LowContrast, toned(&selfie, |v| 120.0 + v * 0.08)),
        ("luminance_variance", Reason::LowContrast, toned(&selfie, |v| 120.0 + v * 0.08)),
        ("sharpness", Reason::Blurred, blurred(&selfie, 24)),
        ("compression_artifacts", Reason::Overcompressed, decoded(&jpeg(&selfie, 3))),
    ];
    let mut wrong = Vec::new();
    let tried = cases.into_iter().map(|(name, reason, image)| (name, reason, vec![image])).chain([
        ("head_size", Reason::TooSmall, Vec::from(small)),
        ("head_pose_yaw", Reason::Turned, Vec::from(aside)),
        ("head_pose_pitch", Reason::Tilted, bent.into_iter().chain(back).collect()),
    ]);
    let cases: Vec<(&str, FaceReason, Vec<RgbImage>)> = tried.collect();
    for (name, reason, images) in &cases {
        let failed: Vec<_> = images.iter().map(|image| failing(matcher, image, &policy)).collect();
        println!("{name}: {failed:?}");
        if !failed.iter().any(|failed| failed.contains(&(*name, *reason))) {
            let measured: Vec<_> = images.iter().map(|image| measured(matcher, image)).collect();
            wrong.push(format!("{name} {reason}: {failed:?}, {measured:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for gate in &GATES {
        assert!(cases.iter().any(|(name, ..)| *name == gate.name), "{} is not tried", gate.name);
    }
}

/// The defaults let through what cameras and encoders do to a good picture.
#[test]
fn ordinary_changes_of_a_good_photo_trip_no_gate() {
    let Some(matcher) = common::matcher() else { return };
    let Some(selfie) = photo("obama2.jpg") else { return };
    let cases = [
        ("recompressed", decoded(&jpeg(&selfie, 40))),
        ("half the size", scaled(&selfie, 313)),
        ("mirrored", mirrored(&selfie)),
        ("cropped", cropped(&selfie, 0.8)),
        ("turned a little", turned(&selfie, 8.0)),
        ("brighter", toned(&selfie, |v| v * 1.15 + 15.0)),
        ("darker", toned(&selfie, |v| v * 0.5)),
        ("softer", blurred(&selfie, 3)),
    ];
    for (how, image) in cases {
        assert_eq!(failing(matcher, &image, &GatePolicy::selfie()), [], "{how}");
    }
}

#[test]
fn the_first_gate_that_fails_names_the_verdict() {
    let Some(matcher) = common::matcher() else { return };
    let (Some(portrait), Some(selfie)) = (photo("obama.jpg"), photo("obama2.jpg")) else { return };
    let portrait = jpeg(&scaled(&portrait, 413), 75);
    // Small and dark: the size comes first.
    let bad = jpeg(&toned(&scaled(&selfie, 120), |v| v * 0.06), 90);
    let attempt = matcher.prepare(&portrait, &[&bad]).unwrap();
    let outcome = matcher.match_batch(&[attempt]).unwrap()[0];
    assert_eq!(outcome.verdict, FaceVerdict::LivenessFailed(FaceReason::TooSmall));
}

#[test]
fn a_pack_changes_the_defaults_and_an_operator_changes_the_pack() {
    let Some(folder) = common::pack_folder() else { return };
    let Some(selfie) = photo("obama2.jpg") else { return };
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(&folder).unwrap().flatten() {
        // The weights are large: a link will do.
        let target = copy.path().join(file.file_name());
        if file.file_name() != "pack.toml" {
            std::fs::hard_link(file.path(), &target)
                .or_else(|_| std::fs::copy(file.path(), &target).map(drop))
                .unwrap();
        }
    }
    let description = std::fs::read_to_string(folder.join("pack.toml")).unwrap();
    let load = |gates: &str| {
        std::fs::write(copy.path().join("pack.toml"), format!("{description}\n{gates}")).unwrap();
        Pack::load(copy.path(), LoadOptions::default())
    };

    let strict = load("[gates.selfie]\nmin_inter_eye_px = 400\n[gates.replay]\ncorrelation = 0.9").unwrap();
    let mut policy = strict.policy();
    assert_eq!((policy.selfie.min_inter_eye_px, policy.replay.correlation), (400.0, 0.9));
    assert_eq!(policy.portrait, MatchPolicy::default().portrait);
    let matcher = Matcher::new(strict, proofmill_face::Device::Cpu, 1).unwrap();
    let portrait = jpeg(&scaled(&photo("obama.jpg").unwrap(), 413), 75);
    let attempt = matcher.prepare(&portrait, &[&jpeg(&selfie, 85)]).unwrap();
    let verdict = matcher.match_batch(&[attempt]).unwrap()[0].verdict;
    assert_eq!(verdict, FaceVerdict::LivenessFailed(FaceReason::TooSmall));
    policy.set("selfie.min_inter_eye_px", 36.0).unwrap();
    assert_eq!(policy.selfie, MatchPolicy::default().selfie);

    for (gates, named) in [
        ("[gates.selfie]\nmin_eyes = 3", "selfie.min_eyes"),
        ("[gates.camera]\nmin_inter_eye_px = 3", "camera.min_inter_eye_px"),
        ("[gates.selfie]\nscore_floor = 0.1", "selfie.score_floor"),
        ("[gates.selfie]\nmin_sharpness = nan", "selfie.min_sharpness"),
        ("[gates.frames]\ncompared = 1.5", "frames.compared"),
        ("[gates.selfie]\nmin_luminance = 240", "selfie.max_luminance"),
        ("[gates.selfie]\nmin_sharpness = \"sharp\"", "sharp"),
    ] {
        let error = load(gates).err().unwrap().to_string();
        assert!(error.contains(named) && error.contains("pack.toml"), "{gates}: {error}");
    }
}

/// The README's table of gates is the code's.
#[test]
fn the_readme_lists_every_gate_and_setting_with_its_default() {
    let readme = include_str!("../README.md");
    let (portrait, selfie) = (GatePolicy::portrait(), GatePolicy::selfie());
    let value = |policy: &GatePolicy, setting: &str| {
        let value = serde_json::to_value(policy).unwrap();
        value[setting].as_f64().map(|value| (value * 1e6).round() / 1e6).unwrap()
    };
    for gate in &GATES {
        for (side, limit) in [("least", &gate.least), ("most", &gate.most)] {
            let Some(limit) = limit else { continue };
            let row = format!(
                "| `{}` | `{}` | `{}` | {} | {} | {} | {side} {} | {} |",
                gate.name,
                limit.reason,
                limit.setting,
                gate.component,
                source(gate.name),
                gate.unit,
                value(&portrait, limit.setting),
                value(&selfie, limit.setting),
            );
            assert!(readme.contains(&row), "the README lacks\n{row}");
        }
    }
    for setting in settings() {
        assert!(readme.contains(&format!("`{}`", setting.name)), "{}", setting.path());
    }
}

/// What the measurement is taken of.
fn source(gate: &str) -> &'static str {
    match gate {
        "inter_eye_distance" | "head_pose_roll" | "head_pose_yaw" | "head_pose_pitch" => "points",
        "head_size" | "leftward_crop" | "rightward_crop" | "margin_above" | "margin_below" => "box",
        "compression_artifacts" => "picture",
        _ => "aligned face",
    }
}

/// What the gates measure on the reference photographs, whose faces are good but for the gates that
/// they fail here. The defaults stand on these numbers.
#[test]
fn the_defaults_stand_on_the_reference_photos() {
    let Some(data) = common::reference_data() else { return };
    let Some(matcher) = common::matcher() else { return };
    let policy = GatePolicy::selfie();
    let mut ranges: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    let mut failures = Vec::new();
    for entry in std::fs::read_dir(data.join("face/images")).unwrap().flatten() {
        let image = common::picture(&entry.path());
        for face in matcher.detect(&[&image]).unwrap().remove(0) {
            if face.score < policy.score_floor {
                continue;
            }
            let chip = matcher.plan_chip(&image, &face).unwrap().render();
            let quality = measure(&Source::of(&image, &face), &face, &chip);
            for result in gate::results(&quality, &policy) {
                match result.reason {
                    None => ranges.entry(result.gate).or_default().push(result.value),
                    Some(reason) => failures.push((entry.file_name(), result.gate, reason, result.value)),
                }
            }
        }
    }
    for gate in &GATES {
        let values = ranges.get_mut(gate.name).unwrap();
        values.sort_by(f32::total_cmp);
        println!(
            "{:24} {:4} faces, {:.4} to {:.4}, median {:.4}",
            gate.name,
            values.len(),
            values[0],
            values[values.len() - 1],
            values[values.len() / 2]
        );
    }
    failures.sort_by(|a, b| a.0.cmp(&b.0));
    for failure in &failures {
        println!("refused: {failure:?}");
    }
    // Small faces in groups, and two pictures cut through the face.
    let allowed = [FaceReason::TooSmall, FaceReason::Cropped];
    assert!(failures.iter().all(|(_, _, reason, _)| allowed.contains(reason)), "{failures:?}");
}
