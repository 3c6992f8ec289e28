//! Comparisons of made-up reports, and what every format must and must not say of them.

use super::*;
use crate::digest::Digest;
use crate::metric::item::ItemEvidence;
use crate::report::fixture;
use crate::report::tests::{item, report};
use crate::verdict::tests::evidence;
use serde_json::Value;

/// `ln p_z` that makes an item extractable, memorized and clear beside the controls of [`made`].
const EXTRACTABLE: f64 = -2.0;
const MEMORIZED: f64 = -12.0;
const CLEAR: f64 = -160.0;

/// A report with these items, and 199 controls from -100 down, moved by `shift`. NaN stands for an item that couldn't be probed.
fn made(items: &[(&str, Kind, f64)], shift: f64) -> Report {
    let mut all: Vec<ReportItem> = items
        .iter()
        .map(|(id, kind, log_p_z)| {
            let mut item = item(id, *kind, Level::Clear);
            item.evidence = evidence(1, *log_p_z, *log_p_z);
            if log_p_z.is_nan() {
                item.evidence = ItemEvidence {
                    unprobed: Some("too short".to_owned()),
                    ..Default::default()
                };
            }
            item
        })
        .collect();
    all.extend((0..199).map(|i| {
        let mut control = item(&format!("c{i}"), Kind::Control, Level::Clear);
        control.evidence = evidence(
            1,
            shift - 100.0 - f64::from(i),
            shift - 100.0 - f64::from(i),
        );
        control
    }));
    report(all)
}

fn compared(reports: &[&Report]) -> Comparison {
    let named: Vec<(String, &Report)> = reports
        .iter()
        .enumerate()
        .map(|(n, report)| (format!("runs/{n}"), *report))
        .collect();
    Comparison::of(&named, &reports[0].policy)
}

fn standings(comparison: &Comparison) -> Vec<(String, Standing)> {
    let items = comparison
        .items
        .iter()
        .filter(|item| item.kind != Kind::Control);
    items
        .map(|item| (item.id.0.clone(), item.standing()))
        .collect()
}

fn every_standing() -> (Report, Report) {
    let of = |values: &[(&'static str, f64)]| -> Vec<(&'static str, Kind, f64)> {
        values
            .iter()
            .map(|(id, value)| (*id, Kind::OptOut, *value))
            .collect()
    };
    let old = of(&[
        ("new", CLEAR),
        ("worse", MEMORIZED),
        ("gone", MEMORIZED),
        ("unprobed", MEMORIZED),
        ("fixed", EXTRACTABLE),
        ("better", EXTRACTABLE),
        ("same", EXTRACTABLE),
        ("clear", CLEAR),
    ]);
    let new = of(&[
        ("new", MEMORIZED),
        ("worse", EXTRACTABLE),
        ("unprobed", f64::NAN),
        ("fixed", CLEAR),
        ("better", MEMORIZED),
        ("same", EXTRACTABLE),
        ("clear", CLEAR - 5.0),
        ("come", CLEAR),
    ]);
    (made(&old, 0.0), made(&new, 0.0))
}

#[test]
fn items_are_new_worse_fixed_better_unchanged_or_not_comparable_the_worst_first() {
    let (old, new) = every_standing();
    let comparison = compared(&[&old, &new]);
    let expected = [
        ("new", Standing::New),
        ("worse", Standing::Worse),
        ("gone", Standing::NotComparable),
        ("unprobed", Standing::NotComparable),
        ("come", Standing::NotComparable),
        ("fixed", Standing::Fixed),
        ("better", Standing::Better),
        ("same", Standing::Unchanged),
        ("clear", Standing::Unchanged),
    ];
    assert_eq!(
        standings(&comparison),
        expected.map(|(id, standing)| (id.to_owned(), standing))
    );
    let why: Vec<&str> = comparison
        .items
        .iter()
        .filter_map(|item| item.changes[0].why.as_deref())
        .collect();
    assert_eq!(
        why,
        [
            "not in runs/1",
            "inconclusive in runs/1: not probed: too short",
            "not in runs/0"
        ]
    );
    let opt_outs = &comparison.against_first[0].kinds[0];
    assert_eq!(
        (opt_outs.items, opt_outs.standings),
        (9, [1, 1, 3, 1, 1, 2])
    );
    let found = opt_outs.found.unwrap();
    assert_eq!(
        (
            found.of,
            found.old.0,
            found.new.0,
            found.gained,
            found.lost,
            found.p_value
        ),
        (6, 4, 4, 1, 1, 1.0)
    );
    assert_eq!(found.difference.value, 0.0);
    let shift = opt_outs.likelihood.unwrap();
    assert_eq!(
        (
            shift.items,
            shift.rose,
            shift.fell,
            shift.equal,
            shift.unknown
        ),
        (6, 2, 3, 1, 0)
    );
    // scipy.stats.binomtest(2, 5).pvalue
    assert_eq!(shift.p_value, 1.0);
    let worse = &comparison.items[1].changes[0];
    assert_eq!(
        (worse.log_p_z, worse.log_p_z_full, worse.verbatim_run),
        (Some(10.0), Some(10.0), Some(0))
    );
    assert!(comparison.is_complete());
}

#[test]
fn what_moved_is_held_against_the_controls() {
    let items = |value: f64| -> Vec<(String, f64)> {
        (0..12)
            .map(|i| (format!("i{i}"), value - f64::from(i)))
            .collect()
    };
    let with = |value: f64, shift: f64| {
        let items = items(value);
        let items: Vec<(&str, Kind, f64)> = items
            .iter()
            .map(|(id, value)| (id.as_str(), Kind::OptOut, *value))
            .collect();
        made(&items, shift)
    };
    let old = with(-20.0, 0.0);
    let cases = [
        (
            with(-170.0, 0.0),
            "The opted-out texts fell by more than the controls did: −150 nats against 0.00",
        ),
        (
            with(-50.0, -30.0),
            "The opted-out texts fell, but by no more than the controls as far as can be told: −30.00 nats against −30.00",
        ),
        (
            with(-10.0, 0.0),
            "The opted-out texts rose by more than the controls did: +10.00 nats",
        ),
        (
            with(-10.0, 10.0),
            "The opted-out texts rose, but by no more than the controls as far as can be told: +10.00 nats",
        ),
        (
            with(-20.0, -30.0),
            "The opted-out texts stayed where they were while the controls moved: 0.00 nats against −30.00",
        ),
        (
            with(-20.0, 0.0),
            "No shift of the opted-out texts is told from none: 0.00 nats",
        ),
    ];
    for (new, expected) in cases {
        let said = compared(&[&old, &new]).against_first[0].said.clone();
        assert!(
            said.last().is_some_and(|last| last.starts_with(expected)),
            "{expected:?}: {said:#?}"
        );
    }
    // Twelve findings ceased to be: every one of them flipped one way.
    let comparison = compared(&[&old, &with(-170.0, 0.0)]);
    let kind = &comparison.against_first[0].kinds[0];
    assert_eq!(
        (kind.of(Standing::Fixed), kind.found.unwrap().lost),
        (12, 12)
    );
    // scipy.stats.binomtest(0, 12).pvalue
    for p in [
        kind.found.unwrap().p_value,
        kind.likelihood.unwrap().p_value,
    ] {
        assert!((p - 0.000_488_281_25).abs() < 1e-15, "{p}");
    }
    let mut alone = old.clone();
    alone.items.retain(|item| item.kind != Kind::Control);
    let said = compared(&[&old, &alone]).against_first[0].said.join(" ");
    assert!(
        said.contains("12 not comparable"),
        "without controls nothing is decided: {said}"
    );
}

#[test]
fn other_windows_compare_nothing_and_other_tokenizers_only_verdicts() {
    let (old, mut new) = every_standing();
    new.plan_digest = Digest::of_bytes(b"another plan");
    assert!(compared(&[&old, &new]).is_complete(), "the same settings");
    new.model.tokenizer_fingerprint = Some(Digest::of_bytes(b"another tokenizer"));
    let comparison = compared(&[&old, &new]);
    assert_eq!(comparison.items[0].standing(), Standing::New);
    let kind = &comparison.against_first[0].kinds[0];
    assert!(kind.found.is_some() && kind.likelihood.is_none() && comparison.is_complete());
    assert!(
        comparison
            .items
            .iter()
            .all(|item| item.changes[0].log_p_z.is_none())
    );
    assert!(
        comparison.against_first[0].said[0]
            .starts_with("The models count in other tokens: verdicts are compared")
    );
    new.settings.window.prefix = 100;
    let comparison = compared(&[&old, &new]);
    assert!(!comparison.is_complete());
    assert!(
        comparison
            .items
            .iter()
            .all(|item| item.standing() == Standing::NotComparable)
    );
    assert!(comparison.against_first[0].said[0].contains("prefix 50 against 100"));
    // One that can't be compared among several spoils the whole.
    assert!(!compared(&[&old, &old, &new]).is_complete());
    assert!(compared(&[&old, &old, &old]).is_complete());
}

#[test]
fn all_reports_are_judged_by_one_policy() {
    let (old, mut new) = every_standing();
    // A budget under which nothing is extractable.
    new.policy.tau = 0.9;
    assert_eq!(
        standings(&compared(&[&old, &new])),
        standings(&compared(&[&old, &every_standing().1]))
    );
    let comparison = compared(&[&new, &old]);
    assert!(
        comparison
            .reports
            .iter()
            .all(|report| report.levels.iter().all(|levels| levels.extractable == 0))
    );
}

/// Every format of a comparison, by name.
fn rendered(comparison: &Comparison) -> [(&'static str, String); 5] {
    [
        ("text", text::render(comparison, text::Style::default())),
        (
            "json",
            String::from_utf8(json_v1::render(comparison)).unwrap(),
        ),
        ("md", markdown::render(comparison)),
        ("html", html::render(comparison).unwrap()),
        ("csv", csv::render(comparison)),
    ]
}

#[test]
fn no_format_shows_text_or_obeys_an_id_and_all_are_the_same_again() {
    let (one, revealed) = (fixture::report(), fixture::revealed());
    let mut other = revealed.clone();
    other.items.truncate(100);
    let comparison = compared(&[&one, &revealed, &other]);
    for ((format, shown), (_, again)) in
        rendered(&comparison).into_iter().zip(rendered(&comparison))
    {
        assert_eq!(shown, again, "{format}");
        assert!(
            !shown.contains(fixture::PLANTED) && !shown.contains("umber herons"),
            "{format}"
        );
        let unbroken = if format == "csv" {
            shown.replace("\r\n", "\n")
        } else {
            shown.clone()
        };
        match format {
            // JSON escapes control characters and leaves the rest to whoever shows it.
            "json" => assert!(!unbroken.contains(['\u{1b}', '\u{7}', '\r'])),
            _ => fixture::assert_inert_and_redacted(&unbroken),
        }
        if format == "html" {
            assert!(
                !shown.contains("<script") && !shown.contains("<img"),
                "{format}"
            );
            let csp = shown
                .split("style-src 'sha256-")
                .nth(1)
                .unwrap()
                .split('\'')
                .next()
                .unwrap();
            let style = shown
                .split("<style>")
                .nth(1)
                .unwrap()
                .split("</style>")
                .next()
                .unwrap();
            assert_eq!(csp, crate::digest::sha256_base64(style.as_bytes()));
            assert!(
                style.starts_with(crate::report::page::STYLE),
                "the report's rules, then its own"
            );
        }
        if format == "text" {
            assert!(
                shown
                    .lines()
                    .all(|line| !line.trim_start().starts_with("::")),
                "{shown}"
            );
        }
        if format == "csv" {
            let rows: Vec<&str> = shown.trim_end().split("\r\n").collect();
            let items = comparison.items.len();
            assert_eq!(rows.len(), 1 + 2 * items);
            assert!(
                rows.iter()
                    .all(|row| !row.starts_with(['=', '+', '-', '@']))
            );
        }
    }
}

#[test]
fn the_json_keeps_to_its_schema() {
    let validator = jsonschema::validator_for(&json_v1::schema()).unwrap();
    let (old, new) = every_standing();
    let mut impossible = new.clone();
    for scheme in &mut impossible.items[0].evidence.forms[0]
        .values
        .as_mut()
        .unwrap()
        .schemes
    {
        scheme.best = crate::metric::samples::Cost::of(f64::NEG_INFINITY);
    }
    let mut elsewhere = new.clone();
    (elsewhere.plan_digest, elsewhere.settings.window.prefix) = (Digest::of_bytes(b"x"), 9);
    for comparison in [
        compared(&[&old, &new]),
        compared(&[&old, &impossible, &elsewhere, &fixture::empty()]),
    ] {
        let json: Value = serde_json::from_slice(&json_v1::render(&comparison)).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&json)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
        assert_eq!(
            json["items"].as_array().unwrap().len(),
            comparison.items.len()
        );
    }
    let mut wrong: Value =
        serde_json::from_slice(&json_v1::render(&compared(&[&old, &new]))).unwrap();
    wrong["items"][0]["changes"][0]["standing"] = "fine".into();
    assert!(!validator.is_valid(&wrong));
}

#[test]
fn every_format_says_what_became_of_the_items() {
    let (old, new) = every_standing();
    let comparison = compared(&[&old, &new]);
    for (format, shown) in rendered(&comparison) {
        for (id, standing) in standings(&comparison) {
            let word = if ["json", "csv"].contains(&format) {
                standing.name().replace(' ', "_")
            } else {
                standing.name().to_owned()
            };
            assert!(
                shown.contains(&id) && (standing == Standing::Unchanged || shown.contains(&word)),
                "{format}: {id}"
            );
        }
        assert!(shown.contains("not in runs/1"), "{format}");
    }
    for width in [80, 90, 100, 120] {
        let shown = text::render(
            &comparison,
            text::Style {
                colour: false,
                width: Some(width),
            },
        );
        assert!(
            shown.lines().all(|line| line.chars().count() <= width),
            "{width}: {shown}"
        );
    }
}
