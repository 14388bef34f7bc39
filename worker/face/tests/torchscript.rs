//! Packs with a network that somebody else wrote: a TorchScript module, aligned by the detector's
//! own points. The networks here are traced on the spot.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::pictures::{jpeg, mirrored, scaled};
use proofmill_face::{
    Device, EngineError, FaceReason, FaceVerdict, LoadOptions, MatchPolicy, Matcher, ModelFault, Pack, PackError,
    discover, distance,
};
use sha2::{Digest, Sha256};
use tch::{CModule, Kind, Tensor};

const DETECTOR: &str = "face_detection_short_range.tflite";
const DIMENSIONS: i64 = 96;

/// What a network does with its input, and with weights that it keeps: what is made while a network
/// is traced becomes an operation of it, not a constant.
type Network = fn(&Tensor, &Tensor) -> Tensor;

/// A small recogniser: local brightness, without the picture's own, through fixed weights.
fn small(x: &Tensor, w: &Tensor) -> Tensor {
    let cells = x.adaptive_avg_pool2d([12, 12]).flatten(1, -1);
    let centred = &cells - cells.mean_dim(&[1i64][..], true, Kind::Float);
    centred.matmul(w)
}

fn weights() -> Tensor {
    let values: Vec<f32> = (0..432 * DIMENSIONS).map(|i| ((i * 7919 % 1009) as f32 / 1009.0 - 0.5) / 20.0).collect();
    Tensor::from_slice(&values).reshape([432, DIMENSIONS])
}

fn traced(network: Network, path: &Path) {
    discover();
    let example = Tensor::rand([2, 3, 112, 112], (Kind::Float, tch::Device::Cpu));
    let weights = weights();
    let mut closure = |inputs: &[Tensor]| vec![network(&inputs[0], &weights)];
    CModule::create_by_tracing("net", "forward", &[example], &mut closure).unwrap().save(path).unwrap();
}

/// What `pack.toml` says; the tests change single words of it.
fn description(bytes: &[u8], metric: &str, threshold: f32) -> String {
    format!(
        r#"format = 1
name = "traced"
version = "1"
licence = "Apache-2.0"
commercial_use = true
default_operating_point = "here"
[detector]
kind = "blazeface"
[detector.file]
name = "{DETECTOR}"
sha256 = "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"
bytes = 229714
licence = "Apache-2.0"
source = "set-up"
[aligner]
kind = "arcface4"
[embedder]
kind = "torchscript"
dimensions = {DIMENSIONS}
[embedder.input]
size = 112
channels = "rgb"
mean = [127.5, 127.5, 127.5]
scale = [127.5, 127.5, 127.5]
[embedder.file]
name = "net.pt"
sha256 = "{}"
bytes = {}
licence = "Apache-2.0"
source = "traced"
[comparison]
metric = "{metric}"
[[operating_points]]
name = "here"
threshold = {threshold:?}
evidence = "none: a test"
"#,
        hex::encode(Sha256::digest(bytes)),
        bytes.len()
    )
}

/// A pack around a network; `change` may spoil its description.
fn pack_of(bytes: &[u8], metric: &str, threshold: f32, change: impl Fn(String) -> String) -> Option<tempfile::TempDir> {
    let original = common::pack_folder()?;
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(original.join(DETECTOR), folder.path().join(DETECTOR)).unwrap();
    std::fs::write(folder.path().join("net.pt"), bytes).unwrap();
    std::fs::write(folder.path().join("pack.toml"), change(description(bytes, metric, threshold))).unwrap();
    Some(folder)
}

fn network(network: Network) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.pt");
    traced(network, &path);
    std::fs::read(path).unwrap()
}

fn load(folder: &Path) -> Pack {
    Pack::load(folder, LoadOptions::default()).unwrap()
}

fn matcher(metric: &str, threshold: f32) -> Option<Matcher> {
    let folder = pack_of(&network(small), metric, threshold, |text| text)?;
    Some(Matcher::new(load(folder.path()), Device::Cpu, 1).unwrap())
}

/// Why a pack's network was refused at start.
fn refused(bytes: &[u8], metric: &str) -> Option<EngineError> {
    let folder = pack_of(bytes, metric, 1.0, |text| text)?;
    match Matcher::new(load(folder.path()), Device::Cpu, 1) {
        Ok(_) => panic!("the network was taken"),
        Err(error) => Some(error),
    }
}

#[test]
fn a_traced_network_decides_through_the_same_path_as_the_default_pack() {
    let (Some(portrait), Some(selfie)) = (common::photo("obama.jpg"), common::photo("obama2.jpg")) else { return };
    let Some(other) = common::photo("biden.jpg") else { return };
    for metric in ["euclidean", "cosine"] {
        let Some(strict) = matcher(metric, 1e-4) else { return };
        let lax = matcher(metric, 1e4).unwrap();
        let verdict = |matcher: &Matcher, portrait: &[u8], frames: &[&[u8]]| {
            let attempt = matcher.prepare(portrait, frames).unwrap();
            matcher.match_batch(&[attempt]).unwrap().remove(0).verdict
        };
        assert_eq!(verdict(&lax, &portrait, &[&selfie]), FaceVerdict::Match, "{metric}");
        assert_eq!(verdict(&strict, &portrait, &[&selfie]), FaceVerdict::Mismatch, "{metric}");
        let mixed = verdict(&strict, &portrait, &[&selfie, &other]);
        assert_eq!(mixed, FaceVerdict::LivenessFailed(FaceReason::FramesDiffer), "{metric}");
    }
}

#[test]
fn gates_and_replay_guard_work_on_the_detectors_points_alone() {
    let Some(image) = common::pictures::photo("obama.jpg") else { return };
    let Some(matcher) = matcher("cosine", 1.9) else { return };
    let portrait = jpeg(&image, 92);
    let copies = [jpeg(&image, 40), jpeg(&scaled(&image, image.width() * 2 / 3), 80), jpeg(&mirrored(&image), 85)];
    for copy in &copies {
        let attempt = matcher.prepare(&portrait, &[copy]).unwrap();
        let verdict = matcher.match_batch(&[attempt]).unwrap().remove(0).verdict;
        assert_eq!(verdict, FaceVerdict::LivenessFailed(FaceReason::PortraitReplay));
    }
    let tiny = jpeg(&scaled(&image, 90), 90);
    let attempt = matcher.prepare(&portrait, &[&tiny]).unwrap();
    let verdict = matcher.match_batch(&[attempt]).unwrap().remove(0).verdict;
    assert!(matches!(verdict, FaceVerdict::LivenessFailed(FaceReason::TooSmall | FaceReason::NoFace)), "{verdict:?}");
}

#[test]
fn a_distance_does_not_depend_on_the_rest_of_the_batch() {
    let Some(matcher) = matcher("cosine", 1.0) else { return };
    let mut chips = Vec::new();
    for name in ["obama.jpg", "obama2.jpg", "biden.jpg"] {
        let Some(image) = common::pictures::photo(name) else { return };
        let found = matcher.detect(&[&image]).unwrap().remove(0);
        chips.push(matcher.plan_chip(&image, &found[0]).unwrap().render());
    }
    let batch: Vec<_> = chips.iter().cycle().take(35).collect();
    let together = matcher.embed(&batch).unwrap();
    for (chip, expected) in batch.iter().zip(&together).take(3) {
        let alone = matcher.embed(&[chip]).unwrap().remove(0);
        assert_eq!(alone.values().len(), DIMENSIONS as usize);
        assert!(distance(&alone, expected) <= 1e-5);
    }
    // It is a network, if a poor one: it tells pictures apart.
    assert!(distance(&together[0], &together[2]) > 0.01);
}

#[test]
fn the_input_is_normalised_and_ordered_as_the_pack_says() {
    /// The mean of each channel as the network sees it, eight times.
    fn means(x: &Tensor, _: &Tensor) -> Tensor {
        x.mean_dim(&[2i64, 3][..], false, Kind::Float).repeat([1, 32])
    }
    let bytes = network(means);
    let change = |text: String| {
        text.replace("\"rgb\"", "\"bgr\"")
            .replace("mean = [127.5, 127.5, 127.5]", "mean = [10, 20.0, 30.0]")
            .replace("scale = [127.5, 127.5, 127.5]", "scale = [2.0, 4.0, 5.0]")
    };
    let (Some(plain), Some(changed)) =
        (pack_of(&bytes, "euclidean", 1.0, |text| text), pack_of(&bytes, "euclidean", 1.0, change))
    else {
        return;
    };
    let Some(image) = common::pictures::photo("obama.jpg") else { return };
    let embed = |folder: &Path| {
        let matcher = Matcher::new(load(folder), Device::Cpu, 1).unwrap();
        let found = matcher.detect(&[&image]).unwrap().remove(0);
        matcher.embed(&[&matcher.plan_chip(&image, &found[0]).unwrap().render()]).unwrap().remove(0)
    };
    let (plain, changed) = (embed(plain.path()), embed(changed.path()));
    let grey = |index: usize| plain.values()[index] * 127.5 + 127.5;
    assert!((grey(0) - grey(2)).abs() > 1.0, "a picture without colour cannot tell the order");
    let expected = [(grey(2) - 10.0) / 2.0, (grey(1) - 20.0) / 4.0, (grey(0) - 30.0) / 5.0];
    for (found, expected) in changed.values().iter().zip(expected) {
        assert!((found - expected).abs() < 1e-2, "{found} {expected}");
    }
}

#[test]
fn a_network_that_does_not_do_what_its_pack_says_is_refused_at_start_and_named() {
    fn narrow(x: &Tensor, w: &Tensor) -> Tensor {
        small(x, w).narrow(1, 0, 64)
    }
    fn flat(x: &Tensor, w: &Tensor) -> Tensor {
        small(x, w).flatten(0, -1)
    }
    fn whole(x: &Tensor, w: &Tensor) -> Tensor {
        small(x, w).to_kind(Kind::Int64)
    }
    let expected: [(Network, &str); 3] = [(narrow, "pack.toml says"), (flat, "pack.toml says"), (whole, "Int64")];
    for (bad, named) in expected {
        let Some(error) = refused(&network(bad), "cosine") else { return };
        assert!(matches!(&error, EngineError::Network { file, .. } if file == "net.pt"), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    let Some(folder) = pack_of(&network(small), "cosine", 1.0, |text| text.replace("size = 112", "size = 8")) else {
        return;
    };
    assert!(Pack::load(folder.path(), LoadOptions::default()).is_err());
}

#[test]
fn a_network_that_returns_no_numbers_or_the_same_for_everybody_is_refused() {
    fn nan(x: &Tensor, w: &Tensor) -> Tensor {
        (small(x, w) * 0.0 - 1.0).log()
    }
    fn zero(x: &Tensor, w: &Tensor) -> Tensor {
        small(x, w) * 0.0
    }
    fn constant(x: &Tensor, w: &Tensor) -> Tensor {
        small(x, w) * 0.0 + 1.0
    }
    fn neighbours(x: &Tensor, w: &Tensor) -> Tensor {
        let y = small(x, w);
        &y - y.mean_dim(&[0i64][..], true, Kind::Float) * 0.5
    }
    let expected: [(Network, &str); 4] = [
        (nan, "no numbers"),
        (zero, "nothing but zeros"),
        (constant, "the same numbers"),
        (neighbours, "in another batch"),
    ];
    for (bad, named) in expected {
        let Some(error) = refused(&network(bad), "cosine") else { return };
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn a_module_that_is_altered_cut_or_no_module_is_refused_before_libtorch_reads_it() {
    let bytes = network(small);
    let fault = |bytes: &[u8]| {
        let folder = pack_of(bytes, "cosine", 1.0, |text| text)?;
        match Pack::load(folder.path(), LoadOptions::default()) {
            Err(PackError::Model { path, error }) => {
                assert!(path.ends_with("net.pt"));
                Some(error.fault)
            }
            Err(other) => panic!("expected a fault of the model, got {other}"),
            Ok(_) => panic!("the pack was taken"),
        }
    };
    if common::pack_folder().is_none() {
        return;
    }
    for cut in [30, bytes.len() / 2, bytes.len() - 1] {
        assert!(matches!(fault(&bytes[..cut]), Some(ModelFault::Truncated(_))), "cut at {cut}");
    }
    assert!(matches!(fault(b"\x80\x02}q\x00."), Some(ModelFault::Malformed(_))));
    // The first entry of the directory says that it unfolds to 4 GB.
    let at = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let mut hostile = bytes.clone();
    hostile[at + 24..at + 28].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff]);
    assert!(matches!(fault(&hostile), Some(ModelFault::Count { count: 0xffff_fffe, .. })));

    let folder = pack_of(&bytes, "cosine", 1.0, |text| text).unwrap();
    let mut altered = bytes.clone();
    altered[bytes.len() / 2] ^= 1;
    std::fs::write(folder.path().join("net.pt"), &altered).unwrap();
    let error = Pack::load(folder.path(), LoadOptions::default()).err().unwrap();
    assert!(matches!(&error, PackError::WrongHash { path, .. } if path.ends_with("net.pt")), "{error}");
}

#[test]
fn a_module_whose_content_is_broken_inside_a_sound_frame_is_an_error_that_names_it() {
    let mut bytes = network(small);
    // The list of constants is a pickle, stored as it is: its first opcodes, not the frame.
    let name = bytes.windows(13).position(|w| w == b"constants.pkl").unwrap();
    let at = name + bytes[name..].windows(2).position(|w| w == b"\x80\x02").unwrap();
    bytes[at..at + 2].copy_from_slice(&[0xff, 0xff]);
    let Some(error) = refused(&bytes, "cosine") else { return };
    assert!(matches!(&error, EngineError::Network { file, .. } if file == "net.pt"), "{error}");
    assert!(error.to_string().len() < 400, "{error}");
}

#[test]
fn hostile_counts_and_contradictions_in_a_description_are_refused_by_name() {
    let bytes = network(small);
    let cases = [
        ("size = 112", "size = 4000000", "size"),
        ("dimensions = 96", "dimensions = 1000000000", "dimensions"),
        ("scale = [127.5, 127.5, 127.5]", "scale = [127.5, 0.0, 127.5]", "scale"),
        ("mean = [127.5, 127.5, 127.5]", "mean = [127.5, nan, 127.5]", "mean"),
        ("channels = \"rgb\"", "channels = \"yuv\"", "yuv"),
        ("kind = \"arcface4\"", "kind = \"arcface4\"\nbox_scale = 1.0", "box_scale"),
        ("metric = \"cosine\"", "metric = \"manhattan\"", "manhattan"),
        ("evidence =", "false_match_rate = 1e-4\nevidence =", "impostor_comparisons"),
        (
            "evidence =",
            "false_match_rate = 1e-4\nimpostor_comparisons = 2847\nfalse_matches = 0\nevidence =",
            "do not support",
        ),
    ];
    for (from, to, named) in cases {
        let change = |text: String| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        };
        let Some(folder) = pack_of(&bytes, "cosine", 1.0, change) else { return };
        let error = Pack::load(folder.path(), LoadOptions::default()).err().unwrap();
        assert!(matches!(error, PackError::Description { .. }), "{error}");
        assert!(error.to_string().contains(named), "{named}: {error}");
    }
}

#[test]
fn a_false_match_rate_is_answered_from_measured_points_or_refused_naming_them() {
    let measured = r#"
[[operating_points]]
name = "fmr-1e-3"
threshold = 0.5
false_match_rate = 1e-3
impostor_comparisons = 10000
false_matches = 2
evidence = "a test's"
[[operating_points]]
name = "fmr-1e-4"
threshold = 0.4
false_match_rate = 1e-4
impostor_comparisons = 100000
false_matches = 3
evidence = "a test's"
"#;
    let Some(folder) = pack_of(&network(small), "cosine", 1.0, |text| text + measured) else { return };
    let pack = load(folder.path());
    let answer = |rate| pack.operating_point_for(rate).map(|point| point.name.clone());
    assert_eq!(answer(1e-3).unwrap(), "fmr-1e-3");
    assert_eq!(answer(5e-3).unwrap(), "fmr-1e-3");
    assert_eq!(answer(1e-4).unwrap(), "fmr-1e-4");
    let error = answer(1e-5).unwrap_err();
    assert!(matches!(error, PackError::UnsupportedRate { .. }));
    for named in ["here (no rate measured)", "fmr-1e-3", "fmr-1e-4", "1e-5"] {
        assert!(error.to_string().contains(named), "{error}");
    }
    let policy = MatchPolicy { operating_point: Some("fmr-1e-4".to_owned()), ..MatchPolicy::default() };
    let matcher = Matcher::with_policy(pack, Device::Cpu, 1, policy).unwrap();
    assert_eq!((matcher.threshold(), &*matcher.identity().operating_point), (0.4, "fmr-1e-4"));
}

/// A landmarker that looks for nothing: five points at fixed places of its input, and a trace of the
/// input, so that it is not a constant. `LANDMARKS` in a crop of 0 to 1.
/// ArcFace's template, made smaller and moved, so that four of its points and five say the same.
const LANDMARKS: [f32; 10] =
    [0.373533, 0.449259, 0.625227, 0.447867, 0.500180, 0.592404, 0.396781, 0.739754, 0.605214, 0.738601];

fn fixed_points(x: &Tensor, _: &Tensor) -> Tensor {
    let zero = x.mean_dim(&[1i64, 2, 3][..], false, Kind::Float).reshape([-1, 1]) * 0.0;
    // Numbers are kept in a trace; a tensor made here would be made anew, without them.
    let columns: Vec<Tensor> = LANDMARKS.iter().map(|value| &zero + f64::from(*value)).collect();
    Tensor::cat(&columns, 1)
}

fn with_landmarker(landmarker: Network, change: impl Fn(String) -> String) -> Option<tempfile::TempDir> {
    let bytes = network(landmarker);
    let table = format!(
        r#"kind = "arcface4"
[aligner.landmarker]
kind = "torchscript"
box_scale = 1.3
unit = "crop"
[aligner.landmarker.input]
size = 112
channels = "rgb"
mean = [0.0, 0.0, 0.0]
scale = [255.0, 255.0, 255.0]
[aligner.landmarker.file]
name = "points.pt"
sha256 = "{}"
bytes = {}
licence = "Apache-2.0"
source = "traced"
"#,
        hex::encode(Sha256::digest(&bytes)),
        bytes.len()
    );
    let folder =
        pack_of(&network(small), "cosine", 1.9, |text| change(text.replacen("kind = \"arcface4\"\n", &table, 1)))?;
    std::fs::write(folder.path().join("points.pt"), &bytes).unwrap();
    Some(folder)
}

#[test]
fn a_packs_own_landmarker_decides_where_the_crop_lies() {
    let Some(image) = common::pictures::photo("obama.jpg") else { return };
    let Some(folder) = with_landmarker(fixed_points, |text| text) else { return };
    let pack = load(folder.path());
    assert_eq!(pack.summary().aligner, "arcface4 with a landmarker of its own");
    let own = Matcher::new(pack, Device::Cpu, 1).unwrap();
    let detected = matcher("cosine", 1.9).unwrap();
    let found = own.detect(&[&image]).unwrap().remove(0);
    let chip = |matcher: &Matcher, face| matcher.plan_chip(&image, face).unwrap().render();
    let (with, without) = (chip(&own, &found[0]), chip(&detected, &found[0]));
    assert!(with.pixels() != without.pixels(), "its points are used");
    // The points follow from the detector's box, so the chip is where a detection with these points has it.
    let bounds = &found[0].bounds;
    let side = bounds.width.max(bounds.height) * 1.3;
    let (left, top) = (bounds.x + bounds.width / 2.0 - side / 2.0, bounds.y + bounds.height / 2.0 - side / 2.0);
    let at = |index: usize| (left + LANDMARKS[2 * index] * side, top + LANDMARKS[2 * index + 1] * side);
    let mouth = ((at(3).0 + at(4).0) / 2.0, (at(3).1 + at(4).1) / 2.0);
    let mut placed = found[0].clone();
    for (point, (x, y)) in placed.points.iter_mut().zip([at(0), at(1), at(2), mouth]) {
        (point.x, point.y) = (x, y);
    }
    let expected = chip(&detected, &placed);
    let difference =
        |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64;
    let (near, far) = (difference(with.pixels(), expected.pixels()), difference(with.pixels(), without.pixels()));
    assert!(near < 1.0 && near < far / 10.0, "{near} {far}");

    let photo = common::photo("obama.jpg").unwrap();
    let other = common::photo("obama2.jpg").unwrap();
    let attempt = own.prepare(&photo, &[&other]).unwrap();
    let verdict = own.match_batch(&[attempt]).unwrap().remove(0).verdict;
    assert!(matches!(verdict, FaceVerdict::Match | FaceVerdict::Mismatch | FaceVerdict::LivenessFailed(_)));
}

#[test]
fn a_landmarkers_points_may_be_rows_of_two_and_in_pixels() {
    fn rows(x: &Tensor, w: &Tensor) -> Tensor {
        (fixed_points(x, w) * 112.0).reshape([-1, 5, 2])
    }
    let Some(image) = common::pictures::photo("obama.jpg") else { return };
    let pixels = |text: String| text.replace("unit = \"crop\"", "unit = \"pixels\"");
    let folders = [with_landmarker(fixed_points, |text| text), with_landmarker(rows, pixels)];
    let chips: Vec<_> = folders
        .iter()
        .flatten()
        .map(|folder| {
            let matcher = Matcher::new(load(folder.path()), Device::Cpu, 1).unwrap();
            let found = matcher.detect(&[&image]).unwrap().remove(0);
            matcher.plan_chip(&image, &found[0]).unwrap().render()
        })
        .collect();
    if let [a, b] = &chips[..] {
        let worst = a.pixels().iter().zip(b.pixels()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(2), "{worst:?}");
    }
}

#[test]
fn a_landmarker_that_does_not_do_what_its_pack_says_is_refused_by_name() {
    fn four(x: &Tensor, w: &Tensor) -> Tensor {
        fixed_points(x, w).narrow(1, 0, 8)
    }
    fn nan(x: &Tensor, w: &Tensor) -> Tensor {
        (fixed_points(x, w) - 10.0).log()
    }
    for (bad, named) in [(four as Network, "pack.toml says"), (nan as Network, "no numbers")] {
        let Some(folder) = with_landmarker(bad, |text| text) else { return };
        let error = Matcher::new(load(folder.path()), Device::Cpu, 1).err().unwrap();
        assert!(matches!(&error, EngineError::Network { file, .. } if file == "points.pt"), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    for (from, to, named) in [
        ("box_scale = 1.3", "box_scale = 40.0", "aligner.landmarker.box_scale"),
        ("unit = \"crop\"", "unit = \"inches\"", "inches"),
        ("scale = [255.0, 255.0, 255.0]", "scale = [255.0, 0.0, 255.0]", "aligner.landmarker.input.scale"),
    ] {
        let Some(folder) = with_landmarker(fixed_points, |text| text.replacen(from, to, 1)) else { return };
        let error = Pack::load(folder.path(), LoadOptions::default()).err().unwrap();
        assert!(matches!(error, PackError::Description { .. }) && error.to_string().contains(named), "{error}");
    }
    let Some(folder) = with_landmarker(fixed_points, |text| text) else { return };
    std::fs::write(folder.path().join("points.pt"), b"something else").unwrap();
    let error = Pack::load(folder.path(), LoadOptions::default()).err().unwrap();
    assert!(matches!(&error, PackError::WrongHash { path, .. } if path.ends_with("points.pt")), "{error}");
}

#[test]
fn a_pickle_that_claims_a_huge_tensor_is_refused_without_room_being_made_for_it() {
    // The weights of a linear layer are a tensor in the archive; its shape is in the pickle.
    let bytes = network(small);
    // 432 rows as BININT2 (`M` and two bytes, low first); now 2^31 - 1, as BININT of the same length is not: 65,535.
    let rows = [b'M', 0xb0, 0x01];
    let places: Vec<usize> = bytes.windows(3).enumerate().filter(|(_, w)| *w == rows).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the shape is written in the pickle");
    let mut hostile = bytes.clone();
    for at in places {
        hostile[at + 1..at + 3].copy_from_slice(&[0xff, 0xff]);
    }
    let Some(error) = refused(&hostile, "cosine") else { return };
    assert!(matches!(&error, EngineError::Network { file, .. } if file == "net.pt"), "{error}");
    assert!(error.to_string().len() < 400, "{error}");
}
