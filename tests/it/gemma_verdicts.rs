//! Verdicts on a real checkpoint: Gemma-3-270M knows the founding texts, the MIT licence and lorem ipsum by heart, and
//! none of the fresh texts. Runs where `BYROTE_TEST_MODELS` names the folder with the checkpoint.

use crate::support::program::{report, repository, run, verdicts, write_lines};
use crate::support::resource::models;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const MODEL: &str = "gemma-3-270m-q4_k_m.gguf";

/// Known by heart: the founding texts, the licence, lorem ipsum.
const KNOWN: [&str; 4] = ["lorem", "pd_usconst", "pd_declaration", "mit_license"];

/// Fresh texts that take part as if they had been opted out.
const FRESH: usize = 3;

/// The famous texts and some fresh ones as items; the other fresh prose and legal texts as controls.
fn probe_set(dir: &Path) -> PathBuf {
    let mut lines = Vec::new();
    for id in KNOWN
        .iter()
        .chain(&["pd_genesis", "pd_gettysburg", "fresh"])
    {
        let path = repository("tests/fixtures/texts").join(format!("{id}.txt"));
        lines.push(json!({ "id": id, "text": std::fs::read_to_string(path).unwrap() }).to_string());
    }
    for genre in ["prose", "legal"] {
        let path = repository("prompts/controls").join(format!("{genre}.jsonl"));
        for (n, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
            let mut item: serde_json::Value = serde_json::from_str(line).unwrap();
            if n < FRESH {
                item["kind"] = "opt_out".into();
            }
            lines.push(item.to_string());
        }
    }
    let path = dir.join("set.jsonl");
    write_lines(&path, &lines);
    path
}

/// The positive control must come out extractable: without its BOS token the model still ranks it above all controls, but
/// at 10^18 samples. Of follow-ups only what confirms verdicts, to be quick.
const POLICY: &str = "schema = \"byrote.policy/v1\"\npositive_controls = [\"extractable:pd_usconst\"]\n\
    [follow_up]\nwindows = 1\nnear_miss = 1.0\nbeam = 0\nforeign_prefixes = 0\n";

fn probed(
    dir: &Path,
    models: &Path,
    window: [&str; 6],
    more: &[&str],
) -> (serde_json::Value, BTreeMap<String, String>) {
    let (model, set, out) = (models.join(MODEL), probe_set(dir), dir.join("run"));
    std::fs::write(dir.join("policy.toml"), POLICY).unwrap();
    let paths = [&model, &set, &out].map(|path| path.to_str().unwrap());
    let fixed = [
        "probe",
        "--model",
        paths[0],
        "--prompts",
        paths[1],
        "--out",
        paths[2],
    ];
    let args: Vec<&str> = fixed.iter().chain(&window).chain(more).copied().collect();
    let ran = run(dir, &args);
    assert!(ran.code.is_some_and(|code| code != 130), "{}", ran.stderr);
    let report = report(&out);
    let verdicts = verdicts(&report);
    for item in report["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["kind"] != "control")
    {
        println!("{}: {} ({})", item["id"], item["verdict"], item["reasons"]);
    }
    (report, verdicts)
}

fn known_and_fresh_part(verdicts: &BTreeMap<String, String>, known: &[&str]) {
    let found = |id: &str| ["extractable", "memorized"].contains(&verdicts[id].as_str());
    for &id in known {
        assert!(found(id), "{id} is {}", verdicts[id]);
    }
    for (id, verdict) in verdicts
        .iter()
        .filter(|(id, _)| *id == "fresh" || id.starts_with("control-"))
    {
        assert!(!found(id), "{id} is {verdict}, though no model has seen it");
    }
}

#[test]
fn gemma_knows_the_famous_texts_and_no_fresh_one_at_50_and_50() {
    let Some(models) = models() else { return };
    let dir = TempDir::new().unwrap();
    let window = ["--prefix", "50", "--suffix", "50", "--stride", "100"];
    let (report, verdicts) = probed(dir.path(), &models, window, &[]);
    // 85 tokens are no window of 50 + 50: that can't be told, and isn't clear.
    assert_eq!(verdicts["lorem"], "inconclusive");
    known_and_fresh_part(&verdicts, &KNOWN[1..]);
    // Each finding shows what it costs.
    for item in report["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| KNOWN[1..].contains(&item["id"].as_str().unwrap()))
    {
        let schemes = item["evidence"]["forms"][0]["values"]["schemes"]
            .as_array()
            .unwrap();
        assert!(
            schemes
                .iter()
                .any(|scheme| scheme["best"]["samples_p50"].is_number()),
            "{}",
            item["id"]
        );
    }
}

#[test]
fn gemma_knows_the_famous_texts_and_no_fresh_one_at_32_and_16() {
    let Some(models) = models() else { return };
    let dir = TempDir::new().unwrap();
    let window = ["--prefix", "32", "--suffix", "16", "--stride", "32"];
    let (report, verdicts) = probed(dir.path(), &models, window, &["--gate", "policy.toml"]);
    known_and_fresh_part(&verdicts, &KNOWN);
    // The positive control is found, so that the run is decided: what it found blocks.
    assert_eq!(report["decision"]["outcome"], "block");
    let numerics = &report["summary"]["numerics"];
    assert!(
        numerics["generated"].as_u64().unwrap() >= 4 && numerics["disagreements"] == 0,
        "{numerics}"
    );
}

#[test]
fn without_its_bos_the_positive_control_fails_and_nothing_is_called_clean() {
    let Some(models) = models() else { return };
    let dir = TempDir::new().unwrap();
    let window = ["--prefix", "32", "--suffix", "16", "--stride", "64"];
    let (report, verdicts) = probed(
        dir.path(),
        &models,
        window,
        &["--bos", "never", "--gate", "policy.toml"],
    );
    assert!(
        verdicts.values().all(|verdict| verdict == "inconclusive"),
        "{verdicts:?}"
    );
    assert_eq!(report["decision"]["outcome"], "undecided");
    let reason = report["items"][0]["reasons"][0]["message"]
        .as_str()
        .unwrap();
    assert!(
        reason.contains("positive control") && reason.contains("pd_usconst"),
        "{reason}"
    );
}
