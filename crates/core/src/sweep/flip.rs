//! How a verdict changes along one dimension.

use super::{Axis, SweptRun, along};
use crate::policy::Level;
use serde::Serialize;

/// A verdict that changes along one dimension while the others stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flip {
    pub axis: Axis,
    /// The other dimensions that vary in the sweep, as they are in these runs; empty where there is none.
    pub at: String,
    /// The values of the dimension, in the order of the runs, with the verdict at each.
    pub path: Vec<Step>,
}

/// One run on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    pub value: String,
    pub level: Level,
}

/// All changes of an item's levels, dimension by dimension.
pub(super) fn flips(runs: &[SweptRun<'_>], levels: &[Option<Level>], axes: &[Axis]) -> Vec<Flip> {
    let of_axis = |axis: &Axis| {
        let axis = *axis;
        along(runs, axis, axes)
            .into_iter()
            .filter_map(move |(at, group)| {
                let step = |run: usize| {
                    let (run, level) = (runs.get(run)?, levels.get(run).copied()??);
                    Some(Step {
                        value: axis.value(&run.setting),
                        level,
                    })
                };
                let path: Vec<Step> = group.into_iter().filter_map(step).collect();
                path.windows(2)
                    .any(|pair| pair[0].level != pair[1].level)
                    .then_some(Flip { axis, at, path })
            })
    };
    axes.iter().flat_map(of_axis).collect()
}

/// Changes in words, those along one path told once, the most common path first.
pub(super) fn in_words(flips: &[Flip]) -> Vec<String> {
    let mut paths: Vec<(&Flip, usize)> = Vec::new();
    for flip in flips {
        match paths
            .iter_mut()
            .find(|(told, _)| (told.axis, &told.path) == (flip.axis, &flip.path))
        {
            Some((_, times)) => *times += 1,
            None => paths.push((flip, 1)),
        }
    }
    // Stable: dimensions stay in order among paths equally common.
    paths.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let told = |(flip, times): (&Flip, usize)| {
        let at = match (flip.at.as_str(), times) {
            ("", _) => String::new(),
            (at, 1) => format!(" ({at})"),
            (at, times) => format!(" ({at}; {} more)", times - 1),
        };
        let steps: Vec<String> = flip
            .path
            .iter()
            .map(|step| format!("{} {}", step.value, step.level))
            .collect();
        format!("by {}{at}: {}", flip.axis.name(), steps.join(" → "))
    };
    paths.into_iter().map(told).collect()
}
