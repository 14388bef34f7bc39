//! Packs that must be refused, and why: each with a named error, none with a large allocation.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use proofmill_face::{LoadOptions, ModelFault, Pack, PackError};
use sha2::{Digest, Sha256};

const DETECTOR: &str = "face_detection_short_range.tflite";
const PREDICTOR: &str = "shape_predictor_5_face_landmarks.dat";
const EMBEDDER: &str = "dlib_face_recognition_resnet_model_v1.dat";

/// A copy of the default pack in which the named file holds these bytes, pinned as if they were
/// right: the hash is no protection against a pack that its author made so.
fn altered(file: &str, bytes: &[u8]) -> Option<tempfile::TempDir> {
    let original = common::pack_folder()?;
    let copy = tempfile::tempdir().unwrap();
    for name in [DETECTOR, PREDICTOR, EMBEDDER] {
        if name != file {
            std::os::unix::fs::symlink(original.join(name), copy.path().join(name)).unwrap();
        }
    }
    std::fs::write(copy.path().join(file), bytes).unwrap();
    let old = std::fs::read(original.join(file)).unwrap();
    let text = std::fs::read_to_string(original.join("pack.toml")).unwrap();
    let text = text
        .replace(&hex::encode(Sha256::digest(&old)), &hex::encode(Sha256::digest(bytes)))
        .replace(&format!("bytes = {}", old.len()), &format!("bytes = {}", bytes.len().max(1)));
    std::fs::write(copy.path().join("pack.toml"), text).unwrap();
    Some(copy)
}

fn refusal(folder: &Path) -> PackError {
    match Pack::load(folder, LoadOptions::default()) {
        Ok(_) => panic!("the pack was taken"),
        Err(error) => error,
    }
}

fn model_fault(folder: &Path) -> ModelFault {
    match refusal(folder) {
        PackError::Model { error, .. } => error.fault,
        other => panic!("expected a fault of the model, got {other}"),
    }
}

fn original(file: &str) -> Option<Vec<u8>> {
    Some(std::fs::read(common::pack_folder()?.join(file)).unwrap())
}

#[test]
fn a_pipe_or_a_folder_instead_of_a_file_is_named_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let description = folder.path().join("pack.toml");
    let pipe = |path: &Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    pipe(&description);
    let error = refusal(folder.path());
    assert!(matches!(&error, PackError::NotRegular { path } if *path == description), "{error}");
    std::fs::remove_file(&description).unwrap();
    std::fs::create_dir(&description).unwrap();
    assert!(matches!(refusal(folder.path()), PackError::NotRegular { .. }));

    let Some(copy) = altered(EMBEDDER, b"") else { return };
    let weights = copy.path().join(EMBEDDER);
    std::fs::remove_file(&weights).unwrap();
    pipe(&weights);
    let error = refusal(copy.path()).to_string();
    assert!(error.contains(EMBEDDER) && error.ends_with("not a regular file"), "{error}");
}

#[test]
fn the_default_pack_is_identified_by_name_version_digest_and_operating_point() {
    let Some(folder) = common::pack_folder() else { return };
    let pack = Pack::load(&folder, LoadOptions::default()).unwrap();
    let identity = pack.identity();
    assert_eq!((&*identity.name, &*identity.version), ("proofmill-open-1", "1.0.0"));
    assert_eq!(identity.operating_point, "author-default");
    assert_eq!(identity.sha256.len(), 64);
    let point = &pack.operating_points()[0];
    assert_eq!((point.threshold, point.false_match_rate), (0.6, None));
    assert_eq!(point.evidence, "author's default, not calibrated at 1e-4");
}

#[test]
fn the_repository_describes_the_pack_that_set_up_installs() {
    let Some(folder) = common::pack_folder() else { return };
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/proofmill-open-1/pack.toml");
    assert_eq!(std::fs::read(ours).unwrap(), std::fs::read(folder.join("pack.toml")).unwrap());
}

#[test]
fn a_file_other_than_the_pinned_one_is_refused_before_it_is_parsed() {
    let Some(mut bytes) = original(DETECTOR) else { return };
    let folder = altered(DETECTOR, &bytes).unwrap();
    assert!(Pack::load(folder.path(), LoadOptions::default()).is_ok());
    bytes[1_000] ^= 1;
    std::fs::write(folder.path().join(DETECTOR), &bytes).unwrap();
    assert!(matches!(refusal(folder.path()), PackError::WrongHash { path, .. } if path.ends_with(DETECTOR)));
    bytes.push(0);
    std::fs::write(folder.path().join(DETECTOR), &bytes).unwrap();
    assert!(matches!(refusal(folder.path()), PackError::TooLarge { .. }));
    std::fs::remove_file(folder.path().join(DETECTOR)).unwrap();
    assert!(matches!(refusal(folder.path()), PackError::Io { .. }));
}

#[test]
fn a_file_cut_anywhere_is_refused_where_it_ends() {
    for file in [PREDICTOR, EMBEDDER] {
        let Some(bytes) = original(file) else { return };
        let step = bytes.len() / 5;
        let cuts = (0..5).map(|i| i * step + i).chain([1, 20, 300, bytes.len() - 1]);
        for cut in cuts {
            let folder = altered(file, &bytes[..cut]).unwrap();
            let fault = model_fault(folder.path());
            assert!(
                matches!(fault, ModelFault::Truncated(_) | ModelFault::Count { .. }),
                "{file} cut at {cut}: {fault}"
            );
        }
    }
    let Some(bytes) = original(DETECTOR) else { return };
    let folder = altered(DETECTOR, &bytes[..bytes.len() / 2]).unwrap();
    let _ = model_fault(folder.path());
}

#[test]
fn bytes_behind_a_model_are_refused() {
    for file in [PREDICTOR, EMBEDDER] {
        let Some(mut bytes) = original(file) else { return };
        bytes.extend([0; 3]);
        let folder = altered(file, &bytes).unwrap();
        assert_eq!(model_fault(folder.path()), ModelFault::Trailing(3), "{file}");
    }
}

#[test]
fn hostile_counts_are_refused_before_anything_is_allocated_for_them() {
    let Some(mut bytes) = original(PREDICTOR) else { return };
    // The number of cascades, 15, behind the mean shape's ten floats: now 2^56.
    let at = bytes.windows(6).position(|w| w == [1, 15, 2, 0xf4, 1, 1]).unwrap();
    bytes.splice(at..at + 2, [8, 0, 0, 0, 0, 0, 0, 0, 1]);
    let folder = altered(PREDICTOR, &bytes).unwrap();
    assert_eq!(model_fault(folder.path()), ModelFault::Count { what: "cascades", count: 1 << 56 });

    let Some(mut bytes) = original(EMBEDDER) else { return };
    // The first convolution's values, 4736: now 2^32 times as many.
    let at = bytes.windows(5).position(|w| w == [2, 2, 0x80, 0x12, 1]).unwrap();
    bytes.splice(at + 1..at + 4, [7, 0, 0, 0, 0, 0x80, 0x12, 0]);
    let folder = altered(EMBEDDER, &bytes).unwrap();
    assert!(matches!(model_fault(folder.path()), ModelFault::Unexpected { what: "convolution", .. }));
}

#[test]
fn a_description_that_is_wrong_is_refused_by_name() {
    let Some(folder) = common::pack_folder() else { return };
    let text = std::fs::read_to_string(folder.join("pack.toml")).unwrap();
    let cases = [
        ("format = 1", "format = 2", "format 2"),
        ("name = \"face_det", "name = \"../face_det", "plain file name"),
        ("kind = \"dlib5\"", "kind = \"dlib68\"", "dlib68"),
        ("threshold = 0.6", "threshold = -1.0", "threshold"),
        ("default_operating_point = \"author", "default_operating_point = \"another", "operating point"),
        ("commercial_use = true", "commercial_use = \"yes\"", "commercial_use"),
        ("sha256 = \"bbff", "sha256 = \"xyz", "sha256"),
        ("metric = \"euclidean\"", "metric = \"manhattan\"", "manhattan"),
        ("kind = \"dlib5\"", "kind = \"arcface4\"", "box_scale"),
    ];
    for (from, to, named) in cases {
        let copy = tempfile::tempdir().unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(copy.path().join("pack.toml"), text.replacen(from, to, 1)).unwrap();
        let error = refusal(copy.path());
        assert!(matches!(error, PackError::Description { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn a_pack_without_a_commercial_licence_needs_consent() {
    let Some(folder) = common::pack_folder() else { return };
    let text = std::fs::read_to_string(folder.join("pack.toml")).unwrap();
    for said in ["commercial_use = false", ""] {
        let copy = tempfile::tempdir().unwrap();
        let text = text.replace("commercial_use = true", said);
        std::fs::write(copy.path().join("pack.toml"), text).unwrap();
        for name in [DETECTOR, PREDICTOR, EMBEDDER] {
            std::os::unix::fs::symlink(folder.join(name), copy.path().join(name)).unwrap();
        }
        let error = refusal(copy.path());
        assert!(matches!(error, PackError::NonCommercial { .. }));
        assert!(error.to_string().contains("--allow-non-commercial"), "{error}");
        let consent = LoadOptions { allow_non_commercial: true };
        let pack = Pack::load(copy.path(), consent).unwrap();
        assert_ne!(pack.summary().commercial_use, Some(true));
    }
}
