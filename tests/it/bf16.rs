//! Products in bf16: how far they are from f32, and that no verdict hangs on it.

use crate::support::golden;
use crate::support::program::{builtin_lines, report, repository, run, verdicts, write_lines};
use crate::support::resource::models;
use byrote_candle::model::Arithmetic;
use byrote_candle::model::weights::Precision;
use byrote_candle::native::{Native, NativeConfig};
use byrote_core::backend::{Backend, Scheme, ScoreInput};
use byrote_core::follow::select::{TOKEN_ERROR, WINDOW_ERROR};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

/// The report of a run that was made in these numbers.
fn probed(dir: &Path, name: &str, args: &[&str]) -> Value {
    let all: Vec<&str> = ["probe", "--out", name]
        .into_iter()
        .chain(args.iter().copied())
        .collect();
    let ran = run(dir, &all);
    assert!(ran.code.is_some_and(|code| code != 130), "{}", ran.stderr);
    report(&dir.join(name))
}

/// Levels, and the p-values that they come from, are those of the same weights multiplied in f32.
fn same_verdicts(dir: &Path, args: &[&str]) -> u64 {
    let with = |name: &str, compute: &str| {
        let more = ["--dtype", "bf16", "--compute", compute];
        probed(
            dir,
            name,
            &args.iter().copied().chain(more).collect::<Vec<_>>(),
        )
    };
    let (narrow, exact) = (with("narrow", "bf16"), with("exact", "f32"));
    assert_eq!(exact["model"]["backend"]["arithmetic"], "f32");
    assert_eq!(verdicts(&narrow), verdicts(&exact));
    if narrow["model"]["backend"]["arithmetic"] == "f32" {
        eprintln!("this processor doesn't multiply bf16: nothing was compared");
        return 1;
    }
    for (narrow, exact) in narrow["items"]
        .as_array()
        .unwrap()
        .iter()
        .zip(exact["items"].as_array().unwrap())
    {
        let p = |item: &Value| item["validity"]["p_value"].as_f64();
        if exact["validity"]["significant"] == true {
            assert_eq!(p(narrow), p(exact), "{}", exact["id"]);
        }
    }
    let numerics = &narrow["summary"]["numerics"];
    println!(
        "{} windows, {numerics}",
        narrow["summary"]["windows"]["scored"]
    );
    assert_eq!(numerics["near_ties"], numerics["rescored"]);
    numerics["rescored"].as_u64().unwrap()
}

#[test]
fn the_built_in_set_has_the_same_verdicts() {
    let dir = TempDir::new().unwrap();
    write_lines(&dir.path().join("set.jsonl"), &builtin_lines(60));
    assert!(same_verdicts(dir.path(), &["--prompts", "set.jsonl"]) > 0);
    let dir = TempDir::new().unwrap();
    write_lines(&dir.path().join("set.jsonl"), &builtin_lines(60));
    assert!(same_verdicts(dir.path(), &["--prompts", "set.jsonl", "--gate", "quick"]) > 0);
}

#[test]
fn statistics_to_which_every_window_contributes_are_computed_in_f32() {
    let dir = TempDir::new().unwrap();
    write_lines(&dir.path().join("set.jsonl"), &builtin_lines(30));
    let policy = "schema = \"byrote.policy/v1\"\nstatistic = \"mean_log_prob\"\n[follow_up]\nwindows = 0\nbeam = 0\n";
    std::fs::write(dir.path().join("mean.toml"), policy).unwrap();
    let report = probed(
        dir.path(),
        "run",
        &[
            "--prompts",
            "set.jsonl",
            "--dtype",
            "bf16",
            "--gate",
            "mean.toml",
        ],
    );
    assert_eq!(report["model"]["backend"]["arithmetic"], "f32");
}

#[test]
fn bf16_products_for_weights_in_f32_are_refused() {
    let dir = TempDir::new().unwrap();
    let ran = run(
        dir.path(),
        &["probe", "--dtype", "f32", "--compute", "bf16"],
    )
    .exits(2);
    assert!(ran.stderr.contains("add --dtype bf16"), "{}", ran.stderr);
}

#[test]
fn gemma_has_the_same_verdicts_in_bf16() {
    let Some(models) = models() else { return };
    let dir = TempDir::new().unwrap();
    let mut lines = Vec::new();
    for id in [
        "lorem",
        "pd_usconst",
        "pd_declaration",
        "mit_license",
        "pd_genesis",
        "pd_gettysburg",
        "fresh",
    ] {
        let text =
            std::fs::read_to_string(repository("tests/fixtures/texts").join(format!("{id}.txt")))
                .unwrap();
        lines.push(json!({ "id": id, "text": text }).to_string());
    }
    for genre in ["prose", "legal"] {
        let path = repository("prompts/controls").join(format!("{genre}.jsonl"));
        lines.extend(
            std::fs::read_to_string(path)
                .unwrap()
                .lines()
                .map(str::to_owned),
        );
    }
    write_lines(&dir.path().join("set.jsonl"), &lines);
    let policy = "schema = \"byrote.policy/v1\"\n[follow_up]\nwindows = 0\nnear_miss = 1.0\nbeam = 0\nforeign_prefixes = 0\n";
    std::fs::write(dir.path().join("policy.toml"), policy).unwrap();
    let model = models.join("gemma-3-270m-q4_k_m.gguf");
    let fixed = [
        "--model",
        model.to_str().unwrap(),
        "--prompts",
        "set.jsonl",
        "--gate",
        "policy.toml",
    ];
    let window = ["--prefix", "32", "--suffix", "16", "--stride", "32"];
    let args: Vec<&str> = fixed.into_iter().chain(window).collect();
    assert!(same_verdicts(dir.path(), &args) > 0);
}

/// The bounds by which runs in bf16 are decided hold on the golden windows, against the same weights multiplied in f32 and
/// against transformers with the weights in f32.
#[test]
fn golden_windows_keep_to_the_bounds_that_verdicts_rely_on() {
    let Some(models) = models() else { return };
    for (file, windows) in [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m.jsonl"),
        ("gemma-3-270m-q4_k_m.gguf", "gemma3-270m.jsonl"),
    ] {
        let windows = golden::read(&repository("tests/fixtures/golden").join(windows));
        let loaded = golden::load(&models.join(file), Some(Precision::Bf16));
        let config = NativeConfig {
            threads: 2,
            batch: 16,
            arithmetic: Arithmetic::Bf16,
        };
        let backend = Native::new(loaded.model, "bf16", Scheme::defaults(), config).unwrap();
        let inputs: Vec<ScoreInput<'_>> = windows.iter().map(|window| window.input()).collect();
        let (narrow, exact) = (backend.score(&inputs), backend.in_f32().score(&inputs));
        let (mut worst, mut sum, mut tokens, mut worst_window, mut flips, mut of_reference) =
            (0f64, 0.0, 0, 0f64, 0, 0f64);
        for ((narrow, exact), window) in narrow.iter().zip(&exact).zip(&windows) {
            let (narrow, exact) = (narrow.as_ref().unwrap(), exact.as_ref().unwrap());
            let differences: Vec<f64> = narrow
                .logprob
                .iter()
                .zip(&exact.logprob)
                .map(|(a, b)| f64::from(a - b))
                .collect();
            worst = differences
                .iter()
                .fold(worst, |worst, d| worst.max(d.abs()));
            sum += differences.iter().map(|d| d.abs()).sum::<f64>();
            worst_window = worst_window.max(differences.iter().sum::<f64>().abs());
            tokens += differences.len();
            for ((narrow, exact), margin) in narrow.rank.iter().zip(&exact.rank).zip(&exact.margin)
            {
                if (*narrow == 0) != (*exact == 0) {
                    flips += 1;
                    assert!(
                        f64::from(margin.abs()) < TOKEN_ERROR,
                        "a flip {margin} nats from a tie"
                    );
                }
            }
            let against = narrow
                .logprob
                .iter()
                .zip(&window.logprobs)
                .map(|(a, b)| f64::from(a - b).abs());
            of_reference = against.fold(of_reference, f64::max);
        }
        let mean = sum / f64::from(tokens as u32);
        println!(
            "{file}: {tokens} tokens, mean {mean:.4}, worst {worst:.3}, a window's sum {worst_window:.3}, {flips} flips; worst \
             against transformers in f32 {of_reference:.3}"
        );
        assert!(
            worst < TOKEN_ERROR && worst_window < WINDOW_ERROR && mean < 0.03 && of_reference < 1.0
        );
    }
}
