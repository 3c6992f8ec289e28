//! How near the model's own text comes to the true one.

pub mod edit;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Distances of a continuation from the true suffix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NearVerbatim {
    /// Levenshtein distance in tokens.
    pub edit_distance: u32,
    /// 1 - distance / the longer length, in tokens, 0 to 1.
    pub edit_similarity: f64,
    /// Sentence BLEU-4 over words, 0 to 1 (ACL P02-1040; threshold of arXiv 2210.17546: .75).
    pub bleu: f64,
    /// F1 of the longest common subsequence of words, 0 to 1 (ROUGE-L, ACL W04-1013).
    pub rouge_l: f64,
    /// Longest common substring, in characters.
    pub lcs_chars: u32,
    /// Longest common run of words.
    pub lcs_words: u32,
    /// `edit_similarity >= 0.9`.
    pub near_verbatim: bool,
}
