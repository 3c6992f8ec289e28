//! The charts of the HTML report as inline SVG. Every number is written with one decimal, so that the same report
//! gives the same bytes; colours and shapes come from the style sheet by class.

use crate::items::Kind;
use crate::metric::item::Span;
use crate::metric::{probability, samples};
use crate::policy::Level;
use crate::report::{Recall, Report, ReportItem, escape, order, words};
use std::fmt::Write as _;

/// Canaries found by how often they were planted. `None` without canaries.
pub(super) fn recall(entries: &[Recall]) -> Option<String> {
    const TOP: f64 = 26.0;
    const HEIGHT: f64 = 150.0;
    const LEFT: f64 = 46.0;
    const STEP: f64 = 66.0;
    const BAR: f64 = 40.0;
    if entries.is_empty() {
        return None;
    }
    let right = LEFT + STEP * entries.len() as f64;
    let mut svg = open(
        right + 6.0,
        TOP + HEIGHT + 44.0,
        "recall",
        "Canaries found by copies in training",
        None,
    );
    for percent in [0, 50, 100] {
        let y = TOP + HEIGHT * (1.0 - f64::from(percent) / 100.0);
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{LEFT}" x2="{}" y1="{y}" y2="{y}"/>"#,
            n(right)
        );
        let _ = write!(
            svg,
            r#"<text class="end" x="{}" y="{}">{percent}%</text>"#,
            n(LEFT - 7.0),
            n(y + 4.0)
        );
    }
    for (i, entry) in entries.iter().enumerate() {
        let x = LEFT + STEP * i as f64 + (STEP - BAR) / 2.0;
        let part = |count: u64| HEIGHT * count as f64 / entry.items.max(1) as f64;
        let (found, undecided) = (part(entry.found), part(entry.inconclusive));
        let base = TOP + HEIGHT;
        let _ = write!(
            svg,
            r#"<rect class="bar" x="{}" y="{}" width="{BAR}" height="{}"/>"#,
            n(x),
            n(base - found),
            n(found)
        );
        let extractable = part(entry.extractable);
        let _ = write!(
            svg,
            r#"<rect class="bar cheap" x="{}" y="{}" width="{BAR}" height="{}"/>"#,
            n(x),
            n(base - extractable),
            n(extractable)
        );
        if entry.inconclusive > 0 {
            let _ = write!(
                svg,
                r#"<rect class="undecided" x="{}" y="{}" width="{BAR}" height="{}"/>"#,
                n(x),
                n(base - found - undecided),
                n(undecided)
            );
        }
        let middle = n(x + BAR / 2.0);
        let _ = write!(
            svg,
            r#"<text class="mid strong" x="{middle}" y="{}">{}/{}</text><text class="mid" x="{middle}" y="{}">{}</text>"#,
            n(base - found - undecided - 6.0),
            entry.found,
            entry.items,
            n(base + 17.0),
            words::repetitions(entry.repetitions)
        );
    }
    let middle = n((LEFT + right) / 2.0);
    let _ = write!(
        svg,
        r#"<text class="mid soft" x="{middle}" y="{}">copies in training; full colour: extractable within the sample budget</text></svg>"#,
        n(TOP + HEIGHT + 37.0)
    );
    Some(svg)
}

pub(super) const DOT: f64 = 7.0;
/// A row with more dots on one place becomes a histogram.
const STACK: usize = 14;
/// Room for the names of the rows.
pub(super) const STRIP_LEFT: f64 = 118.0;
pub(super) const STRIP_WIDTH: f64 = 640.0;
const NEVER_WIDTH: f64 = 58.0;

/// Every item's best window under the policy's scheme, by kind, on an axis from impossible to certain; with the sample
/// budget. `None` if nothing was scored.
pub(super) fn distribution(report: &Report) -> Option<String> {
    let policy = &report.policy;
    let rows: Vec<(Kind, Vec<(&ReportItem, f64)>)> = words::KINDS
        .into_iter()
        .map(|kind| {
            let items = order::worst_first(report, kind).into_iter();
            let best = |item| order::best_log_p_z(policy, item).filter(|log_p_z| !log_p_z.is_nan());
            (
                kind,
                items
                    .filter_map(|item| Some((item, best(item)?)))
                    .collect::<Vec<_>>(),
            )
        })
        .filter(|(_, items)| !items.is_empty())
        .collect();
    let values = || {
        rows.iter()
            .flat_map(|(_, items)| items.iter().map(|(_, value)| *value))
    };
    if rows.is_empty() {
        return None;
    }
    let axis = Axis::over(values());
    let mut body = String::new();
    let mut y = 34.0;
    for (kind, items) in &rows {
        y = row(&mut body, y, *kind, items, &axis);
    }
    let bottom = y + 4.0;
    let right = STRIP_LEFT + STRIP_WIDTH;
    let mut svg = open(
        right + 14.0,
        bottom + 46.0,
        "strip",
        "Best window of every item, by kind, on the probability axis",
        None,
    );
    let tau = axis.x(policy.tau.ln());
    let _ = write!(
        svg,
        r#"<rect class="within" x="{}" y="22" width="{}" height="{}"/>"#,
        n(tau),
        n((right - tau).max(0.0)),
        n(bottom - 22.0)
    );
    for (x, label) in axis.ticks() {
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{0}" x2="{0}" y1="22" y2="{1}"/>"#,
            n(x),
            n(bottom)
        );
        let _ = write!(
            svg,
            r#"<text class="mid" x="{}" y="{}">{label}</text>"#,
            n(x),
            n(bottom + 17.0)
        );
    }
    svg.push_str(&body);
    let _ = write!(
        svg,
        r#"<line class="tau" x1="{0}" x2="{0}" y1="18" y2="{1}"/>"#,
        n(tau),
        n(bottom)
    );
    let anchor = if tau > STRIP_LEFT + STRIP_WIDTH / 2.0 {
        "end"
    } else {
        "start"
    };
    let _ = write!(
        svg,
        r#"<text class="{anchor} tau-label" x="{}" y="13">sample budget: p_z = {} (ln {:.2})</text>"#,
        n(if anchor == "end" { right } else { tau }),
        probability::in_digits(policy.tau.ln()),
        policy.tau.ln()
    );
    let _ = write!(
        svg,
        r#"<text class="end soft" x="{}" y="{}">p_z of the best window under {}, stretched towards certainty</text></svg>"#,
        n(right),
        n(bottom + 38.0),
        escape::html(&policy.scheme_names())
    );
    Some(svg)
}

/// Draws one kind's items from `top` downwards and returns where they end.
fn row(svg: &mut String, top: f64, kind: Kind, items: &[(&ReportItem, f64)], axis: &Axis) -> f64 {
    let mut columns: Vec<Vec<&(&ReportItem, f64)>> = vec![Vec::new(); axis.columns()];
    for entry in items {
        if let Some(column) = columns.get_mut(axis.column(entry.1)) {
            column.push(entry);
        }
    }
    let tallest = columns.iter().map(Vec::len).max().unwrap_or_default();
    let height = (tallest.min(STACK) as f64 * DOT).max(3.0 * DOT);
    let base = top + height + if tallest > STACK { 12.0 } else { 0.0 };
    for (i, column) in columns.iter().enumerate() {
        let x = axis.middle(i);
        if tallest <= STACK {
            for (level, (item, value)) in column.iter().enumerate() {
                dot(svg, x, base - DOT / 2.0 - DOT * level as f64, item, *value);
            }
        } else if !column.is_empty() {
            let found = column
                .iter()
                .filter(|(item, _)| item.verdict.level.is_memorization())
                .count();
            let scale = height / tallest as f64;
            let (found, all) = (found as f64 * scale, column.len() as f64 * scale);
            for (class, low, high) in [("bin found", 0.0, found), ("bin", found, all)] {
                if high > low {
                    let (x, y, w, h) = (
                        n(x - DOT / 2.0),
                        n(base - high),
                        n(DOT - 1.0),
                        n(high - low),
                    );
                    let _ = write!(
                        svg,
                        r#"<rect class="{class}" x="{x}" y="{y}" width="{w}" height="{h}"/>"#
                    );
                }
            }
        }
    }
    if tallest > STACK {
        let peak = columns
            .iter()
            .position(|column| column.len() == tallest)
            .unwrap_or_default();
        let (x, y) = (n(axis.middle(peak)), n(base - height - 4.0));
        let _ = write!(
            svg,
            r#"<text class="mid soft small" x="{x}" y="{y}">{}</text>"#,
            samples::grouped(tallest as u64)
        );
    }
    let right = STRIP_LEFT + STRIP_WIDTH;
    let _ = write!(
        svg,
        r#"<line class="base" x1="{STRIP_LEFT}" x2="{}" y1="{1}" y2="{1}"/>"#,
        n(right),
        n(base)
    );
    let _ = write!(
        svg,
        r#"<text class="strong" x="0" y="{}">{}</text><text class="soft" x="0" y="{}">{}</text>"#,
        n(base - 15.0),
        words::kinds(kind),
        n(base - 1.0),
        words::count(items.len() as u64, "text")
    );
    base + 16.0
}

fn dot(svg: &mut String, x: f64, y: f64, item: &ReportItem, log_p_z: f64) {
    let level = item.verdict.level;
    let title = format!(
        "{}: {level}, p_z {}",
        escape::html(&item.id.0),
        probability::in_digits(log_p_z)
    );
    let class = match (item.kind, level) {
        (Kind::Control, Level::Clear) => "dot control".to_owned(),
        (_, level) => format!("dot {level}"),
    };
    let (x, y) = (n(x), n(y));
    let _ = write!(
        svg,
        r#"<circle class="{class}" cx="{x}" cy="{y}" r="2.7"><title>{title}</title></circle>"#
    );
}

/// From `ln p_z` to a place: 0 at the right end, the square root of `-ln p_z` to the left, and a column of its own
/// for what can't be sampled at all.
pub(super) struct Axis {
    /// The greatest finite `-ln p_z` that is drawn.
    span: f64,
    /// Where the finite part begins.
    left: f64,
    never: bool,
}

impl Axis {
    pub(super) fn over(values: impl Iterator<Item = f64>) -> Self {
        let (mut span, mut never) = (20.0_f64, false);
        for value in values {
            if value.is_finite() {
                span = span.max(-value * 1.02);
            } else {
                never = true;
            }
        }
        Self {
            span,
            left: if never {
                STRIP_LEFT + NEVER_WIDTH
            } else {
                STRIP_LEFT
            },
            never,
        }
    }

    pub(super) fn x(&self, log_p_z: f64) -> f64 {
        let right = STRIP_LEFT + STRIP_WIDTH;
        if log_p_z == f64::NEG_INFINITY {
            return STRIP_LEFT + NEVER_WIDTH / 2.0 - 8.0;
        }
        right - (right - self.left) * ((-log_p_z).max(0.0) / self.span).sqrt().min(1.0)
    }

    /// Where what can be sampled at all begins.
    pub(super) fn left(&self) -> f64 {
        self.left
    }

    pub(super) fn columns(&self) -> usize {
        (STRIP_WIDTH / DOT).ceil() as usize + 1
    }

    pub(super) fn column(&self, log_p_z: f64) -> usize {
        (((self.x(log_p_z) - STRIP_LEFT) / DOT).floor().max(0.0) as usize).min(self.columns() - 1)
    }

    pub(super) fn middle(&self, column: usize) -> f64 {
        STRIP_LEFT + (column as f64 + 0.5) * DOT
    }

    /// Powers of ten with room between them, from certain to impossible.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let mut ticks: Vec<(f64, String)> = Vec::new();
        for exponent in [
            0, 1, 3, 10, 20, 30, 50, 70, 100, 200, 300, 500, 1_000, 3_000, 10_000, 100_000,
        ] {
            let log_p_z = -f64::from(exponent) * std::f64::consts::LN_10;
            let x = self.x(log_p_z);
            let room = ticks.last().is_none_or(|(last, _)| last - x >= 44.0);
            if -log_p_z <= self.span && room {
                let label = match exponent {
                    0 => "1".to_owned(),
                    1 => "0.1".to_owned(),
                    _ => format!(r#"10<tspan class="sup" dy="-4">−{exponent}</tspan>"#),
                };
                ticks.push((x, label));
            }
        }
        if self.never {
            ticks.push((self.x(f64::NEG_INFINITY), "never".to_owned()));
        }
        ticks
    }
}

/// A text of `chars` characters as a bar, with its extracted spans and, below, the suffixes of the windows shown.
/// `label` says the same in words.
pub(super) fn spans(chars: u64, spans: &[Span], windows: &[(u64, u64)], label: &str) -> String {
    let place = |at: u64| 1000.0 * at.min(chars) as f64 / chars.max(1) as f64;
    let width = |from: u64, to: u64| (place(to) - place(from)).max(2.0);
    let mut svg = format!(
        r#"<svg class="spans" viewBox="0 0 1000 22" preserveAspectRatio="none" role="img" aria-label="{}"><rect class="track" x="0" y="0" width="1000" height="13"/>"#,
        escape::html(label)
    );
    for span in spans {
        let (x, w) = (
            n(place(span.start_char)),
            n(width(span.start_char, span.end_char)),
        );
        let _ = write!(
            svg,
            r#"<rect class="span" x="{x}" y="0" width="{w}" height="13"/>"#
        );
    }
    for &(from, to) in windows {
        let (x, w) = (n(place(from)), n((width(from, to) - 2.0).max(2.0)));
        let _ = write!(
            svg,
            r#"<rect class="window" x="{x}" y="17" width="{w}" height="4"/>"#
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Begins a chart. `described` says in words what it shows.
pub(super) fn open(
    width: f64,
    height: f64,
    name: &str,
    title: &str,
    described: Option<&str>,
) -> String {
    let (by, desc) = described.map_or_else(Default::default, |text| {
        let desc = format!(r#"<desc id="{name}-desc">{}</desc>"#, escape::html(text));
        (format!(r#" aria-describedby="{name}-desc""#), desc)
    });
    format!(
        r#"<svg class="chart {name}" viewBox="0 0 {} {}" width="{0}" height="{1}" role="img" aria-labelledby="{name}-title"{by}><title id="{name}-title">{title}</title>{desc}"#,
        n(width),
        n(height)
    )
}

/// A rate with the ends of its interval, on an axis from 0 to 1. The numbers stand beside it.
pub(super) fn interval(lower: f64, at: f64, upper: f64) -> String {
    let x = |share: f64| n(3.0 + 94.0 * share.clamp(0.0, 1.0));
    let (lower, at, upper) = (x(lower), x(at), x(upper));
    format!(
        r#"<svg class="interval" viewBox="0 0 100 14" width="100" height="14" aria-hidden="true" focusable="false"><line class="base" x1="3" x2="97" y1="7" y2="7"/><line class="range" x1="{lower}" x2="{upper}" y1="7" y2="7"/><path class="range" d="M{lower} 3v8M{upper} 3v8"/><circle class="at" cx="{at}" cy="7" r="3"/></svg>"#
    )
}

/// One decimal at most, and no negative zero.
pub(super) fn n(x: f64) -> String {
    let digits = format!("{x:.1}");
    let digits = digits.strip_suffix(".0").unwrap_or(&digits);
    if digits == "-0" {
        "0".to_owned()
    } else {
        digits.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn numbers_are_short_and_have_no_negative_zero() {
        for (x, expected) in [
            (0.0, "0"),
            (-0.04, "0"),
            (12.0, "12"),
            (1.25, "1.2"),
            (-3.16, "-3.2"),
        ] {
            assert_eq!(n(x), expected);
        }
    }

    #[test]
    fn the_axis_runs_from_never_to_certain() {
        let axis = Axis::over([-200.0, f64::NEG_INFINITY, -1.0].into_iter());
        let places = [f64::NEG_INFINITY, -200.0, -50.0, -6.9, -0.1, 0.0].map(|value| axis.x(value));
        assert!(places.is_sorted(), "{places:?}");
        assert!(
            axis.x(-1e9) >= STRIP_LEFT + NEVER_WIDTH,
            "what is finite never looks impossible"
        );
        assert!((axis.x(0.0) - (STRIP_LEFT + STRIP_WIDTH)).abs() < 1e-9);
        assert!(axis.column(0.0) < axis.columns());
    }

    #[test]
    fn every_measured_item_is_one_dot_and_the_unmeasured_are_none() {
        let mut report = fixture::report();
        // Under greedy decoding so many canaries are certain that they make a histogram.
        report.policy.schemes.retain(|scheme| scheme.id != "greedy");
        let svg = distribution(&report).unwrap();
        let dotted = report
            .items
            .iter()
            .filter(|item| item.kind != Kind::Control && item.evidence.scored() > 0);
        let measured = dotted.count();
        assert_eq!(svg.matches("<circle").count(), measured);
        assert!(!svg.contains("too-short"));
        assert!(distribution(&fixture::empty()).is_none());
    }

    #[test]
    fn crowded_rows_become_histograms() {
        let mut report = fixture::report();
        let one = report.items[3].clone();
        report.items.extend(std::iter::repeat_n(one, 10_000));
        let svg = distribution(&report).unwrap();
        assert!(svg.contains("class=\"bin"));
        assert!(svg.len() < 100_000, "{}", svg.len());
    }

    #[test]
    fn recall_has_a_column_for_every_count_of_copies() {
        let report = fixture::report();
        let svg = recall(&report.summary.recall).unwrap();
        assert_eq!(svg.matches("class=\"bar\"").count(), 7);
        assert!(svg.contains(">10/10<") && svg.contains(">64×<"));
        assert!(recall(&[]).is_none());
    }
}
