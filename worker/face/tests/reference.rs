//! The face path against values that the reference implementations (dlib 20.0.1, MediaPipe
//! 0.10.14) gave on 25 public photographs.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use proofmill_face::{Bounds, Chip, Detection, Embedding, Landmarks, PixelRect, RgbImage, chip, distance};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Dlib {
    images: BTreeMap<String, DlibImage>,
}

#[derive(Deserialize)]
struct DlibImage {
    sha256_rgb: String,
    identity: Option<String>,
    faces: Vec<DlibFace>,
}

#[derive(Deserialize)]
struct DlibFace {
    rect: [i64; 4],
    landmarks5: [[i64; 2]; 5],
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Blaze {
    images: BTreeMap<String, BlazeImage>,
}

#[derive(Deserialize)]
struct BlazeImage {
    short_range: Vec<BlazeFace>,
}

#[derive(Deserialize)]
struct BlazeFace {
    score: f32,
    #[serde(rename = "box")]
    bounds: [f32; 4],
    kp: [[f32; 2]; 6],
}

fn dlib() -> Option<(std::path::PathBuf, Dlib)> {
    let folder = common::reference_data()?.join("face");
    let text = std::fs::read(folder.join("dlib_reference.json")).unwrap();
    Some((folder, serde_json::from_slice(&text).unwrap()))
}

/// The picture as the reference values were made from it, by libjpeg-turbo: pixel for pixel what we decode.
fn reference_picture(folder: &std::path::Path, name: &str, image: &DlibImage) -> RgbImage {
    let picture = common::picture(&folder.join("images").join(name));
    let digest = hex::encode(Sha256::digest(picture.data()));
    assert_eq!(digest, image.sha256_rgb, "{name} decodes to other pixels");
    picture
}

#[test]
fn pictures_decode_to_the_pixels_of_the_reference() {
    let Some((folder, reference)) = dlib() else { return };
    for (name, image) in &reference.images {
        reference_picture(&folder, name, image);
    }
    assert!(reference.images.len() > 20);
}

fn chips(folder: &std::path::Path) -> BTreeMap<String, Chip> {
    tch::Tensor::read_npz(folder.join("dlib_chips.npz"))
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| {
            assert_eq!(tensor.size(), [150, 150, 3]);
            let mut pixels = vec![0u8; 150 * 150 * 3];
            tensor.copy_data_u8(&mut pixels, 150 * 150 * 3);
            (name, Chip::new(pixels).unwrap())
        })
        .collect()
}

#[test]
fn embeddings_of_the_reference_chips_agree_to_a_ten_thousandth() {
    let Some((folder, reference)) = dlib() else { return };
    let Some(matcher) = common::matcher() else { return };
    let chips = chips(&folder);
    let (mut worst, mut count) = (0f32, 0);
    for (name, image) in &reference.images {
        for (index, face) in image.faces.iter().enumerate() {
            let chip = &chips[&format!("{name}#{index}")];
            let got = matcher.embed(&[chip]).unwrap();
            let difference =
                got[0].values().iter().zip(&face.embedding).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            worst = worst.max(difference);
            count += 1;
        }
    }
    println!("{count} embeddings, largest difference {worst:e}");
    assert!(count > 40 && worst <= 1e-4);
}

#[test]
fn landmarks_from_the_reference_boxes_are_the_same_pixels() {
    let Some((folder, reference)) = dlib() else { return };
    let Some(matcher) = common::matcher() else { return };
    let (mut count, mut different) = (0, Vec::new());
    for (name, image) in &reference.images {
        if image.faces.is_empty() {
            continue;
        }
        let picture = reference_picture(&folder, name, image);
        for face in &image.faces {
            let [left, top, right, bottom] = face.rect;
            let area = PixelRect { left, top, right, bottom };
            let got = matcher.landmarks_in(&picture, &area).unwrap();
            if got != Landmarks(face.landmarks5) {
                different.push((name.clone(), got, face.landmarks5));
            }
            count += 1;
        }
    }
    println!("{count} faces, {} with other landmarks", different.len());
    assert!(count > 40);
    assert!(different.is_empty(), "{different:?}");
}

#[test]
fn chips_from_the_reference_landmarks_agree_to_one_grey_level() {
    let Some((folder, reference)) = dlib() else { return };
    let chips = chips(&folder);
    let (mut count, mut worst, mut differing) = (0, 0, 0usize);
    for (name, image) in &reference.images {
        if image.faces.is_empty() {
            continue;
        }
        let picture = reference_picture(&folder, name, image);
        for (index, face) in image.faces.iter().enumerate() {
            let got = chip(&picture, &Landmarks(face.landmarks5));
            let expected = &chips[&format!("{name}#{index}")];
            for (a, b) in got.pixels().iter().zip(expected.pixels()) {
                worst = worst.max(a.abs_diff(*b));
                differing += usize::from(a != b);
            }
            count += 1;
        }
    }
    println!("{count} chips, largest difference {worst} grey levels, {differing} samples differ");
    assert!(count > 40 && worst <= 1);
}

#[test]
fn detected_points_agree_to_a_hundredth_of_the_face_width() {
    let Some((folder, dlib)) = dlib() else { return };
    let Some(matcher) = common::matcher() else { return };
    let text = std::fs::read(folder.join("blazeface_reference.json")).unwrap();
    let reference: Blaze = serde_json::from_slice(&text).unwrap();
    let (mut faces, mut worst, mut worst_score) = (0, 0f32, 0f32);
    for (name, image) in &reference.images {
        let picture = reference_picture(&folder, name, &dlib.images[name]);
        let got = matcher.detect(&[&picture]).unwrap().remove(0);
        let expected: Vec<&BlazeFace> = image.short_range.iter().filter(|face| face.score >= 0.5).collect();
        assert_eq!(got.len(), expected.len(), "{name}");
        for want in expected {
            let (deviation, score) = got
                .iter()
                .map(|face| (deviation(face, want), (face.score - want.score).abs()))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .unwrap();
            assert!(deviation <= 0.01, "{name}: {deviation}");
            worst = worst.max(deviation);
            worst_score = worst_score.max(score);
            faces += 1;
        }
    }
    println!("{faces} faces, largest deviation {:.3} % of the face width, of scores {worst_score:.4}", worst * 100.0);
    assert!(faces > 20);
}

/// Largest distance of a point or box corner, in face widths.
fn deviation(got: &Detection, want: &BlazeFace) -> f32 {
    let [x, y, width, height] = want.bounds;
    let Bounds { x: gx, y: gy, width: gw, height: gh } = got.bounds;
    let corners = [(gx - x, gy - y), (gx + gw - x - width, gy + gh - y - height)];
    got.points
        .iter()
        .zip(want.kp)
        .map(|(a, [x, y])| (a.x - x, a.y - y))
        .chain(corners)
        .map(|(dx, dy)| dx.hypot(dy))
        .fold(0.0, f32::max)
        / width
}

#[test]
fn pairs_are_decided_as_the_reference_decides_them() {
    let Some((folder, reference)) = dlib() else { return };
    let Some(matcher) = common::matcher() else { return };
    // Photos of one named person each, in which the detector sees one dominant face.
    let mut people: Vec<(String, String, Embedding, Embedding)> = Vec::new();
    for (name, image) in &reference.images {
        let (Some(identity), [face]) = (&image.identity, &image.faces[..]) else {
            continue;
        };
        let picture = reference_picture(&folder, name, image);
        let found = matcher.detect(&[&picture]).unwrap().remove(0);
        let Some(best) = found.first() else {
            println!("{name}: no face found");
            continue;
        };
        let chip = chip(&picture, &matcher.landmarks(&picture, best));
        let ours = matcher.embed(&[&chip]).unwrap().remove(0);
        let theirs = Embedding::new(face.embedding.clone()).unwrap();
        people.push((name.clone(), identity.clone(), ours, theirs));
    }
    let mut between: Vec<f32> = people.iter().map(|p| distance(&p.2, &p.3)).collect();
    between.sort_by(f32::total_cmp);
    let (mut same, mut other) = ((0, 0f32), (0, f32::MAX));
    for (index, a) in people.iter().enumerate() {
        for b in &people[index + 1..] {
            let ours = distance(&a.2, &b.2);
            let theirs = distance(&a.3, &b.3);
            assert_eq!(
                ours <= matcher.threshold(),
                theirs <= matcher.threshold(),
                "{} and {}: {ours} here, {theirs} there",
                a.0,
                b.0
            );
            if a.1 == b.1 {
                same = (same.0 + 1, same.1.max(ours));
            } else {
                other = (other.0 + 1, other.1.min(ours));
            }
        }
    }
    println!(
        "{} photos; to the reference's embedding of the same photo: median {:.3}, largest {:.3}",
        people.len(),
        between[between.len() / 2],
        between[between.len() - 1]
    );
    println!(
        "{} pairs of one person, farthest {:.3}; {} pairs of two, nearest {:.3}",
        same.0, same.1, other.0, other.1
    );
    assert!(same.0 >= 20 && other.0 >= 20);
    assert!(same.1 <= matcher.threshold() && other.1 > matcher.threshold());
}
