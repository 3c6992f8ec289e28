//! Validity by cost: every item by the probability of its best window and by its p-value. A mark's shape
//! shows the verdict, its position shows why.

use super::chart::{Axis, DOT, STRIP_LEFT, STRIP_RIGHT, best_windows, budget_line, within_budget};
use crate::items::Kind;
use crate::metric::{probability, samples};
use crate::policy::Level;
use crate::report::svg::{Frame, Label, Svg};
use crate::report::{Report, ReportItem, words};
use crate::verdict::Validity;
use std::collections::BTreeMap;
use std::f64::consts::LN_10;

const TOP: f64 = 34.0;
const HEIGHT: f64 = 270.0;
const BOTTOM: f64 = TOP + HEIGHT;
/// Height of the band of controls below.
const BAND: f64 = 34.0;
/// Marks of one verdict within one square of this size are drawn once.
const CELL: f64 = 5.0;
/// Marks of at least this many texts have their number beside them.
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
    // Opted-out texts come last and so are on top.
    let points: Vec<Point<'_>> = best_windows(report, Kind::Canary)
        .chain(best_windows(report, Kind::OptOut))
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
    let controls: Vec<f64> = best_windows(report, Kind::Control)
        .map(|(_, log_p_z)| log_p_z)
        .collect();
    let axis = Axis::over(
        points
            .iter()
            .map(|point| point.log_p_z)
            .chain(controls.iter().copied()),
    );
    let scale = Scale::over(&points);
    let end = BOTTOM + if controls.is_empty() { 0.0 } else { BAND };
    let frame = Frame::new((STRIP_LEFT, STRIP_RIGHT), (TOP, end));
    let mut svg = Svg::chart(
        "scatter",
        (frame.right + 14.0, end + 46.0),
        "Validity by cost: every item by its best window and its p-value",
        Some(&described(report, &points)),
    );
    within_budget(&mut svg, policy, &axis, frame);
    frame.x_grid(&mut svg, &axis.ticks());
    frame.y_grid(&mut svg, &scale.ticks());
    svg.text("soft", (0.0, TOP + 4.0), "p-value");
    svg.text("soft small", (0.0, TOP + 19.0), "up: likelier");
    svg.text("soft small", (0.0, TOP + 31.0), "than controls");
    let left = axis.left() + 8.0;
    let cut = scale.cut(&points);
    quadrants(&mut svg, left, axis.x(policy.tau.ln()), cut);
    band(&mut svg, &controls, &axis, frame);
    if let Some(cut) = cut {
        svg.horizontal("cut-line", frame.columns(), cut);
        let label = format!(
            "above: significant at a false discovery rate of {}",
            words::share(policy.q)
        );
        svg.text("small soft", (left, cut + 13.0), &label);
    }
    let ln_tau = policy.tau.ln();
    let label = format!(
        "sample budget: p_z = {}, {} for an even chance",
        probability::in_digits(ln_tau),
        samples::in_words(ln_tau, 0.5)
    );
    budget_line(&mut svg, policy, &axis, (TOP - 14.0, end), &label);
    marks(&mut svg, &points, &axis, &scale);
    let below = format!(
        "p_z of the best window under {}, stretched towards certainty; right: cheaper",
        policy.scheme_names()
    );
    svg.text("end soft", (frame.right, end + 38.0), &below);
    Some(svg.finish())
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
        "{} with a p-value: {}. The table of items holds the same in numbers. {} are a band below.",
        words::count(points.len() as u64, "text"),
        levels.join(", "),
        words::run::of_kind(report.summary.controls.items, Kind::Control)
    )
}

/// The verdict of each corner. Without a cut nothing is significant, and there are no upper corners.
fn quadrants(svg: &mut Svg, left: f64, tau: f64, cut: Option<f64>) {
    let (right, bottom) = (STRIP_RIGHT - 8.0, BOTTOM - 8.0);
    let mut label = |level: Level, x: f64, y: f64, anchor: &str| {
        svg.text(
            &format!("quadrant {anchor} {level}"),
            (x, y),
            &level.to_string(),
        );
    };
    if cut.is_some() {
        label(Level::Memorized, left, TOP + 15.0, "start");
        label(Level::Extractable, right, TOP + 15.0, "end");
    }
    if tau > left + 60.0 {
        label(Level::Clear, left, bottom, "start");
    }
    label(Level::Predictable, right, bottom, "end");
}

/// The controls along the axis of cost, as a histogram.
fn band(svg: &mut Svg, controls: &[f64], axis: &Axis, frame: Frame) {
    let base = frame.bottom;
    for y in [BOTTOM, base] {
        svg.horizontal("base", frame.columns(), y);
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
        let at = (axis.middle(i) - DOT / 2.0, base - height);
        svg.rect("bin", at, (DOT - 1.0, height));
    }
    svg.text("strong", (0.0, base - 17.0), "Controls");
    svg.text(
        "soft",
        (0.0, base - 3.0),
        &words::count(controls.len() as u64, "text"),
    );
}

/// One mark per square and verdict: the icon of the verdict, smaller for canaries only, with a number if it counts many texts.
fn marks(svg: &mut Svg, points: &[Point<'_>], axis: &Axis, scale: &Scale) {
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
            .map(|point| point.item.id.to_string())
            .collect();
        if points.len() > NAMED {
            names.push(format!(
                "{} more",
                samples::grouped((points.len() - NAMED) as u64)
            ));
        }
        let title = format!(
            "{}: {level}, p_z {}, p {}",
            names.join(", "),
            probability::in_digits(first.log_p_z),
            probability::in_digits(p.ln())
        );
        let look = (format!("point {level}"), format!("i-{level}"));
        svg.symbol((&look.0, &look.1), (x, y), side, &title);
        if points.len() >= COUNTED {
            let count = samples::grouped(points.len() as u64);
            svg.text("end small strong", (x - side / 2.0 - 3.0, y + 4.0), &count);
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

    /// The height of the greatest significant p-value, with room for its marks; `None` if none is significant.
    fn cut(&self, points: &[Point<'_>]) -> Option<f64> {
        let significant = points.iter().filter(|point| point.validity.significant);
        let greatest = significant
            .map(|point| point.validity.effective_p())
            .reduce(f64::max)?;
        Some((self.y(greatest) + 9.0).min(TOP + HEIGHT))
    }

    /// Powers of ten with room between them, from 1 upwards.
    fn ticks(&self) -> Vec<(f64, Label)> {
        let mut ticks: Vec<(f64, Label)> = Vec::new();
        for exponent in [0, 1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 100, 200] {
            let ln = -f64::from(exponent) * LN_10;
            let y = TOP + HEIGHT * (1.0 - ln / self.floor);
            if ln >= self.floor && ticks.last().is_none_or(|(last, _)| last - y >= 24.0) {
                ticks.push((y, Label::probability(exponent, 2)));
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
