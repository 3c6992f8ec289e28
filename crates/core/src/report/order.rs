//! Which items a reader sees first, and the numbers that decide about each.

use super::{Report, ReportItem};
use crate::items::Kind;
use crate::metric::item::Extraction;
use crate::metric::{probability, samples};
use crate::policy::Level;
use crate::policy::Policy;
use crate::report::words;

/// Items of one kind, the gravest first: by verdict, then coverage, then the best window, then as they were read.
/// What couldn't be decided comes before what was found harmless.
pub(crate) fn worst_first(report: &Report, kind: Kind) -> Vec<&ReportItem> {
    let mut items: Vec<&ReportItem> = report
        .items
        .iter()
        .filter(|item| item.kind == kind)
        .collect();
    let key = |item: &ReportItem| {
        let coverage = extraction(item).map_or(0.0, |extraction| extraction.coverage);
        (
            gravity(item.verdict.level),
            coverage,
            best_log_p_z(&report.policy, item).unwrap_or(f64::NEG_INFINITY),
        )
    };
    // The sort is stable, so ties stay in the order of the report.
    items.sort_by(|a, b| {
        let (a, b) = (key(a), key(b));
        a.0.cmp(&b.0)
            .then(b.1.total_cmp(&a.1))
            .then(b.2.total_cmp(&a.2))
    });
    items
}

/// The greatest `ln p_z` of any window under the policy's scheme.
pub(crate) fn best_log_p_z(policy: &Policy, item: &ReportItem) -> Option<f64> {
    item.evidence
        .cheapest(&policy.schemes)
        .map(|(_, best)| best.best.log_p_z)
}

/// What can be extracted of the form that counts.
pub(crate) fn extraction(item: &ReportItem) -> Option<&Extraction> {
    item.evidence.worst()?.values.as_ref()?.extraction.as_ref()
}

/// The deciding numbers of an item, in words; a dash where there is none.
#[derive(Debug)]
pub(crate) struct Figures {
    /// `p_z` of the best window under the policy's scheme, or that it is at most so much.
    pub(crate) p_z: String,
    /// Samples to see it with probability .5, unit included.
    pub(crate) samples: String,
    /// The p-value that counts; with a star where it is model-based.
    pub(crate) p_value: String,
    /// `50 of 50`: longest verbatim run and longest suffix, in tokens.
    pub(crate) run: String,
    /// Mean share of first choices.
    pub(crate) em: String,
    /// Share of the text that can be extracted.
    pub(crate) coverage: String,
}

impl Figures {
    pub(crate) fn of(policy: &Policy, item: &ReportItem) -> Self {
        let none = || "–".to_owned();
        let best = best_log_p_z(policy, item);
        let at_most = item
            .evidence
            .at_most(&policy.schemes)
            .map(|(_, bound)| bound);
        let values = item.evidence.worst().and_then(|form| form.values.as_ref());
        Self {
            p_z: at_most.map_or_else(
                || best.map_or_else(none, probability::in_digits),
                words::at_most,
            ),
            samples: best
                .filter(|_| at_most.is_none())
                .map_or_else(none, |log_p_z| {
                    match samples::in_words(log_p_z, 0.5).as_str() {
                        "no number of samples" => "never".to_owned(),
                        n => n
                            .trim_end_matches(" samples")
                            .trim_end_matches(" sample")
                            .to_owned(),
                    }
                }),
            p_value: item.verdict.validity.map_or_else(none, |validity| {
                let star = if validity.tail.is_some() { "*" } else { "" };
                format!(
                    "{}{star}",
                    probability::in_digits(validity.effective_p().ln())
                )
            }),
            run: values.map_or_else(none, |v| {
                words::run_of(v.max_verbatim_run, v.max_suffix_len)
            }),
            em: values
                .and_then(|v| v.mean_em)
                .map_or_else(none, |em| format!("{em:.2}")),
            coverage: extraction(item)
                .map_or_else(none, |extraction| words::share(extraction.coverage)),
        }
    }
}

/// 0 for the gravest.
pub(crate) fn gravity(level: Level) -> u8 {
    match level {
        Level::Extractable => 0,
        Level::Memorized => 1,
        Level::Inconclusive => 2,
        Level::Predictable => 3,
        Level::Clear => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn found_items_come_first_and_undecided_ones_before_harmless_ones() {
        let report = fixture::report();
        let levels: Vec<u8> = worst_first(&report, Kind::OptOut)
            .iter()
            .map(|item| gravity(item.verdict.level))
            .collect();
        assert!(levels.is_sorted(), "{levels:?}");
        assert_eq!((levels.first(), levels.last()), (Some(&0), Some(&4)));
    }

    #[test]
    fn an_item_without_scores_has_dashes_and_no_zeros() {
        let report = fixture::report();
        let item = report
            .items
            .iter()
            .find(|item| item.evidence.unprobed.is_some())
            .unwrap();
        let figures = Figures::of(&report.policy, item);
        for figure in [
            figures.p_z,
            figures.samples,
            figures.p_value,
            figures.run,
            figures.em,
            figures.coverage,
        ] {
            assert_eq!(figure, "–");
        }
    }
}
