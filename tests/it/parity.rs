//! Every family against transformers in f32, found by folder: a new fixture needs no code here.

use crate::support::fixtures::{folders, ggufs};
use crate::support::golden::{Golden, backend, compare, load, read};
use byrote_candle::model::load::Loaded;
use byrote_candle::model::weights::Precision;
use byrote_core::backend::generate;
use byrote_core::backend::{Backend, ScoreInput, self_test};
use std::path::PathBuf;

/// Nats a token. The references themselves are within 2e-5 of the same pass in f64.
const BOUND: f32 = 1e-4;

/// The same for weights that were rounded to bf16 in loading.
const HALF_BOUND: f32 = 0.15;

/// Models with their golden scores.
fn fixtures() -> Vec<(PathBuf, PathBuf)> {
    let models = folders()
        .into_iter()
        .map(|dir| (dir.clone(), dir.join("golden.jsonl")));
    let gguf = ggufs()
        .into_iter()
        .map(|file| (file.clone(), file.with_file_name("golden.jsonl")));
    models.chain(gguf).collect()
}

/// What candle-transformers computes is in f32 only: load.rs refuses the rest.
fn f32_only(loaded: &Loaded) -> bool {
    loaded.model.sequential() && !loaded.model.info().architecture.contains("mamba")
}

#[test]
fn every_family_scores_as_transformers_does() {
    let mut failures = Vec::new();
    for (model, golden) in fixtures() {
        let backend = backend(load(&model, Some(Precision::F32)), 2, 16);
        let windows = read(&golden);
        let difference = compare(&backend, &windows, BOUND);
        println!(
            "{}: worst {:.1e} mean {:.1e}",
            model.display(),
            difference.worst,
            difference.mean()
        );
        if !(difference.worst <= BOUND && difference.flags == 0) {
            failures.push(format!("{}: {difference:?}", model.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn weights_in_bf16_score_as_transformers_does_within_their_rounding() {
    for (model, golden) in fixtures() {
        if f32_only(&load(&model, Some(Precision::F32))) {
            continue;
        }
        let backend = backend(load(&model, Some(Precision::Bf16)), 2, 16);
        let difference = compare(&backend, &read(&golden), HALF_BOUND);
        println!(
            "{}: bf16 worst {:.1e} mean {:.1e}",
            model.display(),
            difference.worst,
            difference.mean()
        );
        // Most checkpoints are stored in bf16, and then nothing is rounded. The others lose 8 bits of 24 or 3 of 11.
        let stored = std::fs::read_to_string(model.join("config.json")).unwrap_or_default();
        let bound = if stored.contains("\"bfloat16\"") {
            BOUND
        } else {
            HALF_BOUND
        };
        assert!(
            difference.worst <= bound,
            "{}: {difference:?}",
            model.display()
        );
    }
}

#[test]
fn a_window_cut_in_two_scores_as_in_one_piece() {
    for (model, golden) in fixtures() {
        let backend = backend(load(&model, Some(Precision::F32)), 1, 4);
        for window in read(&golden) {
            let (prefix, suffix) = window.token_ids.split_at(window.prefix_len);
            let cut = backend.sum_logprobs(&[prefix], &[suffix]).unwrap()[0][0];
            let whole: f64 = window.logprobs.iter().map(|x| f64::from(*x)).sum();
            let bound = f64::from(BOUND) * suffix.len() as f64;
            assert!(
                (cut - whole).abs() <= bound,
                "{} {}: {cut} cut, {whole} whole",
                model.display(),
                window.id
            );
        }
    }
}

#[test]
fn a_window_alone_scores_as_in_any_batch() {
    for (model, golden) in fixtures() {
        let windows = read(&golden);
        let inputs: Vec<ScoreInput<'_>> = windows.iter().map(Golden::input).collect();
        let batched = backend(load(&model, Some(Precision::F32)), 2, 16).score(&inputs);
        let one = backend(load(&model, Some(Precision::F32)), 1, 1);
        for ((golden, input), batched) in windows.iter().zip(&inputs).zip(batched) {
            let (alone, batched) = (one.score(&[*input]).remove(0).unwrap(), batched.unwrap());
            for (a, b) in alone.logprob.iter().zip(&batched.logprob) {
                assert!(
                    (a - b).abs() < 2e-5,
                    "{} {}: {a} alone, {b} in a batch",
                    model.display(),
                    golden.id
                );
            }
            assert!(
                alone
                    .rank
                    .iter()
                    .zip(&batched.rank)
                    .zip(&alone.margin)
                    .all(|((a, b), m)| a == b || m.abs() < 1e-4),
                "{} {}",
                model.display(),
                golden.id
            );
        }
    }
}

#[test]
fn every_family_passes_the_self_test_and_generates_what_it_scores() {
    for (model, golden) in fixtures() {
        let backend = backend(load(&model, Some(Precision::F32)), 1, 4);
        self_test::run(&backend, None).unwrap_or_else(|e| panic!("{}: {e}", model.display()));
        // The fixture's greedy window is transformers' own continuation: ours, through the cache, is the same.
        let windows = read(&golden);
        let greedy = windows.iter().find(|w| w.id.contains("greedy-0"));
        if let Some(window) = greedy.filter(|w| w.top1_top2_gap.iter().all(|gap| *gap > 1e-3)) {
            let (prefix, suffix) = window.token_ids.split_at(window.prefix_len);
            let generated = generate::greedy(&backend, &[prefix], suffix.len())
                .unwrap()
                .remove(0);
            let generated: Vec<u32> = generated.iter().map(|token| token.id).collect();
            assert_eq!(generated, suffix, "{}", model.display());
        }
    }
}

#[test]
fn weights_kept_narrow_give_the_numbers_of_the_same_weights_in_f32() {
    for (model, golden) in fixtures() {
        let windows = read(&golden);
        let inputs: Vec<ScoreInput<'_>> = windows.iter().take(3).map(Golden::input).collect();
        let in_f32 = load(&model, Some(Precision::F32));
        if f32_only(&in_f32) {
            continue;
        }
        let f32 = backend(in_f32, 1, 8).score(&inputs);
        // Safetensors fixtures hold bf16 but for a few.
        let kept = if model.extension().is_some() {
            Precision::Quantized
        } else {
            Precision::Bf16
        };
        let narrow = backend(load(&model, Some(kept)), 1, 8).score(&inputs);
        let stored = std::fs::read_to_string(model.join("config.json")).unwrap_or_default();
        if model.extension().is_some() {
            // Parts of a fused matrix are products of their own there, whose sums may go in another order.
            for (f32, narrow) in f32.iter().zip(&narrow) {
                let pairs = f32
                    .as_ref()
                    .unwrap()
                    .logprob
                    .iter()
                    .zip(&narrow.as_ref().unwrap().logprob);
                pairs.for_each(|(a, b)| {
                    assert!((a - b).abs() < 2e-5, "{}: {a} and {b}", model.display())
                });
            }
        } else if stored.contains("\"bfloat16\"") {
            assert_eq!(f32, narrow, "{}", model.display());
        }
    }
}
