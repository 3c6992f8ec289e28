//! The real checkpoints against transformers in f32, where `BYROTE_TEST_MODELS` names their folder.

use crate::support::golden::{backend, compare, load, read};
use crate::support::resource::models;
use byrote_candle::model::weights::Precision;
use byrote_candle::native::Native;
use byrote_candle::tokens::tokenizer::Tokenizer;
use byrote_core::backend::exit::Exit;
use byrote_core::backend::{Backend, ScoreInput};
use byrote_core::tokens::BosChoice;
use std::path::Path;

/// `extractable` is the one window of the file that greedy decoding recites, where there is one.
fn agrees(file: &str, golden: &str, extractable: Option<&str>) {
    let Some(models) = models() else { return };
    let windows = read(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/golden")
            .join(golden),
    );
    let backend = backend(load(&models.join(file), Some(Precision::F32)), 2, 16);
    let difference = compare(&backend, &windows, 1e-3);
    println!(
        "{file}: {} tokens, worst {:.2e} at {}, mean {:.2e}",
        difference.tokens,
        difference.worst,
        difference.at,
        difference.mean()
    );
    assert_eq!(
        difference.exact,
        extractable.into_iter().collect::<Vec<_>>()
    );
    assert!(
        difference.worst <= 5e-4 && difference.mean() <= 5e-5 && difference.flags == 0,
        "{difference:?}"
    );
}

#[test]
fn gemma_3_270m_scores_as_transformers_does() {
    agrees(
        "gemma-3-270m-q4_k_m.gguf",
        "gemma3-270m.jsonl",
        Some("gemma3-270m/near-00"),
    );
}

#[test]
fn smollm2_135m_scores_as_transformers_does() {
    agrees(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "smollm2-135m.jsonl",
        None,
    );
}

/// With exits at a floor: the same windows above it, with the same scores, and of the others none that could reach it.
fn leaves(file: &str, golden: &str, above: std::ops::RangeInclusive<usize>) {
    let Some(models) = models() else { return };
    let windows = read(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/golden")
            .join(golden),
    );
    let backend = backend(load(&models.join(file), Some(Precision::F32)), 2, 16);
    let inputs: Vec<ScoreInput<'_>> = windows.iter().map(|window| window.input()).collect();
    let exit = Exit {
        below: 1e-6f64.ln(),
        stakes: None,
    };
    let (full, part) = (backend.score(&inputs), backend.score_until(&inputs, &exit));
    let sum = |list: &[f32]| list.iter().map(|&lp| f64::from(lp)).sum::<f64>();
    let (mut stayed, mut worst, mut fed, mut tokens) = (0, 0f32, 0, 0);
    for ((full, part), window) in full.iter().zip(&part).zip(&windows) {
        let (full, part) = (full.as_ref().unwrap(), part.as_ref().unwrap());
        for (a, b) in full.logprob.iter().zip(&part.logprob) {
            worst = worst.max((a - b).abs());
        }
        let whole = part.logprob.len() == full.logprob.len();
        let unlikely = sum(&full.logprob) < exit.below;
        assert!(whole || unlikely, "{} was left", window.id);
        stayed += usize::from(!unlikely);
        (fed, tokens) = (fed + part.logprob.len(), tokens + full.logprob.len());
    }
    println!(
        "{file}: {stayed} windows above the floor, {fed} of {tokens} suffix tokens, worst {worst:.1e} nats"
    );
    assert!(
        worst <= 1e-4 && fed * 3 < tokens && above.contains(&stayed),
        "{worst} {fed} {tokens} {stayed}"
    );
}

#[test]
fn gemma_3_270m_has_the_same_windows_above_a_floor_with_and_without_exits() {
    leaves("gemma-3-270m-q4_k_m.gguf", "gemma3-270m.jsonl", 1..=12);
}

#[test]
fn smollm2_135m_has_no_golden_window_above_the_floor() {
    leaves(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "smollm2-135m.jsonl",
        0..=0,
    );
}

/// Share of greedily extracted windows and mean share of rank-0 tokens, 32 + 16, windows tiling the text.
fn recited(backend: &Native, tokenizer: &Tokenizer, text: &str, bos: BosChoice) -> (f64, f64) {
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/texts")
            .join(text),
    );
    let encoding = tokenizer.encode(&text.unwrap()).unwrap();
    let bos = tokenizer.bos(bos).unwrap();
    let windows: Vec<Vec<u32>> = encoding
        .ids
        .windows(48)
        .step_by(16)
        .map(|ids| bos.iter().chain(ids).copied().collect())
        .collect();
    let prefix_len = 32 + usize::from(bos.is_some());
    let inputs: Vec<ScoreInput<'_>> = windows
        .iter()
        .map(|ids| ScoreInput {
            token_ids: ids,
            prefix_len,
        })
        .collect();
    let ranks: Vec<Vec<u32>> = backend
        .score(&inputs)
        .into_iter()
        .map(|scores| scores.unwrap().rank)
        .collect();
    let share =
        |ranks: &Vec<u32>| ranks.iter().filter(|r| **r == 0).count() as f64 / ranks.len() as f64;
    let exact =
        ranks.iter().filter(|ranks| share(ranks) == 1.0).count() as f64 / ranks.len() as f64;
    (
        exact,
        ranks.iter().map(share).sum::<f64>() / ranks.len() as f64,
    )
}

/// Known from independent measurements with transformers on the same file.
#[test]
fn gemma_3_270m_recites_what_it_is_known_to_recite_and_nothing_without_its_bos() {
    let Some(models) = models() else { return };
    let mut loaded = load(
        &models.join("gemma-3-270m-q4_k_m.gguf"),
        Some(Precision::F32),
    );
    let tokenizer = loaded.tokenizer.take().unwrap();
    let backend = backend(loaded, 2, 16);
    for (text, greedy, em) in [
        ("lorem.txt", 0.67, 0.98),
        ("pd_usconst.txt", 0.57, 0.90),
        ("pd_declaration.txt", 0.18, 0.85),
        ("mit_license.txt", 0.10, 0.81),
        ("pd_genesis.txt", 0.0, 0.72),
        ("pd_gettysburg.txt", 0.0, 0.53),
    ] {
        let with = recited(&backend, &tokenizer, text, BosChoice::Auto);
        let without = recited(&backend, &tokenizer, text, BosChoice::Never);
        println!(
            "{text}: greedy {:.2} EM {:.2}; without BOS {:.2} {:.2}",
            with.0, with.1, without.0, without.1
        );
        assert!(
            (with.0 - greedy).abs() < 0.02 && (with.1 - em).abs() < 0.02,
            "{text}: {with:?}"
        );
        assert!(
            without.0 == 0.0 && without.1 < with.1 - 0.2,
            "{text}: {without:?}"
        );
    }
    let fresh = recited(&backend, &tokenizer, "fresh.txt", BosChoice::Auto);
    println!("fresh.txt: greedy {:.2} EM {:.2}", fresh.0, fresh.1);
    assert!(fresh.0 == 0.0 && fresh.1 < 0.35, "{fresh:?}");
}

#[test]
fn smollm2_135m_recites_nothing_though_it_knows_famous_texts_better() {
    let Some(models) = models() else { return };
    let mut loaded = load(
        &models.join("SmolLM2-135M-Instruct.Q4_1.gguf"),
        Some(Precision::F32),
    );
    let tokenizer = loaded.tokenizer.take().unwrap();
    let backend = backend(loaded, 2, 16);
    let fresh = recited(&backend, &tokenizer, "fresh.txt", BosChoice::Auto);
    for text in [
        "pd_usconst.txt",
        "pd_declaration.txt",
        "mit_license.txt",
        "pd_genesis.txt",
    ] {
        let known = recited(&backend, &tokenizer, text, BosChoice::Auto);
        println!(
            "{text}: greedy {:.2} EM {:.2}, fresh prose {:.2}",
            known.0, known.1, fresh.1
        );
        assert!(
            known.0 == 0.0 && known.1 > fresh.1 + 0.2,
            "{text}: {known:?} against {fresh:?}"
        );
    }
    assert_eq!(fresh.0, 0.0);
}
