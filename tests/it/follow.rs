//! Windows that are looked at further: confirmed by generation, the same however it is run, kept and resumed, redacted.

use crate::support::program::{
    self, builtin_lines, byrote, model_folder, report, run, write_lines,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Canaries of every repetition count, and controls.
fn set(dir: &Path) {
    let lines = builtin_lines(24);
    let canaries = lines
        .iter()
        .filter(|line| line.contains("\"canary\""))
        .step_by(4);
    let controls = lines.iter().filter(|line| line.contains("\"control\""));
    let lines: Vec<String> = canaries.chain(controls).cloned().collect();
    assert!(lines.len() > 35, "{} lines", lines.len());
    write_lines(&dir.join("set.jsonl"), &lines);
    policy(
        dir,
        "quick.toml",
        "deny = []\nrequire_decided = false",
        "windows = 2\nbeam = 4\nforeign_prefixes = 4",
    );
}

fn probe<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let windows = ["--prefix", "32", "--suffix", "32"];
    // Nothing blocks under this policy, and bounds are narrow: the test is to be fast.
    let gate: &[&str] = if more.contains(&"--gate") {
        &[]
    } else {
        &["--gate", "quick.toml"]
    };
    [
        &["probe", "--prompts", "set.jsonl", "--out", out][..],
        &windows,
        gate,
        more,
    ]
    .concat()
}

fn file(run: &Path) -> String {
    std::fs::read_to_string(run.join("follow-up.jsonl")).unwrap()
}

/// What was found of each window, lines of one window joined.
fn found(run: &Path) -> BTreeMap<String, BTreeMap<String, Value>> {
    let text = file(run);
    assert!(text.ends_with('\n'));
    let mut rows: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let row: Value = serde_json::from_str(line).unwrap();
        let parts = rows
            .entry(row["window"].as_str().unwrap().to_owned())
            .or_default();
        for (part, value) in row["found"].as_object().unwrap() {
            assert!(
                parts.insert(part.clone(), value.clone()).is_none(),
                "{part} was measured twice: {line}"
            );
        }
    }
    rows
}

/// A policy of the given `[follow_up]`, as a file.
fn policy(dir: &Path, name: &str, top: &str, follow_up: &str) {
    let text = format!("schema = \"byrote.policy/v1\"\n{top}\n[follow_up]\n{follow_up}\n");
    std::fs::write(dir.join(name), text).unwrap();
}

/// Equal but for the last digits of numbers.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-4 * a.abs().max(1.0)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| same(v, &b[k]))
        }
        _ => a == b,
    }
}

#[test]
fn every_greedily_exact_top_window_is_confirmed_by_generation() {
    let dir = tempfile::tempdir().unwrap();
    set(dir.path());
    run(dir.path(), &probe("run", &[])).exits(0);
    let json = report(&dir.path().join("run"));
    let (mut exact, mut others) = (0, 0);
    for item in json["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["kind"] == "canary")
    {
        let follow_up = &item["evidence"]["follow_up"];
        assert!(follow_up["windows"].as_u64().unwrap() >= 1, "{item:#}");
        for window in item["windows"].as_array().unwrap().iter().take(2) {
            let found = &window["follow_up"];
            let own = &found["continuation"];
            assert_eq!(own["agrees"], true, "{window:#}");
            assert_eq!(own["verbatim_run"], window["verbatim_run"]);
            if window["greedy_exact"] == true {
                exact += 1;
                assert_eq!(own["drafted"], 0, "{window:#}");
                assert_eq!(own["near"]["edit_similarity"], 1.0);
            } else {
                others += 1;
                let run = window["verbatim_run"].as_u64().unwrap();
                assert_eq!(own["drafted"].as_u64().unwrap(), run - run % 8);
            }
            assert_eq!(found["foreign_prefix"]["prefixes"], 4, "{found:#}");
            // Where half of the tokens are missed, a near-verbatim sample is out of reach.
            assert_eq!(
                found["near_probability"].is_object(),
                window["em"].as_f64().unwrap() >= 0.5,
                "{window:#}"
            );
            assert!(found.get("errors").is_none());
        }
    }
    assert!(
        exact >= 5 && others >= 5,
        "{exact} exact windows, {others} others"
    );
    let numerics = &json["summary"]["numerics"];
    assert!(numerics["generated"].as_u64().unwrap() >= exact);
    assert_eq!(numerics["disagreements"], 0);
    assert_eq!(numerics["near_ties"], numerics["rescored"]);
    println!("{exact} exact windows confirmed; {numerics}");
    assert!(
        !file(&dir.path().join("run")).contains("\"text\""),
        "text without --reveal"
    );

    // With --reveal the model's own words stand there.
    run(dir.path(), &probe("revealed", &["--reveal"])).exits(0);
    let own: Vec<String> = found(&dir.path().join("revealed"))
        .values()
        .filter_map(|parts| Some(parts.get("continuation")?["text"].as_str()?.to_owned()))
        .collect();
    assert!(own.len() > 10 && own.iter().all(|text| !text.is_empty()));
}

#[test]
fn a_whole_generation_of_every_window_agrees_with_teacher_forcing() {
    let dir = tempfile::tempdir().unwrap();
    set(dir.path());
    policy(
        dir.path(),
        "all.toml",
        "",
        "everything = true\nbeam = 0\nforeign_prefixes = 0",
    );
    let code = run(dir.path(), &probe("run", &["--gate", "all.toml"])).code;
    assert!(code.is_some_and(|code| code < 3), "{code:?}");
    let json = report(&dir.path().join("run"));
    let (numerics, windows) = (&json["summary"]["numerics"], &json["summary"]["windows"]);
    assert_eq!(numerics["generated"], windows["scored"]);
    assert_eq!(numerics["disagreements"], 0);
    println!("{} windows generated in full", numerics["generated"]);
    let rows = found(&dir.path().join("run"));
    assert!(
        rows.values()
            .all(|parts| parts["continuation"]["drafted"] == 0)
    );
    assert!(rows.values().all(|parts| {
        parts
            .keys()
            .all(|part| ["continuation", "rescored"].contains(&part.as_str()))
    }));
}

#[test]
fn threads_and_batches_change_no_follow_up() {
    let dir = tempfile::tempdir().unwrap();
    set(dir.path());
    run(
        dir.path(),
        &probe("alone", &["--threads", "1", "--batch", "1"]),
    )
    .exits(0);
    run(
        dir.path(),
        &probe("together", &["--threads", "3", "--batch", "7"]),
    )
    .exits(0);
    let (a, b) = (
        found(&dir.path().join("alone")),
        found(&dir.path().join("together")),
    );
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (window, parts) in &a {
        let other = &b[window];
        assert_eq!(
            parts.keys().collect::<Vec<_>>(),
            other.keys().collect::<Vec<_>>(),
            "{window}"
        );
        for (part, value) in parts {
            assert!(
                same(value, &other[part]),
                "{window}: {part}: {value} and {}",
                other[part]
            );
        }
    }
}

#[test]
fn what_was_found_is_not_measured_again_unless_the_settings_are_others() {
    let dir = tempfile::tempdir().unwrap();
    set(dir.path());
    let path = dir.path().join("run");
    run(dir.path(), &probe("run", &[])).exits(0);
    let (text, expected) = (file(&path), report(&path));
    run(dir.path(), &probe("run", &[])).exits(0);
    assert!(
        file(&path) == text && report(&path) == expected,
        "a finished run changed"
    );

    // Killed in the middle of a line.
    let half = text.len() / 2;
    std::fs::write(path.join("follow-up.jsonl"), &text[..half]).unwrap();
    let whole = text[..half].rfind('\n').unwrap() + 1;
    assert!(whole < half);
    run(dir.path(), &probe("run", &[])).exits(0);
    let resumed = file(&path);
    assert!(resumed.starts_with(&text[..whole]), "whole lines are kept");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&resumed).len(), sorted(&text).len());
    assert_eq!(report(&path), expected);

    // Other settings: scores stay, follow-ups are made anew.
    policy(dir.path(), "narrow.toml", "", "beam = 2\nwindows = 1");
    let ran = run(dir.path(), &probe("run", &["--gate", "narrow.toml"]));
    assert!(
        ran.stderr.contains("windows are scored already"),
        "{}",
        ran.stderr
    );
    let rows = found(&path);
    let beams: Vec<&Value> = rows
        .values()
        .filter_map(|parts| Some(&parts.get("near_probability")?["beam"]))
        .collect();
    // 0: where p_z is its own bound, nothing is searched.
    assert!(
        beams.contains(&&Value::from(2)) && beams.iter().all(|beam| **beam == 2 || **beam == 0),
        "{beams:?}"
    );
}

#[cfg(unix)]
#[test]
fn interrupted_it_keeps_whole_lines_exits_with_130_and_resumes_to_the_same_report() {
    let dir = tempfile::tempdir().unwrap();
    set(dir.path());
    let slow = ["--threads", "1", "--batch", "1"];
    run(dir.path(), &probe("whole", &slow)).exits(0);
    let path = dir.path().join("stopped");
    let mut child = byrote(dir.path(), &probe("stopped", &slow))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let started = std::time::Instant::now();
    let lines = || {
        std::fs::read_to_string(path.join("follow-up.jsonl")).map_or(0, |text| text.lines().count())
    };
    while lines() < 5 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it could be interrupted"
        );
        assert!(started.elapsed().as_secs() < 120, "no line in two minutes");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let signalled = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(signalled.success());
    let ran = program::Ran::of(child.wait_with_output().unwrap()).exits(130);
    assert!(
        ran.stderr.contains("the same command resumes there"),
        "{}",
        ran.stderr
    );
    assert!(
        !path.join("report.json").exists(),
        "a run cut short has no report"
    );
    let kept = file(&path);
    assert!(kept.lines().count() < file(&dir.path().join("whole")).lines().count());

    run(dir.path(), &probe("stopped", &slow)).exits(0);
    assert!(file(&path).starts_with(&kept));
    assert_eq!(report(&path), report(&dir.path().join("whole")));
}

#[test]
fn a_reference_scores_the_likeliest_windows_in_its_own_tokens() {
    let dir = tempfile::tempdir().unwrap();
    set(dir.path());
    policy(
        dir.path(),
        "quick.toml",
        "",
        "beam = 0\nforeign_prefixes = 0",
    );
    model_folder(&dir.path().join("same"));
    // Without its last merges the tokenizer spells some words in more tokens.
    model_folder(&dir.path().join("other"));
    let tokenizer = dir.path().join("other/tokenizer.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&tokenizer).unwrap()).unwrap();
    let merges = json["model"]["merges"].as_array_mut().unwrap();
    merges.truncate(merges.len() / 2);
    std::fs::write(&tokenizer, json.to_string()).unwrap();

    let ask = |out, reference| probe(out, &["--gate", "quick.toml", "--reference", reference]);
    let mut longer = 0;
    for reference in ["same", "other"] {
        run(dir.path(), &ask(reference_run(reference), reference));
        let path = dir.path().join(reference_run(reference));
        let json = report(&path);
        assert_eq!(json["reference"]["reference"], reference);
        let scores: Vec<Value> = found(&path)
            .values()
            .filter_map(|parts| parts.get("reference").cloned())
            .collect();
        assert!(scores.len() >= 10, "{}", scores.len());
        for score in &scores {
            let ratio = score["ratio"].as_f64().unwrap();
            let tokens = score["suffix_len"].as_u64().unwrap();
            if reference == "same" {
                assert!(tokens == 32 && (ratio - 1.0).abs() < 1e-3, "{score}");
            }
            longer += u64::from(tokens > 32);
        }
        let items = json["items"].as_array().unwrap();
        let told = |item: &&Value| item["evidence"]["follow_up"]["reference"].is_object();
        assert!(
            items
                .iter()
                .filter(told)
                .all(|item| item["kind"] == "canary")
        );
        assert!(items.iter().filter(told).count() >= 5);
    }
    assert!(longer >= 5, "the other tokenizer was not used: {longer}");

    // Another reference is another run.
    let ran = run(dir.path(), &ask(reference_run("same"), "other")).exits(2);
    assert!(
        ran.stderr.contains("holds another run: reference."),
        "{}",
        ran.stderr
    );
    let ran = run(dir.path(), &ask("nowhere", "no-such-folder/at-all")).exits(2);
    assert!(
        !dir.path().join("nowhere/run.json").exists(),
        "{}",
        ran.stderr
    );
}

fn reference_run(reference: &str) -> &'static str {
    if reference == "same" {
        "run-same"
    } else {
        "run-other"
    }
}
