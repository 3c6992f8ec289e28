//! How sure a rate or a mean is.

pub(super) mod beta;

use crate::random::SplitMix64;

/// The two-sided Clopper-Pearson interval of a rate of `hits` in `of` at `confidence` (such as .95): it holds the true
/// rate at least that often, whatever the rate (Clopper, Pearson 1934, doi 10.1093/biomet/26.4.404).
///
/// With `a = 1 - confidence`, its ends are the quantiles `a/2` of Beta(hits, of - hits + 1) and `1 - a/2` of
/// Beta(hits + 1, of - hits). 0 of 0 says nothing: (0, 1). More hits than trials count as all.
pub fn clopper_pearson(hits: u64, of: u64, confidence: f64) -> (f64, f64) {
    let hits = hits.min(of);
    let misses = of - hits;
    let half = (1.0 - confidence) / 2.0;
    let lower = if hits == 0 {
        0.0
    } else {
        beta::quantile(half, hits as f64, misses as f64 + 1.0)
    };
    // The upper end is one less the lower end for the misses, which keeps digits where rates are near 1.
    let upper = if misses == 0 {
        1.0
    } else {
        1.0 - beta::quantile(half, misses as f64, hits as f64 + 1.0)
    };
    (lower, upper)
}

/// The mean of the values, and the percentile bootstrap interval of it (Efron 1979, doi 10.1214/aos/1176344552):
/// `resamples` times as many values are drawn with replacement, and the interval leaves out `(1 - confidence) / 2` of the
/// resampled means at either end, interpolated between neighbours.
///
/// `(mean, lower, upper)`. The draws are those of [`SplitMix64`] from `seed`: the same arguments give the same interval.
/// Values must be independent, so they are one an item, not one a window. NaN throughout where there are no values or one
/// of them is NaN: a mean of nothing is no number. Without resamples the interval is the mean.
pub fn bootstrap_mean(
    values: &[f64],
    resamples: u32,
    confidence: f64,
    seed: u64,
) -> (f64, f64, f64) {
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    if mean.is_nan() {
        return (f64::NAN, f64::NAN, f64::NAN);
    }
    let mut random = SplitMix64::new(seed);
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| (0..n).map(|_| values[random.below(n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let half = (1.0 - confidence) / 2.0;
    let end = |share| quantile_of_sorted(&means, share).unwrap_or(mean);
    (mean, end(half), end(1.0 - half))
}

/// The value below which `share` of the sorted values lie, interpolated between neighbours (Hyndman and Fan's type 7,
/// numpy's default). `None` of nothing.
pub(super) fn quantile_of_sorted(sorted: &[f64], share: f64) -> Option<f64> {
    let place = (sorted.len().checked_sub(1)? as f64) * share.clamp(0.0, 1.0);
    let (below, above) = (
        *sorted.get(place.floor() as usize)?,
        *sorted.get(place.ceil() as usize)?,
    );
    let between = place.fract();
    // Equal neighbours may be infinite; their difference would be no number.
    Some(if below == above {
        below
    } else {
        below * (1.0 - between) + above * between
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_at_the_ends_have_the_closed_forms() {
        for n in [1u64, 10, 3_000, 1_000_000] {
            let bound = 1.0 - 0.025f64.powf(1.0 / n as f64);
            let (none, all) = (clopper_pearson(0, n, 0.95), clopper_pearson(n, n, 0.95));
            assert!(
                none.0 == 0.0 && (none.1 - bound).abs() < 1e-12,
                "{n}: {none:?}"
            );
            assert!(
                all.1 == 1.0 && (all.0 - (1.0 - bound)).abs() < 1e-12,
                "{n}: {all:?}"
            );
        }
        assert_eq!(clopper_pearson(0, 0, 0.95), (0.0, 1.0));
        assert_eq!(clopper_pearson(9, 4, 0.95), clopper_pearson(4, 4, 0.95));
    }

    #[test]
    fn more_confidence_is_a_wider_interval_around_the_rate() {
        let mut inner = (0.3, 0.3);
        for confidence in [0.5, 0.9, 0.95, 0.99, 0.9999] {
            let (lower, upper) = clopper_pearson(30, 100, confidence);
            assert!(lower < inner.0 && upper > inner.1, "{confidence}");
            inner = (lower, upper);
        }
    }

    #[test]
    fn the_bootstrap_of_few_values_is_what_it_must_be() {
        assert_eq!(bootstrap_mean(&[2.5; 7], 100, 0.95, 1), (2.5, 2.5, 2.5));
        assert_eq!(bootstrap_mean(&[4.0], 100, 0.95, 1), (4.0, 4.0, 4.0));
        assert_eq!(bootstrap_mean(&[1.0, 3.0], 0, 0.95, 1), (2.0, 2.0, 2.0));
        // Of two values a quarter of the means lies at either end.
        assert_eq!(bootstrap_mean(&[0.0, 1.0], 10_000, 0.9, 1), (0.5, 0.0, 1.0));
        assert_eq!(bootstrap_mean(&[0.0, 1.0], 10_000, 0.4, 1), (0.5, 0.5, 0.5));
        assert!(bootstrap_mean(&[], 100, 0.95, 1).0.is_nan());
        assert!(bootstrap_mean(&[1.0, f64::NAN], 100, 0.95, 1).1.is_nan());
    }

    #[test]
    fn the_same_seed_gives_the_same_interval_and_another_nearly_the_same() {
        let values: Vec<f64> = (0..40).map(|i| f64::from(i % 7)).collect();
        let first = bootstrap_mean(&values, 2_000, 0.95, 5);
        assert_eq!(first, bootstrap_mean(&values, 2_000, 0.95, 5));
        let other = bootstrap_mean(&values, 2_000, 0.95, 6);
        assert_ne!(first, other);
        assert!(
            (first.1 - other.1).abs() < 0.1 && (first.2 - other.2).abs() < 0.1,
            "{first:?} {other:?}"
        );
    }

    #[test]
    fn impossible_values_leave_no_nan_behind() {
        let values = [-1.0, f64::NEG_INFINITY, -2.0, -3.0];
        let (mean, lower, upper) = bootstrap_mean(&values, 1_000, 0.95, 1);
        assert_eq!((mean, lower), (f64::NEG_INFINITY, f64::NEG_INFINITY));
        assert!(upper < 0.0);
    }
}
