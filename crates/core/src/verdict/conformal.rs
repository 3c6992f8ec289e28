//! Comparing an item with controls, and many items at once.
//!
//! The unit of a control is a text: windows of one text are not independent of each other.

use crate::policy::Statistic;
use crate::verdict::sample::Sample;

/// How an item stands among controls.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison {
    /// The item's value of the statistic.
    pub(super) value: f64,
    /// The values of the controls that it was compared with.
    pub(super) others: Vec<f64>,
    pub(super) at_least: u64,
    pub(super) factor: u64,
    /// Conformal p-value.
    pub(super) p: f64,
    /// The smallest it could have been.
    pub(super) smallest: f64,
}

impl Comparison {
    /// Control texts.
    pub(super) fn controls(&self) -> u64 {
        self.others.len() as u64
    }
}

/// The conformal p-value of `item` against `controls`: `p = min(1, B (1 + #{j : C_j >= S}) / (n + 1))`.
///
/// **Like with like.** The best of more windows is likelier to be high by chance, and so is `ln p_z` of fewer
/// tokens. Hence, erring towards larger p-values:
/// - A control whose suffixes could be longer than the item's (for a verbatim run: shorter) is set aside.
/// - For the best of w windows, m windows a control are fixed, controls with fewer are set aside, and the item
///   counts as `B = ceil(w / m)` blocks of m windows, each tested against the n that stay; the least of the B p-values is
///   multiplied by B (Bonferroni). A control's value is the best of all its windows, which only raises it.
///   m is chosen to make `B / (n + 1)` least while n stays at `enough` if it can; it depends on window counts alone,
///   never on scores, so the choice costs nothing.
/// - For a mean (the mean rank is one), controls with more windows than the item are set aside, since means over fewer
///   windows spread wider; B is the item's number of forms.
///
/// `None` if no control is comparable.
pub(super) fn compare(
    statistic: Statistic,
    item: &Sample,
    controls: &[&Sample],
    enough: u64,
) -> Option<Comparison> {
    let comparable = |control: &&Sample| match statistic {
        Statistic::MaxLogPZ => control.suffix_len.1 <= item.suffix_len.0,
        Statistic::VerbatimRun => control.suffix_len.0 >= item.suffix_len.1,
        Statistic::MeanLogProb => control.windows <= item.windows,
        Statistic::MeanRank => {
            control.suffix_len.1 <= item.suffix_len.0
                && ranked_windows(control) <= ranked_windows(item)
        }
    };
    let mut controls: Vec<&Sample> = controls.iter().copied().filter(comparable).collect();
    let factor = match statistic {
        Statistic::MeanLogProb | Statistic::MeanRank => item.forms.max(1),
        Statistic::MaxLogPZ | Statistic::VerbatimRun => {
            let (least_windows, factor) = block(item.windows, &controls, enough)?;
            controls.retain(|control| control.windows_of_a_form >= least_windows);
            factor
        }
    };
    let (value, others) = match statistic {
        Statistic::MeanRank => mean_rank(item, &controls),
        _ => (
            item.value,
            controls.iter().map(|control| control.value).collect(),
        ),
    };
    let n = others.len() as u64;
    let at_least = others.iter().filter(|&&other| other >= value).count() as u64;
    let p = |reaching: u64| (factor as f64 * (1 + reaching) as f64 / (n + 1) as f64).min(1.0);
    (n > 0).then(|| Comparison {
        value,
        others,
        at_least,
        factor,
        p: p(at_least),
        smallest: p(0),
    })
}

fn ranked_windows(text: &Sample) -> usize {
    text.window_log_p_z.first().map_or(0, Vec::len)
}

/// The mean rank statistic of an item and of each control: the mean, over a text's windows, of their mid-rank among all
/// windows of these texts, as a share of all. Each text gets the same function of the same pool, so under
/// exchangeable texts its rank among them is uniform, however its windows depend on each other. Under several templates
/// each has its own pool, and the greatest of a text's means counts, which is such a function, too.
fn mean_rank(item: &Sample, controls: &[&Sample]) -> (f64, Vec<f64>) {
    let texts: Vec<&Sample> = std::iter::once(item)
        .chain(controls.iter().copied())
        .collect();
    let mut greatest = vec![f64::NAN; texts.len()];
    for template in 0..item.window_log_p_z.len() {
        let of = |text: &Sample| {
            text.window_log_p_z
                .get(template)
                .cloned()
                .unwrap_or_default()
        };
        let windows: Vec<Vec<f64>> = texts.iter().map(|text| of(text)).collect();
        let mut pool: Vec<f64> = windows.iter().flatten().copied().collect();
        pool.sort_by(f64::total_cmp);
        let mid_rank = |value: f64| {
            let (below, upto) = (
                pool.partition_point(|&other| other < value),
                pool.partition_point(|&other| other <= value),
            );
            (below + upto) as f64 / (2 * pool.len()) as f64
        };
        for (greatest, windows) in greatest.iter_mut().zip(&windows) {
            let ranks = windows.iter().map(|&value| mid_rank(value));
            *greatest = greatest.max(ranks.sum::<f64>() / windows.len().max(1) as f64);
        }
    }
    let mut means = greatest.into_iter();
    (means.next().unwrap_or(f64::NAN), means.collect())
}

/// Windows a control that are compared at once, and the number of such blocks in an item of `windows`.
fn block(windows: u64, controls: &[&Sample], enough: u64) -> Option<(u64, u64)> {
    let mut sizes: Vec<u64> = controls
        .iter()
        .map(|control| control.windows_of_a_form.min(windows))
        .collect();
    sizes.retain(|&size| size > 0);
    sizes.sort_unstable();
    sizes.dedup();
    let options = sizes.into_iter().map(|size| {
        let n = controls
            .iter()
            .filter(|control| control.windows_of_a_form >= size)
            .count() as u64;
        (n < enough, windows.div_ceil(size), n, size)
    });
    // B / (n + 1) compared as whole numbers; fewer windows, thus more controls, in a tie.
    let best = options.min_by(|a, b| {
        let cost = |x: &(bool, u64, u64, u64), y: &(bool, u64, u64, u64)| {
            u128::from(x.1) * u128::from(y.2 + 1)
        };
        (a.0, cost(a, b), a.3).cmp(&(b.0, cost(b, a), b.3))
    });
    best.map(|(_, factor, _, size)| (size, factor))
}

/// Which of the hypotheses with these p-values are rejected at false discovery rate `q`: with the p-values in
/// order, the k smallest for the greatest k with `p_(k) <= k q / m` (Benjamini, Hochberg 1995).
pub(super) fn benjamini_hochberg(p: &[f64], q: f64) -> Vec<bool> {
    let mut ordered = p.to_vec();
    ordered.sort_by(f64::total_cmp);
    let m = p.len() as f64;
    let cut = (1..)
        .zip(&ordered)
        .filter(|&(k, &p)| at_most(p, f64::from(k) * q / m))
        .map(|(_, &p)| p)
        .last();
    p.iter().map(|&p| cut.is_some_and(|cut| p <= cut)).collect()
}

/// Control texts needed so that one rejection among `m` items is attainable: the least n with
/// `factor / (n + 1) <= q / m`.
pub(super) fn controls_needed(factor: u64, m: u64, q: f64) -> u64 {
    let exact = factor as f64 * m.max(1) as f64 / q;
    // 1/q isn't exact in binary: 3/0.3 must be 10, not 11.
    (exact * (1.0 - 1e-12)).ceil() as u64 - 1
}

/// `p <= bound`, but for rounding: both sides are ratios of small numbers.
pub(super) fn at_most(p: f64, bound: f64) -> bool {
    p <= bound * (1.0 + 1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64, windows: u64) -> Sample {
        let window_log_p_z = vec![vec![value; windows as usize]];
        Sample {
            value,
            windows,
            windows_of_a_form: windows,
            forms: 1,
            suffix_len: (50, 50),
            window_log_p_z,
        }
    }

    fn against(
        statistic: Statistic,
        item: &Sample,
        controls: &[Sample],
        enough: u64,
    ) -> Option<Comparison> {
        compare(
            statistic,
            item,
            &controls.iter().collect::<Vec<_>>(),
            enough,
        )
    }

    fn p(item: Sample, controls: &[Sample]) -> Option<(u64, u64, u64, f64)> {
        against(Statistic::MaxLogPZ, &item, controls, 0)
            .map(|c| (c.controls(), c.at_least, c.factor, c.p))
    }

    #[test]
    fn p_values_count_the_controls_that_reach_the_item() {
        // numpy: (1 + (C >= s).sum()) / (len(C) + 1), C = [-40, -30, -20, -10]
        let controls = [-40.0, -30.0, -20.0, -10.0].map(|value| text(value, 1));
        let cases = [
            (-5.0, 0, 0.2),
            (-10.0, 1, 0.4),
            (-15.0, 1, 0.4),
            (-40.0, 4, 1.0),
            (f64::NEG_INFINITY, 4, 1.0),
        ];
        for (value, at_least, expected) in cases {
            assert_eq!(
                p(text(value, 1), &controls),
                Some((4, at_least, 1, expected)),
                "{value}"
            );
        }
        assert_eq!(p(text(0.0, 1), &[]), None);
    }

    #[test]
    fn impossible_controls_reach_an_impossible_item() {
        assert_eq!(
            p(text(f64::NEG_INFINITY, 1), &[text(f64::NEG_INFINITY, 1)]),
            Some((1, 1, 1, 1.0))
        );
    }

    #[test]
    fn more_windows_than_the_controls_have_must_be_paid_for() {
        let short = vec![text(-9.0, 2); 9];
        // 5 windows against 2: three blocks, p = 3 * 1/10.
        assert_eq!(p(text(-1.0, 5), &short), Some((9, 0, 3, 0.3)));
        // Fewer windows than the controls: nothing to pay, since the controls' best of more is only higher.
        assert_eq!(p(text(-1.0, 1), &short), Some((9, 0, 1, 0.1)));
        // 9 controls of 2 windows and 9 of 6: the long ones alone are better (1/10) than all in three blocks (3/19).
        let mixed = [vec![text(-9.0, 2); 9], vec![text(-9.0, 6); 9]].concat();
        assert_eq!(p(text(-1.0, 5), &mixed), Some((9, 0, 1, 0.1)));
        // ... unless that leaves too few for the policy.
        let all = against(Statistic::MaxLogPZ, &text(-1.0, 5), &mixed, 15).unwrap();
        assert_eq!((all.controls(), all.factor, all.p), (18, 3, 3.0 / 19.0));
        // A second layout isn't a second set of windows.
        let reflowed = Sample {
            windows: 4,
            windows_of_a_form: 2,
            forms: 2,
            ..text(-9.0, 2)
        };
        assert_eq!(p(text(-1.0, 4), &vec![reflowed; 9]), Some((9, 0, 2, 0.2)));
    }

    #[test]
    fn controls_with_longer_suffixes_are_no_match() {
        let long = Sample {
            suffix_len: (50, 60),
            ..text(-90.0, 1)
        };
        assert_eq!(p(text(-1.0, 1), &[long]), None);
        let run =
            |item: &Sample, control| against(Statistic::VerbatimRun, item, &[control], 0).is_some();
        let short_item = Sample {
            suffix_len: (20, 20),
            ..text(20.0, 1)
        };
        assert!(run(&short_item, text(3.0, 1)));
        assert!(!run(&text(50.0, 1), short_item));
    }

    #[test]
    fn means_are_compared_with_texts_of_no_more_windows() {
        let controls = [text(-3.0, 1), text(-3.0, 2), text(-3.0, 3)];
        let mean = |windows| against(Statistic::MeanLogProb, &text(-1.0, windows), &controls, 0);
        assert_eq!(mean(2).map(|c| (c.controls(), c.p)), Some((2, 1.0 / 3.0)));
        assert_eq!(
            mean(9).map(|c| (c.controls(), c.factor, c.p)),
            Some((3, 1, 0.25))
        );
    }

    #[test]
    fn the_mean_rank_ranks_windows_and_permutes_documents() {
        let document = |values: &[f64]| Sample {
            window_log_p_z: vec![values.to_vec()],
            ..text(0.0, values.len() as u64)
        };
        let item = document(&[-1.0, -2.0, -30.0]);
        let controls = [document(&[-10.0, -20.0, -40.0]), document(&[-10.0, -50.0])];
        // scipy.stats.rankdata of the eight values: -1: 8, -2: 7, -10: 5.5 twice, -20: 4, -30: 3, -40: 2, -50: 1;
        // mid-rank share = (rank - .5) / 8.
        let compared = against(Statistic::MeanRank, &item, &controls, 0).unwrap();
        assert_eq!(compared.value, (7.5 + 6.5 + 2.5) / 24.0);
        assert_eq!(
            compared.others,
            [(5.0 + 3.5 + 1.5) / 24.0, (5.0 + 0.5) / 16.0]
        );
        assert_eq!(
            (compared.at_least, compared.factor, compared.p),
            (0, 1, 1.0 / 3.0)
        );
        // A thousand windows of one document are still one document: p can't fall below 1/(n + 1).
        let long = document(&vec![-1.0; 1000]);
        assert_eq!(
            against(Statistic::MeanRank, &long, &controls, 0).unwrap().p,
            1.0 / 3.0
        );
        // A control of more windows has a narrower mean, one with longer suffixes less probable windows.
        let cases = [
            document(&[-1.0; 4]),
            Sample {
                suffix_len: (50, 51),
                ..document(&[-1.0])
            },
        ];
        assert!(
            cases
                .into_iter()
                .all(|control| against(Statistic::MeanRank, &item, &[control], 0).is_none())
        );
        // Two layouts of the item are two chances.
        let reflowed = Sample { forms: 2, ..item };
        assert_eq!(
            against(Statistic::MeanRank, &reflowed, &controls, 0)
                .unwrap()
                .p,
            2.0 / 3.0
        );
    }

    #[test]
    fn rejections_equal_those_of_numpy() {
        // numpy: np.minimum.accumulate((p * m / np.arange(1, m + 1))[::-1])[::-1] <= q, p sorted
        let p = [
            0.010, 0.013, 0.014, 0.190, 0.350, 0.500, 0.630, 0.670, 0.750, 0.810,
        ];
        // adjusted: 0.0467 three times, 0.475, 0.7, then 0.81 five times
        assert_eq!(
            benjamini_hochberg(&p, 0.05),
            [
                true, true, true, false, false, false, false, false, false, false
            ]
        );
        assert_eq!(benjamini_hochberg(&p, 0.04), [false; 10]);
        // Order doesn't matter, ties stand or fall together.
        assert_eq!(
            benjamini_hochberg(&[0.9, 0.02, 0.02, 0.04], 0.04),
            [false, true, true, false]
        );
        assert_eq!(benjamini_hochberg(&[], 0.05), [] as [bool; 0]);
        assert_eq!(benjamini_hochberg(&[0.05], 0.05), [true]);
    }

    #[test]
    fn the_controls_needed_make_one_rejection_attainable_and_one_fewer_does_not() {
        // The example of the documentation: 40 items at q = 0.05 need 799.
        let cases = [
            (1, 1, 0.05, 19),
            (1, 40, 0.05, 799),
            (1, 3, 0.3, 9),
            (2, 10, 0.1, 199),
            (1, 7, 0.03, 233),
            (1, 0, 0.5, 1),
        ];
        for (factor, m, q, expected) in cases {
            assert_eq!(controls_needed(factor, m, q), expected);
            let attainable = |n: u64| at_most(factor as f64 / (n + 1) as f64, q / m.max(1) as f64);
            assert!(attainable(expected) && !attainable(expected - 1));
        }
    }
}
