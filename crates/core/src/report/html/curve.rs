//! How many samples it takes to see an item with which probability, as inline SVG.

use super::chart::{n, open};
use crate::backend::Scheme;
use crate::items::Kind;
use crate::metric::samples;
use crate::report::{Report, ReportItem, escape, order, words};
use std::f64::consts::LN_10;
use std::fmt::Write as _;

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
/// The dearest curve that is drawn begins below so many powers of ten.
const DEAREST: f64 = 15.0;

struct Curve<'a> {
    item: &'a ReportItem,
    log_p_z: f64,
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
    // Many are alike: six of them spread over all costs tell more than the six cheapest.
    let curves = spread(curves);
    let dearest = curves.last()?.log_p_z.min(report.policy.tau.ln());
    let decades = (samples::ln_samples(dearest, TO) / LN_10).ceil().max(1.0);

    let bottom = TOP + HEIGHT;
    let x = |p: f64| LEFT + WIDTH * (p - FROM) / (TO - FROM);
    let y = |ln_n: f64| bottom - HEIGHT * (ln_n / LN_10 / decades).clamp(0.0, 1.0);
    let mut svg = open(
        LEFT + WIDTH + NAMES,
        bottom + 44.0,
        "samples",
        "Samples needed by probability of seeing the text",
        Some(&described(&curves)),
    );
    let every = (decades / 6.0).ceil() as usize;
    for decade in (0..=decades as usize).step_by(every.max(1)) {
        let at = y(decade as f64 * LN_10);
        let label = match decade {
            0 => "1".to_owned(),
            1..=4 => samples::grouped(10_u64.pow(decade as u32)),
            _ => format!(r#"10<tspan class="sup" dy="-4">{decade}</tspan>"#),
        };
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{LEFT}" x2="{}" y1="{1}" y2="{1}"/>"#,
            n(LEFT + WIDTH),
            n(at)
        );
        let _ = write!(
            svg,
            r#"<text class="end" x="{}" y="{}">{label}</text>"#,
            n(LEFT - 8.0),
            n(at + 4.0)
        );
    }
    for p in [0.01, 0.25, 0.5, 0.75, 0.9, 0.99] {
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{0}" x2="{0}" y1="{TOP}" y2="{1}"/>"#,
            n(x(p)),
            n(bottom)
        );
        // .9 and .99 stand close together.
        let label = if p > 0.95 {
            String::new()
        } else {
            format!("{:.0}%", p * 100.0)
        };
        let _ = write!(
            svg,
            r#"<text class="mid" x="{}" y="{}">{label}</text>"#,
            n(x(p)),
            n(bottom + 17.0)
        );
    }
    let _ = write!(
        svg,
        r#"<text class="soft" x="0" y="{}">samples</text>"#,
        n(TOP - 4.0)
    );
    let _ = write!(
        svg,
        r#"<text class="end soft" x="{}" y="{}">probability of seeing it at least once</text>"#,
        n(LEFT + WIDTH),
        n(bottom + 37.0)
    );
    let line = |log_p_z: f64| {
        let step = |i: u32| FROM + (TO - FROM) * f64::from(i) / 49.0;
        let point = |p: f64| {
            format!(
                "{} {}",
                n(x(p)),
                n(y(samples::ln_samples(log_p_z, p).max(0.0)))
            )
        };
        (0..50)
            .map(|i| point(step(i)))
            .collect::<Vec<_>>()
            .join("L")
    };
    let end = |log_p_z: f64| y(samples::ln_samples(log_p_z, TO).max(0.0));
    let tau = report.policy.tau.ln();
    let _ = write!(svg, r#"<path class="tau" fill="none" d="M{}"/>"#, line(tau));
    let mut names: Vec<(f64, String, String)> = vec![(
        end(tau),
        "tau-label".to_owned(),
        "the sample budget".to_owned(),
    )];
    for curve in &curves {
        let level = curve.item.verdict.level;
        let title = format!(
            "{}: {} for an even chance, {} for nine in ten",
            escape::html(&curve.item.id.0),
            samples::in_words(curve.log_p_z, 0.5),
            samples::in_words(curve.log_p_z, 0.9)
        );
        let _ = write!(
            svg,
            r#"<path class="curve {level}" d="M{}"><title>{title}</title></path>"#,
            line(curve.log_p_z)
        );
        names.push((
            end(curve.log_p_z),
            "name".to_owned(),
            escape::html(&short(&curve.item.id.0)),
        ));
    }
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (at, (from, class, name)) in apart(&names).into_iter().zip(&names) {
        let right = LEFT + WIDTH;
        let _ = write!(
            svg,
            r#"<path class="lead" d="M{} {}L{} {}"/><text class="{class}" x="{}" y="{}">{name}</text>"#,
            n(right + 2.0),
            n(*from),
            n(right + 14.0),
            n(at),
            n(right + 18.0),
            n(at + 4.0)
        );
    }
    svg.push_str("</svg>");
    Some(svg)
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

/// Heights of names, sorted, moved apart so that none covers another.
fn apart(names: &[(f64, String, String)]) -> Vec<f64> {
    const ROOM: f64 = 15.0;
    let mut at: Vec<f64> = names.iter().map(|name| name.0).collect();
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
    let told: Vec<String> = curves
        .iter()
        .map(|curve| {
            format!(
                "{}: {} for an even chance, {} for nine in ten",
                curve.item.id,
                samples::in_words(curve.log_p_z, 0.5),
                samples::in_words(curve.log_p_z, 0.9)
            )
        })
        .collect();
    words::sentence(&told.join("; "))
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
        let names = [255.0_f64, 255.0, 20.0, 21.0].map(|y| (y, String::new(), String::new()));
        let mut names = names.to_vec();
        names.sort_by(|a, b| a.0.total_cmp(&b.0));
        let at = apart(&names);
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
