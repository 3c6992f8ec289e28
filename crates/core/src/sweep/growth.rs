//! The growth curve: how recall grows with the tokens of context (arXiv 2202.07646, section 5.3).

use super::{Axis, SweptItem, SweptRun, Values, along, median};
use crate::float_serde;
use crate::items::Kind;
use crate::report::words::KINDS;
use serde::Serialize;

/// Items of one kind after ever longer prefixes, all else equal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Growth {
    pub kind: Kind,
    /// The other dimensions that vary in the sweep, as they are in these runs; empty where there is none.
    pub at: String,
    /// Whether all these runs scored the same suffixes, so that only the context differs.
    pub same_suffixes: bool,
    /// Items measured in full after every prefix: only these are compared.
    pub items: u64,
    /// Shortest prefix first.
    pub points: Vec<GrowthPoint>,
}

/// After one prefix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GrowthPoint {
    /// In tokens.
    pub prefix: u32,
    /// Of the items compared, came out `extractable` or `memorized`.
    pub found: u64,
    /// Windows of the items compared, and how many of them greedy decoding yields.
    pub windows: u64,
    pub greedily_extracted: u64,
    /// Absent where no item was measured after every prefix.
    pub medians: Option<Medians>,
}

/// Medians over the items compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Medians {
    /// Of [`Values::best_log_p_z`], in nats.
    #[serde(with = "float_serde")]
    pub best_log_p_z: f64,
    /// Of [`Values::coverage`]; absent where one of them is.
    pub coverage: Option<f64>,
    /// Of [`Values::verbatim_run`], in tokens.
    pub verbatim_run: f64,
}

pub(super) fn growth(runs: &[SweptRun<'_>], items: &[SweptItem], axes: &[Axis]) -> Vec<Growth> {
    if !axes.contains(&Axis::Prefix) {
        return Vec::new();
    }
    let mut curves = Vec::new();
    for (at, mut group) in along(runs, Axis::Prefix, axes) {
        group.sort_by_key(|run| runs[*run].setting.prefix);
        let same_suffixes = same_suffixes(runs, &group);
        for kind in KINDS {
            if !items.iter().any(|item| item.kind == kind) {
                continue;
            }
            let of_kind = items.iter().filter(|item| item.kind == kind);
            let compared: Vec<&SweptItem> = of_kind
                .filter(|item| group.iter().all(|run| item.values[*run].is_some()))
                .collect();
            curves.push(Growth {
                kind,
                at: at.clone(),
                same_suffixes,
                items: compared.len() as u64,
                points: group
                    .iter()
                    .map(|run| point(runs[*run].setting.prefix, *run, &compared))
                    .collect(),
            });
        }
    }
    curves
}

/// What one run gives over the items compared.
pub(super) fn point(prefix: u32, run: usize, compared: &[&SweptItem]) -> GrowthPoint {
    let values = || compared.iter().filter_map(|item| item.values[run].as_ref());
    let found =
        |item: &&&SweptItem| item.levels[run].is_some_and(crate::policy::Level::is_memorization);
    let coverages: Option<Vec<f64>> = values().map(|values| values.coverage).collect();
    let medians = || {
        Some(Medians {
            best_log_p_z: median(values().map(|values| values.best_log_p_z))?,
            coverage: coverages.and_then(|coverages| median(coverages.into_iter())),
            verbatim_run: median(values().map(|values| f64::from(values.verbatim_run)))?,
        })
    };
    let sum = |of: fn(&Values) -> u64| values().map(of).sum();
    GrowthPoint {
        prefix,
        found: compared.iter().filter(found).count() as u64,
        windows: sum(|values| values.windows),
        greedily_extracted: sum(|values| values.greedily_extracted),
        medians: medians(),
    }
}

/// Whether the runs' windows were cut with one lead, suffix and stride. Failed runs are passed over.
fn same_suffixes(runs: &[SweptRun<'_>], group: &[usize]) -> bool {
    let windows: Vec<_> = group
        .iter()
        .filter_map(|run| runs[*run].report.as_ref().ok())
        .map(|report| &report.settings.window)
        .map(|window| (window.before(), window.suffix, window.stride, window.reflow))
        .collect();
    windows.windows(2).all(|pair| pair[0] == pair[1])
}
