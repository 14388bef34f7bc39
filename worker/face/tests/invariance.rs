//! A verdict must not depend on who shared the batch.
#![allow(clippy::unwrap_used)]

mod common;

use common::pictures::{mirrored, photo, turned};
use proofmill_face::{Chip, ChipPlan, Embedding, RgbImage, distance};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Chips of real faces, some turned or mirrored, so that they are all different.
fn faces() -> Option<(Vec<Chip>, Vec<Embedding>)> {
    let matcher = common::matcher()?;
    let mut pictures: Vec<RgbImage> = Vec::new();
    for name in ["obama.jpg", "obama2.jpg", "biden.jpg"] {
        let image = photo(name)?;
        pictures.extend([turned(&image, 4.0), mirrored(&image), image]);
    }
    let found = matcher.detect(&pictures.iter().collect::<Vec<_>>()).unwrap();
    let plans: Vec<ChipPlan> = pictures
        .iter()
        .zip(&found)
        .map(|(image, faces)| ChipPlan::new(image, &matcher.landmarks(image, &faces[0])))
        .collect();
    Some(matcher.align(&plans.iter().collect::<Vec<_>>()).unwrap().into_iter().unzip())
}

#[test]
fn the_distance_of_a_pair_does_not_depend_on_its_neighbours() {
    let (Some(matcher), Some((chips, _))) = (common::matcher(), faces()) else { return };
    let alone: Vec<Embedding> = chips.iter().map(|chip| matcher.embed(&[chip]).unwrap().remove(0)).collect();
    // Random batches in random order, with repetitions, some larger than one chunk.
    let mut runner = TestRunner::new(ProptestConfig { cases: 8, failure_persistence: None, ..Default::default() });
    let worst = std::cell::Cell::new(0f32);
    runner
        .run(&prop::collection::vec(0..chips.len(), 2..40), |order| {
            let batch: Vec<&Chip> = order.iter().map(|index| &chips[*index]).collect();
            let embedded = matcher.embed(&batch).unwrap();
            prop_assert_eq!(embedded.len(), batch.len());
            for (a, first) in order.iter().enumerate() {
                for (b, second) in order.iter().enumerate().skip(a + 1) {
                    let shared = distance(&embedded[a], &embedded[b]);
                    let difference = (shared - distance(&alone[*first], &alone[*second])).abs();
                    worst.set(worst.get().max(difference));
                    prop_assert!(difference <= 1e-5, "{} apart by {}", first, difference);
                }
            }
            Ok(())
        })
        .unwrap();
    println!("largest change of a distance by its batch: {:e}", worst.get());
}

#[test]
fn planning_and_rendering_in_a_batch_is_cutting_out_one_by_one() {
    let (Some(matcher), Some((chips, embeddings))) = (common::matcher(), faces()) else { return };
    let image = photo("obama2.jpg").unwrap();
    let found = matcher.detect(&[&image]).unwrap().remove(0);
    let single = proofmill_face::chip(&image, &matcher.landmarks(&image, &found[0]));
    // The sixth of the batch is that photo as it is.
    assert!(single.pixels() == chips[5].pixels());
    assert!(distance(&matcher.embed(&[&single]).unwrap()[0], &embeddings[5]) < 1e-5);
}
