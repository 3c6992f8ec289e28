//! Samples needed to see an item, by probability.

use crate::backend::Scheme;
use crate::items::Kind;
use crate::metric::samples;
use crate::report::svg::{Frame, Label, Svg, n};
use crate::report::{Report, ReportItem, order, words};
use std::f64::consts::LN_10;

/// Curves that are drawn.
const CURVES: usize = 6;
const LEFT: f64 = 84.0;
const TOP: f64 = 16.0;
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 240.0;
/// Room for the names at the right.
const NAMES: f64 = 236.0;
/// Letters of an id beside its curve.
const LETTERS: usize = 30;
/// From one chance in a hundred to all but one.
const FROM: f64 = 0.01;
const TO: f64 = 0.99;
/// Curves that begin above this power of ten aren't drawn.
const DEAREST: f64 = 15.0;

struct Curve<'a> {
    item: &'a ReportItem,
    log_p_z: f64,
}

impl Curve<'_> {
    fn in_words(&self) -> String {
        format!(
            "{}: {} for an even chance, {} for nine in ten",
            self.item.id,
            samples::in_words(self.log_p_z, 0.5),
            samples::in_words(self.log_p_z, 0.9)
        )
    }
}

/// `n(p) = ln(1-p) / ln(1-p_z)` of the items that are cheapest to extract, opted-out texts first, and of the sample budget
/// itself. `None` where none comes out within 10^15 samples.
pub(super) fn samples_by_probability(report: &Report) -> Option<String> {
    let schemes = sampled(report);
    let of_kind = |kind| {
        let items = order::worst_first(report, kind).into_iter();
        let value = |item: &ReportItem| {
            item.evidence
                .cheapest(&schemes)
                .map(|(_, best)| best.best.log_p_z)
        };
        items
            .filter_map(move |item| {
                Some(Curve {
                    item,
                    log_p_z: value(item)?,
                })
            })
            .filter(|curve| {
                curve.item.verdict.level.is_memorization()
                    && samples::ln_samples(curve.log_p_z, FROM) < DEAREST * LN_10
            })
    };
    let mut curves: Vec<Curve<'_>> = of_kind(Kind::OptOut).collect();
    if curves.is_empty() {
        curves = of_kind(Kind::Canary).collect();
    }
    curves.sort_by(|a, b| b.log_p_z.total_cmp(&a.log_p_z));
    // Many are alike: six curves spread over all costs show more than the six cheapest.
    let curves = spread(curves);
    let dearest = curves.last()?.log_p_z.min(report.policy.tau.ln());
    let decades = (samples::ln_samples(dearest, TO) / LN_10).ceil().max(1.0);

    let frame = Frame::new((LEFT, LEFT + WIDTH), (TOP, TOP + HEIGHT));
    let (right, bottom) = (frame.right, frame.bottom);
    let x = |p: f64| LEFT + WIDTH * (p - FROM) / (TO - FROM);
    let y = |ln_n: f64| bottom - HEIGHT * (ln_n / LN_10 / decades).clamp(0.0, 1.0);
    let mut svg = Svg::chart(
        "samples",
        (right + NAMES, bottom + 44.0),
        "Samples needed by probability of seeing the text",
        Some(&described(&curves)),
    );
    let every = (decades / 6.0).ceil() as usize;
    let ticks = (0..=decades as usize).step_by(every.max(1));
    let ticks = ticks.map(|decade| (y(decade as f64 * LN_10), power_of_ten(decade as u32)));
    frame.y_grid(&mut svg, &ticks.collect::<Vec<_>>());
    // 90% and 99% are too close for two labels.
    let ticks = [
        (0.01, "1%"),
        (0.25, "25%"),
        (0.5, "50%"),
        (0.75, "75%"),
        (0.9, "90%"),
        (0.99, ""),
    ];
    frame.x_grid(
        &mut svg,
        &ticks.map(|(p, label)| (x(p), Label::Text(label.to_owned()))),
    );
    svg.text("soft", (0.0, TOP - 4.0), "samples");
    svg.text(
        "end soft",
        (right, bottom + 37.0),
        "probability of seeing it at least once",
    );

    let line = |log_p_z: f64| {
        let points = (0..50).map(|i| {
            let p = FROM + (TO - FROM) * f64::from(i) / 49.0;
            format!("{} {}", n(x(p)), n(y(samples::ln_samples(log_p_z, p))))
        });
        format!("M{}", points.collect::<Vec<_>>().join("L"))
    };
    let end = |log_p_z: f64| y(samples::ln_samples(log_p_z, TO));
    let tau = report.policy.tau.ln();
    svg.path("tau", &line(tau), None);
    let mut names = vec![(end(tau), "tau-label", "the sample budget".to_owned())];
    for curve in &curves {
        let class = format!("curve {}", curve.item.verdict.level);
        svg.path(&class, &line(curve.log_p_z), Some(&curve.in_words()));
        names.push((end(curve.log_p_z), "name", short(&curve.item.id.0)));
    }
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    let heights: Vec<f64> = names.iter().map(|name| name.0).collect();
    for (at, (from, class, name)) in apart(heights).into_iter().zip(&names) {
        let lead = [right + 2.0, *from, right + 14.0, at].map(n);
        svg.path(
            "lead",
            &format!("M{} {}L{} {}", lead[0], lead[1], lead[2], lead[3]),
            None,
        );
        svg.text(class, (right + 18.0, at + 4.0), name);
    }
    Some(svg.finish())
}

fn power_of_ten(exponent: u32) -> Label {
    match exponent {
        0..=4 => Label::Text(samples::grouped(10_u64.pow(exponent))),
        _ => Label::PowerOfTen(exponent as i32),
    }
}

/// The policy's ways of sampling. Greedy decoding gives a text with the first sample or never, which is no curve; it is left out
/// if there is another.
pub(super) fn sampled(report: &Report) -> Vec<Scheme> {
    let greedy = Scheme::greedy().id;
    let mut schemes: Vec<Scheme> = report
        .policy
        .schemes
        .iter()
        .filter(|scheme| scheme.id != greedy)
        .cloned()
        .collect();
    if schemes.is_empty() {
        schemes.clone_from(&report.policy.schemes);
    }
    schemes
}

/// At most [`CURVES`] of a sorted list, the first and the last among them.
fn spread(curves: Vec<Curve<'_>>) -> Vec<Curve<'_>> {
    let len = curves.len();
    if len <= CURVES {
        return curves;
    }
    let kept: Vec<usize> = (0..CURVES).map(|i| i * (len - 1) / (CURVES - 1)).collect();
    curves
        .into_iter()
        .enumerate()
        .filter(|(i, _)| kept.contains(i))
        .map(|(_, curve)| curve)
        .collect()
}

/// Sorted heights of names, moved apart so that none covers another.
fn apart(mut at: Vec<f64>) -> Vec<f64> {
    const ROOM: f64 = 15.0;
    for i in 1..at.len() {
        at[i] = at[i].max(at[i - 1] + ROOM);
    }
    // Those that were pushed out at the bottom push the others up.
    let mut most = TOP + HEIGHT + 4.0;
    for y in at.iter_mut().rev() {
        *y = y.min(most);
        most = *y - ROOM;
    }
    at
}

/// An id that fits beside its curve.
fn short(id: &str) -> String {
    let all = id.chars().count();
    if all <= LETTERS {
        id.to_owned()
    } else {
        format!("{}…", id.chars().take(LETTERS - 1).collect::<String>())
    }
}

fn described(curves: &[Curve<'_>]) -> String {
    let sentences: Vec<String> = curves.iter().map(Curve::in_words).collect();
    words::sentence(&sentences.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_worst_items_and_the_budget_have_a_curve_each() {
        let svg = samples_by_probability(&fixture::report()).unwrap();
        assert!(
            svg.contains("the sample budget") && svg.contains("lyrics/umber-song"),
            "{svg}"
        );
        let curves = svg.matches("class=\"curve ").count();
        assert!((2..=CURVES).contains(&curves), "{curves}");
        assert!(
            !svg.contains("<script>") && !svg.contains("NaN") && !svg.contains("inf"),
            "{svg}"
        );
        assert!(samples_by_probability(&fixture::empty()).is_none());
    }

    #[test]
    fn names_never_cover_each_other_and_stay_in_the_picture() {
        let at = apart(vec![20.0, 21.0, 255.0, 255.0]);
        assert!(
            at.windows(2).all(|pair| pair[1] - pair[0] >= 14.9),
            "{at:?}"
        );
        assert!(at.iter().all(|y| *y <= TOP + HEIGHT + 4.0), "{at:?}");
    }

    #[test]
    fn long_ids_are_cut_at_a_character() {
        assert_eq!(short(&"é".repeat(40)).chars().count(), LETTERS);
        assert_eq!(short("short"), "short");
    }
}
