//! Checkpoints in the forms in which they come: LoRA adapters merged at load, against PEFT, which keeps them beside the
//! base (found by folder); GGUF in parts.

use crate::support::files::files;
use crate::support::golden::{Golden, backend, compare, load, read, try_load};
use byrote_candle::model::load::LoadConfig;
use byrote_candle::model::weights::Precision;
use byrote_core::backend::{Backend, ScoreInput};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Nats a token.
const BOUND: f32 = 1e-4;

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder)
}

/// Each adapter with the base that its config names.
fn adapters() -> Vec<(PathBuf, PathBuf)> {
    let base = |adapter: &Path| {
        let config = std::fs::read(adapter.join("adapter_config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        fixtures("models").join(config["base_model_name_or_path"].as_str().unwrap())
    };
    let all: Vec<_> = files(&fixtures("adapters"))
        .into_iter()
        .map(|adapter| (base(&adapter), adapter))
        .collect();
    assert!(all.len() >= 8, "fixtures are missing");
    all
}

fn with(adapter: &Path) -> LoadConfig {
    let (precision, device) = (Some(Precision::F32), "cpu".to_owned());
    LoadConfig {
        precision,
        device,
        adapter: Some(adapter.to_owned()),
        ..LoadConfig::default()
    }
}

#[test]
fn merged_adapters_score_as_peft_does() {
    for (base, adapter) in adapters() {
        let loaded = try_load(&base, &with(&adapter))
            .unwrap_or_else(|e| panic!("{}: {e}", adapter.display()));
        let difference = compare(
            &backend(loaded, 1, 8),
            &read(&adapter.join("golden.jsonl")),
            BOUND,
        );
        println!(
            "{}: worst {:.1e} mean {:.1e}",
            adapter.display(),
            difference.worst,
            difference.mean()
        );
        assert!(
            difference.worst <= BOUND && difference.flags == 0,
            "{}: {difference:?}",
            adapter.display()
        );
    }
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let refused = |base: &Path, adapter: &str| {
        try_load(base, &with(&fixtures("adapters").join(adapter)))
            .unwrap_err()
            .to_string()
    };
    let models = fixtures("models");
    for (base, adapter, told) in [
        (
            models.join("llama"),
            "gpt2_plain",
            "which the base model doesn't have",
        ),
        // The same names, but other widths.
        (models.join("llama_head_dim"), "llama_plain", "doesn't fit"),
        (
            models.join("llama_gqa_tied"),
            "llama_rslora",
            "\"lm_head.weight\", which the base model doesn't have",
        ),
        (
            models.join("llama_gqa_tied"),
            "llama_embedding",
            "also this base model's output matrix",
        ),
        (
            fixtures("gguf/llama/model.gguf"),
            "llama_plain",
            "use the base model's safetensors",
        ),
    ] {
        let error = refused(&base, adapter);
        assert!(
            error.contains(told) && error.contains("adapter_model.safetensors"),
            "{error}"
        );
    }
}

#[test]
fn a_split_gguf_is_the_whole_by_whichever_part_it_is_given() {
    let windows = read(&fixtures("gguf/qwen2/golden.jsonl"));
    let inputs: Vec<ScoreInput<'_>> = windows.iter().take(3).map(Golden::input).collect();
    let whole = backend(
        load(&fixtures("gguf/qwen2/model.gguf"), Some(Precision::F32)),
        1,
        8,
    )
    .score(&inputs);
    for part in ["model-00001-of-00002.gguf", "model-00002-of-00002.gguf"] {
        let loaded = load(&fixtures("split").join(part), Some(Precision::F32));
        assert!(loaded.tokenizer.is_some());
        assert_eq!(backend(loaded, 1, 8).score(&inputs), whole, "{part}");
    }
}

#[test]
fn parts_that_dont_belong_together_are_refused() {
    let names = ["model-00001-of-00002.gguf", "model-00002-of-00002.gguf"];
    let parts = names.map(|name| fixtures("split").join(name));
    let whole = fixtures("gguf/qwen2/model.gguf");
    let with = |files: [Option<&Path>; 2]| {
        let dir = tempfile::tempdir().unwrap();
        for (name, file) in names.iter().zip(files) {
            file.map(|file| std::fs::copy(file, dir.path().join(name)).unwrap());
        }
        let options = LoadConfig {
            device: "cpu".to_owned(),
            ..LoadConfig::default()
        };
        try_load(&dir.path().join(names[0]), &options)
            .unwrap_err()
            .to_string()
    };
    for (files, told) in [
        (
            [Some(parts[0].as_path()), None],
            "model-00002-of-00002.gguf: this part of 2 is missing",
        ),
        (
            [Some(&parts[0]), Some(&parts[0])],
            "says part 0 (from 0) of 2, but its name says part 1 of 2",
        ),
        ([Some(&parts[1]), Some(&parts[0])], "says part 1"),
        (
            [Some(&parts[0]), Some(&whole)],
            "says part none (from 0) of none",
        ),
    ] {
        let error = with(files);
        assert!(error.contains(told), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let renamed = dir.path().join("model.gguf");
    std::fs::copy(&parts[0], &renamed).unwrap();
    let options = LoadConfig {
        device: "cpu".to_owned(),
        ..LoadConfig::default()
    };
    let error = try_load(&renamed, &options).unwrap_err().to_string();
    assert!(
        error.contains("one of 2 parts of a model, but its name isn't like"),
        "{error}"
    );
}

fn byrote(arguments: &[&str]) -> (bool, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_byrote"));
    let output = program
        .args(arguments)
        .env("HF_TOKEN", "hf_kept-to-ourselves")
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(told).unwrap())
}

#[test]
fn the_doctor_tests_the_model_inside_and_keeps_the_token() {
    let (well, told) = byrote(&["doctor", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(well && json["self_test"]["passed"] == true, "{told}");
    assert!(
        json["hub_token"] == true && !told.contains("kept-to-ourselves"),
        "{told}"
    );
    assert!(
        json["devices"].as_array().unwrap().contains(&"cpu".into()),
        "{told}"
    );
    let (well, text) = byrote(&["doctor"]);
    assert!(
        well && text.contains("self test      passed on") && !text.contains("kept-to-ourselves"),
        "{text}"
    );
}

#[test]
fn a_model_is_shown_by_its_headers() {
    let (folder, adapter) = (fixtures("models/llama"), fixtures("adapters/llama_plain"));
    let (folder, adapter) = (folder.to_str().unwrap(), adapter.to_str().unwrap());
    let show = |more: &[&str]| -> serde_json::Value {
        let (well, told) =
            byrote(&[&["models", "show", folder, "--format", "json"], more].concat());
        assert!(well, "{told}");
        serde_json::from_str(&told).unwrap()
    };
    let base = show(&[]);
    // 2 x 211 x 48 for tables, 2 layers of 4 x 48 x 48 + 3 x 48 x 64 + 2 x 48, and the last norm.
    assert_eq!(base["parameters"], 57_360);
    assert_eq!(
        (&base["layers"], &base["heads"], &base["context"]),
        (&2.into(), &4.into(), &2048.into())
    );
    assert_eq!(base["memory_bytes"]["f32"], 4 * 57_360);
    // Vectors stay in f32.
    assert_eq!(base["memory_bytes"]["bf16"], 2 * 57_360 + 2 * 5 * 48);
    assert!(
        base["model_signing"].is_string()
            && base["unsupported"].is_null()
            && base["adapter"].is_null()
    );
    let adapted = show(&["--adapter", adapter]);
    assert_eq!(adapted["adapter"]["base_model"], "llama");
    assert_eq!(adapted["files"][0]["name"], "adapter/adapter_config.json");
    assert!(
        adapted["digest"] != base["digest"] && adapted["model_signing"] == base["model_signing"]
    );
    let (well, told) = byrote(&[
        "models",
        "show",
        fixtures("models/gpt2").to_str().unwrap(),
        "--adapter",
        adapter,
    ]);
    assert!(
        !well && told.contains("which the base model doesn't have"),
        "{told}"
    );
    let (well, told) = byrote(&[
        "models",
        "show",
        fixtures("split/model-00002-of-00002.gguf")
            .to_str()
            .unwrap(),
    ]);
    assert!(
        well && told.contains("qwen2") && told.contains("memory in quantized"),
        "{told}"
    );
}
