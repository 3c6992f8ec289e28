//! Sweeps over made-up reports.

use super::*;
use crate::policy::decision::Decision;
use crate::report::tests::{item, report};
use crate::window::WindowConfig;
use Level::{Clear, Extractable, Inconclusive, Memorized, Predictable};

/// A report of these items with this `ln p_z` each, cut with one lead of 50.
pub(super) fn made(prefix: u32, items: &[(&str, Kind, Level, f64)]) -> Report {
    let mut made = report(
        items
            .iter()
            .map(|&(id, kind, level, log_p_z)| {
                let mut made = item(id, kind, level);
                for scheme in made
                    .evidence
                    .forms
                    .iter_mut()
                    .flat_map(|form| &mut form.values)
                    .flat_map(|v| &mut v.schemes)
                {
                    scheme.best.log_p_z = log_p_z;
                }
                made
            })
            .collect(),
    );
    let window = WindowConfig {
        prefix,
        lead: Some(50),
        ..made.settings.window
    };
    made.settings.window = window;
    made
}

pub(super) fn setting(model: &str, dtype: &str, prefix: u32) -> Setting {
    Setting {
        model: model.to_owned(),
        dtype: dtype.to_owned(),
        prefix,
        bos: BosChoice::Auto,
    }
}

pub(super) fn sweep<'a>(runs: &[(Setting, Result<&'a Report, &str>)]) -> Sweep {
    let runs: Vec<SweptRun<'a>> = runs
        .iter()
        .map(|(setting, report)| SweptRun {
            setting: setting.clone(),
            folder: format!("{}-p{}", setting.dtype, setting.prefix),
            report: report.map_err(str::to_owned),
        })
        .collect();
    Sweep::of(&runs)
}

fn ids(sweep: &Sweep) -> Vec<(&str, Standing)> {
    sweep
        .items
        .iter()
        .map(|item| (item.id.0.as_str(), item.standing))
        .collect()
}

#[test]
fn unstable_items_come_first_and_say_how_they_flip() {
    let levels = |a, b, c| {
        vec![
            ("same", Kind::OptOut, Clear, -40.0),
            ("control", Kind::Control, a, -30.0),
            ("canary", Kind::Canary, b, -3.0),
            ("flips", Kind::OptOut, c, -3.0),
        ]
    };
    let f32_10 = made(10, &levels(Clear, Extractable, Clear));
    let f32_50 = made(50, &levels(Clear, Extractable, Extractable));
    let q4_10 = made(10, &levels(Predictable, Extractable, Clear));
    let q4_50 = made(50, &levels(Clear, Inconclusive, Clear));
    let sweep = sweep(&[
        (setting("m", "f32", 10), Ok(&f32_10)),
        (setting("m", "f32", 50), Ok(&f32_50)),
        (setting("m", "q4_0", 10), Ok(&q4_10)),
        (setting("m", "q4_0", 50), Ok(&q4_50)),
    ]);
    assert_eq!(sweep.axes, [Axis::Dtype, Axis::Prefix]);
    let unstable = Standing::Unstable;
    assert_eq!(
        ids(&sweep),
        [
            ("flips", unstable),
            ("canary", unstable),
            ("control", unstable),
            ("same", Standing::Stable)
        ]
    );
    let told = flip::in_words(&sweep.items[0].flips);
    assert_eq!(
        told,
        [
            "by dtype (prefix 50): f32 extractable → q4_0 clear",
            "by prefix (f32): 10 clear → 50 extractable"
        ]
    );
    assert_eq!(sweep.items[1].flips.len(), 2, "inconclusive differs, too");
    let markdown = markdown::render(&sweep);
    assert!(
        markdown.contains("3 items are unstable")
            && markdown.contains("by prefix (f32): 10 clear → 50 extractable"),
        "{markdown}"
    );
    let (at, stable) = (
        markdown.find("`flips`").unwrap(),
        markdown.find("`same`").unwrap(),
    );
    assert!(at < stable, "{markdown}");
}

#[test]
fn what_differs_by_model_only_is_not_unstable() {
    let a = made(
        50,
        &[
            ("x", Kind::OptOut, Memorized, -9.0),
            ("y", Kind::OptOut, Clear, -9.0),
        ],
    );
    let b = made(
        50,
        &[
            ("x", Kind::OptOut, Clear, -90.0),
            ("y", Kind::OptOut, Clear, -9.0),
        ],
    );
    let of = |second: &str, runs: [&Report; 2]| {
        let sweep = sweep(&[
            (setting("a", "f32", 50), Ok(runs[0])),
            (setting(second, "bf16", 50), Ok(runs[1])),
        ]);
        (sweep.items[0].standing, markdown::render(&sweep))
    };
    let (standing, markdown) = of("b", [&a, &b]);
    assert_eq!(standing, Standing::DiffersByModel);
    assert!(
        markdown.contains("1 item differs by model only") && !markdown.contains("unstable:"),
        "{markdown}"
    );
    assert_eq!(of("a", [&a, &b]).0, Standing::Unstable);
    assert_eq!(of("b", [&b, &b]).0, Standing::Stable);
}

#[test]
fn a_failed_run_speaks_for_no_item() {
    let a = made(50, &[("x", Kind::OptOut, Clear, -9.0)]);
    let sweep = sweep(&[
        (setting("m", "f32", 50), Ok(&a)),
        (setting("m", "q4_k", 50), Err("it fits none")),
    ]);
    assert_eq!(ids(&sweep), [("x", Standing::Incomplete)]);
    assert_eq!(sweep.items[0].levels, [Some(Clear), None]);
    let markdown = markdown::render(&sweep);
    assert!(
        markdown.contains("1 run gave no report") && markdown.contains("it fits none"),
        "{markdown}"
    );
    assert!(!markdown.contains("No verdict depends"), "{markdown}");
}

#[test]
fn growth_compares_the_same_items_and_knows_other_suffixes() {
    let items = |log_p_z: f64| {
        vec![
            ("a", Kind::OptOut, Clear, log_p_z),
            ("b", Kind::OptOut, Memorized, log_p_z - 10.0),
        ]
    };
    let mut short = made(10, &items(-50.0));
    // One that one run couldn't measure is compared in none.
    let mut extra = item("c", Kind::OptOut, Inconclusive);
    extra.evidence.unprobed = Some("too short".to_owned());
    short.items.push(extra);
    let mut long = made(50, &items(-20.0));
    long.items.push(item("c", Kind::OptOut, Clear));
    fn runs(short: &Report, long: &Report) -> Sweep {
        sweep(&[
            (setting("m", "f32", 50), Ok(long)),
            (setting("m", "f32", 10), Ok(short)),
        ])
    }
    let swept = runs(&short, &long);
    let [growth] = swept.growth.as_slice() else {
        panic!("{:?}", swept.growth)
    };
    assert_eq!(
        (growth.items, growth.same_suffixes, growth.at.as_str()),
        (2, true, "")
    );
    let points: Vec<_> = growth
        .points
        .iter()
        .map(|p| {
            (
                p.prefix,
                p.found,
                p.windows,
                p.medians.unwrap().best_log_p_z,
            )
        })
        .collect();
    assert_eq!(points, [(10, 1, 2, -55.0), (50, 1, 2, -25.0)]);
    assert!(!markdown::render(&swept).contains("different suffixes"));

    short.settings.window.lead = None;
    let other = runs(&short, &long);
    assert!(!other.growth[0].same_suffixes);
    assert!(markdown::render(&other).contains("different suffixes"));
}

#[test]
fn agreement_is_counted_over_runs_that_differ_in_nothing_else() {
    let items = |x, y, log_p_z: f64| {
        vec![
            ("x", Kind::OptOut, x, log_p_z),
            ("y", Kind::OptOut, y, log_p_z),
        ]
    };
    let f32_10 = made(10, &items(Clear, Extractable, -4.0));
    let f32_50 = made(50, &items(Memorized, Extractable, -4.0));
    let q4_10 = made(10, &items(Clear, Clear, -6.0));
    let q4_50 = made(50, &items(Memorized, Memorized, -5.0));
    let sweep = sweep(&[
        (setting("m", "f32", 10), Ok(&f32_10)),
        (setting("m", "f32", 50), Ok(&f32_50)),
        (setting("m", "q4_0", 10), Ok(&q4_10)),
        (setting("m", "q4_0", 50), Ok(&q4_50)),
    ]);
    let dtypes = &sweep.agreement[0];
    assert_eq!(
        (dtypes.axis, dtypes.first.as_str(), dtypes.second.as_str()),
        (Axis::Dtype, "f32", "q4_0")
    );
    assert_eq!((dtypes.verdicts, dtypes.same), (4, 2));
    assert_eq!(
        (dtypes.found_in_first_only, dtypes.found_in_second_only),
        (1, 0)
    );
    assert_eq!(dtypes.median_shift, Some(-1.5));
    assert_eq!(sweep.agreement.len(), 2);
}

#[test]
fn the_gravest_run_decides_and_unstable_items_are_told() {
    let decided = |outcome, level| {
        let mut report = made(50, &[("x", Kind::OptOut, level, -9.0)]);
        let reasons = vec![format!("because {level}")];
        report.decision = Some(Decision {
            outcome,
            reasons,
            warnings: vec![],
            findings: vec![],
            baseline: None,
        });
        report
    };
    let pass = decided(Outcome::Pass, Clear);
    let block = decided(Outcome::Block, Extractable);
    let undecided = decided(Outcome::Undecided, Inconclusive);
    for (runs, outcome, reasons) in [
        (
            vec![Ok(&pass), Ok(&pass)],
            Outcome::Pass,
            vec!["f32: because clear", "q4_0: because clear"],
        ),
        (
            vec![Ok(&pass), Ok(&undecided)],
            Outcome::Undecided,
            vec!["q4_0: because inconclusive", "1 item unstable: `x`"],
        ),
        (
            vec![Ok(&undecided), Ok(&block)],
            Outcome::Block,
            vec!["q4_0: because extractable", "1 item unstable: `x`"],
        ),
        (
            vec![Ok(&pass), Err("no memory")],
            Outcome::Undecided,
            vec!["q4_0: no memory"],
        ),
        (
            vec![Ok(&block), Err("no memory")],
            Outcome::Block,
            vec!["f32: because extractable"],
        ),
    ] {
        let settings = ["f32", "q4_0"].map(|dtype| setting("m", dtype, 50));
        let decision = sweep(&settings.into_iter().zip(runs).collect::<Vec<_>>())
            .decision
            .unwrap();
        assert_eq!(
            (
                decision.outcome,
                decision.reasons.iter().map(String::as_str).collect()
            ),
            (outcome, reasons)
        );
    }
    let ungated = made(50, &[]);
    assert_eq!(
        sweep(&[(setting("m", "f32", 50), Ok(&ungated))]).decision,
        None
    );
}

#[test]
fn json_keeps_infinities_and_markdown_keeps_hostile_ids_inert() {
    let id = "a|b`<img>\u{1b}[31m";
    let a = made(10, &[(id, Kind::OptOut, Clear, f64::NEG_INFINITY)]);
    let b = made(50, &[(id, Kind::OptOut, Extractable, -1.0)]);
    let sweep = sweep(&[
        (setting("m", "f32", 10), Ok(&a)),
        (setting("m", "f32", 50), Ok(&b)),
    ]);
    let json: serde_json::Value = serde_json::from_slice(&json::render(&sweep)).unwrap();
    assert_eq!(json["schema"], json::SCHEMA);
    assert_eq!(json["items"][0]["values"][0]["best_log_p_z"], "-inf");
    assert_eq!(
        json["growth"][0]["points"][0]["medians"]["best_log_p_z"],
        "-inf"
    );
    assert_eq!(json["runs"][1]["prefix"], 50);
    assert_eq!(
        json["items"][0]["flips"][0]["path"][1]["level"],
        "extractable"
    );
    let markdown = markdown::render(&sweep);
    assert!(
        !markdown.contains('\u{1b}') && !markdown.contains("a|b"),
        "{markdown}"
    );
    let columns = |line: &str| line.matches('|').count();
    let table = markdown
        .lines()
        .skip_while(|line| !line.starts_with("### Verdicts"));
    let widths: Vec<usize> = table
        .filter(|line| line.starts_with('|'))
        .take(3)
        .map(columns)
        .collect();
    assert_eq!(widths, [5, 5, 5], "{markdown}");
}
