//! Reference scores made by transformers, and the comparison with byrote's.

use super::files::files;
use byrote_candle::model::ModelError;
use byrote_candle::model::load::{self, Checkpoint, LoadConfig, Loaded};
use byrote_candle::model::weights::{Precision, WeightSource};
use byrote_candle::native::{Native, NativeConfig};
use byrote_core::backend::{Backend, Scheme, ScoreInput, TokenScores};
use serde::Deserialize;
use std::path::Path;

/// One line of a golden.jsonl, which lies there as it is or packed (`.zst`).
#[derive(Debug, Deserialize)]
pub(crate) struct Golden {
    pub(crate) id: String,
    pub(crate) token_ids: Vec<u32>,
    pub(crate) prefix_len: usize,
    pub(crate) logprobs: Vec<f32>,
    pub(crate) greedy_match: Vec<bool>,
    pub(crate) top1_top2_gap: Vec<f32>,
}

impl Golden {
    pub(crate) fn input(&self) -> ScoreInput<'_> {
        ScoreInput {
            token_ids: &self.token_ids,
            prefix_len: self.prefix_len,
        }
    }
}

pub(crate) fn read(path: &Path) -> Vec<Golden> {
    let packed = path.with_extension("jsonl.zst");
    let text = match std::fs::read(&packed) {
        Ok(packed) => String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap(),
        Err(_) => {
            std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        }
    };
    let windows: Vec<Golden> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!windows.is_empty(), "{} is empty", path.display());
    windows
}

/// Loads a folder with config.json and safetensors, or a GGUF file.
pub(crate) fn load(path: &Path, precision: Option<Precision>) -> Loaded {
    let options = LoadConfig {
        precision,
        device: "cpu".to_owned(),
        ..LoadConfig::default()
    };
    try_load(path, &options).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn try_load(path: &Path, options: &LoadConfig) -> Result<Loaded, ModelError> {
    if path.extension().is_some_and(|e| e == "gguf") {
        load::gguf(path, options)
    } else {
        let shards = files(path)
            .into_iter()
            .filter(|f| f.extension().is_some_and(|e| e == "safetensors"));
        let weights = shards.map(WeightSource::File).collect();
        let config = WeightSource::File(path.join("config.json"));
        let checkpoint = Checkpoint {
            config,
            weights,
            tokenizer: None,
            tokenizer_config: None,
        };
        load::safetensors(&checkpoint, options)
    }
}

pub(crate) fn backend(loaded: Loaded, threads: usize, batch: usize) -> Native {
    let config = NativeConfig {
        threads,
        batch,
        arithmetic: byrote_candle::model::Arithmetic::F32,
    };
    Native::new(
        loaded.model,
        loaded.precision.name(),
        Scheme::defaults(),
        config,
    )
    .unwrap()
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Largest |difference| of a token's log-probability, in nats, and where.
    pub(crate) worst: f32,
    pub(crate) at: String,
    pub(crate) sum: f64,
    pub(crate) tokens: usize,
    /// Rank-0 flags that differ where the reference's top two are further apart than the bound given.
    pub(crate) flags: usize,
    /// Windows whose every suffix token is on top.
    pub(crate) exact: Vec<String>,
}

impl Difference {
    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.tokens as f64
    }

    pub(crate) fn add(&mut self, golden: &Golden, scores: &TokenScores, gap: f32) {
        assert_eq!(scores.logprob.len(), golden.logprobs.len());
        if scores.rank.iter().all(|rank| *rank == 0) {
            self.exact.push(golden.id.clone());
        }
        for (i, (got, want)) in scores.logprob.iter().zip(&golden.logprobs).enumerate() {
            let difference = (got - want).abs();
            if difference > self.worst || difference.is_nan() {
                self.worst = difference;
                self.at = format!("{} token {i}", golden.id);
            }
            self.sum += f64::from(difference);
            self.tokens += 1;
            let differs = (scores.rank[i] == 0) != golden.greedy_match[i];
            self.flags += usize::from(differs && golden.top1_top2_gap[i] > gap);
        }
    }
}

/// Scores all windows and compares.
pub(crate) fn compare(backend: &dyn Backend, windows: &[Golden], gap: f32) -> Difference {
    let inputs: Vec<ScoreInput<'_>> = windows.iter().map(Golden::input).collect();
    let mut difference = Difference::default();
    for (golden, scores) in windows.iter().zip(backend.score(&inputs)) {
        difference.add(
            golden,
            &scores.unwrap_or_else(|e| panic!("{}: {e}", golden.id)),
            gap,
        );
    }
    difference
}
