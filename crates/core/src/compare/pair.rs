//! One item in two reports.

use super::same::{self, Windows};
use super::{Cell, Change, Standing, rank};
use crate::metric::item::Extraction;
use crate::policy::Level;
use crate::policy::Policy;
use crate::report::{Report, ReportItem};
use crate::verdict::{not_measured, within_budget};

/// One of the two.
pub(super) struct Side<'a> {
    /// The report's name.
    pub(super) name: &'a str,
    pub(super) report: &'a Report,
    /// The item in it, if it has it.
    pub(super) item: Option<&'a ReportItem>,
    pub(super) cell: Option<&'a Cell>,
}

/// What a report says of an item. Values of items that weren't measured in full aren't known.
pub(super) fn cell(policy: &Policy, item: &ReportItem) -> Cell {
    let evidence = &item.evidence;
    let measured = not_measured(evidence).is_none();
    let plain = evidence
        .best("full")
        .map(|(_, best)| best)
        .filter(|best| best.at_most.is_none());
    // Windows that were left may be likelier than the best of those that were scored, unless they are bounded below it.
    let seen = evidence.unseen() == 0;
    let bounded = evidence.at_most(&policy.schemes).is_some();
    let best = evidence
        .cheapest(&policy.schemes)
        .map(|(_, best)| best.best.log_p_z)
        .filter(|_| !bounded);
    let runs: Option<Vec<u32>> = evidence
        .values()
        .map(|(_, values)| values.max_verbatim_run)
        .collect();
    Cell {
        level: item.verdict.level,
        reason: item.verdict.reasons.first().cloned(),
        log_p_z: best.filter(|_| measured && seen),
        log_p_z_full: plain
            .map(|best| best.best.log_p_z)
            .filter(|_| measured && seen),
        coverage: extraction(item)
            .map(|extraction| extraction.coverage)
            .filter(|_| measured && seen),
        verbatim_run: runs
            .and_then(|runs| runs.into_iter().max())
            .filter(|_| measured && seen),
        within_budget: within_budget(policy, evidence),
    }
}

fn extraction(item: &ReportItem) -> Option<&Extraction> {
    item.evidence.worst()?.values.as_ref()?.extraction.as_ref()
}

/// What became of the item.
pub(super) fn change(old: &Side<'_>, new: &Side<'_>, windows: &Windows) -> Change {
    let not_comparable = |why: String| Change {
        standing: Standing::NotComparable,
        why: Some(why),
        log_p_z: None,
        log_p_z_full: None,
        coverage: None,
        verbatim_run: None,
    };
    let (Some((x, a)), Some((y, b))) = (old.item.zip(old.cell), new.item.zip(new.cell)) else {
        let absent: Vec<String> = [old, new]
            .iter()
            .filter(|side| side.item.is_none())
            .map(|side| format!("not in {}", side.name))
            .collect();
        return not_comparable(absent.join("; "));
    };
    if let Err(why) = same::text(old.report, x, new.report, y) {
        return not_comparable(why);
    }
    if let Windows::Other(how) = windows {
        return not_comparable(format!("probed otherwise: {how}"));
    }
    let (standing, why) = match (a.level, b.level) {
        (Level::Inconclusive, _) => (Standing::NotComparable, Some(inconclusive(old.name, a))),
        (_, Level::Inconclusive) => (Standing::NotComparable, Some(inconclusive(new.name, b))),
        (before, now) => (standing(before, now), None),
    };
    let same_windows = *windows == Windows::Same;
    let difference = |old: Option<f64>, new: Option<f64>| {
        // Impossible in both is no difference that could be told.
        old.zip(new)
            .filter(|_| same_windows)
            .map(|(old, new)| new - old)
            .filter(|difference| !difference.is_nan())
    };
    let measured_alike = match (extraction(x), extraction(y)) {
        (Some(x), Some(y)) => x.schemes == y.schemes && x.tau.to_bits() == y.tau.to_bits(),
        _ => false,
    };
    Change {
        standing,
        why,
        log_p_z: difference(a.log_p_z, b.log_p_z),
        log_p_z_full: difference(a.log_p_z_full, b.log_p_z_full),
        coverage: difference(a.coverage, b.coverage).filter(|_| measured_alike),
        verbatim_run: a
            .verbatim_run
            .zip(b.verbatim_run)
            .filter(|_| same_windows)
            .map(|(old, new)| i64::from(new) - i64::from(old)),
    }
}

fn inconclusive(name: &str, cell: &Cell) -> String {
    format!(
        "inconclusive in {name}: {}",
        cell.reason
            .as_ref()
            .map_or("no reason given", |reason| &reason.message)
    )
}

fn standing(before: Level, now: Level) -> Standing {
    match (before.is_memorization(), now.is_memorization()) {
        (false, true) => Standing::New,
        (true, false) => Standing::Fixed,
        _ if rank(now) > rank(before) => Standing::Worse,
        _ if rank(now) < rank(before) => Standing::Better,
        _ => Standing::Unchanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_that_becomes_a_finding_is_new_and_one_that_ceases_to_be_is_fixed() {
        use Level::{Clear, Extractable, Memorized, Predictable};
        use Standing::{Better, Fixed, New, Unchanged, Worse};
        let levels = [Clear, Predictable, Memorized, Extractable];
        // By row before, by column now.
        let expected = [
            [Unchanged, Worse, New, New],
            [Better, Unchanged, New, New],
            [Fixed, Fixed, Unchanged, Worse],
            [Fixed, Fixed, Better, Unchanged],
        ];
        for (before, row) in levels.into_iter().zip(expected) {
            for (now, expected) in levels.into_iter().zip(row) {
                assert_eq!(standing(before, now), expected, "{before} to {now}");
            }
        }
    }
}
