//! The charts of the HTML report: canaries found, the best window of every item, and the small bars beside texts and rates.

use crate::items::Kind;
use crate::metric::item::Span;
use crate::metric::{probability, samples};
use crate::policy::{Level, Policy};
use crate::report::svg::{Frame, Label, Svg, n};
use crate::report::{Recall, Report, ReportItem, order, words};

/// Canaries found by how often they were planted. `None` without canaries.
pub(super) fn recall(entries: &[Recall]) -> Option<String> {
    const STEP: f64 = 66.0;
    const BAR: f64 = 40.0;
    if entries.is_empty() {
        return None;
    }
    let (left, top, bottom) = (46.0, 26.0, 176.0);
    let right = left + STEP * entries.len() as f64;
    let frame = Frame::new((left, right), (top, bottom));
    let size = (right + 6.0, bottom + 44.0);
    let mut svg = Svg::chart("recall", size, "Canaries found by copies in training", None);
    let y = |percent: i32| bottom - frame.height() * f64::from(percent) / 100.0;
    let ticks = [0, 50, 100].map(|percent| (y(percent), Label::Text(format!("{percent}%"))));
    frame.y_grid(&mut svg, &ticks);
    for (i, entry) in entries.iter().enumerate() {
        let x = left + STEP * i as f64 + (STEP - BAR) / 2.0;
        let part = |count: u64| frame.height() * count as f64 / entry.items.max(1) as f64;
        let mut bar = |class: &str, from: f64, height: f64| {
            svg.rect(class, (x, bottom - from - height), (BAR, height));
        };
        let (found, undecided) = (part(entry.found), part(entry.inconclusive));
        bar("bar", 0.0, found);
        bar("bar cheap", 0.0, part(entry.extractable));
        if entry.inconclusive > 0 {
            bar("undecided", found, undecided);
        }
        let middle = x + BAR / 2.0;
        let above = bottom - found - undecided - 6.0;
        svg.text(
            "mid strong",
            (middle, above),
            &format!("{}/{}", entry.found, entry.items),
        );
        svg.text(
            "mid",
            (middle, bottom + 17.0),
            &words::repetitions(entry.repetitions),
        );
    }
    svg.text(
        "mid soft",
        (f64::midpoint(left, right), bottom + 37.0),
        "copies in training; full colour: extractable within the sample budget",
    );
    Some(svg.finish())
}

pub(super) const DOT: f64 = 7.0;
/// A row with more dots in one column becomes a histogram.
const STACK: usize = 14;
/// Room for the names of the rows.
pub(super) const STRIP_LEFT: f64 = 118.0;
pub(super) const STRIP_WIDTH: f64 = 640.0;
pub(super) const STRIP_RIGHT: f64 = STRIP_LEFT + STRIP_WIDTH;
const NEVER_WIDTH: f64 = 58.0;

/// Every item's best window under the policy's scheme, by kind, on an axis from impossible to certain; with the sample
/// budget. `None` if nothing was scored.
pub(super) fn distribution(report: &Report) -> Option<String> {
    let policy = &report.policy;
    let rows: Vec<(Kind, Vec<(&ReportItem, f64)>)> = words::KINDS
        .into_iter()
        .map(|kind| (kind, best_windows(report, kind).collect::<Vec<_>>()))
        .filter(|(_, items)| !items.is_empty())
        .collect();
    if rows.is_empty() {
        return None;
    }
    let values = rows
        .iter()
        .flat_map(|(_, items)| items.iter().map(|(_, value)| *value));
    let axis = Axis::over(values);
    let layout = rows.iter().map(|(_, items)| Row::new(items, &axis));
    let layout: Vec<Row<'_>> = layout.collect();
    let bottom = 38.0 + layout.iter().map(Row::height).sum::<f64>();
    let frame = Frame::new((STRIP_LEFT, STRIP_RIGHT), (22.0, bottom));
    let mut svg = Svg::chart(
        "strip",
        (STRIP_RIGHT + 14.0, bottom + 46.0),
        "Best window of every item, by kind, on the probability axis",
        None,
    );
    within_budget(&mut svg, policy, &axis, frame);
    frame.x_grid(&mut svg, &axis.ticks());
    let mut top = 34.0;
    for ((kind, items), row) in rows.iter().zip(&layout) {
        row.draw(&mut svg, top, &axis);
        let base = top + row.height() - 16.0;
        svg.horizontal("base", frame.columns(), base);
        svg.text("strong", (0.0, base - 15.0), words::kinds(*kind));
        svg.text(
            "soft",
            (0.0, base - 1.0),
            &words::count(items.len() as u64, "text"),
        );
        top += row.height();
    }
    let ln_tau = policy.tau.ln();
    let label = format!(
        "sample budget: p_z = {} (ln {ln_tau:.2})",
        probability::in_digits(ln_tau)
    );
    budget_line(&mut svg, policy, &axis, (18.0, bottom), &label);
    let below = format!(
        "p_z of the best window under {}, stretched towards certainty",
        policy.scheme_names()
    );
    svg.text("end soft", (STRIP_RIGHT, bottom + 38.0), &below);
    Some(svg.finish())
}

/// The items of a kind with `ln p_z` of their best windows, the worst first.
pub(super) fn best_windows(
    report: &Report,
    kind: Kind,
) -> impl Iterator<Item = (&ReportItem, f64)> {
    order::worst_first(report, kind)
        .into_iter()
        .filter_map(|item| {
            let log_p_z = order::best_log_p_z(&report.policy, item)?;
            (!log_p_z.is_nan()).then_some((item, log_p_z))
        })
}

/// The area of windows that cost less than the sample budget.
pub(super) fn within_budget(svg: &mut Svg, policy: &Policy, axis: &Axis, frame: Frame) {
    let tau = axis.x(policy.tau.ln());
    let size = ((frame.right - tau).max(0.0), frame.height());
    svg.rect("within", (tau, frame.top), size);
}

/// The sample budget as a line with a label above it, on the side where there is room.
pub(super) fn budget_line(
    svg: &mut Svg,
    policy: &Policy,
    axis: &Axis,
    rows: (f64, f64),
    label: &str,
) {
    let tau = axis.x(policy.tau.ln());
    svg.vertical("tau", tau, rows);
    if tau > STRIP_LEFT + STRIP_WIDTH / 2.0 {
        svg.text("end tau-label", (STRIP_RIGHT, 13.0), label);
    } else {
        svg.text("start tau-label", (tau, 13.0), label);
    }
}

/// One kind's items in columns along the axis.
struct Row<'a> {
    columns: Vec<Vec<&'a (&'a ReportItem, f64)>>,
    tallest: usize,
}

impl<'a> Row<'a> {
    fn new(items: &'a [(&'a ReportItem, f64)], axis: &Axis) -> Self {
        let mut columns = vec![Vec::new(); axis.columns()];
        for entry in items {
            if let Some(column) = columns.get_mut(axis.column(entry.1)) {
                column.push(entry);
            }
        }
        let tallest = columns.iter().map(Vec::len).max().unwrap_or_default();
        Self { columns, tallest }
    }

    fn is_histogram(&self) -> bool {
        self.tallest > STACK
    }

    fn plot_height(&self) -> f64 {
        (self.tallest.min(STACK) as f64 * DOT).max(3.0 * DOT)
    }

    /// With the room above a histogram and below the base line.
    fn height(&self) -> f64 {
        self.plot_height() + if self.is_histogram() { 12.0 } else { 0.0 } + 16.0
    }

    fn draw(&self, svg: &mut Svg, top: f64, axis: &Axis) {
        let base = top + self.height() - 16.0;
        for (i, column) in self.columns.iter().enumerate() {
            let x = axis.middle(i);
            if self.is_histogram() {
                self.bin(svg, (x, base), column);
                continue;
            }
            for (level, (item, log_p_z)) in column.iter().enumerate() {
                dot(
                    svg,
                    (x, base - DOT / 2.0 - DOT * level as f64),
                    item,
                    *log_p_z,
                );
            }
        }
        if self.is_histogram() {
            let peak = self
                .columns
                .iter()
                .position(|column| column.len() == self.tallest);
            let at = (
                axis.middle(peak.unwrap_or_default()),
                base - self.plot_height() - 4.0,
            );
            svg.text("mid soft small", at, &samples::grouped(self.tallest as u64));
        }
    }

    /// A column of a histogram, memorized items at the bottom.
    fn bin(&self, svg: &mut Svg, (x, base): (f64, f64), column: &[&(&ReportItem, f64)]) {
        let found = column
            .iter()
            .filter(|(item, _)| item.verdict.level.is_memorization())
            .count();
        let scale = self.plot_height() / self.tallest as f64;
        let (found, all) = (found as f64 * scale, column.len() as f64 * scale);
        for (class, low, high) in [("bin found", 0.0, found), ("bin", found, all)] {
            if high > low {
                svg.rect(class, (x - DOT / 2.0, base - high), (DOT - 1.0, high - low));
            }
        }
    }
}

fn dot(svg: &mut Svg, at: (f64, f64), item: &ReportItem, log_p_z: f64) {
    let level = item.verdict.level;
    let title = format!(
        "{}: {level}, p_z {}",
        item.id,
        probability::in_digits(log_p_z)
    );
    let class = match (item.kind, level) {
        (Kind::Control, Level::Clear) => "dot control".to_owned(),
        (_, level) => format!("dot {level}"),
    };
    svg.circle(&class, at, 2.7, Some(&title));
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
        if log_p_z == f64::NEG_INFINITY {
            return STRIP_LEFT + NEVER_WIDTH / 2.0 - 8.0;
        }
        STRIP_RIGHT - (STRIP_RIGHT - self.left) * ((-log_p_z).max(0.0) / self.span).sqrt().min(1.0)
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
    pub(super) fn ticks(&self) -> Vec<(f64, Label)> {
        let mut ticks: Vec<(f64, Label)> = Vec::new();
        for exponent in [
            0, 1, 3, 10, 20, 30, 50, 70, 100, 200, 300, 500, 1_000, 3_000, 10_000, 100_000,
        ] {
            let log_p_z = -f64::from(exponent) * std::f64::consts::LN_10;
            let x = self.x(log_p_z);
            let room = ticks.last().is_none_or(|(last, _)| last - x >= 44.0);
            if -log_p_z <= self.span && room {
                ticks.push((x, Label::probability(exponent, 1)));
            }
        }
        if self.never {
            ticks.push((self.x(f64::NEG_INFINITY), Label::Text("never".to_owned())));
        }
        ticks
    }
}

/// A text of `chars` characters as a bar, with its extracted spans and, below, the suffixes of the windows shown.
/// `label` says the same in words.
pub(super) fn spans(chars: u64, spans: &[Span], windows: &[(u64, u64)], label: &str) -> String {
    let place = |at: u64| 1000.0 * at.min(chars) as f64 / chars.max(1) as f64;
    let width = |from: u64, to: u64| (place(to) - place(from)).max(2.0);
    let mut svg = Svg::bar("spans", 22.0, label);
    svg.rect("track", (0.0, 0.0), (1000.0, 13.0));
    for span in spans {
        let (from, to) = (span.start_char, span.end_char);
        svg.rect("span", (place(from), 0.0), (width(from, to), 13.0));
    }
    for &(from, to) in windows {
        let width = (width(from, to) - 2.0).max(2.0);
        svg.rect("window", (place(from), 17.0), (width, 4.0));
    }
    svg.finish()
}

/// A rate with the ends of its interval, on an axis from 0 to 1. The text beside it has the numbers.
pub(super) fn interval(lower: f64, at: f64, upper: f64) -> String {
    let x = |share: f64| 3.0 + 94.0 * share.clamp(0.0, 1.0);
    let (lower, at, upper) = (x(lower), x(at), x(upper));
    let mut svg = Svg::decoration("interval", (100.0, 14.0));
    svg.horizontal("base", (3.0, 97.0), 7.0);
    svg.horizontal("range", (lower, upper), 7.0);
    svg.path(
        "range",
        &format!("M{} 3v8M{} 3v8", n(lower), n(upper)),
        None,
    );
    svg.circle("at", (at, 7.0), 3.0, None);
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

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
