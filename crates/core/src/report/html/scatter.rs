//! Validity by cost: every item by the probability of its best window and by its p-value, as inline SVG. A mark's shape
//! says the verdict; where it stands says why.

use super::chart::{Axis, DOT, STRIP_LEFT, STRIP_WIDTH, n, open};
use crate::items::Kind;
use crate::metric::{probability, samples};
use crate::policy::Level;
use crate::report::{Report, ReportItem, escape, order, words};
use crate::verdict::Validity;
use std::collections::BTreeMap;
use std::f64::consts::LN_10;
use std::fmt::Write as _;

const TOP: f64 = 34.0;
const HEIGHT: f64 = 270.0;
/// Height of the band of controls below.
const BAND: f64 = 34.0;
/// Marks of one verdict that would stand in one square of this size are drawn once.
const CELL: f64 = 5.0;
/// From so many texts on their number stands beside their mark.
const COUNTED: usize = 10;
/// Ids that a mark names.
const NAMED: usize = 5;

struct Point<'a> {
    item: &'a ReportItem,
    log_p_z: f64,
    validity: Validity,
}

/// `None` where no item has a p-value: then there is only one axis.
pub(super) fn scatter(report: &Report) -> Option<String> {
    let policy = &report.policy;
    let best = |item| order::best_log_p_z(policy, item).filter(|log_p_z: &f64| !log_p_z.is_nan());
    let of_kind = |kind| {
        order::worst_first(report, kind)
            .into_iter()
            .filter_map(move |item| Some((item, best(item)?)))
    };
    // Opted-out texts come last and so stand on top.
    let points: Vec<Point<'_>> = of_kind(Kind::Canary)
        .chain(of_kind(Kind::OptOut))
        .filter_map(|(item, log_p_z)| {
            Some(Point {
                item,
                log_p_z,
                validity: item.verdict.validity?,
            })
        })
        .collect();
    if points.is_empty() {
        return None;
    }
    let controls: Vec<f64> = of_kind(Kind::Control).map(|(_, log_p_z)| log_p_z).collect();
    let axis = Axis::over(
        points
            .iter()
            .map(|point| point.log_p_z)
            .chain(controls.iter().copied()),
    );
    let scale = Scale::over(&points);
    let right = STRIP_LEFT + STRIP_WIDTH;
    let bottom = TOP + HEIGHT;
    let end = bottom + if controls.is_empty() { 0.0 } else { BAND };
    let tau = axis.x(policy.tau.ln());
    let cut = scale.cut(&points);

    let mut svg = open(
        right + 14.0,
        end + 46.0,
        "scatter",
        "Validity by cost: every item by its best window and its p-value",
        Some(&described(report, &points)),
    );
    let _ = write!(
        svg,
        r#"<rect class="within" x="{}" y="{TOP}" width="{}" height="{}"/>"#,
        n(tau),
        n((right - tau).max(0.0)),
        n(end - TOP)
    );
    for (x, label) in axis.ticks() {
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{0}" x2="{0}" y1="{TOP}" y2="{1}"/>"#,
            n(x),
            n(end)
        );
        let _ = write!(
            svg,
            r#"<text class="mid" x="{}" y="{}">{label}</text>"#,
            n(x),
            n(end + 17.0)
        );
    }
    for (y, label) in scale.ticks() {
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{}" x2="{}" y1="{2}" y2="{2}"/>"#,
            n(STRIP_LEFT),
            n(right),
            n(y)
        );
        let _ = write!(
            svg,
            r#"<text class="end" x="{}" y="{}">{label}</text>"#,
            n(STRIP_LEFT - 8.0),
            n(y + 4.0)
        );
    }
    let _ = write!(
        svg,
        r#"<text class="soft" x="0" y="{}">p-value</text><text class="soft small" x="0" y="{}">up: likelier</text><text class="soft small" x="0" y="{}">than controls</text>"#,
        n(TOP + 4.0),
        n(TOP + 19.0),
        n(TOP + 31.0)
    );
    let left = axis.left() + 8.0;
    quadrants(&mut svg, left, tau, cut);
    band(&mut svg, &controls, &axis, end);
    if let Some(cut) = cut {
        let _ = write!(
            svg,
            r#"<line class="cut-line" x1="{}" x2="{}" y1="{2}" y2="{2}"/>"#,
            n(STRIP_LEFT),
            n(right),
            n(cut)
        );
        let _ = write!(
            svg,
            r#"<text class="small soft" x="{}" y="{}">above: stands at a false discovery rate of {}</text>"#,
            n(left),
            n(cut + 13.0),
            words::share(policy.q)
        );
    }
    let _ = write!(
        svg,
        r#"<line class="tau" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>"#,
        n(tau),
        n(TOP - 14.0),
        n(end)
    );
    let (anchor, at) = if tau > STRIP_LEFT + STRIP_WIDTH / 2.0 {
        ("end", right)
    } else {
        ("start", tau)
    };
    let _ = write!(
        svg,
        r#"<text class="{anchor} tau-label" x="{}" y="13">sample budget: p_z = {}, {} for an even chance</text>"#,
        n(at),
        probability::in_digits(policy.tau.ln()),
        samples::in_words(policy.tau.ln(), 0.5)
    );
    marks(&mut svg, &points, &axis, &scale);
    let _ = write!(
        svg,
        r#"<text class="end soft" x="{}" y="{}">p_z of the best window under {}, stretched towards certainty; right: cheaper</text></svg>"#,
        n(right),
        n(end + 38.0),
        escape::html(&policy.scheme_names())
    );
    Some(svg)
}

/// The picture in words.
fn described(report: &Report, points: &[Point<'_>]) -> String {
    let count = |level| {
        points
            .iter()
            .filter(|point| point.item.verdict.level == level)
            .count()
    };
    let levels: Vec<String> = words::LEVELS
        .map(|level| format!("{} {level}", count(level)))
        .into();
    format!(
        "{} with a p-value: {}. The table of items holds the same in numbers. {} stand as a band below.",
        words::count(points.len() as u64, "text"),
        levels.join(", "),
        words::run::of_kind(report.summary.controls.items, Kind::Control)
    )
}

/// What it means to stand in a corner. Without a cut nothing stands, and there are no upper corners.
fn quadrants(svg: &mut String, left: f64, tau: f64, cut: Option<f64>) {
    let right = STRIP_LEFT + STRIP_WIDTH;
    let bottom = TOP + HEIGHT - 8.0;
    let mut label = |level: Level, x: f64, y: f64, anchor: &str| {
        let _ = write!(
            svg,
            r#"<text class="quadrant {anchor} {level}" x="{}" y="{}">{level}</text>"#,
            n(x),
            n(y)
        );
    };
    if cut.is_some() {
        label(Level::Memorized, left, TOP + 15.0, "start");
        label(Level::Extractable, right - 8.0, TOP + 15.0, "end");
    }
    if tau > left + 60.0 {
        label(Level::Clear, left, bottom, "start");
    }
    label(Level::Predictable, right - 8.0, bottom, "end");
}

/// The controls along the axis of cost, as a histogram.
fn band(svg: &mut String, controls: &[f64], axis: &Axis, base: f64) {
    let right = STRIP_LEFT + STRIP_WIDTH;
    for y in [TOP + HEIGHT, base] {
        let _ = write!(
            svg,
            r#"<line class="base" x1="{}" x2="{}" y1="{2}" y2="{2}"/>"#,
            n(STRIP_LEFT),
            n(right),
            n(y)
        );
    }
    if controls.is_empty() {
        return;
    }
    let mut columns = vec![0_u64; axis.columns()];
    for log_p_z in controls {
        if let Some(count) = columns.get_mut(axis.column(*log_p_z)) {
            *count += 1;
        }
    }
    let tallest = columns.iter().max().copied().unwrap_or(1).max(1) as f64;
    for (i, &count) in columns.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (count as f64 / tallest * (BAND - 8.0)).max(1.5);
        let _ = write!(
            svg,
            r#"<rect class="bin" x="{}" y="{}" width="{}" height="{}"/>"#,
            n(axis.middle(i) - DOT / 2.0),
            n(base - height),
            n(DOT - 1.0),
            n(height)
        );
    }
    let _ = write!(
        svg,
        r#"<text class="strong" x="0" y="{}">Controls</text><text class="soft" x="0" y="{}">{}</text>"#,
        n(base - 17.0),
        n(base - 3.0),
        words::count(controls.len() as u64, "text")
    );
}

/// One mark a square and verdict: the icon of the verdict, smaller where only canaries stand, with a number where many do.
fn marks(svg: &mut String, points: &[Point<'_>], axis: &Axis, scale: &Scale) {
    let mut cells: BTreeMap<(i64, i64, Level), Vec<&Point<'_>>> = BTreeMap::new();
    // Opted-out texts first: they give a mark its place and name.
    for point in points.iter().rev() {
        let (x, y) = (axis.x(point.log_p_z), scale.y(point.validity.effective_p()));
        let key = (
            (x / CELL).round() as i64,
            (y / CELL).round() as i64,
            point.item.verdict.level,
        );
        cells.entry(key).or_default().push(point);
    }
    for ((_, _, level), points) in &cells {
        let Some(first) = points.first() else {
            continue;
        };
        let p = first.validity.effective_p();
        let (x, y) = (axis.x(first.log_p_z), scale.y(p));
        let side = if first.item.kind == Kind::OptOut {
            13.0
        } else {
            8.0
        };
        let mut names: Vec<String> = points
            .iter()
            .take(NAMED)
            .map(|point| escape::html(&point.item.id.0))
            .collect();
        if points.len() > NAMED {
            names.push(format!(
                "{} more",
                samples::grouped((points.len() - NAMED) as u64)
            ));
        }
        let _ = write!(
            svg,
            r##"<use class="point {level}" href="#i-{level}" x="{}" y="{}" width="{}" height="{2}"><title>{}: {level}, p_z {}, p {}</title></use>"##,
            n(x - side / 2.0),
            n(y - side / 2.0),
            n(side),
            names.join(", "),
            probability::in_digits(first.log_p_z),
            probability::in_digits(p.ln())
        );
        if points.len() >= COUNTED {
            let count = samples::grouped(points.len() as u64);
            let (x, y) = (n(x - side / 2.0 - 3.0), n(y + 4.0));
            let _ = write!(
                svg,
                r#"<text class="end small strong" x="{x}" y="{y}">{count}</text>"#
            );
        }
    }
}

/// From a p-value to a height: 1 at the bottom, the logarithm upwards.
struct Scale {
    /// `ln` of the least p-value that is drawn; below 0.
    floor: f64,
}

impl Scale {
    fn over(points: &[Point<'_>]) -> Self {
        let ps = points
            .iter()
            .flat_map(|point| [point.validity.effective_p(), point.validity.smallest_p]);
        let least = ps.filter(|p| *p > 0.0).map(f64::ln).fold(-LN_10, f64::min);
        Self {
            floor: least * 1.12,
        }
    }

    fn y(&self, p: f64) -> f64 {
        let ln = p.ln();
        TOP + HEIGHT * (1.0 - (ln / self.floor).clamp(0.0, 1.0))
    }

    /// Where the greatest p-value that stands is, with room for its marks; `None` if none stands.
    fn cut(&self, points: &[Point<'_>]) -> Option<f64> {
        let standing = points.iter().filter(|point| point.validity.significant);
        let greatest = standing
            .map(|point| point.validity.effective_p())
            .reduce(f64::max)?;
        Some((self.y(greatest) + 9.0).min(TOP + HEIGHT))
    }

    /// Powers of ten with room between them, from 1 upwards.
    fn ticks(&self) -> Vec<(f64, String)> {
        let mut ticks: Vec<(f64, String)> = Vec::new();
        for exponent in [0, 1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 100, 200] {
            let ln = -f64::from(exponent) * LN_10;
            let y = TOP + HEIGHT * (1.0 - ln / self.floor);
            if ln >= self.floor && ticks.last().is_none_or(|(last, _)| last - y >= 24.0) {
                let label = match exponent {
                    0 => "1".to_owned(),
                    1 => "0.1".to_owned(),
                    2 => "0.01".to_owned(),
                    _ => format!(r#"10<tspan class="sup" dy="-4">−{exponent}</tspan>"#),
                };
                ticks.push((y, label));
            }
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn every_level_is_a_shape_of_its_own_in_its_corner() {
        let svg = scatter(&fixture::report()).unwrap();
        for level in [Level::Extractable, Level::Memorized, Level::Clear] {
            assert!(svg.contains(&format!("href=\"#i-{level}\"")), "{level}");
        }
        for corner in [
            ">extractable</text>",
            ">memorized</text>",
            ">predictable</text>",
            ">clear</text>",
        ] {
            assert_eq!(svg.matches(corner).count(), 1, "{corner}");
        }
        assert!(
            svg.contains("<title id=\"scatter-title\">")
                && svg.contains("<desc id=\"scatter-desc\">")
        );
        assert!(!svg.contains("<script>"), "ids are escaped");
    }

    #[test]
    fn smaller_p_values_stand_higher_and_none_leaves_the_picture() {
        let scale = Scale { floor: -20.0 };
        let heights = [0.0, 1e-12, 1e-6, 0.005, 0.3, 1.0].map(|p| scale.y(p));
        assert!(heights.is_sorted(), "{heights:?}");
        assert_eq!((heights[0], heights[5]), (TOP, TOP + HEIGHT));
    }

    #[test]
    fn without_p_values_there_is_no_second_axis_and_without_findings_no_cut() {
        let mut report = fixture::report();
        for validity in report
            .items
            .iter_mut()
            .filter_map(|item| item.verdict.validity.as_mut())
        {
            validity.significant = false;
        }
        let svg = scatter(&report).unwrap();
        assert!(!svg.contains("cut-line") && !svg.contains(">memorized</text>"));
        report
            .items
            .iter_mut()
            .for_each(|item| item.verdict.validity = None);
        assert!(scatter(&report).is_none());
        assert!(scatter(&fixture::empty()).is_none());
    }

    #[test]
    fn ten_thousand_items_stay_a_small_picture() {
        let mut report = fixture::report();
        let found = report.items[0].clone();
        for n in 0..10_000 {
            let mut item = found.clone();
            if let Some(validity) = &mut item.verdict.validity {
                validity.tail = None;
                validity.p_value = f64::from(n + 1) / 10_000.0;
            }
            report.items.push(item);
        }
        let svg = scatter(&report).unwrap();
        assert!(svg.len() < 200_000, "{}", svg.len());
        assert!(svg.contains(" more: extractable"));
    }
}
