//! What a sweep came to, in sentences that its formats share. Nothing is escaped here.

use super::{Axis, Standing, Sweep, SweptItem};
use crate::items::Kind;
use crate::metric::samples::grouped;
use crate::report::words;

/// One sentence each; empty where there is nothing to say.
pub(super) struct Said {
    pub(super) failed: String,
    pub(super) unstable: String,
    pub(super) by_model: String,
    pub(super) missing: String,
}

/// What was compared: `6 runs by dtype, prefix over 70 items.`
pub(super) fn scope(sweep: &Sweep) -> String {
    let axes: Vec<&str> = sweep.axes.iter().map(|axis| axis.name()).collect();
    let by = if axes.is_empty() {
        String::new()
    } else {
        format!(" by {}", axes.join(", "))
    };
    let runs = words::count(sweep.runs.len() as u64, "run");
    format!(
        "{runs}{by} over {}.",
        words::count(sweep.items.len() as u64, "item")
    )
}

pub(super) fn said(sweep: &Sweep) -> Said {
    let failed = sweep.runs.iter().filter(|run| run.failed.is_some()).count() as u64;
    let number = |standing| sweep.standing(standing).count() as u64;
    let settled =
        number(Standing::Stable) + number(Standing::DiffersByModel) == sweep.items.len() as u64;
    Said {
        failed: match failed {
            0 => String::new(),
            n => format!(
                "{} gave no report, so nothing here speaks for them.",
                words::count(n, "run")
            ),
        },
        unstable: match number(Standing::Unstable) {
            0 if !settled
                || sweep.items.is_empty()
                || sweep.axes.iter().all(|axis| *axis == Axis::Model) =>
            {
                String::new()
            }
            0 => "No verdict depends on how the text was probed.".to_owned(),
            1 => "1 item is unstable: its verdict depends on how it was probed.".to_owned(),
            n => format!(
                "{} items are unstable: their verdicts depend on how they were probed.",
                grouped(n)
            ),
        },
        by_model: match number(Standing::DiffersByModel) {
            0 => String::new(),
            1 => "1 item differs by model only, which is a finding about the models.".to_owned(),
            n => format!(
                "{} items differ by model only, which is a finding about the models.",
                grouped(n)
            ),
        },
        missing: match number(Standing::Incomplete) {
            0 => String::new(),
            1 => "1 item is missing in a run; the other runs agree on it.".to_owned(),
            n => format!(
                "{} items are missing in a run; the other runs agree on them.",
                grouped(n)
            ),
        },
    }
}

pub(super) fn kind(item: &SweptItem) -> String {
    match (item.kind, item.repetitions) {
        (Kind::OptOut, _) => "opt-out".to_owned(),
        (Kind::Control, _) => "control".to_owned(),
        (Kind::Canary, None) => "canary".to_owned(),
        (Kind::Canary, Some(n)) => format!("canary {n}×"),
    }
}

/// With one decimal, and no `-0.0`.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    match text.as_str() {
        "-0.0" => "0.0".to_owned(),
        _ => text
            .strip_suffix(".0")
            .filter(|_| value.fract().abs() < f64::EPSILON)
            .map_or(text.clone(), str::to_owned),
    }
}
