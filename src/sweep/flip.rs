//! How a verdict changes along one dimension.

use super::{Axis, SweptRun, along};
use crate::verdict::Level;
use serde::Serialize;
use std::fmt;

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
        along(runs, axis, axes).into_iter().filter_map(move |(at, group)| {
            let step = |run: usize| {
                let (run, level) = (runs.get(run)?, levels.get(run).copied()??);
                Some(Step { value: axis.value(&run.setting), level })
            };
            let path: Vec<Step> = group.into_iter().filter_map(step).collect();
            path.windows(2).any(|pair| pair[0].level != pair[1].level).then_some(Flip { axis, at, path })
        })
    };
    axes.iter().flat_map(of_axis).collect()
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {}", self.axis.name())?;
        if !self.at.is_empty() {
            write!(f, " ({})", self.at)?;
        }
        f.write_str(": ")?;
        for (at, step) in self.path.iter().enumerate() {
            let arrow = if at == 0 { "" } else { " → " };
            write!(f, "{arrow}{} {}", step.value, step.level)?;
        }
        Ok(())
    }
}
