//! Teacher-forced scores against candle-transformers' own models, fed one suffix token at a time: another
//! implementation and another path to the same numbers.

use crate::support::golden::{Golden, backend, load, read};
use byrote_candle::model::weights::Precision;
use byrote_core::backend::{Backend, ScoreInput};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{gemma3, llama, mistral, qwen2};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Nats a token. candle-transformers makes its rotary tables and sums in other orders.
const BOUND: f32 = 1e-4;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(name)
}

fn config<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(folder(name).join("config.json")).unwrap()).unwrap()
}

fn tensors(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder(name).join("model.safetensors"), &Device::Cpu).unwrap()
}

fn weights(name: &str) -> VarBuilder<'static> {
    VarBuilder::from_tensors(tensors(name), DType::F32, &Device::Cpu)
}

/// Log-probabilities of the suffix from a model that gives the logits of its last position only: `step` takes
/// tokens and the number of tokens it has seen.
fn sequential(
    window: &Golden,
    mut step: impl FnMut(&Tensor, usize) -> candle_core::Result<Tensor>,
) -> Vec<f32> {
    let mut seen = 0;
    let mut fed = &window.token_ids[..window.prefix_len];
    let mut logprobs = Vec::new();
    for (i, target) in window.token_ids.iter().enumerate().skip(window.prefix_len) {
        let ids = Tensor::new(fed, &Device::Cpu)
            .unwrap()
            .unsqueeze(0)
            .unwrap();
        let logits = step(&ids, seen)
            .unwrap()
            .to_dtype(DType::F32)
            .unwrap()
            .flatten_all()
            .unwrap();
        let logprob = candle_nn::ops::log_softmax(&logits, 0).unwrap();
        logprobs.push(logprob.to_vec1::<f32>().unwrap()[*target as usize]);
        seen += fed.len();
        fed = &window.token_ids[i..=i];
    }
    logprobs
}

/// Compares on the fixture's windows of at most `longest` tokens.
fn agrees(name: &str, longest: usize, mut oracle: impl FnMut(&Golden) -> Vec<f32>) {
    let backend = backend(load(&folder(name), Some(Precision::F32)), 1, 8);
    let windows: Vec<Golden> = read(&folder(name).join("golden.jsonl"))
        .into_iter()
        .filter(|w| w.token_ids.len() <= longest)
        .collect();
    assert!(windows.len() >= 2, "{name}: too few windows to compare");
    for window in &windows {
        let ours = backend
            .score(&[ScoreInput { ..window.input() }])
            .remove(0)
            .unwrap();
        for (i, (ours, theirs)) in ours.logprob.iter().zip(oracle(window)).enumerate() {
            assert!(
                (ours - theirs).abs() <= BOUND,
                "{name} {} token {i}: {ours} against {theirs}",
                window.id
            );
        }
    }
}

#[test]
fn llama_teacher_forced_equals_llama_sequential() {
    for name in ["llama", "llama_gqa_tied"] {
        let config = config::<llama::LlamaConfig>(name).into_config(false);
        let model = llama::Llama::load(weights(name), &config).unwrap();
        agrees(name, 100, |window| {
            let mut cache = llama::Cache::new(true, DType::F32, &config, &Device::Cpu).unwrap();
            sequential(window, |ids, seen| model.forward(ids, seen, &mut cache))
        });
    }
}

/// What a walk costs against one pass, on the built-in model (3 layers of 192): the ratio that docs/models.md tells.
#[test]
fn a_walk_gives_the_numbers_of_one_pass_and_says_what_it_costs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/candle/src/model/builtin");
    let config: llama::LlamaConfig =
        serde_json::from_slice(&std::fs::read(root.join("config.json")).unwrap()).unwrap();
    let config = config.into_config(false);
    let tensors =
        candle_core::safetensors::load(root.join("model.safetensors"), &Device::Cpu).unwrap();
    let model = llama::Llama::load(
        VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu),
        &config,
    )
    .unwrap();
    let windows: Vec<Golden> = (0..16u32)
        .map(|i| {
            let token_ids: Vec<u32> = (0..100)
                .map(|j| 3 + (i * 977 + j * 131 + j * j * 7) % 2000)
                .collect();
            Golden {
                id: i.to_string(),
                token_ids,
                prefix_len: 50,
                logprobs: vec![],
                greedy_match: vec![],
                top1_top2_gap: vec![],
            }
        })
        .collect();
    let backend = backend(load(&root, Some(Precision::F32)), 1, 16);
    let inputs: Vec<ScoreInput<'_>> = windows.iter().map(Golden::input).collect();
    let start = std::time::Instant::now();
    let ours = backend.score(&inputs);
    let pass = start.elapsed();
    let single = rayon_of_one();
    let start = std::time::Instant::now();
    let walked: Vec<Vec<f32>> = single.install(|| {
        let walk = |window| {
            let mut cache = llama::Cache::new(true, DType::F32, &config, &Device::Cpu).unwrap();
            sequential(window, |ids, seen| model.forward(ids, seen, &mut cache))
        };
        windows.iter().map(walk).collect()
    });
    println!("one pass {pass:?}, a token at a time {:?}", start.elapsed());
    for (ours, walked) in ours.into_iter().zip(walked) {
        assert!(
            ours.unwrap()
                .logprob
                .iter()
                .zip(walked)
                .all(|(a, b)| (a - b).abs() <= BOUND)
        );
    }
}

fn rayon_of_one() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap()
}

#[test]
fn mistral_teacher_forced_equals_mistral_sequential() {
    let mut model = mistral::Model::new(&config("mistral_full"), weights("mistral_full")).unwrap();
    agrees("mistral_full", 100, |window| {
        model.clear_kv_cache();
        sequential(window, |ids, seen| model.forward(ids, seen))
    });
}

#[test]
fn qwen2_teacher_forced_equals_qwen2_sequential() {
    for name in ["qwen2", "qwen2_untied"] {
        let mut model = qwen2::ModelForCausalLM::new(&config(name), weights(name)).unwrap();
        agrees(name, 100, |window| {
            model.clear_kv_cache();
            sequential(window, |ids, seen| model.forward(ids, seen))
        });
    }
}

#[test]
fn gemma3_teacher_forced_equals_gemma3_sequential() {
    let config: gemma3::Config = config("gemma3_pattern");
    // candle-transformers scales scores by the head's size where the checkpoint names another number; the norm of the
    // queries, 1 + weight, makes up for it.
    let correction = (config.head_dim as f64 / config.query_pre_attn_scalar as f64).sqrt();
    let mut tensors = tensors("gemma3_pattern");
    for (name, weight) in tensors
        .iter_mut()
        .filter(|(name, _)| name.ends_with("q_norm.weight"))
    {
        *weight = (((weight.to_dtype(DType::F32).unwrap() + 1.0).unwrap() * correction).unwrap()
            - 1.0)
            .unwrap();
        assert!(name.contains("self_attn"));
    }
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let mut model = gemma3::Model::new(false, &config, weights).unwrap();
    // Its sliding window is one token wider than transformers': compared where the window (32) doesn't bind.
    agrees("gemma3_pattern", 32, |window| {
        model.clear_kv_cache();
        sequential(window, |ids, seen| model.forward(ids, seen))
    });
}
