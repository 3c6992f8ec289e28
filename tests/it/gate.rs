//! The gate by the whole program: limits, a baseline, waivers, and the files that are to be released.

use crate::support::program::{self, Ran, run};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::OnceLock;

/// A folder with the built-in model as `model`, a run over 30 canaries and 60 controls as `run`, and its report.
fn probed() -> &'static (tempfile::TempDir, Value) {
    static PROBED: OnceLock<(tempfile::TempDir, Value)> = OnceLock::new();
    PROBED.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let lines = program::builtin_lines(60);
        let chosen = |line: &&String| {
            ["r01", "r16", "r64"].iter().any(|r| line.contains(r)) || line.contains("control-")
        };
        let lines: Vec<String> = lines.iter().filter(chosen).cloned().collect();
        program::write_lines(&dir.path().join("set.jsonl"), &lines);
        program::model_folder(&dir.path().join("model"));
        run(
            dir.path(),
            &[
                "probe",
                "--model",
                "model",
                "--prompts",
                "set.jsonl",
                "--out",
                "run",
            ],
        )
        .exits(0);
        let report =
            serde_json::from_slice(&std::fs::read(dir.path().join("run/report.json")).unwrap())
                .unwrap();
        (dir, report)
    })
}

/// A folder of a test's own with the run in it, and the ids of what was found.
fn own() -> (tempfile::TempDir, Vec<String>) {
    let (shared, report) = probed();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("run")).unwrap();
    std::fs::copy(
        shared.path().join("run/report.json"),
        dir.path().join("run/report.json"),
    )
    .unwrap();
    let items = report["items"].as_array().unwrap();
    let found = items
        .iter()
        .filter(|item| ["extractable", "memorized"].contains(&item["verdict"].as_str().unwrap()));
    let found: Vec<String> = found
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(found.len() >= 10, "{found:?}");
    (dir, found)
}

/// Decides by a policy with these lines, leaving inconclusive items alone.
fn gate(dir: &Path, policy: &str, args: &[&str]) -> Ran {
    let text = format!("schema = \"byrote.policy/v1\"\nrequire_decided = false\n{policy}\n");
    std::fs::write(dir.join("policy.toml"), text).unwrap();
    run(
        dir,
        &[
            &["gate", "run", "--policy", "policy.toml", "--format", "json"],
            args,
        ]
        .concat(),
    )
}

fn decision(ran: &Ran) -> Value {
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["decision"].clone()
}

fn said(decision: &Value, field: &str) -> String {
    decision[field]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Makes an item of a report far less likely than any control.
fn forget(report: &mut Value, id: &str) {
    let items = report["items"].as_array_mut().unwrap();
    let item = items.iter_mut().find(|item| item["id"] == *id).unwrap();
    for form in item["evidence"]["forms"].as_array_mut().unwrap() {
        for scheme in form["values"]["schemes"].as_array_mut().unwrap() {
            scheme["best"]["log_p_z"] = json!(-900.0);
        }
    }
}

#[test]
fn limits_decide_how_many_findings_block() {
    let (dir, found) = own();
    let dir = dir.path();
    let (n, share) = (found.len(), found.len() as f64 / 30.0);
    let count = |of: usize| format!("[gate]\nmax_findings = {of}");
    let cases = [
        (String::new(), 1, "canaries"),
        (count(n - 1), 1, "(max_findings)"),
        (count(n), 0, "(max_findings)"),
        (
            format!("[gate]\nmax_rate = {}", share - 0.2),
            1,
            "(max_rate)",
        ),
        (
            format!("[gate]\nmax_rate = {}", (share + 0.2).min(0.999)),
            0,
            "(max_rate)",
        ),
        (
            "[gate]\nmax_rate_upper = 0.02".to_owned(),
            1,
            "an interval up to 2% (max_rate_upper)",
        ),
        (
            format!("deny = []\n[gate]\nmax_rate_upper = {}", 0.02),
            2,
            "even without findings at least 183 canaries are needed",
        ),
        (
            "deny = []\n[gate]\nmax_rate_upper = 0.5".to_owned(),
            0,
            "0 of ",
        ),
        (
            "[gate]\nnew_only = true".to_owned(),
            2,
            "there is no baseline: give an older report",
        ),
    ];
    for (policy, code, reason) in &cases {
        let ran = gate(dir, policy, &[]).exits(*code);
        let reasons = said(&decision(&ran), "reasons");
        assert!(
            policy.is_empty() || reasons.contains(reason),
            "{policy}: {reasons}"
        );
        // Text has the same exit code and the same words.
        let text = run(dir, &["gate", "run", "--policy", "policy.toml"]).exits(*code);
        assert!(!text.stdout.is_empty());
    }
    let wrong = gate(dir, "[gate]\nmax_rate = 3", &[]).exits(2);
    assert!(
        wrong
            .stderr
            .contains("policy.toml:4: max_rate = 3 is not in the range 0 to 1"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn only_what_the_baseline_lacks_is_new() {
    let (dir, found) = own();
    let dir = dir.path();
    let report: Value =
        serde_json::from_slice(&std::fs::read(dir.join("run/report.json")).unwrap()).unwrap();
    let write =
        |name: &str, report: &Value| std::fs::write(dir.join(name), report.to_string()).unwrap();
    let new_only = "[gate]\nnew_only = true";

    let same = gate(dir, new_only, &["--baseline", "run"]).exits(0);
    let same = decision(&same);
    assert_eq!(same["baseline"]["compared"], found.len());
    assert!(
        same["findings"]
            .as_array()
            .unwrap()
            .iter()
            .all(|finding| finding["new"] == false),
        "{same}"
    );
    assert!(said(&same, "warnings").contains("the baseline is a report on the same model files"));

    let mut older = report.clone();
    forget(&mut older, &found[0]);
    write("older.json", &older);
    let ran = gate(dir, new_only, &["--baseline", "older.json"]).exits(1);
    let reasons = said(&decision(&ran), "reasons");
    assert!(
        reasons.starts_with("1 item ") && reasons.contains(&found[0]),
        "{reasons}"
    );
    gate(
        dir,
        "[gate]\nnew_only = true\nmax_findings = 1",
        &["--baseline", "older.json"],
    )
    .exits(0);
    // Without new_only it is told what is new, and everything counts.
    let ran = gate(dir, "", &["--baseline", "older.json"]).exits(1);
    assert!(
        said(&decision(&ran), "warnings").contains("1 finding new, "),
        "{}",
        said(&decision(&ran), "warnings")
    );

    // Probed otherwise, or a text that isn't there: not comparable, so new.
    let mut elsewhere = report.clone();
    elsewhere["plan_digest"] = json!("0".repeat(64));
    elsewhere["settings"]["window"]["prefix"] = json!(30);
    write("elsewhere.json", &elsewhere);
    let ran = gate(dir, new_only, &["--baseline", "elsewhere.json"]).exits(1);
    assert!(said(&decision(&ran), "warnings").contains("other windows: prefix 30 against 50"));
    let mut fewer = report;
    fewer["items"]
        .as_array_mut()
        .unwrap()
        .retain(|item| item["id"] != *found[1]);
    write("fewer.json", &fewer);
    let ran = gate(dir, new_only, &["--baseline", "fewer.json"]).exits(1);
    assert!(said(&decision(&ran), "warnings").contains("the baseline doesn't have it"));
    let nowhere = gate(dir, new_only, &["--baseline", "no/such/run"]).exits(2);
    assert!(
        nowhere.stderr.contains("the baseline: no/such/run"),
        "{}",
        nowhere.stderr
    );
}

#[test]
fn waivers_hold_until_their_day_and_the_unused_are_told() {
    let (dir, found) = own();
    let dir = dir.path();
    let waiver = |item: &str, expires: &str| {
        format!("[[waivers]]\nitem = \"{item}\"\nreason = \"licensed\"\nexpires = {expires}\n")
    };
    let all: String = found.iter().map(|id| waiver(id, "2999-12-31")).collect();
    let with = |more: &str| format!("{all}{more}");
    let cases = [
        (
            with(""),
            0,
            "warnings",
            "is waived until 2999-12-31: licensed",
        ),
        (
            with(&waiver("control-001", "2999-12-31")),
            0,
            "warnings",
            "the waiver of `control-001` matches no finding",
        ),
        (
            with(&waiver("long-gone", "2999-12-31")),
            0,
            "warnings",
            "(no such item): remove it",
        ),
        (
            with(&waiver("long-gone", "2020-01-01")),
            2,
            "reasons",
            "the waiver of `long-gone` expired on 2020-01-01",
        ),
        (
            with(&waiver(&found[0], "2020-01-01")),
            2,
            "reasons",
            "expired on 2020-01-01: renew or remove it",
        ),
        (
            with(&waiver(&found[0], "2998-01-01")),
            0,
            "warnings",
            "is waived until 2998-01-01",
        ),
        (
            all.replacen("2999-12-31", "2020-01-01", 1),
            2,
            "reasons",
            "expired on 2020-01-01",
        ),
    ];
    for (policy, code, field, line) in &cases {
        let ran = gate(dir, policy, &[]).exits(*code);
        let told = said(&decision(&ran), field);
        assert!(told.contains(line), "{line}: {told}");
        // A baseline changes nothing about waivers.
        gate(
            dir,
            &format!("{policy}\n[gate]\nnew_only = true"),
            &["--baseline", "run"],
        )
        .exits(*code);
    }
}

#[test]
fn a_report_vouches_for_the_files_it_names_and_for_no_others() {
    let (shared, _) = probed();
    let (dir, _) = own();
    let dir = dir.path();
    program::copy_folder(&shared.path().join("model"), &dir.join("model"));
    let pass = "deny = []";
    gate(dir, pass, &["--model", "model"]).exits(0);
    gate(dir, pass, &["--model", "model/model.safetensors"]).exits(0);
    gate(dir, "", &["--model", "model"]).exits(1);
    let refused = |model: &str, told: &[&str]| {
        for policy in [pass, ""] {
            let ran = gate(dir, policy, &["--model", model]).exits(2);
            assert!(ran.stdout.is_empty(), "nothing was decided");
            for told in told {
                assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
            }
        }
    };
    // Not listed, so never tested.
    std::fs::write(dir.join("model/adapter_model.safetensors"), "x").unwrap();
    refused(
        "model",
        &[
            "\"adapter_model.safetensors\" may contain weights",
            "byrote probe --model model",
        ],
    );
    gate(dir, pass, &["--model", "model/model.safetensors"]).exits(0);
    std::fs::remove_file(dir.join("model/adapter_model.safetensors")).unwrap();
    // One byte of one file.
    let weights = dir.join("model/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, &bytes).unwrap();
    refused(
        "model",
        &["\"model.safetensors\" has SHA-256 ", "the report lists "],
    );
    refused(
        "model/model.safetensors",
        &["\"model.safetensors\" has SHA-256 "],
    );
    std::fs::remove_file(&weights).unwrap();
    std::fs::write(dir.join("model/config.json"), "{}").unwrap();
    refused(
        "model",
        &[
            "\"model.safetensors\" is in the report, but does not exist",
            "\"config.json\" has 2 bytes",
        ],
    );
    refused("nowhere", &["nowhere: ", "that the report is about"]);
}
