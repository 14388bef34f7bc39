//! Whole attempts on real photographs: every verdict and every reason.
#![allow(clippy::unwrap_used)]

mod common;

use common::pictures::{
    blurred, cropped, jp2, jpeg, jpeg2000, mirrored, photo, remap, scaled, side_by_side, toned, turned,
};
use proofmill_face::{FaceFailure, FaceReason, FaceVerdict, ImageFault, Matcher, RgbImage, chip, distance, face};

/// Everything that most tests need; `None` after saying what is missing.
fn setting() -> Option<(&'static Matcher, Photos)> {
    Some((common::matcher()?, Photos::load()?))
}

struct Photos {
    obama: RgbImage,
    obama2: RgbImage,
    obama3: RgbImage,
    biden: RgbImage,
    astronaut: RgbImage,
}

impl Photos {
    fn load() -> Option<Self> {
        Some(Self {
            obama: scaled(&photo("obama.jpg")?, 640),
            obama2: photo("obama2.jpg")?,
            obama3: scaled(&photo("obama3.jpg")?, 800),
            biden: scaled(&photo("biden.jpg")?, 640),
            astronaut: photo("astronaut.png")?,
        })
    }

    /// As an authority would store it: small and compressed.
    fn portrait(&self) -> Vec<u8> {
        jpeg(&scaled(&self.obama, 413), 70)
    }

    fn selfie(&self) -> Vec<u8> {
        jpeg(&self.obama2, 85)
    }
}

fn verdict(matcher: &Matcher, portrait: &[u8], frames: &[&[u8]]) -> FaceVerdict {
    match matcher.prepare(portrait, frames) {
        Ok(attempt) => matcher.match_batch(&[attempt]).unwrap()[0].verdict,
        Err(failure) => failure.verdict(),
    }
}

fn selfie_of(matcher: &Matcher, photos: &Photos, image: &RgbImage) -> FaceVerdict {
    verdict(matcher, &photos.portrait(), &[&jpeg(image, 90)])
}

#[test]
fn the_same_person_matches_and_others_do_not() {
    let Some((matcher, photos)) = setting() else { return };
    let portrait = photos.portrait();
    for genuine in [&photos.obama2, &photos.obama3] {
        assert_eq!(verdict(matcher, &portrait, &[&jpeg(genuine, 85)]), FaceVerdict::Match);
    }
    for other in [&photos.biden, &photos.astronaut] {
        assert_eq!(verdict(matcher, &portrait, &[&jpeg(other, 85)]), FaceVerdict::Mismatch);
    }
}

#[test]
fn a_jpeg_2000_portrait_matches_as_a_file_and_as_a_codestream() {
    let Some((matcher, photos)) = setting() else { return };
    let small = scaled(&photos.obama, 300);
    let codestream = jpeg2000(&small);
    let file = jp2(&codestream, small.width() as u32, small.height() as u32, 3);
    for portrait in [codestream, file] {
        assert_eq!(verdict(matcher, &portrait, &[&photos.selfie()]), FaceVerdict::Match);
    }
}

#[test]
fn frames_are_judged_together() {
    let Some((matcher, photos)) = setting() else { return };
    let portrait = photos.portrait();
    let (good, other_day) = (photos.selfie(), jpeg(&photos.obama3, 85));
    let smeared = jpeg(&blurred(&photos.obama2, 20), 85);
    assert_eq!(verdict(matcher, &portrait, &[&good, &other_day]), FaceVerdict::Match);
    // A bad frame is set aside as long as a good one remains.
    assert_eq!(verdict(matcher, &portrait, &[&smeared, &good]), FaceVerdict::Match);
    let biden = jpeg(&photos.biden, 85);
    assert_eq!(verdict(matcher, &portrait, &[&good, &biden]), FaceVerdict::LivenessFailed(FaceReason::FramesDiffer));
    let copy = jpeg(&photos.obama, 85);
    assert_eq!(verdict(matcher, &portrait, &[&good, &copy]), FaceVerdict::LivenessFailed(FaceReason::PortraitReplay));
}

#[test]
fn pictures_without_a_face_are_named() {
    let Some((matcher, photos)) = setting() else { return };
    let Some(cat) = photo("astronaut.png").map(|i| turned(&i, 180.0)) else { return };
    let empty = RgbImage::new(300, 400, vec![127; 300 * 400 * 3]).unwrap();
    for image in [&cat, &empty] {
        assert_eq!(selfie_of(matcher, &photos, image), FaceVerdict::LivenessFailed(FaceReason::NoFace));
    }
    assert_eq!(
        verdict(matcher, &jpeg(&empty, 90), &[&photos.selfie()]),
        FaceVerdict::PortraitUnusable(FaceReason::NoFace)
    );
}

#[test]
fn a_second_face_is_named_on_either_side() {
    let Some((matcher, photos)) = setting() else { return };
    let head = |image: &RgbImage| {
        let found = matcher.detect(&[image]).unwrap().remove(0).remove(0).bounds;
        let side = found.width as usize * 2;
        let (x, y) = (found.x - found.width / 2.0, found.y - found.height / 2.0);
        remap(image, side, side, |dx, dy| (dx + f64::from(x), dy + f64::from(y)))
    };
    let two = side_by_side(&head(&photos.obama2), &head(&photos.astronaut), 400);
    assert_eq!(selfie_of(matcher, &photos, &two), FaceVerdict::LivenessFailed(FaceReason::SeveralFaces));
    assert_eq!(
        verdict(matcher, &jpeg(&two, 80), &[&photos.selfie()]),
        FaceVerdict::PortraitUnusable(FaceReason::SeveralFaces)
    );
    // One bad frame among good ones is enough: somebody else was there.
    assert_eq!(
        verdict(matcher, &photos.portrait(), &[&photos.selfie(), &jpeg(&two, 80)]),
        FaceVerdict::LivenessFailed(FaceReason::SeveralFaces)
    );
}

#[test]
fn small_blurred_dark_bright_turned_and_cut_faces_are_named() {
    let Some((matcher, photos)) = setting() else { return };
    let selfie = &photos.obama2;
    let Some(cut) = photo("obama_partial_face.jpg") else { return };
    let cases = [
        (scaled(selfie, 120), FaceReason::TooSmall),
        (blurred(selfie, 24), FaceReason::Blurred),
        (toned(selfie, |v| v * 0.06), FaceReason::Underexposed),
        (toned(selfie, |v| 120.0 + v * 0.08), FaceReason::Underexposed),
        (toned(selfie, |v| v * 1.6 + 120.0), FaceReason::Overexposed),
        (turned(selfie, 28.0), FaceReason::Pose),
        (cut, FaceReason::Pose),
    ];
    for (image, reason) in cases {
        let got = selfie_of(matcher, &photos, &image);
        assert_eq!(got, FaceVerdict::LivenessFailed(reason), "expected {reason}");
        let got = verdict(matcher, &jpeg(&image, 90), &[&photos.selfie()]);
        assert_eq!(got, FaceVerdict::PortraitUnusable(reason), "expected {reason}");
    }
}

#[test]
fn the_portrait_held_up_as_a_selfie_is_found_however_it_was_changed() {
    let Some((matcher, photos)) = setting() else { return };
    let original = &photos.obama;
    let copies = [
        ("as it is", original.data().to_vec(), original.width(), original.height()),
        with("recompressed", &decoded(&jpeg(original, 25))),
        with("at the portrait's size", &scaled(original, 413)),
        with("mirrored", &mirrored(original)),
        with("cropped", &cropped(original, 0.85)),
        with("brighter", &toned(original, |v| v * 1.15 + 20.0)),
        with("darker", &toned(original, |v| v * 0.6)),
        with("turned", &turned(original, 6.0)),
        with("mirrored, small, recompressed", &decoded(&jpeg(&scaled(&mirrored(original), 380), 40))),
    ];
    for (how, data, width, height) in copies {
        let copy = RgbImage::new(width, height, data).unwrap();
        let got = selfie_of(matcher, &photos, &copy);
        assert_eq!(got, FaceVerdict::LivenessFailed(FaceReason::PortraitReplay), "{how}");
    }
}

fn with(how: &'static str, image: &RgbImage) -> (&'static str, Vec<u8>, usize, usize) {
    (how, image.data().to_vec(), image.width(), image.height())
}

fn decoded(bytes: &[u8]) -> RgbImage {
    proofmill_face::decode(bytes, &proofmill_face::DecodeLimits::selfie()).unwrap()
}

#[test]
fn images_that_cannot_be_read_are_the_senders_failure_and_named() {
    let Some((matcher, photos)) = setting() else { return };
    let (portrait, selfie) = (photos.portrait(), photos.selfie());
    let cut = &selfie[..selfie.len() / 2];
    let failure = |portrait: &[u8], frames: &[&[u8]]| matcher.prepare(portrait, frames).err();
    let unreadable = FaceReason::ImageUnreadable;
    assert_eq!(failure(&portrait, &[&selfie, cut]), Some(FaceFailure::Selfie(unreadable(ImageFault::Truncated))));
    assert_eq!(failure(&portrait[..900], &[&selfie]), Some(FaceFailure::Portrait(unreadable(ImageFault::Truncated))));
    assert_eq!(failure(b"no picture", &[&selfie]), Some(FaceFailure::Portrait(unreadable(ImageFault::UnknownFormat))));
    let none: &[&[u8]] = &[];
    assert_eq!(failure(&portrait, none), Some(FaceFailure::Selfie(FaceReason::FrameCount)));
    let six = [&selfie[..]; 6];
    assert_eq!(failure(&portrait, &six), Some(FaceFailure::Selfie(FaceReason::FrameCount)));
    assert_eq!(unreadable(ImageFault::Truncated).as_str(), "image_truncated");
}

#[test]
fn a_batch_answers_in_order_and_like_each_attempt_alone() {
    let Some((matcher, photos)) = setting() else { return };
    let portrait = photos.portrait();
    let selfies = [
        photos.selfie(),
        jpeg(&photos.biden, 85),
        jpeg(&photos.obama, 85),
        jpeg(&photos.obama3, 85),
        jpeg(&blurred(&photos.obama2, 20), 85),
    ];
    let attempts: Vec<_> = selfies.iter().map(|selfie| matcher.prepare(&portrait, &[&selfie[..]]).unwrap()).collect();
    let together = matcher.match_batch(&attempts).unwrap();
    assert_eq!(
        together.iter().map(|outcome| outcome.verdict).collect::<Vec<_>>(),
        [
            FaceVerdict::Match,
            FaceVerdict::Mismatch,
            FaceVerdict::LivenessFailed(FaceReason::PortraitReplay),
            FaceVerdict::Match,
            FaceVerdict::LivenessFailed(FaceReason::Blurred),
        ]
    );
    for (attempt, expected) in attempts.iter().zip(&together) {
        let alone = matcher.match_batch(std::slice::from_ref(attempt)).unwrap();
        assert_eq!(&alone[0], expected);
    }
    assert!(matcher.match_batch(&[]).unwrap().is_empty());
}

#[test]
fn a_distance_does_not_depend_on_the_neighbours_in_the_batch() {
    let Some((matcher, photos)) = setting() else { return };
    let all = [&photos.obama, &photos.obama2, &photos.obama3, &photos.biden, &photos.astronaut];
    let chips: Vec<_> = all
        .iter()
        .flat_map(|image| {
            let faces = matcher.detect(&[image]).unwrap().remove(0);
            faces.into_iter().take(1).map(|found| chip(image, &matcher.landmarks(image, &found)))
        })
        .collect();
    assert_eq!(chips.len(), all.len());
    let alone: Vec<_> = chips.iter().map(|c| matcher.embed(&[c]).unwrap().remove(0)).collect();
    let mut worst = 0f32;
    // Other neighbours, other places, other sizes (more than one chunk, too).
    for size in [2, 3, 8, 35] {
        for start in [0, 3] {
            let batch: Vec<_> = (0..size).map(|i| &chips[(start + i * i) % chips.len()]).collect();
            let got = matcher.embed(&batch).unwrap();
            for (i, a) in got.iter().enumerate() {
                for (j, b) in got.iter().enumerate().take(i) {
                    let of = |at: usize| &alone[(start + at * at) % chips.len()];
                    let difference = (distance(a, b) - distance(of(i), of(j))).abs();
                    worst = worst.max(difference);
                }
            }
        }
    }
    println!("largest change of a distance: {worst:e}");
    assert!(worst <= 1e-5, "{worst}");
}

#[test]
fn an_unknown_operating_point_is_refused_at_start() {
    let Some(folder) = common::pack_folder() else { return };
    let pack = proofmill_face::Pack::load(&folder, Default::default()).unwrap();
    let policy = proofmill_face::MatchPolicy { operating_point: Some("fmr-1e-6".to_owned()), ..Default::default() };
    let refused = Matcher::with_policy(pack, proofmill_face::Device::Cpu, 0, policy);
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("fmr-1e-6"), "{error}");
}

/// On the reference photos: how often the guard calls two different photographs of one person
/// (or of two) a copy. Photos that were made from the same exposure are in one group.
#[test]
fn the_replay_guard_raises_no_false_alarm_on_the_reference_pairs() {
    let Some(data) = common::reference_data() else { return };
    let Some(matcher) = common::matcher() else { return };
    let exposures: [(&str, &[&str]); 9] = [
        ("obama", &["fr_obama.jpg"]),
        ("obama", &["fr_32bit.png", "fr_obama2.jpg"]),
        ("obama", &["fr_obama3.jpg"]),
        ("obama", &["fr_obama1.jpg"]),
        ("biden", &["fr_biden.jpg"]),
        ("biden", &["fr_biden2.jpg"]),
        ("alex", &["fr_alex_test1.jpg"]),
        ("alex", &["fr_alex_train1.jpg"]),
        ("astronaut", &["skimage_astronaut.png"]),
    ];
    let load = |name: &&str| {
        let image = common::picture(&data.join("face/images").join(name));
        let found = matcher.detect(&[&image]).unwrap().remove(0);
        chip(&image, &matcher.landmarks(&image, &found[0]))
    };
    let chips: Vec<(usize, &str, _)> = exposures
        .iter()
        .enumerate()
        .flat_map(|(index, (who, names))| names.iter().map(move |n| (index, *who, load(n))))
        .collect();
    let limit = matcher.policy().replay.correlation;
    let (mut same, mut other) = ((0, 0f32), (0, 0f32));
    let mut alarms = 0;
    for (i, a) in chips.iter().enumerate() {
        for b in &chips[..i] {
            if a.0 == b.0 {
                continue;
            }
            let found = face::replay::correlation(&a.2, &b.2);
            let tally = if a.1 == b.1 { &mut same } else { &mut other };
            *tally = (tally.0 + 1, tally.1.max(found));
            alarms += usize::from(found >= limit);
        }
    }
    println!(
        "{} pairs of one person, highest correlation {:.3}; {} pairs of two, highest {:.3}; {alarms} false alarms at {limit}",
        same.0, same.1, other.0, other.1
    );
    assert!(same.0 >= 10 && other.0 >= 20);
    assert_eq!(alarms, 0);
}
