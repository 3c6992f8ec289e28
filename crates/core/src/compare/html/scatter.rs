//! The chart of likelihoods before and now.

use crate::compare::{Against, ComparedItem, Comparison};
use crate::items::Kind;
use crate::report::page;
use crate::report::svg::{Frame, Label, Svg};
use std::f64::consts::LN_10;

const SIZE: f64 = 460.0;
const FRAME: Frame = Frame::new((58.0, 438.0), (12.0, 392.0));
/// Maximum number of marks per kind; more would be one dark patch.
const MARKS: usize = 2_000;

/// One mark per item whose likelihood is known in both; `None` where there are none.
pub(super) fn scatter(comparison: &Comparison, against: &Against) -> Option<String> {
    let points: Vec<(&ComparedItem, f64, f64)> = comparison
        .items
        .iter()
        .filter(|item| {
            item.changes
                .get(against.report - 1)
                .is_some_and(|change| change.log_p_z_full.is_some())
        })
        .filter_map(|item| {
            let at = |n: usize| {
                item.cells
                    .get(n)?
                    .as_ref()?
                    .log_p_z_full
                    .filter(|value| value.is_finite())
            };
            Some((item, at(0)? / LN_10, at(against.report)? / LN_10))
        })
        .collect();
    let least = points.iter().map(|(_, x, y)| x.min(*y)).reduce(f64::min)?;
    let step = page::round_step(-least, 8.0);
    let low = (least / step).floor() * step;
    let share = |value: f64| (value.min(0.0) - low) / -low;
    let x = |value: f64| FRAME.left + share(value) * FRAME.width();
    let y = |value: f64| FRAME.bottom - share(value) * FRAME.height();
    let number = against.report + 1;
    let label = format!(
        "Likelihood of {} items in report 1 and in report {number}",
        points.len()
    );
    let mut svg = Svg::labelled("chart pairs", (SIZE, SIZE), &label);
    let ticks = (0..=(-low / step).round() as i32).map(|n| low + f64::from(n) * step);
    let ticks = ticks.map(|tick| (tick, Label::probability(-tick.round() as i32, 0)));
    let ticks: Vec<(f64, Label)> = ticks.collect();
    let placed = |place: &dyn Fn(f64) -> f64| -> Vec<(f64, Label)> {
        ticks
            .iter()
            .map(|(tick, label)| (place(*tick), label.clone()))
            .collect()
    };
    FRAME.x_grid(&mut svg, &placed(&x));
    FRAME.y_grid(&mut svg, &placed(&y));
    svg.line(
        "cut-line",
        (FRAME.left, FRAME.bottom),
        (FRAME.right, FRAME.top),
    );
    let middle = f64::midpoint(FRAME.left, FRAME.right);
    svg.text("soft mid", (middle, FRAME.bottom + 44.0), "p_z in report 1");
    let middle = f64::midpoint(FRAME.top, FRAME.bottom);
    svg.upward_text(
        "soft mid",
        (12.0, middle),
        &format!("p_z in report {number}"),
    );
    // Controls first, so that they hide nothing.
    for kind in [Kind::Control, Kind::Canary, Kind::OptOut] {
        let of_kind = points.iter().filter(|(item, ..)| item.kind == kind);
        for (item, before, now) in of_kind.take(MARKS) {
            mark(&mut svg, item, against.report, (x(*before), y(*now)));
        }
    }
    Some(svg.finish())
}

/// The worst change has a shape of its own, not only a colour.
fn mark(svg: &mut Svg, item: &ComparedItem, report: usize, (x, y): (f64, f64)) {
    let change = class(item, report);
    let class = format!("dot {change}");
    let title = (item.kind != Kind::Control).then(|| title(item, report));
    match (change, title) {
        ("found-now", Some(title)) => svg.titled_rect(&class, (x - 5.0, y - 5.0), 10.0, &title),
        ("of-control" | "neither", title) => svg.circle(&class, (x, y), 3.0, title.as_deref()),
        (_, title) => svg.circle(&class, (x, y), 4.5, title.as_deref()),
    }
}

fn class(item: &ComparedItem, report: usize) -> &'static str {
    let found = |n: usize| {
        item.cells
            .get(n)
            .and_then(Option::as_ref)
            .is_some_and(|cell| cell.level.is_memorization())
    };
    match (item.kind, found(0), found(report)) {
        (Kind::Control, ..) => "of-control",
        (_, false, true) => "found-now",
        (_, true, false) => "found-before",
        (_, true, true) => "found-both",
        (_, false, false) => "neither",
    }
}

/// What a pointer shows: the item and its two verdicts.
fn title(item: &ComparedItem, report: usize) -> String {
    let level = |n: usize| {
        item.cells
            .get(n)
            .and_then(Option::as_ref)
            .map_or_else(|| "absent".to_owned(), |cell| cell.level.to_string())
    };
    format!("{}: {}, then {}", item.id, level(0), level(report))
}
