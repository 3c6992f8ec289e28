//! Growth as inline SVG: lines over an axis of ever longer prefixes or ever larger models.

use crate::report::{escape, page};
use std::fmt::Write as _;

const WIDTH: f64 = 380.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 364.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 214.0;
const HEIGHT: f64 = 258.0;
/// Room between two labels below the axis.
const APART: f64 = 38.0;
/// Lines in one chart: as many as there are colours and marks.
pub(super) const LINES: usize = 6;

/// What stands upwards.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Upwards {
    /// From 0 to 1.
    Share,
    /// `ln p`, from what is there up to 0.
    Nats,
}

/// Where a point stands on the axis, how that is called, how high it is and how that is told.
pub(super) type Point = (f64, String, Option<(f64, String)>);

/// One line. What is infinite isn't drawn.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<Point>,
}

/// A chart of at most [`LINES`] lines; `None` where nothing can be drawn. The axis is logarithmic.
pub(super) fn lines(title: &str, below: &str, upwards: Upwards, lines: &[Line]) -> Option<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let values = points()
        .filter_map(|point| Some(point.2.as_ref()?.0))
        .filter(|value| value.is_finite());
    let least = values.reduce(f64::min)?;
    let place = |x: f64| x.max(1.0).ln();
    let from = points().map(|point| place(point.0)).reduce(f64::min)?;
    let to = points().map(|point| place(point.0)).reduce(f64::max)?;
    let (inner_left, inner_right) = (LEFT + 16.0, RIGHT - 16.0);
    let x = |at: f64| match to - from {
        span if span > 0.0 => inner_left + (place(at) - from) / span * (inner_right - inner_left),
        _ => f64::midpoint(inner_left, inner_right),
    };
    let (low, high, step) = match upwards {
        Upwards::Share => (0.0, 1.0, 0.25),
        Upwards::Nats => {
            let step = page::round_step(-least.min(-1.0), 6.0);
            ((least.min(-1.0) / step).floor() * step, 0.0, step)
        }
    };
    let y = |value: f64| BOTTOM - (value.clamp(low, high) - low) / (high - low) * (BOTTOM - TOP);
    let mut svg = format!(
        r#"<svg class="chart lines" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}. The numbers are in the table.">"#,
        escape::html(title)
    );
    let ticks = ((high - low) / step).round() as u32;
    for tick in (0..=ticks).map(|n| low + f64::from(n) * step) {
        let at = y(tick);
        let label = match upwards {
            Upwards::Share => format!("{:.0}%", tick * 100.0),
            Upwards::Nats => format!("{}{:.0}", if tick < 0.0 { "−" } else { "" }, tick.abs()),
        };
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{LEFT} {at:.1}H{RIGHT}"/><text class="end" x="{:.1}" y="{:.1}">{label}</text>"#,
            LEFT - 7.0,
            at + 4.0
        );
    }
    let mut ticks: Vec<(f64, &str)> = points()
        .map(|point| (x(point.0), point.1.as_str()))
        .collect();
    ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut last = f64::NEG_INFINITY;
    for (at, label) in ticks {
        if at - last >= APART {
            let _ = write!(
                svg,
                r#"<path class="base" d="M{at:.1} {BOTTOM}v5"/><text class="mid" x="{at:.1}" y="{:.1}">{}</text>"#,
                BOTTOM + 18.0,
                escape::html(label)
            );
            last = at;
        }
    }
    let _ = write!(
        svg,
        r#"<path class="base" d="M{LEFT} {BOTTOM}H{RIGHT}"/><text class="mid soft" x="{:.1}" y="{:.1}">{}</text>"#,
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 37.0,
        escape::html(below)
    );
    for (n, line) in lines.iter().enumerate().take(LINES) {
        let _ = write!(svg, r#"<g class="s{n}">"#);
        let mut drawn = String::new();
        let mut marks = String::new();
        let mut pen = 'M';
        for (at, label, value) in &line.points {
            let Some((value, told)) = value.as_ref().filter(|(value, _)| value.is_finite()) else {
                pen = 'M';
                continue;
            };
            let (x, y) = (x(*at), y(*value));
            let _ = write!(drawn, "{pen}{x:.1} {y:.1}");
            pen = 'L';
            let title = escape::html(&format!("{}, {label}: {told}", line.name));
            let _ = write!(marks, "<g><title>{title}</title>{}</g>", mark(n, x, y));
        }
        let _ = write!(svg, r#"<path class="line-of" d="{drawn}"/>{marks}</g>"#);
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// The line's look beside its name.
pub(super) fn key(n: usize) -> String {
    format!(
        r#"<svg class="s{n}" viewBox="0 0 28 12" aria-hidden="true" focusable="false"><path class="line-of" d="M0 6H28"/>{}</svg>"#,
        mark(n, 14.0, 6.0)
    )
}

/// Every line has a shape of its own, not only a colour.
fn mark(n: usize, x: f64, y: f64) -> String {
    match n % LINES {
        0 => format!(r#"<circle class="mark-of" cx="{x:.1}" cy="{y:.1}" r="4"/>"#),
        1 => format!(
            r#"<rect class="mark-of" x="{:.1}" y="{:.1}" width="7" height="7"/>"#,
            x - 3.5,
            y - 3.5
        ),
        2 => format!(
            r#"<path class="mark-of open" d="M{x:.1} {:.1}l4.5 8h-9z"/>"#,
            y - 4.5
        ),
        3 => format!(
            r#"<path class="mark-of" d="M{x:.1} {:.1}l5 5-5 5-5-5z"/>"#,
            y - 5.0
        ),
        4 => format!(
            r#"<rect class="mark-of open" x="{:.1}" y="{:.1}" width="7" height="7"/>"#,
            x - 3.5,
            y - 3.5
        ),
        _ => format!(r#"<circle class="mark-of open" cx="{x:.1}" cy="{y:.1}" r="4"/>"#),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: &[(f64, f64)]) -> Line {
        let point = |&(x, y): &(f64, f64)| (x, format!("{x}"), Some((y, format!("{y}"))));
        Line {
            name: "a<b".to_owned(),
            points: points.iter().map(point).collect(),
        }
    }

    #[test]
    fn every_finite_point_is_a_mark_and_the_infinite_break_the_line() {
        let with_gap = line(&[
            (10.0, -50.0),
            (20.0, f64::NEG_INFINITY),
            (40.0, -20.0),
            (80.0, -3.0),
        ]);
        let svg = lines("Growth", "tokens", Upwards::Nats, &[with_gap]).unwrap();
        assert_eq!(svg.matches("<circle").count(), 3);
        let drawn = svg
            .split("line-of\" d=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        assert_eq!(
            (drawn.matches('M').count(), drawn.matches('L').count()),
            (2, 1),
            "{drawn}"
        );
        assert!(
            svg.contains("a&lt;b, 10: -50") && !svg.contains("a<b") && !svg.contains("inf"),
            "{svg}"
        );
    }

    #[test]
    fn what_is_higher_stands_higher_and_one_point_is_drawn() {
        let svg = lines(
            "Growth",
            "tokens",
            Upwards::Share,
            &[line(&[(7.0, 0.0), (70.0, 1.0)])],
        )
        .unwrap();
        assert!(
            svg.contains(&format!("M66.0 {BOTTOM:.1}L348.0 {TOP:.1}")),
            "{svg}"
        );
        let one = lines("Growth", "tokens", Upwards::Share, &[line(&[(7.0, 0.5)])]).unwrap();
        assert!(
            !one.contains("NaN") && one.matches("<circle").count() == 1,
            "{one}"
        );
        assert!(
            lines(
                "Growth",
                "tokens",
                Upwards::Nats,
                &[line(&[(7.0, f64::NEG_INFINITY)])]
            )
            .is_none()
        );
    }
}
