//! GGUF files in every type that can be read: kept quantized or widened to f32 they score as transformers does with the same
//! weights, and they are as far from the unquantized model as so many bits make them.

use crate::support::golden::{backend, compare, load, read};
use byrote_candle::model::weights::Precision;
use std::path::{Path, PathBuf};

/// Fixtures, bits of a weight in them, and the mean |difference| of a token's log-probability from the unquantized model that
/// was measured, in nats. The matrices are random ones of 0.2 and 0.06 standard deviations: real models bear far more.
const TYPES: [(&str, i32, f64); 10] = [
    ("qwen2_q8_0", 8, 0.0201),
    ("qwen2_q5_1", 5, 0.1465),
    ("qwen2_q5_0", 5, 0.1539),
    ("qwen2_q4_1", 4, 0.3416),
    ("qwen2_q4_0", 4, 0.3805),
    ("llama_q6_k", 6, 0.0484),
    ("llama_q5_k", 5, 0.1056),
    ("llama_q4_k", 4, 0.2031),
    ("llama_q3_k", 3, 0.3602),
    ("llama_q2_k", 2, 0.7124),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/gguf")
        .join(format!("converted_{name}"))
}

#[test]
fn a_bit_less_doubles_the_distance_from_the_unquantized_model() {
    for (name, bits, measured) in TYPES {
        let windows = read(&folder(name).join("unquantized.jsonl"));
        let kept = backend(
            load(&folder(name).join("model.gguf"), Some(Precision::Quantized)),
            1,
            8,
        );
        let mean = compare(&kept, &windows, 1e-4).mean();
        println!("{name}: mean {mean:.4}");
        assert!(
            (mean - measured).abs() < 1e-3,
            "{name}: {mean}, measured before: {measured}"
        );
        // A step of the grid is half as wide with every bit, and so is the error that rounding to it makes. The models'
        // distances at 8 bits are 0.02 and, of the smaller weights, 0.0125.
        let at_8_bits = if name.starts_with("qwen2") {
            0.02
        } else {
            0.0125
        };
        let expected = at_8_bits * 2f64.powi(8 - bits);
        assert!(
            mean > 0.8 * expected && mean < 1.3 * expected,
            "{name}: {mean}, expected about {expected}"
        );
    }
}

#[test]
fn what_is_kept_quantized_scores_as_in_f32() {
    let wider = ["qwen2_bf16", "qwen2_f32", "gpt_oss_mxfp4"];
    for name in TYPES.iter().map(|(name, ..)| *name).chain(wider) {
        for precision in [Precision::F32, Precision::Quantized] {
            let backend = backend(
                load(&folder(name).join("model.gguf"), Some(precision)),
                1,
                8,
            );
            let difference = compare(&backend, &read(&folder(name).join("golden.jsonl")), 1e-4);
            assert!(
                difference.worst < 2e-5 && difference.flags == 0,
                "{name} {precision:?}: {difference:?}"
            );
        }
    }
}
