//! Statistics of pairs: the same items measured twice.

use crate::metric::interval::{beta, bootstrap_mean, quantile_of_sorted};
use crate::random::SplitMix64;

/// The two-sided p-value of a fair coin that shows heads `heads` times in `of` throws: the probability of a result at
/// least as far from half, `min(1, 2 P(X <= min(heads, of - heads)))` with X ~ Binomial(of, 1/2).
///
/// It is the exact sign test (Dixon, Mood 1946, doi 10.1080/01621459.1946.10501898) over pairs that differ, `heads` of them
/// upwards; ties are left out before. And it is the exact McNemar test (McNemar 1947, doi 10.1007/BF02295996) over pairs whose
/// answer flips, `heads` of them one way. No throws say nothing: 1. More heads than throws count as all.
pub fn fair_coin(heads: u64, of: u64) -> f64 {
    let few = heads.min(of).min(of - heads.min(of));
    if 2 * few >= of {
        return 1.0;
    }
    // P(X <= k) = I_{1/2}(n - k, k + 1) (DLMF 8.17.5).
    (2.0 * beta::regularized_incomplete(0.5, (of - few) as f64, few as f64 + 1.0)).min(1.0)
}

/// The difference of two means, `mean(a) - mean(b)`, and the percentile bootstrap interval of it: each sample is drawn anew
/// by itself (Efron, Tibshirani 1993, An Introduction to the Bootstrap, ch. 8), as in [`bootstrap_mean`].
///
/// `(difference, lower, upper)`; NaN throughout where one of them is empty or a value is NaN.
pub fn bootstrap_difference(
    a: &[f64],
    b: &[f64],
    resamples: u32,
    confidence: f64,
    seed: u64,
) -> (f64, f64, f64) {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let difference = mean(a) - mean(b);
    if difference.is_nan() {
        return (f64::NAN, f64::NAN, f64::NAN);
    }
    let mut random = SplitMix64::new(seed);
    let mut draw = |values: &[f64]| {
        (0..values.len())
            .map(|_| values[random.below(values.len())])
            .sum::<f64>()
            / values.len() as f64
    };
    let mut differences: Vec<f64> = (0..resamples).map(|_| draw(a) - draw(b)).collect();
    differences.sort_unstable_by(f64::total_cmp);
    let half = (1.0 - confidence) / 2.0;
    let end = |share| quantile_of_sorted(&differences, share).unwrap_or(difference);
    (difference, end(half), end(1.0 - half))
}

/// Of pairs of yes or no: how the share of yes differs, `(difference, lower, upper)` by [`bootstrap_mean`] over the pairs'
/// differences (-1, 0 or 1).
pub fn bootstrap_share(
    pairs: &[(bool, bool)],
    resamples: u32,
    confidence: f64,
    seed: u64,
) -> (f64, f64, f64) {
    let one = |yes: bool| f64::from(u8::from(yes));
    let differences: Vec<f64> = pairs
        .iter()
        .map(|&(old, new)| one(new) - one(old))
        .collect();
    bootstrap_mean(&differences, resamples, confidence, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_are_those_of_scipy() {
        // scipy 1.17.1: scipy.stats.binomtest(heads, of, 0.5).pvalue
        let cases = [
            (0, 1, 1.0),
            (0, 5, 0.0625),
            (1, 6, 0.218_75),
            (3, 10, 0.343_75),
            (5, 10, 1.0),
            (8, 60, 5.205_691_473_372_798e-9),
            (29, 60, 0.897_421_826_991_430_7),
            (0, 60, 1.734_723_475_976_807e-18),
            (12, 100, 1.911_357_536_027_706_3e-15),
            (49, 100, 0.920_410_762_612_822_1),
            (400, 1_000, 2.728_464_156_065_947e-10),
            (4_800, 10_000, 6.593_515_598_672_343e-5),
            (499_000, 1_000_000, 0.045_608_299_865_389_6),
            (10, 400, 2.050_408_482_364_563e-101),
        ];
        for (heads, of, expected) in cases {
            let p = fair_coin(heads, of);
            assert!(
                (p - expected).abs() <= 1e-8 * expected,
                "{heads} of {of}: {p}, not {expected}"
            );
            assert_eq!(p.to_bits(), fair_coin(of - heads, of).to_bits());
        }
        assert_eq!((fair_coin(0, 0), fair_coin(9, 4)), (1.0, fair_coin(4, 4)));
    }

    #[test]
    fn a_difference_of_means_has_an_interval_around_it_and_none_without_values() {
        assert_eq!(
            bootstrap_difference(&[3.0; 5], &[1.0; 9], 200, 0.95, 1),
            (2.0, 2.0, 2.0)
        );
        let (a, b): (Vec<f64>, Vec<f64>) = (
            (0..40).map(f64::from).collect(),
            (0..30).map(f64::from).collect(),
        );
        let (difference, lower, upper) = bootstrap_difference(&a, &b, 2_000, 0.95, 1);
        assert_eq!(difference, 5.0);
        // The normal approximation: 1.96 (var(a)/n + var(b)/m)^.5.
        let half = 1.96 * (133.25f64 / 40.0 + 74.916_7 / 30.0).sqrt();
        assert!(
            (difference - lower - half).abs() < 0.4 && (upper - difference - half).abs() < 0.4,
            "{lower} {upper}"
        );
        assert!(bootstrap_difference(&[], &b, 10, 0.95, 1).0.is_nan());
        assert!(
            bootstrap_difference(&a, &[f64::NAN], 10, 0.95, 1)
                .1
                .is_nan()
        );
    }

    #[test]
    fn shares_differ_by_their_flips() {
        let pairs = [(true, false), (true, true), (false, false), (true, false)];
        let (difference, lower, upper) = bootstrap_share(&pairs, 2_000, 0.95, 1);
        assert_eq!((difference, lower, upper), (-0.5, -1.0, 0.0));
        assert!(bootstrap_share(&[], 10, 0.95, 1).0.is_nan());
    }
}
