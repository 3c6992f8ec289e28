//! Weights quantized at load score as the same weights do that were quantized, written out in f32 and loaded again.

use crate::support::files::files;
use crate::support::fixtures::folders;
use crate::support::golden::{Golden, backend, load, read};
use byrote_candle::model::load::{self, Checkpoint, LoadConfig};
use byrote_candle::model::quantize::Quant;
use byrote_candle::model::weights::{Precision, WeightSource};
use byrote_core::backend::{Backend, ScoreInput, TokenScores};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use std::collections::HashMap;
use std::path::Path;

const ALL: [Quant; 6] = [
    Quant::Q8_0,
    Quant::Q6K,
    Quant::Q5K,
    Quant::Q4K,
    Quant::Q4KM,
    Quant::Q4_0,
];

fn scores(path: &Path, precision: Precision, windows: &[Golden]) -> Vec<TokenScores> {
    let inputs: Vec<ScoreInput<'_>> = windows.iter().map(Golden::input).collect();
    backend(load(path, Some(precision)), 1, 8)
        .score(&inputs)
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

/// Mean and largest |difference| of token log-probabilities, in nats.
fn difference(a: &[TokenScores], b: &[TokenScores]) -> (f64, f64) {
    let pairs = a
        .iter()
        .zip(b)
        .flat_map(|(a, b)| a.logprob.iter().zip(&b.logprob));
    let all: Vec<f64> = pairs.map(|(a, b)| f64::from((a - b).abs())).collect();
    (
        all.iter().sum::<f64>() / all.len() as f64,
        all.iter().copied().fold(0.0, f64::max),
    )
}

/// A Llama of 8 layers with rows of 256 and 512, so that blocks of 256 fit, and windows of arbitrary tokens for it.
fn wide(folder: &Path) -> Vec<Golden> {
    let config = serde_json::json!({
        "model_type": "llama", "vocab_size": 300, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 8,
        "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu", "max_position_embeddings": 128,
        "rms_norm_eps": 0.00001, "rope_theta": 10000.0, "tie_word_embeddings": false,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut seed = 20_261_123u64;
    let mut next = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.25
    };
    let mut matrix = |rows: usize, width: usize| {
        let values: Vec<f32> = (0..rows * width).map(|_| next()).collect();
        Tensor::from_vec(values, (rows, width), &Device::Cpu).unwrap()
    };
    let one = || Tensor::ones(256, DType::F32, &Device::Cpu).unwrap();
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    tensors.insert(
        "model.embed_tokens.weight".to_owned(),
        (matrix(300, 256) * 8.0).unwrap(),
    );
    tensors.insert("lm_head.weight".to_owned(), matrix(300, 256));
    tensors.insert("model.norm.weight".to_owned(), one());
    for layer in 0..8 {
        let shapes = [
            ("self_attn.q_proj", 256, 256),
            ("self_attn.k_proj", 128, 256),
            ("self_attn.v_proj", 128, 256),
            ("self_attn.o_proj", 256, 256),
            ("mlp.gate_proj", 512, 256),
            ("mlp.up_proj", 512, 256),
            ("mlp.down_proj", 256, 512),
        ];
        for (name, rows, width) in shapes {
            tensors.insert(
                format!("model.layers.{layer}.{name}.weight"),
                matrix(rows, width),
            );
        }
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            tensors.insert(format!("model.layers.{layer}.{norm}.weight"), one());
        }
    }
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
    let window = |n: u32| Golden {
        id: n.to_string(),
        token_ids: (0..48)
            .map(|i| (i * 37 + n * 101 + i * i * n) % 300)
            .collect(),
        prefix_len: 24,
        logprobs: vec![],
        greedy_match: vec![],
        top1_top2_gap: vec![],
    };
    (0..4).map(window).collect()
}

/// The folder again with every matrix quantized as `choose` says for its name, and written out in f32.
fn written_out(from: &Path, to: &Path, choose: impl Fn(&str) -> GgmlDType) {
    std::fs::copy(from.join("config.json"), to.join("config.json")).unwrap();
    let tensors =
        candle_core::safetensors::load(from.join("model.safetensors"), &Device::Cpu).unwrap();
    let quantized = |(name, tensor): (String, Tensor)| {
        let tensor = tensor.to_dtype(DType::F32).unwrap();
        if tensor.rank() != 2 {
            return (name, tensor);
        }
        let q = QTensor::quantize(&tensor, choose(&name)).unwrap();
        (name, q.dequantize(&Device::Cpu).unwrap())
    };
    let tensors: HashMap<String, Tensor> = tensors.into_iter().map(quantized).collect();
    candle_core::safetensors::save(&tensors, to.join("model.safetensors")).unwrap();
}

#[test]
fn quantized_at_load_is_bit_for_bit_the_quantized_weights_written_out_in_f32() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let windows = wide(dir.path());
    let full = scores(dir.path(), Precision::F32, &windows);
    let mut told = Vec::new();
    for quant in ALL {
        // Written here a second time, apart from the code under test.
        let base = match quant {
            Quant::Q8_0 => GgmlDType::Q8_0,
            Quant::Q6K => GgmlDType::Q6K,
            Quant::Q5K => GgmlDType::Q5K,
            Quant::Q4K | Quant::Q4KM => GgmlDType::Q4K,
            Quant::Q4_0 => GgmlDType::Q4_0,
        };
        written_out(dir.path(), out.path(), |name| {
            // Of 8 layers llama.cpp keeps the first, every third after it, and the last.
            let finer = [0, 3, 6, 7]
                .iter()
                .any(|layer| name.contains(&format!("layers.{layer}.")));
            let mixed = name.contains("v_proj") || name.contains("down_proj");
            match quant {
                Quant::Q8_0 => GgmlDType::Q8_0,
                _ if name == "lm_head.weight" => GgmlDType::Q6K,
                Quant::Q4KM if finer && mixed => GgmlDType::Q6K,
                _ => base,
            }
        });
        let at_load = scores(dir.path(), Precision::AtLoad(quant), &windows);
        assert_eq!(
            at_load,
            scores(out.path(), Precision::F32, &windows),
            "{quant:?}"
        );
        let (mean, most) = difference(&full, &at_load);
        told.push((quant.name(), mean, most));
    }
    println!("{told:?}");
    let mean = |name: &str| told.iter().find(|(other, ..)| *other == name).unwrap().1;
    // Fewer bits, more error; and none is free.
    let order = ["q8_0", "q6_k", "q5_k", "q4_k_m", "q4_k"].map(mean);
    assert!(
        order[0] > 0.0 && order.windows(2).all(|pair| pair[0] < pair[1]),
        "{told:?}"
    );
    assert!(
        mean("q4_0") > mean("q5_k") && mean("q4_0") < 1.0,
        "{told:?}"
    );
}

#[test]
fn every_family_loads_quantized_where_its_rows_allow_and_says_so_where_not() {
    let (mut loaded, mut refused) = (0, 0);
    for folder in folders() {
        let windows = read(&folder.join("golden.jsonl"));
        let windows = &windows[..3.min(windows.len())];
        for quant in [Quant::Q8_0, Quant::Q4_0] {
            let shards = files(&folder)
                .into_iter()
                .filter(|f| f.extension().is_some_and(|e| e == "safetensors"));
            let checkpoint = Checkpoint {
                config: WeightSource::File(folder.join("config.json")),
                weights: shards.map(WeightSource::File).collect(),
                tokenizer: None,
                tokenizer_config: None,
            };
            let precision = Precision::AtLoad(quant);
            let options = LoadConfig {
                precision: Some(precision),
                device: "cpu".to_owned(),
                ..LoadConfig::default()
            };
            match load::safetensors(&checkpoint, &options) {
                Ok(model) => {
                    loaded += 1;
                    assert!(model.mixture.unwrap().contains(quant.name()));
                    let (mean, _) = difference(
                        &scores(&folder, Precision::F32, windows),
                        &scores(&folder, precision, windows),
                    );
                    assert!(
                        mean > 0.0 && mean < 2.0,
                        "{} {quant:?}: {mean}",
                        folder.display()
                    );
                }
                Err(error) => {
                    refused += 1;
                    let error = error.to_string();
                    let no_blocks =
                        error.contains("fits none of its matrices") && error.contains("f16 or f32");
                    let f32_only =
                        error.contains("computed by candle-transformers; use --dtype f32");
                    assert!(no_blocks || f32_only, "{}: {error}", folder.display());
                }
            }
        }
    }
    println!("{loaded} loaded, {refused} refused");
    assert!(loaded >= 8, "only {loaded} loaded");
}
