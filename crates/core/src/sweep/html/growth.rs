//! Growth with the prefix and with the model's size: charts, and the same numbers as a table.

use super::chart::{LINES, Line, Upwards, key, lines};
use crate::items::Kind;
use crate::metric::samples::grouped;
use crate::report::words;
use crate::sweep::told::number;
use crate::sweep::{Growth, GrowthPoint, SizeGrowth, Sweep};
use minijinja::{Value, context};

/// Items of one kind along an axis.
struct Curve<'a> {
    kind: Kind,
    at: &'a str,
    items: u64,
    points: Vec<Point<'a>>,
}

struct Point<'a> {
    /// A prefix or a number of parameters.
    at: u64,
    /// Below the axis.
    label: String,
    /// In the table, where the axis is the size.
    model: Option<&'a str>,
    measured: &'a GrowthPoint,
}

/// The sections there are: none, one or both.
pub(super) fn sections(sweep: &Sweep) -> Vec<Value> {
    let mut sections = Vec::new();
    if !sweep.growth.is_empty() {
        let curves: Vec<Curve<'_>> = sweep.growth.iter().map(by_prefix).collect();
        sections.push(context! {
            id => "growth-prefix",
            title => "Growth with the prefix",
            intro => "Over the items that were measured in full after every prefix.",
            warning => sweep.growth.iter().any(|growth| !growth.same_suffixes).then_some(
                "The runs scored different suffixes: they differ in more than the context.",
            ),
            column => "prefix",
            by_size => false,
            groups => groups(&curves, "tokens of prefix"),
            rows => rows(&curves),
        });
    }
    if !sweep.growth_with_size.is_empty() {
        let curves: Vec<Curve<'_>> = sweep.growth_with_size.iter().map(by_size).collect();
        sections.push(context! {
            id => "growth-size",
            title => "Growth with the model’s size",
            intro => "Over the items that were measured in full in every model of known size. Models with other tokenizers cut other windows.",
            warning => None::<&str>,
            column => "parameters",
            by_size => true,
            groups => groups(&curves, "parameters"),
            rows => rows(&curves),
        });
    }
    sections
}

fn by_prefix(growth: &Growth) -> Curve<'_> {
    let points = growth.points.iter().map(|point| Point {
        at: u64::from(point.prefix),
        label: point.prefix.to_string(),
        model: None,
        measured: point,
    });
    Curve {
        kind: growth.kind,
        at: &growth.at,
        items: growth.items,
        points: points.collect(),
    }
}

fn by_size(growth: &SizeGrowth) -> Curve<'_> {
    let points = growth.points.iter().map(|point| Point {
        at: point.parameters,
        label: short(point.parameters),
        model: Some(&point.model),
        measured: &point.measured,
    });
    Curve {
        kind: growth.kind,
        at: &growth.at,
        items: growth.items,
        points: points.collect(),
    }
}

/// One group of all kinds if nothing else varies, else one per kind; with at most [`LINES`] lines each.
fn groups(curves: &[Curve<'_>], below: &str) -> Vec<Value> {
    let alone = curves.iter().all(|curve| curve.at.is_empty());
    let named = |curve: &Curve<'_>| {
        if alone {
            words::kinds(curve.kind).to_owned()
        } else {
            curve.at.to_owned()
        }
    };
    let kinds = if alone {
        vec![None]
    } else {
        words::KINDS.map(Some).to_vec()
    };
    let mut groups = Vec::new();
    for kind in kinds {
        let of_kind: Vec<&Curve<'_>> = curves
            .iter()
            .filter(|curve| kind.is_none_or(|kind| curve.kind == kind))
            .collect();
        for drawn in of_kind.chunks(LINES) {
            let line = |value: fn(u64, &GrowthPoint) -> Option<(f64, String)>| -> Vec<Line> {
                let points = |curve: &Curve<'_>| {
                    let drawn_point = |point: &Point<'_>| {
                        (
                            point.at as f64,
                            point.label.clone(),
                            value(curve.items, point.measured),
                        )
                    };
                    curve.points.iter().map(drawn_point).collect()
                };
                drawn
                    .iter()
                    .map(|curve| Line {
                        name: named(curve),
                        points: points(curve),
                    })
                    .collect()
            };
            let whose = kind.map_or_else(String::new, |kind| format!("{}: ", words::kinds(kind)));
            let charts = [
                (
                    format!("{whose}share found extractable or memorized"),
                    Upwards::Share,
                    line(found),
                ),
                (
                    format!("{whose}median of the best ln p_z, in nats"),
                    Upwards::Nats,
                    line(likelihood),
                ),
            ];
            let charts: Vec<Value> = charts
                .into_iter()
                .filter_map(|(title, upwards, of)| {
                    let svg = lines(&title, below, upwards, &of)?;
                    Some(context! { svg => Value::from_safe_string(svg), title })
                })
                .collect();
            let keys = drawn.iter().enumerate();
            let keys = keys.map(|(n, curve)| context! { svg => Value::from_safe_string(key(n)), name => named(curve) });
            groups.push(context! {
                title => kind.map(words::kinds),
                keys => keys.collect::<Vec<_>>(),
                charts,
            });
        }
    }
    groups
}

fn found(items: u64, point: &GrowthPoint) -> Option<(f64, String)> {
    let share = (items > 0).then(|| point.found as f64 / items as f64)?;
    Some((
        share,
        format!("{} of {}", grouped(point.found), grouped(items)),
    ))
}

fn likelihood(_: u64, point: &GrowthPoint) -> Option<(f64, String)> {
    let value = point.medians.as_ref()?.best_log_p_z;
    Some((value, number(value)))
}

fn rows(curves: &[Curve<'_>]) -> Vec<Value> {
    let dash = || "–".to_owned();
    let row = |curve: &Curve<'_>, point: &Point<'_>| {
        let measured = point.measured;
        let medians = measured.medians.as_ref();
        context! {
            kind => words::kinds(curve.kind),
            setting => curve.at,
            model => point.model,
            at => grouped(point.at),
            found => format!("{} of {}", grouped(measured.found), grouped(curve.items)),
            share => found(curve.items, measured).map_or_else(dash, |(share, _)| words::share(share)),
            greedy => format!("{} of {}", grouped(measured.greedily_extracted), grouped(measured.windows)),
            log_p_z => medians.map_or_else(dash, |medians| number(medians.best_log_p_z)),
            coverage => medians.and_then(|medians| medians.coverage).map_or_else(dash, words::share),
            run => medians.map_or_else(dash, |medians| number(medians.verbatim_run)),
        }
    };
    curves
        .iter()
        .flat_map(|curve| curve.points.iter().map(move |point| row(curve, point)))
        .collect()
}

/// `1.2M`: a number of parameters in few letters.
fn short(parameters: u64) -> String {
    let parameters = parameters as f64;
    let (scale, unit) = match parameters {
        n if n >= 1e9 => (1e9, "B"),
        n if n >= 1e6 => (1e6, "M"),
        n if n >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let digits = format!("{:.1}", parameters / scale);
    format!("{}{unit}", digits.strip_suffix(".0").unwrap_or(&digits))
}
