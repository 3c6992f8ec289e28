//! The small random models in tests/fixtures, with what transformers scores with each.

use super::files::files;
use super::program::repository;
use byrote_candle::model::gguf::Gguf;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The folders with a config.json and safetensors.
pub(crate) fn folders() -> Vec<PathBuf> {
    let folders = files(&repository("tests/fixtures/models"));
    assert!(folders.len() > 100, "fixtures are missing");
    selected(folders)
}

/// The GGUF files.
pub(crate) fn ggufs() -> Vec<PathBuf> {
    let folders = files(&repository("tests/fixtures/gguf"));
    assert!(folders.len() > 60, "fixtures are missing");
    selected(
        folders
            .iter()
            .map(|folder| folder.join("model.gguf"))
            .collect(),
    )
}

/// All fixtures, or the first of each architecture if `BYROTE_TEST_FIXTURES=architectures` asks for a shorter run.
fn selected(all: Vec<PathBuf>) -> Vec<PathBuf> {
    match std::env::var("BYROTE_TEST_FIXTURES").as_deref() {
        Err(_) => all,
        Ok("architectures") => one_per_architecture(all),
        Ok(other) => panic!("BYROTE_TEST_FIXTURES={other}: the only value is \"architectures\""),
    }
}

fn one_per_architecture(all: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    all.into_iter()
        .filter(|model| seen.insert(architecture(model)))
        .collect()
}

/// `model_type` in a folder's config.json, or `general.architecture` of a GGUF file.
pub(crate) fn architecture(model: &Path) -> String {
    if model.is_file() {
        let gguf = Gguf::open(model).unwrap();
        return gguf.text("general.architecture").unwrap().to_owned();
    }
    // Some of them hold `Infinity`, which is no JSON to serde.
    let config = std::fs::read_to_string(model.join("config.json")).unwrap();
    let (_, rest) = config.split_once("\"model_type\": \"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[test]
fn a_shorter_run_still_covers_every_architecture() {
    let architectures = |models: &[PathBuf]| -> BTreeSet<String> {
        models.iter().map(|model| architecture(model)).collect()
    };
    for (all, at_least) in [(folders(), 45), (ggufs(), 20)] {
        let few = one_per_architecture(all.clone());
        assert_eq!(architectures(&few), architectures(&all));
        assert_eq!(few.len(), architectures(&all).len());
        assert!(few.len() >= at_least, "{few:?}");
    }
}
