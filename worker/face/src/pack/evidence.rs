//! Whether counts support a claimed rate.

/// Most comparisons that are believed; beyond it the arithmetic here gets coarse.
const MAX_COMPARISONS: u64 = 10_000_000_000;
/// What is left of the chance that the true rate is higher than claimed.
const DOUBT: f64 = 0.05;

/// Whether `matches` of `comparisons` independent impostor comparisons put the one-sided 95 %
/// upper bound of the false-match rate (Clopper-Pearson) at `rate` or below: so few would be seen
/// with a chance of at most 5 % if the true rate were `rate`.
pub(super) fn supports(rate: f64, comparisons: u64, matches: u64) -> bool {
    if comparisons == 0 || comparisons > MAX_COMPARISONS || matches as f64 >= comparisons as f64 * rate {
        return false;
    }
    // P(X <= matches), from its largest term downwards.
    let (n, k) = (comparisons as f64, matches as f64);
    let choose = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    let mut term = (choose + k * rate.ln() + (n - k) * (-rate).ln_1p()).exp();
    let mut sum = 0.0;
    let mut i = k;
    loop {
        sum += term;
        if i < 1.0 || term < sum * 1e-12 {
            break;
        }
        term *= i * (1.0 - rate) / ((n - i + 1.0) * rate);
        i -= 1.0;
    }
    sum <= DOUBT
}

/// Exact for small numbers, by Stirling's series for the rest.
fn ln_factorial(n: f64) -> f64 {
    if n < 32.0 {
        return (2..=n as u32).map(|i| f64::from(i).ln()).sum();
    }
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_three_times_as_many_comparisons_without_a_false_match() {
        // ln(0.05) / ln(1 - rate)
        assert!(supports(1e-4, 29_956, 0));
        assert!(!supports(1e-4, 29_955, 0));
        assert!(supports(1e-3, 2_995, 0));
        assert!(!supports(1e-3, 2_994, 0));
    }

    #[test]
    fn false_matches_cost_more_comparisons() {
        // The upper bound of 1 in n is 4.744 / n, of 10 in n 16.96 / n.
        assert!(supports(1e-3, 4_750, 1) && !supports(1e-3, 4_735, 1));
        assert!(supports(1e-5, 1_697_000, 10) && !supports(1e-5, 1_694_000, 10));
    }

    #[test]
    fn nothing_and_absurd_counts_support_no_rate() {
        for (comparisons, matches) in [(0, 0), (10, 10), (10, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX - 1)] {
            assert!(!supports(0.5, comparisons, matches), "{comparisons} {matches}");
        }
        assert!(!supports(1e-4, MAX_COMPARISONS, 1_000_000));
        assert!(supports(1e-4, MAX_COMPARISONS, 990_000));
    }
}
