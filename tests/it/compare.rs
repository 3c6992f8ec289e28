//! Reports compared by the whole program: real runs in two precisions and with other windows, and edits of them in which every
//! kind of change occurs.

use crate::support::program::{self, Ran, repository, run};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

/// A folder with runs over 40 canaries and 60 controls: `f32`, `q4_0`, and `short` after prefixes of 30 tokens.
fn probed() -> &'static Path {
    static PROBED: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = PROBED.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let lines = program::builtin_lines(60);
        let chosen = |line: &&String| {
            ["r02", "r08", "r16", "r64"]
                .iter()
                .any(|r| line.contains(r))
                || line.contains("control-")
        };
        let lines: Vec<String> = lines.iter().filter(chosen).cloned().collect();
        program::write_lines(&dir.path().join("set.jsonl"), &lines);
        let runs: [&[&str]; 3] = [
            &["--dtype", "f32", "--out", "f32"],
            &["--dtype", "q4_0", "--out", "q4_0"],
            &["--dtype", "f32", "--prefix", "30", "--out", "short"],
        ];
        for args in runs {
            run(
                dir.path(),
                &[&["probe", "--prompts", "set.jsonl"], args].concat(),
            )
            .exits(0);
        }
        dir
    });
    dir.path()
}

fn compare(args: &[&str]) -> Ran {
    run(probed(), &[&["compare"], args].concat())
}

/// Asserts that a comparison keeps to the published schema.
fn valid(json: &str) -> Value {
    let schema = std::fs::read(repository("docs/schema/comparison.v1.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_slice(&schema).unwrap()).unwrap();
    let comparison: Value = serde_json::from_str(json).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&comparison)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    comparison
}

fn standings(comparison: &Value) -> BTreeMap<String, String> {
    let items = comparison["items"].as_array().unwrap();
    items
        .iter()
        .map(|i| {
            (
                i["id"].as_str().unwrap().to_owned(),
                i["standing"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

#[test]
fn two_precisions_of_one_model_are_compared_in_every_format_and_the_same_again() {
    let formats = ["text", "json", "md", "html", "csv"];
    for format in formats {
        let ran = compare(&["f32", "q4_0", "--format", format]).exits(0);
        assert_eq!(
            ran.stdout,
            compare(&["f32", "q4_0/report.json", "--format", format])
                .exits(0)
                .stdout,
            "{format}"
        );
        assert!(
            ran.stdout.to_lowercase().contains("canar") && !ran.stdout.contains('\u{1b}'),
            "{format}"
        );
        let file = format!("comparison.{format}");
        let written = compare(&["f32", "q4_0", "--format", format, "--output", &file]).exits(0);
        assert!(written.stdout.is_empty());
        assert_eq!(
            std::fs::read_to_string(probed().join(file)).unwrap(),
            ran.stdout,
            "{format}"
        );
    }
    let comparison = valid(&compare(&["f32", "q4_0", "--format", "json"]).stdout);
    let against = &comparison["against_first"][0];
    assert_eq!(against["windows"], "same");
    let canaries = against["kinds"]
        .as_array()
        .unwrap()
        .iter()
        .find(|kind| kind["kind"] == "canary")
        .unwrap();
    assert_eq!(canaries["items"], 40);
    // Quantizing moves every likelihood.
    assert_eq!(canaries["log_p_z_full"]["items"], 40);
    assert!(
        canaries["log_p_z_full"]["equal"].as_u64() == Some(0),
        "{canaries}"
    );
    assert!(canaries["beyond_controls"].is_object());
    // A report and itself: nothing moved at all.
    let same = valid(&compare(&["f32", "f32", "--format", "json"]).exits(0).stdout);
    for kind in same["against_first"][0]["kinds"].as_array().unwrap() {
        assert_eq!(kind["log_p_z_full"]["difference"]["value"], 0.0);
        assert_eq!(
            (&kind["new"], &kind["fixed"], &kind["found"]["mcnemar_p"]),
            (&json!(0), &json!(0), &json!(1.0))
        );
    }
}

#[test]
fn every_change_of_a_verdict_is_told() {
    let report: Value =
        serde_json::from_slice(&std::fs::read(probed().join("f32/report.json")).unwrap()).unwrap();
    let of_level = |level: &str| {
        let items = report["items"].as_array().unwrap();
        let found = items
            .iter()
            .filter(|item| item["verdict"] == *level && item["kind"] == "canary");
        found
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let (extractable, memorized, clear) = (
        of_level("extractable"),
        of_level("memorized"),
        of_level("clear"),
    );
    assert!(
        extractable.len() >= 3 && !memorized.is_empty() && !clear.is_empty(),
        "{extractable:?} {memorized:?} {clear:?}"
    );
    let mut edited = report.clone();
    let mut set = |id: &str, log_p_z: f64| {
        let items = edited["items"].as_array_mut().unwrap();
        let item = items.iter_mut().find(|item| item["id"] == *id).unwrap();
        for form in item["evidence"]["forms"].as_array_mut().unwrap() {
            for scheme in form["values"]["schemes"].as_array_mut().unwrap() {
                scheme["best"]["log_p_z"] = json!(log_p_z);
            }
        }
    };
    set(&clear[0], -9.0);
    set(&memorized[0], -1.0);
    set(&extractable[0], -9.0);
    set(&extractable[1], -900.0);
    edited["items"]
        .as_array_mut()
        .unwrap()
        .retain(|item| item["id"] != *extractable[2]);
    std::fs::write(probed().join("edited.json"), edited.to_string()).unwrap();
    let comparison = valid(
        &compare(&["f32", "edited.json", "--format", "json"])
            .exits(0)
            .stdout,
    );
    let standings = standings(&comparison);
    for (id, standing) in [
        (&clear[0], "new"),
        (&memorized[0], "worse"),
        (&extractable[0], "better"),
        (&extractable[1], "fixed"),
        (&extractable[2], "not_comparable"),
    ] {
        assert_eq!(standings[id], standing, "{id}");
    }
    // The worst first, in every format.
    assert_eq!(comparison["items"][0]["id"], *clear[0]);
    for format in ["text", "md", "html", "csv"] {
        let shown = compare(&["f32", "edited.json", "--format", format])
            .exits(0)
            .stdout;
        let place = |id: &String| {
            shown
                .rfind(id.as_str())
                .unwrap_or_else(|| panic!("{format} lacks {id}: {shown}"))
        };
        assert!(place(&clear[0]) < place(&extractable[1]), "{format}");
    }
    // Three reports: a matrix, and every one against the first.
    let three = valid(
        &compare(&["f32", "q4_0", "edited.json", "--format", "json"])
            .exits(0)
            .stdout,
    );
    assert_eq!(
        (
            three["against_first"].as_array().unwrap().len(),
            three["items"][0]["reports"].as_array().unwrap().len()
        ),
        (2, 3)
    );
    // The other way round, what was fixed is new.
    let back = valid(
        &compare(&["edited.json", "f32", "--format", "json"])
            .exits(0)
            .stdout,
    );
    assert_eq!(self::standings(&back)[&extractable[1]], "new");
    // One policy for all of them.
    let strict = valid(
        &compare(&[
            "f32",
            "edited.json",
            "--policy",
            "strict",
            "--format",
            "json",
        ])
        .stdout,
    );
    assert_eq!(strict["policy"]["tau"], 0.00001);
}

#[test]
fn what_was_probed_otherwise_is_not_compared_and_the_exit_code_says_so() {
    for format in ["text", "json", "md", "html", "csv"] {
        let ran = compare(&["f32", "short", "--format", format]).exits(2);
        assert!(
            ran.stdout.contains("prefix 50 against 30"),
            "{format}: {}",
            ran.stdout
        );
    }
    let comparison = valid(&compare(&["f32", "short", "--format", "json"]).stdout);
    assert!(
        standings(&comparison)
            .values()
            .all(|standing| standing == "not_comparable")
    );
    compare(&["f32", "q4_0", "short"]).exits(2);
    let missing = compare(&["f32", "nowhere"]).exits(2);
    assert!(
        missing
            .stderr
            .contains("nowhere: can't be read; give a run's folder or a report.json"),
        "{}",
        missing.stderr
    );
    assert!(compare(&["f32"]).exits(2).stderr.contains("<NEW>"));
}
