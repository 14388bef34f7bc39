//! From embeddings to a decision, and whether the decision is safe in the precision it was made.

use crate::matcher::{Embedding, distance};

/// The distances of one attempt that decide.
pub(crate) struct Distances {
    /// The largest between two frames; `None` with one frame.
    widest: Option<f32>,
    /// The median of the compared frames' distances to the portrait.
    median: f32,
}

/// What they are compared with.
#[derive(Clone, Copy)]
pub(crate) struct Thresholds {
    /// Two frames farther apart are not of one person.
    pub(crate) frames: f32,
    /// Portrait and frame match up to this distance.
    pub(crate) portrait: f32,
}

/// What the distances say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    FramesDiffer,
    Match,
    Mismatch,
}

impl Distances {
    /// Of a portrait's embedding and its frames', best first; the first `compared` frames count
    /// against the portrait, all of them among themselves. `None` without any frame.
    pub(crate) fn of(portrait: &Embedding, frames: &[Embedding], compared: usize) -> Option<Self> {
        let between = frames
            .iter()
            .enumerate()
            .flat_map(|(index, frame)| frames[index + 1..].iter().map(move |other| distance(frame, other)));
        let to_portrait = frames.iter().take(compared).map(|frame| distance(portrait, frame)).collect();
        Some(Self { widest: between.reduce(f32::max), median: median(to_portrait)? })
    }

    pub(crate) fn finding(&self, thresholds: Thresholds) -> Finding {
        if self.widest.is_some_and(|widest| widest > thresholds.frames) {
            Finding::FramesDiffer
        } else if self.median <= thresholds.portrait {
            Finding::Match
        } else {
            Finding::Mismatch
        }
    }

    /// Whether the finding could be another if each distance were off by up to `margin`: then it
    /// has to be computed again, more exactly. A maximum and a median move by no more than what
    /// they are taken of.
    pub(crate) fn undecided(&self, thresholds: Thresholds, margin: f32) -> bool {
        let near = |value: f32, threshold: f32| (value - threshold).abs() <= margin;
        self.widest.is_some_and(|widest| near(widest, thresholds.frames)) || near(self.median, thresholds.portrait)
    }
}

/// The median; of an even number, the mean of the middle two.
fn median(mut values: Vec<f32>) -> Option<f32> {
    values.sort_by(f32::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values.get(values.len() / 2 - 1)? + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const THRESHOLDS: Thresholds = Thresholds { frames: 0.6, portrait: 0.6 };

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![0.5]), Some(0.5));
        assert_eq!(median(vec![0.9, 0.1, 0.4]), Some(0.4));
        assert_eq!(median(vec![0.2, 0.4]), Some(0.3));
    }

    #[test]
    fn only_what_is_near_a_threshold_is_undecided() {
        let one = |median| Distances { widest: None, median };
        assert!(!one(0.45).undecided(THRESHOLDS, 0.01));
        assert!(one(0.595).undecided(THRESHOLDS, 0.01));
        assert!(one(0.605).undecided(THRESHOLDS, 0.01));
        assert!(!one(0.65).undecided(THRESHOLDS, 0.01));
        // Frames count too, by their own threshold.
        let frames = Distances { widest: Some(0.592), median: 0.3 };
        assert!(frames.undecided(THRESHOLDS, 0.01));
        assert!(!frames.undecided(Thresholds { frames: 0.7, ..THRESHOLDS }, 0.01));
    }

    fn distances(between: &[f32], to_portrait: &[f32]) -> Distances {
        Distances { widest: between.iter().copied().reduce(f32::max), median: median(to_portrait.to_vec()).unwrap() }
    }

    proptest! {
        /// What the factor in `MatchPolicy::fusion_factor` stands on: how many frames must be within the
        /// threshold for the median to be.
        #[test]
        fn a_median_within_the_threshold_takes_half_of_the_frames(distances in prop::collection::vec(0.3f32..0.9, 1..6)) {
            let within = distances.iter().filter(|distance| **distance <= 0.6).count();
            let needed = if distances.len() % 2 == 1 { distances.len().div_ceil(2) } else { distances.len() / 2 };
            if median(distances).unwrap() <= 0.6 {
                prop_assert!(within >= needed);
            }
        }

        /// Half precision never decides otherwise than single precision would: what is not
        /// computed again has the finding that any error within the margin leaves it with.
        #[test]
        fn an_error_within_the_margin_changes_no_finding_that_stands(
            pairs in prop::collection::vec((0.3f32..0.9, -0.00999f32..0.00999), 0..6),
            faces in prop::collection::vec((0.3f32..0.9, -0.00999f32..0.00999), 1..4),
        ) {
            let exact = |values: &[(f32, f32)]| values.iter().map(|v| v.0).collect::<Vec<_>>();
            let rough = |values: &[(f32, f32)]| values.iter().map(|v| v.0 + v.1).collect::<Vec<_>>();
            let seen = distances(&rough(&pairs), &rough(&faces));
            prop_assume!(!seen.undecided(THRESHOLDS, 0.01));
            prop_assert_eq!(seen.finding(THRESHOLDS), distances(&exact(&pairs), &exact(&faces)).finding(THRESHOLDS));
        }
    }
}
