//! The chart of likelihoods before and now, as inline SVG.

use crate::compare::{Against, ComparedItem, Comparison};
use crate::items::Kind;
use crate::report::{escape, page};
use std::f64::consts::LN_10;
use std::fmt::Write as _;

const SIZE: f64 = 460.0;
const LEFT: f64 = 58.0;
const TOP: f64 = 12.0;
const PLOT: f64 = 380.0;
/// Marks that are drawn of a kind; more are one dark patch.
const MARKS: usize = 2_000;

/// One mark an item whose likelihood is known in both; `None` where there are none.
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
    let place = |value: f64| (value.min(0.0) - low) / -low * PLOT;
    let (x, y) = (
        |value: f64| LEFT + place(value),
        |value: f64| TOP + PLOT - place(value),
    );
    let mut out = format!(
        r#"<svg class="chart pairs" viewBox="0 0 {SIZE} {SIZE}" role="img" aria-label="Likelihood of {} items in report 1 and in report {}">"#,
        points.len(),
        against.report + 1
    );
    let mut tick = low;
    while tick <= 0.0 {
        let (across, upwards) = (x(tick), y(tick));
        let bottom = TOP + PLOT;
        let right = LEFT + PLOT;
        let label = if tick == 0.0 {
            "1".to_owned()
        } else {
            format!("10<tspan class=\"sup\" dy=\"-5\">−{:.0}</tspan>", -tick)
        };
        let _ = write!(
            out,
            r#"<path class="grid" d="M{across:.1} {TOP}V{bottom}M{LEFT} {upwards:.1}H{right}"/><text class="mid" x="{across:.1}" y="{:.1}">{label}</text><text class="end" x="{:.1}" y="{:.1}">{label}</text>"#,
            bottom + 18.0,
            LEFT - 6.0,
            upwards + 4.0,
        );
        tick += step;
    }
    let _ = write!(
        out,
        r#"<path class="cut-line" d="M{LEFT} {:.1}L{:.1} {TOP}"/><text class="soft mid" x="{:.1}" y="{:.1}">p_z in report 1</text><text class="soft mid" transform="translate(12 {:.1}) rotate(-90)">p_z in report {}</text>"#,
        TOP + PLOT,
        LEFT + PLOT,
        LEFT + PLOT / 2.0,
        TOP + PLOT + 44.0,
        TOP + PLOT / 2.0,
        against.report + 1
    );
    // Controls first, so that they hide nothing.
    for kind in [Kind::Control, Kind::Canary, Kind::OptOut] {
        for (item, before, now) in points
            .iter()
            .filter(|(item, ..)| item.kind == kind)
            .take(MARKS)
        {
            let (class, x, y) = (class(item, against.report), x(*before), y(*now));
            let _ = match (item.kind, class) {
                (Kind::Control, _) => write!(
                    out,
                    r#"<circle class="dot {class}" cx="{x:.1}" cy="{y:.1}" r="3"/>"#
                ),
                // What is worst has a shape of its own, not only a colour.
                (_, "found-now") => {
                    let (left, top) = (x - 5.0, y - 5.0);
                    write!(
                        out,
                        r#"<rect class="dot {class}" x="{left:.1}" y="{top:.1}" width="10" height="10">{}</rect>"#,
                        title(item, against.report)
                    )
                }
                _ => {
                    let radius = if class == "neither" { 3.0 } else { 4.5 };
                    let title = title(item, against.report);
                    write!(
                        out,
                        r#"<circle class="dot {class}" cx="{x:.1}" cy="{y:.1}" r="{radius}">{title}</circle>"#
                    )
                }
            };
        }
    }
    out.push_str("</svg>");
    Some(out)
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
    format!(
        "<title>{}: {}, then {}</title>",
        escape::html(&item.id.0),
        level(0),
        level(report)
    )
}
