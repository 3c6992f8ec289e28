//! How recall grows with the model (arXiv 2202.07646, section 5.1): runs of several models, all else equal.

use super::growth::point;
use super::{Axis, GrowthPoint, SweptItem, SweptRun, along};
use crate::items::Kind;
use crate::report::words::KINDS;
use serde::Serialize;

/// Items of one kind in ever larger models, all else equal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SizeGrowth {
    pub kind: Kind,
    /// The other dimensions that vary in the sweep, as they are in these runs; empty where there is none.
    pub at: String,
    /// Items measured in full in every one of these models: only these are compared.
    pub items: u64,
    /// Smallest model first.
    pub points: Vec<SizePoint>,
}

/// In one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SizePoint {
    /// As the user named it.
    pub model: String,
    pub parameters: u64,
    /// As after one prefix: that of the run.
    #[serde(flatten)]
    pub measured: GrowthPoint,
}

/// How many parameters a run's model has, where it is known.
pub(super) fn parameters(run: &SweptRun<'_>) -> Option<u64> {
    run.report
        .as_ref()
        .ok()
        .map(|report| report.model.backend.parameters)
        .filter(|parameters| *parameters > 0)
}

/// Empty where no two models of different, known size were run in the same way.
pub(super) fn growth_with_size(
    runs: &[SweptRun<'_>],
    items: &[SweptItem],
    axes: &[Axis],
) -> Vec<SizeGrowth> {
    if !axes.contains(&Axis::Model) {
        return Vec::new();
    }
    let mut curves = Vec::new();
    for (at, group) in along(runs, Axis::Model, axes) {
        let mut sized: Vec<(u64, usize)> = group
            .into_iter()
            .filter_map(|run| Some((parameters(&runs[run])?, run)))
            .collect();
        sized.sort_unstable();
        if sized.first().map(|first| first.0) == sized.last().map(|last| last.0) {
            continue;
        }
        for kind in KINDS {
            let of_kind: Vec<&SweptItem> = items.iter().filter(|item| item.kind == kind).collect();
            if of_kind.is_empty() {
                continue;
            }
            let in_all =
                |item: &&SweptItem| sized.iter().all(|(_, run)| item.values[*run].is_some());
            let compared: Vec<&SweptItem> = of_kind.into_iter().filter(in_all).collect();
            let measured = |&(parameters, run): &(u64, usize)| SizePoint {
                model: runs[run].setting.model.clone(),
                parameters,
                measured: point(runs[run].setting.prefix, run, &compared),
            };
            let points = sized.iter().map(measured).collect();
            curves.push(SizeGrowth {
                kind,
                at: at.clone(),
                items: compared.len() as u64,
                points,
            });
        }
    }
    curves
}
