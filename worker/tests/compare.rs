//! `proofmill-worker face compare` as people run it, on photos that set-up fetched.
#![allow(clippy::unwrap_used, missing_docs)]

mod tools;

use std::path::Path;

use serde_json::Value;
use tools::{Ran, beside, cmyk_jpeg, jpeg, jpeg_bomb, photos, picture, png_16, png_bomb, scaled, worker};

/// Runs the comparison and holds its answer to what every answer promises.
fn compare(a: &Path, b: &Path) -> (Value, i32) {
    let Ran { status, stdout, stderr } =
        worker(&["face", "compare", a.to_str().unwrap(), b.to_str().unwrap(), "--json"]);
    let answer: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    assert_eq!(stdout.lines().count(), 1);
    assert!(answer["notice"].as_str().unwrap().starts_with("development tool"));
    assert_eq!(answer["distance"].is_null(), answer["reason"].is_string(), "{answer}");
    let threshold = answer["threshold"].as_f64().unwrap();
    let expected = match answer["distance"].as_f64() {
        None => "not_compared",
        Some(distance) if distance <= threshold => "match",
        Some(_) => "no_match",
    };
    assert_eq!(answer["decision"], expected);
    for side in ["a", "b"] {
        let side = &answer[side];
        assert_eq!(side["box"].is_null(), side["faces"] == 0, "{side}");
        assert_eq!(side["points"].is_null(), side["quality"].is_null(), "{side}");
    }
    assert!(answer["ms"]["total"].as_f64().unwrap() > 0.0);
    (answer, status)
}

fn gate<'a>(answer: &'a Value, picture: &str, name: &str) -> &'a Value {
    let gates = answer["gates"].as_array().unwrap();
    gates.iter().find(|gate| gate["gate"] == name && gate["picture"].as_str().unwrap_or("") == picture).unwrap()
}

/// The gates of a picture that fail, with their reasons.
fn failing(answer: &Value, picture: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let gates = answer["gates"].as_array().unwrap().iter();
    let failed = gates.filter(|gate| gate["passed"] == false && gate["picture"].as_str().unwrap_or("") == picture);
    failed.map(|gate| (text(&gate["gate"]), text(&gate["reason"]))).collect()
}

#[test]
fn one_person_matches_and_two_do_not() {
    let Some(photos) = photos() else { return };
    let (answer, status) = compare(&photos.join("obama.jpg"), &photos.join("obama2.jpg"));
    assert_eq!((status, answer["decision"].as_str().unwrap()), (0, "match"));
    for side in ["a", "b"] {
        assert_eq!(answer[side]["faces"], 1);
        // The eyes are where the box is, the person's right one on the picture's left.
        let (bounds, points) = (&answer[side]["box"], &answer[side]["points"]);
        let (left, right) = (points["right_eye"][0].as_f64().unwrap(), points["left_eye"][0].as_f64().unwrap());
        let (x, width) = (bounds["x"].as_f64().unwrap(), bounds["width"].as_f64().unwrap());
        assert!(x < left && left < right && right < x + width, "{answer}");
        let apart = answer[side]["quality"]["inter_eye_px"].as_f64().unwrap();
        assert!((right - left..right - left + 10.0).contains(&apart), "{answer}");
    }
    assert!(answer["gates"].as_array().unwrap().iter().all(|gate| gate["passed"] == true), "{answer}");
    assert_eq!(answer["pack"]["operating_point"], "author-default");

    let (a, b) = (photos.join("obama.jpg"), photos.join("biden.jpg"));
    let (answer, status) = compare(&a, &b);
    assert_eq!((status, answer["decision"].as_str().unwrap()), (1, "no_match"));
    let text = worker(&["face", "compare", a.to_str().unwrap(), b.to_str().unwrap()]);
    assert_eq!(text.status, 1);
    let first = format!("NO MATCH  distance {:.4}, more than 0.6", answer["distance"].as_f64().unwrap());
    assert!(text.stdout.starts_with(&first) && text.stdout.contains("development tool"), "{}", text.stdout);
    assert!(text.stderr.is_empty(), "{}", text.stderr);

    let loud = worker(&["--log", "trace", "face", "compare", a.to_str().unwrap(), b.to_str().unwrap(), "--json"]);
    let digits = answer["distance"].as_f64().unwrap().to_string();
    assert!(loud.stdout.contains(&digits[..5]) && !loud.stderr.contains(&digits[..5]), "{}", loud.stderr);
}

#[test]
fn the_distance_is_given_where_a_gate_refuses() {
    let Some(photos) = photos() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let obama = photos.join("obama.jpg");
    let other = picture(&photos.join("obama2.jpg"));

    let small = file("small.jpg", &jpeg(&scaled(&other, 240)));
    let (answer, status) = compare(&obama, &small);
    assert_eq!(failing(&answer, "b"), [("inter_eye_distance".to_owned(), "too_small".to_owned())]);
    let eyes = gate(&answer, "b", "inter_eye_distance");
    assert!(eyes["value"].as_f64().unwrap() < 36.0 && eyes["least"] == 36.0 && eyes["most"].is_null(), "{eyes}");
    let name = small.to_str().unwrap();
    let lenient = ["face", "compare", obama.to_str().unwrap(), name, "--json", "--gate", "selfie.min_inter_eye_px=5"];
    assert!(failing(&worker(&lenient).json(), "b").is_empty());
    let wrong = worker(&["face", "compare", name, name, "--gate", "selfie.min_eyes=5"]);
    assert!(wrong.status == 2 && wrong.stderr.contains("selfie.min_eyes"), "{}", wrong.stderr);
    assert_eq!((status, answer["decision"].as_str().unwrap()), (0, "match"), "{answer}");

    let two =
        file("two.jpg", &jpeg(&beside(&scaled(&other, 1000), &scaled(&picture(&photos.join("biden.jpg")), 1000))));
    let (answer, status) = compare(&obama, &two);
    assert_eq!(gate(&answer, "b", "single_face_present")["reason"], "several_faces");
    assert_eq!(gate(&answer, "b", "single_face_present")["value"], 2.0);
    assert_eq!((status, answer["decision"].as_str().unwrap()), (0, "match"), "the widest face is the same person's");
    assert_eq!(answer["b"]["faces"], 2);

    let (answer, status) = compare(&obama, &obama);
    assert_eq!(gate(&answer, "", "replay")["reason"], "portrait_replay");
    assert_eq!((status, answer["distance"].as_f64()), (0, Some(0.0)));
    let text = worker(&["face", "compare", obama.to_str().unwrap(), obama.to_str().unwrap()]);
    assert!(text.stdout.contains("the product would refuse this pair: portrait_replay"), "{}", text.stdout);
}

#[test]
fn without_a_face_there_is_no_distance_but_a_reason() {
    let Some(photos) = photos() else { return };
    let folder = tempfile::tempdir().unwrap();
    let dot = folder.path().join("dot.jpg");
    std::fs::write(&dot, jpeg(&proofmill_face::RgbImage::new(1, 1, vec![200, 100, 50]).unwrap())).unwrap();
    for faceless in [photos.join("chelsea.png"), dot] {
        let (answer, status) = compare(&photos.join("obama.jpg"), &faceless);
        assert_eq!((status, answer["reason"].as_str().unwrap()), (1, "no_face"), "{answer}");
        assert_eq!((&answer["b"]["faces"], &answer["b"]["error"]), (&0.into(), &Value::Null));
        assert_eq!(failing(&answer, "b"), [("single_face_present".to_owned(), "no_face".to_owned())]);
        assert_eq!(answer["a"]["faces"], 1, "what can be told about the other picture is told");
    }
}

#[test]
fn forms_of_pictures_that_are_taken_give_the_same_face() {
    let Some(photos) = photos() else { return };
    let folder = tempfile::tempdir().unwrap();
    let original = scaled(&picture(&photos.join("obama2.jpg")), 800);
    let reference = photos.join("obama.jpg");
    let mut distances = Vec::new();
    for (name, bytes) in
        [("plain.jpg", jpeg(&original)), ("wrong-extension.jpg", png_16(&original)), ("inks.png", cmyk_jpeg(&original))]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (answer, status) = compare(&reference, &path);
        assert_eq!((status, &answer["b"]["width"]), (0, &original.width().into()), "{name}: {answer}");
        distances.push(answer["distance"].as_f64().unwrap());
    }
    assert!(distances.iter().all(|distance| (distance - distances[0]).abs() < 0.1), "{distances:?}");
}

#[test]
fn a_picture_that_cannot_be_used_is_named() {
    let Some(photos) = photos() else { return };
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(photos.join("obama.jpg")).unwrap();
    let mut corrupt = whole.clone();
    // The first length in the file reaches beyond its end.
    corrupt[4..6].copy_from_slice(&[0, 0]);
    // The photo itself has a small picture of itself inside, with a header of its own.
    let plain = jpeg(&scaled(&picture(&photos.join("obama.jpg")), 400));
    let frame = plain.windows(2).position(|w| w[0] == 0xff && (0xc0..=0xc2).contains(&w[1])).unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut other = plain.clone();
        other[at..at + bytes.len()].copy_from_slice(bytes);
        other
    };
    let closed = [&whole[..whole.len() / 2], &[0xff, 0xd9]].concat();
    let (tall, flat) = (changed(frame + 5, &[8, 0]), changed(frame + 5, &[0, 64]));
    let (arithmetic, twelve) = (changed(frame + 1, &[0xc9]), changed(frame + 4, &[12]));
    let cases: [(&str, &[u8], &str); 12] = [
        ("closed.jpg", &closed, "image_truncated"),
        ("tall.jpg", &tall, "image_truncated"),
        ("flat.jpg", &flat, "image_corrupt"),
        ("arithmetic.jpg", &arithmetic, "image_unsupported"),
        ("twelve.jpg", &twelve, "image_unsupported"),
        ("animation.gif", b"GIF89a\x01\x00\x01\x00", "image_format_unknown"),
        ("cut.jpg", &whole[..whole.len() / 3], "image_truncated"),
        ("corrupt.jpg", &corrupt, "image_corrupt"),
        ("empty.jpg", b"", "image_empty"),
        ("text.jpg", b"this is no picture", "image_format_unknown"),
        ("bomb.jpg", &jpeg_bomb(), "image_too_many_pixels"),
        ("bomb.png", &png_bomb(), "image_too_many_pixels"),
    ];
    let file = |(name, bytes, code): &(&str, &[u8], &'static str)| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (path, *code)
    };
    for two in cases.chunks(2) {
        let [(a, a_code), (b, b_code)] = [file(&two[0]), file(&two[1])];
        let (answer, status) = compare(&a, &b);
        assert_eq!((status, answer["reason"].as_str().unwrap()), (2, a_code), "{answer}");
        assert_eq!((&answer["a"]["error"]["code"], &answer["b"]["error"]["code"]), (&a_code.into(), &b_code.into()));
    }
    // What can be told about the other picture is told.
    let (answer, status) = compare(&photos.join("obama.jpg"), &folder.path().join("cut.jpg"));
    assert_eq!((status, &answer["a"]["faces"], &answer["b"]["faces"]), (2, &1.into(), &0.into()));
    let (answer, status) = compare(&folder.path().join("none.jpg"), folder.path());
    assert_eq!((status, answer["reason"].as_str().unwrap()), (2, "file_missing"));
    assert_eq!(answer["b"]["error"]["code"], "file_not_regular");
}

#[test]
fn without_a_pack_nothing_is_decided() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no-pack");
    let ran = worker(&["face", "compare", "a.jpg", "b.jpg", "--json", "--pack", missing.to_str().unwrap()]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("no-pack") && ran.stderr.contains("pack.toml"), "{}", ran.stderr);
}
