//! The built-in model and its probe set, inside the program. The model was trained by
//! `examples/train_builtin` with canaries planted a known number of times, so the truth is known.

use super::load::Checkpoint;
use super::weights::WeightSource;
use byrote_core::digest::{Digest, FileDigest};

const CONFIG: WeightSource = WeightSource::Embedded {
    name: "config.json",
    bytes: include_bytes!("builtin/config.json"),
};
const WEIGHTS: WeightSource = WeightSource::Embedded {
    name: "model.safetensors",
    bytes: include_bytes!("builtin/model.safetensors"),
};
const TOKENIZER: WeightSource = WeightSource::Embedded {
    name: "tokenizer.json",
    bytes: include_bytes!("builtin/tokenizer.json"),
};
const TOKENIZER_CONFIG: WeightSource = WeightSource::Embedded {
    name: "tokenizer_config.json",
    bytes: include_bytes!("builtin/tokenizer_config.json"),
};

/// Names and contents of the built-in probe set, all of known truth. Canaries: planted 1 to 64 times. Opted-out texts: form
/// letters, each planted once among many of its form; texts of which edited copies were planted, such copies, and
/// twins of which none were. Controls, never trained on: texts of the kind of the canaries, and form letters that stand for
/// the planted ones.
pub const PROBE_SET: [(&str, &[u8]); 4] = [
    (
        "builtin:canaries.jsonl",
        include_bytes!("../../../../prompts/builtin/canaries.jsonl"),
    ),
    (
        "builtin:boilerplate.jsonl",
        include_bytes!("../../../../prompts/builtin/boilerplate.jsonl"),
    ),
    (
        "builtin:near_duplicates.jsonl",
        include_bytes!("../../../../prompts/builtin/near_duplicates.jsonl"),
    ),
    (
        "builtin:controls.jsonl",
        include_bytes!("../../../../prompts/builtin/controls.jsonl"),
    ),
];

/// The built-in model's files.
pub fn checkpoint() -> Checkpoint {
    Checkpoint {
        config: CONFIG,
        weights: vec![WEIGHTS],
        tokenizer: Some(TOKENIZER),
        tokenizer_config: Some(TOKENIZER_CONFIG),
    }
}

/// Their names, sizes and digests.
pub fn digests() -> Vec<FileDigest> {
    let files = [CONFIG, WEIGHTS, TOKENIZER, TOKENIZER_CONFIG];
    let digest = |source| match source {
        WeightSource::Embedded { name, bytes } => Some(FileDigest {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            sha256: Digest::of_bytes(bytes),
            one_text: false,
        }),
        WeightSource::File(_) => None,
    };
    files.into_iter().filter_map(digest).collect()
}
