//! Intervals: of rates, exact; of means, by resampling items.

/// The two-sided Clopper-Pearson interval (Biometrika 26:404, 1934) of a rate of `hits` among `of` at `confidence`, such as .95.
/// `(0, 1)` of nothing.
pub fn clopper_pearson(hits: u64, of: u64, confidence: f64) -> (f64, f64) {
    let tail = (1.0 - confidence) / 2.0;
    // P(X >= hits) rises with p and P(X <= hits) falls: halve the interval until it is one number.
    let solve = |above: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            if above(middle) { high = middle } else { low = middle }
        }
        f64::midpoint(low, high)
    };
    let lower = if hits == 0 { 0.0 } else { solve(&|p| 1.0 - binomial_cdf(hits - 1, of, p) > tail) };
    let upper = if hits >= of { 1.0 } else { solve(&|p| binomial_cdf(hits, of, p) < tail) };
    (lower, upper)
}

/// `P(X <= k)` for X binomial(n, p), 0 < p < 1.
fn binomial_cdf(k: u64, n: u64, p: f64) -> f64 {
    let (n, mut term) = (n as f64, n as f64 * (-p).ln_1p());
    let step = p.ln() - (-p).ln_1p();
    let mut sum = term.exp();
    for i in 0..k {
        let i = i as f64;
        term += ((n - i) / (i + 1.0)).ln() + step;
        sum += term.exp();
    }
    sum.min(1.0)
}

/// Mean of `values` with the ends of its percentile bootstrap interval (Efron 1979), items resampled with replacement. The same
/// seed gives the same interval. NaNs of nothing.
pub fn bootstrap_mean(values: &[f64], resamples: u32, confidence: f64, seed: u64) -> (f64, f64, f64) {
    let n = values.len();
    if n == 0 {
        return (f64::NAN, f64::NAN, f64::NAN);
    }
    // SplitMix64 (Steele et al. 2014).
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut draw = || {
        let at = ((u128::from(next()) * n as u128) >> 64) as usize;
        values.get(at).copied().unwrap_or(f64::NAN)
    };
    let mut means: Vec<f64> = (0..resamples).map(|_| (0..n).map(|_| draw()).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    let mean = values.iter().sum::<f64>() / n as f64;
    let at = |share: f64| {
        let place = (share * means.len().saturating_sub(1) as f64).round() as usize;
        means.get(place).copied().unwrap_or(mean)
    };
    let tail = (1.0 - confidence) / 2.0;
    (mean, at(tail), at(1.0 - tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_intervals_equal_those_of_scipy() {
        // scipy.stats.binomtest(k, n).proportion_ci(.95, "exact")
        let cases = [
            (0, 10, 0.0, 0.308_497_107_8),
            (1, 10, 0.002_528_578_5, 0.445_016_117_0),
            (5, 10, 0.187_086_028_4, 0.812_913_971_6),
            (10, 10, 0.691_502_892_2, 1.0),
            (0, 240, 0.0, 0.015_252_810_4),
            (16, 255, 0.036_286_186_5, 0.099_895_959_1),
        ];
        for (hits, of, lower, upper) in cases {
            let (low, high) = clopper_pearson(hits, of, 0.95);
            assert!((low - lower).abs() < 1e-8 && (high - upper).abs() < 1e-8, "{hits} of {of}: {low} {high}");
        }
        assert_eq!(clopper_pearson(0, 0, 0.95), (0.0, 1.0));
    }

    #[test]
    fn a_mean_lies_in_its_interval_and_the_seed_fixes_it() {
        let values: Vec<f64> = (0..40).map(f64::from).collect();
        let (mean, low, high) = bootstrap_mean(&values, 2_000, 0.95, 7);
        // Standard error 11.54 / sqrt(40) = 1.83.
        assert!(mean == 19.5 && (low - 15.9).abs() < 0.5 && (high - 23.1).abs() < 0.5, "{mean} {low} {high}");
        assert_eq!(bootstrap_mean(&values, 2_000, 0.95, 7), (mean, low, high));
        assert_eq!(bootstrap_mean(&[3.0], 2_000, 0.95, 7), (3.0, 3.0, 3.0));
        assert!(bootstrap_mean(&[], 10, 0.95, 7).0.is_nan());
    }
}
