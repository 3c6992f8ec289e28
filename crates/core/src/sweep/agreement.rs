//! How far two values of a dimension agree.

use super::{Axis, SweptItem, SweptRun, along, median};
use crate::policy::Level;
use serde::Serialize;

/// Two values of one dimension, over all pairs of runs that differ in nothing else.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    pub axis: Axis,
    pub first: String,
    pub second: String,
    /// Verdicts compared: an item counts once a pair of runs.
    pub verdicts: u64,
    /// Of these, the same in both.
    pub same: u64,
    /// `extractable` or `memorized` in the first only.
    pub found_in_first_only: u64,
    /// And in the second only.
    pub found_in_second_only: u64,
    /// Median over items of the best `ln p_z` in the second less that in the first, in nats; absent where none was
    /// measured in both.
    pub median_shift: Option<f64>,
}

/// Two values of a dimension.
type Compared = [String; 2];

pub(super) fn agreement(
    runs: &[SweptRun<'_>],
    items: &[SweptItem],
    axes: &[Axis],
) -> Vec<Agreement> {
    let mut all: Vec<Agreement> = Vec::new();
    for &axis in axes {
        let mut pairs: Vec<(Compared, Vec<(usize, usize)>)> = Vec::new();
        for (_, group) in along(runs, axis, axes) {
            for (at, &a) in group.iter().enumerate() {
                for &b in group.iter().skip(at + 1) {
                    let values = [a, b].map(|run| axis.value(&runs[run].setting));
                    match pairs.iter_mut().find(|(known, _)| *known == values) {
                        Some((_, of_pair)) => of_pair.push((a, b)),
                        None => pairs.push((values, vec![(a, b)])),
                    }
                }
            }
        }
        all.extend(
            pairs
                .into_iter()
                .map(|([first, second], of_pair)| compare(axis, first, second, &of_pair, items)),
        );
    }
    all
}

fn compare(
    axis: Axis,
    first: String,
    second: String,
    pairs: &[(usize, usize)],
    items: &[SweptItem],
) -> Agreement {
    let verdicts: Vec<(Level, Level)> = pairs
        .iter()
        .flat_map(|&(a, b)| {
            items
                .iter()
                .filter_map(move |item| Some((item.levels[a]?, item.levels[b]?)))
        })
        .collect();
    let count = |holds: fn(&(Level, Level)) -> bool| {
        verdicts.iter().filter(|pair| holds(pair)).count() as u64
    };
    let shifts = pairs.iter().flat_map(|&(a, b)| {
        items.iter().filter_map(move |item| {
            let shift = item.values[b]?.best_log_p_z - item.values[a]?.best_log_p_z;
            shift.is_finite().then_some(shift)
        })
    });
    Agreement {
        axis,
        first,
        second,
        verdicts: verdicts.len() as u64,
        same: count(|(a, b)| a == b),
        found_in_first_only: count(|(a, b)| a.is_memorization() && !b.is_memorization()),
        found_in_second_only: count(|(a, b)| !a.is_memorization() && b.is_memorization()),
        median_shift: median(shifts),
    }
}
