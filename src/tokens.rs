//! The tokenizer: text to token ids with exact byte offsets, and what identifies it.

#[cfg(feature = "native")]
pub mod gguf;
#[cfg(feature = "native")]
mod library;
#[cfg(feature = "native")]
mod pieces;
#[cfg(feature = "native")]
mod pre;
#[cfg(feature = "native")]
mod proto;
#[cfg(feature = "native")]
mod sentencepiece;
#[cfg(feature = "native")]
pub mod slow;
#[cfg(feature = "native")]
pub mod tokenizer;

use serde::{Deserialize, Serialize};

/// Whether a window begins with the model's beginning-of-sequence token.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
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
    /// The tokens' own bytes, joined, are the text (but for a space the tokenizer puts in front), so that
    /// `bytes` is exact to the byte. Otherwise normalization changed the text, and `bytes` says from which
    /// of its bytes each token was made, in whole characters.
    pub exact: bool,
}
