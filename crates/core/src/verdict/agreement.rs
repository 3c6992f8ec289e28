//! Conformal p-values and false discoveries against numpy and scipy, on the cases of
//! `tests/fixtures/metrics/make_metrics.py`.

use super::Statistic;
use super::conformal::{benjamini_hochberg, compare};
use super::sample::Sample;
use serde::de::DeserializeOwned;

const CASES: usize = 1000;

fn cases<T: DeserializeOwned>(packed: &[u8]) -> Vec<T> {
    let text = String::from_utf8(zstd::decode_all(packed).unwrap()).unwrap();
    let cases: Vec<T> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(cases.len(), CASES);
    cases
}

fn text(value: f64) -> Sample {
    Sample {
        value,
        windows: 1,
        windows_of_a_form: 1,
        forms: 1,
        suffix_len: (50, 50),
        window_log_p_z: Vec::new(),
    }
}

#[test]
fn false_discoveries_are_controlled_as_scipy_does() {
    let packed = include_bytes!("../../../../tests/fixtures/metrics/false_discoveries.jsonl.zst");
    let mut rejected = 0;
    for (p, q, stands) in cases::<(Vec<f64>, f64, Vec<bool>)>(packed) {
        assert_eq!(benjamini_hochberg(&p, q), stands, "{p:?} at {q}");
        rejected += stands.iter().filter(|stands| **stands).count();
    }
    assert!(
        rejected > CASES,
        "too few rejections to compare: {rejected}"
    );
}

#[test]
fn conformal_p_values_are_those_of_numpy() {
    let packed = include_bytes!("../../../../tests/fixtures/metrics/conformal.jsonl.zst");
    for (value, controls, at_least, p) in cases::<(f64, Vec<f64>, u64, f64)>(packed) {
        let controls: Vec<Sample> = controls.into_iter().map(text).collect();
        let controls: Vec<&Sample> = controls.iter().collect();
        let found = compare(Statistic::MaxLogPZ, &text(value), &controls, 0).unwrap();
        assert_eq!((found.at_least, found.p), (at_least, p), "{value}");
    }
}
