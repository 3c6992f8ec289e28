//! The real checkpoints against transformers in f32, where `BYROTE_TEST_MODELS` names their folder.

#[path = "support/golden.rs"]
mod golden;

use byrote::model::weights::Precision;
use golden::{backend, compare, load, read};
use std::path::{Path, PathBuf};

/// The folder with the checkpoints; absent on machines without them.
fn models() -> Option<PathBuf> {
    let folder = std::env::var_os("BYROTE_TEST_MODELS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("BYROTE_TEST_MODELS is not set: real checkpoints are not tested");
    }
    folder
}

fn agrees(file: &str, golden: &str) {
    let Some(models) = models() else { return };
    let windows = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(golden));
    let backend = backend(load(&models.join(file), Some(Precision::F32)), 2, 16);
    let difference = compare(&backend, &windows, 1e-3);
    println!(
        "{file}: {} tokens, worst {:.2e} at {}, mean {:.2e}",
        difference.tokens,
        difference.worst,
        difference.at,
        difference.mean()
    );
    assert!(difference.worst <= 5e-4 && difference.mean() <= 5e-5 && difference.flags == 0, "{difference:?}");
}

#[test]
fn gemma_3_270m_scores_as_transformers_does() {
    agrees("gemma-3-270m-q4_k_m.gguf", "gemma3-270m.jsonl");
}

#[test]
fn smollm2_135m_scores_as_transformers_does() {
    agrees("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m.jsonl");
}
