//! The replay guard: copies of a portrait, however they were changed, and other photographs of the
//! same person, changed in the same ways.
#![allow(clippy::unwrap_used)]

mod common;

use common::pictures::{
    blurred, cropped, jpeg, mirrored, noisy, off_a_screen, photo, scaled, shifted, stretched, tilted, tinted, toned,
    turned, wavelet_smoothed,
};
use proofmill_face::face::replay::Detail;
use proofmill_face::{Chip, DecodeLimits, Matcher, RgbImage, decode};
use rayon::prelude::*;

/// The widest face that the product would see, and the distance of its eyes.
fn face(matcher: &Matcher, image: &RgbImage) -> Option<(Chip, f32)> {
    let found = matcher.detect(&[image]).unwrap().remove(0);
    let seen = found.into_iter().filter(|face| face.score >= 0.7);
    let face = seen.max_by(|a, b| a.bounds.width.total_cmp(&b.bounds.width))?;
    let [right, left, ..] = face.points;
    Some((matcher.plan_chip(image, &face).unwrap().render(), (left.x - right.x).hypot(left.y - right.y)))
}

fn recompressed(image: &RgbImage, quality: u8) -> RgbImage {
    decode(&jpeg(image, quality), &DecodeLimits::selfie()).unwrap()
}

/// As an authority would store it.
fn stored(matcher: &Matcher, photo: &RgbImage) -> Detail {
    let small = if photo.width() > 413 { &scaled(photo, 413) } else { photo };
    Detail::of(&face(matcher, &recompressed(small, 70)).unwrap().0)
}

/// Somebody's photo, changed. `eyes`: how far they are apart, in pixels.
type Change = (String, Made);
type Made = Box<dyn Fn(&RgbImage, f32) -> RgbImage + Sync>;

fn changes() -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    let mut add = |how: &str, change: Made| all.push((how.to_owned(), change));
    add("as it is", Box::new(|image, _| scaled(image, image.width())));
    for quality in [90, 50, 25, 10] {
        add(&format!("JPEG at {quality}"), Box::new(move |image, _| recompressed(image, quality)));
    }
    add("like JPEG 2000", Box::new(|image, _| wavelet_smoothed(image)));
    for share in [0.7, 0.4] {
        let resized = move |image: &RgbImage, _| scaled(image, (image.width() as f64 * share) as usize);
        add(&format!("resized to {share}"), Box::new(resized));
    }
    for width in [0.7, 0.74, 0.78, 0.88, 1.12, 1.25, 1.3, 1.35] {
        add(&format!("{width} times as wide"), Box::new(move |image, _| stretched(image, width, 1.0)));
    }
    for height in [0.75, 0.8] {
        add(&format!("{height} times as high"), Box::new(move |image, _| stretched(image, 1.0, height)));
    }
    add("0.85 times as wide and mirrored", Box::new(|image, _| mirrored(&stretched(image, 0.85, 1.0))));
    let wide_and_soft = |image: &RgbImage, eyes: f32| {
        mirrored(&blurred(&stretched(image, 1.25, 1.0), ((eyes * 0.06).round() as usize).max(2)))
    };
    add("1.25 times as wide, blurred and mirrored", Box::new(wide_and_soft));
    for share in [0.85, 0.7] {
        add(&format!("cropped to {share}"), Box::new(move |image, _| cropped(image, share)));
    }
    for (side, x) in [("left", 0.2), ("right", -0.2)] {
        let aside = move |image: &RgbImage, _| {
            let (w, h) = (image.width() as f64, image.height() as f64);
            shifted(image, (f64::max(x, 0.0) * w, 0.0), (0.8 * w, h))
        };
        add(&format!("cropped on the {side}"), Box::new(aside));
    }
    add("brighter", Box::new(|image, _| toned(image, |v| v * 1.15 + 20.0)));
    add("darker", Box::new(|image, _| toned(image, |v| v * 0.5)));
    add("more contrast", Box::new(|image, _| toned(image, |v| (v - 128.0) * 1.5 + 128.0)));
    add("less contrast", Box::new(|image, _| toned(image, |v| (v - 128.0) * 0.5 + 128.0)));
    for gamma in [0.5, 2.0] {
        let curve = move |image: &RgbImage, _| toned(image, |v| 255.0 * (v / 255.0).powf(gamma));
        add(&format!("gamma {gamma}"), Box::new(curve));
    }
    add("warmer", Box::new(|image, _| tinted(image, [1.15, 1.0, 0.75])));
    add("mirrored", Box::new(|image, _| mirrored(image)));
    for share in [0.04, 0.08, 0.12] {
        let soft = move |image: &RgbImage, eyes: f32| blurred(image, ((eyes * share).round() as usize).max(2));
        add(&format!("blurred over {share} of the eyes' distance"), Box::new(soft));
        let soft_noisy = move |image: &RgbImage, eyes: f32| noisy(&soft(image, eyes), 6.0);
        add(&format!("blurred over {share} of the eyes' distance, and noise"), Box::new(soft_noisy));
    }
    for degrees in [3.0, 8.0, 15.0] {
        add(&format!("turned by {degrees} degrees"), Box::new(move |image, _| turned(image, degrees)));
    }
    for level in [5.0, 15.0] {
        add(&format!("noise of {level}"), Box::new(move |image, _| noisy(image, level)));
    }
    for share in [0.1, 0.2] {
        add(&format!("from the side by {share}"), Box::new(move |image, _| tilted(image, share)));
    }
    add("off a screen", Box::new(|image, _| off_a_screen(image)));
    all
}

#[test]
fn a_copy_of_the_portrait_is_found_however_it_was_changed() {
    let Some(matcher) = common::matcher() else { return };
    let limit = matcher.policy().replay.correlation;
    let mut photos = Vec::new();
    for (name, width) in [("obama.jpg", 400), ("biden.jpg", 500), ("astronaut.png", 400)] {
        let Some(image) = photo(name) else { return };
        photos.push((name, scaled(&image, width)));
    }
    let portraits: Vec<Detail> = photos.iter().map(|(_, image)| stored(matcher, image)).collect();
    let eyes: Vec<f32> = photos.iter().map(|(_, image)| face(matcher, image).unwrap().1).collect();
    let found: Vec<(String, f32)> = changes()
        .par_iter()
        .map(|(how, change)| {
            let mut least = 1f32;
            for (((name, image), portrait), eyes) in photos.iter().zip(&portraits).zip(&eyes) {
                let copy = change(image, *eyes);
                // Where the detector sees no face, nothing is compared: that is no evasion.
                let Some((chip, _)) = face(matcher, &copy) else {
                    println!("{name} {how}: no face");
                    continue;
                };
                let found = portrait.correlation(&Detail::of(&chip));
                if found < limit {
                    println!("{name} {how}: {found:.3}");
                }
                least = least.min(found);
            }
            (how.clone(), least)
        })
        .collect();
    for (how, least) in &found {
        println!("{how}: {least:.3}");
    }
    let missed: Vec<_> = found.iter().filter(|(_, least)| *least < limit).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// Copies through whose face the picture ends: the portrait's own photo, cut.
#[test]
fn a_copy_cut_through_the_face_is_found() {
    let Some(matcher) = common::matcher() else { return };
    let Some(whole) = photo("obama.jpg") else { return };
    let portrait = stored(matcher, &whole);
    for name in ["obama_partial_face.jpg", "obama_partial_face2.jpg"] {
        let Some(part) = photo(name) else { return };
        let (chip, eyes) = face(matcher, &part).unwrap();
        let found = portrait.correlation(&Detail::of(&chip));
        let soft = blurred(&part, (eyes * 0.06) as usize);
        let soft = portrait.correlation(&Detail::of(&face(matcher, &soft).unwrap().0));
        println!("{name}: {found:.3}, blurred {soft:.3}");
        assert!(found.min(soft) >= matcher.policy().replay.correlation, "{name}: {found} {soft}");
    }
}

/// Photographs of the reference data by person; those of one exposure are in one group.
const EXPOSURES: [(&str, &str); 10] = [
    ("obama", "fr_obama.jpg"),
    ("obama", "fr_obama2.jpg"),
    ("obama", "fr_obama3.jpg"),
    ("obama", "fr_obama1.jpg"),
    ("biden", "fr_biden.jpg"),
    ("biden", "fr_biden2.jpg"),
    ("alex", "fr_alex_test1.jpg"),
    ("alex", "fr_alex_train1.jpg"),
    ("alex", "fr_alex-lacamoire.png"),
    ("astronaut", "skimage_astronaut.png"),
];

/// How often the guard calls two photographs a copy that are none: each as a portrait, each other
/// one as a selfie, changed in every way in which copies are.
#[test]
fn other_photographs_are_no_copies_however_they_were_changed() {
    let Some(data) = common::reference_data() else { return };
    let Some(matcher) = common::matcher() else { return };
    let limit = matcher.policy().replay.correlation;
    let photos: Vec<(&str, &str, RgbImage)> = EXPOSURES
        .par_iter()
        .map(|(who, name)| (*who, *name, scaled(&common::picture(&data.join("face/images").join(name)), 380)))
        .collect();
    let portraits: Vec<Detail> = photos.par_iter().map(|(.., image)| stored(matcher, image)).collect();
    let eyes: Vec<f32> = photos.par_iter().map(|(.., image)| face(matcher, image).unwrap().1).collect();
    let changes = changes();
    let work: Vec<(usize, usize)> =
        (0..photos.len()).flat_map(|photo| (0..changes.len()).map(move |change| (photo, change))).collect();
    let found: Vec<(bool, f32, String)> = work
        .par_iter()
        .flat_map_iter(|(index, change)| {
            let (who, name, image) = &photos[*index];
            let (how, change) = &changes[*change];
            let selfie = face(matcher, &change(image, eyes[*index])).map(|(chip, _)| Detail::of(&chip));
            let others = portraits.iter().zip(&photos).filter(|(_, other)| other.1 != *name);
            selfie
                .map(|selfie| {
                    let each = others.map(|(portrait, other)| {
                        let which = format!("{name} {how} against {}", other.1);
                        (*who == other.0, portrait.correlation(&selfie), which)
                    });
                    each.collect::<Vec<_>>()
                })
                .unwrap_or_default()
        })
        .collect();
    for (same, what) in [(true, "one person"), (false, "two people")] {
        let of: Vec<_> = found.iter().filter(|(of, ..)| *of == same).collect();
        let highest = of.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        let alarms = of.iter().filter(|(_, found, _)| *found >= limit).count();
        println!(
            "{} pairs of {what}, {alarms} false alarms at {limit}, highest {:.3} ({})",
            of.len(),
            highest.1,
            highest.2
        );
        assert!(of.len() > 400);
        assert_eq!(alarms, 0, "{highest:?}");
    }
}
