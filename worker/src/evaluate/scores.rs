//! Comparison scores and the error rates that follow from them, in the terms of ISO/IEC 19795-1. Scores are distances: two
//! pictures match when theirs is at most the threshold.

use serde::Serialize;

use super::statistics::{CONFIDENCE, Proportion, most_errors, trials_needed};

/// The distances of genuine (mated) and of impostor (non-mated) comparisons.
#[derive(Debug, Default)]
pub struct Scores {
    genuine: Vec<f32>,
    impostor: Vec<f32>,
}

/// Both error rates at one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// Distance up to which two pictures match.
    pub threshold: f32,
    /// FMR: impostor comparisons that match.
    pub false_match_rate: Proportion,
    /// FNMR: genuine comparisons that do not.
    pub false_non_match_rate: Proportion,
}

/// Where the two error rates are nearest to each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EqualError {
    /// The mean of the two rates there.
    pub rate: f64,
    /// The rates.
    #[serde(flatten)]
    pub rates: Rates,
}

/// A threshold for a claimed false-match rate, if the comparisons support the claim.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// The false-match rate.
    pub false_match_rate: f64,
    /// Whether there is a threshold at which the one-sided 95 % bound of the false-match rate is at most that.
    pub supported: bool,
    /// The largest such threshold.
    pub threshold: Option<f32>,
    /// FMR observed there.
    pub observed_false_match_rate: Option<Proportion>,
    /// FNMR observed there.
    pub false_non_match_rate: Option<Proportion>,
    /// The least false-match rate that so many impostor comparisons could support, if none of them matched.
    pub least_supported: Option<f64>,
    /// Impostor comparisons without a false match that the claim needs.
    pub impostors_needed: u64,
}

/// Where the distances of one kind lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub least: f32,
    /// The lower of the middle two, or the middle one.
    pub median: f32,
    /// The largest.
    pub largest: f32,
}

impl Scores {
    /// Of finite distances, in any order.
    pub fn new(mut genuine: Vec<f32>, mut impostor: Vec<f32>) -> Self {
        genuine.sort_by(f32::total_cmp);
        impostor.sort_by(f32::total_cmp);
        Self { genuine, impostor }
    }

    /// Genuine distances, ascending.
    pub fn genuine(&self) -> &[f32] {
        &self.genuine
    }

    /// Impostor distances, ascending.
    pub fn impostor(&self) -> &[f32] {
        &self.impostor
    }

    /// Both rates at a threshold.
    pub fn rates(&self, threshold: f32) -> Rates {
        let matches = |distances: &[f32]| distances.partition_point(|distance| *distance <= threshold);
        Rates {
            threshold,
            false_match_rate: Proportion::new(matches(&self.impostor), self.impostor.len()),
            false_non_match_rate: Proportion::new(self.genuine.len() - matches(&self.genuine), self.genuine.len()),
        }
    }

    /// Comparisons of either kind that are decided rightly at a threshold.
    pub fn accuracy(&self, threshold: f32) -> Proportion {
        let rates = self.rates(threshold);
        let (fmr, fnmr) = (rates.false_match_rate, rates.false_non_match_rate);
        let trials = fmr.trials + fnmr.trials;
        Proportion { count: trials - fmr.count - fnmr.count, trials }
    }

    /// The rates at every threshold at which one of them changes, ascending; first a threshold below every distance.
    pub fn steps(&self) -> impl Iterator<Item = Rates> + '_ {
        let mut all: Vec<f32> = self.genuine.iter().chain(&self.impostor).copied().collect();
        all.sort_by(f32::total_cmp);
        all.dedup();
        let below = all.first().map(|least| least.next_down());
        below.into_iter().chain(all).map(|threshold| self.rates(threshold))
    }

    /// The equal error rate; `None` without comparisons of either kind.
    pub fn equal_error(&self) -> Option<EqualError> {
        let of = |rates: Rates| Some((rates, rates.false_match_rate.rate()?, rates.false_non_match_rate.rate()?));
        let nearest = self.steps().filter_map(of).min_by(|(_, am, an), (_, bm, bn)| {
            // Of several thresholds as near, the one with the lower rates.
            (am - an).abs().total_cmp(&(bm - bn).abs()).then((am + an).total_cmp(&(bm + bn)))
        });
        nearest.map(|(rates, fmr, fnmr)| EqualError { rate: (fmr + fnmr) / 2.0, rates })
    }

    /// The threshold that keeps a false-match rate with 95 % confidence, if that many comparisons can tell.
    pub fn claim(&self, target: f64) -> Claim {
        let trials = self.impostor.len() as u64;
        let none = Proportion { count: 0, trials };
        let threshold = most_errors(trials, target, CONFIDENCE).and_then(|errors| {
            // Just below the first impostor that would be one too many.
            let first = self.impostor.get(usize::try_from(errors).ok()?)?;
            Some(first.next_down())
        });
        let rates = threshold.map(|threshold| self.rates(threshold));
        Claim {
            false_match_rate: target,
            supported: rates.is_some(),
            threshold,
            observed_false_match_rate: rates.map(|rates| rates.false_match_rate),
            false_non_match_rate: rates.map(|rates| rates.false_non_match_rate),
            least_supported: (trials > 0).then(|| none.bound(CONFIDENCE)),
            impostors_needed: trials_needed(target, CONFIDENCE),
        }
    }

    /// About twenty round thresholds over the range in which there are distances.
    pub fn grid(&self) -> Vec<f32> {
        let Some((low, high)) = self.range() else { return Vec::new() };
        let step = round_step(f64::from(high - low), 20.0);
        let (first, last) = ((f64::from(low) / step).floor(), (f64::from(high) / step).ceil());
        (0..=(last - first) as usize).map(|index| ((first + index as f64) * step) as f32).collect()
    }

    /// The least and the largest distance.
    pub fn range(&self) -> Option<(f32, f32)> {
        let ends = [self.genuine.first(), self.impostor.first(), self.genuine.last(), self.impostor.last()];
        let all = || ends.iter().copied().flatten().copied();
        Some((all().reduce(f32::min)?, all().reduce(f32::max)?))
    }
}

impl Spread {
    /// Of ascending distances; `None` of none.
    pub fn of(distances: &[f32]) -> Option<Self> {
        Some(Self {
            least: *distances.first()?,
            median: *distances.get((distances.len() - 1) / 2)?,
            largest: *distances.last()?,
        })
    }
}

/// 1, 2 or 5 times a power of ten, so that `span` has at most about `parts` of them.
pub fn round_step(span: f64, parts: f64) -> f64 {
    let raw = (span / parts).max(1e-6);
    let power = 10f64.powf(raw.log10().floor());
    let digit = raw / power;
    power
        * if digit <= 1.0 {
            1.0
        } else if digit <= 2.0 {
            2.0
        } else if digit <= 5.0 {
            5.0
        } else {
            10.0
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores() -> Scores {
        Scores::new(vec![0.5, 0.2, 0.3, 0.7], vec![0.9, 0.6, 0.8, 0.7, 1.0])
    }

    #[test]
    fn a_distance_at_the_threshold_matches() {
        let rates = scores().rates(0.7);
        assert_eq!(rates.false_match_rate, Proportion { count: 2, trials: 5 });
        assert_eq!(rates.false_non_match_rate, Proportion { count: 0, trials: 4 });
        let rates = scores().rates(0.7f32.next_down());
        assert_eq!(rates.false_match_rate, Proportion { count: 1, trials: 5 });
        assert_eq!(rates.false_non_match_rate, Proportion { count: 1, trials: 4 });
        assert_eq!(scores().accuracy(0.65), Proportion { count: 7, trials: 9 });
    }

    #[test]
    fn the_steps_lead_from_nothing_matches_to_everything_matches() {
        let steps: Vec<_> = scores().steps().collect();
        assert_eq!(steps.len(), 9, "eight distances, one of them twice, and a threshold below all");
        let ends = [steps[0], steps[8]].map(|s| (s.false_match_rate.count, s.false_non_match_rate.count));
        assert_eq!(ends, [(0, 4), (5, 0)]);
        for pair in steps.windows(2) {
            assert!(pair[0].threshold < pair[1].threshold);
            assert!(pair[0].false_match_rate.count <= pair[1].false_match_rate.count);
            assert!(pair[0].false_non_match_rate.count >= pair[1].false_non_match_rate.count);
        }
    }

    #[test]
    fn the_equal_error_rate_is_where_the_rates_meet() {
        // At 0.6 one of five impostors matches, and one of four genuine pairs does not.
        let equal = scores().equal_error().unwrap();
        assert_eq!((equal.rates.threshold, equal.rate), (0.6, (0.2 + 0.25) / 2.0));
        let apart = Scores::new(vec![0.1, 0.2], vec![0.8, 0.9]).equal_error().unwrap();
        assert_eq!((apart.rates.threshold, apart.rate), (0.2, 0.0));
        assert!(Scores::new(vec![0.1], vec![]).equal_error().is_none());
    }

    #[test]
    fn a_claim_that_the_comparisons_cannot_support_is_refused() {
        let impostor: Vec<f32> = (0..80).map(|i| 0.65 + i as f32 / 1000.0).collect();
        let scores = Scores::new(vec![0.4, 0.66], impostor);
        let refused = scores.claim(1e-4);
        assert!(!refused.supported && refused.threshold.is_none());
        assert_eq!(refused.impostors_needed, 29_956);
        assert!((refused.least_supported.unwrap() - 0.0368).abs() < 1e-4);
        // 80 impostors support 0.1 with three false matches (bound 0.0946) and not with four (0.1113).
        let claim = scores.claim(0.1);
        assert_eq!(claim.observed_false_match_rate, Some(Proportion { count: 3, trials: 80 }));
        assert_eq!(claim.false_non_match_rate, Some(Proportion { count: 1, trials: 2 }));
        assert_eq!(claim.threshold, Some(0.653f32.next_down()));
        assert!(!Scores::default().claim(0.1).supported);
    }

    #[test]
    fn equal_distances_are_never_half_matched() {
        let scores = Scores::new(vec![0.1], vec![0.7; 500]);
        let claim = scores.claim(0.05);
        assert_eq!(claim.observed_false_match_rate, Some(Proportion { count: 0, trials: 500 }));
        assert_eq!(claim.threshold, Some(0.7f32.next_down()));
    }

    #[test]
    fn the_grid_is_round_and_covers_every_distance() {
        assert_eq!(scores().grid().first(), Some(&0.2));
        assert_eq!(scores().grid().last(), Some(&1.0));
        assert_eq!(scores().grid().len(), 17);
        assert!(Scores::default().grid().is_empty());
        assert!(!Scores::new(vec![0.3], vec![]).grid().is_empty());
    }
}
