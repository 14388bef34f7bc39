//! Binomial proportions with exact confidence intervals (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934), as
//! ISO/IEC 19795-1 asks for error rates that rest on few errors.

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

/// The confidence of every interval and bound in a report.
pub const CONFIDENCE: f64 = 0.95;

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Proportion {
    /// How many times it happened.
    pub count: u64,
    /// How many times it could have.
    pub trials: u64,
}

impl Proportion {
    /// The share of a number of trials.
    pub fn new(count: usize, trials: usize) -> Self {
        Self { count: count as u64, trials: trials as u64 }
    }

    /// The observed share; `None` without trials.
    pub fn rate(self) -> Option<f64> {
        (self.trials > 0).then(|| self.count as f64 / self.trials as f64)
    }

    /// The two-sided Clopper-Pearson interval: the true share lies outside, on either side, with at most half of what
    /// `confidence` leaves. Without trials it is everything.
    pub fn interval(self, confidence: f64) -> (f64, f64) {
        let tail = (1.0 - confidence) / 2.0;
        (self.lower(tail), self.upper(tail))
    }

    /// The one-sided upper bound: the true share is at most this, with `confidence`. Without any error among n trials it
    /// is about 3 / n at 95 %, the "rule of three".
    pub fn bound(self, confidence: f64) -> f64 {
        self.upper(1.0 - confidence)
    }

    fn lower(self, tail: f64) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        beta_quantile(tail, self.count as f64, (self.trials - self.count) as f64 + 1.0)
    }

    fn upper(self, tail: f64) -> f64 {
        if self.count >= self.trials {
            return 1.0;
        }
        beta_quantile(1.0 - tail, self.count as f64 + 1.0, (self.trials - self.count) as f64)
    }
}

impl Serialize for Proportion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (low, high) = self.interval(CONFIDENCE);
        let mut out = serializer.serialize_struct("Proportion", 5)?;
        out.serialize_field("count", &self.count)?;
        out.serialize_field("trials", &self.trials)?;
        out.serialize_field("rate", &self.rate())?;
        out.serialize_field("low", &low)?;
        out.serialize_field("high", &high)?;
        out.end()
    }
}

/// The most errors among `trials` that still support, one-sided, the claim that the rate is at most `target`; `None` when
/// even none would not.
pub fn most_errors(trials: u64, target: f64, confidence: f64) -> Option<u64> {
    let supports = |count: u64| Proportion { count, trials }.bound(confidence) <= target;
    if trials == 0 || !supports(0) {
        return None;
    }
    // The bound grows with the errors: the last that supports, and the first that does not.
    let (mut low, mut high) = (0, trials);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if supports(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(low)
}

/// How many trials without any error support, one-sided, the claim that the rate is at most `target`.
pub fn trials_needed(target: f64, confidence: f64) -> u64 {
    ((1.0 - confidence).ln() / (-target).ln_1p()).ceil() as u64
}

/// The x at which the beta distribution with these parameters has reached `share`. By halving: the distribution grows, and
/// sixty halvings reach the precision of the arithmetic.
fn beta_quantile(share: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0f64, 1.0f64);
    while high - low > 1e-14 * high {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if beta_distribution(middle, a, b) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    low + (high - low) / 2.0
}

/// The regularised incomplete beta function (NIST Digital Library of Mathematical Functions, 8.17).
fn beta_distribution(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (a * x.ln() + b * (-x).ln_1p() - ln_beta(a, b)).exp();
    // The fraction converges quickly on this side of the mean, and the function is symmetric.
    if x < (a + 1.0) / (a + b + 2.0) {
        front / a / beta_fraction(x, a, b)
    } else {
        1.0 - front / b / beta_fraction(1.0 - x, b, a)
    }
}

/// 1 + d1 / (1 + d2 / (1 + …)), the terms of DLMF 8.17.23, from the front by the method of Lentz.
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const LEAST: f64 = 1e-290;
    // The number of terms grows with the root of the larger parameter; this is enough for more trials than memory holds.
    const TERMS: u32 = 2_000_000;
    let away_from_zero = |value: f64| if value.abs() < LEAST { LEAST } else { value };
    let (mut value, mut above, mut below) = (1.0f64, 1.0f64, 0.0f64);
    for number in 1..TERMS {
        let m = f64::from(number / 2);
        let term = if number % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        below = 1.0 / away_from_zero(1.0 + term * below);
        above = away_from_zero(1.0 + term / above);
        let step = above * below;
        value *= step;
        if (step - 1.0).abs() < 1e-14 {
            break;
        }
    }
    value
}

/// The logarithm of the beta function.
fn ln_beta(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    if large < STIRLING {
        return ln_gamma(small) + ln_gamma(large) - ln_gamma(small + large);
    }
    // The difference of two large logarithms by what remains of Stirling's formula: subtracting them would leave few
    // digits where there are many trials and few errors.
    let sum = small + large;
    let quotient = small * sum.ln() + (large - 0.5) * (small / large).ln_1p() - small + series(sum) - series(large);
    ln_gamma(small) - quotient
}

/// From here on Stirling's series is exact.
const STIRLING: f64 = 15.0;

/// The logarithm of the gamma function for positive numbers: Stirling's formula (DLMF 5.11.1), and the recurrence up to
/// where it holds.
fn ln_gamma(x: f64) -> f64 {
    let mut shifted = x;
    let mut product = 0.0;
    while shifted < STIRLING {
        product += shifted.ln();
        shifted += 1.0;
    }
    (shifted - 0.5) * shifted.ln() - shifted + 0.5 * (2.0 * std::f64::consts::PI).ln() + series(shifted) - product
}

/// What Stirling's formula adds to its main terms.
fn series(x: f64) -> f64 {
    let square = 1.0 / (x * x);
    (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0))) / x
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, tolerance: f64) -> bool {
        (a - b).abs() <= tolerance
    }

    #[test]
    fn the_logarithm_of_gamma_is_that_of_factorials_and_of_the_root_of_pi() {
        let mut factorial = 1.0f64;
        for n in 1..20u32 {
            assert!(close(ln_gamma(f64::from(n)), factorial.ln(), 1e-12), "{n}");
            factorial *= f64::from(n);
        }
        assert!(close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln(), 1e-13));
    }

    /// 95 % limits as printed in tables of the exact binomial confidence interval.
    #[test]
    fn intervals_are_those_of_published_tables() {
        let tabulated = [
            (0, 10, 0.0, 0.3085),
            (1, 10, 0.0025, 0.4450),
            (2, 10, 0.0252, 0.5561),
            (5, 10, 0.1871, 0.8129),
            (10, 10, 0.6915, 1.0),
            (3, 20, 0.0321, 0.3789),
            (0, 50, 0.0, 0.0711),
            (1, 100, 0.0003, 0.0545),
            (5, 100, 0.0164, 0.1128),
            (10, 100, 0.0490, 0.1762),
            (50, 100, 0.3983, 0.6017),
            (0, 1000, 0.0, 0.0037),
        ];
        for (count, trials, low, high) in tabulated {
            let got = Proportion::new(count, trials).interval(0.95);
            assert!(close(got.0, low, 5e-5) && close(got.1, high, 5e-5), "{count} of {trials}: {got:?}");
        }
    }

    /// The limits are defined by the tails of the binomial distribution; here they are summed term by term.
    #[test]
    fn the_tails_beyond_the_limits_have_the_promised_probability() {
        let at_most = |count: u64, trials: u64, p: f64| {
            let mut term = (1.0 - p).powi(trials as i32);
            let mut sum = term;
            for k in 0..count {
                term *= (trials - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
                sum += term;
            }
            sum
        };
        for (count, trials) in [(0, 1), (1, 2), (3, 17), (40, 80), (79, 80), (7, 300), (150, 400)] {
            let (low, high) = Proportion { count, trials }.interval(0.95);
            if count < trials {
                assert!(close(at_most(count, trials, high), 0.025, 1e-9), "{count} of {trials}: upper {high}");
            }
            if count > 0 {
                assert!(close(1.0 - at_most(count - 1, trials, low), 0.025, 1e-9), "{count} of {trials}: lower {low}");
            }
        }
    }

    #[test]
    fn without_errors_the_bound_is_the_rule_of_three_whatever_the_number_of_trials() {
        for trials in [1u64, 30, 80, 2_847, 1_000_000, 3_000_000_000] {
            let bound = Proportion { count: 0, trials }.bound(0.95);
            let exact = -(0.05f64.ln() / trials as f64).exp_m1();
            assert!(close(bound / exact, 1.0, 1e-6), "{trials}: {bound} {exact}");
            if trials >= 80 {
                assert!(close(bound * trials as f64, 3.0, 0.06), "{trials}: {bound}");
            }
        }
    }

    #[test]
    fn without_trials_nothing_is_known() {
        let none = Proportion::default();
        assert_eq!((none.rate(), none.interval(0.95), none.bound(0.95)), (None, (0.0, 1.0), 1.0));
    }

    #[test]
    fn a_claim_needs_its_number_of_trials() {
        assert_eq!(most_errors(80, 1e-4, 0.95), None);
        assert_eq!(most_errors(0, 0.5, 0.95), None);
        assert_eq!(trials_needed(1e-2, 0.95), 299);
        assert_eq!(trials_needed(1e-4, 0.95), 29_956);
        assert_eq!(most_errors(298, 1e-2, 0.95), None);
        assert_eq!(most_errors(299, 1e-2, 0.95), Some(0));
        // One error more needs 473 trials, two 628 (tables of acceptance sampling at 95 %).
        assert_eq!(most_errors(472, 1e-2, 0.95), Some(0));
        assert_eq!(most_errors(473, 1e-2, 0.95), Some(1));
        assert_eq!(most_errors(627, 1e-2, 0.95), Some(1));
        assert_eq!(most_errors(628, 1e-2, 0.95), Some(2));
    }
}
