//! Growth: lines over an axis of ever longer prefixes or ever larger models.

use crate::report::page;
use crate::report::svg::{Frame, Label, Svg, n};

const SIZE: (f64, f64) = (380.0, 258.0);
const FRAME: Frame = Frame::new((50.0, 364.0), (14.0, 214.0));
/// Room between two labels below the axis.
const APART: f64 = 38.0;
/// Lines in one chart: as many as there are colours and marks.
pub(super) const LINES: usize = 6;

/// The vertical axis.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Upwards {
    /// From 0 to 1.
    Share,
    /// `ln p`, from the least value up to 0.
    Nats,
}

impl Upwards {
    fn label(self, tick: f64) -> String {
        match self {
            Self::Share => format!("{:.0}%", tick * 100.0),
            Self::Nats if tick < 0.0 => format!("−{:.0}", -tick),
            Self::Nats => format!("{tick:.0}"),
        }
    }
}

/// A position on the axis with its label, and a height with its number in words.
pub(super) type Point = (f64, String, Option<(f64, String)>);

/// One line. Infinite values aren't drawn.
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
    let (inner_left, inner_right) = (FRAME.left + 16.0, FRAME.right - 16.0);
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
    let y =
        |value: f64| FRAME.bottom - (value.clamp(low, high) - low) / (high - low) * FRAME.height();
    let label = format!("{title}. The numbers are in the table.");
    let mut svg = Svg::labelled("chart lines", SIZE, &label);
    let ticks = (0..=((high - low) / step).round() as u32).map(|n| low + f64::from(n) * step);
    let ticks = ticks.map(|tick| (y(tick), Label::Text(upwards.label(tick))));
    FRAME.y_grid(&mut svg, &ticks.collect::<Vec<_>>());
    let mut ticks: Vec<(f64, &str)> = points()
        .map(|point| (x(point.0), point.1.as_str()))
        .collect();
    ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut last = f64::NEG_INFINITY;
    for (at, label) in ticks {
        if at - last >= APART {
            svg.vertical("base", at, (FRAME.bottom, FRAME.bottom + 5.0));
            svg.text("mid", (at, FRAME.bottom + 18.0), label);
            last = at;
        }
    }
    svg.horizontal("base", FRAME.columns(), FRAME.bottom);
    let middle = f64::midpoint(FRAME.left, FRAME.right);
    svg.text("mid soft", (middle, FRAME.bottom + 37.0), below);
    for (i, line) in lines.iter().enumerate().take(LINES) {
        svg.group(Some(&format!("s{i}")), None, |svg| {
            draw(svg, i, line, &x, &y)
        });
    }
    Some(svg.finish())
}

/// The line under its marks.
fn draw(svg: &mut Svg, i: usize, line: &Line, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) {
    let mut path = String::new();
    let mut marks = Vec::new();
    let mut pen = 'M';
    for (at, label, value) in &line.points {
        let Some((value, number)) = value.as_ref().filter(|(value, _)| value.is_finite()) else {
            pen = 'M';
            continue;
        };
        let (x, y) = (x(*at), y(*value));
        path += &format!("{pen}{} {}", n(x), n(y));
        pen = 'L';
        marks.push(((x, y), format!("{}, {label}: {number}", line.name)));
    }
    svg.path("line-of", &path, None);
    for (at, title) in &marks {
        svg.group(None, Some(title), |svg| mark(svg, i, *at));
    }
}

/// The line's look beside its name.
pub(super) fn key(i: usize) -> String {
    let mut svg = Svg::decoration(&format!("s{i}"), (28.0, 12.0));
    svg.path("line-of", "M0 6H28", None);
    mark(&mut svg, i, (14.0, 6.0));
    svg.finish()
}

/// Every line has a shape of its own, not only a colour.
fn mark(svg: &mut Svg, i: usize, (x, y): (f64, f64)) {
    let square = ((x - 3.5, y - 3.5), (7.0, 7.0));
    match i % LINES {
        0 => svg.circle("mark-of", (x, y), 4.0, None),
        1 => svg.rect("mark-of", square.0, square.1),
        2 => svg.path(
            "mark-of open",
            &format!("M{} {}l4.5 8h-9z", n(x), n(y - 4.5)),
            None,
        ),
        3 => svg.path(
            "mark-of",
            &format!("M{} {}l5 5-5 5-5-5z", n(x), n(y - 5.0)),
            None,
        ),
        4 => svg.rect("mark-of open", square.0, square.1),
        _ => svg.circle("mark-of open", (x, y), 4.0, None),
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
            svg.contains(&format!("M66 {}L348 {}", FRAME.bottom, FRAME.top)),
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
