//! The built-in model and its probe set, which are part of the program. `examples/train_builtin`
//! trained the model on canaries that were repeated a known number of times, so the truth is known.

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

/// Names and contents of the built-in probe set. The truth is known for each text. Canaries:
/// repeated 1 to 64 times in training. Opted-out texts: form letters, each trained once among many
/// of the same form; texts whose edited copies were trained, such copies, and twins of which none
/// were. Controls, never trained on: texts of the same kind as the canaries, and form letters that
/// correspond to the trained ones.
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

/// Names, sizes and digests of the files.
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
