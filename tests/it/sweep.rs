//! Several precisions, prefixes and tokens at the start in one `byrote probe`: every combination is a run of its own, and
//! what differs between them is told.

use crate::support::program::{
    self, builtin_lines, byrote, report, run, tree, verdicts, write_lines,
};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Every tenth canary, of all repetition counts, and this many controls.
fn probe_set(dir: &Path, controls: usize) {
    let mut lines = builtin_lines(controls);
    let rest = lines.split_off(70);
    let mut some: Vec<String> = lines.into_iter().step_by(5).collect();
    some.extend(rest);
    write_lines(&dir.join("set.jsonl"), &some);
}

fn swept(root: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(root.join("sweep.json")).unwrap()).unwrap()
}

fn probe<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [
        &[
            "probe",
            "--prompts",
            "set.jsonl",
            "--suffix",
            "16",
            "--out",
            "out",
        ][..],
        more,
    ]
    .concat()
}

#[test]
fn every_combination_is_a_run_and_the_root_compares_them() {
    let dir = tempfile::tempdir().unwrap();
    probe_set(dir.path(), 24);
    let args = probe(&[
        "--prefix",
        "10,25,50",
        "--dtype",
        "f32,bf16,q4_0",
        "--bos",
        "auto,never",
    ]);
    let ran = run(dir.path(), &args).exits(0);
    let out = dir.path().join("out");
    let mut cells = 0;
    for dtype in ["f32", "bf16", "q4_0"] {
        for prefix in [10, 25, 50] {
            for bos in ["auto", "never"] {
                let cell = report(&out.join(format!("{dtype}-p{prefix}-bos-{bos}")));
                assert_eq!(cell["settings"]["window"]["prefix"], prefix);
                assert_eq!(cell["settings"]["window"]["lead"], 50);
                assert_eq!(cell["settings"]["bos"], bos);
                assert_eq!(cell["model"]["backend"]["dtype"], dtype);
                cells += 1;
            }
        }
    }
    let sweep = swept(&out);
    assert_eq!(sweep["runs"].as_array().unwrap().len(), cells);
    assert_eq!(sweep["axes"], json!(["dtype", "prefix", "bos"]));
    let markdown = std::fs::read_to_string(out.join("sweep.md")).unwrap();
    assert_eq!(ran.stdout, markdown, "what is printed is what is written");

    let page = std::fs::read_to_string(out.join("sweep.html")).unwrap();
    assert!(ran.stderr.contains("sweep.html"), "{}", ran.stderr);
    for swept_run in sweep["runs"].as_array().unwrap() {
        let (name, folder) = (
            swept_run["name"].as_str().unwrap(),
            swept_run["folder"].as_str().unwrap(),
        );
        assert!(
            page.contains(&format!("<a href=\"{folder}/report.html\">{name}</a>")),
            "{name}"
        );
        assert!(swept_run["parameters"].as_u64() > Some(0), "{swept_run}");
    }
    for item in sweep["items"].as_array().unwrap() {
        let id = item["id"].as_str().unwrap();
        assert!(
            page.contains(&format!("<code>{id}</code>")),
            "{id} isn't on the page"
        );
    }
    assert!(page.contains("Content-Security-Policy") && !page.contains("<script"));

    // Every level in the sweep is the one in the run's own report.
    for (at, swept_run) in sweep["runs"].as_array().unwrap().iter().enumerate() {
        let of_run = verdicts(&report(&out.join(swept_run["folder"].as_str().unwrap())));
        for item in sweep["items"].as_array().unwrap() {
            assert_eq!(
                item["levels"][at],
                of_run[item["id"].as_str().unwrap()].as_str()
            );
        }
    }
    // Unstable items stand first, are told, and are just those whose levels differ.
    let items = sweep["items"].as_array().unwrap();
    let unstable = items
        .iter()
        .take_while(|item| item["standing"] == "unstable")
        .count();
    assert!(
        unstable > 0,
        "a prefix of 10 tokens is too short to recall all that 50 tokens recall"
    );
    for (at, item) in items.iter().enumerate() {
        let levels = item["levels"].as_array().unwrap();
        assert_eq!(
            levels.iter().any(|level| *level != levels[0]),
            at < unstable,
            "{item}"
        );
        assert_eq!(
            item["flips"].as_array().unwrap().is_empty(),
            at >= unstable,
            "{item}"
        );
        let named = markdown.contains(item["id"].as_str().unwrap());
        assert!(named || at >= unstable, "{item} isn't named");
    }
    // The same suffixes everywhere, so more context can't hurt a planted text: nearly monotone.
    for growth in sweep["growth"].as_array().unwrap() {
        assert_eq!(growth["same_suffixes"], true);
        let points = growth["points"].as_array().unwrap();
        let number = |point: &Value, field: &str| point["medians"][field].as_f64().unwrap();
        let windows: Vec<&Value> = points.iter().map(|point| &point["windows"]).collect();
        assert!(windows.iter().all(|count| *count == windows[0]));
        if growth["kind"] == "canary" {
            for pair in points.windows(2) {
                assert!(
                    number(&pair[1], "best_log_p_z") >= number(&pair[0], "best_log_p_z") - 0.5,
                    "{growth}"
                );
            }
        }
    }
    for item in items.iter().filter(|item| item["repetitions"] == 64) {
        let run_of = |at: usize| item["values"][at]["verbatim_run"].as_u64().unwrap();
        // f32 with BOS: 10, 25 and 50 tokens of prefix are the first three runs.
        assert_eq!(sweep["runs"][2]["name"], "f32, prefix 50, BOS auto");
        assert!(run_of(2) == 16 && run_of(0) <= run_of(2), "{item}");
    }
    let of_dtypes = |first: &str, second: &str| {
        let all = sweep["agreement"].as_array().unwrap().iter();
        all.clone()
            .find(|a| a["first"] == first && a["second"] == second)
            .unwrap()
            .clone()
    };
    let shift = |a: &Value| a["median_shift"].as_f64().unwrap().abs();
    let (narrow, four_bits) = (of_dtypes("f32", "bf16"), of_dtypes("f32", "q4_0"));
    assert!(
        narrow["same"].as_u64() >= four_bits["same"].as_u64(),
        "{narrow} {four_bits}"
    );
    assert!(shift(&narrow) < shift(&four_bits), "{narrow} {four_bits}");
}

#[test]
fn one_value_each_is_a_run_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    probe_set(dir.path(), 3);
    run(
        dir.path(),
        &probe(&["--prefix", "25,25", "--dtype", "f32", "--bos", "auto"]),
    )
    .exits(0);
    let files = tree(&dir.path().join("out"));
    assert!(
        files.contains_key("report.json")
            && !files.contains_key("sweep.json")
            && !files.contains_key("sweep.html")
    );
    let manifest: Value = serde_json::from_slice(&files["run.json"]).unwrap();
    assert!(manifest["settings"]["window"].get("lead").is_none());
    assert!(manifest["model"]["backend"].get("mixture").is_none());
}

#[test]
fn a_sweep_that_was_killed_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    probe_set(dir.path(), 12);
    let args = probe(&[
        "--prefix",
        "8,40",
        "--dtype",
        "f32,q8_0",
        "--stride",
        "4",
        "--threads",
        "1",
    ]);
    let out = dir.path().join("out");
    let mut child = byrote(dir.path(), &args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let second = out.join("f32-p40-bos-auto/scores/part-00000.parquet");
    while !second.exists() {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "the second run never began"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !out.join("sweep.json").exists(),
        "a sweep cut short compares nothing"
    );
    let first = std::fs::read(out.join("f32-p8-bos-auto/scores/part-00000.parquet")).unwrap();

    let ran = run(dir.path(), &args).exits(0);
    assert!(
        ran.stderr.contains("windows are scored already"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        std::fs::read(out.join("f32-p8-bos-auto/scores/part-00000.parquet")).unwrap(),
        first
    );
    let resumed = swept(&out);
    assert_eq!(resumed["runs"].as_array().unwrap().len(), 4);
    std::fs::rename(&out, dir.path().join("resumed")).unwrap();
    run(dir.path(), &args).exits(0);
    assert_eq!(swept(&out), resumed);
}

#[test]
fn what_can_not_be_run_leaves_the_sweep_undecided_and_the_rest_standing() {
    let dir = tempfile::tempdir().unwrap();
    probe_set(dir.path(), 3);
    // Rows of the built-in model are 192 and 576 long.
    let ran = run(
        dir.path(),
        &probe(&["--dtype", "f32,q4_k_m", "--prefix", "25"]),
    )
    .exits(2);
    assert!(
        ran.stderr.contains("fits none of its matrices") && ran.stderr.contains("try q4_0 or q8_0"),
        "{}",
        ran.stderr
    );
    let sweep = swept(&dir.path().join("out"));
    assert!(
        sweep["runs"][1]["failed"]
            .as_str()
            .unwrap()
            .contains("q4_k_m")
    );
    assert!(dir.path().join("out/f32-p25-bos-auto/report.html").exists());
    assert!(
        sweep["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["standing"] == "incomplete")
    );
}

#[test]
fn several_models_are_compared_by_model_and_the_gravest_run_decides() {
    let dir = tempfile::tempdir().unwrap();
    probe_set(dir.path(), 24);
    program::model_folder(&dir.path().join("copy"));
    let models = [
        "--model", "builtin", "--model", "copy", "--prefix", "25", "--gate", "default",
    ];
    let ran = run(dir.path(), &probe(&models));
    let sweep = swept(&dir.path().join("out"));
    let folders: Vec<&Value> = sweep["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["folder"])
        .collect();
    assert_eq!(folders, ["builtin", "copy"]);
    assert_eq!(sweep["axes"], json!(["model"]));
    let (same, of) = (
        &sweep["agreement"][0]["same"],
        &sweep["agreement"][0]["verdicts"],
    );
    assert!(
        same == of && of.as_u64() > Some(0),
        "the same weights give the same verdicts"
    );
    let page = std::fs::read_to_string(dir.path().join("out/sweep.html")).unwrap();
    assert!(
        page.contains("href=\"builtin/report.html\"") && page.contains("href=\"copy/report.html\"")
    );
    assert_eq!(sweep["growth_with_size"], json!([]), "both are of one size");
    let outcomes: Vec<&str> = sweep["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["outcome"].as_str().unwrap())
        .collect();
    let code = if outcomes.contains(&"block") {
        1
    } else {
        i32::from(outcomes.contains(&"undecided")) * 2
    };
    assert_eq!(ran.code, Some(code), "{outcomes:?}");
    assert!(
        sweep["decision"]["reasons"][0]
            .as_str()
            .unwrap()
            .starts_with("builtin: ")
    );
}

#[test]
fn items_too_short_for_the_longest_prefix_say_which_sweep_would_fit() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines = builtin_lines(3).split_off(70);
    lines.push(
        json!({"id": "short", "text": "The old harbour was closed for the winter, and nobody came."}).to_string(),
    );
    write_lines(&dir.path().join("set.jsonl"), &lines);
    let args = [
        "probe",
        "--prompts",
        "set.jsonl",
        "--suffix",
        "4",
        "--out",
        "out",
        "--prefix",
        "4,60",
    ];
    // Without a gate nothing is decided, and every window that there is was scored.
    run(dir.path(), &args).exits(0);
    for cell in ["auto-p4-bos-auto", "auto-p60-bos-auto"] {
        let report = report(&dir.path().join("out").join(cell));
        let short = report["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["id"] == "short")
            .unwrap()
            .clone();
        assert_eq!(short["verdict"], "inconclusive");
        let why = short["reasons"][0]["message"].as_str().unwrap();
        assert!(
            why.contains("it fits a sweep whose longest prefix is at most"),
            "{why}"
        );
    }
}

#[test]
fn a_sweep_holds_no_text_and_no_lead_shorter_than_its_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let planted = "Vexil the quibblewort sang of Ombrasquelle to zyxomma larks while old snollygosters brewed mumpsimus tea";
    let item = json!({"id": "larks", "text": planted, "title": "The Larkbook", "author": "Ysolde Brackenthwaite"});
    write_lines(&dir.path().join("set.jsonl"), &[item.to_string()]);
    let args = [
        "probe",
        "--prompts",
        "set.jsonl",
        "--suffix",
        "5",
        "--prefix",
        "5,10",
        "--out",
        "out",
    ];
    let ran = run(dir.path(), &args).exits(0);
    let mut said = tree(&dir.path().join("out"));
    assert!(
        said.contains_key("sweep.json")
            && said.contains_key("sweep.md")
            && said.contains_key("sweep.html")
    );
    said.insert("stdout".to_owned(), ran.stdout.into_bytes());
    said.insert("stderr".to_owned(), ran.stderr.into_bytes());
    for (name, bytes) in said {
        let text = String::from_utf8_lossy(&bytes);
        for word in [
            "quibblewort",
            "Ombrasquelle",
            "snollygosters",
            "Larkbook",
            "Brackenthwaite",
        ] {
            assert!(!text.contains(word), "{name} holds {word}");
        }
    }
    let args = [
        "probe",
        "--prompts",
        "set.jsonl",
        "--suffix",
        "5",
        "--prefix",
        "10",
        "--min-context",
        "5",
        "--out",
        "led",
    ];
    let ran = run(dir.path(), &args).exits(2);
    assert!(
        ran.stderr.contains("give --min-context 10 or more"),
        "{}",
        ran.stderr
    );
}
