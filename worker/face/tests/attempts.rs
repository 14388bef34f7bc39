//! Whole attempts on real photographs: every verdict and every reason.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::pictures::{
    blurred, cropped, jp2, jpeg, jpeg2000, mirrored, photo, remap, scaled, side_by_side, toned, turned,
};
use proofmill_face::{
    EngineError, FaceFailure, FaceReason, FaceVerdict, ImageFault, Matcher, PresentationAttack,
    PresentationAttackDetector, RgbImage, chip, distance,
};

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
        (toned(selfie, |v| 120.0 + v * 0.08), FaceReason::LowContrast),
        (toned(selfie, |v| v * 1.6 + 120.0), FaceReason::Overexposed),
        (turned(selfie, 28.0), FaceReason::Rolled),
        (cut, FaceReason::Cropped),
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
    let six = [&selfie[..]; 6];
    assert_eq!(failure(&portrait, &six), Some(FaceFailure::Selfie(FaceReason::FrameCount)));
    assert_eq!(unreadable(ImageFault::Truncated).as_str(), "image_truncated");
}

#[test]
fn a_portrait_is_judged_alone_where_there_are_no_frames() {
    let Some((matcher, photos)) = setting() else { return };
    let judge = |portrait: &[u8]| {
        let attempt = matcher.prepare(portrait, &[]).unwrap();
        assert_eq!(attempt.frames(), 0);
        matcher.match_batch(&[attempt]).unwrap()[0].verdict
    };
    assert_eq!(judge(&photos.portrait()), FaceVerdict::LivenessFailed(FaceReason::FrameCount));
    let blank = RgbImage::new(400, 500, vec![128; 400 * 500 * 3]).unwrap();
    assert_eq!(judge(&jpeg(&blank, 90)), FaceVerdict::PortraitUnusable(FaceReason::NoFace));
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

#[test]
fn two_frames_of_one_picture_are_no_two_frames() {
    let Some((matcher, photos)) = setting() else { return };
    let (portrait, frame) = (photos.portrait(), photos.selfie());
    let identical = FaceVerdict::LivenessFailed(FaceReason::FramesIdentical);
    assert_eq!(verdict(matcher, &portrait, &[&frame, &frame]), identical);
    // The bytes may differ where the pixels do not.
    let commented = [&frame[..2], &[0xff, 0xfe, 0, 4, b'h', b'i'], &frame[2..]].concat();
    let other = jpeg(&photos.obama3, 85);
    assert_eq!(verdict(matcher, &portrait, &[&frame, &other, &commented]), identical);
    // Recompressed, they are as unlike as two moments before a still camera: nothing here can tell.
    assert_eq!(verdict(matcher, &portrait, &[&frame, &jpeg(&photos.obama2, 80)]), FaceVerdict::Match);
}

#[test]
fn portraits_and_selfies_come_in_the_formats_that_have_a_place() {
    let Some((matcher, photos)) = setting() else { return };
    let Some(png) = common::photo("astronaut.png") else { return };
    let wrong = FaceReason::ImageUnreadable(ImageFault::WrongFormat);
    let (portrait, selfie) = (photos.portrait(), photos.selfie());
    assert_eq!(matcher.prepare(&portrait, &[&png]).err(), Some(FaceFailure::Selfie(wrong)));
    let jp2 = jpeg2000(&scaled(&photos.obama2, 300));
    assert_eq!(matcher.prepare(&portrait, &[&jp2]).err(), Some(FaceFailure::Selfie(wrong)));
    assert_eq!(matcher.prepare(&png, &[&selfie]).err(), Some(FaceFailure::Portrait(wrong)));
    assert_eq!(wrong.as_str(), "image_format_wrong");
}

/// A detector that says what it is told to, and counts how often it was asked.
struct Told(Result<PresentationAttack, EngineError>, AtomicUsize);

impl PresentationAttackDetector for Told {
    fn judge(&self, frames: &[&RgbImage]) -> Result<PresentationAttack, EngineError> {
        assert_eq!(frames.len(), 1);
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.clone()
    }
}

#[test]
fn a_detector_of_presentation_attacks_is_asked_where_nothing_else_speaks_against_the_frames() {
    let Some((plain, photos)) = setting() else { return };
    let Some(folder) = common::pack_folder() else { return };
    let with = |answer| {
        let detector = Arc::new(Told(answer, AtomicUsize::new(0)));
        let pack = proofmill_face::Pack::load(&folder, Default::default()).unwrap();
        let matcher = Matcher::new(pack, proofmill_face::Device::Cpu, 1).unwrap();
        (matcher.with_presentation_attack_detector(detector.clone()), detector)
    };
    let judge = |matcher: &Matcher, image: &RgbImage| {
        let attempt = matcher.prepare(&photos.portrait(), &[&jpeg(image, 85)]).unwrap();
        matcher.match_batch(&[attempt]).map(|outcomes| outcomes[0])
    };
    let outcome = judge(plain, &photos.obama2).unwrap();
    assert_eq!(outcome.presentation_attack.as_str(), "not_performed");

    let (matcher, _) = with(Ok(PresentationAttack::BonaFide));
    let outcome = judge(&matcher, &photos.obama2).unwrap();
    assert_eq!((outcome.verdict, outcome.presentation_attack.as_str()), (FaceVerdict::Match, "passed"));

    let (matcher, detector) = with(Ok(PresentationAttack::Attack));
    let attack = FaceVerdict::LivenessFailed(FaceReason::PresentationAttack);
    for frame in [&photos.obama2, &photos.biden] {
        let outcome = judge(&matcher, frame).unwrap();
        assert_eq!((outcome.verdict, outcome.presentation_attack.as_str()), (attack, "failed"));
    }
    // A copy of the portrait fails by itself.
    let outcome = judge(&matcher, &photos.obama).unwrap();
    assert_eq!(outcome.verdict, FaceVerdict::LivenessFailed(FaceReason::PortraitReplay));
    assert_eq!(outcome.presentation_attack, PresentationAttack::NotPerformed);
    assert_eq!(detector.1.load(Ordering::Relaxed), 2);

    // A detector that fails is nobody's failure but its own.
    let fault = EngineError::Config("the detector is away".to_owned());
    let (matcher, _) = with(Err(fault.clone()));
    assert_eq!(judge(&matcher, &photos.obama2), Err(fault));
}
