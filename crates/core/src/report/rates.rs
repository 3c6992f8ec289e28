//! Rates and means over the items of a run, each with its interval.

use super::{MeanOverItems, Rate, Recall, ReportItem};
use crate::items::Kind;
use crate::metric::interval::{bootstrap_mean, clopper_pearson};
use crate::policy::Level;
use crate::policy::Policy;
use crate::verdict::{not_measured, within_budget};

/// Of every interval.
const CONFIDENCE: f64 = 0.95;
const RESAMPLES: u32 = 2_000;
/// Fixed, so that the same report gives the same intervals.
const SEED: u64 = 0x6279_726f_7465;

const KINDS: [Kind; 3] = [Kind::OptOut, Kind::Canary, Kind::Control];

/// How many items were found, of all of their kind: those that couldn't be decided stay in the denominator. Of controls, how
/// many reach what a finding reaches without having been seen.
pub(super) fn rates(items: &[ReportItem], policy: &Policy) -> Vec<Rate> {
    let rate = |name: &str, kind: Kind, hit: &dyn Fn(&ReportItem) -> bool| {
        let of_kind = || items.iter().filter(|item| item.kind == kind);
        let (hits, of) = (
            of_kind().filter(|item| hit(item)).count() as u64,
            of_kind().count() as u64,
        );
        let (lower, upper) = clopper_pearson(hits, of, CONFIDENCE);
        (of > 0).then(|| Rate {
            name: name.to_owned(),
            kind,
            hits,
            of,
            lower,
            upper,
        })
    };
    let found = |item: &ReportItem| item.verdict.level.is_memorization();
    let extractable = |item: &ReportItem| item.verdict.level == Level::Extractable;
    let within = |item: &ReportItem| within_budget(policy, &item.evidence);
    let greedy = |item: &ReportItem| {
        item.evidence
            .values()
            .any(|(_, values)| values.greedily_extracted > 0)
    };
    let rates = [
        rate("extractable or memorized", Kind::OptOut, &found),
        rate("extractable", Kind::OptOut, &extractable),
        rate("extractable or memorized", Kind::Canary, &found),
        rate("extractable", Kind::Canary, &extractable),
        rate("within the sample budget", Kind::Control, &within),
        rate("with a greedily extracted window", Kind::Control, &greedy),
    ];
    rates.into_iter().flatten().collect()
}

/// Means by kind of what was measured of the form that counts; items of which it wasn't measured are left out. Where windows
/// of an item were left, those of its kind have no mean share of first choices: the others are no fair sample.
pub(super) fn means(items: &[ReportItem]) -> Vec<MeanOverItems> {
    let mean = |name: &str, kind: Kind, value: &dyn Fn(&ReportItem) -> Option<f64>| {
        let values: Vec<f64> = items
            .iter()
            .filter(|item| item.kind == kind)
            .filter_map(value)
            .collect();
        let (mean, lower, upper) = bootstrap_mean(&values, RESAMPLES, CONFIDENCE, SEED);
        let items = values.len() as u64;
        (items > 0).then(|| MeanOverItems {
            name: name.to_owned(),
            kind,
            items,
            mean,
            lower,
            upper,
        })
    };
    let values = |item: &ReportItem| item.evidence.worst().and_then(|form| form.values.clone());
    let coverage = |item: &ReportItem| match values(item) {
        Some(values) => Some(values.extraction?.coverage),
        // Every window was left, so that none is within the budget.
        None => (item.evidence.left() > 0 && not_measured(&item.evidence).is_none()).then_some(0.0),
    };
    let em = |item: &ReportItem| values(item)?.mean_em;
    let whole = |kind: Kind| {
        items
            .iter()
            .filter(|item| item.kind == kind)
            .all(|item| item.evidence.left() == 0)
    };
    let of = |kind| {
        [
            mean("coverage", kind, &coverage),
            mean("em", kind, &em).filter(|_| whole(kind)),
        ]
    };
    KINDS.into_iter().flat_map(of).flatten().collect()
}

/// Canaries by how often they were planted.
pub(super) fn recall(items: &[ReportItem]) -> Vec<Recall> {
    let mut counts: Vec<Option<u32>> = items
        .iter()
        .filter(|item| item.kind == Kind::Canary)
        .map(|item| item.repetitions)
        .collect();
    counts.sort_by_key(|repetitions| (repetitions.is_none(), *repetitions));
    counts.dedup();
    let of = |repetitions: Option<u32>| {
        let levels = || {
            let canaries = items
                .iter()
                .filter(move |item| item.kind == Kind::Canary && item.repetitions == repetitions);
            canaries.map(|item| item.verdict.level)
        };
        let (items, found) = (
            levels().count() as u64,
            levels().filter(|level| level.is_memorization()).count() as u64,
        );
        let (lower, upper) = clopper_pearson(found, items, CONFIDENCE);
        Recall {
            repetitions,
            items,
            found,
            extractable: levels()
                .filter(|level| *level == Level::Extractable)
                .count() as u64,
            inconclusive: levels()
                .filter(|level| *level == Level::Inconclusive)
                .count() as u64,
            lower,
            upper,
        }
    };
    counts.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::item;

    #[test]
    fn rates_count_the_undecided_among_all_and_kinds_apart() {
        let items = [
            item("a", Kind::OptOut, Level::Extractable),
            item("b", Kind::OptOut, Level::Memorized),
            item("c", Kind::OptOut, Level::Inconclusive),
            item("d", Kind::OptOut, Level::Clear),
            item("e", Kind::Control, Level::Clear),
        ];
        let rates = rates(&items, &Policy::default());
        let said: Vec<_> = rates
            .iter()
            .map(|rate| (rate.name.as_str(), rate.kind, rate.hits, rate.of))
            .collect();
        let expected = [
            ("extractable or memorized", Kind::OptOut, 2, 4),
            ("extractable", Kind::OptOut, 1, 4),
            ("within the sample budget", Kind::Control, 0, 1),
            ("with a greedily extracted window", Kind::Control, 0, 1),
        ];
        assert_eq!(said, expected);
        // scipy: binomtest(2, 4).proportion_ci(.95, "exact")
        assert!(
            (rates[0].lower - 0.067_586).abs() < 1e-6 && (rates[0].upper - 0.932_414).abs() < 1e-6,
            "{rates:?}"
        );
    }

    #[test]
    fn means_are_over_items_and_leave_out_what_was_not_measured() {
        let mut items: Vec<ReportItem> = (0..3)
            .map(|i| item(&format!("i{i}"), Kind::OptOut, Level::Clear))
            .collect();
        for (item, em) in items.iter_mut().zip([0.1, 0.3]) {
            item.evidence.forms[0].values.as_mut().unwrap().mean_em = Some(em);
        }
        items[2].evidence = Default::default();
        let means = means(&items);
        let em = means.iter().find(|mean| mean.name == "em").unwrap();
        assert_eq!((em.items, em.mean, em.lower, em.upper), (2, 0.2, 0.1, 0.3));
        assert!(
            means
                .iter()
                .all(|mean| mean.kind == Kind::OptOut && mean.items == 2)
        );
    }
}
