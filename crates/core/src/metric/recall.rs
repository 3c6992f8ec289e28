//! How many of the hits a screen kept, by a sample of what it left.

use crate::metric::interval::clopper_pearson;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Tokens that the screen scored.
    pub tokens: u64,
    /// Windows that it kept; all of them are scored.
    pub kept: u64,
    /// Hits among them.
    pub kept_hits: u64,
    /// Windows that it left.
    pub left: u64,
    /// Of those, windows that were drawn at random and scored.
    pub sampled: u64,
    /// Hits among these.
    pub sampled_hits: u64,
}

/// A screen's recall: the share of all hits that it kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Screened {
    #[serde(flatten)]
    pub counts: Counts,
    /// Hits among all windows that it left, estimated.
    pub missed: f64,
    /// Ends of their interval at confidence .95.
    pub missed_lower: f64,
    pub missed_upper: f64,
    /// Absent where there is no hit at all, neither kept nor sampled.
    pub recall: Option<f64>,
    /// Ends of its interval at confidence .95.
    pub lower: f64,
    pub upper: f64,
}

/// The estimate, with `K` hits among the kept windows (all scored, so known) and `h` hits in a sample of `n` of the `N` left:
/// `N h / n` hits were missed, and the recall is `K / (K + N h / n)`, since a sampled window stands for `N / n` and a kept one
/// for itself.
///
/// The interval is that of Clopper and Pearson for `h / n`, carried through the same formula, which falls as `h / n` grows.
/// One window is drawn from each of `n` equal stretches, whose counts vary no more than those of a sample from all, so that
/// the interval holds at least as often. Where all are sampled there is nothing left to estimate.
pub fn of(counts: Counts) -> Screened {
    let (n, hits) = (counts.sampled, counts.sampled_hits.min(counts.sampled));
    let (lowest, highest) = match n {
        _ if n >= counts.left => (hits as f64, hits as f64),
        n => {
            let (lower, upper) = clopper_pearson(hits, n, 0.95);
            // What was seen is there; what was seen not to be isn't.
            let seen = (hits as f64, (counts.left - (n - hits)) as f64);
            (
                (lower * counts.left as f64).max(seen.0),
                (upper * counts.left as f64).min(seen.1),
            )
        }
    };
    let missed = if n == 0 {
        0.0
    } else {
        counts.left as f64 * hits as f64 / n as f64
    };
    let kept = counts.kept_hits as f64;
    let recall = |missed: f64| {
        if kept + missed > 0.0 {
            kept / (kept + missed)
        } else {
            1.0
        }
    };
    Screened {
        counts,
        missed,
        missed_lower: lowest,
        missed_upper: highest,
        recall: (kept + missed > 0.0).then(|| recall(missed)),
        lower: if kept + missed > 0.0 {
            recall(highest)
        } else {
            0.0
        },
        upper: recall(lowest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn counts(kept_hits: u64, left: u64, sampled: u64, sampled_hits: u64) -> Counts {
        Counts {
            tokens: 1,
            kept: kept_hits + 5,
            kept_hits,
            left,
            sampled,
            sampled_hits,
        }
    }

    #[test]
    fn a_sampled_window_stands_for_many_and_a_kept_one_for_itself() {
        let found = of(counts(30, 1_000, 200, 2));
        assert_eq!((found.missed, found.recall), (10.0, Some(0.75)));
        // Clopper-Pearson for 2 of 200: 0.001213 to 0.035650.
        assert!(
            (found.lower - 30.0 / (30.0 + 35.650)).abs() < 1e-4,
            "{}",
            found.lower
        );
        assert!(
            (found.upper - 30.0 / 32.0).abs() < 1e-12,
            "at least the two that were seen: {}",
            found.upper
        );

        let none = of(counts(30, 1_000, 200, 0));
        assert_eq!((none.recall, none.upper), (Some(1.0), 1.0));
        assert!(
            (none.lower - 30.0 / (30.0 + 1_000.0 * 0.018275)).abs() < 1e-3,
            "{}",
            none.lower
        );
    }

    #[test]
    fn where_all_are_sampled_or_nothing_was_found_the_figures_say_so() {
        let all = of(counts(3, 40, 40, 1));
        assert_eq!(
            (all.recall, all.lower, all.upper, all.missed_upper),
            (Some(0.75), 0.75, 0.75, 1.0)
        );
        let nothing = of(counts(0, 1_000, 200, 0));
        assert_eq!(
            (nothing.recall, nothing.lower, nothing.upper),
            (None, 0.0, 1.0)
        );
        assert!((nothing.missed_upper - 18.275).abs() < 0.01);
        let missed = of(counts(0, 1_000, 200, 1));
        assert_eq!(
            (missed.recall, missed.lower, missed.upper),
            (Some(0.0), 0.0, 0.0)
        );
        let left_none = of(counts(3, 0, 0, 0));
        assert_eq!((left_none.recall, left_none.lower), (Some(1.0), 1.0));
    }

    #[test]
    fn the_interval_holds_the_truth_at_least_as_often_as_it_says() {
        let mut random = SplitMix64::new(3);
        let (left, hits, kept) = (2_000usize, 60usize, 90u64);
        let mut held = 0;
        for _ in 0..400 {
            // Hits stand together, as they do in texts, at a place of its own each time.
            let from = random.below(left - hits);
            let is_hit = |place: usize| (from..from + hits).contains(&place);
            let drawn = (0..200)
                .filter(|stretch| is_hit(stretch * 10 + random.below(10)))
                .count() as u64;
            let found = of(counts(kept, left as u64, 200, drawn));
            let truth = kept as f64 / (kept + hits as u64) as f64;
            held += u32::from(found.lower <= truth && truth <= found.upper);
        }
        assert!(held >= 380, "{held} of 400");
    }
}
