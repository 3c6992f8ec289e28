//! The tokenizer: text to token ids with exact byte offsets, and what identifies it.

use serde::{Deserialize, Serialize};

/// Whether a window begins with the model's beginning-of-sequence token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BosChoice {
    /// As the tokenizer itself does it.
    #[default]
    Auto,
    Always,
    Never,
}

/// One encoding of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, no special tokens added.
    pub ids: Vec<u32>,
    /// For each token, the bytes `start..end` of the text it stands for.
    pub bytes: Vec<(usize, usize)>,
}
